"""The libraries that take part, each behind the same few methods.

A peer is about thirty lines: `build` takes the training vectors, `search` answers queries. The harness measures from
outside and never believes a distance that a peer returns, so a peer converts nothing that its users would not convert.
A peer must be run as its own experts would run it; where two ways exist, the faster one was measured and taken, and the
docstring says so.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from benchmarks import hardware
from benchmarks.environment import choose_faiss_path

Answer = tuple[np.ndarray, np.ndarray]  # distances (q, k) and ids (q, k)


class Peer(ABC):
    """One library with one kind of index. Subclasses hold the built index as they like."""

    name: str
    package: ClassVar[str]  # what must be installed
    threads: int = 1
    scales: ClassVar[bool] = False  # whether `use` makes it answer batches on several threads
    metrics: ClassVar[frozenset[str]] = frozenset({"l2", "cosine", "ip"})

    @abstractmethod
    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        """Build the index over `train`, (n, d) float32 in C order."""

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        """What a user can do to queries beforehand; it is not timed, in the peer's favour."""
        return queries

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        """The `k` nearest of every query, (q, d); -1 where there is none."""

    @abstractmethod
    def memory(self) -> int:
        """Bytes that the built index holds."""

    def use(self, threads: int) -> None:
        """Answer batches on so many threads from now on; only asked of those that scale."""
        self.threads = threads

    def facts(self, queries: np.ndarray, k: int) -> dict[str, Any]:
        """What there is to say of these searches beside their time; asked once, outside the timing."""
        return {}

    def matrix_product_rate(self) -> float | None:
        """GFLOP/s at which this library multiplies matrices, or None when it does not call BLAS."""
        return None


def use_faiss(threads: int) -> None:
    """All of faiss's indexes share their number of threads."""
    import faiss

    faiss.omp_set_num_threads(threads)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


class Annlab(Peer):
    """annlab's ExactIndex, or another of its indexes; build parameters go to its constructor."""

    package = "annlab"
    scales = True

    def __init__(self, index: str = "ExactIndex", threads: int = 1) -> None:
        self.index_name, self.threads = index, threads
        self.name = "annlab" if index == "ExactIndex" else f"annlab {index}"
        if threads > 1:
            self.name += f" ({threads} threads)"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        try:
            import annlab

            kind = getattr(annlab, self.index_name)
        except (ImportError, AttributeError) as error:
            raise ImportError(f"annlab.{self.index_name} cannot be imported: {error}") from error
        self.index = kind(metric=metric, **parameters).fit(train)

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        distances, ids = self.index.search(queries, k=k, threads=self.threads, **parameters)
        return distances, ids

    def facts(self, queries: np.ndarray, k: int) -> dict[str, Any]:
        """Of an exact scan of bytes: the rows left to be scored (median), queries that were scanned again, "auto"."""
        if getattr(self.index, "precision", None) != "int8":
            return {}
        from annlab.common.statistics import DISTANCES
        from annlab.scan import int8

        scanner, n = self.index._state.structure._scanner, len(self.index)
        counters = np.zeros((len(queries), 3), np.int64)
        found = scanner.search(queries, k, None, np.arange(n), self.threads, counters)
        auto = int8.suits(scanner.vectors) and int8.pays(scanner, np.random.default_rng(0))
        return {
            "survivors": float(np.median((found >= 0).sum(axis=1))),
            "scanned again": int((counters[:, DISTANCES] > n).sum()),
            "auto": "int8" if auto else "float32",
        }

    def memory(self) -> int:
        return self.index.memory()["total"]


class Faiss(Peer):
    """faiss Flat: IndexFlatL2, or IndexFlatIP (on normalised vectors for cosine)."""

    name = "faiss"
    package = "faiss"
    scales = True

    def use(self, threads: int) -> None:
        use_faiss(threads)
        super().use(threads)

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import faiss

        self.cosine = metric == "cosine"
        self.index = (faiss.IndexFlatL2 if metric == "l2" else faiss.IndexFlatIP)(train.shape[1])
        self.index.add(self.prepare(train))

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        choose_faiss_path(len(queries))
        return self.index.search(queries, k)

    def memory(self) -> int:
        return self.index.ntotal * self.index.code_size

    def matrix_product_rate(self) -> float:
        """The rate of a whole search of a large batch with k=1, so selection counts against it: a lower bound."""
        train = np.random.default_rng(0).random((16_384, 256), dtype=np.float32)
        queries = train[:1000].copy()
        flat = Faiss()
        flat.build(train, "l2")
        return hardware.best_rate(lambda: flat.search(queries, 1), 2.0 * queries.size * len(train)) / 1e9


