"""The k smallest of a stream: a buffer with a threshold for scans, a heap for exact scores.

A scan offers a query millions of rows and a few hundred of them matter. It keeps a *buffer* per query, a few times k
long, and a *bound*: what lies above the bound is dropped by one vector comparison, what does not is appended. When the
buffer is full, `tighten` (in scan/batch.py) finds the k-th smallest value so far, lowers the bound to what could still
be among the k nearest (values of a scan are rounded, so the bound is the k-th value plus a slack, see
`annlab/scan/scanner.py`), and throws the rest away. Finding the k-th is quickselect, with one difference from the
textbook: a register is compared with the pivot at once, and the lanes below and above it are written to two places by
compressed stores. The last sixteen are sorted by a network.

The *heap* holds the k best (distance, id) pairs of an exact scoring, the worst at its root, so that ties are broken by
id also at the cut.
"""

import numpy as np
from numba import types
from numba.extending import overload

from annlab.kernels.simd.path import kernel
from annlab.kernels.simd.registers import LANES, choose, count, float_memory, load, ramp, splat, store, store_compressed
from annlab.kernels.simd.sorting import sorted_values
from annlab.kernels.simd.wide import WIDTH, load_sixteen

PADDING = LANES  # elements that a compressed store may write behind the end of a buffer
_INFINITY = np.float32(np.inf)


@kernel
def kth_smallest(values, length, k, low, high):
    """The k-th smallest (k >= 1) of `length` values. `low` and `high` are scratch, `length + PADDING` long each."""
    for i in range(0, length, LANES):
        store(low + i, load(values + i))
    while length > WIDTH:
        a, b, c = low[0], low[length // 2], low[length - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        n_low, n_high = 0, 0
        for i in range(0, length, LANES):
            lanes = (1 << min(LANES, length - i)) - 1
            value = load(low + i)
            below = (value < splat(pivot)) & lanes
            store_compressed(low + n_low, value, below)  # never ahead of what was read
            store_compressed(high + n_high, value, lanes ^ below)
            n_low += count(below)
            n_high += count(lanes ^ below)
        if k <= n_low:
            length = n_low
        elif n_low > 0:
            k, length = k - n_low, n_high
            low, high = high, low
        else:  # the pivot is the minimum: set all its copies aside, so that equal values end too
            n_rest = 0
            for i in range(0, n_high, LANES):
                value = load(high + i)
                above = (splat(pivot) < value) & ((1 << min(LANES, n_high - i)) - 1)
                store_compressed(low + n_rest, value, above)
                n_rest += count(above)
            if k <= n_high - n_rest:
                return pivot
            k, length = k - (n_high - n_rest), n_rest
    return _of_the_last(low, length, k)


def _of_the_last(low, length, k):
    """The k-th smallest of at most WIDTH values: floats are sorted by a network, others by insertion."""
    raise NotImplementedError("for kernels only")


@overload(_of_the_last)
def _choose_order(low, length, k):
    def by_network(low, length, k):
        last = float_memory(WIDTH)
        for i in range(0, WIDTH, LANES):
            store(last + i, splat(_INFINITY))
            if i < length:
                store(last + i, choose((1 << min(LANES, length - i)) - 1, load(low + i), splat(_INFINITY)))
        store(last, sorted_values(load_sixteen(last)))
        return last[k - 1]

    def by_insertion(low, length, k):
        for i in range(1, length):
            value, j = low[i], i
            while j > 0 and low[j - 1] > value:
                low[j] = low[j - 1]
                j -= 1
            low[j] = value
        return low[k - 1]

    return by_network if low.element == types.float32 else by_insertion


@kernel
def keep_at_most(values, rows, length, bound):
    """Drop the entries of a buffer whose value is above `bound`, in place; returns how many stay."""
    kept = 0
    for i in range(0, length, LANES):
        value, row = load(values + i), load(rows + i)
        stays = (value <= splat(bound)) & ((1 << min(LANES, length - i)) - 1)
        store_compressed(values + kept, value, stays)
        store_compressed(rows + kept, row, stays)
        kept += count(stays)
    return kept


@kernel
def append(values, rows, length, value, row, mask):
    """Append the lanes of the mask to a buffer, rows numbered from `row` on; returns its new length."""
    store_compressed(values + length, value, mask)
    store_compressed(rows + length, ramp(row), mask)
    return length + count(mask)


@kernel
def is_worse(distance, key, other_distance, other_key):
    """Whether (distance, key) comes after (other_distance, other_key)."""
    return distance > other_distance or (distance == other_distance and key > other_key)


@kernel
def sift_down(distances, keys, size, distance, key):
    """Put (distance, key) at the root of a heap of `size` entries, whose root is free, and restore its order."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and is_worse(distances[child + 1], keys[child + 1], distances[child], keys[child]):
            child += 1
        if not is_worse(distances[child], keys[child], distance, key):
            break
        distances[parent], keys[parent] = distances[child], keys[child]
        parent = child
    distances[parent], keys[parent] = distance, key


@kernel
def push(distances, keys, size, k, distance, key):
    """Offer an entry to a heap of the k best; returns the heap's size. A NaN distance is never taken."""
    if size == k:
        if is_worse(distances[0], keys[0], distance, key):
            sift_down(distances, keys, size, distance, key)
        return size
    if distance != distance:
        return size
    child = size
    while child > 0:
        parent = (child - 1) // 2
        if not is_worse(distance, key, distances[parent], keys[parent]):
            break
        distances[child], keys[child] = distances[parent], keys[parent]
        child = parent
    distances[child], keys[child] = distance, key
    return size + 1


@kernel
def sort_heap(distances, keys, size):
    """Turn a heap into a list from the best to the worst."""
    while size > 1:
        size -= 1
        distance, key = distances[size], keys[size]
        distances[size], keys[size] = distances[0], keys[0]
        sift_down(distances, keys, size, distance, key)


@kernel
def insert_sorted(distances, keys, size, k, distance, key):
    """Insert an entry into a sorted list of the k best; returns the list's size. Quick for what belongs at its end."""
    if size == k:
        if not is_worse(distances[k - 1], keys[k - 1], distance, key):
            return size
        size -= 1
    place = size
    while place > 0 and is_worse(distances[place - 1], keys[place - 1], distance, key):
        distances[place], keys[place] = distances[place - 1], keys[place - 1]
        place -= 1
    distances[place], keys[place] = distance, key
    return size + 1
