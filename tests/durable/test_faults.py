"""Kills, full disks, folders that cannot be written, and a second process: nothing acknowledged is lost or doubled."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.durable import Database, DurableIndex, InUseError, StorageError
from tests.durable.helpers import DIM

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@posix
def test_kills_at_random_moments_lose_and_double_nothing(kills, tmp_path):
    kills = kills or 10
    command = [sys.executable, "-m", "tests.durable.crashing", str(tmp_path), str(kills), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["writes"] > kills, "children lived long enough to write"


@contextlib.contextmanager
def full_disk(limit):
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@posix
def test_a_full_disk_is_named_and_loses_nothing(tmp_path):
    rows = np.random.default_rng(0).standard_normal((2000, DIM)).astype(np.float32)
    with DurableIndex(ExactIndex(dim=DIM), tmp_path, snapshot_after=None) as index:
        index.add(rows)
        expected = index.state_hash()
        with full_disk((tmp_path / "log.db-wal").stat().st_size + 10_000):
            with pytest.raises(StorageError, match=r"log\.db: .*full.*Nothing that was acknowledged is lost"):
                index.add(rows, op_id="again")
        assert index.state_hash() == expected and len(index) == 2000
        with full_disk(20_000), pytest.raises(StorageError, match="the old snapshot and the log are as they were"):
            index.snapshot()
        assert index.state_hash() == expected
        index.add(rows, op_id="again")
        index.snapshot()
        with full_disk(20_000), pytest.raises(StorageError):
            index.fit(rows)
        assert len(index) == 4000
        expected = index.state_hash()
        assert not list(tmp_path.glob("*.tmp"))
    with DurableIndex(None, tmp_path) as index:
        assert index.state_hash() == expected


def test_an_error_of_the_database_that_is_passed_over_takes_the_transaction_back(tmp_path):
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        with pytest.raises(StorageError, match="statement of this transaction failed"), index.transaction() as writes:
            writes.add(np.eye(DIM))
            with contextlib.suppress(Exception):
                writes.connection.exec_driver_sql("SELECT * FROM nowhere")
        assert len(index) == 0
        index.add(np.eye(DIM))


@contextlib.contextmanager
def without_rights(folder):
    """As somebody who may read the folder but not write there."""
    if os.geteuid() == 0:
        for parent in [folder, *folder.parents]:
            with contextlib.suppress(OSError):
                if parent.stat().st_mode & 0o55 != 0o55 and parent.owner() == "root":
                    parent.chmod(parent.stat().st_mode | 0o55)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)


@posix
def test_a_folder_or_database_that_cannot_be_written_is_named(tmp_path):
    folder = tmp_path / "index"
    with DurableIndex(ExactIndex(dim=DIM), folder) as index:
        index.add(np.eye(DIM))
    for path in folder.iterdir():
        path.chmod(0o444)
    with without_rights(folder):
        with pytest.raises(StorageError, match="cannot be written"):
            DurableIndex(None, folder)
        with pytest.raises(StorageError, match="cannot be made a folder"):
            DurableIndex(ExactIndex(), folder / "below")
        with pytest.raises(StorageError, match="cannot be"), Database.open(folder / "log.db").writing() as connection:
            connection.exec_driver_sql("CREATE TABLE x (y)")
    with DurableIndex(None, folder) as index:
        assert len(index) == DIM
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be made a folder"):
        DurableIndex(ExactIndex(), tmp_path / "file" / "below")


HOLD = """
import sys
from annlab import ExactIndex
from annlab.durable import DurableIndex
index = DurableIndex(ExactIndex(dim=2), sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@posix
def test_a_second_process_is_refused_by_name_and_a_kill_lets_it_in(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(InUseError, match=f"in use by process {holder.pid}: one at a time"):
            DurableIndex(None, tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with DurableIndex(None, tmp_path) as index:
        assert len(index) == 0


@posix
def test_a_fork_may_not_write_and_does_not_hold_the_lock(tmp_path):
    index = DurableIndex(ExactIndex(dim=DIM), tmp_path)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            index.add(np.eye(DIM))
        except InUseError as error:
            os.write(writing, str(error).encode())
        signal.pause()
    os.close(writing)
    try:
        assert b"of which this one is a fork" in os.read(reading, 1000)
        index.add(np.eye(DIM))
        index.close()
        with DurableIndex(None, tmp_path) as index:  # though the child lives on
            assert len(index) == DIM
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
