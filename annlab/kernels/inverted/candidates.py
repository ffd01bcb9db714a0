"""The buffers in which searches of inverted lists keep the best rows of every query.

A scan writes the surrogates of a chunk of rows to memory and offers them: what is at or below the query's bound is
appended to its buffer, and a full buffer is shrunk to the `keep` smallest by (surrogate, key), which lowers the bound.
A query without a bound does not append a chunk row by row: its keep-th smallest value is the first bound. Rows that
are not alive get an infinite surrogate. What is kept does not depend on the order in which rows come.
"""

import numpy as np

from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, load, pointer, splat
from annlab.kernels.topk import append, keep_at_most, kth_smallest

CHUNK_ROWS = 256  # rows whose surrogates are offered at a time
FRONT = LANES  # surrogates that a chunk may have before its first, see `scan_lists`
CHUNK_WIDTH = FRONT + CHUNK_ROWS + LANES
FIRST_BOUND = np.finfo(np.float32).max  # lets everything pass but what is infinite
_INFINITY, _LARGEST = np.float32(np.inf), np.finfo(np.float32).max


def capacity_for(keep: int) -> int:
    """Entries of a query's buffer."""
    return 3 * keep + 6 * LANES


def scratch_width(capacity: int) -> int:
    """Elements of the scratch arrays low and high."""
    return max(capacity, CHUNK_WIDTH) + 2 * LANES


@kernel
def shrink(values, rows, length, keep, keys, low, high):
    """Keep the `keep` smallest entries of a buffer by (value, key); returns their number and the largest value."""
    if length <= keep:
        return length, _LARGEST
    bound = kth_smallest(values, length, keep, low, high)
    length = keep_at_most(values, rows, length, bound)
    while length > keep:  # of the entries at the bound the one with the largest key has to go
        worst = -1
        for i in range(length):
            if values[i] == bound and (worst < 0 or keys[rows[i]] > keys[rows[worst]]):
                worst = i
        length -= 1
        values[worst], rows[worst] = values[length], rows[length]
    return length, bound


@inlined
def is_alive(alive, row):
    """Whether the bit of a row is set."""
    return (alive[row // 64] >> np.uint64(row % 64)) & np.uint64(1) != 0


@kernel
def offer(found, n, row, alive, has_alive, bound, length, values, rows, capacity, keep, keys, low, high):
    """Offer the rows row..row + n - 1 with the surrogates `found` to a query; returns its bound and length.

    alive: bits of the rows that it may have; values and rows (capacity,) are its buffer; low and high are scratch,
    longer than `found` and the buffer by 2 LANES.
    """
    if has_alive:
        for i in range(n):
            if not is_alive(alive, row + i):
                found[i] = _INFINITY
    if bound == FIRST_BOUND and n > keep:
        bound = min(bound, kth_smallest(found, n, keep, low, high))
    for i in range(0, n, LANES):
        some = load(found + i)
        mask = some <= splat(bound)
        if mask != 0:
            length = append(values, rows, length, some, row + i, mask & ((1 << min(LANES, n - i)) - 1))
            if length > capacity - 2 * LANES:
                length, bound = shrink(values, rows, length, keep, keys, low, high)
    return bound, length


@kernel
def take_out(values, rows, length, keep, keys, low, high, result):
    """result (keep,): the rows of the `keep` best entries of a buffer, -1 where there are fewer; returns how many."""
    length, _ = shrink(values, rows, length, keep, keys, low, high)
    for i in range(keep):
        result[i] = rows[i] if i < length else -1
    return length


@kernel
def put_together(values, rows, length, other_values, other_rows, other_length, keep, keys, low, high):
    """Keep in a buffer the `keep` best entries of it and of another one; returns their number."""
    length, _ = shrink(values, rows, length, keep, keys, low, high)
    other_length, _ = shrink(other_values, other_rows, other_length, keep, keys, low, high)
    for i in range(other_length):  # there is room for 2 keep entries
        values[length + i], rows[length + i] = other_values[i], other_rows[i]
    length, _ = shrink(values, rows, length + other_length, keep, keys, low, high)
    return length


@entry
def finish(path, start, stop, lengths, values, rows, keep, keys, low, high, result):
    """result (q, keep): the rows of the `keep` best entries of all buffers of a query, -1 where there are fewer.

    For the queries start..stop-1; values and rows (parts, q, capacity), lengths (parts, q): those of part 0 become the
    numbers of rows in result.
    """
    n_parts, q, capacity, out = values.shape[0], values.shape[1], values.shape[2], pointer(result)
    value, row, key, a, b = pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high)
    for i in range(start, stop):
        place, length = i * capacity, lengths[0, i]
        for part in range(1, n_parts):
            other = (part * q + i) * capacity
            length = put_together(value + place, row + place, length, value + other, row + other, lengths[part, i],
                                  keep, key, a, b)  # fmt: skip
        lengths[0, i] = take_out(value + place, row + place, length, keep, key, a, b, out + i * keep)
