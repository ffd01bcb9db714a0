"""What every evaluation function asks of its arrays, said once: the errors name the numbers and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LARGEST_EXACT = 2**53  # float64 tells all integers up to here apart
_KINDS = {"b": "bools", "i": "integers", "u": "integers", "f": "floats", "U": "strings", "T": "strings"}


def as_cutoff(k: Any, name: str = "k") -> int:
    """``k`` as an int of at least 1; bools and fractions are refused."""
    if isinstance(k, bool | np.bool_) or not isinstance(k, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {k!r}")
    if k < 1:
        raise ValueError(f"{name} must be at least 1, got {k}")
    return int(k)


def as_numbers(values: ArrayLike, name: str, ndim: int) -> NDArray[Any]:
    """A real, finite array of ``ndim`` dimensions; its dtype is kept, and nothing is copied without need."""
    array = _as_array(values, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got {_example(array)}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = _first(~np.isfinite(array))
        raise ValueError(f"{name} must be finite, but {name}{list(first)} is {array[first]}")
    return array


def as_doubles(values: ArrayLike, name: str, ndim: int) -> NDArray[np.float64]:
    """The same in float64; numbers that float64 cannot hold are refused rather than rounded."""
    array = as_numbers(values, name, ndim)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        largest = max(int(array.max()), -int(array.min()))
        if largest > _LARGEST_EXACT:
            raise ValueError(
                f"{name} holds the integer {largest}, which float64 cannot tell from its neighbours (2**53 is the "
                "limit): subtract what all have in common"
            )
    with np.errstate(over="ignore"):
        doubles = array.astype(np.float64, copy=False)
    if array.dtype.itemsize > 8 and not np.isfinite(doubles).all():
        first = _first(~np.isfinite(doubles))
        raise ValueError(f"{name}{list(first)} is {array[first]}, which float64 cannot represent: scale the data")
    return doubles


def as_grades(values: ArrayLike, name: str, ndim: int) -> NDArray[Any]:
    """Relevance grades: real and finite. Negative ones, with which TREC's files mark junk, become 0: not relevant."""
    grades = as_numbers(values, name, ndim)
    if grades.dtype.kind in "iu":
        as_doubles(grades, name, ndim)
    if grades.dtype.kind in "if" and grades.size and grades.min() < 0:
        return np.maximum(grades, 0)
    return grades


