"""Clicks as evidence, corrected for the position: clicks over expected clicks.

What stands first is clicked more, whatever it is; who ranks by raw rates of clicks ranks by the ranking of yesterday.
So a click is thought of as the product of two things: how likely somebody looks at the position, and how attractive the
image is there. Both are fitted in turn, each given the other, until they agree:

    looked(position)    = clicks at the position / attraction of what was shown there
    attraction(image)   = (clicks + a) / (expected + a),    expected = the sum of looked(position) over its showings

where `a`, in expected clicks, is how much evidence it takes to move an attraction away from 1, that of an image that
nobody was shown. For a query that has a history of its own, the same is done for the pair of query and image, with the
image's attraction in place of 1.

Where the service explores (`examining.py`), pictures of one rank were shown at several positions by chance alone, and
what that says of the positions is better evidence than the fit: it counts by the number of clicks it rests on.

Each click of a list counts once (`interactions.py`), and only what the table holds now, so who is forgotten has no part
in it. Of one person, all that was shown and clicked of an image counts as at most `MOST_OF_ONE` showings: nobody's
thousand clicks decide for all. Where people are not told apart, there is nobody to count so.

N. Craswell, O. Zoeter, M. Taylor and B. Ramsey, An experimental comparison of click position-bias models, 2008.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from sqlalchemy import func, select

from annlab.evaluation.checks import as_level
from annlab.visual.catalog import Catalog
from annlab.visual.examining import read_examination
from annlab.visual.schema import interactions

SMOOTHING = 3.0  # expected clicks
MOST_OF_ONE = 5.0
"""Showings of an image to one person that count."""
_PRIOR_SHOWINGS = 50.0  # of all positions together, that a position of its own has to outweigh
_PRIOR_CLICKS = 50.0  # on what was explored at a position, that make it count as much as the fit
_ROUNDS = 30

Looks = Mapping[int, tuple[float, float]]
"""By position: how likely it is looked at, as a share of the first, and on how many clicks that rests."""

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

    def interval(self, displayed: int, level: float = 0.95) -> tuple[float, float]:
        """Where the ratio of an image lies: clicks are counts around expected * ratio, and the ratio was believed to be
        around 1 before, as firmly as `smoothing` expected clicks would make one believe (a gamma distribution)."""
        from scipy.stats import gamma

        clicks, expected = self.evidence.get((displayed,), (0.0, 0.0))
        outside = (1 - as_level(level)) / 2
        low, high = gamma.ppf([outside, 1 - outside], clicks + self.smoothing) / (expected + self.smoothing)
        return float(low), float(high)

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
    examined = read_examination(catalog, n_resamples=1)
    looks = {} if examined is None else {place: (share, clicks) for place, (share, clicks) in enumerate(
        zip(examined.shares.tolist(), examined.clicks.tolist(), strict=True), 1) if np.isfinite(share)}  # fmt: skip
    return click_rates(counts, smoothing, looks)


def click_rates(counts: Mapping[tuple[int, int, int], np.ndarray], smoothing: float = SMOOTHING,
                looks: Looks = MappingProxyType({})) -> ClickRates:  # fmt: skip
    """From (showings, clicks) by query, displayed image and position, and what is known of the positions besides."""
    if not counts:
        return ClickRates({}, smoothing)
    keys = np.array(list(counts), np.int64)
    shown, clicked = np.array(list(counts.values()), np.float64).T
    image_ids, image = np.unique(keys[:, 1], return_inverse=True)
    places, position = np.unique(keys[:, 2], return_inverse=True)
    share, weight = np.array([looks.get(place, (0.0, 0.0)) for place in places.tolist()]).T
    known = weight / (weight + _PRIOR_CLICKS)
    overall = float(clicked.sum() / shown.sum())
    attraction = np.ones(len(image_ids))
    for _ in range(_ROUNDS):
        there = np.bincount(position, shown * attraction[image])
        looked = (np.bincount(position, clicked) + _PRIOR_SHOWINGS * overall) / (there + _PRIOR_SHOWINGS)
        if known.any():
            looked = (1 - known) * looked + known * share * (known @ looked) / (known @ share)
        expected = np.bincount(image, shown * looked[position])
        attraction = (np.bincount(image, clicked) + smoothing) / (expected + smoothing)
    evidence: dict[tuple[int, ...], tuple[float, float]] = {}
    each = zip(keys.tolist(), clicked.tolist(), (shown * looked[position]).tolist(), strict=True)
    for (query, displayed, _), clicks, showings in each:
        for key in ((displayed,), (query, displayed)):
            before = evidence.get(key, (0.0, 0.0))
            evidence[key] = before[0] + clicks, before[1] + showings
    return ClickRates(evidence, smoothing)
