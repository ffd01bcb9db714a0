"""Scanning many queries against all rows: register-blocked tiles that never write the distance matrix.

Rows are packed into panels, a block at a time, queries into groups, and every group meets every panel in a tile of
registers that ends with the surrogates of its rows (`kernels/tile.py`). One comparison with the query's bound follows,
and only what passes is stored (`kernels/topk.py`).

A block of panels stays in the second-level cache while all groups of queries pass it, so the vectors are read from
memory once per call. Why a rounded surrogate cannot lose a neighbour is derived in `annlab/scan/scanner.py`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from annlab.kernels.distance import COSINE, L2, inner_product
from annlab.kernels.simd.memory import aligned
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import (
    LANES,
    float_registers,
    lanes_of,
    load,
    pointer,
    pointers,
    splat,
    store,
)
from annlab.kernels.tile import (
    ACCUMULATORS,
    PANEL_ROWS,
    QUERIES_IN_TILE,
    convert_row,
    float_tile,
    pack_panel,
    shift_row,
)
from annlab.kernels.topk import PADDING, append, keep_at_most, kth_smallest

ROOM = PANEL_ROWS + PADDING  # at the end of a buffer: for a tile's hits, and for what compressed stores write behind
BLOCK_BYTES = 256 * 1024  # of panels: they have to stay in the second-level cache
OVERFLOWED = -1  # the length of a buffer in which more rows are tied (within rounding) than it holds
_EARLY, _EARLY_FOR = 48, 5  # the length at which a buffer is first tightened: so many rows, or so many for each of k
_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)
_LARGEST = np.finfo(np.float32).max  # the first bound: padding rows, whose surrogate is infinite, do not pass it


class Rows(NamedTuple):
    """What is scanned, and how it is centred and scaled: arrays for the door of a kernel, pointers inside."""

    vectors: Any  # (n, dim)
    dim: int
    numbers: Any  # (m,) int32: scan these rows only; without any: the rows themselves
    n_numbers: int
    metric: int
    center: Any  # (dim,) float64
    scale: float
    own_center: Any  # (dim,) the center in the type of the vectors, and
    own_scale: Any  # the scale; 0 where they do not fit into that


class Queries(NamedTuple):
    """A batch, padded to whole groups."""

    packed: Any  # (groups, dim, QUERIES_IN_TILE) float32: converted and negated, zeros where there is none
    n: int
    slacks: Any  # (padded,) float64: rows above the k-th value by more than slack + slope |value| may be forgotten
    slopes: Any
    alive: Any  # bits of the rows that a query may have, n_words for each
    n_words: int  # 0: all rows


class Buffers(NamedTuple):
    """What a scan keeps for every query of a batch. Made by `new_buffers`; portions of the rows go on with it."""

    k: int
    bounds: Any  # (padded + LANES,) float32: what lies above is dropped; comes as -inf, which drops all
    lengths: Any  # (padded,) int64: entries, or OVERFLOWED
    triggers: Any  # (padded,) int64: the length at which a buffer is tightened
    values: Any  # (padded, capacity) float32
    rows: Any  # (padded, capacity) int32
    capacity: int
    low: Any  # scratch: PADDING longer than a buffer, as well as high
    high: Any


class Room(NamedTuple):
    """Scratch for a block of rows. Made by `new_room`."""

    converted: Any  # (PANEL_ROWS, stride) float32, zeros behind the last coordinate
    stride: int
    panels: Any  # (n_panels, dim, PANEL_ROWS) float32
    half_norms: Any  # (n_panels * PANEL_ROWS,) float32
    n_panels: int
    surrogates: Any  # of a tile


def padded_to_groups(n_queries: int) -> int:
    """How many queries whole groups have room for."""
    return -(-n_queries // QUERIES_IN_TILE) * QUERIES_IN_TILE


@register_jitable  # type: ignore[untyped-decorator]
def first_trigger(k, capacity):
    """When to tighten a buffer first: early, since the first bounds are the loosest."""
    return min(max(_EARLY_FOR * k, _EARLY), capacity - ROOM)


def new_buffers(n_queries: int, k: int, most: int) -> Buffers:
    """Empty buffers for about `most` rows a query; their bounds let nothing pass."""
    n, capacity = padded_to_groups(n_queries), most + PADDING
    low, high = np.empty((2, capacity + PADDING), np.float32)
    return Buffers(k, np.full(n + LANES, -_INFINITY, np.float32), np.zeros(n, np.int64),
                   np.full(n, first_trigger(k, capacity), np.int64), np.empty((n, capacity), np.float32),
                   np.empty((n, capacity), np.int32), capacity, low, high)  # fmt: skip


def new_packed(n_queries: int, dim: int) -> np.ndarray:
    """Space for the packed queries of a batch, all zero."""
    return np.zeros((padded_to_groups(n_queries) // QUERIES_IN_TILE, dim, QUERIES_IN_TILE), np.float32)


def new_room(dim: int, n_rows: int) -> Room:
    """Room for scans of so many rows, a block of them at a time."""
    stride = -(-dim // LANES) * LANES
    n_panels = max(1, min(BLOCK_BYTES // (4 * dim * PANEL_ROWS), -(-n_rows // PANEL_ROWS)))
    return Room(np.zeros((PANEL_ROWS, stride), np.float32), stride, aligned((n_panels, dim, PANEL_ROWS), np.float32),
                np.empty(n_panels * PANEL_ROWS, np.float32), n_panels,
                np.empty(ACCUMULATORS * LANES, np.float32))  # fmt: skip


@kernel
def tighten(values, rows, length, k, slack, slack_slope, low, high):
    """Drop from a full buffer what cannot be among the k nearest; returns its length and the new bound."""
    kth = kth_smallest(values, length, k, low, high)
    bound = np.nextafter(np.float32(kth + slack + slack_slope * abs(kth)), _INFINITY)
    bound = min(bound, _LARGEST)  # never infinite: padding rows are, and must not pass
    return keep_at_most(values, rows, length, bound), bound


@kernel
def next_trigger(trigger, length, capacity):
    """When to tighten next: often, as long as it frees most of the buffer, since a low bound is what saves work."""
    return min(max(trigger, 2 * length), capacity - ROOM)


@kernel
def collect(surrogates, queries, first, row, buffers):
    """Append what passes the bounds of a tile's queries, `first` and on; surrogates: PANEL_ROWS a query, in memory.

    `row` is the panel's first row.
    """
    capacity, n_words = buffers.capacity, queries.n_words
    for q in range(first, min(first + QUERIES_IN_TILE, queries.n)):
        bound, length = splat(buffers.bounds[q]), buffers.lengths[q]
        values, rows = buffers.values + q * capacity, buffers.rows + q * capacity
        for half in range(2):
            value = load(surrogates + half * LANES)
            mask = value <= bound
            if n_words > 0 and mask != 0:
                place = row + half * LANES
                mask &= np.int64(queries.alive[q * n_words + place // 64]) >> (place % 64)
            if mask != 0:
                length = append(values, rows, length, value, row + half * LANES, mask)
        if length > buffers.triggers[q]:
            length, buffers.bounds[q] = tighten(values, rows, length, buffers.k, queries.slacks[q], queries.slopes[q],
                                                buffers.low, buffers.high)  # fmt: skip
            buffers.triggers[q] = next_trigger(buffers.triggers[q], length, capacity)
            if length > capacity - ROOM:
                length, buffers.bounds[q] = OVERFLOWED, -_INFINITY
        buffers.lengths[q] = length
        surrogates += PANEL_ROWS


@entry
def pack_queries(path, queries, metric, center, scale, converted, packed, squared_norms):
    """Convert queries (q, dim) as rows are converted, and pack them in groups of negated queries.

    packed (groups, dim, QUERIES_IN_TILE) comes filled with zeros; squared_norms (q,) receives |converted query|^2.
    """
    dim = queries.shape[1]
    q, out, middle = pointer(queries), pointer(converted), pointer(center)
    for i in range(queries.shape[0]):
        convert_row(q + i * dim, dim, metric, middle, scale, out)
        squared_norms[i] = inner_product(out, out, dim)
        for j in range(dim):
            packed[i // QUERIES_IN_TILE, j, i % QUERIES_IN_TILE] = -converted[j]


@kernel
def pack_block(block, other, rows, start, stop, room):
    """Pack the rows start..stop-1 into the panels of the room; returns the number of these."""
    n_panels, dim, lanes = (stop - start + PANEL_ROWS - 1) // PANEL_ROWS, rows.dim, lanes_of(rows.vectors)
    for p in range(n_panels):
        for lane in range(PANEL_ROWS):
            place, at = start + p * PANEL_ROWS + lane, p * PANEL_ROWS + lane
            if place < stop:
                row = np.int64(rows.numbers[place]) if rows.n_numbers > 0 else place
                x, out = rows.vectors + row * dim, room.converted + lane * room.stride
                if rows.metric == COSINE or rows.own_scale == 0:
                    room.half_norms[at] = convert_row(x, dim, rows.metric, rows.center, rows.scale, out)
                else:
                    h = shift_row(x, dim, lanes, rows.own_center, rows.own_scale, out)
                    room.half_norms[at] = h if rows.metric == L2 else _ZERO
            else:  # the row of whatever was here before, at an infinite distance
                room.half_norms[at] = _INFINITY
        pack_panel(block, other, room.converted, dim, room.stride, room.panels + p * PANEL_ROWS * dim)
    return n_panels


@entry
def scan_batch(path, rows: Rows, start, stop, queries: Queries, buffers: Buffers, room: Room):
    """Offer the rows start..stop-1 to every query; afterwards its buffer holds all that can be among its k nearest.

    Rows are positions among the numbers where there are any.
    """
    scanned, asked = pointers(Rows(*rows)), pointers(Queries(*queries))
    kept, r = pointers(Buffers(*buffers)), pointers(Room(*room))
    dim, block_rows = scanned.dim, r.n_panels * PANEL_ROWS
    block = float_registers(ACCUMULATORS)
    square, other = float_registers(LANES), float_registers(LANES)
    for first_row in range(start, stop, block_rows):
        n_panels = pack_block(square, other, scanned, first_row, min(first_row + block_rows, stop), r)
        for q in range(0, asked.n, QUERIES_IN_TILE):
            for p in range(n_panels):
                float_tile(block, asked.packed + q * dim, r.panels + p * dim * PANEL_ROWS,
                           r.half_norms + p * PANEL_ROWS, dim)  # fmt: skip
                passed = 0
                for j in range(QUERIES_IN_TILE):
                    limit = splat(kept.bounds[q + j])
                    passed |= (block[2 * j] <= limit) | (block[2 * j + 1] <= limit)
                if passed != 0:
                    for j in range(ACCUMULATORS):
                        store(r.surrogates + j * LANES, block[j])
                    collect(r.surrogates, asked, q, first_row + p * PANEL_ROWS, kept)
