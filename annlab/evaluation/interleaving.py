"""Team-draft interleaving: two rankers in one list, and the clicks say which is better.

In an A/B test each user sees one ranker, and users differ more than rankers do. Here every user sees both: the rankers
take turns like captains who choose teams [1]_. In each round a coin says who chooses first; each one takes its best
item that is not in the list yet. A click is a point for the team of its item. With equal rankers both have as many
points, on average, wherever users look; so a difference is one of quality. It takes far fewer users than an A/B test
for the same certainty, but says only *which* is better, not by how many clicks.

References
----------
.. [1] Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?", CIKM 2008.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_labels, as_level
from annlab.evaluation.resampling import bootstrap_means, percentile_interval

A, B = 0, 1


class Interleaved(NamedTuple):
    """One list of two rankers: items (k,), and for each the team (k,) int8 that it plays for, A (0) or B (1)."""

    items: NDArray[np.generic]
    teams: NDArray[np.int8]


def team_draft(a: ArrayLike, b: ArrayLike, k: int, rng: np.random.Generator) -> Interleaved:
    """Interleave two rankings.

    Parameters
    ----------
    a, b : arrays of ids
        Best first, no id twice in one.
    k : int
        Length of the list; shorter where both rankings end before.
    rng : numpy.random.Generator
        One for each list, from a seed that is logged with it.

    Raises
    ------
    ValueError, TypeError
        A ranking holds an id twice, or k is below 1.

    Examples
    --------
    >>> found = team_draft([1, 2, 3], [3, 2, 4], k=3, rng=np.random.default_rng(0))
    >>> found.items, found.teams
    (array([1, 3, 2]), array([0, 1, 0], dtype=int8))
    """
    rankings = [_distinct(a, "a"), _distinct(b, "b")]
    k, at = as_cutoff(k), [0, 0]
    items: list[object] = []
    teams: list[int] = []
    taken: set[object] = set()
    while len(items) < k:
        before = len(items)
        for team in rng.permutation(2).tolist():
            ranking = rankings[team]
            while at[team] < len(ranking) and ranking[at[team]] in taken:
                at[team] += 1
            if at[team] < len(ranking) and len(items) < k:
                taken.add(ranking[at[team]])
                items.append(ranking[at[team]])
                teams.append(team)
        if len(items) == before:
            break
    return Interleaved(np.array(items), np.array(teams, np.int8))


class Preference(NamedTuple):
    """Which ranker users prefer; see :func:`preference`.

    Attributes
    ----------
    wins_a, wins_b, ties : int
        Users by who had more points with them.
    share_b : float
        (wins_b + ties / 2) / users: 0.5 for equal rankers.
    low, high : float
        The interval of share_b, redrawing users.
    p_value : float
        Of as many wins for one side if both were equal: the two-sided sign test without ties.
    """

    wins_a: int
    wins_b: int
    ties: int
    share_b: float
    low: float
    high: float
    p_value: float


def preference(users: ArrayLike, teams: ArrayLike, *, n_users: int | None = None, level: float = 0.95,
               n_resamples: int = 2000, seed: int = 0) -> Preference:  # fmt: skip
    """Count each user once, however much they click.

    Parameters
    ----------
    users : array of shape (n,)
        Who made each click.
    teams : int array of shape (n,)
        For which team the clicked item played, 0 or 1.
    n_users : int, optional
        How many were shown such lists; those who did not click are ties. Without it, they are left out.
    level, n_resamples, seed
        Of the interval.

    Raises
    ------
    ValueError, TypeError
        Lengths differ, a team is neither 0 nor 1, there are no users, or fewer than have clicked.

    Examples
    --------
    >>> preference([1, 1, 2, 3], [1, 1, 1, 0], n_users=4).share_b
    0.625
    """
    from scipy.stats import binomtest

    who, points = as_labels(users, "users"), np.asarray(teams)
    if points.shape != who.shape or not np.isin(points, (A, B)).all():
        raise ValueError(f"teams must be 0 or 1 for each of {len(who)} clicks, got shape {points.shape}")
    names, codes = np.unique(who, return_inverse=True)
    total = len(names) if n_users is None else as_cutoff(n_users, "n_users")
    if total < max(len(names), 1):
        raise ValueError(f"{len(names)} users have clicked, so n_users cannot be {total}")
    lead = np.bincount(codes, np.where(points == B, 1, -1), minlength=total)
    outcomes = (np.sign(lead) + 1) / 2
    wins_a, wins_b = int((lead < 0).sum()), int((lead > 0).sum())
    low, high = percentile_interval(bootstrap_means(outcomes[:, None], n_resamples, seed)[:, 0], as_level(level))
    p = binomtest(wins_b, wins_a + wins_b).pvalue if wins_a + wins_b else 1.0
    return Preference(wins_a, wins_b, total - wins_a - wins_b, float(outcomes.mean()), low, high, float(p))


def _distinct(ids: ArrayLike, name: str) -> list[object]:
    ranking: list[object] = as_labels(ids, name).tolist() if len(np.asarray(ids)) else []
    if len(set(ranking)) < len(ranking):
        raise ValueError(f"{name} holds an id twice: {next(i for i in ranking if ranking.count(i) > 1)}")
    return ranking
