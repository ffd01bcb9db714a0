"""Scanning 4-bit product codes: table lookups inside registers (F. Andre, A.-M. Kermarrec, N. Le Scouarnec, "Cache
Locality Is Not Enough: High-Performance Nearest Neighbor Search with Product Quantization Fast Scan", VLDB 2015).

A row in the list of centroid c is c + r, its residual r is stored as one of 16 codewords for every two dimensions, and
for a query y (as converted, see `kernels/lists.py`)

    |c + r - y|^2 / 2  -  |y|^2 / 2   =   (|c|^2 / 2 - c.y)  +  (|r|^2 / 2 + c.r)  -  r.y
                                          found with the probes   the row's term     a sum of table entries

The table of a query holds -r.y of every codeword, and does not depend on the list. It is rounded to bytes: entries less
their smallest, in steps that all subquantizers share, so that a sum of bytes is the sum of the entries in steps.

Layout. Blocks of 16 rows; eight subquantizers take 64 bytes, four for every row: byte j has subquantizer j in its lower
and j + 4 in its upper half. A register of codes and one of four tables give 64 looked-up bytes by one
permutation, and the dot product with ones adds each row's four to an int32, exactly. CPUs without that permutation look
the four tables up one after the other and take a byte of each. Two queries share every load of codes.
"""

import numpy as np

from annlab.kernels.candidates import is_alive, shrink
from annlab.kernels.path import HAS_BYTE_PERMUTE, entry, inlined, kernel
from annlab.kernels.simd import LANES, fma, int_registers, load, load_table, pointer, prefetch, splat
from annlab.kernels.simd_bytes import as_elements, dot_bytes, ints_to_floats, lookup, lookup_wide, shift_right
from annlab.kernels.topk import append

BLOCK_ROWS = 16
CODEWORDS = 16
IN_GROUP = 8  # subquantizers whose codes share 64 bytes
ROWS_AT_ONCE = 2 * LANES
_AHEAD = 2048  # bytes of codes
_NIBBLE, _ONE = np.uint8(15), np.int8(1)
_TABLE_OF_BYTE = np.int32(0x30201000)
_BYTE_0, _BYTE_1, _BYTE_2, _BYTE_3 = np.int32(0xFF), np.int32(0xFF00), np.int32(0xFF0000), np.int32(-0x1000000)


@entry
def fill_tables(path, queries, codebooks, tables, steps, starts):
    """tables (q, padded, 16) uint8 of converted queries (q, dim); a sum s of entries stands for start + step * s.

    codebooks (m, sub_dim, 16) float32; tables come filled with zeros, steps and starts are (q,) float32.
    """
    n_sub, sub_dim, dim = codebooks.shape[0], codebooks.shape[1], queries.shape[1]
    y, book, out = pointer(queries), pointer(codebooks), pointer(tables)
    exact = np.empty((n_sub, CODEWORDS), np.float32)
    entries = pointer(exact)
    for q in range(queries.shape[0]):
        start, widest = np.float32(0.0), np.float32(1e-30)
        for m in range(n_sub):
            values = entries + m * CODEWORDS
            for c in range(CODEWORDS):
                values[c] = np.float32(0.0)
            for i in range(sub_dim):
                if m * sub_dim + i < dim:
                    factor = -y[q * dim + m * sub_dim + i]
                    words = book + (m * sub_dim + i) * CODEWORDS
                    for c in range(CODEWORDS):
                        values[c] += factor * words[c]
            low, high = values[0], values[0]
            for c in range(1, CODEWORDS):
                low, high = min(low, values[c]), max(high, values[c])
            for c in range(CODEWORDS):
                values[c] -= low
            start += low
            widest = max(widest, high - low)
        steps[q], starts[q] = widest / np.float32(255.0), start
        inverse = np.float32(255.0) / widest
        for i in range(n_sub * CODEWORDS):
            out[q * tables.shape[1] * CODEWORDS + i] = np.uint8(entries[i] * inverse + np.float32(0.5))


