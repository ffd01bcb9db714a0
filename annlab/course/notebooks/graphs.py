"""Exercises of notebook 08: graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import array, call, expect
from annlab.course.registry import Mistake, exercise


@exercise("08-reachable", "Write reachable(links, entry): links (n, degree) row numbers, -1 behind them. A bool "
                          "array (n,), "
          "true for each row that some walk from `entry` along links can come to, `entry` included.")  # fmt: skip
def reachable(answer: Any) -> str:
    """On graphs with few links, which fall apart."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        links = np.where(rng.random((60, 2)) < 0.6, rng.integers(0, 60, (60, 2)), -1)
        links = np.sort(links, axis=1)[:, ::-1]  # -1 behind
        entry = int(rng.integers(60))

        def spread(matrix: Any, start: int = entry) -> Any:
            seen = np.arange(60) == start
            while (more := seen | matrix[seen].any(axis=0)).sum() > seen.sum():
                seen = more
            return seen

        matrix, with_pads = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
        for row, others in enumerate(links):
            matrix[row, others[others >= 0]] = True
            with_pads[row, others] = True
        given, right = array(call(answer, links, entry), (60,), "b"), spread(matrix)
        if (given == right).all():
            continue
        expect(given[entry], "The entry itself can be found: it is true.")
        expect((given != spread(with_pads)).any(), "A link of -1 is none; as an index it is the last row.")
        expect(
            (given != spread(matrix | matrix.T)).any(),
            "Links lead one way: a row that links here is not reached by it.",
        )
        expect((given != (matrix[entry] | (np.arange(60) == entry))).any(), "That is one step. Go on from what was "
                                                                            "found "
               "until nothing new comes.")  # fmt: skip
        raise Mistake("Not these rows: begin with the entry, add all rows that a seen row links to, until none is new.")
    return "What is not reached is lost for every query, whatever the beam."
