"""From vectors to sign codes: on which side of random hyperplanes a vector lies, one bit each.

A vector is normalised (`cosine`), centred and scaled exactly as exact scans do it (`convert_row` in scan/batch.py),
lifted by one coordinate for `ip` (see `annlab/hashing/codes.py`), and multiplied with the hyperplanes, which are packed
in panels of PANEL_ROWS normals (dim x PANEL_ROWS). A tile of rows against a panel is the tile of an exact scan, with
hyperplanes in the place of rows: what comes out are projections, and one comparison with zero turns a register of them
into bits.

Every projection is a sum of fused multiply-adds in the order of the coordinates, whatever the path, the width of the
tile and the number of rows: a vector has the same code alone and in a batch, and on every machine. Matrix products of a
BLAS promise neither.

For every row the projections also give two numbers with which the distance to a query can be estimated from the row's
bits alone, see `annlab/hashing/codes.py`: h = |y|^2 / 2 and slope = |y|^2 / sum |projections|.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import inner_product
from annlab.kernels.simd.lanes import total
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import LANES, float_registers, fma, load, pointer, splat, store
from annlab.kernels.simd.words import absolute
from annlab.kernels.tile import ACCUMULATORS, PANEL_ROWS, QUERIES_IN_TILE, convert_row, float_tile

ROWS_IN_TILE = QUERIES_IN_TILE
PLANES = 3  # bits in which a query's projections are weighed
_ZERO = np.float32(0)


class Frame(NamedTuple):
    """What is done to a vector before it is hashed."""

    metric: int
    center: Any  # (dim,) float64
    scale: float
    reach: float  # the length that rows are lifted to, below 0 for no lift


class Codes(NamedTuple):
    """Codes of rows and the two numbers with which their distances are estimated."""

    bits: Any  # (n, words) uint64
    halves: Any  # (n,) float32
    slopes: Any  # (n,) float32


@kernel
def lifted_row(x, dim, metric, center, scale, reach, out):
    """Convert a row to y, with one more coordinate if reach >= 0: sqrt(reach^2 - |y|^2). Returns |y|^2 with it."""
    convert_row(x, dim, metric, center, scale, out)
    squared = inner_product(out, out, dim)
    if reach >= 0.0:
        rest = max(reach * reach - squared, 0.0)
        out[dim] = np.float32(math.sqrt(rest))
        squared += rest
    return squared


@kernel
def sign_bits(block, j, at, words):
    """The signs of accumulators 2j and 2j + 1 into a code, from bit `at` on, which is a multiple of PANEL_ROWS."""
    low, high = splat(_ZERO) < block[2 * j], splat(_ZERO) < block[2 * j + 1]
    words[at // 64] |= np.uint64(low | (high << LANES)) << np.uint64(at % 64)


@entry
def encode(path, vectors, frame: Frame, panels, space, codes: Codes):
    """Codes and estimation numbers of vectors (n, dim) into `codes`, whose bits come as zeros.

    panels (n_panels, width, PANEL_ROWS), where width is dim, or dim + 1 with a lift; space: see `encode_space`.
    """
    made, f = Codes(*codes), Frame(*frame)
    n, dim, n_words = vectors.shape[0], vectors.shape[1], made.bits.shape[1]
    n_panels, width = panels.shape[0], panels.shape[1]
    x, middle, normals, code = pointer(vectors), pointer(f.center), pointer(panels), pointer(made.bits)
    zero = pointer(space)
    norm_of = zero + PANEL_ROWS
    rows = norm_of + ROWS_IN_TILE * LANES
    out = rows + width * ROWS_IN_TILE
    block = float_registers(ACCUMULATORS)
    squared = np.empty(ROWS_IN_TILE)
    for start in range(0, n, ROWS_IN_TILE):
        n_rows = min(ROWS_IN_TILE, n - start)
        for j in range(n_rows):
            squared[j] = lifted_row(x + (start + j) * dim, dim, f.metric, middle, f.scale, f.reach, out)
            for i in range(width):
                rows[i * ROWS_IN_TILE + j] = out[i]
        for j in range(ROWS_IN_TILE):
            store(norm_of + j * LANES, splat(_ZERO))
        for p in range(n_panels):
            float_tile(block, rows, normals + p * width * PANEL_ROWS, zero, width)
            for j in range(ROWS_IN_TILE):
                both = absolute(block[2 * j]) + absolute(block[2 * j + 1])
                store(norm_of + j * LANES, load(norm_of + j * LANES) + both)
                if j < n_rows:
                    sign_bits(block, j, p * PANEL_ROWS, code + (start + j) * n_words)
        for j in range(n_rows):
            norm = total(load(norm_of + j * LANES))
            made.halves[start + j] = np.float32(0.5 * squared[j])
            made.slopes[start + j] = np.float32(squared[j]) / norm if norm > _ZERO else _ZERO


def encode_space(width):
    """Scratch of `encode`: zeros, sums of a tile's rows, the tile itself, and one converted row."""
    return np.zeros(PANEL_ROWS + ROWS_IN_TILE * LANES + width * ROWS_IN_TILE + width, np.float32)


