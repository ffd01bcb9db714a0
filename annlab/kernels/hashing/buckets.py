"""Hash tables: filling buckets, merging them, and collecting what lies in those that a query probes.

Buckets are CSR arrays without keys, all tables in one: offsets (n_tables * n_buckets + 1) and rows (n_tables * n). The
rows of key b of table t begin at rows[offsets[t * n_buckets + b]], in ascending order. Filling is a counting sort.

*Candidates* are deduplicated by a bitmap when the buckets are read. Then the record of each, its code and two numbers
in one piece of memory, gives an estimate of the distance (`estimate_all`, and `annlab/hashing/codes.py`). Records lie
anywhere, so they are asked for ahead of their use, and by no more requests than a core can have open at a time: asking
while buckets are read, for all records at once, took half as long again. Only the best `keep` estimates are returned,
so vectors, which are many cache lines each, are read for few candidates.

A bucket can be as large as the data. A row is a candidate once, so no query can cost much more than a scan.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.registers import LANES, count, first, load, pointer, prefetch, splat
from annlab.kernels.topk import PADDING, kth_smallest

PROBES, CANDIDATES, FOUND = 0, 1, 2  # columns of `done`
_ONE = np.uint64(1)
_INFINITY = np.float32(np.inf)
_PROBES_AHEAD = 8
_RECORDS_AHEAD = 16


@entry
def fill(path, keys, first_row, n_buckets, offsets, rows):
    """Build the buckets of keys (n_tables, m), which are of rows first_row and on; offsets come as zeros."""
    n_tables, m = keys.shape
    for t in range(n_tables):
        base = t * n_buckets
        for i in range(m):
            offsets[base + keys[t, i] + 1] += 1
    for b in range(n_tables * n_buckets):
        offsets[b + 1] += offsets[b]
    for t in range(n_tables):
        base = t * n_buckets
        for i in range(m):
            b = base + keys[t, i]
            rows[offsets[b]] = first_row + i
            offsets[b] += 1
    for b in range(n_tables * n_buckets, 0, -1):
        offsets[b] = offsets[b - 1]
    offsets[0] = 0


@entry
def merge(path, offsets, rows, later_offsets, later_rows, merged_offsets, merged_rows):
    """Buckets that hold the rows of two sets of buckets, those of the second behind those of the first."""
    at = 0
    for b in range(offsets.shape[0] - 1):
        merged_offsets[b] = at
        for place in range(offsets[b], offsets[b + 1]):
            merged_rows[at] = rows[place]
            at += 1
        for place in range(later_offsets[b], later_offsets[b + 1]):
            merged_rows[at] = later_rows[place]
            at += 1
    merged_offsets[offsets.shape[0] - 1] = at


class Tables(NamedTuple):
    """The buckets of all tables in two sets, the second of which may hold no rows, and the records of the rows."""

    offsets: Any  # (n_tables * n_buckets + 1,) int64
    rows: Any  # (n_tables * rows of the first set,) int32
    recent_offsets: Any
    recent_rows: Any
    records: Any  # (n, words + 1) uint64, the last word two float32: half and slope
    numbers: Any  # the same memory as float32


@kernel
def visit(start, stop, rows, seen, alive, n_alive, candidates, n_found):
    """Collect the unseen living rows at rows[start:stop] of one bucket."""
    for place in range(start, stop):
        row = np.int64(rows[place])
        word, at = row // 64, np.uint64(row % 64)
        wanted = ~np.uint64(seen[word])
        if n_alive > 0:
            wanted &= alive[word]
        new = (wanted >> at) & _ONE
        seen[word] |= np.int64(new << at)
        candidates[n_found] = row  # overwritten by the next one if it is not new: a branch here would be a guess
        n_found += np.int64(new)
    return n_found


@kernel
def weighed_difference(code, other, planes, n_words):
    """The sum of the weights (planes, n_words) of the bits in which two codes differ."""
    one, two, four = 0, 0, 0
    for word in range(n_words):
        differing = code[word] ^ other[word]
        one += count(np.int64(differing & planes[word]))
        two += count(np.int64(differing & planes[n_words + word]))
        four += count(np.int64(differing & planes[2 * n_words + word]))
    return one + 2 * two + 4 * four


@kernel
def estimate_all(candidates, n_found, code, planes, n_words, step, total, records, numbers, estimates):
    """Estimates of the distances of candidates; see `collect` and hashing/signs.py."""
    n_record = n_words + 1
    for j in range(n_found):
        ahead = records + np.int64(candidates[min(j + _RECORDS_AHEAD, n_found - 1)]) * n_record
        prefetch(ahead)
        prefetch(ahead + n_words)
        place = np.int64(candidates[j]) * n_record
        differing = weighed_difference(code, records + place, planes, n_words)
        half, slope = numbers[2 * (place + n_words)], numbers[2 * (place + n_words) + 1]
        value = half - slope * (total - step * np.float32(differing))
        estimates[j] = value if value == value else _INFINITY


@kernel
def keep_best(estimates, candidates, n_found, keep, low, high, chosen, values):
    """The rows of the `keep` smallest estimates, the first found of equal ones, and these; returns how many."""
    if n_found <= keep:
        for i in range(n_found):
            chosen[i], values[i] = np.int64(candidates[i]), estimates[i]
        return n_found
    limit = splat(kth_smallest(estimates, n_found, keep, low, high))
    ties = keep
    for i in range(0, n_found, LANES):
        ties -= count((load(estimates + i) < limit) & ((1 << min(LANES, n_found - i)) - 1))
    kept = 0
    for i in range(0, n_found, LANES):
        value = load(estimates + i)
        near, at = value < limit, value == limit
        mask = (near | at) & ((1 << min(LANES, n_found - i)) - 1)
        while mask != 0:
            lane = first(mask)
            mask &= mask - 1
            if (at >> lane) & 1:
                if ties == 0:
                    continue
                ties -= 1
            chosen[kept], values[kept] = np.int64(candidates[i + lane]), estimates[i + lane]
            kept += 1
    return kept


@entry
def collect(path, probes, words, numbers, tables: Tables, alive, keep, floats, longs, found, values, done):
    """The rows of every query with the smallest estimates among those in its buckets.

    probes (q, n_probes) int64, see probe_order.py; words and numbers: see `encode_queries`; alive
    (q, w), (1, w) or (0, 0) words of bits; floats and longs: see `collect_space`. found (q, keep) int64 comes filled
    with -1, and values (q, keep) float32 receives the estimates; done (q, 3) receives how many buckets were probed, how
    many candidates estimated, how many rows found.
    """
    t = Tables(*tables)
    n_rows, n_words, n_recent = t.records.shape[0], t.records.shape[1] - 1, t.recent_rows.shape[0]
    n_alive, n_probes, n_bits = alive.shape[1], probes.shape[1], numbers.shape[1] - 2
    offsets, rows, new_offsets, new_rows = (pointer(t.offsets), pointer(t.rows), pointer(t.recent_offsets),
                                            pointer(t.recent_rows))  # fmt: skip
    record, number, bit, estimate, mark = (pointer(t.records), pointer(t.numbers), pointer(alive), pointer(floats),
                                           pointer(longs))  # fmt: skip
    low, candidate = estimate + n_rows + PADDING, mark + n_rows // 64 + 1
    high = low + n_rows + 2 * PADDING
    probe, code, projection, result, value = (pointer(probes), pointer(words), pointer(numbers), pointer(found),
                                              pointer(values))  # fmt: skip
    own = n_alive if alive.shape[0] > 1 else 0
    for i in range(words.shape[0]):
        n_found = 0
        for j in range(min(_PROBES_AHEAD, n_probes)):
            prefetch(offsets + probe[j])
        for visited in range(n_probes):
            if visited + _PROBES_AHEAD < n_probes:
                prefetch(offsets + probe[visited + _PROBES_AHEAD])
            if visited + _PROBES_AHEAD // 2 < n_probes:
                prefetch(rows + offsets[probe[visited + _PROBES_AHEAD // 2]])
            bucket = probe[visited]
            n_found = visit(offsets[bucket], offsets[bucket + 1], rows, mark, bit + i * own, n_alive, candidate,
                            n_found)  # fmt: skip
            if n_recent > 0:
                n_found = visit(new_offsets[bucket], new_offsets[bucket + 1], new_rows, mark, bit + i * own, n_alive,
                                candidate, n_found)  # fmt: skip
        for j in range(n_found):
            mark[candidate[j] // 64] = 0
        step = projection + n_bits
        estimate_all(candidate, n_found, code, code + n_words, n_words, step[0], step[1], record, number, estimate)
        done[i, PROBES], done[i, CANDIDATES] = n_probes, n_found
        done[i, FOUND] = keep_best(estimate, candidate, n_found, keep, low, high, result, value)
        probe, code, projection, result, value = (probe + n_probes, code + words.shape[1],
                                                  projection + numbers.shape[1], result + keep,
                                                  value + keep)  # fmt: skip


def collect_space(n_rows):
    """Scratch of `collect`: estimates, low and high; marks of the rows that were seen, of zeros, and candidates."""
    return np.empty(3 * n_rows + 5 * PADDING, np.float32), np.zeros(n_rows // 64 + 2 + n_rows, np.int64)
