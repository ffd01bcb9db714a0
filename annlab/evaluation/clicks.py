r"""Click-through rate: of all that was shown, how much was clicked?

.. math:: \mathrm{CTR} = \frac{\text{clicks}}{\text{impressions}} \; (\times 100 \text{ as a percentage})

The log holds one row for each *interaction*, and rows are not what the rate counts. It counts **showings**: one
displayed image, shown once to one user for one query (``showings.py`` says which rows belong to one). A showing is one
impression, and one click if any of its rows is a click. Position and day (UTC) of a showing are those of its earliest
row, at equal times those of an impression.

Whether a user clicks depends on the user first: one who clicks everything is one opinion, not a hundred. The
interval therefore redraws users, with all their showings, and not showings. Clicks also depend on the position,
whatever is shown there: compare two systems by position, or better in an experiment with random assignment.

Cost: one sort of the rows, and for an interval O(n_resamples * (users + pairs of user and group)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_level
from annlab.evaluation.resampling import bootstrap_counts, percentile_interval
from annlab.evaluation.showings import showings

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Rate:
    """Clicks over impressions, with the interval [low, high] of the rate."""

    clicks: int
    impressions: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """clicks / impressions, in 0..1."""
        return self.clicks / self.impressions

    @property
    def percent(self) -> float:
        """The rate times 100."""
        return 100.0 * self.clicks / self.impressions

    def __str__(self) -> str:
        return (
            f"{self.percent:.2f}% ({self.clicks} of {self.impressions}) [{100 * self.low:.2f}%, {100 * self.high:.2f}%]"
        )


@dataclass(frozen=True, eq=False)
class ClickThrough:
    """Showings, and their rates. Made by :func:`click_through`.

    Attributes
    ----------
    users : int64 (n,)
        The user of each showing.
    clicked : bool (n,)
    positions : int64 (n,), or None if the log has none
    days : datetime64[D] (n,), UTC, or None if the log has no times
    """

    users: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    positions: NDArray[np.int64] | None
    days: NDArray[np.datetime64] | None
    level: float
    n_resamples: int
    seed: int

    @cached_property
    def overall(self) -> Rate:
        """The rate of everything shown."""
        return self._rates(np.zeros(len(self.users), dtype=np.int64))[0]

    @cached_property
    def by_position(self) -> dict[int, Rate]:
        """The rate at each position in the displayed list."""
        if self.positions is None:
            raise ValueError("the rate by position needs the positions of the interactions")
        return self._rates(self.positions)

    @cached_property
    def by_day(self) -> dict[str, Rate]:
        """The rate of each day with a showing, by its ISO date (UTC)."""
        if self.days is None:
            raise ValueError("the rate by day needs the timestamps of the interactions")
        return {str(day): rate for day, rate in self._rates(self.days).items()}

    def __str__(self) -> str:
        n_users = len(np.unique(self.users))
        return f"CTR {self.overall} ({self.level:.0%} interval over {n_users} users)"

    def _rates(self, groups: NDArray[Any]) -> dict[Any, Rate]:
        """The rate of each group, in order. All groups meet the same redrawn users."""
        names, group = np.unique(groups, return_inverse=True)
        user_names, user = np.unique(self.users, return_inverse=True)
        # Cells, one for each (group, user) that occurs, in order of the group: enough to redraw users.
        cell_key, cell = np.unique(group * len(user_names) + user, return_inverse=True)
        cell_shown = np.bincount(cell).astype(np.float64)
        cell_clicked = np.bincount(cell, weights=self.clicked)
        cell_user = cell_key % len(user_names)
        starts = np.searchsorted(cell_key, np.arange(len(names)) * len(user_names))
        outcomes = np.full((self.n_resamples, len(names)), np.nan)
        for outcome, drawn in zip(
            outcomes, bootstrap_counts(len(user_names), self.n_resamples, self.seed), strict=True
        ):
            times = drawn[cell_user]
            shown = np.add.reduceat(times * cell_shown, starts)
            clicks = np.add.reduceat(times * cell_clicked, starts)
            np.divide(clicks, shown, out=outcome, where=shown > 0)
        shown, clicks = np.bincount(group), np.bincount(group, weights=self.clicked).astype(np.int64)
        return {
            name: Rate(int(clicks[i]), int(shown[i]), *percentile_interval(outcomes[:, i], self.level))
            for i, name in enumerate(names.tolist())
        }


def click_through(users: ArrayLike, queries: ArrayLike, displayed: ArrayLike, clicked: ArrayLike, *,
                  positions: ArrayLike | None = None, timestamps: ArrayLike | None = None,
                  sessions: ArrayLike | None = None, session_gap: float = 1800.0,
                  level: float = 0.95, n_resamples: int = 1000, seed: int = 0) -> ClickThrough:  # fmt: skip
    """The click-through rate of logged interactions: overall, by position and by day, with intervals.

    Every argument is an array with one entry for each logged row, in any order.

    Parameters
    ----------
    users, queries, displayed : int arrays of shape (n,)
        Who saw which image as a result for which query image.
    clicked : bools, 0 and 1, or strings "click" and "impression" (in any case)
    positions : int array, optional
        The position in the displayed list, from 1.
    timestamps : array, optional
        Seconds since 1970-01-01 UTC.
    sessions : int array, optional
        Which search this belongs to, where the log says so; ``session_gap`` then plays no part.
    session_gap : float
        Without sessions: seconds after which the same image for the same query is a new showing.
    level, n_resamples, seed
        Of the intervals.

    Raises
    ------
    ValueError
        If the log is none, as :func:`showings` says, or `level` is not between 0 and 1.

    Examples
    --------
    User 8 saw image 6 and clicked it twice; user 91 only saw image 1; the impression of user 6's click was not logged.

    >>> log = click_through(users=[8, 8, 8, 91, 6], queries=[2, 2, 2, 5, 3], displayed=[6, 6, 6, 1, 9],
    ...                     clicked=["Impression", "Click", "Click", "Impression", "Click"], positions=[1, 1, 1, 2, 2])
    >>> log.overall.clicks, log.overall.impressions, round(log.overall.percent, 1)
    (2, 3, 66.7)
    >>> {position: rate.rate for position, rate in log.by_position.items()}
    {1: 1.0, 2: 0.5}
    """
    as_level(level)
    seen = showings(
        queries, displayed, clicked, users=users, positions=positions, timestamps=timestamps, sessions=sessions,
        session_gap=session_gap,
    )  # fmt: skip
    days = None
    if seen.timestamps is not None:
        days = np.floor_divide(seen.timestamps, _SECONDS_A_DAY).astype(np.int64).astype("datetime64[D]")
    return ClickThrough(
        users=cast("NDArray[np.int64]", seen.users),
        clicked=seen.clicked,
        positions=seen.positions,
        days=days,
        level=level,
        n_resamples=n_resamples,
        seed=seed,
    )
