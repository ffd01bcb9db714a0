"""What the two trees share: search in float32 over a forest and its proof, and growth.

`annlab/trees/forest.py` explains the arrays of a tree, how trees are merged as an index grows, and trees by criteria;
`kernels/trees/search.py` the search and `kernels/trees/build.py` the building.

    trees    the forest; each row of the index is in one tree
    center   (dim,)   float64, what the nodes' coordinates are about
    numbers  (2,)     the largest coordinate of any row; rows that a search scans, measured when built

Why no neighbour is lost
------------------------
With u = 2^-24 and D the true distance, a leaf's scan gives s = D^2 up to a relative c = (dim + 8) u: differences are
taken in the vectors' own type, then rounded, squared and summed in float32. A radius is compared with a distance that
is rounded to its type, another 2 u at most of its square. A bound's square errs by c too, and boxes are exact or
widened. So all rows that are as near as the k-th have s <= s_k (1 + 6 c + 2^-21), where s_k is the k-th smallest s, and
no child that holds one of them has a larger bound: this is the limit of a search (`loosened` in
kernels/trees/collect.py). For `cosine` rows and query are first scaled to length 1, by which each moves by at most 5 u,
so the square of a distance changes by at most 20 u D + 100 u^2. What passes is measured by the definition, and ties go
to the smaller id. A floor of dim 2^-140 covers what underflows. Data or queries beyond 10^15, where squares would
overflow, are measured row by row.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common import pool
from annlab.common.memory import taken
from annlab.common.rowsets import Remembered
from annlab.common.statistics import DISTANCES, N_COUNTERS
from annlab.core.structure import Beside, Building, Request, Scored, Shortcut, Structure
from annlab.distances import Metric
from annlab.kernels.distance import COSINE
from annlab.kernels.trees import order as order_kernels
from annlab.kernels.trees import search as kernels
from annlab.kernels.trees import shortcut as shortcuts
from annlab.kernels.trees.collect import LIST_K, TIED
from annlab.kernels.trees.tree import FIRST_SLOT, Allowed, Forest, Results, new_budget, new_space, together
from annlab.trees import forest
from annlab.trees.forest import Tree

_U = 2.0**-24
_REACH = 1e15
_LARGEST = np.finfo(np.float32).max
_ORDER_FROM = 64  # queries: fewer are not worth sorting
_SHORT_TAIL = 64  # rows that are scanned rather than made a tree of
_TAIL_SHARE = 16  # of the rows that a search looks at, the tail may have one in so many: each costs thrice as much
_SAMPLE = 16  # queries by which a search's cost is measured
_FIRST_CAPACITY = 1024  # rows that a search by radius has room for at first
_NO_BITS, _NO_NODES = np.empty(0, np.uint64), np.zeros(1, np.int32)


class TreeStructure(Structure):
    """One or more trees over all rows; the kind of bounds is the subclass's."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "scales", "nodes"})
    exhaustive: ClassVar[bool] = True  # nodes without an allowed row are skipped, so a selective filter is no trouble
    most_dead: ClassVar[float] = 1 / 3  # to build anew costs little, and leaves one tree of several
    shape: ClassVar[int]

    def __init__(self, metric: Metric, trees: Sequence[Tree], center: np.ndarray, numbers: np.ndarray, n_criteria: int,
                 stored: dict[str, np.ndarray] | None = None) -> None:  # fmt: skip
        """`stored`: what `forest.to_arrays` would give, where the trees are parts of such arrays."""
        self.metric, self.trees, self.center, self.numbers = metric, tuple(trees), center, numbers
        self._n_criteria, self._stored, self._occupied = n_criteria, stored, Remembered()
        self.n_rows = sum(map(len, self.trees))

    # ---- building

    @classmethod
    def divides_by(cls, params: dict[str, Any]) -> Sequence[str]:
        return params["criteria"] or ()

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray]:
        """Rows with equal values of the criteria go into one tree."""
        (n, dim), metric, progress = vectors.shape, building.metric, building.progress
        criteria = None if building.criteria is None else building.criteria(np.arange(n))
        center = np.zeros(dim)
        if vectors.dtype == np.float64 and metric.code != COSINE:
            center = vectors[:: max(1, n // 1024)].mean(axis=0)
        parts = [(None, None)] if criteria is None else forest.split(criteria, ())
        ordered, orders, trees, first = np.empty_like(vectors), [], [], 0
        for done, (group, indices) in enumerate(parts):
            progress("building the tree", done / len(parts))
            some = vectors if indices is None else vectors[indices]
            own = ordered[first : first + len(some)]
            nodes, scales, places = forest.grow(cls.shape, some, metric, center, own)
            orders.append(places if indices is None else indices[places])
            trees.append(Tree(own, nodes, scales, None, first, group))
            first += len(some)
        reach = max(_reach(tree, metric) for tree in trees)
        n_criteria = 0 if criteria is None else criteria.shape[1]
        stored = {**forest.to_arrays([trees[0]] if len(trees) == 1 else trees, n_criteria), "vectors": ordered}
        structure = cls(metric, trees, center, np.array([reach, 0.0]), n_criteria, stored)
        structure._measure_cost(building.rng)
        progress("building the tree", 1.0)
        return structure, orders[0] if len(orders) == 1 else np.concatenate(orders)

    def _measure_cost(self, rng: np.random.Generator) -> None:
        """Search for a few rows, to know about how many rows a search scans."""
        queries = self.gather(rng.integers(0, self.n_rows, _SAMPLE))
        counters = np.zeros((_SAMPLE, N_COUNTERS), np.int64)
        request = Request(None, np.arange(self.n_rows), {"epsilon": 0.0, "max_leaves": 0}, 1, counters)
        self.search(queries, min(10, self.n_rows), request)
        self.numbers[1] = min(counters[:, DISTANCES].mean(), self.n_rows)

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, None]:
        criteria = building.criteria
        rows = np.arange(self.n_rows, self.n_rows + len(vectors), dtype=np.int32)
        trees = list(self.trees)
        vectors, rows = self._taken(trees, None, vectors, rows)
        known = {tree.group for tree in trees if tree.group is not None}
        parts: list[tuple[forest.Group, Any]] = [(None, slice(None))]
        if criteria is not None and len(rows) >= forest.SPLIT_ROWS * max(1, len(known)):
            parts = forest.split(criteria(rows), tuple(known))
        reach = self.numbers[0]
        for group, indices in parts:
            some, some_rows = vectors[indices], rows[indices]
            if group is not None:
                some, some_rows = self._taken(trees, group, some, some_rows)
            ordered = np.empty_like(some)
            nodes, scales, order = forest.grow(self.shape, some, self.metric, self.center, ordered)
            trees.append(Tree(ordered, nodes, scales, some_rows[order], 0, group))
            reach = max(reach, _reach(trees[-1], self.metric))
        trees.sort(key=len, reverse=True)  # a search's limit is soon a good one
        return type(self)(self.metric, trees, self.center, np.array([reach, self.numbers[1]]), self._n_criteria), None

    @staticmethod
    def _taken(trees: list[Tree], group: forest.Group, vectors: np.ndarray,
               rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """New rows of a group and those of the trees that they are to be merged with; these trees leave the list."""
        taken = forest.merged(trees, group, len(rows))
        trees[:] = [tree for tree in trees if tree not in taken]
        all_rows = [tree.row_numbers().astype(np.int32) for tree in taken]
        return np.concatenate([*(tree.vectors for tree in taken), vectors]), np.concatenate([*all_rows, rows])

    def rows_touched(self, params: dict[str, Any]) -> int:
        return int(self.numbers[1])

    def tail_limit(self, params: dict[str, Any]) -> int:
        """A search looks at few rows, and a further tree costs it less than a tail of as many."""
        return max(_SHORT_TAIL, int(self.numbers[1]) // _TAIL_SHARE)

    # ---- vectors

    @property
    def vectors(self) -> np.ndarray:  # type: ignore[override]
        """(n, dim) in the order of the rows: put together anew for an index that grew."""
        if self._stored is not None and all(tree.rows is None for tree in self.trees):
            first_rows = [tree.first_row for tree in self.trees]
            if first_rows == sorted(first_rows):
                return self._stored["vectors"]
        return self.gather(np.arange(self.n_rows))

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows, copied."""
        if len(self.trees) == 1 and self.trees[0].rows is None:
            return taken(self.trees[0].vectors, rows)
        slots = self._slots[rows]
        if len(rows) > self.n_rows // 2:  # most of them: quicker from one array than tree by tree
            return taken(np.concatenate([tree.vectors for tree in self.trees]), slots)
        result = np.empty((len(rows), len(self.center)), self.trees[0].vectors.dtype)
        for tree, first_slot in zip(self.trees, self._table[:, FIRST_SLOT].tolist(), strict=True):
            here = np.flatnonzero((slots >= first_slot) & (slots < first_slot + len(tree)))
            result[here] = tree.vectors[slots[here] - first_slot]
        return result

    @cached_property
    def _slots(self) -> np.ndarray:
        """(n,) the place of every row among the leaves of all trees."""
        slots = np.empty(self.n_rows, np.int64)
        slots[np.concatenate([tree.row_numbers() for tree in self.trees])] = np.arange(self.n_rows)
        return slots

    # ---- searching

    @cached_property
    def _forest(self) -> Forest:
        """The trees as kernels search them."""
        first = self.trees[0]
        exact = first.vectors.dtype == np.float32 and self.metric.code != COSINE
        return Forest(self._table, len(self.trees), self.center, self._slack, self.shape, self.metric.code, exact,
                      self._in_range, first.vectors.strides[0], first.nodes.strides[0])  # fmt: skip

    @cached_property
    def _table(self) -> np.ndarray:
        return forest.table_of(self.trees)

    @cached_property
    def _n_nodes(self) -> int:
        return sum(len(tree.nodes) for tree in self.trees)

    @cached_property
    def _slack(self) -> np.ndarray:
        dim = len(self.center)
        slope = 1.0 + 6 * (dim + 8) * _U + 2.0**-21
        if self.metric.code == COSINE:
            return np.array([slope, 32 * _U, 256 * _U**2], np.float32)
        return np.array([slope, 0.0, dim * 2.0**-140], np.float32)

    @property
    def _in_range(self) -> bool:
        return bool(self.numbers[0] < _REACH)

    def search(self, queries: np.ndarray, k: int, request: Request) -> Scored:
        q, budget = len(queries), request.params["max_leaves"] if self._in_range else 0
        found = Results(np.full((q, k), np.inf), np.full((q, k), -1, np.int64), request.counters)
        space, statuses = new_space(queries.shape[1], queries.dtype), np.zeros(q, np.uint8)
        cost = self.numbers[1] * queries.shape[1]
        for all_of_them, allowed in self._filters(queries, request):
            for first, last in pool.portions(0, len(all_of_them), cost, together(queries.shape[1])):
                order = all_of_them[first:last]
                asked = (self._forest, allowed, space, queries, order, request.params["epsilon"], found)
                if budget:
                    kernels.search_budget(*asked, new_budget(budget, self._n_nodes, len(self.trees)))
                    continue
                tied = order
                if k <= LIST_K and self._in_range:
                    kernels.search_list(*asked, statuses)
                    tied = order[statuses[order] == TIED]
                if len(tied):
                    kernels.search_heap(self._forest, allowed, space, queries, tied, request.params["epsilon"], found)
        return Scored(found.distances, found.ids)

    def shortcut(self, k: int, params: dict[str, Any], beside: Beside) -> Shortcut | None:
        if k > LIST_K or params["max_leaves"] or not self._in_range:
            return None
        waiting = beside.waiting()
        allowed = self._allowed(beside.alive, beside.keys)
        table = shortcuts.Table(beside.entries(beside.tail.vectors[:0]), waiting, self._forest, allowed,
                                float(params["epsilon"]))  # fmt: skip
        dim = len(self.center)
        work = 4 * dim * (int(self.numbers[1]) + waiting.n)
        return Shortcut(shortcuts.search_trees, table, shortcuts.new_room, (dim, waiting.n, k), dim, work)

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        slope, linear, floor = self._slack.tolist()
        squared = min(2.0 * radius if self.metric.code == COSINE else radius * radius, float(_LARGEST))
        limit = np.float32(min(squared * slope + linear * np.sqrt(max(squared, 0.0)) + floor, float(_LARGEST)))
        space, found = new_space(queries.shape[1], queries.dtype), []
        for i in range(len(queries) if radius >= 0 else 0):
            alive = request.alive if request.alive is None or request.alive.ndim == 1 else request.alive[i]
            allowed, counters = self._allowed(alive, request.keys), request.counters[i : i + 1]
            capacity, count = 0, _FIRST_CAPACITY
            while count > capacity:
                capacity = count
                rows = np.empty(capacity, np.int32)
                count = kernels.search_rows(self._forest, allowed, space, queries[i : i + 1], limit, rows, counters)
            found.append(rows[:count].astype(np.int64))
        counts = np.zeros(len(queries) + 1, np.int64)
        counts[1 : len(found) + 1] = [len(rows) for rows in found]
        return np.cumsum(counts), np.concatenate(found) if found else np.empty(0, np.int64)

    def _filters(self, queries: np.ndarray, request: Request) -> Iterator[tuple[np.ndarray, Allowed]]:
        """Queries that share a filter, in the order in which to visit the tree, with the filter."""
        if request.alive is None or request.alive.ndim == 1:
            yield _visiting_order(queries), self._allowed(request.alive, request.keys)
            return
        for i, alive in enumerate(request.alive):
            yield np.array([i]), self._allowed(alive, request.keys)

    def _allowed(self, alive: np.ndarray | None, keys: np.ndarray) -> Allowed:
        """A filter's rows, and which children of nodes have any of them: remembered while the same filter is used."""
        if alive is None:
            return Allowed(keys, _NO_BITS, _NO_NODES, False)
        occupied = self._occupied.get(alive)
        if occupied is None:
            occupied = np.zeros(self._n_nodes, np.int32)
            space = new_space(1, self.trees[0].vectors.dtype)
            kernels.occupancy(self._forest, Allowed(keys, alive, occupied, True), space)
            self._occupied.put(alive, occupied)
        return Allowed(keys, alive, occupied, True)

    # ---- storing

    def arrays(self) -> dict[str, np.ndarray]:
        stored = self._stored or forest.to_arrays(self.trees, self._n_criteria)
        return stored | {"center": self.center, "numbers": self.numbers}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        names = ("vectors", "nodes", "scales", "sizes", "first_rows", "rows", "groups")
        stored = {name: arrays[name] for name in names}
        trees = forest.from_arrays(stored, cls.shape, metric)
        n_criteria = stored["groups"].shape[1] - 1
        structure = cls(metric, trees, arrays["center"], arrays["numbers"], n_criteria, stored)
        structure.check()
        return structure

    def check(self) -> None:
        """What is not the trees' must fit too; `forest.from_arrays` checked these."""
        dim = self.trees[0].vectors.shape[1]
        for name, array, shape in (("center", self.center, (dim,)), ("numbers", self.numbers, (2,))):
            if array.dtype != np.float64 or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, but should be float64 {shape}")
        if not (np.isfinite(self.center).all() and (self.numbers >= 0).all() and self.numbers[1] <= self.n_rows):
            raise ValueError(f"center must be finite, and numbers {self.numbers} in range")


def _reach(tree: Tree, metric: Metric) -> float:
    """The largest coordinate, as far as the range of float32 sums of squares asks."""
    reach = max(float(tree.vectors.max()), -float(tree.vectors.min()))
    if metric.code == COSINE and len(tree.scales):
        positive = tree.scales[tree.scales > 0]
        reach = max(reach, float(positive.max(initial=0.0)), 1.0 / float(positive.min(initial=1.0)))
    return min(reach, 1e300)


def _visiting_order(queries: np.ndarray) -> np.ndarray:
    order = np.arange(len(queries))
    if len(queries) >= _ORDER_FROM:
        order_kernels.visiting_order(np.ascontiguousarray(queries), min(16, len(queries).bit_length() + 2), order)
    return order
