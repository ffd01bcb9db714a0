"""Attributes: one number or bool per vector and name, for conditions in searches (`core/filters.py`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def as_columns(attributes: Mapping[str, Any], n: int) -> dict[str, np.ndarray]:
    """Attributes as arrays of n bools, int64 or float64."""
    columns: dict[str, np.ndarray] = {}
    for name, values in attributes.items():
        array = np.asarray(values)
        if array.shape != (n,):
            raise ValueError(f"attribute {name!r} has shape {array.shape} for {n} vectors: give one value each")
        if array.dtype.kind not in "biuf":
            raise TypeError(f"attribute {name!r} is {array.dtype}; attributes are numbers or bools: number strings")
        wanted = {"b": np.bool_, "f": np.float64}.get(array.dtype.kind, np.int64)
        columns[name] = array.astype(wanted)
    return columns


def same_names(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise a ValueError unless rows come with exactly the attributes that the index has."""
    if set(given) != set(known):
        raise ValueError(f"attributes {sorted(given)} given, but the index has {sorted(known)}: give exactly these")


def criteria_values(criteria: Sequence[str], columns: Mapping[str, np.ndarray],
                    rows: Any) -> np.ndarray:  # fmt: skip
    """The values (n, number of criteria) of some rows, as int64 (floats by their bits)."""
    absent = [name for name in criteria if name not in columns]
    if absent:
        raise ValueError(f"the criteria {absent} are no attributes of the vectors, which have {sorted(columns)}: "
                         "pass them in attributes=")  # fmt: skip
    values = [columns[name][rows] for name in criteria]
    return np.stack([v.view(np.int64) if v.dtype == np.float64 else v.astype(np.int64) for v in values], axis=1)
