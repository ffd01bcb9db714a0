"""Recall of an approximate index: how many of the k nearest neighbours did it find?

The obvious way, comparing the returned ids with the exact ones, is unfair where distances tie: of two rows at the
same distance, the exact search had to choose one, and finding the other is as good. So a returned row counts if it
is *as near* as the k-th true neighbour: its distance is at most (1 + rtol) times that one's. Three traps are
closed:

- the distances must be *true*: computed again from the vectors by :func:`true_distances`, never the index's own
  estimates;
- the tolerance is *relative*. An absolute slack of 1e-3 is nothing for SIFT (distances of 200) and everything for
  cosine;
- pads (-1) never count, and an id twice in a row is an error: else one good row returned ten times would be perfect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_ids, as_numbers, refuse_duplicates, refuse_negative_ids

_BLOCK = 2**22  # vector components gathered at once


def ann_recall(
    returned_ids: ArrayLike,
    returned_distances: ArrayLike,
    exact_distances: ArrayLike,
    k: int | None = None,
    *,
    rtol: float = 1e-5,
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
    refuse_negative_ids(ids, "returned_ids")
    refuse_duplicates(ids, "returned_ids")
    ids, distances, exact = ids[:, :k], distances[:, :k].astype(np.float64), exact[:, :k].astype(np.float64)
    if np.isnan(exact).any() or (exact[:, 1:] < exact[:, :-1]).any():
        raise ValueError("exact_distances must ascend along each row, without NaN")
    present = ids != -1
    if not np.isfinite(distances[present]).all():
        raise ValueError("returned_distances must be finite wherever returned_ids is not -1")

    n_exact = np.count_nonzero(np.isfinite(exact), axis=1)
    if (n_exact == 0).any():
        raise ValueError(f"query {int(np.argmin(n_exact))} has no true neighbour at all: recall is not defined")
    kth = exact[np.arange(len(exact)), n_exact - 1][:, None]
    _refuse_nearer_than_exact(np.where(present, distances, np.inf), exact, kth)
    near_enough = present & (distances <= kth + rtol * np.abs(kth))  # |kth|: inner-product distances are negative
    return np.asarray(np.minimum(np.count_nonzero(near_enough, axis=1), n_exact) / n_exact)


def _refuse_nearer_than_exact(
    distances: NDArray[np.float64], exact: NDArray[np.float64], kth: NDArray[np.float64]
) -> None:
    """The j-th nearest of some rows cannot be nearer than the j-th nearest of all (but for the rounding of either)."""
    nearer = np.sort(distances, axis=1) < exact - 1e-3 * np.abs(kth)
    nearer &= np.isfinite(exact)
    if nearer.any():
        row, rank = (int(i) for i in np.argwhere(nearer)[0])
        raise ValueError(
            f"query {row}: the result at rank {rank + 1} is at distance {np.sort(distances[row])[rank]:.6g}, nearer "
            f"than the exact {exact[row, rank]:.6g}: not the same metric or gallery"
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
    points, gallery, found = (
        as_numbers(queries, "queries", 2),
        as_numbers(vectors, "vectors", 2),
        as_ids(rows, "rows", 2),
    )
    if points.shape[1] != gallery.shape[1] or len(points) != len(found):
        raise ValueError(f"shapes do not fit: queries {points.shape}, vectors {gallery.shape}, rows {found.shape}")
    if found.size and (found.min() < -1 or found.max() >= len(gallery)):
        raise ValueError(f"rows must be 0..{len(gallery) - 1} or -1, got {found.min()}..{found.max()}")
    distances = np.full(found.shape, np.inf)
    query_of, column = np.nonzero(found != -1)
    step = max(1, _BLOCK // max(gallery.shape[1], 1))
    for start in range(0, len(query_of), step):
        part = slice(start, start + step)
        q = points[query_of[part]].astype(np.float64)
        v = gallery[found[query_of[part], column[part]]].astype(np.float64)
        distances[query_of[part], column[part]] = _PAIRWISE[metric](q, v)
    return distances


def _cosine(q: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    q_norm, v_norm = np.linalg.norm(q, axis=1, keepdims=True), np.linalg.norm(v, axis=1, keepdims=True)
    zero = ((q_norm == 0) | (v_norm == 0))[:, 0]
    q, v = q / np.where(q_norm == 0, 1.0, q_norm), v / np.where(v_norm == 0, 1.0, v_norm)
    return np.where(zero, 1.0, 0.5 * np.square(q - v).sum(axis=1))


_PAIRWISE: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]] = {
    "l2": lambda q, v: np.sqrt(np.square(q - v).sum(axis=1)),
    "cosine": _cosine,
    "ip": lambda q, v: -(q * v).sum(axis=1),
}
