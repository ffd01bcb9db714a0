"""The suite for trees: KDTreeIndex and BallTreeIndex against the trees one can install, and against a plain scan.

Everyone is exact, so only time is compared. Each set is searched twice: with its queries as they come, and with
them sorted along a Z-curve, which makes the caches of all trees warm (annlab sorts batches by itself, and is given
them sorted as well). Two more sections run on data of their own: `tree_crossover.py` finds the dimension at which a
scan overtakes the trees, and `tree_criteria.py` compares the ways to search with a filter.
"""

import importlib.util
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks import tree_criteria, tree_crossover
from benchmarks.harness import Budget, Run, Sweep, measure
from benchmarks.peers import Annlab, Answer, Peer

SUBJECT = "annlab KDTreeIndex"
SHAPES = ("1000000x2", "1000000x3", "1000000x8", "1000000x16", "200000x32")
SETS = (*(f"{kind}:{shape}" for shape in SHAPES for kind in ("uniform", "clusters")), *tree_crossover.SETS)
QUICK_SETS = ("uniform:5000x3",)
SLOW_FROM = 8  # dimensions: scikit-learn's trees take seconds a query batch from here on a million rows
SLOW_ROWS = 200_000
FEW_FROM, FEW_QUERIES = 16, 100  # from so many dimensions on a batch has so many queries


class ScipyTree(Peer):
    """scipy's cKDTree, on float64 as it only has that; balanced and compact, its defaults."""

    name, package, metrics = "scipy cKDTree", "scipy", frozenset({"l2"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        from scipy.spatial import cKDTree

        self.index = cKDTree(train)
        self.bytes = self.index.n * (self.index.m + 1) * 8

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        distances, ids = self.index.query(queries, k, workers=1)
        return distances.reshape(len(queries), k), ids.reshape(len(queries), k)

    def memory(self) -> int:
        return self.bytes


class Float64(Annlab):
    """annlab's KDTreeIndex on float64."""

    def __init__(self) -> None:
        super().__init__("KDTreeIndex")
        self.name += " float64"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        super().build(train.astype(np.float64), metric, **parameters)

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return queries.astype(np.float64)


class PyKDTree(Peer):
    """pykdtree, on float32 or float64."""

    package, metrics = "pykdtree", frozenset({"l2"})

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype, self.name = dtype, "pykdtree" if dtype == "float32" else f"pykdtree {dtype}"

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return queries.astype(self.dtype)

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        from pykdtree.kdtree import KDTree

        self.data = train.astype(self.dtype)
        self.index, self.bytes = KDTree(self.data), self.data.nbytes + 4 * len(train)

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        distances, ids = self.index.query(queries, k)
        return distances.reshape(len(queries), k), ids.reshape(len(queries), k).astype(np.int64)

    def memory(self) -> int:
        return self.bytes


class Nanoflann(Peer):
    """pynanoflann, on float32."""

    name, package, metrics = "nanoflann", "pynanoflann", frozenset({"l2"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import pynanoflann

        self.index, self.bytes = pynanoflann.KDTree(metric="L2", leaf_size=10), train.nbytes
        self.index.fit(train)

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        distances, ids = self.index.kneighbors(queries, k)
        return distances, ids.astype(np.int64)

    def memory(self) -> int:
        return self.bytes


class ScikitLearnTree(Peer):
    """scikit-learn's KDTree or BallTree, on float64 as their default is."""

    package, metrics = "sklearn", frozenset({"l2"})

    def __init__(self, kind: str) -> None:
        self.kind, self.name = kind, f"scikit-learn {kind}"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        from sklearn import neighbors

        self.index, self.bytes = getattr(neighbors, self.kind)(train), 2 * train.nbytes

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        return self.index.query(queries, k)

    def memory(self) -> int:
        return self.bytes


def peers(options: Namespace) -> list[Peer]:
    """None of the trees multiplies matrices, so there is no BLAS to verify."""
    return []


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set, with its queries as they come and sorted."""
    if dataset.name in tree_crossover.SETS:
        return tree_crossover.run(dataset, options, budget)
    entrants: list[Any] = [partial(Annlab, "KDTreeIndex"), partial(Annlab, "BallTreeIndex"), Annlab, Float64]
    entrants += [peer for peer in (ScipyTree, PyKDTree, partial(PyKDTree, "float64"), Nanoflann)
                 if importlib.util.find_spec(getattr(peer, "func", peer).package)]  # fmt: skip
    if dataset.train.shape[1] < SLOW_FROM or len(dataset.train) <= SLOW_ROWS:
        entrants += [partial(ScikitLearnTree, "KDTree"), partial(ScikitLearnTree, "BallTree")]
    sweeps = [Sweep(entrant) for entrant in entrants]
    runs = []
    if dataset.train.shape[1] >= FEW_FROM:
        budget = replace(budget, batch=min(budget.batch, FEW_QUERIES))
    for name, test in ((dataset.name, dataset.test), (f"{dataset.name}, queries sorted", z_sorted(dataset.test))):
        runs += measure(Dataset(name, dataset.train, test, dataset.metric), sweeps, options.k, ("batch",), budget)
    return runs


def finish(runs: list[Run], options: Namespace, budget: Budget) -> list[Run]:
    """The sections that are not about one data set; returns what they measured in addition."""
    more = tree_criteria.run(options, budget)
    shares = {
        (run.dim, run.peer): run.bytes_per_vector / (run.dim * (8 if "float64" in run.peer else 4))
        for run in runs
        if run.peer.startswith("annlab ") and run.dataset.startswith("uniform")
    }
    for (dim, peer), share in sorted(shares.items()):
        print(f"memory of {peer} in {dim} dimensions: {share:.2f} of the data, ids included")
    print("\n" + tree_crossover.table(runs))
    if options.out:
        tree_crossover.draw(runs, Path(options.out).with_name("trees-crossover.png"))
    return more


def z_sorted(queries: np.ndarray) -> np.ndarray:
    """The queries along a Z-curve over their first three coordinates."""
    some = queries[:, :3].astype(np.float64)
    extent = np.ptp(some, axis=0)
    cells = ((some - some.min(axis=0)) / np.where(extent > 0, extent, 1) * 1023).astype(np.int64)
    keys = np.zeros(len(queries), np.int64)
    for bit in range(10):
        for j in range(some.shape[1]):
            keys |= ((cells[:, j] >> bit) & 1) << (3 * bit + j)
    return np.ascontiguousarray(queries[np.argsort(keys, kind="stable")])
