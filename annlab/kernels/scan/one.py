"""Scanning one query against all rows: rows are read as they lie in memory, once, at the speed of the memory.

Nothing is packed: with one query, every element of a row is used for one multiply-add, so the time is that of reading
the rows (a batch of queries is the business of `kernels/scan/batch.py`). Sums are kept in the element type of the
vectors, one running sum per lane, and a row's surrogate is

- `l2`: sum (x_i - q_i)^2, whose rounding error is relative to itself, wherever the data lie;
- `ip`: -x.q;
- `cosine`: -x.q / |x| for a query of length 1, both sums in one pass; 0 for a zero vector, as for a right angle.
"""

import math

import numpy as np

from annlab.kernels.distance import COSINE, L2
from annlab.kernels.scan.batch import OVERFLOWED, ROOM, next_trigger, tighten
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, fma, load, load_first, pointer, prefetch, splat, total
from annlab.kernels.topk import append

_INFINITY = np.float32(np.inf)
_AHEAD = 4096 // 4  # elements to ask for ahead of their use


@inlined
def squared_distance(x, q, dim, lanes, zero):
    """Sum of (x_i - q_i)^2, `lanes` at a time, in the precision of x."""
    even, odd = splat(zero), splat(zero)
    i = 0
    while i + 2 * lanes <= dim:
        a, b = load(x + i) - load(q + i), load(x + i + lanes) - load(q + i + lanes)
        prefetch(x + i + _AHEAD)
        prefetch(x + i + lanes + _AHEAD)
        even, odd = fma(a, a, even), fma(b, b, odd)
        i += 2 * lanes
    while i < dim:
        a = load_first(x + i, dim - i) - load_first(q + i, dim - i)
        even = fma(a, a, even)
        i += lanes
    return total(even + odd)


@inlined
def products(x, q, dim, lanes, zero):
    """Sums of x_i q_i and of x_i x_i, `lanes` at a time, in the precision of x."""
    with_query, with_itself = splat(zero), splat(zero)
    i = 0
    while i < dim:
        if i + lanes <= dim:
            a, b = load(x + i), load(q + i)
            prefetch(x + i + _AHEAD)
        else:
            a, b = load_first(x + i, dim - i), load_first(q + i, dim - i)
        with_query, with_itself = fma(a, b, with_query), fma(a, a, with_itself)
        i += lanes
    return total(with_query), total(with_itself)


@kernel
def surrogate(x, q, dim, metric, lanes, zero):
    """The ranking value of one row, see the head of this file."""
    if metric == L2:
        return squared_distance(x, q, dim, lanes, zero)
    with_query, with_itself = products(x, q, dim, lanes, zero)
    if metric == COSINE:
        return -with_query / math.sqrt(with_itself) if with_itself > zero else zero
    return -with_query


@entry
def scan_one(path, query, vectors, row_numbers, start, stop, metric, alive, k, slack, slope, bound, values, rows, sums,
             low, high):  # fmt: skip
    """Offer the rows start..stop-1 to one query (dim,); returns the length of its buffer, or OVERFLOWED.

    vectors (n, dim); row_numbers (m,) int32: scan these rows only, or empty: the rows themselves; alive (words,) bits
    of the rows that the query may have, or empty; bound is the first threshold. values float32 and rows int32
    (capacity,) receive what can be among the k nearest; sums (LANES,), low and high (capacity + PADDING,) are scratch.
    """
    dim, n_numbers, n_words, capacity = vectors.shape[1], row_numbers.shape[0], alive.shape[0], values.shape[0]
    x, q, zero = pointer(vectors), pointer(query), vectors.dtype.type(0)
    lanes = LANES * 4 // vectors.itemsize
    value, row, total_of, a, b = pointer(values), pointer(rows), pointer(sums), pointer(low), pointer(high)
    length, trigger = 0, min(max(5 * k, 48), capacity - ROOM)
    for first_row in range(start, stop, LANES):
        n_rows = min(LANES, stop - first_row)
        mask = np.int64((1 << n_rows) - 1)
        if n_words > 0:
            mask &= np.int64(alive[first_row // 64] >> np.uint64(first_row % 64))
            if mask == 0:
                continue
        for lane in range(n_rows):
            number = row_numbers[first_row + lane] if n_numbers > 0 else first_row + lane
            total_of[lane] = surrogate(x + number * dim, q, dim, metric, lanes, zero)
        found = load(total_of)
        mask &= found <= splat(bound)
        if mask != 0:
            length = append(value, row, length, found, first_row, mask)
            if length > trigger:
                length, bound = tighten(value, row, length, k, slack, slope, a, b)
                trigger = next_trigger(trigger, length, capacity)
                if length > capacity - ROOM:
                    return OVERFLOWED
    return length


@entry
def scan_within(path, query, vectors, row_numbers, start, stop, metric, alive, bound, values, rows, sums):
    """Collect rows whose surrogate is at most `bound`; stops early when the buffer could overflow.

    Arguments as in `scan_one`. Returns how many were found and the row at which to go on (`stop` when done).
    """
    dim, n_numbers, n_words, capacity = vectors.shape[1], row_numbers.shape[0], alive.shape[0], values.shape[0]
    x, q, zero = pointer(vectors), pointer(query), vectors.dtype.type(0)
    lanes = LANES * 4 // vectors.itemsize
    value, row, total_of = pointer(values), pointer(rows), pointer(sums)
    length = 0
    for first_row in range(start, stop, LANES):
        if length > capacity - ROOM:
            return length, first_row
        n_rows = min(LANES, stop - first_row)
        mask = np.int64((1 << n_rows) - 1)
        if n_words > 0:
            mask &= np.int64(alive[first_row // 64] >> np.uint64(first_row % 64))
            if mask == 0:
                continue
        for lane in range(n_rows):
            number = row_numbers[first_row + lane] if n_numbers > 0 else first_row + lane
            total_of[lane] = surrogate(x + number * dim, q, dim, metric, lanes, zero)
        found = load(total_of)
        mask &= found <= splat(bound)
        if mask != 0:
            length = append(value, row, length, found, first_row, mask)
    return length, stop
