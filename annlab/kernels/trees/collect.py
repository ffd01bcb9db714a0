"""What becomes of the rows of a leaf: three ways to collect, and the limit that each gives to the walk.

Leaves are scanned in float32 (`kernels/trees/leaf.py`), so a scan only selects; the definition decides. `loosened`
turns the squared distance of the k-th row into the limit that no row among the k nearest exceeds, however it was
rounded.

List    for small k: the sixteen best rows so far, sorted, in a vector of values and one of slots. An insertion is a few
        vector instructions. At the end every row within the limit is measured by the definition and the k best stay. If
        all sixteen are within the limit, further ones may have been lost: the query is reported as tied, and repeated
        by a heap.
Heap    for any k: rows within the limit are measured by the definition at once, and the k best are kept in a heap.
Rows    the limit is given (a radius), and all rows within it are listed.

A *slot* is a place in the order of a tree's leaves, a *row* one in the order of the index.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, distance
from annlab.kernels.simd.path import inlined, kernel
from annlab.kernels.simd.registers import count, first, fma, larger, smaller, store
from annlab.kernels.simd.wide import (
    load_sixteen,
    lowest_lane,
    minimum,
    select,
    shift_up,
    splat_sixteen,
    spread_lane,
    square_roots,
)
from annlab.kernels.topk import is_worse, push
from annlab.kernels.trees.leaf import LEAF_ROWS, READS_BEYOND, leaf_distances

LIST_K = 12  # the largest k for a list: some of the sixteen places are left for rows that are tied
DONE, TIED = 0, 1
_ZERO, _INFINITY, _LARGEST = np.float32(0), np.float32(np.inf), np.finfo(np.float32).max


class Tree(NamedTuple):
    """One tree of a forest: its arrays as pointers, and what describes them."""

    vectors: Any  # (n_slots, dim)
    scales: Any  # (n_slots,) float32 inverse norms for cosine
    nodes: Any  # (number of nodes, planes, 16) float32
    rows: Any  # (n_slots,) int32, the rows of the slots; read only if `mapped`
    mapped: int  # 0: slot 0 is row `first_row`, slot 1 the next, ...
    first_row: int
    first_slot: int  # among the slots of all trees
    n_slots: int
    height: int
    offsets: Any  # (height,) the first node of every level
    dim: int
    metric: int
    shape: int  # BOX or BALL
    planes: int
    deflation: Any  # what the rounding of a distance to a ball's center is multiplied away by
    filtered: int  # whether alive and occupied are to be asked
    alive: Any  # bits of rows
    occupied: Any  # bits of children, a mask for every node of this tree
    staging: Any  # room for the last leaf
    staged_scales: Any


class Probe(NamedTuple):
    """A query in the forms that a search needs."""

    raw: Any  # as given
    unit: Any  # of length 1, float32
    low: Any  # float32 bounds of the coordinates that the nodes are about
    high: Any
    blur: Any  # how far `low` may be from the query
    stretch: Any  # (1 + epsilon)^2
    inverse_norm: float


class Best(NamedTuple):
    """The k nearest rows of a query: kept as a heap, or by List until the end."""

    k: int
    slope: Any  # see `loosened`
    linear: Any
    floor: Any
    best: Any  # (k,) distances, float64
    best_ids: Any  # (k,)
    keys: Any  # (n,) the ids of the rows
    state: Any  # [0] entries of the heap, [1] distances computed, [2] nodes visited
    values: Any  # List: (16,)
    places: Any  # List: (16,) int32, slots among those of all trees


class Rows(NamedTuple):
    """All rows within a limit."""

    state: Any  # as above, [0] the rows found
    rows: Any  # (capacity,) int32
    capacity: int


@inlined
def row_of(tree, slot):
    """The row of a slot."""
    if tree.mapped != 0:
        return np.int64(tree.rows[slot])
    return tree.first_row + slot


@inlined
def living(tree, slot, n):
    """The bits of n <= 16 rows from a slot on, as a mask."""
    alive = tree.alive
    if tree.mapped != 0:
        mask = 0
        for i in range(n):
            row = np.int64(tree.rows[slot + i])
            mask |= np.int64((alive[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)) << i
        return mask
    row = tree.first_row + slot
    word, shift = row >> 6, row & 63
    bits = alive[word] >> np.uint64(shift)
    if shift + n > 64:
        bits |= alive[word + 1] << np.uint64(64 - shift)
    return np.int64(bits & np.uint64((1 << n) - 1))


@inlined
def loosened(squared, collector):
    """The limit up to which rows may be as near as one at these squared distances; annlab/trees/structure.py has the
    argument."""
    limit = fma(squared, splat_sixteen(collector.slope), splat_sixteen(collector.floor))
    if collector.linear > _ZERO:
        limit = fma(square_roots(squared), splat_sixteen(collector.linear), limit)
    return smaller(limit, splat_sixteen(_LARGEST))


@kernel
def measure(tree, probe, collector, slot):
    """Offer a row, measured by the definition, to the heap."""
    value = distance(tree.vectors + slot * tree.dim, probe.raw, probe.inverse_norm, tree.dim, tree.metric)
    best, best_ids, size = collector.best, collector.best_ids, collector.state[0]
    key = collector.keys[row_of(tree, slot)]
    collector.state[0] = push(best, best_ids, size, collector.k, value, key)


@inlined
def offer_to_list(tree, probe, collector, slot, mask, found, limit):
    """Insert the lanes of the mask into the sorted list; returns the limit."""
    values, places, lowest = load_sixteen(collector.values), load_sixteen(collector.places), splat_sixteen(-_INFINITY)
    limits, place_of_first = splat_sixteen(limit), tree.first_slot + slot
    if collector.k == 1:  # most rows of the first leaf are worse than its best one
        among = select(mask, found, splat_sixteen(_INFINITY))
        limits = smaller(loosened(minimum(among), collector), limits)
        mask &= found <= limits
    while mask != 0:
        lane = first(mask)
        value, place = spread_lane(found, lane), splat_sixteen(np.int32(place_of_first + lane))
        below, place_below = shift_up(values, lowest), shift_up(places, place)
        places = select(values <= value, places, select(value < below, place_below, place))
        values = smaller(values, larger(below, value))
        limits = smaller(loosened(spread_lane(values, collector.k - 1), collector), limits)
        mask &= mask - 1
        mask &= found <= limits
    store(collector.values, values)
    store(collector.places, places)
    return lowest_lane(limits)


@inlined
def offer_to_heap(tree, probe, collector, slot, mask, found, limit):
    """Measure the rows of the mask; returns the limit, once the heap is full that of its worst row."""
    while mask != 0:
        measure(tree, probe, collector, slot + first(mask))
        mask &= mask - 1
    if collector.state[0] < collector.k:
        return limit
    worst = collector.best[0]
    squared = min(2.0 * worst if tree.metric == COSINE else worst * worst, np.float64(_LARGEST))
    return min(limit, lowest_lane(loosened(splat_sixteen(np.float32(squared)), collector)))


@inlined
def offer_to_rows(tree, probe, collector, slot, mask, found, limit):
    """List the rows of the mask."""
    while mask != 0:
        list_row(tree, probe, collector, slot + first(mask))
        mask &= mask - 1
    return limit


@inlined
def list_row(tree, probe, collector, slot):
    """List a row, or only count it once there is no more room."""
    length = collector.state[0]
    if length < collector.capacity:
        collector.rows[length] = np.int32(row_of(tree, slot))
    collector.state[0] = length + 1


def leaf_visitor(offer: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that scans a leaf and offers the rows within the limit to a collector."""

    @inlined
    def visit_leaf(tree, probe, collector, slot, n, limit):
        mask = (1 << n) - 1
        if tree.filtered != 0:
            mask = living(tree, slot, n)
            if mask == 0:
                return limit
        collector.state[1] += count(mask)
        x, scales, dim = tree.vectors + slot * tree.dim, tree.scales + slot, tree.dim
        if (slot + LEAF_ROWS) * dim + READS_BEYOND > tree.n_slots * dim:
            for i in range(n * dim):
                tree.staging[i] = x[i]
            x = tree.staging
            if tree.metric == COSINE:
                for i in range(n):
                    tree.staged_scales[i] = scales[i]
                scales = tree.staged_scales
        found = leaf_distances(x, scales, probe.raw, probe.unit, dim, tree.metric)
        mask &= found <= splat_sixteen(limit)
        if mask == 0:
            return limit
        return offer(tree, probe, collector, slot, mask, found, limit)

    return visit_leaf


def row_visitor(take: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel for queries whose distances no bound can be trusted with: it takes every row of a tree."""

    @kernel
    def visit_rows(tree, probe, collector):
        for slot in range(tree.n_slots):
            if tree.filtered == 0 or living(tree, slot, 1) != 0:
                collector.state[1] += 1
                take(tree, probe, collector, slot)

    return visit_rows


@inlined
def insert_sorted(collector, size, value, key):
    """Insert into the k best so far, which are sorted; returns their number."""
    k, best, best_ids = collector.k, collector.best, collector.best_ids
    if size == k:
        if not is_worse(best[k - 1], best_ids[k - 1], value, key):
            return size
        size -= 1
    position = size
    while position > 0 and is_worse(best[position - 1], best_ids[position - 1], value, key):
        best[position], best_ids[position] = best[position - 1], best_ids[position - 1]
        position -= 1
    best[position], best_ids[position] = value, key
    return size + 1
