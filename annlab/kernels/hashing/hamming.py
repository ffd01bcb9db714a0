"""Scanning sign codes by Hamming distance: the rows whose codes differ least from the query's.

Codes lie in blocks of eight rows, word by word: blocks (n_blocks, words, 8) uint64, so that one load takes the same 64
bits of several rows; xor, count the bits of every lane, add. Where the CPU counts bits in registers (AVX-512's
VPOPCNTDQ), each is one instruction. Elsewhere they are looked up: a byte shuffle reads sixteen entries of a table, the
numbers of bits in 0..15, for every byte of a register, so a byte is counted as two halves, and halves are added as
bytes until a word can overflow.

*One query* reads the codes once, from the first to the last, at the speed of the memory, of which it asks for codes
ahead of time; limits are compared for four blocks together.

*Batches* where bits are counted: a block meets QUERIES_IN_TILE queries at once, whose words come as broadcasts, and a
chunk of blocks that fits the second-level cache meets all queries before the next is read. Where they are looked up,
many queries deserve tables of their own: `hashing/hamming_tables.py`.

*Selection* is exact and the same for any batch and any number of threads: the `keep` rows that are smallest by
(distance, row). Distances are small integers, so a query keeps a histogram of what it took instead of a heap: `limit`
is the smallest distance T of which `keep` rows are known to be at T or nearer, and from then on only rows nearer than T
are taken (a later row at T loses the tie). Every accepted row is one addition, and the limit moves down at most
64 * words times. The buffer holds twice `keep`; when it is full, what the limit has overtaken is dropped.
"""

import numpy as np

from annlab.kernels.simd.byte_vectors import as_elements, count_bits, lookup, shift_right
from annlab.kernels.simd.path import FEATURES, PATH_NAME, entry, inlined, kernel
from annlab.kernels.simd.registers import first, load, load_table, pointer, prefetch, splat, store
from annlab.kernels.simd.words import WORD_LANES, byte_registers, sum_bytes, word_registers

COUNTS_BITS = PATH_NAME == "generic" or (PATH_NAME == "avx512" and "avx512vpopcntdq" in FEATURES)
HALVES = np.uint64(0x0F0F0F0F0F0F0F0F)
BITS_OF = np.bitwise_count(np.arange(16, dtype=np.uint8))  # the table
ROWS_IN_BLOCK = 8
QUERIES_IN_TILE = 8
BLOCKS_AT_ONCE = 4
STATE = 3  # counts of a selection before its histogram
CHUNK_BYTES = 128 * 1024
_PARTS = ROWS_IN_BLOCK // WORD_LANES  # registers in which the eight rows of a block lie
_SINGLES = BLOCKS_AT_ONCE * _PARTS
_ZERO, _NOTHING = np.uint64(0), np.int64(0)
_WORDS_AHEAD = 256  # what a scan for one query asks memory for: two kilobytes
_WORDS_OF_BYTES = 31  # words whose bits can be added in bytes: 8 each


@kernel
def compacted(distances, rows, length, limit, ties):
    """Keep what is nearer than the limit, and the first `ties` rows at the limit; returns how many that are."""
    kept = 0
    for i in range(length):
        distance = distances[i]
        if distance > limit:
            continue
        if distance == limit:
            if ties == 0:
                continue
            ties -= 1
        distances[kept], rows[kept] = distance, rows[i]
        kept += 1
    return kept


@inlined
def take_row(distance, row, keep, counts, taken, capacity):
    """Offer a row to a query, behind those that lie before it. counts and taken: see `selection`."""
    limit, nearer, length, histogram = counts[0], counts[1], counts[2], counts + STATE
    if distance < limit:
        taken[length], taken[capacity + length] = np.int32(distance), np.int32(row)
        length += 1
        histogram[distance] += 1
        nearer += 1
        while nearer >= keep:
            limit -= 1
            nearer -= histogram[limit]
        if length == capacity:
            length = compacted(taken, taken + capacity, length, limit, keep - nearer)
        counts[0], counts[1], counts[2] = limit, nearer, length


