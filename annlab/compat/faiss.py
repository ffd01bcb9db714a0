"""annlab behind the names of faiss: ``from annlab.compat import faiss`` in place of ``import faiss``.

What differs between the two libraries is converted here, and nothing else is done:

    faiss                                              annlab
    squared distances for L2, nearest first            distances
    inner products, largest first                      negated ones, smallest first
    pads: id -1, distance +-3.4e38                     id -1, distance inf
    `train`, then `add`                                an index learns from what is added, again where it has aged
    `range_search`: strictly nearer than a radius      at most a radius

Distances are computed from the vectors, in float64, and rounded to float32 once: on whole numbers they are those of
faiss to the last bit. Vectors are float32, ids int64. What has no counterpart here (GPU, clones of C++ parts) is
missing, and says so by an AttributeError.

>>> from annlab.compat import faiss
>>> index = faiss.index_factory(4, "Flat")
>>> index.add(np.eye(4, dtype="f4"))
>>> index.search(np.eye(4, dtype="f4")[:1], 2)
(array([[0., 2.]], dtype=float32), array([[0, 1]]))
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab import index as annlab_index
from annlab import kinds
from annlab.common import validation
from annlab.compat import faiss_files
from annlab.compat.faiss_selectors import Ids, taken
from annlab.compat.faiss_selectors import IDSelector as IDSelector
from annlab.compat.faiss_selectors import IDSelectorBatch as IDSelectorBatch
from annlab.compat.faiss_selectors import IDSelectorNot as IDSelectorNot
from annlab.compat.faiss_selectors import IDSelectorRange as IDSelectorRange
from annlab.compat.faiss_selectors import SearchParameters as SearchParameters
from annlab.compat.faiss_selectors import SearchParametersIVF as SearchParametersIVF
from annlab.exact import ExactIndex
from annlab.ivf import IVFIndex
from annlab.kmeans import KMeans as _KMeans
from annlab.lsh import LSHIndex

METRIC_INNER_PRODUCT, METRIC_L2 = 0, 1
_METRICS = {METRIC_INNER_PRODUCT: "ip", METRIC_L2: "l2"}
_FAR = np.float32(3.4028234663852886e38)
_ALL_LISTS = 2**31 - 1
_AT_ONCE = 2**22  # vector components gathered at once

Floats = NDArray[np.float32]


class Index:
    """What all indexes share; made by its subclasses, `index_factory` or `read_index`.

    Attributes
    ----------
    d : int
    ntotal : int
    metric_type : METRIC_L2 or METRIC_INNER_PRODUCT
    is_trained : bool
    inner : annlab.Index
        The index that does the work.
    """

    renumbers = False  # whether ids close up behind removed ones, as in an IndexFlat

    def __init__(self, inner: annlab_index.Index, d: int, metric: int) -> None:
        self.inner, self.d, self.metric_type, self.is_trained, self.verbose = inner, int(d), metric, True, False

    @property
    def ntotal(self) -> int:
        return len(self.inner)

    def train(self, x: ArrayLike) -> None:
        """Check x (n, d). What is learned is learned from the vectors that are added."""
        self._matrix(x)
        self.is_trained = True

    def add(self, x: ArrayLike) -> None:
        """Add vectors (n, d) under the next ids."""
        self.add_with_ids(x, np.arange(self.ntotal, self.ntotal + len(np.atleast_2d(np.asarray(x)))))

    def add_with_ids(self, x: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors (n, d) under ids (n,). Unlike in faiss an id names one vector: a second one raises."""
        if not self.is_trained:
            raise RuntimeError("Error: 'is_trained' failed: call train first")
        self.inner.add(self._matrix(x), ids)

    def remove_ids(self, ids: ArrayLike | IDSelector) -> int:
        """Remove vectors, and return how many there were."""
        selector = ids if isinstance(ids, IDSelector) else IDSelectorBatch(ids)
        removed = self.inner.remove(selector.among(self.inner.ids))
        if self.renumbers and removed and self.ntotal:
            self.inner = type(self.inner)(**self.inner.parameters).fit(self.inner.vectors())
        return removed

    def reset(self) -> None:
        """Remove everything."""
        if self.ntotal:
            self.inner.remove(self.inner.ids)

    def search(self, x: ArrayLike, k: int, *, params: SearchParameters | None = None) -> tuple[Floats, Ids]:
        """Distances (q, k) float32 and ids (q, k) int64 of the k best of queries x (q, d)."""
        queries = self._matrix(x)
        if not self.ntotal:
            if k < 1:
                raise ValueError(f"k must be at least 1, not {k}")
            return np.full((len(queries), k), self._pad), np.full((len(queries), k), -1, np.int64)
        ids = self.inner.search(queries, k, **self._options(params)).ids
        distances = self._measured(queries, ids)
        order = np.argsort(-distances if self.metric_type == METRIC_INNER_PRODUCT else distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)

    def range_search(self, x: ArrayLike, thresh: float, *,
                     params: SearchParameters | None = None) -> tuple[NDArray[np.uint64], Floats, Ids]:  # fmt: skip
        """Limits (q + 1,), distances and ids of all that are nearer than a squared distance, or above a product."""
        queries, product = self._matrix(x), self.metric_type == METRIC_INNER_PRODUCT
        if not self.ntotal or (not product and thresh <= 0):
            return np.zeros(len(queries) + 1, np.uint64), np.empty(0, np.float32), np.empty(0, np.int64)
        radius = -float(thresh) if product else float(np.sqrt(thresh))
        radius += 1e-5 * abs(radius)  # room for its rounding: who is outside is sorted out below
        lims, _, ids = self.inner.search_radius(queries, radius, **self._options(params))
        rows = np.repeat(np.arange(len(queries)), np.diff(lims))
        distances = self._measured(queries[rows], ids[:, None])[:, 0]
        inside = distances > thresh if product else distances < thresh
        counts = np.bincount(rows[inside], minlength=len(queries))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64), distances[inside], ids[inside]

    def reconstruct(self, key: int) -> Floats:
        """The vector (d,) of an id."""
        return self.reconstruct_batch([key])[0]

    def reconstruct_batch(self, keys: ArrayLike) -> Floats:
        """The vectors (n, d) of some ids."""
        return self.inner.vectors(keys).astype(np.float32, copy=False)

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> Floats:
        """The vectors of the ids n0 .. n0 + ni - 1; of all from n0 on where ni is -1."""
        return self.reconstruct_batch(np.arange(n0, self.ntotal if ni < 0 else n0 + ni))

    def assign(self, x: ArrayLike, k: int = 1) -> Ids:
        """The ids of `search`: (q, k)."""
        return self.search(x, k)[1]

    @property
    def _pad(self) -> np.float32:
        return -_FAR if self.metric_type == METRIC_INNER_PRODUCT else _FAR

    def _options(self, params: SearchParameters | None) -> dict[str, Any]:
        """Parameters of annlab's search."""
        if params is None or params.sel is None:
            return {}
        return {"allowed": params.sel.among(self.inner.ids)}

    def _matrix(self, x: ArrayLike) -> Floats:
        array = np.asarray(x)
        if array.ndim != 2 or array.shape[1] != self.d:
            raise ValueError(f"this index is of vectors of {self.d} dimensions: pass an array of shape (n, {self.d}), "
                             f"not {array.shape}")  # fmt: skip
        return validation.as_vectors(array, name="x", dtype=np.dtype(np.float32))

    def _measured(self, queries: Floats, ids: Ids) -> Floats:
        """Squared distances or products, by float64; pads where an id is -1."""
        measured = np.full(ids.shape, self._pad)
        some = max(1, _AT_ONCE // max(1, ids.shape[1] * self.d))
        for at in range(0, len(queries), some):
            part, asked = ids[at : at + some], queries[at : at + some].astype(np.float64)[:, None]
            found = part >= 0
            rows = np.zeros((*part.shape, self.d))
            rows[found] = self.inner.vectors(part[found])
            values = (
                (rows * asked).sum(-1) if self.metric_type == METRIC_INNER_PRODUCT else ((rows - asked) ** 2).sum(-1)
            )
            measured[at : at + some][found] = np.minimum(values[found], _FAR)
        return measured


class IndexFlat(Index):
    """Exact search."""

    renumbers = True

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        super().__init__(ExactIndex(metric=_METRICS[metric], dim=d), d, metric)


class IndexFlatL2(IndexFlat):
    """Exact search by squared Euclidean distance."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


class IndexFlatIP(IndexFlat):
    """Exact search by inner product."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


class IndexIVF(Index):
    """An inverted file; `nprobe` lists are read by a search, or, for None, as many as were measured to be enough."""

    def __init__(self, d: int, nlist: int, metric: int, storage: str) -> None:
        inner = IVFIndex(metric=_METRICS[metric], dim=d, n_lists=nlist, storage=storage)
        super().__init__(inner, d, metric)
        self.nlist, self.is_trained = nlist, False
        self.nprobe: int | None = 1  # as in faiss

    def _options(self, params: SearchParameters | None) -> dict[str, Any]:
        own = params.nprobe if isinstance(params, SearchParametersIVF) and params.nprobe is not None else self.nprobe
        return super()._options(params) | ({} if own is None else {"n_probes": own})

    def range_search(self, x: ArrayLike, thresh: float, *,
                     params: SearchParameters | None = None) -> tuple[NDArray[np.uint64], Floats, Ids]:  # fmt: skip
        """As of all indexes; every list is read, unless `params` say how many."""
        if not isinstance(params, SearchParametersIVF) or params.nprobe is None:
            params = SearchParametersIVF(None if params is None else params.sel, _ALL_LISTS)
        return super().range_search(x, thresh, params=params)


class IndexIVFFlat(IndexIVF):
    """Lists of vectors. The quantizer is annlab's own."""

    def __init__(self, quantizer: Index | None, d: int, nlist: int, metric: int = METRIC_L2) -> None:
        super().__init__(d, nlist, metric, "flat")


class IndexIVFScalarQuantizer(IndexIVF):
    """Lists of bytes, re-ranked by the vectors."""

    def __init__(self, quantizer: Index | None, d: int, nlist: int, qtype: Any = None, metric: int = METRIC_L2) -> None:
        super().__init__(d, nlist, metric, "sq8")


class IndexIVFPQFastScan(IndexIVF):
    """Lists of 4-bit product codes, re-ranked by the vectors."""

    def __init__(self, quantizer: Index | None, d: int, nlist: int, M: int = 0, nbits: int = 4,
                 metric: int = METRIC_L2) -> None:  # fmt: skip
        super().__init__(d, nlist, metric, "pq4")


class IndexLSH(Index):
    """Random hyperplanes; unlike faiss's, candidates are compared by their vectors."""

    def __init__(self, d: int, nbits: int) -> None:
        super().__init__(LSHIndex(metric="l2", dim=d, n_bits=nbits), d, METRIC_L2)


class IndexIDMap:
    """An index under ids of one's own: annlab's have them anyway, so this hands on to the one inside."""

    def __init__(self, index: Index) -> None:
        if index.ntotal:
            raise RuntimeError("Error: 'index->ntotal == 0' failed: index must be empty on input")
        self.index = index
        index.renumbers = False

    def add(self, x: ArrayLike) -> None:
        """Refused, as in faiss: vectors need ids here."""
        raise RuntimeError("add does not make sense with IndexIDMap, use add_with_ids")

    def __getattr__(self, name: str) -> Any:
        if name == "index":  # while a copy is made, it is not there yet
            raise AttributeError(name)
        return getattr(self.index, name)


IndexIDMap2 = IndexIDMap


class Kmeans:
    """Clustering; `centroids` (k, d) after `train`.

    Parameters
    ----------
    d, k : int
    niter : int
        Upper limit of iterations.
    seed : int
    """

    def __init__(self, d: int, k: int, niter: int = 25, seed: int = 1234, **options: Any) -> None:
        self.d, self.k, self.niter, self.seed = d, k, niter, seed
        self.centroids: Floats | None = None

    def train(self, x: ArrayLike) -> float:
        """Cluster x (n, d), and return the sum of squared distances to the nearest centres."""
        fitted = _KMeans(n_clusters=self.k, max_iterations=self.niter, seed=self.seed).fit(np.asarray(x, np.float32))
        self.centroids = fitted.cluster_centers_.astype(np.float32)
        self.index = IndexFlatL2(self.d)
        self.index.add(self.centroids)
        return float(self.index.search(x, 1)[0].sum(dtype=np.float64))

    def assign(self, x: ArrayLike) -> tuple[Floats, Ids]:
        """Squared distance (n,) and number (n,) of the nearest centre of every row."""
        if self.centroids is None:
            raise RuntimeError("should train before assigning")
        distances, ids = self.index.search(x, 1)
        return distances[:, 0], ids[:, 0]


def index_factory(d: int, description: str, metric: int = METRIC_L2) -> Any:
    """An index by its description: "Flat", "IVF100,Flat", "IVF100,SQ8", "IVF100,PQ16x4fs", "LSH", with "IDMap," before.

    Raises
    ------
    ValueError
        The description has no counterpart, with those that have.
    """
    text = description.removesuffix(",RFlat").removesuffix(",Refine(Flat)")  # codes are always re-ranked
    mapped = re.fullmatch(r"(?:IDMap2?,)?(.*?)(?:,IDMap2?)?", text)
    body = mapped.group(1) if mapped else text
    made: Index
    if body == "Flat":
        made = IndexFlat(d, metric)
    elif match := re.fullmatch(r"IVF(\d+),(Flat|SQ8|PQ(?:\d+)?x4fsr?)", body):
        of_lists: Any = {"F": IndexIVFFlat, "S": IndexIVFScalarQuantizer, "P": IndexIVFPQFastScan}[match.group(2)[0]]
        made = of_lists(None, d, int(match.group(1)), metric=metric)
    elif match := re.fullmatch(r"LSH(\d*)", body):
        made = IndexLSH(d, int(match.group(1) or d))
    else:
        raise ValueError(f"{description!r} has no counterpart in annlab: there are Flat, IVFn,Flat, IVFn,SQ8, "
                         "IVFn,PQmx4fs and LSH, each also with IDMap")  # fmt: skip
    return IndexIDMap(made) if body != text else made


def write_index(index: Any, path: str | os.PathLike[str]) -> None:
    """Write an index as a file of annlab, `nprobe` included."""
    bare = index.index if isinstance(index, IndexIDMap) else index
    if isinstance(bare, IndexIVF):
        bare.inner.set_params(n_probes="auto" if bare.nprobe is None else bare.nprobe)
    bare.inner.save(path)


def read_index(path: str | os.PathLike[str]) -> Index:
    """Read a file that annlab wrote, or that faiss wrote (flat and IVFFlat, with or without IDMap); ids stay.

    `nprobe` of an inverted file is the one it was written with; None, as many lists as were measured to be enough,
    where `IVFIndex` wrote it and says "auto". Of an inverted file of faiss the number of lists is kept, and the lists
    are learned anew.
    """
    if faiss_files.is_faiss_file(path):
        return _converted(faiss_files.read(path))
    inner = kinds.load(path)
    if inner.metric == "cosine":
        raise ValueError(f"{path} holds an index of cosine distances, which faiss has not: load it with annlab.load")
    metric = METRIC_INNER_PRODUCT if inner.metric == "ip" else METRIC_L2
    if isinstance(inner, IVFIndex):
        n_lists, n_probes = inner.parameters["n_lists"], inner.parameters["n_probes"]
        lists = IndexIVF(inner.dim, 1, metric, "flat")
        lists.inner, lists.is_trained, lists.nprobe = inner, True, None if n_probes == "auto" else n_probes
        lists.nlist = inner.n_lists if n_lists == "auto" else n_lists
        return lists
    index: Index
    index = IndexFlat(inner.dim, metric) if isinstance(inner, ExactIndex) else Index(inner, inner.dim, metric)
    index.inner = inner
    index.renumbers = index.renumbers and bool((inner.ids == np.arange(len(inner))).all())
    return index


def _converted(held: faiss_files.FaissFile) -> Index:
    """An index of what a file of faiss holds."""
    dim = held.vectors.shape[1]
    if held.n_lists is None:
        index: Index = IndexFlat(dim, held.metric)
    else:
        lists = IndexIVFFlat(None, dim, held.n_lists, held.metric)
        lists.nprobe = held.n_probes
        index = lists
    if len(held.vectors):
        index.train(held.vectors)
        if held.ids is None:
            index.add(held.vectors)
        else:
            index.renumbers = False
            index.inner.add(held.vectors, taken(held.ids))
    return index


def normalize_L2(x: NDArray[np.float32]) -> None:
    """Scale the rows of x (n, d) float32 to length 1, in place; rows of zeros stay."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        what = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"x is scaled in place, which takes an array of floats, not {what}: pass x.astype(np.float32)")
    lengths = np.sqrt((x.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    np.divide(x, np.where(lengths > 0, lengths, 1.0), out=x, casting="unsafe")


def knn(xq: ArrayLike, xb: ArrayLike, k: int, metric: int = METRIC_L2) -> tuple[Floats, Ids]:
    """Exact search of queries xq (q, d) in xb (n, d), without an index."""
    index = IndexFlat(np.asarray(xb).shape[1], metric)
    index.add(xb)
    return index.search(xq, k)