@kernel
def weigh(projection, n_bits, n_words, planes, steps):
    """Quantize the absolute projections of a query to whole numbers of PLANES bits, the weights of its bits.

    planes (PLANES, words), of zeros: bit j of plane b is bit b of the weight of bit j. steps: twice the value of a
    weight of one, and the sum of all values. So the projections, added with the signs of another code, make
    steps[1] - steps[0] * (the weights of the bits in which it differs from the query's).
    """
    largest, added = _ZERO, 0
    for j in range(n_bits):
        largest = max(largest, abs(projection[j]))
    inverse = np.float32(2**PLANES - 1) / largest if largest > _ZERO else _ZERO
    for j in range(n_bits):
        value = abs(projection[j]) * inverse + np.float32(0.5)
        weight = np.int64(value) if value < np.float32(2**PLANES) else 2**PLANES - 1
        added += weight
        for b in range(PLANES):
            planes[b * n_words + j // 64] |= np.uint64((weight >> b) & 1) << np.uint64(j % 64)
    step = largest / np.float32(2**PLANES - 1)
    steps[0], steps[1] = np.float32(2) * step, step * np.float32(added)


@entry
def encode_queries(path, queries, metric, center, scale, panels, converted, words, numbers):
    """Codes and projections of queries (q, dim), one query at a time.

    panels: as above; converted (width,) is scratch, and a query's added coordinate is zero. words (q, (1 + PLANES) *
    n_words) uint64, of zeros, receives a query's code and then its planes; numbers (q, n_panels * PANEL_ROWS + 2)
    float32 its projections and then its steps, see `weigh`.
    """
    dim, n_panels, width, n_bits = queries.shape[1], panels.shape[0], panels.shape[1], numbers.shape[1] - 2
    n_words = words.shape[1] // (1 + PLANES)
    q, middle, out, code, projection, normals = (pointer(queries), pointer(center), pointer(converted), pointer(words),
                                                 pointer(numbers), pointer(panels))  # fmt: skip
    block = float_registers(2)
    for _ in range(queries.shape[0]):
        convert_row(q, dim, metric, middle, scale, out)
        if width > dim:
            out[dim] = _ZERO
        for p in range(n_panels):
            panel = normals + p * width * PANEL_ROWS
            low, high = splat(_ZERO), splat(_ZERO)
            for i in range(width):
                value = splat(out[i])
                low, high = fma(value, load(panel), low), fma(value, load(panel + LANES), high)
                panel += PANEL_ROWS
            block[0] = low
            block[1] = high
            store(projection + p * PANEL_ROWS, low)
            store(projection + p * PANEL_ROWS + LANES, high)
            sign_bits(block, 0, p * PANEL_ROWS, code)
        weigh(projection, n_bits, n_words, code + n_words, projection + n_bits)
        q, code, projection = q + dim, code + words.shape[1], projection + numbers.shape[1]


@entry
def interleave(path, codes, start, blocks):
    """Put codes (m, words) into blocks (n_blocks, words, 8) as rows start, start + 1, ...; see hashing/hamming.py."""
    for i in range(codes.shape[0]):
        row = start + i
        for word in range(codes.shape[1]):
            blocks[row // 8, word, row % 8] = codes[i, word]
