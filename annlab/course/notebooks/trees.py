"""Exercises of notebook 03: KD-trees and ball trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab import textbook
from annlab.course.answers import array, call, expect, expect_close, whole
from annlab.course.registry import Mistake, exercise


class _Counted:
    """Rows of an array, counted as they are taken."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape, self.taken = data, data.shape, 0

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.taken += len(rows)
        taken: np.ndarray = self._data[rows]
        return taken


@exercise("03-kdtree-visited", "With data = np.random.default_rng(3).random((2000, 2)) and leaves of 16 rows: how many "
          "rows does textbook.KDTree compare with the query (0.5, 0.5) to find its 5 nearest?")  # fmt: skip
def visited(answer: Any) -> str:
    """Counted again, as the tree takes them."""
    given, data = whole(answer, 0), np.random.default_rng(3).random((2000, 2))
    tree = textbook.KDTree(data)
    counted = _Counted(data)
    tree.data = counted  # type: ignore[assignment]
    tree.search(np.array([0.5, 0.5]), 5)
    expect(
        given != 2000, "That is every row: the tree skips boxes that are farther away than the fifth nearest so far."
    )
    expect(given != 5, "That is how many are returned. Count all rows of the leaves that were opened.")
    expect(given >= 16, f"{given} is less than one leaf of some 16 rows, and all rows of a leaf are compared.")
    if given != counted.taken:
        raise Mistake("Not that many. Add up len(node) over the leaves that are opened: a leaf is opened when its box "
                      "is not farther away than the fifth nearest so far.")  # fmt: skip
    return f"{given / 20:.1f} % of the rows: in two dimensions most boxes are too far away."


@exercise("03-box-distance", "Write box_distance(low, high, query): how far a query (d,) is from the nearest point of "
          "the box that reaches from low (d,) to high (d,).")  # fmt: skip
def box_distance(answer: Any) -> str:
    """On boxes and queries inside, beside and across a corner."""
    rng = np.random.default_rng(0)
    low = rng.normal(size=(40, 3))
    high, queries = low + rng.random((40, 3)), rng.normal(size=(40, 3)) * 2
    queries[:5] = (low[:5] + high[:5]) / 2
    given = array([call(answer, *three) for three in zip(low, high, queries, strict=True)], (40,))
    beyond = np.maximum(np.maximum(low - queries, queries - high), 0)
    centre = np.linalg.norm(queries - (low + high) / 2, axis=1)
    edges = np.linalg.norm(np.minimum(abs(low - queries), abs(high - queries)), axis=1)
    corners = np.linalg.norm(np.maximum(abs(low - queries), abs(high - queries)), axis=1)
    expect_close(
        given,
        np.linalg.norm(beyond, axis=1),
        "Not the distance to the nearest point of the box: on each axis the query is below the box, or in it (then "
        "this axis adds nothing), or above it.",
        [
            ((beyond**2).sum(axis=1), "These are squared distances: the root is missing."),
            (beyond.sum(axis=1), "These are sums over the axes (the L1 distance); the Euclidean one is asked for."),
            (beyond.max(axis=1), "These are the largest over the axes; the Euclidean distance adds up their squares."),
            (centre, "That is the distance to the centre of the box, which is no lower bound for the points in it."),
            (corners, "That is the distance to the farthest corner, not to the nearest point."),
            (edges, "A query whose coordinate lies between low and high adds nothing on that axis."),
        ],
    )
    return "A lower bound for every point of the box, and the best there is: that is what a search may skip by."
