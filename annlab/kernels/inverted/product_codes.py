"""Scanning 4-bit product codes: table lookups inside registers (F. Andre, A.-M. Kermarrec, N. Le Scouarnec, "Cache
Locality Is Not Enough: High-Performance Nearest Neighbor Search with Product Quantization Fast Scan", VLDB 2015).

A row in the list of centroid c is c + r, its residual r is stored as one of 16 codewords for every two dimensions, and
for a query y (as converted, see `kernels/inverted/flat.py`)

    |c + r - y|^2 / 2  -  |y|^2 / 2   =   (|c|^2 / 2 - c.y)  +  (|r|^2 / 2 + c.r)  -  r.y
                                          found with the probes   the row's term     a sum of table entries

The table of a query holds -r.y of every codeword, and does not depend on the list. It is rounded down to 7 bits:
entries less their smallest, in steps that all subquantizers share, so that a sum of bytes is the sum of the entries in
steps, less about half a step for each, which is the same for all rows.

Layout. Blocks of 16 rows; eight subquantizers take 64 bytes, 16 for every four: byte 16 i + r belongs to row r and has
subquantizer i in its lower and i + 4 in its upper half. So a register of codes meets a register of tables, 16 bytes
each, and one permutation within 16 bytes looks all of them up. The two sums of 7 bits that a byte stands for are added
as bytes; bytes are added up in 16 bits, those of even and of odd rows apart (the odd ones shifted down, the even ones
as they are, with the odd ones above them, which are subtracted at the end). Two queries share every load of codes.
"""

import numpy as np

from annlab.kernels.inverted.candidates import CHUNK_ROWS, FIRST_BOUND, offer
from annlab.kernels.inverted.one_query import begin, end, parts
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
from annlab.kernels.simd.registers import LANES, fma, larger, load, pointer, prefetch, splat, store
from annlab.kernels.simd.wide import load_sixteen, lowest_lane, minimum, splat_sixteen

BLOCK_ROWS = 16
CODEWORDS = 16
IN_GROUP = 8  # subquantizers whose codes share 64 bytes
BLOCKS_AT_ONCE = {16: 4, 8: 2}.get(LANES, 1)  # with two accumulators each, for two queries
BLOCKS_OF_ONE = 4 if LANES >= 8 else 1  # for one query; few where every lookup is written out
PADDING_BLOCKS = 3  # a tile may begin in a list's last block
PADDING_TERMS = 64
_ACCUMULATORS = 4 * BLOCKS_AT_ONCE
_AHEAD = 4096  # bytes of codes
_NIBBLE = np.uint8(15)
_LARGEST_ENTRY, _LARGEST_SUM = np.float32(127.0), np.float32(65_500.0)
_ZERO, _ONE, _NO_SUM = np.float32(0.0), np.float32(1.0), np.int16(0)


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
def write_sums(sums, place, step, base, terms, out):
    """The surrogates of the 16 rows of a block for one query."""
    value = fma(sixteen_sums(sums[place], sums[place + 1]), splat_sixteen(step), load_sixteen(terms))
    store(out, value + splat_sixteen(base))


