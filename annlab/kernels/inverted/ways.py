"""How many lists each query probes behind a filter that goes with the lists: `inverted/filtered.py` has the idea.

A query walks through the lists, nearest first, until it has met as many allowed rows as it needs where all is allowed.
What it met on the way tells whether its neighbourhood is: if not, it walks on, until it has met so many times more.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.simd.path import entry

ASK_ALL = -1  # a number of lists, see `find_ways`
ALLOWED, _FORBIDDEN = 0.75, 0.25  # shares of a neighbourhood, in terms of that of all rows
_STEPS = 4  # between a neighbourhood that is allowed and one that is forbidden


class Filtered(NamedTuple):
    """What a filter leaves of the lists, and what is asked of it."""

    counts: Any  # int64 (n_lists,): allowed rows, and
    sizes: Any  # all rows of every list
    ladder: Any  # int64: numbers of lists, ascending
    n_there: int  # lists with allowed rows
    n_allowed: int
    share: float  # of the rows that are allowed
    met: float  # allowed rows to meet, in
    n_probes: int  # lists with allowed rows, at least, where all is allowed,
    far: float  # and how many times as many where nothing is


@entry
def find_ways(path, probes, filtered: Filtered, ways):
    """ways (q, 2) int64: how many lists with allowed rows a query probes, and how many times the usual rows it meets.

    probes (q, m): the nearest lists, nearest first. No lists where more than half of what is allowed would be met;
    `ASK_ALL` where m are not all lists, and not enough to tell.
    """
    counts, sizes, ladder, n_there, n_allowed, share, met, n_probes, far = Filtered(*filtered)
    n_lists, enough, n_least = probes.shape[1], min(met, n_allowed), min(n_probes, n_there)
    for i in range(probes.shape[0]):
        allowed, rows, there, least, j = 0, 0, 0, np.inf, 0
        while j < n_lists and (allowed < enough or there < n_least or j == 0):
            own = probes[i, j]
            allowed, rows, there = allowed + counts[own], rows + sizes[own], there + (counts[own] > 0)
            least = min(least, allowed / max(rows, 1) / share)
            j += 1
        knows = allowed >= enough and there >= n_least
        forbidden = min(max((ALLOWED - least) / (ALLOWED - _FORBIDDEN), 0.0), 1.0)
        widening = far ** (math.ceil(_STEPS * forbidden) / _STEPS)
        budget = min(met * widening, n_allowed)
        while j < n_lists and allowed < budget:
            allowed, there = allowed + counts[probes[i, j]], there + (counts[probes[i, j]] > 0)
            j += 1
        rung = 0
        while ladder[rung] < there:
            rung += 1
        ways[i, 0], ways[i, 1] = min(ladder[rung], n_there), math.ceil(widening)
        if 2 * budget > n_allowed:
            ways[i, 0] = 0
        if n_lists < len(counts) and not (knows and allowed >= budget):
            ways[i, 0] = ASK_ALL
