"""All rows within a radius of a query, from as many lists as may hold them.

Calibration says how many lists hold the k nearest, but a radius holds nobody knows how many rows. So with
`n_probes="auto"` a query looks into the lists of its ten nearest, counts what lies within the radius there, and goes on
to as many lists as so many neighbours ask for, until they ask for no more. What a filter leaves out, or was removed,
counts too: it takes its place within the radius like everything else.

A filter that goes with the lists may forbid all that is near. Then what counts is what it allows, and lists are asked
for as `filtered.py` says, or all that is allowed is scanned.
"""

from typing import Any, Protocol

import numpy as np

from annlab.common import pool
from annlab.common.statistics import N_COUNTERS
from annlab.core.structure import Request
from annlab.inverted.calibration import Calibrations, Searched
from annlab.inverted.filtered import Allowed
from annlab.scan.scanner import Scanner

_UNSEEN = 1.25  # times as many rows as were found may be there: the rest is what further lists are asked for


class Probed(Searched, Protocol):
    """What is searched: an `IVFStructure`."""

    calibrations: Calibrations

    @property
    def scanner(self) -> Scanner:
        """Exact scans of the vectors."""

    def allowed(self, alive: np.ndarray) -> Allowed:
        """What a filter leaves of every list."""

    def n_probes(self, params: dict[str, Any], k: float = 10) -> int:
        """Lists that a search for k neighbours probes."""

    def count(self, probes: np.ndarray, counters: np.ndarray) -> None:
        """Add what probing lists costs to the counters."""


def search_radius(structure: Probed, queries: np.ndarray, radius: float,
                  request: Request) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Limits (q + 1,) and rows, as in `Structure.search_radius`."""
    found = []
    for i in range(len(queries)):
        pool.check()
        query, counters, alive = queries[i : i + 1], request.counters[i : i + 1], request.alive
        if alive is None:
            found.append(_within(structure, query, radius, request, counters))
            continue
        words = alive[i] if alive.ndim == 2 else alive
        allowed = structure.allowed(words) if request.params["n_probes"] == "auto" else None
        if allowed is not None and allowed.goes_with_lists:
            found.append(_allowed_within(structure, query, radius, request, counters, words, allowed))
        else:
            found.append(_of(words, _within(structure, query, radius, request, counters)))
    limits = np.zeros(len(queries) + 1, np.int64)
    np.cumsum([len(rows) for rows in found], out=limits[1:])
    return limits, np.concatenate(found) if found else np.empty(0, np.int64)


def _within(structure: Probed, query: np.ndarray, radius: float, request: Request,
            counters: np.ndarray) -> np.ndarray:  # fmt: skip
    """Rows of the probed lists that may lie within the radius of one query (1, dim), ascending."""
    converted = structure.lists.conversion.queries(query)
    found, n_done, n_probes = [np.empty(0, np.int64)], 0, structure.n_probes(request.params)
    while n_probes > n_done:
        probes = structure.probes(converted, n_probes)[0][:, n_done:]
        found.append(_within_lists(structure, query, radius, probes[0]))
        structure.count(probes, counters)
        n_done = n_probes
        if request.params["n_probes"] == "auto":
            n_probes = structure.n_probes(request.params, max(10.0, _UNSEEN * sum(map(len, found))))
    return np.sort(np.concatenate(found))


def _allowed_within(structure: Probed, query: np.ndarray, radius: float, request: Request, counters: np.ndarray,
                    words: np.ndarray, allowed: Allowed) -> np.ndarray:  # fmt: skip
    """The same behind a filter that goes with the lists, ascending."""
    nearest = structure.probes(structure.lists.conversion.queries(query), structure.n_lists)[0]
    there = nearest[0][allowed.counts[nearest[0]] > 0]
    found, n_done, k = [np.empty(0, np.int64)], 0, 10
    while True:
        n_probes = int(allowed.ways(nearest, k, structure.n_probes(request.params, k), structure.calibrations)[0, 0])
        if not n_probes:
            return structure.scanner.search_radius(query, radius, words, request.threads, counters)[1]
        if n_probes <= n_done:
            return np.sort(np.concatenate(found))
        probes = there[n_done:n_probes]
        found.append(_of(words, _within_lists(structure, query, radius, probes)))
        structure.count(probes[None], counters)
        n_done, k = n_probes, max(10, int(_UNSEEN * sum(map(len, found))))


def _of(words: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of the rows that are in a set, words of bits."""
    return rows[(words[rows // 64] >> (rows % 64).astype(np.uint64)) & np.uint64(1) != 0]


def _within_lists(structure: Probed, query: np.ndarray, radius: float, labels: np.ndarray) -> np.ndarray:
    ranges = [np.arange(structure.offsets[label], structure.offsets[label + 1]) for label in labels]
    rows = np.concatenate(ranges)
    if not len(rows):
        return rows
    scanner = Scanner(structure.vectors[rows], structure.lists.conversion.metric)
    nobody = np.zeros((1, N_COUNTERS), np.int64)
    return rows[scanner.search_radius(query, radius, None, 1, nobody)[1]]
