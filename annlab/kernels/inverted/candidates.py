"""The buffers in which searches of inverted lists keep the best rows of every query.

A scan writes the values of a chunk of rows to memory and offers them: what is at or below the query's *bound* is
appended to its buffer. A full buffer is shrunk: its k-th smallest value, and twice the error that its values may have,
is the new bound, and what lies above it is dropped. So a value has to be the lower end of an interval of twice the
error that surely holds a row's true surrogate: then at least k rows lie below the bound, and no row above it can be
among the k nearest. Codes have no error: their best rows are what they are.

A query without a bound does not append a chunk row by row: the k-th smallest value of the chunk gives the first bound.
Rows that are not alive get an infinite value. Values that are no numbers never pass.

Where more rows stay than a buffer has room for, since they are tied, or within their errors, a storage *settles* which
go: vectors are measured by the definition of a distance (`settle_by_distance`), of codes that are tied those with the
smallest ids stay (`settle_by_key`). What is kept at the end does not depend on the order in which rows come: for codes
the rows themselves, for vectors the k nearest among them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE, distance, inverse_norm
from annlab.kernels.simd.path import inlined, kernel
from annlab.kernels.simd.registers import LANES, choose, load, splat, store
from annlab.kernels.topk import append, is_worse, keep_at_most, kth_smallest, push

CHUNK_ROWS = 256  # rows whose values are offered at a time
FRONT = LANES  # values that a chunk may have before its first, see `kernels/inverted/loops.py`
CHUNK_WIDTH = FRONT + CHUNK_ROWS + LANES
FIRST_BOUND = np.finfo(np.float32).max  # lets everything pass but what is infinite
_INFINITY, _LARGEST = np.float32(np.inf), np.finfo(np.float32).max
_TIES = 32  # rows beyond twice as many as wanted that may be tied with the last one, and stay
_NONE = np.float32(0.0)


def most_of(k: int) -> int:
    """Rows that may stay when a buffer is shrunk to the k best and what is tied with them."""
    return 2 * k + _TIES


def capacity_for(k: int) -> int:
    """Entries of a query's buffer."""
    return 3 * k + 2 * _TIES + 6 * LANES


def scratch_width(capacity: int) -> int:
    """Elements of the scratch arrays low and high."""
    return max(capacity, CHUNK_WIDTH) + 2 * LANES


class Chunk(NamedTuple):
    """Rows that are offered: row .. row + n - 1."""

    found: Any  # (n,) their values, whose register behind the last may be overwritten
    n: int
    row: int
    error: Any  # float32: half the length of the interval that begins at a value
    alive: Any  # bits of the rows that the query may have
    has_alive: bool


class Buffer(NamedTuple):
    """A query's buffer."""

    values: Any  # (capacity,) float32
    rows: Any  # (capacity,) int32
    capacity: int
    k: int
    error: Any  # float32: the largest error of a value in it
    low: Any  # scratch, longer than a chunk and the buffer by 2 LANES
    high: Any


class Measuring(NamedTuple):
    """What settles which rows of a query stay."""

    query: Any  # (dim,), in the element type of the vectors
    vectors: Any  # (n, dim)
    keys: Any  # (n,) the ids of the rows
    dim: int
    metric: int
    distances: Any  # scratch: float64 (capacity + k,)
    best_keys: Any  # scratch: int64 (k,)


@kernel
def shrink(buffer, error, length):
    """Drop what cannot be among the k best; returns the length that is left and the bound."""
    if length < buffer.k:
        return length, _LARGEST
    kth = kth_smallest(buffer.values, length, buffer.k, buffer.low, buffer.high)
    bound = kth
    if error > _NONE:
        bound = min(np.nextafter(np.float32(kth + 2.0 * error), _INFINITY), _LARGEST)
    return keep_at_most(buffer.values, buffer.rows, length, bound), bound


