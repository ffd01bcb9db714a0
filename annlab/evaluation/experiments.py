r"""Experiments with two arms: who sees what, whether the split is sound, how large the difference is, and when to look.

- :func:`assign`: a user is in the same arm every time, on every machine, and experiments do not share their coins.
- :func:`sample_ratio`: were users split as planned? If not, something loses users of one arm, and no figure of the
  experiment means anything.
- :func:`detectable_difference`: the smallest difference that so many users can show. Print it before the start: an
  experiment that cannot see what one hopes for is not worth running.
- :func:`compare_arms`: the difference of the click-through rates. A user's showings are one opinion, so users are the
  units: each one's deviation from the arm's rate is summed first (the delta method for ratios [1]_).

The usual interval holds for one look, decided in advance. Who looks every day and stops at the first success finds
differences where there are none, up to one time in three. `always_low` and `always_high` hold for all looks together
[2]_: look whenever you like, and stop when they leave zero out. They are wider, by about half.

References
----------
.. [1] Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018.
.. [2] Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
       sequences", 2021, arXiv 2103.06476.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_doubles, as_level


def assign(user: object, experiment: str, arms: Mapping[str, float]) -> str:
    """The arm of a user: the same for ever, and by another coin in every experiment.

    Parameters
    ----------
    user : int or str
    experiment : str
        Its name.
    arms : mapping of names to weights
        Such as ``{"A": 1, "B": 1}``; in the same order every time.

    Raises
    ------
    ValueError
        No arm, or a weight that is not above 0.

    Examples
    --------
    >>> [assign(user, "new ranker", {"A": 1, "B": 1}) for user in range(6)]
    ['B', 'A', 'A', 'A', 'A', 'A']
    """
    weights = np.array(list(arms.values()), float)
    if not len(weights) or not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(f"arms must have weights above 0, not {dict(arms)}")
    digest = hashlib.sha256(f"{len(experiment)}:{experiment}:{type(user).__name__}:{user}".encode()).digest()
    coin = int.from_bytes(digest[:8], "big") / 2**64
    return list(arms)[min(int(np.searchsorted(weights.cumsum() / weights.sum(), coin, "right")), len(weights) - 1)]


class SampleRatio(NamedTuple):
    """Whether users were split as planned: `p_value` of the chi-squared test, and `sound`, unless it is below 0.001."""

    p_value: float
    sound: bool


def sample_ratio(counts: ArrayLike, weights: ArrayLike) -> SampleRatio:
    """Compare how many users each arm has with how many it should have.

    Examples
    --------
    >>> sample_ratio([5000, 5100], [1, 1]).sound, sample_ratio([5000, 5500], [1, 1]).sound
    (True, False)
    """
    from scipy.stats import chi2

    seen, planned = as_doubles(counts, "counts", 1), as_doubles(weights, "weights", 1)
    if seen.shape != planned.shape or len(seen) < 2 or (seen < 0).any() or not (planned > 0).all() or not seen.sum():
        raise ValueError(f"counts {seen.shape} and weights {planned.shape} must be of the same two or more arms, "
                         "weights above 0, and somebody must be there")  # fmt: skip
    expected = seen.sum() * planned / planned.sum()
    p = float(chi2.sf(((seen - expected) ** 2 / expected).sum(), len(seen) - 1))
    return SampleRatio(p, p >= 0.001)


def detectable_difference(clicks: ArrayLike, showings: ArrayLike, n_users: int, *, level: float = 0.95,
                          power: float = 0.8) -> float:  # fmt: skip
    """The smallest difference of rates that an experiment with so many users, half in each arm, is likely to show.

    Parameters
    ----------
    clicks, showings : arrays of shape (m,)
        Of each user in a time like that of the experiment.
    n_users : int
        Of the experiment, both arms together.
    level, power : float
        Of the interval, and the chance to see such a difference.

    Examples
    --------
    >>> clicks = np.random.default_rng(0).binomial(20, 0.1, 1000)
    >>> round(detectable_difference(clicks, np.full(1000, 20), n_users=10_000), 4)
    0.0037
    """
    had, shown = _by_user(clicks, showings)
    if n_users < 4 or not 0 < power < 1:
        raise ValueError(f"an experiment needs some users and a power between 0 and 1, not {n_users} and {power}")
    deviations = (had - shown * had.sum() / shown.sum()) / shown.mean()
    error = math.sqrt(4 * float(deviations.var()) / n_users)
    return (_quantile((1 + as_level(level)) / 2) + _quantile(power)) * error


class Difference(NamedTuple):
    """Rate of arm B less that of arm A; see :func:`compare_arms`.

    Attributes
    ----------
    rate_a, rate_b, difference : float
    low, high : float
        The interval for one look that was decided in advance.
    always_low, always_high : float
        The interval for any number of looks.
    n_a, n_b : int
        Users.
    """

    rate_a: float
    rate_b: float
    difference: float
    low: float
    high: float
    always_low: float
    always_high: float
    n_a: int
    n_b: int


def compare_arms(clicks: ArrayLike, showings: ArrayLike, in_b: ArrayLike, *, level: float = 0.95,
                 planned_users: int | None = None) -> Difference:  # fmt: skip
    """The difference of the click-through rates of two arms.

    Parameters
    ----------
    clicks, showings : arrays of shape (m,)
        Of each user so far. Those who were shown nothing are left out.
    in_b : bool array of shape (m,)
        Whether the user is in arm B.
    level : float
        Of both intervals.
    planned_users : int, optional
        Where the always valid interval shall be narrowest; the present number.

    Raises
    ------
    ValueError, TypeError
        Lengths differ, somebody clicked oftener than they were shown something, an arm has fewer than two users.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> in_b = rng.random(4000) < 0.5
    >>> found = compare_arms(rng.binomial(20, np.where(in_b, 0.12, 0.10)), np.full(4000, 20), in_b)
    >>> found.low > 0, found.always_low > 0
    (True, True)
    """
    had, shown = _by_user(clicks, showings)
    arm = np.asarray(in_b)
    if arm.dtype != bool or arm.shape != had.shape:
        raise ValueError(f"in_b must be bools for each of {len(had)} users, not {arm.dtype} {arm.shape}")
    present = shown > 0
    had, shown, arm = had[present], shown[present], arm[present]
    n, counts = len(had), (int((~arm).sum()), int(arm.sum()))
    if min(counts) < 2:
        raise ValueError(f"both arms need two users who were shown something; A has {counts[0]}, B {counts[1]}")
    rates, influence = [], np.zeros(n)
    for own, sign in ((~arm, -1.0), (arm, 1.0)):
        rate = had[own].sum() / shown[own].sum()
        influence[own] = sign * (had[own] - rate * shown[own]) / shown[own].mean() * (n / own.sum())
        rates.append(float(rate))
    difference, spread = rates[1] - rates[0], float(influence.std(ddof=1))
    once = _quantile((1 + as_level(level)) / 2) * spread / math.sqrt(n)
    always = spread * _radius(n, 1 - level, n if planned_users is None else max(int(planned_users), 1))
    return Difference(rates[0], rates[1], difference, difference - once, difference + once, difference - always,
                      difference + always, counts[0], counts[1])  # fmt: skip


def _radius(n: int, alpha: float, planned: int) -> float:
    """Half the width of the confidence sequence after n users, in standard deviations, narrowest near `planned`."""
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / planned
    scaled = n * rho2 + 1
    return math.sqrt(2 * scaled / (n**2 * rho2) * math.log(math.sqrt(scaled) / alpha))


def _quantile(share: float) -> float:
    """Of the standard normal distribution."""
    return NormalDist().inv_cdf(share)


def _by_user(clicks: ArrayLike, showings: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    had, shown = as_doubles(clicks, "clicks", 1), as_doubles(showings, "showings", 1)
    if had.shape != shown.shape:
        raise ValueError(f"clicks are of {len(had)} users, showings of {len(shown)}")
    wrong = (had < 0) | (had > shown)
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(f"user {first} has {had[first]:g} clicks on {shown[first]:g} showings")
    if not shown.sum():
        raise ValueError("nothing was shown to anybody")
    return had, shown
