"""Vectors that come block by block: checked, and brought into one array that may be larger than memory.

An iterator can be read only once, but building needs the vectors three times (a sample to train on, an assignment to
lists, a place in the list). So blocks are written to a file as they come, which is then mapped as one array: an exact
random sample can be drawn from it, and an index built from blocks is the same, bit for bit, as one built from the whole
array. It costs the disk space of the vectors, until the index is built. What hands out slices (a dataset in an HDF5
file) is read in the same way. An array that is there already (in memory or mapped) is not copied, only checked, block
by block too.

An error names the block and the row in it. Nothing is kept of what was read before it.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annlab.common import slices, validation
from annlab.common.memory import rows_at_once
from annlab.common.progress import Progress
from annlab.core.attributes import Attribute, as_attribute, as_columns


@dataclass(frozen=True)
class Source:
    """All that was read: vectors (n, dim), ids (n,) int64 or None for 0..n-1, and columns of attributes."""

    vectors: np.ndarray
    ids: np.ndarray | None
    columns: dict[str, Attribute]


def are_blocks(vectors: Any) -> bool:
    """Whether vectors come as blocks: an iterator, something that can be iterated over but is no array, or a list of
    matrices."""
    if isinstance(vectors, (list, tuple)):
        return len(vectors) > 0 and getattr(vectors[0], "ndim", 0) == 2
    if any(hasattr(vectors, name) for name in ("shape", "__array__", "toarray", "detach", "__array_interface__")):
        return False
    return isinstance(vectors, Iterable) and not isinstance(vectors, (str, bytes, Mapping))


def read(vectors: Any, ids: Any, attributes: Mapping[str, Any] | None, dim: int | None, folder: Path | None,
         progress: Progress, metric: str = "l2") -> Source:  # fmt: skip
    """Read and check blocks, or an array, for a metric.

    `ids` and attributes: arrays of n, or iterators with an array a block.
    """
    beside = _Beside(ids, attributes or {})
    if are_blocks(vectors):
        array = _spilled(_checked(vectors, dim, beside, progress, metric), folder)
    elif slices.is_sliced(vectors):
        rows = _checked(slices.parts(vectors), dim, beside, progress, metric, _slice_name)
        array = _spilled(rows, folder)
    else:
        given = validation.as_array(vectors, "vectors")
        usable = given.dtype in (np.float32, np.float64) and given.flags.c_contiguous and given.ndim == 2
        pieces = _checked(_slices(given), dim, beside, progress, metric, _slice_name)
        if usable:
            for _ in pieces:
                pass
            array = given
        else:
            array = _spilled(pieces, folder)
    n = len(array)
    if not n:
        raise ValueError("fit needs a vector, but there is none in any block")
    return Source(array, *beside.whole(n))


class _Beside:
    """Ids and attributes that come with the vectors: whole, or block by block."""

    def __init__(self, ids: Any, attributes: Mapping[str, Any]) -> None:
        given = {"ids": ids, **{f"attribute {name!r}": values for name, values in attributes.items()}}
        self._names, self._has_ids = list(attributes), ids is not None
        self._iterators = {name: values for name, values in given.items() if isinstance(values, Iterator)}
        self._ids: list[np.ndarray] = []
        self._columns: dict[str, Attribute] = {}
        self._given = given

    def block(self, number: int, length: int) -> None:
        """Take what belongs to a block of vectors."""
        for name, iterator in self._iterators.items():
            part = next(iterator, None)
            if part is None:
                raise ValueError(f"{name} end before block {number} of the vectors")
            if np.shape(part) != (length,):
                raise ValueError(f"{name} of block {number} have shape {np.shape(part)} for {length} vectors")
            if name == "ids":
                self._ids.append(validation.as_ids(part, length=length))
                continue
            more, known = as_attribute(name, part, length), self._columns.get(name)
            self._columns[name] = more if known is None else known.extended(name, more)

    def whole(self, n: int) -> tuple[np.ndarray | None, dict[str, Attribute]]:
        """Ids and columns of all n vectors, checked."""
        values = {**self._given, **self._columns}
        for name, iterator in self._iterators.items():
            if next(iterator, None) is not None:
                raise ValueError(f"{name} go on behind the last block of the vectors")
        if "ids" in self._iterators:
            values["ids"] = np.concatenate(self._ids)
        ids = validation.as_ids(values["ids"], length=n) if self._has_ids else None
        if ids is not None:
            validation.no_duplicates(ids)
        columns = as_columns({name: values[f"attribute {name!r}"] for name in self._names}, n)
        return ids, columns


def _slices(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array as blocks."""
    rows = rows_at_once(array.shape[1]) if array.ndim == 2 and array.shape[1] else len(array) if array.ndim else 1
    starts = range(0, max(len(array), 1), max(rows, 1)) if array.ndim else ()
    return iter([array]) if not array.ndim else (array[start : start + rows] for start in starts)


def _slice_name(number: int, start: int, stop: int) -> str:
    return "vectors" if number == 0 else f"vectors[{start}:{stop}]"


def _block_name(number: int, start: int, stop: int) -> str:
    return f"block {number}"


def _checked(blocks: Iterable[Any], dim: int | None, beside: _Beside, progress: Progress, metric: str,
             name: Any = _block_name) -> Iterator[np.ndarray]:  # fmt: skip
    """Blocks as matrices of one element type and dimension, checked."""
    n, dtype = 0, None
    progress("reading", 0.0)
    for number, block in enumerate(blocks):
        given = validation.as_array(block, name(number, n, n))
        what = name(number, n, n + (len(given) if given.ndim else 0))
        array = validation.as_vectors(given, name=what, dim=dim, dtype=dtype, metric=metric)
        n, dim, dtype = n + len(array), array.shape[1], array.dtype
        if n > validation.MAX_ROWS:
            raise ValueError(f"{what} brings the vectors to {n} rows; one index holds at most {validation.MAX_ROWS}")
        beside.block(number, len(array))
        yield array
    progress("reading", 1.0)


def _spilled(blocks: Iterable[np.ndarray], folder: Path | None) -> np.ndarray:
    """Blocks written one after the other into a nameless file, mapped as one array."""
    n, dim, dtype = 0, 0, np.dtype(np.float32)
    with tempfile.TemporaryFile(dir=folder, prefix=".annlab-") as file:
        for block in blocks:
            file.write(block.reshape(-1).view(np.uint8).data)
            n, dim, dtype = n + len(block), block.shape[1], block.dtype
        file.flush()
        if not n:
            return np.empty((0, max(dim, 1)), dtype)
        return np.asarray(np.memmap(file, dtype, mode="r+", shape=(n, dim)))
