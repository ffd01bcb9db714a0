"""Squared distances of a query to the sixteen rows of a leaf, from rows as they lie in memory.

A tree keeps no second copy of its vectors in an order that suits registers, so a leaf has to be turned on its way into
them. How depends on the dimension:

- up to 4: the leaf is loaded whole and its columns are picked out by shuffles, one register per coordinate;
- up to 8, and above: a register holds a row (of 8 or 16 coordinates at a time); sixteen rows of squares are then summed
  together, by adding neighbouring lanes of two registers into one until one register holds the sixteen sums.

Differences are taken in the element type of the vectors and rounded to float32, then squared and summed in float32: the
result errs by at most (dim + 3) 2^-24 of itself. For `cosine` a row is scaled to length 1 by its stored inverse norm,
and the query is one of length 1, so each of the two vectors errs by a few 2^-24 (see `annlab/trees/structure.py`).

Up to `READS_BEYOND` elements behind the leaf are read: the caller copies the array's last leaf to a larger place.
"""

import numpy as np

from annlab.kernels.distance import COSINE
from annlab.kernels.simd.lanes import to_floats
from annlab.kernels.simd.path import inlined
from annlab.kernels.simd.registers import fma, load_eight
from annlab.kernels.simd.wide import (
    column_loader,
    joined,
    load_sixteen,
    pair_sums,
    registers_of_eight,
    registers_of_sixteen,
    select,
    splat_like,
    splat_sixteen,
)

LEAF_ROWS = 16
READS_BEYOND = 16
_ZERO, _TWO = np.float32(0), np.float32(2)


@inlined
def _raw_column(x, scales, q):
    return to_floats(x - splat_sixteen(q))


@inlined
def _scaled_column(x, scales, q):
    return to_floats(x) * load_sixteen(scales) - splat_sixteen(q)


@inlined
def _raw_row(x, scales, row, q):
    return to_floats(x - q)


@inlined
def _scaled_row(x, scales, row, q):
    return to_floats(x) * splat_like(scales[row], q) - q


def _columns_scan(dim, difference):
    """A scan for up to four coordinates."""
    c0, c1, c2, c3 = (column_loader(dim, min(column, dim - 1)) for column in range(4))

    @inlined
    def scan(x, scales, q):
        d = difference(c0(x), scales, q[0])
        total = d * d
        if dim > 1:
            d = difference(c1(x), scales, q[1])
            total = fma(d, d, total)
        if dim > 2:
            d = difference(c2(x), scales, q[2])
            total = fma(d, d, total)
        if dim > 3:
            d = difference(c3(x), scales, q[3])
            total = fma(d, d, total)
        return total

    return scan


@inlined
def _sum_to_two(block):
    """Sixteen registers -> two: lanes of neighbours are added, row by row."""
    for i in range(8):
        block[i] = pair_sums(block[2 * i], block[2 * i + 1])
    for i in range(4):
        block[i] = pair_sums(block[2 * i], block[2 * i + 1])
    for i in range(2):
        block[i] = pair_sums(block[2 * i], block[2 * i + 1])


def _rows_scan(difference):
    """A scan for five coordinates and more."""

    @inlined
    def scan(x, scales, q, dim):
        if dim <= 8:
            eights, query, lanes = registers_of_eight(16), load_eight(q), (1 << dim) - 1
            for row in range(LEAF_ROWS):
                d = difference(load_eight(x + row * dim), scales, row, query)
                d = select(lanes, d, splat_like(_ZERO, d))
                eights[row] = d * d
            _sum_to_two(eights)
            return joined(eights[0], eights[1])
        block, whole = registers_of_sixteen(16), (dim - 1) // 16 * 16  # the last chunk is taken apart, whole or not
        query, lanes = load_sixteen(q + whole), (1 << (dim - whole)) - 1
        for row in range(LEAF_ROWS):
            d = difference(load_sixteen(x + row * dim + whole), scales, row, query)
            d = select(lanes, d, splat_like(_ZERO, d))
            block[row] = d * d
        for i in range(0, whole, 16):
            query = load_sixteen(q + i)
            for row in range(LEAF_ROWS):
                d = difference(load_sixteen(x + row * dim + i), scales, row, query)
                block[row] = fma(d, d, block[row])
        _sum_to_two(block)
        return pair_sums(block[0], block[1])

    return scan


_raw_1, _raw_2, _raw_3, _raw_4 = (_columns_scan(dim, _raw_column) for dim in (1, 2, 3, 4))
_scaled_1, _scaled_2, _scaled_3, _scaled_4 = (_columns_scan(dim, _scaled_column) for dim in (1, 2, 3, 4))
_raw_rows, _scaled_rows = _rows_scan(_raw_row), _rows_scan(_scaled_row)


@inlined
def _raw(x, scales, q, dim):
    if dim == 1:
        return _raw_1(x, scales, q)
    if dim == 2:
        return _raw_2(x, scales, q)
    if dim == 3:
        return _raw_3(x, scales, q)
    if dim == 4:
        return _raw_4(x, scales, q)
    return _raw_rows(x, scales, q, dim)


@inlined
def _scaled(x, scales, q, dim):
    if dim == 1:
        return _scaled_1(x, scales, q)
    if dim == 2:
        return _scaled_2(x, scales, q)
    if dim == 3:
        return _scaled_3(x, scales, q)
    if dim == 4:
        return _scaled_4(x, scales, q)
    return _scaled_rows(x, scales, q, dim)


@inlined
def leaf_distances(x, scales, q, unit, dim, metric):
    """Sixteen squared distances: of rows x to q (`l2`), or of rows x * scales to `unit`, which is q / |q| in float32.

    x, scales: the leaf's first row and inverse norm; q, unit: followed by zeros up to a multiple of sixteen.
    """
    if metric == COSINE:
        result = _scaled(x, scales, unit, dim)
        # a zero vector is at cosine distance 1, a squared distance of 2, from everything
        is_zero = load_sixteen(scales) == splat_sixteen(_ZERO)
        return select(is_zero, splat_sixteen(_TWO), result)
    return _raw(x, scales, q, dim)
