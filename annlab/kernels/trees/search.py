"""Searching trees with sixteen children a node: what Python calls.

Every search is put together from

- a *bound* (`tree.py`): the squared distances below which none of a node's sixteen children can have a row, for boxes
  or for balls, all sixteen at once;
- a *walk* (`walk.py`): which child is next;
- a *collector* (`collect.py`): what becomes of a leaf's rows (`leaf.py`). It sets the limit.

Each of the searches is compiled when it is first used: most programs need `search_list` alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import (
    double_memory,
    float_memory,
    int_memory,
    long_memory,
    pointer,
    pointers,
    store,
)
from annlab.kernels.simd.wide import WIDTH, splat_sixteen
from annlab.kernels.topk import sort_heap
from annlab.kernels.trees.collect import (
    DONE,
    TIED,
    Best,
    Rows,
    finish_list,
    leaf_visitor,
    list_row,
    measure,
    offer_to_heap,
    offer_to_list,
    offer_to_rows,
    row_visitor,
)
from annlab.kernels.trees.leaf import LEAF_ROWS
from annlab.kernels.trees.tree import (
    BYTES,
    COMPUTED,
    N_COUNTERS,
    SIDE_BY_SIDE_DIM,
    STACK_DOUBLES,
    STACK_FLOATS,
    STACK_INTS,
    STACK_LONGS,
    TOGETHER,
    VISITED,
    Allowed,
    Budget,
    Forest,
    Results,
    Space,
    living,
    prepare,
    probe_at,
    scratch_in,
    tree_at,
)
from annlab.kernels.trees.walk import begin_at_root, best_first, depth_first, descend_together

_INFINITY, _LARGEST = np.float32(np.inf), np.finfo(np.float32).max

walk_to_list = depth_first(leaf_visitor(offer_to_list))
walk_to_heap = depth_first(leaf_visitor(offer_to_heap))
walk_to_rows = depth_first(leaf_visitor(offer_to_rows))
walk_on_budget = best_first(leaf_visitor(offer_to_heap))
measure_rows, list_rows = row_visitor(measure), row_visitor(list_row)


@inlined
def empty_collector(forest, allowed, found, query, k, scratch):
    """For the k best rows of a query."""
    state, slack = scratch.state, forest.slack
    state[0], state[1], state[2] = 0, 0, 0
    return Best(k, slack[0], slack[1], slack[2], found.distances + query * k, found.ids + query * k, allowed.keys,
                state, scratch.values, scratch.lost, scratch.places)  # fmt: skip


@inlined
def count_work(forest, counters, state):
    """Add what a collector's state says of a query to its counters."""
    counters[COMPUTED] += state[1]
    counters[VISITED] += state[2]
    counters[BYTES] += state[1] * forest.row_bytes + state[2] * forest.node_bytes


def through_all_trees(walk: Callable[..., Any], take_rows: Callable[..., Any]) -> Callable[..., Any]:
    """A search of one tree after the other; of every row where `usable` says that no bound is to be trusted."""

    @kernel
    def search(forest, allowed, probe, usable, collector, limit, scratch, dim):
        for number in range(forest.n_trees):
            tree = tree_at(forest, number, allowed, scratch, dim)
            if usable:
                level = begin_at_root(tree, probe, scratch, 0)
                limit = walk(tree, probe, collector, limit, scratch, 0, level)
            else:
                take_rows(tree, probe, collector)

    return search


fill_heap = through_all_trees(walk_to_heap, measure_rows)
fill_rows = through_all_trees(walk_to_rows, list_rows)


class Asked(NamedTuple):
    """Some queries, as addresses."""

    queries: Any  # (q, dim)
    dim: int
    order: Any  # (n,) int64: which of them, one after the other
    n: int
    k: int
    epsilon: float


@kernel
def fill_lists(trees, may, at, asked, best, statuses):
    """Search for some queries by lists; all arguments as addresses."""
    queries, dim, order, k = asked.queries, asked.dim, asked.order, asked.k
    scratch = scratch_in(at, dim, float_memory(STACK_FLOATS), double_memory(STACK_DOUBLES), int_memory(STACK_INTS),
                         long_memory(STACK_LONGS))  # fmt: skip
    stretch, together = np.float32((1.0 + asked.epsilon) ** 2), TOGETHER if dim <= SIDE_BY_SIDE_DIM else 1
    for start in range(0, asked.n, together):
        n = min(together, asked.n - start)
        for place in range(n):
            i = order[start + place]
            statuses[i] = DONE if prepare(queries + i * dim, scratch, place, trees, dim) else TIED
        first_tree = tree_at(trees, 0, may, scratch, dim)
        descend_together(first_tree, scratch, n, stretch)
        for place in range(n):
            i = order[start + place]
            if statuses[i] == TIED:
                continue
            probe, collector = probe_at(scratch, place, stretch, dim), empty_collector(trees, may, best, i, k, scratch)
            store(collector.values, splat_sixteen(_INFINITY))
            store(collector.lost, splat_sixteen(_INFINITY))
            store(collector.places, splat_sixteen(np.int32(-1)))
            limit = _LARGEST
            for number in range(trees.n_trees):
                tree = tree_at(trees, number, may, scratch, dim)
                level = 0 if number == 0 else begin_at_root(tree, probe, scratch, place)
                limit = walk_to_list(tree, probe, collector, limit, scratch, place, level)
            statuses[i] = finish_list(trees, first_tree, probe, collector, limit)
            count_work(trees, best.counters + i * N_COUNTERS, scratch.state)


