"""Searching trees with sixteen children a node: bounds by vectors, a small stack, leaves of sixteen rows.

The trees are described in `annlab/trees/forest.py`. Every search is put together from

- a *bound* (`child_bounds`): the squared distances below which none of a node's sixteen children can have a row, for
  boxes or for balls, all sixteen at once;
- a *walk*: which child is next. Depth first (`depth_first`) visits the nearest child first and drops a child once its
  bound exceeds the limit; it needs a stack with one entry per level. Best first takes the nearest of all nodes seen so
  far, from a heap, and is used where a search may visit a limited number of leaves only;
- a *collector*: what becomes of a leaf's rows (`kernels/trees/collect.py`). It sets the limit.

Each of the searches at the end of this file is compiled when it is first used: most programs need `search_list` alone.

Most of a search's time is spent waiting for memory: data of a million rows do not fit into the caches, and every child
lies elsewhere. So all children that could be visited are fetched as soon as their bounds are known.

Nothing read from the tree's arrays decides where memory is read, but for the rows that slots are mapped to, which are
checked when loaded: children are counted from the number of rows, so boxes that hold NaN or nonsense can give a wrong
answer, but no crash and no endless loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, distance, inverse_norm
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import first, fma, larger, pointer, prefetch, store
from annlab.kernels.simd.wide import (
    WIDTH,
    load_sixteen,
    minimum,
    pointer_at,
    select,
    splat_sixteen,
    square_roots,
)
from annlab.kernels.topk import push, sift_down, sort_heap
from annlab.kernels.trees.collect import (
    DONE,
    TIED,
    Best,
    Probe,
    Rows,
    Tree,
    insert_sorted,
    leaf_visitor,
    list_row,
    living,
    measure,
    offer_to_heap,
    offer_to_list,
    offer_to_rows,
    row_visitor,
)
from annlab.kernels.trees.leaf import LEAF_ROWS, READS_BEYOND

BOX, BALL = 0, 1
MAX_HEIGHT = 8  # levels of nodes: 16^8 leaves are more than the rows that an index may have
VECTORS, SCALES, NODES, ROWS, FIRST_ROW, FIRST_SLOT, N_SLOTS, HEIGHT, FIRST_NODE, OFFSETS = range(10)
"""Columns of the table of trees: four addresses (ROWS 0: none), numbers, and from OFFSETS on the levels' first nodes
within the tree. FIRST_NODE counts the nodes of the trees before."""
TABLE_COLUMNS = OFFSETS + MAX_HEIGHT
_LINE = 16  # floats that are fetched together
_ZERO, _INFINITY, _LARGEST = np.float32(0), np.float32(np.inf), np.finfo(np.float32).max
_REACH = 1e15  # coordinates above do not go through float32 sums of squares


class Scratch(NamedTuple):
    """Room for one query at a time, as pointers."""

    raw: Any
    staging: Any
    unit: Any
    low: Any
    high: Any
    staged_scales: Any
    values: Any
    stack_bounds: Any  # (MAX_HEIGHT, 16)
    state: Any  # (4,), see `Best`
    stack_masks: Any  # (MAX_HEIGHT,)
    stack_nodes: Any


def padded(dim: int) -> int:
    """Floats that a query takes, so that registers can be loaded from any of its coordinates on."""
    return (dim + 15) // 16 * 16 + 16


def new_scratch(dim: int, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays that all searches take as `own`, `floats` and `integers`."""
    return (
        np.zeros(padded(dim) + LEAF_ROWS * dim + READS_BEYOND, dtype),
        np.zeros(3 * padded(dim) + (2 + MAX_HEIGHT) * WIDTH, np.float32),
        np.zeros(4 + 2 * MAX_HEIGHT, np.int64),
    )


