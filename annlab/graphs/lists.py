"""Which rows meet in which leaves, and the lists of rows among themselves."""

import numpy as np

from annlab.common.progress import Progress
from annlab.graphs.leaves import (
    OVERLAP,
    Leaves,
    divide,
    find_leaders,
    group,
    leaf_rows,
    nearest_leaders,
    nearest_lists,
)
from annlab.graphs.whole import some_rows
from annlab.kernels.graphs.compare import LOW, NONE
from annlab.kernels.graphs.prune import MOST
from annlab.kernels.graphs.whole import Rows

_SMALL = 1.5  # times the rows of a leaf: so few are one leaf


def list_length(degree: int) -> int:
    """How many candidates a node's links are chosen from: with fewer the pruning starves."""
    return min(MOST, max(64, degree + degree // 2))


def partition(rows: Rows, rng: np.random.Generator, threads: int,
              progress: Progress) -> tuple[Rows, Leaves, np.ndarray]:  # fmt: skip
    """Rows sorted by leader, their leaves, and which of the given rows each is (n,) int64."""
    n = len(rows.codes)
    everyone = np.arange(n, dtype=np.int32)
    if n <= _SMALL * leaf_rows(rows.dim):
        return rows, Leaves(everyone, np.array([0, n])), everyone.astype(np.int64)
    progress("finding leaders", 0.0)
    n_leaders = max(OVERLAP, round(n * OVERLAP / leaf_rows(rows.dim)))
    leaders = find_leaders(rows, everyone, n_leaders, rng, threads)
    assigned = nearest_leaders(rows, everyone, leaders, OVERLAP, threads)
    order = np.argsort(_places_of(leaders, rng, threads)[assigned[:, 0]], kind="stable")
    rows, assigned = some_rows(rows, order), np.ascontiguousarray(assigned[order])
    leaves = divide(rows, group(assigned, n_leaders), rng, threads)
    progress("finding leaders", 1.0)
    return rows, leaves, order


def own_lists(rows: Rows, keep: int, rng: np.random.Generator, threads: int, progress: Progress) -> np.ndarray:
    """The lists (n, keep) of some rows among themselves."""
    rows, leaves, places = partition(rows, rng, threads, progress)
    everyone = np.arange(len(places), dtype=np.int32)
    keys = nearest_lists(rows, leaves, everyone, keep, threads, progress)
    numbers = np.append(places, 0).astype(np.uint64)
    rows_of = (keys & LOW).astype(np.int64)
    rows_of[keys == NONE] = len(places)
    result = np.empty_like(keys)
    result[places] = np.sort(np.where(keys == NONE, NONE, (keys & ~LOW) | numbers[rows_of]), axis=1)
    return result


def _places_of(leaders: Rows, rng: np.random.Generator, threads: int) -> np.ndarray:
    """For every leader its place in an order in which those that are near to each other follow one another."""
    n = len(leaders.codes)
    everyone, n_groups = np.arange(n, dtype=np.int32), max(1, round(n**0.5))
    groups = nearest_leaders(leaders, everyone, find_leaders(leaders, everyone, n_groups, rng, threads), 1, threads)
    places = np.empty(n, np.int64)
    places[np.argsort(groups[:, 0], kind="stable")] = np.arange(n)
    return places
