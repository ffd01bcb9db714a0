"""Matrices that hand out slices: they are read a little at a time, by every door that takes vectors."""

import numpy as np
import pytest

import annlab
from annlab.common import slices, validation


class Dataset:
    """As a dataset in a file: two lengths, a type, and slices that it counts."""

    def __init__(self, array, chunks=None):
        self._array, self.largest, self.asked = array, 0, 0
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, chunks

    def __len__(self):
        return len(self._array)

    def __getitem__(self, key):
        part = self._array[key]
        self.largest, self.asked = max(self.largest, part.nbytes), self.asked + part.nbytes
        return part

    def __array__(self, dtype=None, copy=None):
        raise MemoryError("all of it was asked for at once")


def test_what_hands_out_slices():
    import h5py

    class Tensor(Dataset):
        def detach(self):
            return self

    class Frame:
        shape, dtype, columns = (3, 2), np.float32, ["a", "b"]

        def __getitem__(self, key):
            raise KeyError(key)

    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        assert slices.is_sliced(file.create_dataset("a", data=np.zeros((5, 2))))
        assert not slices.is_sliced(file.create_dataset("b", data=np.zeros(5)))
    assert slices.is_sliced(Dataset(np.zeros((3, 2))))
    for other in (np.zeros((3, 2)), [[1.0, 2.0]], Tensor(np.zeros((3, 2))), Frame(), "text", None, np.memmap):
        assert not slices.is_sliced(other)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ">f4", "u1", "i8", "?"])
def test_vectors_are_the_same_as_those_of_the_array(dtype):
    array = np.random.default_rng(0).integers(0, 2, size=(3000, 1500)).astype(dtype)
    dataset = Dataset(array)
    np.testing.assert_array_equal(validation.as_vectors(dataset), validation.as_vectors(array))
    assert validation.as_vectors(dataset).dtype == validation.as_vectors(array).dtype
    assert dataset.largest <= 2**20 * array.itemsize


@pytest.mark.parametrize(
    ("chunks", "rows"), [(None, 4096), ((100, 256), 4000), ((5000, 64), 5000), ((10**6, 256), 4096), (((1, 2),), 4096)]
)
def test_whole_chunks_of_a_file_are_read(chunks, rows):
    assert slices.rows_at_once(Dataset(np.zeros((10, 256), np.float32), chunks)) == rows


def test_wide_rows_are_read_one_by_one():
    dataset = Dataset(np.zeros((3, 3 * 2**20), np.float32))
    assert [len(part) for part in slices.parts(dataset)] == [1, 1, 1]


def test_errors_name_the_rows():
    array = np.zeros((3000, 1024), np.float32)
    array[2500, 3] = np.nan
    with pytest.raises(ValueError, match=r"vectors\[2048:3000\] must be finite: row 452 holds nan"):
        annlab.ExactIndex().fit(Dataset(array))
    short = Dataset(array[:2000])
    short.shape = (3000, 1024)
    with pytest.raises(ValueError, match=r"vectors\[1024:2048\] gave 976 rows of the 3000"):
        annlab.ExactIndex().fit(short)
    with pytest.raises(ValueError, match="3 dimensions"):
        annlab.ExactIndex(dim=4).fit(Dataset(np.zeros((5, 3))))
    with pytest.raises(ValueError, match="needs a vector"):
        annlab.ExactIndex().fit(Dataset(np.zeros((0, 3))))


@pytest.mark.parametrize("make", [annlab.ExactIndex, annlab.KDTreeIndex, annlab.IVFIndex])
def test_fit_and_add_read_parts(make):
    array = np.random.default_rng(0).random((4000, 600))
    index, expected = make().fit(Dataset(array)), make().fit(array)
    index.add(Dataset(array[:3000] + 1))
    expected.add(array[:3000] + 1)
    for one, other in zip(index.search(array[:5], 3), expected.search(array[:5], 3), strict=True):
        np.testing.assert_array_equal(one, other)
