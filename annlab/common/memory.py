"""Where an index that may be larger than memory is built: how much memory that takes, and files for the rest.

A `Workspace` without a folder is ordinary: arrays lie in memory. With a folder, the vectors, sorted by list, lie in a
file that is mapped into memory: the system reads what a search needs and drops it when memory is short. The file has
no name (or is deleted with its last user), so nothing is left behind, whatever happens.

Memory here is what the process holds for itself. Pages of mapped files, which the system may drop at any time, do not
count, as they do not in `Index.memory`.
"""

import errno
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WORKING = 72 * 2**20  # bytes that converting, encoding and scanning blocks of rows take, whatever n is
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_ELEMENTS_AT_ONCE = 2**20


def rows_at_once(dim: int) -> int:
    """Rows to convert at a time: a few megabytes, whatever the dimension is."""
    return max(256, _ELEMENTS_AT_ONCE // dim)


def as_bytes(name: str, value: Any) -> int:
    """A number of bytes, given as such or as a string such as "2GB" (2**30 bytes each)."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", value, re.IGNORECASE)
        if match is None:
            raise ValueError(f'{name} must be a number of bytes or a string such as "2GB" or "500MB", not {value!r}')
        value = int(float(match[1]) * 2 ** _UNITS[match[2].upper()])
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer)) or not 0 < value < 2**60:
        raise ValueError(f'{name} must be a number of bytes or a string such as "2GB", not {value!r}')
    return int(value)


def in_words(n_bytes: float) -> str:
    """A number of bytes for people."""
    return f"{n_bytes / 2**30:.2f} GB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MB"


@dataclass(frozen=True)
class Workspace:
    """In memory, or with sorted vectors in files of a folder and at most `limit` bytes of memory (None: any)."""

    folder: Path | None = None
    limit: int | None = None

    @classmethod
    def in_files(cls, folder: Path | None = None, limit: int | None = None) -> "Workspace":
        """Files in a folder, that of the system's temporary ones if none is given."""
        return cls(Path(tempfile.gettempdir()) if folder is None else folder, limit)

    @property
    def in_memory(self) -> bool:
        return self.folder is None

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array to be filled, in memory or in a file; an OSError if the disk has no place for it."""
        if self.folder is None:
            return np.empty(shape, dtype)
        return mapped(self.folder, shape, dtype)

    def rows(self, row_bytes: int, most: int, used: int = 0) -> int:
        """How many rows of working memory there are beside `used` bytes; at most `most`."""
        if self.limit is None:
            return most
        return max(1, min(most, (self.limit - WORKING - used) // row_bytes))


IN_MEMORY = Workspace()


def mapped(folder: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in a nameless file that is reserved on the disk at once, so that writing cannot fail later."""
    n_bytes = max(1, int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize)
    with tempfile.TemporaryFile(dir=folder, prefix=".annlab-") as file:
        file.truncate(n_bytes)
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            except OSError as error:  # some file systems cannot reserve
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
        return np.asarray(np.memmap(file, np.dtype(dtype), mode="r+", shape=shape))


def copied(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """A copy with rows one after the other, of an element type, made by parts: one call for gigabytes would not answer
    Ctrl-C."""
    result = np.empty(array.shape, array.dtype if dtype is None else dtype)
    at_once = rows_at_once(max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), at_once):
        result[start : start + at_once] = array[start : start + at_once]
    return result


def taken(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """array[rows], made by parts as `copied` is; `rows` (m,) are numbers of rows, all within the array."""
    at_once = rows_at_once(max(1, int(np.prod(array.shape[1:]))))
    if len(rows) <= at_once:
        return array[rows]
    result = np.empty((len(rows), *array.shape[1:]), array.dtype)
    for start in range(0, len(rows), at_once):
        np.take(array, rows[start : start + at_once], axis=0, out=result[start : start + at_once], mode="clip")
    return result


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array's values lie in a file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def joined(first: np.ndarray, second: np.ndarray, order: np.ndarray, workspace: Workspace) -> np.ndarray:
    """The rows of `first` and of `second` behind them, in another order."""
    result = workspace.empty((len(order), *first.shape[1:]), first.dtype)
    at_once = rows_at_once(max(1, int(np.prod(first.shape[1:]))))
    for start in range(0, len(order), at_once):
        places = order[start : start + at_once]
        some, is_new = result[start : start + at_once], places >= len(first)
        some[~is_new] = first[places[~is_new]]
        some[is_new] = second[places[is_new] - len(first)]
    return result