def as_ids(values: ArrayLike, name: str, ndim: int) -> NDArray[np.int64]:
    """int64 ids; what a cast would change is refused, an empty list is accepted."""
    array = _as_array(values, name)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind == "O":  # a column of a table, or integers beyond 64 bits
        array = _unboxed(array, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {_example(array)}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit in int64, got {array.max()}")
    return array.astype(np.int64, copy=False)


def as_labels(values: ArrayLike, name: str) -> NDArray[Any]:
    """Labels of shape (n,): integers (int64), strings, or bools; never two of these kinds at once."""
    array = _as_array(values, name)
    if array.dtype.kind == "O":
        array = _unboxed(array, name)
    if array.dtype.kind == "T":  # NumPy's strings of variable length
        array = array.astype(np.str_)
    if array.dtype.kind not in "biuU":
        raise TypeError(f"{name} must be integers or strings, got {_example(array)}")
    if array.dtype.kind == "u":
        return as_ids(array, name, array.ndim)
    return array.astype(np.int64, copy=False) if array.dtype.kind == "i" else array


def _as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """An array of what was given. Lists are looked through first, for NumPy makes one type of all that they hold."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has {np.ma.count_masked(values)} masked entries: drop or fill them")
    kinds = _kinds_in(values, name) if isinstance(values, list | tuple) else set()
    try:
        array = np.asarray(values)
        # NumPy makes floats of integers that need 64 bits without a sign beside those that need one.
        return np.asarray(values, dtype=object) if kinds == {"integers"} and array.dtype.kind == "f" else array
    except (ValueError, OverflowError) as error:
        rows = values if isinstance(values, list | tuple) else []
        lengths = sorted({len(row) for row in rows if isinstance(row, Sized)})
        if len(lengths) > 1:
            raise ValueError(
                f"{name} has rows of {lengths[0]} to {lengths[-1]} entries: make them equally long (rankings: pad with "
                "-1, grades with 0)"
            ) from None
        raise ValueError(f"{name} cannot be made an array: {error}") from None


def _kinds_in(values: Iterable[Any], name: str) -> set[str]:
    """The kinds of values in nested lists. Raises where NumPy would make 1 into "1", True into 1, or a large integer
    into the float nearest to it."""
    examples: dict[str, Any] = {}
    stack = [values]
    while stack:
        for value in stack.pop():
            kind = _kind_of(value)
            if kind == "objects" and hasattr(value, "__array__"):
                array = np.asarray(value)
                if array.size and array.dtype.kind in _KINDS:
                    examples.setdefault(_KINDS[array.dtype.kind], array.flat[0])
            elif kind == "objects" and isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
                stack.append(value)
            elif kind not in examples or (kind == "integers" and abs(value) > abs(examples[kind])):
                examples[kind] = value  # of integers the largest: the one that a float would change
    kinds = set(examples)
    lossless = kinds == {"integers", "floats"} and abs(examples["integers"]) <= _LARGEST_EXACT
    if len(kinds) > 1 and not lossless:
        shown = " and ".join(f"{kind} ({examples[kind]!r})" for kind in sorted(kinds))
        raise TypeError(f"{name} must be of one kind, but holds {shown}")
    return kinds


def _kind_of(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bools"
    if isinstance(value, int | np.integer):
        return "integers"
    if isinstance(value, float | np.floating):
        return "floats"
    return "strings" if isinstance(value, str) else "objects"


def _unboxed(array: NDArray[Any], name: str) -> NDArray[Any]:
    """An array of Python objects as the integers or strings that it holds; everything else is refused by its value."""
    for kind, dtype in ((int | np.integer, None), (str, np.str_)):
        strange = [value for value in array.flat if not isinstance(value, kind) or isinstance(value, bool | np.bool_)]
        if not strange:
            largest = max((abs(int(value)) for value in array.flat), default=0) if dtype is None else 0
            if largest > np.iinfo(np.int64).max:
                raise ValueError(f"{name} must fit in int64, got magnitude {largest}")
            return array.astype(dtype or np.int64)
        if len(strange) < array.size:
            raise TypeError(f"{name} must be of one kind, but one entry is {strange[0]!r}")
    raise TypeError(f"{name} must be integers or strings, got {array.flat[0]!r}")


def _example(array: NDArray[Any]) -> str:
    """What to say of an array of the wrong type: the dtype, and the first value that a cast would change."""
    if array.size == 0:
        return f"dtype {array.dtype}"
    value = array.flat[0]
    if array.dtype.kind == "f":
        changed = ~np.isfinite(array) | (array != np.trunc(array))
        value = array[_first(changed)] if changed.any() else value
    return f"dtype {array.dtype}, for example {value}"


def _first(where: NDArray[np.bool_]) -> tuple[int, ...]:
    """The first place that is True."""
    return tuple(int(i) for i in np.argwhere(where)[0])


def refuse_duplicates(ids: NDArray[np.int64], name: str) -> None:
    """Raise if a row of ``ids`` (q, k) holds an id twice; -1 is padding and may repeat."""
    in_order = np.sort(ids, axis=1)
    twice = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != -1)
    if twice.any():
        row, column = (int(i) for i in np.argwhere(twice)[0])
        raise ValueError(
            f"{name}: row {row} holds id {in_order[row, column]} more than once; it would be counted twice"
        )


def refuse_negative_ids(ids: NDArray[np.int64], name: str) -> None:
    """Raise on ids below -1, which are neither an id nor padding."""
    if ids.size and ids.min() < -1:
        raise ValueError(f"{name} holds {ids.min()}: ids are 0 or more, and -1 pads a row with fewer results")


def as_level(level: float) -> float:
    """A confidence level strictly between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, for example 0.95, got {level!r}")
    return float(level)
