r"""Simulated users: what they want, where they look and how often they err is known, so estimates can be held to it.

A user looks at a position or not, and clicks what was looked at and liked,

.. math:: P(\mathrm{click}) = \mathrm{looks}_{\mathrm{position}} \cdot
          (\mathrm{noise} + (1 - 2\,\mathrm{noise}) \cdot \mathrm{relevance}_{\mathrm{query, item}})

(the model of `positions.py`, with a decision that is wrong now and then). :func:`feedback_loop` lets a ranker learn
from them, round after round: serve, click, learn, serve. That is where a wrong estimate does harm, since every ranking
decides what the next one is learned from [1]_. Both of its learners multiply the score of an item by its clicks over
expected clicks, and differ in one thing: what a position is expected to bring. Who expects the same of all positions
ranks by raw click-through rates.

The world is made, too, and has what real ones have: an encoder that errs, and *hubs* [2]_, items that stand near the
top for many queries whether they belong there or not. Raw rates feed the hubs: they are shown on top, so they are
clicked, so they are shown on top.

References
----------
.. [1] Chaney, Stewart and Engelhardt, "How algorithmic confounding in recommendation systems increases homogeneity and
       decreases utility", RecSys 2018.
.. [2] Radovanovic, Nanopoulos and Ivanovic, "Hubs in space", JMLR 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_doubles
from annlab.evaluation.positions import clicks_over_expected, fitted_shares
from annlab.evaluation.ranking import dcg

_SMOOTHING = 3.0  # expected clicks
_STRENGTH, _LIMIT = 0.3, 3.0  # those of the stage "clicks" of the visual search, where nothing else is said


@dataclass(frozen=True)
class Users:
    """People whose clicks are drawn, see the head of the file.

    Parameters
    ----------
    looks : tuple of float
        The chance of a look at each position, 0..1.
    noise : float
        The chance that a look ends in the wrong decision, below 0.5.

    Examples
    --------
    >>> users = Users((1.0, 0.0), noise=0.0)
    >>> users.clicks(np.ones((1, 2)), np.random.default_rng(0))
    array([[ True, False]])
    """

    looks: tuple[float, ...]
    noise: float = 0.05

    def __post_init__(self) -> None:
        curve = np.asarray(self.looks, float)
        if curve.ndim != 1 or not len(curve) or not ((curve >= 0) & (curve <= 1)).all():
            raise ValueError(f"looks are chances between 0 and 1, one for each position, not {self.looks!r}")
        if not 0 <= self.noise < 0.5:
            raise ValueError(f"noise is a chance below 0.5, not {self.noise!r}")

    @classmethod
    def falling(cls, k: int, eta: float = 1.0, noise: float = 0.05) -> Users:
        """Who look at position p of k with the chance p ** -eta."""
        return cls(tuple(float(place) for place in np.arange(1, as_cutoff(k) + 1) ** -float(eta)), noise)

    def clicks(self, relevance: ArrayLike, rng: np.random.Generator) -> NDArray[np.bool_]:
        """What is clicked (n, k) of n lists of at most as many items as there are looks, whose relevance (n, k) is
        between 0 and 1."""
        liked = as_doubles(relevance, "relevance", 2)
        if liked.shape[1] > len(self.looks) or (liked < 0).any() or (liked > 1).any():
            ends = f"{liked.min(initial=0):g} to {liked.max(initial=0):g}"
            raise ValueError(f"relevance must be between 0 and 1 and of at most {len(self.looks)} positions, not of "
                             f"shape {liked.shape} and from {ends}")  # fmt: skip
        chance = np.array(self.looks)[: liked.shape[1]] * (self.noise + (1 - 2 * self.noise) * liked)
        return rng.random(liked.shape) < chance


class World(NamedTuple):
    """Queries and items: how relevant they are, and how they are scored. Both (queries, items), between 0 and 1."""

    relevance: NDArray[np.float64]
    scores: NDArray[np.float64]


def make_world(n_queries: int = 400, n_items: int = 300, *, error: float = 0.1, hubs: float = 0.1,
               seed: int = 0) -> World:  # fmt: skip
    """A world with an encoder that errs.

    Parameters
    ----------
    n_queries, n_items : int
    error : float
        The spread of what is wrong with the score of each pair.
    hubs : float
        The spread of what is wrong with all scores of an item.
    seed : int

    Examples
    --------
    >>> made = make_world(5, 30)
    >>> made.scores.shape, bool((made.relevance <= 1).all())
    ((5, 30), True)
    """
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(as_cutoff(n_queries, "n_queries") + as_cutoff(n_items, "n_items"), 6))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    alike = places[:n_queries] @ places[n_queries:].T
    wrong = error * rng.normal(size=alike.shape) + hubs * rng.normal(size=n_items)
    return World(_relevance(alike), _relevance(alike + wrong))


def _relevance(alike: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the cosine to a chance: an S, so that of the items of a query some are relevant and most are not."""
    return 1 / (1 + np.exp(-(alike - 0.6) / 0.08))


