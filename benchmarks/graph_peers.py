"""Libraries of graph indexes, tuned, behind the harness's `Peer`; what they build can be kept in a folder.

Building the graphs of all peers takes an hour, searching them some minutes. So a graph that was built once is written
to a folder with the seconds that it took, and read from there the next time. All use one thread. For cosine, vectors
and queries are normalised beforehand, untimed, and distances are Euclidean.

- hnswlib: floats. faiss HNSW: floats, or 8-bit codes ("sq8"). usearch: floats, or bytes ("i8").
- Glass: HNSW over 8-bit codes, and perhaps re-ranked by floats ("refine"); its own tuning (`optimize`) is run.
- SymphonyQG (rabitqlib): a graph of RaBitQ codes beside the links, re-ranked by floats.
- SVS: Vamana over LVQ codes of 8 bits, or of 4 re-ranked by 8 more.
- NGT: its graph of floats (ANNG). The package from PyPI can search quantized graphs (NGT-QG), but not make them.
"""

import os
import shutil
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks import hardware
from benchmarks.peers import Annlab, Answer, Peer, normalised, use_faiss


class Vamana(Annlab):
    """annlab's VamanaIndex. A single query is given as the row that it is."""

    def __init__(self, degree: int) -> None:
        super().__init__("VamanaIndex")
        self.name = f"annlab VamanaIndex, degree {degree}"

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        if len(queries) > 1:
            return super().search(queries, k, **parameters)
        distances, ids = self.index.search(queries[0], k, threads=self.threads, **parameters)
        return distances[None], ids[None]


class Graph(Peer):
    """A peer whose graph can be kept: `make` and `write`, or `read`."""

    metrics = frozenset({"l2", "cosine"})
    effort: ClassVar[str] = "ef"  # the search parameter that trades time for recall
    bytes: int
    parameters: dict[str, Any]  # with which it was built

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        self._take(train, metric)
        self.parameters = parameters
        self.make(parameters)

    def restore(self, path: Path, train: np.ndarray, metric: str, **parameters: Any) -> None:
        """What `write` has written."""
        self._take(train, metric)
        self.parameters = parameters
        self.read(path, parameters)

    def _take(self, train: np.ndarray, metric: str) -> None:
        self.cosine = metric == "cosine"
        self.vectors = np.ascontiguousarray(self.prepare(train), np.float32)
        self.dim = self.vectors.shape[1]

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return normalised(queries) if self.cosine else queries

    @abstractmethod
    def make(self, parameters: dict[str, Any]) -> None:
        """Build over `self.vectors`."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Into a folder."""

    @abstractmethod
    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        """From a folder."""

    def memory(self) -> int:
        return self.bytes


def _links_and_floats(graph: Graph, links: float, row_bytes: float) -> int:
    return int(len(graph.vectors) * (4 * links + row_bytes))


class Hnswlib(Graph):
    """hnswlib."""

    name = "hnswlib"
    package = "hnswlib"
    scales = True

    def _open(self, m: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("l2", self.dim)
        self.bytes = _links_and_floats(self, 2 * m, 4 * self.dim + 8)

    def make(self, parameters: dict[str, Any]) -> None:
        self._open(parameters["M"])
        self.index.init_index(len(self.vectors), M=parameters["M"], ef_construction=parameters["efc"])
        self.index.add_items(self.vectors, num_threads=1)
        self.index.set_num_threads(1)

    def write(self, path: Path) -> None:
        self.index.save_index(str(path / "index"))

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        self._open(parameters["M"])
        self.index.load_index(str(path / "index"))
        self.index.set_num_threads(1)

    def search(self, queries: np.ndarray, k: int, ef: int = 10, **parameters: Any) -> Answer:
        self.index.set_ef(ef)
        ids, distances = self.index.knn_query(queries, k, num_threads=self.threads)
        return distances, ids.astype(np.int64)


class FaissHNSW(Graph):
    """faiss IndexHNSWFlat, or IndexHNSWSQ of 8 bits."""

    name = "faiss HNSW"
    package = "faiss"
    scales = True

    def use(self, threads: int) -> None:
        use_faiss(threads)
        super().use(threads)

    def make(self, parameters: dict[str, Any]) -> None:
        import faiss

        m, codes = parameters["M"], parameters["codes"]
        if codes == "sq8":
            self.index = faiss.IndexHNSWSQ(self.dim, faiss.ScalarQuantizer.QT_8bit, m)
        else:
            self.index = faiss.IndexHNSWFlat(self.dim, m)
        self.index.hnsw.efConstruction = parameters["efc"]
        self.index.train(self.vectors)
        self.index.add(self.vectors)
        self._count(parameters)

    def _count(self, parameters: dict[str, Any]) -> None:
        row = self.dim if parameters["codes"] == "sq8" else 4 * self.dim
        self.bytes = _links_and_floats(self, 2 * parameters["M"], row)

    def write(self, path: Path) -> None:
        import faiss

        faiss.write_index(self.index, str(path / "index"))

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        import faiss

        self.index = faiss.read_index(str(path / "index"))
        self._count(parameters)

    def search(self, queries: np.ndarray, k: int, ef: int = 10, **parameters: Any) -> Answer:
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, k)


