"""The suite for inverted files: annlab's IVFIndex, storage "flat" and "pq4", against faiss's, at equal recall.

Every index has the same number of lists, and is searched with many settings; `equal recall` lines compare the Pareto
fronts at fixed recalls. faiss takes part with IVFFlat and with IVFPQFastScan (4 bits for two dimensions, and for four)
whose results are re-ranked by the vectors.
"""

from argparse import Namespace
from functools import partial
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks.environment import choose_faiss_path
from benchmarks.frontier import points, seconds_at_recall
from benchmarks.harness import MODES, Budget, Run, Sweep, measure
from benchmarks.peers import PEERS, Annlab, Answer, Faiss, Peer

SUBJECT = "annlab IVFIndex pq4"
SETS = ("clusters:200000x64",)  # beside the files in --data
QUICK_SETS = ("clusters:5000x32",)
RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99)
PROBES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
RERANK = (2, 4, 8, 16)


class FaissIVFFlat(Faiss):
    """faiss IndexIVFFlat."""

    name = "faiss IVFFlat"
    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import faiss

        self.cosine = metric == "cosine"
        vectors, dim = self.prepare(train), train.shape[1]
        self.coarse = faiss.IndexFlatL2(dim)
        self.index = self.make(faiss, vectors, dim, **parameters)

    def make(self, faiss: Any, vectors: np.ndarray, dim: int, n_lists: int) -> Any:
        index = faiss.IndexIVFFlat(self.coarse, dim, n_lists)
        index.train(vectors)
        index.add(vectors)
        self.inverted, self.bytes = index, vectors.nbytes + 8 * len(vectors)
        return index

    def search(self, queries: np.ndarray, k: int, n_probes: int = 1, **parameters: Any) -> Answer:
        choose_faiss_path(len(queries))
        self.inverted.nprobe = n_probes
        return self.index.search(queries, k)

    def memory(self) -> int:
        return self.bytes


class FaissFastScan(FaissIVFFlat):
    """faiss IndexIVFPQFastScan with residual codes, refined by the vectors."""

    name = "faiss IVFPQFastScan"

    def make(self, faiss: Any, vectors: np.ndarray, dim: int, n_lists: int, sub_dim: int = 2) -> Any:
        self.inverted = faiss.IndexIVFPQFastScan(self.coarse, dim, n_lists, max(1, dim // sub_dim), 4)
        self.inverted.by_residual = True
        self.inverted.train(vectors)
        self.inverted.add(vectors)
        self.vectors = vectors
        self.bytes = vectors.nbytes + len(vectors) * (8 + dim // sub_dim // 2)
        return faiss.IndexRefineFlat(self.inverted, faiss.swig_ptr(vectors))

    def search(self, queries: np.ndarray, k: int, n_probes: int = 1, rerank: float = 1, **parameters: Any) -> Answer:
        self.index.k_factor = rerank
        return super().search(queries, k, n_probes=n_probes)


def peers(options: Namespace) -> list[Peer]:
    """Everyone whose BLAS must be verified."""
    return [PEERS[name]() for name in options.peers if name in ("annlab", "faiss")]


def _annlab(storage: str, threads: int = 1) -> Peer:
    peer = Annlab("IVFIndex", threads=threads)
    peer.name = peer.name.replace("IVFIndex", f"IVFIndex {storage}")
    return peer


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set."""
    n_lists = max(1, round(3 * len(dataset.train) ** 0.5))
    probes = [p for p in PROBES if p <= n_lists // 2]
    lists, coded = {"n_lists": [n_lists]}, {"n_probes": probes, "rerank": RERANK}
    sweeps = []
    for threads in options.threads if "annlab" in options.peers else ():
        sweeps += [
            Sweep(partial(_annlab, "flat", threads), {**lists, "storage": ["flat"]}, {"n_probes": probes}),
            Sweep(partial(_annlab, "pq4", threads), {**lists, "storage": ["pq4"]}, coded),
        ]
    if "faiss" in options.peers:
        sub_dims = [s for s in (2, 4) if dataset.train.shape[1] % s == 0]
        sweeps += [
            Sweep(FaissIVFFlat, lists, {"n_probes": probes}),
            Sweep(FaissFastScan, {**lists, "sub_dim": sub_dims}, coded),
        ]
    runs = measure(dataset, sweeps, options.k, MODES, budget)
    for k in options.k:
        for mode in MODES:
            _equal_recall([some for some in runs if some.k == k and some.mode == mode], dataset.name, k, mode)
    return runs


def _equal_recall(runs: list[Run], name: str, k: int, mode: str) -> None:
    """Print microseconds a query at fixed recalls."""
    curves = {peer: points(some for some in runs if some.peer == peer) for peer in dict.fromkeys(r.peer for r in runs)}
    print(f"\nequal recall, {name}, k={k}, {mode}: us/q at recall " + " ".join(f"{r:8.2f}" for r in RECALLS))
    for peer, curve in curves.items():
        times = " ".join(f"{seconds_at_recall(curve, recall) * 1e6:8.1f}" for recall in RECALLS)
        print(f"{peer:>50} {times}")
