"""Reads the files that faiss writes, without faiss: flat indexes, inverted files of vectors, and these with ids.

A file is a tree of records, each of which begins with four letters that name its kind, and a head that all indexes
share (dimension, number of vectors, metric). Numbers are little-endian; an array is its length and its elements:

    IxF2, IxFI, IxFl   flat: the vectors
    IwFl               inverted file: number of lists, probes, the quantizer (another record), a map, and lists of
                       codes, which for this kind are the vectors themselves, with their ids
    IxMp, IxM2         an index, and the ids of its vectors

The layout was read off files that faiss 1.15 wrote. A file may be damaged or made to do harm: every length is compared
with what is left of the file before anything is allocated, and all else is refused by name.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

METRIC_INNER_PRODUCT, METRIC_L2 = 0, 1
FLAT = (b"IxF2", b"IxFI", b"IxFl")
MAPPED = (b"IxMp", b"IxM2")
LISTS = b"IwFl"
_MOST_DEEP = 4


@dataclass(frozen=True)
class FaissFile:
    """What such a file holds.

    Attributes
    ----------
    vectors : float32 array of shape (n, d)
    ids : int64 array of shape (n,), or None
        None where vectors are numbered in their order.
    metric : int
        `METRIC_L2` or `METRIC_INNER_PRODUCT`.
    n_lists, n_probes : int, or None for a flat index
    """

    vectors: np.ndarray
    ids: np.ndarray | None
    metric: int
    n_lists: int | None = None
    n_probes: int | None = None


def is_faiss_file(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as one of faiss does."""
    with open(path, "rb") as file:
        start = file.read(4)
    return len(start) == 4 and start[:1] == b"I" and start[1:].isalnum()


def read(path: str | os.PathLike[str]) -> FaissFile:
    """The content of a file that faiss wrote.

    Raises
    ------
    ValueError
        It is damaged, or of a kind or metric that is not read here; the message says which.
    """
    source = _Source(Path(path).read_bytes(), str(path))
    found = _index(source, 0)
    if source.at != len(source.data):
        raise ValueError(f"{path}: {len(source.data) - source.at} bytes follow the index")
    return found


class _Source:
    """The bytes of a file, read from the front."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.at = data, name, 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if not 0 <= size <= len(self.data) - self.at:
            raise ValueError(f"{self.name} is damaged: at byte {self.at:,} it claims {size:,} bytes more, and has "
                             f"{len(self.data) - self.at:,}")  # fmt: skip
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """Numbers of these formats (of `struct`)."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def array(self, kind: str, count: int | None = None) -> np.ndarray:
        """So many elements, or as many as a number before them says."""
        wanted = self.numbers("Q")[0] if count is None else count
        dtype = np.dtype(kind).newbyteorder("<")
        return np.frombuffer(self.take(wanted * dtype.itemsize), dtype).astype(kind)


def _head(source: _Source) -> tuple[int, int, int]:
    """Dimension, number of vectors and metric."""
    dim, n, _, _, trained, metric = source.numbers("iqqqBi")
    if metric not in (METRIC_INNER_PRODUCT, METRIC_L2):
        raise ValueError(f"{source.name} is of faiss's metric {metric}; L2 (1) and inner product (0) are read")
    if dim < 1 or n < 0 or trained not in (0, 1):
        raise ValueError(f"{source.name} is damaged: {n} vectors of {dim} dimensions, trained: {trained}")
    return dim, n, metric


def _index(source: _Source, depth: int) -> FaissFile:
    kind = source.take(4)
    if depth > _MOST_DEEP:
        raise ValueError(f"{source.name} is damaged: records lie more than {_MOST_DEEP} deep in each other")
    if kind in FLAT:
        return _flat(source)
    if kind == LISTS:
        return _lists(source, depth)
    if kind in MAPPED:
        _, n, _ = _head(source)
        inner, ids = _index(source, depth + 1), source.array("i8")
        if inner.ids is not None or not len(ids) == len(inner.vectors) == n:
            raise ValueError(f"{source.name} is damaged: {len(ids)} ids for {len(inner.vectors)} vectors, {n} said")
        return FaissFile(inner.vectors, ids, inner.metric, inner.n_lists, inner.n_probes)
    raise ValueError(f"{source.name} holds a {kind!r} of faiss; flat indexes and IVFFlat are read, with or without "
                     "IDMap: read others with faiss, and give annlab the vectors (index.reconstruct_n)")  # fmt: skip


def _flat(source: _Source) -> FaissFile:
    dim, n, metric = _head(source)
    values = source.array("f4")
    if len(values) != n * dim:
        raise ValueError(f"{source.name} is damaged: {len(values)} numbers for {n} vectors of {dim} dimensions")
    return FaissFile(values.reshape(n, dim), None, metric)


def _lists(source: _Source, depth: int) -> FaissFile:
    dim, n, metric = _head(source)
    n_lists, n_probes = source.numbers("QQ")
    _index(source, depth + 1)  # the quantizer: annlab learns its own
    direct, _ = source.numbers("B")[0], source.array("i8")
    letters, lists, code_size = source.take(4), *source.numbers("QQ")
    if direct > 1 or letters != b"ilar" or lists != n_lists or code_size != 4 * dim:
        raise ValueError(f"{source.name}: lists of the kind {letters!r}, {lists} of {n_lists}, codes of {code_size} "
                         f"bytes for {dim} dimensions, map {direct}: this is not read")  # fmt: skip
    layout, sizes = source.take(4), source.array("u8").astype(object)
    if layout == b"sprs" and len(sizes) % 2 == 0:
        sizes = sizes[1::2]  # pairs of a list's number and its size
    elif layout != b"full" or len(sizes) != n_lists:
        raise ValueError(f"{source.name} is damaged: {len(sizes)} sizes of {n_lists} lists, laid out as {layout!r}")
    vectors, ids = [], []
    for size in sizes:
        vectors.append(source.array("f4", int(size) * dim).reshape(-1, dim))
        ids.append(source.array("i8", int(size)))
    found = FaissFile(np.concatenate([np.empty((0, dim), "f4"), *vectors]), np.concatenate([np.empty(0, "i8"), *ids]),
                      metric, int(n_lists), int(n_probes))  # fmt: skip
    if len(found.vectors) != n:
        raise ValueError(f"{source.name} is damaged: {len(found.vectors)} vectors in lists, {n} said")
    return found
