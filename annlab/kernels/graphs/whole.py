"""Rows as whole numbers in bytes: what graphs are built on.

A row x becomes y = rint((x - center) / step), at most `largest` in magnitude, and is stored as y + 128. Sums of
products of whole numbers are exact in int32, so a squared distance has the same bits whatever the order of additions,
the leaf that two rows meet in, or the thread: this makes a graph the same for any number of threads, ties included.

`dot_bytes` multiplies unsigned bytes with signed ones: a stored row with another one less 128. So

    |y - z|^2  =  |y|^2 + |z|^2 - 2 [ (y + 128).z - 128 sum(z) ]
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.simd.byte_vectors import dot_bytes
from annlab.kernels.simd.folding import fold_rows
from annlab.kernels.simd.path import REGISTER_BYTES, entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, int_registers, load, splat, store

MIDDLE = 128


class Rows(NamedTuple):
    """Whole numbers of n rows. `stride` is a multiple of 64; bytes behind `dim` hold the middle, which is zero."""

    codes: Any  # (n, stride) uint8
    norms: Any  # (n,) int32: |y|^2
    sums: Any  # (n,) int32: the sum of y
    dim: int
    stride: int


@entry
def quantize(path, vectors, start, stop, center, inverse, largest, codes, norms, sums):
    """Rows start..stop-1 of vectors (n, dim) float32 as whole numbers; center (dim,) float64, inverse: 1 / step."""
    dim = vectors.shape[1]
    for i in range(start, stop):
        norm, total = 0, 0
        for j in range(dim):
            y = np.int32(min(largest, max(-largest, np.rint((vectors[i, j] - center[j]) * inverse))))
            codes[i, j] = np.uint8(y + MIDDLE)
            norm += y * y
            total += y
        for j in range(dim, codes.shape[1]):
            codes[i, j] = np.uint8(MIDDLE)
        norms[i], sums[i] = np.int32(norm), np.int32(total)


@kernel
def signed(code, stride, out):
    """A row's bytes less 128, to be multiplied with stored rows."""
    flip = splat(np.uint8(MIDDLE))
    for t in range(0, stride, REGISTER_BYTES):
        store(out + t, load(code + t) ^ flip)


@inlined
def _row_products(code, own, stride):
    sums = splat(np.int32(0))
    for t in range(0, stride, REGISTER_BYTES):
        sums = dot_bytes(sums, load(code + t), load(own + t))
    return sums


@inlined
def products(block, sums, codes, own, stride):
    """Of LANES stored rows, one behind the other, the sums of products with a signed one: a register of int32."""
    for lane in range(LANES):
        block[lane] = _row_products(codes + lane * stride, own, stride)
    fold_rows(block, sums)
    return sums[0]


@kernel
def distances(near, norms, n, own, norm, total, stride, out):
    """Squared distances, int32, of n gathered rows (and of what lies behind, up to a register) to one signed row."""
    block, sums = int_registers(LANES), int_registers(LANES)
    base = np.int32(norm + 2 * MIDDLE * total)
    for p in range(0, n, LANES):
        dots = products(block, sums, near + p * stride, own, stride)
        store(out + p, splat(base) + load(norms + p) - dots - dots)


@entry
def means(path, rows: Rows, members, offsets, start, stop, codes, norms, sums):
    """The means of the groups start..stop-1 of rows, rounded, as rows of codes (n_groups, stride); empty ones stay.

    Group g has the rows members[offsets[g]:offsets[g + 1]].
    """
    code, stride = Rows(*rows).codes, codes.shape[1]
    totals = np.empty(stride, np.int64)
    for group in range(start, stop):
        size = offsets[group + 1] - offsets[group]
        if size > 0:
            totals[:] = 0
            for i in range(offsets[group], offsets[group + 1]):
                for j in range(stride):
                    totals[j] += code[members[i], j]
            norm, total = np.int64(0), np.int64(0)
            for j in range(stride):
                mean = np.int64(np.rint(totals[j] / size))
                codes[group, j] = np.uint8(mean)
                norm += (mean - MIDDLE) ** 2
                total += mean - MIDDLE
            norms[group], sums[group] = np.int32(norm), np.int32(total)
