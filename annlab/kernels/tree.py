"""Searching trees with sixteen children a node: bounds by vectors, a small stack, leaves of sixteen rows.

The trees are described in `annlab/trees.py`. One kernel serves both kinds and all searches; it is put together from

- a *bound* (`child_bounds`): the squared distances below which none of a node's sixteen children can have a row, for
  boxes or for balls, all sixteen at once;
- a *walk* (`walk_tree`, `walk_best_first`): which child is next. Depth first visits the nearest child first and drops a
  child once its bound exceeds the limit; it needs a stack with one entry per level. Best first takes the nearest of all
  nodes seen so far, from a heap, and is used where a search may visit a limited number of leaves only;
- a *collector* (`visit_leaf`): what becomes of a leaf's rows (`kernels/tree_collect.py`). It sets the limit.

Nothing read from the tree's arrays decides where memory is read: children are counted from the number of rows, so boxes
that hold NaN or nonsense can give a wrong answer, but no crash and no endless loop.
"""

import numpy as np

from annlab.kernels.distance import COSINE, inverse_norm
from annlab.kernels.path import entry, inlined, kernel
from annlab.kernels.simd import first, fma, larger, pointer, store
from annlab.kernels.topk import push, sift_down
from annlab.kernels.tree_collect import (
    LIST,
    TIED,
    WITHIN,
    Collector,
    Forest,
    Probe,
    begin,
    finish,
    living,
    visit_every_row,
    visit_leaf,
)
from annlab.kernels.tree_leaf import LEAF_ROWS, READS_BEYOND
from annlab.kernels.wide import WIDTH, load_sixteen, minimum, select, splat_sixteen, square_roots

BOX, BALL = 0, 1
MAX_HEIGHT = 8  # levels of nodes: 16^8 leaves are more than the rows that an index may have
FIRST_ROW, N_ROWS, HEIGHT, OFFSETS = (
    0,
    1,
    2,
    3,
)  # columns of the table of trees; from OFFSETS on the levels' first nodes
TABLE_COLUMNS = OFFSETS + MAX_HEIGHT
_ZERO, _INFINITY, _LARGEST = np.float32(0), np.float32(np.inf), np.finfo(np.float32).max
_REACH = 1e15  # coordinates above do not go through float32 sums of squares


@inlined
def child_bounds(forest, probe, node):
    """Lower bounds of the squared distances of the query to the rows of a node's sixteen children."""
    x, dim = forest.nodes + node * forest.planes * WIDTH, forest.dim
    total, zero = splat_sixteen(_ZERO), splat_sixteen(_ZERO)
    if forest.shape == BOX:
        for j in range(dim):
            above, below = (
                load_sixteen(x) - splat_sixteen(probe.high[j]),
                splat_sixteen(probe.low[j]) - load_sixteen(x + WIDTH),
            )
            gap = larger(larger(above, below), zero)
            total = fma(gap, gap, total)
            x += 2 * WIDTH
        return total
    for j in range(dim):
        gap = load_sixteen(x) - splat_sixteen(probe.low[j])
        total = fma(gap, gap, total)
        x += WIDTH
    distance = square_roots(total) * splat_sixteen(forest.deflation) - load_sixteen(x) - splat_sixteen(probe.blur)
    distance = larger(distance, zero)
    return distance * distance


@inlined
def open_children(forest, n_rows, level, node, number, occupied):
    """Mask of the children that exist and, where there is a filter, have a row that passes it."""
    n_children = ((n_rows + (LEAF_ROWS << (4 * level)) - 1) >> (4 * level + 4)) - node * WIDTH
    mask = (1 << min(WIDTH, n_children)) - 1
    if forest.filtered:
        mask &= np.int64(occupied[number])
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
def walk_tree(forest, tree, probe, collector, limit, stack_bounds, stack_masks, stack_nodes, counts):
    """Depth first, nearest child first; returns the limit at the end."""
    table = forest.table + tree * TABLE_COLUMNS
    first_row, n_rows, height = table[FIRST_ROW], table[N_ROWS], table[HEIGHT]
    level, node = height - 1, 0
    number = table[OFFSETS + level]
    bounds = child_bounds(forest, probe, number) * splat_sixteen(probe.stretch)
    mask = open_children(forest, n_rows, level, node, number, probe.occupied)
    nodes, leaves = 1, 0
    while True:
        mask &= bounds <= splat_sixteen(limit)
        if mask == 0:
            level += 1
            if level == height:
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
            number = table[OFFSETS + level] + node
            bounds = child_bounds(forest, probe, number) * splat_sixteen(probe.stretch)
            mask = open_children(forest, n_rows, level, node, number, probe.occupied)
            nodes += 1
        else:
            start = (node * WIDTH + child) * LEAF_ROWS
            limit = visit_leaf(forest, probe, collector, first_row + start, min(LEAF_ROWS, n_rows - start), limit)
            leaves += 1
    counts[0] += nodes
    counts[1] += leaves
    return limit


