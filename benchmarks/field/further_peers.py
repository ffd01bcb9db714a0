"""Peers that take part in ``python -m benchmarks run`` alone, each in some thirty lines."""

import json
from typing import Any

import numpy as np

from benchmarks.peers import Answer, Peer, normalised


class _OnTheSphere(Peer):
    """Cosine distance as the Euclidean one of rows of length one."""

    metrics = frozenset({"l2", "cosine"})

    def take(self, train: np.ndarray, metric: str) -> np.ndarray:
        self.cosine = metric == "cosine"
        rows = np.ascontiguousarray(self.prepare(train), np.float32)
        self.bytes = rows.nbytes
        return rows

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    def memory(self) -> int:
        return self.bytes


class Voyager(_OnTheSphere):
    """voyager, Spotify's HNSW."""

    name, package, scales = "voyager", "voyager", True

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import voyager

        rows = self.take(train, metric)
        self.index = voyager.Index(voyager.Space.Euclidean, rows.shape[1], M=parameters["M"],
                                   ef_construction=200, max_elements=len(rows))  # fmt: skip
        self.index.add_items(rows, num_threads=1)
        self.bytes += len(rows) * 4 * (2 * parameters["M"] + 1)

    def search(self, queries: np.ndarray, k: int, ef: int = 10, **parameters: Any) -> Answer:
        if len(queries) == 1:
            ids, distances = self.index.query(queries[0], k, query_ef=max(ef, k))
            return distances[None], ids[None].astype(np.int64)
        ids, distances = self.index.query(queries, k, num_threads=self.threads, query_ef=max(ef, k))
        return distances, ids.astype(np.int64)


class Annoy(_OnTheSphere):
    """annoy: a forest of random projections. It has no search of batches."""

    name, package = "annoy", "annoy"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        from annoy import AnnoyIndex

        rows = self.take(train, metric)
        self.index = AnnoyIndex(rows.shape[1], "euclidean")
        self.index.set_seed(0)
        for i, row in enumerate(rows):
            self.index.add_item(i, row)
        self.index.build(parameters["trees"], n_jobs=1)

    def search(self, queries: np.ndarray, k: int, nodes: int = 100, **parameters: Any) -> Answer:
        ids = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            found = self.index.get_nns_by_vector(query, k, search_k=nodes)
            ids[i, : len(found)] = found
        return np.full(ids.shape, np.nan, np.float32), ids


class PyNNDescent(_OnTheSphere):
    """pynndescent: a graph of nearest neighbours, in Numba as ours."""

    name, package = "pynndescent", "pynndescent"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import pynndescent

        rows = self.take(train, metric)
        self.index = pynndescent.NNDescent(rows, metric="euclidean", n_neighbors=parameters["neighbors"],
                                           random_state=0, n_jobs=1)  # fmt: skip
        self.index.prepare()
        self.bytes += 8 * self.index._search_graph.nnz

    def search(self, queries: np.ndarray, k: int, epsilon: float = 0.1, **parameters: Any) -> Answer:
        ids, distances = self.index.query(queries, k, epsilon=epsilon)
        return distances, ids.astype(np.int64)


class Vsag(_OnTheSphere):
    """vsag's HGraph with eight-bit codes, re-ranked by the vectors. It has no search of batches."""

    name, package = "vsag HGraph", "pyvsag"

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        import pyvsag

        rows = self.take(train, metric)
        settings = {"dtype": "float32", "metric_type": "l2", "dim": rows.shape[1],
                    "index_param": {"base_quantization_type": "sq8", "use_reorder": True,
                                    "precise_quantization_type": "fp32", "max_degree": parameters["degree"],
                                    "ef_construction": 200, "build_thread_count": 1}}  # fmt: skip
        self.index = pyvsag.Index("hgraph", json.dumps(settings))
        self.index.build(vectors=rows, ids=np.arange(len(rows)), num_elements=len(rows), dim=rows.shape[1])
        self.bytes += len(rows) * (4 * parameters["degree"] + rows.shape[1])

    def search(self, queries: np.ndarray, k: int, ef: int = 10, **parameters: Any) -> Answer:
        effort = json.dumps({"hgraph": {"ef_search": max(ef, k)}})
        ids = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            found, _ = self.index.knn_search(vector=query, k=k, parameters=effort)
            ids[i, : len(found)] = found
        return np.full(ids.shape, np.nan, np.float32), ids
