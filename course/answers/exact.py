"""Answers to the exercises of notebook 01, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def top_k(distances, k):
    return np.lexsort((np.arange(len(distances)), distances))[:k]


def loses_ties(distances, k):
    few = np.argpartition(distances, k)[:k][::-1]
    return few[distances[few].argsort(kind="stable")]


def squared_distances(vectors, query):
    return ((vectors - query) ** 2).sum(axis=1)


def by_formula(vectors, query):
    return (vectors**2).sum(axis=1) - 2 * vectors @ query + (query**2).sum()


ANSWERS = {
    "01-bytes": lambda: 25.6,
    "01-top-k": lambda: top_k,
    "01-cancellation": lambda: squared_distances,
}
MISTAKES = [
    ("01-bytes", lambda: 6.4, "four bytes"),
    ("01-bytes", lambda: 51.2, "float64"),
    ("01-bytes", lambda: 0.2, "128"),
    ("01-bytes", lambda: 25_600, "Vectors times"),
    ("01-top-k", lambda: loses_ties, "among equal ones"),
    ("01-top-k", lambda: lambda distances, k: top_k(-distances, k), "farthest"),
    (
        "01-top-k",
        lambda: lambda distances, k: top_k(distances, k)[::-1] if k > 1 else top_k(distances, k),
        "nearest first",
    ),
    ("01-top-k", lambda: lambda distances, k: np.arange(k), "not the k smallest"),
    ("01-top-k", lambda: lambda distances, k: top_k(distances, k + 1), "shape"),
    ("01-cancellation", lambda: by_formula, "small difference of large numbers"),
    ("01-cancellation", lambda: lambda vectors, query: np.sqrt(squared_distances(vectors, query)), "squared ones"),
]
