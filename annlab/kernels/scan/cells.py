"""Scanning rows by cells: every cell is a scan of bytes about its own center, and most cells are never scanned.

A row x of the cell with center c is stored as bytes of x - c, and q - c is what a query is there: both are short where
the cell is near, so their bytes are fine. `kernels/scan/int8.py` gives a lower value v and an upper one for

    |x - q|^2 / 2  =  |q - c|^2 / 2  +  R,    R = |x - c|^2 / 2 - (q - c).(x - c)

which makes values of different cells comparable. A cell is left out for a query that is farther from its center than
the cell's radius and the query's bound together. `annlab/scan/cells.py` has the argument.

The tile, its start and its integer bounds are those of all bytes; what is new is that the queries of a tile are those
that come to a cell, and that they are quantized for it.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.scan.batch import OVERFLOWED, ROOM, first_trigger, next_trigger
from annlab.kernels.scan.int8 import (
    BLOCK_BYTES,
    ERROR,
    MARGIN,
    N_LIMITS,
    QUAD_BYTES,
    SIZE,
    STEP,
    STORED_ROWS,
    U,
    byte_tile,
    integer_bounds,
    pass_on,
    start_sums,
)
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, ints_to_floats, low_bytes
from annlab.kernels.simd.lanes import to_floats, total
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import (
    LANES,
    count,
    float_memory,
    float_registers,
    fma,
    int_registers,
    lanes_of,
    larger,
    load,
    pointer,
    pointers,
    ramp,
    smaller,
    splat,
    store,
    store_compressed,
)
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, float_tile
from annlab.kernels.topk import PADDING, kth_smallest

_INFINITY = np.float32(np.inf)
_LARGEST = np.finfo(np.float32).max
_ZERO, _HALF, _TWO = np.float32(0.0), np.float32(0.5), np.float32(2.0)
_MOST = np.float32(LARGEST_SIGNED)  # of a query's bytes
_ROUNDER = np.float32(1.5 * 2**23)  # added and taken off, it rounds what is small to integers
_APART, _PIECES = np.float32(2 + 4 * MARGIN), np.float32(4 * MARGIN)  # of an upper value, see `upper_values`
_STEPS = np.float32(3.0)


class Cells(NamedTuple):
    """Rows by cells, each in panels of its own: arrays for the door, pointers inside."""

    codes: Any  # (panels, quads, 32, 4) uint8
    half_norms: Any  # (panels, 32) float32, infinite where there is no row
    limits: Any  # (panels, N_LIMITS) float32
    quads: int
    numbers: Any  # (panels * 32,) int32: which row it is, -1: none
    firsts: Any  # (cells + 1,) int64: the first panel of each
    centers: Any  # (cells, stride) float64, zeros behind the last coordinate
    radii: Any  # (cells,) float32: rounded up
    steps: Any  # (cells,) float32: the smallest of a query there
    stride: int


class Queries(NamedTuple):
    """A batch."""

    points: Any  # (q, stride) float64: centred and scaled as the rows are, zeros behind the last coordinate
    n: int
    distances: Any  # (cells, padded) float32: squared, from the centers, rounded down
    padded: int
    nearest: Any  # (q,) int64: the cell of the nearest center
    exact_step: float  # with which bytes of these queries lose nothing, or 0
    ties: Any  # (q,) float64: what upper values take besides
    alive: Any  # words of bits of the rows that queries may have
    words_each: int  # that each query has of its own, 0: all have the same
    has_alive: bool


class Kept(NamedTuple):
    """What a scan keeps for every query: rows whose lower value is at most the bound. Made by `new_kept`."""

    k: int
    bounds: Any  # (q + LANES,) float32
    lengths: Any  # (q,) int64: entries, or OVERFLOWED
    triggers: Any  # (q,) int64: the length at which a buffer is tightened
    values: Any  # (q, capacity) float32: the lower values
    uppers: Any  # (q, capacity) float32
    places: Any  # (q, capacity) int32
    seen: Any  # (q,) int64: panels that it was offered
    capacity: int
    low: Any  # scratch: PADDING longer than a buffer, as well as high
    high: Any


class Room(NamedTuple):
    """Scratch: the queries that come to a cell, and a group of them as bytes. Made by `new_room`."""

    which: Any  # (q,) int64
    moved: Any  # (QUERIES_IN_TILE, stride) float32: q - c
    signed: Any  # (stride,) int8, and
    signed_quads: Any  # the same memory as int32
    packed: Any  # (quads, QUERIES_IN_TILE, 4) int8, and
    packed_quads: Any  # the same memory as int32
    steps: Any  # the step of the group: one float32
    spans: Any  # of the group, as in kernels/scan/int8.py: a register's room behind each
    ratios: Any
    offsets: Any
    bounds: Any  # of R / t_q
    bases: Any  # |q - c|^2 / 2, rounded down
    tops: Any  # and up
    most: Any
    sums: Any  # int32: the tile, PANEL_ROWS a query


def new_kept(n: int, k: int, most: int) -> Kept:
    """Empty buffers for about `most` rows a query; their bounds let nothing pass."""
    capacity = most + PADDING
    low, high = np.empty((2, capacity + PADDING), np.float32)
    values, uppers = np.empty((2, n, capacity), np.float32)
    return Kept(k, np.full(n + LANES, -_INFINITY, np.float32), np.zeros(n, np.int64),
                np.full(n, first_trigger(k, capacity), np.int64), values, uppers, np.empty((n, capacity), np.int32),
                np.zeros(n, np.int64), capacity, low, high)  # fmt: skip


def new_room(n: int, quads: int, stride: int) -> Room:
    """Scratch for scans of n queries."""
    signed, packed = np.zeros(stride, np.int8), np.zeros((quads, QUERIES_IN_TILE, 4), np.int8)
    floats = np.zeros((5, QUERIES_IN_TILE + LANES), np.float32)
    return Room(np.empty(n, np.int64), np.zeros((QUERIES_IN_TILE, stride), np.float32), signed, signed.view(np.int32),
                packed, packed.view(np.int32), np.zeros(1, np.float32), floats[0], floats[1],
                np.zeros(QUERIES_IN_TILE + LANES, np.int32), floats[2], floats[3], floats[4],
                np.zeros(QUERIES_IN_TILE + LANES, np.int32), np.empty(ACCUMULATORS * LANES, np.int32))  # fmt: skip


@entry
def center_distances(path, groups, squares, n, panels, half_norms, slack, distances):
    """distances (n, panels * PANEL_ROWS): squared, of every query to n centers, less `slack` (|q| + |c|)^2 of rounding.

    groups (g, dim, QUERIES_IN_TILE) of negated centers and their squared lengths (n,) float32; panels (p, dim,
    PANEL_ROWS) of queries and the halves of theirs.
    """
    dim, n_panels = groups.shape[1], panels.shape[0]
    group, panel, half, out = pointer(groups), pointer(panels), pointer(half_norms), pointer(distances)
    block = float_registers(ACCUMULATORS)
    for p in range(n_panels):
        for first in range(0, n, QUERIES_IN_TILE):
            float_tile(block, group + first * dim, panel + p * dim * PANEL_ROWS, half + p * PANEL_ROWS, dim)
            for j in range(QUERIES_IN_TILE):
                if first + j < n:
                    square = splat(squares[first + j])
                    for part in range(2):
                        lengths = (square + load(half + p * PANEL_ROWS + part * LANES) * splat(_TWO)) * splat(_TWO)
                        value = block[2 * j + part] * splat(_TWO) + square - lengths * splat(slack)
                        store(out + ((first + j) * n_panels + p) * PANEL_ROWS + part * LANES, value)


@kernel
def move_query(q, center, stride, lanes, moved):
    """moved = q - center in float32; returns its largest magnitude and the sum of its squares."""
    largest, squares = splat(_ZERO), splat(_ZERO)
    for i in range(0, stride, lanes):
        store(moved + i, to_floats(load(q + i) - load(center + i)))
    for i in range(0, stride, LANES):
        x = load(moved + i)
        largest = larger(largest, larger(x, splat(_ZERO) - x))
        squares = fma(x, x, squares)
    lane, most = float_memory(LANES), _ZERO
    store(lane, largest)
    for i in range(LANES):
        most = max(most, lane[i])
    return most, np.float64(total(squares))


@kernel
def quantize_moved(moved, stride, step, signed):
    """Write moved / step, rounded, as bytes; returns the sum of these and the sum of squares of the rest."""
    inverse, sums, squares = splat(np.float32(1.0) / step), splat(_ZERO), splat(_ZERO)
    for i in range(0, stride, LANES):
        x = load(moved + i)
        y = x * inverse + splat(_ROUNDER) - splat(_ROUNDER)
        y = larger(smaller(y, splat(_MOST)), splat(-_MOST))
        store(signed + i, low_bytes(y))
        rest = fma(splat(-step), y, x)
        sums, squares = sums + y, fma(rest, rest, squares)
    return total(sums), np.float64(total(squares))


@kernel
def move_group(cells, queries, kept, room, cell, first, n):
    """Quantize n queries that come to a cell, with one step for all, and find their bounds there."""
    stride, quads, largest, lanes = cells.stride, cells.quads, _ZERO, lanes_of(queries.points)
    center = cells.centers + cell * stride
    for j in range(n):
        most, square = move_query(queries.points + room.which[first + j] * stride, center, stride, lanes,
                                  room.moved + j * stride)  # fmt: skip
        largest = max(largest, most)
        room.tops[j] = square  # until it is known better
    exact = np.float32(queries.exact_step)
    step = max(largest / _MOST * np.float32(1.0 + 2.0**-20), cells.steps[cell])
    if exact > _ZERO and largest <= _MOST * exact and cells.steps[cell] <= exact:
        step = exact
    off = (stride / LANES + 20.0) * U  # of sums of squares in float32, relative
    room.steps[0] = step
    for j in range(n):
        q = room.which[first + j]
        sums, rests = quantize_moved(room.moved + j * stride, stride, step, room.signed)
        for i in range(quads):
            room.packed_quads[i * QUERIES_IN_TILE + j] = room.signed_quads[i]
        square = np.float64(room.tops[j])
        norm = math.sqrt(square)
        room.spans[j] = norm / step * (1.0 + off)
        room.ratios[j] = math.sqrt(rests) / max(norm, 1e-30) * (1.0 + 2.0 * off)
        room.offsets[j] = -127 * np.int32(sums)
        room.bases[j] = 0.5 * square * (1.0 - off)
        room.tops[j] = 0.5 * square * (1.0 + off)
        room.bounds[j] = bound_of_rest(kept.bounds[q], room.bases[j], step)
    for j in range(n, QUERIES_IN_TILE):
        room.bounds[j] = -_INFINITY


@kernel
def bound_of_rest(bound, base, step):
    """The bound of R / t_q, rounded up, that follows from one of R + |q - c|^2 / 2."""
    if bound == -_INFINITY:
        return bound
    rest = (np.float64(bound) - np.float64(base)) / np.float64(step)
    return np.float32(min(rest + 2.0**-22 * abs(rest), np.float64(_LARGEST)))


@kernel
def tighten(kept, q, tie):
    """Drop from a query's buffer what is above the k-th smallest upper value, which is its new bound."""
    own, length = q * kept.capacity, kept.lengths[q]
    values, uppers, places = kept.values + own, kept.uppers + own, kept.places + own
    upper = np.float64(kth_smallest(uppers, length, kept.k, kept.low, kept.high))
    bound = np.nextafter(np.float32(upper + 2.0**-20 * abs(upper) + tie), _INFINITY)
    bound, n = min(bound, kept.bounds[q]), 0
    for i in range(0, length, LANES):
        value, top, place = load(values + i), load(uppers + i), load(places + i)
        stays = (value <= splat(bound)) & ((1 << min(LANES, length - i)) - 1)
        store_compressed(values + n, value, stays)
        store_compressed(uppers + n, top, stays)
        store_compressed(places + n, place, stays)
        n += count(stays)
    kept.lengths[q], kept.bounds[q] = n, bound


