"""A forest: trees that together hold all rows of an index, and how they are built, merged and stored.

A tree divides its rows into ever smaller groups of neighbours. A *leaf* is sixteen rows, which lie one behind the other
in `vectors`; a *node* is sixteen leaves or nodes, for each of which it stores a bound: a box or ball that holds all its
rows. A search goes down to the leaf that is nearest to the query and comes back up, leaving out every child whose
bound is farther than the k-th row found so far. All sixteen bounds of a node are computed together by vectors.

    vectors  (m, dim)              rows in the order of the leaves
    nodes    (nodes, planes, 16)   float32; boxes: lowest and highest value by coordinate, 2 dim planes; balls: the
                                   center's coordinates and the radius, dim + 1 planes. Leaf level first, root last.
    scales   (m,)                  float32, 1 / |x|; for cosine only
    rows     (m,) int32            which row of the index each is; None for first_row, first_row + 1, ...

All leaves but the last are full, so a node's children follow from its number, and no offset or pointer is stored.
The nodes take an eighth (boxes) or a sixteenth (balls) of the memory of float32 vectors.

Growing
-------
New rows become a tree of their own, together with all trees that are not of a higher power of two than what they are
built with (Bentley and Saxe, Decomposable searching problems, 1980). So no two trees are of the same power of two,
whatever the portions: n rows that came in portions of T or more stand in at most log2(n / T) + 1 trees. And each row
takes part in about as many builds, most of them of small trees, which cost less: a row's share in a build is as the
logarithm of the tree's size. Trees never
change: what is merged is copied, the others are shared by the old forest and the new one, and no row of the index gets
another number. So taking in a portion costs nothing that grows with n, but for the merges. Waiting for more trees of a
size before they are merged saves builds and costs every search: each further tree is worth a leaf or two.

Criteria
--------
A tree has the rows of one combination of criteria values, or of any (`group` None). A search whose filter excludes all
of a tree's rows leaves it out at its root. Only so many combinations as `MAX_GROUPS` have trees of their own, the most
frequent ones; new rows are kept together until there are `SPLIT_ROWS` of them for each combination.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annlab.common import pool
from annlab.distances import Metric
from annlab.kernels.distance import COSINE
from annlab.kernels.simd.wide import WIDTH
from annlab.kernels.trees import build
from annlab.kernels.trees import tree as kernels
from annlab.kernels.trees.leaf import LEAF_ROWS

Group = tuple[int, ...] | None

MAX_GROUPS = 64  # combinations of criteria that have trees of their own
SPLIT_ROWS = 1024
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Tree:
    """See the head of the file."""

    vectors: np.ndarray
    nodes: np.ndarray
    scales: np.ndarray
    rows: np.ndarray | None
    first_row: int
    group: Group = None

    def __len__(self) -> int:
        return len(self.vectors)

    def row_numbers(self) -> np.ndarray:
        """(m,) the rows of the index, in the order of the leaves."""
        return np.arange(self.first_row, self.first_row + len(self)) if self.rows is None else self.rows


def n_planes(shape: int, dim: int) -> int:
    """Planes of a node."""
    return 2 * dim if shape == kernels.BOX else dim + 1


def grow(shape: int, vectors: np.ndarray, metric: Metric, center: np.ndarray,
         ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """One tree: nodes, inverse norms of its rows, and their order, in which `ordered` receives the vectors."""
    n, dim = vectors.shape
    work = build.new_work(n, dim + (shape == kernels.BALL))
    scales = np.empty(n if metric.code == COSINE else 0)
    exact = vectors.dtype == np.float32 and metric.code != COSINE
    with np.errstate(over="ignore"):
        for first, last in pool.portions(0, n, 8 * dim, build.BLOCK):
            build.to_planes(vectors, metric.code, center, exact, work.planes, work.numbers, scales, first, last)
    offsets, n_nodes = levels(n)
    nodes = np.zeros((n_nodes, n_planes(shape, dim), WIDTH), np.float32)
    unfinished = build.first_step(len(offsets))
    while unfinished[0] >= 0:
        pool.check()
        build.build(work, dim, n, shape, exact, np.array(offsets, np.int64), nodes, unfinished)
    order = work.numbers[:n].astype(np.int64)
    for first, last in pool.portions(0, n, 8 * dim, build.BLOCK):
        build.to_rows(work.planes, vectors, order, exact, ordered, first, last)
    scales = np.minimum(scales[order] if len(scales) else scales, _LARGEST).astype(np.float32)
    return nodes, scales, order


def levels(n: int) -> tuple[list[int], int]:
    """The first node of every level of a tree of n rows, leaf level first, and the number of its nodes."""
    offsets: list[int] = []
    children, n_nodes = -(-n // LEAF_ROWS), 0
    while children > 1 or not offsets:
        children = -(-children // WIDTH)
        offsets.append(n_nodes)
        n_nodes += children
    return offsets, n_nodes


def table_of(trees: Sequence[Tree]) -> np.ndarray:
    """The trees as kernels/trees/tree.py reads them; valid as long as the trees live."""
    table = np.zeros((len(trees), kernels.TABLE_COLUMNS), np.int64)
    first_slot = first_node = 0
    for row, tree in zip(table, trees, strict=True):
        offsets, n_nodes = levels(len(tree))
        arrays = (tree.vectors, tree.scales, tree.nodes)
        row[: kernels.ROWS] = [array.__array_interface__["data"][0] for array in arrays]
        row[kernels.ROWS] = 0 if tree.rows is None else tree.rows.__array_interface__["data"][0]
        row[kernels.FIRST_ROW], row[kernels.FIRST_SLOT], row[kernels.FIRST_NODE] = (
            tree.first_row,
            first_slot,
            first_node,
        )
        row[kernels.N_SLOTS], row[kernels.HEIGHT] = len(tree), len(offsets)
        row[kernels.OFFSETS : kernels.OFFSETS + len(offsets)] = offsets
        first_slot += len(tree)
        first_node += n_nodes
    return table


def merged(trees: Sequence[Tree], group: Group, n_new: int) -> list[Tree]:
    """The trees of a group that n_new further rows are to be built into one tree with."""
    taken: list[Tree] = []
    total = n_new
    for tree in sorted((tree for tree in trees if tree.group == group), key=len):
        if len(tree).bit_length() > total.bit_length():
            break
        taken.append(tree)
        total += len(tree)
    return taken


def split(criteria: np.ndarray, known: Sequence[Group]) -> list[tuple[Group, np.ndarray]]:
    """Rows by their combination of criteria: (group, indices) pairs. criteria (n, number of criteria) int64.

    Combinations beyond MAX_GROUPS that have no tree yet share the group None.
    """
    codes = np.zeros(len(criteria), np.int64)
    for column in criteria.T:
        values, inverse = np.unique(column, return_inverse=True)
        codes = np.unique(codes * len(values) + inverse, return_inverse=True)[1]  # small again: no overflow
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    parts = np.split(order, np.cumsum(counts)[:-1])
    own = {group for group in known if group is not None}
    result, shared = [], []
    for number in np.argsort(-counts, kind="stable"):
        group = tuple(criteria[parts[number][0]].tolist())
        if group in own or len(own) < MAX_GROUPS:
            own.add(group)
            result.append((group, parts[number]))
        else:
            shared.append(parts[number])
    return result + ([(None, np.concatenate(shared))] if shared else [])


# ---- storing


def to_arrays(trees: Sequence[Tree], n_criteria: int) -> dict[str, np.ndarray]:
    """The trees' arrays joined, and what tells them apart: sizes, first_rows (-1 where there are `rows`), groups."""
    groups = np.zeros((len(trees), n_criteria + 1), np.int64)  # a tree of a group begins with 1
    for line, tree in zip(groups, trees, strict=True):
        if tree.group is not None:
            line[:] = (1, *tree.group)
    rows = [tree.rows for tree in trees if tree.rows is not None]
    return {
        **{name: _joined([getattr(tree, name) for tree in trees]) for name in ("vectors", "nodes", "scales")},
        "sizes": np.array([len(tree) for tree in trees], np.int64),
        "first_rows": np.array([tree.first_row if tree.rows is None else -1 for tree in trees], np.int64),
        "rows": _joined(rows) if rows else np.empty(0, np.int32),
        "groups": groups,
    }


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def from_arrays(arrays: dict[str, np.ndarray], shape: int, metric: Metric) -> list[Tree]:
    """The trees of stored arrays. Raises a ValueError unless every row is in one tree, once."""
    vectors, nodes, scales = arrays["vectors"], arrays["nodes"], arrays["scales"]
    sizes, first_rows, rows, groups = arrays["sizes"], arrays["first_rows"], arrays["rows"], arrays["groups"]
    n, dim = vectors.shape
    if sizes.dtype != np.int64 or sizes.ndim != 1 or not ((sizes > 0) & (sizes <= n)).all():
        raise ValueError(f"sizes of trees {sizes!r} for {n} rows")
    if sizes.sum() != n:
        raise ValueError(f"trees of {sizes.sum()} rows together, but {n} rows")
    counts = [levels(size)[1] for size in sizes.tolist()]
    n_mapped = int(sizes[first_rows < 0].sum()) if first_rows.shape == sizes.shape else -1
    expected = {
        "nodes": (nodes, np.float32, (sum(counts), n_planes(shape, dim), WIDTH)),
        "scales": (scales, np.float32, (n if metric.code == COSINE else 0,)),
        "first_rows": (first_rows, np.int64, sizes.shape),
        "rows": (rows, np.int32, (n_mapped,)),
        "groups": (groups, np.int64, (len(sizes), groups.shape[-1] if groups.ndim == 2 else 1)),
    }
    for name, (array, dtype, wanted) in expected.items():
        if array.dtype != dtype or array.shape != wanted:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, but should be {np.dtype(dtype)} {wanted}")
    if groups.shape[1] < 1:
        raise ValueError("groups without a column")
    trees, slot, node, mapped = [], 0, 0, 0
    for size, first_row, count, group in zip(sizes.tolist(), first_rows.tolist(), counts, groups.tolist(), strict=True):
        own_rows = None if first_row >= 0 else rows[mapped : mapped + size]
        trees.append(Tree(vectors[slot : slot + size], nodes[node : node + count],
                          scales[slot : slot + size] if len(scales) else scales, own_rows, max(first_row, 0),
                          tuple(group[1:]) if group[0] == 1 else None))  # fmt: skip
        slot, node, mapped = slot + size, node + count, mapped + (size if first_row < 0 else 0)
    _each_row_once(trees, n)
    return trees


def _each_row_once(trees: Sequence[Tree], n: int) -> None:
    seen = np.zeros(n, bool)
    for tree in trees:
        rows = tree.row_numbers()
        if int(rows.min()) < 0 or int(rows.max()) >= n:
            raise ValueError(f"a tree holds rows {rows.min()} to {rows.max()}, but there are {n}")
        seen[rows] = True
    if not seen.all():
        raise ValueError(f"{int((~seen).sum())} of {n} rows are in no tree, so others are in two")
