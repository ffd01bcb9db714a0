"""The suite for hashing: LSHIndex in its modes against faiss IndexLSH with refinement, FALCONN, and exact search.

Every entrant is swept from recall@10 of about 0.5 to 0.99, and the times at equal recall are read off the fronts. Hash
tables (two families, as FALCONN has them) and scans are curves of their own, batches and single queries are apart.
`--sizes 100000 500000 ...` sweeps over n with fewer settings, which shows where hashing overtakes our own exact search
(rows "annlab", the line to beat). Codes alone, without vectors, are compared too: rows "annlab codes" and "faiss
binary" scan the same sign codes, so n divided by their time is the rate at which codes are compared.

`python -m benchmarks.lsh results.json` prints the times at equal recall of a result file and draws the curves.

FALCONN is not on PyPI as a wheel and its own build fails on current compilers. What works: unpack its source package,
and compile `internal/python_wrapper.cc` with `g++ -std=c++17 -march=native -O3 -shared -fPIC`, including its `include`
and `external/eigen` and a current pybind11, to `_falconn` beside its folder `falconn`. It takes part if it can be
imported. Its distances are for the sphere: l2 data are centred for it, and it re-ranks what it finds by itself.
"""

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks import plots, report
from benchmarks.frontier import Point, seconds_at_recall
from benchmarks.harness import MODES, Budget, Run, Sweep, measure
from benchmarks.peers import Annlab, Answer, Faiss, Peer, normalised, use_faiss

SUBJECT = "annlab LSH scan"
SETS = ("uniform:100000x64",)
QUICK_SETS = ("clusters:5000x24",)
BATCH = 200  # queries: hash tables answer them one by one anyway
RECALLS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_RERANKS = (16, 64, 200, 600)
_PROBES = {"hyperplanes": (64, 256, 1024), "cross_polytope": (16, 64, 128, 512)}


class FaissLSH(Peer):
    """faiss IndexLSH with a random rotation and trained thresholds, refined by a flat index."""

    name = "faiss IndexLSH+refine"
    package = "faiss"
    scales = True

    def use(self, threads: int) -> None:
        use_faiss(threads)
        super().use(threads)

    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import faiss

        self.cosine = metric == "cosine"
        rows = self.prepare(train)
        self.codes = faiss.IndexLSH(train.shape[1], parameters["n_bits"], True, True)
        self.codes.train(rows)
        self.codes.add(rows)
        self.rows = np.ascontiguousarray(rows)
        self.index = faiss.IndexRefineFlat(self.codes, faiss.swig_ptr(self.rows))

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        self.index.k_factor = parameters["rerank"] / k
        return self.index.search(queries, k)

    def memory(self) -> int:
        return self.codes.ntotal * self.codes.code_size + self.rows.nbytes


class Falconn(Peer):
    """FALCONN's tables with multi-probe, with hyperplanes or cross-polytopes."""

    package = "falconn"
    metrics = frozenset({"l2", "cosine"})

    def __init__(self, family: str) -> None:
        self.family, self.name = family, f"FALCONN {family}"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import falconn

        self.cosine, self.center = metric == "cosine", 0.0
        self.center = self.prepare(train).mean(axis=0, keepdims=True)
        self.rows = self.prepare(train)
        settings = falconn.LSHConstructionParameters()
        settings.dimension, settings.l, settings.num_setup_threads = train.shape[1], parameters["n_tables"], 1
        settings.lsh_family = getattr(
            falconn.LSHFamily, "Hyperplane" if self.family == "hyperplanes" else "CrossPolytope"
        )
        settings.distance_function = falconn.DistanceFunction.EuclideanSquared
        settings.storage_hash_table = falconn.StorageHashTable.BitPackedFlatHashTable
        settings.num_rotations, settings.seed = 1, 0
        falconn.compute_number_of_hash_functions(max(int(np.log2(len(train) / 8)), 4), settings)
        self.tables = falconn.LSHIndex(settings)
        self.tables.setup(self.rows)
        self.query = self.tables.construct_query_object()

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        rows = normalised(queries) if self.cosine else queries
        return np.ascontiguousarray(rows - self.center, np.float32)

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        self.query.set_num_probes(parameters["n_probes"])
        ids = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            found = self.query.find_k_nearest_neighbors(query, k)
            ids[i, : len(found)] = found
        return np.full(ids.shape, np.nan, np.float32), ids

    def memory(self) -> int:
        return self.rows.nbytes


class Codes(Peer):
    """The scan of LSHIndex without vectors: rows with the nearest sign codes."""

    name = "annlab codes"
    package = "annlab"
    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        from annlab.distances import get_metric
        from annlab.hashing.codes import Encoder

        rng = np.random.default_rng(0)
        self.encoder = Encoder.learn(train, get_metric(metric), parameters["n_bits"], True, rng)
        self.fill(self.encoder.rows(train).bits)

    def fill(self, codes: np.ndarray) -> None:
        """Take in the codes (n, words)."""
        from annlab.hashing.scan import CodeScan

        self.bytes, self.index = codes.nbytes, CodeScan.build(codes)

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return self.encoder.queries(queries).bits

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        rows = self.index.search(queries, k, None, 1).rows
        return np.full(rows.shape, np.nan, np.float32), rows

    def memory(self) -> int:
        return self.bytes


