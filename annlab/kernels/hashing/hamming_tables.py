"""Hamming distances in batches where the CPU cannot count a register's bits: tables in registers, queries in pairs.

In how many of four bits a row's code differs from a query's is one of sixteen entries of a table that the query has for
these four bits, and a byte shuffle looks up a table of sixteen bytes for as many rows as a register has bytes (as
product codes are scanned, see inverted/product_codes.py; the table here is exact). An entry is at most 4, so a byte has
room for two queries: the first one's count in its lower half, the second one's in the upper half, and for the sum of
three such bytes. So for three times four bits of a register of rows and two queries

    3 shuffles, 2 additions      s = one[nibble] + two[nibble'] + three[nibble'']
    1 addition                   totals += s             the first query's count + 16 times the second one's, as bytes
    a shift, a mask, 1 addition  uppers += s >> 4        the second one's count, which gives both in the end

are nine instructions for 12 bits of a row, twice: with four vector units, of which two shuffle and shift, 2.25 cycles.
Counting every byte of every row and query by itself (two xors, two lookups, two additions) takes eighteen.

*Rows*. Codes are stored by rows (hashing/hamming.py), and tables need a register to hold the same four bits of many
rows. A chunk of rows that stays in the nearest caches is transposed once into scratch, and meets all queries of the
batch. Its size hardly matters (8 to 128 kilobytes, within a tenth).

    nibbles (groups, positions, REGISTER_BYTES) uint8    position 16 w + 2 b + h: half h of byte b of word w
    tables  (tiles, positions, PAIRS_IN_TILE, 16) uint8  for 2 * PAIRS_IN_TILE queries a tile; zeros where positions are
                                                         padded to a multiple of three

*Selection* is that of hashing/hamming.py. Sums begin at minus the query's limit, so the sign of a sum says that a row
may be near enough, and one test covers a tile. They are bytes for a section of the code, which may wrap round once all
bits differ, and are added up in 16 bits, those of even and of odd rows apart. Wrapped or not, a sum is never too large,
and what passes the test is counted by its words.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.hashing.hamming import BITS_OF, HALVES, ROWS_IN_BLOCK, finished, take_row
from annlab.kernels.simd.byte_vectors import as_elements, as_shorts, lookup, shift_right, short_registers
from annlab.kernels.simd.lanes import zip_high, zip_low
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.registers import count, first, load, load_table, pointer, splat, store
from annlab.kernels.simd.words import byte_registers, transposed_bytes

PAIRS_IN_TILE = 4
QUERIES_IN_TILE = 2 * PAIRS_IN_TILE
TOGETHER = 3  # positions whose counts fit half a byte
CHUNK_BYTES = 32 * 1024
POSITIONS_IN_WORD = 16
_BLOCKS_IN_GROUP = REGISTER_BYTES // ROWS_IN_BLOCK
_IN_SECTION = 22  # steps of three positions: 256 bits
_SUMS = 2 * QUERIES_IN_TILE
_SHORTS = REGISTER_BYTES // 2
_ENTRIES = 16
_ZERO, _NO_SUM, _NIBBLE, _SIXTEEN = np.uint8(0), np.int16(0), np.uint8(15), np.uint8(16)
_EVEN = np.int16(255)


def n_positions(n_words: int) -> int:
    """Positions of a code, padded."""
    return -(-POSITIONS_IN_WORD * n_words // TOGETHER) * TOGETHER


class Space(NamedTuple):
    """What `scan_batch` needs for the codes of a chunk of rows."""

    nibbles: Any  # see the head of the file
    words: Any  # the same memory as uint64
    eight: Any  # (8,) uint64


def scratch(n_words: int) -> Space:
    """Space for codes of n_words words."""
    positions = n_positions(n_words)
    groups = max(1, CHUNK_BYTES // (positions * REGISTER_BYTES))
    nibbles = np.zeros((groups, positions, REGISTER_BYTES), np.uint8)
    return Space(nibbles, nibbles.view(np.uint64), np.empty(8, np.uint64))


def _pair_tables() -> np.ndarray:
    """The tables of two queries whose four bits are the halves of a byte: (256 and one of zeros, 2) uint64."""
    value = np.arange(_ENTRIES)
    counts = BITS_OF[value[:, None] ^ value]
    pairs = (counts[None, :, :] + 16 * counts[:, None, :]).reshape(256, _ENTRIES)
    return np.vstack([pairs, np.zeros((1, _ENTRIES))]).astype(np.uint8).view(np.uint64)


_PAIR_TABLES = _pair_tables()


def tables_of(codes: np.ndarray) -> np.ndarray:
    """The tables of queries (q, words), see the head of the file; missing queries of the last tile are zeros."""
    q, n_words = codes.shape
    n_tiles, used = -(-q // QUERIES_IN_TILE), POSITIONS_IN_WORD * n_words
    padded = np.zeros((n_tiles * PAIRS_IN_TILE, 2, n_words), np.uint64)
    padded.reshape(-1, n_words)[:q] = codes
    low, high = padded & HALVES, (padded >> np.uint64(4)) & HALVES
    halves = np.stack([low[:, 0] | low[:, 1] << np.uint64(4), high[:, 0] | high[:, 1] << np.uint64(4)], axis=-1)
    numbers = halves.view(np.uint8).reshape(n_tiles, PAIRS_IN_TILE, n_words, 2, 8)  # of both queries, in one byte
    chosen = np.full((n_tiles, n_positions(n_words), PAIRS_IN_TILE), 256, np.intp)
    chosen[:, :used] = numbers.transpose(0, 2, 4, 3, 1).reshape(n_tiles, used, PAIRS_IN_TILE)
    return _PAIR_TABLES.take(chosen, axis=0).view(np.uint8)


@kernel
def transpose(codes, n_blocks, n_words, positions, eight, words):
    """nibbles, whose memory are `words` uint64, of n_blocks blocks; eight (8,) uint64 is scratch."""
    for b in range(n_blocks):
        place = words + (b // _BLOCKS_IN_GROUP) * positions * _BLOCKS_IN_GROUP + b % _BLOCKS_IN_GROUP
        for _ in range(n_words):
            store(eight, transposed_bytes(codes))
            for i in range(8):
                place[2 * i * _BLOCKS_IN_GROUP] = eight[i] & HALVES
                place[(2 * i + 1) * _BLOCKS_IN_GROUP] = (eight[i] >> np.uint64(4)) & HALVES
            codes, place = codes + ROWS_IN_BLOCK, place + POSITIONS_IN_WORD * _BLOCKS_IN_GROUP


@inlined
def section(totals, uppers, nibbles, tables, steps):
    """totals and uppers (PAIRS_IN_TILE) of a register of rows over `steps` times three positions."""
    for j in range(PAIRS_IN_TILE):
        totals[j] = splat(_ZERO)
        uppers[j] = splat(_ZERO)
    for _ in range(steps):
        one, two, three = load(nibbles), load(nibbles + REGISTER_BYTES), load(nibbles + 2 * REGISTER_BYTES)
        for j in range(PAIRS_IN_TILE):
            table = tables + j * _ENTRIES
            both = lookup(load_table(table), one)
            both = both + lookup(load_table(table + PAIRS_IN_TILE * _ENTRIES), two)
            both = both + lookup(load_table(table + 2 * PAIRS_IN_TILE * _ENTRIES), three)
            totals[j] = totals[j] + both
            uppers[j] = uppers[j] + (as_elements(shift_right(as_shorts(both), 4), tables) & splat(_NIBBLE))
        nibbles += TOGETHER * REGISTER_BYTES
        tables += TOGETHER * PAIRS_IN_TILE * _ENTRIES


@inlined
def table_tile(sums, totals, uppers, starts, nibbles, tables, n_steps):
    """sums[2 j] and sums[2 j + 1]: start + distance of the even and the odd rows of a register to query j."""
    for j in range(QUERIES_IN_TILE):
        sums[2 * j] = splat(starts[j])
        sums[2 * j + 1] = splat(starts[j])
    for begin in range(0, n_steps, _IN_SECTION):
        section(totals, uppers, nibbles + begin * TOGETHER * REGISTER_BYTES,
                tables + begin * TOGETHER * PAIRS_IN_TILE * _ENTRIES, min(_IN_SECTION, n_steps - begin))  # fmt: skip
        for j in range(PAIRS_IN_TILE):
            upper = as_shorts(uppers[j])
            lower = as_shorts(totals[j] - uppers[j] * splat(_SIXTEEN))
            sums[4 * j] = sums[4 * j] + (lower & splat(_EVEN))
            sums[4 * j + 1] = sums[4 * j + 1] + shift_right(lower, 8)
            sums[4 * j + 2] = sums[4 * j + 2] + (upper & splat(_EVEN))
            sums[4 * j + 3] = sums[4 * j + 3] + shift_right(upper, 8)


@kernel
def differing(codes, row, query, n_words):
    """The Hamming distance of a row's code, in its block, to a query's."""
    place, distance = codes + (row // ROWS_IN_BLOCK) * n_words * ROWS_IN_BLOCK + row % ROWS_IN_BLOCK, 0
    for i in range(n_words):
        distance += count(np.int64(place[i * ROWS_IN_BLOCK] ^ query[i]))
    return distance


@kernel
def rows_to_scan(alive, n_words, row, n):
    """The mask of the rows row .. row + REGISTER_BYTES - 1 that exist and may be returned; row is a multiple of 16."""
    mask = np.int64(alive[row // 64] >> np.uint64(row % 64)) if n_words > 0 else np.int64(-1)
    return mask & ((np.int64(1) << (n - row)) - 1) if n - row < REGISTER_BYTES else mask


@entry
def scan_batch(path, codes, n, queries, tables, alive, keep, space: Space, starts, counts, taken):
    """`hamming.scan_batch` for queries (q, words) uint64 and the tables of `tables_of`.

    space: see `scratch`; starts (queries of whole tiles,) int16, which comes as minus their limits, and zeros for
    queries that are missing.
    """
    chunk = Space(*space)
    n_blocks, n_words, n_queries, n_counts, capacity = (codes.shape[0], codes.shape[1], queries.shape[0],
                                                        counts.shape[1], taken.shape[2])  # fmt: skip
    positions, n_alive, own = chunk.nibbles.shape[1], alive.shape[1], 1 if alive.shape[0] > 1 else 0
    code, query, table, bit, start = pointer(codes), pointer(queries), pointer(tables), pointer(alive), pointer(starts)
    count_of, row_of, nibble, word, column = (pointer(counts), pointer(taken), pointer(chunk.nibbles),
                                              pointer(chunk.words), pointer(chunk.eight))  # fmt: skip
    totals, uppers, sums = byte_registers(PAIRS_IN_TILE), byte_registers(PAIRS_IN_TILE), short_registers(_SUMS)
    blocks_in_chunk = chunk.nibbles.shape[0] * _BLOCKS_IN_GROUP
    for begin in range(0, n_blocks, blocks_in_chunk):
        in_chunk = min(blocks_in_chunk, n_blocks - begin)
        transpose(code + begin * n_words * ROWS_IN_BLOCK, in_chunk, n_words, positions, column, word)
        for q in range(0, n_queries, QUERIES_IN_TILE):
            tile = table + q // QUERIES_IN_TILE * positions * PAIRS_IN_TILE * _ENTRIES
            for b in range(0, in_chunk, _BLOCKS_IN_GROUP):
                table_tile(sums, totals, uppers, start + q, nibble + b // _BLOCKS_IN_GROUP * positions * REGISTER_BYTES,
                           tile, positions // TOGETHER)  # fmt: skip
                negative = sums[0]
                for j in range(1, _SUMS):
                    negative = negative | sums[j]
                if (negative < splat(_NO_SUM)) == 0:
                    continue
                first_row = (begin + b) * ROWS_IN_BLOCK
                for j in range(QUERIES_IN_TILE):
                    even, odd = sums[2 * j], sums[2 * j + 1]
                    if ((even | odd) < splat(_NO_SUM)) == 0:
                        continue
                    i = q + j
                    mask = zip_low(even, odd) < splat(_NO_SUM)
                    mask |= (zip_high(even, odd) < splat(_NO_SUM)) << _SHORTS
                    mask &= rows_to_scan(bit + own * i * n_alive, n_alive, first_row, n)
                    while mask != 0:
                        r = first_row + first(mask)
                        mask &= mask - 1
                        take_row(differing(code, r, query + i * n_words, n_words), r, keep, count_of + i * n_counts,
                                 row_of + 2 * i * capacity, capacity)  # fmt: skip
                    start[i] = np.int16(-count_of[i * n_counts])
    for i in range(n_queries):
        finished(keep, count_of + i * n_counts, row_of + 2 * i * capacity, capacity)
