"""Answers to the exercises of notebook 03, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np

from annlab import textbook


def visited():
    data, counted = np.random.default_rng(3).random((2000, 2)), []
    real = textbook.Best.offer
    try:
        textbook.Best.offer = lambda best, distances, rows: (counted.append(len(rows)), real(best, distances, rows))[1]
        textbook.KDTree(data).search(np.array([0.5, 0.5]), 5)
    finally:
        textbook.Best.offer = real
    return sum(counted)


def box_distance(low, high, query):
    return np.linalg.norm(query - np.clip(query, low, high))


ANSWERS = {
    "03-kdtree-visited": visited,
    "03-box-distance": lambda: box_distance,
}
MISTAKES = [
    ("03-kdtree-visited", lambda: 2000, "every row"),
    ("03-kdtree-visited", lambda: 5, "how many are returned"),
    ("03-kdtree-visited", lambda: 10, "less than one leaf"),
    ("03-kdtree-visited", lambda: visited() + 1, "Not that many"),
    ("03-kdtree-visited", lambda: "many", "A number is asked for"),
    ("03-box-distance", lambda: lambda low, high, q: box_distance(low, high, q) ** 2, "squared"),
    ("03-box-distance", lambda: lambda low, high, q: np.linalg.norm(q - (low + high) / 2), "centre"),
    ("03-box-distance", lambda: lambda low, high, q: np.abs(q - np.clip(q, low, high)).sum(), "L1"),
    ("03-box-distance", lambda: lambda low, high, q: np.abs(q - np.clip(q, low, high)).max(), "largest"),
    (
        "03-box-distance",
        lambda: lambda low, high, q: np.linalg.norm(np.minimum(abs(q - low), abs(q - high))),
        "between",
    ),
    ("03-box-distance", lambda: lambda low, high, q: q[7], "IndexError"),
    ("03-box-distance", lambda: lambda low, high, q: None, "returned nothing"),
]
