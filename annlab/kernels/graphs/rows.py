"""Rows that bytes hardly tell apart: identical ones, found by a hash and then compared, and near copies, by lists."""

import numpy as np

from annlab.kernels.graphs.compare import LOW, NONE
from annlab.kernels.simd.path import entry

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_HALF = np.uint64(32)  # bits of a key's row


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


@entry
def is_crowded(path, keys, place, radius, start, stop):
    """Whether one of the lists start..stop-1 of keys (n, keep) holds more than `place` rows within a distance."""
    for u in range(start, stop):
        if keys[u, place] >> _HALF <= radius:
            return True
    return False


@entry
def near_copies(path, keys, radius, first, sizes, least, leads):
    """leads[u] = the nearest row of u's list that comes before u, leads and is within the radius, if there is one.

    One of the two must have a size (n,) of `least`. keys: the lists of the rows from `first` on; leads holds every row
    itself to begin with. Returns how many rows do not lead.
    """
    joined = 0
    for u in range(first, leads.shape[0]):
        for i in range(keys.shape[1]):
            if keys[u - first, i] >> _HALF > radius:
                break
            v = np.int64(keys[u - first, i] & LOW)
            if v < u and leads[v] == v and max(sizes[u], sizes[v]) >= least:
                leads[u] = v
                joined += 1
                break
    return joined


@entry
def renumber(path, keys, numbers, start, stop, stale):
    """Give the rows in the lists start..stop-1 of keys (n, keep) new numbers, and drop those that have none (-1).

    stale[u] = 1 where one was dropped. Numbers keep the order of rows, so lists remain sorted.
    """
    for u in range(start, stop):
        kept = 0
        for i in range(keys.shape[1]):
            key = keys[u, i]
            if key == NONE:
                break
            number = numbers[np.int64(key & LOW)]
            if number >= 0:
                keys[u, kept] = (key & ~LOW) | np.uint64(number)
                kept += 1
            else:
                stale[u] = 1
        for i in range(kept, keys.shape[1]):
            keys[u, i] = NONE
