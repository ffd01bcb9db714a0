"""Searching with a filter: trees by criteria, the bits of rows, filtering afterwards, and scanning what is allowed.

Half the filters have nothing to do with where the rows lie, half of them allow the rows on one side of the space. For
each, a share of 50 %, 10 %, 1 % or 0.1 % of the rows is allowed. Filtering afterwards asks for ever more neighbours
until enough of them are allowed, at most `MOST`, so its recall can be less than one.
"""

from argparse import Namespace
from functools import partial
from typing import Any

import numpy as np

import annlab
from annlab.common.statistics import SearchStats
from annlab.datasets import Dataset
from benchmarks.harness import Budget, Run, Sweep, measure
from benchmarks.peers import Answer, Peer

ROWS, DIM, QUERIES, MOST = 500_000, 3, 100, 50_000
SHARES = (0.5, 0.1, 0.01, 0.001)


class Filtered(Peer):
    """One way to search rows of which some are allowed; answers with places among these."""

    package = "annlab"
    where = annlab.col("allowed")

    def __init__(self, name: str, vectors: np.ndarray, allowed: np.ndarray) -> None:
        self.name, self.vectors, self.allowed = name, vectors, allowed
        self.places = np.where(allowed, np.cumsum(allowed) - 1, -1)

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        kind = annlab.ExactIndex if "scan" in self.name else annlab.KDTreeIndex
        criteria = {"criteria": ["allowed"]} if "criteria" in self.name else {}
        self.index = kind(**criteria).fit(self.vectors, attributes={"allowed": self.allowed})

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        distances, ids = self.index.search(queries, k, threads=1, where=self.where)
        return distances, np.where(ids >= 0, self.places[ids], -1)

    def facts(self, queries: np.ndarray, k: int) -> dict[str, Any]:
        stats = SearchStats()
        self.index.search(queries, k, threads=1, where=self.where, stats=stats)
        return {"nodes": float(stats.visited.mean()), "rows scanned": float(stats.distances.mean())}

    def memory(self) -> int:
        return self.index.memory()["total"]


class FilteredAfterwards(Filtered):
    """Unfiltered searches for more and more neighbours."""

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        wanted = int(1.3 * k / self.allowed.mean())
        while True:
            distances, ids = self.index.search(queries, min(wanted, MOST), threads=1)
            passed = self.allowed[ids]
            if wanted >= MOST or (passed.sum(axis=1) >= k).all():
                break
            wanted *= 3
        first = np.argsort(~passed, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(np.where(passed, self.places[ids], -1), first, axis=1)
        return np.take_along_axis(distances, first, axis=1), found

    def facts(self, queries: np.ndarray, k: int) -> dict[str, Any]:
        stats = SearchStats()
        self.index.search(queries, min(int(1.3 * k / self.allowed.mean()), MOST), threads=1, stats=stats)
        return {"nodes": float(stats.visited.mean()), "rows scanned": float(stats.distances.mean())}


def run(options: Namespace, budget: Budget) -> list[Run]:
    """All ways, for all filters."""
    rng = np.random.default_rng(0)
    n = 20_000 if options.quick else ROWS
    vectors, queries = (rng.random((size, DIM), dtype=np.float32) for size in (n, QUERIES))
    chance, runs = rng.random(n), []
    short = Budget(seconds=min(budget.seconds, 2.0), batch=QUERIES, one=50)
    for kind, value in (("anywhere", chance), ("on one side", vectors[:, 0].astype(np.float64))):
        for share in SHARES:
            allowed = value < np.quantile(value, share)
            subset = Dataset(f"{share:.1%} allowed, {kind}", vectors[allowed], queries, "l2")
            ways = [
                partial(Filtered, "annlab KDTreeIndex", vectors, allowed),
                partial(Filtered, "with criteria", vectors, allowed),
                partial(FilteredAfterwards, "filtered afterwards", vectors, allowed),
                partial(Filtered, "scan of the allowed", vectors, allowed),
            ]
            runs += measure(subset, [Sweep(way) for way in ways], [10], ("batch", "one"), short)
    return runs
