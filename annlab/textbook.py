"""Every algorithm of annlab in about forty lines of NumPy: read this first.

The classes in `annlab` are fast: compiled loops, bytes instead of floats, one kernel call for a query. What they *do*
is as short as this page. Each algorithm here uses the names of the literature, answers like the real index (the tests
compare them), and can be changed in an afternoon. Reading order, and what each one adds to the one before:

    exact_search        look at everything                                          the oracle
    KDTree              halve the space, skip boxes that are too far                few dimensions
    BallTree            the same with balls: a bound that knows all dimensions      some more dimensions
    HyperplaneLSH       rows on the same side of random planes share a bucket       high dimensions, guarantees
    kmeans              k centres, each the mean of the rows nearest to it          the part that others build on
    InvertedFile        look only into the cells whose centres are near             high dimensions, clusters
    ProductQuantizer    a vector becomes a few small numbers, distances sums        memory
    NeighbourGraph      walk from row to row, always nearer                         the fewest comparisons

All of it is for the Euclidean distance. `data` is (n, d), `query` is (d,), and every search returns `(distances,
rows)` of the k nearest, sorted by distance and, among equals, by row. For unit vectors that is the order of the cosine
distance, too.

>>> data = np.random.default_rng(0).normal(size=(500, 8))
>>> all((KDTree(data).search(row, 3)[1] == exact_search(data, row, 3)[1]).all() for row in data[:20])
True
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Answer = tuple[Floats, Rows]

_ROUNDING = 1e-12  # what the last digits of a bound may be wrong by, relatively


# ---- exact search


def distances_to(data: NDArray[Any], query: NDArray[Any]) -> Floats:
    """(n,): the Euclidean distance of every row to the query; direct differences, so that near rows are told apart."""
    data, query = np.asarray(data, float), np.asarray(query, float)
    if data.shape[1:] != query.shape:  # NumPy would stretch one number over all
        raise ValueError(f"a query of shape {query.shape} has no distance to rows of shape {data.shape[1:]}")
    lengths: Floats = np.sqrt(((data - query) ** 2).sum(axis=1))
    return lengths


def nearest(distances: Floats, rows: Rows, k: int) -> Answer:
    """The k smallest, by distance and then by row."""
    order = np.lexsort((rows, distances))[:k]
    return distances[order], rows[order]


def exact_search(data: NDArray[Any], query: NDArray[Any], k: int) -> Answer:
    """Compare the query with everything: O(n d), and the truth that all else is measured by."""
    return nearest(distances_to(data, query), np.arange(len(data)), k)


class Best:
    """The k best rows so far. `worst` is what a row must not exceed to be of interest."""

    def __init__(self, k: int) -> None:
        self.k, self.distances, self.rows = k, np.empty(0), np.empty(0, np.int64)

    @property
    def worst(self) -> float:
        return float(self.distances[-1]) if len(self.rows) == self.k else np.inf

    def offer(self, distances: Floats, rows: Rows) -> None:
        together = np.concatenate([self.distances, distances]), np.concatenate([self.rows, rows])
        self.distances, self.rows = nearest(*together, self.k)


# ---- KD-tree (Bentley, 1975; search after Friedman, Bentley and Finkel, 1977)


@dataclass
class Split:
    """An inner node: rows below `value` on this axis are on the left, rows above on the right, equal ones anywhere."""

    axis: int
    value: float
    left: Split | Rows
    right: Split | Rows


class KDTree:
    """Halve the rows at the median of their widest axis, again and again; a search skips boxes that are too far.

    Build O(n log n). A search visits about log n leaves in two or three dimensions, and nearly all of them in twenty:
    then every box is as near as the k-th neighbour.
    """

    def __init__(self, data: NDArray[Any], leaf_size: int = 16) -> None:
        self.data, self.leaf_size = np.asarray(data, float), leaf_size
        self.root = self._split(np.arange(len(self.data)))

    def _split(self, rows: Rows) -> Split | Rows:
        extent = np.ptp(self.data[rows], axis=0) if len(rows) else np.zeros(1)
        if len(rows) <= self.leaf_size or extent.max() == 0:
            return rows
        axis = int(extent.argmax())
        rows = rows[self.data[rows, axis].argsort(kind="stable")]
        middle = len(rows) // 2
        value = float(self.data[rows[middle], axis])
        return Split(axis, value, self._split(rows[:middle]), self._split(rows[middle:]))

    def search(self, query: NDArray[Any], k: int) -> Answer:
        """Down to the query's own leaf first, which makes `worst` small; then whatever could still hold a neighbour."""
        best, query = Best(k), np.asarray(query, float)

        def visit(node: Split | Rows, offset: Floats) -> None:
            # offset: on each axis, how far the query is outside of the node's box. Its length bounds all distances.
            if not isinstance(node, Split):
                best.offer(distances_to(self.data[node], query), node)
                return
            beyond = query[node.axis] - node.value
            near, far = (node.left, node.right) if beyond < 0 else (node.right, node.left)
            visit(near, offset)
            offset = offset.copy()
            offset[node.axis] = beyond
            if distances_to(offset[None], np.zeros_like(offset))[0] <= best.worst:  # equal: a smaller row may be there
                visit(far, offset)

        visit(self.root, np.zeros(self.data.shape[1]))
        return best.distances, best.rows


