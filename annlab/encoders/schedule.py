"""How long a training takes: steps, minutes, patience, and the learning rate along the way.

What teaches a network is the number of steps, not of passes: ten passes over 60,000 images are 2,300 steps, over 1,200
images they were 40, and taught nothing. So a budget is counted in steps, at least a thousand unless something else is
asked for, or in minutes. Between two validations lies a *round*: one pass over the images, or a hundred steps where a
pass is shorter.

Patience is counted in steps, too, and not everywhere: while the learning rate rises nothing is decided, nor while views
are smaller than the images that validation searches; and a loss that still stands where it began (on the plateau of an
untrained network, which it may leave suddenly) has not stopped improving; it has not begun.

No randomness and no torch in here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ON_PLATEAU", "Schedule", "fitting_batch"]

STEPS, PASSES, ROUND = 1000, 10, 100  # what is done by default: the larger of the first two; steps of a short round
BATCH = 256
WARM_UP = 0.1  # of the whole, in which the learning rate rises
ON_PLATEAU = 0.05  # a loss that has fallen by less of the way to its floor is where it began


def fitting_batch(n_images: int, asked: int | None = None) -> int:
    """The size of a batch: what was asked for, else 256, and less for few images, so that a pass has eight batches.

    Examples
    --------
    >>> fitting_batch(60_000), fitting_batch(1200), fitting_batch(60), fitting_batch(60, 500)
    (256, 150, 16, 60)
    """
    return min(BATCH, n_images, max(16, n_images // 8)) if asked is None else min(asked, n_images)


@dataclass(frozen=True)
class Schedule:
    """The plan of a run.

    Attributes
    ----------
    steps : int or None
        In all; None where only `minutes` end it.
    steps_per_round : int
    patience : int or None
        Steps without a better validation after which the run ends; None: never before its end.
    minutes : float or None
        Of a clock on the wall.
    undecided : float
        The share of the way in which patience is not counted.

    Examples
    --------
    >>> plan = Schedule.of(n_images=1200, batch_size=150)
    >>> plan.steps, plan.steps_per_round, plan.patience
    (1000, 100, 500)
    >>> Schedule.of(n_images=60_000, batch_size=256).steps
    2340
    """

    steps: int | None
    steps_per_round: int
    patience: int | None
    minutes: float | None = None
    undecided: float = WARM_UP

    @classmethod
    def of(
        cls,
        n_images: int,
        batch_size: int,
        epochs: int | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        patience: int | None = None,
        undecided: float = WARM_UP,
    ) -> Schedule:
        """The plan for so many images. `epochs` are passes, each of them a round; without them and `steps` it is ten
        passes, at least a thousand steps; with `minutes` alone as many as there is time for."""
        a_pass = max(1, n_images // batch_size)
        if epochs is not None:
            total: int | None = epochs * a_pass if steps is None else min(epochs * a_pass, steps)
            a_round = a_pass
        else:
            total = steps if steps is not None or minutes is not None else max(STEPS, PASSES * a_pass)
            a_round = max(a_pass, ROUND)
        if total is not None:
            a_round = min(a_round, total)
            patience = max(1, total // 2) if patience is None else patience
        return cls(total, a_round, patience, minutes, undecided)

    def progress(self, step: int, seconds: float) -> float:
        """How much of the whole lies behind the middle of a step (the first is 0), that begins after so long: 0..1."""
        by_steps = 0.0 if self.steps is None else (step + 0.5) / self.steps
        by_time = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(1.0, max(by_steps, by_time))

    def rate(self, step: int, seconds: float) -> float:
        """The learning rate as a share of its peak: a line up to a tenth of the way, then half a cosine down to 0."""
        progress = self.progress(step, seconds)
        fall = 0.5 * (1 + math.cos(math.pi * max(0.0, progress - WARM_UP) / (1 - WARM_UP)))
        return min(max(progress / WARM_UP, 0.01), 1.0) * fall

    def in_time(self, step: int, seconds: float) -> bool:
        """Whether a step may begin."""
        by_steps = self.steps is None or step < self.steps
        return by_steps and (self.minutes is None or seconds < 60 * self.minutes)

    def is_over(self, history: Sequence[dict[str, float]]) -> bool:
        """Whether the run is at its end, or out of patience. `history` has a row for each round, with "steps" and
        "seconds" so far, "progress", "score", and "learned" where the loss has a known plateau."""
        if not history:
            return False
        done = history[-1]["steps"]
        if not self.in_time(int(done), history[-1]["seconds"]):
            return True
        if self.patience is None:
            return False
        best = max(history, key=lambda row: row["score"])
        uncounted = [
            row["steps"] for row in history if row["progress"] < self.undecided or row.get("learned", 1.0) < ON_PLATEAU
        ]
        return done - max([best["steps"], *uncounted]) >= self.patience
