"""The user's ids: int64 numbers of their choice, stable whatever happens to the rows inside.

Inside an index a vector is a row number 0..n-1, which changes when the index is compacted. An `IdMap` knows the id of
every row (`by_row`) and finds the row of an id. Like everything in a state it never changes: `extended` makes the next
map and shares what it can.

Finding uses sorted *runs*: an addition becomes a run of its own and is merged with the runs before it while those are
not much longer, as in a log-structured merge tree. So there are O(log n) runs, a look-up is a binary search in each,
and n single additions cost O(n log n) together. An id that was removed and added again occurs in two runs; only one of
its rows is alive.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class _Run:
    """Ids in ascending order, and their rows: row `first` + i for the i-th where `rows` is None."""

    ids: np.ndarray
    rows: np.ndarray | None
    first: int

    def may_hold(self, smallest: int, largest: int) -> bool:
        """Whether an id between these two can be here."""
        return len(self.ids) > 0 and bool(self.ids[0] <= largest and smallest <= self.ids[-1])

    @cached_property
    def has_gaps(self) -> bool:
        """Whether a number between the first and the last is missing; not so where a database gave them."""
        ids, n = self.ids, len(self.ids)
        return int(ids[-1]) - int(ids[0]) != n - 1 or not bool((ids[1:] > ids[:-1]).all())

    def find(self, ids: np.ndarray) -> np.ndarray:
        smallest, largest = int(self.ids[0]), int(self.ids[-1])
        if not self.has_gaps:
            there = (ids >= smallest) & (ids <= largest)
            if self.rows is None:
                return np.where(there, ids + (self.first - smallest), -1)
            return np.where(there, self.rows[np.where(there, ids - smallest, 0)], -1)
        place = np.searchsorted(self.ids, ids)
        hit = self.ids.take(place, mode="clip") == ids  # behind the last one: not it
        rows = place + self.first if self.rows is None else self.rows.take(place, mode="clip")
        return np.where(hit, rows, -1)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(self.first, self.first + len(self.ids)) if self.rows is None else self.rows
        return self.ids, rows


def _make_run(ids: np.ndarray, first: int) -> _Run:
    if len(ids) < 2 or bool((ids[1:] > ids[:-1]).all()):
        return _Run(ids, None, first)
    low = int(ids.min())
    extent = int(ids.max()) - low + 1
    if extent <= 4 * len(ids):  # dense, as numbered by us: a table of all ids sorts them in one pass
        table = np.full(extent, -1, np.int64)
        table[ids - low] = np.arange(len(ids))
        order = table[table >= 0]
        if len(order) == len(ids):  # else an id is there twice, as the dead can be
            return _Run(ids[order], first + order, first)
    order = np.argsort(ids, kind="stable")
    return _Run(ids[order], first + order, first)


def _merge(left: _Run, right: _Run, alive: np.ndarray) -> _Run:
    middle, end = left.first + len(left.ids), left.first + len(left.ids) + len(right.ids)
    if left.rows is None and right.rows is None and right.first == middle < end and left.first < middle:
        if (
            left.ids[-1] < right.ids[0]
        ):  # as ids are given one after the other; the dead stay, for then nothing is sorted
            return _Run(np.concatenate([left.ids, right.ids]), None, left.first)
    ids, rows = (np.concatenate(pair) for pair in zip(left.pairs(), right.pairs(), strict=True))
    living = alive[rows]  # an id has at most one living row
    ids, rows = ids[living], rows[living]
    order = np.argsort(ids, kind="stable")
    ids, rows = ids[order], rows[order]
    if len(rows) and bool((rows == np.arange(rows[0], rows[0] + len(rows))).all()):
        return _Run(ids, None, int(rows[0]))
    return _Run(ids, rows, 0)


class IdMap:
    """Which id a row has, and which row an id has."""

    def __init__(self, by_row: np.ndarray, runs: tuple[_Run, ...] | None = None) -> None:
        """`by_row` (n,) int64: the ids of rows 0..n-1. The array is kept, not copied."""
        self.by_row = by_row
        self._runs = (_make_run(by_row, 0),) if runs is None else runs

    @classmethod
    def of_living(cls, by_row: np.ndarray, alive: np.ndarray) -> "IdMap":
        """A map over rows of which some are dead; a dead row's id may occur again in a living one."""
        if alive.all():
            return cls(by_row)
        rows = np.flatnonzero(alive)
        order = np.argsort(by_row[rows], kind="stable")
        return cls(by_row, (_Run(by_row[rows][order], rows[order], 0),))

    @classmethod
    def of_reordered(cls, ids: np.ndarray, order: np.ndarray | None) -> "IdMap":
        """A map over rows whose ids are ids[order], where `ids` (n,) ascend and `order` is a permutation."""
        if order is None:
            return cls(ids)
        rows = np.empty(len(ids), np.int64)
        rows[order] = np.arange(len(ids))
        return cls(ids[order], (_Run(ids, rows, 0),))

    @property
    def lookup_bytes(self) -> int:
        """Memory of what finds a row by its id, beyond `by_row`; none where ids ascend."""
        return sum(run.ids.nbytes + run.rows.nbytes for run in self._runs if run.rows is not None)

    def find(self, ids: np.ndarray, alive: np.ndarray | None = None) -> np.ndarray:
        """The living row of every id, -1 where there is none; `alive` (n,) bool, or None where all are alive."""
        if len(self._runs) == 1 and len(ids) and len(self._runs[0].ids):
            rows = self._runs[0].find(ids)
            return rows if alive is None else np.where(alive[rows], rows, -1)  # where rows are -1, both are
        found = np.full(len(ids), -1, np.int64)
        if not len(ids):
            return found
        smallest, largest = int(ids.min()), int(ids.max())
        for run in self._runs:
            if run.may_hold(smallest, largest):
                rows = run.find(ids)
                living = rows >= 0 if alive is None else (rows >= 0) & alive[rows]
                np.copyto(found, rows, where=living)
        return found

    def rows_in_order(self, alive: np.ndarray) -> np.ndarray:
        """The living rows, in ascending order of their ids; `alive` (n,) bool."""
        ids, rows = (np.concatenate(parts) for parts in zip(*(run.pairs() for run in self._runs), strict=True))
        if not alive.all():
            living = alive[rows]
            ids, rows = ids[living], rows[living]
        return rows if len(self._runs) == 1 else rows[np.argsort(ids, kind="stable")]  # a merge of what is sorted

    def extended(self, by_row: np.ndarray, alive: np.ndarray) -> "IdMap":
        """The map after rows were appended: `by_row` are the ids of all rows, `alive` their state afterwards."""
        first = len(self.by_row)
        runs = [*self._runs, _make_run(by_row[first:], first)]
        while len(runs) > 1 and len(runs[-2].ids) <= 2 * len(runs[-1].ids):
            right, left = runs.pop(), runs.pop()
            runs.append(_merge(left, right, alive))
        return IdMap(by_row, tuple(runs))
