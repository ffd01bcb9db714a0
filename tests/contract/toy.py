"""The smallest index: what an author has to write, in plain NumPy. It passes the whole contract suite."""

import numpy as np

from annlab import Index, Structure
from annlab.common import rowsets


class ToyStructure(Structure):
    """All vectors, sorted by their first coordinate (so that rows have another order than the user's)."""

    def __init__(self, vectors, metric):
        self.vectors, self.metric = vectors, metric

    @classmethod
    def build(cls, vectors, building):
        order = np.argsort(vectors[:, 0], kind="stable")
        return cls(vectors[order], building.metric), order

    def search(self, queries, k, request):
        found = np.full((len(queries), len(self.vectors)), -1, np.int64)
        for i, query in enumerate(queries):
            rows, ranks, slack = self._ranked(query, i, request)
            best = rows[ranks <= np.sort(ranks)[min(k, len(rows)) - 1] + slack] if len(rows) else rows
            found[i, : len(best)] = best
        return found

    def search_radius(self, queries, radius, request):
        found = [self._ranked(query, i, request)[0] for i, query in enumerate(queries)]  # all: they are scored later
        return np.cumsum([0, *map(len, found)]), np.concatenate(found)

    def _ranked(self, query, i, request):
        alive = request.alive
        if alive is not None:
            alive = rowsets.unpack(alive if alive.ndim == 1 else alive[i], len(self.vectors))
        rows = np.arange(len(self.vectors)) if alive is None else np.flatnonzero(alive)
        request.counters[i] += (len(rows), 1, self.vectors[rows].nbytes)
        x, q = self.vectors[rows].astype(np.float64), query.astype(np.float64)
        if self.metric.name == "cosine":
            x, q = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-300) for v in (x, q))
        ranks = np.sqrt(((x - q) ** 2).sum(axis=1)) if self.metric.name == "l2" else -(x * q).sum(axis=1)
        slack = 1e-6 * (1 + np.abs(q).sum()) * (1 + np.abs(x).max(initial=0.0))
        return rows, ranks, slack

    def rows_touched(self, params):
        return len(self.vectors) // 4

    @classmethod
    def from_arrays(cls, arrays, *, metric, params):
        return cls(arrays["vectors"], metric)


class ToyIndex(Index):
    """A scan in NumPy."""

    structure_class = ToyStructure

    def __init__(self, *, metric="l2", dim=None, seed=0):
        super().__init__(metric=metric, dim=dim, seed=seed)
