"""annlab for scikit-learn: estimators that stand where `sklearn.neighbors` stands, on any index of annlab.

    ANNTransformer     the graph of neighbours, as `KNeighborsTransformer` makes it: for pipelines with TSNE, Isomap,
                       DBSCAN, HDBSCAN or SpectralClustering, whose ``metric="precomputed"`` (or affinity) takes it
    NearestNeighbors   `kneighbors`, `radius_neighbors` and their graphs
    ANNClassifier      votes of the k nearest
    ANNRegressor       means of the k nearest

They follow scikit-learn's rules for estimators (parameters only stored by ``__init__``, ``clone``, pipelines, grid
search, ``get_feature_names_out``). Rows are numbered as given to `fit`. A search answers with as many neighbours as
asked for, whatever the index, so that no estimator behind it meets a short row.

>>> from sklearn.manifold import Isomap
>>> from sklearn.pipeline import make_pipeline
>>> X = np.random.default_rng(0).random((200, 5))
>>> graph = ANNTransformer(n_neighbors=10)
>>> make_pipeline(graph, Isomap(n_neighbors=10, metric="precomputed")).fit_transform(X).shape
(200, 2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data

from annlab.common import validation
from annlab.index import Index
from annlab.kinds import INDEX_CLASSES

KINDS = {cls.__name__.removesuffix("Index").lower(): cls for cls in INDEX_CLASSES}
METRICS = {"euclidean": "l2", "l2": "l2", "minkowski": "l2", "sqeuclidean": "l2", "cosine": "cosine"}
_SCAN_UP_TO = 20_000  # rows: an exact scan of so many is faster than learning an approximate index for it

Weights = Literal["uniform", "distance"] | Callable[[NDArray[Any]], NDArray[Any]]


class _Neighbours(BaseEstimator):
    """What all four share: an index that is fitted to X, and searches in it. Parameters as of `NearestNeighbors`."""

    index_: Index

    def __init__(self, n_neighbors: int = 5, *, metric: str = "euclidean", index: Any = "auto",
                 search_params: Mapping[str, Any] | None = None, n_jobs: int | None = None) -> None:  # fmt: skip
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.index = index
        self.search_params = search_params
        self.n_jobs = n_jobs

    def _fit_index(self, data: ArrayLike) -> None:
        X: NDArray[Any] = validate_data(self, data, dtype=[np.float64, np.float32], order="C")
        self._asked(self.n_neighbors)
        own = METRICS[validation.as_choice("metric", self.metric, METRICS)]
        if isinstance(self.index, Index):
            if self.index.metric not in ("l2", own):
                raise ValueError(f"metric={self.metric!r}, but the index is of {self.index.metric!r}: pass the metric "
                                 f"to {type(self).__name__}, one of {', '.join(METRICS)}")  # fmt: skip
            empty = type(self.index)(**{**self.index.parameters, "metric": own, "dim": None})
        elif isinstance(self.index, type) and issubclass(self.index, Index):
            empty = self.index(metric=own)
        else:
            kind = validation.as_choice("index", self.index, ["auto", *KINDS])
            empty = KINDS[("exact" if len(X) <= _SCAN_UP_TO else "ivf") if kind == "auto" else kind](metric=own)
        self.index_ = empty.fit(X, threads=self._threads())
        self.n_samples_fit_ = len(X)

    def _threads(self) -> int | None:
        if self.n_jobs is None:
            return 1
        if self.n_jobs == 0:
            raise ValueError("n_jobs = 0 has no meaning: None is one thread, -1 all")
        return None if self.n_jobs < 0 else int(self.n_jobs)

    @staticmethod
    def _asked(n_neighbors: Any) -> int:
        if isinstance(n_neighbors, bool | np.bool_) or not isinstance(n_neighbors, int | np.integer):
            raise TypeError(f"n_neighbors must be an integer, not {n_neighbors!r}")
        if n_neighbors < 1:
            raise ValueError(f"n_neighbors must be at least 1, not {n_neighbors}")
        return int(n_neighbors)

    def _queries(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self, "index_")
        return validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=False)

    def _search(self, X: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if k > self.n_samples_fit_:
            raise ValueError(f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {k}, "
                             f"n_samples_fit = {self.n_samples_fit_}, n_samples = {len(X)}")  # fmt: skip
        distances, ids = self.index_.search(X, k, threads=self._threads(), **(self.search_params or {}))
        return self._measured(distances), ids

    def _others(self, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The k nearest of every fitted row, without the row itself, also where copies of it come first."""
        if k > self.n_samples_fit_ - 1:
            raise ValueError(f"Expected n_neighbors < n_samples_fit, but n_neighbors = {k}, n_samples_fit = "
                             f"{self.n_samples_fit_}: without X, a row is not its own neighbour")  # fmt: skip
        distances, ids = self._search(self.index_.vectors(), k + 1)
        drop = ids == np.arange(len(ids))[:, None]
        drop[~drop.any(axis=1), k] = True  # k + 1 copies before it: any of them may go
        return distances[~drop].reshape(-1, k), ids[~drop].reshape(-1, k)

    def _measured(self, distances: NDArray[Any]) -> NDArray[Any]:
        return distances**2 if self.metric == "sqeuclidean" else distances

    def _graph(self, values: NDArray[Any], ids: NDArray[np.int64]) -> csr_matrix:
        k = ids.shape[1]
        starts = np.arange(0, len(ids) * k + 1, k)
        return csr_matrix((values.ravel(), ids.ravel(), starts), shape=(len(ids), self.n_samples_fit_))


class ANNTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Neighbours):
    """The weighted graph of the nearest neighbours, with the contract of `sklearn.neighbors.KNeighborsTransformer`.

    Parameters
    ----------
    n_neighbors : int
    mode : {"distance", "connectivity"}
        "distance": n_neighbors + 1 entries a row, so that a fitted row has itself (at distance 0) and n_neighbors
        others. "connectivity": n_neighbors ones a row.
    metric, index, search_params, n_jobs
        See the module's other estimators: `NearestNeighbors`.

    Attributes
    ----------
    index_ : Index
    n_samples_fit_ : int
    """

    def __init__(self, n_neighbors: int = 5, *, mode: str = "distance", metric: str = "euclidean", index: Any = "auto",
                 search_params: Mapping[str, Any] | None = None, n_jobs: int | None = None) -> None:  # fmt: skip
        super().__init__(n_neighbors, metric=metric, index=index, search_params=search_params, n_jobs=n_jobs)
        self.mode = mode

    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Build the index of the rows of X (n, d)."""
        validation.as_choice("mode", self.mode, ["distance", "connectivity"])
        self._fit_index(X)
        self._n_features_out = self.n_samples_fit_
        return self

    def transform(self, X: ArrayLike) -> csr_matrix:
        """The graph (n, fitted rows), sparse, of the rows of X to those that were fitted; distances ascend."""
        queries = self._queries(X)
        distances, ids = self._search(queries, self.n_neighbors + (self.mode == "distance"))
        return self._graph(distances if self.mode == "distance" else np.ones_like(distances), ids)


class NearestNeighbors(_Neighbours):
    """Searches with the names of `sklearn.neighbors.NearestNeighbors`.

    Parameters
    ----------
    n_neighbors : int
        If `kneighbors` is not told.
    radius : float
        If `radius_neighbors` is not told.
    metric : {"euclidean", "l2", "minkowski", "sqeuclidean", "cosine"}
        "minkowski" has the exponent 2.
    index : str, class or Index
        "auto" (exact up to 20,000 rows, then IVF), a kind ("exact", "kdtree", "balltree", "ivf", "lsh"), a class of
        index, or an index whose parameters are taken; it is never fitted itself.
    search_params : mapping, optional
        Parameters of searches, such as ``{"n_probes": 8}``.
    n_jobs : int, optional
        Threads: None for one, -1 for all that this process may use.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> distances, rows = NearestNeighbors(n_neighbors=2).fit(X).kneighbors([[0.9]])
    >>> rows
    array([[1, 0]])
    """

    def __init__(self, n_neighbors: int = 5, *, radius: float = 1.0, metric: str = "euclidean", index: Any = "auto",
                 search_params: Mapping[str, Any] | None = None, n_jobs: int | None = None) -> None:  # fmt: skip
        super().__init__(n_neighbors, metric=metric, index=index, search_params=search_params, n_jobs=n_jobs)
        self.radius = radius

    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Build the index of the rows of X (n, d)."""
        self._fit_index(X)
        return self

    def kneighbors(self, X: ArrayLike | None = None, n_neighbors: int | None = None,
                   return_distance: bool = True) -> Any:  # fmt: skip
        """Distances (q, k) and rows (q, k) of the nearest; without X of all fitted rows, themselves left out."""
        check_is_fitted(self, "index_")
        k = self._asked(self.n_neighbors if n_neighbors is None else n_neighbors)
        distances, ids = self._others(k) if X is None else self._search(self._queries(X), k)
        return (distances, ids) if return_distance else ids

    def kneighbors_graph(self, X: ArrayLike | None = None, n_neighbors: int | None = None,
                         mode: str = "connectivity") -> csr_matrix:  # fmt: skip
        """The same as a sparse matrix (q, fitted rows) of ones or of distances."""
        validation.as_choice("mode", mode, ["connectivity", "distance"])
        distances, ids = self.kneighbors(X, n_neighbors)
        return self._graph(distances if mode == "distance" else np.ones_like(distances), ids)

    def radius_neighbors(self, X: ArrayLike | None = None, radius: float | None = None,
                         return_distance: bool = True) -> Any:  # fmt: skip
        """Arrays (q,) of arrays: distances and rows within the radius, nearest first; without X as `kneighbors`."""
        check_is_fitted(self, "index_")
        wanted = self.radius if radius is None else radius
        if self.metric == "sqeuclidean":
            wanted = float(np.sqrt(wanted))
        queries = self.index_.vectors() if X is None else self._queries(X)
        lims, distances, ids = self.index_.search_radius(queries, wanted, threads=self._threads(),
                                                         **(self.search_params or {}))  # fmt: skip
        if X is None:
            own = ids == np.repeat(np.arange(len(queries)), np.diff(lims))
            lims = np.concatenate([[0], np.cumsum(~own)])[lims]
            distances, ids = distances[~own], ids[~own]
        found = _ragged(self._measured(distances), lims), _ragged(ids, lims)
        return found if return_distance else found[1]

    def radius_neighbors_graph(self, X: ArrayLike | None = None, radius: float | None = None,
                               mode: str = "connectivity") -> csr_matrix:  # fmt: skip
        """The same as a sparse matrix (q, fitted rows) of ones or of distances."""
        validation.as_choice("mode", mode, ["connectivity", "distance"])
        distances, ids = self.radius_neighbors(X, radius)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
        columns = np.concatenate([np.empty(0, np.int64), *ids])
        values = np.concatenate([np.empty(0), *distances]) if mode == "distance" else np.ones(len(columns))
        return csr_matrix((values, columns, starts), shape=(len(ids), self.n_samples_fit_))


