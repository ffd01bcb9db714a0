"""The nearest of some candidates: screened in float32, then measured by the definition of a distance.

A search collects more candidates than it returns, most of which are clearly not among the k nearest. So each gets an
interval first that surely holds its distance, from float32 sums, LANES candidates at a time. Where the k-th smallest
upper end is, k candidates are at or below it; whose lower end is above cannot be one of the k nearest. What is left, k
and hardly more, is measured as `distance.py` defines it, so that answers are those of measuring all of them.

With u = 2^-24 and g = (dim / LANES + 20) u, a float32 sum of dim products is off by less than g times the sum of their
magnitudes: dim / LANES additions in every lane, then the lanes, and the product itself. Hence, for a row x and query y,

    l2       s = sum of (x_i - y_i)^2: nothing cancels in it, so it is off by g s at most (and by what underflows)
    ip       s = -x.y, off by g |x| |y|
    cosine   s = 1 - x.y / |x| |y|, off by 2 g: the product by g, the length of x by half of that

The 20 leaves room for rounding the interval itself, and for the rounding of the definition. Lengths so small or large
that squares would leave the range of float32 are not judged.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from annlab.kernels.distance import COSINE, L2, distance, inner_product, inverse_norm
from annlab.kernels.simd.folding import QUARTER, fold_rows
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import (
    LANES,
    count,
    double_memory,
    float_memory,
    float_registers,
    fma,
    int_memory,
    load,
    load_first,
    long_memory,
    pointer,
    prefetch,
    splat,
    store,
)
from annlab.kernels.simd.sorting import sort_pairs
from annlab.kernels.simd.wide import WIDTH
from annlab.kernels.topk import insert_sorted, is_worse, kth_smallest, push, sort_heap

_AHEAD = 8  # candidates to ask for ahead of their use
_ROUNDING, _MARGIN = 2.0**-24, 20.0
_UNDERFLOW = 2.0**-120  # of a square, all that is rounded to zero included
_SMALLEST, _LARGEST = 1e-20, 1e30  # squared lengths that are judged
_ZERO, _INFINITY = np.float32(0.0), np.float32(np.inf)
_PADDING = 2 * LANES
_HEAPED, _SORTED = 4, 512  # a heap keeps as few as these; up to so many are rather sorted once


class Entries(NamedTuple):
    """The rows of a state, and by what they are measured: arrays in Python, pointers inside."""

    sealed: Any  # (n, dim)
    n: int
    tail: Any  # (t, dim): rows n.. n + t - 1
    keys: Any  # (n + t,) int64: the ids of the rows
    dim: int
    metric: int


def scratch(candidates: np.ndarray) -> np.ndarray:
    """What `score` needs for candidates (q, m)."""
    return np.empty(4 * (candidates.shape[1] + _PADDING), np.float32)


@inlined
def _ask_for(entries, row):
    """Candidates lie anywhere in memory: ask for a sealed one early, and for its id."""
    if 0 <= row < entries.n:
        prefetch(entries.keys + row)
        for offset in range(0, min(entries.dim, 256), 16):
            prefetch(entries.sealed + row * entries.dim + offset)


@inlined
def _place(entries, row):
    in_tail = row - entries.n
    return entries.sealed + row * entries.dim if in_tail < 0 else entries.tail + in_tail * entries.dim


@inlined
def _sums(squares, products, x, y, dim, r, is_l2):
    """squares[r] and products[r]: partial sums of (x - y)^2, or of x^2 and x y."""
    square, product, i = splat(_ZERO), splat(_ZERO), 0
    while i < dim:
        if i + LANES <= dim:
            a, b = load(x + i), load(y + i)
        else:
            a, b = load_first(x + i, dim - i), load_first(y + i, dim - i)
        if is_l2:
            a = a - b
        square = fma(a, a, square)
        product = fma(a, b, product)
        i += LANES
    squares[r], products[r] = square, product


@kernel
def intervals(y, entries, candidate, m, lower, upper):
    """lower and upper (m + LANES): what surely holds a monotone function of the distance of each candidate.

    Infinite where there is no candidate, from minus to plus infinity where float32 cannot tell.
    """
    squares, products = float_registers(LANES), float_registers(LANES)
    square_sums, product_sums = float_registers(QUARTER), float_registers(QUARTER)
    dim, metric = entries.dim, entries.metric
    length = math.sqrt(inner_product(y, y, dim))
    slack = (dim / LANES + _MARGIN) * _ROUNDING
    for i in range(0, m, LANES):
        for r in range(LANES):
            _ask_for(entries, candidate[min(i + r + _AHEAD, m - 1)])
            row = candidate[min(i + r, m - 1)]
            x = _place(entries, row) if row >= 0 else y
            _sums(squares, products, x, y, dim, r, metric == L2)
        fold_rows(squares, square_sums)
        fold_rows(products, product_sums)
        store(lower + i, square_sums[0])
        store(upper + i, product_sums[0])
        for j in range(i, min(i + LANES, m)):
            square, product = np.float64(lower[j]), np.float64(upper[j])
            value, error = square, slack * square + dim * _UNDERFLOW
            if metric != L2:
                error = slack * length * math.sqrt(square)
                value = -product
                if not (_SMALLEST < square < _LARGEST and _SMALLEST < length * length < _LARGEST):
                    value, error = 0.0, np.inf
                elif metric == COSINE:
                    value, error = 1.0 - product / (length * math.sqrt(square)), 2.0 * slack
            if candidate[j] < 0:
                value, error = np.inf, 0.0
            lower[j], upper[j] = np.float32(value - error), np.float32(value + error)


@kernel
def _within(values, n, bound):
    """How many of n values are at most the bound."""
    within = 0
    for i in range(0, n, LANES):
        within += count((load(values + i) <= splat(bound)) & ((1 << min(LANES, n - i)) - 1))
    return within


@kernel
def _sorted(distances, ids, n, k, best, best_ids):
    """The k best of n <= _SORTED pairs; returns how many there are.

    They are put in order by their distances in float32, so that a place in the list is nearly always at its end.
    """
    values, places, whole = float_memory(_SORTED), int_memory(_SORTED), (n + WIDTH - 1) // WIDTH * WIDTH
    size = 0
    for i in range(n):
        values[i], places[i] = np.float32(distances[i]), i
    for i in range(n, whole):
        values[i], places[i] = _INFINITY, -1
    _, order = sort_pairs(values, places, whole, float_memory(_SORTED), int_memory(_SORTED))
    for i in range(whole):
        place = order[i]
        if place >= 0:
            size = insert_sorted(best, best_ids, size, k, distances[place], ids[place])
    return size


@kernel
def _measured(q, entries, candidate, m, k, best, best_ids, lower, bound):
    """The k best by definition of those candidates whose `lower` is at most the bound, sorted; how many there are."""
    distances, ids, size = double_memory(_SORTED), long_memory(_SORTED), 0
    dim, metric, by_heap = entries.dim, entries.metric, k <= _HEAPED or _within(lower, m, bound) > _SORTED
    scale = inverse_norm(q, dim) if metric == COSINE else 0.0
    for j in range(m):
        if bound == _INFINITY:  # else all have just been read
            _ask_for(entries, candidate[min(j + _AHEAD, m - 1)])
        row = candidate[j]
        if row < 0 or lower[j] > bound:
            continue
        far = distance(_place(entries, row), q, scale, dim, metric)
        if by_heap:
            size = push(best, best_ids, size, k, far, entries.keys[row])
        elif far == far:
            distances[size], ids[size] = far, entries.keys[row]
            size += 1
    if not by_heap:
        return _sorted(distances, ids, size, k, best, best_ids)
    sort_heap(best, best_ids, size)
    return size


def nearest_of(queries, i, entries, candidate, m, k, best, best_ids, space):
    """The k best of m candidates, rows or -1, for query i by (distance, id), sorted; returns how many there are.

    space: 4 * (m + 2 * LANES) float32. Vectors of float64 are not screened.
    """
    raise NotImplementedError("for kernels only")


@overload(nearest_of)
def _nearest_of(queries, i, entries, candidate, m, k, best, best_ids, space):
    def screened(queries, i, entries, candidate, m, k, best, best_ids, space):
        q, lower, upper, bound = pointer(queries) + i * entries.dim, space, space + (m + _PADDING), _INFINITY
        if m >= 2 * k + LANES:
            low = upper + (m + _PADDING)
            intervals(q, entries, candidate, m, lower, upper)
            bound = kth_smallest(upper, m, k, low, low + (m + _PADDING))
        else:
            for j in range(m):
                lower[j] = _ZERO
        return _measured(q, entries, candidate, m, k, best, best_ids, lower, bound)

    def all_of_them(queries, i, entries, candidate, m, k, best, best_ids, space):
        for j in range(m):
            space[j] = _ZERO
        q = pointer(queries) + i * entries.dim
        return _measured(q, entries, candidate, m, k, best, best_ids, space, _INFINITY)

    return screened if queries.dtype == types.float32 else all_of_them


@entry
def score(path, queries, sealed, tail, ids, candidates, metric, space, distances, result):
    """The k best candidates of every query by (distance, id).

    queries (q, dim); sealed (s, dim) and tail (t, dim) hold rows 0..s-1 and s..s+t-1; ids (s + t,); candidates (q, m)
    rows, -1 where there is none, or (1, m) for all queries; space: `scratch`; distances (q, k), always float64, and
    result (q, k) come filled with inf and -1.
    """
    k, m = distances.shape[1], candidates.shape[1]
    step = m if candidates.shape[0] > 1 else 0
    entries = Entries(pointer(sealed), sealed.shape[0], pointer(tail), pointer(ids), queries.shape[1], metric)
    best, best_ids, candidate = pointer(distances), pointer(result), pointer(candidates)
    for i in range(queries.shape[0]):
        nearest_of(queries, i, entries, candidate + i * step, m, k, best + i * k, best_ids + i * k, pointer(space))


@entry
def round_distances(path, distances, rounded):
    """rounded (q, k), in the type that users see: the distances (q, k) float64 by which rows were ranked."""
    for i in range(distances.shape[0]):
        for j in range(distances.shape[1]):
            rounded[i, j] = distances[i, j]


@kernel
def merge_two(distances, ids, n, more, more_ids, m, best, best_ids, k):
    """The k best of two sorted results by (distance, id), each with ids of -1 behind what there is, or so long."""
    i, j = 0, 0
    for place in range(k):
        left, right = i < n and ids[i] >= 0, j < m and more_ids[j] >= 0
        if left and right:
            left = not is_worse(distances[i], ids[i], more[j], more_ids[j])
        if left:
            best[place], best_ids[place] = distances[i], ids[i]
            i += 1
        elif right:
            best[place], best_ids[place] = more[j], more_ids[j]
            j += 1
        else:
            best[place], best_ids[place] = np.inf, -1


@entry
def merge(path, distances, ids, more, more_ids, best, best_ids):
    """The k best of two results for every query by (distance, id), in best and best_ids (q, k).

    Distances are float64, not yet rounded. Both are sorted, with ids of -1 behind what there is; distances and ids
    (q, j), more and more_ids (q, m).
    """
    n, m, k = distances.shape[1], more.shape[1], best.shape[1]
    value, number, other, other_number = pointer(distances), pointer(ids), pointer(more), pointer(more_ids)
    for q in range(best.shape[0]):
        merge_two(value + q * n, number + q * n, n, other + q * m, other_number + q * m, m,
                  pointer(best) + q * k, pointer(best_ids) + q * k, k)  # fmt: skip
