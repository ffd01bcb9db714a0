"""Pseudo-random rotations and cross-polytope hashes: to which of many random directions does a vector point most?

Rotate a vector at random and see which coordinate axis, with its sign, it now lies nearest to: that vertex of the
cross-polytope is its hash. Near vectors share it more often, for the same number of values, than they share the signs
of hyperplanes (Terasawa and Tanaka, 2007; Andoni, Indyk, Laarhoven, Razenshteyn, Schmidt, Practical and optimal LSH for
angular distance, NIPS 2015).

*Rotating* by a random matrix would cost size^2. ROUNDS times "change the signs of the coordinates at random, then take
their Hadamard transform" does as well in practice and costs size * log2(size) additions. The transform is the loop of
butterflies of the textbooks, except that an element is a register: its lanes are LANES different rotations of one
vector, which differ in their signs (`hadamard`). So nothing is shuffled between lanes. A long vector has directions
enough in a few rotations; then lanes would be idle, and each rotation is done by itself, with LANES of its coordinates
in a register (`hadamard_of_one`). Results are the same either way and on every path: sums and differences in one order.

*Hashes* take `directions` coordinates each: a part of a rotation, or several rotations together, so that a hash has as
many values as are wanted whatever the dimension. With a vector longer than its dimension padded by zeros, rotation r
and its coordinate i are direction r * size + i of all, and hash h owns the directions h * directions and on. A vertex
is 2 * direction + 1 where the coordinate is negative, 2 * direction where not, counted from the hash's first direction.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.hashing.signs import Frame, lifted_row
from annlab.kernels.simd.lanes import evens, odds
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import LANES, choose, first, load, pointer, pointers, splat, store
from annlab.kernels.simd.words import absolute

ROUNDS = 3


class Hashes(NamedTuple):
    """The hashes of all tables, two each."""

    signs: Any  # (groups of `lanes` rotations, ROUNDS, size, lanes) float32; lanes is LANES, or 1
    n_hashes: int
    directions: int  # of each hash
    width: int  # of a vector when it is hashed


class Room(NamedTuple):
    """Scratch for hashing one vector."""

    vector: Any  # (width,) float32: as it is hashed
    block: Any  # (size, lanes) float32: rotated
    spare: Any  # the same, where one rotation is done by itself
    values: Any  # (LANES,) float32
    places: Any  # (LANES,) float32
    magnitudes: Any  # (n_hashes,) float32
    vertices: Any  # (n_hashes,) int64


def signs_of_groups(signs):
    """The `signs` of Hashes, from signs (ROUNDS, rotations, size)."""
    n, size = signs.shape[1:]
    lanes = 1 if size >= 2 * LANES and 4 * n <= LANES else LANES
    groups = -(-n // lanes)
    result = np.ones((ROUNDS, groups * lanes, size), np.float32)
    result[:, :n] = signs
    return np.ascontiguousarray(result.reshape(ROUNDS, groups, lanes, size).transpose(1, 0, 3, 2))


def new_room(hashes):
    """Scratch for these hashes."""
    block = np.empty(hashes.signs.shape[2:], np.float32)
    spare = np.empty(block.size if block.shape[1] == 1 else 0, np.float32)
    lanes, longs = np.empty((2, LANES), np.float32), np.empty(hashes.n_hashes, np.int64)
    return Room(np.zeros(hashes.width, np.float32), block, spare, *lanes, np.empty(hashes.n_hashes, np.float32), longs)


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
def hadamard_of_one(here, there, size):
    """That of `size` numbers in memory, a power of two and at least 2 * LANES. Returns where it is, and the other.

    Each pair (2 i, 2 i + 1) becomes a sum at i and a difference as far behind half of the numbers. So the lowest bit of
    a place has become the highest, and when all bits were the lowest once, each is where it was.
    """
    half = size // 2
    for _ in range(first(size)):
        for i in range(0, half, LANES):
            some, others = load(here + 2 * i), load(here + 2 * i + LANES)
            low, high = evens(some, others), odds(some, others)
            store(there + i, low + high)
            store(there + half + i, low - high)
        here, there = there, here
    return here, there


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
def rotate_one(x, width, size, signs, block, spare):
    """One rotation of x (width,); signs (ROUNDS, size). Returns where it is: in block or in spare, of `size` both."""
    for i in range(size):
        value = x[i] if i < width else np.float32(0)
        block[i] = value * signs[i]
    block, spare = hadamard_of_one(block, spare, size)
    for _ in range(1, ROUNDS):
        signs += size
        for i in range(0, size, LANES):
            store(block + i, load(block + i) * load(signs + i))
        block, spare = hadamard_of_one(block, spare, size)
    return block


@kernel
def rotated(group, hashes, room):
    """A group of rotations of the vector in a room: the address of (size, lanes) numbers. room: `pointers` of one."""
    size, lanes = hashes.signs.shape[2], hashes.signs.shape[3]
    signs = pointer(hashes.signs) + group * ROUNDS * size * lanes
    if lanes == 1:
        return rotate_one(room.vector, hashes.width, size, signs, room.block, room.spare)
    rotate(room.vector, hashes.width, size, signs, room.block)
    return room.block


@kernel
def nearest_vertices(block, group, hashes, room):
    """Update the nearest vertex of every hash that has directions in a group of rotations, whose lanes are `block`."""
    size, directions, values, places = hashes.signs.shape[2], hashes.directions, room.values, room.places
    step = min(size, directions)
    for part in range(0, min(size, hashes.n_hashes * directions), step):
        best, value_there, place = splat(np.float32(-1)), splat(np.float32(0)), splat(np.float32(0))
        for i in range(step):
            value = load(block + (part + i) * LANES)
            further = best < absolute(value)
            best, value_there = choose(further, absolute(value), best), choose(further, value, value_there)
            place = choose(further, splat(np.float32(i)), place)
        store(values, value_there)
        store(places, place)
        for lane in range(LANES):
            direction = (group * LANES + lane) * size + part
            of_hash, offset = direction // directions, direction % directions
            if of_hash < hashes.n_hashes and (offset == 0 or abs(values[lane]) > room.magnitudes[of_hash]):
                room.magnitudes[of_hash] = abs(values[lane])
                room.vertices[of_hash] = 2 * (offset + np.int64(places[lane])) + (1 if values[lane] < 0 else 0)


@kernel
def nearest_vertices_of_one(block, rotation, hashes, room):
    """The same for a rotation that is by itself."""
    size, directions = hashes.signs.shape[2], hashes.directions
    start = rotation * size
    for i in range(min(size, hashes.n_hashes * directions - start)):
        of_hash, offset = (start + i) // directions, (start + i) % directions
        if offset == 0 or abs(block[i]) > room.magnitudes[of_hash]:
            room.magnitudes[of_hash] = abs(block[i])
            room.vertices[of_hash] = 2 * offset + (1 if block[i] < 0 else 0)


@entry
def polytope_keys(path, vectors, frame: Frame, hashes: Hashes, room: Room, keys):
    """Keys (n_tables, n) int32 of rows (n, dim): two hashes each, high and low digit."""
    frame, hashes, room = Frame(*frame), Hashes(*hashes), pointers(Room(*room))
    dim, base, vertices = vectors.shape[1], 2 * hashes.directions, room.vertices
    x, middle = pointer(vectors), pointer(frame.center)
    for row in range(vectors.shape[0]):
        lifted_row(x + row * dim, dim, frame.metric, middle, frame.scale, frame.reach, room.vector)
        for group in range(hashes.signs.shape[0]):
            block = rotated(group, hashes, room)
            if hashes.signs.shape[3] == 1:
                nearest_vertices_of_one(block, group, hashes, room)
            else:
                nearest_vertices(block, group, hashes, room)
        for t in range(keys.shape[0]):
            keys[t, row] = vertices[2 * t] * base + vertices[2 * t + 1]