class _Supervised(_Neighbours):
    """Neighbours whose known answers are combined."""

    def __init__(self, n_neighbors: int = 5, *, weights: Weights = "uniform", metric: str = "euclidean",
                 index: Any = "auto", search_params: Mapping[str, Any] | None = None,
                 n_jobs: int | None = None) -> None:  # fmt: skip
        super().__init__(n_neighbors, metric=metric, index=index, search_params=search_params, n_jobs=n_jobs)
        self.weights = weights

    def _fit_both(self, X: ArrayLike, y: ArrayLike, **options: Any) -> NDArray[Any]:
        _, targets = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, **options)
        if not callable(self.weights):
            validation.as_choice("weights", self.weights, ["uniform", "distance"])
        self._fit_index(X)
        return np.asarray(targets)

    def _weighed(self, X: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Weights (q, k), of sum 1, and rows (q, k). At distance 0 only the copies count, as in scikit-learn."""
        distances, ids = self._search(self._queries(X), self.n_neighbors)
        if callable(self.weights):
            raw = np.asarray(self.weights(distances), float)
        elif self.weights == "uniform":
            raw = np.ones(distances.shape)
        else:
            copies = distances == 0
            with np.errstate(divide="ignore", invalid="ignore"):
                raw = np.where(
                    copies.any(axis=1, keepdims=True), copies, distances.min(axis=1, keepdims=True) / distances
                )
        totals = raw.sum(axis=1, keepdims=True)
        return np.where(totals > 0, raw / np.where(totals > 0, totals, 1.0), 1.0 / raw.shape[1]), ids


class ANNClassifier(ClassifierMixin, _Supervised):
    """A vote of the nearest neighbours, with the contract of `sklearn.neighbors.KNeighborsClassifier`.

    Parameters
    ----------
    n_neighbors : int
    weights : {"uniform", "distance"} or callable
        A callable takes distances (q, k) and returns weights of the same shape.
    metric, index, search_params, n_jobs
        As for `NearestNeighbors`.

    Examples
    --------
    >>> ANNClassifier(n_neighbors=1).fit([[0.0], [5.0]], ["low", "high"]).predict([[4.0]])
    array(['high'], dtype='<U4')
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Build the index of X (n, d), and remember the classes y (n,)."""
        targets = self._fit_both(X, y)
        check_classification_targets(targets)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(targets, warn=True)
        if targets.ndim != 1:
            raise ValueError(f"y must have shape (n,), not {targets.shape}: fit one classifier for each output")
        self.classes_, self._codes = np.unique(targets, return_inverse=True)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(q, n_classes): the share of the votes of each of `classes_`."""
        weights, ids = self._weighed(X)
        shares = np.zeros((len(ids), len(self.classes_)))
        np.add.at(shares, (np.arange(len(ids))[:, None], self._codes[ids]), weights)
        return shares

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(q,): the class with most votes, the first of `classes_` among equals."""
        shares = self.predict_proba(X)
        chosen: NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return chosen


class ANNRegressor(RegressorMixin, _Supervised):
    """The mean of the nearest neighbours' values, with the contract of `sklearn.neighbors.KNeighborsRegressor`.

    Parameters
    ----------
    n_neighbors, weights, metric, index, search_params, n_jobs
        As for `ANNClassifier`.

    Examples
    --------
    >>> ANNRegressor(n_neighbors=2).fit([[0.0], [1.0], [9.0]], [0.0, 1.0, 9.0]).predict([[0.4]])
    array([0.5])
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Build the index of X (n, d), and remember the values y (n,) or (n, outputs)."""
        targets = self._fit_both(X, y, y_numeric=True)
        self._targets = check_array(targets, ensure_2d=False, dtype=np.float64)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """(q,) or (q, outputs): weighted means."""
        weights, ids = self._weighed(X)
        means: NDArray[np.float64] = np.einsum("qk,qk...->q...", weights, self._targets[ids])
        return means

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _ragged(values: NDArray[Any], lims: NDArray[np.int64]) -> NDArray[Any]:
    """(q,) objects: the parts between the limits."""
    parts = np.empty(len(lims) - 1, object)
    for i, (start, stop) in enumerate(pairwise(lims)):
        parts[i] = values[start:stop]
    return parts
