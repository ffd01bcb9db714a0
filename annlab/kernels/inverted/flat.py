"""Comparing the vectors of inverted lists with queries.

The query of a pair is taken about the list's centroid c: y = q - c, with q the converted query. A row x of the list is
c + r (about the center of all data), and half its squared distance from the query is

    |y - r|^2 / 2  =  |y|^2 / 2 + |r|^2 / 2 - y.r        (for cosine of normalised x and q: the cosine distance itself)

all of whose terms are as small as the list, so that float32 tells rows apart that lie near each other, wherever that
is. What is scanned are residuals r, or the stored vectors as they are: then y.r = w y.x - y.(c + m), with m the center
of all data and w = 1 / |x| for cosine, and the second part is the same for all rows of a pair. `ip` is -q.x, or for
residuals -q.c - q.r. `inverted/flat_lists.py` derives how far such a value may be from the true one.

A tile is LANES rows against QUERIES_IN_GROUP queries. Every pair of row and query has a register of partial sums, which
are folded together until one register holds the sums of a query. One query alone goes row by row. Either way a sum has
the same terms in the same order.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.inverted.candidates import CHUNK_WIDTH, FRONT, settle_by_distance
from annlab.kernels.inverted.loops import Parts, Queries, Room, Share, Tile, list_by_list, merging, one_by_one
from annlab.kernels.inverted.one_query import OneQuery, answering, by_shortcut
from annlab.kernels.simd.folding import QUARTER, fold_first, fold_quarters, fold_rows, fold_second
from annlab.kernels.simd.lanes import total
from annlab.kernels.simd.path import entry, inlined
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import (
    LANES,
    float_registers,
    fma,
    load,
    load_first,
    pointer,
    pointers,
    prefetch,
    splat,
    store,
)

QUERIES_IN_GROUP = 6 if LANES == 16 else 3  # 4 sums each, and a register: 30 of 32, or 15 of 16
PAIRS_IN_GROUP, PARTS_IN_GROUP = 4 * QUERIES_IN_GROUP, QUARTER * QUERIES_IN_GROUP
_AHEAD = 8192 // 4  # elements to ask for ahead of their use
_AHEAD_OF_LIST = 4096  # bytes of the next list to ask for
_LINE = 16  # elements that arrive together
_ZERO, _NOUGHT = np.float32(0.0), 0.0
_UNDERFLOW = 2.0**-120  # of a term, all that is rounded to zero included
UNSURE = np.float32(1e30)  # the error of a pair that nothing is known about: all its rows pass


class Flat(NamedTuple):
    """The lists of a storage: arrays for the door of a kernel, pointers inside."""

    rows: Any  # (n, dim) float32
    halves: Any  # (n,) float32: |r|^2 / 2, zeros for ip
    scales: Any  # (n,) float32: w, read for cosine if the rows are not residuals
    reach: Any  # (n_lists,) float32: the longest residual of a list; for ip the longest row as it is scanned
    away: Any  # (n_lists,) float32: |c| + |m|, by which products with the rows are longer; zeros for residuals
    centroids: Any  # (n_lists, dim) float32
    center: Any  # (dim,) float32: m, zeros for residuals
    offsets: Any  # (n_lists + 1,): where lists begin
    residual: bool
    scaled: bool  # whether scales are to be read
    dim: int
    n: int
    lines: int  # of memory that a tile's rows take


@inlined
def last_values(row, dim):
    """A register with the last coordinates of a row: some of them were read before, unless there is nothing else."""
    return load(row + (dim - LANES)) if dim >= LANES else load_first(row, dim)


@inlined
def tile(block, members, sums, x, queries, n_queries, dim, stride):
    """sums[j * QUARTER] = x_r.y_j, lane r, of LANES rows and n_queries queries (as by `arrange`, `stride` apart).

    A quarter of the rows at a time, each QUARTER rows from the next, has a register of partial sums for every pair. Two
    rounds of folding leave one register for a query, and the remaining rounds fold these of all quarters.
    """
    apart = QUARTER * dim
    for quarter in range(QUARTER):
        for pair in range(4 * n_queries):
            block[pair] = splat(_ZERO)
        row, i = x + quarter * dim, 0
        while i < dim - LANES + 1:
            for j in range(n_queries):
                members[j] = load(queries + j * stride + i)
            for r in range(4):
                values = load(row + r * apart + i)
                for j in range(n_queries):
                    block[4 * j + r] = fma(values, members[j], block[4 * j + r])
            i += LANES
        if i < dim:
            for j in range(n_queries):
                members[j] = load(queries + j * stride + i)
            for r in range(4):
                values = last_values(row + r * apart, dim)
                for j in range(n_queries):
                    block[4 * j + r] = fma(values, members[j], block[4 * j + r])
        for j in range(n_queries):
            low, high = fold_first(block[4 * j], block[4 * j + 2]), fold_first(block[4 * j + 1], block[4 * j + 3])
            sums[j * QUARTER + quarter] = fold_second(low, high)
    fold_quarters(sums, n_queries)


@inlined
def row_by_row(block, sums, x, query, dim):
    """`tile` for one query: the same sums, but memory is read from one end to the other."""
    for r in range(LANES):
        partial, i = splat(_ZERO), 0
        while i < dim - LANES + 1:
            partial = fma(load(x + i), load(query + i), partial)
            i += LANES
        if i < dim:
            partial = fma(last_values(x, dim), load(query + i), partial)
        block[r] = partial
        x += dim
    fold_rows(block, sums)


@inlined
def about_centroid(y, centroid, center, dim, out):
    """out = y - centroid in whole registers, zeros behind dim; |out|^2 and out.(centroid + center), in float32."""
    square, along, i = splat(_ZERO), splat(_ZERO), 0
    while i < dim:
        if i + LANES <= dim:
            c, m, own = load(centroid + i), load(center + i), load(y + i)
        else:
            c, m, own = load_first(centroid + i, dim - i), load_first(center + i, dim - i), load_first(y + i, dim - i)
        own = own - c
        store(out + i, own)
        square, along = fma(own, own, square), fma(own, c + m, along)
        i += LANES
    return total(square), total(along)


@inlined
def squared_length(y, dim):
    """|y|^2 in float32."""
    square, i = splat(_ZERO), 0
    while i < dim:
        own = load(y + i) if i + LANES <= dim else load_first(y + i, dim - i)
        square = fma(own, own, square)
        i += LANES
    return total(square)


@inlined
def arrange(query, dim, out):
    """A query (dim,) in whole registers, the last one with its last coordinates, zeros in place of repeated ones."""
    whole = dim - dim % LANES
    for i in range(0, whole, LANES):
        store(out + i, load(query + i))
    if whole < dim:
        start = max(0, dim - LANES)
        for lane in range(LANES):
            out[whole + lane] = query[start + lane] if whole <= start + lane < dim else _ZERO


@inlined
def rounding_of(dim):
    """How far float32 sums of dim products may be off, for each unit of their magnitudes."""
    return (dim / LANES + 20.0) * 2.0**-24


@inlined
def error_of(length, reach, away, blur, dim, residual, is_product):
    """Half the interval that holds the true value of every row of a pair: see `inverted/flat_lists.py`."""
    rounding = rounding_of(dim)
    if is_product:
        return rounding * length * (away + reach) + dim * _UNDERFLOW
    own = blur + 2.0**-23 * length + (2.0**-24 * reach if residual else 0.0)
    of_sums = length * (0.5 * length + 2.0 * away + reach) + 0.5 * reach * reach
    return rounding * of_sums + own * (length + reach + own) + dim * _UNDERFLOW


@inlined
def prepare(lists, queries, label, pair, room, place):
    """The query of a pair about the list's centroid; the base of its values and their error."""
    dim, q, metric = lists.dim, pair // queries.n_probes, queries.metric
    y, operand = queries.points + q * dim, room.operands + place * room.stride
    if metric == INNER_PRODUCT:
        square, base = squared_length(y, dim), queries.coarse[pair] if lists.residual else _ZERO
        arrange(y, dim, operand)
    else:
        whole = dim % LANES == 0  # registers: then there is nothing to arrange
        frame = operand if whole else room.frame
        square, along = about_centroid(y, lists.centroids + label * dim, lists.center, dim, frame)
        base = np.float32(0.5) * square + (_ZERO if lists.residual else along)
        if not whole:
            arrange(frame, dim, operand)
    error = error_of(math.sqrt(np.float64(square)), np.float64(lists.reach[label]), np.float64(lists.away[label]),
                     queries.blurs[q], dim, lists.residual, metric == INNER_PRODUCT)  # fmt: skip
    if not error < UNSURE:
        for i in range(room.stride):
            operand[i] = _ZERO
        base, error = _ZERO, np.float64(UNSURE)
    room.errors[place] = np.float32(1.000001 * error)
    room.bases[place] = base - np.float32(1.000002 * error)