@inlined
def upper_values(v, apart, norms, inverse_step, limit_step):
    """What R / t_q is at most, where v is what it is at least."""
    rounding = fma(norms * splat(inverse_step), splat(_PIECES), splat(_STEPS * limit_step))
    return v + splat(apart * _APART) + rounding


@kernel
def allowed_lanes(cells, queries, q, place, mask):
    """The lanes of a mask whose rows a query may have."""
    result = mask
    for lane in range(LANES):
        if (mask >> lane) & 1:
            row = np.int64(cells.numbers[place + lane])
            word = queries.alive[q * queries.words_each + row // 64]
            if (np.int64(word >> np.uint64(row % 64)) & 1) == 0:
                result &= ~(np.int64(1) << lane)
    return result


@kernel
def collect(cells, queries, kept, room, first, n, row):
    """Append what passes the bounds of the n queries of a tile; `row` is the place of the tile's first row."""
    limit, step = cells.limits + (row // STORED_ROWS) * N_LIMITS, room.steps[0]
    inverse_step = np.float32(1.0) / step
    for j in range(n):
        own, largest = room.sums + j * PANEL_ROWS, splat(room.most[j])
        if ((load(own) <= largest) | (load(own + LANES) <= largest)) == 0:
            continue
        q = room.which[first + j]
        length, at = kept.lengths[q], q * kept.capacity
        values, uppers, places = kept.values + at, kept.uppers + at, kept.places + at
        apart = np.float32(room.spans[j] * (limit[ERROR] + room.ratios[j] * limit[SIZE]))
        for half in range(2):
            place = row + half * LANES
            norms = load(cells.half_norms + place)
            v = ints_to_floats(load(own + half * LANES) + splat(room.offsets[j])) * splat(limit[STEP]) - splat(apart)
            mask = (v <= splat(room.bounds[j])) & (norms <= splat(_LARGEST))
            if queries.has_alive and mask != 0:
                mask = allowed_lanes(cells, queries, q, place, mask)
            if mask != 0:
                top = upper_values(v, apart, norms, inverse_step, limit[STEP])
                store_compressed(values + length, fma(v, splat(step), splat(room.bases[j])), mask)
                store_compressed(uppers + length, fma(top, splat(step), splat(room.tops[j])), mask)
                store_compressed(places + length, ramp(place), mask)
                length += count(mask)
        kept.lengths[q] = length
        if length > kept.triggers[q]:
            tighten(kept, q, queries.ties[q])
            kept.triggers[q] = next_trigger(kept.triggers[q], kept.lengths[q], kept.capacity)
            if kept.lengths[q] > kept.capacity - ROOM:
                kept.lengths[q], kept.bounds[q] = OVERFLOWED, -_INFINITY
            room.bounds[j] = bound_of_rest(kept.bounds[q], room.bases[j], step)


@inlined
def bound_group(room, limits):
    """room.most = the integer bounds of a group, for a panel with these limits."""
    for j in range(0, QUERIES_IN_TILE, LANES):
        store(room.most + j, integer_bounds(room.bounds + j, room.spans + j, room.ratios + j, room.offsets + j, limits))


@inlined
def is_near(bound, radius, distance):
    """Whether a cell of this radius may hold a row within the bound, at this squared distance of its center."""
    reach = math.sqrt(max(0.0, 2.0 * np.float64(bound))) + radius
    return bound == _LARGEST or distance <= reach * reach * (1.0 + 2.0**-20)


@kernel
def who_comes(cells, queries, kept, which, cell, at_nearest):
    """List the queries that have to look into a cell: those nearest to it, or all others that their bound lets in."""
    n, radius, distances = 0, np.float64(cells.radii[cell]), queries.distances + cell * queries.padded
    panels = cells.firsts[cell + 1] - cells.firsts[cell]
    for q in range(queries.n):
        if (queries.nearest[q] == cell) != at_nearest or kept.lengths[q] == OVERFLOWED:
            continue
        if is_near(kept.bounds[q], radius, distances[q]):
            which[n] = q
            n += 1
            kept.seen[q] += panels
    return n


@entry
def scan_cells(path, rows: Cells, first_cell, last_cell, at_nearest, queries: Queries, kept: Kept, room: Room):
    """Offer the rows of cells first_cell..last_cell-1 to the queries that come to each.

    at_nearest: only the queries nearest to a cell come, which gives them a bound; otherwise all others.
    """
    cells, asked = pointers(Cells(*rows)), pointers(Queries(*queries))
    found, r = pointers(Kept(*kept)), pointers(Room(*room))
    block, quads = int_registers(ACCUMULATORS), cells.quads
    block_panels = max(1, BLOCK_BYTES // (quads * QUAD_BYTES))
    for cell in range(first_cell, last_cell):
        n_all, end = who_comes(cells, asked, found, r.which, cell, at_nearest), cells.firsts[cell + 1]
        for start in range(cells.firsts[cell], end, block_panels):
            for first in range(0, n_all, QUERIES_IN_TILE):
                n = min(QUERIES_IN_TILE, n_all - first)
                move_group(cells, asked, found, r, cell, first, n)
                inverse_step = np.float32(1.0) / r.steps[0]
                for p in range(start, min(start + block_panels, end)):
                    limits = cells.limits + p * N_LIMITS
                    inverse = inverse_step / limits[STEP]
                    bound_group(r, limits)
                    for strip in range(0, STORED_ROWS, PANEL_ROWS):
                        row = p * STORED_ROWS + strip
                        norms = cells.half_norms + row
                        byte_tile(block, start_sums(norms, inverse), start_sums(norms + LANES, inverse), r.packed,
                                  cells.codes + p * quads * QUAD_BYTES + 4 * strip, quads)  # fmt: skip
                        if pass_on(block, r.most, r.sums):
                            collect(cells, asked, found, r, first, n, row)
                            bound_group(r, limits)


@entry
def finish_cells(path, rows: Cells, queries: Queries, kept: Kept):
    """Tighten every buffer a last time, and turn places into rows."""
    cells, asked, found = pointers(Cells(*rows)), pointers(Queries(*queries)), pointers(Kept(*kept))
    for q in range(asked.n):
        if found.lengths[q] > found.k:
            tighten(found, q, asked.ties[q])
        for i in range(q * found.capacity, q * found.capacity + found.lengths[q]):
            found.places[i] = cells.numbers[found.places[i]]