def one_by_one(look: Callable[..., Any]) -> Callable[..., Any]:
    """A search of one query after the other by `look`, which fills the heap of a query in range."""

    @kernel
    def search(forest, allowed, space, queries, order, epsilon, found, room):
        trees, may, best, at = pointers(forest), pointers(allowed), pointers(found), pointers(space)
        dim, k, stretch = queries.shape[1], found.ids.shape[1], np.float32((1.0 + epsilon) ** 2)
        scratch = scratch_in(at, dim, float_memory(STACK_FLOATS), double_memory(STACK_DOUBLES), int_memory(STACK_INTS),
                             long_memory(STACK_LONGS))  # fmt: skip
        for m in range(order.shape[0]):
            i = order[m]
            in_range = prepare(pointer(queries) + i * dim, scratch, 0, trees, dim)
            probe, collector = probe_at(scratch, 0, stretch, dim), empty_collector(trees, may, best, i, k, scratch)
            look(trees, may, probe, in_range and trees.trusted, collector, scratch, dim, room)
            sort_heap(collector.best, collector.best_ids, scratch.state[0])
            count_work(trees, best.counters + i * N_COUNTERS, scratch.state)

    return search


@inlined
def _everywhere(forest, allowed, probe, usable, collector, scratch, dim, room):
    fill_heap(forest, allowed, probe, usable, collector, _LARGEST, scratch, dim)


@inlined
def _on_budget(forest, allowed, probe, usable, collector, scratch, dim, room):
    if usable:
        walk_on_budget(forest, allowed, probe, collector, scratch, dim, pointers(room))
    else:
        fill_heap(forest, allowed, probe, usable, collector, _LARGEST, scratch, dim)


_search_heap, _search_budget = one_by_one(_everywhere), one_by_one(_on_budget)


@kernel
def _search_rows(forest, allowed, space, query, limit, rows, counters):
    trees, may, at, dim = pointers(forest), pointers(allowed), pointers(space), query.shape[1]
    scratch = scratch_in(at, dim, float_memory(STACK_FLOATS), double_memory(STACK_DOUBLES), int_memory(STACK_INTS),
                         long_memory(STACK_LONGS))  # fmt: skip
    usable = prepare(pointer(query), scratch, 0, trees, dim) and trees.trusted
    probe, collector = probe_at(scratch, 0, np.float32(1.0), dim), Rows(scratch.state, pointer(rows), rows.shape[0])
    collector.state[0], collector.state[1], collector.state[2] = 0, 0, 0
    fill_rows(trees, may, probe, usable, collector, limit, scratch, dim)
    count_work(trees, pointer(counters), scratch.state)
    return collector.state[0]


@kernel
def _occupancy(forest, allowed, space):
    trees, may, at = pointers(forest), pointers(allowed), pointers(space)
    scratch = scratch_in(at, 1, float_memory(STACK_FLOATS), double_memory(STACK_DOUBLES), int_memory(STACK_INTS),
                         long_memory(STACK_LONGS))  # fmt: skip
    for number in range(trees.n_trees):
        tree = tree_at(trees, number, may, scratch, 1)
        for level in range(tree.height):
            n_nodes = (tree.n_slots + (WIDTH * LEAF_ROWS << (4 * level)) - 1) >> (4 * level + 8)
            n_children = (tree.n_slots + (LEAF_ROWS << (4 * level)) - 1) >> (4 * level + 4)
            for node in range(n_nodes):
                mask = 0
                for child in range(min(WIDTH, n_children - node * WIDTH)):
                    place = node * WIDTH + child
                    if level > 0:
                        some = tree.occupied[tree.offsets[level - 1] + place] != 0
                    else:
                        slot = place * LEAF_ROWS
                        some = living(tree, slot, min(LEAF_ROWS, tree.n_slots - slot)) != 0
                    mask |= np.int64(some) << child
                tree.occupied[tree.offsets[level] + node] = np.int32(mask)


# ---- what Python calls


@entry
def search_list(path, forest: Forest, allowed: Allowed, space: Space, queries, order, epsilon, found: Results,
                statuses):  # fmt: skip
    """The k <= LIST_K nearest of the queries (q, dim) of the given order (m,), by a list.

    statuses (q,) uint8 become DONE, or TIED: the query has to be repeated by `search_heap`.
    """
    best = Results(*found)
    asked = Asked(pointer(queries), queries.shape[1], pointer(order), order.shape[0], best.ids.shape[1], epsilon)
    fill_lists(pointers(Forest(*forest)), pointers(Allowed(*allowed)), pointers(Space(*space)), asked, pointers(best),
               pointer(statuses))  # fmt: skip


@entry
def search_heap(path, forest: Forest, allowed: Allowed, space: Space, queries, order, epsilon, found: Results):
    """As `search_list`, for any k, by a heap."""
    _search_heap(Forest(*forest), Allowed(*allowed), Space(*space), queries, order, epsilon, Results(*found), 0)


@entry
def search_budget(path, forest: Forest, allowed: Allowed, space: Space, queries, order, epsilon, found: Results,
                  budget: Budget):  # fmt: skip
    """As `search_heap`, but the nearest node or leaf of all that were seen first, until the budget is spent.

    Where no bound is to be trusted, all rows are measured.
    """
    _search_budget(Forest(*forest), Allowed(*allowed), Space(*space), queries, order, epsilon, Results(*found),
                   Budget(*budget))  # fmt: skip


@entry
def search_rows(path, forest: Forest, allowed: Allowed, space: Space, query, limit, rows, counters):
    """List the rows within a limit of one query (1, dim); returns their number, of which `rows` has room for some."""
    return _search_rows(Forest(*forest), Allowed(*allowed), Space(*space), query, limit, rows, counters)


@entry
def occupancy(path, forest: Forest, allowed: Allowed, space: Space):
    """Fill `allowed.occupied`, one bit a child: whether its rows include a living one."""
    _occupancy(Forest(*forest), Allowed(*allowed), Space(*space))