# ---- ball tree (Omohundro, 1989)


@dataclass
class Ball:
    """A node: all its rows are within `radius` of `center`."""

    center: Floats
    radius: float
    rows: Rows
    children: tuple[Ball, ...] = ()


class BallTree:
    """Rows in nested balls. By the triangle inequality no row is nearer than |query - center| - radius.

    The bound uses all dimensions at once, where a box uses those that were split; so it holds out some dimensions
    longer, and wherever the data lies on something flat.
    """

    def __init__(self, data: NDArray[Any], leaf_size: int = 16) -> None:
        self.data, self.leaf_size = np.asarray(data, float), leaf_size
        self.root = self._ball(np.arange(len(self.data)))

    def _ball(self, rows: Rows) -> Ball:
        points = self.data[rows]
        center = points.mean(axis=0) if len(rows) else np.zeros(self.data.shape[1])
        ball = Ball(center, float(distances_to(points, center).max(initial=0.0)), rows)
        extent = np.ptp(points, axis=0) if len(rows) else np.zeros(1)
        if len(rows) > self.leaf_size and extent.max() > 0:
            rows = rows[points[:, extent.argmax()].argsort(kind="stable")]
            middle = len(rows) // 2
            ball.children = self._ball(rows[:middle]), self._ball(rows[middle:])
        return ball

    def search(self, query: NDArray[Any], k: int) -> Answer:
        """Depth first, the nearer ball first."""
        best, query = Best(k), np.asarray(query, float)

        def visit(ball: Ball) -> None:
            if not ball.children:
                best.offer(distances_to(self.data[ball.rows], query), ball.rows)
            for bound, child in sorted(((self._bound(b, query), b) for b in ball.children), key=lambda pair: pair[0]):
                if bound <= best.worst:
                    visit(child)

        visit(self.root)
        return best.distances, best.rows

    @staticmethod
    def _bound(ball: Ball, query: Floats) -> float:
        distance = float(distances_to(ball.center[None], query)[0])
        return distance - ball.radius - _ROUNDING * (distance + ball.radius)


# ---- locality-sensitive hashing with random hyperplanes (Charikar, 2002; probing after Lv et al., 2007)


class HyperplaneLSH:
    """Rows at a small angle lie on the same side of most planes through the origin, and so share buckets.

    One random plane separates two vectors at angle a with probability a / pi. `n_bits` planes make a key: more bits,
    smaller buckets. `n_tables` tables: more chances. `n_probes` buckets a table are read: first the query's own, then
    those across the planes to which the query is nearest.
    """

    def __init__(self, data: NDArray[Any], n_tables: int = 8, n_bits: int = 8, seed: int = 0) -> None:
        self.data = np.asarray(data, float)
        self.planes = np.random.default_rng(seed).normal(size=(n_tables, n_bits, self.data.shape[1]))
        self.tables: list[dict[int, list[int]]] = []
        for planes in self.planes:
            table: dict[int, list[int]] = defaultdict(list)
            for row, key in enumerate(self._keys(self.data @ planes.T)):
                table[int(key)].append(row)
            self.tables.append(dict(table))

    @staticmethod
    def _keys(sides: Floats) -> Rows:
        """(n, n_bits) sides of the planes -> (n,) numbers whose bits are their signs."""
        keys: Rows = (sides > 0) @ (1 << np.arange(sides.shape[1], dtype=np.int64))
        return keys

    def search(self, query: NDArray[Any], k: int, n_probes: int = 1) -> Answer:
        """Collect the rows of the probed buckets, and compare the query with these."""
        candidates: set[int] = set()
        for planes, table in zip(self.planes, self.tables, strict=True):
            side = planes @ np.asarray(query, float)
            own = int(self._keys(side[None])[0])
            for flips in islice(self._flips(side**2), n_probes):
                candidates.update(table.get(own ^ flips, ()))
        rows = np.array(sorted(candidates), np.int64)
        return nearest(distances_to(self.data[rows], query), rows, k)

    @staticmethod
    def _flips(costs: Floats) -> Any:
        """All sets of bits, the cheapest first: from a set that ends in bit i follow "and i + 1" and "i + 1 for i"."""
        order = costs.argsort()
        yield 0
        waiting: list[tuple[float, tuple[int, ...]]] = [(float(costs[order[0]]), (0,))] if len(order) else []
        while waiting:
            cost, chosen = heapq.heappop(waiting)
            yield sum(1 << int(order[i]) for i in chosen)
            if (after := chosen[-1] + 1) < len(order):
                more = float(costs[order[after]])
                heapq.heappush(waiting, (cost + more, (*chosen, after)))
                heapq.heappush(waiting, (cost + more - float(costs[order[after - 1]]), (*chosen[:-1], after)))


