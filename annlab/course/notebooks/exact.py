"""Exercises of notebook 01: exact search."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab import textbook
from annlab.course.answers import array, call, expect, expect_close, number, rows
from annlab.course.registry import Mistake, exercise


@exercise("01-bytes", "A single query reads every vector once. How many gigabytes (10^9 bytes) are that for 50 million "
          "float32 vectors of 128 numbers?")  # fmt: skip
def gigabytes(answer: Any) -> str:
    """n d 4 bytes."""
    expect_close(
        number(answer, 0),
        50e6 * 128 * 4 / 1e9,
        "Vectors times numbers in each times bytes of a float32.",
        [
            (50e6 * 128 / 1e9, "That counts numbers; a float32 has four bytes."),
            (50e6 * 128 * 8 / 1e9, "That is float64; a float32 has four bytes."),
            (50e6 * 4 / 1e9, "That is one number a vector, and there are 128."),
        ],
    )
    return "At 10 GB a second from memory that is 2.6 seconds for one query, whatever the processor."


@exercise("01-top-k", "Write top_k(distances, k): the k rows with the smallest distances, nearest first; among equal "
          "distances the smaller row first, also where a tie is cut off.")  # fmt: skip
def top_k(answer: Any) -> str:
    """On whole numbers, which are full of ties."""
    rng = np.random.default_rng(0)
    for k in (1, 5, 17):
        for _ in range(20):
            distances = rng.integers(0, 9, 60).astype(float)
            given = rows(call(answer, distances, k), k, len(distances))
            right = np.argsort(distances, kind="stable")[:k]
            if (given == right).all():
                continue
            expect((given != np.argsort(-distances, kind="stable")[:k]).any(), "These are the farthest rows.")
            same = (np.sort(distances[given]) == distances[right]).all()
            expect(same, "These are not the k smallest distances.")
            expect((np.diff(distances[given]) >= 0).all(), "The right distances, but not nearest first: argpartition "
                   "does not sort, so sort the k that are left.")  # fmt: skip
            raise Mistake("The distances are right, but among equal ones the smaller row must come first, and must be "
                          "the one that is kept: argpartition keeps any of them.")  # fmt: skip
    return "Ties by row make the answer one answer: the same for every batch, thread and machine."


@exercise("01-cancellation", "Write squared_distances(vectors, query) for float32 vectors (n, d) that may be far from "
          "0: (n,) squared distances whose largest relative error is below 0.001.")  # fmt: skip
def squared_distances(answer: Any) -> str:
    """On vectors about 3,000, and on such that an average in float32 does not find."""
    rng = np.random.default_rng(1)
    vectors = (rng.random((300, 64)) + 3000).astype(np.float32)
    query = (rng.random(64) + 3000).astype(np.float32)
    given = array(call(answer, vectors, query), (300,))
    right = textbook.distances_to(vectors, query) ** 2
    expect_close(given, right, "The error is larger than 0.001. The formula |x|^2 - 2 q.x + |q|^2 takes a small "
                 "difference of large numbers: subtract first, or move everything to about 0 first, or use float64.",
                 [(np.sqrt(right), "These are distances; the squared ones are asked for.")], rtol=1e-3)  # fmt: skip
    return "Differences first: what is large and common to both is gone before anything is squared."
