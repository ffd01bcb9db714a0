"""All rows within a radius of a query, from as many lists as may hold them.

Calibration says how many lists hold the k nearest, but a radius holds nobody knows how many rows. So with
`n_probes="auto"` a query looks into the lists of its ten nearest, counts what lies within the radius there, and goes on
to as many lists as so many neighbours ask for, until they ask for no more. What a filter leaves out, or was removed,
counts too: it takes its place within the radius like everything else.
"""

from typing import Any, Protocol

import numpy as np

from annlab.common import pool
from annlab.common.statistics import N_COUNTERS
from annlab.core.structure import Request
from annlab.inverted.calibration import Searched
from annlab.scan.scanner import Scanner

_UNSEEN = 1.25  # times as many rows as were found may be there: the rest is what further lists are asked for


class Probed(Searched, Protocol):
    """What is searched: an `IVFStructure`."""

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
        rows = _within(structure, queries[i : i + 1], radius, request, request.counters[i : i + 1])
        if request.alive is not None:
            words = request.alive[i] if request.alive.ndim == 2 else request.alive
            rows = rows[(words[rows // 64] >> (rows % 64).astype(np.uint64)) & np.uint64(1) != 0]
        found.append(rows)
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


def _within_lists(structure: Probed, query: np.ndarray, radius: float, labels: np.ndarray) -> np.ndarray:
    ranges = [np.arange(structure.offsets[label], structure.offsets[label + 1]) for label in labels]
    rows = np.concatenate(ranges)
    if not len(rows):
        return rows
    scanner = Scanner(structure.vectors[rows], structure.lists.conversion.metric)
    nobody = np.zeros((1, N_COUNTERS), np.int64)
    return rows[scanner.search_radius(query, radius, None, 1, nobody)[1]]
