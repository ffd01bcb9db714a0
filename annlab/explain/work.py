"""In any number of dimensions: how near what a search compared was, against how much it had compared; and a projection.

The projection is on the two directions in which the query's surroundings extend most. It is a shadow: what it distorts
is measured and written on it.
"""

from typing import Any

import numpy as np

from annlab.common import style
from annlab.common.statistics import SearchStats
from annlab.common.style import Palette
from annlab.distances import pairwise
from annlab.explain.explanation import Explanation
from annlab.explain.marks import MARKS, SHORT, mark
from annlab.explain.trace import ordinal
from annlab.kernels.distance import COSINE

_MOST_DOTS = 6000
_BACKGROUND = 2000  # rows that a projection shows beside those of the search
_NEAR = 200  # rows around the query that decide its directions


def distances_to(told: Explanation, ids: np.ndarray) -> np.ndarray:
    """The distances (m,) of the query to rows by their ids."""
    if not len(ids):
        return np.zeros(0)
    vectors = told.index.vectors(ids)
    query = np.ascontiguousarray(told.query[None, :], dtype=vectors.dtype)
    return np.asarray(pairwise(query, vectors, metric=told.index.metric)[0], np.float64)


def distance_by_work(axes: Any, told: Explanation, colours: Palette) -> None:
    """Every row that was compared: how far it is, against how many were compared before it."""
    done, at, dots, starts = told.trace.beforehand, [], [], []
    for step in told.trace.steps:
        starts.append(done)
        at.append(done + np.arange(len(step.ids)) + 1)
        dots.append(step.ids)
        done += step.compared
    ids = np.concatenate(dots) if dots else np.zeros(0, np.int64)
    place = np.concatenate(at) if at else np.zeros(0)
    far = distances_to(told, ids)
    axes.scatter(*_thinned(place, far), s=5, color=colours.seen, linewidths=0, label="compared", zorder=2)
    if len(far):
        axes.plot(place, _kth_so_far(far, told.k), color=colours.found, linewidth=1.6, zorder=3,
                  label=f"the {ordinal(told.k)} nearest so far" if told.k > 1 else "the nearest so far")  # fmt: skip
    near = np.array([step.near for step in told.trace.steps])
    if len(near) and not np.isnan(near).all() and told.kind != "LSHIndex":
        axes.step(starts, near, where="post", color=colours.left_out, linewidth=1.2, linestyle="--", zorder=3,
                  label=told.trace.order.partition(":")[0])  # fmt: skip
    found = np.isin(ids, told.ids)
    first = np.unique(ids[found], return_index=True)[1]
    axes.scatter(place[found][first], far[found][first], s=26, color=colours.found, edgecolors=colours.paper,
                 linewidths=0.8, zorder=5, label=f"returned ({len(first)})")  # fmt: skip
    axes.axvline(max(done, 1), color=colours.faint, linewidth=1)
    _missed(axes, told, done, colours)
    axes.set_xlabel("compared so far" + (f" ({told.trace.beforehand:,} beforehand)" if told.trace.beforehand else ""))
    axes.set_ylabel(f"{told.index.metric} distance from the query")
    axes.set_title("distance against work", fontsize="medium")
    style.legend(axes, colours, loc="best")


def _missed(axes: Any, told: Explanation, done: int, colours: Palette) -> None:
    """What was missed stands where a search that finds it ends; what none finds, at the end of this one."""
    for cause in dict.fromkeys(one.cause for one in told.missed if one.cause in MARKS):
        mine = [one for one in told.missed if one.cause is cause]
        work = [_work_to_find(told, one.needs) if one.needs else done for one in mine]
        axes.scatter(work, [one.distance for one in mine], s=70, marker=MARKS[cause], color=colours.missed,
                     edgecolors=colours.paper, linewidths=0.8, zorder=6,
                     label=f"missed: {SHORT[cause]} ({len(mine)})\nat the work that finds it")  # fmt: skip