@inlined
def scratch_in(own, floats, integers, dim):
    """The parts of the scratch arrays."""
    each = (dim + 15) // 16 * 16 + 16
    own_, floats_, integers_ = pointer(own), pointer(floats), pointer(integers)
    rest = floats_ + 3 * each
    return Scratch(own_, own_ + each, floats_, floats_ + each, floats_ + 2 * each, rest, rest + WIDTH,
                   rest + 2 * WIDTH, integers_, integers_ + 4, integers_ + 4 + MAX_HEIGHT)  # fmt: skip


@inlined
def tree_at(table, number, scratch, places, dim, metric, shape, alive, occupied):
    """A tree by its line in the table."""
    row = pointer(table) + number * TABLE_COLUMNS
    return Tree(
        pointer_at(row[VECTORS], scratch.raw),
        pointer_at(row[SCALES], scratch.low), pointer_at(row[NODES], scratch.low),
        pointer_at(row[ROWS], pointer(places)), np.int64(row[ROWS] != 0), row[FIRST_ROW], row[FIRST_SLOT],
        row[N_SLOTS], row[HEIGHT], row + OFFSETS, dim, metric, shape, dim + 1 if shape == BALL else 2 * dim,
        np.float32(1.0 - (dim + 16) * 2.0**-24), np.int64(alive.shape[0]), pointer(alive),
        pointer(occupied) + row[FIRST_NODE], scratch.staging, scratch.staged_scales,
    )  # fmt: skip


@inlined
def child_bounds(tree, probe, node):
    """Lower bounds of the squared distances of the query to the rows of a node's sixteen children."""
    x, dim = tree.nodes + node * tree.planes * WIDTH, tree.dim
    total, zero = splat_sixteen(_ZERO), splat_sixteen(_ZERO)
    if tree.shape == BOX:
        for j in range(dim):
            above, below = (
                load_sixteen(x) - splat_sixteen(probe.high[j]),
                splat_sixteen(probe.low[j]) - load_sixteen(x + WIDTH),
            )
            gap = larger(larger(above, below), zero)
            total = fma(gap, gap, total)
            x += 2 * WIDTH
        return total * splat_sixteen(probe.stretch)
    for j in range(dim):
        gap = load_sixteen(x) - splat_sixteen(probe.low[j])
        total = fma(gap, gap, total)
        x += WIDTH
    distance = square_roots(total) * splat_sixteen(tree.deflation) - load_sixteen(x) - splat_sixteen(probe.blur)
    distance = larger(distance, zero)
    return distance * distance * splat_sixteen(probe.stretch)


@inlined
def open_children(tree, level, node):
    """Mask of the children that exist and, where there is a filter, have a row that passes it."""
    n_children = ((tree.n_slots + (LEAF_ROWS << (4 * level)) - 1) >> (4 * level + 4)) - node * WIDTH
    mask = (1 << min(WIDTH, n_children)) - 1
    if tree.filtered != 0:
        mask &= np.int64(tree.occupied[tree.offsets[level] + node])
    return mask


@inlined
def nearest_child(bounds, mask):
    """The child of the mask with the smallest bound."""
    if mask & (mask - 1) == 0:
        return first(mask)
    among = select(mask, bounds, splat_sixteen(_INFINITY))
    smallest = (among == minimum(among)) & mask
    return first(smallest if smallest != 0 else mask)


@inlined
def fetch_children(tree, level, node, mask):
    """Ask for the leaves or nodes of the mask."""
    if level == 0:
        size = LEAF_ROWS * tree.dim
        while mask != 0:
            x = tree.vectors + (node * WIDTH + first(mask)) * size
            for i in range(0, size, _LINE):
                prefetch(x + i)
            mask &= mask - 1
    else:
        size = tree.planes * WIDTH
        while mask != 0:
            x = tree.nodes + (tree.offsets[level - 1] + node * WIDTH + first(mask)) * size
            for i in range(0, size, _LINE):
                prefetch(x + i)
            mask &= mask - 1