class Log(NamedTuple):
    """Lists that were shown.

    Attributes
    ----------
    queries : int64 array of shape (n,)
    items : int64 array of shape (n, k)
    ranks : int64 array of shape (n, k)
        Where the ranker had put each item, from 1; its position, unless something was explored.
    clicked : bool array of shape (n, k)
    """

    queries: NDArray[np.int64]
    items: NDArray[np.int64]
    ranks: NDArray[np.int64]
    clicked: NDArray[np.bool_]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Of all showings (n * k,), from 1."""
        return np.tile(np.arange(1, self.items.shape[1] + 1), len(self.items))

    def examined(self) -> NDArray[np.float64]:
        """What each position is looked at, as a share of the first; ones while the log cannot say.

        What is explored is drawn by chance from the items of a rank. So the items of one rank are the same kind of
        items at every position, and only the position differs.
        """
        k = self.items.shape[1]
        shape = (int(self.ranks.max()) + 1, k)
        cells = self.ranks.ravel() * k + self.positions - 1
        shown = np.bincount(cells, minlength=shape[0] * k).reshape(shape).astype(np.float64)
        clicks = np.bincount(cells, self.clicked.ravel(), shape[0] * k).reshape(shape).astype(np.float64)
        shares = fitted_shares(shown, clicks)
        if not np.isfinite(shares[0]):
            return np.ones(k)
        known = np.where(np.isfinite(shares) & (shares > 0), np.arange(k), 0)
        last: NDArray[np.float64] = shares[np.maximum.accumulate(known)]
        return last


def show(order: NDArray[np.int64], queries: NDArray[np.int64], relevance: NDArray[np.float64], users: Users, k: int,
         explore: float, rng: np.random.Generator) -> Log:  # fmt: skip
    """Lists of k for some queries (n,), from rankings (queries, m), with clicks.

    In a share `explore` of them one place, drawn evenly, shows an item drawn evenly from the ranks behind it: the two
    change places.
    """
    n, m = len(queries), order.shape[1]
    ranks = np.tile(np.arange(m), (n, 1))
    chosen = np.flatnonzero(rng.random(n) < explore)
    place = rng.integers(0, min(k, m - 1), len(chosen))
    behind = place + 1 + (rng.random(len(chosen)) * (m - 1 - place)).astype(np.int64)
    ranks[chosen, place], ranks[chosen, behind] = behind, place
    ranks = ranks[:, :k]
    items = order[queries[:, None], ranks]
    return Log(queries, items, ranks + 1, users.clicks(relevance[queries[:, None], items], rng))


class Rounds(NamedTuple):
    """How a loop went; see :func:`feedback_loop`.

    Attributes
    ----------
    ndcg : float64 array of shape (rounds + 1,)
        nDCG@k of the ranking, by what is truly relevant: before the first round, and after each.
    served : float64 array of shape (rounds,)
        The same of what was shown, with what was explored in it.
    log : Log
        Everything that was shown and clicked.
    looks : float64 array of shape (k,)
        What the learner came to expect of the positions, as a share of the first.
    """

    ndcg: NDArray[np.float64]
    served: NDArray[np.float64]
    log: Log
    looks: NDArray[np.float64]


def feedback_loop(world: World, users: Users, learn: Literal["coec", "raw"], *, rounds: int = 20, k: int = 10,
                  sessions: int = 1000, explore: float = 0.1, depth: int = 50, seed: int = 0) -> Rounds:  # fmt: skip
    """Serve, click, learn, and serve again.

    Parameters
    ----------
    world : World
    users : Users
    learn : {"coec", "raw"}
        What the clicks at a position are compared with: clicks over expected clicks, where the examination of positions
        is estimated from the log itself, or the raw rate, which expects as much of every position.
    rounds, k : int
    sessions : int
        Lists a round.
    explore : float
        The share of lists with an item from farther behind.
    depth : int
        Items of a query that are ranked.
    seed : int

    Examples
    --------
    >>> loop = feedback_loop(make_world(10, 50), Users.falling(5), "coec", rounds=2, k=5, sessions=50)
    >>> loop.ndcg.shape, loop.log.items.shape
    ((3,), (100, 5))
    """
    if learn not in ("coec", "raw") or not 0 <= explore <= 1:
        raise ValueError(f"learn is coec or raw, and explore a share, not {learn!r} and {explore!r}")
    if not k < min(depth, world.scores.shape[1]) or k > len(users.looks):
        raise ValueError(f"k = {k} must be below the depth {depth} and the {world.scores.shape[1]} items, and users "
                         f"look at {len(users.looks)} positions")  # fmt: skip
    rng, looks = np.random.default_rng(seed), np.ones(k)
    every = np.arange(len(world.scores))
    values, log = world.scores, None
    ndcg, served = [], []
    for _ in range(as_cutoff(rounds, "rounds")):
        order = np.argsort(-values, axis=1, kind="stable")[:, :depth]
        ndcg.append(_mean_ndcg(order[:, :k], every, world.relevance))
        asked = rng.integers(0, len(every), as_cutoff(sessions, "sessions"))
        new = show(order, asked, world.relevance, users, k, explore, rng)
        served.append(_mean_ndcg(new.items, asked, world.relevance))
        log = new if log is None else Log(*(np.concatenate(parts) for parts in zip(log, new, strict=True)))
        if learn == "coec":
            looks = log.examined()
        values = world.scores * _boosts(log, looks, world.scores.shape[1])
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    ndcg.append(_mean_ndcg(order, every, world.relevance))
    return Rounds(np.array(ndcg), np.array(served), cast(Log, log), looks)


def _boosts(log: Log, looks: NDArray[np.float64], n_items: int) -> NDArray[np.float64]:
    """By what the scores of each item are multiplied: its clicks over expected clicks, to a power and within bounds."""
    found = clicks_over_expected(log.items.ravel(), log.positions, log.clicked.ravel(), looks, smoothing=_SMOOTHING)
    result = np.ones(n_items)
    result[found.items.astype(np.int64)] = np.clip(found.ratios, 1 / _LIMIT, _LIMIT) ** _STRENGTH
    return result


def _mean_ndcg(items: NDArray[np.int64], queries: NDArray[np.int64], relevance: NDArray[np.float64]) -> float:
    """nDCG of lists (n, k), over the queries that have anything relevant."""
    k = items.shape[1]
    ideal = dcg(-np.sort(-relevance, axis=1)[:, :k], k)[queries]
    good = ideal > 0
    return float((dcg(relevance[queries[:, None], items], k)[good] / ideal[good]).mean())
