"""Pseudo-random rotations and cross-polytope hashes: to which of many random directions does a vector point most?

Rotate a vector at random and see which coordinate axis, with its sign, it now lies nearest to: that vertex of the
cross-polytope is its hash. Near vectors share it more often, for the same number of values, than they share the signs
of hyperplanes (Terasawa and Tanaka, 2007; Andoni, Indyk, Laarhoven, Razenshteyn, Schmidt, Practical and optimal LSH for
angular distance, NIPS 2015).

*Rotating* by a random matrix would cost size^2. ROUNDS times "change the signs of the coordinates at random, then take
their Hadamard transform" does as well in practice and costs size * log2(size) additions. The transform is the loop of
butterflies of the textbooks, except that an element is a register: its lanes are LANES different rotations of one
vector, which differ in their signs. So nothing is shuffled between lanes, and results are the same on every path: sums
and differences in an order that the width does not change.

*Hashes* take `directions` coordinates each: a part of a rotation, or several rotations together, so that a hash has as
many values as are wanted whatever the dimension. With a vector longer than its dimension padded by zeros, rotation r
and its coordinate i are direction r * size + i of all, and hash h owns the directions h * directions and on. A vertex
is 2 * direction + 1 where the coordinate is negative, 2 * direction where not, counted from the hash's first direction.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.hashing.signs import lifted_row
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import LANES, choose, load, pointer, splat, store
from annlab.kernels.simd.words import absolute

ROUNDS = 3


class Hashes(NamedTuple):
    """The hashes of all tables, two each."""

    signs: Any  # (groups of LANES rotations, ROUNDS, size, LANES) float32
    n_rotations: int
    directions: int  # of each hash
    width: int  # of a vector when it is hashed


@kernel
def hadamard(block, size):
    """The Hadamard transform of `size` registers in memory, size a power of two."""
    half = 1
    while half < size:
        for start in range(0, size, 2 * half):
            for i in range(start, start + half):
                low, high = load(block + i * LANES), load(block + (i + half) * LANES)
                store(block + i * LANES, low + high)
                store(block + (i + half) * LANES, low - high)
        half *= 2


@kernel
def rotate(x, width, size, signs, block):
    """LANES rotations of x (width,) into block (size, LANES); signs (ROUNDS, size, LANES)."""
    for i in range(size):
        value = splat(x[i]) if i < width else splat(np.float32(0))
        store(block + i * LANES, value * load(signs + i * LANES))
    hadamard(block, size)
    for _ in range(1, ROUNDS):
        signs += size * LANES
        for i in range(size):
            store(block + i * LANES, load(block + i * LANES) * load(signs + i * LANES))
        hadamard(block, size)


@kernel
def nearest_vertices(block, lanes, first, size, directions, values, nearest, magnitudes, vertices):
    """Update the nearest vertex of every hash that has directions in `lanes` rotations, `first` and on.

    Scratch: values and nearest (LANES,) float32.
    """
    step = min(size, directions)
    for part in range(0, size, step):
        best, value_there, place = splat(np.float32(-1)), splat(np.float32(0)), splat(np.float32(0))
        for i in range(step):
            value = load(block + (part + i) * LANES)
            further = best < absolute(value)
            best, value_there = choose(further, absolute(value), best), choose(further, value, value_there)
            place = choose(further, splat(np.float32(i)), place)
        store(values, value_there)
        store(nearest, place)
        for lane in range(lanes):
            direction = (first + lane) * size + part
            of_hash, offset = direction // directions, direction % directions
            if offset == 0 or abs(values[lane]) > magnitudes[of_hash]:
                magnitudes[of_hash] = abs(values[lane])
                vertices[of_hash] = 2 * (offset + np.int64(nearest[lane])) + (1 if values[lane] < 0 else 0)


@entry
def polytope_keys(path, vectors, frame, hashes, floats, vertices, keys):
    """Keys (n_tables, n) int32 of rows: two hashes each, high and low digit.

    frame: a `Frame` (signs.py); hashes: `Hashes`; floats and vertices: see `keys_space`.
    """
    n, dim, size, directions = vectors.shape[0], vectors.shape[1], hashes.signs.shape[2], hashes.directions
    x, middle, sign, block, vertex = (pointer(vectors), pointer(frame.center), pointer(hashes.signs), pointer(floats),
                                      pointer(vertices))  # fmt: skip
    scratch = block + size * LANES
    magnitude = scratch + 2 * LANES
    out = magnitude + vertices.shape[0]
    for row in range(n):
        lifted_row(x + row * dim, dim, frame.metric, middle, frame.scale, frame.reach, out)
        for first in range(0, hashes.n_rotations, LANES):
            rotate(out, hashes.width, size, sign + first * ROUNDS * size, block)
            nearest_vertices(block, min(LANES, hashes.n_rotations - first), first, size, directions, scratch,
                             scratch + LANES, magnitude, vertex)  # fmt: skip
        for t in range(keys.shape[0]):
            keys[t, row] = vertex[2 * t] * (2 * directions) + vertex[2 * t + 1]


def n_hashes(hashes):
    """Hashes that the rotations have directions for: two a table, and more where those of one rotation are many."""
    return hashes.n_rotations * hashes.signs.shape[2] // hashes.directions


def keys_space(hashes):
    """Scratch of `polytope_keys`: registers, lanes, magnitudes and a converted row; the vertices."""
    n = n_hashes(hashes)
    size = hashes.signs.shape[2] * LANES + 2 * LANES + n + hashes.width
    return np.zeros(size, np.float32), np.zeros(n, np.int64)
