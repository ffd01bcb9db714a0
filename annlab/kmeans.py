"""KMeans: n points into k clusters such that the squared distances to the clusters' means are small (Lloyd).

Every iteration assigns each point to its nearest centroid, O(n * k * dim), and moves each centroid to the mean of its
points, O(n * dim). The assignment is everything, and three ideas make it cheap:

*Nested samples.* Far from the optimum, centroids move much further than a sample's means differ from the means of all.
So iterations begin on a small part of the (shuffled) points and the part doubles when the error hardly falls any more;
each sample contains the one before (J. Newling, F. Fleuret, "Nested mini-batch k-means", NeurIPS 2016). Only the last
few iterations see all points. And of very many points only `max_points_per_cluster * n_clusters` are used at all: more
hardly move a mean.

*Overshooting.* Centroids creep towards where they end, so each moves half as far again as to the mean of its points
(R. Salakhutdinov, S. Roweis, "Adaptive Overrelaxed Bound Optimization Methods", ICML 2003). With the points assigned as
they are, the error is that of the means and as much again as the squared way left, a quarter of what it was: so it
still falls in every iteration, and a third fewer are needed. What is returned are means.

*Seeding in rounds.* k-means++ (D. Arthur, S. Vassilvitskii, SODA 2007) draws the next centroid with a probability
proportional to the squared distance D^2 from the centroids so far: k passes over the data, one after the other. Here a
round draws several at once and then updates D^2 for all of them by tiles (as k-means|| does: B. Bahmani et al., VLDB
2012). Rounds grow with the number of centroids that there are, so the first ones are drawn singly as in k-means++.

A cluster that loses all its points is put on the farthest point of the cluster with the largest error. For `cosine`
points are normalised, and centroids are too, after every iteration (spherical k-means).

All this is done in float32 about the mean of the points, which is fine enough to find the clusters. For data of float64
the centers are then made the means of their points in float64, and points are given to the nearest of them by the one
definition of a distance (`kernels/distance.py`).

When to use it: to partition vectors into compact cells (IVFIndex), to summarise.
When not: for clusters that are not round, or whose number is unknown.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from annlab.common import pool, validation
from annlab.common.progress import Progress, as_progress
from annlab.common.statistics import N_COUNTERS
from annlab.distances import get_metric
from annlab.kernels import distance as distance_kernels
from annlab.kernels import kmeans as kernels
from annlab.kernels import scoring
from annlab.scan.centroids import Centroids, Conversion, group_by_label, half_squared_norms
from annlab.scan.scanner import Scanner

_SEEDING_SAMPLE = 16  # points per cluster that seeds are drawn from
_FIRST_SAMPLE = 64  # points per cluster of the first nested sample: with 16, centroids fit the sample, not the data
_SMALL = 20_000  # points: fewer are never sampled
_STALLED = 0.01  # a relative improvement below this makes a sample grow
_CHUNK = 65536  # vectors converted at a time
_OVERSHOOT = 0.5  # how much further than to the means centroids move
_ROUND_SHARE = 16  # a round draws one new centroid for every so many there are


@dataclass(frozen=True)
class Training:
    """What `train` returns: centroids (k, dim) float32, and the mean squared distance at every iteration."""

    centroids: np.ndarray
    history: list[float]


def train(points: np.ndarray, n_clusters: int, rng: np.random.Generator, *, normalized: bool = False,
          max_iterations: int = 25, tolerance: float = 1e-3, n_threads: int = 1,
          progress: Progress = lambda what, share: None, first: np.ndarray | None = None,
          overshoot: float = _OVERSHOOT) -> Training:  # fmt: skip
    """Centroids of points (n, dim) float32 in random order; `normalized`: keep centroids at length 1.

    `max_iterations` counts passes over all points; those over samples count by their size. With `first` centroids
    (n_clusters, dim) there are neither seeds nor samples.
    """
    n = len(points)
    if n < n_clusters:
        raise ValueError(f"{n} points cannot make {n_clusters} clusters: give more points, or ask for fewer clusters")
    size, spent, history, previous = min(n, max(_SMALL, _FIRST_SAMPLE * n_clusters)), 0.0, [], np.inf
    if first is None:
        centroids = seed(points[: max(_SMALL, _SEEDING_SAMPLE * n_clusters)], n_clusters, rng, n_threads)
    else:
        centroids, size = first, n
    half_norms = half_squared_norms(points)
    while spent < max_iterations * n:
        some = points[:size]
        labels, surrogates = Centroids(centroids).nearest(some, n_threads)
        errors = np.maximum(2.0 * (half_norms[:size] + surrogates), 0.0)
        history.append(float(errors.mean()))
        means = _means(some, labels, errors, centroids, n_threads)
        has_points = np.bincount(labels, minlength=n_clusters)[:, None] > 0
        centroids = np.where(has_points, means + np.float32(overshoot) * (means - centroids), means)
        if normalized:
            means, centroids = _normalized(means), _normalized(centroids)
        spent += size
        progress("k-means", min(1.0, spent / (max_iterations * n)))
        improvement, previous = (previous - history[-1]) / max(history[-1], 1e-30), history[-1]
        if size == n and improvement < tolerance:
            break
        if size < n and improvement < _STALLED:
            size, previous = min(n, 2 * size), np.inf
    progress("k-means", 1.0)
    return Training(means, history)


def _normalized(centroids: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    return centroids / np.maximum(lengths, np.float32(1e-30))


def seed(points: np.ndarray, n_clusters: int, rng: np.random.Generator, n_threads: int = 1) -> np.ndarray:
    """First centroids, drawn from the points as k-means++ does, several in a round: see the head of this file."""
    chosen = np.array([rng.integers(len(points))])
    half_norms, nearest = half_squared_norms(points), np.full(len(points), np.inf)
    new = chosen
    while True:
        surrogates = Centroids(points[new]).nearest(points, n_threads)[1]
        nearest = np.minimum(nearest, np.maximum(2.0 * (half_norms + surrogates), 0.0))
        nearest[new] = 0.0
        if len(chosen) == n_clusters:
            return points[chosen].copy()
        # the smallest of exponential variables with rates D^2: as many weighted draws without replacement
        keys = rng.exponential(size=len(points)) / np.maximum(nearest, 1e-300)
        keys[chosen] = np.inf
        size = min(n_clusters - len(chosen), max(1, len(chosen) // _ROUND_SHARE))
        new = np.argpartition(keys, size - 1)[:size]
        chosen = np.concatenate([chosen, new])


def _means(
    points: np.ndarray, labels: np.ndarray, errors: np.ndarray, centroids: np.ndarray, n_threads: int
) -> np.ndarray:
    """The mean of every cluster, float32; an empty one moves to the farthest point of a cluster of large error."""
    k = len(centroids)
    offsets, order = group_by_label(labels, k)
    sums, sizes = np.empty(centroids.shape), np.diff(offsets)
    parts = pool.split(0, k, n_threads)

    def work(start: int, stop: int) -> None:
        for first, last in pool.portions(start, stop, 8 * points.size / k):
            kernels.cluster_sums(points, offsets, order, first, last, sums)

    pool.run(work, parts, n_threads)
    means = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        cluster_errors = np.bincount(labels, weights=errors, minlength=k)
        donors = np.argsort(-cluster_errors, kind="stable")[: len(empty)]
        for cluster, donor in zip(empty, donors, strict=True):
            rows = order[offsets[donor] : offsets[donor + 1]]
            means[cluster] = points[rows[np.argmax(errors[rows])]] if len(rows) else centroids[cluster]
    return means


class KMeans:
    """Partition vectors into k clusters with small squared distances to their means.

    Parameters
    ----------
    n_clusters : int
    metric : {"l2", "cosine"}
        "cosine" normalises vectors and centroids (spherical k-means).
    max_iterations : int
        Passes over the (sampled) points at most; passes over parts of them count by their size.
    tolerance : float
        Iterations over all points end when the error falls by less than this share.
    max_points_per_cluster : int
        Of more than n_clusters times this many vectors a random sample is trained on; labels are given to all.
    seed : int
    threads : int, optional
        All CPUs that this process may use if not given.
    progress : bool or function of (what, share), optional
        True prints to standard error.

    Attributes
    ----------
    cluster_centers_ : (n_clusters, dim), float64 if the vectors are float64, else float32
    labels_ : (n,) int32
        The cluster of every vector given to `fit`.
    inertia_ : float
        The sum of the squared distances of all vectors to their centroids (for cosine: of normalised vectors).
    history_ : list of float
        The mean squared distance at every iteration, of the points that it saw. Iterations see growing samples, so it
        may rise when a sample grows.
    n_iter_ : int

    Raises
    ------
    ValueError
        By `fit`, if there are fewer vectors than clusters.

    Notes
    -----
    Follows scikit-learn's conventions (`get_params`, `fit`, `predict`, `transform`, `score`), so it works in pipelines,
    without importing scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> vectors = np.concatenate([rng.normal(size=(50, 4)), rng.normal(size=(70, 4)) + 20])
    >>> sorted(np.bincount(KMeans(n_clusters=2).fit(vectors).labels_).tolist())
    [50, 70]
    """

    def __init__(self, n_clusters: int = 8, *, metric: str = "l2", max_iterations: int = 25, tolerance: float = 1e-3,
                 max_points_per_cluster: int = 256, seed: int = 0, threads: int | None = None,
                 progress: Any = None) -> None:  # fmt: skip
        self.n_clusters, self.metric, self.max_iterations, self.tolerance = (
            n_clusters,
            metric,
            max_iterations,
            tolerance,
        )
        self.max_points_per_cluster, self.seed, self.threads, self.progress = (
            max_points_per_cluster,
            seed,
            threads,
            progress,
        )

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find centroids for vectors (n, dim), n >= n_clusters. `y` is ignored."""
        k = validation.as_integer("n_clusters", self.n_clusters, 1)
        most = validation.as_integer("max_points_per_cluster", self.max_points_per_cluster, 1)
        iterations = validation.as_integer("max_iterations", self.max_iterations, 1)
        tolerance = validation.as_number("tolerance", self.tolerance, 0.0)
        metric = get_metric(validation.as_choice("metric", self.metric, ("l2", "cosine")))
        vectors = validation.as_vectors(X, metric=metric.name)
        if len(vectors) < k:
            raise ValueError(f"n_clusters={k} needs at least {k} vectors, but there are {len(vectors)}: "
                             "give more vectors, or ask for fewer clusters")  # fmt: skip
        rng = np.random.default_rng(validation.as_integer("seed", self.seed, 0))
        rows = rng.permutation(len(vectors))[: most * k]
        conversion = Conversion.of(vectors, metric)
        if metric.name == "cosine":  # centroids have to lie on the sphere, so the center is its own
            conversion = Conversion(metric, np.zeros(vectors.shape[1]))
        training = train(conversion.points(vectors[rows]), k, rng, normalized=metric.name == "cosine",
                         max_iterations=iterations, tolerance=tolerance, n_threads=pool.resolve(self.threads),
                         progress=as_progress(self.progress))  # fmt: skip
        self._conversion, self._centroids, self._is_exact = conversion, Centroids(training.centroids), False
        self._centers = training.centroids.astype(np.float64) / conversion.scale + conversion.center
        if vectors.dtype == np.float64:
            self._is_exact = True
            self._centers = self._means_in_float64(vectors[rows])
        self.cluster_centers_ = self._centers.astype(vectors.dtype)
        self.history_, self.n_iter_, self.n_features_in_ = training.history, len(training.history), vectors.shape[1]
        self.labels_, squares = self._assign(vectors)
        self.inertia_ = float(squares.sum())
        return self

    def _assign(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels and squared distances of vectors."""
        if self._is_exact:
            labels, distances = self._nearest_centers(self._rows(vectors))
            return labels, distances * distances
        labels, squares = np.empty(len(vectors), np.int32), np.empty(len(vectors))
        for start in range(0, len(vectors), _CHUNK):
            points = self._conversion.points(vectors[start : start + _CHUNK])
            stop = start + len(points)
            labels[start:stop], surrogates = self._centroids.nearest(points, pool.resolve(self.threads))
            squares[start:stop] = np.maximum(2.0 * (half_squared_norms(points) + surrogates), 0.0)
        return labels, squares / self._conversion.scale**2

    def _rows(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors in float64, for cosine normalised: what centers are the means of."""
        metric = self._conversion.metric
        return Conversion(metric, np.zeros(vectors.shape[1])).rows(vectors) if metric.name == "cosine" else (
            vectors.astype(np.float64, copy=False))  # fmt: skip

    def _nearest_centers(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest center of every row (n, dim) float64, and how far it is, by the definition of a distance."""
        scanner, keys = Scanner(self._centers, get_metric("l2")), np.arange(len(self._centers))
        labels, distances = np.empty(len(rows), np.int32), np.empty(len(rows))
        for start in range(0, len(rows), _CHUNK):
            some = np.ascontiguousarray(rows[start : start + _CHUNK])
            counters = np.zeros((len(some), N_COUNTERS), np.int64)
            found = np.ascontiguousarray(scanner.search(some, 1, None, keys, pool.resolve(self.threads), counters))
            best, nearest = np.full((len(some), 1), np.inf), np.full((len(some), 1), -1, np.int64)
            scoring.score(some, self._centers, self._centers[:0], keys, found, scanner.metric.code,
                          scoring.scratch(found), best, nearest)  # fmt: skip
            labels[start : start + len(some)], distances[start : start + len(some)] = nearest[:, 0], best[:, 0]
        return labels, distances

    def _means_in_float64(self, vectors: np.ndarray) -> np.ndarray:
        """The means of the vectors that are nearest to each center; a center that has none stays."""
        rows, centers = self._rows(vectors), self._centers.copy()
        offsets, order = group_by_label(self._nearest_centers(rows)[0], len(centers))
        filled = np.flatnonzero(np.diff(offsets))
        about = rows[order[offsets[filled]]]  # one of its own points: sums of small numbers lose nothing
        rows = rows[order] - np.repeat(about, np.diff(offsets)[filled], axis=0)
        means = np.add.reduceat(rows, offsets[filled], axis=0) / np.diff(offsets)[filled][:, None]
        centers[filled] = about + means
        if self._conversion.metric.name == "cosine":
            centers /= np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-300)
        return centers

    def _checked(self, X: Any) -> np.ndarray:
        if not hasattr(self, "_centroids"):
            from sklearn.exceptions import NotFittedError  # a ValueError

            raise NotFittedError("this KMeans has no centroids yet: call fit first")
        return validation.as_vectors(X, dim=self.n_features_in_, metric=self._conversion.metric.name)

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of every vector: (n,) int32. Equally near centroids: the first."""
        return self._assign(self._checked(X))[0]

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """`fit`, and the labels."""
        return self.fit(X).labels_

    def transform(self, X: Any) -> np.ndarray:
        """Euclidean distances (n, n_clusters) float64 from every (for cosine: normalised) vector to every centroid."""
        rows = np.ascontiguousarray(self._rows(self._checked(X)))
        distances = np.empty((len(rows), len(self._centers)))
        distance_kernels.all_distances(rows, self._centers, get_metric("l2").code, distances)
        return distances

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """`fit`, and the distances."""
        return self.fit(X).transform(X)

    def score(self, X: Any, y: Any = None) -> float:
        """The negated sum of squared distances to the nearest centroids: larger is better."""
        return -float(self._assign(self._checked(X))[1].sum())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, as given."""
        return {name: getattr(self, name) for name in validation.parameter_names(type(self).__init__)}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; they take effect with the next `fit`."""
        validation.unknown_names(params, self.get_params(), "KMeans")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(estimator_type="clusterer", target_tags=TargetTags(required=False),
                    transformer_tags=TransformerTags(), input_tags=InputTags())  # fmt: skip

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_centroids")

    def __repr__(self) -> str:
        return f"KMeans({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"
