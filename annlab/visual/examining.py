"""How likely people look at each position, from the lists in which the service explored (`exploring.py`).

Whether pictures of a rank stand at their place or at a drawn one is chance alone there, so their clicks differ by the
place alone. Ranks take the part of items in the maximum likelihood of `annlab.evaluation.positions`.

T. Joachims, A. Swaminathan and T. Schnabel, Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017.
"""

from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, Text, func, select, type_coerce

from annlab.evaluation.positions import fitted_shares
from annlab.evaluation.resampling import bootstrap_counts, percentile_interval
from annlab.visual.catalog import Catalog
from annlab.visual.schema import interactions, result_lists

EXPLORE = "explore"
"""Among the details of a result list."""
_ELIGIBLE, _EXPLORED = f'%"{EXPLORE}"%', '%"propensity"%'
_GROUPS = 100  # of lists, which the interval redraws


class Examined(NamedTuple):
    """How likely each position is looked at, as a share of the first.

    Attributes
    ----------
    shares, low, high : float64 arrays of shape (n_positions,)
        Position 1 at index 0; the interval redraws the lists that explored. NaN where nothing is known.
    clicks : float64 array of shape (n_positions,)
        On explored pictures there: what the estimate rests on.
    """

    shares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    clicks: np.ndarray


def read_examination(catalog: Catalog, *, level: float = 0.95, n_resamples: int = 200,
                     seed: int = 0) -> Examined | None:  # fmt: skip
    """What exploration says of the positions; None where no list has explored."""
    c = interactions.c
    joined = interactions.join(result_lists, c.result_list_id == result_lists.c.id)
    of_all = select(c.position, c.kind, func.count()).select_from(joined).where(_tells(_ELIGIBLE))
    with catalog.database.reading() as connection:
        explored = _explored(connection)
        rows = connection.execute(of_all.group_by(c.position, c.kind)).all() if explored else []
    if not rows:
        return None
    width = max(position for position, _, _ in rows)
    depth = max(width, *(rank for _, rank, _, _ in explored))
    counts = np.zeros((2, depth, width))  # showings and clicks, by rank and position
    for position, kind, n in rows:
        counts[int(kind == "click"), position - 1, position - 1] = n
    moves = _moves(explored, (2, depth, width))
    shares = fitted_shares(*(counts + moves.sum(axis=0)))
    drawn = [fitted_shares(*np.maximum(counts + np.tensordot(times, moves, 1), 0))
             for times in bootstrap_counts(len(moves), n_resamples, seed)]  # fmt: skip
    ends = np.array([percentile_interval(column, level) for column in np.array(drawn).T])
    away = ~np.eye(depth, width, dtype=bool)
    return Examined(shares, ends[:, 0], ends[:, 1], ((counts + moves.sum(axis=0))[1] * away).sum(axis=0))


def _tells(pattern: str) -> ColumnElement[bool]:
    """Whether the text of a list's details is like this."""
    return type_coerce(result_lists.c.details, Text).like(pattern)


def _explored(connection: Connection) -> list[tuple[int, int, int, set[int]]]:
    """Position, rank, length and positions that were clicked, of every list that explored."""
    c, lists = interactions.c, result_lists.c
    found = connection.execute(select(lists.id, lists.details, lists.images).where(_tells(_EXPLORED))).all()
    query = select(c.result_list_id, c.position).join(result_lists, c.result_list_id == lists.id)
    clicked: dict[int, set[int]] = {}
    for id, position in connection.execute(query.where(_tells(_EXPLORED), c.kind == "click")):
        clicked.setdefault(id, set()).add(position)
    told = [(details[EXPLORE], len(images), clicked.get(id, set())) for id, details, images in found]
    return [(about["position"], about["rank"], n, hit) for about, n, hit in told]


def _moves(explored: list[tuple[int, int, int, set[int]]], shape: tuple[int, int, int]) -> np.ndarray:
    """What each list that explored changes in the counts of `read_examination`, (lists, 2, ranks, positions): its two
    pictures did not stand at the positions of their ranks. A list is spread over a few groups of lists."""
    groups = np.zeros((min(len(explored), _GROUPS), *shape))
    for number, (place, rank, n, hit) in enumerate(explored):
        own = groups[number % len(groups)]
        pairs = [(place, rank)] + ([(rank, place)] if rank <= n else [])
        for at, of in pairs:
            for kind, amount in ((0, 1.0), (1, float(at in hit))):
                own[kind, at - 1, at - 1] -= amount
                own[kind, of - 1, at - 1] += amount
    return groups