@entry
def scan_codes(path, tables, steps, starts, codes, terms, list_offsets, block_offsets, pair_offsets, pairs,
               coarse, n_probes, alive, words_each, has_alive, keep, keys, bounds, lengths, values, rows, found, low,
               high):  # fmt: skip
    """Offer the rows of every list, by their codes, to the queries that probe it.

    tables (q, padded, 16), steps and starts (q,) as by `fill_tables`; codes (n_blocks + PADDING_BLOCKS, groups, 64)
    uint8; terms (n + PADDING_TERMS,); list l has the rows from list_offsets[l] and the blocks from block_offsets[l] on;
    coarse: the surrogate of a pair's centroid; found (2, CHUNK_WIDTH). The rest as in `lists.scan_lists`.
    """
    n_groups, capacity, width = codes.shape[1], values.shape[1], found.shape[1]
    size, block_bytes = tables.shape[1] * CODEWORDS, n_groups * 64
    table, step, start, code, term = pointer(tables), pointer(steps), pointer(starts), pointer(codes), pointer(terms)
    pair, value_of, bit, bound = pointer(pairs), pointer(coarse), pointer(alive), pointer(bounds)
    length, value, row, key = pointer(lengths), pointer(values), pointer(rows), pointer(keys)
    a, b, out = pointer(low), pointer(high), pointer(found)
    sums = short_registers(_ACCUMULATORS)
    for label in range(list_offsets.shape[0] - 1):
        p, last = pair_offsets[label], pair_offsets[label + 1]
        for first in range(list_offsets[label], list_offsets[label + 1] if p < last else 0, CHUNK_ROWS):
            n = min(CHUNK_ROWS, list_offsets[label + 1] - first)
            block = code + (block_offsets[label] + (first - list_offsets[label]) // BLOCK_ROWS) * block_bytes
            for i in range(p, last, 2):
                q, other = pair[i] // n_probes, pair[min(i + 1, last - 1)] // n_probes
                base, other_base = value_of[pair[i]] + start[q], value_of[pair[min(i + 1, last - 1)]] + start[other]
                for r in range(0, n, BLOCK_ROWS * BLOCKS_AT_ONCE):
                    code_tile(sums, block + r // BLOCK_ROWS * block_bytes, block_bytes, table + q * size,
                              (other - q) * size, 2, BLOCKS_AT_ONCE, n_groups)  # fmt: skip
                    for k in range(BLOCKS_AT_ONCE):
                        place, own = r + k * BLOCK_ROWS, term + first + r + k * BLOCK_ROWS
                        write_sums(sums, 4 * k, step[q], base, own, out + place)
                        write_sums(sums, 4 * k + 2, step[other], other_base, own, out + width + place)
                lower, length[q] = offer(
                    out, n, first, bit + q * words_each, has_alive, bound[q], length[q], value + q * capacity,
                    row + q * capacity, capacity, keep, key, a, b,
                )  # fmt: skip
                if lower < bound[q]:  # threads share the bounds, so write them seldom
                    bound[q] = lower
                if i + 1 < last:
                    lower, length[other] = offer(
                        out + width, n, first, bit + other * words_each, has_alive, bound[other], length[other],
                        value + other * capacity, row + other * capacity, capacity, keep, key, a, b,
                    )  # fmt: skip
                    if lower < bound[other]:  # threads share the bounds, so write them seldom
                        bound[other] = lower


@entry
def search_codes_one(path, query, metric, center, scale, longest, panels, half_norms, list_offsets, n_probes, keep,
                     alive, has_alive, keys, vectors, floats, longs, rows, distances, ids, row_bytes, counters,
                     codebooks, entries, table, codes, terms, block_offsets):  # fmt: skip
    """`lists.search_lists_one` by codes; entries and table (padded, 16), filled with zeros, are scratch as in
    `fill_table`."""
    n_groups, capacity, n_sub, sub_dim = codes.shape[1], rows.shape[0], codebooks.shape[0], codebooks.shape[1]
    own, code, term, bit, row = pointer(table), pointer(codes), pointer(terms), pointer(alive), pointer(rows)
    key, block_bytes = pointer(keys), n_groups * 64
    y, probes, coarse, _, free = begin(query, metric, center, scale, longest, panels, half_norms,
                                       list_offsets.shape[0] - 1, n_probes, floats, longs)  # fmt: skip
    step, start = fill_table(y, pointer(codebooks), n_sub, sub_dim, query.shape[1], pointer(entries), own)
    value, out, a, b = parts(free, capacity)
    sums = short_registers(_ACCUMULATORS)
    bound, length, looked_at = FIRST_BOUND, 0, 0
    for probe in range(n_probes):
        label, following = probes[probe], probes[min(probe + 1, n_probes - 1)]
        for ahead in range(0, _AHEAD, 64):
            prefetch(code + block_offsets[following] * block_bytes + ahead)
        prefetch(term + list_offsets[following])
        base = coarse[probe] + start
        looked_at += list_offsets[label + 1] - list_offsets[label]
        for first in range(list_offsets[label], list_offsets[label + 1], CHUNK_ROWS):
            n = min(CHUNK_ROWS, list_offsets[label + 1] - first)
            block = code + (block_offsets[label] + (first - list_offsets[label]) // BLOCK_ROWS) * block_bytes
            for r in range(0, n, BLOCK_ROWS * BLOCKS_OF_ONE):
                code_tile(sums, block + r // BLOCK_ROWS * block_bytes, block_bytes, own, 0, 1, BLOCKS_OF_ONE, n_groups)
                for k in range(BLOCKS_OF_ONE):
                    place = r + k * BLOCK_ROWS
                    write_sums(sums, 2 * k, step, base, term + first + place, out + place)
            bound, length = offer(out, n, first, bit, has_alive, bound, length, value, row, capacity, keep, key, a,
                                  b)  # fmt: skip
    return end(query, metric, vectors, keys, keep, list_offsets.shape[0] - 1, n_probes, longs, value, row, length, a, b,
               distances, ids, looked_at, row_bytes, counters)  # fmt: skip


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