class ScikitLearn(Peer):
    """NearestNeighbors(algorithm="brute"), cosine as euclidean on normalised vectors: its fast path knows no cosine."""

    name = "scikit-learn"
    package = "sklearn"
    metrics = frozenset({"l2", "cosine"})

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.cosine = metric == "cosine"
        self.index = NearestNeighbors(algorithm="brute", metric="euclidean", n_jobs=1).fit(self.prepare(train))
        self.bytes = train.nbytes

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        return self.index.kneighbors(queries, k)

    def memory(self) -> int:
        return self.bytes

    def matrix_product_rate(self) -> float:
        """The rate of the BLAS that scikit-learn calls, which is scipy's (it multiplies float32 rows in float64)."""
        from scipy.linalg.blas import sgemm

        return hardware.matrix_product_rate(lambda a, b: sgemm(1.0, a.T, b.T))


class Numpy(Peer):
    """Brute force in numpy as fast as numpy goes, for one matrix product.

    Scores of a block of rows come from one product. `argpartition` of all of them would take several times as long as
    the product, so the rows are folded into groups of 32 first: a row of the k nearest lies in one of the k groups with
    the smallest minima, so only those are opened. Measured against plain argpartition on 200,000 x 128, k=10: 3 times
    as fast.
    """

    name = "numpy"
    package = "numpy"
    block, batch, group = 65_536, 256, 32

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        self.cosine = metric == "cosine"
        self.train = self.prepare(train)
        squared = np.einsum("ij,ij->i", self.train, self.train)
        self.offsets = squared / 2 if metric == "l2" else np.zeros(len(train), np.float32)

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        parts = [self._search(queries[i : i + self.batch], k) for i in range(0, len(queries), self.batch)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _search(self, queries: np.ndarray, k: int) -> Answer:
        scores, rows = [], []
        for start in range(0, len(self.train), self.block):
            block = queries @ self.train[start : start + self.block].T
            np.subtract(self.offsets[start : start + self.block], block, out=block)
            candidates = self._open_groups(block, k)
            best, chosen = _smallest(np.take_along_axis(block, candidates, axis=1), candidates, k)
            scores.append(best)
            rows.append(chosen + start)
        best, chosen = _smallest(np.concatenate(scores, axis=1), np.concatenate(rows, axis=1), k)
        order = np.argsort(best, axis=1)
        return np.take_along_axis(best, order, axis=1), np.take_along_axis(chosen, order, axis=1)

    def _open_groups(self, block: np.ndarray, k: int) -> np.ndarray:
        """Columns of `block` among which the k smallest of every row are."""
        n_queries, n_rows = block.shape
        n_groups = n_rows // self.group
        if n_groups <= k:
            return np.broadcast_to(np.arange(n_rows), block.shape)
        folded = block[:, : n_groups * self.group].reshape(n_queries, self.group, n_groups)
        chosen = np.argpartition(folded.min(axis=1), k - 1, axis=1)[:, :k]
        members = (chosen[:, :, None] + np.arange(self.group) * n_groups).reshape(n_queries, -1)
        rest = np.arange(n_groups * self.group, n_rows)
        return np.concatenate([members, np.broadcast_to(rest, (n_queries, len(rest)))], axis=1)

    def memory(self) -> int:
        return self.train.nbytes + self.offsets.nbytes

    def matrix_product_rate(self) -> float:
        return hardware.matrix_product_rate(np.matmul)


def _smallest(values: np.ndarray, rows: np.ndarray, k: int) -> Answer:
    """The k smallest values of every row, unsorted, with their `rows`."""
    if k >= values.shape[1]:
        return values, rows
    chosen = np.argpartition(values, k - 1, axis=1)[:, :k]
    return np.take_along_axis(values, chosen, axis=1), np.take_along_axis(rows, chosen, axis=1)


PEERS: dict[str, type[Peer]] = {"annlab": Annlab, "faiss": Faiss, "scikit-learn": ScikitLearn, "numpy": Numpy}
