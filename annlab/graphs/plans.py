"""How a search is answered: by a walk, or by an exact scan, whichever costs less.

A walk with a filter goes through nodes that may not be returned as through others, and ends when it has k that may. So
if the share f of all rows is allowed, it looks at about as many nodes as one for k / f neighbours, and has to reach as
far; calibration measured both for several k. A scan looks at the allowed rows. Where these are fewer, they are scanned.

What goes with the query nobody knows before: whether the rows around it are allowed, or forbidden all of them. So a
walk gives up once it has looked at as many nodes as there are rows to scan, and the scan answers: then the query took
twice as long as it should have, never longer, and its answer is exact.
"""

import math
from typing import NamedTuple

import numpy as np

from annlab.common import rowsets
from annlab.core.structure import Request
from annlab.distances import Metric
from annlab.graphs.calibration import EVERYTHING, Calibration, Calibrations
from annlab.graphs.graph import Graph
from annlab.graphs.room import Asked, as_asked, keep_for, nodes_of_rows
from annlab.graphs.rows import Rows

_SCARCE = 16  # where k is more than one row in so many, searches are exact
_LEAST_OPENED = 64
_MOSTLY = 0.9  # of all rows: where fewer are allowed, neighbours are farther away than those of calibration
_REMEMBERED = 32


class Plan(NamedTuple):
    """A walk.

    Attributes
    ----------
    asked : Asked
        For the kernel.
    keep, most : int
        Nodes whose vectors decide, and nodes to open before giving up.
    cost : float
        About how many multiply-adds a query takes.
    guarded : bool
        Whether what is found tells where queries come from.
    calibration : Calibration
    of : tuple
        The arrays of the request that it was made for.
    """

    asked: Asked
    keep: int
    most: int
    cost: float
    guarded: bool
    calibration: Calibration
    of: tuple[np.ndarray | None, np.ndarray]


class Plans:
    """Makes plans, and remembers them."""

    def __init__(self, calibrations: Calibrations, graph: Graph, rows: Rows, metric: Metric, scale: float,
                 n: int) -> None:  # fmt: skip
        self._calibrations, self._graph, self._rows = calibrations, graph, rows
        self._metric, self._scale, self._n = metric, scale, n
        self._known: dict[tuple[int, float | str], Plan | None] = {}
        self._sets = rowsets.Remembered()
        self.warned = False

    def of(self, k: int, request: Request) -> Plan | None:
        """The plan of a search for k neighbours; None where all allowed rows are to be scanned."""
        reach, alive = request.params["reach"], request.alive
        known = self._known.get((k, reach))
        if known is not None and known.of[0] is alive and known.of[1] is request.keys:
            return known
        plan = self._made(k, reach, alive, request.keys)
        if plan is not None:
            if len(self._known) >= _REMEMBERED:
                self._known = {}
            self._known[k, reach] = plan
        return plan

    def _made(self, k: int, reach: float | str, alive: np.ndarray | None, keys: np.ndarray) -> Plan | None:
        n_allowed = self._n if alive is None else int(np.bitwise_count(alive).sum())
        among = k * self._n / max(n_allowed, 1)  # so many neighbours have k that are allowed among them
        usual, factor = self._calibrations.at(among)
        if reach != "auto":
            usual = float(reach)
        if usual == EVERYTHING or _SCARCE * k > n_allowed or self._calibrations.visited(among) > n_allowed:
            return None
        guarded = reach == "auto" and n_allowed > _MOSTLY * self._n and self._calibrations.nearest_to(k).k >= k
        return self._plan(k, usual, factor, alive, keys, n_allowed, guarded)

    def trial(self, k: int, reach: float, factor: float, alive: np.ndarray | None, keys: np.ndarray) -> Plan:
        """A plan to measure what a reach and a factor lead to."""
        return self._plan(k, reach, factor, alive, keys, self._n, False)

    def _plan(self, k: int, reach: float, factor: float, alive: np.ndarray | None, keys: np.ndarray, n_allowed: int,
              guarded: bool) -> Plan:  # fmt: skip
        rows, degree = self._rows, self._graph.degree
        keep, most = keep_for(k, factor), max(_LEAST_OPENED, math.ceil(2 * n_allowed / degree))
        gamma = min(reach, 1e6) ** 2
        numbers = (gamma, rows.noise, rows.blur, rows.step, self._scale, 0.0, 0.0)
        asked = as_asked(k, keep, most, numbers, self._metric.code, self._words(alive), keys)
        cost = max(self._calibrations.visited(k), 100.0) * 4 * rows.array.shape[1]
        return Plan(asked, keep, most, cost, guarded, self._calibrations.nearest_to(k), (alive, keys))

    def _words(self, alive: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Bits of allowed nodes and rows; those of a set that comes again are remembered."""
        if alive is None:
            return None
        known: np.ndarray | None = self._sets.get(alive)
        if known is None:
            known = nodes_of_rows(alive, self._graph.offsets, self._n)
            self._sets.put(alive, known)
        return known, alive