@kernel
def walk_best_first(forest, n_trees, probe, collector, limit, queue, places, capacity, max_leaves, spill, counts):
    """The nearest node or leaf of all that were seen first, until `max_leaves` leaves were visited.

    queue and places (capacity,) are a heap of negated bounds and of places (tree, level, node); level 0 is a leaf.
    """
    size, leaves = 0, 0
    for tree in range(n_trees):
        place = (tree << 36) | (forest.table[tree * TABLE_COLUMNS + HEIGHT] << 32)
        size = push(queue, places, size, capacity, _ZERO, place)
    while size > 0 and leaves < max_leaves:
        bound, place = -queue[0], places[0]
        size -= 1
        sift_down(queue, places, size, queue[size], places[size])
        if not bound <= limit:
            break
        tree, level, node = place >> 36, (place >> 32) & 15, place & 0xFFFFFFFF
        table = forest.table + tree * TABLE_COLUMNS
        n_rows = table[N_ROWS]
        if level == 0:
            start = node * LEAF_ROWS
            limit = visit_leaf(
                forest, probe, collector, table[FIRST_ROW] + start, min(LEAF_ROWS, n_rows - start), limit
            )
            leaves += 1
            continue
        number = table[OFFSETS + level - 1] + node
        bounds = child_bounds(forest, probe, number) * splat_sixteen(probe.stretch)
        mask = open_children(forest, n_rows, level - 1, node, number, probe.occupied)
        mask &= bounds <= splat_sixteen(limit)
        store(spill, bounds)
        counts[0] += 1
        while mask != 0 and size < capacity:
            child = first(mask)
            mask &= mask - 1
            place = (tree << 36) | ((level - 1) << 32) | (node * WIDTH + child)
            size = push(queue, places, size, capacity, -spill[child], place)
    counts[1] += leaves
    return limit


@kernel
def convert_query(q, dim, metric, center, exact, raw, unit, low, high):
    """Fill the query's forms (see `Probe`). Returns its inverse norm, the blur of balls, and whether it is in range."""
    scale = inverse_norm(q, dim) if metric == COSINE else 1.0
    blur, largest = 0.0, 0.0
    for j in range(dim):
        raw[j], unit[j] = q[j], np.float32(q[j] * scale)
        exactly = q[j] * scale - center[j]
        value = np.float32(exactly)
        low[j], high[j] = value, value
        if not exact:
            low[j], high[j] = np.nextafter(value, -_INFINITY), np.nextafter(value, _INFINITY)
            blur += (high[j] - exactly + 1e-40) ** 2 + (exactly - low[j]) ** 2
        largest = max(largest, abs(q[j]))
    in_range = largest < _REACH and (metric != COSINE or 1e-15 < scale < 1e15)
    return scale, np.float32(1.0001 * np.sqrt(blur)), in_range


@kernel
def occupancy(table, n_trees, alive, occupied):
    """One bit per child: whether its rows include a living one. occupied: a mask of sixteen bits per node."""
    for tree in range(n_trees):
        row = table + tree * TABLE_COLUMNS
        first_row, n_rows, height = row[FIRST_ROW], row[N_ROWS], row[HEIGHT]
        for level in range(height):
            n_nodes = (n_rows + (WIDTH * LEAF_ROWS << (4 * level)) - 1) >> (4 * level + 8)
            n_children = (n_rows + (LEAF_ROWS << (4 * level)) - 1) >> (4 * level + 4)
            for node in range(n_nodes):
                mask = 0
                for child in range(min(WIDTH, n_children - node * WIDTH)):
                    number = node * WIDTH + child
                    if level > 0:
                        some = occupied[row[OFFSETS + level - 1] + number] != 0
                    else:
                        start = first_row + number * LEAF_ROWS
                        some = living(alive, start, min(LEAF_ROWS, n_rows - number * LEAF_ROWS)) != 0
                    mask |= np.int64(some) << child
                occupied[row[OFFSETS + level] + node] = mask


