"""One query of an exact index by cells, in one call: its way through the cells, nearest first, and the answer.

The bounds are those of `kernels/scan/cells.py` and `annlab/scan/cells.py`: a query of its own is a group of one. What
differs is the order. A batch goes from cell to cell, for a cell that is read once serves all queries that come to it;
one query knows all its distances from the centers at once and goes to the nearest cells first, so that its bound is
small when it comes to the others.

What is not for it (a query that would look into most of the cells, magnitudes at which the argument does not hold, a
buffer that overflows) is left to the general way.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE
from annlab.kernels.scan import cells as by_cells
from annlab.kernels.scan.batch import OVERFLOWED, first_trigger
from annlab.kernels.scan.cells import Cells, Kept, bound_group, collect, is_near, move_group, new_kept, tighten
from annlab.kernels.scan.int8 import FLOOR, N_LIMITS, QUAD_BYTES, STEP, STORED_ROWS
from annlab.kernels.scan.one import Hits, new_hits
from annlab.kernels.scan.one_bytes import panel_sums
from annlab.kernels.scan.shortcut import Part, offer_tail
from annlab.kernels.scoring import Entries
from annlab.kernels.shortcut import Desk, length_of, new_desk, settle
from annlab.kernels.simd.lanes import total
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import LANES, fma, lanes_of, load, pointer, splat, store, zeros
from annlab.kernels.tile import PANEL_ROWS

_LARGEST = np.finfo(np.float32).max
_SORTED = 256  # cells that are put in order: where there are more, most will be looked into


class Frame(NamedTuple):
    """How a vector becomes a point: `annlab.scan.cells.Frame`."""

    center: Any  # (stride,) float64, zeros behind the last coordinate
    scale: float
    metric: int
    faint: float  # a length between these has a square that is a number
    far: float
    longest: float  # of a point: beyond, all is rounding
    size: float  # of all points, what vectors of length 1 are in their units included
    exact: bool  # whether points of integers lose nothing as bytes


class Table(NamedTuple):
    """All that one query needs to know of a state."""

    entries: Entries
    cells: Cells
    n_cells: int
    frame: Frame
    most_seen: int  # panels: beyond, the plain scan is quicker
    alive: Any  # bits of the living rows, or
    has_alive: bool  # all are
    tail: Part


class Room(NamedTuple):
    """Scratch of a thread."""

    point: Any  # (stride,) float64
    tie: Any  # (1,) float64: what upper values take besides
    distances: Any  # (cells,) float32: squared, from the centers, rounded down
    order: Any  # (cells,) int64: those that are still to be looked into
    kept: Kept
    cell: by_cells.Room
    unit: Any  # (dim,) float32: for the tail, as well as
    hits: Hits
    desk: Desk


def new_room(dim: int, stride: int, quads: int, n_cells: int, most: int, k: int) -> Room:
    """Room for a query of `dim` coordinates, and for buffers of about so many rows."""
    kept, hits = new_kept(1, k, most), new_hits(most)
    return Room(np.zeros(stride), np.zeros(1), np.empty(n_cells, np.float32), np.empty(n_cells, np.int64), kept,
                by_cells.new_room(1, quads, stride), np.empty(dim, np.float32), hits,
                new_desk(kept.capacity + hits.capacity, k))  # fmt: skip


@kernel
def place(frame, q, norm, dim, point):
    """Write a vector as a point, and return its length; infinity where the argument does not hold."""
    factor, square = 1.0, 0.0
    if frame.metric == COSINE:
        if not (norm > frame.faint and norm < frame.far):
            return np.inf
        factor = 1.0 / norm
    for i in range(dim):
        point[i] = (np.float64(q[i]) * factor - frame.center[i]) * frame.scale
        square += point[i] * point[i]
    length = math.sqrt(square)
    return length if length < frame.longest else np.inf


@kernel
def is_whole(point, dim):
    """Whether all coordinates are integers."""
    for i in range(dim):
        if point[i] != math.floor(point[i]):
            return False
    return True


@kernel
def measure_centers(cells, n_cells, point, distances):
    """Fill the squared distances of a point from the centers; returns the nearest.

    They are summed in float64, so that rounding down to float32 is all that has to be taken off.
    """
    lanes, stride, nearest = lanes_of(point), cells.stride, 0
    for cell in range(n_cells):
        center = cells.centers + cell * stride
        even, odd = zeros(point), zeros(point)
        for i in range(0, stride, 2 * lanes):
            d, e = load(point + i) - load(center + i), load(point + i + lanes) - load(center + i + lanes)
            even, odd = fma(d, d, even), fma(e, e, odd)
        distances[cell] = np.float32(total(even + odd) * (1.0 - 2.0**-22))
        if distances[cell] < distances[nearest]:
            nearest = cell
    return nearest


@kernel
def cells_within_reach(cells, n_cells, distances, bound, nearest, order):
    """List the cells, but for the nearest, that a bound lets a query into, nearest first; returns their number."""
    n = 0
    for cell in range(n_cells):
        if cell != nearest and is_near(bound, np.float64(cells.radii[cell]), distances[cell]):
            order[n] = cell
            n += 1
    if n <= _SORTED:
        for i in range(1, n):
            cell, j = order[i], i
            while j > 0 and distances[order[j - 1]] > distances[cell]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = cell
    return n


@kernel
def scan_cell(cells, asked, kept, room, cell):
    """Offer the rows of a cell to the query."""
    if cells.firsts[cell] == cells.firsts[cell + 1]:  # k-means may leave a center without rows
        return
    move_group(cells, asked, kept, room, cell, 0, 1)
    inverse_step, quads = np.float32(1.0) / room.steps[0], cells.quads
    for panel in range(cells.firsts[cell], cells.firsts[cell + 1]):
        limits = cells.limits + panel * N_LIMITS
        bound_group(room, limits)
        inverse = inverse_step / limits[STEP]
        for strip in range(0, STORED_ROWS, PANEL_ROWS):
            row = panel * STORED_ROWS + strip
            codes = cells.codes + panel * quads * QUAD_BYTES + 4 * strip
            low, high = panel_sums(codes, cells.half_norms + row, inverse, room.signed, quads)
            if ((low <= splat(room.most[0])) | (high <= splat(room.most[0]))) != 0:
                store(room.sums, low)
                store(room.sums + LANES, high)
                collect(cells, asked, kept, room, 0, 1, row)
                bound_group(room, limits)


@kernel
def offer_cells(t, r):
    """The buffer receives what can be among the k nearest rows; returns its length, or OVERFLOWED."""
    cells, kept, point = t.cells, r.kept, r.point
    exact = 1.0 if t.frame.exact and is_whole(point, t.entries.dim) else 0.0
    asked = by_cells.Queries(point, 1, r.distances, 1, r.order, exact, r.tie, t.alive, 0, t.has_alive)
    kept.bounds[0], kept.lengths[0], seen = _LARGEST, 0, 0
    kept.triggers[0], r.cell.which[0] = first_trigger(kept.k, kept.capacity), 0
    cell = measure_centers(cells, t.n_cells, point, r.distances)
    scan_cell(cells, asked, kept, r.cell, cell)
    if kept.lengths[0] > kept.k:
        tighten(kept, 0, r.tie[0])
    for i in range(cells_within_reach(cells, t.n_cells, r.distances, kept.bounds[0], cell, r.order)):
        cell = r.order[i]
        if kept.lengths[0] == OVERFLOWED or seen > t.most_seen:
            return OVERFLOWED
        if is_near(kept.bounds[0], np.float64(cells.radii[cell]), r.distances[cell]):
            seen += cells.firsts[cell + 1] - cells.firsts[cell]
            scan_cell(cells, asked, kept, r.cell, cell)
    if kept.lengths[0] > kept.k:
        tighten(kept, 0, r.tie[0])
    return kept.lengths[0]


@entry
def search_by_cells(path, table, query, room, distances, ids):
    """Fill distances and ids (k,) for a query (dim,); whether that was possible."""
    t, r = opened(table), opened(room)
    entries, q = t.entries, pointer(query)
    norm = length_of(query, entries.dim)
    if not norm < np.inf:
        return False
    length = place(t.frame, q, norm, entries.dim, r.point)
    if not length < np.inf:
        return False
    r.tie[0] = 2.0**-36 * (length + t.frame.size) ** 2 + FLOOR
    m = offer_cells(t, r)
    if m == OVERFLOWED:
        return False
    for i in range(m):
        r.desk.candidates[i] = t.cells.numbers[r.kept.places[i]]
    m = offer_tail(entries, t.tail, q, norm, r, ids.shape[0], m)
    if m == OVERFLOWED:
        return False
    settle(query, entries, r.desk, m, distances, ids)
    return True
