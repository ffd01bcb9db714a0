"""The structure of IVFIndex: vectors sorted into the cells of a k-means clustering; a query probes the nearest ones.

The page `ivf.py` explains the idea and the arrays. Here is what an index does with them:

    build      inverted/build.py clusters, sorts and encodes; inverted/calibration.py measures the search parameters
    search     the best rows (inverted/flat_lists.py, byte_lists.py, coded_lists.py) of the nearest lists; of as many
               lists as it takes if a filter, or tombstones, leave few rows (inverted/filtered.py)
    absorb     new rows are appended to their lists; inverted/drift.py sees to what was learned from other rows

A batch goes through the probed lists once, and all queries that probe a list meet there. Whoever probes all lists, or
asks for so many neighbours that little else is left, gets an exact scan.
"""

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common import pool, rowsets
from annlab.common.memory import IN_MEMORY, Workspace, is_mapped, joined
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS, VISITED
from annlab.core.calibration import KS
from annlab.core.heldout import HeldOut
from annlab.core.structure import Beside, Building, Request, Scored, Shortcut, Structure, newest_of, since
from annlab.distances import Metric
from annlab.inverted import build, calibration, drift, own_ways, stored
from annlab.inverted.batch import Batch
from annlab.inverted.build import SMALL, STORAGES
from annlab.inverted.byte_lists import ByteLists
from annlab.inverted.calibration import Calibration, Calibrations, scarce
from annlab.inverted.coded_lists import CodedLists
from annlab.inverted.drift import Age
from annlab.inverted.filtered import Allowed
from annlab.inverted.flat_lists import FlatLists
from annlab.inverted.one_query import one_query, room_of_one
from annlab.inverted.own_ways import Effort, widened
from annlab.inverted.radius import search_radius
from annlab.inverted.storage import Storage
from annlab.kernels import scoring
from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.inverted import nearest_lists as kernels
from annlab.kernels.inverted.candidates import capacity_for
from annlab.kernels.inverted.one_query import RoomOfOne, Table
from annlab.kernels.simd.registers import LANES
from annlab.kernels.tile import QUERIES_IN_TILE
from annlab.scan.centroids import Centroids, group_by_label
from annlab.scan.scanner import Scanner, stack
from annlab.scan.shortcut import exact_shortcut

_LONG_TAIL = 1024  # rows that are scanned sooner than measured one by one
_COPIES = 192  # while the rows become twice as many, the lists may be copied about so often
_QUERIES_AT_ONCE = 2048
_BATCH = 32  # queries that share less, on one thread, than the way of batches takes longer
_ENTRIES_AT_ONCE = 2**23  # of the buffers of a block of queries
CACHED_BYTES = 2**25  # of lists that threads may each read: they stay in the cache that cores have in common


