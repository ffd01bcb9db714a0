"""What becomes of the rows of a leaf: three ways to collect, and the limit that each gives to the walk.

Leaves are scanned in float32 (`kernels/tree_leaf.py`), so a scan only selects; the definition decides. `loosened` turns
the squared distance of the k-th row into the limit that no row among the k nearest exceeds, however it was rounded.

LIST    for small k: the sixteen best rows so far, sorted, in a vector of values and one of rows. An insertion is a few
        vector instructions. At the end every row within the limit is measured by the definition and the k best stay. If
        all sixteen are within the limit, further ones may have been lost: the query is reported as tied, and repeated
        by HEAP.
HEAP    for any k: rows within the limit are measured by the definition at once, and the k best are kept in a heap.
WITHIN  the limit is given (a radius), and all rows within it are listed.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, distance
from annlab.kernels.path import inlined, kernel
from annlab.kernels.simd import count, first, fma, larger, smaller, store, store_compressed
from annlab.kernels.topk import is_worse, push, sort_heap
from annlab.kernels.tree_leaf import LEAF_ROWS, READS_BEYOND, leaf_distances
from annlab.kernels.wide import (
    WIDTH,
    load_sixteen,
    lowest_lane,
    minimum,
    ramp_sixteen,
    rounded_like,
    select,
    shift_up,
    splat_sixteen,
    spread_lane,
    square_roots,
)

LIST, HEAP, WITHIN = 0, 1, 2
LIST_K = 12  # the largest k for LIST: some of the sixteen places are left for rows that are tied
DONE, TIED = 0, 1
_ZERO, _INFINITY, _LARGEST = np.float32(0), np.float32(np.inf), np.finfo(np.float32).max


class Forest(NamedTuple):
    """A structure's arrays as pointers, and what describes them."""

    vectors: Any  # (n, dim)
    scales: Any  # (n,) float32 inverse norms for cosine
    n_rows: int
    dim: int
    metric: int
    nodes: Any  # (number of nodes, planes, 16) float32
    planes: int
    shape: int  # BOX or BALL
    table: Any  # one line a tree: FIRST_ROW, N_ROWS, HEIGHT, OFFSETS...
    filtered: int  # whether alive and occupied are to be asked
    staging: Any  # room for the last leaf
    staged_scales: Any
    deflation: Any  # what the rounding of a distance to a ball's center is multiplied away by


class Probe(NamedTuple):
    """A query in the forms that a search needs."""

    raw: Any  # as given
    unit: Any  # of length 1, float32
    low: Any  # float32 bounds of the coordinates that the nodes are about
    high: Any
    blur: Any  # how far `low` may be from the query
    stretch: Any  # (1 + epsilon)^2
    inverse_norm: float
    alive: Any  # bits of rows
    occupied: Any  # bits of children


class Collector(NamedTuple):
    """Where rows are collected."""

    mode: int
    k: int
    slope: Any  # see `loosened`
    linear: Any
    floor: Any
    values: Any  # LIST: (16,)
    places: Any  # LIST: (16,) int32
    best: Any  # (k,) distances
    best_ids: Any  # (k,)
    keys: Any  # (n,) the ids of the rows
    state: Any  # [0] entries of the heap or rows within, [1] distances computed
    rows: Any  # WITHIN: (capacity,) int32
    capacity: int


@inlined
def loosened(squared, collector):
    """The limit up to which rows may be as near as one at these squared distances; annlab/trees.py has the argument."""
    limit = fma(squared, splat_sixteen(collector.slope), splat_sixteen(collector.floor))
    if collector.linear > _ZERO:
        limit = fma(square_roots(squared), splat_sixteen(collector.linear), limit)
    return smaller(limit, splat_sixteen(_LARGEST))


@inlined
def living(alive, row, n):
    """The bits of n <= 16 rows from `row` on, as a mask."""
    word, shift = row >> 6, row & 63
    mask = alive[word] >> np.uint64(shift)
    if shift + n > 64:
        mask |= alive[word + 1] << np.uint64(64 - shift)
    return np.int64(mask & np.uint64((1 << n) - 1))


@inlined
def _insert(found, mask, row, collector, limit):
    """Insert the lanes of the mask into the sorted list; returns the limit."""
    values, places, lowest = load_sixteen(collector.values), load_sixteen(collector.places), splat_sixteen(-_INFINITY)
    limits = splat_sixteen(limit)
    if collector.k == 1:  # most rows of the first leaf are worse than its best one
        among = select(mask, found, splat_sixteen(_INFINITY))
        limits = smaller(loosened(minimum(among), collector), limits)
        mask &= found <= limits
    while mask != 0:
        lane = first(mask)
        value, place = spread_lane(found, lane), splat_sixteen(np.int32(row + lane))
        below, place_below = shift_up(values, lowest), shift_up(places, place)
        places = select(values <= value, places, select(value < below, place_below, place))
        values = smaller(values, larger(below, value))
        limits = smaller(loosened(spread_lane(values, collector.k - 1), collector), limits)
        mask &= mask - 1
        mask &= found <= limits
    store(collector.values, values)
    store(collector.places, places)
    return lowest_lane(limits)


