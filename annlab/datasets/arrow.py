"""Vectors that come as Arrow batches: from Parquet and Arrow files, or from whoever hands out a stream of batches
(DuckDB, Lance, Polars, a pyarrow table), without ever being in memory as a whole.

    batches = annlab.datasets.arrow_batches("photos.parquet", vectors="embedding", ids="id", attributes=["owner"])
    index = annlab.IVFIndex(storage="pq4").fit(batches.vectors, batches.ids, attributes=batches.attributes,
                                               max_memory="1GB", path="photos.annlab")

The three go through the source together, once: whoever asks for the next vectors gets the ids and attributes of these
from the other two. In memory is the batch in hand, of some megabytes.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annlab.datasets.parquet import matrix_of

_BYTES_AT_ONCE = 2**23


class ArrowBatches(NamedTuple):
    """Iterators that go on together: matrices (rows, dim), ids (rows,) int64 or None, and Arrow arrays by name."""

    vectors: Iterator[np.ndarray]
    ids: Iterator[np.ndarray] | None
    attributes: dict[str, Iterator[Any]]


def arrow_batches(source: Any, *, vectors: str = "vector", ids: str | None = None,
                  attributes: Sequence[str] = ()) -> ArrowBatches:  # fmt: skip
    """Columns of a table as blocks that `IVFIndex.fit` takes.

    Parameters
    ----------
    source : path, or anything with a stream of Arrow batches
        A file .parquet, .arrow or .feather (version 2), a `pyarrow.RecordBatchReader` or table, what DuckDB's
        `fetch_record_batch` and Lance's `to_reader` return, or whatever has `__arrow_c_stream__`.
    vectors : str
        The column of vectors: lists of numbers, all of one length.
    ids : str, optional
        A column of integers.
    attributes : sequence of str
        Columns of numbers, bools or strings, for `where=` in searches.

    Raises
    ------
    ImportError
        Without pyarrow.
    ValueError, TypeError
        There is no such column, or it holds something else; the message names the column and the row.
    """
    names = [vectors, *([] if ids is None else [ids]), *attributes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"column {sorted(twice)[0]!r} is named twice: vectors, ids and attributes are columns apart")
    rows, held = _rows(source, names), dict[str, Any]()

    def each() -> Iterator[np.ndarray]:
        start, dim = 0, None
        for batch in rows:
            held.clear()
            held.update(zip(names, (batch.column(name) for name in names), strict=True))
            matrix = _matrix(held.pop(vectors), vectors, start, dim)
            start, dim = start + len(matrix), matrix.shape[1]
            yield matrix

    def beside(name: str) -> Iterator[Any]:
        while name in held:
            yield held.pop(name)

    def numbers(name: str) -> Iterator[np.ndarray]:
        start = 0
        for column in beside(name):
            yield _ids(column, name, start)
            start += len(column)

    return ArrowBatches(each(), None if ids is None else numbers(ids), {name: beside(name) for name in attributes})


def _rows(source: Any, names: list[str]) -> Iterator[Any]:
    """Batches of these columns, of a bounded size."""
    schema, batches = _opened(source, names)
    for name in names:
        if name not in schema.names:
            raise ValueError(f"there is no column {name!r}: the table has {', '.join(schema.names) or 'none'}")
    for batch in batches:
        at_once = max(1, int(_BYTES_AT_ONCE * batch.num_rows / max(batch.nbytes, 1)))
        for start in range(0, batch.num_rows, at_once):
            yield batch.slice(start, at_once)


def _opened(source: Any, names: list[str]) -> tuple[Any, Iterator[Any]]:
    """The schema of a source, and its batches."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError('tables of Arrow need pyarrow: pip install "annlab[arrow]"') from error
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        path.stat()  # a missing file is a FileNotFoundError
        try:
            if path.suffix == ".parquet":
                file = pyarrow.parquet.ParquetFile(path)
                schema = file.schema_arrow
                there = [name for name in names if name in schema.names]
                return schema, _groups(file, there)
            reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} cannot be read as a table of Parquet or Arrow: {error}") from error
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
    if not hasattr(source, "__arrow_c_stream__"):
        raise TypeError(
            f"a source of Arrow batches is a file or has __arrow_c_stream__; {type(source).__name__} has not"
        )
    stream = pyarrow.RecordBatchReader.from_stream(source)
    return stream.schema, iter(stream)


def _groups(file: Any, names: list[str]) -> Iterator[Any]:
    """The batches of a Parquet file, group by group: asked for all of them, it keeps what it has read."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(2**14, row_groups=[group], columns=names, use_threads=False)


def _matrix(column: Any, name: str, start: int, dim: int | None) -> np.ndarray:
    """A column of lists as a matrix."""
    import pyarrow

    kinds, kind = pyarrow.types, column.type
    if not (kinds.is_fixed_size_list(kind) or kinds.is_list(kind) or kinds.is_large_list(kind)) or not (
        kinds.is_floating(kind.value_type) or kinds.is_integer(kind.value_type)
    ):
        raise TypeError(f"column {name!r} holds {kind}: vectors are lists of numbers, all of one length")
    matrix = matrix_of(column, start, dim, name, pyarrow)
    return matrix if matrix.dtype == np.float64 else matrix.astype(np.float32, copy=False)


def _ids(column: Any, name: str, start: int) -> np.ndarray:
    """A column of integers."""
    import pyarrow

    if not pyarrow.types.is_integer(column.type):
        raise TypeError(f"column {name!r} holds {column.type}: ids are integers")
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"column {name!r} has no id in row {row}")
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values