@inlined
def looked_up_at_once(tables, codes, kind):
    """The table entries of 64 codes: byte j of every int32 lane from table j."""
    return lookup_wide(load(tables), codes | as_elements(splat(_TABLE_OF_BYTE), kind))


@inlined
def looked_up_one_by_one(tables, codes, kind):
    """The same where a permutation reaches sixteen bytes only."""
    result = lookup(load_table(tables), codes) & as_elements(splat(_BYTE_0), kind)
    result = result | (lookup(load_table(tables + 16), codes) & as_elements(splat(_BYTE_1), kind))
    result = result | (lookup(load_table(tables + 32), codes) & as_elements(splat(_BYTE_2), kind))
    return result | (lookup(load_table(tables + 48), codes) & as_elements(splat(_BYTE_3), kind))


looked_up = looked_up_at_once if HAS_BYTE_PERMUTE else looked_up_one_by_one


@inlined
def code_tile(sums, left, right, first, second, n_groups, ints):
    """Sums of the table entries of two queries for two registers of rows: block = (rows, query), int32."""
    ones, nibble = splat(_ONE), splat(_NIBBLE)
    for j in range(4):
        sums[j] = splat(np.int32(0))
    for _ in range(n_groups):
        prefetch(left + _AHEAD)
        codes = load(left)
        low, high = codes & nibble, as_elements(shift_right(as_elements(codes, ints), 4), left) & nibble
        sums[0] = dot_bytes(sums[0], looked_up(first, low, left), ones)
        sums[1] = dot_bytes(sums[1], looked_up(second, low, left), ones)
        sums[0] = dot_bytes(sums[0], looked_up(first + 64, high, left), ones)
        sums[1] = dot_bytes(sums[1], looked_up(second + 64, high, left), ones)
        codes = load(right)
        low, high = codes & nibble, as_elements(shift_right(as_elements(codes, ints), 4), left) & nibble
        sums[2] = dot_bytes(sums[2], looked_up(first, low, left), ones)
        sums[3] = dot_bytes(sums[3], looked_up(second, low, left), ones)
        sums[2] = dot_bytes(sums[2], looked_up(first + 64, high, left), ones)
        sums[3] = dot_bytes(sums[3], looked_up(second + 64, high, left), ones)
        left, right, first, second = left + 64, right + 64, first + 128, second + 128


@inlined
def code_tile_one(sums, left, right, first, n_groups, ints):
    """The same for one query: sums 0 and 2."""
    ones, nibble = splat(_ONE), splat(_NIBBLE)
    for j in range(4):
        sums[j] = splat(np.int32(0))
    for _ in range(n_groups):
        prefetch(left + _AHEAD)
        prefetch(right + _AHEAD)
        codes = load(left)
        low, high = codes & nibble, as_elements(shift_right(as_elements(codes, ints), 4), left) & nibble
        sums[0] = dot_bytes(sums[0], looked_up(first, low, left), ones)
        sums[1] = dot_bytes(sums[1], looked_up(first + 64, high, left), ones)
        codes = load(right)
        low, high = codes & nibble, as_elements(shift_right(as_elements(codes, ints), 4), left) & nibble
        sums[2] = dot_bytes(sums[2], looked_up(first, low, left), ones)
        sums[3] = dot_bytes(sums[3], looked_up(first + 64, high, left), ones)
        left, right, first = left + 64, right + 64, first + 128
    sums[0], sums[2] = sums[0] + sums[1], sums[2] + sums[3]


@inlined
def offer(sums, terms, step, base, row, stop, query, alive, words_each, has_alive, bounds, lengths, values, rows,
          capacity, keep, keys, low, high):  # fmt: skip
    """Append what passes a query's bound, of one register of rows from `row` on, to its buffer."""
    value = fma(ints_to_floats(sums), splat(step), load(terms + row)) + splat(base)
    mask = value <= splat(bounds[query])
    if mask != 0:
        mask &= (1 << max(0, min(LANES, stop - row))) - 1
        if has_alive:
            mask = living_rows(mask, row, alive + query * words_each)
        place = query * capacity
        length = append(values + place, rows + place, lengths[query], value, row, mask)
        if length > capacity - 2 * LANES:
            length, bounds[query] = shrink(values + place, rows + place, length, keep, keys, low, high)
        lengths[query] = length


