"""Lists of the nearest rows: merged from what leaves found, and grouped by counting.

A key is a distance and a row, (distance << 32) | row, so that keys are ordered by distance and, where that is equal, by
row; a list holds its keys in ascending order, none twice, padded with NONE. The least keys of a union do not depend on
the order in which its parts arrive.
"""

import numpy as np

from annlab.kernels.graphs.compare import NONE
from annlab.kernels.simd.path import entry, kernel


@kernel
def merge_keys(old, new, n_new, keep, merged):
    """old (keep,) = the least of it and of n_new keys, ascending, none twice; merged (keep,) is scratch."""
    a, b = 0, 0
    while a < keep and old[a] <= new[0]:  # what comes before the first new key stays where it is
        a += 1
    begin = a
    if begin > 0 and old[begin - 1] == new[0]:
        b = 1
    for t in range(begin, keep):
        if b < n_new and new[b] < old[a]:
            merged[t] = new[b]
            b += 1
        else:
            if b < n_new and new[b] == old[a] and old[a] != NONE:
                b += 1
            merged[t] = old[a]
            a += 1
    for t in range(begin, keep):
        old[t] = merged[t]


@entry
def merge_lists(path, keys, first, last, slots, offsets, found, counts):
    """Merge into the lists first..last-1 of keys (lists, keep) what some leaves found.

    Leaf l found something for the lists slots[offsets[l]:offsets[l + 1]], ascending; found (slots, keep) and counts
    belong to them.
    """
    keep = keys.shape[1]
    merged = np.empty(keep, np.uint64)
    for leaf in range(offsets.shape[0] - 1):
        low, high = offsets[leaf], offsets[leaf + 1]
        while low < high:
            middle = (low + high) // 2
            if slots[middle] < first:
                low = middle + 1
            else:
                high = middle
        while low < offsets[leaf + 1] and slots[low] < last:
            if counts[low] > 0:
                merge_keys(keys[slots[low]], found[low], counts[low], keep, merged)
            low += 1


@entry
def count_members(path, assigned, start, stop, sizes):
    """Add to sizes (n_groups,) how many of the rows start..stop-1 of assigned (n, m) belong to each group."""
    for i in range(start, stop):
        for j in range(assigned.shape[1]):
            sizes[assigned[i, j]] += 1


@entry
def place_members(path, assigned, start, stop, at, members):
    """Write the rows start..stop-1 into their groups; at (n_groups,): where the next one of each goes."""
    for i in range(start, stop):
        for j in range(assigned.shape[1]):
            group = assigned[i, j]
            members[at[group]] = i
            at[group] += 1
