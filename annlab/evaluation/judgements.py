"""What is relevant to which query, and how much.

The judgements of q queries are three flat arrays in CSR form, the sparse matrix layout: the judged items of query i
are ``ids[offsets[i] : offsets[i + 1]]``, sorted, and ``grades`` runs beside them. A grade of 0 says "judged, and
not relevant", which counts the same as not judged at all. Lookup of a whole block of rankings is one binary search
over (query, item) keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_grades, as_ids


@dataclass(frozen=True, eq=False)
class Judgements:
    """Graded relevance of items to queries. Made by :meth:`from_lists`, :meth:`from_triples`, or from CSR arrays.

    Parameters
    ----------
    offsets : int array of shape (q + 1,)
        Where each query's items begin and end; starts at 0, never falls, ends at len(ids).
    ids : int array of shape (n,)
        The judged items, each at most once for a query. Ids are 0 or more.
    grades : array of shape (n,), optional
        Relevance, 0 or more; 1 for all without it.
    query_ids : int array of shape (q,), optional
        The queries' names, all different; 0..q-1 without it.

    Examples
    --------
    >>> judged = Judgements([0, 2, 3], ids=[4, 9, 7], grades=[3, 1, 2])
    >>> len(judged), judged.grades_of([[9, 5, -1], [7, 4, 9]]).tolist()
    (2, [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int64]
    grades: NDArray[np.float64]
    query_ids: NDArray[np.int64]

    def __init__(
        self, offsets: ArrayLike, ids: ArrayLike, grades: ArrayLike | None = None, query_ids: ArrayLike | None = None
    ) -> None:
        starts, items = as_ids(offsets, "offsets", 1), as_ids(ids, "ids", 1)
        if len(starts) == 0 or starts[0] != 0 or starts[-1] != len(items) or (np.diff(starts) < 0).any():
            raise ValueError(f"offsets must start at 0, never fall, and end at len(ids) = {len(items)}")
        n_queries = len(starts) - 1
        values = np.ones(len(items)) if grades is None else as_grades(grades, "grades", 1).astype(np.float64)
        if len(values) != len(items):
            raise ValueError(f"grades has {len(values)} entries, but ids has {len(items)}")
        names = np.arange(n_queries) if query_ids is None else as_ids(query_ids, "query_ids", 1)
        if len(names) != n_queries:
            raise ValueError(f"query_ids has {len(names)} entries, but offsets describe {n_queries} queries")
        if len(np.unique(names)) != len(names):
            raise ValueError("query_ids must all be different")
        if items.size and items.min() < 0:
            raise ValueError(f"judged ids must be 0 or more, got {items.min()}: -1 pads rankings only")
        rows = np.repeat(np.arange(n_queries), np.diff(starts))
        order = np.lexsort((items, rows))  # rows are in order already; this sorts the items within each
        items, values = items[order], values[order]
        twice = (rows[1:] == rows[:-1]) & (items[1:] == items[:-1])
        if twice.any():
            at = int(np.argmax(twice))
            raise ValueError(f"item {items[at]} is judged more than once for query {names[rows[at]]}")
        for name, value in (("offsets", starts), ("ids", items), ("grades", values), ("query_ids", names)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_lists(cls, relevant: Sequence[Any], query_ids: ArrayLike | None = None) -> Judgements:
        """One entry a query: a set, list or array of relevant ids, or a mapping from id to grade.

        Examples
        --------
        >>> Judgements.from_lists([{3, 1}, {7: 2, 8: 1}, []]).grades.tolist()
        [1.0, 1.0, 2.0, 1.0]
        """
        if isinstance(relevant, str | Mapping) or not isinstance(relevant, Iterable):
            raise TypeError("relevant must be a sequence with one entry a query (ids, or a mapping from id to grade)")
        ids: list[Any] = []
        grades: list[Any] = []
        lengths: list[int] = []
        for row, entry in enumerate(relevant):
            if isinstance(entry, str) or not isinstance(entry, Iterable):
                raise TypeError(f"relevant[{row}] must be ids or a mapping from id to grade, got {entry!r}")
            found = list(entry)
            ids.extend(found)
            grades.extend(_grade(entry[i]) for i in found) if isinstance(entry, Mapping) else grades.extend(
                [1] * len(found)
            )
            lengths.append(len(found))
        return cls(np.cumsum([0, *lengths]), ids, grades, query_ids)

    @classmethod
    def from_triples(cls, queries: ArrayLike, candidates: ArrayLike, similarities: ArrayLike) -> Judgements:
        """Judged pairs (query, candidate, similarity), in any order; the queries are numbered by ascending id.

        Examples
        --------
        >>> judged = Judgements.from_triples([20, 10, 20], [1, 2, 3], [4, 5, 0])
        >>> judged.query_ids.tolist(), judged.ids.tolist(), judged.grades.tolist()
        ([10, 20], [2, 1, 3], [5.0, 4.0, 0.0])
        """
        query, candidate = as_ids(queries, "queries", 1), as_ids(candidates, "candidates", 1)
        grade = as_grades(similarities, "similarities", 1)
        if not len(query) == len(candidate) == len(grade):
            raise ValueError(
                "queries, candidates and similarities must have one length, "
                f"got {len(query)}, {len(candidate)} and {len(grade)}"
            )
        names, counts = np.unique(query, return_counts=True)
        order = np.argsort(query, kind="stable")
        return cls(np.concatenate([[0], np.cumsum(counts)]), candidate[order], grade[order], names)

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.offsets) - 1

    def rows(self, start: int, stop: int) -> Judgements:
        """The judgements of queries start..stop-1."""
        first, last = self.offsets[start], self.offsets[stop]
        return Judgements(
            self.offsets[start : stop + 1] - first,
            self.ids[first:last],
            self.grades[first:last],
            self.query_ids[start:stop],
        )

    def n_relevant(self, relevance_level: float | None = None) -> NDArray[np.int64]:
        """How many items are relevant to each query, (q,)."""
        counts = np.concatenate([[0], np.cumsum(is_relevant(self.grades, relevance_level))])
        return np.diff(counts[self.offsets])

    def grades_of(self, ranked_ids: ArrayLike) -> NDArray[np.float64]:
        """The grade of every result in ``ranked_ids`` (q, k): 0 where it is not judged or padding (-1)."""
        ids = as_ids(ranked_ids, "ranked_ids", 2)
        if len(ids) != len(self):
            raise ValueError(f"ranked_ids has {len(ids)} rows, but there are judgements of {len(self)} queries")
        known, place = np.unique(self.ids, return_inverse=True)
        if len(known) == 0:
            return np.zeros(ids.shape)
        # Dense item numbers make (query, item) one sorted int64 key, whatever the ids are.
        keys = np.repeat(np.arange(len(self)), np.diff(self.offsets)) * len(known) + place
        wanted = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        wanted_keys = np.arange(len(ids))[:, None] * len(known) + wanted
        at = np.minimum(np.searchsorted(keys, wanted_keys), len(keys) - 1)
        return np.where((known[wanted] == ids) & (keys[at] == wanted_keys), self.grades[at], 0.0)

    def padded_grades(self) -> NDArray[np.float64]:
        """All grades of each query as one row, padded with 0: (q, most judged items of any query)."""
        lengths = np.diff(self.offsets)
        table = np.zeros((len(self), int(lengths.max(initial=0))))
        table[np.arange(table.shape[1]) < lengths[:, None]] = self.grades
        return table


def _grade(value: Any) -> Any:
    """True and False are 1 and 0, as a grade; everything else is checked later."""
    return int(value) if isinstance(value, bool | np.bool_) else value


def is_relevant(grades: NDArray[Any], relevance_level: float | None) -> NDArray[np.bool_]:
    """Which grades count as relevant: above 0, or at least ``relevance_level``."""
    if relevance_level is None:
        return grades > 0
    if not (np.isfinite(relevance_level) and relevance_level > 0):
        raise ValueError(f"relevance_level must be a grade above 0, got {relevance_level!r}")
    return grades >= relevance_level