class Usearch(Graph):
    """usearch, of floats or bytes."""

    name = "usearch"
    package = "usearch"
    scales = True

    def make(self, parameters: dict[str, Any]) -> None:
        from usearch.index import Index

        self.index = Index(ndim=self.dim, metric="l2sq", dtype=parameters["codes"], connectivity=parameters["M"],
                           expansion_add=parameters["efc"])  # fmt: skip
        self.index.add(np.arange(len(self.vectors)), self._scaled(self.vectors, parameters["codes"]), threads=1)
        self.codes, self.bytes = parameters["codes"], self.index.memory_usage

    def _scaled(self, rows: np.ndarray, codes: str) -> np.ndarray:
        """Its bytes hold numbers from -1 to 1."""
        if codes != "i8":
            return rows
        self.scale = float(np.abs(self.vectors).max())
        return np.ascontiguousarray(rows / np.float32(self.scale))

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        queries = super().prepare(queries)
        return self._scaled(queries, self.codes) if hasattr(self, "codes") else queries

    def write(self, path: Path) -> None:
        self.index.save(str(path / "index"))

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        from usearch.index import Index

        self.index, self.codes = Index.restore(str(path / "index")), parameters["codes"]
        self.bytes = self.index.memory_usage

    def search(self, queries: np.ndarray, k: int, ef: int = 10, **parameters: Any) -> Answer:
        self.index.expansion_search = ef
        found = self.index.search(queries, k, threads=self.threads)
        return np.atleast_2d(found.distances), np.atleast_2d(found.keys).astype(np.int64)


class Glass(Graph):
    """Glass: HNSW of 8-bit codes; `refine`: re-ranked by floats."""

    name = "Glass"
    package = "glass"
    scales = True

    def use(self, threads: int) -> None:
        import glass

        glass.set_num_threads(threads)
        super().use(threads)

    def make(self, parameters: dict[str, Any]) -> None:
        import glass

        glass.set_num_threads(1)
        self.graph = glass.Index("HNSW", "L2", "SQ8U", parameters["R"], parameters["L"]).build(self.vectors)
        self.searchers: dict[bool, Any] = {}

    def write(self, path: Path) -> None:
        self.graph.save(str(path / "graph"))
        self.read(path, self.parameters)

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        import glass

        glass.set_num_threads(1)
        self.searchers = {}
        for refine in (False, True):  # a searcher takes the graph that it is given
            graph = glass.Graph(str(path / "graph"))
            searcher = glass.Searcher(graph, self.vectors, "L2", "SQ8U", "FP32" if refine else "")
            searcher.set_ef(64)
            searcher.optimize(1)
            self.searchers[refine] = searcher
        self.bytes = _links_and_floats(self, 2 * parameters["R"], 5 * self.dim)

    def search(self, queries: np.ndarray, k: int, ef: int = 10, refine: bool = False, **parameters: Any) -> Answer:
        searcher = self.searchers[refine]
        searcher.set_ef(ef)
        if len(queries) == 1:
            ids, distances = searcher.search(queries[0], k)
            return distances[None], ids[None]
        ids, distances = searcher.batch_search(queries, k, self.threads)
        return distances, ids


