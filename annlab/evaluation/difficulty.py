"""How hard a search is, and how far an approximate answer is off: properties of data and queries, not of an index.

- :func:`approximation_factor` [1]_: how much farther the returned rows are than the true neighbours. 1.0 is perfect. It
  forgives what recall counts as a miss: a row that is 1 % farther than the one that was not found.
- :func:`relative_contrast` [2]_: how much farther a typical row is than the k-th neighbour. At 1 there is no nearest
  neighbour to speak of, all rows are equally far; above 2 most indexes do well.
- :func:`local_intrinsic_dimension` [3]_: how fast the number of rows grows with the radius around a query, as the
  dimension of a space in which it would grow so. Data with 784 columns may have 12; trees feel the 12.
- :func:`hubness` [4]_: in high dimensions a few rows are among the neighbours of very many others, and many of none.

All take what searches return: distances (q, k), ascending, and ids (q, k), padded with inf and -1. Distances must be
lengths, of l2 or cosine; negative ones, as of `ip`, are refused.

References
----------
.. [1] Indyk and Motwani, "Approximate nearest neighbors: towards removing the curse of dimensionality", STOC 1998.
.. [2] He, Kumar and Chang, "On the difficulty of nearest neighbor search", ICML 2012.
.. [3] Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", NeurIPS 2004.
.. [4] Radovanovic, Nanopoulos and Ivanovic, "Hubs in space", JMLR 2010.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_ids

Scores = NDArray[np.float64]


def approximation_factor(returned_distances: ArrayLike, exact_distances: ArrayLike, *, worst: bool = False) -> Scores:
    """How much farther than the true neighbours the returned rows are, rank by rank.

    Parameters
    ----------
    returned_distances : array of shape (q, k)
        True distances of what the index returned, ascending (see :func:`true_distances`); inf where it found nothing.
    exact_distances : array of shape (q, k)
        Those of the true neighbours; inf where there are fewer than k, and such ranks do not count.
    worst : bool
        The worst rank in place of the mean over ranks.

    Returns
    -------
    float64 array of shape (q,): at least 1 up to rounding; 1 where both are 0, inf where a neighbour exists and nothing
    was returned, or a copy exists and none was returned; 1 for a query without neighbours.

    Raises
    ------
    ValueError, TypeError
        The shapes differ, or a distance is negative or NaN.

    Examples
    --------
    Distances 1, 2 and 4 exist; 1, 3 and 4 were found: the factors are 1, 1.5 and 1.

    >>> float(approximation_factor([[1.0, 3.0, 4.0]], [[1.0, 2.0, 4.0]])[0])
    1.1666666666666667
    >>> float(approximation_factor([[1.0, 3.0, 4.0]], [[1.0, 2.0, 4.0]], worst=True)[0])
    1.5
    """
    returned, exact = _lengths(returned_distances, "returned_distances"), _lengths(exact_distances, "exact_distances")
    if returned.shape != exact.shape:
        raise ValueError(f"returned_distances {returned.shape} and exact_distances {exact.shape} must have one shape")
    counts = np.isfinite(exact)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factors = np.where(returned == exact, 1.0, returned / exact)
    if worst:
        return np.where(counts, factors, 1.0).max(axis=1, initial=1.0)
    totals: Scores = np.where(counts, factors, 0.0).sum(axis=1)
    return np.where(counts.any(axis=1), totals / np.maximum(counts.sum(axis=1), 1), 1.0)


def relative_contrast(exact_distances: ArrayLike, typical_distances: ArrayLike, k: int = 1) -> Scores:
    """How much farther a typical row is than the k-th neighbour.

    Parameters
    ----------
    exact_distances : array of shape (q, >= k)
        Distances of the nearest neighbours, ascending.
    typical_distances : array of shape (q, m)
        Distances of the same queries to some hundred rows drawn at random.
    k : int

    Returns
    -------
    float64 array of shape (q,): the mean typical distance over that of the k-th neighbour; inf where that is 0 (a
    copy), NaN where there are fewer than k neighbours.

    Raises
    ------
    ValueError, TypeError
        The numbers of queries differ, k is beyond what is given, or a distance is negative, NaN or (typical) infinite.

    Examples
    --------
    >>> relative_contrast([[2.0]], [[3.0, 4.0, 5.0]])
    array([2.])
    """
    exact, typical = _lengths(exact_distances, "exact_distances"), _lengths(typical_distances, "typical_distances")
    if len(exact) != len(typical):
        raise ValueError(f"exact_distances are of {len(exact)} queries, typical_distances of {len(typical)}")
    if as_cutoff(k) > exact.shape[1]:
        raise ValueError(f"k = {k}, but exact_distances hold {exact.shape[1]} neighbours a query")
    if not typical.shape[1] or not np.isfinite(typical).all():
        raise ValueError("typical_distances must be finite, and at least one a query: leave pads out")
    kth = exact[:, k - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast: Scores = np.where(np.isfinite(kth), np.where(kth == 0, np.inf, typical.mean(axis=1) / kth), np.nan)
    return contrast


def local_intrinsic_dimension(exact_distances: ArrayLike) -> Scores:
    """The dimension that the data seems to have around each query, by maximum likelihood.

    If rows were spread evenly over d dimensions, the share of the k nearest within a fraction f of the k-th distance
    would be f^d. So the mean of log(r_k / r_i) is 1 / d. Some 20 to 100 neighbours give a steady estimate; copies of
    the query (distance 0) are left out.

    Parameters
    ----------
    exact_distances : array of shape (q, k)
        Distances of the nearest neighbours, ascending; k of at least 2.

    Returns
    -------
    float64 array of shape (q,): inf where all neighbours are equally far, NaN where fewer than two are left.

    Raises
    ------
    ValueError, TypeError
        Fewer than two neighbours a query, or a distance that is negative or NaN.

    Examples
    --------
    Neighbours at 1/4, 1/2 and 1: the logarithms of 4 and 2 have the mean 1.04, so the data looks one-dimensional.

    >>> float(local_intrinsic_dimension([[0.25, 0.5, 1.0]])[0].round(3))
    0.962
    """
    distances = _lengths(exact_distances, "exact_distances")
    if distances.shape[1] < 2:
        raise ValueError(f"a dimension needs at least two neighbours, and there is {distances.shape[1]} a query")
    usable = np.isfinite(distances) & (distances > 0)
    n_usable = usable.sum(axis=1)
    farthest = np.where(usable, distances, 0.0).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.where(usable, np.log(farthest[:, None]) - np.log(distances), 0.0).sum(axis=1)
        dimension: Scores = np.where(n_usable >= 2, (n_usable - 1) / logarithms, np.nan)  # the k-th itself adds nothing
    return dimension


class Hubness(NamedTuple):
    """How unevenly rows are found; see :func:`hubness`.

    Attributes
    ----------
    counts : int64 array of shape (n,)
        How often each row is among the k nearest of a query.
    skewness : float
        Of these counts: about 0 where all rows are found alike, above 1 where there are hubs.
    never_found : float
        The share of the rows that no query finds.
    """

    counts: NDArray[np.int64]
    skewness: float
    never_found: float


def hubness(ids: ArrayLike, n: int) -> Hubness:
    """How often each of n rows is among the neighbours of the queries.

    Parameters
    ----------
    ids : int array of shape (q, k)
        Neighbours as row numbers 0..n-1; -1 pads. Usually every row is a query, without itself among its neighbours.
    n : int

    Raises
    ------
    ValueError, TypeError
        An id that is none of the rows.

    Examples
    --------
    Row 0 is the nearest of all others, and row 1 of row 0: one hub, and two rows that nobody finds.

    >>> found = hubness([[1], [0], [0], [0]], n=4)
    >>> found.counts, round(found.skewness, 2), found.never_found
    (array([3, 1, 0, 0]), 0.82, 0.5)
    """
    rows = as_ids(ids, "ids", 2)
    n = as_cutoff(n, "n")
    outside = (rows < -1) | (rows >= n)
    if outside.any():
        raise ValueError(f"ids holds {rows[outside][0]}, but rows are numbered 0..{n - 1}, and -1 pads")
    counts = np.bincount(rows[rows >= 0], minlength=n).astype(np.int64)
    centred = counts - counts.mean()
    spread = float(np.sqrt((centred**2).mean()))
    skewness = float((centred**3).mean()) / spread**3 if spread > 0 else 0.0
    return Hubness(counts, skewness, float((counts == 0).mean()))


def _lengths(values: ArrayLike, name: str) -> Scores:
    """Distances (q, k) in float64; inf is allowed, for pads."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (queries, k), got {array.shape}")
    distances = array.astype(np.float64)
    wrong = np.isnan(distances) | (distances < 0)
    if wrong.any():
        first = tuple(int(i[0]) for i in wrong.nonzero())
        raise ValueError(f"{name}{list(first)} is {distances[first]}: distances are lengths, 0 or more")
    return distances
