"""The two loops over inverted lists, for a batch and for one query: storages differ in what they put into them.

A batch goes list by list, not query by query: all queries that probe a list meet there while it is in the cache. One
query alone reads its lists from one end to the other, since that is what it waits for. Either way

- `prepare` brings a pair of query and list into the form that the storage's rows are compared with, and writes it, with
  numbers that all rows of the pair have in common, to a place in the `Room`;
- `tile` compares some rows with several prepared pairs (or with one) and writes their values to memory;
- the values are offered to the queries' buffers, which `settle` keeps within their size (`inverted/candidates.py`).

A pair's values do not depend on what else is in a batch, so neither does the answer.

`prepare`, `tile` and the offer are `inlined`: they take some forty numbers and addresses, and a call for every pair,
with all of these on the stack, would take about as long as what it calls.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.inverted.candidates import (
    CHUNK_ROWS,
    CHUNK_WIDTH,
    FIRST_BOUND,
    FRONT,
    Buffer,
    Chunk,
    Measuring,
    finishing,
    joining,
    offering,
    scratch_width,
)
from annlab.kernels.simd.path import kernel
from annlab.kernels.simd.registers import LANES


class Queries(NamedTuple):
    """What is asked: arrays for the door of a kernel, pointers inside."""

    raw: Any  # (q, dim) as given
    points: Any  # (q, dim) float32, converted
    blurs: Any  # (q,) float64: how far a converted query may be from the true one, infinite where nobody knows
    coarse: Any  # (q, n_probes) float32, the surrogates of the probed centroids
    wanted: Any  # (q,) int64: rows to keep for each
    n_probes: int
    metric: int
    alive: Any  # bits of the rows that may be returned
    words_each: int  # words of `alive` that each query has of its own, 0: all have the same
    has_alive: bool
    keys: Any  # (n,) the ids of the rows
    vectors: Any  # (n, dim), in the type of the queries


class Share(NamedTuple):
    """The lists first .. last - 1 of a batch, the pairs query * n_probes + rank that probe them, and what was found."""

    first: int
    last: int
    pair_offsets: Any  # (n_lists + 1,): those of list l are pairs[pair_offsets[l]:pair_offsets[l + 1]]
    pairs: Any
    bounds: Any  # (q,) float32, which all shares have in common
    errors: Any  # (q,) float32: the largest error of an entry
    lengths: Any  # (q,) int64: entries
    values: Any  # (q, capacity) float32
    rows: Any  # (q, capacity) int32
    capacity: int


class Operands(NamedTuple):
    """What a kernel makes of a query that probes a list: elements, their number, and how many pairs share a tile."""

    dtype: Any
    stride: int
    in_tile: int


class Room(NamedTuple):
    """Scratch of a thread. The pairs of a list have places, whole groups of them."""

    operands: Any  # (places, stride) prepared queries
    stride: int
    bases: Any  # (places,) float32: what all values of a pair begin with
    factors: Any  # (places,) float32: what its products are multiplied by
    errors: Any  # (places,) float32: half the interval that begins at a value
    sums: Any  # (places,) int32, what is taken off products of bytes
    frame: Any  # float32, whole registers of (dim,) and one more
    found: Any  # (places, CHUNK_WIDTH) float32
    low: Any
    high: Any
    distances: Any  # float64 (capacity + most wanted,)
    best_keys: Any  # int64 (most wanted,)


def new_room(operands: Operands, dim: int, most_pairs: int, capacity: int) -> Room:
    """Scratch for lists that at most so many queries probe, and buffers of this capacity."""
    places, width = most_pairs + operands.in_tile, scratch_width(capacity)
    bases, factors, errors = np.zeros((3, places), np.float32)
    return Room(np.zeros((places, operands.stride), operands.dtype), operands.stride, bases, factors, errors,
                np.zeros(places, np.int32), np.empty(dim + 2 * LANES, np.float32),
                np.empty((places, CHUNK_WIDTH), np.float32), np.empty(width, np.float32), np.empty(width, np.float32),
                np.empty(2 * capacity), np.empty(capacity, np.int64))  # fmt: skip


class Tile(NamedTuple):
    """A tile: how many rows and prepared pairs it compares, the blocks of registers that it works with, and how.

    A loop declares the registers and hands them in: a tile that declares its own is compiled to something slower.
    """

    rows: int
    pairs: int
    registers: Callable[..., Any]
    n_first: int
    n_second: int
    n_third: int
    compare: Callable[..., Any]


def list_by_list(tile: Tile, prepare: Callable[..., Any], settle: Callable[..., Any]) -> Callable[..., Any]:
    """The loop over the lists of a share, for a batch."""
    offer, registers, compare = offering(settle), tile.registers, tile.compare
    rows_in_tile, queries_in_tile, n_first, n_second, n_third = tile.rows, tile.pairs, *tile[3:6]

    @kernel
    def scan(lists, queries, share, room):
        """Offer the rows of every list to the queries that probe it."""
        dim, capacity, n_probes = lists.dim, share.capacity, queries.n_probes
        first, second, third = registers(n_first), registers(n_second), registers(n_third)
        for label in range(share.first, share.last):
            pairs = share.pairs + share.pair_offsets[label]
            n_pairs = share.pair_offsets[label + 1] - share.pair_offsets[label]
            if n_pairs == 0:
                continue
            n_groups = -(-n_pairs // queries_in_tile)
            for j in range(n_pairs):
                prepare(lists, queries, label, pairs[j], room, j)
            for j in range(n_pairs, n_groups * queries_in_tile):  # compared to fill the last group, and never offered
                room.sums[j] = room.sums[n_pairs - 1]
            lines = -(-lists.lines // n_groups)  # of the rows ahead, asked for by a group
            for start in range(lists.offsets[label], lists.offsets[label + 1], CHUNK_ROWS):
                stop = min(start + CHUNK_ROWS, lists.offsets[label + 1])
                for row in range(start, stop, rows_in_tile):
                    compare(first, second, third, lists, label, row, start, room, n_groups, lines)
                for j in range(n_pairs):
                    q = pairs[j] // n_probes
                    chunk = Chunk(room.found + (j * CHUNK_WIDTH + FRONT), stop - start, start, room.errors[j],
                                  queries.alive + q * queries.words_each, queries.has_alive)  # fmt: skip
                    buffer = Buffer(share.values + q * capacity, share.rows + q * capacity, capacity, queries.wanted[q],
                                    share.errors[q], room.low, room.high)  # fmt: skip
                    measuring = Measuring(queries.raw + q * dim, queries.vectors, queries.keys, dim, queries.metric,
                                          room.distances, room.best_keys)  # fmt: skip
                    bound = share.bounds[q]
                    lower, share.lengths[q], share.errors[q] = offer(chunk, buffer, bound, share.lengths[q], measuring)
                    if lower < bound:  # threads share the bounds, so write them seldom
                        share.bounds[q] = lower

    return scan


def one_by_one(tile: Tile, prepare: Callable[..., Any], fetch: Callable[..., Any],
               settle: Callable[..., Any]) -> Callable[..., Any]:  # fmt: skip
    """The loop over the probed lists of one query; `fetch` asks for the list that follows."""
    offer, registers, compare = offering(settle), tile.registers, tile.compare
    rows_in_tile, n_first, n_second = tile.rows, tile.n_first, tile.n_second

    @kernel
    def scan(lists, queries, probes, buffer, measuring, room):
        """Offer the rows of the lists `probes`; returns the length, the largest error, and the rows looked at."""
        bound, length, error, looked_at = FIRST_BOUND, 0, buffer.error, 0
        first, second = registers(n_first), registers(n_second)
        for probe in range(queries.n_probes):
            label = probes[probe]
            fetch(lists, probes[min(probe + 1, queries.n_probes - 1)])
            prepare(lists, queries, label, probe, room, 0)
            looked_at += lists.offsets[label + 1] - lists.offsets[label]
            for start in range(lists.offsets[label], lists.offsets[label + 1], CHUNK_ROWS):
                stop = min(start + CHUNK_ROWS, lists.offsets[label + 1])
                for row in range(start, stop, rows_in_tile):
                    compare(first, second, lists, label, row, start, room)
                chunk = Chunk(room.found + FRONT, stop - start, start, room.errors[0], queries.alive,
                              queries.has_alive)  # fmt: skip
                own = Buffer(buffer.values, buffer.rows, buffer.capacity, buffer.k, error, buffer.low, buffer.high)
                bound, length, error = offer(chunk, own, bound, length, measuring)
        return length, error, looked_at

    return scan


class Parts(NamedTuple):
    """What the shares of a batch have found."""

    n: int  # shares
    n_queries: int
    capacity: int
    dim: int
    errors: Any  # (n, q) float32
    lengths: Any  # (n, q) int64
    values: Any  # (n, q, capacity) float32
    rows: Any  # (n, q, capacity) int32
    width: int  # of the result: the most rows that a query keeps


def merging(settle: Callable[..., Any]) -> Callable[..., Any]:
    """How the parts that shares have found become candidates."""
    take_out, put_together = finishing(settle), joining(settle)

    @kernel
    def merge(queries, parts, start, stop, room, result):
        """result (q, width): the rows kept for the queries start..stop-1; their numbers go to the lengths of part 0."""
        capacity = parts.capacity
        for q in range(start, stop):
            error, length = parts.errors[q], parts.lengths[q]
            for part in range(1, parts.n):
                error = max(error, parts.errors[part * parts.n_queries + q])
            buffer = Buffer(parts.values + q * capacity, parts.rows + q * capacity, capacity, queries.wanted[q], error,
                            room.low, room.high)  # fmt: skip
            measuring = Measuring(queries.raw + q * parts.dim, queries.vectors, queries.keys, parts.dim, queries.metric,
                                  room.distances, room.best_keys)  # fmt: skip
            for part in range(1, parts.n):
                other = part * parts.n_queries + q
                length = put_together(buffer, length, parts.values + other * capacity, parts.rows + other * capacity,
                                      parts.lengths[other], measuring)  # fmt: skip
            parts.lengths[q] = take_out(buffer, length, measuring, result + q * parts.width)

    return merge
