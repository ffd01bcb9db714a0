"""The search of a graph, from a query to its answer, in one call: convert, walk, and let the vectors decide.

A walk ends with the `keep` nodes that are nearest by their codes. Codes are off by `blur`: by what a point and the
query lost to rounding. That has no direction of its own, so of its length only a share of 1 / sqrt(dim) usually lies in
the direction of the query and changes a distance. Whoever is farther away than the k-th by more than several times that
is hardly one of the k nearest; of the others the vectors are measured by the one definition of a distance
(`kernels/scoring.py`). A node may stand for several vectors; all of them are measured, and so are the rows of the tail,
which no link leads to. Codes of leading components leave out too much to exclude anybody: then so many are measured as
calibration asked for (`deciding`).

Where a walk opens too many nodes, or what it finds behind a filter is unusually far away, it gives up, and a scan
answers.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.graphs.walk import Nodes, Scratch, Wanted, new_scratch, walking
from annlab.kernels.graphs.walk_rows import (
    ROW_BYTES,
    Asking,
    Axes,
    ask_for_bytes,
    ask_for_floats,
    byte_distances,
    convert,
    float_distances,
    round_to_bytes,
    turn_query,
)
from annlab.kernels.scoring import Entries, nearest_of
from annlab.kernels.shortcut import Desk, length_of, new_desk, settle
from annlab.kernels.simd.path import entry, inlined, kernel
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import LANES, float_memory, float_registers, int_registers, pointer

_INFINITY, _ZERO, _NOUGHT = np.inf, np.float32(0.0), np.int32(0)
_DISTANCES, _VISITED, _BYTES = 0, 1, 2  # columns of the counters, see common/statistics.py
_ROUNDING = 1e-5  # of a float32 sum, and more
_SURE = 3.0  # times what usually lies in the direction of the query
GAVE_UP, HIDDEN, KTH = 0, 1, 2  # columns of the notes: whether too many nodes were opened; a node that the walk must
N_NOTES = 3  # not see, or -1; the squared distance of the k-th
COUNT, TOTAL, ENOUGH = 0, 1, 2  # of a tally: queries, the sum of the logarithms of their k-th squared distances, and
N_TALLY = 3  # of how many queries somebody wants to hear


class Frame(NamedTuple):
    """How queries become points, and points bytes."""

    center: Any  # float64 (dim,)
    dim: int  # of points
    scale: float
    step: float
    blur: float  # of the rows
    axes: Axes  # of the components that codes hold, where there are some


class Table(NamedTuple):
    """A search of a structure."""

    nodes: Nodes
    wanted: Wanted
    frame: Frame
    entries: Entries
    alive: Any  # uint64 words of bits of the allowed rows, read if the walk has some
    tail: Any  # int64: the living rows of the tail
    n_tail: int
    farthest: float  # squared distance: a walk whose k-th neighbour is farther away gives up
    tally: Any  # float64 (N_TALLY,)
    guarded: bool


class Room(NamedTuple):
    """Scratch of a thread."""

    walk: Scratch
    codes: Any  # int8 (stride,) and
    point: Any  # float32: of the query,
    rounded: Any  # int8: its bytes while it is turned, and
    turned: Any  # float32: its components
    desk: Desk


def new_room(n_nodes: int, degree: int, n_entries: int, keep: int, most: int, stride: int, point_dim: int,
             candidates: int, k: int) -> Room:  # fmt: skip
    """Room for walks that open at most so many nodes, and for so many candidates."""
    walk = new_scratch(n_nodes, degree, n_entries, keep, most)
    return Room(walk, np.zeros(stride, np.int8), np.zeros(point_dim + 2 * LANES, np.float32),
                np.zeros(point_dim + ROW_BYTES, np.int8), np.zeros(stride, np.float32),
                new_desk(candidates, k))  # fmt: skip


@inlined
def _gather(table, room, blur):
    """Candidates: the rows of the nodes that can be among the k nearest, and the tail; returns how many."""
    nodes, wanted, walk, candidates = table.nodes, table.wanted, room.walk, room.desk.candidates
    limit, k, m = _INFINITY, wanted.k, 0
    kth = np.float64(walk.best[k - 1])
    if kth < _INFINITY and table.frame.axes.n_axes == 0:
        off = _SURE * blur / math.sqrt(table.frame.dim)
        limit = (math.sqrt(max(kth, 0.0)) + 2.0 * off) ** 2 * (1.0 + _ROUNDING)
    for j in range(wanted.deciding):
        node = np.int64(walk.best_nodes[j])
        if node < 0 or (j >= k and walk.best[j] > limit):
            break
        start, stop = node, node + 1
        if nodes.has_offsets != 0:
            start, stop = nodes.offsets[node], nodes.offsets[node + 1]
        for row in range(start, stop):
            candidates[m] = row
            if wanted.has_alive == 0 or (np.int64(table.alive[row >> 6]) >> (row & 63)) & 1 != 0:
                m += 1
    for i in range(table.n_tail):
        candidates[m + i] = table.tail[i]
    return m + table.n_tail


def _finding(registers: Any, compare: Any, ask_for: Any, has_codes: bool) -> Any:
    walk = walking(registers, compare, ask_for)

    @kernel
    def find(query, table, room, hidden):
        """The candidates of a query (dim,); returns their number, nodes seen and opened, and whether it gave up."""
        entries, frame = table.entries, table.frame
        convert(query, entries.dim, entries.metric, frame.center, frame.scale, room.point)
        factor, offset, middle, blur = _ZERO, _ZERO, _NOUGHT, frame.blur
        if has_codes:
            point, dim = room.point, frame.dim
            if frame.axes.n_axes != 0:
                turn_query(point, frame.axes, room.rounded, room.turned)
                point, dim = room.turned, frame.axes.n_axes
            factor, offset, middle = round_to_bytes(point, dim, np.float32(frame.step), room.codes,
                                                    table.nodes.stride)  # fmt: skip
            blur += 0.25 * math.sqrt(dim) * -factor / frame.step  # half a step of the query in every coordinate
        asking = Asking(room.codes, room.point, factor, offset, middle)
        seen, opened_nodes, gave_up = walk(table.nodes, room.walk, table.wanted, asking, hidden, float_memory(LANES))
        kth = room.walk.best[table.wanted.k - 1]
        if kth < _INFINITY and not gave_up:
            table.tally[COUNT] += 1.0
            table.tally[TOTAL] += math.log(max(kth, 1e-30))
        gave_up = gave_up or kth > table.farthest
        return _gather(table, room, blur), seen, opened_nodes, gave_up

    return find


_find_by_bytes = _finding(int_registers, byte_distances, ask_for_bytes, True)
_find_by_floats = _finding(float_registers, float_distances, ask_for_floats, False)


def _answering(find: Any, row_bytes: int) -> Any:
    @kernel
    def answer(queries, table, room, distances, ids, counters, notes):
        nodes, entries, desk, k = table.nodes, table.entries, room.desk, table.wanted.k
        for i in range(queries.shape[0]):
            m, seen, opened_nodes, gave_up = find(pointer(queries) + i * entries.dim, table, room,
                                                  np.int64(notes[i, HIDDEN]))  # fmt: skip
            best, names = pointer(distances) + i * k, pointer(ids) + i * k
            size = nearest_of(queries, i, entries, desk.candidates, m, k, best, names, desk.space)
            for j in range(size, k):
                best[j], names[j] = _INFINITY, -1
            looked_at = seen + nodes.n_entries
            counters[i, _DISTANCES] += looked_at
            counters[i, _VISITED] += opened_nodes
            counters[i, _BYTES] += looked_at * nodes.stride * row_bytes + opened_nodes * 8 * nodes.degree
            notes[i, GAVE_UP] = 1.0 if gave_up else 0.0
            notes[i, KTH] = room.walk.best[k - 1]

    return answer


_answer_by_bytes, _answer_by_floats = _answering(_find_by_bytes, 1), _answering(_find_by_floats, 4)


@entry
def search_bytes(path, queries, table, room, distances, ids, counters, notes):
    """The k nearest of every query (q, dim) by codes: distances float64 and ids (q, k).

    counters (q, N_COUNTERS) are added to; notes (q, N_NOTES) float64 say what happened.
    """
    _answer_by_bytes(queries, opened(table), opened(room), distances, ids, counters, notes)


@entry
def search_floats(path, queries, table, room, distances, ids, counters, notes):
    """The same by points."""
    _answer_by_floats(queries, opened(table), opened(room), distances, ids, counters, notes)


def _shortened(find: Any) -> Any:
    @kernel
    def shortened(t, r, query, distances, ids):
        if t.guarded != 0 and t.tally[COUNT] >= t.tally[ENOUGH]:  # somebody wants to look at that
            return False
        if not length_of(query, t.entries.dim) < _INFINITY:
            return False
        m, _, _, gave_up = find(pointer(query), t, r, -1)
        if gave_up:
            return False
        settle(query, t.entries, r.desk, m, distances, ids)
        return True

    return shortened


_shortened_by_bytes, _shortened_by_floats = _shortened(_find_by_bytes), _shortened(_find_by_floats)


@entry
def shortcut_bytes(path, table, query, room, distances, ids):
    """One query (dim,) in one call, see `core/shortcut.py`: fills distances and ids (k,); whether that was possible."""
    return _shortened_by_bytes(opened(table), opened(room), query, distances, ids)


@entry
def shortcut_floats(path, table, query, room, distances, ids):
    """The same by points."""
    return _shortened_by_floats(opened(table), opened(room), query, distances, ids)
