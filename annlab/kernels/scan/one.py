"""Scanning one query against all rows: rows are read as they lie in memory, once, at the speed of the memory.

Nothing is packed: with one query, every element of a row is used for one multiply-add, so the time is that of reading
the rows (a batch of queries is the business of `kernels/scan/batch.py`). Sums are kept in the element type of the
vectors, one running sum per lane, and a row's surrogate is

- `l2`: sum (x_i - q_i)^2, whose rounding error is relative to itself, wherever the data lie;
- `ip`: -x.q;
- `cosine`: -x.q / |x| for a query of length 1, both sums in one pass; 0 for a zero vector, as for a right angle.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, L2
from annlab.kernels.scan.batch import OVERFLOWED, ROOM, next_trigger, tighten
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, fma, load, load_first, pointer, pointers, prefetch, splat, total
from annlab.kernels.topk import PADDING, append

_AHEAD = 4096 // 4  # elements to ask for ahead of their use


class Rows(NamedTuple):
    """What is scanned."""

    vectors: Any  # (n, dim)
    numbers: Any  # (m,) int32: scan these rows only; without any: the rows themselves
    alive: Any  # (words,) bits of the rows that the query may have; without any: all
    start: int  # start..stop-1, of the numbers where there are any
    stop: int
    metric: int


class Rule(NamedTuple):
    """What may be forgotten: rows above the k-th value by more than slack + slope |value|; asked from `trigger` on."""

    k: int
    trigger: int
    slack: float
    slope: float


class Hits(NamedTuple):
    """A query's buffer, and scratch. Made by `new_hits`."""

    values: Any  # (capacity + PADDING,) float32
    rows: Any  # the same, int32
    sums: Any  # (LANES,)
    low: Any  # PADDING longer than values, as well as high
    high: Any


def new_hits(capacity: int) -> Hits:
    """An empty buffer for about `capacity` rows."""
    n = capacity + PADDING
    return Hits(np.empty(n, np.float32), np.empty(n, np.int32), np.zeros(LANES, np.float32),
                np.empty(n + PADDING, np.float32), np.empty(n + PADDING, np.float32))  # fmt: skip


def rule_of(k: int, slack: float, slope: float, hits: Hits) -> Rule:
    """The rule for a buffer: first asked early, since the first bounds are the loosest."""
    return Rule(k, min(max(5 * k, 48), len(hits.values) - ROOM), slack, slope)


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


def offer_rows(settle: Callable[..., Any]) -> Callable[..., Any]:
    """A scan that appends what is at or below a bound; `settle` may tighten both once something was appended.

    It ends early where the next rows might not fit any more. Returns the length of the buffer and the row to go on at.
    """

    @kernel
    def scan(rows, query, hits, bound, rule):
        vectors, dim, zero = pointer(rows.vectors), rows.vectors.shape[1], rows.vectors.dtype.type(0)
        q, n_numbers, capacity = pointer(query), rows.numbers.shape[0], hits.values.shape[0]
        lanes, buffer, length, trigger = LANES * 4 // rows.vectors.itemsize, pointers(hits), 0, rule.trigger
        for first_row in range(rows.start, rows.stop, LANES):
            n_rows = min(LANES, rows.stop - first_row)
            mask = np.int64((1 << n_rows) - 1)
            if rows.alive.shape[0] > 0:
                mask &= np.int64(rows.alive[first_row // 64] >> np.uint64(first_row % 64))
                if mask == 0:
                    continue
            for lane in range(n_rows):
                number = rows.numbers[first_row + lane] if n_numbers > 0 else first_row + lane
                buffer.sums[lane] = surrogate(vectors + number * dim, q, dim, rows.metric, lanes, zero)
            found = load(buffer.sums)
            mask &= found <= splat(bound)
            if mask != 0:
                length = append(buffer.values, buffer.rows, length, found, first_row, mask)
                length, bound, trigger = settle(buffer, length, bound, trigger, rule, capacity)
                if length > capacity - ROOM:
                    return length, first_row + n_rows
        return length, rows.stop

    return scan


@inlined
def _tightened(buffer, length, bound, trigger, rule, capacity):
    if length > trigger:
        length, bound = tighten(buffer.values, buffer.rows, length, rule.k, rule.slack, rule.slope, buffer.low,
                                buffer.high)  # fmt: skip
        trigger = next_trigger(trigger, length, capacity)
    return length, bound, trigger


@inlined
def _as_it_is(buffer, length, bound, trigger, rule, capacity):
    return length, bound, trigger


_keep_nearest, _keep_all = offer_rows(_tightened), offer_rows(_as_it_is)


@entry
def scan_one(path, rows: Rows, query, rule: Rule, bound, hits: Hits):
    """Offer rows to one query (dim,); returns the length of its buffer, or OVERFLOWED.

    bound is the first threshold. The buffer receives what can be among the k nearest.
    """
    length, _ = _keep_nearest(Rows(*rows), query, Hits(*hits), bound, Rule(*rule))
    return OVERFLOWED if length > hits[0].shape[0] - ROOM else length


@entry
def scan_within(path, rows: Rows, query, bound, hits: Hits):
    """Collect rows whose surrogate is at most `bound`; stops early when the buffer could overflow.

    Returns how many were found and the row at which to go on (`rows.stop` when done).
    """
    return _keep_all(Rows(*rows), query, Hits(*hits), bound, Rule(0, 0, 0.0, 0.0))