@kernel
def measure(forest, probe, collector, row):
    """Offer a row, measured by the definition, to the heap."""
    value = distance(forest.vectors + row * forest.dim, probe.raw, probe.inverse_norm, forest.dim, forest.metric)
    best, best_ids, size = collector.best, collector.best_ids, collector.state[0]
    collector.state[0] = push(best, best_ids, size, collector.k, rounded_like(best, value), collector.keys[row])


@kernel
def heap_limit(forest, collector, limit):
    """The limit once the heap is full."""
    if collector.state[0] < collector.k:
        return limit
    worst = np.float64(collector.best[0])
    squared = min(2.0 * worst if forest.metric == COSINE else worst * worst, np.float64(_LARGEST))
    return min(limit, lowest_lane(loosened(splat_sixteen(np.float32(squared)), collector)))


@kernel
def visit_leaf(forest, probe, collector, row, n, limit):
    """Scan the n rows from `row` on; returns the limit after it."""
    mask = (1 << n) - 1
    if forest.filtered:
        mask = living(probe.alive, row, n)
        if mask == 0:
            return limit
    collector.state[1] += count(mask)
    x, scales, dim = forest.vectors + row * forest.dim, forest.scales + row, forest.dim
    if (row + LEAF_ROWS) * dim + READS_BEYOND > forest.n_rows * dim:
        for i in range(n * dim):
            forest.staging[i] = x[i]
        x = forest.staging
        if forest.metric == COSINE:
            for i in range(n):
                forest.staged_scales[i] = scales[i]
            scales = forest.staged_scales
    found = leaf_distances(x, scales, probe.raw, probe.unit, dim, forest.metric)
    mask &= found <= splat_sixteen(limit)
    if mask == 0:
        return limit
    if collector.mode == LIST:
        return _insert(found, mask, row, collector, limit)
    if collector.mode == HEAP:
        while mask != 0:
            measure(forest, probe, collector, row + first(mask))
            mask &= mask - 1
        return heap_limit(forest, collector, limit)
    length = collector.state[0]
    if length + WIDTH <= collector.capacity:
        store_compressed(collector.rows + length, ramp_sixteen(row), mask)
    collector.state[0] = length + count(mask)
    return limit


@kernel
def visit_every_row(forest, probe, collector):
    """What a search comes to where no bound can be trusted: HEAP measures all rows, WITHIN lists them."""
    for row in range(forest.n_rows):
        if forest.filtered and living(probe.alive, row, 1) == 0:
            continue
        collector.state[1] += 1
        if collector.mode == HEAP:
            measure(forest, probe, collector, row)
        else:
            length = collector.state[0]
            if length + WIDTH <= collector.capacity:
                collector.rows[length] = np.int32(row)
            collector.state[0] = length + 1


@kernel
def begin(collector):
    """Empty the collector."""
    collector.state[0], collector.state[1] = 0, 0
    if collector.mode == LIST:
        store(collector.values, splat_sixteen(_INFINITY))
        store(collector.places, splat_sixteen(np.int32(-1)))


@kernel
def finish(forest, probe, collector, limit):
    """Put the results in order; returns DONE, or TIED where the list was too short."""
    if collector.mode == HEAP:
        sort_heap(collector.best, collector.best_ids, collector.state[0])
    if collector.mode != LIST:
        return DONE
    if collector.values[WIDTH - 1] <= limit:
        return TIED
    size, k, best, best_ids = 0, collector.k, collector.best, collector.best_ids
    for place in range(WIDTH):
        if not collector.values[place] <= limit:
            break
        row = np.int64(collector.places[place])
        exact = distance(forest.vectors + row * forest.dim, probe.raw, probe.inverse_norm, forest.dim, forest.metric)
        value, key = rounded_like(collector.best, exact), collector.keys[row]
        if size == k:
            if not is_worse(best[k - 1], best_ids[k - 1], value, key):
                continue
            size -= 1
        position = size
        while position > 0 and is_worse(best[position - 1], best_ids[position - 1], value, key):
            best[position], best_ids[position] = best[position - 1], best_ids[position - 1]
            position -= 1
        best[position], best_ids[position] = value, key
        size += 1
    return DONE
