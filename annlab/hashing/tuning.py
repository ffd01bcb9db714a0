"""Parameters of LSH from a target recall, by measuring on held-out rows.

Theory (`annlab/hashing/theory.py`) says how often two vectors at a known angle collide; it does not know at which
angles the neighbours of your data lie, nor how many others lie almost as near. So both are measured: some rows of the
data are taken as queries, their true neighbours are found by an exact scan, and the search parameters grow along a
ladder until so many of the neighbours are found, with a margin for chance (`lower_bound` in inverted/calibration.py). A
row is no neighbour of itself here.

*From a sample to all.* Whether the keys of two vectors meet in the probed buckets depends on the two alone, but the ten
nearest of n rows are nearer than the ten nearest of a sample of m: about as near as the sample's 10 m / n nearest. So
these are what has to be found in the sample, and as many candidates as were needed there times n / m will be needed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annlab.common.statistics import N_COUNTERS
from annlab.core.heldout import lower_bound
from annlab.distances import Metric
from annlab.kernels import scoring
from annlab.scan.scanner import Scanner

_HELD_OUT = 192
_LADDER = [int(16 * 2 ** (i / 2)) for i in range(2, 25)]  # 32, 45, 64, ... 65536


@dataclass(frozen=True)
class Aim:
    """What to reach: so much of the k nearest neighbours."""

    recall: float = 0.9
    k: int = 10


DEFAULT_AIM = Aim()


class HeldOut:
    """Some rows of the data as queries, and their true neighbours.

    Attributes
    ----------
    queries : (m, dim)
    neighbors : (m, k) int64
        Rows, the query itself left out; -1 where there are fewer.
    """

    def __init__(self, vectors: np.ndarray, metric: Metric, k: int, rng: np.random.Generator) -> None:
        n = len(vectors)
        chosen = np.sort(rng.permutation(n)[:_HELD_OUT])
        self.rows, self.queries = chosen, np.ascontiguousarray(vectors[chosen])
        k = min(k, n - 1)
        counters = np.zeros((len(chosen), N_COUNTERS), np.int64)
        keys = np.arange(n)
        found = Scanner(vectors, metric).search(self.queries, k + 1, None, keys, 1, counters)
        found[found == chosen[:, None]] = -1
        distances = np.full((len(chosen), max(k, 1)), np.inf)
        self.neighbors = np.full(distances.shape, -1, np.int64)
        scoring.score(self.queries, vectors, vectors[:0], keys, np.ascontiguousarray(found), metric.code,
                      scoring.scratch(found), distances, self.neighbors)  # fmt: skip

    def recall(self, candidates: np.ndarray) -> float:
        """The share of the true neighbours among the candidates (m, c) of every query, less what chance may add."""
        if self.neighbors.max(initial=-1) < 0:
            return 1.0  # a single row has no neighbours
        pairs = zip(candidates, self.neighbors, strict=True)
        return lower_bound(np.array([np.isin(true.compress(true >= 0), row).mean() for row, true in pairs]))


def smallest(recall_of: Callable[[int], float], limit: int, target: float) -> int:
    """The smallest step of the ladder up to `limit` that reaches the target (or `limit`), by bisection."""
    steps = [step for step in _LADDER if step < limit] + [limit]
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if recall_of(steps[middle]) >= target:
            high = middle
        else:
            low = middle + 1
    return steps[low]
