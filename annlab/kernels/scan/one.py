"""Scanning one query against all rows: rows are read as they lie in memory, once, at the speed of the memory.

Nothing is packed: with one query, every element of a row is used for one multiply-add, so the time is that of reading
the rows (a batch of queries is the business of `kernels/scan/batch.py`). Rows that lie in a cache meet one load of the
query four at a time. From main memory they are read one after the other: a CPU fetches ahead what is asked for in the
order of addresses, and four rows in turns are no such order. The sums are the same. They are kept in the element type
of the vectors, and a row's surrogate is

- `l2`: sum (x_i - q_i)^2, whose rounding error is relative to itself, wherever the data lie;
- `ip`: -x.q;
- `cosine`: -x.q / |x| for a query of length 1, both sums in one pass; 0 for a zero vector, as for a right angle.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, INNER_PRODUCT, L2
from annlab.kernels.scan.batch import OVERFLOWED, ROOM, first_trigger, next_trigger, tighten
from annlab.kernels.simd.lanes import total
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import (
    LANES,
    fma,
    lanes_of,
    load,
    load_first,
    pointer,
    pointers,
    prefetch,
    splat,
    zeros,
)
from annlab.kernels.topk import PADDING, append

_AHEAD = 8192  # bytes to ask for ahead of their use
_AHEAD_IN_ORDER = 4096  # the same where rows are read one after the other
_CACHED = 2**23  # bytes of rows that a query may expect to find in a cache
_U = 2.0**-24


class Rows(NamedTuple):
    """What is scanned: arrays for the door, pointers inside."""

    vectors: Any  # (n, dim)
    dim: int
    numbers: Any  # (m,) int32: scan these rows only; without any: the rows themselves
    n_numbers: int
    alive: Any  # (words,) bits of the rows that the query may have; without any: all
    n_words: int
    start: int  # start..stop-1, of the numbers where there are any
    stop: int
    metric: int


class Rule(NamedTuple):
    """What may be forgotten: rows above the k-th value by more than slack + slope |value|."""

    k: int
    slack: float
    slope: float


class Hits(NamedTuple):
    """A query's buffer, and scratch. Made by `new_hits`."""

    values: Any  # (capacity,) float32
    rows: Any  # the same, int32
    sums: Any  # (LANES,)
    low: Any  # PADDING longer than values, as well as high
    high: Any
    capacity: int


def new_hits(most: int) -> Hits:
    """An empty buffer for about so many rows."""
    n = most + PADDING
    return Hits(np.empty(n, np.float32), np.empty(n, np.int32), np.zeros(LANES, np.float32),
                np.empty(n + PADDING, np.float32), np.empty(n + PADDING, np.float32), n)  # fmt: skip


@kernel
def rule_of(k, norm, dim, metric, largest_norm, smallest_norm):
    """The rule for a query of this norm among rows of such norms, see `annlab/scan/scanner.py`.

    An infinite slack says that the argument does not hold for such magnitudes.
    """
    c, floor = (dim + 16) * _U, dim * 2.0**-140
    slack, slope = np.inf, 0.0
    if c <= 0.01:
        if metric == L2:
            if norm + largest_norm < 3e18:
                slack, slope = floor, 4 * c
        elif metric == INNER_PRODUCT:
            if norm * largest_norm < 1e37 and largest_norm < 1e18:
                slack, slope = 2 * c * norm * largest_norm + floor * (1 + largest_norm + norm), c
        elif norm > 0 and smallest_norm >= 1e-15 and largest_norm <= 1e18:
            slack = 5 * c
    return Rule(k, slack, slope)


@entry
def slack_and_slope(path, norm, dim, metric, largest_norm, smallest_norm):
    """Those of `rule_of`, for Python."""
    rule = rule_of(1, norm, dim, metric, largest_norm, smallest_norm)
    return rule.slack, rule.slope


@inlined
def _ask_for(x0, x1, x2, x3, place):
    prefetch(x0 + place)
    prefetch(x1 + place)
    prefetch(x2 + place)
    prefetch(x3 + place)


