"""Searching inverted lists: which lists a query probes, and the rows of these lists.

The surrogate of a row x for a query is `h - w (x.y)`, with y the converted query, and smaller is nearer: h is
|x - m|^2 / 2 for `l2` (the query less the center m is y, so that what all rows of a query have in common drops out), w
is 1 / |x| for `cosine`, and both are trivial for `ip`.

Lists are contiguous rows, as they are in memory: nothing is packed. A batch goes list by list, not query by query: all
queries that probe a list meet while it is in the cache, QUERIES_IN_GROUP of them at a time. A tile is four rows against
these, LANES sums in all, one register each; a butterfly of LANES - 1 additions then turns the LANES registers of
partial sums into one register of sums. For one query alone a tile is LANES rows. Either way a pair's sum has the same
terms in the same order, so that the answer does not depend on what else is in the batch.

Rows that pass a query's bound are appended to its buffer, as in `kernels/topk.py`; what is kept are the `keep` smallest
by (surrogate, key), in whatever order they come.
"""

import numpy as np

from annlab.kernels.distance import COSINE
from annlab.kernels.kmeans import pack_group
from annlab.kernels.path import entry, inlined, kernel
from annlab.kernels.scan import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, float_tile
from annlab.kernels.simd import (
    LANES,
    first,
    float_registers,
    fma,
    load,
    load_first,
    load_repeated,
    pointer,
    prefetch,
    splat,
    store,
    zip_high,
    zip_low,
)
from annlab.kernels.topk import append, keep_at_most, kth_smallest, push, sort_heap

ROWS_IN_TILE = 4
QUERIES_IN_GROUP = LANES // ROWS_IN_TILE
_AHEAD = 8192 // 4  # elements to ask for ahead of their use, with one query
PANELS_AT_ONCE = 4  # of centroids, for one query: as many chains of additions as hide their latency
_ROUNDS = LANES.bit_length() - 1
_ZERO, _INFINITY, _LARGEST = np.float32(0.0), np.float32(np.inf), np.finfo(np.float32).max
_EVERY_QUERY = sum(1 << (ROWS_IN_TILE * j) for j in range(QUERIES_IN_GROUP))  # spreads a mask of rows to all queries


# ---- the lists to probe --------------------------------------------------------------------------------------------