@kernel
def take(found, mask, row, keep, counts, taken, capacity):
    """Offer lanes of a register of distances (in memory, at `found`) to a query, in the order of their rows."""
    while mask != 0:
        lane = first(mask)
        mask &= mask - 1
        take_row(np.int64(found[lane]), row + lane, keep, counts, taken, capacity)


@kernel
def finished(keep, counts, taken, capacity):
    """Drop what the limit has overtaken at the end; counts[2] rows are then the selection, in the order of the rows."""
    counts[2] = compacted(taken, taken + capacity, counts[2], counts[0], keep - counts[1])


def selection(n_queries, n_words, keep):
    """What scans select into, for each query.

    counts (n_queries, STATE + bins) int64: the limit, how many rows nearer than the limit were taken, how many entries
    `taken` has, and a histogram of the distances that were taken. taken (n_queries, 2, capacity) int32: distances and
    rows.
    """
    counts = np.zeros((n_queries, STATE + 64 * n_words + 1), np.int64)
    counts[:, 0] = 64 * n_words + 1
    return counts, np.empty((n_queries, 2, 2 * keep + 16), np.int32)


@inlined
def counting_tile(block, codes, queries, n_words):
    """block = distances of one register of rows to QUERIES_IN_TILE queries (n_words x QUERIES_IN_TILE)."""
    for j in range(QUERIES_IN_TILE):
        block[j] = splat(_ZERO)
    for _ in range(n_words):
        code = load(codes)
        for j in range(QUERIES_IN_TILE):
            block[j] = block[j] + count_bits(code ^ splat(queries[j]))
        codes += ROWS_IN_BLOCK
        queries += QUERIES_IN_TILE


@inlined
def one_query_tile(block, halves, codes, query, n_words, n_blocks, table):
    """block = distances of BLOCKS_AT_ONCE blocks to one query (words); behind n_blocks, those of the last one again."""
    bits_of = load_table(table)
    for b in range(BLOCKS_AT_ONCE):
        place = codes + min(b, n_blocks - 1) * n_words * ROWS_IN_BLOCK
        for part in range(_PARTS):
            block[b * _PARTS + part] = splat(_ZERO)
        for begin in range(0, n_words, _WORDS_OF_BYTES):
            for part in range(_PARTS):
                halves[part] = as_elements(splat(_ZERO), table)
            for i in range(begin, min(begin + _WORDS_OF_BYTES, n_words)):
                word = splat(query[i])
                prefetch(place + _WORDS_AHEAD)
                for part in range(_PARTS):
                    differing = load(place + part * WORD_LANES) ^ word
                    if COUNTS_BITS:
                        block[b * _PARTS + part] = block[b * _PARTS + part] + count_bits(differing)
                    else:
                        low = lookup(bits_of, as_elements(differing & splat(HALVES), table))
                        high = lookup(bits_of, as_elements(shift_right(differing, 4) & splat(HALVES), table))
                        halves[part] = halves[part] + (low + high)
                place += ROWS_IN_BLOCK
            for part in range(_PARTS):
                block[b * _PARTS + part] = block[b * _PARTS + part] + sum_bytes(halves[part])


