"""Scanning rows quantized to bytes: a quarter of the memory traffic, four times the multiplications, a proven bound.

A converted row x (float32, centred and scaled, see scan.py) is stored as bytes y with a step t of its own: x = t y + e.
A query q becomes z with the step t_q: q = t_q z + r. Then the ranking value R = h(x) - q.x of the row is at least

    v t_q  =  h(x) - t_q t (y.z) - |q| |e| - |r| |t y|

(Cauchy and Schwarz, twice), and v needs only the integer y.z and four numbers per row, the *terms*: t, h, |e| and |t y|.
Everything is divided by t_q, so that the tile's sum is used as it comes. The terms are rounded so that v stays a lower
bound in floating point; `annlab/certified.py` has the argument. What passes a query's bound is kept with its v, and will
be scored exactly.

Rows are stored in panels of 32, four dimensions at a time: codes (panels, quads, 32, 4) uint8 (y + 128, since the dot
product of bytes takes one unsigned operand), terms (panels, 4, 32) float32. The layout is the same on all paths, files
depend on it; a path with narrower registers goes through a panel in strips of PANEL_ROWS rows.
"""

import math

import numpy as np

from annlab.kernels.distance import inner_product
from annlab.kernels.path import entry, inlined, kernel
from annlab.kernels.scan import ACCUMULATORS, OVERFLOWED, PANEL_ROWS, QUERIES_IN_TILE, convert_row
from annlab.kernels.simd import LANES, fma, int_registers, load, pointer, prefetch, splat, store
from annlab.kernels.simd_bytes import dot_bytes, ints_to_floats, splat_quad
from annlab.kernels.topk import append, keep_at_most, kth_smallest

STORED_ROWS = 32  # in a panel
STEP, HALF_NORM, ERROR, SIZE, N_TERMS = 0, 1, 2, 3, 4
QUAD_BYTES = 4 * STORED_ROWS
BLOCK_BYTES = 256 * 1024  # of codes: they have to stay in the second-level cache
U = 2.0**-24
MARGIN = 16 * U  # relative room for the rounding of every term, see annlab/certified.py
_INFINITY = np.float32(np.inf)
_AHEAD = 6144  # bytes to ask for ahead of their use


