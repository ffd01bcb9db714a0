"""Clicks as evidence, corrected for the position: clicks over expected clicks.

What stands first is clicked more, whatever it is; who ranks by raw rates of clicks ranks by the ranking of yesterday.
So each showing of an image is *expected* to bring as many clicks as showings at that position bring on average, and
what counts is how many clicks an image has had over how many were to be expected (COEC):

    ratio(image) = (clicks + a) / (expected + a)

where `a`, in expected clicks, is how much evidence it takes to move the ratio away from 1. An image that nobody was
shown has the ratio 1. For a query that has a history of its own, the same is done for the pair, with the image's ratio
in place of 1.

Each click of a list counts once (`interactions.py`), and only as many showings and clicks as the table holds, so who is
forgotten has no part in it.

Y. Zhang and R. Jones, Comparing click logs and editorial labels for training query rewriting, 2007.
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
_PRIOR_SHOWINGS = 50.0  # of all positions together, that a position of its own has to outweigh

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
    what = (c.query_image_id, c.displayed_image_id, c.position, c.kind)
    counts: dict[tuple[int, int, int], np.ndarray] = defaultdict(lambda: np.zeros(2))
    with catalog.database.reading() as connection:
        for query, displayed, position, kind, n in connection.execute(select(*what, func.count()).group_by(*what)):
            counts[query, displayed, position][int(kind == "click")] += n
    return click_rates(counts, smoothing)


def click_rates(counts: Mapping[tuple[int, int, int], np.ndarray], smoothing: float = SMOOTHING) -> ClickRates:
    """From (showings, clicks) by query, displayed image and position."""
    by_position: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for (_, _, position), each in counts.items():
        by_position[position] += each
    shown, clicked = sum(by_position.values(), np.zeros(2))
    overall = clicked / shown if shown else 0.0
    rates = {position: (own[1] + _PRIOR_SHOWINGS * overall) / (own[0] + _PRIOR_SHOWINGS)
             for position, own in by_position.items()}  # fmt: skip
    evidence: dict[tuple[int, ...], tuple[float, float]] = {}
    for (query, displayed, position), (showings, clicks) in counts.items():
        for key in ((displayed,), (query, displayed)):
            before = evidence.get(key, (0.0, 0.0))
            evidence[key] = before[0] + float(clicks), before[1] + float(showings) * rates[position]
    return ClickRates(evidence, smoothing)
