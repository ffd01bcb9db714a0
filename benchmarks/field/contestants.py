"""Who takes part in ``python -m benchmarks run``, and what is tried of each.

A contestant is a kind of index: a `Peer`, the values to build it with (the first choice first; more are built while
its budget lasts), and the values to search it with. Of these one, the *effort*, trades time for recall and is tried in
ascending order until recall is complete; the others multiply it. A contestant without an effort is exact, or has
nothing to choose, and its *own flat search* is what proves that the data was understood (`exact=True`).
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from annlab.datasets import Dataset
from benchmarks.field.further_peers import Annoy, PyNNDescent, Voyager, Vsag
from benchmarks.graph_peers import NGT, SVS, FaissHNSW, Glass, Hnswlib, SymphonyQG, Usearch, Vamana
from benchmarks.graphs import EFFORTS, EPSILONS, REACHES
from benchmarks.ivf import PROBES
from benchmarks.ivf_peers import FaissFastScan, FaissIVFFlat, FaissRaBitQ, FaissScalar, ScaNN
from benchmarks.lsh import FaissLSH
from benchmarks.peers import Annlab, Faiss, Numpy, Peer, ScikitLearn
from benchmarks.trees import Nanoflann, PyKDTree, ScipyTree

Values = Mapping[str, Sequence[Any]]
TREES_UP_TO = 16  # dimensions: beyond, a tree reads all rows, and minutes are lost in showing it


@dataclass(frozen=True)
class Contestant:
    """A kind of index, with what is tried of it on one data set."""

    name: str
    make: Callable[[], Peer]
    build: Values = field(default_factory=dict)
    search: Values = field(default_factory=dict)
    effort: str | None = None
    exact: bool = False

    @property
    def scales(self) -> bool:
        """Whether it answers batches on several threads."""
        return bool(_kind(self).scales)

    @property
    def ours(self) -> bool:
        """Whether it is one of annlab's."""
        return self.name.startswith("annlab")


def contestants(dataset: Dataset, only: Sequence[str] = ()) -> list[Contestant]:
    """All that are installed and can serve the data set, or those whose names begin with one of `only`."""
    found = [one for one in _all(dataset) if _can(one, dataset)]
    if not only:
        return found
    chosen = [one for one in found if any(one.name.lower().startswith(name.lower()) for name in only)]
    if not chosen:
        raise ValueError(f"none of {list(only)} can take part; there are: {', '.join(one.name for one in found)}")
    return chosen


def missing(dataset: Dataset) -> list[str]:
    """Contestants whose package is not installed."""
    return [one.name for one in _all(dataset) if importlib.util.find_spec(_package(one)) is None]


def _can(one: Contestant, dataset: Dataset) -> bool:
    return importlib.util.find_spec(_package(one)) is not None and dataset.metric in one.make().metrics


def _package(one: Contestant) -> str:
    return str(_kind(one).package)


def _kind(one: Contestant) -> type[Peer]:
    kind: Any = one.make.func if isinstance(one.make, partial) else one.make
    found: type[Peer] = kind
    return found


def _all(dataset: Dataset) -> Iterator[Contestant]:
    yield from _exact(dataset)
    yield from _inverted(dataset)
    yield from _hashed(dataset)
    yield from _graphs()


def _exact(dataset: Dataset) -> Iterator[Contestant]:
    yield Contestant("annlab ExactIndex", Annlab, exact=True)
    if dataset.train.shape[1] <= TREES_UP_TO and dataset.metric == "l2":
        yield Contestant("annlab KDTreeIndex", partial(Annlab, "KDTreeIndex"), exact=True)
        yield Contestant("annlab BallTreeIndex", partial(Annlab, "BallTreeIndex"), exact=True)
        yield Contestant("scipy cKDTree", ScipyTree, exact=True)
        yield Contestant("pykdtree", PyKDTree, exact=True)
        yield Contestant("nanoflann", Nanoflann, exact=True)
    yield Contestant("faiss Flat", Faiss, exact=True)
    yield Contestant("scikit-learn brute", ScikitLearn, exact=True)
    yield Contestant("numpy", Numpy, exact=True)


