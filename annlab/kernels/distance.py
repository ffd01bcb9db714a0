"""The one definition of a distance.

Every distance that an index returns is computed here, so two indexes never disagree about a number. It is the textbook
formula on the vectors as they were given: squared differences for `l2`, products for `ip`, half the squared difference
of the normalised vectors for `cosine`; added up in float64, in an order that is fixed: sixteen running sums, of every
sixteenth coordinate each, which are then added pairwise. The order does not depend on the width of the machine's
registers, and products and sums are rounded apart (no fused multiply-add), so the result is the same to the last bit
on every machine.

Rows are ranked by this float64 number, and by id where it is the same: a row that is truly farther never comes first
because both were rounded. Only what a search returns is rounded to the element type of the index (float32 or float64),
at its very end. A row is *within* a radius if the distance that is returned is at most the radius; so the radius
that a search returned for its k-th row finds these k again. Rounding keeps the order, so both rules agree.

Squares of differences below 1e-154 have no digits left in float64; then differences are magnified before they are
squared.

Faster formulas (|x|^2/2 - q.x, or sums in float32) serve scans only to choose candidates.
"""

import math

import numpy as np

from annlab.kernels.simd.lanes import to_doubles, total
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import load_eight, load_first_eight, pointer, splat_eight
from annlab.kernels.topk import push

L2, COSINE, INNER_PRODUCT = 0, 1, 2
_ZERO = 0.0
_FAINT, _MAGNIFIED = 2.0**-900, 2.0**600  # a sum of squares that has lost digits, and what differences are times then


@inlined
def _products(x, q, x_scale, q_scale):
    return to_doubles(x) * to_doubles(q)


@inlined
def _squares(x, q, x_scale, q_scale):
    difference = to_doubles(x) - to_doubles(q)
    return difference * difference


@inlined
def _magnified_squares(x, q, x_scale, q_scale):
    difference = (to_doubles(x) - to_doubles(q)) * splat_eight(x_scale)
    return difference * difference


@inlined
def _scaled_squares(x, q, x_scale, q_scale):
    difference = to_doubles(x) * splat_eight(x_scale) - to_doubles(q) * splat_eight(q_scale)
    return difference * difference


@inlined
def _summed(term, x, q, x_scale, q_scale, dim):
    """Sum of term(x_i, q_i) in the one fixed order."""
    even, odd = splat_eight(_ZERO), splat_eight(_ZERO)
    i = 0
    while i + 16 <= dim:
        even = even + term(load_eight(x + i), load_eight(q + i), x_scale, q_scale)
        odd = odd + term(load_eight(x + i + 8), load_eight(q + i + 8), x_scale, q_scale)
        i += 16
    if i < dim:
        even = even + term(load_first_eight(x + i, dim - i), load_first_eight(q + i, dim - i), x_scale, q_scale)
        i += 8
    if i < dim:
        odd = odd + term(load_first_eight(x + i, dim - i), load_first_eight(q + i, dim - i), x_scale, q_scale)
    return total(even + odd)


@kernel
def inner_product(x, q, dim):
    """Sum of x_i q_i in float64."""
    return _summed(_products, x, q, 1.0, 1.0, dim)


@kernel
def _square(x, q):
    difference = np.float64(x) - np.float64(q)
    return difference * difference


@kernel
def _squared_difference_of_few(x, q, dim):
    """The same sum in the same order for up to four coordinates, without the lanes that are empty then."""
    low, high = _square(x[0], q[0]), _ZERO
    if dim > 1:
        high = _square(x[1], q[1])
    if dim > 2:
        low += _square(x[2], q[2])
    if dim > 3:
        high += _square(x[3], q[3])
    return low + high


@kernel
def squared_difference(x, q, dim):
    """Sum of (x_i - q_i)^2 in float64."""
    if dim <= 4:
        return _squared_difference_of_few(x, q, dim)
    return _summed(_squares, x, q, 1.0, 1.0, dim)


@kernel
def euclidean(x, q, dim):
    """The root of the sum of (x_i - q_i)^2 in float64."""
    squared = squared_difference(x, q, dim)
    if squared < _FAINT:
        return math.sqrt(_summed(_magnified_squares, x, q, _MAGNIFIED, 1.0, dim)) / _MAGNIFIED
    return math.sqrt(squared)


@kernel
def scaled_squared_difference(x, x_scale, q, q_scale, dim):
    """Sum of (x_i x_scale - q_i q_scale)^2 in float64."""
    return _summed(_scaled_squares, x, q, x_scale, q_scale, dim)


@kernel
def inverse_norm(x, dim):
    """1 / |x|, and 0 for a zero vector."""
    squared = inner_product(x, x, dim)
    return 1.0 / math.sqrt(squared) if squared > 0.0 else 0.0


@kernel
def distance(x, q, q_inverse_norm, dim, metric):
    """The distance of a row and a query, in float64. Only cosine reads the query's inverse norm."""
    if metric == L2:
        return euclidean(x, q, dim)
    if metric == INNER_PRODUCT:
        return -inner_product(x, q, dim)
    x_inverse_norm = inverse_norm(x, dim)
    if x_inverse_norm == 0.0 or q_inverse_norm == 0.0:
        return 1.0
    return min(2.0, 0.5 * scaled_squared_difference(x, x_inverse_norm, q, q_inverse_norm, dim))


@entry
def pair_distances(path, left, right, metric, out):
    """The distance of left[i] and right[i], both (n, dim), for every i; out (n,) is of the type that is wanted."""
    a, b, dim = pointer(left), pointer(right), left.shape[1]
    for i in range(left.shape[0]):
        scale = inverse_norm(b + i * dim, dim) if metric == COSINE else 0.0
        out[i] = distance(a + i * dim, b + i * dim, scale, dim, metric)


@entry
def all_distances(path, queries, vectors, metric, out):
    """The distances (q, n) of all vectors to all queries; out is of the type that is wanted."""
    x, dim = pointer(vectors), queries.shape[1]
    for i in range(queries.shape[0]):
        q = pointer(queries) + i * dim
        scale = inverse_norm(q, dim) if metric == COSINE else 0.0
        for j in range(vectors.shape[0]):
            out[i, j] = distance(x + j * dim, q, scale, dim, metric)


@entry
def nearest_by_definition(path, queries, vectors, rows, metric, distances, found):
    """The k nearest of the given rows (m,) to every query: no shortcut, so no rounding to argue about.

    `rows` come in ascending order of id, so that a tie goes to the earlier one. `found` (q, k) receives rows and comes
    filled with -1; distances (q, k) float64 is scratch.
    """
    k, dim = distances.shape[1], queries.shape[1]
    q, x, best, places = pointer(queries), pointer(vectors), pointer(distances), pointer(found)
    for _ in range(queries.shape[0]):
        scale = inverse_norm(q, dim) if metric == COSINE else 0.0
        size = 0
        for j in range(rows.shape[0]):
            size = push(best, places, size, k, distance(x + rows[j] * dim, q, scale, dim, metric), j)
        for j in range(size):
            places[j] = rows[places[j]]
        q, best, places = q + dim, best + k, places + k
