"""Readers of data sets, against files written here: whole, damaged and hostile."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annlab import datasets
from tests.datasets.hdf5_file import TEST, TRAIN, write_hdf5

RNG = np.random.default_rng(7)


def write_records(path, vectors, dtype):
    dims = np.full((len(vectors), 1), vectors.shape[1], "<i4").view(np.uint8)
    path.write_bytes(np.hstack([dims, vectors.astype(dtype).view(np.uint8)]).tobytes())
    return path


RECORDS = {
    "fvecs": (datasets.load_fvecs, "<f4", RNG.standard_normal((7, 5)).astype(np.float32)),
    "ivecs": (datasets.load_ivecs, "<i4", RNG.integers(-9, 10**6, (7, 5)).astype(np.int32)),
    "bvecs": (datasets.load_bvecs, "u1", RNG.integers(0, 256, (7, 5)).astype(np.uint8)),
}


# fvecs, ivecs, bvecs


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", RECORDS)
def test_records_come_back_as_written(tmp_path, kind, mmap):
    load, dtype, vectors = RECORDS[kind]
    loaded = load(write_records(tmp_path / f"a.{kind}", vectors, dtype), mmap=mmap)
    assert loaded.dtype == vectors.dtype
    assert isinstance(loaded, np.memmap) == mmap
    np.testing.assert_array_equal(loaded, vectors)


@pytest.mark.parametrize("kind", RECORDS)
def test_a_truncated_file_of_records_names_the_numbers(tmp_path, kind):
    load, dtype, vectors = RECORDS[kind]
    path = write_records(tmp_path / f"a.{kind}", vectors, dtype)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"dimension 5.* {size - 1} bytes are 6 of them"):
        load(path)


def test_a_record_of_another_dimension_is_named(tmp_path):
    path = write_records(tmp_path / "a.fvecs", RECORDS["fvecs"][2], "<f4")
    content = bytearray(path.read_bytes())
    content[3 * 24 : 3 * 24 + 4] = (6).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="record 3 states dimension 6, record 0 states 5"):
        datasets.load_fvecs(path, mmap=True)


@pytest.mark.parametrize("start", [b"", b"\1\0", b"\0\0\0\0", b"\xff\xff\xff\xff" * 2, b"\xff\xff\xff\x7f" * 2])
def test_an_impossible_dimension_is_refused_before_anything_is_allocated(tmp_path, start):
    path = tmp_path / "a.fvecs"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=rf"dimension.*\b{len(start)} bytes|{len(start)} bytes.*dimension"):
        datasets.load_fvecs(path)


@given(st.data())
def test_mutated_records_are_refused_or_of_the_stated_shape(tmp_path_factory, data):
    path = write_records(tmp_path_factory.mktemp("m") / "a.fvecs", RECORDS["fvecs"][2], "<f4")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        loaded = datasets.load_fvecs(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert loaded.nbytes + 4 * len(loaded) == path.stat().st_size


# npy


@pytest.mark.parametrize("mmap", [False, True])
def test_npy_comes_back_as_written(tmp_path, mmap):
    vectors = RNG.standard_normal((4, 3))
    np.save(tmp_path / "a.npy", vectors)
    loaded = datasets.load_npy(tmp_path / "a.npy", mmap=mmap)
    assert isinstance(loaded, np.memmap) == mmap
    np.testing.assert_array_equal(loaded, vectors)


class Trap:
    """Leaves a file where it was unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_npy_never_unpickles(tmp_path):
    sprung = tmp_path / "sprung"
    np.save(tmp_path / "a.npy", np.array([[Trap(sprung)]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        datasets.load_npy(tmp_path / "a.npy")
    assert not sprung.exists()


def test_npy_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    for wrong in (np.zeros(3), np.zeros((2, 2, 2)), np.array([["a"]]), np.zeros((2, 2), complex)):
        np.save(path, wrong)
        with pytest.raises(ValueError, match="2-d array of numbers"):
            datasets.load_npy(path)


@given(st.data())
def test_mutated_npy_is_refused_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("m") / "a.npy"
    np.save(path, np.arange(12.0).reshape(4, 3))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))  # the header
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        loaded = datasets.load_npy(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert loaded.ndim == 2 and loaded.nbytes <= path.stat().st_size


def test_a_huge_npy_header_is_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1, 8), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(1, 8), }        ", b"(99999999999, 8)}"))
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load_npy(path)


