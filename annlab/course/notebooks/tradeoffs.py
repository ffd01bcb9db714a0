"""Exercises of notebook 07: trade-off curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import array, call, expect, expect_close, number
from annlab.course.registry import Mistake, exercise


@exercise("07-factor", "The three nearest are at the distances 2, 4 and 5. An index returned rows at 2, 5 and 6. "
                       "Which is "
          "the mean approximation factor?")  # fmt: skip
def factor(answer: Any) -> str:
    """(1 + 1.25 + 1.2) / 3."""
    expect_close(number(answer, 0), (1 + 1.25 + 1.2) / 3, "Divide rank by rank, returned over exact, and take the "
                                                          "mean.", [
        (13 / 11, "That divides the sums; each rank is divided for itself."),
        ((1 + 0.8 + 5 / 6) / 3, "That is exact over returned: a factor is at least 1."),
        (1.25, "That is the worst rank; the mean is asked for."),
        (1 / 3, "That is the recall, or nearly: one of the three distances was met."),
    ], rtol=1e-3)  # fmt: skip
    return "Recall says a third; the factor says 15 % farther. Both are true."


@exercise("07-front", "Write front(recalls, times), both (n,): a bool array (n,), true for each point that no other "
                      "point "
          "dominates. One dominates if it is at least as good in both (more recall, less time) and better in "
          "one.")  # fmt: skip
def front(answer: Any) -> str:
    """On points of a grid, with ties and copies."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        recalls, times = rng.integers(0, 8, 40) / 8, rng.integers(1, 9, 40).astype(float)

        def dominated(strict: bool, r: Any = recalls, t: Any = times) -> Any:
            if strict:
                return ((r > r[:, None]) & (t < t[:, None])).any(axis=1)
            as_good = (r >= r[:, None]) & (t <= t[:, None])
            return (as_good & ((r > r[:, None]) | (t < t[:, None]))).any(axis=1)

        given, right = array(call(answer, recalls, times), (40,), "b"), ~dominated(False)
        if (given == right).all():
            continue
        expect((given != ~right).any(), "That is the other way round: true where nobody dominates.")
        expect((given != ~dominated(True)).any(), "A point that is as fast and finds less is dominated, too: better "
                                                  "in one "
               "of the two is enough, if the other is equal.")  # fmt: skip
        copies = np.array([((recalls == r) & (times == t)).sum() > 1 for r, t in zip(recalls, times, strict=True)])
        expect((given == right)[~copies].any() and not (given[copies] < right[copies]).any(), "Two equal points do not "
               "dominate each other: both stay.")  # fmt: skip
        raise Mistake(
            "Not the front: a point stays unless some other one is at least as good in both and better in one."
        )
    return "What is not on it has no reason to be used."
