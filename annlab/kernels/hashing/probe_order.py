"""Which buckets to look into: those whose keys a neighbour of the query would most probably have (multi-probe).

A neighbour's key differs from the query's most likely where the query's own key was nearly decided otherwise (Lv,
Josephson, Wang, Charikar, Li, Multi-probe LSH, 2007). Every bucket gets a cost from the query's own projections, and
the `n_probes` cheapest of all tables together are probed; a table whose query lies near many borders gets more.

*Hyperplanes*: a set of flipped bits costs the sum of their squared projections. Which sets can be among the cheapest
follows from the ranks of the bits alone, so one template, of sets of ranks, serves all tables and queries: set i is set
parent[i] with rank[i] added, so that its cost is one addition.

*Cross-polytopes*: a key is a pair of hashes, and another vertex costs the square of how much farther from it the
rotated query points: (largest coordinate - coordinate)^2. The template is pairs of ranks.

A probe is the number of a bucket among those of all tables, table * n_buckets + key.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.hashing.rotations import Hashes, Room, rotated
from annlab.kernels.hashing.signs import Frame
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import pointer, pointers
from annlab.kernels.tile import convert_row
from annlab.kernels.topk import PADDING, kth_smallest

_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)


@kernel
def key_of(code, table, n_bits):
    """The key of a code (words) in a table: its bits table * n_bits and on."""
    at = table * n_bits
    low = code[at // 64] >> np.uint64(at % 64)
    if at % 64 + n_bits > 64:
        low |= code[at // 64 + 1] << np.uint64(64 - at % 64)
    return np.int64(low & np.uint64((1 << n_bits) - 1))


@entry
def hyperplane_keys(path, codes, n_bits, keys):
    """Keys (n_tables, n) int32 of codes (n, words)."""
    code = pointer(codes)
    for t in range(keys.shape[0]):
        for row in range(keys.shape[1]):
            keys[t, row] = key_of(code + row * codes.shape[1], t, n_bits)


@kernel
def cheapest(costs, buckets, n_all, n_probes, low, high, probes):
    """The n_probes <= n_all cheapest buckets, in their order. What has no cost (NaN) counts as the dearest."""
    for j in range(n_all):
        if costs[j] != costs[j]:
            costs[j] = _INFINITY
    limit = kth_smallest(costs, n_all, n_probes, low, high) if n_probes < n_all else _INFINITY
    chosen = 0
    for j in range(n_all):
        if costs[j] <= limit and chosen < n_probes:
            probes[chosen] = buckets[j]
            chosen += 1


@kernel
def flip_bits(projection, key, n_bits, parent, rank, n_sets, stride, costs, buckets, order, squares):
    """Cost and bucket of every set of the template in one table, written `stride` apart."""
    for i in range(n_bits):
        value = projection[i]
        square, j = value * value, i
        while j > 0 and squares[j - 1] > square:
            squares[j], order[j] = squares[j - 1], order[j - 1]
            j -= 1
        squares[j], order[j] = square, i
    costs[0], buckets[0] = _ZERO, key
    for i in range(1, n_sets):
        before, last = parent[i] * stride, rank[i]
        costs[i * stride] = costs[before] + squares[last]
        buckets[i * stride] = buckets[before] ^ (1 << order[last])


@entry
def probe_hyperplanes(path, words, numbers, n_tables, n_bits, template, floats, longs, probes):
    """Probes (q, n_probes) int64 of queries whose codes and projections are words and numbers, see `encode_queries`.

    template (2, sets) int32: parent and rank, see `cheapest_sets` in hashing/keys.py; n_probes is at most sets *
    n_tables; floats and longs: see `hyperplanes_space`.
    """
    n_sets, n_probes = template.shape[1], probes.shape[1]
    n_all, n_buckets = n_sets * n_tables, 1 << n_bits
    projection, code, above, probe = pointer(numbers), pointer(words), pointer(template), pointer(probes)
    last, square, order = above + n_sets, pointer(floats), pointer(longs)
    cost, bucket = square + n_bits, order + n_bits
    low = cost + n_all + PADDING
    high = low + n_all + 2 * PADDING
    for _ in range(words.shape[0]):
        for t in range(n_tables):
            flip_bits(projection + t * n_bits, key_of(code, t, n_bits), n_bits, above, last, n_sets, n_tables, cost + t,
                      bucket + t, order, square)  # fmt: skip
        for j in range(n_all):
            bucket[j] += (j % n_tables) * n_buckets
        cheapest(cost, bucket, n_all, n_probes, low, high, probe)
        projection, code, probe = projection + numbers.shape[1], code + words.shape[1], probe + n_probes


def hyperplanes_space(n_sets, n_tables, n_bits):
    """Scratch of `probe_hyperplanes`: squares, costs, low and high; orders and buckets."""
    n_all = n_sets * n_tables
    return np.empty(n_bits + 3 * n_all + 5 * PADDING, np.float32), np.empty(n_bits + n_all, np.int64)


@kernel
def offer(value, vertex, length, values, vertices):
    """Take a vertex into a list of the `length` with the largest values, the largest first."""
    if value > values[length - 1]:
        j = length - 1
        while j > 0 and values[j - 1] < value:
            values[j], vertices[j] = values[j - 1], vertices[j - 1]
            j -= 1
        values[j], vertices[j] = value, vertex


class Ranking(NamedTuple):
    """What to rank of each table's vertices, and scratch for it."""

    template: Any  # (2, pairs) int32: ranks below n_ranks, see `cheapest_pairs` in hashing/keys.py
    n_ranks: int
    values: Any  # (n_hashes, n_ranks) float32: of the first vertices, the largest first
    vertices: Any  # (n_hashes, n_ranks) int64
    costs: Any  # (PADDING + pairs * n_tables + 2 * PADDING,) float32, as well as low and high
    low: Any
    high: Any
    buckets: Any  # (pairs * n_tables,) int64