@kernel
def centroid_surrogates_one(query, panels, half_norms, n_panels, dim, block, out):
    """|c|^2/2 - c.y of one query, in the order of additions of `float_tile`."""
    for p in range(0, n_panels, PANELS_AT_ONCE):
        start = max(0, min(p, n_panels - PANELS_AT_ONCE))
        n = min(PANELS_AT_ONCE, n_panels)
        for j in range(2 * PANELS_AT_ONCE):
            block[j] = load(half_norms + (start + min(j // 2, n - 1)) * PANEL_ROWS + (j % 2) * LANES)
        panel = panels + start * PANEL_ROWS * dim
        second, third = min(1, n - 1) * PANEL_ROWS * dim, min(2, n - 1) * PANEL_ROWS * dim
        fourth = min(3, n - 1) * PANEL_ROWS * dim
        for i in range(dim):
            q = splat(-query[i])
            block[0] = fma(q, load(panel), block[0])
            block[1] = fma(q, load(panel + LANES), block[1])
            block[2] = fma(q, load(panel + second), block[2])
            block[3] = fma(q, load(panel + second + LANES), block[3])
            block[4] = fma(q, load(panel + third), block[4])
            block[5] = fma(q, load(panel + third + LANES), block[5])
            block[6] = fma(q, load(panel + fourth), block[6])
            block[7] = fma(q, load(panel + fourth + LANES), block[7])
            panel += PANEL_ROWS
        for j in range(2 * n):
            store(out + start * PANEL_ROWS + j * LANES, block[j])


@kernel
def smallest(surrogates, length, n, low, high, values, places):
    """The n smallest of `length` surrogates by (value, place), nearest first."""
    bound = splat(kth_smallest(surrogates, length, n, low, high))
    size = 0
    for i in range(0, length, LANES):
        mask = (load(surrogates + i) <= bound) & ((1 << min(LANES, length - i)) - 1)
        while mask != 0:
            place = i + first(mask)
            size = push(values, places, size, n, surrogates[place], place)
            mask &= mask - 1
    sort_heap(values, places, size)


@entry
def find_probes(path, queries, panels, half_norms, n_lists, packed, surrogates, low, high, values, probes):
    """probes (q, n_probes) int64: the nearest lists of every query, nearest first, and their surrogates in values.

    queries (q, dim) converted; packed (dim, QUERIES_IN_TILE), surrogates (QUERIES_IN_TILE, n_panels * PANEL_ROWS), low
    and high (as long, + 2 LANES) are scratch.
    """
    dim, n_panels, n_probes = queries.shape[1], panels.shape[0], probes.shape[1]
    y, panel, half, group = pointer(queries), pointer(panels), pointer(half_norms), pointer(packed)
    out, a, b = pointer(surrogates), pointer(low), pointer(high)
    value, probe = pointer(values), pointer(probes)
    width = n_panels * PANEL_ROWS
    block = float_registers(ACCUMULATORS)
    for start in range(0, queries.shape[0], QUERIES_IN_TILE):
        n = min(QUERIES_IN_TILE, queries.shape[0] - start)
        if n <= 2:
            for j in range(n):
                centroid_surrogates_one(y + (start + j) * dim, panel, half, n_panels, dim, block, out + j * width)
        else:
            pack_group(y + start * dim, dim, n, group)
            for p in range(n_panels):
                float_tile(block, group, panel + p * dim * PANEL_ROWS, half + p * PANEL_ROWS, dim)
                for j in range(QUERIES_IN_TILE):
                    store(out + j * width + p * PANEL_ROWS, block[2 * j])
                    store(out + j * width + p * PANEL_ROWS + LANES, block[2 * j + 1])
        for j in range(n):
            place = (start + j) * n_probes
            smallest(out + j * width, n_lists, n_probes, a, b, value + place, probe + place)


# ---- buffers -------------------------------------------------------------------------------------------------------


@kernel
def shrink(values, rows, length, keep, keys, low, high):
    """Keep the `keep` smallest entries of a buffer by (value, key); returns their number and the largest value."""
    if length <= keep:
        return length, _LARGEST
    bound = kth_smallest(values, length, keep, low, high)
    length = keep_at_most(values, rows, length, bound)
    while length > keep:  # of the entries at the bound the one with the largest key has to go
        worst = -1
        for i in range(length):
            if values[i] == bound and (worst < 0 or keys[rows[i]] > keys[rows[worst]]):
                worst = i
        length -= 1
        values[worst], rows[worst] = values[length], rows[length]
    return length, bound


@inlined
def is_alive(alive, row):
    """Whether the bit of a row is set."""
    return (alive[row // 64] >> np.uint64(row % 64)) & np.uint64(1) != 0


# ---- the rows of the lists -----------------------------------------------------------------------------------------


@inlined
def add_up(block):
    """Add up every register of the block: lane i of the result is the sum of register i, halves folded together."""
    half = LANES
    for _ in range(_ROUNDS):
        half //= 2
        for i in range(half):
            block[i] = zip_low(block[i], block[i + half]) + zip_high(block[i], block[i + half])
    return block[0]


@inlined
def tile(block, x, queries, dim, stride):
    """Sums x_r.y_j of four rows and a group of queries (`stride` elements apart, zeros behind dim), lane 4 j + r."""
    for j in range(LANES):
        block[j] = splat(_ZERO)
    i = 0
    while i + LANES <= dim:
        a, b, c, d = load(x + i), load(x + dim + i), load(x + 2 * dim + i), load(x + 3 * dim + i)
        for row in range(ROWS_IN_TILE):
            prefetch(x + row * dim + i + _AHEAD)
        for j in range(QUERIES_IN_GROUP):
            y = load(queries + j * stride + i)
            block[4 * j] = fma(a, y, block[4 * j])
            block[4 * j + 1] = fma(b, y, block[4 * j + 1])
            block[4 * j + 2] = fma(c, y, block[4 * j + 2])
            block[4 * j + 3] = fma(d, y, block[4 * j + 3])
        i += LANES
    if i < dim:
        a, b = load_first(x + i, dim - i), load_first(x + dim + i, dim - i)
        c, d = load_first(x + 2 * dim + i, dim - i), load_first(x + 3 * dim + i, dim - i)
        for j in range(QUERIES_IN_GROUP):
            y = load(queries + j * stride + i)
            block[4 * j] = fma(a, y, block[4 * j])
            block[4 * j + 1] = fma(b, y, block[4 * j + 1])
            block[4 * j + 2] = fma(c, y, block[4 * j + 2])
            block[4 * j + 3] = fma(d, y, block[4 * j + 3])
    return add_up(block)


@inlined
def tall_tile(block, x, query, dim):
    """Sums x_r.y of LANES rows and one query, each with the terms and the order that `tile` gives it."""
    for r in range(0, LANES, ROWS_IN_TILE):
        e, f, g, h = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        i = 0
        while i + LANES <= dim:
            y = load(query + i)
            e, f = fma(load(x + i), y, e), fma(load(x + dim + i), y, f)
            g, h = fma(load(x + 2 * dim + i), y, g), fma(load(x + 3 * dim + i), y, h)
            for row in range(ROWS_IN_TILE):
                prefetch(x + row * dim + i + _AHEAD)
            i += LANES
        if i < dim:
            y = load(query + i)
            e, f = fma(load_first(x + i, dim - i), y, e), fma(load_first(x + dim + i, dim - i), y, f)
            g = fma(load_first(x + 2 * dim + i, dim - i), y, g)
            h = fma(load_first(x + 3 * dim + i, dim - i), y, h)
        block[r], block[r + 1], block[r + 2], block[r + 3] = e, f, g, h
        x += ROWS_IN_TILE * dim
    return add_up(block)


@kernel
def gather_group(queries, dim, stride, pairs, n_probes, n, bounds, group, group_bounds):
    """Copy the queries of some (query, probe) pairs one behind the other, and their bounds, four times each."""
    for j in range(QUERIES_IN_GROUP):
        bound = -_INFINITY
        if j < n:
            query = pairs[j] // n_probes
            bound = bounds[query]
            for i in range(dim):
                group[j * stride + i] = queries[query * dim + i]
        for r in range(ROWS_IN_TILE):
            group_bounds[ROWS_IN_TILE * j + r] = bound


@kernel
def take(mask, found, row, pairs, n_probes, bounds, lengths, values, rows, capacity, keep, keys, low, high,
         group_bounds):  # fmt: skip
    """Append the lanes of a tile's mask, four for each query, to the queries' buffers."""
    while mask != 0:
        lane = first(mask)
        mask &= mask - 1
        query = pairs[lane // ROWS_IN_TILE] // n_probes
        here = row + lane % ROWS_IN_TILE
        length = lengths[query]
        value, number = values + query * capacity, rows + query * capacity
        value[length], number[length] = found[lane], here
        length += 1
        if length == capacity - LANES:
            length, bounds[query] = shrink(value, number, length, keep, keys, low, high)
            for r in range(ROWS_IN_TILE):
                group_bounds[lane - lane % ROWS_IN_TILE + r] = bounds[query]
        lengths[query] = length


@entry
def scan_lists(path, queries, vectors, halves, scales, metric, list_offsets, pair_offsets, pairs, n_probes, alive,
               words_each, has_alive, keep, keys, bounds, lengths, values, rows, group, group_bounds, found, low,
               high):  # fmt: skip
    """Offer the rows of every list to the queries that probe it.

    queries (q, dim) converted; vectors (n, dim), n >= ROWS_IN_TILE; halves (n,) h and scales (n,) w, read for cosine
    only; the rows of list l are list_offsets[l]..list_offsets[l + 1] - 1, and the pairs query * n_probes + rank that
    probe it pairs[pair_offsets[l]:pair_offsets[l + 1]]. alive: bits of rows, words_each apart for every query (0: one
    set for all). Per query: bounds, lengths, values and rows (q, capacity). The rest is scratch.
    """
    dim, n, capacity = vectors.shape[1], vectors.shape[0], values.shape[1]
    stride = group.shape[1]
    y, x, half, scale = pointer(queries), pointer(vectors), pointer(halves), pointer(scales)
    pair, bit, bound, length = pointer(pairs), pointer(alive), pointer(bounds), pointer(lengths)
    value, row, key, a, b = pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high)
    members, limits, hits = pointer(group), pointer(group_bounds), pointer(found)
    block = float_registers(LANES)
    for label in range(list_offsets.shape[0] - 1):
        start, stop = list_offsets[label], list_offsets[label + 1]
        for p in range(pair_offsets[label], pair_offsets[label + 1], QUERIES_IN_GROUP):
            size = min(QUERIES_IN_GROUP, pair_offsets[label + 1] - p)
            gather_group(y, dim, stride, pair + p, n_probes, size, bound, members, limits)
            for r in range(start, stop, ROWS_IN_TILE):
                s = min(r, n - ROWS_IN_TILE)
                valid = ((1 << min(ROWS_IN_TILE, stop - s)) - 1) & ~((1 << (r - s)) - 1)
                sums = tile(block, x + s * dim, members, dim, stride)
                if metric == COSINE:
                    sums = sums * load_repeated(scale + s)
                sums = load_repeated(half + s) - sums
                mask = (sums <= load(limits)) & (valid * _EVERY_QUERY)
                if mask != 0:
                    store(hits, sums)
                    if has_alive:
                        mask = living(mask, s, pair + p, n_probes, bit, words_each)
                    take(mask, hits, s, pair + p, n_probes, bound, length, value, row, capacity, keep, key, a, b,
                         limits)  # fmt: skip


@kernel
def living(mask, row, pairs, n_probes, alive, words_each):
    """The lanes of a tile's mask whose row is alive for its query."""
    result = mask
    while mask != 0:
        lane = first(mask)
        mask &= mask - 1
        query = pairs[lane // ROWS_IN_TILE] // n_probes
        if not is_alive(alive + query * words_each, row + lane % ROWS_IN_TILE):
            result ^= 1 << lane
    return result


@kernel
def living_rows(mask, row, alive):
    """The lanes of a mask over the rows from `row` on that are alive."""
    result = mask
    while mask != 0:
        lane = first(mask)
        mask &= mask - 1
        if not is_alive(alive, row + lane):
            result ^= 1 << lane
    return result


@entry
def scan_lists_one(path, query, vectors, halves, scales, metric, list_offsets, probes, alive, has_alive, keep, keys,
                   bound, values, rows, low, high):  # fmt: skip
    """Offer the rows of the probed lists (p,) to one query (padded to whole registers with zeros); returns how many
    the buffers hold. Arguments as in `scan_lists`; n >= LANES; the buffers hold 2 LANES more than they are filled."""
    dim, n, capacity = vectors.shape[1], vectors.shape[0], values.shape[0]
    y, x, half, scale = pointer(query), pointer(vectors), pointer(halves), pointer(scales)
    bit, value, row, key, a, b = (
        pointer(alive), pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high),
    )  # fmt: skip
    block = float_registers(LANES)
    length = 0
    for probe in range(probes.shape[0]):
        start, stop = list_offsets[probes[probe]], list_offsets[probes[probe] + 1]
        for r in range(start, stop, LANES):
            s = min(r, n - LANES)
            valid = ((1 << min(LANES, stop - s)) - 1) & ~((1 << (r - s)) - 1)
            sums = tall_tile(block, x + s * dim, y, dim)
            if metric == COSINE:
                sums = sums * load(scale + s)
            sums = load(half + s) - sums
            mask = (sums <= splat(bound)) & valid
            if mask != 0:
                if has_alive:
                    mask = living_rows(mask, s, bit)
                length = append(value, row, length, sums, s, mask)
                if length > capacity - 2 * LANES:
                    length, bound = shrink(value, row, length, keep, key, a, b)
    return length


@entry
def finish(path, lengths, values, rows, keep, keys, low, high, result):
    """result (q, keep): the rows of the `keep` best entries of every buffer, -1 where there are fewer."""
    capacity = values.shape[1]
    value, row, key, a, b = pointer(values), pointer(rows), pointer(keys), pointer(low), pointer(high)
    for query in range(lengths.shape[0]):
        place = query * capacity
        length, _ = shrink(value + place, row + place, lengths[query], keep, key, a, b)
        lengths[query] = length
        for i in range(keep):
            result[query, i] = row[place + i] if i < length else -1
