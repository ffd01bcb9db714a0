"""Arrays that a file says a storage of lists consists of, checked: kernels rely on every shape and number."""

from typing import Any

import numpy as np

from annlab.inverted.storage import Cells


def array(arrays: dict[str, np.ndarray], name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A stored array of this type and shape; raises a ValueError that names what it is instead."""
    stored = arrays[name]
    if stored.dtype != dtype or stored.shape != shape:
        raise ValueError(f"{name} are {stored.dtype} {stored.shape}, not {np.dtype(dtype)} {shape}")
    return stored


def numbers(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], least: float) -> np.ndarray:
    """A stored array of float32 numbers from `least` to 1e15; raises a ValueError otherwise."""
    stored = array(arrays, name, np.float32, shape)
    if stored.size and not (stored.min() >= least and stored.max() < 1e15):
        raise ValueError(f"{name} hold numbers from {stored.min()} to {stored.max()}, not from {least} to 1e15")
    return stored


def loose(arrays: dict[str, np.ndarray], cells: Cells) -> np.ndarray:
    """The stored numbers of loose rows; raises a ValueError where a list has not so many rows."""
    stored = array(arrays, "loose", np.int64, (cells.n_lists,))
    if (stored < 0).any() or (stored > cells.sizes).any():
        raise ValueError("more loose rows than rows in a list")
    return stored


def flag(arrays: dict[str, np.ndarray], name: str) -> bool:
    """A stored flag; raises a ValueError if it is neither 0 nor 1."""
    stored = array(arrays, name, np.uint8, (1,))
    if stored[0] > 1:
        raise ValueError(f"{name} is {stored[0]}, not 0 or 1")
    return bool(stored[0])
