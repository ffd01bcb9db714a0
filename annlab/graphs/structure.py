"""The structure of VamanaIndex: a graph, the rows of its nodes, and a walk.

The page `vamana.py` explains the idea and the arrays. Here is what an index does with them:

    build      points (graphs/points.py), their graph (graphs/build.py), rows (graphs/rows.py); then `reach` is measured
               (graphs/calibration.py)
    search     a walk for each query (kernels/graphs/walk_search.py); what is cheaper by a scan is scanned
               (graphs/plans.py)
    absorb     new rows are linked into the graph; once there are a tenth more, reach is checked, and measured anew
               where it is not enough

A structure of few rows has no graph: all of them are scanned.
"""

from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from annlab.common import pool, rowsets
from annlab.common.memory import copied
from annlab.common.statistics import N_COUNTERS
from annlab.core.calibration import KS
from annlab.core.heldout import HeldOut, n_held_out
from annlab.core.structure import SMALL_TAIL, Beside, Building, Request, Scored, Shortcut, Structure, newest_of, since
from annlab.distances import Metric
from annlab.graphs import calibration, guard, stored
from annlab.graphs.build import build_graph
from annlab.graphs.calibration import Calibration, Calibrations, Found
from annlab.graphs.changes import insert
from annlab.graphs.graph import Graph
from annlab.graphs.leading import LEAST_FACTOR, leading_axes, left_out, turned
from annlab.graphs.plans import Plan, Plans, Walkable
from annlab.graphs.points import Lifting
from annlab.graphs.room import Rooms, blocks_of, nodes_of_rows
from annlab.graphs.rows import Rows, are_in_range, in_line, rows_of, step_for
from annlab.kernels import scoring
from annlab.kernels.graphs import walk_search as kernels
from annlab.scan.int8 import ByteScanner, pays, suits
from annlab.scan.scanner import Scanner
from annlab.scan.shortcut import exact_shortcut

_GROWTH = 1.1  # times the rows when reach was measured: it is measured again
_REBUILT = 2.0  # times the rows that codes and center were made for
_COPIES = 64  # while the rows become twice as many, the graph may be copied about so often
_BATCH = 16  # queries that are walked for one by one, as walks share nothing: below, the way of batches takes longer
_SCANS = 32  # for so many queries, after which rows are kept as bytes, too: these take about as long to make
_IN_ONE_GO = 0.4  # of the time that as many bytes of rows take, which lie anywhere
_CALIBRATED = 300  # held-out rows of either kind, when new ones came


class Age(NamedTuple):
    """How many rows there were when all was built, and when reach was measured."""

    n_trained: int
    n_measured: int