def depth_first(visit_leaf: Callable[..., Any]) -> Callable[..., Any]:
    """A walk that visits the nearest child first; it returns the limit at the end."""

    @kernel
    def walk(tree, probe, collector, limit, scratch):
        stack_bounds, stack_masks, stack_nodes = scratch.stack_bounds, scratch.stack_masks, scratch.stack_nodes
        level, node, nodes = tree.height - 1, 0, 1
        mask = open_children(tree, level, node)
        if mask == 0:  # nothing in this tree passes the filter
            return limit
        bounds = child_bounds(tree, probe, tree.offsets[level])
        while True:
            mask &= bounds <= splat_sixteen(limit)
            if mask == 0:
                level += 1
                if level == tree.height:
                    break
                bounds, mask, node = load_sixteen(stack_bounds + level * WIDTH), stack_masks[level], stack_nodes[level]
                continue
            child = nearest_child(bounds, mask)
            mask &= ~(1 << child)
            if level > 0:
                store(stack_bounds + level * WIDTH, bounds)
                stack_masks[level], stack_nodes[level] = mask, node
                level -= 1
                node = node * WIDTH + child
                bounds = child_bounds(tree, probe, tree.offsets[level] + node)
                mask = open_children(tree, level, node)
                fetch_children(tree, level, node, mask & (bounds <= splat_sixteen(limit)))
                nodes += 1
            else:
                slot = (node * WIDTH + child) * LEAF_ROWS
                limit = visit_leaf(tree, probe, collector, slot, min(LEAF_ROWS, tree.n_slots - slot), limit)
        collector.state[2] += nodes
        return limit

    return walk


walk_to_list = depth_first(leaf_visitor(offer_to_list))
walk_to_heap = depth_first(leaf_visitor(offer_to_heap))
walk_to_rows = depth_first(leaf_visitor(offer_to_rows))
visit_for_budget = leaf_visitor(offer_to_heap)
measure_rows, list_rows = row_visitor(measure), row_visitor(list_row)


@inlined
def probe_of(query, scratch, center, exact, metric, dim, epsilon):
    """The query's forms (see `Probe`), and whether its magnitude is in range."""
    raw, unit, low, high = scratch.raw, scratch.unit, scratch.low, scratch.high
    scale = inverse_norm(query, dim) if metric == COSINE else 1.0
    blur, largest = 0.0, 0.0
    for j in range(dim):
        raw[j], unit[j] = query[j], np.float32(query[j] * scale)
        exactly = query[j] * scale - center[j]
        value = np.float32(exactly)
        low[j], high[j] = value, value
        if not exact:
            low[j], high[j] = np.nextafter(value, -_INFINITY), np.nextafter(value, _INFINITY)
            blur += (high[j] - exactly + 1e-40) ** 2 + (exactly - low[j]) ** 2
        largest = max(largest, abs(query[j]))
    in_range = largest < _REACH and (metric != COSINE or 1e-15 < scale < 1e15)
    stretch = np.float32((1.0 + epsilon) ** 2)
    return Probe(raw, unit, low, high, np.float32(1.0001 * np.sqrt(blur)), stretch, scale), in_range


@inlined
def finish_list(table, scratch, places, probe, collector, limit, dim, metric):
    """Measure the listed rows and put the k best in order; returns DONE, or TIED where the list was too short."""
    if collector.values[WIDTH - 1] <= limit:
        return TIED
    size = 0
    for place in range(WIDTH):
        if not collector.values[place] <= limit:
            break
        slot, number = np.int64(collector.places[place]), table.shape[0] - 1
        while table[number, FIRST_SLOT] > slot:
            number -= 1
        slot -= table[number, FIRST_SLOT]
        x = pointer_at(table[number, VECTORS], scratch.raw) + slot * dim
        row = table[number, FIRST_ROW] + slot
        if table[number, ROWS] != 0:
            row = np.int64(pointer_at(table[number, ROWS], pointer(places))[slot])
        exact = distance(x, probe.raw, probe.inverse_norm, dim, metric)
        size = insert_sorted(collector, size, exact, collector.keys[row])
    return DONE


