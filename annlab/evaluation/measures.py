"""Names of measures: from ``"ndcg@10"`` to the function that computes it.

A name says everything: what is measured and, after the ``@``, at which cut-off. Two things that differ have two
names ("ndcg" and "ndcg_linear", "map" and "map_reachable"), so a table of results can be read without knowing how
it was made.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annlab.evaluation import ranking
from annlab.evaluation.ranking import Scores

DEFAULT_MEASURES = ("mrr", "recall@10", "precision@10", "map", "ndcg@10")


@dataclass(frozen=True, eq=False)
class Ranked:
    """Some queries' results, as the formulas want them.

    grades : (q, depth), the grade of each result; hits : (q, depth) bool, which of them are relevant;
    n_relevant : (q,), relevant items in all; relevant_grades : (q, m), the grades of all graded items, padded with 0.
    """

    grades: NDArray[Any]
    hits: NDArray[np.bool_]
    n_relevant: NDArray[np.int64]
    relevant_grades: NDArray[Any]


_FORMULAS: dict[str, Callable[[Ranked, Any], Scores]] = {
    "mrr": lambda r, k: ranking.reciprocal_rank(r.hits, k),
    "recall": lambda r, k: ranking.recall(r.hits, r.n_relevant, k),
    "precision": lambda r, k: ranking.precision(r.hits, k),
    "hit": lambda r, k: ranking.hit(r.hits, k),
    "r_precision": lambda r, k: ranking.r_precision(r.hits, r.n_relevant),
    "map_r": lambda r, k: ranking.average_precision_at_r(r.hits, r.n_relevant),
    "map": lambda r, k: ranking.average_precision(r.hits, r.n_relevant, k),
    "map_reachable": lambda r, k: ranking.average_precision(r.hits, r.n_relevant, k, denominator="reachable"),
    "ndcg": lambda r, k: ranking.ndcg(r.grades, r.relevant_grades, k),
    "ndcg_linear": lambda r, k: ranking.ndcg(r.grades, r.relevant_grades, k, gain="linear"),
}
_NEEDS_CUTOFF = ("recall", "precision", "hit", "map_reachable")
_NO_CUTOFF = ("r_precision", "map_r")  # the number of relevant items is their cut-off


@dataclass(frozen=True)
class Measure:
    """A measure by name: ``str(Measure("ndcg", 10)) == "ndcg@10"``. Made by :func:`parse_measure`."""

    base: str
    k: int | None

    def __str__(self) -> str:
        return self.base if self.k is None else f"{self.base}@{self.k}"

    def scores(self, ranked: Ranked) -> Scores:
        """One score for each query, float64 (q,)."""
        return _FORMULAS[self.base](ranked, self.k)


def parse_measure(name: str) -> Measure:
    """The measure of this name.

    Known are ``mrr``, ``map``, ``ndcg`` and ``ndcg_linear`` (over the whole ranking, or the first k as in
    ``"map@10"``), ``recall@k``, ``precision@k``, ``hit@k`` and ``map_reachable@k``, and ``r_precision`` and ``map_r``
    (MAP@R), which look at as many results as there are relevant items.

    Raises
    ------
    ValueError
        If the name is not known (the nearest known one is suggested), or its cut-off is missing or not a positive
        integer.

    Examples
    --------
    >>> parse_measure("ndcg@10")
    Measure(base='ndcg', k=10)
    >>> parse_measure("ndgc@10")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: unknown measure 'ndgc@10': did you mean 'ndcg@10'? Known: mrr, recall, ...
    """
    if not isinstance(name, str):
        raise TypeError(f"a measure is named by a string such as 'ndcg@10', got {name!r}")
    base, at, cutoff = name.partition("@")
    if base not in _FORMULAS:
        nearest = difflib.get_close_matches(base.strip().lower(), _FORMULAS, n=1, cutoff=0.5)
        hint = f"did you mean '{nearest[0]}{at}{cutoff}'? " if nearest else ""
        raise ValueError(f"unknown measure {name!r}: {hint}Known: {', '.join(_FORMULAS)}")
    if not at:
        if base in _NEEDS_CUTOFF:
            raise ValueError(f"measure {name!r} needs a cut-off, for example '{base}@10'")
        return Measure(base, None)
    if base in _NO_CUTOFF:
        raise ValueError(f"measure {name!r}: {base} has no cut-off of its own; it is called {base!r}")
    if not (cutoff.isascii() and cutoff.isdigit()) or int(cutoff) < 1:
        raise ValueError(f"measure {name!r}: the cut-off after '@' must be a positive integer, got {cutoff!r}")
    return Measure(base, int(cutoff))


def parse_measures(names: Iterable[str]) -> list[Measure]:
    """Several measures, at least one, none twice."""
    if isinstance(names, str):
        names = (names,)
    measures = [parse_measure(name) for name in names]
    if not measures:
        raise ValueError("measures is empty: name at least one, for example 'ndcg@10'")
    repeated = {str(m) for m in measures if measures.count(m) > 1}
    if repeated:
        raise ValueError(f"measures named more than once: {', '.join(sorted(repeated))}")
    return measures
