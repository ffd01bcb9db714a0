"""The way through trees, walked once more in plain NumPy: depth first as searches do, or best first on a budget.

`kernels/trees/walk.py` has the walk and `kernels/trees/collect.py` the limit. This one keeps to their order: a child's
key is its bound with the last four bits replaced by its number, and the limit is that of the k-th row so far.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from annlab.explain.trace import Step, Trace
from annlab.explain.traces.asked import Asked
from annlab.kernels.distance import COSINE
from annlab.kernels.simd.wide import WIDTH
from annlab.kernels.trees.leaf import LEAF_ROWS
from annlab.kernels.trees.tree import BOX
from annlab.trees import forest
from annlab.trees.forest import Tree
from annlab.trees.structure import TreeStructure

_LARGEST = np.finfo(np.float32).max


class Part(NamedTuple):
    """A node (level 0 and up) or a leaf (level -1) of a tree of the forest."""

    tree: int
    level: int
    node: int


class Walk:
    """What a walk knows: the query, the k nearest so far, and the steps."""

    def __init__(self, structure: TreeStructure, asked: Asked) -> None:
        self.structure, self.asked, self.k = structure, asked, asked.k
        self.stretch = np.float32((1.0 + asked.request.params["epsilon"]) ** 2)
        q = asked.query[0].astype(np.float64)
        if structure.metric.code == COSINE:
            q = q / max(float(np.linalg.norm(q)), 1e-300)
        self.unit, self.point = q.astype(np.float32), (q - structure.center).astype(np.float32)
        self.levels = [forest.levels(len(tree))[0] for tree in structure.trees]
        self.nearest = np.zeros(0, np.float32)
        self.limit = np.float32(_LARGEST)
        self.steps: list[Step] = []
        self.left_out: list[Step] = []

    def bounds(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """The children of a node that may hold a row that may be returned, and their bounds, float32."""
        tree, dim = self.structure.trees[part.tree], len(self.point)
        planes = tree.nodes[self.levels[part.tree][part.level] + part.node]
        if self.structure.shape == BOX:
            low, high = planes[0 : 2 * dim : 2], planes[1 : 2 * dim : 2]
            gap = np.maximum(np.maximum(low - self.point[:, None], self.point[:, None] - high), 0)
            squares = (gap * gap).sum(axis=0, dtype=np.float32) * self.stretch
        else:
            away = planes[:dim] - self.point[:, None]
            deflation = np.float32(1.0 - (dim + 16) * 2.0**-24)
            distance = np.sqrt((away * away).sum(axis=0, dtype=np.float32)) * deflation - planes[dim]
            squares = np.maximum(distance, 0) ** 2 * self.stretch
        size = LEAF_ROWS << (4 * part.level)
        n_children = -(-len(tree) // size) - part.node * WIDTH
        children = np.arange(min(WIDTH, n_children))
        if self.asked.request.alive is not None:
            first = part.node * WIDTH
            children = children[
                [self.rows(Part(part.tree, part.level - 1, first + c)).any() for c in children.tolist()]
            ]
        return children, squares.astype(np.float32)[children]

    def rows(self, part: Part) -> np.ndarray:
        """Which of the rows of a part, in the order of its tree's leaves, may be returned."""
        return np.asarray(self.asked.may[self.numbers(part)])

    def numbers(self, part: Part) -> np.ndarray:
        """The rows of the index in a part."""
        tree, size = self.structure.trees[part.tree], LEAF_ROWS << (4 * (part.level + 1))
        return np.asarray(tree.row_numbers()[part.node * size : (part.node + 1) * size])

    def visit(self, part: Part, bound: float) -> None:
        """Compare the rows of a leaf."""
        tree: Tree = self.structure.trees[part.tree]
        slots = np.arange(part.node * LEAF_ROWS, min(len(tree), (part.node + 1) * LEAF_ROWS))[self.rows(part)]
        vectors = tree.vectors[slots]
        if self.structure.metric.code == COSINE:
            near = vectors.astype(np.float32) * tree.scales[slots, None] - self.unit
        else:
            near = (vectors - self.asked.query).astype(np.float32)
        squares = (near * near).sum(axis=1, dtype=np.float32)
        self.nearest = np.sort(np.concatenate([self.nearest, squares]))[: self.k]
        if len(self.nearest) == self.k:
            slope, linear, floor = self.structure._slack
            worst = self.nearest[-1]
            self.limit = min(self.limit, np.float32(worst * slope + np.sqrt(worst) * linear + floor))
        ids = self.asked.ids(self.numbers(part))
        self.steps.append(self._step("leaf", part, bound, ids, len(ids), len(ids) * self.asked.vector_bytes))

    def enter(self, part: Part, bound: float) -> None:
        """Note that a node's bounds were computed."""
        size = self.structure.trees[part.tree].nodes.strides[0]
        self.steps.append(self._step("node", part, bound, np.zeros(0, np.int64), 0, size))

    def prune(self, part: Part, bound: float) -> None:
        """Note that a part was left out: its bound was beyond the limit."""
        ids = self.asked.ids(self.numbers(part))
        limit = float("nan") if self.limit == _LARGEST else float(np.sqrt(self.limit))
        step = self._step("leaf" if part.level < 0 else "node", part, bound, ids, 0, 0)
        self.left_out.append(Step(step.what, step.number, step.near, ids, 0, 0, limit))

    def _step(self, what: str, part: Part, bound: float, ids: np.ndarray, compared: int, n_bytes: int) -> Step:
        return Step(what, number_of(self.structure, part), float(np.sqrt(bound)), ids, compared, n_bytes)