class FaissBinary(Codes):
    """faiss IndexBinaryFlat over the same codes."""

    name = "faiss binary"
    package = "faiss"

    def fill(self, codes: np.ndarray) -> None:
        import faiss

        self.bytes, self.index = codes.nbytes, faiss.IndexBinaryFlat(64 * codes.shape[1])
        self.index.add(codes.view(np.uint8))

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return super().prepare(queries).view(np.uint8)

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        self.index.use_heap = parameters["heap"]
        return self.index.search(queries, k)


def peers(options: Namespace) -> list[Peer]:
    """Everyone whose BLAS is verified."""
    return [Annlab(), Faiss()]


def _annlab(name: str) -> Peer:
    peer = Annlab("LSHIndex")
    peer.name = f"annlab LSH {name}"
    return peer


def sweeps(n: int) -> list[Sweep]:
    """Everyone who takes part, for n rows."""
    reranks = [rerank for rerank in _RERANKS if rerank < n]
    bits = {"n_bits": [128, 256, 512]}
    result = [
        Sweep(Annlab),
        Sweep(Faiss),
        Sweep(partial(_annlab, "scan"), {"mode": ["scan"], **bits}, {"rerank": reranks}),
        Sweep(FaissLSH, bits, {"rerank": reranks}),
        Sweep(Codes, bits),
        Sweep(FaissBinary, bits, {"heap": [False, True]}),
    ]
    falconn = importlib.util.find_spec("falconn") is not None
    for family, probes in _PROBES.items():
        settings = {"mode": ["buckets"], "family": [family], "n_probes": [100], "rerank": [100]}
        search = {"n_probes": probes, "rerank": [100, 400]}
        result.append(Sweep(partial(_annlab, f"buckets, {family}"), settings, search))
        if falconn:
            peer = partial(Falconn, family)
            result.append(Sweep(peer, {"n_tables": [16]}, {"n_probes": [p for p in probes if p >= 16]}))
    return result


def growing_sweeps() -> list[Sweep]:
    """Fewer, for large n: what is needed to see where hashing overtakes exact search."""
    probes = {"n_probes": [64, 256], "rerank": [256]}
    settings = {"mode": ["buckets"], "n_probes": [100], "rerank": [100]}
    return [
        Sweep(Annlab),
        Sweep(partial(_annlab, "scan"), {"mode": ["scan"], "rerank": [100]}, {"rerank": [64, 128, 256, 512]}),
        Sweep(partial(_annlab, "buckets, cross_polytope"), settings, probes),
    ]


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set, for the ten nearest (or as --k says)."""
    budget = replace(budget, batch=min(budget.batch, BATCH))
    chosen = growing_sweeps() if options.sizes else sweeps(len(dataset.train))
    runs = measure(dataset, chosen, options.k[:1], MODES, budget)
    print("\n" + equal_recall(runs), flush=True)
    return runs


def curves(runs: Sequence[Run]) -> dict[tuple[str, int, str], list[Point]]:
    """The points of every comparison, by data set, size and mode."""
    result: dict[tuple[str, int, str], list[Point]] = {}
    for some in runs:
        point = Point(some.peer, some.recall, some.microseconds() / 1e6)
        result.setdefault((some.dataset, some.n, some.mode), []).append(point)
    return result


def equal_recall(runs: Sequence[Run]) -> str:
    """Microseconds a query of every peer at fixed recalls."""
    lines = []
    for (name, n, mode), points in curves(runs).items():
        lines.append(f"{name}, {n:,} rows, {mode}: microseconds a query at recall")
        lines.append(" " * 36 + "".join(f"{recall:9.2f}" for recall in RECALLS))
        for peer in dict.fromkeys(point.label for point in points):
            own = [point for point in points if point.label == peer]
            times = [seconds_at_recall(own, recall) * 1e6 for recall in RECALLS]
            written = (f"{time:9.0f}" if np.isfinite(time) else f"{'-':>9}" for time in times)
            lines.append(f"  {peer:34}" + "".join(written))
        rates = [
            f"{some.peer} {some.build['n_bits']}: {some.n / some.microseconds() / 1e3:.2f}"
            for some in runs
            if (some.dataset, some.n, some.mode) == (name, n, mode) and some.peer in (Codes.name, FaissBinary.name)
        ]
        lines.append("  10^9 codes a second: " + ", ".join(rates) + "\n" if rates else "")
    return "\n".join(lines)


def draw(runs: Sequence[Run], folder: Path) -> None:
    """Plots of all comparisons, beside the result file."""
    for (name, n, mode), points in curves(runs).items():
        shown = [point for point in points if point.recall >= 0.5 and point.label not in (Codes.name, FaissBinary.name)]
        title = f"{name}, {n:,} rows, " + ("one query at a time" if mode == "one" else f"batches of {BATCH}")
        plots.save(shown, title, folder / f"lsh-{name.split('-')[0].split(':')[0]}-{n // 1000}k-{mode}.png")


if __name__ == "__main__":
    measured = report.read(Path(sys.argv[1]))[1]
    print(equal_recall(measured))
    draw(measured, Path(sys.argv[1]).parent)
