"""Exercises of notebook 02: high dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab import evaluation
from annlab.course.answers import array, call, expect_close, number
from annlab.course.registry import exercise


@exercise("02-lid-by-hand", "The nearest rows of a query are at the distances 1, 2 and 4. Which local intrinsic "
          "dimension is that by maximum likelihood, the third being the k-th? Two decimal places will do.")  # fmt: skip
def by_hand(answer: Any) -> str:
    """log 4 and log 2 have the mean 1.04."""
    logs = np.log([4.0, 2.0])
    expect_close(
        number(answer, 0),
        1 / logs.mean(),
        "One over the mean of log(4 / r) over the nearer rows: log(4 / 1) and log(4 / 2), natural logarithms.",
        [
            (logs.mean(), "That is the mean of the logarithms: the dimension is one over it."),
            (
                3 / logs.sum(),
                "The k-th row itself adds nothing, and is not counted: divide by two, not three.",
            ),
            (1 / np.log2([4.0, 2.0]).mean(), "These are logarithms to base 2; natural ones are asked for."),
        ],
        rtol=0.006,
    )
    return "Just below 1: rows on a line would look like this."


@exercise("02-contrast", "Write relative_contrast(nearest, typical): nearest (q,) are distances of each query to its "
          "nearest row, typical (q, m) to m random rows. Return (q,): how many times as far as the nearest a "
          "typical row is.")  # fmt: skip
def contrast(answer: Any) -> str:
    """Against the page of difficulty."""
    rng = np.random.default_rng(0)
    nearest, typical = rng.random(30) + 0.5, rng.random((30, 40)) * 3 + 1
    right = evaluation.relative_contrast(nearest[:, None], typical)
    expect_close(array(call(answer, nearest, typical), (30,)), right, "The mean of a query's typical distances, over "
                 "its nearest one.", [
        (1 / right, "That is the other way round: far over near."),
        (np.full(30, typical.mean() / nearest.mean()), "That is one mean over all queries: each query has its own."),
        (typical.max(axis=1) / nearest, "That takes the farthest; the mean is asked for."),
        (typical.min(axis=1) / nearest, "That takes the least of the typical distances; the mean is asked for."),
    ])  # fmt: skip
    return "Near 1 there is no nearest neighbour to speak of; above 2 most indexes do well."


@exercise("02-hub", "Let points = np.random.default_rng(5).normal(size=(1000, 50)), every point asking for its 5 "
          "nearest others (l2). How often is the most popular point found?")  # fmt: skip
def hub(answer: Any) -> str:
    """Counted again by brute force."""
    points = np.random.default_rng(5).normal(size=(1000, 50))
    squares = (points**2).sum(axis=1)
    distances = squares[:, None] - 2 * points @ points.T + squares
    with_self = np.bincount(np.argsort(distances, axis=1)[:, :5].ravel(), minlength=1000)
    np.fill_diagonal(distances, np.inf)
    counts = np.bincount(np.argsort(distances, axis=1)[:, :5].ravel(), minlength=1000)
    expect_close(number(answer, 0, 1000), counts.max(), "Not that often. Ask for six with each point as query, drop "
                 "the point itself, and count how often each row occurs in what is left.", [
        (with_self.max(), "Each point has found itself, too: it is not among its own nearest others."),
        (5, "That is the average, which is 5 for every set; the most popular one is asked for."),
        (int(counts.argmax()), "That is which point it is; how often is asked for."),
    ])  # fmt: skip
    return f"And {np.mean(counts == 0):.0%} of the points are found by nobody."
