"""The search of a graph, from a query to its answer, in one call: convert, walk, and let the vectors decide.

A walk ends with the `keep` nodes that are nearest by their codes. Codes are off by no more than `blur`: by what the
point and the query lost to rounding. So whoever is farther away than the k-th by more than twice that is none of the k
nearest, and of the others the vectors are measured by the one definition of a distance (`kernels/distance.py`). A node
may stand for several vectors; all of them are measured.
"""

import math
from typing import Any

import numpy as np

from annlab.kernels.distance import COSINE, distance, inverse_norm
from annlab.kernels.graphs.walk import Scratch, Wanted, walking
from annlab.kernels.graphs.walk_open import Open
from annlab.kernels.graphs.walk_rows import (
    Asking,
    ask_for_bytes,
    ask_for_floats,
    byte_distances,
    convert,
    float_distances,
    round_to_bytes,
)
from annlab.kernels.simd.addresses import bytes_at, floats_at, ints_at, longs_at, signed_bytes_at, words_at
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.registers import LANES, float_memory, float_registers, int_registers, pointer, prefetch
from annlab.kernels.topk import push, sort_heap

_INFINITY, _ZERO, _NOUGHT = np.inf, np.float32(0.0), np.int32(0)
_DISTANCES, _VISITED, _BYTES = 0, 1, 2  # columns of the counters, see common/statistics.py
_ROUNDING = 1e-5  # of a float32 sum, and more
_LINE = 16  # elements of a vector to ask for at once
GAVE_UP, HIDDEN, KTH = 0, 1, 2  # columns of the notes: whether too many nodes were opened; a node that the walk must
N_NOTES = 3  # not see, or -1; the squared distance of the k-th
GAMMA, SLACK, BLUR, STEP, SCALE, COUNT, TOTAL = range(7)  # numbers of a search; count and total are added to
N_NUMBERS = 7


@inlined
def scratch_at(room):
    """See `graphs/room.py`, which fills in the addresses."""
    lists = Open(floats_at(room[2]), ints_at(room[3]), floats_at(room[4]), ints_at(room[5]), floats_at(room[6]),
                 floats_at(room[7]))  # fmt: skip
    return Scratch(longs_at(room[0]), ints_at(room[1]), lists, ints_at(room[8]), floats_at(room[9]),
                   floats_at(room[10]), ints_at(room[11]), floats_at(room[12]), signed_bytes_at(room[13]),
                   floats_at(room[14]), room[15])  # fmt: skip


@inlined
def wanted_at(asked, numbers):
    """See `graphs/room.py`."""
    return Wanted(asked[0], asked[1], asked[2], asked[3], asked[4], words_at(asked[5]), words_at(asked[6]),
                  longs_at(asked[7]), np.float32(numbers[GAMMA]), np.float32(numbers[SLACK]))  # fmt: skip


@inlined
def _is_alive(wanted, row):
    return wanted.has_alive == 0 or (np.int64(wanted.alive_rows[row >> 6]) >> (row & 63)) & 1 != 0


@kernel
def decide(query, vectors, dim, nodes, room, wanted, blur, distances, ids):
    """The k nearest vectors of the nearest nodes by (distance, id), sorted; infinity and -1 where there are no more."""
    limit, size, k = _INFINITY, 0, wanted.k
    kth = np.float64(room.best[k - 1])
    if kth < _INFINITY:
        limit = (math.sqrt(max(kth, 0.0)) + 2.0 * blur) ** 2 * (1.0 + _ROUNDING)
    chosen = 0
    while chosen < wanted.keep and room.best_nodes[chosen] >= 0 and (chosen < k or room.best[chosen] <= limit):
        node = np.int64(room.best_nodes[chosen])
        row = nodes.offsets[node] if nodes.has_offsets != 0 else node
        for i in range(0, dim, _LINE):
            prefetch(vectors + (row * dim + i))
        chosen += 1
    scale = inverse_norm(query, dim) if wanted.metric == COSINE else 0.0
    for j in range(chosen):
        node = np.int64(room.best_nodes[j])
        start, stop = node, node + 1
        if nodes.has_offsets != 0:
            start, stop = nodes.offsets[node], nodes.offsets[node + 1]
        for row in range(start, stop):
            if _is_alive(wanted, row):
                value = distance(vectors + row * dim, query, scale, dim, wanted.metric)
                size = push(distances, ids, size, k, value, wanted.keys[row])
    sort_heap(distances, ids, size)
    for j in range(size, k):
        distances[j], ids[j] = _INFINITY, -1


