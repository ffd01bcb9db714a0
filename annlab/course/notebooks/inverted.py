"""Exercises of notebook 05: k-means and inverted files."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import array, call, expect, expect_close, number
from annlab.course.registry import exercise


@exercise("05-imbalance", "Four cells hold 70, 10, 10 and 10 vectors, and queries are distributed as vectors are. "
                          "How many "
          "times as many rows does one probe meet on average as with four equal cells?")  # fmt: skip
def imbalance(answer: Any) -> str:
    """c sum s^2 / n^2."""
    sizes = np.array([70, 10, 10, 10])
    expect_close(number(answer, 0), 4 * (sizes**2).sum() / 100**2, "A query falls into a cell of s vectors with "
                                                                   "probability "
                 "s / n, and meets s rows there: sum s^2 / n. With equal cells it meets n / 4.", [
        (1.0, "That would be so if each cell were asked equally often. But queries fall where vectors are."),
        ((sizes**2).sum() / 100, "That is how many rows a probe meets; divide by what it meets with equal cells."),
        (70 / 25, "That is the fullest cell alone; the others are asked, too."),
    ])  # fmt: skip
    return "Twice the work, and the slowest queries meet 70 rows: imbalance is felt in the tail first."


@exercise("05-probes", "Write recall_by_probes(ranks, n_cells): ranks (q, k) holds, for each true neighbour, how many "
          "cells are nearer to the query than the neighbour's own. Return (n_cells,): the recall with 1, 2, ... "
          "probes.")  # fmt: skip
def probes(answer: Any) -> str:
    """On ranks of which many are 0."""
    ranks = np.minimum(np.random.default_rng(0).geometric(0.3, size=(50, 10)) - 1, 19)
    right = np.array([(ranks < probes).mean() for probes in range(1, 21)])
    given = array(call(answer, ranks, 20), (20,))
    expect_close(given, right, "With p probes those neighbours are found whose rank is below p; divide by all of "
                               "them.", [
        (np.array([(ranks < probes).mean() for probes in range(20)]), "This begins with no probe at all: the first "
                                                                      "entry "
         "is for one probe, which finds the ranks 0."),
        (np.bincount(ranks.ravel(), minlength=20) / ranks.size, "That is what each probe adds; sum it up (cumsum)."),
        (right * ranks.size, "These are counts; divide by the number of neighbours."),
        (np.array([(ranks < probes).all(axis=1).mean() for probes in range(1, 21)]), "That is the share of queries "
                                                                                     "that "
         "find all their neighbours; recall is the share of neighbours."),
    ])  # fmt: skip
    expect((np.diff(given) >= 0).all(), "More probes never find less.")
    return "One pass over held-out queries gives the whole curve: so IVFIndex chooses its probes."
