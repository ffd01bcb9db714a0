"""Queries with a filter that goes with the lists: each goes its own way, which `filtered.py` explains."""

from typing import NamedTuple, Protocol

import numpy as np

from annlab.core.structure import Request, Scored
from annlab.inverted.calibration import Calibrations, Searched
from annlab.inverted.filtered import Allowed
from annlab.kernels.inverted.ways import ASK_ALL

_NEAR = 3  # times the lists that are probed without a filter: what is allowed in so many mostly tells the way


class Effort(NamedTuple):
    """How many lists a search probes, and how many rows of them it keeps to be scored."""

    n_probes: int
    keep: int


class Filtered(Searched, Protocol):
    """What is searched: an `IVFStructure`."""

    calibrations: Calibrations

    def rows_of_probes(self, n_probes: int) -> int:
        """Rows that so many probes look at."""

    def search_one(self, query: np.ndarray, k: int, effort: Effort, request: Request,
                   half_norms: np.ndarray | None) -> Scored | None:  # fmt: skip
        """One query (1, dim) in one call of a kernel; None if too few rows were found."""

    def block(self, queries: np.ndarray, effort: Effort, request: Request, some: slice,
              half_norms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The best rows (q, keep) of the lists that some queries probe, and how many they are (q,)."""

    def replaced(self, rows: np.ndarray, few: np.ndarray, queries: np.ndarray, k: int, request: Request,
                 some: slice) -> np.ndarray:  # fmt: skip
        """Candidates rows (q, m), those of the queries `few` replaced by those of an exact scan."""

    def scan_all(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray:
        """Exact candidates among all rows."""


def of_one(structure: Filtered, query: np.ndarray, k: int, effort: Effort, allowed: Allowed,
           request: Request) -> np.ndarray | Scored:  # fmt: skip
    """One query with a filter that goes with the lists, in one call of a kernel once its way is known."""
    points = structure.lists.conversion.queries(query)
    n_probes, widening = _ways(structure, points, k, effort.n_probes, allowed)[0].tolist()
    if n_probes and structure.rows_of_probes(n_probes) <= allowed.n_allowed:
        keep = min(effort.keep * (widening if structure.lists.loss else 1), allowed.n_allowed)
        found = structure.search_one(query, k, Effort(n_probes, keep), request, allowed.half_norms)
        if found is not None:
            return found
    return structure.scan_all(query, k, request)


def of_each(structure: Filtered, queries: np.ndarray, k: int, effort: Effort, allowed: Allowed, request: Request,
            some: slice) -> np.ndarray:  # fmt: skip
    """Queries with a filter that goes with the lists: each probes as many as what is allowed around it asks for."""
    y, counters = structure.lists.conversion.queries(queries), request.counters[some]
    ways = _ways(structure, y, k, effort.n_probes, allowed)
    result = np.full((len(queries), k), -1, np.int64)
    for way in np.unique(ways, axis=0):
        own = np.flatnonzero((ways == way).all(axis=1))
        n_probes, widening = int(way[0]), int(way[1])
        done, lengths = counters[own], np.zeros(len(own), np.int64)
        part = request._replace(counters=done)
        rows = np.empty((len(own), 0), np.int64)
        if n_probes > 0 and structure.rows_of_probes(n_probes) <= allowed.n_allowed:
            keep = effort.keep * (widening if structure.lists.loss else 1)
            rows, lengths = structure.block(queries[own], Effort(n_probes, min(keep, allowed.n_allowed)), part,
                                            slice(0, len(own)), allowed.half_norms)  # fmt: skip
        rows = structure.replaced(rows, np.flatnonzero(lengths < k), queries[own], k, part, slice(0, len(own)))
        counters[own] = done
        result = widened(result, max(result.shape[1], rows.shape[1]))
        result[own] = widened(rows, result.shape[1])
    return result


def _ways(structure: Filtered, points: np.ndarray, k: int, n_probes: int, allowed: Allowed) -> np.ndarray:
    """The ways (q, 2) of queries, see `Allowed.ways`: mostly the nearest lists tell; few queries look at all."""
    some = min(_NEAR * n_probes, structure.n_lists)
    ways = allowed.ways(structure.probes(points, some)[0], k, n_probes, structure.calibrations)
    unsure = np.flatnonzero(ways[:, 0] == ASK_ALL)
    if len(unsure):
        everywhere = structure.probes(points[unsure], structure.n_lists)[0]
        ways[unsure] = allowed.ways(everywhere, k, n_probes, structure.calibrations)
    return ways


def widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Candidates (q, m) with -1 in further columns, up to `width` of them."""
    if rows.shape[1] == width:
        return rows
    result = np.full((len(rows), width), -1, np.int64)
    result[:, : rows.shape[1]] = rows
    return result
