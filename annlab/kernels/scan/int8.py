"""Scanning rows quantized to bytes: a quarter of the memory traffic, four times the multiplications, a proven bound.

A converted row x (float32, centred and scaled, see scan/batch.py) is stored as bytes y with a step t, x = t y + e; a
query q becomes z with a step t_q, q = t_q z + r. Then the ranking value R = h(x) - q.x of the row is at least

    t_q v  =  h(x) - t_q t (y.z) - |q| |e| - |r| |t y - m|

less r.m, which is the same for all rows (Cauchy and Schwarz, twice; m is about the mean of the rows). In units of
t_q t this is an integer and a number that is the same for all rows of a panel:

    v / t  =  [ h(x) / (t_q t) - y.z ]  -  |q| / (t_q t) (|e| + |r| / |q| |t y - m|)

A panel of 32 rows shares t and the largest |e| and |t y - m| of its rows, its *limits*; the queries of a tile share
t_q. So the tile starts from h / (t_q t), the same for all its queries, adds -y.z in integers, and is compared with one
integer per query: the bound on v, plus what stands behind the bracket. All is rounded so that nothing is lost:
`annlab/scan/int8.py` has the argument. What passes is kept with its v, and will be scored exactly.

Rows are stored four dimensions at a time: codes (panels, quads, 32, 4) uint8 hold 127 - y (the dot product of bytes
takes one unsigned operand, and the minus saves a subtraction), half_norms (panels, 32) float32, limits (panels, 3)
float32. The layout is the same on all paths, files depend on it; a path with narrower registers goes through a panel in
strips of PANEL_ROWS rows.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import inner_product
from annlab.kernels.scan.batch import OVERFLOWED, ROOM, Buffers, next_trigger
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, floats_to_ints, ints_to_floats
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import (
    LANES,
    first,
    fma,
    int_registers,
    larger,
    load,
    pointer,
    pointers,
    smaller,
    splat,
    store,
)
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, add_byte_products, convert_row
from annlab.kernels.topk import append, keep_at_most, kth_smallest

STORED_ROWS = 32  # in a panel
STEP, ERROR, SIZE, N_LIMITS = 0, 1, 2, 3
QUAD_BYTES = 4 * STORED_ROWS
BLOCK_BYTES = 256 * 1024  # of codes: they have to stay in the second-level cache
U = 2.0**-24
MARGIN = 16 * U  # relative room for the rounding of every term, see annlab/scan/int8.py
FLOOR = 2.0**-95  # of R: below, a half norm or 1 / (t_q t) may leave the range of float32 (2^29 2^-126 at most)
_INFINITY = np.float32(np.inf)
_LARGEST_START = np.float32(2.0**29)  # of a tile's sums: the rest of int32 is for y.z
_LARGEST_SUM = np.float32(2.0e9)
_FAR = np.float32(4.0e9)
_ROUNDING = np.float32(2.0**-21)  # of sums below 2^31 in float32, relative
_TWO = np.float32(2.0)
_MOST = float(LARGEST_SIGNED)  # of a query's bytes


class Codes(NamedTuple):
    """Quantized rows, and how vectors become bytes: arrays for the door, pointers inside."""

    codes: Any  # (panels, quads, 32, 4) uint8
    half_norms: Any  # (panels, 32) float32
    limits: Any  # (panels, N_LIMITS) float32
    quads: int  # of four dimensions
    n: int
    dim: int
    metric: int
    center: Any  # (dim,) float64
    scale: float
    exact_step: float  # 0, or the step without loss
    smallest_step: float  # of a query
    reach: float  # the largest norm of a row, times scale
    faint: float  # the smallest number of the vectors' type


class Queries(NamedTuple):
    """A batch of quantized queries in groups that share a step; per query, with a register's room behind."""

    packed: Any  # (groups, quads, QUERIES_IN_TILE, 4) int8
    n: int
    inverse_steps: Any  # (groups,) float32: 1 / t_q
    spans: Any  # float32: |q| / t_q, and
    ratios: Any  # float32: |r| / |q|, both rounded up
    offsets: Any  # int32: -127 sum(z)
    ties: Any  # float64: what upper values take besides
    alive: Any  # words of bits of the rows that queries may have, read if has_alive
    words_each: int  # that each query has of its own, 0: all have the same
    has_alive: bool


class Room(NamedTuple):
    """Scratch for a tile. Made by `new_room`."""

    sums: Any  # int32: the tile, PANEL_ROWS a query
    most: Any  # int32: the `integer_bounds` of its queries


