"""From a target recall to search parameters, measured on the data themselves.

How many lists must be probed depends on the data, hardly on anything one could guess: on how many dimensions they
really have. So it is measured: some rows are held out of the training, their true neighbours are found by an exact
scan, and for each neighbour it is noted how many lists are nearer to the query than the one that it lies in. The share
of neighbours with a rank below p is the recall that p probes can reach, for all p at once, without a single search.

The smallest p is taken whose recall, less what chance may have added, is at least the target: the mean over m queries
less 1.645 standard errors, a lower bound that holds with 95 % confidence. Where rows are found through codes, the
number of candidates that are re-ranked is measured in the same way, by searches.

The 100 nearest lie in more lists than the 10 nearest, and a single one needs more candidates for each neighbour that is
asked for; so all this is measured for k = 1, 10 and 100, and a search for another k takes what lies between on
logarithmic scales (beyond 100: as the last two go on).

Exact duplicates of a held-out row do not count as its neighbours: they lie in its own list, so finding them is no
achievement, and data that hold many would look easy to queries that are new.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from annlab.core.heldout import hits, lower_bound

KS = (1, 10, 100)  # numbers of neighbours that recall is measured on
FEWER_QUERIES = 300  # for more than 10 neighbours, of which every query has many
FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 100.0)  # of re-ranking


@dataclass(frozen=True)
class Calibration:
    """Search parameters and what they promise.

    Attributes
    ----------
    n_probes : int
    rerank : float
        Candidates to re-rank, times k; 1 where rows are found by their vectors.
    target : float
    recall : float
        Mean recall@k of the queries that were measured.
    bound : float
        Its lower confidence bound (95 %).
    n_queries : int
        0 where nothing was measured, because all lists are probed.
    k : int
        Neighbours that were asked for.
    """

    n_probes: int
    rerank: float
    target: float
    recall: float
    bound: float
    n_queries: int
    k: int = 10


@dataclass(frozen=True)
class Calibrations:
    """What was measured for several k, ascending."""

    each: tuple[Calibration, ...]

    @property
    def main(self) -> Calibration:
        """That of k = 10, or the nearest to it."""
        return min(self.each, key=lambda one: abs(one.k - 10))

    def at(self, k: int, n_lists: int) -> tuple[int, float]:
        """Probes and re-ranking factor for k neighbours: between those measured, or as the last two go on."""
        if len(self.each) == 1 or k <= self.each[0].k:
            return self.each[0].n_probes, self.each[0].rerank
        right = next((i for i, one in enumerate(self.each) if one.k >= k), len(self.each) - 1)
        low, high = self.each[right - 1], self.each[right]
        if k == high.k:  # so that one query does not wait for what follows
            return high.n_probes, high.rerank
        share = np.log(k / low.k) / np.log(high.k / low.k)
        n_probes = low.n_probes * (high.n_probes / low.n_probes) ** share
        rerank = low.rerank * (high.rerank / low.rerank) ** min(share, 1.0)
        return int(np.clip(np.ceil(n_probes - 1e-9), 1, n_lists)), float(rerank)

    def to_array(self) -> np.ndarray:
        """As an array to store, a row for each k."""
        return np.array([astuple(one) for one in self.each], np.float64)

    @classmethod
    def from_array(cls, array: np.ndarray, n_lists: int) -> Self:
        """From a stored array; raises a ValueError if it makes no sense."""
        if array.ndim != 2 or not 1 <= len(array) <= len(KS) or array.shape[1] != 7 or array.dtype != np.float64:
            raise ValueError(f"calibration {array.dtype} {array.shape} is not rows of seven numbers")
        if not np.isfinite(array).all():
            raise ValueError("calibration holds numbers that are not finite")
        each = []
        for n_probes, rerank, target, recall, bound, n_queries, k in array.tolist():
            if not (1 <= n_probes <= n_lists and 1 <= rerank <= 1e6 and 0 <= n_queries < 2**31 and 1 <= k < 2**31):
                raise ValueError(f"calibration of {n_probes} probes of {n_lists} lists, re-ranking {rerank}, k={k}")
            each.append(Calibration(int(n_probes), rerank, target, recall, bound, int(n_queries), int(k)))
        if any(low.k >= high.k for low, high in pairwise(each)):
            raise ValueError(f"calibration for k = {[one.k for one in each]}, which do not rise")
        return cls(tuple(each))






def choose_probes(ranks: np.ndarray, target: float, n_lists: int) -> tuple[int, np.ndarray]:
    """The fewest probes whose recall is at least the target, and each query's recall with them.

    ranks (q, k): how many lists are nearer than the one with the query's j-th neighbour; -1 where there is none.
    """
    counted = np.maximum((ranks >= 0).sum(axis=1), 1)
    low, high = 1, n_lists
    while low < high:
        middle = (low + high) // 2
        if lower_bound(((ranks >= 0) & (ranks < middle)).sum(axis=1) / counted) >= target:
            high = middle
        else:
            low = middle + 1
    return low, ((ranks >= 0) & (ranks < low)).sum(axis=1) / counted




def choose_rerank(search: Callable[[float], np.ndarray], factors: Sequence[float], truth: np.ndarray, target: float,
                  reachable: float) -> tuple[float, np.ndarray]:  # fmt: skip
    """The smallest factor of candidates with which recall reaches the target; `search(factor)` gives rows (q, m)."""
    recalls = np.zeros(len(truth))
    for factor in factors:
        recalls = hits(truth, search(factor)) / np.maximum((truth >= 0).sum(axis=1), 1)
        if lower_bound(recalls) >= min(target, reachable):
            return factor, recalls
    return factors[-1], recalls
