"""Tables of Arrow come batch by batch, and make the index that the whole arrays make."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from annlab import IVFIndex, col
from annlab.datasets import arrow_batches

N, DIM = 3000, 8
ROWS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
IDS = np.arange(N)[::-1] * 3
OWNER = [None if i % 7 == 0 else i % 5 for i in range(N)]
NAME = [None if i % 11 == 0 else f"n{i % 3}" for i in range(N)]


def table(rows=ROWS, kind="fixed"):
    if kind == "fixed":
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
    else:
        vectors = pyarrow.array([row.tolist() for row in rows], pyarrow.list_(pyarrow.float32()))
    return pyarrow.table({"other": np.zeros(len(rows)), "vector": vectors, "id": IDS[: len(rows)],
                          "owner": pyarrow.array(OWNER[: len(rows)], pyarrow.int64()),
                          "name": pyarrow.array(NAME[: len(rows)], pyarrow.string())})  # fmt: skip


def sources(folder):
    """The same rows in all ways."""
    whole = table()
    pyarrow.parquet.write_table(whole, folder / "rows.parquet", row_group_size=700)
    pyarrow.parquet.write_table(table(kind="list"), folder / "lists.parquet", row_group_size=700)
    with pyarrow.ipc.new_file(str(folder / "rows.arrow"), whole.schema) as writer:
        writer.write_table(whole, max_chunksize=900)
    return [folder / "rows.parquet", str(folder / "lists.parquet"), folder / "rows.arrow", whole,
            whole.to_reader(max_chunksize=450)]  # fmt: skip


def test_an_index_is_the_same_from_batches_and_from_arrays(tmp_path):
    attributes = {"owner": OWNER, "name": NAME}
    expected = IVFIndex(n_lists=20).fit(ROWS, IDS, attributes=attributes)
    for source in sources(tmp_path):
        found = arrow_batches(source, ids="id", attributes=["owner", "name"])
        index = IVFIndex(n_lists=20).fit(found.vectors, found.ids, attributes=found.attributes, max_memory="1GB")
        for options in ({}, {"where": (col("owner") == 3) & (col("name") == "n1")}):
            one, other = (each.search(ROWS[:20], 5, **options) for each in (expected, index))
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.distances, other.distances)


def test_memory_holds_the_batch_in_hand(tmp_path):
    many = np.random.default_rng(1).random((100_000, 32), dtype=np.float32)  # 12.8 MB
    vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(many.ravel()), 32)
    pyarrow.parquet.write_table(pyarrow.table({"vector": vectors}), tmp_path / "many.parquet", row_group_size=5000)
    before, peak, n = pyarrow.total_allocated_bytes(), 0, 0
    for block in arrow_batches(tmp_path / "many.parquet").vectors:
        peak, n = max(peak, pyarrow.total_allocated_bytes() - before), n + len(block)
    assert n == len(many) and peak < 5_000_000

    given = []

    def endless():
        for start in range(0, N, 100):
            given.append(start)
            yield from table(ROWS[start : start + 100]).to_batches()

    stream = pyarrow.RecordBatchReader.from_batches(table(ROWS[:1]).schema, endless())
    for used, _ in enumerate(arrow_batches(stream).vectors, 1):
        assert len(given) <= used + 1, "nothing is asked for before it is used"
    assert used == N // 100


def test_a_large_batch_comes_in_parts():
    big = table(np.zeros((3000, 2048), np.float32))  # 24 MB in one batch
    blocks = [len(block) for block in arrow_batches(big, ids="id").vectors]
    assert sum(blocks) == 3000 and max(blocks) * 2048 * 4 <= 2**23


@pytest.mark.parametrize(("columns", "options", "error", "message"), [
    ({}, {"vectors": "embedding"}, ValueError, "no column 'embedding': the table has other, vector, id, owner, name"),
    ({}, {"vectors": "owner"}, TypeError, "column 'owner' holds int64: vectors are lists of numbers"),
    ({}, {"ids": "name"}, TypeError, "column 'name' holds string: ids are integers"),
    ({}, {"ids": "owner"}, ValueError, "column 'owner' has no id in row 0"),
    ({}, {"ids": "id", "attributes": ["id"]}, ValueError, "column 'id' is named twice"),
    ({"vector": [[1.0, 2.0], [3.0]]}, {}, ValueError, "holds 2 numbers in its first row and 1 in row 1"),
    ({"vector": [[1.0, 2.0], None]}, {}, ValueError, "column 'vector' has nothing in row 1"),
    ({"vector": [[1.0, 2.0], [3.0, None]]}, {}, ValueError, "lacks number 1 of row 1"),
])  # fmt: skip
def test_what_cannot_be_used_is_named(columns, options, error, message):
    given = pyarrow.table(columns) if columns else table()
    with pytest.raises(error, match=message):
        found = arrow_batches(given, **options)
        for _ in found.vectors:
            for each in [found.ids] if found.ids is not None else []:
                next(each)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(arrow_batches(tmp_path / "absent.parquet").vectors)
    (tmp_path / "wrong.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"wrong\.parquet cannot be read as a table"):
        list(arrow_batches(tmp_path / "wrong.parquet").vectors)
    with pytest.raises(TypeError, match="dict has not"):
        list(arrow_batches({}).vectors)
