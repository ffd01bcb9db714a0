"""Vectors in a column of a Parquet file, as embeddings are handed about: a list of numbers in every row.

pyarrow reads the file, block by block. All lists must be of one length and hold numbers; whatever is wrong is a
ValueError that names the file, the column and the row.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np


def load_parquet(path: str | os.PathLike[str], column: str | None = None) -> np.ndarray:
    """Read the vectors of a Parquet file.

    Parameters
    ----------
    path : str or path
    column : str, optional
        The column that holds them, a list (of any or of a fixed length) of numbers. It may be left out where the file
        has one such column.

    Returns
    -------
    ndarray, shape (n, dim)
        In the dtype of the file.

    Raises
    ------
    ValueError
        If the file is damaged or has no rows; if no column, or more than one, can be meant; if a row or a number is
        missing, or rows differ in length.
    ImportError
        If pyarrow is missing.

    Examples
    --------
    >>> import pathlib, pyarrow, pyarrow.parquet, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "one.parquet")
    >>> pyarrow.parquet.write_table(pyarrow.table({"key": ["a", "b"], "vector": [[0.5, 1.5], [2.0, 3.0]]}), file)
    >>> load_parquet(file)
    array([[0.5, 1.5],
           [2. , 3. ]])
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError('reading Parquet needs pyarrow: pip install "annlab[bench]"') from error
    path = Path(path)
    path.stat()  # a missing file is a FileNotFoundError, not a ValueError
    parts: list[np.ndarray] = []
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            name = _column(file.schema_arrow, column, pyarrow)
            for batch in file.iter_batches(columns=[name]):
                known = parts[0].shape[1] if parts else None
                parts.append(matrix_of(batch.column(0), sum(map(len, parts)), known, name, pyarrow))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (pyarrow.ArrowException, OSError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    if not parts:
        raise ValueError(f"{path}: column {name!r} has no rows")
    return np.concatenate(parts)


def _column(schema: Any, wanted: str | None, pyarrow: Any) -> str:
    """The name of the column that is meant."""
    kinds = pyarrow.types
    lists = [field.name for field in schema if (kinds.is_list(field.type) or kinds.is_large_list(field.type)
             or kinds.is_fixed_size_list(field.type)) and (kinds.is_floating(field.type.value_type)
             or kinds.is_integer(field.type.value_type))]  # fmt: skip
    if schema.names.count(wanted) > 1 or len(lists) > len(set(lists)):
        raise ValueError(f"two columns have the same name: {', '.join(schema.names)}")
    if wanted is None and len(lists) == 1:
        return str(lists[0])
    if wanted in lists:
        return str(wanted)
    asked = "say which column" if wanted is None else f"column {wanted!r} is none of them"
    raise ValueError(f"columns of lists of numbers are {', '.join(lists) or 'not there'}; {asked} "
                     f"(all columns: {', '.join(schema.names)})")  # fmt: skip


def matrix_of(column: Any, start: int, known: int | None, name: str, pyarrow: Any) -> np.ndarray:
    """One block (m, dim), whose first row is row `start` of the file, and whose dimension must be the `known` one."""
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"column {name!r} has nothing in row {start + row}")
    numbers = column.flatten()
    if pyarrow.types.is_fixed_size_list(column.type):
        lengths = np.full(len(column), column.type.list_size)
    else:
        lengths = np.diff(column.offsets.to_numpy())
    dim = int(lengths[0]) if known is None else known
    other = np.flatnonzero(lengths != dim)
    if len(other):
        raise ValueError(f"column {name!r} holds {dim} numbers in its first row and {int(lengths[other[0]])} in row "
                         f"{start + int(other[0])}; vectors of one dimension are asked for")  # fmt: skip
    if dim == 0:
        raise ValueError(f"column {name!r} holds lists without any number")
    if numbers.null_count:
        at = int(np.flatnonzero(numbers.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"column {name!r} lacks number {at % dim} of row {start + at // dim}")
    found: np.ndarray = numbers.to_numpy(zero_copy_only=False).reshape(len(column), dim)
    return found