def new_ranking(template, n_ranks, n_hashes):
    """With scratch for tables of two hashes each."""
    n_all = template.shape[1] * (n_hashes // 2)
    space, values = np.empty((3, n_all + 2 * PADDING), np.float32), np.empty((n_hashes, n_ranks), np.float32)
    return Ranking(template, n_ranks, values, np.empty(values.shape, np.int64), *space, np.empty(n_all, np.int64))


@kernel
def rank_vertices(block, group, hashes, values, vertices, n_ranks):
    """Offer all vertices in a group of rotations to the lists (n_hashes, n_ranks) of their hashes."""
    size, lanes, directions = hashes.signs.shape[2], hashes.signs.shape[3], hashes.directions
    n_directions, step = hashes.n_hashes * directions, min(size, directions)
    for lane in range(lanes):
        start = (group * lanes + lane) * size
        for part in range(0, min(size, n_directions - start), step):
            offset, place = (start + part) % directions, ((start + part) // directions) * n_ranks
            if offset == 0:
                for j in range(n_ranks):
                    values[place + j], vertices[place + j] = -_INFINITY, 0
            for i in range(step):
                value = block[(part + i) * lanes + lane]
                vertex = 2 * (offset + i) + (1 if value < 0 else 0)
                if abs(value) > values[place + n_ranks - 1]:
                    offer(abs(value), vertex, n_ranks, values + place, vertices + place)
                if -abs(value) > values[place + n_ranks - 1]:
                    offer(-abs(value), vertex ^ 1, n_ranks, values + place, vertices + place)


@entry
def probe_polytopes(path, queries, frame: Frame, hashes: Hashes, room: Room, ranking: Ranking, probes):
    """The same for cross-polytopes: probes (q, n_probes) int64 of queries (q, dim); n_probes is at most all pairs."""
    frame, hashes, room, n_ranks = Frame(*frame), Hashes(*hashes), pointers(Room(*room)), Ranking(*ranking).n_ranks
    n_pairs, own = Ranking(*ranking).template.shape[1], pointers(Ranking(*ranking))
    dim, n_tables, n_probes, base = queries.shape[1], hashes.n_hashes // 2, probes.shape[1], 2 * hashes.directions
    q, middle, probe, first = pointer(queries), pointer(frame.center), pointer(probes), own.template
    second, value, vertex, cost, bucket = first + n_pairs, own.values, own.vertices, own.costs, own.buckets
    for _ in range(queries.shape[0]):
        convert_row(q, dim, frame.metric, middle, frame.scale, room.vector)
        if hashes.width > dim:
            room.vector[dim] = _ZERO
        for group in range(hashes.signs.shape[0]):
            rank_vertices(rotated(group, hashes, room), group, hashes, value, vertex, n_ranks)
        for t in range(n_tables):
            high_digit, low_digit = 2 * t * n_ranks, (2 * t + 1) * n_ranks
            for j in range(n_pairs):
                one, other = high_digit + first[j], low_digit + second[j]
                gap, other_gap = value[high_digit] - value[one], value[low_digit] - value[other]
                cost[j * n_tables + t] = gap * gap + other_gap * other_gap
                bucket[j * n_tables + t] = t * base * base + vertex[one] * base + vertex[other]
        cheapest(cost, bucket, n_pairs * n_tables, n_probes, own.low, own.high, probe)
        q, probe = q + dim, probe + n_probes