def new_room() -> Room:
    """Room for the tiles of a scan."""
    return Room(np.empty(ACCUMULATORS * LANES, np.int32), np.empty(QUERIES_IN_TILE + LANES, np.int32))


def quantizing_space(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Scratch of `quantize_rows` and `measure_queries`: the converted rows of a panel, and one as bytes."""
    return np.empty((STORED_ROWS, dim), np.float32), np.zeros(4 * -(-dim // 4), np.int8)


@kernel
def largest_magnitude(x, dim):
    """max |x_i|."""
    largest = 0.0
    for i in range(dim):
        largest = max(largest, abs(np.float64(x[i])))
    return largest


@kernel
def step_for(largest, most):
    """A step in `most` of which the largest magnitude is reached."""
    return np.float32(largest / most * (1.0 + 2.0**-20)) if largest > 1e-30 else np.float32(1.0)


@kernel
def quantize(x, dim, step, least, most, codes, stride):
    """Write x / step, rounded, to codes[(i // 4) * stride + i % 4]; returns the norm of the rest."""
    rest = 0.0
    for i in range(dim):
        y = min(most, max(least, np.rint(x[i] / step)))
        codes[(i // 4) * stride + i % 4] = np.int32(y)
        rest += (x[i] - step * y) ** 2
    return math.sqrt(rest)


@entry
def quantize_rows(path, vectors, start, stop, rows: Codes, mean, converted, signed):
    """Quantize rows start..stop-1 of vectors (n, dim), whole panels, to their places in codes, half_norms and limits.

    mean (dim,) float64 is that of the converted rows, or near it; converted and signed: see `quantizing_space`.
    """
    made = Codes(*rows)
    codes, half_norms, limits, dim, quads = made.codes, made.half_norms, made.limits, made.dim, made.quads
    x, row, z, middle = pointer(vectors), pointer(converted), pointer(signed), pointer(made.center)
    for panel in range(start // STORED_ROWS, (stop + STORED_ROWS - 1) // STORED_ROWS):
        first, n_rows, largest = panel * STORED_ROWS, min(STORED_ROWS, stop - panel * STORED_ROWS), 0.0
        for lane in range(n_rows):
            h = convert_row(x + (first + lane) * dim, dim, made.metric, middle, made.scale, row + lane * dim)
            half_norms[panel, lane] = h * (1.0 - MARGIN)
            largest = max(largest, largest_magnitude(row + lane * dim, dim))
        step = np.float32(made.exact_step) if made.exact_step > 0.0 else step_for(largest, 127.0)
        error, size = 0.0, 0.0
        for lane in range(n_rows):
            rest = quantize(row + lane * dim, dim, step, -128.0, 127.0, z, 4)
            norm = math.sqrt(inner_product(row + lane * dim, row + lane * dim, dim))
            apart = 0.0
            for i in range(dim):
                apart += (step * np.float64(signed[i]) - mean[i]) ** 2
            error, size = max(error, rest + MARGIN * norm), max(size, math.sqrt(apart))
            for j in range(quads):
                for byte in range(4):
                    codes[panel, j, lane, byte] = 127 - signed[4 * j + byte]
        limits[panel, STEP] = step
        limits[panel, ERROR] = error * (1.0 + MARGIN)
        limits[panel, SIZE] = size * (1.0 + MARGIN)


@entry
def measure_queries(path, queries, metric, center, scale, exact_step, converted, signed, norms, steps):
    """The norm of every converted query (q, dim) and the step it wants: exact_step if that represents it without loss.

    converted and signed: see `quantizing_space`; norms and steps (q,) float64.
    """
    dim = queries.shape[1]
    q, row, z, middle = pointer(queries), pointer(converted), pointer(signed), pointer(center)
    for i in range(queries.shape[0]):
        convert_row(q + i * dim, dim, metric, middle, scale, row)
        norms[i] = math.sqrt(inner_product(row, row, dim))
        largest = largest_magnitude(row, dim)
        steps[i] = step_for(largest, _MOST)
        if exact_step > 0.0 and largest <= _MOST * exact_step:
            if quantize(row, dim, exact_step, -_MOST, _MOST, z, 4) == 0.0:
                steps[i] = exact_step


@entry
def pack_byte_queries(path, queries, metric, center, scale, steps, converted, packed, offsets, rests):
    """Quantize queries (q, dim) with the given steps into packed (groups, quads, QUERIES_IN_TILE, 4) int8, all zero.

    offsets (q,) int32 receive -127 sum(z), which takes the 127 off the rows' bytes, and rests (q,) float64 |r|.
    """
    dim, quads, group = queries.shape[1], packed.shape[1], QUERIES_IN_TILE
    q, row, code, middle = pointer(queries), pointer(converted), pointer(packed), pointer(center)
    for i in range(queries.shape[0]):
        convert_row(q + i * dim, dim, metric, middle, scale, row)
        own = code + ((i // group) * quads * group + i % group) * 4
        rests[i] = quantize(row, dim, np.float32(steps[i]), -_MOST, _MOST, own, 4 * group)
        total = 0
        for j in range(dim):
            total += own[(j // 4) * 4 * group + j % 4]
        offsets[i] = -127 * total


@inlined
def start_sums(half_norms, inverse):
    """h / (t_q t), rounded down, of a register of rows; inverse is 1 / (t_q t). Rows beyond int32 come too early."""
    return floats_to_ints(smaller(load(half_norms) * splat(inverse), splat(_LARGEST_START)))


@inlined
def byte_tile(block, low_start, high_start, queries, codes, quads):
    """block = starts - y.z of QUERIES_IN_TILE queries (quads x QUERIES_IN_TILE x 4) with PANEL_ROWS rows of a panel."""
    for j in range(QUERIES_IN_TILE):
        block[2 * j] = low_start
        block[2 * j + 1] = high_start
    add_byte_products(block, queries, codes, quads, QUAD_BYTES)


@inlined
def integer_bounds(bounds, spans, ratios, offsets, limits):
    """The largest sum of a tile that may pass, for a register of queries: (bound + apart) / t less the offset."""
    apart = load(spans) * fma(load(ratios), splat(limits[SIZE]), splat(limits[ERROR]))
    most = (load(bounds) + apart) * splat(np.float32(1.0) / limits[STEP])
    most = larger(smaller(most, splat(_FAR)), splat(-_FAR))  # finite, beyond every sum: nothing, or all, passes
    offset = ints_to_floats(load(offsets))
    room = fma(larger(most, offset) + larger(splat(np.float32(0.0)) - most, splat(np.float32(0.0)) - offset),
               splat(_ROUNDING), splat(_TWO))  # fmt: skip
    most = most - offset + room
    return floats_to_ints(larger(smaller(most, splat(_LARGEST_SUM)), splat(-_LARGEST_SUM)))


@kernel
def tighten_bytes(rows, values, numbers, length, k, inverse_step, span, ratio, tie, low, high):
    """Drop from a buffer what cannot be among the k nearest: all whose v is above the upper value of k rows."""
    kth = kth_smallest(values, length, k, low, high)
    upper = -np.inf
    for i in range(0, length, LANES):
        below = (load(values + i) <= splat(kth)) & ((1 << min(LANES, length - i)) - 1)
        while below != 0:
            at, below = i + first(below), below & (below - 1)
            limit = rows.limits + (numbers[at] // STORED_ROWS) * N_LIMITS
            half_norm = inverse_step * rows.half_norms[numbers[at]]
            if half_norm >= np.float64(_LARGEST_START) * limit[STEP]:
                upper = np.inf  # its v came out too small by an unknown amount
            apart = span * (limit[ERROR] + ratio * limit[SIZE])
            upper = max(upper, values[at] + (2 + 4 * MARGIN) * apart + 4 * MARGIN * half_norm + 3 * limit[STEP])
    bound = np.nextafter(np.float32(upper + 2.0**-20 * abs(upper) + tie), _INFINITY)
    return keep_at_most(values, numbers, length, bound), bound


@kernel
def tighten_query(rows, queries, q, buffers, length):
    """The same for a query of a batch."""
    own = q * buffers.capacity
    return tighten_bytes(rows, buffers.values + own, buffers.rows + own, length, buffers.k,
                         queries.inverse_steps[q // QUERIES_IN_TILE], queries.spans[q], queries.ratios[q],
                         queries.ties[q], buffers.low, buffers.high)  # fmt: skip


@kernel
def collect_bytes(room, rows, row, queries, first, buffers):
    """Turn a tile's sums (in the room) into v, and append what passes the bounds of its queries, `first` and on.

    Most queries of a tile have no sum below their integer bound, and are done with. `row` is the tile's first row.
    """
    limit, capacity = rows.limits + (row // STORED_ROWS) * N_LIMITS, buffers.capacity
    step = splat(limit[STEP])
    for j in range(min(QUERIES_IN_TILE, queries.n - first)):
        own, largest = room.sums + j * PANEL_ROWS, splat(room.most[j])
        if ((load(own) <= largest) | (load(own + LANES) <= largest)) == 0:
            continue
        q = first + j
        values, numbers = buffers.values + q * capacity, buffers.rows + q * capacity
        bound, length = splat(buffers.bounds[q]), buffers.lengths[q]
        apart = queries.spans[q] * (limit[ERROR] + queries.ratios[q] * limit[SIZE])
        for half in range(2):
            found = load(own + half * LANES) + splat(queries.offsets[q])  # an integer, exact
            v = ints_to_floats(found) * step - splat(apart)
            place = row + half * LANES
            mask = v <= bound
            if place + LANES > rows.n:
                mask &= (1 << max(0, rows.n - place)) - 1
            if queries.has_alive and mask != 0:
                mask &= np.int64(queries.alive[q * queries.words_each + place // 64]) >> (place % 64)
            if mask != 0:
                length = append(values, numbers, length, v, place, mask)
        if length > buffers.triggers[q]:
            length, buffers.bounds[q] = tighten_query(rows, queries, q, buffers, length)
            buffers.triggers[q] = next_trigger(buffers.triggers[q], length, capacity)
            if length > capacity - ROOM:
                length, buffers.bounds[q] = OVERFLOWED, -_INFINITY
        buffers.lengths[q] = length


@inlined
def bound_tile(most, queries, q, bounds, limits):
    """most = the integer bounds of the queries of a tile, q and on, for a panel with these limits."""
    for j in range(0, QUERIES_IN_TILE, LANES):
        i = q + j
        store(most + j, integer_bounds(bounds + i, queries.spans + i, queries.ratios + i, queries.offsets + i, limits))


@inlined
def pass_on(block, most, sums):
    """Whether a row of a tile is within the bound of its query, most (QUERIES_IN_TILE,); if so, sums = the tile."""
    within = 0
    for j in range(QUERIES_IN_TILE):
        bound = splat(most[j])
        within |= (block[2 * j] <= bound) | (block[2 * j + 1] <= bound)
    if within != 0:
        for j in range(ACCUMULATORS):
            store(sums + j * LANES, block[j])
    return within != 0


@entry
def scan_bytes(path, rows: Codes, first_panel, last_panel, queries: Queries, buffers: Buffers, room: Room):
    """Offer the rows of panels first_panel..last_panel-1 to every query: buffers keep what can be among the nearest."""
    coded, asked = pointers(Codes(*rows)), pointers(Queries(*queries))
    kept, r = pointers(Buffers(*buffers)), pointers(Room(*room))
    block, quads = int_registers(ACCUMULATORS), coded.quads
    block_panels = max(1, BLOCK_BYTES // (quads * QUAD_BYTES))
    for start in range(first_panel, last_panel, block_panels):
        for q in range(0, asked.n, QUERIES_IN_TILE):
            inverse_step = asked.inverse_steps[q // QUERIES_IN_TILE]
            for p in range(start, min(start + block_panels, last_panel)):
                own = coded.limits + p * N_LIMITS
                inverse = inverse_step / own[STEP]
                bound_tile(r.most, asked, q, kept.bounds, own)
                for strip in range(0, STORED_ROWS, PANEL_ROWS):
                    row = p * STORED_ROWS + strip
                    norms = coded.half_norms + row
                    byte_tile(block, start_sums(norms, inverse), start_sums(norms + LANES, inverse),
                              asked.packed + q * quads * 4, coded.codes + p * quads * QUAD_BYTES + 4 * strip,
                              quads)  # fmt: skip
                    if pass_on(block, r.most, r.sums):
                        collect_bytes(r, coded, row, asked, q, kept)
                        bound_tile(r.most, asked, q, kept.bounds, own)


@entry
def finish_bytes(path, rows: Codes, queries: Queries, buffers: Buffers):
    """Tighten every query's buffer a last time, so that few rows are left to be scored."""
    coded, asked, kept = pointers(Codes(*rows)), pointers(Queries(*queries)), pointers(Buffers(*buffers))
    for q in range(asked.n):
        if kept.lengths[q] > kept.k:
            kept.lengths[q], _ = tighten_query(coded, asked, q, kept, kept.lengths[q])
