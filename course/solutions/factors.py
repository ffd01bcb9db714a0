"""Approximation factors: projections, a hypercube and an inverted file on images of clothes. See handout.md."""

import numpy as np

ASSIGNMENT = "factors"


def exact_search(data: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare every query with every row, by the Euclidean distance.

    data: (n, d). queries: (q, d).
    Returns (distances, rows), both (q, k): the nearest first and, among equals, the smaller row.
    """
    answers = [_nearest(_l2(data, query), np.arange(len(data)), k) for query in queries]
    return np.array([distances for distances, _ in answers]), np.array([rows for _, rows in answers])


def projection_keys(data: np.ndarray, directions: np.ndarray, shifts: np.ndarray, width: float) -> np.ndarray:
    """The cell of every row on every line: h(v) = floor((v . direction + shift) / width).

    data: (n, d). directions: (m, d). shifts: (m,), from 0 to width.
    Returns (n, m) whole numbers. Two rows that are near fall into one cell of a line more often than two that are far.
    """
    return np.floor((data @ directions.T + shifts) / width).astype(int)


def corners(data: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The corner of the hypercube of every row: bit j is 1 where v . directions[j] > 0, and counts 2**j.

    data: (n, d). directions: (n_bits, d). Returns (n,) whole numbers.
    """
    return (data @ directions.T > 0) @ (1 << np.arange(len(directions)))


def probed_corners(corner: int, n_bits: int, n_probes: int) -> list[int]:
    """The n_probes corners to look at: the query's own, then by the number of bits that differ and, among equals, by
    the number of the corner."""
    return sorted(range(1 << n_bits), key=lambda other: ((corner ^ other).bit_count(), other))[:n_probes]


def hypercube_search(
    data: np.ndarray, keys: np.ndarray, probes: list[int], query: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest among the rows at the probed corners; fewer if there are fewer.

    keys: (n,), the corner of every row. probes: corners. Returns (distances, rows), the nearest first.
    """
    rows = np.flatnonzero(np.isin(keys, probes))
    return _nearest(_l2(data[rows], query), rows, k)


def update_centres(data: np.ndarray, assigned: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """One half of Lloyd's step: each centre becomes the mean of its rows. One without rows stays where it is.

    data: (n, d). assigned: (n,), the centre of every row. centres: (m, d). Returns (m, d).
    """
    moved = centres.copy()
    for centre in range(len(centres)):
        members = data[assigned == centre]
        if len(members):
            moved[centre] = members.mean(axis=0)
    return moved


def ivf_search(
    data: np.ndarray, centres: np.ndarray, assigned: np.ndarray, query: np.ndarray, k: int, n_probes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest among the rows whose centres are the n_probes nearest to the query; fewer if there are fewer.

    Returns (distances, rows), the nearest first.
    """
    _, cells = _nearest(_l2(centres, query), np.arange(len(centres)), n_probes)
    rows = np.flatnonzero(np.isin(assigned, cells))
    return _nearest(_l2(data[rows], query), rows, k)


def approximation_factors(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """The mean and the largest of distance found over true distance, rank by rank.

    found, true: (q, k), ascending. Where both are 0 the factor is 1; where only the true one is, it is inf.
    """
    factors = np.ones(found.shape)
    apart = found != true
    with np.errstate(divide="ignore"):
        factors[apart] = found[apart] / true[apart]
    return float(factors.mean()), float(factors.max())


def _l2(data, query):
    return np.sqrt(((data - query) ** 2).sum(axis=1))


def _nearest(distances, rows, k):
    order = np.lexsort((rows, distances))[:k]
    return distances[order], rows[order]