class IVFStructure(Structure):
    """Centroids, and rows sorted by list."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "rows", "halves", "scales", "codes", "terms"})
    former: ClassVar[frozenset[str]] = frozenset({"levels"})
    builds_in_files: ClassVar[bool] = True

    def __init__(self, vectors: np.ndarray, centroids: np.ndarray, offsets: np.ndarray, lists: Storage,
                 calibrations: Calibrations, age: Age, newest: np.ndarray | None = None) -> None:  # fmt: skip
        """newest (n,) bool: rows that came since recall was last measured; None: none did, or nobody knows."""
        self.vectors, self.offsets, self.lists = vectors, offsets, lists
        self.calibrations, self.age, self._newest = calibrations, age, newest
        self._sizes, self._filters = np.diff(offsets), rowsets.Remembered()
        self._last_effort: tuple[Any, Effort] = None, Effort(0, 0)
        zeros = np.zeros(len(centroids)) if lists.conversion.metric.code == INNER_PRODUCT else None
        self.centroids = Centroids(centroids, zeros)

    @property
    def takes_batches(self) -> bool:  # where lists come from memory, and not from a common cache
        return len(self.vectors) * self.lists.row_bytes() > CACHED_BYTES

    @property
    def n_lists(self) -> int:
        return len(self.centroids.array)

    @property
    def storage(self) -> str:
        """The name of what is scanned."""
        return next(name for name, kind in STORAGES.items() if type(self.lists) is kind)

    @cached_property
    def scanner(self) -> Scanner:
        """For an exact scan of all vectors."""
        return Scanner(self.vectors, self.lists.conversion.metric)

    # ---- building

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray]:
        parts, progress = build.build(vectors, building), building.progress
        n_lists, target = len(parts.centroids), building.params["target_recall"]
        everything = Calibrations((calibration.everything(n_lists, target),), n_lists)
        age = Age(len(vectors), len(vectors), n_lists, 1.0)
        structure = cls(parts.vectors, parts.centroids, parts.offsets, parts.lists, everything, age)
        if len(parts.held_out) and n_lists > 1:
            progress("calibrating", 0.0)
            chosen = building.rng.permutation(parts.held_out)
            held_out = structure.held_out(chosen, KS[2], building.threads)
            structure = structure.calibrated(held_out, target, building.threads)
            main = structure.calibration
            age = age._replace(probes_trained=main.n_probes, rerank_trained=main.rerank)
            structure = structure.with_calibrations(structure.calibrations, age)
            progress("calibrating", 1.0)
        return structure, parts.order

    def held_out(self, chosen: np.ndarray, k: int, threads: int) -> HeldOut:
        """Some rows as queries, masked, and their k nearest."""
        return HeldOut.of_rows(self.vectors, self.lists.conversion.metric, chosen, k, threads=threads,
                               scanner=self.scanner)  # fmt: skip

    @property
    def calibration(self) -> Calibration:
        """That of k = 10."""
        return self.calibrations.main

    def with_calibrations(self, calibrations: Calibrations, age: Age | None = None) -> Self:
        """This structure with other search parameters."""
        return type(self)(self.vectors, self.centroids.array, self.offsets, self.lists, calibrations, age or self.age)

    def calibrated(self, held_out: HeldOut, target: float, threads: int, groups: np.ndarray | None = None) -> Self:
        """This structure with parameters that reach the target on held-out queries, and on every group (q,) of them."""
        calibrations = calibration.measured(self, held_out, target, threads, groups)
        return self.with_calibrations(calibrations, self.age._replace(n_measured=len(self.vectors)))

    def candidates(self, queries: np.ndarray, n_probes: int, keep: int, alive: np.ndarray | None,
                   threads: int) -> np.ndarray:  # fmt: skip
        """The `keep` best rows (q, keep) of the nearest lists, -1 padded: what a search would score."""
        counters, keys = np.zeros((len(queries), N_COUNTERS), np.int64), np.arange(len(self.vectors))
        request = Request(alive, keys, {}, threads, counters)
        effort = Effort(n_probes, min(keep, len(self.vectors)))
        return stack([self.block(queries[some], effort, request, some)[0] for some in _blocks(len(queries), keep)])

    # ---- searching

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray | Scored:
        effort = self._effort(k, request.params)
        if len(self.vectors) <= SMALL or scarce(k, len(self.vectors)) or effort.n_probes == self.n_lists:
            return self.scan_all(queries, k, request)
        if request.alive is not None:
            if request.alive.ndim == 2:
                if len(queries) > 1:
                    return self._search_one_by_one(queries, k, request)
                request = request._replace(alive=request.alive[0])
            return self._search_allowed(queries, k, effort, self.allowed(request.alive), request)  # type: ignore[arg-type]
        return self._search_alike(queries, k, effort, request)

    def shortcut(self, k: int, params: dict[str, Any], beside: Beside) -> Shortcut | None:
        effort, waiting = self._effort(k, params), beside.waiting()
        if len(self.vectors) <= SMALL or scarce(k, len(self.vectors)) or effort.n_probes == self.n_lists:
            return exact_shortcut(self.scanner, k, beside)
        if beside.alive is not None:
            allowed = self.allowed(beside.alive)
            own_ways = scarce(k, allowed.n_allowed) or allowed.goes_with_lists
            thinned = None if own_ways else self._thinned(k, effort, allowed)
            if thinned is None:
                return None
            effort = thinned
        if waiting.n > _LONG_TAIL:
            return None
        asked = Request(beside.alive, beside.keys, params, 1, np.zeros((1, N_COUNTERS), np.int64))

        def new_room() -> RoomOfOne:
            query = np.zeros((1, self.vectors.shape[1]), np.float32)
            one = one_query(query, k, self.lists, self.centroids, effort.n_probes, effort.keep, self.vectors, asked)
            return room_of_one(one, self.lists, waiting.n)

        table = Table(beside.entries(self.vectors[:0]), waiting)
        return Shortcut(self.lists.kernels.take_shortcut, table, new_room, None, self.vectors.shape[1], 0,
                        batch=_BATCH)  # fmt: skip

    def _search_alike(self, queries: np.ndarray, k: int, effort: Effort, request: Request,
                      n_there: int | None = None) -> np.ndarray | Scored:  # fmt: skip
        """All queries probe as many lists; those that find fewer than k of the n_there rows, look at all."""
        if len(queries) == 1:
            found = self.search_one(queries, k, effort, request)
            return self.scan_all(queries, k, request) if found is None else found
        wanted, parts = min(k, len(self.vectors) if n_there is None else n_there), []
        for some in _blocks(len(queries), effort.keep):
            rows, lengths = self.block(queries[some], effort, request, some)
            few = np.flatnonzero(lengths < wanted)
            parts.append(self.replaced(rows, few, queries[some], k, request, some))
        return stack(parts)

    def replaced(self, rows: np.ndarray, few: np.ndarray, queries: np.ndarray, k: int, request: Request,
                  some: slice) -> np.ndarray:  # fmt: skip
        """Candidates rows (q, m), those of the queries `few` replaced by those of an exact scan."""
        if not len(few):
            return rows
        counters = request.counters[some][few]
        exact = self.scan_all(queries[few], k, request._replace(counters=counters))
        request.counters[some][few] = counters
        result = widened(rows, max(rows.shape[1], exact.shape[1]))
        result[few] = widened(exact, result.shape[1])
        return result

    def search_one(self, query: np.ndarray, k: int, effort: Effort, request: Request,
                    half_norms: np.ndarray | None = None) -> Scored | None:  # fmt: skip
        """One query (1, dim) in one call of a kernel; None if too few rows were found. half_norms: see `probes`."""
        one = one_query(query, k, self.lists, self.centroids, effort.n_probes, effort.keep, self.vectors, request)
        if half_norms is not None:
            one = one._replace(half_norms=half_norms)
        if self.lists.search_one(one, query) < k:
            return None
        return Scored(one.distances, one.ids)

    def _search_one_by_one(self, queries: np.ndarray, k: int, request: Request) -> Scored:
        """Queries with a filter each."""
        distances, ids = np.full((len(queries), k), np.inf), np.full((len(queries), k), -1, np.int64)
        for i in range(len(queries)):
            some = slice(i, i + 1)
            own = request._replace(alive=request.alive[i], counters=request.counters[some])  # type: ignore[index]
            found = self.search(queries[some], k, own)
            if isinstance(found, Scored):
                distances[some], ids[some] = found
            elif found.size:
                scoring.score(queries[some], self.vectors, self.vectors[:0], request.keys, np.ascontiguousarray(found),
                              self.lists.conversion.metric.code, scoring.scratch(found), distances[some],
                              ids[some])  # fmt: skip
        return Scored(distances, ids)

    def allowed(self, alive: np.ndarray) -> Allowed:
        """What a filter leaves of every list, remembered for filters that come again."""
        known: Allowed | None = self._filters.get(alive)
        if known is None:
            known = Allowed(alive, self.offsets, self.centroids.half_norms)
            self._filters.put(alive, known)
        return known

    def _search_allowed(self, queries: np.ndarray, k: int, effort: Effort, allowed: Allowed,
                        request: Request) -> np.ndarray | Scored:  # fmt: skip
        """Queries with one filter: so many lists that they meet as many allowed rows as otherwise rows."""
        if scarce(k, allowed.n_allowed):
            return self.scan_all(queries, k, request)
        if not allowed.goes_with_lists:
            thinned = self._thinned(k, effort, allowed)
            if thinned is None:
                return self.scan_all(queries, k, request)
            return self._search_alike(queries, k, thinned, request, allowed.n_allowed)
        if len(queries) == 1:
            return own_ways.of_one(self, queries, k, effort, allowed, request)
        return stack([own_ways.of_each(self, queries[some], k, effort, allowed, request, some)
                         for some in _blocks(len(queries), self.n_lists)])  # fmt: skip

    def _thinned(self, k: int, effort: Effort, allowed: Allowed) -> Effort | None:
        """What every query does where all lists are thinned alike; None where all that is allowed is to be scanned."""
        n_probes = allowed.lists_for_all(k, effort.n_probes, self.calibrations)
        return None if self.rows_of_probes(n_probes) > allowed.n_allowed else Effort(n_probes, effort.keep)

    def block(self, queries: np.ndarray, effort: Effort, request: Request, some: slice,
               half_norms: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The best rows (q, keep) of the lists that some queries probe, and how many they are (q,)."""
        batch = self.batch(queries, *self.lists.conversion.blurred(queries), effort.n_probes, request.keys,
                           request.alive, request.threads, half_norms)  # fmt: skip
        self.count(batch.probes, request.counters[some])
        return self.lists.scan(batch, effort.keep)

    def batch(self, queries: np.ndarray, points: np.ndarray, blurs: np.ndarray, n_probes: int, keys: np.ndarray,
              alive: np.ndarray | None = None, threads: int = 1,
              half_norms: np.ndarray | None = None) -> Batch:  # fmt: skip
        """Queries, and what `Conversion.blurred` made of them, with their nearest lists."""
        probes, coarse = self.probes(points, n_probes, threads, half_norms)
        return Batch(queries, points, blurs, probes, coarse, self.vectors, keys, alive, threads)

    def probes(self, y: np.ndarray, n_probes: int, n_threads: int = 1,
               half_norms: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The nearest lists of converted queries, nearest first, (q, n_probes) int64, and their surrogates.

        half_norms: in place of those of the centroids, infinite for lists that are out of question.
        """
        half_norms = self.centroids.half_norms if half_norms is None else half_norms
        values, probes = np.empty((len(y), n_probes), np.float32), np.zeros((len(y), n_probes), np.int64)

        def work(start: int, stop: int) -> None:
            low = np.empty(len(half_norms) + 2 * LANES, np.float32)
            packed = np.empty((y.shape[1], QUERIES_IN_TILE), np.float32)
            surrogates = np.empty((QUERIES_IN_TILE, len(half_norms)), np.float32)
            for first, last in pool.portions(start, stop, self.centroids.array.size, QUERIES_IN_TILE):
                own = slice(first, last)
                kernels.find_probes(y[own], self.centroids.panels, half_norms, self.n_lists, packed, surrogates, low,
                                    np.empty_like(low), values[own], probes[own])  # fmt: skip

        pool.run(work, pool.split(0, len(y), n_threads, QUERIES_IN_TILE), n_threads)
        return probes, values

    def scan_all(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray:
        """Exact candidates among all rows, for queries that would look into every list."""
        return self.scanner.search(queries, k, request.alive, request.keys, request.threads, request.counters)

    def count(self, probes: np.ndarray, counters: np.ndarray) -> None:
        """Add what probing lists costs, (q, n) of them, to the counters of q queries."""
        rows = self._sizes[probes].sum(axis=1)
        counters[:, DISTANCES] += rows + self.n_lists
        counters[:, VISITED] += probes.shape[1]
        counters[:, BYTES] += rows * self.lists.row_bytes() + self.n_lists * 4 * self.vectors.shape[1]

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        if self.n_probes(request.params) == self.n_lists:
            return self.scanner.search_radius(queries, radius, request.alive, request.threads, request.counters)
        return search_radius(self, queries, radius, request)

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray] | None:
        """Append to the lists; None once there are twice as many rows as the centroids were made for, or other ones."""
        n = len(self.vectors) + len(vectors)
        if n > 2 * self.age.n_trained:
            return None
        conversion, centroids = self.lists.conversion, self.centroids.array
        labels = np.repeat(np.arange(self.n_lists, dtype=np.int32), self._sizes)
        new = build.assign(vectors, Centroids(centroids), conversion, building.threads, building.progress)
        offsets, order = group_by_label(np.concatenate([labels, new]), self.n_lists)
        workspace = Workspace.in_files() if is_mapped(self.vectors) else IN_MEMORY
        together = joined(self.vectors, vectors, order, workspace)
        lists = self.lists.merged(vectors, new, order, offsets, together, workspace)
        newest = since(self._newest, len(self.vectors), order)
        merged = type(self)(together, centroids, offsets, lists, self.calibrations, self.age, newest)
        current = drift.brought_up_to_date(merged, newest, building)
        return None if current is None else (current, order)

    def part(self, rows: np.ndarray) -> Self:
        """Some rows in the lists of all: the same centroids, codes and search parameters."""
        labels = np.searchsorted(self.offsets, rows, side="right") - 1
        offsets = np.zeros(self.n_lists + 1, np.int64)
        np.cumsum(np.bincount(labels, minlength=self.n_lists), out=offsets[1:])
        vectors, none = self.vectors[rows], np.empty(0, np.int32)
        lists = self.lists.merged(self.vectors[:0], none, rows, offsets, vectors, IN_MEMORY)
        age = self.age.of_part(len(rows) / len(self.vectors))
        newest = None if self._newest is None else self._newest[rows]
        return type(self)(vectors, self.centroids.array, offsets, lists, self.calibrations, age, newest)

    def with_vectors(self, vectors: np.ndarray) -> Self:
        """This structure over another array of the same vectors, one that is mapped from a file, say."""
        lists = self.lists.over(vectors)
        return type(self)(vectors, self.centroids.array, self.offsets, lists, self.calibrations, self.age,
                          self._newest)  # fmt: skip

    @cached_property
    def imbalance(self) -> float:
        """How many more rows a probe meets than if all lists had the same length."""
        sizes = self._sizes.astype(np.float64)
        return float(self.n_lists * (sizes**2).sum() / sizes.sum() ** 2)

    def _effort(self, k: int, params: dict[str, Any]) -> Effort:
        """How much to do for k neighbours; what was asked for last is remembered.

        Who probes more lists than calibration says keeps as many more rows of them, lest codes crowd out neighbours.
        """
        asked = k, params["n_probes"], params["rerank"]
        last = self._last_effort  # one reference, read and written at once, whoever else searches
        if last[0] != asked:
            (usual, factor), n_probes = self.calibrations.at(k, self.n_lists), self.n_probes(params, k)
            if params["rerank"] != "auto":
                factor = params["rerank"]
            elif self.lists.loss:
                factor *= max(1.0, n_probes / usual)
            self._last_effort = last = asked, Effort(n_probes, min(len(self.vectors), self.lists.shortlist(k, factor)))
        return last[1]

    def n_probes(self, params: dict[str, Any], k: float = 10) -> int:
        """Lists that a search for k neighbours probes."""
        wanted = params["n_probes"]
        return self.calibrations.at(k, self.n_lists)[0] if wanted == "auto" else min(wanted, self.n_lists)

    def rows_touched(self, params: dict[str, Any]) -> int:
        return self.rows_of_probes(self.n_probes(params))

    def tail_limit(self, params: dict[str, Any]) -> int:
        return self.tail_of_copies(params, _COPIES)

    def rows_of_probes(self, n_probes: int) -> int:
        """Rows of the probed lists; where they are scanned by codes, as many vectors as have so many bytes."""
        share = min(1.0, n_probes / self.n_lists * self.imbalance)
        cost = min(1.0, self.lists.row_bytes() / (self.vectors.itemsize * self.vectors.shape[1]))
        return int(share * cost * len(self.vectors)) + 1

    def arrays(self) -> dict[str, np.ndarray]:
        newest = {} if self._newest is None else {"newest": self._newest}
        cells = stored.arrays_of(self.lists.conversion, self.centroids.array, self.offsets, self.age, self.calibrations)
        return {"vectors": self.vectors} | cells | newest | self.lists.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        cells, age, far = stored.cells_of(arrays, metric), *stored.age_of(arrays)
        kind: type[Storage] = CodedLists if "codebooks" in arrays else ByteLists if "codes" in arrays else FlatLists
        calibrations = Calibrations.from_array(arrays["calibration"], cells.n_lists, far)
        lists = kind.from_arrays(arrays, cells)
        newest = newest_of(arrays)
        return cls(arrays["vectors"], cells.centroids, cells.offsets, lists, calibrations, age, newest)


def _blocks(n: int, keep: int) -> list[slice]:
    """Ranges of n queries whose buffers are not too large."""
    at_once = max(16, min(_QUERIES_AT_ONCE, _ENTRIES_AT_ONCE // capacity_for(keep)))
    return [slice(start, min(n, start + at_once)) for start in range(0, n, at_once)]
