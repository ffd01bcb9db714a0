"""Readers of the field's file formats.

- HDF5 as ann-benchmarks lays it out: arrays ``train``, ``test``, ``neighbors``, ``distances``, attribute ``distance``.
- fvecs, bvecs, ivecs (the TEXMEX sets such as SIFT1M: Jegou, Douze, Schmid, PAMI 2011): records of a little-endian
  int32 that states the dimension, then that many float32, uint8 or int32. All records of a file have one dimension.
- npy: one 2-d array.

A file may be truncated, damaged or made to do harm. So sizes are compared with the file before anything of that size is
allocated, every record's dimension is checked, nothing is unpickled, and whatever is wrong is a ValueError that names
the file and the numbers.
"""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets.dataset import Dataset

METRIC_OF_DISTANCE = {"euclidean": "l2", "angular": "cosine"}
OPTIONAL_ARRAYS = ("neighbors", "distances", "train_labels", "test_labels")
# No compressor of HDF5 shrinks numbers more than this (deflate's limit is 1032), so a larger claim is a lie.
LARGEST_COMPRESSION = 1100


def load_hdf5(path: str | os.PathLike[str]) -> Dataset:
    """Read a file of ann-benchmarks.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Dataset
        Arrays in the dtypes of the file (``neighbors`` as int64); distance "euclidean" is metric "l2", "angular" is
        "cosine". ``train_labels`` and ``test_labels`` are read where the file has them.

    Raises
    ------
    ValueError
        If the file is damaged, is not laid out so, or is of another distance.
    ImportError
        If h5py is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError('reading HDF5 needs h5py: pip install "annlab[bench]"') from error
    path = Path(path)
    path.stat()  # a missing file is a FileNotFoundError, not a ValueError
    try:
        with h5py.File(path, "r") as file:
            distance = file.attrs.get("distance", b"")
            kind = file.attrs.get("type", "dense")
            arrays = {name: _read_dataset(file, name) for name in ("train", "test")}
            arrays |= {name: _read_dataset(file, name) for name in OPTIONAL_ARRAYS if name in file}
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read as HDF5 of ann-benchmarks: {error}") from error
    distance, kind = (
        value.decode(errors="replace") if isinstance(value, bytes) else value for value in (distance, kind)
    )
    if kind != "dense":
        raise ValueError(f"{path} holds {kind!r} vectors; only dense ones can be read")
    if not isinstance(distance, str) or distance not in METRIC_OF_DISTANCE:
        raise ValueError(f"{path} is of distance {distance!r}; known are {', '.join(METRIC_OF_DISTANCE)}")
    neighbors = arrays.get("neighbors")
    if neighbors is not None and neighbors.dtype.kind in "iu":
        arrays["neighbors"] = neighbors.astype(np.int64)
    return Dataset(path.stem, arrays.pop("train"), arrays.pop("test"), METRIC_OF_DISTANCE[distance], **arrays)  # type: ignore[arg-type]


def _read_dataset(file: Any, name: str) -> np.ndarray:
    """Read one array of numbers from an open HDF5 file, once its stated size is known to be possible."""
    import h5py

    stored = file[name]
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "fiu":
        raise ValueError(f"{name} is not an array of numbers")
    size, on_disk = math.prod(stored.shape) * stored.dtype.itemsize, stored.id.get_storage_size()
    if size > LARGEST_COMPRESSION * on_disk:
        raise ValueError(f"{name} claims {size} bytes of shape {stored.shape}, but the file stores {on_disk} of them")
    return stored[()]


def load_fvecs(path: str | os.PathLike[str], mmap: bool = False) -> np.ndarray:
    """Read float32 vectors.

    Parameters
    ----------
    path : str or path
    mmap : bool
        Map the file instead of reading it: a read-only view whose rows are apart by dim + 1 numbers. The dimensions of
        all records are checked all the same, which reads a page of each.

    Returns
    -------
    ndarray of float32, shape (n, dim)

    Raises
    ------
    ValueError
        If a record's dimension differs from the first one's or is not positive, or if the file does not end with a
        whole record.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "one.fvecs")
    >>> _ = file.write_bytes(np.array([2], "<i4").tobytes() + np.array([0.5, 1.5], "<f4").tobytes())
    >>> load_fvecs(file)
    array([[0.5, 1.5]], dtype=float32)
    """
    return _load_records(path, np.dtype("<f4"), mmap)


def load_ivecs(path: str | os.PathLike[str], mmap: bool = False) -> np.ndarray:
    """Read int32 vectors (true neighbours, for example) of shape (n, dim); see `load_fvecs`."""
    return _load_records(path, np.dtype("<i4"), mmap)


def load_bvecs(path: str | os.PathLike[str], mmap: bool = False) -> np.ndarray:
    """Read uint8 vectors of shape (n, dim); see `load_fvecs`."""
    return _load_records(path, np.dtype("u1"), mmap)


def _load_records(path: str | os.PathLike[str], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read records of an int32 dimension and that many values of a dtype."""
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        dim = int.from_bytes(file.read(4), "little", signed=True)
    if size < 4 or dim < 1:
        raise ValueError(f"{path} ({size} bytes) must start with a dimension of at least 1, not with {dim}")
    record = 4 + dim * dtype.itemsize
    if size % record:
        raise ValueError(
            f"{path}: its first record states dimension {dim}, so a {dtype.name} record has {record} bytes, but its "
            f"{size} bytes are {size // record} of them and {size % record} bytes more. Is it truncated?"
        )
    records = np.memmap(path, np.dtype([("dim", "<i4"), ("vector", dtype, (dim,))]), mode="r")
    wrong = np.flatnonzero(records["dim"] != dim)
    if len(wrong):
        raise ValueError(
            f"{path}: record {wrong[0]} states dimension {records['dim'][wrong[0]]}, record 0 states {dim}"
        )
    return records["vector"] if mmap else np.array(records["vector"])


def load_npy(path: str | os.PathLike[str], mmap: bool = False) -> np.ndarray:
    """Read a 2-d array of numbers from an npy file.

    Parameters
    ----------
    path : str or path
    mmap : bool
        Map the file, read-only, instead of reading it.

    Returns
    -------
    ndarray of shape (n, dim), in the dtype of the file

    Raises
    ------
    ValueError
        If the file is damaged or truncated, or holds anything else (Python objects are never unpickled).
    """
    path = Path(path)
    path.stat()  # a missing file is a FileNotFoundError, not a ValueError
    try:
        # Mapped first in both cases: that compares the stated shape with the size of the file before allocating it.
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy parses the header as a Python literal: a damaged one raises almost anything
        raise ValueError(f"{path} cannot be read as an npy file of numbers: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"{path} must hold a 2-d array of numbers, not {array.dtype} of shape {array.shape}")
    return array if mmap else np.array(array)