def _work_to_find(told: Explanation, needs: dict[str, Any]) -> int:
    """What a search with these parameters compares."""
    stats = SearchStats()
    told.index.search(told.query, told.k, threads=1, stats=stats, **(told.how | needs))
    return int(stats.distances[0])


def _kth_so_far(distances: np.ndarray, k: int) -> np.ndarray:
    """Of the distances up to each place the k-th smallest; NaN where there are fewer."""
    result, best = np.full(len(distances), np.nan), np.zeros(0)
    for place, distance in enumerate(distances.tolist()):
        if len(best) < k or distance < best[-1]:
            best = np.insert(best, np.searchsorted(best, distance), distance)[:k]
        if len(best) == k:
            result[place] = best[-1]
    return result


def _thinned(*arrays: np.ndarray) -> list[np.ndarray]:
    every = -(-len(arrays[0]) // _MOST_DOTS) if len(arrays[0]) else 1
    return [array[::every] for array in arrays]


def projection(axes: Any, told: Explanation, colours: Palette) -> None:
    """The rows in the plane in which the query's surroundings extend most."""
    compared = np.unique(np.concatenate([step.ids for step in told.trace.steps] or [np.zeros(0, np.int64)]))
    here = told.index.ids
    some = here[:: max(1, -(-len(here) // _BACKGROUND))]
    kept = np.asarray([one.id for one in told.missed if one.cause in MARKS], np.int64)
    compared = compared[:: max(1, -(-len(compared) // _MOST_DOTS))]
    ids = np.unique(np.concatenate([some, compared, np.asarray(told.ids)[np.asarray(told.ids) >= 0], kept]))
    places, query, wrong, share = projected(told, ids)
    axes.scatter(*places.T, s=4, color=colours.row, linewidths=0, zorder=2)
    seen = np.isin(ids, compared)
    axes.scatter(
        *places[seen].T, s=6, color=colours.seen, linewidths=0, zorder=3, label=f"compared ({int(seen.sum()):,})"
    )
    path = [step.number for step in told.trace.steps if step.what == "node" and len(step.ids)]
    if told.kind == "VamanaIndex" and path:
        walk = told.index._require_state().by_row.array[path]
        line = places[np.searchsorted(ids, walk[np.isin(walk, ids)])]
        axes.plot(*line.T, color=colours.left_out, linewidth=0.9, zorder=4, label="the walk, in order")
    mark(axes, told, lambda wanted: places[np.searchsorted(ids, wanted)], query, colours)
    axes.set_title(f"projection of {len(told.query)} dimensions to 2", fontsize="medium")
    axes.set_xlabel(f"shows {share:.0%} of the variance around the query;\n"
                    f"half of the distances from it are off by more than {wrong:.0%}")  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    style.legend(axes, colours, loc="best")


def projected(told: Explanation, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Rows (m, 2) and the query (2,) in the plane, the median error of distances from the query, relative to these,
    and the share of the variance that is left.

    Directions are those of the rows nearest to the query among all that are shown: it is they that one looks at.
    """
    points, query = told.index.vectors(ids).astype(np.float64), told.query.astype(np.float64)
    if told.index._require_state().metric.code == COSINE:
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)
        query = query / max(float(np.linalg.norm(query)), 1e-300)
    away = points - query
    lengths = np.linalg.norm(away, axis=1)
    near = away[np.argsort(lengths, kind="stable")[:_NEAR]]
    middle = near.mean(axis=0)
    _, spread, directions = np.linalg.svd(near - middle, full_matrices=False)
    directions = directions[:2]
    flat = away @ directions.T
    total = float((spread**2).sum())
    share = float((spread[:2] ** 2).sum()) / total if total > 0 else 1.0
    there = lengths > 0
    errors = np.abs(np.linalg.norm(flat[there], axis=1) / lengths[there] - 1.0)
    if len(directions) < 2:  # one row alone, or one dimension
        flat = np.pad(flat, ((0, 0), (0, 2 - len(directions))))
    return flat, np.zeros(2), float(np.median(errors)) if there.any() else 0.0, share