def _inverted(dataset: Dataset) -> Iterator[Contestant]:
    n, dim = dataset.train.shape
    few, many = (max(1, round(times * n**0.5)) for times in (1.5, 3.0))
    lists = {"n_lists": [many, few]}
    probes = {"n_probes": [p for p in PROBES if p <= max(few, 2) // 2] or [1]}
    coded = {**probes, "rerank": [4, 8, 16, 32]}
    for storage in ("pq4", "sq8", "flat"):
        make = partial(Annlab, "IVFIndex")
        search = {"flat": probes, "sq8": {**probes, "rerank": [1, 2]}, "pq4": coded}[storage]
        yield Contestant(f"annlab IVFIndex {storage}", make, {**lists, "storage": [storage]}, search, "n_probes")
    sub_dims = [s for s in (2, 4) if dim % s == 0] or [1]
    yield Contestant("faiss IVFFlat", FaissIVFFlat, lists, probes, "n_probes")
    yield Contestant("faiss IVFPQFastScan", FaissFastScan, {**lists, "sub_dim": sub_dims}, coded, "n_probes")
    yield Contestant("faiss IVFRaBitQ", FaissRaBitQ, {**lists, "bits": [4, 1]}, coded, "n_probes")
    yield Contestant("faiss IVF SQ8", FaissScalar, {**lists, "bits": [8]}, {**probes, "rerank": [1, 2]}, "n_probes")
    yield Contestant("ScaNN", ScaNN, lists, coded, "n_probes")


def _hashed(dataset: Dataset) -> Iterator[Contestant]:
    rerank = {"rerank": [r for r in (16, 32, 64, 128, 256, 512, 1024) if r < len(dataset.train)] or [1]}
    bits = {"n_bits": [256, 128, 512]}
    yield Contestant("annlab LSHIndex scan", partial(Annlab, "LSHIndex"), {"mode": ["scan"], **bits}, rerank, "rerank")
    settings = {"mode": ["buckets"], "family": ["hyperplanes", "cross_polytope"], "n_probes": [100], "rerank": [100]}
    probes = {"n_probes": [16, 32, 64, 128, 256, 512, 1024, 2048], "rerank": [100, 400]}
    yield Contestant("annlab LSHIndex buckets", partial(Annlab, "LSHIndex"), settings, probes, "n_probes")
    yield Contestant("faiss IndexLSH, refined", FaissLSH, bits, rerank, "rerank")


def _graphs() -> Iterator[Contestant]:
    for degree in (64, 32):
        yield Contestant(f"annlab VamanaIndex {degree}", partial(Vamana, degree), {"degree": [degree]},
                         {"reach": REACHES}, "reach")  # fmt: skip
    ef = {"ef": EFFORTS}
    yield Contestant("hnswlib", Hnswlib, {"M": [16, 32], "efc": [200]}, ef, "ef")
    yield Contestant("SymphonyQG", SymphonyQG, {"degree": [32, 64], "efc": [200]}, ef, "ef")
    yield Contestant("Glass", Glass, {"R": [32], "L": [200]}, {**ef, "refine": [False, True]}, "ef")
    yield Contestant("SVS", SVS, {"degree": [32, 64], "efc": [128]}, {"window": EFFORTS, "codes": SVS.codes},
                     "window")  # fmt: skip
    yield Contestant("faiss HNSW", FaissHNSW, {"M": [16], "efc": [128], "codes": ["sq8", "flat"]}, ef, "ef")
    yield Contestant("usearch", Usearch, {"M": [16], "efc": [128], "codes": ["f32", "i8"]}, ef, "ef")
    yield Contestant("NGT ANNG", NGT, {"edges": [20]}, {"epsilon": EPSILONS}, "epsilon")
    yield Contestant("voyager", Voyager, {"M": [16, 32]}, ef, "ef")
    yield Contestant("vsag HGraph", Vsag, {"degree": [32, 64]}, ef, "ef")
    yield Contestant("pynndescent", PyNNDescent, {"neighbors": [30]}, {"epsilon": [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4,
                     0.5]}, "epsilon")  # fmt: skip
    yield Contestant("annoy", Annoy, {"trees": [50, 100]}, {"nodes": [100, 200, 400, 800, 1600, 3200, 6400, 12800,
                     25600, 51200, 102400, 204800]}, "nodes")  # fmt: skip