@inlined
def _tile_of_batch(block, members, sums, lists, label, row, start, room, n_groups, lines):
    """Values of LANES rows from `row` on (or of the last ones) for all prepared pairs."""
    dim, stride = lists.dim, room.stride
    s = min(row, lists.n - LANES)  # the last tile may begin before the chunk
    ahead = lists.rows + s * dim + _AHEAD
    for g in range(n_groups):
        for _ in range(lines):
            prefetch(ahead)
            ahead += _LINE
        first = g * QUERIES_IN_GROUP
        tile(block, members, sums, lists.rows + s * dim, room.operands + first * stride, QUERIES_IN_GROUP, dim, stride)
        place = room.found + (first * CHUNK_WIDTH + FRONT + (s - start))
        for j in range(QUERIES_IN_GROUP):
            product = sums[j * QUARTER]
            if lists.scaled:
                product = product * load(lists.scales + s)
            store(place + j * CHUNK_WIDTH, splat(room.bases[first + j]) + (load(lists.halves + s) - product))


@inlined
def _tile_of_one(block, sums, lists, label, row, start, room):
    """Values of LANES rows from `row` on (or of the last ones) for one query."""
    s = min(row, lists.n - LANES)
    row_by_row(block, sums, lists.rows + s * lists.dim, room.operands, lists.dim)
    product = sums[0]
    if lists.scaled:
        product = product * load(lists.scales + s)
    store(room.found + (FRONT + s - start), splat(room.bases[0]) + (load(lists.halves + s) - product))


