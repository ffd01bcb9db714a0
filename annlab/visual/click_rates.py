"""Clicks as evidence, corrected for the position: clicks over expected clicks.

What stands first is clicked more, whatever it is; who ranks by raw rates of clicks ranks by the ranking of yesterday.
So a click is thought of as the product of two things: how likely somebody looks at the position, and how attractive the
image is there. Both are fitted in turn, each given the other, until they agree:

    looked(position)    = clicks at the position / attraction of what was shown there
    attraction(image)   = (clicks + a) / (expected + a),    expected = the sum of looked(position) over its showings

where `a`, in expected clicks, is how much evidence it takes to move an attraction away from 1, that of an image that
nobody was shown. For a query that has a history of its own, the same is done for the pair of query and image, with the
image's attraction in place of 1.

Each click of a list counts once (`interactions.py`), and only what the table holds now, so who is forgotten has no part
in it. Of one person, all that was shown and clicked of an image counts as at most `MOST_OF_ONE` showings: nobody's
thousand clicks decide for all. Where people are not told apart, there is nobody to count so.

N. Craswell, O. Zoeter, M. Taylor and B. Ramsey, An experimental comparison of click position-bias models, 2008.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select

from annlab.visual.catalog import Catalog
from annlab.visual.schema import interactions

SMOOTHING = 3.0  # expected clicks
MOST_OF_ONE = 5.0
"""Showings of an image to one person that count."""
_PRIOR_SHOWINGS = 50.0  # of all positions together, that a position of its own has to outweigh
_ROUNDS = 30

Evidence = Mapping[tuple[int, ...], tuple[float, float]]
"""Clicks and expected clicks, by what they are of."""


@dataclass(frozen=True, eq=False)
class ClickRates:
    """Clicks and expected clicks, of images by (displayed,) and of pairs by (query, displayed)."""

    evidence: Evidence
    smoothing: float = SMOOTHING

    def ratio(self, displayed: int, queries: Sequence[int] = ()) -> float:
        """How much oftener than expected an image is clicked, for some queries where they have a history."""
        result = self._moved((displayed,), 1.0)
        for query in queries:
            result = self._moved((query, displayed), result)
        return result

    def _moved(self, key: tuple[int, ...], before: float) -> float:
        clicks, expected = self.evidence.get(key, (0.0, 0.0))
        return (clicks + self.smoothing * before) / (expected + self.smoothing)


def read_click_rates(catalog: Catalog, smoothing: float = SMOOTHING) -> ClickRates:
    """The evidence that a catalog holds now."""
    c = interactions.c
    what = (c.user_id, c.query_image_id, c.displayed_image_id, c.position, c.kind)
    counts: dict[tuple[int, int, int], np.ndarray] = defaultdict(lambda: np.zeros(2))
    with catalog.database.reading() as connection:
        rows = connection.execute(select(*what, func.count()).group_by(*what)).all()
    shown: dict[tuple[int, int], int] = defaultdict(int)
    for user, _, displayed, _, kind, n in rows:
        if user is not None and kind == "impression":
            shown[user, displayed] += n
    for user, query, displayed, position, kind, n in rows:
        share = 1.0 if user is None else min(1.0, MOST_OF_ONE / max(1, shown[user, displayed]))
        counts[query, displayed, position][int(kind == "click")] += n * share
    return click_rates(counts, smoothing)


def click_rates(counts: Mapping[tuple[int, int, int], np.ndarray], smoothing: float = SMOOTHING) -> ClickRates:
    """From (showings, clicks) by query, displayed image and position."""
    if not counts:
        return ClickRates({}, smoothing)
    keys = np.array(list(counts), np.int64)
    shown, clicked = np.array(list(counts.values()), np.float64).T
    image_ids, image = np.unique(keys[:, 1], return_inverse=True)
    _, position = np.unique(keys[:, 2], return_inverse=True)
    overall = float(clicked.sum() / shown.sum())
    attraction = np.ones(len(image_ids))
    for _ in range(_ROUNDS):
        there = np.bincount(position, shown * attraction[image])
        looked = (np.bincount(position, clicked) + _PRIOR_SHOWINGS * overall) / (there + _PRIOR_SHOWINGS)
        expected = np.bincount(image, shown * looked[position])
        attraction = (np.bincount(image, clicked) + smoothing) / (expected + smoothing)
    evidence: dict[tuple[int, ...], tuple[float, float]] = {}
    each = zip(keys.tolist(), clicked.tolist(), (shown * looked[position]).tolist(), strict=True)
    for (query, displayed, _), clicks, showings in each:
        for key in ((displayed,), (query, displayed)):
            before = evidence.get(key, (0.0, 0.0))
            evidence[key] = before[0] + clicks, before[1] + showings
    return ClickRates(evidence, smoothing)
