"""Which lists a query probes: its conversion, and the n smallest surrogates |c|^2/2 - c.y of all centroids c.

Several queries share the tile of `kernels/scan/batch.py`; one or two go through the panels by themselves, with the same
sums in the same order.
"""

import math

import numpy as np

from annlab.kernels.distance import COSINE, INNER_PRODUCT, inverse_norm
from annlab.kernels.kmeans import pack_group
from annlab.kernels.simd.byte_vectors import ints_to_floats
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import (
    LANES,
    count,
    first,
    float_registers,
    fma,
    load,
    pointer,
    ramp,
    splat,
    store,
    store_compressed,
)
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, float_tile
from annlab.kernels.topk import kth_smallest

_ZERO = np.float32(0.0)
_SMALLER = 2.0**-1000  # the largest scale becomes 1
PANELS_AT_ONCE = 4  # of centroids, for one query: as many chains of additions as hide their latency


@kernel
def centroid_surrogates_one(query, panels, half_norms, n_panels, dim, block, out):
    """|c|^2/2 - c.y of one query, in the order of additions of `float_tile`."""
    for p in range(0, n_panels, PANELS_AT_ONCE):
        start = max(0, min(p, n_panels - PANELS_AT_ONCE))
        n = min(PANELS_AT_ONCE, n_panels)
        for j in range(2 * PANELS_AT_ONCE):
            block[j] = load(half_norms + (start + min(j // 2, n - 1)) * PANEL_ROWS + (j % 2) * LANES)
        panel = panels + start * PANEL_ROWS * dim
        second, third = min(1, n - 1) * PANEL_ROWS * dim, min(2, n - 1) * PANEL_ROWS * dim
        fourth = min(3, n - 1) * PANEL_ROWS * dim
        for i in range(dim):
            q = splat(-query[i])
            block[0] = fma(q, load(panel), block[0])
            block[1] = fma(q, load(panel + LANES), block[1])
            block[2] = fma(q, load(panel + second), block[2])
            block[3] = fma(q, load(panel + second + LANES), block[3])
            block[4] = fma(q, load(panel + third), block[4])
            block[5] = fma(q, load(panel + third + LANES), block[5])
            block[6] = fma(q, load(panel + fourth), block[6])
            block[7] = fma(q, load(panel + fourth + LANES), block[7])
            panel += PANEL_ROWS
        for j in range(2 * n):
            store(out + start * PANEL_ROWS + j * LANES, block[j])


@kernel
def smallest(surrogates, length, n, low, high, values, places):
    """The n smallest of `length` surrogates by (value, place), nearest first; low and high are scratch."""
    bound = kth_smallest(surrogates, length, n, low, high)
    n_below, n_equal = 0, 0
    for i in range(0, length, LANES):
        value, lanes = load(surrogates + i), (1 << min(LANES, length - i)) - 1
        below, equal = (value < splat(bound)) & lanes, (value == splat(bound)) & lanes
        if below != 0:
            store_compressed(low + n_below, value, below)
            store_compressed(high + n_below, ints_to_floats(ramp(i)), below)  # exact: there are less than 2^24
            n_below += count(below)
        while equal != 0 and n_equal < n:
            places[n - 1 - n_equal] = i + first(equal)  # for now from the end: the last ones are overwritten
            n_equal += 1
            equal &= equal - 1
    for i in range((n - n_below) // 2):
        other = n - 1 - i
        places[n_below + i], places[other] = places[other], places[n_below + i]
    for i in range(n_below, n):
        values[i] = bound
    for i in range(n_below):  # sorted by counting how many come before
        value, rank = splat(low[i]), 0
        for j in range(0, n_below, LANES):
            others, lanes = load(low + j), (1 << min(LANES, n_below - j)) - 1
            before = (1 << max(0, min(LANES, i - j))) - 1
            rank += count(((others < value) & lanes) | ((others == value) & before))
        values[rank], places[rank] = low[i], np.int64(high[i])


@kernel
def _largest(query, dim, factor, center, middle):
    """The largest coordinate of a scaled and centred query, and the largest of what it is the difference of."""
    largest, given = 0.0, 0.0
    for i in range(dim):
        largest = max(largest, abs(query[i] * factor - center[i] * middle))
        given = max(given, abs(query[i] * factor) + abs(center[i] * middle))
    return largest, given


@kernel
def convert_query(query, dim, metric, center, scale, longest, out, stride):
    """out (stride,) float32, zeros behind dim: a query as rows are converted, with no coordinate above `longest`.

    For ip it keeps its direction only: it is scaled by a power of two to a largest coordinate below 1, and not centred,
    which changes the inner products with all rows alike. Returns how far the rounded query may be from the true one:
    infinite if it had to be shortened, or is a zero vector where only directions count.
    """
    factor, shrunk, squared = scale, 1.0, 0.0
    middle, blur = 0.0 if metric == INNER_PRODUCT else scale, 0.0
    if metric == COSINE:
        inverse = inverse_norm(query, dim)
        factor = inverse if inverse > 0.0 else 1.0
        blur = 0.0 if inverse > 0.0 else np.inf
    largest, given = _largest(query, dim, factor, center, middle)
    if not largest < np.inf:  # ordinary queries of rows so small that their scale is huge
        factor, middle, blur = factor * _SMALLER, middle * _SMALLER, np.inf
        largest, given = _largest(query, dim, factor, center, middle)
    if metric == INNER_PRODUCT:
        shrunk = math.ldexp(1.0, -math.frexp(largest)[1])
    elif largest > longest:
        shrunk, blur = longest / largest, np.inf
    for i in range(dim):
        value = (query[i] * factor - center[i] * middle) * shrunk
        out[i] = np.float32(value)
        squared += value * value
    for i in range(dim, stride):
        out[i] = _ZERO
    return blur + 2.0**-23 * math.sqrt(squared) + 2.0**-48 * math.sqrt(np.float64(dim)) * given


@entry
def convert_queries(path, queries, metric, center, scale, longest, out, blurs):
    """`convert_query` for all queries (q, dim): out (q, dim), and what it returns in blurs (q,)."""
    dim, stride = queries.shape[1], out.shape[1]
    q, middle, result = pointer(queries), pointer(center), pointer(out)
    for i in range(queries.shape[0]):
        blurs[i] = convert_query(q + i * dim, dim, metric, middle, scale, longest, result + i * stride, stride)


@entry
def find_probes(path, queries, panels, half_norms, n_lists, packed, surrogates, low, high, values, probes):
    """probes (q, n_probes) int64: the nearest lists of every query, nearest first, and their surrogates in values.

    queries (q, dim) converted; packed (dim, QUERIES_IN_TILE), surrogates (QUERIES_IN_TILE, n_panels * PANEL_ROWS), low
    and high (as long, + 2 LANES) are scratch.
    """
    dim, n_panels, n_probes = queries.shape[1], panels.shape[0], probes.shape[1]
    y, panel, half, group = pointer(queries), pointer(panels), pointer(half_norms), pointer(packed)
    out, a, b = pointer(surrogates), pointer(low), pointer(high)
    value, probe = pointer(values), pointer(probes)
    width = n_panels * PANEL_ROWS
    block = float_registers(ACCUMULATORS)
    for start in range(0, queries.shape[0], QUERIES_IN_TILE):
        n = min(QUERIES_IN_TILE, queries.shape[0] - start)
        if n <= 2:
            for j in range(n):
                centroid_surrogates_one(y + (start + j) * dim, panel, half, n_panels, dim, block, out + j * width)
        else:
            pack_group(y + start * dim, dim, n, group)
            for p in range(n_panels):
                float_tile(block, group, panel + p * dim * PANEL_ROWS, half + p * PANEL_ROWS, dim)
                for j in range(QUERIES_IN_TILE):
                    store(out + j * width + p * PANEL_ROWS, block[2 * j])
                    store(out + j * width + p * PANEL_ROWS + LANES, block[2 * j + 1])
        for j in range(n):
            place = (start + j) * n_probes
            smallest(out + j * width, n_lists, n_probes, a, b, value + place, probe + place)
