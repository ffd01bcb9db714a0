"""What a walk compares: the query, and LANES nodes at a time.

Points. A walk knows squared Euclidean distances only, between *points* that stand for the users' vectors:

    l2       p = (x - center) scale                   |p - p'|^2 has the order of the distances
    cosine   p = x / |x| - center                     the same; zero vectors get a term that puts them at a right angle
    ip       p = (x scale, sqrt(1 - |x scale|^2))     queries are (q / |q|, 0): |p - q|^2 = 2 - 2 scale x.q / |q|
             less the center                          (scale brings the longest vector to length 1)

Codes ("sq8"). A point is stored as bytes c, p = step (c - 128), a query is rounded to signed bytes b, q = t b. With
N = |p|^2, which is stored beside the links, the squared distance is

    |p - q|^2  =  N + |q|^2 - 2 step t (c.b - 128 sum b)

so of a node only c.b is left to compute: four multiplications in every int32 lane at once, exact. N and |q|^2 are those
of the rounded point and the rounded query, so what is found is the true distance of these two. Where codes hold leading
components (`graphs/leading.py`), p and q are those: a query is rounded, turned by directions that are bytes as well,
and its components are rounded. (Directions are read for every query: as floats they take four times as long.)

Floats ("flat"). The points themselves; what lies beside the links is only the term of zero vectors.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, INNER_PRODUCT, inverse_norm
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, dot_bytes, ints_to_floats
from annlab.kernels.simd.folding import QUARTER, fold_rows
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.registers import (
    LANES,
    fma,
    int_registers,
    load,
    load_first,
    pointer,
    pointers,
    prefetch,
    splat,
    store,
)

MIDDLE = 128  # the code of zero
ROW_BYTES = 64  # codes of a row are padded to whole registers of the widest path, and to cache lines
LINE_FLOATS = 16
_AXES_AT_ONCE = 4 * LANES
_ZERO, _NOUGHT, _TINY, _TWO = np.int32(0), np.float32(0.0), np.float32(1e-30), np.float32(2.0)
_FARTHEST = 1e9  # a coordinate of a query: farther away only the direction counts
_SMALLER = 2.0**-1000  # the largest scale becomes 1


class Asking(NamedTuple):
    """A query, ready to be compared: where its bytes and floats lie, and the numbers of the formula above."""

    codes: Any  # int8 (stride,)
    point: Any  # float32 (point_dim,)
    factor: Any
    offset: Any
    middle: Any


class Axes(NamedTuple):
    """Directions that turn a query, made by `axes_in_bytes`; none: n_axes is 0."""

    codes: Any  # uint8 (n_axes, stride) about `MIDDLE`
    steps: Any  # float32 (n_axes,)
    n_axes: int  # whole lines of bytes
    dim: int  # of points


@kernel
def _largest(query, dim, factor, center, middle):
    """The largest coordinate of a scaled and centred query."""
    largest = 0.0
    for i in range(dim):
        largest = max(largest, abs(np.float64(query[i]) * factor - center[i] * middle))
    return largest


@kernel
def convert(query, dim, metric, center, scale, point):
    """The point of a query; for ip it is a coordinate longer than the query. Returns its length."""
    factor = scale
    if metric == COSINE:
        factor = inverse_norm(query, dim)
    if metric == INNER_PRODUCT:
        largest = 0.0
        for i in range(dim):
            largest = max(largest, abs(np.float64(query[i])))
        squares, shrunk = 0.0, 1.0 / largest if largest > 0.0 else 0.0
        for i in range(dim):
            squares += (np.float64(query[i]) * shrunk) ** 2
        factor = shrunk / math.sqrt(squares) if squares > 0.0 else 0.0
    middle = scale if metric != INNER_PRODUCT and metric != COSINE else 1.0
    largest = _largest(query, dim, factor, center, middle)
    if not largest < np.inf:  # an ordinary query of rows so small that their scale is huge
        factor, middle = factor * _SMALLER, middle * _SMALLER
        largest = _largest(query, dim, factor, center, middle)
    shrunk = _FARTHEST / largest if largest > _FARTHEST else 1.0
    for i in range(dim):
        point[i] = np.float32((np.float64(query[i]) * factor - center[i] * middle) * shrunk)
    if metric == INNER_PRODUCT:
        point[dim] = np.float32(-center[dim])


@kernel
def _turn(point, dim, axes, n_axes, turned):
    """The components of a point: axes (dim, n_axes), whole lines of bytes of them; turned (n_axes,).

    Even coordinates are added up, and odd ones, and then both: the same sums for any width of registers.
    """
    for start in range(0, n_axes, _AXES_AT_ONCE):
        a, b, c, d = splat(_NOUGHT), splat(_NOUGHT), splat(_NOUGHT), splat(_NOUGHT)
        e, f, g, h = a, b, c, d
        for i in range(0, dim - 1, 2):
            even, odd, row = splat(point[i]), splat(point[i + 1]), axes + (i * n_axes + start)
            a, b = fma(even, load(row), a), fma(even, load(row + LANES), b)
            c, d = fma(even, load(row + 2 * LANES), c), fma(even, load(row + 3 * LANES), d)
            row = row + n_axes
            e, f = fma(odd, load(row), e), fma(odd, load(row + LANES), f)
            g, h = fma(odd, load(row + 2 * LANES), g), fma(odd, load(row + 3 * LANES), h)
        if dim % 2 != 0:
            last, row = splat(point[dim - 1]), axes + ((dim - 1) * n_axes + start)
            a, b = fma(last, load(row), a), fma(last, load(row + LANES), b)
            c, d = fma(last, load(row + 2 * LANES), c), fma(last, load(row + 3 * LANES), d)
        store(turned + start, a + e)
        store(turned + (start + LANES), b + f)
        store(turned + (start + 2 * LANES), c + g)
        store(turned + (start + 3 * LANES), d + h)


@kernel
def round_to_bytes(point, dim, step, codes, stride):
    """The bytes of a point: codes (stride,), zeros behind dim. Returns factor, offset and middle of `Asking`."""
    largest = _TINY
    for i in range(dim):
        largest = max(largest, abs(point[i]))
    t = largest / np.float32(LARGEST_SIGNED)
    inverse, total, squares = np.float32(1.0) / t, np.int32(0), np.int64(0)
    for i in range(dim):
        level = np.int32(math.floor(point[i] * inverse + np.float32(0.5)))
        codes[i] = np.int8(level)
        total += level
        squares += level * level
    for i in range(dim, stride):
        codes[i] = np.int8(0)
    return np.float32(-_TWO * step * t), np.float32(t * t * np.float32(squares)), np.int32(MIDDLE * total)


@inlined
def _byte_dot(row, codes, stride):
    sums = splat(_ZERO)
    for i in range(0, stride, REGISTER_BYTES):
        sums = dot_bytes(sums, load(row + i), load(codes + i))
    return sums


@kernel
def turn_query(point, axes, codes, turned):
    """About the components of a query's point: turned (n_axes,); codes: room for the bytes of the point."""
    block, sums = int_registers(LANES), int_registers(QUARTER)
    stride = -(-axes.dim // ROW_BYTES) * ROW_BYTES
    minus_two_steps, _, middle = round_to_bytes(point, axes.dim, np.float32(1.0), codes, stride)
    step = np.float32(-0.5) * minus_two_steps
    for start in range(0, axes.n_axes, LANES):
        for z in range(LANES):
            block[z] = _byte_dot(axes.codes + (start + z) * stride, codes, stride)
        fold_rows(block, sums)
        products = ints_to_floats(sums[0] - splat(middle))
        store(turned + start, products * (load(axes.steps + start) * splat(step)))


@inlined
def _byte_dots(block, rows, listed, stride, codes):
    """block[z] = the partial sums of node listed[z]."""
    for z in range(LANES):
        block[z] = _byte_dot(rows + np.int64(listed[z]) * stride, codes, stride)


@inlined
def byte_distances(block, sums, rows, listed, norms, stride, asking):
    """The squared distances of LANES nodes by their codes."""
    if stride == ROW_BYTES:  # so that the compiler unrolls what is frequent
        _byte_dots(block, rows, listed, ROW_BYTES, asking.codes)
    elif stride == 2 * ROW_BYTES:
        _byte_dots(block, rows, listed, 2 * ROW_BYTES, asking.codes)
    else:
        _byte_dots(block, rows, listed, stride, asking.codes)
    fold_rows(block, sums)
    products = ints_to_floats(sums[0] - splat(asking.middle))
    return fma(products, splat(asking.factor), load(norms) + splat(asking.offset))


@inlined
def _float_squares(row, point, dim):
    sums, i = splat(_NOUGHT), 0
    while i + LANES <= dim:
        gap = load(row + i) - load(point + i)
        sums = fma(gap, gap, sums)
        i += LANES
    if i < dim:
        gap = load_first(row + i, dim - i) - load_first(point + i, dim - i)
        sums = fma(gap, gap, sums)
    return sums


@inlined
def float_distances(block, sums, rows, listed, norms, stride, asking):
    """The squared distances of LANES nodes by their points, `stride` floats each."""
    for z in range(LANES):
        block[z] = _float_squares(rows + np.int64(listed[z]) * stride, asking.point, stride)
    fold_rows(block, sums)
    return sums[0] + load(norms)


@inlined
def ask_for_bytes(rows, node, stride):
    """Ask for the codes of a node; up to two lines, the usual case, without a loop."""
    row = rows + node * stride
    prefetch(row)
    if stride > ROW_BYTES:
        prefetch(row + ROW_BYTES)
        for i in range(2 * ROW_BYTES, stride, ROW_BYTES):
            prefetch(row + i)


@inlined
def ask_for_floats(rows, node, stride):
    """Ask for the point of a node."""
    for i in range(0, stride, LINE_FLOATS):
        prefetch(rows + (node * stride + i))


@entry
def convert_queries(path, queries, metric, center, scale, points):
    """`convert` for all queries (q, dim): points (q, point_dim) float32."""
    dim, width = queries.shape[1], points.shape[1]
    for i in range(queries.shape[0]):
        convert(pointer(queries) + i * dim, dim, metric, pointer(center), scale, pointer(points) + i * width)


@entry
def turn_points(path, points, axes, turned):
    """The components of all points (n, dim): turned (n, n_axes) float32."""
    dim, n_axes = axes.shape
    for i in range(points.shape[0]):
        _turn(pointer(points) + i * dim, dim, pointer(axes), n_axes, pointer(turned) + i * n_axes)


@entry
def turn_queries(path, points, axes, turned):
    """`turn_query` for all points (q, axes.dim): turned (q, n_axes) float32."""
    codes = np.zeros(axes.dim + ROW_BYTES, np.int8)
    for i in range(points.shape[0]):
        turn_query(pointer(points) + i * axes.dim, pointers(axes), pointer(codes), pointer(turned) + i * axes.n_axes)