# ---- k-means (Lloyd, 1957; seeding after Arthur and Vassilvitskii, 2007)


def kmeans(data: NDArray[Any], n_clusters: int, n_iterations: int = 25, seed: int = 0,
           initial: NDArray[Any] | None = None) -> tuple[Floats, Rows]:  # fmt: skip
    """Centres (n_clusters, d) and the cluster of every row (n,). Each step lowers the sum of squared distances."""
    data = np.asarray(data, float)
    centres = _spread_out(data, n_clusters, seed) if initial is None else np.array(initial, float)
    assigned = assign(data, centres)
    for _ in range(n_iterations):
        for cluster in range(len(centres)):
            members = data[assigned == cluster]
            if len(members):
                centres[cluster] = members.mean(axis=0)
            else:  # nobody is left: begin again at the row that is served worst
                centres[cluster] = data[((data - centres[assigned]) ** 2).sum(axis=1).argmax()]
        before, assigned = assigned, assign(data, centres)
        if (assigned == before).all():
            break
    return centres, assigned


def assign(data: Floats, centres: Floats) -> Rows:
    """(n,): the nearest centre of every row."""
    return np.array([distances_to(centres, row).argmin() for row in data], np.int64)


def _spread_out(data: Floats, n_clusters: int, seed: int) -> Floats:
    """k-means++: each next centre is a row, drawn in proportion to its squared distance from those that are there."""
    rng = np.random.default_rng(seed)
    centres = [data[rng.integers(len(data))]]
    squared = np.full(len(data), np.inf)
    while len(centres) < n_clusters:
        squared = np.minimum(squared, distances_to(data, centres[-1]) ** 2)
        chances = squared / squared.sum() if squared.sum() > 0 else None
        centres.append(data[rng.choice(len(data), p=chances)])
    return np.array(centres)


# ---- inverted file (Sivic and Zisserman, 2003; Jegou, Douze and Schmid, 2011)


class InvertedFile:
    """Cut the space into the cells of k-means; a search reads the `n_probes` cells whose centres are nearest.

    About sqrt(n) cells balance the two halves of a search: n_lists centres, then n_probes n / n_lists rows. What lies
    just beyond the border of the last cell is missed.
    """

    def __init__(self, data: NDArray[Any], n_lists: int, seed: int = 0) -> None:
        self.data = np.asarray(data, float)
        self.centres, assigned = kmeans(self.data, n_lists, seed=seed)
        self.lists = [np.flatnonzero(assigned == cell) for cell in range(n_lists)]

    def search(self, query: NDArray[Any], k: int, n_probes: int = 1) -> Answer:
        """The nearest of the rows in the nearest cells."""
        _, cells = exact_search(self.centres, query, n_probes)
        rows = np.concatenate([self.lists[cell] for cell in cells])
        return nearest(distances_to(self.data[rows], query), rows, k)


# ---- product quantization (Jegou, Douze and Schmid, 2011)


