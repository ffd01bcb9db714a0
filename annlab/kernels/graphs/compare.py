"""Leaves: all rows of a small set are compared with all others, and every row keeps the nearest ones.

The rows of a leaf are packed into *panels* of PANEL_ROWS rows, four bytes of each row side by side, and meet some
queries at a time in a tile of registers (as in kernels/tile.py, in bytes). A register of distances is compared with the
query's limit at once; what passes is appended to the query's buffer, and where that is full, its k-th smallest distance
becomes the limit.

Distances are whole numbers, and rows come in ascending order, so a list is the least by (distance, row), ties
included. A row that a list had no room for can only tie with its last entry by a higher number: the limit is then one
less. What a limit from earlier leaves drops is beyond the row's list as it is, so neither the order of leaves nor who
compares them changes the lists that come out in the end.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.graphs.whole import MIDDLE, Rows
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import (
    LANES,
    count,
    first,
    int_registers,
    load,
    pointer,
    pointers,
    splat,
    store,
)
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, add_byte_products
from annlab.kernels.topk import append, keep_at_most, kth_smallest

FAR = np.int32(2**31 - 1)  # the distance of rows that are not there
_UNLIMITED = 2**31 - 2
_PANEL_QUAD = 4 * PANEL_ROWS
LOW = np.uint64(0xFFFFFFFF)
NONE = np.uint64(0xFFFFFFFFFFFFFFFF)
"""No key. A key is a distance and a row: (distance << 32) | row."""


class Leaf(NamedTuple):
    """Packed rows that queries are compared with. Made by `new_leaf`, filled by `pack`."""

    panels: Any  # (n_panels, quads, PANEL_ROWS, 4) uint8
    norms: Any  # (n_panels * PANEL_ROWS,) int32, FAR behind the last row
    n_panels: int
    quads: int


class Room(NamedTuple):
    """Scratch of one thread. Made by `new_room`."""

    queries: Any  # (quads, QUERIES_IN_TILE, 4) int8
    values: Any  # (QUERIES_IN_TILE, capacity) int32
    places: Any  # the same, int32
    low: Any  # (capacity,) int32
    high: Any
    sums: Any  # (ACCUMULATORS * LANES,) int32
    limits: Any  # (QUERIES_IN_TILE,) int32
    lengths: Any  # (QUERIES_IN_TILE,) int64
    capacity: int
    full: int


class Asked(NamedTuple):
    """Who asks what: queries, their own places in the leaf (-1: not there), and lists that they have already."""

    rows: Any  # (m,) int32
    places: Any  # (m,) int32
    ids: Any  # (rows of the leaf,) int32, ascending: the number of every packed row
    slots: Any  # (m,) int32: which of the lists is a query's
    keys: Any  # (lists, keep) uint64: a row beyond the last key of its query's list is not wanted; or empty
    keep: int
    has_keys: bool


def new_leaf(n: int, dim: int) -> Leaf:
    """Place for n rows."""
    n_panels, quads = -(-n // PANEL_ROWS), -(-dim // 4)
    return Leaf(np.zeros((n_panels, quads, PANEL_ROWS, 4), np.uint8), np.full(n_panels * PANEL_ROWS, FAR), n_panels,
                quads)  # fmt: skip


def new_room(dim: int, keep: int) -> Room:
    """Scratch for lists of `keep`."""
    full = 3 * keep + 2 * PANEL_ROWS
    capacity = full + 2 * PANEL_ROWS
    return Room(
        np.zeros((-(-dim // 4), QUERIES_IN_TILE, 4), np.int8), np.zeros((QUERIES_IN_TILE, capacity), np.int32),
        np.zeros((QUERIES_IN_TILE, capacity), np.int32), np.zeros(capacity, np.int32), np.zeros(capacity, np.int32),
        np.zeros(ACCUMULATORS * LANES, np.int32), np.zeros(QUERIES_IN_TILE, np.int32),
        np.zeros(QUERIES_IN_TILE, np.int64), capacity, full,
    )  # fmt: skip


@entry
def pack(path, rows: Rows, ids, leaf: Leaf):
    """Put some rows into a new leaf, four bytes at a time."""
    code, norms = Rows(*rows).codes, Rows(*rows).norms
    panels, own = Leaf(*leaf).panels, Leaf(*leaf).norms
    for i in range(ids.shape[0]):
        panel, lane = i // PANEL_ROWS, i % PANEL_ROWS
        for t in range(panels.shape[1]):
            for byte in range(4):
                panels[panel, t, lane, byte] = code[ids[i], 4 * t + byte]
        own[i] = norms[ids[i]]


@kernel
def _prepare(rows, asked, q, n_queries, room):
    """Signed bytes of some queries side by side, and the largest |x|^2 - 2 (x + 128).q that each still wants."""
    for j in range(n_queries):
        row = np.int64(asked.rows[q + j])
        code, out = rows.codes + row * rows.stride, room.queries + 4 * j
        for t in range((rows.dim + 3) // 4):
            for byte in range(4):
                out[4 * QUERIES_IN_TILE * t + byte] = np.int8(np.int32(code[4 * t + byte]) - MIDDLE)
        limit = np.int64(_UNLIMITED)
        if asked.has_keys:
            last = asked.keys[np.int64(asked.slots[q + j]) * asked.keep + asked.keep - 1]
            if last != NONE:
                limit = np.int64(last >> np.uint64(32)) - rows.norms[row] - 2 * MIDDLE * np.int64(rows.sums[row])
        room.limits[j], room.lengths[j] = np.int32(limit), 0
    for j in range(n_queries, QUERIES_IN_TILE):
        room.limits[j], room.lengths[j] = -FAR, 0


@inlined
def _tile(block, queries, codes, quads):
    """block = sums of products of PANEL_ROWS rows with QUERIES_IN_TILE queries."""
    zero = splat(np.int32(0))
    for j in range(ACCUMULATORS):
        block[j] = zero
    add_byte_products(block, queries, codes, quads, _PANEL_QUAD)


@kernel
def _cut(values, places, length, keep, low, high):
    """Keep the least `keep` of a buffer, of equal ones the first; returns how many there are and the last value."""
    last = kth_smallest(values, length, keep, low, high)
    length = keep_at_most(values, places, length, last)
    if length > keep:
        room, kept = keep, 0
        for p in range(length):
            room -= values[p] < last
        for p in range(length):
            if values[p] < last or room > 0:
                room -= values[p] == last
                values[kept], places[kept] = values[p], places[p]
                kept += 1
        length = kept
    return length, last


@kernel
def _collect(passed, start, asked, q, room):
    """Append to the buffers of the queries that passed (bits) what is within their limits, of the panel at `start`."""
    while passed != 0:
        j = first(passed)
        passed &= passed - 1
        values, places = room.values + j * room.capacity, room.places + j * room.capacity
        length, limit = room.lengths[j], splat(room.limits[j])
        for half in range(2):
            value, row = load(room.sums + (2 * j + half) * LANES), start + half * LANES
            near, own = value <= limit, asked.places[q + j] - row
            if 0 <= own and own < LANES:
                near &= ~(1 << np.int64(own))
            length = append(values, places, length, value, np.int32(row), near)
        if length > room.full:
            length, last = _cut(values, places, length, asked.keep, room.low, room.high)
            room.limits[j] = min(room.limits[j], np.int32(last - 1))
        room.lengths[j] = length


@kernel
def _list(values, places, length, base, ids, out):
    """Write a buffer's keys in ascending order: the place of each is how many come before it."""
    for p in range(length, (length + LANES - 1) // LANES * LANES):
        values[p] = FAR
    for i in range(length):
        own, before = splat(values[i]), 0
        block = i // LANES * LANES
        for p in range(0, block, LANES):
            before += count(load(values + p) <= own)
        value, earlier = load(values + block), (1 << np.int64(i - block)) - 1
        before += count((value < own) | ((value <= own) & earlier))
        for p in range(block + LANES, length, LANES):
            before += count(load(values + p) < own)
        out[before] = (np.uint64(np.int64(values[i]) + base) << np.uint64(32)) | np.uint64(ids[places[i]])


@entry
def compare(path, rows: Rows, leaf: Leaf, asked: Asked, start, stop, room: Room, found, counts):
    """The nearest rows of a leaf to the queries start..stop-1: found (m, keep) keys, ascending, counts (m,) of them."""
    _compare(pointers(Rows(*rows)), pointers(Leaf(*leaf)), pointers(Asked(*asked)), start, stop, pointers(Room(*room)),
             pointer(found), pointer(counts))  # fmt: skip


@kernel
def _compare(rows, leaf, asked, start, stop, room, found, counts):
    block = int_registers(ACCUMULATORS)
    panel_bytes = leaf.quads * _PANEL_QUAD
    for q in range(start, stop, QUERIES_IN_TILE):
        n_queries = min(QUERIES_IN_TILE, stop - q)
        _prepare(rows, asked, q, n_queries, room)
        for p in range(leaf.n_panels):
            _tile(block, room.queries, leaf.panels + p * panel_bytes, leaf.quads)
            low, high = load(leaf.norms + p * PANEL_ROWS), load(leaf.norms + p * PANEL_ROWS + LANES)
            passed = 0
            for j in range(QUERIES_IN_TILE):
                limit = splat(room.limits[j])
                lower, upper = low - block[2 * j] - block[2 * j], high - block[2 * j + 1] - block[2 * j + 1]
                if ((lower <= limit) | (upper <= limit)) != 0:
                    store(room.sums + 2 * j * LANES, lower)
                    store(room.sums + (2 * j + 1) * LANES, upper)
                    passed |= 1 << j
            if passed != 0:
                _collect(passed, p * PANEL_ROWS, asked, q, room)
        for j in range(n_queries):
            values, places, length = room.values + j * room.capacity, room.places + j * room.capacity, room.lengths[j]
            if length > asked.keep:
                length, _ = _cut(values, places, length, asked.keep, room.low, room.high)
            row = np.int64(asked.rows[q + j])
            base = np.int64(rows.norms[row]) + 2 * MIDDLE * np.int64(rows.sums[row])
            _list(values, places, length, base, asked.ids, found + (q + j) * asked.keep)
            counts[q + j] = length
