"""Columns at right angles, by the same additions in the same order on every machine: see `graphs/directions.py`."""

import math

import numpy as np

from annlab.kernels.simd.path import entry


@entry
def make_orthonormal(path, columns):
    """Gram and Schmidt's process on the columns of an array (dim, m) float64; a column without length becomes zeros.

    Each column is taken out of all that follow. The inner loops run along a row: a register holds several columns, and
    each sum is added up from the first row to the last, whatever the width of registers.
    """
    dim, m = columns.shape
    shares = np.empty(m, np.float64)
    for _ in range(2):  # what rounding left of the first time is taken out by the second
        for i in range(m):
            shares[i:] = 0.0
            for t in range(dim):
                own = columns[t, i]
                for j in range(i, m):
                    shares[j] += own * columns[t, j]
            length = math.sqrt(shares[i])
            inverse = 1.0 / length if length > 0.0 else 0.0
            for j in range(i + 1, m):
                shares[j] *= inverse
            for t in range(dim):
                own = columns[t, i] * inverse
                columns[t, i] = own
                for j in range(i + 1, m):
                    columns[t, j] -= own * shares[j]