class GraphStructure(Structure):
    """Vectors, and where there are enough of them, a graph over them."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "codes", "points"})
    exact_up_to: ClassVar[int] = 1000
    """Rows that are scanned rather than linked."""
    scanned_meanwhile: ClassVar[int] = 2
    """Rows behind a filter that are scanned in the time in which a walk compares one."""

    def __init__(self, vectors: np.ndarray, metric: Metric, walkable: Walkable | None, calibrations: Calibrations,
                 age: Age, newest: np.ndarray | None = None) -> None:  # fmt: skip
        """newest (n,) bool: rows that came since reach was last measured; None: none did, or nobody knows."""
        self._newest = newest
        self.vectors, self.metric, self.walkable = vectors, metric, walkable
        self.calibrations, self.age = calibrations, age
        self._n_scanned = 0
        self._quick: Scanner | None = None
        if walkable is not None:
            self.plans, self._rooms = Plans(calibrations, walkable, vectors, metric, self.scanned_meanwhile), Rooms()

    @cached_property
    def scanner(self) -> Scanner:
        """For an exact scan of all vectors."""
        return Scanner(self.vectors, self.metric)

    @property
    def exhaustive(self) -> bool:  # type: ignore[override]
        return self.walkable is None

    # ---- building

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray | None]:
        metric, params, n = building.metric, building.params, len(vectors)
        age, target = Age(n, n), params["target_recall"]
        if n <= cls.exact_up_to:
            kept = vectors if building.owned else copied(vectors)
            return cls(kept, metric, None, calibration.unmeasured(target), age), None
        has_codes = uses_codes(params["storage"], vectors.shape[1])
        lifting = Lifting.of(vectors, metric, centred=has_codes or vectors.dtype != np.float32)
        points = lifting.points(vectors, building.threads)
        graph, order = build_graph(points, degree=params["degree"], alpha=params["alpha"], threads=building.threads,
                                   seed=int(building.rng.integers(2**62)), progress=building.progress)  # fmt: skip
        axes = leading_axes(points, building.threads) if has_codes else None
        together, points = vectors[order], points[order]
        components = turned(points, axes, building.threads)
        rows = _rows_of(points, components, together, graph, lifting, step_for(components) if has_codes else None,
                        axes)  # fmt: skip
        structure = cls(
            together,
            metric,
            Walkable(graph, blocks_of(graph, rows.norms), rows, lifting),
            calibration.unmeasured(target),
            age,
        )
        building.progress("calibrating", 0.0)
        chosen = building.rng.permutation(n)[: n_held_out(n)]
        structure = structure.calibrated(structure.held_out(chosen, building.threads), target, building.threads)
        building.progress("calibrating", 1.0)
        return structure, order

    def held_out(self, chosen: np.ndarray, threads: int) -> HeldOut:
        """Some rows as queries, masked, and their nearest."""
        return HeldOut.of_rows(self.vectors, self.metric, chosen, KS[2], threads=threads,
                               scanner=self.scanner)  # fmt: skip

    def calibrated(self, held_out: HeldOut, target: float, threads: int, groups: np.ndarray | None = None) -> Self:
        """This structure with a reach that gets to the target on held-out queries, and on every group of them."""
        if self.walkable is None:
            return self
        measured = calibration.measured(self, held_out, target, threads, groups)
        return type(self)(
            self.vectors, self.metric, self.walkable, measured, self.age._replace(n_measured=len(self.vectors))
        )

    @property
    def calibration(self) -> Calibration:
        """That of k = 10."""
        return self.calibrations.main

    @property
    def has_codes(self) -> bool:
        """Whether walks compare codes."""
        return self.walkable is not None and self.walkable.rows.has_codes

    @property
    def least_factor(self) -> float:
        """At least how many nodes a walk has to keep, times k."""
        return 1.0 if self.walkable is None or self.walkable.rows.axes is None else LEAST_FACTOR

    @property
    def vector_weight(self) -> float:
        """In the time for how many rows that a walk compares a vector is measured: a long one is read in one go."""
        return _IN_ONE_GO * self.vectors[0].nbytes / self.walkable.rows.row_bytes  # type: ignore[union-attr]

    def tried(self, held_out: HeldOut, k: int, reach: float, factor: float, threads: int,
              most: int | None = None) -> Found:  # fmt: skip
        """Search for held-out queries, which do not see themselves; a scan answers where a walk opens too many.

        most: nodes that a walk may open, if fewer than usual.
        """
        queries, keys = held_out.queries, np.arange(len(self.vectors))
        plan = self.plans.trial(k, reach, factor, held_out.alive, keys, most)
        notes = np.full((len(queries), kernels.N_NOTES), -1.0)
        if held_out.chosen is not None:
            notes[:, kernels.HIDDEN] = self._hidden_nodes(held_out.chosen, held_out.alive)
        counters = np.zeros((len(queries), N_COUNTERS), np.int64)
        distances, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)

        def work(start: int, stop: int) -> None:
            self._walk(queries, plan, (distances, rows), counters, notes, start, stop)

        pool.run(work, pool.split(0, len(queries), threads), threads)
        gave_up = notes[:, kernels.GAVE_UP] > 0
        rows[gave_up] = held_out.rows[gave_up, :k]  # a scan would have answered
        visited = counters[:, 0] + np.where(gave_up, len(self.vectors), 0)
        return Found(rows, visited, np.where(gave_up, np.inf, notes[:, kernels.KTH]))

    def _hidden_nodes(self, rows: np.ndarray, alive: np.ndarray | None) -> np.ndarray:
        """The nodes of held-out rows, -1 where copies of a row live on in its node: these are to be found."""
        offsets = self.walkable.graph.offsets  # type: ignore[union-attr]
        if offsets is None:
            return rows
        nodes: np.ndarray = np.searchsorted(offsets, rows, side="right") - 1
        if alive is None:
            return nodes
        lives = rowsets.unpack(nodes_of_rows(alive, offsets, len(self.vectors)), len(offsets) - 1)
        return np.where(lives[nodes], -1, nodes)

    # ---- searching

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray | Scored:
        if self.walkable is None:
            return self.scan_all(queries, k, request)
        if request.alive is not None and request.alive.ndim == 2:
            if len(queries) > 1:
                return self._search_one_by_one(queries, k, request)
            request = request._replace(alive=request.alive[0])
        plan = self.plans.of(k, request)
        if plan is None:
            if request.scanned is not None:
                request.scanned[:] = True
            return self.scan_all(queries, k, request)
        q = len(queries)
        result = Scored(np.empty((q, k)), np.empty((q, k), np.int64))
        notes = np.full((q, kernels.N_NOTES), -1.0)
        self._walk(queries, plan, result, request.counters, notes, 0, q)
        if plan.table.guarded:
            guard.judge(plan.table.tally, plan.calibration)
        gave_up = np.flatnonzero(notes[:, kernels.GAVE_UP] > 0)
        if len(gave_up) and q == 1:
            if request.scanned is not None:
                request.scanned[:] = True
            return self.scan_all(queries, k, request)
        if len(gave_up):
            self._scan_instead(queries, k, request, gave_up, result)
        return result

    def _walk(self, queries: np.ndarray, plan: Plan, results: tuple[np.ndarray, np.ndarray], counters: np.ndarray,
              notes: np.ndarray, start: int, stop: int) -> None:  # fmt: skip
        """Fill results, counters and notes of the queries start..stop-1."""
        by_codes, room = self.walkable.rows.has_codes, self._rooms.take(plan.room)  # type: ignore[union-attr]
        kernel = kernels.search_bytes if by_codes else kernels.search_floats
        for first, last in pool.portions(start, stop, plan.cost):
            own = slice(first, last)
            kernel(queries[own], plan.prepared, room, results[0][own], results[1][own], counters[own], notes[own])
        self._rooms.give_back(plan.room, room)

    def shortcut(self, k: int, params: dict[str, Any], beside: Beside) -> Shortcut | None:
        if self.walkable is None:
            return exact_shortcut(self.scanner, k, beside)
        n_tail = len(beside.tail.vectors)
        plan = None if n_tail > SMALL_TAIL else self.plans.beside(k, params, beside)
        if plan is None:
            return None
        kernel = kernels.shortcut_bytes if self.walkable.rows.has_codes else kernels.shortcut_floats
        dim = self.vectors.shape[1]
        work = int(plan.cost / 4) + 4 * dim * n_tail
        return Shortcut(kernel, plan.table, kernels.new_room, plan.room, dim, work, batch=_BATCH)

    def _scan_instead(self, queries: np.ndarray, k: int, request: Request, which: np.ndarray, result: Scored) -> None:
        """Results of an exact scan for queries whose walk opened too many nodes."""
        if request.scanned is not None:
            request.scanned[which] = True
        own, counters = queries[which], request.counters[which]
        found = np.ascontiguousarray(self.scan_all(own, k, request._replace(counters=counters)))
        request.counters[which] = counters
        distances, ids = np.full((len(own), k), np.inf), np.full((len(own), k), -1, np.int64)
        if found.size:
            scoring.score(own, self.vectors, self.vectors[:0], request.keys, found, self.metric.code,
                          scoring.scratch(found), distances, ids)  # fmt: skip
        result.distances[which], result.ids[which] = distances, ids

    def _search_one_by_one(self, queries: np.ndarray, k: int, request: Request) -> Scored:
        """Queries with a filter each."""
        result = Scored(np.full((len(queries), k), np.inf), np.full((len(queries), k), -1, np.int64))
        for i in range(len(queries)):
            some = slice(i, i + 1)
            marks = None if request.scanned is None else request.scanned[some]
            own = request._replace(alive=request.alive[i], counters=request.counters[some], scanned=marks)  # type: ignore[index]
            found = self.search(queries[some], k, own)
            if isinstance(found, Scored):
                result.distances[some], result.ids[some] = found
            else:
                self._scan_instead(
                    queries[some], k, own, np.zeros(1, np.int64), Scored(*(part[some] for part in result))
                )
        return result

    def scan_all(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray:
        """Exact candidates among all rows."""
        return self._quick_scanner(len(queries), request.threads).search(
            queries, k, request.alive, request.keys, request.threads, request.counters
        )

    def _quick_scanner(self, n_queries: int, threads: int) -> Scanner:
        """Scans bytes, once floats were scanned so often that it would have paid to make them; finds the same."""
        self._n_scanned += n_queries
        if self._quick is None and self._n_scanned > _SCANS:
            self._quick = self.scanner  # nobody else begins
            if suits(self.vectors):
                by_bytes = ByteScanner.of(self.vectors, self.metric, self.scanner.extent, threads, for_all=False)
                self._quick = by_bytes if pays(by_bytes, np.random.default_rng(0)) else self.scanner
        return self._quick or self.scanner

    def made_since(self) -> dict[str, int]:
        quick = self._quick
        return {"codes of scans": quick.codes.nbytes} if isinstance(quick, ByteScanner) else {}

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        return self.scanner.search_radius(queries, radius, request.alive, request.threads, request.counters)

    def rows_touched(self, params: dict[str, Any]) -> int:
        if self.walkable is None:
            return len(self.vectors)
        return min(len(self.vectors), int(self.calibrations.visited(10)) + 1)

    def tail_limit(self, params: dict[str, Any]) -> int:
        return self.tail_of_copies(params, _COPIES)

    # ---- growing

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray] | None:
        n, walkable = len(self.vectors) + len(vectors), self.walkable
        if walkable is None or n > _REBUILT * self.age.n_trained or not walkable.lifting.fits(vectors):
            return None
        lifting, rows, step = walkable.lifting, walkable.rows, None
        more = lifting.points(vectors, building.threads)
        if rows.has_codes:
            step = rows.step
            if not are_in_range(turned(more, rows.axes, building.threads), step):
                return None
        points = lifting.points(self.vectors, building.threads)
        graph, order = insert(walkable.graph, points, more, alpha=building.params["alpha"], threads=building.threads,
                              seed=int(building.rng.integers(2**62)), progress=building.progress)  # fmt: skip
        together, points = (np.concatenate(both)[order] for both in ((self.vectors, vectors), (points, more)))
        components = turned(points, rows.axes, building.threads)
        rows = _rows_of(points, components, together, graph, lifting, step, rows.axes)
        newest = since(self._newest, len(self.vectors), order)
        grown = type(self)(
            together,
            self.metric,
            Walkable(graph, blocks_of(graph, rows.norms), rows, lifting),
            self.calibrations,
            self.age,
            newest,
        )
        return grown._brought_up_to_date(newest, building), order

    def _brought_up_to_date(self, is_new: np.ndarray, building: Building) -> Self:
        """The same, checked on new rows (n,) and on others if it has grown by much; measured anew where it fails."""
        if len(self.vectors) < _GROWTH * self.age.n_measured:
            return self
        size = min(_CALIBRATED, len(is_new) // 10)
        chosen = np.concatenate([building.rng.permutation(np.flatnonzero(kind))[:size] for kind in (is_new, ~is_new)])
        held_out = self.held_out(building.rng.permutation(chosen), building.threads)
        groups, target = is_new[held_out.chosen], building.params["target_recall"]
        known = calibration.checked(self, self.calibrations, held_out, building.threads, groups)
        if known is None or known.main.target != target:
            return self.calibrated(held_out, target, building.threads, groups)
        age = self.age._replace(n_measured=len(self.vectors))
        return type(self)(self.vectors, self.metric, self.walkable, known, age)

    # ---- files

    def arrays(self) -> dict[str, np.ndarray]:
        numbers = np.array([*self.age], np.float64)
        result = {"vectors": self.vectors, "calibration": self.calibrations.to_array(), "age": numbers}
        if self.walkable is not None:
            result |= stored.arrays_of(*self.walkable, self.vectors)
        return result if self._newest is None else result | {"newest": self._newest}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        vectors, calibrations = arrays["vectors"], Calibrations.from_array(arrays["calibration"])
        age, walkable = Age(*stored.age_of(arrays)), None
        if "links" in arrays:
            graph, blocks, rows, lifting = stored.walkable_of(arrays, metric)
            walkable = Walkable(graph, in_line(blocks), rows, lifting)
        return cls(vectors, metric, walkable, calibrations, age, newest_of(arrays))


def _rows_of(points: np.ndarray, components: np.ndarray, vectors: np.ndarray, graph: Graph, lifting: Lifting,
             step: float | None, axes: np.ndarray | None) -> Rows:  # fmt: skip
    """The rows of the nodes of a graph, whose order points and vectors have: codes of a step, or points.

    components: of the points; without axes the points themselves.
    """
    first_rows = None if graph.offsets is None else graph.offsets[:-1]
    if step is None and first_rows is None and lifting.are_vectors(vectors):
        components = vectors  # one array for both
    some = graph.first_rows
    terms = lifting.terms(vectors[some])
    if axes is not None:
        terms += left_out(points[some], components[some])
    return rows_of(components, first_rows, terms, step, axes)


def uses_codes(storage: str, dim: int) -> bool:
    """Whether rows are bytes: where floats would take more than a line of the cache."""
    return storage == "sq8" or (storage == "auto" and 4 * dim > 64)
