r"""Position bias: what stands first is clicked more, whatever it is. How much more, and what clicks say beyond it.

The model is that of Richardson et al. [1]_: a click takes two independent things, that a position is *examined*, and
that the item *attracts* this query's users,

.. math:: P(\mathrm{click}) = \theta_{\mathrm{position}} \cdot \gamma_{\mathrm{query, item}}

From a log of one ranking the two cannot be told apart: good items always stand first. They can where the same item was
shown for the same query at different positions, because ranks were swapped at random, or rankers were changed or
compared ("intervention harvesting" [2]_): then only the position differs. :func:`examination` takes all such pairs of a
log and fits theta by maximum likelihood; what was only ever seen at one position adds nothing, and does no harm.

:func:`clicks_over_expected` [3]_ is what comes of it: the clicks that an item had, over those that its positions alone
would have brought to an average item. Rank by that, never by the raw rate: the raw rate ranks by yesterday's ranking.

References
----------
.. [1] Richardson, Dominowska and Ragno, "Predicting clicks: estimating the click-through rate for new ads", WWW 2007.
.. [2] Agarwal, Zaitsev, Wang, Li, Najork and Joachims, "Estimating position bias without intrusive interventions",
       WSDM 2019.
.. [3] Zhang and Jones, "Comparing click logs and editorial labels for training query rewriting", WWW 2007 workshop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_ids, as_labels, as_level
from annlab.evaluation.resampling import bootstrap_counts, percentile_interval

_ROUNDS, _CLOSE = 500, 1e-6


class Examination(NamedTuple):
    """How likely each position is examined, as a share of the first; see :func:`examination`.

    Attributes
    ----------
    shares : float64 array of shape (n_positions,)
        Position 1 at index 0, which is 1. NaN where the log cannot say: no item was seen both there and, by whatever
        detour, at position 1.
    low, high : float64 arrays of the same shape
        The interval, redrawing items.
    showings : int64 array of the same shape
        Of items that were seen at more than one position: what the estimate rests on.
    """

    shares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    showings: NDArray[np.int64]


def examination(queries: ArrayLike, items: ArrayLike, positions: ArrayLike, clicked: ArrayLike, *,
                n_positions: int | None = None, level: float = 0.95, n_resamples: int = 200,
                seed: int = 0) -> Examination:  # fmt: skip
    """The examination of positions, from items that were shown at several of them.

    Parameters
    ----------
    queries, items : int or string arrays of shape (n,)
        Of each showing: what was asked for, and what was shown.
    positions : int array of shape (n,)
        From 1.
    clicked : bool array of shape (n,)
    n_positions : int, optional
        How many to estimate; as many as the log has. Deeper showings are left out.
    level : float
        Of the interval.
    n_resamples : int
        Of the bootstrap over items.
    seed : int

    Returns
    -------
    Examination

    Raises
    ------
    ValueError, TypeError
        Lengths differ, a position is below 1, or nothing was ever seen at two positions.

    Examples
    --------
    One item, 100 times at each of two positions, is clicked 40 and 10 times: position 2 is examined a quarter as often.

    >>> clicked = np.arange(200) < np.repeat([40, 110], 100)
    >>> same = np.zeros(200, int)
    >>> found = examination(same, same, np.repeat([1, 2], 100), clicked, n_resamples=10)
    >>> found.shares
    array([1.  , 0.25])
    """
    groups, places, clicks = _showings(queries, items, positions, clicked)
    width = as_cutoff(n_positions, "n_positions") if n_positions is not None else int(places.max(initial=0)) + 1
    inside = places < width
    groups, places, clicks = groups[inside], places[inside], clicks[inside]
    shown = np.zeros((int(groups.max(initial=-1)) + 1, width))
    np.add.at(shown, (groups, places), 1.0)
    hit = np.zeros_like(shown)
    np.add.at(hit, (groups, places), clicks)
    several = (shown > 0).sum(axis=1) > 1
    if not several.any():
        raise ValueError(f"of {len(shown)} items none was shown at two positions: swap ranks at random for a while, or "
                         "compare rankers, and the position can be told from the item")  # fmt: skip
    shown, hit = shown[several], hit[several]
    resampled = np.array([fitted_shares(shown * counts[:, None], hit * counts[:, None])
                          for counts in bootstrap_counts(len(shown), n_resamples, seed)])  # fmt: skip
    ends = np.array([percentile_interval(column, as_level(level)) if np.isfinite(column).any() else (np.nan, np.nan)
                     for column in resampled.T])  # fmt: skip
    return Examination(fitted_shares(shown, hit), ends[:, 0], ends[:, 1], shown.sum(axis=0).astype(np.int64))


def fitted_shares(shown: NDArray[np.float64], clicks: NDArray[np.float64]) -> NDArray[np.float64]:
    """What :func:`examination` fits, from counts (kinds of items, positions) and without an interval.

    The maximum likelihood of clicks ~ Poisson(shown * theta * gamma), alternating between theta and gamma. A position
    that no chain of items connects with the first is NaN; so are all, while the first has no click.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    used = (shown > 0).sum(axis=1) > 1
    shown, clicks = shown[used], clicks[used]
    n_items, width = shown.shape
    rows, columns = (shown > 0).nonzero()
    links = coo_matrix((np.ones(len(rows)), (rows, n_items + columns)), shape=(n_items + width,) * 2)
    parts = connected_components(links, directed=False)[1]
    known = parts[n_items:] == parts[n_items]
    of_items, of_places = clicks.sum(axis=1), clicks.sum(axis=0)
    theta = np.ones(width)
    for _ in range(_ROUNDS):
        attraction = _ratio(of_items, shown @ theta)
        new = _ratio(of_places, attraction @ shown)
        if not new[0] > 0:
            return np.full(width, np.nan)
        new /= new[0]
        moved = np.abs(new - theta)[known].max(initial=0.0)
        theta = new
        if moved < _CLOSE:
            break
    return np.where(known, theta, np.nan)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """above / below, and 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


class Attraction(NamedTuple):
    """Clicks over expected clicks of each item; see :func:`clicks_over_expected`.

    Attributes
    ----------
    items : array of shape (m,)
        Distinct, ascending.
    ratios : float64 array of shape (m,)
        1 for an item that is clicked as an average one would be where it was shown.
    low, high : float64 arrays of shape (m,)
    clicks, expected : float64 arrays of shape (m,)
    """

    items: NDArray[np.generic]
    ratios: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    clicks: NDArray[np.float64]
    expected: NDArray[np.float64]


def clicks_over_expected(items: ArrayLike, positions: ArrayLike, clicked: ArrayLike, shares: ArrayLike, *,
                         smoothing: float = 1.0, level: float = 0.95) -> Attraction:  # fmt: skip
    """How much oftener than an average item each one is clicked, its positions taken into account.

    The ratio is believed to be around 1 before anything is known, as firmly as `smoothing` expected clicks would make
    one believe (a gamma distribution); clicks are counts with the mean ratio * expected. So an item that was hardly
    shown stays near 1, with a wide interval.

    Parameters
    ----------
    items : int or string array of shape (n,)
        Of each showing.
    positions : int array of shape (n,)
        From 1.
    clicked : bool array of shape (n,)
    shares : float array of shape (n_positions,)
        :attr:`Examination.shares`, or a curve that is known otherwise.
    smoothing : float
        Expected clicks, above 0.
    level : float
        Of the interval.

    Raises
    ------
    ValueError, TypeError
        Lengths differ, a position is below 1 or beyond the shares, a share is unknown where something was shown.

    Examples
    --------
    Both items have 3 clicks of 10; one stood first, the other second, where half as many look.

    >>> clicked = np.tile(np.arange(10) < 3, 2)
    >>> found = clicks_over_expected(np.repeat([7, 8], 10), np.repeat([1, 2], 10), clicked, [1.0, 0.5], smoothing=0.1)
    >>> found.items, found.ratios.round(2)
    (array([7, 8]), array([0.76, 1.48]))
    """
    from scipy.stats import gamma

    groups, places, clicks = _showings(np.zeros(len(np.asarray(items)), np.int64), items, positions, clicked)
    names = np.unique(as_labels(items, "items"))
    curve = np.asarray(shares, np.float64)
    if curve.ndim != 1 or not len(curve) or not smoothing > 0:
        raise ValueError(f"shares must be a list of numbers and smoothing above 0, not {curve.shape} and {smoothing}")
    if places.max(initial=0) >= len(curve):
        raise ValueError(f"something was shown at position {places.max() + 1}, but there are {len(curve)} shares")
    looks = curve[places]
    if not (np.isfinite(looks).all() and (looks >= 0).all()):
        first = int(places[~np.isfinite(looks) | (looks < 0)][0])
        raise ValueError(f"the share of position {first + 1} is {curve[first]}: leave its showings out")
    overall = clicks.sum() / looks.sum() if looks.sum() > 0 else 0.0
    expected = np.bincount(groups, looks, minlength=len(names)) * overall
    had = np.bincount(groups, clicks, minlength=len(names)).astype(np.float64)
    ratios = (had + smoothing) / (expected + smoothing)
    outside = (1 - as_level(level)) / 2
    low, high = (gamma.ppf(q, had + smoothing) / (expected + smoothing) for q in (outside, 1 - outside))
    return Attraction(names, ratios, low, high, had, expected)


def _showings(queries: ArrayLike, items: ArrayLike, positions: ArrayLike,
              clicked: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
    """The pair of query and item, the place from 0, and 1.0 for a click, of each showing."""
    asked, shown = as_labels(queries, "queries"), as_labels(items, "items")
    places, clicks = as_ids(positions, "positions", 1) - 1, np.asarray(clicked)
    lengths = {len(asked), len(shown), len(places), len(clicks)}
    if clicks.ndim != 1 or len(lengths) > 1:
        raise ValueError(f"queries, items, positions and clicked must have one length, not {sorted(lengths)}")
    if clicks.dtype.kind not in "biuf" or not np.isin(clicks, (0, 1)).all():
        raise ValueError("clicked must be bools, or 0 and 1")
    if len(places) and places.min() < 0:
        raise ValueError(f"positions count from 1, and one is {int(places.min()) + 1}")
    _, first = np.unique(asked, return_inverse=True)
    _, second = np.unique(shown, return_inverse=True)
    pairs = first.astype(np.int64) * (int(second.max(initial=0)) + 1) + second
    return np.unique(pairs, return_inverse=True)[1].astype(np.int64), places, clicks.astype(np.float64)
