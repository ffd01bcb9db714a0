"""Sets of rows as bits: 64 rows in a word, the way kernels read them."""

import weakref
from typing import Any

import numpy as np

_REMEMBERED = 16


def pack(mask: np.ndarray) -> np.ndarray:
    """A boolean array (..., n) as uint64 words (..., ceil(n / 64)); bit i % 64 of word i // 64 is element i.

    Examples
    --------
    >>> pack(np.array([True, False, True])).tolist()
    [5]
    """
    n = mask.shape[-1]
    packed = np.zeros((*mask.shape[:-1], -(-n // 64) * 8), np.uint8)
    packed[..., : -(-n // 8)] = np.packbits(mask, axis=-1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def unpack(words: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of words (..., w) as booleans (..., n)."""
    return np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), axis=-1, count=n, bitorder="little").view(bool)


class Remembered:
    """What was computed from arrays that are never written to, found again by the array itself: a few, while it lives.

    Threads may share it: at worst something is computed twice.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._entries: dict[int, tuple[weakref.ref[np.ndarray], Any]] = {}
        self._most = most

    def get(self, array: np.ndarray) -> Any:
        """What was put for this very array, or None."""
        known = self._entries.get(id(array))
        return known[1] if known is not None and known[0]() is array else None

    def put(self, array: np.ndarray, result: Any) -> None:
        """Remember a result; the others are forgotten once there are too many."""
        entries = self._entries if len(self._entries) < self._most else {}
        entries[id(array)] = weakref.ref(array), result
        self._entries = entries
