"""What becomes of the rows of a leaf: three ways to collect, and the limit that each gives to the walk.

Leaves are scanned in float32 (`leaf.py`), so a scan only selects; the definition decides. `loosened` turns
the squared distance of the k-th row into the limit that no row among the k nearest exceeds, however it was rounded.

List    for small k: the sixteen best rows so far in a vector of values and one of slots. A leaf's sixteen rows are
        sorted and merged with it, without a branch. What falls out is remembered as far as it matters: `lost` holds,
        lane by lane, the smallest that ever did. At the end every row within the limit is measured by the definition
        and the k best stay. If something lost is within the limit too, the list was too short: the query is reported
        as tied, and repeated by a heap.
Heap    for any k: rows within the limit are measured by the definition at once, and the k best are kept in a heap.
Rows    the limit is given (a radius), and all rows within it are listed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, distance
from annlab.kernels.simd.path import inlined, kernel
from annlab.kernels.simd.registers import count, first, fma, larger, smaller, store
from annlab.kernels.simd.sorting import merged_pairs, reversed_sixteen, smallest, sorted_pairs
from annlab.kernels.simd.wide import (
    lane_numbers,
    load_sixteen,
    lowest_lane,
    pointer_at,
    select,
    splat_sixteen,
    spread_lane,
    square_roots,
)
from annlab.kernels.topk import insert_sorted, push
from annlab.kernels.trees.leaf import LEAF_ROWS, READS_BEYOND, leaf_distances
from annlab.kernels.trees.tree import FIRST_ROW, FIRST_SLOT, ROWS, TABLE_COLUMNS, VECTORS, living, row_of

LIST_K = 12  # the largest k for a list: some of the sixteen places are left for rows that are tied
DONE, TIED = 0, 1
_ZERO, _INFINITY, _LARGEST = np.float32(0), np.float32(np.inf), np.finfo(np.float32).max


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
    lost: Any  # List: (16,) the smallest values that fell out, lane by lane
    places: Any  # List: (16,) int32, slots among those of all trees


class Rows(NamedTuple):
    """All rows within a limit."""

    state: Any  # as above, [0] the rows found
    rows: Any  # (capacity,) int32
    capacity: int


@inlined
def loosened(squared, collector):
    """The limit up to which rows may be as near as one at these squared distances (`annlab/trees/structure.py`)."""
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
    """Merge the lanes of the mask into the list, which is sorted unless k is 1; returns the limit."""
    values, places = load_sixteen(collector.values), load_sixteen(collector.places)
    found = select(mask, found, splat_sixteen(_INFINITY))
    found_places = splat_sixteen(np.int32(tree.first_slot + slot)) + lane_numbers()
    if collector.k > 1:
        found, found_places = sorted_pairs(found, found_places)
        found, found_places = reversed_sixteen(found), reversed_sixteen(found_places)
    # of a rising and a falling run, the smaller of each two are the sixteen smallest of all
    lost = smaller(load_sixteen(collector.lost), larger(values, found))
    kept = smaller(values, found)
    places = select(kept == values, places, found_places)
    if collector.k > 1:
        kept, places = merged_pairs(kept, places)
        worst = spread_lane(kept, collector.k - 1)
    else:
        worst = smallest(kept)
    store(collector.values, kept)
    store(collector.places, places)
    store(collector.lost, lost)
    return lowest_lane(smaller(loosened(worst, collector), splat_sixteen(limit)))


@inlined
def finish_list(forest, tree, probe, collector, limit):
    """Measure the listed rows and put the k best in order; returns DONE, or TIED where the list was too short.

    tree: any of the forest, for what all have in common.
    """
    if (load_sixteen(collector.lost) <= splat_sixteen(limit)) != 0:
        return TIED
    size, mask = 0, load_sixteen(collector.values) <= splat_sixteen(limit)
    while mask != 0:
        place = first(mask)
        mask &= mask - 1
        slot, line = np.int64(collector.places[place]), forest.table + (forest.n_trees - 1) * TABLE_COLUMNS
        while line[FIRST_SLOT] > slot:
            line += -TABLE_COLUMNS
        slot -= line[FIRST_SLOT]
        row = line[FIRST_ROW] + slot
        if line[ROWS] != 0:
            row = np.int64(pointer_at(line[ROWS], collector.places)[slot])
        x = pointer_at(line[VECTORS], probe.raw) + slot * tree.dim
        exact = distance(x, probe.raw, probe.inverse_norm, tree.dim, tree.metric)
        size = insert_sorted(collector.best, collector.best_ids, size, collector.k, exact, collector.keys[row])
    return DONE


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
