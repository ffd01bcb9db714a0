"""Scanning many queries against all rows: register-blocked tiles that never write the distance matrix.

Rows are packed into panels, a block at a time, queries into groups, and every group meets every panel in a tile of
registers that ends with the surrogates of its rows (`kernels/tile.py`). One comparison with the query's bound follows,
and only what passes is stored (`kernels/topk.py`).

A block of panels stays in the second-level cache while all groups of queries pass it, so the vectors are read from
memory once per call. Why a rounded surrogate cannot lose a neighbour is derived in `annlab/scan/scanner.py`.
"""

import numpy as np

from annlab.kernels.distance import COSINE, L2, inner_product
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import (
    LANES,
    float_registers,
    load,
    pointer,
    splat,
    store,
)
from annlab.kernels.tile import (
    ACCUMULATORS,
    PANEL_ROWS,
    QUERIES_IN_TILE,
    convert_row,
    float_tile,
    pack_panel,
    shift_row,
)
from annlab.kernels.topk import PADDING, append, keep_at_most, kth_smallest

ROOM = PANEL_ROWS + PADDING  # at the end of a buffer: for a tile's hits, and for what compressed stores write behind
BLOCK_BYTES = 256 * 1024  # of panels: they have to stay in the second-level cache
OVERFLOWED = -1  # the length of a buffer in which more rows are tied (within rounding) than it holds
_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)
_LARGEST = np.finfo(np.float32).max  # the first bound: padding rows, whose surrogate is infinite, do not pass it


@kernel
def tighten(values, rows, length, k, slack, slack_slope, low, high):
    """Drop from a full buffer what cannot be among the k nearest; returns its length and the new bound."""
    kth = kth_smallest(values, length, k, low, high)
    bound = np.nextafter(np.float32(kth + slack + slack_slope * abs(kth)), _INFINITY)
    bound = min(bound, _LARGEST)  # never infinite: padding rows are, and must not pass
    return keep_at_most(values, rows, length, bound), bound


@kernel
def next_trigger(trigger, length, capacity):
    """When to tighten next: often, as long as it frees most of the buffer, since a low bound is what saves work."""
    return min(max(trigger, 2 * length), capacity - ROOM)