@entry
def search_list(path, queries, order, table, shape, metric, center, exact, keys, alive, occupied, k, slack, epsilon,
                own, floats, integers, places, distances, ids, statuses, counters):  # fmt: skip
    """The k <= LIST_K nearest of the queries of the given order, by a list.

    queries (q, dim); order (m,) int64; table (trees, TABLE_COLUMNS); exact: whether vectors are themselves what the
    nodes are about (float32, no center); keys (n,) int64; alive (words,) uint64, without any: no filter, and occupied
    as `occupancy` fills it; slack (3,): slope, linear and floor of `loosened`; own, floats, integers: `new_scratch`;
    places (16,) int32. distances and ids (q, k), filled with inf and -1, receive the results, statuses (q,) DONE or
    TIED: the query has to be repeated by `search_heap`. counters (q, 2): nodes and distances.
    """
    dim, query, scratch = queries.shape[1], pointer(queries), scratch_in(own, floats, integers, queries.shape[1])
    best, best_ids, state = pointer(distances), pointer(ids), scratch.state
    for m in range(order.shape[0]):
        i = order[m]
        probe, in_range = probe_of(query + i * dim, scratch, pointer(center), exact, metric, dim, epsilon)
        statuses[i] = TIED
        if not in_range:
            continue
        collector = Best(k, slack[0], slack[1], slack[2], best + i * k, best_ids + i * k, pointer(keys), state,
                         scratch.values, pointer(places))  # fmt: skip
        state[0], state[1], state[2] = 0, 0, 0
        store(collector.values, splat_sixteen(_INFINITY))
        store(collector.places, splat_sixteen(np.int32(-1)))
        limit = _LARGEST
        for number in range(table.shape[0]):
            tree = tree_at(table, number, scratch, places, dim, metric, shape, alive, occupied)
            limit = walk_to_list(tree, probe, collector, limit, scratch)
        statuses[i] = finish_list(table, scratch, places, probe, collector, limit, dim, metric)
        counters[i, 0], counters[i, 1] = state[2], state[1]


@entry
def search_heap(path, queries, order, table, shape, metric, center, exact, keys, alive, occupied, k, slack, epsilon,
                own, floats, integers, places, trusted, distances, ids, counters):  # fmt: skip
    """As `search_list`, for any k, by a heap. trusted: whether the vectors' coordinates are in range."""
    dim, query, scratch = queries.shape[1], pointer(queries), scratch_in(own, floats, integers, queries.shape[1])
    best, best_ids, state = pointer(distances), pointer(ids), scratch.state
    for m in range(order.shape[0]):
        i = order[m]
        probe, in_range = probe_of(query + i * dim, scratch, pointer(center), exact, metric, dim, epsilon)
        collector = Best(k, slack[0], slack[1], slack[2], best + i * k, best_ids + i * k, pointer(keys), state,
                         scratch.values, pointer(places))  # fmt: skip
        state[0], state[1], state[2] = 0, 0, 0
        limit = _LARGEST
        for number in range(table.shape[0]):
            tree = tree_at(table, number, scratch, places, dim, metric, shape, alive, occupied)
            if in_range and trusted:
                limit = walk_to_heap(tree, probe, collector, limit, scratch)
            else:
                measure_rows(tree, probe, collector)
        sort_heap(collector.best, collector.best_ids, state[0])
        counters[i, 0], counters[i, 1] = state[2], state[1]