@entry
def search(path, queries, order, vectors, scales, nodes, table, shape, exact, metric, center, keys, alive, per_query,
           mode, k, limits, slack, trusted, epsilon, max_leaves, distances, ids, rows, statuses, counters):  # fmt: skip
    """Search for the queries of the given order; see `annlab/trees.py` for the arrays of a tree.

    queries (q, dim); order (m,) int64; exact: whether vectors are themselves what the nodes are about (float32, no
    center); alive (a, words), a = 0: no filter, 1: one for all, or, with per_query, q: one each; trusted: whether the
    vectors' own coordinates are in range; slack (3,): slope, linear and floor of
    `loosened`; max_leaves 0: no such limit. Modes LIST and HEAP: distances and ids (q, k), filled with inf and -1,
    receive the results. WITHIN: limits (q,) float32; rows (capacity,) receives the rows of the last query, state counts
    them. statuses (q,) int64: DONE or TIED, for WITHIN the number of rows. counters (q, 3): nodes, leaves, distances.
    """
    dim, n_nodes = queries.shape[1], nodes.shape[0]
    padded, n_bits = (dim + 15) // 16 * 16 + 16, n_nodes if alive.shape[0] > 0 else 0
    entries = min(WIDTH * MAX_HEIGHT * max_leaves, (WIDTH + 1) * n_nodes) + table.shape[0] if max_leaves > 0 else 0
    # arrays live as long as a function uses them, not as long as pointers do: this one owns them, the other one works
    _search(queries, order, vectors, scales, nodes, table, shape, exact, metric, center, keys, alive, per_query, mode,
            k, limits, slack, trusted, epsilon, max_leaves, distances, ids, rows, statuses, counters,
            np.zeros((2, padded), queries.dtype), np.zeros((3, padded), np.float32),
            np.zeros(LEAF_ROWS * dim + READS_BEYOND, vectors.dtype), np.zeros((3 + MAX_HEIGHT, WIDTH), np.float32),
            np.zeros((3, MAX_HEIGHT), np.int64), np.zeros(WIDTH, np.int32), np.zeros(n_bits, np.int32),
            np.zeros(entries + 1, np.float32), np.zeros(entries + 1, np.int64))  # fmt: skip


@kernel
def _search(queries, order, vectors, scales, nodes, table, shape, exact, metric, center, keys, alive, per_query, mode,
            k, limits, slack, trusted, epsilon, max_leaves, distances, ids, rows, statuses, counters, raws, forms,
            staging, floats, integers, places, occupied, queue, queue_places):  # fmt: skip
    """`search` with room for all it needs."""
    dim, n_trees, padded, query = queries.shape[1], table.shape[0], forms.shape[1], pointer(queries)
    raw, unit = pointer(raws), pointer(forms)
    low, high = unit + padded, unit + 2 * padded
    staged_scales = pointer(floats)
    values, spill, stack_bounds = staged_scales + WIDTH, staged_scales + 2 * WIDTH, staged_scales + 3 * WIDTH
    state = pointer(integers)
    counts, stack_masks, stack_nodes = state + 2, state + MAX_HEIGHT, state + 2 * MAX_HEIGHT
    forest = Forest(
        pointer(vectors), pointer(scales), vectors.shape[0], dim, metric, pointer(nodes), nodes.shape[1], shape,
        pointer(table), np.int64(alive.shape[0]), pointer(staging), staged_scales,
        np.float32(1.0 - (dim + 16) * 2.0**-24),
    )  # fmt: skip
    if alive.shape[0] > 0 and not per_query:
        occupancy(forest.table, n_trees, pointer(alive), pointer(occupied))
    for m in range(order.shape[0]):
        i = order[m]
        inverse_norm, blur, in_range = convert_query(
            query + i * dim, dim, metric, pointer(center), exact, raw, unit, low, high
        )
        word = pointer(alive) + (i * alive.shape[1] if per_query else 0)
        if per_query:
            occupancy(forest.table, n_trees, word, pointer(occupied))
        probe = Probe(
            raw, unit, low, high, blur, np.float32((1.0 + epsilon) ** 2), inverse_norm, word, pointer(occupied)
        )
        collector = Collector(mode, k, slack[0], slack[1], slack[2], values, pointer(places),
                              pointer(distances) + i * distances.shape[1], pointer(ids) + i * ids.shape[1],
                              pointer(keys), state, pointer(rows), rows.shape[0])  # fmt: skip
        begin(collector)
        counts[0], counts[1] = 0, 0
        limit = limits[i] if mode == WITHIN else _LARGEST
        if not (in_range and trusted):
            if mode == LIST:
                statuses[i] = TIED
                continue
            visit_every_row(forest, probe, collector)
        elif max_leaves > 0:
            limit = walk_best_first(forest, n_trees, probe, collector, limit, pointer(queue), pointer(queue_places),
                                    queue.shape[0] - 1, max_leaves, spill, counts)  # fmt: skip
        else:
            for tree in range(n_trees):
                limit = walk_tree(forest, tree, probe, collector, limit, stack_bounds, stack_masks, stack_nodes, counts)
        statuses[i] = finish(forest, probe, collector, limit)
        if mode == WITHIN:
            statuses[i] = state[0]
        counters[i, 0], counters[i, 1], counters[i, 2] = counts[0], counts[1], state[1]
