"""What one search did, what it missed, and why: `annlab.explain.explain`, or `index.explain(query, k)`.

    explanation.py     the closed list of causes, and the explanation as an object and in words
    knobs.py           the search parameters of each index that decide what is found, from where a search stood upward
    counterfactual.py  the smallest parameters that would have found a row, found by searching
    trace.py, traces/  what a search looked into, step by step, and what it left out
    drawing.py         all that as a picture: partitions.py in two dimensions, work.py in any, marks.py in both
    examples.py        an index of every kind that misses something, drawn for the documentation

A cause is not guessed from the arrays but *verified by counterfactual*: it names the smallest parameter that would have
found the neighbour; a search with it finds it, and a search with the next smaller one does not. Both were run.

Cost: an exact scan, if no ids are expected, and some twenty searches for every missed row. Nothing of it is there while
nobody asks.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from annlab.common import validation
from annlab.common.statistics import SearchStats
from annlab.core.heldout import HeldOut
from annlab.distances import get_metric, pairwise
from annlab.explain.counterfactual import Search, cause_of
from annlab.explain.explanation import Cause, Explanation, Missed
from annlab.explain.trace import Step, Trace
from annlab.explain.traces import Asked, asked_of, trace_of
from annlab.explain.traces.places import lost_by_code, place_of
from annlab.index import Index

__all__ = ["Cause", "Explanation", "Missed", "Step", "Trace", "explain"]


def explain(index: Index, query: Any, k: int = 10, *, expected: Any = None, allowed: Any = None, excluded: Any = None,
            where: Any = None, **params: Any) -> Explanation:  # fmt: skip
    """What a search for one query did, and why it did not return what was expected.

    Parameters
    ----------
    index : Index
    query : array of shape (dim,)
    k : int
    expected : ids, optional
        What should have been found; the true k nearest, by an exact scan, if not given.
    allowed, excluded, where, **params
        As in `Index.search`.

    Returns
    -------
    Explanation
        `str()` tells it; `ids` and `distances` are those of `search` with the same arguments.

    Raises
    ------
    ValueError, TypeError
        As `Index.search`, or if there are several queries.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((5000, 8), dtype=np.float32)
    >>> index = annlab.IVFIndex().fit(vectors)
    >>> told = explain(index, vectors[0] + 0.1, k=10, n_probes=1)
    >>> missed = told.missed[0]
    >>> missed.cause.name, missed.needs["n_probes"] - missed.too_little["n_probes"]
    ('CELL', 1)
    """
    array = np.asarray(query)
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.ndim != 1:
        raise ValueError(f"explain takes one query (dim,), not an array of shape {array.shape}")
    k, stats = validation.as_integer("k", k, 1), SearchStats()
    chosen = {"allowed": allowed, "excluded": excluded, "where": where}
    index = index.branch()  # of one moment, whoever writes meanwhile
    found = index.search(array, k, stats=stats, threads=1, **chosen, **params)
    search = Search(index, array, k, chosen, params)
    ids, vectors = index.ids, index.vectors(index.ids)
    may = np.isin(ids, search.allowed_ids())
    if expected is None:
        true = (
            HeldOut.of_queries(vectors[may], get_metric(index.metric), _alike(array, vectors), k) if may.any() else None
        )
        expected = ids[may][true.rows[0][true.rows[0] >= 0]] if true is not None else np.zeros(0, np.int64)
    wanted = np.unique(np.asarray(expected).astype(np.int64).ravel())
    missed = []
    for id_ in np.setdiff1d(wanted, found.ids):
        place = np.flatnonzero(ids == id_)
        distance = np.inf
        if len(place):
            distance = float(pairwise(_alike(array, vectors), vectors[place], metric=index.metric)[0, 0])
        missed.append(
            cause_of(search, int(id_), distance, len(place) > 0 and bool(may[place[0]]), len(place) > 0, found)
        )
    missed.sort(key=lambda one: (one.distance, one.id))
    asked = asked_of(index, array, k, chosen, params)
    trace = trace_of(asked, stats)
    if asked is not None:
        missed = [_placed(one, asked, trace) for one in missed]
    return Explanation(type(index).__name__, k, found.ids, found.distances, len(ids), stats, search.used(), wanted,
                       tuple(missed), trace, array, index, chosen | params)  # fmt: skip


def _placed(missed: Missed, asked: Asked, trace: Trace) -> Missed:
    """With the place of the row; a walk that saw it did not end before it, but was misled by its code."""
    cause = missed.cause
    if cause is Cause.ENDED and lost_by_code(asked, trace, missed.id):
        cause = Cause.RERANK
    return replace(missed, cause=cause, place=place_of(asked, trace, missed.id))


def _alike(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The query as a matrix (1, dim) of the vectors' type."""
    return np.ascontiguousarray(query[None, :], dtype=vectors.dtype)
