"""Vectors in columns of Parquet files: as pandas and others write them, and as nobody should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annlab.datasets import load_parquet

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
LAYOUTS = {
    "list of float": lambda: pa.array(ROWS.tolist(), pa.list_(pa.float32())),
    "large list": lambda: pa.array(ROWS.tolist(), pa.large_list(pa.float32())),
    "fixed size": lambda: pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 5),
}


def written(path, block=3, **columns):
    parquet.write_table(pa.table(columns), path, row_group_size=block)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_come_back_as_written(tmp_path, layout):
    path = written(tmp_path / "a.parquet", key=pa.array(list("abcdefg")), vector=LAYOUTS[layout]())
    loaded = load_parquet(path)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, ROWS)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint8"])
def test_the_dtype_is_that_of_the_file(tmp_path, dtype):
    rows = np.arange(12).reshape(4, 3).astype(dtype)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 3)
    loaded = load_parquet(written(tmp_path / "a.parquet", v=flat))
    assert loaded.dtype == dtype
    np.testing.assert_array_equal(loaded, rows)


def test_which_column_is_meant_must_be_said_where_two_could_be(tmp_path):
    path = written(tmp_path / "a.parquet", one=LAYOUTS["fixed size"](), two=pa.array((2 * ROWS).tolist()),
                   name=pa.array(list("abcdefg")))  # fmt: skip
    np.testing.assert_allclose(load_parquet(path, "two"), 2 * ROWS, rtol=1e-6)
    with pytest.raises(ValueError, match=r"one, two; say which column \(all columns: one, two, name\)"):
        load_parquet(path)
    with pytest.raises(ValueError, match="'name' is none of them"):
        load_parquet(path, "name")
    with pytest.raises(ValueError, match="not there; say which"):
        load_parquet(written(tmp_path / "b.parquet", name=pa.array(["a", "b"])))


BAD = {
    "nothing in row 4": [[1.0, 2.0]] * 4 + [None],
    "lacks number 1 of row 4": [[1.0, 2.0]] * 4 + [[1.0, None]],
    "2 numbers in its first row and 3 in row 4": [[1.0, 2.0]] * 4 + [[1.0, 2.0, 3.0]],
    "without any number": [[], []],
    "has no rows": [],
}


@pytest.mark.parametrize("said", BAD)
def test_what_is_no_matrix_is_refused_with_its_row(tmp_path, said):
    path = written(tmp_path / "a.parquet", v=pa.array(BAD[said], pa.list_(pa.float64())))
    with pytest.raises(ValueError, match=rf"a\.parquet.*{said}"):
        load_parquet(path)


def test_a_missing_number_of_a_fixed_size_is_refused(tmp_path):
    values = pa.array([[1.0, None], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    with pytest.raises(ValueError, match="lacks number 1 of row 0"):
        load_parquet(written(tmp_path / "a.parquet", v=values))


def test_a_file_that_is_missing_or_something_else(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_parquet(tmp_path / "none.parquet")
    other = tmp_path / "a.parquet"
    other.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"a\.parquet"):
        load_parquet(other)


@given(st.data())
def test_mutated_files_are_refused_or_of_one_dimension(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("m") / "a.parquet", v=LAYOUTS["fixed size"]())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        loaded = load_parquet(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert loaded.ndim == 2
