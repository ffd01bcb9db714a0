"""How a search is answered: by a walk, or by an exact scan, whichever costs less.

A walk with a filter goes through nodes that may not be returned as through others, and ends when it has k that may. So
if the share f of all rows is allowed, it looks at about as many nodes as one for k / f neighbours, and has to reach as
far; calibration measured both for several k. A scan looks at the allowed rows. Where these are fewer, they are scanned.

What goes with the query nobody knows before: whether the rows around it are allowed, or forbidden all of them. So a
walk gives up once it has looked at as many nodes as there are rows to scan, and the scan answers: its answer is exact.
Before that, after a part of what a scan would cost, it looks at the nodes that it opened: if hardly any of these is
allowed, the filter excludes where the query lies, and to go on would seldom be of use: where it excludes few rows, a
walk gets out of them before that. A walk also gives up where what it found behind a filter is farther away than
calibration ever saw the neighbours: for there nobody measured how far it has to reach.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.common import rowsets
from annlab.core.structure import Beside, Request
from annlab.distances import Metric
from annlab.graphs.calibration import EVERYTHING, Calibration, Calibrations
from annlab.graphs.graph import Graph
from annlab.graphs.leading import axes_in_bytes
from annlab.graphs.points import Lifting
from annlab.graphs.room import keep_for, nodes_for_kernels, nodes_of_rows
from annlab.graphs.rows import Rows
from annlab.kernels.graphs.walk import Wanted
from annlab.kernels.graphs.walk_rows import Axes
from annlab.kernels.graphs.walk_search import ENOUGH, N_TALLY, Frame, Table
from annlab.kernels.scoring import Entries
from annlab.kernels.simd.prepared import Prepared

_SCARCE = 16  # where k is more than one row in so many, searches are exact
_LEAST_OPENED = 64
_PATIENCE, _HARDLY = 1024, 8  # rows to scan for one node that may be opened among excluded ones; see `_wanted`
_MOSTLY = 0.9  # of all rows: where fewer are allowed, neighbours are farther away than those of calibration
_REMEMBERED = 32
_LARGEST_REACH = 1e6
_POWER, _MOST_KEPT = 16, 64.0  # see `_factor_for`
_FIRST_OPINION = 64.0  # queries that are heard before anybody looks at where they come from
_NO_WORDS, _NO_ROWS = np.zeros(1, np.uint64), np.zeros(1, np.int64)
_NO_AXES = Axes(np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 0, 0)


class Walkable(NamedTuple):
    """A graph with the rows of its nodes."""

    graph: Graph
    blocks: np.ndarray
    rows: Rows
    lifting: Lifting


class Plan(NamedTuple):
    """A walk.

    Attributes
    ----------
    table : Table
        What the kernel is given, and
    prepared : Prepared
        the same as kernels see it.
    room : tuple of int
        The size of the room that it needs, see `new_room`.
    cost : float
        About how many multiply-adds a query takes.
    calibration : Calibration
    of : tuple
        The arrays of the request that it was made for.
    """

    table: Table
    prepared: Prepared
    room: tuple[int, ...]
    cost: float
    calibration: Calibration
    of: tuple[np.ndarray | None, np.ndarray]


class Plans:
    """Makes plans for one structure, and remembers them."""

    def __init__(self, calibrations: Calibrations, walkable: Walkable, vectors: np.ndarray, metric: Metric,
                 scanned_meanwhile: int = 1) -> None:  # fmt: skip
        self._scanned_meanwhile = scanned_meanwhile
        graph, blocks, rows, lifting = walkable
        self._calibrations, self._graph, self._rows = calibrations, graph, rows
        self._vectors, self._metric, self._n = vectors, metric, len(vectors)
        self._nodes = nodes_for_kernels(graph, blocks, rows)
        axes = _NO_AXES if rows.axes is None else Axes(*axes_in_bytes(rows.axes), *rows.axes.shape[::-1])
        self._frame = Frame(lifting.center, lifting.dim, lifting.scale, rows.step, rows.blur, axes)
        self._of_graph = graph.n_nodes, graph.degree, len(graph.entries)
        self._most = max(_LEAST_OPENED, math.ceil(2 * self._n / graph.degree))
        sizes = np.ones(1, np.int64) if graph.offsets is None else np.sort(np.diff(graph.offsets))[::-1]
        self._largest = np.cumsum(sizes)  # rows of so many nodes, at most
        self._known: dict[tuple[int, float | str, int], Plan] = {}
        self._model: Prepared | None = None
        self._entries: Entries | None = None
        self._sets = rowsets.Remembered()
        self._tallies: dict[int, np.ndarray] = {}
        self._unheard = np.zeros(N_TALLY)

    def of(self, k: int, request: Request) -> Plan | None:
        """The plan of a search for k neighbours; None where all allowed rows are to be scanned."""
        reach, alive = request.params["reach"], request.alive
        key = k, reach, id(alive)  # no other set has this number while its plan is known
        known = self._known.get(key)
        if known is not None and known.of[0] is alive and known.of[1] is request.keys:
            return known
        plan = self._made(k, reach, alive, self._entries_of(request.keys), _NO_ROWS[:0])
        if plan is not None:
            if len(self._known) >= _REMEMBERED:
                self._known = {}
            self._known[key] = plan
        return plan

    def beside(self, k: int, params: dict[str, Any], beside: Beside) -> Plan | None:
        """The same for searches that look at the tail, too."""
        alive = np.arange(len(beside.tail.vectors))
        if beside.tail_alive is not None:
            alive = np.flatnonzero(rowsets.unpack(beside.tail_alive, len(alive)))
        return self._made(k, params["reach"], beside.alive, beside.entries(self._vectors), alive + self._n)

    def _made(self, k: int, reach: float | str, alive: np.ndarray | None, entries: Entries,
              tail: np.ndarray) -> Plan | None:  # fmt: skip
        n_allowed = self._n if alive is None else int(np.bitwise_count(alive).sum())
        among = k * self._n / max(n_allowed, 1)  # so many neighbours have k that are allowed among them
        usual, factor = map(max, self._calibrations.at(among), self._calibrations.at(k))
        if reach != "auto":
            usual, factor = float(reach), self._factor_for(float(reach), usual, factor)
        scanned = self._calibrations.visited(among) * (1 if alive is None else self._scanned_meanwhile)
        if usual == EVERYTHING or _SCARCE * k > n_allowed or scanned > n_allowed:
            return None
        calibration = self._calibrations.nearest_to(k)
        guarded = reach == "auto" and n_allowed > _MOSTLY * self._n and calibration.k >= k and calibration.n_queries > 0
        wanted = self._wanted(k, usual, factor, alive, n_allowed)
        thinned = reach == "auto" and n_allowed <= _MOSTLY * self._n
        farthest = self._calibrations.farthest(among) if thinned else np.inf
        return self._plan(wanted, alive, entries, tail, farthest, guarded, self.tally(k) if guarded else None)

    def _factor_for(self, reach: float, usual: float, factor: float) -> float:
        """How many nodes are kept, times k, with a reach that was given rather than measured.

        Who reaches farther wants to miss less, and leading components mistake the order of rows that are about as far
        away: of these there are more, the more vectors decide. How many rows lie within a distance grows by a power of
        it.
        """
        if self._rows.axes is None or reach <= usual:
            return factor
        return min(factor * min(reach / usual, 2.0) ** _POWER, max(factor, _MOST_KEPT))

    def trial(self, k: int, reach: float, factor: float, alive: np.ndarray | None, keys: np.ndarray,
              most: int | None = None) -> Plan:  # fmt: skip
        """A plan to measure what a reach and a factor lead to; a walk opens `most` nodes at most."""
        wanted = self._wanted(k, reach, factor, alive, self._n)
        if most is not None:
            wanted = wanted._replace(most=min(most, wanted.most))
        return self._plan(wanted, alive, self._entries_of(keys), _NO_ROWS[:0])

    def _entries_of(self, keys: np.ndarray) -> Entries:
        """The rows as kernels measure them; those of the same keys are the same."""
        known, vectors = self._entries, self._vectors
        if known is None or known.keys is not keys:
            known = Entries(vectors, self._n, vectors[:0], keys, vectors.shape[1], self._metric.code)
            self._entries = known
        return known

    def _wanted(self, k: int, reach: float, factor: float, alive: np.ndarray | None, n_allowed: int) -> Wanted:
        most = max(_LEAST_OPENED, math.ceil(2 * n_allowed / self._graph.degree))
        words = _NO_WORDS if alive is None else self._nodes_of(alive)
        gamma = min(float(reach), _LARGEST_REACH) ** 2
        patience = max(_LEAST_OPENED, n_allowed // _PATIENCE)
        fewest = max(1, patience * n_allowed // (_HARDLY * self._n))  # an eighth of what chance would have it
        keep = keep_for(k, factor)
        deciding = keep if self._rows.axes is None else min(keep, math.ceil(factor * k))
        return Wanted(k, keep, deciding, most, words, alive is not None, gamma, self._rows.noise, patience, fewest)

    def _plan(self, wanted: Wanted, alive: np.ndarray | None, entries: Entries, tail: np.ndarray,
              farthest: float = np.inf, guarded: bool = False, tally: np.ndarray | None = None) -> Plan:  # fmt: skip
        rows, k = self._rows, wanted.k
        words, some = (_NO_WORDS if alive is None else alive), (tail if len(tail) else _NO_ROWS)
        tally = self._unheard if tally is None else tally  # queries behind a filter say nothing of the others
        table = Table(self._nodes, wanted, self._frame, entries, words, some, len(tail), farthest, tally, guarded)
        last = min(wanted.keep, len(self._largest)) - 1
        candidates = int(self._largest[last]) + wanted.keep + len(tail)
        room = (*self._of_graph, wanted.keep, self._most, rows.array.shape[1], self._frame.dim, candidates, k)
        cost = max(self._calibrations.visited(k), 100.0) * 4 * rows.array.shape[1]
        prepared = Prepared(table) if self._model is None else self._model.changed(table)
        self._model = self._model or prepared
        return Plan(table, prepared, room, cost, self._calibrations.nearest_to(k), (alive, entries.keys))

    def tally(self, k: int) -> np.ndarray:
        """What was heard of queries for k neighbours."""
        tally = self._tallies.get(k)
        if tally is None:
            if len(self._tallies) >= _REMEMBERED:
                self._tallies = {}
            self._tallies[k] = tally = np.zeros(N_TALLY)
            tally[ENOUGH] = _FIRST_OPINION
        return tally

    def _nodes_of(self, alive: np.ndarray) -> np.ndarray:
        """Bits of the nodes with a row of a set; those of a set that comes again are remembered."""
        known: np.ndarray | None = self._sets.get(alive)
        if known is None:
            known = nodes_of_rows(alive, self._graph.offsets, self._n)
            self._sets.put(alive, known)
        return known
