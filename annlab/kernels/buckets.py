"""Hash tables over sign codes: building them, and probing them in the order of the query's own uncertainty.

Table t has the bits t * n_bits .. (t + 1) * n_bits - 1 of a code as its key. Buckets are CSR arrays without keys:
offsets (n_tables, 2^n_bits + 1) and rows (n_tables, n), the rows of key b of table t at rows[t, offsets[t, b] :
offsets[t, b + 1]], in ascending order. Building is a counting sort.

*Probing* (Lv, Josephson, Wang, Charikar, Li, Multi-probe LSH, 2007). A neighbour's key differs from the query's most
likely in the bits whose projections are nearest to zero, so a set of flipped bits costs the sum of their squared
projections. Which sets can be among the cheapest follows from the ranks of the bits alone, so one template, of sets of
ranks, serves all tables and queries: set i is set parent[i] with rank[i] added, so that its cost is one addition. The
n_probes cheapest of all tables together are probed; a table whose query lies near many hyperplanes gets more.

*Candidates* are deduplicated by a bitmap, and their records are prefetched as they are found. A record is a row's code
and two numbers in one piece of memory, from which the distance is estimated (see `annlab/lsh_codes.py`): |y|^2/2 -
slope * (projections of the query, dot signs of the row), with the query's side not quantized. Only the best `keep`
estimates are returned, so vectors, which are many cache lines each, are read for few candidates.

A bucket can be as large as the data. Collecting stops at `cap` candidates, so no query can cost more than a scan.
"""

import numpy as np

from annlab.kernels.path import entry, kernel
from annlab.kernels.simd import LANES, load, pointer, prefetch, splat, total
from annlab.kernels.simd_masked import add_where
from annlab.kernels.topk import kth_smallest

PROBES, CANDIDATES, FOUND = 0, 1, 2  # columns of `done`
_ZERO, _ONE = np.float32(0), np.uint64(1)
_INFINITY = np.float32(np.inf)
_BLOCK = 64 // LANES  # registers of projections for a word of a code
_LANE_BITS = np.uint64(LANES)
_LANES_MASK = np.uint64(2**LANES - 1)
_PROBES_AHEAD = 8