def _searching(rows_at: Any, registers: Any, compare: Any, ask_for: Any, has_codes: bool) -> Any:
    nodes_at, walk = walking(rows_at, registers, compare, ask_for)
    row_bytes = 1 if has_codes else 4

    @kernel
    def search(query, vectors, dim, nodes, room, wanted, numbers, results, counters, notes):
        convert(query, dim, wanted.metric, nodes.center, numbers[SCALE], room.point)
        if has_codes:
            factor, offset, middle = round_to_bytes(room.point, nodes.point_dim, np.float32(numbers[STEP]), room.codes,
                                                    nodes.stride)  # fmt: skip
        else:
            factor, offset, middle = _ZERO, _ZERO, _NOUGHT
        asking = Asking(room.codes, room.point, factor, offset, middle)
        seen, opened, gave_up = walk(nodes, room, wanted, asking, np.int64(notes[HIDDEN]),
                                     float_memory(LANES))  # fmt: skip
        distances, ids = results
        blur = numbers[BLUR]
        if has_codes:  # half a step of the query's own bytes in every coordinate
            blur += 0.5 * math.sqrt(nodes.point_dim) * -factor / (2.0 * numbers[STEP])
        decide(query, vectors, dim, nodes, room, wanted, blur, distances, ids)
        looked_at = seen + nodes.n_entries
        counters[_DISTANCES] += looked_at
        counters[_VISITED] += opened
        counters[_BYTES] += looked_at * nodes.stride * row_bytes + opened * 8 * nodes.degree
        notes[GAVE_UP] = 1.0 if gave_up else 0.0
        notes[KTH] = room.best[wanted.k - 1]
        if room.best[wanted.k - 1] < _INFINITY:
            numbers[COUNT] += 1.0
            numbers[TOTAL] += math.log(max(room.best[wanted.k - 1], 1e-30))

    return nodes_at, search


_BYTE_NODES, _search_bytes = _searching(bytes_at, int_registers, byte_distances, ask_for_bytes, True)
_FLOAT_NODES, _search_floats = _searching(floats_at, float_registers, float_distances, ask_for_floats, False)


@entry
def search_bytes(path, queries, vectors, fixed, numbers, asked, room, distances, ids, counters, notes):
    """The k nearest of every query (q, dim): distances float64 and ids (q, k), by codes.

    vectors (n, dim); fixed, numbers, asked and room: `graphs/room.py`; counters (q, N_COUNTERS) are added to, notes
    (q, N_NOTES) float64 say what happened.
    """
    nodes, scratch, wanted = _BYTE_NODES(fixed), scratch_at(room), wanted_at(asked, numbers)
    dim, k = queries.shape[1], distances.shape[1]
    for i in range(queries.shape[0]):
        results = pointer(distances) + i * k, pointer(ids) + i * k
        _search_bytes(pointer(queries) + i * dim, pointer(vectors), dim, nodes, scratch, wanted, numbers, results,
                      pointer(counters) + i * counters.shape[1], pointer(notes) + i * N_NOTES)  # fmt: skip


@entry
def search_floats(path, queries, vectors, fixed, numbers, asked, room, distances, ids, counters, notes):
    """The same by points."""
    nodes, scratch, wanted = _FLOAT_NODES(fixed), scratch_at(room), wanted_at(asked, numbers)
    dim, k = queries.shape[1], distances.shape[1]
    for i in range(queries.shape[0]):
        results = pointer(distances) + i * k, pointer(ids) + i * k
        _search_floats(pointer(queries) + i * dim, pointer(vectors), dim, nodes, scratch, wanted, numbers, results,
                       pointer(counters) + i * counters.shape[1], pointer(notes) + i * N_NOTES)  # fmt: skip
