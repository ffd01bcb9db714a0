"""Clicks: what an impression says about similarity, and how much of it is the position's doing.

The position-based model of a click (Craswell et al., 2008): a user clicks an image when they look at its position and
find it similar,

    P(click | query, displayed, position) = propensity[position] * similarity[query, displayed].

`estimate_propensities` fits both factors to a log in which the same pair was shown at different positions;
`aggregate_clicks` turns a log into one row per (query, displayed) pair; `simulate_clicks` makes logs with known truth,
for tests and teaching. All work on columns of equal length; what a row may be says `annlab.evaluation.showings`, and
without users a row is a showing, or its impression or click where words say so. The cost is one sort of the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from annlab.evaluation.showings import showings

__all__ = ["ClickSimulator", "ClickTable", "aggregate_clicks", "estimate_propensities"]


class ClickTable(NamedTuple):
    """One row per pair that was shown: clicks, and impressions weighed by the propensity of their positions."""

    query: npt.NDArray[np.int64]
    displayed: npt.NDArray[np.int64]
    clicks: npt.NDArray[np.float64]
    examined: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64]


def estimate_propensities(
    query: npt.ArrayLike, displayed: npt.ArrayLike, position: npt.ArrayLike, clicked: npt.ArrayLike, n_rounds: int = 100
) -> npt.NDArray[np.float64]:
    """Probability of a look at each position relative to the first, from a log of impressions.

    Maximum likelihood of the position-based model with Poisson counts, by alternating its two closed-form steps: each
    pair's similarity given the propensities (clicks over examined impressions), then each position's propensity given
    the similarities. Only pairs shown at more than one position tell anything about positions, as in intervention
    harvesting (Agarwal et al., 2019).

    Parameters
    ----------
    query, displayed : arrays of int, shape (n_impressions,)
    position : array of int, shape (n_impressions,)
        1 is the first.
    clicked : array of 0/1, bools, or words "impression" and "click", shape (n_impressions,)
    n_rounds : int
        Alternations; the estimate changes little after some dozens.

    Returns
    -------
    array of float64, shape (largest position,)
        The first is 1.

    Raises
    ------
    ValueError
        If no pair that was clicked was shown at two positions: then position and similarity cannot be told apart.
    """
    query, displayed, position, clicked = _columns(query, displayed, position, clicked)
    pair = _pair_numbers(query, displayed)[0]
    slot = position - 1
    n_pairs, n_positions = int(pair.max()) + 1, int(slot.max()) + 1
    first_slot = np.full(n_pairs, n_positions)
    np.minimum.at(first_slot, pair, slot)
    varied = np.zeros(n_pairs, dtype=bool)
    varied[pair[slot != first_slot[pair]]] = True
    varied &= np.bincount(pair, clicked, n_pairs) > 0
    if n_positions > 1 and not varied.any():
        raise ValueError(
            "propensities cannot be estimated: no clicked pair was shown at two positions, so a click may as well be "
            "the position's doing; pass propensity=... (np.ones(...) for no correction)"
        )
    keep = varied[pair] if n_positions > 1 else np.ones(len(pair), dtype=bool)
    pair, slot, clicked = pair[keep], slot[keep], clicked[keep]
    clicks_of_pair = np.bincount(pair, clicked, n_pairs)
    clicks_of_slot = np.bincount(slot, clicked, n_positions)
    propensity = np.ones(n_positions)
    for _ in range(n_rounds):
        similarity = clicks_of_pair / np.maximum(np.bincount(pair, propensity[slot], n_pairs), 1e-12)
        propensity = clicks_of_slot / np.maximum(np.bincount(slot, similarity[pair], n_positions), 1e-12)
        propensity = np.maximum(propensity / max(propensity[0], 1e-12), 1e-3)
    return propensity / propensity[0]


def aggregate_clicks(
    query: npt.ArrayLike,
    displayed: npt.ArrayLike,
    position: npt.ArrayLike,
    clicked: npt.ArrayLike,
    propensity: npt.ArrayLike | None = None,
) -> ClickTable:
    """Sum a log of impressions per pair of query and displayed image.

    Parameters
    ----------
    query, displayed, position, clicked : arrays, shape (n_impressions,)
    propensity : array of float, shape (at least the largest position,), or None
        None: `estimate_propensities`.
    """
    query, displayed, position, clicked = _columns(query, displayed, position, clicked)
    if propensity is None:
        propensity = estimate_propensities(query, displayed, position, clicked)
    looks = np.asarray(propensity, dtype=np.float64)
    if looks.ndim != 1 or len(looks) < position.max() or not (np.isfinite(looks).all() and (looks > 0).all()):
        raise ValueError(
            f"propensity must hold a positive number for each of the positions 1..{position.max()}, "
            f"got shape {looks.shape}"
        )
    pair, first = _pair_numbers(query, displayed)
    return ClickTable(
        query[first],
        displayed[first],
        np.bincount(pair, clicked).astype(np.float64),
        np.bincount(pair, looks[position - 1]).astype(np.float64),
        looks,
    )


@dataclass(frozen=True)
class ClickSimulator:
    """Users who look down a ranked list and click what they find similar, with known parameters.

    P(click) = position^-eta * (noise + (1 - 2 * noise) * relevance): a look, then a judgement that is wrong with
    probability `noise` either way.

    Parameters
    ----------
    eta : float
        Steepness of the examination; 0 is a user who looks at everything.
    noise : float
        Probability that a look ends in the wrong decision.

    Examples
    --------
    >>> shown = np.array([[1, 2, 3]])
    >>> relevance = np.array([[1.0, 0.0, 1.0]])
    >>> query, displayed, position, clicked = ClickSimulator(eta=0.0, noise=0.0).impressions(
    ...     np.array([0]), shown, relevance, np.random.default_rng(0))
    >>> position.tolist(), clicked.tolist()
    ([1, 2, 3], [1, 0, 1])
    """

    eta: float = 1.0
    noise: float = 0.05

    def impressions(
        self,
        query: npt.NDArray[np.int64],
        shown: npt.NDArray[np.int64],
        relevance: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """One session per query: columns (query, displayed, position, clicked) of n_queries * n_shown impressions.

        Parameters
        ----------
        query : array of int, shape (n_queries,)
        shown : array of int, shape (n_queries, n_shown)
            The ranked list that each saw.
        relevance : array of float in 0..1, shape (n_queries, n_shown)
        rng : numpy.random.Generator
        """
        n_queries, n_shown = shown.shape
        position = np.tile(np.arange(1, n_shown + 1), n_queries)
        examined = rng.random(n_queries * n_shown) < position**-self.eta
        approves = rng.random(n_queries * n_shown) < self.noise + (1 - 2 * self.noise) * relevance.ravel()
        return np.repeat(query, n_shown), shown.ravel(), position, (examined & approves).astype(np.int64)


def _columns(
    query: npt.ArrayLike, displayed: npt.ArrayLike, position: npt.ArrayLike, clicked: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The columns of the showings that a log of interactions holds, as int64."""
    seen = showings(query, displayed, clicked, positions=position)
    positions = cast("npt.NDArray[np.int64]", seen.positions)
    return seen.queries, seen.displayed, positions, seen.clicked.astype(np.int64)


def _pair_numbers(
    query: npt.NDArray[np.int64], displayed: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the distinct pairs: (number of each impression's pair, first impression of each pair)."""
    low = int(min(query.min(), displayed.min()))
    span = int(displayed.max()) - low + 1
    _, first, number = np.unique((query - low) * span + (displayed - low), return_index=True, return_inverse=True)
    return number.reshape(-1), first