@inlined
def lanes_to_scan(alive, n_words, row, n):
    """The mask of the rows row .. row + WORD_LANES - 1 that exist and may be returned."""
    mask = (1 << min(WORD_LANES, n - row)) - 1 if row < n else 0
    if n_words > 0 and mask != 0:
        mask &= np.int64(alive[row // 64] >> np.uint64(row % 64))
    return mask


@entry
def scan_batch(path, codes, n, queries, n_queries, alive, keep, found, counts, taken):
    """Select for every query the `keep` rows that are nearest by (Hamming distance, row).

    codes (n_blocks, words, 8); queries as `in_tiles` made them; alive (q, words of bits), (1, words of bits) for all
    queries alike, or (0, 0); found (QUERIES_IN_TILE * WORD_LANES,) uint64 is scratch; counts and taken: a `selection`
    for whole groups of queries.
    """
    n_blocks, n_words, n_counts, capacity = codes.shape[0], codes.shape[1], counts.shape[1], taken.shape[2]
    code, query, count_of, row_of = pointer(codes), pointer(queries), pointer(counts), pointer(taken)
    bit, distance = pointer(alive), pointer(found)
    block = word_registers(QUERIES_IN_TILE)
    n_alive, own, group = alive.shape[1], 1 if alive.shape[0] > 1 else 0, queries.shape[1]
    chunk = max(1, CHUNK_BYTES // (n_words * 64))
    for begin in range(0, n_blocks, chunk):
        for q in range(0, n_queries, QUERIES_IN_TILE):
            in_group = min(QUERIES_IN_TILE, n_queries - q)
            tile = query + (q // QUERIES_IN_TILE) * group
            for b in range(begin, min(begin + chunk, n_blocks)):
                for part in range(_PARTS):
                    counting_tile(block, code + b * n_words * 8 + part * WORD_LANES, tile, n_words)
                    below = splat(_ZERO)  # its sign is set where any query's limit is greater
                    for j in range(QUERIES_IN_TILE):
                        below = below | (block[j] - splat(np.uint64(count_of[n_counts * (q + j)])))
                    if (as_elements(below, count_of) < splat(_NOTHING)) == 0:
                        continue
                    for j in range(QUERIES_IN_TILE):
                        store(distance + j * WORD_LANES, block[j])
                    first_row = b * 8 + part * WORD_LANES
                    for j in range(in_group):
                        i = q + j
                        mask = load(distance + j * WORD_LANES) < splat(np.uint64(count_of[n_counts * i]))
                        if mask != 0:
                            mask &= lanes_to_scan(bit + own * i * n_alive, n_alive, first_row, n)
                            take(distance + j * WORD_LANES, mask, first_row, keep, count_of + i * n_counts,
                                 row_of + 2 * i * capacity, capacity)  # fmt: skip
    for i in range(n_queries):
        finished(keep, count_of + i * n_counts, row_of + 2 * i * capacity, capacity)


@entry
def scan_one(path, codes, n, start, stop, query, alive, keep, table, found, counts, taken):
    """The same for one query (words,) and the blocks start..stop-1; alive (words of bits,) or (0,).

    table: BITS_OF; found (BLOCKS_AT_ONCE * 8,) uint64 is scratch; counts and taken: a `selection` for one query.
    """
    n_words, capacity, n_alive = codes.shape[1], taken.shape[2], alive.shape[0]
    code, word, bit, entries = pointer(codes), pointer(query), pointer(alive), pointer(table)
    count_of, row_of, distance = pointer(counts), pointer(taken), pointer(found)
    block, halves = word_registers(_SINGLES), byte_registers(_PARTS)
    for b in range(start, stop, BLOCKS_AT_ONCE):
        one_query_tile(block, halves, code + b * n_words * ROWS_IN_BLOCK, word, n_words, stop - b, entries)
        below, limit = splat(_ZERO), splat(np.uint64(count_of[0]))
        for j in range(_SINGLES):
            below = below | (block[j] - limit)
        if (as_elements(below, count_of) < splat(_NOTHING)) == 0:
            continue
        for j in range(_SINGLES):
            store(distance + j * WORD_LANES, block[j])
        for j in range(_SINGLES):
            mask = load(distance + j * WORD_LANES) < splat(np.uint64(count_of[0]))
            if mask != 0:
                first_row = (b + j // _PARTS) * 8 + (j % _PARTS) * WORD_LANES
                mask &= lanes_to_scan(bit, n_alive, first_row, min(n, stop * 8))
                take(distance + j * WORD_LANES, mask, first_row, keep, count_of, row_of, capacity)
    finished(keep, count_of, row_of, capacity)


def in_tiles(codes):
    """Codes of queries (q, words) as `scan_batch` reads them: (groups, words * QUERIES_IN_TILE)."""
    q, n_words = codes.shape
    groups = -(-q // QUERIES_IN_TILE)
    padded = np.zeros((groups * QUERIES_IN_TILE, n_words), np.uint64)
    padded[:q] = codes
    tiles = padded.reshape(groups, QUERIES_IN_TILE, n_words).transpose(0, 2, 1)
    return np.ascontiguousarray(tiles).reshape(groups, -1)
