"""Rows whose whole numbers are identical, found by a hash and then compared."""

import numpy as np

from annlab.kernels.simd.path import entry

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@entry
def hash_rows(path, words, start, stop, hashes):
    """A hash of each of the rows start..stop-1 of words (n, any) uint64."""
    for i in range(start, stop):
        h = _PRIME
        for j in range(words.shape[1]):
            h = (h ^ words[i, j]) * _PRIME
            h ^= h >> _SHIFT
        hashes[i] = h


@entry
def mark_identical(path, words, order, heads, start, stop, firsts):
    """firsts[row] = the first row with the same hash, if it is the same; of the rows order[start:stop].

    heads (n,): the first row of the hash of order[i]. Different rows of one hash, should they exist, remain by
    themselves.
    """
    for i in range(start, stop):
        row, head = order[i], heads[i]
        same = True
        for j in range(words.shape[1]):
            if words[head, j] != words[row, j]:
                same = False
                break
        if same:
            firsts[row] = head