@inlined
def _fetch(lists, label):
    """Ask for the beginning of a list."""
    place = lists.rows + lists.offsets[label] * lists.dim
    for ahead in range(0, _AHEAD_OF_LIST // 4, _LINE):
        prefetch(place + ahead)


@inlined
def _make_ready(lists, y):
    """Nothing is done once for a query."""


_of_batch = Tile(LANES, QUERIES_IN_GROUP, float_registers, PAIRS_IN_GROUP, QUERIES_IN_GROUP, PARTS_IN_GROUP,
                 _tile_of_batch)  # fmt: skip
_scan = list_by_list(_of_batch, prepare, settle_by_distance)
_loop = one_by_one(Tile(LANES, 1, float_registers, LANES, QUARTER, 1, _tile_of_one), prepare, _fetch,
                   settle_by_distance)  # fmt: skip
_answer = answering(_make_ready, _loop, settle_by_distance)
_shortcut = by_shortcut(_answer)
_merge = merging(settle_by_distance)


@entry
def scan_lists(path, lists: Flat, queries: Queries, share: Share, room: Room):
    """Offer the rows of the share's lists to the queries that probe them."""
    _scan(pointers(Flat(*lists)), pointers(Queries(*queries)), pointers(Share(*share)), pointers(Room(*room)))


@entry
def finish(path, queries: Queries, parts: Parts, start, stop, room: Room, result):
    """Put what was found for the queries start..stop-1 together: see `merging`."""
    _merge(pointers(Queries(*queries)), pointers(Parts(*parts)), start, stop, pointers(Room(*room)), pointer(result))


@entry
def search_one(path, lists: Flat, one: OneQuery, query, operands):
    """The nearest vectors to one query: see `answering`."""
    return _answer(pointers(Flat(*lists)), pointers(OneQuery(*one)), query, pointer(operands), operands.shape[0])


@entry
def take_shortcut(path, table, query, room, distances, ids):
    """One query from a prepared table: see `by_shortcut`."""
    return _shortcut(opened(table), query, opened(room), distances, ids)
