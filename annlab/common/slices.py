"""Arrays that are no NumPy arrays but hand out their rows by slices: datasets in HDF5 and Zarr files, and their like.

Asking such a thing for all of itself puts it into memory whole, in its own element type and then in ours. So it is read
some megabytes at a time, wherever vectors are taken; and building out of core never has it in memory at all.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_ELEMENTS_AT_ONCE = 2**20
_LARGEST_CHUNK = 2**25  # bytes: a file's own chunks are read whole up to this size, since each is unpacked as a whole


def is_sliced(values: Any) -> bool:
    """Whether something is a matrix in parts: it has two lengths, an element type and slices, and is no array yet."""
    ours = isinstance(values, np.ndarray) or any(
        hasattr(values, name) for name in ("toarray", "detach", "__array_interface__", "columns")
    )
    if ours or not all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        return len(values.shape) == 2
    except TypeError:
        return False


def parts(values: Any) -> Iterator[Any]:
    """The rows of such a matrix, some at a time; none at all where it has none."""
    n, at_once = int(values.shape[0]), rows_at_once(values)
    for start in range(0, n, at_once):
        stop = min(n, start + at_once)
        part = values[start:stop]
        if len(part) != stop - start:
            raise ValueError(f"vectors[{start}:{stop}] gave {len(part)} rows of the {n} that the shape promises")
        yield part


def rows_at_once(values: Any) -> int:
    """How many rows to ask for: whole chunks of the file, where it says what these are."""
    dim = max(1, int(values.shape[1]))
    rows, chunks = max(1, _ELEMENTS_AT_ONCE // dim), getattr(values, "chunks", None)
    if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], (int, np.integer)) and chunks[0] > 0:
        chunk = int(chunks[0])
        if chunk <= rows:
            rows -= rows % chunk
        elif chunk * dim * getattr(values.dtype, "itemsize", 8) <= _LARGEST_CHUNK:
            rows = chunk
    return rows


def joined(values: Any, checked: Callable[[Any, str], np.ndarray]) -> np.ndarray:
    """All rows in one array, each part `checked` (it is given a name for errors) before the next one is read."""
    result, start = None, 0
    for part in parts(values):
        rows = checked(part, f"vectors[{start}:{start + len(part)}]")
        if result is None:
            result = np.empty((int(values.shape[0]), rows.shape[1]), rows.dtype)
        result[start : start + len(rows)] = rows
        start += len(rows)
    return checked(np.asarray(values[:0]), "vectors") if result is None else result