@inlined
def four_squared_distances(x0, x1, x2, x3, q, dim, ahead, out):
    """out[:4] = sums of (x_i - q_i)^2, in the precision of x."""
    a0, a1, a2, a3 = zeros(q), zeros(q), zeros(q), zeros(q)
    b0, b1, b2, b3 = zeros(q), zeros(q), zeros(q), zeros(q)
    lanes, i = lanes_of(q), 0
    while i + 2 * lanes <= dim:
        y, z, j = load(q + i), load(q + i + lanes), i + lanes
        _ask_for(x0, x1, x2, x3, i + ahead)
        _ask_for(x0, x1, x2, x3, j + ahead)
        d0, d1, d2, d3 = load(x0 + i) - y, load(x1 + i) - y, load(x2 + i) - y, load(x3 + i) - y
        a0, a1, a2, a3 = fma(d0, d0, a0), fma(d1, d1, a1), fma(d2, d2, a2), fma(d3, d3, a3)
        d0, d1, d2, d3 = load(x0 + j) - z, load(x1 + j) - z, load(x2 + j) - z, load(x3 + j) - z
        b0, b1, b2, b3 = fma(d0, d0, b0), fma(d1, d1, b1), fma(d2, d2, b2), fma(d3, d3, b3)
        i += 2 * lanes
    while i < dim:
        m, y = dim - i, load_first(q + i, dim - i)
        d0, d1 = load_first(x0 + i, m) - y, load_first(x1 + i, m) - y
        d2, d3 = load_first(x2 + i, m) - y, load_first(x3 + i, m) - y
        a0, a1, a2, a3 = fma(d0, d0, a0), fma(d1, d1, a1), fma(d2, d2, a2), fma(d3, d3, a3)
        i += lanes
    out[0], out[1], out[2], out[3] = total(a0 + b0), total(a1 + b1), total(a2 + b2), total(a3 + b3)


@inlined
def four_products(x0, x1, x2, x3, q, dim, ahead, metric, out):
    """out[:4] = -x.q; for cosine over |x|, and 0 for a zero vector."""
    a0, a1, a2, a3 = zeros(q), zeros(q), zeros(q), zeros(q)
    b0, b1, b2, b3 = zeros(q), zeros(q), zeros(q), zeros(q)
    lanes, i = lanes_of(q), 0
    while i < dim:
        _ask_for(x0, x1, x2, x3, i + ahead)
        if i + lanes <= dim:
            y, d0, d1, d2, d3 = load(q + i), load(x0 + i), load(x1 + i), load(x2 + i), load(x3 + i)
        else:
            m, y = dim - i, load_first(q + i, dim - i)
            d0, d1, d2, d3 = load_first(x0 + i, m), load_first(x1 + i, m), load_first(x2 + i, m), load_first(x3 + i, m)
        a0, a1, a2, a3 = fma(d0, y, a0), fma(d1, y, a1), fma(d2, y, a2), fma(d3, y, a3)
        if metric == COSINE:
            b0, b1, b2, b3 = fma(d0, d0, b0), fma(d1, d1, b1), fma(d2, d2, b2), fma(d3, d3, b3)
        i += lanes
    out[0], out[1], out[2], out[3] = -total(a0), -total(a1), -total(a2), -total(a3)
    if metric == COSINE:
        out[0], out[1] = _over_length(out[0], total(b0)), _over_length(out[1], total(b1))
        out[2], out[3] = _over_length(out[2], total(b2)), _over_length(out[3], total(b3))


@inlined
def _squared_distance(x, q, dim):
    """Sum of (x_i - q_i)^2: that of `four_squared_distances`, bit by bit."""
    even, odd = zeros(q), zeros(q)
    lanes, i = lanes_of(q), 0
    ahead = _AHEAD_IN_ORDER * lanes // (4 * LANES)
    while i + 2 * lanes <= dim:
        d, e = load(x + i) - load(q + i), load(x + i + lanes) - load(q + i + lanes)
        prefetch(x + i + ahead)
        prefetch(x + i + lanes + ahead)
        even, odd = fma(d, d, even), fma(e, e, odd)
        i += 2 * lanes
    while i < dim:
        d = load_first(x + i, dim - i) - load_first(q + i, dim - i)
        even = fma(d, d, even)
        i += lanes
    return total(even + odd)


@inlined
def _product(x, q, dim, metric):
    """-x.q, for cosine over |x|: that of `four_products`, bit by bit."""
    with_query, with_itself = zeros(q), zeros(q)
    lanes, i = lanes_of(q), 0
    ahead = _AHEAD_IN_ORDER * lanes // (4 * LANES)
    while i < dim:
        if i + lanes <= dim:
            d, y = load(x + i), load(q + i)
            prefetch(x + i + ahead)
        else:
            d, y = load_first(x + i, dim - i), load_first(q + i, dim - i)
        with_query = fma(d, y, with_query)
        if metric == COSINE:
            with_itself = fma(d, d, with_itself)
        i += lanes
    return _over_length(-total(with_query), total(with_itself)) if metric == COSINE else -total(with_query)