@kernel
def settle_by_key(buffer, length, measuring):
    """Keep `most_of(k)` entries at most: of those with the largest value, the ones with the smallest keys stay."""
    most, values, rows, keys = 2 * buffer.k + _TIES, buffer.values, buffer.rows, measuring.keys
    if length <= most:
        return length
    largest, below = values[0], 0
    for i in range(length):
        largest = max(largest, values[i])
    for i in range(length):  # the tied ones go to the end
        if values[i] < largest:
            values[i], values[below] = values[below], values[i]
            rows[i], rows[below] = rows[below], rows[i]
            below += 1
    if below >= most:  # not tied: only values that are no numbers could lead here
        return most
    size, tied = 0, rows + below  # a heap of rows by key, the largest key at its root
    for i in range(length - below):
        row = tied[i]
        if size < most - below:
            child = size
            while child > 0 and keys[tied[(child - 1) // 2]] < keys[row]:
                tied[child] = tied[(child - 1) // 2]
                child = (child - 1) // 2
            tied[child] = row
            size += 1
        elif keys[row] < keys[tied[0]]:
            parent = 0
            while 2 * parent + 1 < size:
                child = 2 * parent + 1
                if child + 1 < size and keys[tied[child + 1]] > keys[tied[child]]:
                    child += 1
                if keys[tied[child]] <= keys[row]:
                    break
                tied[parent] = tied[child]
                parent = child
            tied[parent] = row
    return most


@kernel
def settle_by_distance(buffer, length, measuring):
    """Keep the k nearest entries, if there are more than `most_of(k)`."""
    if length <= 2 * buffer.k + _TIES:
        return length
    dim, metric, k = measuring.dim, measuring.metric, buffer.k
    far, best, size = measuring.distances, measuring.distances + buffer.capacity, 0
    scale = inverse_norm(measuring.query, dim) if metric == COSINE else 0.0
    for i in range(length):
        far[i] = distance(measuring.vectors + buffer.rows[i] * dim, measuring.query, scale, dim, metric)
        size = push(best, measuring.best_keys, size, k, far[i], measuring.keys[buffer.rows[i]])
    kept = 0
    for i in range(length):
        row = buffer.rows[i]
        if size == k and not is_worse(far[i], measuring.keys[row], best[0], measuring.best_keys[0]) and kept < k:
            buffer.values[kept], buffer.rows[kept] = buffer.values[i], row
            kept += 1
    return kept


@inlined
def alive_lanes(alive, row, n):
    """A mask of the rows that are alive, of those from `row` on; for the n first, or for a register of them."""
    word, shift = row >> 6, row & 63
    bits = alive[word] >> np.uint64(shift)
    if shift + min(n, LANES) > 64:
        bits |= alive[word + 1] << np.uint64(64 - shift)
    return np.int64(bits)


def offering(settle: Callable[..., Any]) -> Callable[..., Any]:
    """How a chunk is offered to a buffer that `settle` keeps within its size."""

    @inlined
    def offer(chunk, buffer, bound, length, measuring):
        """Append what passes; returns the bound, the length, and the largest error of an entry."""
        found, k, error = chunk.found, buffer.k, max(buffer.error, chunk.error)
        if chunk.has_alive:
            for i in range(0, chunk.n, LANES):
                alive = alive_lanes(chunk.alive, chunk.row + i, chunk.n - i)
                store(found + i, choose(alive, load(found + i), splat(_INFINITY)))
        if bound == FIRST_BOUND and chunk.n >= k:
            kth = kth_smallest(found, chunk.n, k, buffer.low, buffer.high)
            if chunk.error > _NONE:
                kth = np.nextafter(np.float32(kth + 2.0 * chunk.error), _INFINITY)
            bound = kth if kth < bound else bound
        before = length
        for i in range(0, chunk.n, LANES):
            some = load(found + i)
            mask = some <= splat(bound)
            if mask != 0:
                mask &= (1 << min(LANES, chunk.n - i)) - 1
                length = append(buffer.values, buffer.rows, length, some, chunk.row + i, mask)
                if length > buffer.capacity - 2 * LANES:
                    length, lower = shrink(buffer, error, length)
                    bound, length = min(bound, lower), settle(buffer, length, measuring)
                    before = 0
        return bound, length, error if length > before else buffer.error

    return offer


def finishing(settle: Callable[..., Any]) -> Callable[..., Any]:
    """How buffers become candidates."""

    @kernel
    def take_out(buffer, length, measuring, result):
        """result: the rows of what is left of a buffer after a last shrink; returns how many."""
        length, _ = shrink(buffer, buffer.error, length)
        length = settle(buffer, length, measuring)
        for i in range(length):
            result[i] = buffer.rows[i]
        return length

    return take_out


def joining(settle: Callable[..., Any]) -> Callable[..., Any]:
    """How the buffers of two threads become one."""

    @kernel
    def put_together(buffer, length, other_values, other_rows, other_length, measuring):
        """Append the entries of another buffer; `buffer.error` is the larger of both; returns the length."""
        for i in range(other_length):
            buffer.values[length], buffer.rows[length] = other_values[i], other_rows[i]
            length += 1
            if length > buffer.capacity - 2 * LANES:
                length, _ = shrink(buffer, buffer.error, length)
                length = settle(buffer, length, measuring)
        return length

    return put_together