class ProductQuantizer:
    """Cut each vector into parts, and replace each part by the number of the nearest of a few centres.

    With 256 centres a part, 128 float32 numbers in 16 parts become 16 bytes. A search makes one table a part, with the
    squared distance of the query's part to each centre; the distance to a row is then a sum of look-ups. The codes only
    say who is worth comparing: the `rerank` best are compared by their vectors.
    """

    def __init__(self, data: NDArray[Any], n_parts: int, n_centres: int = 16, seed: int = 0) -> None:
        self.data = np.asarray(data, float)
        if self.data.shape[1] % n_parts:
            raise ValueError(f"{self.data.shape[1]} dimensions cannot be cut into {n_parts} equal parts")
        self.n_parts = n_parts
        parts = [kmeans(part, n_centres, seed=seed) for part in np.split(self.data, n_parts, axis=1)]
        self.codebooks = np.array([centres for centres, _ in parts])  # (n_parts, n_centres, d / n_parts)
        self.codes = np.stack([assigned for _, assigned in parts], axis=1)  # (n, n_parts)

    def decoded(self) -> Floats:
        """(n, d): the vectors that the codes stand for."""
        return np.concatenate([book[code] for book, code in zip(self.codebooks, self.codes.T, strict=True)], axis=1)

    def search(self, query: NDArray[Any], k: int, rerank: int = 100) -> Answer:
        """Distances from tables, then true distances of the best."""
        parts = np.split(np.asarray(query, float), self.n_parts)
        tables = [((book - part) ** 2).sum(axis=1) for book, part in zip(self.codebooks, parts, strict=True)]
        guessed = np.sum([table[code] for table, code in zip(tables, self.codes.T, strict=True)], axis=0)
        _, rows = nearest(guessed, np.arange(len(self.data)), max(rerank, k))
        return nearest(distances_to(self.data[rows], query), rows, k)


# ---- a navigable graph (pruning and search after Subramanya et al., 2019: Vamana, DiskANN)


class NeighbourGraph:
    """Each row is linked to a few rows around it; a search walks to whichever row is nearest to the query.

    A link to a row is left out where a kept link leads nearer to that row, by the factor `alpha`: so few links point in
    all directions, and some go far. A walk that keeps the `beam` best rows in view does not stop at the first dead end.
    """

    def __init__(self, data: NDArray[Any], degree: int = 8, alpha: float = 1.2) -> None:
        self.data, self.degree, self.alpha = np.asarray(data, float), degree, alpha
        if not (n := len(self.data)):
            raise ValueError("a walk needs a row to begin at, and there is none")
        self.links = [self._pruned(row, np.arange(n)) for row in range(n)]
        for row in range(n):  # whoever is seen shall see
            for other in self.links[row]:
                if row not in self.links[other]:
                    self.links[other] = self._pruned(int(other), np.append(self.links[other], row))
        self.entry = int(distances_to(self.data, self.data.mean(axis=0)).argmin())
        self._reach_all()

    def _pruned(self, row: int, candidates: Rows) -> Rows:
        """RobustPrune: the nearest candidate is kept, and all go that are nearer to it, by alpha, than to the row."""
        candidates = candidates[candidates != row]
        distances = distances_to(self.data[candidates], self.data[row])
        distances, candidates = nearest(distances, candidates, len(candidates))
        kept: list[int] = []
        while len(candidates) and len(kept) < self.degree:
            kept.append(int(candidates[0]))
            stays = self.alpha * distances_to(self.data[candidates], self.data[kept[-1]]) > distances
            stays[0] = False
            distances, candidates = distances[stays], candidates[stays]
        return np.array(kept, np.int64)

    def _reach_all(self) -> None:
        """A row that no walk can reach gets a link from the nearest row that can be reached."""
        while len(rows := self._reachable()) < len(self.data):
            lost = np.setdiff1d(np.arange(len(self.data)), rows)
            source = int(exact_search(self.data[rows], self.data[lost[0]], 1)[1][0])
            self.links[rows[source]] = np.append(self.links[rows[source]], lost[0])

    def _reachable(self) -> Rows:
        seen, waiting = {self.entry}, [self.entry]
        while waiting:
            new = set(self.links[waiting.pop()].tolist()) - seen
            seen |= new
            waiting += new
        return np.array(sorted(seen), np.int64)

    def search(self, query: NDArray[Any], k: int, beam: int = 32) -> Answer:
        """GreedySearch: open the nearest row that is not open yet, while it is among the `beam` best."""
        best, seen, opened = Best(max(beam, k)), {self.entry}, set[int]()
        best.offer(distances_to(self.data[[self.entry]], query), np.array([self.entry]))
        while closed := [row for row in best.rows.tolist() if row not in opened]:
            opened.add(closed[0])
            new = np.array([row for row in self.links[closed[0]].tolist() if row not in seen], np.int64)
            seen.update(new.tolist())
            best.offer(distances_to(self.data[new], query), new)
        return best.distances[:k], best.rows[:k]
