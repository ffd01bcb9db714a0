"""Recall of an approximate index: how many of the k nearest neighbours did it find?

The obvious way, comparing the returned ids with the exact ones, is unfair where distances tie: of two rows at the
same distance, the exact search had to choose one, and finding the other is as good. So a returned row counts if it
is *as near* as the k-th true neighbour: its distance is at most (1 + rtol) times that one's. Four traps are closed:

- the distances must be *true*: computed again from the vectors by :func:`true_distances`, never the index's own
  estimates;
- the tolerance is *relative*. An absolute slack of 1e-3 is nothing for SIFT (distances of 200) and everything for
  cosine;
- *near distance 0* a relative tolerance is none. A copy of the query is at 0 by one formula and at 1e-16 by another,
  because both subtract numbers of magnitude 1. So there is a floor below it, of the size of that rounding: a guess
  from the distances themselves, or the bound that :func:`rounding_floor` takes from the vectors;
- pads (-1) never count, and an id twice in a row is an error: else one good row returned ten times would be perfect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_doubles, as_ids, as_numbers, refuse_duplicates, refuse_negative_ids

_BLOCK = 2**22  # vector components gathered at once
_ULPS = 16  # units in the last place that a few hundred rounded sums lose, with room
_BLUNDER = 1e-3  # the share of a distance by which a mistaken metric is off, at the least


def ann_recall(
    returned_ids: ArrayLike,
    returned_distances: ArrayLike,
    exact_distances: ArrayLike,
    k: int | None = None,
    *,
    rtol: float = 1e-5,
    atol: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """The share of the k nearest neighbours that was found, for each query, ties counted fairly.

    Parameters
    ----------
    returned_ids : int array of shape (q, >= k)
        What the index returned, nearest first; -1 pads.
    returned_distances : array of the same shape
        The true distances of these rows, see :func:`true_distances`. Those of pads are ignored.
    exact_distances : array of shape (q, >= k)
        The distances of the true nearest neighbours, ascending; inf where there are fewer than k (then recall is
        the share of those that exist).
    k : int, optional
        Look at the first k; without it, at all that was returned.
    rtol : float
        How much farther than the k-th true neighbour a row may be, relative to the distance, and still count: room
        for the rounding of float32 distances, and for nothing else.
    atol : float, or array of shape (q,), optional
        How much farther it may be in absolute numbers: room for the rounding of distances near 0, which are small
        differences of large numbers. :func:`rounding_floor` bounds it from the vectors. Without it, the magnitudes
        are guessed: 1 (that of cosine) in float64, and the query's largest distance in the coarser dtype of the two
        arrays; 1 in that dtype, too, where the k-th distance is 0, or rounding has made it negative, or left of it
        a few units in the last place of 1. Where all distances of interest are below 1e-9, pass what fits.

    Returns
    -------
    float64 array of shape (q,)

    Raises
    ------
    ValueError
        If shapes do not fit, an id occurs twice in a row, exact distances are not ascending or a query has none, or
        results are clearly *nearer* than the exact ones: then the two were not computed with the same metric or
        gallery.

    Examples
    --------
    Ids 4 and 9 are both at distance 2, the k-th smallest: either is right.

    >>> ann_recall([[7, 9]], [[1.0, 2.0]], exact_distances=[[1.0, 2.0]]).tolist()
    [1.0]
    >>> ann_recall([[7, -1], [5, 6]], [[1.0, np.inf], [1.0, 3.0]], [[1.0, 2.0], [1.0, 2.0]]).tolist()
    [0.5, 0.5]
    """
    ids = as_ids(returned_ids, "returned_ids", 2)
    k = ids.shape[1] if k is None else as_cutoff(k)
    distances, exact = np.asarray(returned_distances), np.asarray(exact_distances)
    _check_form(ids, distances, exact, k, rtol)
    eps = max(np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0.0 for array in (distances, exact))
    largest = np.maximum(_largest(distances, ids != -1), _largest(exact, np.isfinite(exact)))  # (q,)
    ids, distances, exact = ids[:, :k], distances[:, :k].astype(np.float64), exact[:, :k].astype(np.float64)
    if np.isnan(exact).any() or (exact[:, 1:] < exact[:, :-1]).any():
        raise ValueError("exact_distances must ascend along each row, without NaN")
    present = ids != -1
    if not np.isfinite(distances[present]).all():
        raise ValueError("returned_distances must be finite wherever returned_ids is not -1")

    n_exact = np.count_nonzero(np.isfinite(exact), axis=1)
    if (n_exact == 0).any():
        raise ValueError(f"query {int(np.argmin(n_exact))} has no true neighbour at all: recall is not defined")
    kth = exact[np.arange(len(exact)), n_exact - 1]
    floor = _guessed_floor(kth, largest, float(eps)) if atol is None else _given_floor(atol, len(ids))
    # A mistaken metric shows at every distance, so this check can afford the rounding at 0: under a root an error of
    # `floor` at the k-th distance stands for a larger one there. Without the vectors, magnitude 1 is assumed.
    at_zero = np.sqrt(floor * (floor + 2 * np.abs(kth)))
    usual = 2 * _ULPS * math.sqrt(max(eps, np.finfo(np.float64).eps)) * max(1.0, float(largest.max(initial=0.0)))
    slack = np.maximum(_BLUNDER * np.abs(kth), np.maximum(at_zero, usual))
    _refuse_nearer_than_exact(np.where(present, distances, np.inf), exact, slack)
    tolerance = rtol * np.abs(kth) + floor  # |kth|: inner-product distances are negative
    near_enough = present & (distances <= (kth + tolerance)[:, None])
    return np.asarray(np.minimum(np.count_nonzero(near_enough, axis=1), n_exact) / n_exact)


def _check_form(ids: NDArray[np.int64], distances: NDArray[Any], exact: NDArray[Any], k: int, rtol: float) -> None:
    """Raise a ValueError or TypeError unless answers and exact distances have forms that can be compared."""
    if distances.shape != ids.shape:
        raise ValueError(f"returned_distances has shape {distances.shape}, but returned_ids has {ids.shape}")
    if exact.ndim != 2 or len(exact) != len(ids):
        raise ValueError(f"exact_distances has shape {exact.shape}, but there are {len(ids)} queries")
    if not 1 <= k <= min(ids.shape[1], exact.shape[1]):
        raise ValueError(
            f"k must be between 1 and the results at hand, got k = {k}, {ids.shape[1]} returned, {exact.shape[1]} exact"
        )
    if not 0 <= rtol < 1:
        raise ValueError(f"rtol must be in [0, 1), got {rtol!r}")
    for name, array in (("returned_distances", distances), ("exact_distances", exact)):
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    refuse_negative_ids(ids, "returned_ids")
    refuse_duplicates(ids, "returned_ids")


def rounding_floor(
    queries: ArrayLike,
    vectors: ArrayLike,
    metric: Literal["l2", "cosine", "ip"],
    distances: ArrayLike,
    dtype: DTypeLike = np.float64,
) -> NDArray[np.float64]:
    """How far off distances may be that were computed in `dtype` by the usual formulas: `atol` of :func:`ann_recall`.

    The usual formulas are ``|q|^2 - 2 q.x + |x|^2`` under a root, ``1 - q.x / (|q| |x|)``, and ``-q.x``. Each sums
    numbers as large as the vectors, so its error is theirs, whatever the distance that is left. Under the root that
    error grows towards 0: at distance D it is sqrt(D^2 + e^2) - D, where e^2 is the error of the sum. (Direct
    differences, as annlab computes them, lose nothing at 0; they are within this floor, too.)

    Parameters
    ----------
    queries : array of shape (q, d)
    vectors : array of shape (n, d)
    metric : {"l2", "cosine", "ip"}
    distances : array of shape (q,)
        The distance of each query at which the error is asked for: that of its k-th true neighbour.
    dtype : dtype
        In which the less accurate of the two arrays of distances was computed.

    Returns
    -------
    float64 array of shape (q,)

    Examples
    --------
    >>> points = np.array([[3.0, 4.0]], dtype=np.float32)
    >>> rounding_floor(points, points, "l2", distances=[0.0], dtype=np.float32).round(3).tolist()
    [0.014]
    """
    points, gallery = as_doubles(queries, "queries", 2), as_doubles(vectors, "vectors", 2)
    at = np.abs(as_doubles(distances, "distances", 1))
    if points.shape[1] != gallery.shape[1] or len(points) != len(at):
        raise ValueError(f"shapes do not fit: queries {points.shape}, vectors {gallery.shape}, distances {at.shape}")
    eps = (_ULPS + np.sqrt(points.shape[1])) * np.finfo(dtype).eps
    if metric == "cosine":
        return np.full(len(points), 2 * eps)
    lengths = np.linalg.norm(points, axis=1)
    longest = float(np.linalg.norm(gallery, axis=1).max(initial=0.0))
    if metric == "ip":
        return np.asarray(eps * lengths * longest)
    if metric != "l2":
        raise ValueError(f'metric must be "l2", "cosine" or "ip", got {metric!r}')
    error = np.sqrt(eps) * (lengths + longest)
    return np.asarray(error * (error / np.maximum(np.hypot(at, error) + at, np.finfo(np.float64).tiny)))


def _largest(distances: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The largest magnitude of each row (q,) among those that count."""
    magnitudes = np.abs(np.where(where & np.isfinite(distances), distances, 0.0)).astype(np.float64)
    return np.asarray(magnitudes.max(axis=1, initial=0.0))


