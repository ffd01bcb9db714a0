"""Reading what a durable index holds without being the one that writes."""

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.durable import CorruptLogError, Database, DurableIndex, describe, read, remove, snapshots
from tests.durable.helpers import DIM


def test_a_reader_sees_what_was_acknowledged_while_another_writes(tmp_path):
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        index.add(np.eye(DIM))
        index.snapshot()
        index.add(2 * np.eye(DIM))
        seen = read(tmp_path)
        index.remove([0])
        assert seen.ids.tolist() == list(range(2 * DIM)) and 0 not in read(tmp_path)
        assert read(tmp_path).content_hash() == index.state_hash()


def test_a_snapshot_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    load, tries = snapshots.load, []
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        index.add(np.eye(DIM))
        index.snapshot()

        def replaced(folder, head, where):
            tries.append(head.snapshot_file)
            if len(tries) == 1:
                index.add(np.eye(DIM))
                index.snapshot()
            return load(folder, head, where)

        monkeypatch.setattr(snapshots, "load", replaced)
        assert len(read(tmp_path)) == 2 * DIM and len(set(tries)) == 2


def test_what_is_not_there_or_damaged_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no durable index"):
        read(tmp_path)
    with DurableIndex(ExactIndex(dim=DIM), tmp_path) as index:
        index.add(np.eye(DIM))
        path = index.snapshot()
    database = Database.open(tmp_path / "log.db")
    with pytest.raises(FileNotFoundError, match="no such index"):
        read(tmp_path, database=database, name="other")
    path.write_bytes(b"something else")
    with pytest.raises(CorruptLogError, match="not the file that was written"):
        read(tmp_path)
    database.close()


def test_an_index_is_described_without_being_opened(tmp_path):
    database = Database.open(tmp_path / "log.db")
    with DurableIndex(ExactIndex(dim=DIM), tmp_path, database=database) as index:
        index.add(np.eye(DIM))
        before = describe(tmp_path, database, "index")
        assert (before.kind, before.seq, before.operations, before.file_bytes) == ("ExactIndex", 1, 1, 0)
        index.add(np.random.default_rng(0).standard_normal((3000, DIM)))
        index.snapshot()
        after = describe(tmp_path, database, "index")
        assert (after.operations, after.log_bytes) == (0, 0) and after.parameters["dim"] == DIM
        assert after.memory == pytest.approx(index.memory()["total"], rel=0.2)
    with pytest.raises(FileNotFoundError):
        describe(tmp_path, database, "other")
    database.close()


def test_a_removed_index_leaves_nothing_behind(tmp_path):
    database = Database.open(tmp_path / "log.db")
    for name in ("one", "one-more"):
        with DurableIndex(ExactIndex(dim=DIM), tmp_path, database=database, name=name) as index:
            index.add(np.eye(DIM), op_id="x")
            index.snapshot()
    remove(tmp_path, database, "one")
    assert [path.name[:8] for path in tmp_path.glob("*.annlab")] == ["one-more"]
    with pytest.raises(FileNotFoundError):
        read(tmp_path, database=database, name="one")
    assert len(read(tmp_path, database=database, name="one-more")) == DIM
    with DurableIndex(ExactIndex(dim=2), tmp_path, database=database, name="one") as index:
        index.add(np.eye(2), op_id="x")
    database.close()
