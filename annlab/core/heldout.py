"""Held-out queries: rows that are kept out of what is learned, and recall measured with them."""

import numpy as np

CONFIDENCE = 1.645  # standard errors: one-sided, 95 %
_MOST_QUERIES = 1000


def n_held_out(n: int) -> int:
    """How many of n rows to hold out: enough for a standard error near half a percent, and never many."""
    return min(_MOST_QUERIES, n // 10)


def lower_bound(recalls: np.ndarray) -> float:
    """The mean of recalls (q,) less what chance may have added."""
    return float(recalls.mean() - CONFIDENCE * recalls.std() / np.sqrt(max(len(recalls), 1)))


def hits(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How many of the rows truth[i] are in found[i], for every i; -1 is none."""
    size = 2 + max(int(truth.max(initial=0)), int(found.max(initial=0)))
    first = np.arange(len(truth))[:, None] * size + 1  # all queries' rows become one ascending array
    there = np.append((np.sort(found, axis=1) + first).ravel(), np.iinfo(np.int64).max)
    wanted = truth + first
    return ((there[np.searchsorted(there, wanted)] == wanted) & (truth >= 0)).sum(axis=1)
