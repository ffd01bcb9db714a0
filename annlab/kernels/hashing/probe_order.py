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

import numpy as np

from annlab.kernels.hashing.rotations import ROUNDS, rotate
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import LANES, pointer
from annlab.kernels.tile import convert_row
from annlab.kernels.topk import kth_smallest

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
    """The n_probes cheapest buckets of n_all, in their order; returns how many there are."""
    limit = kth_smallest(costs, n_all, n_probes, low, high) if n_probes < n_all else _INFINITY
    chosen = 0
    for j in range(n_all):
        if costs[j] <= limit and chosen < n_probes:
            probes[chosen] = buckets[j]
            chosen += 1
    return chosen


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
def probe_hyperplanes(path, projections, codes, n_tables, n_bits, parent, rank, order, squares, costs, buckets, low,
                      high, probes):  # fmt: skip
    """Probes (q, n_probes) int64 of queries with these projections (q, 64 * words) and codes (q, words).

    Template parent and rank (sets,) int32, see `cheapest_sets` in hashing/keys.py. Scratch: order (n_bits,) int64,
    squares (n_bits,) float32, costs (sets * n_tables + padding,) float32, buckets the same int64, low and high
    float32 as long as costs. Returns the number of probes.
    """
    n_sets, n_words, n_probes, n_buckets, chosen = parent.shape[0], codes.shape[1], probes.shape[1], 1 << n_bits, 0
    projection, code, above, last = pointer(projections), pointer(codes), pointer(parent), pointer(rank)
    cost, bucket, probe = pointer(costs), pointer(buckets), pointer(probes)
    by_square, square, a, b = pointer(order), pointer(squares), pointer(low), pointer(high)
    for _ in range(codes.shape[0]):
        for t in range(n_tables):
            flip_bits(projection + t * n_bits, key_of(code, t, n_bits), n_bits, above, last, n_sets, n_tables, cost + t,
                      bucket + t, by_square, square)  # fmt: skip
        for j in range(n_sets * n_tables):
            buckets[j] += (j % n_tables) * n_buckets
        chosen = cheapest(cost, bucket, n_sets * n_tables, n_probes, a, b, probe)
        projection, code, probe = projection + 64 * n_words, code + n_words, probe + n_probes
    return chosen


@kernel
def offer(value, vertex, length, values, vertices):
    """Take a vertex into a list of the `length` with the largest values, the largest first."""
    if value > values[length - 1]:
        j = length - 1
        while j > 0 and values[j - 1] < value:
            values[j], vertices[j] = values[j - 1], vertices[j - 1]
            j -= 1
        values[j], vertices[j] = value, vertex


@kernel
def rank_vertices(block, lanes, first, size, directions, n_ranks, values, vertices):
    """Offer all vertices in `lanes` rotations, `first` and on, to the lists of their hashes (hashes, n_ranks)."""
    step = min(size, directions)
    for lane in range(lanes):
        for part in range(0, size, step):
            direction = (first + lane) * size + part
            offset, place = direction % directions, (direction // directions) * n_ranks
            if offset == 0:
                for j in range(n_ranks):
                    values[place + j], vertices[place + j] = -_INFINITY, 0
            for i in range(step):
                value = block[(part + i) * LANES + lane]
                vertex = 2 * (offset + i) + (1 if value < 0 else 0)
                if abs(value) > values[place + n_ranks - 1]:
                    offer(abs(value), vertex, n_ranks, values + place, vertices + place)
                if -abs(value) > values[place + n_ranks - 1]:
                    offer(-abs(value), vertex ^ 1, n_ranks, values + place, vertices + place)


@entry
def probe_polytopes(path, queries, metric, center, scale, signs, n_rotations, directions, n_tables, n_ranks, first,
                    second, converted, registers, largest, nearest, costs, buckets, low, high, probes):  # fmt: skip
    """The same for cross-polytopes: probes (q, n_probes) int64 of queries (q, dim).

    signs and directions: see `polytope_keys`. Template first and second (pairs,) int32, ranks below n_ranks. Scratch:
    converted (width,) zeros, registers (size * LANES,), largest (hashes * n_ranks,) float32 and nearest the same int64,
    of all n_rotations * size // directions hashes; the others as above.
    """
    dim, width, size, n_pairs, n_probes = (queries.shape[1], converted.shape[0], signs.shape[2], first.shape[0],
                                           probes.shape[1])  # fmt: skip
    chosen = 0
    q, middle, out, sign, probe = (pointer(queries), pointer(center), pointer(converted), pointer(signs),
                                   pointer(probes))  # fmt: skip
    block, vertex, value, a, b = (pointer(registers), pointer(nearest), pointer(largest), pointer(low), pointer(high))
    for _ in range(queries.shape[0]):
        convert_row(q, dim, metric, middle, scale, out)
        for group in range(0, n_rotations, LANES):
            rotate(out, width, size, sign + group * ROUNDS * size, block)
            rank_vertices(block, min(LANES, n_rotations - group), group, size, directions, n_ranks, value, vertex)
        for t in range(n_tables):
            high_digit, low_digit = 2 * t * n_ranks, (2 * t + 1) * n_ranks
            base = t * 4 * directions * directions
            for j in range(n_pairs):
                one, other = high_digit + first[j], low_digit + second[j]
                gap, other_gap = value[high_digit] - value[one], value[low_digit] - value[other]
                costs[j * n_tables + t] = gap * gap + other_gap * other_gap
                buckets[j * n_tables + t] = base + vertex[one] * (2 * directions) + vertex[other]
        chosen = cheapest(pointer(costs), pointer(buckets), n_pairs * n_tables, n_probes, a, b, probe)
        q, probe = q + dim, probe + n_probes
    return chosen
