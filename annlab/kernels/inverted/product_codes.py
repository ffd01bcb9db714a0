"""Scanning 4-bit product codes: table lookups inside registers (F. Andre, A.-M. Kermarrec, N. Le Scouarnec, "Cache
Locality Is Not Enough: High-Performance Nearest Neighbor Search with Product Quantization Fast Scan", VLDB 2015).

A row in the list of centroid c is c + r. Its residual r is s_l times a vector of codewords, one of 16 for every two
dimensions, and s_l is the size of its list. A query q is compared with it in one of the two forms that
`kernels/inverted/byte_codes.py` explains: by y = q - c, pair by pair, or by q itself.

The table of a query holds -y.w (or -q.w) for every codeword w. It is rounded down to 7 bits: entries less their
smallest, in steps that all subquantizers share, so that a sum of bytes is the sum of the entries in steps, less about
half a step for each, which is the same for all rows.

Layout. Blocks of 16 rows; eight subquantizers take 64 bytes, 16 for every four: byte 16 i + r belongs to row r and has
subquantizer i in its lower and i + 4 in its upper half. So a register of codes meets a register of tables, 16 bytes
each, and one permutation within 16 bytes looks all of them up. The two sums of 7 bits that a byte stands for are added
as bytes; bytes are added up in 16 bits, those of even and of odd rows apart (the odd ones shifted down, the even ones
as they are, with the odd ones above them, which are subtracted at the end). Two queries share every load of codes.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.inverted.candidates import CHUNK_ROWS, CHUNK_WIDTH, FRONT, settle_by_key
from annlab.kernels.inverted.codebooks import CODEWORDS
from annlab.kernels.inverted.flat import about_centroid
from annlab.kernels.inverted.loops import Queries, Room, Share, Tile, list_by_list, one_by_one
from annlab.kernels.inverted.one_query import OneQuery, answering, by_shortcut
from annlab.kernels.simd.byte_vectors import (
    as_elements,
    as_shorts,
    lookup,
    low_bytes,
    shift_right,
    short_registers,
    sixteen_sums,
)
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import LANES, fma, larger, load, pointer, pointers, prefetch, splat, store
from annlab.kernels.simd.wide import load_sixteen, lowest_lane, minimum, splat_sixteen

BLOCK_ROWS = 16
IN_GROUP = 8  # subquantizers whose codes share 64 bytes
BLOCKS_AT_ONCE = {16: 4, 8: 2}.get(LANES, 1)  # with two accumulators each, for two queries
BLOCKS_OF_ONE = 4 if LANES >= 8 else 1  # for one query; few where every lookup is written out
PADDING_BLOCKS = 3  # a tile may begin in a list's last block
PADDING_TERMS = 64
_ACCUMULATORS = 4 * BLOCKS_AT_ONCE
_AHEAD = 4096  # bytes of codes
_NIBBLE = np.uint8(15)
_LARGEST_ENTRY, _LARGEST_SUM = np.float32(127.0), np.float32(65_500.0)
_ZERO, _HALF, _ONE, _NO_SUM = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.int16(0)


class Codes(NamedTuple):
    """The lists of a storage: arrays for the door of a kernel, pointers inside."""

    codes: Any  # (n_blocks + PADDING_BLOCKS, groups, 64) uint8
    terms: Any  # (n + PADDING_TERMS,) float32: |r|^2 / 2, and c.r in the second form; zeros for ip
    codebooks: Any  # (n_sub, sub_dim, 16) float32
    sizes: Any  # (n_lists,) float32: s
    centroids: Any  # (n_lists, dim) float32
    offsets: Any  # (n_lists + 1,): where lists begin
    blocks: Any  # (n_lists + 1,): and their blocks
    tables: Any  # (q, padded, 16) uint8 of queries in the second form; for one query scratch, as those that follow
    units: Any  # (q,) float32: a sum of entries s of a table stands for start + unit * s
    starts: Any  # (q,) float32
    entries: Any  # (n_sub, 16) float32: scratch
    framed: bool  # the first form
    dim: int
    n_sub: int
    sub_dim: int
    n_groups: int
    lines: int  # asked for ahead by a tile itself: 0


@kernel
def fill_table(query, codebooks, n_sub, sub_dim, dim, entries, table):
    """table (n_sub, 16) uint8 of a converted query; a sum s of entries stands for start + step * s. Returns both.

    codebooks (n_sub, sub_dim, 16) float32; entries (n_sub, 16) float32 is scratch.
    """
    start, widest = _ZERO, splat_sixteen(_ZERO)
    for m in range(n_sub):
        values = splat_sixteen(_ZERO)
        for i in range(m * sub_dim, min((m + 1) * sub_dim, dim)):
            values = fma(splat_sixteen(-query[i]), load_sixteen(codebooks + i * CODEWORDS), values)
        low = minimum(values)
        values = values - low
        store(entries + m * CODEWORDS, values)
        start += lowest_lane(low)
        widest = larger(widest, values)
    width = -lowest_lane(minimum(splat_sixteen(_ZERO) - widest))
    step = max(width * max(_ONE / _LARGEST_ENTRY, np.float32(n_sub) / _LARGEST_SUM), np.float32(1e-30))
    inverse = splat_sixteen(_ONE / step)
    for m in range(n_sub):
        store(table + m * CODEWORDS, low_bytes(load_sixteen(entries + m * CODEWORDS) * inverse))
    return step, start


@entry
def fill_tables(path, queries, codebooks, entries, tables, steps, starts):
    """`fill_table` for all queries (q, dim): tables (q, padded, 16), which come filled with zeros, steps, starts."""
    n_sub, sub_dim, dim = codebooks.shape[0], codebooks.shape[1], queries.shape[1]
    y, book, exact, table = pointer(queries), pointer(codebooks), pointer(entries), pointer(tables)
    for q in range(queries.shape[0]):
        steps[q], starts[q] = fill_table(y + q * dim, book, n_sub, sub_dim, dim, exact,
                                         table + q * tables.shape[1] * CODEWORDS)  # fmt: skip


@inlined
def code_tile(sums, codes, block_bytes, tables, table_bytes, n_queries, n_blocks, n_groups):
    """Sums of the table entries of queries for blocks of rows, to be read by `sixteen_sums`.

    sums[2 (n_queries b + j)] and the one behind it are those of block b and query j.
    """
    nibble = splat(_NIBBLE)
    for i in range(2 * n_queries * n_blocks):
        sums[i] = splat(_NO_SUM)
    for _ in range(n_groups):
        for part in range(0, 64, REGISTER_BYTES):
            for b in range(n_blocks):
                code = load(codes + b * block_bytes + part)
                low = code & nibble
                high = as_elements(shift_right(as_shorts(code), 4), codes) & nibble
                for j in range(n_queries):
                    own = tables + j * table_bytes + part
                    found = as_shorts(lookup(load(own), low) + lookup(load(own + 64), high))
                    place = 2 * (n_queries * b + j)
                    sums[place] = sums[place] + found
                    sums[place + 1] = sums[place + 1] + shift_right(found, 8)
        for b in range(n_blocks):
            prefetch(codes + b * block_bytes + _AHEAD)
        codes, tables = codes + 64, tables + 128


@inlined
def prepare(lists, queries, label, pair, room, place):
    """The table of a pair (or the number of that of its query), and the base of its values."""
    dim, q, operand = lists.dim, pair // queries.n_probes, room.operands + place * room.stride
    if lists.framed:
        centroid = lists.centroids + label * dim
        square, _ = about_centroid(queries.points + q * dim, centroid, centroid, dim, room.frame)
        unit, start = fill_table(room.frame, lists.codebooks, lists.n_sub, lists.sub_dim, dim, lists.entries, operand)
        base, table = _HALF * square, place
    else:
        unit, start, base, table = lists.units[q], lists.starts[q], queries.coarse[pair], q
    room.sums[place] = table
    room.bases[place] = base + lists.sizes[label] * start
    room.factors[place] = lists.sizes[label] * unit
    room.errors[place] = _ZERO


@inlined
def _write(sums, place, unit, base, terms, out):
    """The values of the 16 rows of a block for one query."""
    value = fma(sixteen_sums(sums[place], sums[place + 1]), splat_sixteen(unit), load_sixteen(terms))
    store(out, value + splat_sixteen(base))


@inlined
def _tile_of_batch(sums, unused, unused_too, lists, label, row, start, room, n_groups, lines):
    """Values of a chunk, the blocks from `row` on, for all prepared pairs: two after two, whose tables stay at hand."""
    block_bytes, n = lists.n_groups * 64, min(CHUNK_ROWS, lists.offsets[label + 1] - row)
    block = lists.codes + (lists.blocks[label] + (row - lists.offsets[label]) // BLOCK_ROWS) * block_bytes
    tables = room.operands if lists.framed else lists.tables
    for g in range(n_groups):
        table, other = np.int64(room.sums[2 * g]), np.int64(room.sums[2 * g + 1])
        out = room.found + (2 * g * CHUNK_WIDTH + FRONT)
        for r in range(0, n, BLOCK_ROWS * BLOCKS_AT_ONCE):
            code_tile(sums, block + r // BLOCK_ROWS * block_bytes, block_bytes, tables + table * room.stride,
                      (other - table) * room.stride, 2, BLOCKS_AT_ONCE, lists.n_groups)  # fmt: skip
            for k in range(BLOCKS_AT_ONCE):
                place = r + k * BLOCK_ROWS
                for j in range(2):
                    _write(sums, 4 * k + 2 * j, room.factors[2 * g + j], room.bases[2 * g + j],
                           lists.terms + (row + place), out + (j * CHUNK_WIDTH + place))  # fmt: skip


@inlined
def _tile_of_one(sums, unused, lists, label, row, start, room):
    """Values of the blocks from `row` on for one query."""
    block_bytes = lists.n_groups * 64
    block = lists.codes + (lists.blocks[label] + (row - lists.offsets[label]) // BLOCK_ROWS) * block_bytes
    table = room.operands if lists.framed else lists.tables
    code_tile(sums, block, block_bytes, table, 0, 1, BLOCKS_OF_ONE, lists.n_groups)
    for k in range(BLOCKS_OF_ONE):
        place = row + k * BLOCK_ROWS
        _write(sums, 2 * k, room.factors[0], room.bases[0], lists.terms + place, room.found + (FRONT + place - start))


@inlined
def _fetch(lists, label):
    """Ask for the beginning of a list."""
    place = lists.codes + lists.blocks[label] * lists.n_groups * 64
    for ahead in range(0, _AHEAD, 64):
        prefetch(place + ahead)
    prefetch(lists.terms + lists.offsets[label])


@inlined
def _make_ready(lists, y):
    """In the second form, make the table of the query."""
    if not lists.framed:
        lists.units[0], lists.starts[0] = fill_table(y, lists.codebooks, lists.n_sub, lists.sub_dim, lists.dim,
                                                     lists.entries, lists.tables)  # fmt: skip


_of_batch = Tile(CHUNK_ROWS, 2, short_registers, _ACCUMULATORS, 1, 1, _tile_of_batch)
_scan = list_by_list(_of_batch, prepare, settle_by_key)
_of_one = Tile(BLOCK_ROWS * BLOCKS_OF_ONE, 1, short_registers, _ACCUMULATORS, 1, 1, _tile_of_one)
_loop = one_by_one(_of_one, prepare, _fetch, settle_by_key)
_answer = answering(_make_ready, _loop, settle_by_key)
_shortcut = by_shortcut(_answer)


@entry
def scan_lists(path, lists: Codes, queries: Queries, share: Share, room: Room):
    """Offer the rows of the share's lists, by their codes, to the queries that probe them.

    The operands of the room are tables, filled with zeros behind the last subquantizer.
    """
    _scan(pointers(Codes(*lists)), pointers(Queries(*queries)), pointers(Share(*share)), pointers(Room(*room)))


@entry
def search_one(path, lists: Codes, one: OneQuery, query, operands):
    """The nearest vectors to one query, found by codes: see `answering`. operands: scratch, zeros (padded * 16,)."""
    codes, asked = pointers(Codes(*lists)), pointers(OneQuery(*one))
    return _answer(codes, asked, query, pointer(operands), operands.shape[0])


@entry
def take_shortcut(path, table, query, room, distances, ids):
    """One query from a prepared table: see `by_shortcut`."""
    return _shortcut(opened(table), query, opened(room), distances, ids)


@entry
def pack_codes(path, codes, list_offsets, block_offsets, packed):
    """packed (n_blocks + padding, groups, 64), filled with zeros, from codes (n, m) uint8 below 16 by row."""
    n_sub = codes.shape[1]
    for label in range(list_offsets.shape[0] - 1):
        for row in range(list_offsets[label], list_offsets[label + 1]):
            r = row - list_offsets[label]
            block, lane = block_offsets[label] + r // BLOCK_ROWS, r % BLOCK_ROWS
            for m in range(n_sub):
                byte = m % 4 * BLOCK_ROWS + lane
                packed[block, m // IN_GROUP, byte] |= np.uint8(codes[row, m] << (4 * (m % IN_GROUP // 4)))
