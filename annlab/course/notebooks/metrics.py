"""Exercises of notebook 09: metrics by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab import evaluation
from annlab.course.answers import array, call, expect_close, number
from annlab.course.registry import exercise


@exercise("09-average-precision", "Of five results the first, the third and the fourth are relevant; five items are "
          "relevant in all. Which is the average precision?")  # fmt: skip
def average_precision(answer: Any) -> str:
    """(1 + 2/3 + 3/4) / 5."""
    total = 1 + 2 / 3 + 3 / 4
    expect_close(number(answer, 0, 1), total / 5, "The precision at each relevant place, 1/1, 2/3 and 3/4, over all "
                                                  "relevant "
                 "items.", [
        (total / 3, "That divides by the relevant ones that were found; what was not found counts, too."),
        (3 / 5, "That is the precision (and the recall) at 5, which does not see the places."),
        ((1 + 1 / 2 + 2 / 3 + 3 / 4 + 3 / 5) / 5, "That is the precision at every place; only relevant places count."),
        ((1 + 1 / 3 + 1 / 4) / 5, "These are reciprocal ranks; the precision at place 3 is 2/3."),
    ], rtol=2e-3)  # fmt: skip
    return "Two that were never found cost as much as two at the end of the world."


@exercise("09-ndcg", "Write ndcg(grades, ideal): grades (m,) of the results in their order, ideal (m,) the grades "
                     "of the best "
          "order. A result is worth 2^grade - 1, over log2(place + 1), places from 1.")  # fmt: skip
def ndcg(answer: Any) -> str:
    """Against the page of rankings."""
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 4, (20, 6)) * (rng.random((20, 6)) < 0.6) + np.eye(20, 6, dtype=int)
    grades = np.minimum(grades, 3)
    ideal = np.sort(np.minimum(grades + (rng.random((20, 6)) < 0.2), 3), axis=1)[:, ::-1]
    given = array([call(answer, *pair) for pair in zip(grades, ideal, strict=True)], (20,))
    places = np.arange(1, 7)

    def over(gains: Any, discounts: Any) -> Any:
        return (gains(grades) / discounts).sum(axis=1) / (gains(ideal) / discounts).sum(axis=1)

    expect_close(given, evaluation.ndcg(grades, ideal, 6), "The sum over the results, divided by the same sum over "
                                                           "the ideal.", [
        (over(lambda g: g, np.log2(places + 1)), "That takes the grade itself as worth; here it is 2^grade - 1."),
        (over(lambda g: 2.0**g - 1, places), "That divides by the place; here by log2(place + 1)."),
        (over(lambda g: 2.0**g, np.log2(places + 1)), "A grade of 0 is worth nothing: 2^grade - 1."),
        ((2.0**grades - 1) @ (1 / np.log2(places + 1)), "That is the DCG: divide by that of the ideal order."),
    ])  # fmt: skip
    return "1 is the best order, whatever the grades."
