"""Scanning the rows of inverted lists.

The surrogate of a row x for a query is `h - w (x.y)`, with y the converted query, and smaller is nearer: h is
|x - m|^2 / 2 for `l2` (the query less the center m is y, so that what all rows of a query have in common drops out), w
is 1 / |x| for `cosine`, and both are trivial for `ip`.

Lists are contiguous rows, as they are in memory: nothing is packed. A batch goes list by list, not query by query: all
queries that probe a list meet while it is in the cache, QUERIES_IN_GROUP of them at a time. A tile is LANES rows
against these. Every pair of row and query has a register of partial sums, which are folded together until one register
holds the sums of a query. One query alone reads memory from one end to the other, since that is what it waits for.
Either way a pair's sum has the same terms in the same order, so that the answer does not depend on what else is in the
batch.
"""

import numpy as np

from annlab.kernels.distance import COSINE
from annlab.kernels.inverted.candidates import CHUNK_ROWS, CHUNK_WIDTH, FIRST_BOUND, FRONT, offer
from annlab.kernels.inverted.one_query import begin, end, parts
from annlab.kernels.simd.folding import QUARTER, fold_first, fold_quarters, fold_rows, fold_second
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, float_registers, fma, load, load_first, pointer, prefetch, splat, store

QUERIES_IN_GROUP = 6 if LANES == 16 else 3  # 4 sums each, and a register: 30 of 32, or 15 of 16
PAIRS_IN_GROUP, PARTS_IN_GROUP = 4 * QUERIES_IN_GROUP, QUARTER * QUERIES_IN_GROUP
_AHEAD = 8192 // 4  # elements to ask for ahead of their use
AHEAD_OF_LIST = 4096  # bytes of the next list to ask for
_LINE = 16  # elements that arrive together
_ZERO = np.float32(0.0)


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


@kernel
def arrange(query, dim, out):
    """A query (dim,) in whole registers, the last one with its last coordinates, zeros in place of repeated ones."""
    whole = dim - dim % LANES
    for i in range(whole):
        out[i] = query[i]
    if whole < dim:
        start = max(0, dim - LANES)
        for lane in range(LANES):
            out[whole + lane] = query[start + lane] if whole <= start + lane < dim else _ZERO


