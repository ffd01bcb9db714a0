"""Searching inverted lists through 8-bit codes: `scan_lists` of `flat.py` with bytes in place of floats.

A row is low + step * code, coordinate by coordinate, so x.y = low.y + sum (step_i y_i) code_i. The first part is the
same for all rows of a query and drops out; step_i y_i is rounded to signed bytes in steps of t for each query, and the
surrogate is h - t (code.z): four multiplications in every int32 lane at once, and exact, from a quarter of the bytes.
"""

import numpy as np

from annlab.kernels.inverted.candidates import CHUNK_ROWS, CHUNK_WIDTH, FIRST_BOUND, FRONT, offer
from annlab.kernels.inverted.flat import PAIRS_IN_GROUP, PARTS_IN_GROUP, QUERIES_IN_GROUP
from annlab.kernels.inverted.one_query import begin, end, parts
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED, dot_bytes, ints_to_floats
from annlab.kernels.simd.folding import QUARTER, fold_first, fold_quarters, fold_rows, fold_second
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, int_registers, load, pointer, prefetch, splat, store

ROW_BYTES = 64  # codes of a row are padded to whole registers of the widest path
_AHEAD = 4096
_ZERO, _NOUGHT = np.int32(0), np.float32(0.0)


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
def quantize_query(query, dim, row_steps, out, stride):
    """out (stride,) int8: step_i y_i in steps of t, which is returned."""
    largest = _NOUGHT
    for i in range(dim):
        largest = max(largest, abs(query[i] * row_steps[i]))
    step = max(largest / np.float32(LARGEST_SIGNED), np.float32(1e-30))
    for i in range(stride):
        out[i] = np.int8(np.rint(query[i] * row_steps[i] / step)) if i < dim else np.int8(0)
    return step


@entry
def quantize_queries(path, queries, row_steps, out, steps):
    """`quantize_query` for all queries (q, dim): out (q, stride), steps (q,)."""
    dim, stride = queries.shape[1], out.shape[1]
    y, row_step, z = pointer(queries), pointer(row_steps), pointer(out)
    for i in range(queries.shape[0]):
        steps[i] = quantize_query(y + i * dim, dim, row_step, z + i * stride, stride)


@entry
def scan_byte_lists(path, queries, steps, codes, halves, list_offsets, pair_offsets, pairs, n_probes, alive, words_each,
                    has_alive, keep, keys, bounds, lengths, values, rows, group, found, low, high):  # fmt: skip
    """Offer the rows of every list, by their codes, to the queries that probe it.

    queries (q, stride) int8 in steps (q,); codes (n, stride) uint8, n >= LANES; halves (n,); the rest as in
    `scan_lists`.
    """
    n, stride, capacity = codes.shape[0], codes.shape[1], values.shape[1]
    z, step, x, half = pointer(queries), pointer(steps), pointer(codes), pointer(halves)
    pair, bit, bound, length = pointer(pairs), pointer(alive), pointer(bounds), pointer(lengths)
    value, row, key, a, b = pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high)
    member, out = pointer(group), pointer(found) + FRONT
    block, sums = int_registers(PAIRS_IN_GROUP), int_registers(PARTS_IN_GROUP)
    for label in range(list_offsets.shape[0] - 1):
        p, n_pairs = pair + pair_offsets[label], pair_offsets[label + 1] - pair_offsets[label]
        if n_pairs == 0:
            continue
        for j in range(-(-n_pairs // QUERIES_IN_GROUP) * QUERIES_IN_GROUP):
            own = z + p[min(j, n_pairs - 1)] // n_probes * stride
            for i in range(0, stride, REGISTER_BYTES):
                store(member + j * stride + i, load(own + i))
        for start in range(list_offsets[label], list_offsets[label + 1], CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, list_offsets[label + 1])
            for r in range(start, stop, LANES):
                s = min(r, n - LANES)
                for i in range(0, LANES * stride, 64):
                    prefetch(x + s * stride + i + _AHEAD)
                for g in range(0, n_pairs, QUERIES_IN_GROUP):
                    byte_tile(block, sums, x + s * stride, member + g * stride, QUERIES_IN_GROUP, stride)
                    for j in range(QUERIES_IN_GROUP):
                        own = splat(step[p[min(g + j, n_pairs - 1)] // n_probes])
                        store(out + (g + j) * CHUNK_WIDTH + (s - start),
                              load(half + s) - ints_to_floats(sums[j * QUARTER]) * own)  # fmt: skip
            for j in range(n_pairs):
                q = p[j] // n_probes
                lower, length[q] = offer(
                    out + j * CHUNK_WIDTH, stop - start, start, bit + q * words_each, has_alive, bound[q], length[q],
                    value + q * capacity, row + q * capacity, capacity, keep, key, a, b,
                )  # fmt: skip
                if lower < bound[q]:  # threads share the bounds, so write them seldom
                    bound[q] = lower


@entry
def search_byte_lists_one(path, query, metric, center, scale, longest, panels, half_norms, list_offsets, n_probes,
                          keep, alive, has_alive, keys, vectors, floats, longs, rows, distances, ids, row_bytes,
                          counters, row_steps, quantized, codes, halves):  # fmt: skip
    """`lists.search_lists_one` by codes; quantized (stride,) int8 is scratch."""
    n, stride, capacity, bit, key = codes.shape[0], codes.shape[1], rows.shape[0], pointer(alive), pointer(keys)
    z, x, half, row = pointer(quantized), pointer(codes), pointer(halves), pointer(rows)
    y, probes, _, _, free = begin(query, metric, center, scale, longest, panels, half_norms, list_offsets.shape[0] - 1,
                                  n_probes, floats, longs)  # fmt: skip
    step = quantize_query(y, row_steps.shape[0], pointer(row_steps), z, stride)
    value, out, a, b = parts(free, capacity)
    block, sums = int_registers(LANES), int_registers(QUARTER)
    bound, length, looked_at = FIRST_BOUND, 0, 0
    for probe in range(n_probes):
        label = probes[probe]
        looked_at += list_offsets[label + 1] - list_offsets[label]
        for start in range(list_offsets[label], list_offsets[label + 1], CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, list_offsets[label + 1])
            for r in range(start, stop, LANES):
                s = min(r, n - LANES)
                byte_row_by_row(block, sums, x + s * stride, z, stride)
                store(out + (s - start), load(half + s) - ints_to_floats(sums[0]) * splat(step))
            bound, length = offer(out, stop - start, start, bit, has_alive, bound, length, value, row, capacity, keep,
                                  key, a, b)  # fmt: skip
    return end(query, metric, vectors, keys, keep, list_offsets.shape[0] - 1, n_probes, longs, value, row, length, a, b,
               distances, ids, looked_at, row_bytes, counters)  # fmt: skip
