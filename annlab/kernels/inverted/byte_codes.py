"""Comparing the 8-bit codes of inverted lists with queries.

A row in the list of centroid c is c + r. Its residual r stands, coordinate by coordinate, as s_l w_i (code_i - 128):
w are the widths of all residuals, and s_l is the step of its list, so that codes are as fine as a list is small. For a
query q, with y = q - c,

    |y - r|^2 / 2                   =  |y|^2 / 2              +  |r|^2 / 2         -  y.r
    |q - c - r|^2 / 2 - |q|^2 / 2   =  (|c|^2 / 2 - c.q)      +  |r|^2 / 2 + c.r   -  q.r

The first form is for lists that are small beside the distances between them: it is as precise as the list is small, but
y has to be rounded to bytes for every pair. The second form rounds a query once, and |c|^2 / 2 - c.q is known from
finding the lists. `ip` is -c.q - q.r.

y_i w_i (or q_i w_i) is rounded to signed bytes z in steps of t, and y.r is s_l t (code.z - 128 sum z): four
multiplications in every int32 lane at once, and exact, from a quarter of the bytes.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.inverted.candidates import CHUNK_WIDTH, FRONT, settle_by_key
from annlab.kernels.inverted.flat import (
    PAIRS_IN_GROUP,
    PARTS_IN_GROUP,
    QUERIES_IN_GROUP,
    about_centroid,
)
from annlab.kernels.inverted.loops import Parts, Queries, Room, Share, Tile, list_by_list, merging, one_by_one
from annlab.kernels.inverted.one_query import OneQuery, answering, by_shortcut
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, dot_bytes, ints_to_floats
from annlab.kernels.simd.folding import QUARTER, fold_first, fold_quarters, fold_rows, fold_second
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import LANES, int_registers, load, pointer, pointers, prefetch, splat, store

ROW_BYTES = 64  # codes of a row are padded to whole registers of the widest path
MIDDLE = 128  # the code of a residual of zero
_AHEAD = 4096
_ZERO, _NOUGHT, _HALF = np.int32(0), np.float32(0.0), np.float32(0.5)


class Bytes(NamedTuple):
    """The lists of a storage: arrays for the door of a kernel, pointers inside."""

    codes: Any  # (n, stride) uint8
    halves: Any  # (n,) float32: |r|^2 / 2, and c.r in the second form; zeros for ip
    widths: Any  # (dim,) float32: w
    steps: Any  # (n_lists,) float32: s
    centroids: Any  # (n_lists, dim) float32
    offsets: Any  # (n_lists + 1,)
    rounded: Any  # (q, stride) int8: queries in the second form; for one query scratch, as those that follow
    units: Any  # (q,) float32: t of these
    sums: Any  # (q,) int32: 128 times the sum of these
    framed: bool  # the first form
    dim: int
    stride: int
    n: int
    lines: int  # of memory that a tile's rows take


@inlined
def byte_tile(block, sums, x, queries, n_queries, stride):
    """sums[j * QUARTER] = code_r.z_j, lane r, of LANES rows and n_queries queries, both `stride` bytes apart."""
    for quarter in range(QUARTER):
        for pair in range(4 * n_queries):
            block[pair] = splat(_ZERO)
        row = x + quarter * stride
        second, third, fourth = QUARTER * stride, 2 * QUARTER * stride, 3 * QUARTER * stride
        for i in range(0, stride, REGISTER_BYTES):
            a, b = load(row + i), load(row + second + i)
            c, d = load(row + third + i), load(row + fourth + i)
            for j in range(n_queries):
                z = load(queries + j * stride + i)
                block[4 * j] = dot_bytes(block[4 * j], a, z)
                block[4 * j + 1] = dot_bytes(block[4 * j + 1], b, z)
                block[4 * j + 2] = dot_bytes(block[4 * j + 2], c, z)
                block[4 * j + 3] = dot_bytes(block[4 * j + 3], d, z)
        for j in range(n_queries):
            low, high = fold_first(block[4 * j], block[4 * j + 2]), fold_first(block[4 * j + 1], block[4 * j + 3])
            sums[j * QUARTER + quarter] = fold_second(low, high)
    fold_quarters(sums, n_queries)


@inlined
def byte_row_by_row(block, sums, x, query, stride):
    """`byte_tile` for one query: the same sums, but memory is read from one end to the other."""
    for r in range(LANES):
        partial = splat(_ZERO)
        for i in range(0, stride, REGISTER_BYTES):
            partial = dot_bytes(partial, load(x + i), load(query + i))
        block[r] = partial
        x += stride
    fold_rows(block, sums)


@kernel
def quantize_query(query, dim, widths, out, stride):
    """out (stride,) int8: query_i w_i in steps of t. Returns t and 128 times the sum of out."""
    largest, total = _NOUGHT, 0
    for i in range(dim):
        largest = max(largest, abs(query[i] * widths[i]))
    step = max(largest / np.float32(LARGEST_SIGNED), np.float32(1e-30))
    inverse = np.float32(1.0) / step
    for i in range(dim):
        level = np.int32(np.rint(min(max(query[i] * widths[i] * inverse, np.float32(-LARGEST_SIGNED)),
                                     np.float32(LARGEST_SIGNED))))  # fmt: skip
        out[i] = np.int8(level)
        total += level
    for i in range(dim, stride):
        out[i] = np.int8(0)
    return step, np.int32(MIDDLE * total)


@entry
def quantize_queries(path, queries, widths, out, units, sums):
    """`quantize_query` for all queries (q, dim): out (q, stride), units and sums (q,)."""
    dim, stride = queries.shape[1], out.shape[1]
    y, width, z = pointer(queries), pointer(widths), pointer(out)
    for i in range(queries.shape[0]):
        units[i], sums[i] = quantize_query(y + i * dim, dim, width, z + i * stride, stride)


@inlined
def prepare(lists, queries, label, pair, room, place):
    """The bytes of a pair, and the base of its values."""
    dim, stride, q, operand = lists.dim, lists.stride, pair // queries.n_probes, room.operands + place * room.stride
    if lists.framed:
        centroid = lists.centroids + label * dim
        square, _ = about_centroid(queries.points + q * dim, centroid, centroid, dim, room.frame)
        unit, room.sums[place] = quantize_query(room.frame, dim, lists.widths, operand, stride)
        room.bases[place] = _HALF * square
    else:
        for i in range(0, stride, REGISTER_BYTES):
            store(operand + i, load(lists.rounded + q * stride + i))
        unit, room.sums[place] = lists.units[q], lists.sums[q]
        room.bases[place] = queries.coarse[pair]
    room.factors[place] = unit * lists.steps[label]
    room.errors[place] = _NOUGHT


@inlined
def _values(room, place, products, halves):
    """The values of LANES rows for a pair."""
    product = ints_to_floats(products - splat(room.sums[place])) * splat(room.factors[place])
    return splat(room.bases[place]) + (halves - product)


@inlined
def _tile_of_batch(block, unused, sums, lists, label, row, start, room, n_groups, lines):
    """Values of LANES rows from `row` on (or of the last ones) for all prepared pairs."""
    stride = lists.stride
    s = min(row, lists.n - LANES)
    ahead = lists.codes + (s * stride + _AHEAD)
    for g in range(n_groups):
        for _ in range(lines):
            prefetch(ahead)
            ahead += 64
        first = g * QUERIES_IN_GROUP
        byte_tile(block, sums, lists.codes + s * stride, room.operands + first * stride, QUERIES_IN_GROUP, stride)
        out = room.found + (first * CHUNK_WIDTH + FRONT + (s - start))
        for j in range(QUERIES_IN_GROUP):
            store(out + j * CHUNK_WIDTH, _values(room, first + j, sums[j * QUARTER], load(lists.halves + s)))


@inlined
def _tile_of_one(block, sums, lists, label, row, start, room):
    """Values of LANES rows from `row` on (or of the last ones) for one query."""
    s = min(row, lists.n - LANES)
    byte_row_by_row(block, sums, lists.codes + s * lists.stride, room.operands, lists.stride)
    store(room.found + (FRONT + s - start), _values(room, 0, sums[0], load(lists.halves + s)))


@inlined
def _fetch(lists, label):
    """Ask for the beginning of a list."""
    place = lists.codes + lists.offsets[label] * lists.stride
    for ahead in range(0, 1024, 64):
        prefetch(place + ahead)


@inlined
def _make_ready(lists, y):
    """In the second form, round the query."""
    if not lists.framed:
        lists.units[0], lists.sums[0] = quantize_query(y, lists.dim, lists.widths, lists.rounded, lists.stride)


_of_batch = Tile(LANES, QUERIES_IN_GROUP, int_registers, PAIRS_IN_GROUP, 1, PARTS_IN_GROUP, _tile_of_batch)
_scan = list_by_list(_of_batch, prepare, settle_by_key)
_loop = one_by_one(Tile(LANES, 1, int_registers, LANES, QUARTER, 1, _tile_of_one), prepare, _fetch, settle_by_key)
_answer = answering(_make_ready, _loop, settle_by_key)
_shortcut = by_shortcut(_answer)
_merge = merging(settle_by_key)


@entry
def scan_lists(path, lists: Bytes, queries: Queries, share: Share, room: Room):
    """Offer the rows of the share's lists, by their codes, to the queries that probe them."""
    _scan(pointers(Bytes(*lists)), pointers(Queries(*queries)), pointers(Share(*share)), pointers(Room(*room)))


@entry
def finish(path, queries: Queries, parts: Parts, start, stop, room: Room, result):
    """Put what was found for the queries start..stop-1 together: see `merging`."""
    _merge(pointers(Queries(*queries)), pointers(Parts(*parts)), start, stop, pointers(Room(*room)), pointer(result))


@entry
def search_one(path, lists: Bytes, one: OneQuery, query, operands):
    """The nearest vectors to one query, found by codes: see `answering`. operands: scratch, int8 (stride,)."""
    bytes_of, asked = pointers(Bytes(*lists)), pointers(OneQuery(*one))
    return _answer(bytes_of, asked, query, pointer(operands), operands.shape[0])


@entry
def take_shortcut(path, table, query, room, distances, ids):
    """One query from a prepared table: see `by_shortcut`."""
    return _shortcut(opened(table), query, opened(room), distances, ids)
