"""The tile: a block of registers in which some queries meet some rows, and how rows are packed for it.

The surrogate of a row x for a query q is `h(x) - q.x` with h = |x|^2 / 2 for `l2` and `cosine` (it grows with the
distance: |x - q|^2 / 2 is larger by |q|^2 / 2, the same for all rows) and 0 for `ip`. Surrogates of many rows and many
queries are a product of matrices, and are computed like one:

- rows are packed into *panels*: two registers of rows, transposed, so that one load takes the same coordinate of all
  of them (dim x PANEL_ROWS). They are centred, scaled and (for `cosine`) normalised in float64 before the result is
  rounded to float32, and h is computed.
- queries are packed in groups of QUERIES_IN_TILE (dim x QUERIES_IN_TILE), negated.
- a tile is a group against a panel: 2 x QUERIES_IN_TILE accumulators that start at h, and for every dimension two
  loads of rows, then one broadcast and two multiply-adds per query. The accumulators end as the surrogates.

Exact scans, k-means, hashing and inverted lists are made of this tile; each has its own way to use the surrogates.
"""

import numpy as np

from annlab.kernels.distance import COSINE, INNER_PRODUCT, inner_product, inverse_norm
from annlab.kernels.simd.byte_vectors import dot_bytes, splat_quad
from annlab.kernels.simd.lanes import to_floats, total, zip_high, zip_low
from annlab.kernels.simd.path import REGISTER_BYTES, inlined, kernel
from annlab.kernels.simd.registers import LANES, fma, load, load_first, splat, store

PANEL_ROWS = 2 * LANES
QUERIES_IN_TILE = 12 if REGISTER_BYTES == 64 else 6  # with two accumulators each: 24 of 32 registers, or 12 of 16
ACCUMULATORS = 2 * QUERIES_IN_TILE
_ROUNDS = LANES.bit_length() - 1
_HALF, _NOUGHT = np.float32(0.5), np.float32(0.0)


@kernel
def convert_row(x, dim, metric, center, scale, out):
    """out = (x - center) * scale in float32, x normalised first for cosine. Returns h(x), for the rounded row."""
    norm_scale = inverse_norm(x, dim) if metric == COSINE else 1.0
    for i in range(dim):
        out[i] = np.float32((x[i] * norm_scale - center[i]) * scale)
    if metric == INNER_PRODUCT:
        return 0.0
    h = 0.5 * inner_product(out, out, dim)
    # a zero vector is at cosine distance 1 from everything: half a square more than its packed form says
    return h + 0.5 * scale * scale if norm_scale == 0.0 else h


@kernel
def shift_row(x, dim, lanes, center, scale, out):
    """What `convert_row` does for l2 and ip, in registers of the type of x, which holds center and scale exactly.

    The difference is rounded once. Returns |out|^2 / 2, added up in float32.
    """
    squares, factor, i = splat(_NOUGHT), splat(scale), 0
    while i < dim:
        if i + lanes <= dim:
            value = (load(x + i) - load(center + i)) * factor
        else:
            value = (load_first(x + i, dim - i) - load_first(center + i, dim - i)) * factor
        store(out + i, to_floats(value))
        i += lanes
    for i in range(0, dim, LANES):
        value = load(out + i)
        squares = fma(value, value, squares)
    return _HALF * total(squares)


@inlined
def transpose(block, other):
    """Transpose LANES vectors of LANES elements: each round of perfect shuffles halves the distance of the columns."""
    for _ in range(_ROUNDS):
        for i in range(LANES):
            other[i] = block[i]
        for i in range(LANES // 2):
            block[2 * i] = zip_low(other[i], other[i + LANES // 2])
            block[2 * i + 1] = zip_high(other[i], other[i + LANES // 2])


@kernel
def pack_panel(block, other, rows, dim, stride, panel):
    """Transpose PANEL_ROWS converted rows (each `stride` elements long, zeros behind dim) into a panel."""
    for half in range(2):
        for i in range(0, dim, LANES):
            for lane in range(LANES):
                block[lane] = load(rows + (half * LANES + lane) * stride + i)
            transpose(block, other)
            for j in range(LANES):
                if i + j < dim:
                    store(panel + (i + j) * PANEL_ROWS + half * LANES, block[j])


@inlined
def float_tile(block, queries, panel, half_norms, dim):
    """block = surrogates of QUERIES_IN_TILE negated queries (dim x QUERIES_IN_TILE) for a panel of rows."""
    low, high = load(half_norms), load(half_norms + LANES)
    for j in range(QUERIES_IN_TILE):
        block[2 * j] = low
        block[2 * j + 1] = high
    for _ in range(dim):
        low, high = load(panel), load(panel + LANES)
        for j in range(QUERIES_IN_TILE):
            q = splat(queries[j])
            block[2 * j] = fma(q, low, block[2 * j])
            block[2 * j + 1] = fma(q, high, block[2 * j + 1])
        panel += PANEL_ROWS
        queries += QUERIES_IN_TILE


@inlined
def add_byte_products(block, queries, codes, quads, quad_bytes):
    """Add to a block the products of PANEL_ROWS rows of bytes with QUERIES_IN_TILE queries, four dimensions at a time.

    queries (quads, QUERIES_IN_TILE, 4) int8; codes (quads, quad_bytes / 4, 4) uint8, of which the first rows are taken.
    """
    for _ in range(quads):
        low, high = load(codes), load(codes + 4 * LANES)
        for j in range(QUERIES_IN_TILE):
            z = splat_quad(queries + 4 * j)
            block[2 * j] = dot_bytes(block[2 * j], low, z)
            block[2 * j + 1] = dot_bytes(block[2 * j + 1], high, z)
        codes += quad_bytes
        queries += 4 * QUERIES_IN_TILE