@kernel
def codes_at(codes, block, row, n_groups):
    """The address of the codes of the row-th row (of those from `block` on)."""
    return codes + ((block + row // BLOCK_ROWS) * n_groups * 64 + row % BLOCK_ROWS * 4)


@entry
def scan_codes(path, tables, steps, starts, codes, terms, list_offsets, block_offsets, pair_offsets, pairs, coarse,
               n_probes, alive, words_each, has_alive, keep, keys, bounds, lengths, values, rows, low,
               high):  # fmt: skip
    """Offer the rows of every list, by their codes, to the queries that probe it.

    tables (q, padded, 16), steps and starts (q,) as by `fill_tables`; codes (n_blocks + 2, groups, 64) uint8, the last
    two are padding; terms (n + ROWS_AT_ONCE,); list l has the rows from list_offsets[l] and the blocks from
    block_offsets[l] on; coarse: the surrogate of a pair's centroid. The rest as in `lists.scan_lists`.
    """
    n_groups, capacity = codes.shape[1], values.shape[1]
    size = tables.shape[1] * CODEWORDS
    table, step, start, code, term = pointer(tables), pointer(steps), pointer(starts), pointer(codes), pointer(terms)
    pair, value_of, bit, bound = pointer(pairs), pointer(coarse), pointer(alive), pointer(bounds)
    length, value, row, key = pointer(lengths), pointer(values), pointer(rows), pointer(keys)
    a, b = pointer(low), pointer(high)
    sums = int_registers(4)
    for label in range(list_offsets.shape[0] - 1):
        first_row, stop, block = list_offsets[label], list_offsets[label + 1], block_offsets[label]
        p, last = pair_offsets[label], pair_offsets[label + 1]
        while p < last:
            two = p + 1 < last
            one, other = pair[p] // n_probes, pair[min(p + 1, last - 1)] // n_probes
            base, other_base = value_of[pair[p]] + start[one], value_of[pair[min(p + 1, last - 1)]] + start[other]
            for r in range(0, stop - first_row, ROWS_AT_ONCE):
                left, right = codes_at(code, block, r, n_groups), codes_at(code, block, r + LANES, n_groups)
                if two:
                    code_tile(sums, left, right, table + one * size, table + other * size, n_groups, row)
                else:
                    code_tile_one(sums, left, right, table + one * size, n_groups, row)
                for half in range(2):
                    offer(sums[2 * half], term, step[one], base, first_row + r + half * LANES, stop, one, bit,
                          words_each, has_alive, bound, length, value, row, capacity, keep, key, a, b)  # fmt: skip
                    if two:
                        offer(sums[2 * half + 1], term, step[other], other_base, first_row + r + half * LANES, stop,
                              other, bit, words_each, has_alive, bound, length, value, row, capacity, keep, key, a,
                              b)  # fmt: skip
            p += 2


@entry
def pack_codes(path, codes, list_offsets, block_offsets, packed):
    """packed (n_blocks + 2, groups, 64), filled with zeros, from codes (n, m) uint8 below 16 in the order of rows."""
    n_sub = codes.shape[1]
    for label in range(list_offsets.shape[0] - 1):
        for row in range(list_offsets[label], list_offsets[label + 1]):
            r = row - list_offsets[label]
            block, lane = block_offsets[label] + r // BLOCK_ROWS, r % BLOCK_ROWS
            for m in range(n_sub):
                byte = lane * 4 + m % 4
                packed[block, m // IN_GROUP, byte] |= np.uint8(codes[row, m] << (4 * (m % IN_GROUP // 4)))
