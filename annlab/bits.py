"""Sets of rows as bits: 64 rows in a word, the way kernels read them."""

import numpy as np


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