def number_of(structure: TreeStructure, part: Part) -> int:
    """The number of a leaf among the leaves of all trees, or of a node among the nodes."""
    trees = structure.trees[: part.tree]
    if part.level < 0:
        return sum(-(-len(tree) // LEAF_ROWS) for tree in trees) + part.node
    own = forest.levels(len(structure.trees[part.tree]))[0]
    return sum(len(tree.nodes) for tree in trees) + own[part.level] + part.node


def parts_of(structure: TreeStructure) -> Iterator[Part]:
    """All leaves of all trees."""
    for number, tree in enumerate(structure.trees):
        for leaf in range(-(-len(tree) // LEAF_ROWS)):
            yield Part(number, -1, leaf)


def shape_of(structure: TreeStructure, part: Part) -> np.ndarray:
    """What bounds a part: of a box lows and highs (2, dim), of a ball its center and radius (dim + 1,); float64."""
    tree, dim = structure.trees[part.tree], len(structure.center)
    level = part.level + 1
    planes = tree.nodes[forest.levels(len(tree))[0][level] + part.node // WIDTH][:, part.node % WIDTH]
    if structure.shape == BOX:
        return planes.reshape(dim, 2).T.astype(np.float64) + structure.center
    return np.append(planes[:dim] + structure.center, planes[dim])


def _depth_first(walk: Walk) -> None:
    """All trees, one after the other; the nearest child first."""
    for number, tree in enumerate(walk.structure.trees):
        root = Part(number, len(forest.levels(len(tree))[0]) - 1, 0)
        walk.enter(root, 0.0)
        stack = [(root, _by_key(*walk.bounds(root)))]
        while stack:
            part, children = stack[-1]
            if not children:
                stack.pop()
                continue
            key, child, bound = children.pop(0)
            inner = Part(number, part.level - 1, part.node * WIDTH + child)
            if key > _key_of_limit(walk.limit):
                walk.prune(inner, bound)
            elif inner.level < 0:
                walk.visit(inner, bound)
            else:
                walk.enter(inner, bound)
                stack.append((inner, _by_key(*walk.bounds(inner))))


def _by_key(children: np.ndarray, bounds: np.ndarray) -> list[tuple[int, int, float]]:
    """Children by the order in which they are visited: (key, child, bound)."""
    keys = (bounds.view(np.int32) & -16) | children.astype(np.int32)
    return sorted(zip(keys.tolist(), children.tolist(), bounds.tolist()))


def _key_of_limit(limit: np.float32) -> int:
    return int(np.float32(limit).view(np.int32)) | 15


def _best_first(walk: Walk, budget: int) -> None:
    """The nearest of all parts that were seen, until so many leaves were visited."""
    heap: list[tuple[float, int, Part]] = []

    def see(part: Part, bound: float) -> None:
        place = (part.tree << 36) | ((part.level + 1) << 32) | part.node
        heapq.heappush(heap, (bound, -place, part))

    for number, tree in enumerate(walk.structure.trees):
        see(Part(number, len(forest.levels(len(tree))[0]) - 1, 0), 0.0)
    leaves = 0
    while heap and leaves < budget:
        bound, _, part = heapq.heappop(heap)
        if not bound <= walk.limit:
            heapq.heappush(heap, (bound, 0, part))
            break
        if part.level < 0:
            walk.visit(part, bound)
            leaves += 1
            continue
        walk.enter(part, bound)
        for child, below in zip(*walk.bounds(part)):
            inner = Part(part.tree, part.level - 1, part.node * WIDTH + int(child))
            if below <= walk.limit:
                see(inner, float(below))
            else:
                walk.prune(inner, float(below))
    for bound, _, part in sorted(heap, key=lambda entry: entry[0]):
        walk.prune(part, bound)


def trace(structure: TreeStructure, asked: Asked) -> Trace:
    """Of a search by trees."""
    walk, budget = Walk(structure, asked), asked.request.params["max_leaves"]
    in_range = structure._in_range and float(np.abs(asked.query).max()) < 1e15
    if not in_range:
        return Trace("", ())
    if budget:
        _best_first(walk, budget)
    else:
        _depth_first(walk)
    left_out = tuple(sorted(walk.left_out, key=lambda step: step.near))
    rule = "whose bound is beyond the k-th row so far" + (", or beyond the budget" if budget else "")
    return Trace("the bound of a leaf or node: nothing in it is nearer", tuple(walk.steps), left_out, rule=rule)
