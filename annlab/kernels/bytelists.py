"""Searching inverted lists through 8-bit codes: `scan_lists` of `kernels/lists.py` with bytes in place of floats.

A row is low + step * code, coordinate by coordinate, so x.y = low.y + sum (step_i y_i) code_i. The first part is the
same for all rows of a query and drops out; step_i y_i is rounded to signed bytes in steps of t for each query, and the
surrogate is h - t (code.z): four multiplications in every int32 lane at once, and exact, from a quarter of the bytes.
"""

from annlab.kernels.lists import QUERIES_IN_GROUP, ROWS_IN_TILE, add_up, gather_group, living, take
from annlab.kernels.path import REGISTER_BYTES, entry, inlined
from annlab.kernels.simd import LANES, int_registers, load, load_repeated, pointer, prefetch, ramp, store
from annlab.kernels.simd_bytes import dot_bytes, ints_to_floats

ROW_BYTES = 64  # codes of a row are padded to whole registers of the widest path
_AHEAD = 4096
_EVERY_QUERY = sum(1 << (ROWS_IN_TILE * j) for j in range(QUERIES_IN_GROUP))


@inlined
def byte_tile(block, x, queries, stride):
    """Sums code_r.z_j of four rows and a group of queries, both `stride` bytes apart, lane 4 j + r."""
    zero = ramp(0) ^ ramp(0)
    for j in range(LANES):
        block[j] = zero
    for i in range(0, stride, REGISTER_BYTES):
        a, b = load(x + i), load(x + stride + i)
        c, d = load(x + 2 * stride + i), load(x + 3 * stride + i)
        for row in range(ROWS_IN_TILE):
            prefetch(x + row * stride + i + _AHEAD)
        for j in range(QUERIES_IN_GROUP):
            z = load(queries + j * stride + i)
            block[4 * j] = dot_bytes(block[4 * j], a, z)
            block[4 * j + 1] = dot_bytes(block[4 * j + 1], b, z)
            block[4 * j + 2] = dot_bytes(block[4 * j + 2], c, z)
            block[4 * j + 3] = dot_bytes(block[4 * j + 3], d, z)
    return add_up(block)


@entry
def scan_byte_lists(path, queries, steps, codes, halves, list_offsets, pair_offsets, pairs, n_probes, alive, words_each,
                    has_alive, keep, keys, bounds, lengths, values, rows, group, group_bounds, group_steps, found, low,
                    high):  # fmt: skip
    """Offer the rows of every list, by their codes, to the queries that probe it.

    queries (q, stride) int8 in steps (q,); codes (n, stride) uint8, n >= ROWS_IN_TILE; halves (n,); the rest as in
    `scan_lists`.
    """
    n, stride, capacity = codes.shape[0], codes.shape[1], values.shape[1]
    z, step, x, half = pointer(queries), pointer(steps), pointer(codes), pointer(halves)
    pair, bit, bound, length = pointer(pairs), pointer(alive), pointer(bounds), pointer(lengths)
    value, row, key, a, b = pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high)
    members, limits, hits, own = pointer(group), pointer(group_bounds), pointer(found), pointer(group_steps)
    block = int_registers(LANES)
    for label in range(list_offsets.shape[0] - 1):
        start, stop = list_offsets[label], list_offsets[label + 1]
        for p in range(pair_offsets[label], pair_offsets[label + 1], QUERIES_IN_GROUP):
            size = min(QUERIES_IN_GROUP, pair_offsets[label + 1] - p)
            gather_group(z, stride, stride, pair + p, n_probes, size, bound, members, limits)
            for lane in range(ROWS_IN_TILE * size):
                own[lane] = step[pair[p + lane // ROWS_IN_TILE] // n_probes]
            for r in range(start, stop, ROWS_IN_TILE):
                s = min(r, n - ROWS_IN_TILE)
                valid = ((1 << min(ROWS_IN_TILE, stop - s)) - 1) & ~((1 << (r - s)) - 1)
                sums = byte_tile(block, x + s * stride, members, stride)
                value_of = load_repeated(half + s) - ints_to_floats(sums) * load(own)
                mask = (value_of <= load(limits)) & (valid * _EVERY_QUERY)
                if mask != 0:
                    store(hits, value_of)
                    if has_alive:
                        mask = living(mask, s, pair + p, n_probes, bit, words_each)
                    take(mask, hits, s, pair + p, n_probes, bound, length, value, row, capacity, keep, key, a, b,
                         limits)  # fmt: skip
