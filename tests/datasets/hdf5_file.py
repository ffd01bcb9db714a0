"""Writes a small HDF5 file in the layout of ann-benchmarks, for the tests of data sets."""

import numpy as np
import pytest

RNG = np.random.default_rng(7)
TRAIN, TEST = RNG.random((20, 4)).astype(np.float32), RNG.random((3, 4)).astype(np.float32)


def write_hdf5(path, distance="angular", **changed):
    h5py = pytest.importorskip("h5py")
    gaps = ((TEST[:, None] - TRAIN) ** 2).sum(axis=2)
    neighbors = np.argsort(gaps, axis=1)[:, :5]
    arrays = {"train": TRAIN, "test": TEST, "neighbors": neighbors.astype(np.int32)}
    arrays |= {"distances": np.sqrt(np.take_along_axis(gaps, neighbors, axis=1))} | changed
    with h5py.File(path, "w") as file:
        file.attrs.update({"distance": distance, "dimension": 4, "type": "dense"})
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    return path
