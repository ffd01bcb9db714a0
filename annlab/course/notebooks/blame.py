"""Exercises of notebooks 12, 13 and 14: whose fault, how many to ask for, and when an index pays."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import array, call, expect, expect_close, number, whole
from annlab.course.registry import Mistake, exercise


@exercise("12-blame", "Write losses(relevant_exact, relevant_index): bool arrays (q, k), which results of exact "
                      "search and of an "
          "index were relevant. Return two numbers: the loss of precision that is the encoder's, and what the index "
          "adds.")  # fmt: skip
def blame(answer: Any) -> str:
    """1 - precision of exact search, and the difference of the two precisions."""
    rng = np.random.default_rng(0)
    exact = rng.random((40, 10)) < 0.85
    index = exact & (rng.random((40, 10)) < 0.93)
    e, i = exact.mean(), index.mean()
    given = array(call(answer, exact, index), (2,))
    expect_close(given, [1 - e, e - i], "Exact search has no loss of its own: what is wrong in its results is the "
                 "encoder's; the index adds the difference of the two precisions.", [
        ([e, i], "These are precisions; losses are asked for."),
        ([1 - e, 1 - i], "The second is the total loss: take the encoder's off."),
        ([e - i, 1 - e], "The other way round: first the encoder's."),
        ([1 - e, i - e], "What the index adds is positive where it is worse."),
    ])  # fmt: skip
    return "The two add up to the whole loss, so it is clear where an hour of work pays."


@exercise("13-oversample", "A filter allows each row with a probability of 0.02, whatever the query. How many "
                           "results must one "
          "ask for, to have 10 allowed ones among them on average?")  # fmt: skip
def oversample(answer: Any) -> str:
    """10 / 0.02."""
    given = whole(answer, 0)
    expect(given != 10, "Of 10 results one fifth of a row is allowed, on average.")
    expect(given != 510, "The ten are part of what is asked for.")
    expect(given != 50, "That brings one allowed row on average.")
    if given != round(10 / 0.02):
        raise Mistake("n results hold 0.02 n allowed rows on average.")
    return "And half of all queries still get fewer than ten: the average is not a promise."


@exercise("14-break-even", "A scan takes 900 microseconds a query. An index takes 150, and 12 seconds to build. "
                           "After how many "
          "queries has it paid?")  # fmt: skip
def break_even(answer: Any) -> str:
    """12 s / 750 us."""
    expect_close(number(answer, 0), 12e6 / (900 - 150), "The time to build, over what is saved a query.", [
        (12e6 / 900, "That is over the scan's time: the index needs its own 150, too."),
        (12e6 / 150, "That is over the index's time; what is saved is 900 - 150."),
        (0.016, "A second has a million microseconds."),
        (16.0, "A second has a million microseconds, not a thousand."),
    ], rtol=1e-3)  # fmt: skip
    return "Twenty minutes of a busy site; years of a nightly job."