# HDF5


@pytest.mark.parametrize("distance, metric", [("euclidean", "l2"), ("angular", "cosine")])
def test_hdf5_comes_back_as_written(tmp_path, distance, metric):
    labels = np.arange(20, dtype=np.uint8)
    path = write_hdf5(tmp_path / "toy-4.hdf5", distance, train_labels=labels)
    dataset = datasets.load_hdf5(path)
    assert (dataset.name, dataset.metric, dataset.dim) == ("toy-4", metric, 4)
    np.testing.assert_array_equal(dataset.train, TRAIN)
    np.testing.assert_array_equal(dataset.test, TEST)
    np.testing.assert_array_equal(dataset.train_labels, labels)
    assert dataset.neighbors.dtype == np.int64 and dataset.neighbors.shape == dataset.distances.shape == (3, 5)
    assert dataset.test_labels is None


def test_hdf5_may_lack_the_true_neighbours(tmp_path):
    dataset = datasets.load_hdf5(write_hdf5(tmp_path / "a.hdf5", neighbors=None, distances=None))
    assert dataset.neighbors is None and dataset.distances is None


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"train": None}, "train"),
        ({"distance": "jaccard"}, "'jaccard'; known are euclidean, angular"),
        ({"test": np.zeros((3, 5), np.float32)}, "train has 4 columns, test has 5"),
        ({"neighbors": np.full((3, 5), 20)}, "rows 0..19 of train, but range from 20 to 20"),
        ({"neighbors": np.full((3, 5), -1)}, "but range from -1 to -1"),
        ({"neighbors": np.zeros((2, 5), int)}, r"integers of shape \(3, k\).*\(2, 5\)"),
        ({"neighbors": np.zeros((3, 5))}, "must be integers"),
        ({"distances": np.zeros((3, 4))}, r"distances have shape \(3, 4\), neighbors \(3, 5\)"),
        ({"neighbors": None}, "distances are given without neighbors"),
        ({"train": np.zeros(20, np.float32)}, r"train must be 2-d.*\(20,\)"),
        ({"train": np.array([b"x"])}, "train is not an array of numbers"),
        ({"test_labels": np.zeros(4, int)}, "4 test_labels for 3 rows of test"),
    ],
)
def test_a_wrong_hdf5_file_is_refused_with_the_numbers(tmp_path, changed, message):
    path = write_hdf5(tmp_path / "a.hdf5", **changed)
    with pytest.raises(ValueError, match=message):
        datasets.load_hdf5(path)


def test_hdf5_that_claims_more_than_it_stores_is_refused_before_allocating(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = write_hdf5(tmp_path / "a.hdf5", train=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("train", shape=(10**12, 4), dtype=np.float32, chunks=(1024, 4))
    with pytest.raises(ValueError, match=r"claims 16000000000000 bytes.*stores 0 of them"):
        datasets.load_hdf5(path)


def test_truncated_hdf5_is_refused_and_a_missing_one_is_a_missing_file(tmp_path):
    path = write_hdf5(tmp_path / "a.hdf5")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        datasets.load_hdf5(path)
    with pytest.raises(FileNotFoundError):
        datasets.load_hdf5(tmp_path / "b.hdf5")


def test_mutated_hdf5_is_refused_or_fits_together(tmp_path, full):
    original = write_hdf5(tmp_path / "a.hdf5").read_bytes()
    rng, path, refused = np.random.default_rng(0), tmp_path / "m.hdf5", 0
    for _ in range(500 if full else 100):
        content = bytearray(original)
        for at in rng.integers(len(content), size=8):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            dataset = datasets.load_hdf5(path)
        except ValueError:
            refused += 1
        else:
            assert dataset.neighbors is None or dataset.neighbors.max() < len(dataset.train)
    assert refused
