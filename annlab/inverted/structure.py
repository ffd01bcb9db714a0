"""The structure of IVFIndex: vectors sorted into the cells of a k-means clustering; a query probes the nearest ones.

The structure (an inverted file: J. Sivic, A. Zisserman, "Video Google", ICCV 2003)

    centroids      (n_lists, dim)   of a k-means over a sample of the vectors (kmeans.py)
    vectors        (n, dim)         reordered, so that every list is a contiguous range of rows
    list_offsets   (n_lists + 1,)   the rows of list l are list_offsets[l] .. list_offsets[l + 1] - 1

A search compares the query with all centroids, takes the `n_probes` nearest lists, and scans them: about
n_lists + n_probes * n / n_lists distances instead of n; with n_lists near the square root of n the cost grows as that
root. Neighbours in lists that are not probed are lost. How many lists must be probed for a recall depends on the data,
so it is measured when the index is fitted (`inverted/calibration.py`). `inverted/build.py` builds.

A batch goes through the probed lists once, and all queries that probe a list meet there (`kernels/inverted/flat.py`).
What is scanned are the vectors themselves (storage "flat", `inverted/flat_lists.py`), or codes of them ("sq8",
`inverted/byte_lists.py`, and "pq4", `inverted/coded_lists.py`), whose best candidates are then scored by the vectors.
Whoever probes all lists gets an exact scan.
"""

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common import pool
from annlab.common.memory import IN_MEMORY, Workspace, is_mapped, joined, rows_at_once
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS, VISITED
from annlab.core.structure import Building, Request, Scored, Structure
from annlab.distances import Metric
from annlab.inverted import build, calibration
from annlab.inverted.batch import Batch
from annlab.inverted.build import SMALL
from annlab.inverted.byte_lists import ByteLists
from annlab.inverted.calibration import Calibration, Calibrations
from annlab.inverted.coded_lists import CodedLists
from annlab.inverted.flat_lists import FlatLists
from annlab.inverted.one_query import one_query
from annlab.inverted.storage import Cells, Storage
from annlab.kernels import scoring
from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.inverted import nearest_lists as kernels
from annlab.kernels.simd.registers import LANES
from annlab.kernels.tile import QUERIES_IN_TILE
from annlab.scan.centroids import Centroids, Conversion, group_by_label
from annlab.scan.scanner import Scanner

_QUERIES_AT_ONCE = 2048
CACHED_BYTES = 2**25  # of lists that threads may each read: they stay in the cache that cores have in common


