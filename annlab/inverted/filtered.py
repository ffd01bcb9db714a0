"""How many lists to probe where a filter, or removal, leaves only some of their rows.

Calibration says that a query which looks into its nearest p lists, and so meets s rows, finds enough of its k nearest.
How many lists is that if only the share f of all rows is allowed?

*A filter that has nothing to do with the lists* thins them all alike. The k nearest allowed rows are among the k / f
nearest of all, so as many lists are probed as were measured for k / f neighbours, by all queries alike.

*A filter that goes with the lists*, such as a category of pictures, leaves some whole and others empty: it is
recognised by shares that differ from list to list by more than chance would have it. Now every query goes its own way,
through the lists in the order of their nearness. If its neighbourhood is allowed, it is enough to meet as many allowed
rows as are met without a filter, or with one that thins. If it is forbidden, the nearest rows are far away, in lists
that all look equally near: then as many allowed rows have to be met as calibration measured for that (`far`). What lies
between takes what lies between on a logarithmic scale.

Lists with nothing in them that is allowed are not scanned. And where half of the allowed rows would have to be met, an
exact scan of all of them takes their place.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np

from annlab.inverted.calibration import Calibrations
from annlab.kernels.inverted import ways as kernels
from annlab.kernels.inverted.ways import ALLOWED, Filtered

_MOST_DISPERSED = 2.0  # times the variance that chance gives to the lists' shares
_SURPRISING, _A_FEW = 4.0, 3  # times what chance spreads, and so many rows more: missing from a list of which most live
_LADDER = np.append([1, 2, 3], np.outer(2 ** np.arange(2, 24), [1, 1.25, 1.5, 1.75]).ravel()).astype(np.int64)
"""Numbers of lists, so that queries of a batch need few different ones."""


def allowed_in_lists(words: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many of a set of rows, words of bits, are in each list (n_lists,)."""
    before = np.concatenate([[0], np.cumsum(np.bitwise_count(words), dtype=np.int64)])
    place, bit = offsets // 64, (offsets % 64).astype(np.uint64)
    parts = np.append(words, np.uint64(0))[place] & ((np.uint64(1) << bit) - np.uint64(1))
    return np.diff(before[place] + np.bitwise_count(parts))


class Allowed:
    """What a filter leaves of every list.

    Attributes
    ----------
    counts, sizes : (n_lists,) int64
        Allowed rows, and all rows, of every list.
    share : float
        Of the rows that are allowed.
    """

    def __init__(self, words: np.ndarray, offsets: np.ndarray, half_norms: np.ndarray) -> None:
        """half_norms (at least n_lists,): those of the centroids, see `Centroids`."""
        self.counts, self.sizes = allowed_in_lists(words, offsets), np.diff(offsets)
        self.n, self.n_allowed = int(offsets[-1]), int(self.counts.sum())
        self.share = self.n_allowed / max(self.n, 1)
        self._half_norms = half_norms
        self._last: tuple[Any, int] = None, 0

    @cached_property
    def half_norms(self) -> np.ndarray:
        """Those of the centroids, infinite for lists without an allowed row: so these are probed last."""
        result = self._half_norms.copy()
        result[: len(self.counts)][self.counts == 0] = np.inf
        return result

    @cached_property
    def n_lists(self) -> int:
        """Lists with allowed rows."""
        return int(np.count_nonzero(self.counts))

    @cached_property
    def goes_with_lists(self) -> bool:
        """Whether shares differ by more than chance would have it.

        Where most rows are allowed, a few that are not say nothing yet: one removed row is more than chance gives to a
        small list. Then there must also be a list that lacks a part of its rows which changes the way of a query.
        """
        expected = self.share * self.sizes
        variance = np.maximum(expected * (1 - self.share), 1e-9)
        there = self.sizes > 0
        missing = expected - self.counts
        if (missing[there] ** 2 / variance[there]).mean() <= _MOST_DISPERSED:
            return False
        lacks = missing > np.maximum(_SURPRISING * np.sqrt(variance) + _A_FEW, (1 - ALLOWED) * expected)
        return self.share < 0.5 or bool(lacks.any())

    @cached_property
    def _list_of_a_row(self) -> float:
        """Rows of the list that a row is in, on average."""
        return float((self.sizes.astype(np.float64) ** 2).sum()) / self.n

    def lists_for_all(self, k: int, n_probes: int, calibrations: Calibrations) -> int:
        """How many lists every query probes, where the filter has nothing to do with them.

        n_probes: how many are enough without a filter.
        """
        last, asked, n_lists = self._last, (k, n_probes), len(self.counts)
        if last[0] != asked:  # one reference, read and written at once, whoever else searches
            usual, thinned = calibrations.at(k, n_lists)[0], calibrations.at(k / self.share, n_lists)[0]
            self._last = last = asked, min(math.ceil(n_probes * max(1.0, thinned / usual)), n_lists)
        return last[1]

    def rows_to_meet(self, k: int, n_probes: int, calibrations: Calibrations) -> float:
        """How many allowed rows have to be met for k neighbours, where they may be sparser elsewhere."""
        return self._list_of_a_row * max(n_probes, self.share * self.lists_for_all(k, n_probes, calibrations))

    def ways(self, probes: np.ndarray, k: int, n_probes: int, calibrations: Calibrations) -> np.ndarray:
        """For every query, how many lists with allowed rows it probes, and how many times the usual rows these have.

        probes (q, m): the nearest lists, nearest first. Returns (q, 2) int64: no lists where all allowed rows are to be
        scanned, and `kernels.ASK_ALL` where one has to look at more than these to tell.
        """
        far = max(1.0, calibrations.far / calibrations.at(k, len(self.counts))[0])  # times what is met nearby
        filtered = Filtered(self.counts, self.sizes, _LADDER, self.n_lists, self.n_allowed, self.share,
                            self.rows_to_meet(k, n_probes, calibrations), n_probes, far)  # fmt: skip
        ways = np.empty((len(probes), 2), np.int64)
        kernels.find_ways(probes, filtered, ways)
        return ways