@kernel
def quantize(x, dim, step, codes, stride):
    """Write x / step, rounded, to codes[(i // 4) * stride + i % 4]; returns the norms of the rest and of the rounded."""
    rest, rounded = 0.0, 0.0
    for i in range(dim):
        y = min(127.0, max(-128.0, np.rint(x[i] / step)))
        codes[(i // 4) * stride + i % 4] = np.int32(y)
        rest += (x[i] - step * y) ** 2
        rounded += (step * y) ** 2
    return math.sqrt(rest), math.sqrt(rounded)


@kernel
def largest_magnitude(x, dim):
    """max |x_i|."""
    largest = 0.0
    for i in range(dim):
        largest = max(largest, abs(np.float64(x[i])))
    return largest


@kernel
def step_for(largest, exact_step):
    """The step of a vector: the given one for data that it represents without loss, else 127 steps to the largest."""
    if exact_step > 0.0:
        return np.float32(exact_step)
    return np.float32(largest / 127.0 * (1.0 + 2.0**-20)) if largest > 1e-30 else np.float32(1.0)


@entry
def quantize_rows(path, vectors, start, stop, metric, center, scale, exact_step, converted, signed, codes, terms):
    """Quantize rows start..stop-1 of vectors (n, dim) to their places in codes and terms.

    converted (dim,) float32 and signed (quads * 4,) int8 are scratch. exact_step is 0, or the step that loses nothing.
    """
    dim, quads = vectors.shape[1], codes.shape[1]
    x, row, z, middle = pointer(vectors), pointer(converted), pointer(signed), pointer(center)
    for i in range(start, stop):
        panel, lane = i // STORED_ROWS, i % STORED_ROWS
        half_norm = convert_row(x + i * dim, dim, metric, middle, scale, row)
        step = step_for(largest_magnitude(row, dim), exact_step)
        error, size = quantize(row, dim, step, z, 4)
        for j in range(quads):
            for byte in range(4):
                codes[panel, j, lane, byte] = signed[4 * j + byte] + 128 if 4 * j + byte < dim else 0
        norm = math.sqrt(inner_product(row, row, dim))
        terms[panel, STEP, lane] = step
        terms[panel, HALF_NORM, lane] = half_norm * (1.0 - MARGIN)
        terms[panel, ERROR, lane] = (error + MARGIN * norm) * (1.0 + MARGIN)
        terms[panel, SIZE, lane] = size * (1.0 + MARGIN)


@entry
def pack_byte_queries(path, queries, metric, center, scale, exact_step, converted, group, packed, starts, steps, norms,
                      rests):  # fmt: skip
    """Quantize queries (q, dim) into packed (groups, quads, group, 4) int8, zeros where nothing is written.

    Per query: starts int32 (what takes the 128 off the rows' bytes), steps, norms and rests (|r|) float64. A query that
    a given exact_step cannot represent gets a step of its own; one that is almost zero is all rest.
    """
    dim, quads = queries.shape[1], packed.shape[1]
    q, row, code, middle = pointer(queries), pointer(converted), pointer(packed), pointer(center)
    for i in range(queries.shape[0]):
        convert_row(q + i * dim, dim, metric, middle, scale, row)
        largest = largest_magnitude(row, dim)
        own = code + ((i // group) * quads * group + i % group) * 4
        norm, step = math.sqrt(inner_product(row, row, dim)), step_for(largest, 0.0)
        if largest < 1e-18 or largest > 1e15:
            step, rest = np.float32(1.0), norm
        else:
            rest = 1.0
            if exact_step > 0.0 and largest <= 128.0 * exact_step:
                rest, _ = quantize(row, dim, np.float32(exact_step), own, 4 * group)
                step = np.float32(exact_step)
            if rest != 0.0:
                step = step_for(largest, 0.0)
                rest, _ = quantize(row, dim, step, own, 4 * group)
        total = 0
        for j in range(dim):
            total += own[(j // 4) * 4 * group + j % 4]
        starts[i], steps[i], norms[i], rests[i] = -128 * total, step, norm, rest


@inlined
def byte_tile(block, starts, queries, codes, quads):
    """block = y.z of QUERIES_IN_TILE queries (quads x QUERIES_IN_TILE x 4) with PANEL_ROWS rows of a panel."""
    for j in range(QUERIES_IN_TILE):
        block[2 * j] = splat(starts[j])
        block[2 * j + 1] = splat(starts[j])
    for _ in range(quads):
        low, high = load(codes), load(codes + 4 * LANES)
        for j in range(QUERIES_IN_TILE):
            z = splat_quad(queries + 4 * j)
            block[2 * j] = dot_bytes(block[2 * j], low, z)
            block[2 * j + 1] = dot_bytes(block[2 * j + 1], high, z)
        codes += QUAD_BYTES
        queries += 4 * QUERIES_IN_TILE


@inlined
def lower_bound(products, terms, inverse_step, span, ratio):
    """v, see the head of the file: h / t_q - (|q| / t_q) (|e| + (|r| / |q|) |t y|) - t (y.z)."""
    error = fma(splat(ratio), load(terms + SIZE * STORED_ROWS), load(terms + ERROR * STORED_ROWS))
    apart = fma(splat(inverse_step), load(terms + HALF_NORM * STORED_ROWS), splat(-span) * error)
    return apart - load(terms + STEP * STORED_ROWS) * ints_to_floats(products)


@kernel
def tighten_bytes(values, rows, length, k, terms, inverse_step, span, ratio, tie, low, high):
    """Drop from a buffer what cannot be among the k nearest: all whose v is above the upper bound of k rows' R."""
    kth = kth_smallest(values, length, k, low, high)
    upper = -np.inf
    for i in range(length):
        if values[i] <= kth:
            term = terms + (rows[i] // STORED_ROWS) * N_TERMS * STORED_ROWS + rows[i] % STORED_ROWS
            width = span * (term[ERROR * STORED_ROWS] + ratio * term[SIZE * STORED_ROWS])
            margin = 2 * MARGIN * inverse_step * term[HALF_NORM * STORED_ROWS]
            upper = max(upper, values[i] + (2.0 + 2 * MARGIN) * width + margin)
    bound = np.nextafter(np.float32(upper + 2.0**-20 * abs(upper) + tie), _INFINITY)
    return keep_at_most(values, rows, length, bound), bound


@kernel
def collect_bytes(surrogates, n_queries, row, alive, words_each, has_alive, bounds, lengths, values, rows, capacity, k,
                  terms, inverse_steps, spans, ratio, ties, low, high):  # fmt: skip
    """Append what passes the bounds of a tile's queries, as `scan.collect` does."""
    for j in range(n_queries):
        bound, length = splat(bounds[j]), lengths[j]
        for half in range(2):
            value = load(surrogates + j * PANEL_ROWS + half * LANES)
            mask = value <= bound
            if has_alive and mask != 0:
                place = row + half * LANES
                mask &= np.int64(alive[j * words_each + place // 64]) >> (place % 64)
            if mask != 0:
                length = append(values, rows, length, value, row + half * LANES, mask)
        if length > capacity - PANEL_ROWS:
            length, bounds[j] = tighten_bytes(values, rows, length, k, terms, inverse_steps[j], spans[j], ratio,
                                              ties[j], low, high)  # fmt: skip
            if length > capacity - PANEL_ROWS:
                length, bounds[j] = OVERFLOWED, -_INFINITY
        lengths[j] = length
        values, rows = values + capacity, rows + capacity


@entry
def scan_bytes(path, packed, starts, n_queries, codes, terms, first_panel, last_panel, alive, words_each, k,
               inverse_steps, spans, ratios, ties, bounds, lengths, values, rows, surrogates, low, high):  # fmt: skip
    """Offer the rows of panels first_panel..last_panel-1 to every query; its buffer keeps what can be among its k nearest.

    packed (groups, quads, QUERIES_IN_TILE, 4) int8; codes and terms as at the head; alive: words of the allowed rows,
    `words_each` apart for every query (0: the same for all), or empty. Per query: starts int32, inverse_steps and spans
    (1 / t_q, |q| / t_q) float32, ties float64, bounds float32, lengths int64, values float32 and rows int32
    (queries, capacity). ratios (groups,) float32: the largest |r| / |q| of each group. The rest is scratch.
    """
    quads, capacity, has_alive = codes.shape[1], values.shape[1], alive.shape[0] > 0
    query, start, code, term, bit = pointer(packed), pointer(starts), pointer(codes), pointer(terms), pointer(alive)
    inverse, span, ratio, tie = pointer(inverse_steps), pointer(spans), pointer(ratios), pointer(ties)
    bound, length, value, row = pointer(bounds), pointer(lengths), pointer(values), pointer(rows)
    surrogate, a, b = pointer(surrogates), pointer(low), pointer(high)
    block = int_registers(ACCUMULATORS)
    block_panels = max(1, BLOCK_BYTES // (quads * QUAD_BYTES))
    for first in range(first_panel, last_panel, block_panels):
        for q in range(0, n_queries, QUERIES_IN_TILE):
            group_ratio = ratio[q // QUERIES_IN_TILE]
            for p in range(first, min(first + block_panels, last_panel)):
                for strip in range(0, STORED_ROWS, PANEL_ROWS):
                    panel_terms = term + p * N_TERMS * STORED_ROWS + strip
                    byte_tile(block, start + q, query + q * quads * 4, code + p * quads * QUAD_BYTES + 4 * strip, quads)
                    passed = 0
                    for j in range(QUERIES_IN_TILE):
                        limit, own, wide = splat(bound[q + j]), inverse[q + j], span[q + j]
                        passed |= lower_bound(block[2 * j], panel_terms, own, wide, group_ratio) <= limit
                        passed |= lower_bound(block[2 * j + 1], panel_terms + LANES, own, wide, group_ratio) <= limit
                    if passed != 0:
                        for j in range(QUERIES_IN_TILE):
                            own, wide = inverse[q + j], span[q + j]
                            to = surrogate + j * PANEL_ROWS
                            store(to, lower_bound(block[2 * j], panel_terms, own, wide, group_ratio))
                            store(to + LANES, lower_bound(block[2 * j + 1], panel_terms + LANES, own, wide, group_ratio))
                        collect_bytes(surrogate, min(QUERIES_IN_TILE, n_queries - q), p * STORED_ROWS + strip,
                                      bit + q * words_each, words_each, has_alive, bound + q, length + q,
                                      value + q * capacity, row + q * capacity, capacity, k, term, inverse + q,
                                      span + q, group_ratio, tie + q, a, b)  # fmt: skip


@entry
def scan_bytes_one(path, packed, starts, codes, terms, first_panel, last_panel, alive, k, inverse_steps, spans, ratios,
                   ties, bounds, lengths, values, rows, surrogates, low, high):  # fmt: skip
    """The same for one query, packed (1, quads, 1, 4): every byte is used once, so the time is that of reading them."""
    quads, capacity, has_alive = codes.shape[1], values.shape[1], alive.shape[0] > 0
    query, start, code, term, bit = pointer(packed), starts[0], pointer(codes), pointer(terms), pointer(alive)
    inverse, span, ratio, tie = inverse_steps[0], spans[0], ratios[0], pointer(ties)
    bound, length, value, row = pointer(bounds), pointer(lengths), pointer(values), pointer(rows)
    surrogate, a, b = pointer(surrogates), pointer(low), pointer(high)
    for p in range(first_panel, last_panel):
        for strip in range(0, STORED_ROWS, PANEL_ROWS):
            panel_terms = term + p * N_TERMS * STORED_ROWS + strip
            place = code + p * quads * QUAD_BYTES + 4 * strip
            low_sums, high_sums = splat(start), splat(start)
            for j in range(quads):
                prefetch(place + _AHEAD)
                prefetch(place + _AHEAD + 4 * LANES)
                z = splat_quad(query + 4 * j)
                low_sums = dot_bytes(low_sums, load(place), z)
                high_sums = dot_bytes(high_sums, load(place + 4 * LANES), z)
                place += QUAD_BYTES
            below = lower_bound(low_sums, panel_terms, inverse, span, ratio)
            above = lower_bound(high_sums, panel_terms + LANES, inverse, span, ratio)
            limit = splat(bounds[0])
            if (below <= limit) | (above <= limit) != 0:
                store(surrogate, below)
                store(surrogate + LANES, above)
                collect_bytes(surrogate, 1, p * STORED_ROWS + strip, bit, 0, has_alive, bound, length, value, row,
                              capacity, k, term, pointer(inverse_steps), pointer(spans), ratio, tie, a, b)  # fmt: skip
                if lengths[0] == OVERFLOWED:
                    return


@entry
def finish_bytes(path, terms, n_queries, k, inverse_steps, spans, ratios, group, ties, lengths, values, rows, low, high):
    """Tighten every query's buffer a last time, so that few rows are left to be scored."""
    capacity = values.shape[1]
    term, inverse, span, tie = pointer(terms), pointer(inverse_steps), pointer(spans), pointer(ties)
    value, row, a, b = pointer(values), pointer(rows), pointer(low), pointer(high)
    for q in range(n_queries):
        if lengths[q] > k:
            lengths[q], _ = tighten_bytes(value + q * capacity, row + q * capacity, lengths[q], k, term, inverse[q],
                                          span[q], ratios[q // group], tie[q], a, b)  # fmt: skip