@kernel
def collect(surrogates, n_queries, row, alive, n_words, bounds, lengths, values, rows, capacity, k, triggers, slacks,
            slopes, low, high):  # fmt: skip
    """Append what passes the bounds of a tile's queries (its surrogates lie in memory, PANEL_ROWS a query).

    `row` is the panel's first row; `alive` holds n_words words per query where every query has its own filter.
    """
    for j in range(n_queries):
        bound, length = splat(bounds[j]), lengths[j]
        for half in range(2):
            value = load(surrogates + j * PANEL_ROWS + half * LANES)
            mask = value <= bound
            if n_words > 0 and mask != 0:
                place = row + half * LANES
                mask &= np.int64(alive[j * n_words + place // 64]) >> (place % 64)
            if mask != 0:
                length = append(values, rows, length, value, row + half * LANES, mask)
        if length > triggers[j]:
            length, bounds[j] = tighten(values, rows, length, k, slacks[j], slopes[j], low, high)
            triggers[j] = next_trigger(triggers[j], length, capacity)
            if length > capacity - ROOM:
                length, bounds[j] = OVERFLOWED, -_INFINITY
        lengths[j] = length
        values, rows = values + capacity, rows + capacity


@entry
def pack_queries(path, queries, metric, center, scale, converted, packed, squared_norms):
    """Convert queries (q, dim) as rows are converted, and pack them in groups of negated queries.

    packed (groups, dim, QUERIES_IN_TILE) comes filled with zeros; squared_norms (q,) receives |converted query|^2.
    """
    dim = queries.shape[1]
    q, out, middle = pointer(queries), pointer(converted), pointer(center)
    for i in range(queries.shape[0]):
        convert_row(q + i * dim, dim, metric, middle, scale, out)
        squared_norms[i] = inner_product(out, out, dim)
        for j in range(dim):
            packed[i // QUERIES_IN_TILE, j, i % QUERIES_IN_TILE] = -converted[j]


@kernel
def pack_block(block, other, vectors, row_numbers, n_numbers, start, stop, dim, stride, metric, center, scale,
               own_center, own_scale, lanes, converted, panels, half_norms):  # fmt: skip
    """Pack the rows start..stop-1 (through row_numbers where there are any) into panels; returns their number.

    own_center and own_scale are center and scale in the type of the vectors; own_scale 0 says that they do not fit.
    """
    n_panels = (stop - start + PANEL_ROWS - 1) // PANEL_ROWS
    for p in range(n_panels):
        for lane in range(PANEL_ROWS):
            place = start + p * PANEL_ROWS + lane
            if place < stop:
                row = row_numbers[place] if n_numbers > 0 else place
                x, out = vectors + row * dim, converted + lane * stride
                if metric == COSINE or own_scale == 0:
                    half_norms[p * PANEL_ROWS + lane] = convert_row(x, dim, metric, center, scale, out)
                else:
                    h = shift_row(x, dim, lanes, own_center, own_scale, out)
                    half_norms[p * PANEL_ROWS + lane] = h if metric == L2 else _ZERO
            else:  # the row of whatever was here before, at an infinite distance
                half_norms[p * PANEL_ROWS + lane] = _INFINITY
        pack_panel(block, other, converted, dim, stride, panels + p * PANEL_ROWS * dim)
    return n_panels


@entry
def scan_batch(path, packed, n_queries, vectors, row_numbers, start, stop, metric, center, scale, own_center, alive, k,
               triggers, slacks, slopes, bounds, lengths, values, rows, converted, panels, half_norms, surrogates,
               low, high):  # fmt: skip
    """Offer the rows start..stop-1 to every query; afterwards its buffer holds all that can be among its k nearest.

    packed (groups, dim, QUERIES_IN_TILE); vectors (n, dim); row_numbers (m,) int32: scan these rows only, or empty:
    scan the rows themselves; own_center (dim,) is center in the type of the vectors, or empty; alive (q, words) bits of
    the rows that a query may have, or (q, 0). Per query (padded to whole groups): triggers int64 (the length at which a
    buffer is tightened), slacks and slopes float64, bounds float32, lengths int64, values float32 and rows int32
    (queries, capacity); rows are positions in row_numbers where that is given. The rest is scratch: see `Scanner`.
    """
    dim, capacity, stride = vectors.shape[1], values.shape[1], converted.shape[1]
    n_words, n_numbers = alive.shape[1], row_numbers.shape[0]
    block_rows = panels.shape[0] * PANEL_ROWS
    queries, vector, number, middle = pointer(packed), pointer(vectors), pointer(row_numbers), pointer(center)
    row_buffer, panel, half = pointer(converted), pointer(panels), pointer(half_norms)
    surrogate, trigger, own = pointer(surrogates), pointer(triggers), pointer(own_center)
    lanes, own_scale = LANES * 4 // vectors.itemsize, own_center.dtype.type(scale if own_center.shape[0] > 0 else 0.0)
    bit, slack, slope, bound = pointer(alive), pointer(slacks), pointer(slopes), pointer(bounds)
    length, value, row, a, b = pointer(lengths), pointer(values), pointer(rows), pointer(low), pointer(high)
    block = float_registers(ACCUMULATORS)
    square, other = float_registers(LANES), float_registers(LANES)
    for first_row in range(start, stop, block_rows):
        last_row = min(first_row + block_rows, stop)
        n_panels = pack_block(square, other, vector, number, n_numbers, first_row, last_row, dim, stride, metric,
                              middle, scale, own, own_scale, lanes, row_buffer, panel, half)  # fmt: skip
        for q in range(0, n_queries, QUERIES_IN_TILE):
            for p in range(n_panels):
                float_tile(block, queries + q * dim, panel + p * dim * PANEL_ROWS, half + p * PANEL_ROWS, dim)
                passed = 0
                for j in range(QUERIES_IN_TILE):
                    limit = splat(bound[q + j])
                    passed |= (block[2 * j] <= limit) | (block[2 * j + 1] <= limit)
                if passed != 0:
                    for j in range(ACCUMULATORS):
                        store(surrogate + j * LANES, block[j])
                    collect(surrogate, min(QUERIES_IN_TILE, n_queries - q), first_row + p * PANEL_ROWS,
                            bit + q * n_words, n_words, bound + q, length + q, value + q * capacity,
                            row + q * capacity, capacity, k, trigger + q, slack + q, slope + q, a,
                            b)  # fmt: skip