@inlined
def _over_length(product, square):
    return product / math.sqrt(square) if square > 0 else square


@inlined
def _row(rows, place):
    """The row at a place of what is scanned; the last one again behind the end."""
    place = min(place, rows.stop - 1)
    number = np.int64(rows.numbers[place]) if rows.n_numbers > 0 else place
    return rows.vectors + number * rows.dim


@kernel
def surrogates(rows, first, q, out):
    """out[:LANES] = the ranking values of the rows first..first + LANES - 1, see the head of this file."""
    dim = rows.dim
    if rows.n_numbers == 0 and rows.stop * dim * (4 * LANES // lanes_of(q)) > _CACHED:
        for r in range(LANES):
            x = _row(rows, first + r)
            out[r] = _squared_distance(x, q, dim) if rows.metric == L2 else _product(x, q, dim, rows.metric)
        return
    ahead = 4 * dim * max(1, _AHEAD * lanes_of(q) // (16 * LANES * dim))  # whole fours of rows
    for r in range(0, LANES, 4):
        x0, x1, x2, x3 = (_row(rows, first + r), _row(rows, first + r + 1), _row(rows, first + r + 2),
                          _row(rows, first + r + 3))  # fmt: skip
        if rows.metric == L2:
            four_squared_distances(x0, x1, x2, x3, q, dim, ahead, out + r)
        else:
            four_products(x0, x1, x2, x3, q, dim, ahead, rows.metric, out + r)


def offer_rows(settle: Callable[..., Any]) -> Callable[..., Any]:
    """A scan that appends what is at or below a bound; `settle` may tighten both once something was appended.

    It ends early where the next rows might not fit any more. Returns the length of the buffer, the bound, and the row
    to go on at.
    """

    @kernel
    def scan(rows, q, hits, bound, rule):
        length, trigger = 0, first_trigger(rule.k, hits.capacity)
        for first_row in range(rows.start, rows.stop, LANES):
            mask = np.int64((1 << min(LANES, rows.stop - first_row)) - 1)
            if rows.n_words > 0:
                mask &= np.int64(rows.alive[first_row // 64] >> np.uint64(first_row % 64))
                if mask == 0:
                    continue
            surrogates(rows, first_row, q, hits.sums)
            found = load(hits.sums)
            mask &= found <= splat(bound)
            if mask != 0:
                length = append(hits.values, hits.rows, length, found, first_row, mask)
                length, bound, trigger = settle(hits, length, bound, trigger, rule)
                if length > hits.capacity - ROOM:
                    return length, bound, min(first_row + LANES, rows.stop)
        return length, bound, rows.stop

    return scan


@inlined
def _tightened(hits, length, bound, trigger, rule):
    if length > trigger:
        length, bound = tighten(hits.values, hits.rows, length, rule.k, rule.slack, rule.slope, hits.low, hits.high)
        trigger = next_trigger(trigger, length, hits.capacity)
    return length, bound, trigger


@inlined
def _as_it_is(hits, length, bound, trigger, rule):
    return length, bound, trigger


_keep_nearest, _keep_all = offer_rows(_tightened), offer_rows(_as_it_is)


@kernel
def offer_nearest(rows, q, hits, bound, rule):
    """The buffer receives what can be among the k nearest rows; returns its length, or OVERFLOWED."""
    length, _, _ = _keep_nearest(rows, q, hits, bound, rule)
    if length > hits.capacity - ROOM:
        return OVERFLOWED
    if length > rule.k:
        length, _ = tighten(hits.values, hits.rows, length, rule.k, rule.slack, rule.slope, hits.low, hits.high)
    return length


@entry
def scan_one(path, rows: Rows, query, rule: Rule, bound, hits: Hits):
    """Offer rows to one query (dim,), as `offer_nearest` does; bound is the first threshold."""
    return offer_nearest(pointers(Rows(*rows)), pointer(query), pointers(Hits(*hits)), bound, Rule(*rule))


@entry
def scan_within(path, rows: Rows, query, bound, hits: Hits):
    """Collect rows whose surrogate is at most `bound`; stops early when the buffer could overflow.

    Returns how many were found and the row at which to go on (`rows.stop` when done).
    """
    length, _, row = _keep_all(pointers(Rows(*rows)), pointer(query), pointers(Hits(*hits)), bound, Rule(0, 0.0, 0.0))
    return length, row
