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

from annlab.kernels.hashing.rotations import ROUNDS, n_hashes, rotate
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import LANES, pointer
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
def probe_polytopes(path, queries, metric, center, scale, hashes, n_tables, template, n_ranks, floats, longs, probes):
    """The same for cross-polytopes: probes (q, n_probes) int64 of queries (q, dim).

    hashes: `Hashes` of rotations.py; template (2, pairs) int32: ranks below n_ranks; n_probes is at most pairs *
    n_tables; floats and longs: see `polytopes_space`.
    """
    dim, size, n_pairs, n_probes = queries.shape[1], hashes.signs.shape[2], template.shape[1], probes.shape[1]
    n_all, directions, n_rotations = n_pairs * n_tables, hashes.directions, hashes.n_rotations
    n_ranked = n_rotations * size // directions * n_ranks
    q, middle, sign, probe = pointer(queries), pointer(center), pointer(hashes.signs), pointer(probes)
    first, block, vertex = pointer(template), pointer(floats), pointer(longs)
    second, value, bucket = first + n_pairs, block + size * LANES, vertex + n_ranked
    out = value + n_ranked
    cost = out + hashes.width
    low = cost + n_all + PADDING
    high = low + n_all + 2 * PADDING
    for _ in range(queries.shape[0]):
        convert_row(q, dim, metric, middle, scale, out)
        if hashes.width > dim:
            out[dim] = _ZERO
        for group in range(0, n_rotations, LANES):
            rotate(out, hashes.width, size, sign + group * ROUNDS * size, block)
            rank_vertices(block, min(LANES, n_rotations - group), group, size, directions, n_ranks, value, vertex)
        for t in range(n_tables):
            high_digit, low_digit = 2 * t * n_ranks, (2 * t + 1) * n_ranks
            base = t * 4 * directions * directions
            for j in range(n_pairs):
                one, other = high_digit + first[j], low_digit + second[j]
                gap, other_gap = value[high_digit] - value[one], value[low_digit] - value[other]
                cost[j * n_tables + t] = gap * gap + other_gap * other_gap
                bucket[j * n_tables + t] = base + vertex[one] * (2 * directions) + vertex[other]
        cheapest(cost, bucket, n_all, n_probes, low, high, probe)
        q, probe = q + dim, probe + n_probes


def polytopes_space(hashes, n_ranks, n_all):
    """Scratch of `probe_polytopes`: registers, values, a converted query, costs, low and high; vertices and buckets."""
    n_ranked = n_hashes(hashes) * n_ranks
    n_floats = hashes.signs.shape[2] * LANES + n_ranked + hashes.width + 3 * n_all + 5 * PADDING
    return np.empty(n_floats, np.float32), np.empty(n_ranked + n_all, np.int64)
