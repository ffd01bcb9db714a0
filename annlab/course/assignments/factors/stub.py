"""Approximation factors: projections, a hypercube and an inverted file on images of clothes. See handout.md."""

import numpy as np

ASSIGNMENT = "factors"


def exact_search(data: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare every query with every row, by the Euclidean distance.

    data: (n, d). queries: (q, d).
    Returns (distances, rows), both (q, k): the nearest first and, among equals, the smaller row.
    """
    raise NotImplementedError


def projection_keys(data: np.ndarray, directions: np.ndarray, shifts: np.ndarray, width: float) -> np.ndarray:
    """The cell of every row on every line: h(v) = floor((v . direction + shift) / width).

    data: (n, d). directions: (m, d). shifts: (m,), from 0 to width.
    Returns (n, m) whole numbers. Two rows that are near fall into one cell of a line more often than two that are far.
    """
    raise NotImplementedError


def corners(data: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The corner of the hypercube of every row: bit j is 1 where v . directions[j] > 0, and counts 2**j.

    data: (n, d). directions: (n_bits, d). Returns (n,) whole numbers.
    """
    raise NotImplementedError


def probed_corners(corner: int, n_bits: int, n_probes: int) -> list[int]:
    """The n_probes corners to look at: the query's own, then by the number of bits that differ and, among equals, by
    the number of the corner."""
    raise NotImplementedError


def hypercube_search(
    data: np.ndarray, keys: np.ndarray, probes: list[int], query: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest among the rows at the probed corners; fewer if there are fewer.

    keys: (n,), the corner of every row. probes: corners. Returns (distances, rows), the nearest first.
    """
    raise NotImplementedError


def update_centres(data: np.ndarray, assigned: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """One half of Lloyd's step: each centre becomes the mean of its rows. One without rows stays where it is.

    data: (n, d). assigned: (n,), the centre of every row. centres: (m, d). Returns (m, d).
    """
    raise NotImplementedError


def ivf_search(
    data: np.ndarray, centres: np.ndarray, assigned: np.ndarray, query: np.ndarray, k: int, n_probes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest among the rows whose centres are the n_probes nearest to the query; fewer if there are fewer.

    Returns (distances, rows), the nearest first.
    """
    raise NotImplementedError


def approximation_factors(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """The mean and the largest of distance found over true distance, rank by rank.

    found, true: (q, k), ascending. Where both are 0 the factor is 1; where only the true one is, it is inf.
    """
    raise NotImplementedError
