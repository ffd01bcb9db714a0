"""What every evaluation function asks of its arrays, said once: the errors name the numbers and the fix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_cutoff(k: Any, name: str = "k") -> int:
    """``k`` as an int of at least 1; bools and fractions are refused."""
    if isinstance(k, bool | np.bool_) or not isinstance(k, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {k!r}")
    if k < 1:
        raise ValueError(f"{name} must be at least 1, got {k}")
    return int(k)


def as_numbers(values: ArrayLike, name: str, ndim: int) -> NDArray[Any]:
    """A real, finite array of ``ndim`` dimensions; its dtype is kept, and nothing is copied without need."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, but {name}{list(first)} is {array[first]}")
    return array


def as_grades(values: ArrayLike, name: str, ndim: int) -> NDArray[Any]:
    """Relevance grades: real, finite and not negative."""
    grades = as_numbers(values, name, ndim)
    if grades.dtype.kind in "if" and grades.size and grades.min() < 0:
        first = tuple(int(i) for i in np.argwhere(grades < 0)[0])
        raise ValueError(
            f"{name} must not be negative, but {name}{list(first)} is {grades[first]}: use 0 for not relevant"
        )
    return grades


def as_ids(values: ArrayLike, name: str, ndim: int) -> NDArray[np.int64]:
    """int64 ids; floats are refused rather than cut, an empty list is accepted."""
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit in int64, got {array.max()}")
    return array.astype(np.int64, copy=False)


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
