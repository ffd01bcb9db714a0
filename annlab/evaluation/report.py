"""Evaluation: the scores of every query, and what is derived from them.

A mean alone cannot say whether 0.71 is better than 0.70. The scores behind it can: they give the interval that
other queries would have moved the mean in, they let two systems be compared query by query (``comparison.py``), and
they name the queries to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from annlab.evaluation.measures import parse_measure
from annlab.evaluation.resampling import N_RESAMPLES, bootstrap_means, percentile_interval


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores per query of one system. Made by :func:`from_rankings`, :func:`from_embeddings`, :func:`from_judgements`.

    Attributes
    ----------
    scores : mapping from a measure's name to float64 (q,)
        Read-only.
    query_ids : int64 (q,)
    n_relevant : int64 (q,)
        How many relevant items there are for each query.

    Examples
    --------
    >>> from annlab.evaluation import from_rankings
    >>> evaluation = from_rankings([[5, 3, 8], [2, 1, -1]], [{3, 8}, {2}], measures=["mrr", "precision@3"])
    >>> evaluation["mrr"].tolist(), evaluation.mean("mrr")
    ([0.5, 1.0], 0.75)
    >>> print(evaluation)
    measure      mean    95% interval
    mrr          0.7500  [0.5000, 1.0000]
    precision@3  0.5000  [0.3333, 0.6667]
    2 queries
    """

    scores: Mapping[str, NDArray[np.float64]]
    query_ids: NDArray[np.int64]
    n_relevant: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.query_ids) == 0:
            raise ValueError("there are no queries to evaluate")
        for array in (*self.scores.values(), self.n_relevant):
            if array.shape != self.query_ids.shape:
                raise ValueError(f"scores of shape {array.shape} do not fit {len(self.query_ids)} queries")
            array.setflags(write=False)
        object.__setattr__(self, "scores", MappingProxyType(dict(self.scores)))

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.query_ids)

    def __getitem__(self, measure: str) -> NDArray[np.float64]:
        """The scores of every query, (q,)."""
        name = str(parse_measure(measure))
        if name not in self.scores:
            raise KeyError(f"{name} was not computed; this evaluation holds {', '.join(self.scores)}")
        return self.scores[name]

    @property
    def answerable(self) -> NDArray[np.bool_]:
        """Which queries have a relevant item at all, (q,). The others score 0, and count in every mean."""
        return self.n_relevant > 0

    def mean(self, measure: str) -> float:
        """The mean over all queries."""
        return float(self[measure].mean())

    def means(self) -> dict[str, float]:
        """The means of all measures, by name."""
        return {name: self.mean(name) for name in self.scores}

    def interval(
        self, measure: str, level: float = 0.95, *, n_resamples: int = N_RESAMPLES, seed: int = 0
    ) -> tuple[float, float]:
        """Where the mean lies had other queries been drawn: a seeded bootstrap over queries (``resampling.py``).

        It speaks of the chance in the choice of queries, and not of that in training.

        Returns
        -------
        (low, high)
        """
        outcomes = bootstrap_means(self[measure][:, None], n_resamples, seed)
        return percentile_interval(outcomes[:, 0], level)

    def __str__(self) -> str:
        outcomes = bootstrap_means(np.stack(list(self.scores.values()), axis=1), N_RESAMPLES, seed=0)
        intervals = [percentile_interval(column, 0.95) for column in outcomes.T]
        width = max(len("measure"), *(len(name) for name in self.scores))
        lines = [f"{'measure':<{width}}  mean    95% interval"]
        for (name, mean), (low, high) in zip(self.means().items(), intervals, strict=True):
            lines.append(f"{name:<{width}}  {mean:.4f}  [{low:.4f}, {high:.4f}]")
        unanswerable = len(self) - np.count_nonzero(self.answerable)
        note = f", of which {unanswerable} without a relevant item (they score 0)" if unanswerable else ""
        return "\n".join([*lines, f"{len(self)} queries{note}"])