@entry
def search_budget(path, queries, order, table, shape, metric, center, exact, keys, alive, occupied, k, slack, epsilon,
                  own, floats, integers, places, max_leaves, queue, queue_places, distances, ids,
                  counters):  # fmt: skip
    """As `search_heap`, but the nearest node or leaf of all that were seen first, until `max_leaves` leaves were seen.

    queue and queue_places (capacity + 1,) are room for a heap of negated bounds and of places: tree, level, node. Level
    0 is a leaf. The vectors have to be in range; of queries that are not all rows are measured.
    """
    dim, query, scratch = queries.shape[1], pointer(queries), scratch_in(own, floats, integers, queries.shape[1])
    best, best_ids, state, spill = pointer(distances), pointer(ids), scratch.state, scratch.values
    bounds_heap, heap_places, capacity = pointer(queue), pointer(queue_places), queue.shape[0] - 1
    for m in range(order.shape[0]):
        i = order[m]
        probe, in_range = probe_of(query + i * dim, scratch, pointer(center), exact, metric, dim, epsilon)
        collector = Best(k, slack[0], slack[1], slack[2], best + i * k, best_ids + i * k, pointer(keys), state,
                         scratch.values, pointer(places))  # fmt: skip
        state[0], state[1], state[2] = 0, 0, 0
        limit, size, leaves = _LARGEST, 0, 0
        for number in range(table.shape[0]):
            if in_range:
                place = (number << 36) | (table[number, HEIGHT] << 32)
                size = push(bounds_heap, heap_places, size, capacity, _ZERO, place)
            else:
                tree = tree_at(table, number, scratch, places, dim, metric, shape, alive, occupied)
                measure_rows(tree, probe, collector)
        while size > 0 and leaves < max_leaves:
            bound, place = -bounds_heap[0], heap_places[0]
            size -= 1
            sift_down(bounds_heap, heap_places, size, bounds_heap[size], heap_places[size])
            if not bound <= limit:
                break
            level, node = ((place >> 32) & 15) - 1, place & 0xFFFFFFFF
            tree = tree_at(table, place >> 36, scratch, places, dim, metric, shape, alive, occupied)
            if level < 0:
                slot = node * LEAF_ROWS
                limit = visit_for_budget(tree, probe, collector, slot, min(LEAF_ROWS, tree.n_slots - slot), limit)
                leaves += 1
                continue
            bounds = child_bounds(tree, probe, tree.offsets[level] + node)
            mask = open_children(tree, level, node) & (bounds <= splat_sixteen(limit))
            store(spill, bounds)
            state[2] += 1
            while mask != 0 and size < capacity:
                child = first(mask)
                mask &= mask - 1
                place = (place >> 36 << 36) | (level << 32) | (node * WIDTH + child)
                size = push(bounds_heap, heap_places, size, capacity, -spill[child], place)
        sort_heap(collector.best, collector.best_ids, state[0])
        counters[i, 0], counters[i, 1] = state[2], state[1]


@entry
def search_rows(path, query, table, shape, metric, center, exact, alive, occupied, limit, own, floats, integers, places,
                trusted, rows, counters):  # fmt: skip
    """List the rows within a limit of one query (1, dim); returns their number, of which `rows` has room for some."""
    dim, scratch = query.shape[1], scratch_in(own, floats, integers, query.shape[1])
    state = scratch.state
    probe, in_range = probe_of(pointer(query), scratch, pointer(center), exact, metric, dim, 0.0)
    collector = Rows(state, pointer(rows), rows.shape[0])
    state[0], state[1], state[2] = 0, 0, 0
    for number in range(table.shape[0]):
        tree = tree_at(table, number, scratch, places, dim, metric, shape, alive, occupied)
        if in_range and trusted:
            walk_to_rows(tree, probe, collector, limit, scratch)
        else:
            list_rows(tree, probe, collector)
    counters[0, 0], counters[0, 1] = state[2], state[1]
    return state[0]


@entry
def occupancy(path, table, own, floats, integers, places, alive, occupied):
    """One bit per child: whether its rows include a living one. occupied: a mask of sixteen bits for every node."""
    scratch = scratch_in(own, floats, integers, 0)
    for number in range(table.shape[0]):
        tree = tree_at(table, number, scratch, places, 1, 0, BOX, alive, occupied)
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