@kernel
def gather(queries, dim, stride, pairs, n_probes, n, group):
    """Arrange the queries of n pairs one behind the other, up to whole groups."""
    for j in range(-(-n // QUERIES_IN_GROUP) * QUERIES_IN_GROUP):
        arrange(queries + pairs[min(j, n - 1)] // n_probes * dim, dim, group + j * stride)


@entry
def scan_lists(path, queries, vectors, halves, scales, metric, list_offsets, pair_offsets, pairs, n_probes, alive,
               words_each, has_alive, keep, keys, bounds, lengths, values, rows, group, found, low, high):  # fmt: skip
    """Offer the rows of every list to the queries that probe it.

    queries (q, dim) converted; vectors (n, dim), n >= LANES; halves (n,) h and scales (n,) w, read for cosine only; the
    rows of list l are list_offsets[l]..list_offsets[l + 1] - 1, and the pairs query * n_probes + rank that probe it
    pairs[pair_offsets[l]:pair_offsets[l + 1]]. Scratch: group (as many rows as a list has pairs, in whole groups,
    stride), found (as many, CHUNK_WIDTH). The rest as in `offer`.
    """
    dim, n, capacity, stride = vectors.shape[1], vectors.shape[0], values.shape[1], group.shape[1]
    y, x, half, scale = pointer(queries), pointer(vectors), pointer(halves), pointer(scales)
    pair, bit, bound, length = pointer(pairs), pointer(alive), pointer(bounds), pointer(lengths)
    value, row, key, a, b = pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high)
    member, out = pointer(group), pointer(found) + FRONT
    block, members = float_registers(PAIRS_IN_GROUP), float_registers(QUERIES_IN_GROUP)
    sums = float_registers(PARTS_IN_GROUP)
    for label in range(list_offsets.shape[0] - 1):
        p, n_pairs = pair + pair_offsets[label], pair_offsets[label + 1] - pair_offsets[label]
        if n_pairs == 0:
            continue
        gather(y, dim, stride, p, n_probes, n_pairs, member)
        n_groups = -(-n_pairs // QUERIES_IN_GROUP)
        share = -(-LANES * dim // (_LINE * n_groups)) * _LINE  # of the rows ahead, asked for by a tile
        for start in range(list_offsets[label], list_offsets[label + 1], CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, list_offsets[label + 1])
            for r in range(start, stop, LANES):
                s = min(r, n - LANES)  # the last tile may begin before the chunk
                ahead = x + s * dim + _AHEAD
                for g in range(n_groups):
                    for i in range(0, share, _LINE):
                        prefetch(ahead + i)
                    ahead += share
                    tile(block, members, sums, x + s * dim, member + g * QUERIES_IN_GROUP * stride, QUERIES_IN_GROUP,
                         dim, stride)  # fmt: skip
                    place = out + g * QUERIES_IN_GROUP * CHUNK_WIDTH + (s - start)
                    for j in range(QUERIES_IN_GROUP):
                        total = sums[j * QUARTER]
                        if metric == COSINE:
                            total = total * load(scale + s)
                        store(place + j * CHUNK_WIDTH, load(half + s) - total)
            for j in range(n_pairs):
                q = p[j] // n_probes
                lower, length[q] = offer(
                    out + j * CHUNK_WIDTH, stop - start, start, bit + q * words_each, has_alive, bound[q], length[q],
                    value + q * capacity, row + q * capacity, capacity, keep, key, a, b,
                )  # fmt: skip
                if lower < bound[q]:  # threads share the bounds, so write them seldom
                    bound[q] = lower


@entry
def search_lists_one(path, query, metric, center, scale, longest, panels, half_norms, list_offsets, n_probes, keep,
                     alive, has_alive, keys, vectors, floats, longs, rows, distances, ids, row_bytes, counters, points,
                     halves, scales):  # fmt: skip
    """The nearest vectors to one query, among the `keep` best rows of its lists: see `inverted/one_query.py`.

    points (n, dim): the rows as they are scanned, halves and scales as in `scan_lists`.
    Returns how many rows were kept.
    """
    dim, n, capacity, bit, key = points.shape[1], points.shape[0], rows.shape[0], pointer(alive), pointer(keys)
    x, half, scaling, row = pointer(points), pointer(halves), pointer(scales), pointer(rows)
    converted, probes, _, y, free = begin(query, metric, center, scale, longest, panels, half_norms,
                                          list_offsets.shape[0] - 1, n_probes, floats, longs)  # fmt: skip
    arrange(converted, dim, y)
    value, out, a, b = parts(free, capacity)
    block, sums = float_registers(LANES), float_registers(QUARTER)
    bound, length, looked_at = FIRST_BOUND, 0, 0
    for probe in range(n_probes):
        label, following = probes[probe], list_offsets[probes[min(probe + 1, n_probes - 1)]]
        for ahead in range(0, AHEAD_OF_LIST // 4, _LINE):
            prefetch(x + following * dim + ahead)
        looked_at += list_offsets[label + 1] - list_offsets[label]
        for start in range(list_offsets[label], list_offsets[label + 1], CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, list_offsets[label + 1])
            for r in range(start, stop, LANES):
                s = min(r, n - LANES)
                row_by_row(block, sums, x + s * dim, y, dim)
                total = sums[0]
                if metric == COSINE:
                    total = total * load(scaling + s)
                store(out + (s - start), load(half + s) - total)
            bound, length = offer(out, stop - start, start, bit, has_alive, bound, length, value, row, capacity, keep,
                                  key, a, b)  # fmt: skip
    return end(query, metric, vectors, keys, keep, list_offsets.shape[0] - 1, n_probes, longs, value, row, length, a, b,
               distances, ids, looked_at, row_bytes, counters)  # fmt: skip
