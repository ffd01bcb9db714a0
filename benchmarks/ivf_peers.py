"""The inverted files of faiss and ScaNN, tuned, behind the harness's `Peer`.

All of faiss's share one coarse quantizer for each number of lists, trained once by faiss with its own settings; that is
part of every index's build time. Codes of any kind are refined by the vectors (`IndexRefineFlat`), and how many
candidates (`k_factor`) is swept. For cosine, vectors and queries are normalised beforehand, untimed.
"""

import time
from typing import Any

import numpy as np

from benchmarks.environment import choose_faiss_path
from benchmarks.peers import Answer, Faiss, Peer, normalised

_coarse: dict[tuple[Any, ...], tuple[np.ndarray, float]] = {}  # centroids and the CPU seconds that they took


class FaissIVFFlat(Faiss):
    """faiss IndexIVFFlat: lists of vectors, no codes."""

    name = "faiss IVFFlat"
    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import faiss

        self.cosine = metric == "cosine"
        self.vectors, n_lists = self.prepare(train), parameters.pop("n_lists")
        centroids, self.shared_seconds = coarse_centroids(self.vectors, n_lists)
        self.coarse = faiss.IndexFlatL2(train.shape[1])
        self.coarse.add(centroids)
        self.inverted = self.make(faiss, train.shape[1], n_lists, **parameters)
        self.inverted.train(self.vectors)
        self.inverted.add(self.vectors)
        self.index = self.inverted
        if type(self) is not FaissIVFFlat:
            self.index = faiss.IndexRefineFlat(self.inverted, faiss.swig_ptr(self.vectors))

    def make(self, faiss: Any, dim: int, n_lists: int) -> Any:
        return faiss.IndexIVFFlat(self.coarse, dim, n_lists)

    def search(self, queries: np.ndarray, k: int, n_probes: int = 1, rerank: float = 1, **parameters: Any) -> Answer:
        choose_faiss_path(len(queries))
        self.inverted.nprobe = n_probes
        if self.index is not self.inverted:
            self.index.k_factor = rerank
        return self.index.search(queries, k)

    def memory(self) -> int:
        codes = (self.inverted.code_size + 8) * len(self.vectors)  # and an id
        return codes + (self.vectors.nbytes if self.index is not self.inverted else 0)


class FaissFastScan(FaissIVFFlat):
    """IndexIVFPQFastScan: 4 bits for every `sub_dim` dimensions of the residuals."""

    name = "faiss IVFPQFastScan"

    def make(self, faiss: Any, dim: int, n_lists: int, sub_dim: int = 2) -> Any:
        index = faiss.IndexIVFPQFastScan(self.coarse, dim, n_lists, max(1, dim // sub_dim), 4)
        index.by_residual = True
        return index


class FaissRaBitQ(FaissIVFFlat):
    """IndexIVFRaBitQFastScan: one bit, or several, for every dimension."""

    name = "faiss IVFRaBitQFastScan"

    def make(self, faiss: Any, dim: int, n_lists: int, bits: int = 1) -> Any:
        index = faiss.IndexIVFRaBitQFastScan(self.coarse, dim, n_lists, faiss.METRIC_L2, 32, True, bits)
        index.qb = 8
        return index


class FaissScalar(FaissIVFFlat):
    """IndexIVFScalarQuantizer: 8 or 4 bits for every dimension; faiss 1.15 has no fast scan of these in lists."""

    name = "faiss IVFScalarQuantizer"

    def make(self, faiss: Any, dim: int, n_lists: int, bits: int = 8) -> Any:
        kind = {8: faiss.ScalarQuantizer.QT_8bit, 4: faiss.ScalarQuantizer.QT_4bit}[bits]
        return faiss.IndexIVFScalarQuantizer(self.coarse, dim, n_lists, kind)


def coarse_centroids(vectors: np.ndarray, n_lists: int) -> tuple[np.ndarray, float]:
    """Centroids as an IndexIVF of faiss trains them (10 iterations, up to 256 points a list), made once.

    And the seconds that it took, 0 in the call that made them.
    """
    import faiss

    key = (vectors.shape, n_lists, float(vectors[0].sum()), float(vectors[-1].sum()))
    if key not in _coarse:
        choose_faiss_path(1000)
        start = time.process_time()
        kmeans = faiss.Kmeans(vectors.shape[1], n_lists, niter=10)
        kmeans.train(vectors)
        _coarse[key] = kmeans.centroids, time.process_time() - start
        return kmeans.centroids, 0.0
    return _coarse[key]


class ScaNN(Peer):
    """ScaNN: a tree of leaves, anisotropic product codes of two dimensions each, and reordering by the vectors.

    The anisotropic threshold is that of ScaNN's own examples, for inner products (which cosine becomes); for Euclidean
    distances it is left out, as their authors do. The tree is trained on a sample of 100 points a leaf or 100,000.
    """

    name = "ScaNN"
    package = "scann"
    scales = True
    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import scann

        self.cosine, n_leaves = metric == "cosine", parameters["n_lists"]
        vectors = self.prepare(train)
        builder = scann.scann_ops_pybind.builder(vectors, 10, "dot_product" if self.cosine else "squared_l2")
        builder = builder.tree(num_leaves=n_leaves, num_leaves_to_search=n_leaves // 20 + 1,
                               training_sample_size=min(len(vectors), max(100_000, 100 * n_leaves)))  # fmt: skip
        threshold = {"anisotropic_quantization_threshold": 0.2} if self.cosine else {}
        builder = builder.score_ah(2, **threshold).reorder(100)
        builder.set_n_training_threads(1)
        self.index = builder.build()
        self.bytes = vectors.nbytes + len(vectors) * (train.shape[1] // 4 + 4)

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    def use(self, threads: int) -> None:
        self.index.set_num_threads(threads)
        super().use(threads)

    def search(self, queries: np.ndarray, k: int, n_probes: int = 1, rerank: float = 1, **parameters: Any) -> Answer:
        how = {"leaves_to_search": n_probes, "pre_reorder_num_neighbors": max(k, int(rerank * k))}
        if len(queries) > 1:
            batched = self.index.search_batched if self.threads == 1 else self.index.search_batched_parallel
            ids, distances = batched(queries, final_num_neighbors=k, **how)
        else:
            one, far = self.index.search(queries[0], final_num_neighbors=k, **how)
            ids, distances = one[None], far[None]
        short = k - ids.shape[1]  # fewer than k candidates: say so, as all others do
        if short > 0:
            ids = np.pad(ids.astype(np.int64), ((0, 0), (0, short)), constant_values=-1)
            distances = np.pad(distances, ((0, 0), (0, short)), constant_values=np.inf)
        ids = ids.astype(np.int64)
        return distances, np.where(np.isfinite(distances) & (ids < 2**32 - 1), ids, -1)

    def memory(self) -> int:
        return self.bytes
