"""The leading directions of rows, the same to the last bit whatever library of linear algebra NumPy has.

Subspace iteration: some directions at random are multiplied with the covariance matrix, which stretches them towards
the leading ones, and are brought back to right angles, in turn (Halko, Martinsson and Tropp, 2011, have the theory).
The first of them come nearest to the first principal components, so any number of the first is a good choice of that
number.

Libraries of linear algebra add in an order that depends on the CPU and the number of threads, so their sums differ in
the last bits, and an index built on these would be another file. Here they multiply whole numbers only, so small that
no sum leaves the 53 bits of a float64: then every sum is exact, and no order matters. Rounding to whole numbers turns
the directions by a millionth or so. Only right angles are made by a kernel (`kernels/graphs/directions.py`).
"""

import numpy as np

from annlab.kernels.graphs import directions as kernels

_BITS = 52  # of exact sums, and one for the sign
_ROUNDS, _PRODUCTS = 4, 3  # after that the variance along so many directions is within 0.3 % of the most there is
_MORE = 10  # directions than are wanted: they take up what would delay the last of these


def leading_directions(rows: np.ndarray, wanted: int) -> np.ndarray:
    """Directions (dim, wanted) float64, the leading one first, of rows (n, dim) about zero; orthonormal."""
    n, dim = rows.shape
    whole = _whole(rows, (_BITS - n.bit_length()) // 2)
    spread = _whole(whole.T @ whole, _BITS // 2)
    columns = 2.0 * np.random.default_rng(0).integers(0, 2, (dim, min(dim, wanted + _MORE))) - 1.0
    for _ in range(_ROUNDS):
        for _ in range(_PRODUCTS):
            columns = spread @ _whole(columns, _BITS // 2 - dim.bit_length(), axis=0)
        kernels.make_orthonormal(columns)
    return columns[:, :wanted]


def _whole(numbers: np.ndarray, bits: int, axis: int | None = None) -> np.ndarray:
    """Numbers in units of which the largest of all (or of each column) has 2^bits, rounded to whole ones."""
    largest = np.abs(numbers).max(axis=axis)
    return np.rint(numbers * (2.0**bits / np.where(largest > 0, largest, 1.0)))
