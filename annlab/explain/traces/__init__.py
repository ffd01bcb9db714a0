"""How the steps of a search are found out afterwards, for each family of indexes.

Searches write no diary, so that they lose no time. Most of what they did follows from the arrays: which cells are the
nearest, which buckets the cheapest, which bound is within the limit. It is worked out here in plain NumPy, and must
agree with what the search counted (`SearchStats`): the tests compare. A walk through a graph is done once more by the
same kernel, and read from what it leaves behind.

    lists.py     cells of an inverted file
    hashes.py    buckets, or a scan of all codes
    trees.py     nodes and leaves, depth first or best first
    graphs.py    the walk
"""

from dataclasses import replace
from typing import Any

import numpy as np

from annlab.common import rowsets
from annlab.common.statistics import SearchStats
from annlab.core.structure import Request
from annlab.explain.trace import Step, Trace
from annlab.explain.traces import graphs, hashes, lists, trees
from annlab.explain.traces.asked import Asked
from annlab.graphs.structure import GraphStructure
from annlab.hashing.structure import LSHStructure
from annlab.index import Index
from annlab.inverted.structure import IVFStructure
from annlab.trees.structure import TreeStructure

__all__ = ["Asked", "asked_of", "trace_of"]


def asked_of(index: Index, query: np.ndarray, k: int, chosen: dict[str, Any], params: dict[str, Any]) -> Asked | None:
    """What the structure of an index was asked for by a search; None if there is nothing in the index."""
    if index._state is None or not index._state.n_live:
        return None
    search, _ = index._prepared(query, (chosen["allowed"], chosen["excluded"], chosen["where"]), 1, params)
    state, mask = search.state, search.selection.mask(0, 1)
    if mask is not None and mask.ndim == 2:
        mask = mask[0]
    sealed, tail = state.living if mask is None else state.words(mask)
    request = Request(sealed, state.by_row.array[: state.n_sealed], search.params, 1, search.counters,
                      n_living=None if sealed is None else state.n_live_sealed)  # fmt: skip
    may = np.ones(state.n_sealed, bool) if sealed is None else rowsets.unpack(sealed, state.n_sealed)
    n_tail = len(state.tail.array)
    may_tail = np.ones(n_tail, bool) if tail is None else rowsets.unpack(tail, n_tail)
    return Asked(state, search.queries, min(k, state.n_live), request, may, may_tail)


def trace_of(asked: Asked | None, stats: SearchStats) -> Trace:
    """The steps of a search that counted these statistics."""
    if asked is None:
        return Trace("", ())
    structure, visited = asked.state.structure, int(stats.visited[0])
    trace = Trace("", ())
    if visited and isinstance(structure, IVFStructure):
        trace = lists.trace(structure, asked, visited)
    elif visited and isinstance(structure, LSHStructure):
        trace = hashes.trace(structure, asked, visited)
    elif visited and isinstance(structure, GraphStructure):
        trace = graphs.trace(structure, asked)
    elif visited and isinstance(structure, TreeStructure):
        trace = trees.trace(structure, asked)
    added, every = _tail(asked), asked.vector_bytes
    rest = int(stats.distances[0]) - trace.compared - sum(step.compared for step in added)
    if rest > 0:  # what was not looked at by way of the structure was scanned, exactly
        ids = asked.request.keys[asked.may]
        added = (Step("all rows", -1, float("nan"), ids, rest, rest * every), *added)
    return replace(trace, steps=(*trace.steps, *added))


def _tail(asked: Asked) -> tuple[Step, ...]:
    """Rows that were added and are not in the structure: each search compares all of them that it may return."""
    if not len(asked.may_tail):
        return ()
    ids = asked.state.by_row.array[asked.state.n_sealed :][asked.may_tail]
    return (Step("added rows", -1, float("nan"), ids, len(ids), len(ids) * asked.vector_bytes),)
