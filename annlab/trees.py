"""What the two trees share: rows in leaves of sixteen, nodes of sixteen children, search in float32 and its proof.

A tree divides its rows into ever smaller groups of neighbours. A *leaf* is sixteen rows, which lie one behind the other
in `vectors`; a *node* is sixteen leaves or nodes, for each of which it stores a bound: a box or ball that holds all its
rows. A search goes down to the leaf that is nearest to the query and comes back up, leaving out every child whose
bound is farther than the k-th row found so far. All sixteen bounds of a node are computed together by vectors.

    vectors  (n, dim)              rows in the order of the leaves
    nodes    (nodes, planes, 16)   float32; boxes: lowest and highest value by coordinate, 2 dim planes; balls: the
                                   center's coordinates and the radius, dim + 1 planes. Leaf level first, root last.
    sizes    (trees,)              rows of each tree
    center   (dim,)                float64, what the nodes' coordinates are about
    scales   (n,)                  float32, 1 / |x|; for cosine only
    numbers  (2,)                  the largest coordinate of any row; rows that a search scans, measured when built

All leaves but the last are full, so a node's children follow from its number, and no offset or pointer is stored.
The nodes take an eighth (boxes) or a sixteenth (balls) of the memory of float32 vectors.

Growing
-------
There may be several trees, one behind the other, and a search goes through all. Added rows become a tree of their own;
as soon as four trees of about one size stand last they are built into one (Bentley and Saxe, Decomposable searching
problems, 1980). So there are O(log n) trees, and a row takes part in O(log n) builds.

Why no neighbour is lost
------------------------
With u = 2^-24 and D the true distance, a leaf's scan gives s = D^2 up to a relative c = (dim + 8) u: differences are
taken in the vectors' own type, then rounded, squared and summed in float32. A returned distance is rounded to its type,
another 2 u at most of its square. A bound's square errs by c too, and boxes are exact or widened. So all rows that are
as near as the k-th have s <= s_k (1 + 6 c + 2^-21), where s_k is the k-th smallest s, and no child that holds one of
them has a larger bound: this is the limit of a search (`loosened` in kernels/tree_collect.py). For `cosine` rows and
query are first scaled to length 1, by which each moves by at most 5 u, so the square of a distance changes by at most
20 u D + 100 u^2. What passes is measured by the definition, and ties go to the smaller id. A floor of dim 2^-140 covers
what underflows. Data or queries beyond 10^15, where squares would overflow, are measured row by row.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from annlab import validation
from annlab.distances import Metric
from annlab.kernels import order as order_kernels
from annlab.kernels import tree as kernels
from annlab.kernels import tree_build
from annlab.kernels.distance import COSINE
from annlab.kernels.topk import PADDING
from annlab.kernels.tree_collect import HEAP, LIST, LIST_K, TIED, WITHIN
from annlab.kernels.tree_leaf import LEAF_ROWS
from annlab.kernels.wide import WIDTH
from annlab.statistics import BYTES, DISTANCES, N_COUNTERS, VISITED
from annlab.structure import Progress, Request, Scored

_U = 2.0**-24
_REACH = 1e15
_LARGEST = np.finfo(np.float32).max
_ORDER_FROM = 64  # queries: fewer are not worth sorting
_FAN_IN = 4  # trees of about one size are built into one
_SAMPLE = 16  # queries by which a search's cost is measured
_NO_ROWS = np.empty(0, np.int32)


class TreeStructure:
    """One or more trees over all rows; the kind of bounds is the subclass's."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "scales", "nodes"})
    exhaustive: ClassVar[bool] = True  # nodes without an allowed row are skipped, so a selective filter is no trouble
    shape: ClassVar[int]

    def __init__(self, metric: Metric, vectors: np.ndarray, nodes: np.ndarray, sizes: np.ndarray, center: np.ndarray,
                 scales: np.ndarray, numbers: np.ndarray) -> None:  # fmt: skip
        self.metric, self.vectors, self.nodes, self.sizes = metric, vectors, nodes, sizes
        self.center, self.scales, self.numbers = center, scales, numbers

    # ---- building

    @classmethod
    def build(cls, vectors: np.ndarray, *, metric: Metric, params: dict[str, Any], rng: np.random.Generator,
              threads: int, progress: Progress, owned: bool) -> tuple[Self, np.ndarray]:  # fmt: skip
        center = np.zeros(vectors.shape[1])
        if vectors.dtype == np.float64 and metric.code != COSINE:
            center = vectors[:: max(1, len(vectors) // 1024)].mean(axis=0)
        ordered = np.empty_like(vectors)
        nodes, scales, order = cls._grow(vectors, metric, center, ordered)
        reach = _reach(vectors, scales, metric)
        structure = cls(metric, ordered, nodes, np.array([len(vectors)]), center, scales, np.array([reach, 0.0]))
        structure._measure_cost(rng)
        progress("building the tree", 1.0)
        return structure, order

    @classmethod
    def _grow(cls, vectors: np.ndarray, metric: Metric, center: np.ndarray,
              ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """One tree: nodes, inverse norms of its rows, and their order, in which `ordered` receives the vectors."""
        n, dim = vectors.shape
        n_planes = dim + (cls.shape == kernels.BALL)
        planes = np.empty((n_planes, n + PADDING), np.float32)
        spare = np.empty((n_planes, n + 2 * PADDING), np.float32)
        numbers, other = np.empty(n + PADDING, np.int32), np.empty(n + 3 * PADDING, np.int32)
        scales = np.empty(n if metric.code == COSINE else 0)
        exact = vectors.dtype == np.float32 and metric.code != COSINE
        with np.errstate(over="ignore"):
            tree_build.to_planes(vectors, metric.code, center, exact, planes, numbers, scales)
        table, n_nodes = _table(np.array([n]))
        nodes = np.zeros((n_nodes, cls._planes(dim), WIDTH), np.float32)
        saved, sampled = np.empty(n_planes * PADDING, np.float32), np.empty(tree_build.SAMPLED, np.float32)
        tree_build.build(planes, numbers, spare, other, saved, sampled, dim, n, cls.shape, exact,
                         table[0, kernels.OFFSETS :], table[0, kernels.HEIGHT], nodes)  # fmt: skip
        order = numbers[:n].astype(np.int64)
        tree_build.to_rows(planes, vectors, order, exact, ordered)
        scales = np.minimum(scales[order] if len(scales) else scales, _LARGEST).astype(np.float32)
        return nodes, scales, order

    @classmethod
    def _planes(cls, dim: int) -> int:
        return 2 * dim if cls.shape == kernels.BOX else dim + 1

    def _measure_cost(self, rng: np.random.Generator) -> None:
        """Search for a few rows, to know about how many rows a search scans."""
        rows = rng.integers(0, len(self.vectors), _SAMPLE)
        counters = np.zeros((_SAMPLE, N_COUNTERS), np.int64)
        request = Request(None, np.arange(len(self.vectors)), {"epsilon": 0.0, "max_leaves": 0}, 1, counters)
        self.search(self.vectors[rows], min(10, len(self.vectors)), request)
        self.numbers[1] = min(counters[:, DISTANCES].mean(), len(self.vectors))

    def absorb(self, vectors: np.ndarray, rng: np.random.Generator) -> tuple[Self, np.ndarray]:
        sizes = [*self.sizes.tolist(), len(vectors)]
        n_merged = 1
        while (last := _comparable(sizes)) >= _FAN_IN:
            n_merged += last - 1
            sizes[-last:] = [sum(sizes[-last:])]
        start = len(self.vectors) + len(vectors) - sizes[-1]
        kept, n_kept = len(sizes) - 1, _table(np.array(sizes[:-1], np.int64))[1]
        together = np.concatenate([self.vectors, vectors])
        nodes, scales, order = self._grow(together[start:].copy(), self.metric, self.center, together[start:])
        numbers = np.array([max(self.numbers[0], _reach(together[start:], scales, self.metric)), self.numbers[1]])
        structure = type(self)(
            self.metric, together, np.concatenate([self.nodes[:n_kept], nodes]),
            np.array([*self.sizes[:kept].tolist(), sizes[-1]]), self.center,
            np.concatenate([self.scales[:start], scales]), numbers,
        )  # fmt: skip
        return structure, np.concatenate([np.arange(start), start + order])

    def rows_touched(self, params: dict[str, Any]) -> int:
        return int(self.numbers[1])

    # ---- searching

    @cached_property
    def _layout(self) -> np.ndarray:
        return _table(self.sizes)[0]

    @cached_property
    def _slack(self) -> np.ndarray:
        dim = self.vectors.shape[1]
        slope = 1.0 + 6 * (dim + 8) * _U + 2.0**-21
        if self.metric.code == COSINE:
            return np.array([slope, 32 * _U, 256 * _U**2], np.float32)
        return np.array([slope, 0.0, dim * 2.0**-140], np.float32)

    def search(self, queries: np.ndarray, k: int, request: Request) -> Scored:
        q = len(queries)
        distances, ids = np.full((q, k), np.inf, queries.dtype), np.full((q, k), -1, np.int64)
        statuses = np.zeros(q, np.int64)
        tied = np.arange(q)
        if k <= LIST_K and self._in_range:
            self._run(LIST, queries, _visiting_order(queries), k, request, distances, ids, statuses)
            tied = np.flatnonzero(statuses == TIED)
        if len(tied):
            self._run(HEAP, queries, tied, k, request, distances, ids, statuses)
        return Scored(distances, ids)

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        slope, linear, floor = self._slack.tolist()
        squared = min(2.0 * radius if self.metric.code == COSINE else radius * radius, float(_LARGEST))
        limit = min(squared * slope + linear * np.sqrt(max(squared, 0.0)) + floor, float(_LARGEST))
        request = replace(request, params={"epsilon": 0.0, "max_leaves": 0})
        found, nothing = [], np.empty((len(queries), 0), queries.dtype)
        counts, limits = np.zeros(len(queries), np.int64), np.full(len(queries), limit, np.float32)
        for i in range(len(queries) if radius >= 0 else 0):
            capacity = 1024
            while True:
                rows = np.empty(capacity, np.int32)
                self._run(
                    WITHIN, queries, np.array([i]), 1, request, nothing, nothing.astype(np.int64), counts, limits, rows
                )
                if counts[i] + WIDTH <= capacity:
                    break
                capacity = int(counts[i]) + WIDTH
            found.append(rows[: counts[i]].astype(np.int64))
        return np.concatenate([[0], np.cumsum(counts)]), np.concatenate(found) if found else np.empty(0, np.int64)

    @property
    def _in_range(self) -> bool:
        return bool(self.numbers[0] < _REACH)

    def _run(self, mode: int, queries: np.ndarray, order: np.ndarray, k: int, request: Request, distances: np.ndarray,
             ids: np.ndarray, statuses: np.ndarray, limits: np.ndarray | None = None,
             rows: np.ndarray = _NO_ROWS) -> None:  # fmt: skip
        exact = queries.dtype == np.float32 and self.metric.code != COSINE
        alive = np.empty((0, 0), np.uint64) if request.alive is None else np.atleast_2d(request.alive)
        counters = np.zeros((len(queries), 3), np.int64)
        kernels.search(
            queries, order, self.vectors, self.scales, self.nodes, self._layout, self.shape, exact, self.metric.code,
            self.center, request.keys, np.ascontiguousarray(alive), len(alive) == len(queries) > 1,
            mode, k, np.empty(0, np.float32) if limits is None else limits, self._slack, self._in_range,
            request.params["epsilon"], request.params["max_leaves"], distances, ids, rows, statuses, counters,
        )  # fmt: skip
        row_bytes, node_bytes = self.vectors.strides[0], self.nodes.strides[0]
        request.counters[:, DISTANCES] += counters[:, 2]
        request.counters[:, VISITED] += counters[:, 0]
        request.counters[:, BYTES] += counters[:, 2] * row_bytes + counters[:, 0] * node_bytes

    # ---- storing

    def arrays(self) -> dict[str, np.ndarray]:
        return {"vectors": self.vectors, "nodes": self.nodes, "sizes": self.sizes, "center": self.center,
                "scales": self.scales, "numbers": self.numbers}  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        names = ("vectors", "nodes", "sizes", "center", "scales", "numbers")
        structure = cls(metric, *(arrays[name] for name in names))
        structure.check()
        return structure

    def check(self) -> None:
        """Sizes must add up to the rows; the place of everything else follows from them."""
        n, dim = self.vectors.shape
        if (
            self.sizes.dtype != np.int64
            or self.sizes.ndim != 1
            or not (self.sizes > 0).all()
            or not (self.sizes <= n).all()
        ):
            raise ValueError(f"sizes of trees {self.sizes!r} for {n} rows")
        if self.sizes.sum() != n:
            raise ValueError(f"trees of {self.sizes.sum()} rows together, but {n} rows")
        n_scales = n if self.metric.code == COSINE else 0
        expected = {
            "nodes": (self.nodes, np.float32, (_table(self.sizes)[1], self._planes(dim), WIDTH)),
            "center": (self.center, np.float64, (dim,)),
            "scales": (self.scales, np.float32, (n_scales,)),
            "numbers": (self.numbers, np.float64, (2,)),
        }
        for name, (array, dtype, shape) in expected.items():
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, but should be {np.dtype(dtype)} {shape}")
        if not (np.isfinite(self.center).all() and (self.numbers >= 0).all() and self.numbers[1] <= n):
            raise ValueError(f"center must be finite, and numbers {self.numbers} in range")


def _table(sizes: np.ndarray) -> tuple[np.ndarray, int]:
    """Where each tree's rows and nodes begin, as `kernels/tree.py` reads it, and the number of all nodes."""
    table = np.zeros((len(sizes), kernels.TABLE_COLUMNS), np.int64)
    first_row = first_node = 0
    for row, size in zip(table, sizes.tolist(), strict=True):
        children, height = -(-size // LEAF_ROWS), 0
        while children > 1 or height == 0:
            children = -(-children // WIDTH)
            row[kernels.OFFSETS + height] = first_node
            first_node += children
            height += 1
        row[kernels.FIRST_ROW], row[kernels.N_ROWS], row[kernels.HEIGHT] = first_row, size, height
        first_row += size
    return table, first_node


def _comparable(sizes: list[int]) -> int:
    """How many trees of about the last one's size stand last."""
    n = 0
    while n < len(sizes) and sizes[-1 - n] <= 2 * sizes[-1]:
        n += 1
    return n


def _reach(vectors: np.ndarray, scales: np.ndarray, metric: Metric) -> float:
    """The largest coordinate, as far as the range of float32 sums of squares asks."""
    reach = max(float(vectors.max()), -float(vectors.min()))
    if metric.code == COSINE and len(scales):
        positive = scales[scales > 0]
        reach = max(reach, float(positive.max(initial=0.0)), 1.0 / float(positive.min(initial=1.0)))
    return min(reach, 1e300)


def _visiting_order(queries: np.ndarray) -> np.ndarray:
    order = np.arange(len(queries))
    if len(queries) >= _ORDER_FROM:
        order_kernels.visiting_order(np.ascontiguousarray(queries), min(16, len(queries).bit_length() + 2), order)
    return order


NO_INNER_PRODUCT = {"ip": "a tree needs distances that obey the triangle inequality; use ExactIndex or IVFIndex"}
SEARCH_PARAMETERS: dict[str, Callable[[Any], Any]] = {
    "epsilon": lambda value: validation.as_number("epsilon", value, 0.0),
    "max_leaves": lambda value: 0 if value is None else validation.as_integer("max_leaves", value, 1, 2**40),
}


def checked_parameters(epsilon: float, max_leaves: int | None) -> dict[str, Any]:
    """The parameters of a search as an index keeps them."""
    SEARCH_PARAMETERS["max_leaves"](max_leaves)
    return {"epsilon": SEARCH_PARAMETERS["epsilon"](epsilon), "max_leaves": max_leaves}