class SymphonyQG(Graph):
    """rabitqlib's SymqgIndex. It wants whole groups of 64 dimensions: zeros are added, which changes no distance."""

    name = "SymphonyQG"
    package = "rabitqlib"
    scales = True

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        queries = super().prepare(queries)
        return np.ascontiguousarray(np.pad(queries, ((0, 0), (0, -queries.shape[1] % 64))))

    def make(self, parameters: dict[str, Any]) -> None:
        import rabitqlib

        self.index = rabitqlib.SymqgIndex(self.dim, parameters["degree"], "l2")
        self.index.build(self.vectors, parameters["efc"], 1)
        self._count(parameters)

    def _count(self, parameters: dict[str, Any]) -> None:
        code = -(-self.dim // 64) * 8 + 12  # of a link
        self.bytes = _links_and_floats(self, parameters["degree"], 4 * self.dim + parameters["degree"] * code)

    def write(self, path: Path) -> None:
        self.index.save(str(path / "index"))

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        import rabitqlib

        self.index = rabitqlib.SymqgIndex.load(str(path / "index"))
        self._count(parameters)

    def search(self, queries: np.ndarray, k: int, ef: int = 10, **parameters: Any) -> Answer:
        ids, distances = self.index.search(queries, k, ef, self.threads)
        return distances, ids.astype(np.int64)


class SVS(Graph):
    """SVS: Vamana over LVQ codes of 8 bits, or of 4 and 8 ("4x8"); over float32 ("32") where the CPU is not Intel's.

    There SVS refuses its codes by ending the process.
    """

    name = "SVS"
    package = "svs"
    scales = True
    effort = "window"
    codes = ("8", "4x8") if hardware.made_by_intel() else ("32",)

    def use(self, threads: int) -> None:
        for index in self.indexes.values():
            index.num_threads = threads
        super().use(threads)

    def make(self, parameters: dict[str, Any]) -> None:
        import svs

        how = svs.VamanaBuildParameters(graph_max_degree=parameters["degree"], window_size=parameters["efc"], alpha=1.2)
        self.built = svs.Vamana.build(how, self.vectors, svs.DistanceType.L2, 1)

    def write(self, path: Path) -> None:
        parts = [path / part for part in ("config", "graph", "data")]
        for part in parts:
            part.mkdir(exist_ok=True)
        self.built.save(*map(str, parts))
        del self.built
        self.read(path, self.parameters)

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        import svs

        self.indexes = {}
        for codes in self.codes:
            data = svs.VectorDataLoader(str(path / "data"), svs.DataType.float32)
            if codes != "32":
                data = svs.LVQLoader(data, *{"8": (8, 0), "4x8": (4, 8)}[codes], 32)
            self.indexes[codes] = svs.Vamana(str(path / "config"), svs.GraphLoader(str(path / "graph")), data,
                                             svs.DistanceType.L2, num_threads=1)  # fmt: skip
        self.bytes = _links_and_floats(
            self, parameters["degree"], 1.5 * self.dim if "8" in self.codes else 4 * self.dim
        )

    def search(self, queries: np.ndarray, k: int, window: int = 10, codes: str = codes[0], **parameters: Any) -> Answer:
        index = self.indexes[codes]
        if index.search_window_size != window:
            index.search_window_size = window
        ids, distances = index.search(queries, k)
        return distances, ids.astype(np.int64)


class NGT(Graph):
    """NGT's ANNG."""

    name = "NGT ANNG"
    package = "ngtpy"
    effort = "epsilon"

    def make(self, parameters: dict[str, Any]) -> None:
        import ngtpy

        self.folder = tempfile.mkdtemp()
        ngtpy.create(self.folder, self.dim, edge_size_for_creation=parameters["edges"])
        index = ngtpy.Index(self.folder, log_disabled=True)
        index.batch_insert(self.vectors, num_threads=1)
        index.save()
        index.close()

    def write(self, path: Path) -> None:
        shutil.move(self.folder, path / "index")
        self.read(path, self.parameters)

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        import ngtpy

        self.index = ngtpy.Index(str(path / "index"), read_only=True, log_disabled=True)
        self.bytes = sum(os.path.getsize(file) for file in (path / "index").iterdir())

    def search(self, queries: np.ndarray, k: int, epsilon: float = 0.0, **parameters: Any) -> Answer:
        ids = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            found = self.index.search(query, k, epsilon, with_distance=False)
            ids[i, : len(found)] = found
        return np.zeros(ids.shape), ids


PEERS: dict[str, type[Peer]] = {
    "annlab": Vamana,
    "hnswlib": Hnswlib,
    "symphonyqg": SymphonyQG,
    "glass": Glass,
    "svs": SVS,
    "faiss": FaissHNSW,
    "usearch": Usearch,
    "ngt": NGT,
}