class IVFStructure(Structure):
    """Centroids, and rows sorted by list."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "rows", "halves", "scales", "codes", "terms"})
    builds_in_files: ClassVar[bool] = True

    def __init__(self, vectors: np.ndarray, centroids: np.ndarray, offsets: np.ndarray, lists: Storage,
                 calibrations: Calibrations, n_trained: int) -> None:  # fmt: skip
        self.vectors, self.offsets, self.lists = vectors, offsets, lists
        self.calibrations, self.n_trained = calibrations, n_trained
        self._sizes = np.diff(offsets)
        self._last_settings: tuple[Any, tuple[int, int]] = None, (0, 0)
        zeros = np.zeros(len(centroids)) if lists.conversion.metric.code == INNER_PRODUCT else None
        self.centroids = Centroids(centroids, zeros)

    @property
    def takes_batches(self) -> bool:
        """Whether threads share the lists of a batch: where these come from memory, and not from a common cache."""
        return len(self.vectors) * self.lists.row_bytes() > CACHED_BYTES

    @property
    def n_lists(self) -> int:
        return len(self.centroids.array)

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray]:
        parts, progress = build.build(vectors, building), building.progress
        n_lists, target = len(parts.centroids), building.params["target_recall"]
        everything = Calibrations((Calibration(n_lists, 1.0, target, 1.0, 1.0, 0),))
        structure = cls(parts.vectors, parts.centroids, parts.offsets, parts.lists, everything, len(vectors))
        if len(parts.held_out) and n_lists > 1:
            progress("calibrating", 0.0)
            queries = structure.vectors[parts.held_out]
            structure = structure.calibrated(queries, parts.held_out, target, building.threads)
            progress("calibrating", 1.0)
        return structure, parts.order

    @property
    def calibration(self) -> Calibration:
        """That of k = 10."""
        return self.calibrations.main

    def with_calibrations(self, calibrations: Calibrations) -> Self:
        """This structure with other search parameters."""
        return type(self)(self.vectors, self.centroids.array, self.offsets, self.lists, calibrations, self.n_trained)

    def calibrated(self, queries: np.ndarray, own: np.ndarray | None, target: float, threads: int) -> Self:
        """This structure with parameters measured on queries; `own` are the rows that the queries are, if they are."""
        queries, own, truth = self._truth(queries, own, threads)
        y = self.lists.conversion.queries(queries)
        ranks, each = self._ranks(y, truth), []
        for k in calibration.KS:
            if k == 1 or k < len(self.vectors):
                some = slice(len(y) if k <= 10 else calibration.FEWER_QUERIES)
                rows = None if own is None else own[some]
                each.append(self._calibrated_for(k, queries[some], rows, truth[some, :k], ranks[some, :k], target))
        return self.with_calibrations(Calibrations(tuple(each)))

    def _calibrated_for(self, k: int, queries: np.ndarray, own: np.ndarray | None, truth: np.ndarray,
                        ranks: np.ndarray, target: float) -> Calibration:  # fmt: skip
        """Parameters for k neighbours: queries (q, dim), their true neighbours and ranks of lists (q, k)."""
        n = len(self.vectors)
        if not self.lists.loss:
            n_probes, recalls = calibration.choose_probes(ranks, target, self.n_lists)
            factor = 1.0
        else:  # probes lose a part of what may be lost, and codes the other
            wanted = 1 - (1 - target) * (1 - self.lists.loss)
            n_probes, reached = calibration.choose_probes(ranks, wanted, self.n_lists)
            batch = self.batch(queries, *self.lists.conversion.blurred(queries), n_probes, np.arange(n))

            def search(factor: float) -> np.ndarray:
                keep = min(n, self._keep(k, factor) + (own is not None))
                found = self.lists.scan(batch, keep)[0]
                if own is not None:
                    found[found == own[:, None]] = -1
                return found

            factors = {
                self._keep(k, factor): factor for factor in reversed(calibration.FACTORS)
            }  # the smallest of each
            factor, recalls = calibration.choose_rerank(search, sorted(factors.values()), truth, target,
                                                        calibration.lower_bound(reached))  # fmt: skip
        bound = calibration.lower_bound(recalls)
        return Calibration(n_probes, factor, target, float(recalls.mean()), bound, len(queries), k)

    def _truth(self, queries: np.ndarray, own: np.ndarray | None,
               threads: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:  # fmt: skip
        """The rows (q, k) of the true neighbours of queries, nearest first and -1 behind the last one.

        Neither a row itself nor its duplicates count; without those queries, and their `own`, that have no others.
        """
        n, q, metric = len(self.vectors), len(queries), self.lists.conversion.metric
        k, counters, keys = max(1, min(calibration.KS[-1], n - 1)), np.zeros((q, N_COUNTERS), np.int64), np.arange(n)
        candidates = self._scanner.search(queries, k + 1, None, keys, threads, counters)
        if own is not None:
            candidates[candidates == own[:, None]] = -1
        distances, truth = np.full((q, k), np.inf), np.full((q, k), -1, np.int64)
        scoring.score(queries, self.vectors, self.vectors[:0], keys, np.ascontiguousarray(candidates), metric.code,
                      scoring.scratch(candidates), distances, truth)  # fmt: skip
        if own is None or metric.code == INNER_PRODUCT:
            return queries, own, truth
        truth[distances == 0] = -1
        truth = np.take_along_axis(truth, np.argsort(truth < 0, axis=1, kind="stable"), axis=1)
        some = truth[:, 0] >= 0
        return (queries[some], own[some], truth[some]) if some.any() else (queries, own, truth)

    def _ranks(self, y: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """How many lists are nearer to a converted query than the one with its j-th neighbour (q, k); -1 for none."""
        ranks, at_once = np.empty(truth.shape, np.int64), rows_at_once(self.n_lists)
        for start in range(0, len(y), at_once):
            probes, _ = self.probes(y[start : start + at_once], self.n_lists)
            places, rows = np.empty_like(probes), truth[start : start + at_once]
            np.put_along_axis(places, probes, np.arange(self.n_lists)[None, :], axis=1)
            lists = np.searchsorted(self.offsets, np.maximum(rows, 0), side="right") - 1
            ranks[start : start + at_once] = np.where(rows >= 0, np.take_along_axis(places, lists, axis=1), -1)
        return ranks

    def probes(self, y: np.ndarray, n_probes: int, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The nearest lists of converted queries, nearest first, (q, n_probes) int64, and their surrogates."""
        width = len(self.centroids.half_norms)
        values, probes = np.empty((len(y), n_probes), np.float32), np.zeros((len(y), n_probes), np.int64)

        def work(start: int, stop: int) -> None:
            low = np.empty(width + 2 * LANES, np.float32)
            packed = np.empty((y.shape[1], QUERIES_IN_TILE), np.float32)
            surrogates = np.empty((QUERIES_IN_TILE, width), np.float32)
            kernels.find_probes(y[start:stop], self.centroids.panels, self.centroids.half_norms, self.n_lists, packed,
                                surrogates, low, np.empty_like(low), values[start:stop],
                                probes[start:stop])  # fmt: skip

        pool.run(work, pool.split(0, len(y), n_threads, QUERIES_IN_TILE), n_threads)
        return probes, values

    def batch(self, queries: np.ndarray, points: np.ndarray, blurs: np.ndarray, n_probes: int, keys: np.ndarray,
              alive: np.ndarray | None = None, threads: int = 1) -> Batch:  # fmt: skip
        """Queries, and what `Conversion.blurred` made of them, with their nearest lists."""
        probes, coarse = self.probes(points, n_probes, threads)
        return Batch(queries, points, blurs, probes, coarse, self.vectors, keys, alive, threads)

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray | Scored:
        n, n_probes, keep = len(self.vectors), *self._settings(k, request.params)
        if n <= max(SMALL, k) or n_probes == self.n_lists:
            return self.scan_all(queries, k, request.alive, request)
        if len(queries) == 1:
            found = self._search_one(queries, k, keep, n_probes, request)
            if found is not None:
                return found
        parts = [
            self._search_block(queries[start : start + _QUERIES_AT_ONCE], k, keep, n_probes, request, start)
            for start in range(0, len(queries), _QUERIES_AT_ONCE)
        ]
        if len(parts) == 1:
            return parts[0]
        width = max((part.shape[1] for part in parts), default=0)
        return np.concatenate([_widened(part, width) for part in parts] or [np.empty((0, 0), np.int64)])

    def _search_one(self, query: np.ndarray, k: int, keep: int, n_probes: int, request: Request) -> Scored | None:
        """One query (1, dim) in one call of a kernel; None if, because of a filter, too few rows were found."""
        one = one_query(query, k, self.lists, self.centroids, n_probes, keep, self.vectors, request)
        if self.lists.search_one(one, query) < k:
            return None
        return Scored(one.distances, one.ids)

    @cached_property
    def _scanner(self) -> Scanner:
        return Scanner(self.vectors, self.lists.conversion.metric)

    def scan_all(self, queries: np.ndarray, k: int, alive: np.ndarray | None, request: Request) -> np.ndarray:
        """Exact candidates among all rows, for queries that would look into every list."""
        counters = np.zeros((len(queries), N_COUNTERS), np.int64)
        if len(request.counters) == len(queries):
            counters = request.counters
        return self._scanner.search(queries, k, alive, request.keys, request.threads, counters)

    def _search_block(self, queries: np.ndarray, k: int, keep: int, n_probes: int, request: Request,
                      first: int) -> np.ndarray:  # fmt: skip
        """Search some queries; those that found too few, because of a filter, look into four times as many lists."""
        some = slice(first, first + len(queries))
        (y, blurs), alive = self.lists.conversion.blurred(queries), request.alive
        if alive is not None and alive.ndim == 2:
            alive = alive[some]
        there = len(self.vectors) if alive is None else np.bitwise_count(alive).sum(axis=-1)
        wanted = np.full(len(queries), np.minimum(k, there))
        result, still = np.empty((len(queries), 0), np.int64), np.arange(len(queries))
        while True:
            words = alive[still] if alive is not None and alive.ndim == 2 else alive
            batch = self.batch(queries[still], y[still], blurs[still], n_probes, request.keys, words, request.threads)
            found, lengths = self.lists.scan(batch, keep)
            self._count(batch.probes, request.counters[some], still)
            width = max(found.shape[1], result.shape[1])
            result = _widened(result, width)
            result[still] = _widened(found, width)
            still = still[lengths < wanted[still]]
            if not len(still):
                return result
            n_probes *= 4
            if n_probes >= self.n_lists:
                words = alive[still] if alive is not None and alive.ndim == 2 else alive
                found = self.scan_all(queries[still], k, words, request)
                width = max(found.shape[1], result.shape[1])
                result = _widened(result, width)
                result[still] = _widened(found, width)
                return result

    def _count(self, probes: np.ndarray, counters: np.ndarray, queries: np.ndarray) -> None:
        rows = self._sizes[probes].sum(axis=1)
        counters[queries, DISTANCES] += rows + self.n_lists
        counters[queries, VISITED] += probes.shape[1]
        counters[queries, BYTES] += rows * self.lists.row_bytes() + self.n_lists * 4 * self.vectors.shape[1]

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """All living rows of the probed lists: how far they are is for `Index` to say."""
        if self._n_probes(request.params) == self.n_lists:
            return self._scanner.search_radius(queries, radius, request.alive, request.threads, request.counters)
        probes, _ = self.probes(self.lists.conversion.queries(queries), self._n_probes(request.params))
        self._count(probes, request.counters, np.arange(len(queries)))
        found = []
        for i in range(len(queries)):
            ranges = [np.arange(self.offsets[label], self.offsets[label + 1]) for label in np.sort(probes[i])]
            rows = np.concatenate(ranges)
            if request.alive is not None:
                words = request.alive[i] if request.alive.ndim == 2 else request.alive
                rows = rows[(words[rows // 64] >> (rows % 64).astype(np.uint64)) & np.uint64(1) != 0]
            found.append(rows)
        limits = np.zeros(len(queries) + 1, np.int64)
        np.cumsum([len(rows) for rows in found], out=limits[1:])
        return limits, np.concatenate(found) if found else np.empty(0, np.int64)

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, np.ndarray] | None:
        """Append to the lists; None once there are twice as many rows as the centroids were made for."""
        n = len(self.vectors) + len(vectors)
        if n > 2 * self.n_trained:
            return None
        conversion, centroids = self.lists.conversion, self.centroids.array
        labels = np.repeat(np.arange(self.n_lists, dtype=np.int32), self._sizes)
        new = build.assign(vectors, Centroids(centroids), conversion, building.threads, building.progress)
        offsets, order = group_by_label(np.concatenate([labels, new]), self.n_lists)
        workspace = Workspace.in_files() if is_mapped(self.vectors) else IN_MEMORY
        together = joined(self.vectors, vectors, order, workspace)
        lists = self.lists.merged(vectors, new, order, offsets, together, workspace)
        return type(self)(together, centroids, offsets, lists, self.calibrations, self.n_trained), order

    def with_vectors(self, vectors: np.ndarray) -> Self:
        """This structure over another array of the same vectors, one that is mapped from a file, say."""
        lists = self.lists.over(vectors)
        return type(self)(vectors, self.centroids.array, self.offsets, lists, self.calibrations, self.n_trained)

    def imbalance(self) -> float:
        """How many more rows a probe meets than if all lists had the same length."""
        sizes = self._sizes.astype(np.float64)
        return float(self.n_lists * (sizes**2).sum() / sizes.sum() ** 2)

    def _settings(self, k: int, params: dict[str, Any]) -> tuple[int, int]:
        """How many lists to probe, and how many candidates to keep; those asked for last are remembered."""
        asked = k, params["n_probes"], params["rerank"]
        last = self._last_settings  # one reference, read and written at once, whoever else searches
        if last[0] != asked:
            keep = min(len(self.vectors), self._keep(k, params["rerank"]))
            self._last_settings = last = asked, (self._n_probes(params, k), keep)
        return last[1]

    def _n_probes(self, params: dict[str, Any], k: int = 10) -> int:
        wanted = params["n_probes"]
        return self.calibrations.at(k, self.n_lists)[0] if wanted == "auto" else min(wanted, self.n_lists)

    def _keep(self, k: int, rerank: Any) -> int:
        """How many candidates to return for k neighbours."""
        factor = self.calibrations.at(k, self.n_lists)[1] if rerank == "auto" else rerank
        return self.lists.shortlist(k, factor)

    def rows_touched(self, params: dict[str, Any]) -> int:
        """Rows of the probed lists; where they are scanned by codes, as many vectors as have so many bytes."""
        share = min(1.0, self._n_probes(params) / self.n_lists * self.imbalance())
        cost = min(1.0, self.lists.row_bytes() / (self.vectors.itemsize * self.vectors.shape[1]))
        return int(share * cost * len(self.vectors)) + 1

    def arrays(self) -> dict[str, np.ndarray]:
        conversion = self.lists.conversion
        return {
            "vectors": self.vectors,
            "centroids": self.centroids.array,
            "list_offsets": self.offsets,
            "center": conversion.center,
            "numbers": np.array([conversion.scale, self.n_trained], np.float64),
            "calibration": self.calibrations.to_array(),
        } | self.lists.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        center, numbers, centroids = arrays["center"], arrays["numbers"], arrays["centroids"]
        dim = arrays["vectors"].shape[1]
        if center.shape != (dim,) or center.dtype != np.float64 or not np.isfinite(center).all():
            raise ValueError(f"center {center.dtype} {center.shape} does not fit dimension {dim}")
        if numbers.shape != (2,) or not np.isfinite(numbers).all() or (numbers <= 0).any():
            raise ValueError(f"scale and training size are {numbers}")
        if centroids.ndim != 2 or centroids.shape[1] != dim or centroids.dtype != np.float32 or not len(centroids):
            raise ValueError(f"centroids {centroids.dtype} {centroids.shape} do not fit dimension {dim}")
        if not np.abs(centroids).max() < 1e15:
            raise ValueError("centroids are not finite, or too large")
        offsets = arrays["list_offsets"]
        if offsets.dtype != np.int64 or offsets.shape != (len(centroids) + 1,):
            raise ValueError(f"list_offsets {offsets.dtype} {offsets.shape} for {len(centroids)} lists")
        if offsets[0] != 0 or offsets[-1] != len(arrays["vectors"]) or (offsets[1:] < offsets[:-1]).any():
            raise ValueError(f"list_offsets do not rise from 0 to {len(arrays['vectors'])}")
        stored: type[Storage] = CodedLists if "codebooks" in arrays else ByteLists if "codes" in arrays else FlatLists
        cells = Cells(Conversion(metric, center, float(numbers[0])), centroids, offsets)
        lists = stored.from_arrays(arrays, cells)
        calibrated = Calibrations.from_array(arrays["calibration"], len(centroids))
        return cls(arrays["vectors"], centroids, arrays["list_offsets"], lists, calibrated, int(numbers[1]))


def _widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Candidates (q, m) with -1 in further columns, up to `width` of them."""
    result = np.full((len(rows), width), -1, np.int64)
    result[:, : rows.shape[1]] = rows
    return result
