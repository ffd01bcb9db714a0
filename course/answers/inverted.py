"""Answers to the exercises of notebook 05, and mistakes with words of what is said to them. Not in the wheel."""

import numpy as np


def recall_by_probes(ranks, n_cells, first=1):
    return np.array([(ranks < probes).mean() for probes in range(first, first + n_cells)])


def added(ranks, n_cells):
    return np.bincount(ranks.ravel(), minlength=n_cells) / ranks.size


def all_found(ranks, n_cells):
    return np.array([(ranks < probes).all(axis=1).mean() for probes in range(1, n_cells + 1)])


ANSWERS = {
    "05-imbalance": lambda: 2.08,
    "05-probes": lambda: recall_by_probes,
}
MISTAKES = [
    ("05-imbalance", lambda: 1, "queries fall where vectors are"),
    ("05-imbalance", lambda: 52, "divide by what it meets"),
    ("05-imbalance", lambda: 2.8, "the fullest cell alone"),
    ("05-imbalance", lambda: 3, "probability"),
    ("05-probes", lambda: lambda ranks, n_cells: recall_by_probes(ranks, n_cells, 0), "no probe at all"),
    (
        "05-probes",
        lambda: added,
        "what each probe adds",
    ),
    ("05-probes", lambda: lambda ranks, n_cells: recall_by_probes(ranks, n_cells) * ranks.size, "counts"),
    ("05-probes", lambda: all_found, "share of queries"),
    ("05-probes", lambda: lambda ranks, n_cells: np.ones(n_cells), "rank is below p"),
]