@kernel
def key_of(code, table, n_bits):
    """The key of a code (words) in a table."""
    at = table * n_bits
    low = code[at // 64] >> np.uint64(at % 64)
    if at % 64 + n_bits > 64:
        low |= code[at // 64 + 1] << np.uint64(64 - at % 64)
    return np.int64(low & np.uint64((1 << n_bits) - 1))


@entry
def fill(path, codes, first_row, n_bits, offsets, rows):
    """Build the buckets of codes (m, words), which are rows first_row and on; offsets come as zeros."""
    m, n_words = codes.shape
    n_tables, n_buckets = offsets.shape[0], offsets.shape[1] - 1
    code = pointer(codes)
    for t in range(n_tables):
        for i in range(m):
            offsets[t, key_of(code + i * n_words, t, n_bits) + 1] += 1
        for b in range(n_buckets):
            offsets[t, b + 1] += offsets[t, b]
        for i in range(m):
            b = key_of(code + i * n_words, t, n_bits)
            rows[t, offsets[t, b]] = first_row + i
            offsets[t, b] += 1
        for b in range(n_buckets, 0, -1):
            offsets[t, b] = offsets[t, b - 1]
        offsets[t, 0] = 0


@kernel
def probe_costs(projection, key, table, n_tables, n_bits, parent, rank, n_sets, costs, keys, order, squares):
    """Cost and key of every set of the template in one table, written n_tables apart."""
    for i in range(n_bits):
        value = projection[table * n_bits + i]
        square, j = value * value, i
        while j > 0 and squares[j - 1] > square:
            squares[j], order[j] = squares[j - 1], order[j - 1]
            j -= 1
        squares[j], order[j] = square, i
    costs[table], keys[table] = _ZERO, key
    for i in range(1, n_sets):
        here, before, last = i * n_tables + table, parent[i] * n_tables + table, rank[i]
        costs[here] = costs[before] + squares[last]
        keys[here] = keys[before] ^ (1 << order[last])


@kernel
def visit(offsets, rows, probe, n_buckets, n, records, n_record, seen, alive, n_alive, candidates, n_found, cap):
    """Collect the unseen living rows of one bucket; `probe` is table * (n_buckets + 1) + key."""
    table = probe // (n_buckets + 1)
    for place in range(offsets[probe], offsets[probe + 1]):
        if n_found == cap:
            break
        row = np.int64(rows[table * n + place])
        word, bit = row // 64, _ONE << np.uint64(row % 64)
        if seen[word] & bit or (n_alive > 0 and not alive[word] & bit):
            continue
        seen[word] |= bit
        record = records + row * n_record
        prefetch(record)
        prefetch(record + (n_record - 1))
        candidates[n_found] = row
        n_found += 1
    return n_found


@kernel
def signed_sum(code, projection, n_words):
    """Sum of the projections whose bit of the code is set."""
    even, odd = splat(_ZERO), splat(_ZERO)
    for word in range(n_words):
        bits = code[word]
        for part in range(_BLOCK):
            mask = np.int64(bits & _LANES_MASK)
            if part % 2 == 0:
                even = add_where(even, load(projection), mask)
            else:
                odd = add_where(odd, load(projection), mask)
            bits >>= _LANE_BITS
            projection += LANES
    return total(even + odd)


@kernel
def keep_best(estimates, candidates, n_found, keep, low, high, chosen):
    """The rows of the `keep` smallest estimates, the first found of equal ones, into `chosen`; returns how many."""
    if n_found <= keep:
        for i in range(n_found):
            chosen[i] = candidates[i]
        return n_found
    limit = kth_smallest(estimates, n_found, keep, low, high)
    ties = keep
    for i in range(n_found):
        if estimates[i] < limit:
            ties -= 1
    kept = 0
    for i in range(n_found):
        if estimates[i] < limit or (estimates[i] == limit and ties > 0):
            if estimates[i] == limit:
                ties -= 1
            chosen[kept] = candidates[i]
            kept += 1
    return kept


@entry
def probe(path, projections, codes, n_bits, n_probes, parent, rank, base_offsets, base_rows, recent_offsets,
          recent_rows, records, numbers, alive, cap, keep, costs, keys, low, high, seen, candidates, estimates, found,
          done):  # fmt: skip
    """The rows of every query with the smallest estimates among those in the cheapest buckets.

    projections (q, 64 * words) and codes (q, words) of the queries; template parent and rank (sets,) int32; two sets of
    buckets, the second may hold no rows; records (n, words + 1) uint64, the last word two float32, half and slope;
    numbers: the same memory as float32; alive (q, w), (1, w) or (0, 0) words of bits. Scratch: costs (sets * n_tables +
    padding,) float32, keys the same int64, low and high float32 as long as costs and estimates, seen (n // 64 + 1,)
    zeros, candidates (cap,) int32, estimates (cap + padding,) float32. found (q, keep) int64 comes filled with -1; done
    (q, 3) receives how many buckets were probed, how many candidates estimated, how many rows found.
    """
    n_tables, n_buckets = base_offsets.shape[0], base_offsets.shape[1] - 1
    n_record, n_words = records.shape[1], codes.shape[1]
    n_base, n_recent, n_sets, n_alive = base_rows.shape[1], recent_rows.shape[1], parent.shape[0], alive.shape[1]
    projection, code, above, last = pointer(projections), pointer(codes), pointer(parent), pointer(rank)
    offsets, rows, new_offsets, new_rows = (pointer(base_offsets), pointer(base_rows), pointer(recent_offsets),
                                            pointer(recent_rows))  # fmt: skip
    record, bit, cost, key, a, b = (pointer(records), pointer(alive), pointer(costs), pointer(keys), pointer(low),
                                    pointer(high))  # fmt: skip
    mark, candidate, estimate, result = pointer(seen), pointer(candidates), pointer(estimates), pointer(found)
    half_of = pointer(numbers)
    ordered, squared = np.empty(n_bits, np.int64), np.empty(n_bits, np.float32)
    order, squares = pointer(ordered), pointer(squared)
    own, n_all = 1 if alive.shape[0] > 1 else 0, n_sets * n_tables
    for i in range(projections.shape[0]):
        for t in range(n_tables):
            probe_costs(projection, key_of(code, t, n_bits), t, n_tables, n_bits, above, last, n_sets, cost, key, order,
                        squares)  # fmt: skip
        limit = kth_smallest(cost, n_all, n_probes, a, b) if n_probes < n_all else _INFINITY
        chosen = 0
        for j in range(n_all):
            if cost[j] <= limit and chosen < n_probes:
                key[chosen] = (j % n_tables) * (n_buckets + 1) + key[j]
                chosen += 1
        n_found, visited = 0, 0
        for j in range(min(_PROBES_AHEAD, chosen)):
            prefetch(offsets + key[j])
        for j in range(chosen):
            if n_found == cap:
                break
            if j + _PROBES_AHEAD < chosen:
                prefetch(offsets + key[j + _PROBES_AHEAD])
            if j + _PROBES_AHEAD // 2 < chosen:
                ahead = key[j + _PROBES_AHEAD // 2]
                prefetch(rows + (ahead // (n_buckets + 1)) * n_base + offsets[ahead])
            n_found = visit(offsets, rows, key[j], n_buckets, n_base, record, n_record, mark, bit + own * i * n_alive,
                            n_alive, candidate, n_found, cap)  # fmt: skip
            if n_recent > 0:
                n_found = visit(new_offsets, new_rows, key[j], n_buckets, n_recent, record, n_record, mark,
                                bit + own * i * n_alive, n_alive, candidate, n_found, cap)  # fmt: skip
            visited = j + 1
        half_sum = _ZERO
        for j in range(64 * n_words):
            half_sum += np.float32(0.5) * projection[j]
        for j in range(n_found):
            row = np.int64(candidate[j])
            mark[row // 64] = np.uint64(0)
            place = record + row * n_record
            half, slope = half_of[2 * (row * n_record + n_words)], half_of[2 * (row * n_record + n_words) + 1]
            value = half - slope * np.float32(2.0) * (signed_sum(place, projection, n_words) - half_sum)
            estimate[j] = value if value == value else _INFINITY
        done[i, PROBES], done[i, CANDIDATES] = visited, n_found
        done[i, FOUND] = keep_best(estimate, candidate, n_found, keep, a, b, result)
        projection, code, result = projection + 64 * n_words, code + n_words, result + keep
