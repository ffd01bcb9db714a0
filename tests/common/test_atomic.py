"""Files that are there whole or not at all: where they go, what they keep, and what killed writers leave behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from annlab.common import atomic

ROOT = Path(__file__).parents[2]
BEGINNING = b"\x93ANNLAB\n"
posix = pytest.mark.skipif(os.name != "posix", reason="modes, links, locks and pipes as POSIX has them")


def write(path, content=BEGINNING + b"new"):
    with atomic.replacing(path, BEGINNING) as file:
        file.write(content)


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_obeys_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "index")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "index") == 0o666 & ~umask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_an_existing_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "index"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert mode_of(path) == mode and path.read_bytes() == BEGINNING + b"new"


@posix
def test_the_content_is_never_readable_for_others_than_the_file_was(tmp_path):
    path = tmp_path / "index"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with atomic.replacing(path, BEGINNING) as file:
        assert mode_of(file.name) == 0o600


@posix
def test_a_link_goes_on_pointing_to_the_file(tmp_path):
    (tmp_path / "data").mkdir()
    real, link, chain = tmp_path / "data" / "real", tmp_path / "link", tmp_path / "chain"
    link.symlink_to(Path("data") / "real")
    chain.symlink_to(link)
    write(link)  # nothing there yet
    assert link.is_symlink() and real.read_bytes() == BEGINNING + b"new"
    write(chain, b"second")
    assert chain.is_symlink() and link.is_symlink() and real.read_bytes() == b"second"
    assert sorted(os.listdir(tmp_path)) == ["chain", "data", "link"] and os.listdir(tmp_path / "data") == ["real"]
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(OSError, match="link"):
        write(link)


@posix
def test_what_is_no_ordinary_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket")) if len(str(tmp_path)) < 90 else None
        for name, kind in [("pipe", "named pipe"), ("folder", "folder"), ("link", "named pipe"), ("socket", "socket")]:
            if (tmp_path / name).exists():
                with pytest.raises(OSError, match=f"{name} is a {kind}"):
                    write(tmp_path / name)
    with pytest.raises(OSError, match=r"/dev/null is a device"):
        write("/dev/null")
    with pytest.raises(IsADirectoryError):
        write(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        write(tmp_path / "nowhere" / "index")
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_what_names_no_file_is_refused(tmp_path, monkeypatch):
    """An empty path would be the working folder, and the file made above it; "new/" asks for a folder."""
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    with pytest.raises(FileNotFoundError, match="path is empty"):
        write("")
    with pytest.raises(IsADirectoryError, match="new/ names a folder"):
        write("new/")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]


@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127, "." + "y" * 254])
def test_names_up_to_the_systems_limit(tmp_path, name):
    write(tmp_path / name)
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError, match="xxx"):
        write(tmp_path / ("x" * 256))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "index"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic.replacing(path, BEGINNING) as file:
        file.write(b"half")
        raise error
    assert os.listdir(tmp_path) == ["index"] and path.read_bytes() == b"old"


_WRITER = """
import sys, time
from annlab.common import atomic
with atomic.replacing(sys.argv[1], b"\\x93ANNLAB\\n") as file:
    file.write(b"\\x93ANNLAB\\n" + bytes(1000))
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


def writer(path):
    """A process that has begun to write a file and does not end."""
    child = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "writing\n"
    return child


@posix
def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    children = [writer(tmp_path / "index") for _ in range(2)]
    try:
        unfinished = set(os.listdir(tmp_path))
        assert len(unfinished) == 2
        write(tmp_path / "other")
        assert set(os.listdir(tmp_path)) == unfinished | {"other"}, "both writers live"
        children[0].send_signal(signal.SIGKILL)
        children[0].wait()
        write(tmp_path / "other")
        assert len(os.listdir(tmp_path)) == 2, "one of them lives"
    finally:
        for child in children:
            child.kill()
            child.communicate()
    write(tmp_path / "other")
    assert os.listdir(tmp_path) == ["other"]


@posix
def test_what_is_not_ours_is_left_alone(tmp_path):
    ours = ".annlab-0123456789abcdef.tmp"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(BEGINNING)
    kept = {
        ".annlab-0123456789abcde.tmp": BEGINNING,  # a digit less
        "x.annlab-0123456789abcdef.tmp": BEGINNING,
        ".annlab-0123456789abcdef.tmp.bak": BEGINNING,
        ".annlab-0123456789abcdee.tmp": b"notes of mine",
        ".annlab-0123456789ABCDEF.tmp": BEGINNING,
    }
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".annlab-00000000000000aa.tmp").symlink_to(elsewhere)
    (tmp_path / ".annlab-00000000000000bb.tmp").mkdir()
    os.mkfifo(tmp_path / ".annlab-00000000000000cc.tmp")
    everything = set(os.listdir(tmp_path))
    (tmp_path / ours).write_bytes(BEGINNING + bytes(10))
    (tmp_path / ".annlab-1123456789abcdef.tmp").write_bytes(b"")  # killed before the first byte
    write(tmp_path / "index")
    assert set(os.listdir(tmp_path)) == everything | {"index"} and elsewhere.read_bytes() == BEGINNING


@posix
def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError("this file system has no locks")

    monkeypatch.setattr(atomic.fcntl, "flock", no_locks)
    (tmp_path / ".annlab-0123456789abcdef.tmp").write_bytes(BEGINNING)
    write(tmp_path / "index")
    assert len(os.listdir(tmp_path)) == 2