def _guessed_floor(kth: NDArray[np.float64], largest: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
    """The absolute tolerance (q,) where nobody says how large the vectors are: see `atol` of :func:`ann_recall`."""
    small = np.abs(kth) <= _ULPS * eps
    steps = 2 * kth / (eps or 1.0)  # what is left of numbers near 1 is a multiple of half a unit in their last place
    at_zero = small & ((kth <= 0) | (steps == np.rint(steps)))
    magnitude = np.where(at_zero, np.maximum(largest, 1.0), largest)
    return np.asarray(_ULPS * (np.finfo(np.float64).eps * np.maximum(largest, 1.0) + eps * magnitude))


def _given_floor(atol: ArrayLike, n_queries: int) -> NDArray[np.float64]:
    floor = np.asarray(atol)
    if floor.dtype.kind not in "iuf" or floor.shape not in ((), (n_queries,)):
        raise ValueError(f"atol must be one number, or one for each of {n_queries} queries, got shape {floor.shape}")
    if not (np.isfinite(floor) & (floor >= 0)).all():
        raise ValueError(f"atol must be 0 or more, and finite, got {floor.min()}")
    return np.broadcast_to(floor.astype(np.float64), (n_queries,))


def _refuse_nearer_than_exact(
    distances: NDArray[np.float64], exact: NDArray[np.float64], slack: NDArray[np.float64]
) -> None:
    """The j-th nearest of some rows cannot be nearer than the j-th nearest of all (but for the rounding of either)."""
    nearer = np.sort(distances, axis=1) < exact - slack[:, None]
    nearer &= np.isfinite(exact)
    if nearer.any():
        row, rank = (int(i) for i in np.argwhere(nearer)[0])
        raise ValueError(
            f"query {row}: the result at rank {rank + 1} is at distance {np.sort(distances[row])[rank]:.6g}, nearer "
            f"than the exact {exact[row, rank]:.6g}: not the same metric or gallery (or, where both should be 0, the "
            "rounding of large vectors: pass atol=rounding_floor(...))"
        )


def true_distances(
    queries: ArrayLike, vectors: ArrayLike, rows: ArrayLike, metric: Literal["l2", "cosine", "ip"]
) -> NDArray[np.float64]:
    """The distances between each query and the rows found for it, in float64, from direct differences.

    Parameters
    ----------
    queries : array of shape (q, d)
    vectors : array of shape (n, d)
    rows : int array of shape (q, k)
        Rows of ``vectors``; -1 gives inf.
    metric : {"l2", "cosine", "ip"}
        Euclidean distance; 1 - cos, 1 if either vector is zero; negated inner product.

    Returns
    -------
    float64 array of shape (q, k)

    Examples
    --------
    >>> true_distances([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]], [[1, 0, -1]], "l2").tolist()
    [[1.0, 5.0, inf]]
    """
    if metric not in ("l2", "cosine", "ip"):
        raise ValueError(f'metric must be "l2", "cosine" or "ip", got {metric!r}')
    points, gallery = as_numbers(queries, "queries", 2), as_numbers(vectors, "vectors", 2)
    found = as_ids(rows, "rows", 2)
    if points.shape[1] != gallery.shape[1] or len(points) != len(found):
        raise ValueError(f"shapes do not fit: queries {points.shape}, vectors {gallery.shape}, rows {found.shape}")
    if found.size and (found.min() < -1 or found.max() >= len(gallery)):
        raise ValueError(f"rows must be 0..{len(gallery) - 1} or -1, got {found.min()}..{found.max()}")
    distances = np.full(found.shape, np.inf)
    query_of, column = np.nonzero(found != -1)
    step = max(1, _BLOCK // max(gallery.shape[1], 1))
    for start in range(0, len(query_of), step):
        part = slice(start, start + step)
        q = as_doubles(points[query_of[part]], "queries", 2)
        v = as_doubles(gallery[found[query_of[part], column[part]]], "vectors", 2)
        distances[query_of[part], column[part]] = _PAIRWISE[metric](q, v)
    return distances


def _l2(q: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    difference, exponents = _scaled(q - v)
    return np.asarray(np.ldexp(np.sqrt(np.square(difference).sum(axis=1)), exponents[:, 0]))


def _cosine(q: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    q, v = _scaled(q)[0], _scaled(v)[0]
    q_norm, v_norm = np.linalg.norm(q, axis=1, keepdims=True), np.linalg.norm(v, axis=1, keepdims=True)
    zero = ((q_norm == 0) | (v_norm == 0))[:, 0]
    q, v = q / np.where(q_norm == 0, 1.0, q_norm), v / np.where(v_norm == 0, 1.0, v_norm)
    return np.where(zero, 1.0, 0.5 * np.square(q - v).sum(axis=1))


def _scaled(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Rows divided by powers of two, so that no square over- or underflows, and the exponents (n, 1). Exact."""
    exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True, initial=0.0))[1]
    return np.ldexp(rows, -exponents), exponents


_PAIRWISE: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]] = {
    "l2": _l2,
    "cosine": _cosine,
    "ip": lambda q, v: -(q * v).sum(axis=1),
}
