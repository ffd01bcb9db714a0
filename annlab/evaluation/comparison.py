"""Is B better than A, or were these queries just kind to B?

Both systems answered the same queries, so the differences per query are what counts: much of the spread of the
scores comes from easy and hard queries and cancels. Two answers are given, and both assume only that the queries
are a fair sample:

- an *interval* for the mean difference, by a bootstrap over queries: how much better;
- a *p value* by Fisher's randomisation test: if A and B were the same, each query's two scores could as well be
  swapped, which flips the sign of its difference. The p value is the share of sign patterns whose mean is at least
  as far from 0 as the one seen. With few queries all 2^n patterns are tried; otherwise random ones, and the
  observed pattern counts as one of them, so p is never 0 [2]_. Smucker et al. [1]_ found this test to agree with the
  bootstrap and Student's t, and preferable to the sign and Wilcoxon tests for means of ranking scores.

One test answers one question: of twenty variants tested at 5 %, one looks better by chance.

References
----------
.. [1] Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval
   Evaluation", CIKM 2007.
.. [2] Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from annlab.evaluation.checks import as_cutoff, as_numbers
from annlab.evaluation.report import Evaluation
from annlab.evaluation.resampling import N_RESAMPLES, bootstrap_means, percentile_interval

_EXACT_UP_TO = 16  # differing queries: 65,536 patterns
_BLOCK = 2**22  # signs held at once


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found. ``difference`` is mean_b - mean_a, ``low`` and ``high`` its interval at ``level``."""

    measure: str
    mean_a: float
    mean_b: float
    low: float
    high: float
    level: float
    p_value: float
    n_queries: int
    wins: int
    losses: int

    @property
    def difference(self) -> float:
        """mean_b - mean_a: above 0, B is better."""
        return self.mean_b - self.mean_a

    def __str__(self) -> str:
        return (
            f"{self.measure}: A {self.mean_a:.4f}, B {self.mean_b:.4f}, difference {self.difference:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}] ({self.level:.0%} interval)\n"
            f"p = {self.p_value:.4f}; B better on {self.wins}, worse on {self.losses} of {self.n_queries} queries"
        )


def compare(
    a: Evaluation,
    b: Evaluation,
    measure: str,
    *,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    n_permutations: int = 9999,
    seed: int = 0,
) -> Comparison:
    """Paired comparison of two evaluations of the same queries.

    Parameters
    ----------
    a, b : Evaluation
        Matched by ``query_ids``, in whatever order each has them.
    measure : name
        Must be in both.
    level : float
        Of the interval of the difference.
    n_resamples, n_permutations : int
        For the interval, and for the p value where there are too many queries to try every pattern.
    seed : int

    Raises
    ------
    ValueError
        If the two were not asked the same queries, or not judged by the same relevant items.

    Examples
    --------
    >>> from annlab.evaluation import from_rankings
    >>> relevant = [{1}, {2}, {3}, {4}]
    >>> a = from_rankings([[9, 1], [9, 2], [9, 3], [4, 9]], relevant, measures=["mrr"])
    >>> b = from_rankings([[1, 9], [2, 9], [3, 9], [4, 9]], relevant, measures=["mrr"])
    >>> print(compare(a, b, "mrr"))
    mrr: A 0.6250, B 1.0000, difference +0.3750 [+0.1250, +0.5000] (95% interval)
    p = 0.2500; B better on 3, worse on 0 of 4 queries
    """
    only_a, only_b = np.setdiff1d(a.query_ids, b.query_ids), np.setdiff1d(b.query_ids, a.query_ids)
    if len(only_a) or len(only_b):
        example = f"A has query {only_a[0]} and B has not" if len(only_a) else f"B has query {only_b[0]} and A has not"
        raise ValueError(
            f"A has {len(a)} queries and B has {len(b)}, but not the same ones ({example}): pairs are needed"
        )
    order_a, order_b = np.argsort(a.query_ids), np.argsort(b.query_ids)
    differing = a.n_relevant[order_a] != b.n_relevant[order_b]
    if differing.any():
        row = int(np.argmax(differing))
        raise ValueError(
            f"query {a.query_ids[order_a][row]} has {a.n_relevant[order_a][row]} relevant items in A, but "
            f"{b.n_relevant[order_b][row]} in B: both must be judged in the same way"
        )
    difference = b[measure][order_b] - a[measure][order_a]
    low, high = percentile_interval(bootstrap_means(difference[:, None], n_resamples, seed)[:, 0], level)
    return Comparison(
        measure=measure,
        mean_a=a.mean(measure),
        mean_b=b.mean(measure),
        low=low,
        high=high,
        level=level,
        p_value=permutation_test(difference, n_permutations=n_permutations, seed=seed),
        n_queries=len(difference),
        wins=int(np.count_nonzero(difference > 0)),
        losses=int(np.count_nonzero(difference < 0)),
    )


def permutation_test(differences: ArrayLike, *, n_permutations: int = 9999, seed: int = 0) -> float:
    """Two-sided p value of the sign-flip test that the mean of ``differences`` (q,) is 0.

    Exact if at most 16 differences are not 0 (those that are 0 change nothing), otherwise estimated by
    ``n_permutations`` random patterns and never below 1 / (n_permutations + 1).

    Examples
    --------
    Three queries better, none worse: of the 8 sign patterns, two (+++ and ---) are as far from 0.

    >>> permutation_test([0.1, 0.2, 0.3])
    0.25
    """
    values = as_numbers(differences, "differences", 1).astype(np.float64)
    n_permutations = as_cutoff(n_permutations, "n_permutations")
    values = values[values != 0]
    n = len(values)
    # Equal sums may differ in their last bits, depending on the order of addition: they count as equal.
    threshold = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    exact = n <= _EXACT_UP_TO
    n_patterns = 2**n if exact else n_permutations
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // max(n, 1))
    extreme = 0
    for start in range(0, n_patterns, rows):
        count = min(rows, n_patterns - start)
        if exact:
            flipped = (np.arange(start, start + count)[:, None] >> np.arange(n) & 1).astype(np.float64)
        else:
            octets = rng.integers(256, size=(count, -(-n // 8)), dtype=np.uint8)
            flipped = np.unpackbits(octets, axis=1)[:, :n].astype(np.float64)
        sums = values.sum() - 2.0 * (flipped @ values)
        extreme += int(np.count_nonzero(np.abs(sums) >= threshold))
    return extreme / n_patterns if exact else (extreme + 1) / (n_patterns + 1)
