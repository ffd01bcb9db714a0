"""How many shards an approximate search has to ask, where rows are placed by cells: tried out when they are shared out.

Rows are searched for as if they were new, in the one index that was fitted and in the parts of it that the shards get.
The answer is the least number of shards, nearest first, whose answers together hold as many of the true neighbours as
that of the one index; that they do has to be sure by 95 % (`core/heldout.py`), or all are asked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.core.heldout import lower_bound
from annlab.exact import ExactIndex
from annlab.index import Index
from annlab.sharded import merging, reach
from annlab.sharded.cells import Cells

_KS, _QUERIES, _LEAST_ROWS = (10, 100), 300, 16


def shards_to_ask(cells: Cells, whole: Index, parts: Sequence[Index]) -> tuple[tuple[int, int], ...]:
    """For numbers k of neighbours: (k, how many shards); nothing for k of which there are too few rows."""
    ids, rng = whole.ids, np.random.default_rng(0)
    chosen, found = rng.choice(ids, min(_QUERIES, len(ids)), replace=False), []
    queries = whole.vectors(chosen)
    reaches = np.array([reach.of_index(cells, part) for part in parts])
    order = np.argsort(reach.bounds(cells, reaches, queries)[1], axis=1, kind="stable")
    for k in _KS:
        if len(ids) < _LEAST_ROWS * k:
            break
        true = _others(_true(whole, queries, k + 1), chosen, k)
        one = _recalls(_others(whole.search(queries, k + 1).ids, chosen, k), true)
        answers = [part.search(queries, k + 1) if len(part) else None for part in parts]

        def gain(n: int, k: int = k, answers: Any = answers, true: Any = true, one: Any = one) -> float:
            return lower_bound(_recalls(_others(_merged(answers, order[:, :n], k + 1), chosen, k), true) - one)

        found.append((k, next((n for n in range(1, len(parts)) if gain(n) >= 0), len(parts))))
    return tuple(found)


def _merged(answers: Sequence[object], asked: np.ndarray, k: int) -> np.ndarray:
    """(q, k) the ids that the shards find that each query asks (q, n)."""
    parts = []
    for number, answer in enumerate(answers):
        if answer is not None:
            distances, ids = (np.array(each) for each in answer)  # type: ignore[attr-defined]
            ids[~(asked == number).any(axis=1)] = -1
            parts.append((distances.astype(np.float64), ids))
    return merging.nearest(parts, len(asked), k).ids


def _true(whole: Index, queries: np.ndarray, k: int) -> np.ndarray:
    """(q, k) the ids of the true neighbours, by a scan, block by block."""
    best: list[Any] = []
    ids, at_once = whole.ids, max(rows_at_once(whole.dim), k)
    for start in range(0, len(ids), at_once):
        own = ids[start : start + at_once]
        found = ExactIndex(metric=whole.metric).fit(whole.vectors(own), own).search(queries, k)
        best = [merging.nearest([*best, (found.distances.astype(np.float64), found.ids)], len(queries), k)]
    return np.asarray(best[0].ids)


def _others(ids: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """(q, k): without the row itself that was searched for."""
    own = ids == chosen[:, None]
    order = np.argsort(own, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(np.where(own, -1, ids), order, axis=1)


def _recalls(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(q,) the share of the true ones that were found."""
    return np.array([np.isin(one[one >= 0], other).mean() for one, other in zip(true, found, strict=True)])
