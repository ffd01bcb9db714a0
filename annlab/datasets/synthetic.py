"""Synthetic data whose difficulty is known: a curved surface of a stated dimension in a space of many more.

What makes nearest-neighbour search hard is not the number of columns but the intrinsic dimension: in how many
directions one can move without leaving the data. The 784 pixels of Fashion-MNIST behave like about 13 dimensions.
``synthetic`` makes data for which this number is an input:

1. latent points z in m = ``intrinsic_dim`` dimensions, uniform in the unit cube or in Gaussian clusters;
2. the graph of a smooth function over them: the point (z, g(z)), where each of the other ``dim - m`` coordinates is a
   sine wave along a random direction of z, so that all of them are used and the surface is curved;
3. a random rotation of the whole, so that no coordinate axis is special.

The graph of a smooth function is a manifold of dimension m exactly, without creases or self-intersections, whatever
the waves are. As z moves by the width of the cube a wave passes through about half a period: over the distance to the
nearest neighbours the surface is almost flat, so estimators see m there, while over longer distances it is not.

``uniform_noise`` is the opposite extreme, all columns independent: no index can beat a scan on much of it.
"""

import numpy as np

from annlab.datasets.dataset import Dataset

# Standard deviation of a cluster; the centres are uniform in the unit cube.
CLUSTER_DEVIATION = 0.05


def synthetic(
    n: int,
    dim: int,
    intrinsic_dim: int,
    n_queries: int = 1000,
    *,
    clusters: int = 0,
    metric: str = "l2",
    dtype: type | str = np.float32,
    seed: int = 0,
) -> Dataset:
    """Make data of a stated intrinsic dimension.

    Parameters
    ----------
    n, n_queries : int
        Rows of ``train`` and of ``test``; both are drawn from the same distribution.
    dim : int
        Columns.
    intrinsic_dim : int
        1..dim, see the text above.
    clusters : int
        0: uniform. Otherwise that many Gaussian clusters of equal weight, whose numbers become the labels.
    metric : {"l2", "cosine", "ip"}
        Only stated; the intrinsic dimension is meant in "l2".
    dtype : numpy.float32 or numpy.float64
    seed : int
        The same arguments and seed give the same data.

    Returns
    -------
    Dataset
        Without true neighbours: an exact index finds them.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> synthetic(n=1000, dim=64, intrinsic_dim=8, n_queries=10, clusters=5)
    Dataset('synthetic-64d-8id-5c': 1000 x 64 float32, 10 queries, l2, labels)
    """
    _check_sizes(n=n, dim=dim, intrinsic_dim=intrinsic_dim, n_queries=n_queries)
    if intrinsic_dim > dim:
        raise ValueError(f"intrinsic_dim must be at most dim = {dim}, not {intrinsic_dim}")
    if clusters < 0:
        raise ValueError(f"clusters must be 0 (uniform) or more, not {clusters}")
    checked_dtype = _float_dtype(dtype)
    rng = np.random.default_rng(seed)
    total = n + n_queries
    labels = None
    if clusters:
        labels = rng.integers(clusters, size=total)
        centres = rng.random((clusters, intrinsic_dim))
        latent = centres[labels] + CLUSTER_DEVIATION * rng.standard_normal((total, intrinsic_dim))
    else:
        latent = rng.random((total, intrinsic_dim))
    vectors = _embed(latent, dim, rng).astype(checked_dtype)
    name = f"synthetic-{dim}d-{intrinsic_dim}id" + (f"-{clusters}c" if clusters else "")
    if labels is None:
        return Dataset(name, vectors[:n], vectors[n:], metric)
    return Dataset(name, vectors[:n], vectors[n:], metric, train_labels=labels[:n], test_labels=labels[n:])


def uniform_noise(n: int, dim: int, n_queries: int = 1000, *, dtype: type | str = np.float32, seed: int = 0) -> Dataset:
    """Make data without structure: every column independent and uniform in [0, 1).

    Parameters are those of `synthetic`; the intrinsic dimension is ``dim``, the metric "l2".

    Examples
    --------
    >>> uniform_noise(n=100, dim=16, n_queries=10)
    Dataset('uniform-16d': 100 x 16 float32, 10 queries, l2)
    """
    _check_sizes(n=n, dim=dim, n_queries=n_queries)
    vectors = np.random.default_rng(seed).random((n + n_queries, dim)).astype(_float_dtype(dtype))
    return Dataset(f"uniform-{dim}d", vectors[:n], vectors[n:], "l2")


def _embed(latent: np.ndarray, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Map latent points (n, m) to the rotated graph of a smooth function over them, (n, dim)."""
    m = latent.shape[1]
    directions = rng.standard_normal((m, dim - m))
    directions /= np.linalg.norm(directions, axis=0)
    # Half a period over a distance of 1. With this amplitude the squared slopes of all waves add up to about half the
    # squared slope of the flat part of the graph, in every direction and however many waves there are.
    amplitude = np.sqrt(m / max(dim - m, 1)) / np.pi
    waves = amplitude * np.sin(np.pi * (latent @ directions) + rng.uniform(0, 2 * np.pi, dim - m))
    rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    return np.hstack([latent, waves]) @ rotation


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, not {size}")


def _float_dtype(dtype: type | str) -> np.dtype:
    resolved = np.dtype(dtype)
    if resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, not {resolved}")
    return resolved


def intrinsic_dimension(vectors: np.ndarray, k: int = 20, *, n_samples: int = 1000, seed: int = 0) -> float:
    """Estimate the intrinsic dimension of data from how fast its neighbourhoods grow.

    In m dimensions the number of points within distance r grows as r^m. From the distances T_1..T_k to a point's k
    nearest neighbours, the likeliest m is the inverse of the mean of log(T_k / T_j) over j < k (E. Levina, P. Bickel,
    "Maximum Likelihood Estimation of Intrinsic Dimension", NeurIPS 2004). The inverses, not the estimates, are averaged
    over the points (D. MacKay, Z. Ghahramani, comment on that paper, 2005).

    The more dimensions and the fewer points, the more of them are near the border of the data, and the lower the
    estimate: among 5,000 uniform points it is 6.9 for 8 dimensions, 12 for 16 and 21 for 32.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim)
        Compared by Euclidean distance; normalise the rows first if cosine is meant.
    k : int
        3..n - 1: neighbours per point.
    n_samples : int
        So many rows, chosen at random, are looked at; all are searched.
    seed : int

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are fewer than k + 1 rows, or too many duplicates to tell.

    Examples
    --------
    >>> round(intrinsic_dimension(uniform_noise(n=5000, dim=2).train))
    2
    """
    if not 3 <= k < len(vectors):
        raise ValueError(f"k must be 3..n - 1, not {k}; there are n = {len(vectors)} vectors")
    from sklearn.neighbors import NearestNeighbors

    n_samples = min(n_samples, len(vectors))
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), n_samples, replace=False))
    search = NearestNeighbors(n_neighbors=k + 1).fit(vectors)
    distances = search.kneighbors(vectors[rows])[0][:, 1:].astype(np.float64)
    distances = distances[distances[:, 0] > 0]  # a duplicate says nothing of growth
    if not len(distances) or not (distances[:, -1] > distances[:, 0]).any():
        raise ValueError(f"the nearest {k} neighbours of all {n_samples} sampled rows are duplicates or equally far")
    inverses = np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1)
    return float(1 / inverses.mean())
