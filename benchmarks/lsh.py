"""The suite for hashing: LSHIndex in its two modes against faiss IndexLSH with refinement, FALCONN, and exact search.

Every entrant is swept from recall@10 of about 0.5 to 0.99; the table gives recall and time of each setting, so equal
recalls can be read off. Batches and single queries are apart. `--sizes 100000 500000 ...` sweeps over n, which shows
where hashing overtakes our own exact search (rows "annlab", the line to beat).

FALCONN is not on PyPI as a wheel and its own build fails on current compilers. What works: unpack its source package,
and compile `internal/python_wrapper.cc` with `g++ -std=c++17 -march=native -O3 -shared -fPIC`, including its `include`
and `external/eigen` and a current pybind11, to `_falconn` beside its folder `falconn`. It takes part if it can be
imported. Its distances are for the sphere: l2 data are centred for it, and it re-ranks what it finds by itself.
"""

import importlib.util
from argparse import Namespace
from functools import partial
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks.harness import MODES, Budget, Run, Sweep, measure
from benchmarks.peers import Annlab, Answer, Faiss, Peer, normalised

SUBJECT = "annlab LSHIndex"
SETS = ("uniform:100000x64",)
QUICK_SETS = ("clusters:5000x24",)
_RERANKS = (24, 48, 96, 192, 384, 768)


class FaissLSH(Peer):
    """faiss IndexLSH with a random rotation and trained thresholds, refined by a flat index."""

    name = "faiss IndexLSH+refine"
    package = "faiss"
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
    """FALCONN's tables with multi-probe; families "hyperplane" and "cross_polytope"."""

    name = "FALCONN"
    package = "falconn"
    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import falconn

        self.cosine, self.center = metric == "cosine", 0.0
        self.center = self.prepare(train).mean(axis=0, keepdims=True)
        self.rows = self.prepare(train)
        settings = falconn.LSHConstructionParameters()
        settings.dimension, settings.l, settings.num_setup_threads = train.shape[1], parameters["n_tables"], 1
        settings.lsh_family = getattr(falconn.LSHFamily, {"hyperplane": "Hyperplane"}.get(
            parameters["family"], "CrossPolytope"))  # fmt: skip
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


def peers(options: Namespace) -> list[Peer]:
    """Everyone whose BLAS is verified."""
    return [Annlab(), Faiss()]


def sweeps(n: int) -> list[Sweep]:
    """Everyone who takes part, for n rows."""
    subject = partial(Annlab, "LSHIndex")
    probes = [16 * 2**i for i in range(0, 9, 2)]
    result = [
        Sweep(Annlab),
        Sweep(subject, {"mode": ["scan"], "n_bits": [128, 256, 512]}, {"rerank": [r for r in _RERANKS if r < n]}),
        Sweep(subject, {"mode": ["buckets"], "n_tables": [16, 32]}, {"n_probes": probes, "rerank": [48, 96, 192]}),
        Sweep(FaissLSH, {"n_bits": [128, 256, 512]}, {"rerank": [r for r in _RERANKS if r < n]}),
    ]
    if importlib.util.find_spec("falconn") is not None:
        result.append(Sweep(Falconn, {"family": ["hyperplane", "cross_polytope"], "n_tables": [16]},
                            {"n_probes": probes}))  # fmt: skip
    return result


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set, for the ten nearest (or as --k says)."""
    return measure(dataset, sweeps(len(dataset.train)), options.k[:1], MODES, budget)
