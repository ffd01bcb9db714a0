"""A tree as kernels see it: addresses, the query beside it, and the bounds of a node's sixteen children.

The arrays are described in `annlab/trees/forest.py`. All trees of a forest stand in one table, a line for each: four
addresses and some numbers. Nothing read from a tree's arrays decides where memory is read, but for the rows that slots
are mapped to, which are checked when loaded: children are counted from the number of rows, so boxes that hold NaN or
nonsense can give a wrong answer, but no crash and no endless loop.

A *slot* is a place in the order of a tree's leaves, a *row* one in the order of the index.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, inverse_norm
from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import fma, larger
from annlab.kernels.simd.wide import WIDTH, load_sixteen, pointer_at, splat_sixteen, square_roots
from annlab.kernels.trees.leaf import LEAF_ROWS, READS_BEYOND

BOX, BALL = 0, 1
MAX_HEIGHT = 8  # levels of nodes: 16^8 leaves are more than the rows that an index may have
TOGETHER = 16  # queries that go down a tree side by side
SIDE_BY_SIDE_DIM = 32  # up to which they do: in more dimensions one node is work enough to hide the way of the next
VECTORS, SCALES, NODES, ROWS, FIRST_ROW, FIRST_SLOT, N_SLOTS, HEIGHT, FIRST_NODE, OFFSETS = range(10)
"""Columns of the table of trees: four addresses (ROWS 0: none), numbers, and from OFFSETS on the levels' first nodes
within the tree. FIRST_NODE counts the nodes of the trees before."""
TABLE_COLUMNS = OFFSETS + MAX_HEIGHT
COMPUTED, VISITED, BYTES, N_COUNTERS = 0, 1, 2, 3  # columns of the counters, see common/statistics.py
STACK_FLOATS, STACK_DOUBLES = TOGETHER + 3 * WIDTH, TOGETHER  # what a kernel has on its stack, see `scratch_in`
STACK_INTS, STACK_LONGS = TOGETHER * MAX_HEIGHT * WIDTH + WIDTH, TOGETHER * MAX_HEIGHT + 3
_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)
_REACH = 1e15  # coordinates above do not go through float32 sums of squares


# ---- what kernels are handed


class Forest(NamedTuple):
    """The trees to search, and what is the same for every search."""

    table: Any  # (n_trees, TABLE_COLUMNS) int64
    n_trees: int
    center: Any  # (dim,) float64, what the nodes are about
    slack: Any  # (3,) float32: slope, linear and floor of `loosened`
    shape: int  # BOX or BALL
    metric: int
    exact: bool  # whether rows are themselves what the nodes are about: float32, no center
    trusted: bool  # whether all coordinates are in the range of float32 sums of squares
    row_bytes: int  # of a row and of a node, for the statistics
    node_bytes: int


class Allowed(NamedTuple):
    """The rows that may be found."""

    keys: Any  # (n,) int64, the ids of all rows
    alive: Any  # (words,) uint64
    occupied: Any  # (nodes of all trees,) int32 as `occupancy` fills it: a mask of the children that have such a row
    filtered: bool  # whether alive and occupied are to be asked


class Space(NamedTuple):
    """What a search works in: parts that grow with the dimension. The rest is on the stack."""

    raw: Any  # queries as given, and behind them room for a tree's last leaf
    forms: Any  # float32: three forms of each query, see `Probe`


class Results(NamedTuple):
    """Where answers go."""

    distances: Any  # (q, k) float64, filled with inf
    ids: Any  # (q, k), filled with -1
    counters: Any  # (q, N_COUNTERS) int64, added to


class Budget(NamedTuple):
    """How much a search may look at, and its queue: a heap of what was seen and is not yet visited."""

    max_leaves: int
    capacity: int  # of the queue
    bounds: Any  # (capacity + 1,) float32, negated
    places: Any  # (capacity + 1,) int64: tree, level and node; level 0 is a leaf


def new_budget(max_leaves: int, n_nodes: int, n_trees: int) -> Budget:
    """A budget and its queue for a forest of so many nodes: no search can see more than either of two numbers."""
    capacity = min(WIDTH * MAX_HEIGHT * max_leaves, (WIDTH + 1) * n_nodes) + n_trees
    return Budget(max_leaves, capacity, np.empty(capacity + 1, np.float32), np.empty(capacity + 1, np.int64))


def together(dim: int) -> int:
    """How many queries go down a tree side by side."""
    return TOGETHER if dim <= SIDE_BY_SIDE_DIM else 1


def padded(dim: int) -> int:
    """Floats that a query takes, so that registers can be loaded from any of its coordinates on."""
    return (dim + 15) // 16 * 16 + 16


def new_space(dim: int, dtype: Any) -> Space:
    """Space for searches among vectors of a dimension and element type; for one thread at a time."""
    queries = together(dim) * padded(dim)
    return Space(np.zeros(queries + LEAF_ROWS * dim + READS_BEYOND, dtype), np.zeros(3 * queries, np.float32))


# ---- the same within kernels


class Tree(NamedTuple):
    """One tree of a forest: its arrays as addresses, and what describes them."""

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
    shape: int
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


class Scratch(NamedTuple):
    """The parts of a `Space`, and what a kernel has on its stack."""

    raw: Any  # (queries side by side, padded)
    staging: Any  # (16, dim) and READS_BEYOND
    unit: Any
    low: Any
    high: Any
    blurs: Any  # (queries side by side,), as well as inverse_norms
    inverse_norms: Any
    stack_keys: Any  # (queries side by side, MAX_HEIGHT, 16) int32
    stack_nodes: Any  # (queries side by side, MAX_HEIGHT) int64
    staged_scales: Any  # (16,)
    values: Any  # (16,)
    lost: Any  # (16,)
    places: Any  # (16,) int32
    state: Any  # (3,) int64, see `Best`


@inlined
def scratch_in(space, dim, floats, doubles, ints, longs):
    """The parts of the space, and of what an entry has on its stack: STACK_FLOATS elements and so on."""
    queries = (TOGETHER if dim <= SIDE_BY_SIDE_DIM else 1) * ((dim + 15) // 16 * 16 + 16)
    lanes, stack_keys = floats + TOGETHER, ints + WIDTH
    return Scratch(space.raw, space.raw + queries, space.forms, space.forms + queries, space.forms + 2 * queries,
                   floats, doubles, stack_keys, longs + 3, lanes, lanes + WIDTH, lanes + 2 * WIDTH, ints,
                   longs)  # fmt: skip


@inlined
def tree_at(forest, number, allowed, scratch, dim):
    """A tree by its line in the table; `forest` and `allowed` as addresses."""
    line = forest.table + number * TABLE_COLUMNS
    return Tree(
        pointer_at(line[VECTORS], scratch.raw), pointer_at(line[SCALES], scratch.low),
        pointer_at(line[NODES], scratch.low), pointer_at(line[ROWS], scratch.places), np.int64(line[ROWS] != 0),
        line[FIRST_ROW], line[FIRST_SLOT], line[N_SLOTS], line[HEIGHT], line + OFFSETS, dim, forest.metric,
        forest.shape, dim + 1 if forest.shape == BALL else 2 * dim, np.float32(1.0 - (dim + 16) * 2.0**-24),
        np.int64(allowed.filtered), allowed.alive, allowed.occupied + line[FIRST_NODE], scratch.staging,
        scratch.staged_scales,
    )  # fmt: skip


@inlined
def prepare(query, scratch, place, forest, dim):
    """Put a query's forms to a place among those that are side by side; returns whether its magnitude is in range."""
    each = place * ((dim + 15) // 16 * 16 + 16)
    raw, unit, low, high = scratch.raw + each, scratch.unit + each, scratch.low + each, scratch.high + each
    scale = inverse_norm(query, dim) if forest.metric == COSINE else 1.0
    blur, largest = 0.0, 0.0
    for j in range(dim):
        raw[j], unit[j] = query[j], np.float32(query[j] * scale)
        exactly = query[j] * scale - forest.center[j]
        value = np.float32(exactly)
        low[j], high[j] = value, value
        if not forest.exact:
            low[j], high[j] = np.nextafter(value, -_INFINITY), np.nextafter(value, _INFINITY)
            blur += (high[j] - exactly + 1e-40) ** 2 + (exactly - low[j]) ** 2
        largest = max(largest, abs(query[j]))
    scratch.blurs[place], scratch.inverse_norms[place] = np.float32(1.0001 * np.sqrt(blur)), scale
    return largest < _REACH and (forest.metric != COSINE or 1e-15 < scale < 1e15)


@inlined
def probe_at(scratch, place, stretch, dim):
    """The query that was put to a place."""
    each = place * ((dim + 15) // 16 * 16 + 16)
    return Probe(scratch.raw + each, scratch.unit + each, scratch.low + each, scratch.high + each,
                 scratch.blurs[place], stretch, scratch.inverse_norms[place])  # fmt: skip


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
