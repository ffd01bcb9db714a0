"""Attributes: one number or bool per vector and name, for conditions in searches (`filters.py`)."""

from collections.abc import Mapping
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
