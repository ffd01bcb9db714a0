"""One query of an inverted file in a single call: convert it, find its lists, scan them, score the best rows.

For one query on a small set, what Python does between kernels takes longer than they do, and finds its own data gone
from the caches. So all of it is one kernel, put together here from the loop and the tiles of a storage.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.inverted.candidates import CHUNK_WIDTH, Buffer, Measuring, finishing, scratch_width
from annlab.kernels.inverted.loops import Queries, Room
from annlab.kernels.inverted.nearest_lists import centroid_surrogates_one, convert_query, smallest
from annlab.kernels.scoring import Entries, nearest_of
from annlab.kernels.shortcut import Desk, Found, Waiting, length_of, settle_found
from annlab.kernels.simd.path import kernel
from annlab.kernels.simd.registers import LANES, float_registers
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS

_INFINITY = np.inf
_NUMBERS = LANES  # room for the numbers of a pair
_DISTANCES, _VISITED, _BYTES = 0, 1, 2  # columns of the counters, see common/statistics.py


class Table(NamedTuple):
    """What a shortcut reads beside the lists, see `core/shortcut.py`."""

    entries: Entries  # but for the vectors of the lists
    waiting: Waiting


class OneQuery(NamedTuple):
    """A query, what is needed to find its lists, and room for what is found: arrays for the door, pointers inside."""

    query: Any  # (1, dim), of the element type of the vectors
    metric: int
    center: Any  # (dim,) float64
    scale: float
    longest: float  # coordinate of a converted query
    panels: Any  # of the centroids, and
    half_norms: Any
    n_panels: int
    n_lists: int
    n_probes: int
    k: int
    keep: int  # rows that the scan keeps, to be scored by the vectors
    loose: Any  # (n_lists,) int64: rows of a list that are kept besides
    capacity: int  # of the buffer
    alive: Any  # (words,) of the rows that may be returned, read if has_alive
    has_alive: bool
    keys: Any  # (n,) int64: the ids of the rows
    vectors: Any
    n: int
    floats: Any  # scratch: float_scratch(...)
    longs: Any  # scratch: long_scratch(...)
    doubles: Any  # scratch: double_scratch(...)
    rows: Any  # scratch: int32 (capacity + 1,)
    distances: Any  # (1, k): the result, as well as ids
    ids: Any
    row_bytes: int  # that the scan reads for a row
    counters: Any  # (1, N_COUNTERS) int64, added to


class RoomOfOne(NamedTuple):
    """Scratch of a thread for one shortcut: the query that is asked is copied into it."""

    lists: Any
    one: OneQuery  # its results are the arrays of `found`
    operands: Any
    stride: int
    found: Found
    desk: Desk


def float_scratch(stride: int, n_panels: int, n_probes: int, capacity: int) -> int:
    """Floats of scratch for a query of `stride` coordinates, whole registers of them."""
    probing, scoring = 3 * n_panels * PANEL_ROWS + 4 * LANES, 4 * capacity + 8 * LANES
    return 2 * stride + LANES + n_probes + _NUMBERS + CHUNK_WIDTH + 2 * scratch_width(capacity) + max(probing, scoring)


def long_scratch(n_probes: int, capacity: int) -> int:
    """Integers of scratch: the lists, how many rows to keep, candidates, and keys of the best."""
    return n_probes + 1 + 2 * capacity


def double_scratch(capacity: int) -> int:
    """Numbers of scratch: the query's blur, and distances."""
    return 1 + 2 * capacity


@kernel
def _room_in(one, operands, stride, padded):
    """The scratch of a scan, in that of a query; and what is left of it."""
    width = max(one.capacity, CHUNK_WIDTH) + 2 * LANES
    numbers = one.floats + (2 * padded + LANES + one.n_probes)
    found = numbers + _NUMBERS
    low = found + CHUNK_WIDTH
    room = Room(operands, stride, numbers, numbers + 1, numbers + 2, one.rows + one.capacity,
                one.floats + (padded + one.n_probes), found, low, low + width, one.doubles + 1,
                one.longs + (one.n_probes + 1 + one.capacity))  # fmt: skip
    return room, low + 2 * width


def answering(make_ready: Callable[..., Any], scan: Callable[..., Any],
              settle: Callable[..., Any]) -> Callable[..., Any]:  # fmt: skip
    """One query from its beginning to its end, with the loop `scan` of a storage.

    `make_ready` is given the lists and the converted query before these are scanned.
    """
    take_out = finishing(settle)

    @kernel
    def answer(lists, one, query, operands, stride):
        """Fill distances and ids with the nearest of the rows that the scan keeps; inf and -1 behind.

        query (1, dim) is that of `one`, as an array; operands: scratch for what `prepare` makes, stride each.
        Counted as in `SearchStats`: the rows that were looked at and the centroids. Returns how many rows were kept.
        """
        dim, width, n_probes, k = lists.dim, one.n_panels * PANEL_ROWS, one.n_probes, one.k
        padded = -(-dim // LANES) * LANES
        room, free = _room_in(one, operands, stride, padded)
        y, coarse = one.floats, one.floats + padded
        probes, wanted, candidates = one.longs, one.longs + n_probes, one.longs + (n_probes + 1)
        block = float_registers(ACCUMULATORS)
        one.doubles[0] = convert_query(one.query, dim, one.metric, one.center, one.scale, one.longest, y, padded)
        make_ready(lists, y)
        centroid_surrogates_one(y, one.panels, one.half_norms, one.n_panels, dim, block, free)
        smallest(free, one.n_lists, n_probes, free + width, free + (2 * width + 2 * LANES), coarse, probes)
        wanted[0] = one.keep
        for probe in range(n_probes):
            wanted[0] += one.loose[probes[probe]]
        queries = Queries(one.query, y, one.doubles, coarse, wanted, n_probes, one.metric, one.alive, 0, one.has_alive,
                          one.keys, one.vectors)  # fmt: skip
        measuring = Measuring(one.query, one.vectors, one.keys, dim, one.metric, room.distances, room.best_keys)
        buffer = Buffer(free, one.rows, one.capacity, wanted[0], np.float32(0.0), room.low, room.high)
        length, error, looked_at = scan(lists, queries, probes, buffer, measuring, room)
        last = Buffer(free, one.rows, one.capacity, wanted[0], error, room.low, room.high)
        length = take_out(last, length, measuring, candidates)
        entries = Entries(one.vectors, one.n, one.vectors, one.keys, dim, one.metric)
        size = nearest_of(query, 0, entries, candidates, length, k, one.distances, one.ids, free)
        for i in range(size, k):
            one.distances[i], one.ids[i] = _INFINITY, -1
        one.counters[_DISTANCES] += looked_at + one.n_lists
        one.counters[_VISITED] += n_probes
        one.counters[_BYTES] += looked_at * one.row_bytes + one.n_lists * 4 * dim
        return length

    return answer


def by_shortcut(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel of a shortcut, with the `answer` of a storage. `room` is a `RoomOfOne`; k is that of its query."""

    @kernel
    def search(table, query, room, distances, ids):
        """Fill distances and ids (k,) for a query (dim,); whether that was possible."""
        one, dim = room.one, table.entries.dim
        if not length_of(query, dim) < np.inf:
            return False
        for i in range(dim):
            one.query[i] = query[i]
        if answer(room.lists, one, query, room.operands, room.stride) < one.k:
            return False
        settle_found(query, table.entries, table.waiting, room.desk, room.found, distances, ids)
        return True

    return search
