"""Damage of every kind is found when an index is opened, and named."""

import shutil

import numpy as np
import pytest
from sqlalchemy import text

from annlab import ExactIndex
from annlab.core.attributes import as_columns
from annlab.durable import CorruptLogError, Database, DurableIndex
from annlab.durable.operations import Operation, decode
from tests.durable.helpers import DIM


@pytest.fixture
def folder(tmp_path):
    """An index with a snapshot and five operations in the log."""
    with DurableIndex(ExactIndex(dim=DIM), tmp_path / "a") as index:
        index.add(np.eye(DIM), attributes={"owner": np.arange(DIM), "text": ["a", None] * (DIM // 2)})
        index.snapshot()
        for i in range(5):
            index.add(np.eye(DIM)[:2] * i, attributes={"owner": [i, i], "text": ["b", "b"]}, op_id=f"op {i}")
    return tmp_path / "a"


def changed(folder, *statements):
    database = Database.open(folder / "log.db")
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


FLIPPED = "UPDATE annlab_log SET {0} = CAST(x'ff' || substr({0}, 2) AS BLOB) WHERE seq = 4"


@pytest.mark.parametrize("statement, message", [
    (FLIPPED.format("rows"), r"operation 4 \(add\) does not match its checksum"),
    (FLIPPED.format("ids"), r"operation 4 \(add\) does not match its checksum"),
    (FLIPPED.format("columns"), r"operation 4 \(add\) does not match its checksum"),
    (FLIPPED.format("chain"), r"operation 4 \(add\) does not match its checksum"),
    ("UPDATE annlab_log SET op_id = 'other' WHERE seq = 4", "operation 4"),
    ("UPDATE annlab_log SET kind = 'update' WHERE seq = 4", "operation 4"),
    ("UPDATE annlab_log SET header = replace(header, 'raise', 'replace') WHERE seq = 4", "operation 4"),
    ("UPDATE annlab_log SET header = '{}' WHERE seq = 4", "operation 4 of the log does not fit together"),
    ("UPDATE annlab_log SET rows = substr(rows, 3) WHERE seq = 4", "operation 4 of the log does not fit together"),
    ("UPDATE annlab_log SET header = replace(header, 'string_ends', 'ends') WHERE seq = 4", "not fit together"),
    ("UPDATE annlab_log SET header = replace(header, 'uint8\", 1', 'uint8\", -1') WHERE seq = 4", "not fit together"),
    ("UPDATE annlab_log SET columns = CAST(substr(columns, 1, 16) || x'09' || substr(columns, 18) AS BLOB)"
     " WHERE seq = 4", "attribute 'text' has strings 0 to 9, but there are 1"),
    ("UPDATE annlab_log SET columns = substr(columns, 1, 30) WHERE seq = 4", "operation 4 of the log does not fit"),
    ("DELETE FROM annlab_log WHERE seq = 4", "operation 4 is missing"),
    ("DELETE FROM annlab_log WHERE seq = 6", "ends with operation 5, but 6 were acknowledged"),
    ("DELETE FROM annlab_log", "ends with operation 1, but 6 were acknowledged"),
    ("UPDATE annlab_index SET seq = 5", "row of the index does not match its checksum"),
    ("UPDATE annlab_index SET snapshot_seq = 0", "row of the index does not match its checksum"),
    ("UPDATE annlab_index SET parameters = '{}'", "row of the index does not match its checksum"),
    ("UPDATE annlab_index SET format = 9", "format 9, this annlab reads 1; a newer"),
    ("UPDATE annlab_index SET format = 'page'", "format page, this annlab reads 1; it is damaged"),
    ("UPDATE annlab_index SET checksum = 7", "row of the index does not match its checksum"),
    ("UPDATE annlab_log SET chain = 7 WHERE seq = 4", r"operation 4 \(add\) does not match its checksum"),
    ("DELETE FROM annlab_index", "knows nothing of this index, but its snapshot"),
])  # fmt: skip
def test_a_change_of_the_database_is_named(statement, message, folder):
    changed(folder, statement)
    with pytest.raises(CorruptLogError, match=message):
        DurableIndex(ExactIndex(dim=DIM), folder)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(path):
    ExactIndex().fit(np.eye(DIM) * 2).save(path)


@pytest.mark.parametrize("damage, message", [
    (flip, "is not the file that was written"),
    (swap, "is not the file that was written"),
    (lambda path: path.write_bytes(path.read_bytes()[:-64]), "is not the file that was written"),
    (lambda path: path.unlink(), "cannot be read"),
])  # fmt: skip
def test_damage_of_the_snapshot_is_named(damage, message, folder):
    (snapshot,) = folder.glob("*.annlab")
    damage(snapshot)
    with pytest.raises(CorruptLogError, match=message):
        DurableIndex(None, folder)
    assert (folder / "log.db").exists()


def test_two_operations_that_changed_places_are_noticed(folder):
    columns = ("op_id", "kind", "header", "ids", "rows", "columns", "chain")
    swapped = ", ".join(f"{c} = (SELECT o.{c} FROM annlab_log o WHERE o.seq = 9 - annlab_log.seq)" for c in columns)
    changed(folder, f"UPDATE annlab_log SET {swapped} WHERE seq IN (4, 5)")
    with pytest.raises(CorruptLogError, match="operation 4"):
        DurableIndex(None, folder)


def test_a_damaged_or_missing_database_is_named(folder):
    content = bytearray((folder / "log.db").read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    shutil.copytree(folder, folder.with_name("b"))
    (folder / "log.db").write_bytes(content)
    with pytest.raises(CorruptLogError, match="damaged"):
        DurableIndex(None, folder)
    for path in folder.with_name("b").glob("log.db*"):
        path.unlink()
    with pytest.raises(CorruptLogError, match="knows nothing of this index, but its snapshot"):
        DurableIndex(ExactIndex(dim=DIM), folder.with_name("b"))


def test_what_a_kill_left_behind_is_removed(folder):
    left = [folder / "index-0000000000000999.annlab", folder / ".index-0000000000000999.annlab.aabbccddeeff.tmp"]
    kept = [folder / "notes.txt", folder / "index-mine.annlab", folder / "other-0000000000000001.annlab"]
    for path in left + kept:
        path.write_bytes(b"x")
    DurableIndex(None, folder).close()
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)


def test_an_operation_comes_back_from_its_cells():
    columns = as_columns({"b": np.array([True, False]), "a": np.array([1.5, 2.5])}, 2)
    ids, rows = np.array([4, 5]), np.ones((2, 3), np.float32)
    first = Operation(3, "add", "name", ids, rows, columns, {"on_duplicate": "raise"})
    again = decode(first.encoded(), "here")
    assert again.chain(b"x") == first.chain(b"x") and again.n_bytes == first.n_bytes == 2 * 8 + 24 + 2 + 16
    assert again.columns["b"].array().tolist() == [True, False]
    assert again.columns["a"].array().dtype == np.float64
    texts = as_columns({"s": ["long", None], "i": [None, 2**60 + 1]}, 2)
    of_texts = decode(Operation(3, "attributes", None, ids, None, texts, {}).encoded(), "here")
    assert of_texts.columns["s"].array().tolist() == ["long", None]
    assert of_texts.columns["i"].array().tolist() == [None, 2**60 + 1]
    changes = ({"seq": 4}, {"kind": "update"}, {"op_id": None}, {"ids": np.array([4, 6])}, {"options": {}},
               {"rows": np.ones((2, 3))}, {"columns": {"b": columns["b"], "c": columns["a"]}},
               {"columns": texts},
               {"columns": as_columns({"s": ["lon", None], "i": [None, 2**60 + 1]}, 2)})  # fmt: skip
    for change in changes:
        other = Operation(**{**vars(first), **change})
        assert other.chain(b"x") != first.chain(b"x"), change
