"""One immutable state of an index: what a search reads, from its first to its last line.

    rows      0 .............. s-1   s .......... s+t-1
    vectors   the sealed structure   the tail: rows added since, scanned exactly
    ids       by_row, int64          (and the runs that find a row by its id, see core/ids.py)
    alive     False: a tombstone; the row stays until the index is compacted
    columns   attributes, one value per row (core/attributes.py)

A writer builds the next state and publishes it by assigning one reference; whoever still reads the old one is not
disturbed. What grows is kept in `Column`s, which append without copying what is there.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from annlab.common import rowsets
from annlab.core.attributes import Attribute
from annlab.core.column import Column
from annlab.core.ids import IdMap
from annlab.core.structure import Structure
from annlab.distances import Metric
from annlab.scan.points import Extent
from annlab.scan.scanner import Scanner


@dataclass(frozen=True)
class State:
    """See the head of the file. `measured`: where the tail's first rows lie, as far as anybody asked, and how many
    they are; `cache` holds filters' masks.
    """

    metric: Metric
    structure: Structure | None
    tail: Column
    by_row: Column
    ids: IdMap
    alive: Column
    columns: dict[str, Attribute] = field(default_factory=dict)
    measured: tuple[Extent | None, int] = (None, 0)
    cache: dict[Any, np.ndarray] = field(default_factory=dict, compare=False)

    @classmethod
    def empty(cls, metric: Metric, dim: int, dtype: Any) -> "State":
        """No rows yet."""
        ids = np.empty(0, np.int64)
        return cls(metric, None, Column(np.empty((0, dim), dtype)), Column(ids), IdMap(ids), Column(np.empty(0, bool)))

    @classmethod
    def sealed(cls, metric: Metric, structure: Structure, ids: IdMap, columns: dict[str, Attribute]) -> "State":
        """All rows in a structure; ids and columns in the order of its rows."""
        vectors = structure.vectors
        return cls(metric, structure, Column(np.empty((0, vectors.shape[1]), vectors.dtype)), Column(ids.by_row), ids,
                   Column(np.ones(len(ids.by_row), bool)), columns)  # fmt: skip

    def with_columns(self, columns: dict[str, Attribute]) -> "State":
        """This state with other attributes."""
        result = replace(self, columns=columns, cache={}, measured=self._measured)
        for name in ("n_live", "largest_id"):
            if name in self.__dict__:
                result.__dict__[name] = self.__dict__[name]
        return result

    # ---- what is there

    @property
    def sealed_vectors(self) -> np.ndarray:
        """(s, dim)."""
        return self.tail.array[:0] if self.structure is None else self.structure.vectors

    @property
    def n_sealed(self) -> int:
        return len(self.by_row.array) - len(self.tail.array)

    @property
    def n_rows(self) -> int:
        """Sealed and tail rows, the dead included."""
        return len(self.by_row.array)

    @cached_property
    def n_live(self) -> int:
        return int(np.count_nonzero(self.alive.array))

    @cached_property
    def largest_id(self) -> int:
        """Of the living; -1 if there are none."""
        return int(self.by_row.array[self.alive.array].max(initial=-1))

    @cached_property
    def live_rows(self) -> np.ndarray:
        """The rows of living vectors, in ascending order of their ids."""
        return self.ids.rows_in_order(self.alive.array)

    @cached_property
    def n_live_sealed(self) -> int:
        """Living rows of the structure."""
        return self.n_live - self.tail_rows.shape[1]

    def few_alive(self, k: int, params: dict[str, Any]) -> bool:
        """Whether so few rows of the structure live that scanning these is less work than asking it."""
        if self.n_live == self.n_rows:
            return not self.n_live
        if self.structure is None or self.structure.exhaustive:
            return False
        return self.n_live_sealed <= max(k, self.structure.rows_touched(params))

    @cached_property
    def tail_rows(self) -> np.ndarray:
        """(1, t): the numbers of the living rows of the tail, counted from its first one."""
        return np.flatnonzero(self.alive.array[self.n_sealed :])[None, :]

    @cached_property
    def extent(self) -> Extent:
        """Where the tail lies: measured when a search asks, so rows that are taken in before that never are."""
        known, n_known = self.measured
        rest = self.tail.array[n_known:]
        if known is not None:
            return known.extended(rest, self.metric)
        return Extent.of(rest, self.metric) if len(rest) else Extent.of_nothing(rest.shape[1])

    @property
    def _measured(self) -> tuple[Extent | None, int]:
        """For the next state: what is known by now."""
        extent: Extent | None = self.__dict__.get("extent")
        n = len(self.tail.array)
        return self.measured if extent is None or not n else (extent, n)

    @cached_property
    def tail_scanner(self) -> Scanner:
        return Scanner(self.tail.array, self.metric, self.extent)

    @cached_property
    def living(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The living rows as words for the structure and for the tail; None where all live."""
        return self.words(None)

    def words(self, mask: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The living rows of a mask (rows,) or (q, rows) as words for the structure and for the tail.

        A mask that is used again, as those of conditions and filters are, gives the same words again: the same arrays,
        by which a structure can remember what it found out about them.
        """
        alive, s = self.alive.array, self.n_sealed
        if mask is None:
            parts = [alive[:s], alive[s:]]
            return tuple(None if part.all() else rowsets.pack(part) for part in parts)  # type: ignore[return-value]
        known = self._words.get(mask)
        if known is None:
            known = rowsets.pack(mask[..., :s] & alive[:s]), rowsets.pack(mask[..., s:] & alive[s:])
            self._words.put(mask, known)
        return known  # type: ignore[no-any-return]

    @cached_property
    def _words(self) -> rowsets.Remembered:
        return rowsets.Remembered()

    def sealed_rows_of(self, words: np.ndarray) -> np.ndarray:
        """The rows (m,) of a set of the structure's rows, remembered as the words of a mask are."""
        rows: np.ndarray | None = self._numbers.get(words)
        if rows is None:
            rows = np.flatnonzero(rowsets.unpack(words, self.n_sealed))
            self._numbers.put(words, rows)
        return rows

    @cached_property
    def _numbers(self) -> rowsets.Remembered:
        return rowsets.Remembered()

    def has(self, id: object) -> bool:
        """Whether a living row has this id; anything may be asked for."""
        if not isinstance(id, (int, np.integer)) or not 0 <= id < 2**63:
            return False
        return bool(self.ids.find(np.array([id], np.int64), self.alive.array)[0] >= 0)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows, copied."""
        s = self.n_sealed
        in_tail = rows >= s
        if self.structure is not None and not in_tail.any():
            return self.structure.gather(rows)
        result = np.empty((len(rows), self.tail.array.shape[1]), self.tail.array.dtype)
        if self.structure is not None:
            result[~in_tail] = self.structure.gather(rows[~in_tail])
        result[in_tail] = self.tail.array[rows[in_tail] - s]
        return result

    # ---- the next state

    def appended(self, ids: np.ndarray, vectors: np.ndarray, attributes: dict[str, Attribute]) -> "State":
        """Rows added to the tail, alive."""
        by_row = self.by_row.extended(ids)
        alive = self.alive.extended(np.ones(len(ids), bool))
        result = replace(
            self,
            tail=self.tail.extended(vectors),
            measured=self._measured,
            by_row=by_row,
            ids=self.ids.extended(by_row.array, alive.array),
            alive=alive,
            columns={name: column.extended(name, attributes[name]) for name, column in self.columns.items()},
            cache=dict(self.cache),  # masks of the rows so far stay right
        )
        # known without looking at all rows again
        result.__dict__["n_live"] = self.n_live + len(ids)
        result.__dict__["largest_id"] = max(self.largest_id, int(ids.max(initial=-1)))
        return result

    def without(self, rows: np.ndarray) -> "State":
        """Some living rows (n,), each named once, marked as dead."""
        alive = self.alive.copied()
        alive.array[rows] = False
        result = replace(self, alive=alive, measured=self._measured)
        result.__dict__["n_live"] = self.n_live - len(rows)
        if int(self.by_row.array[rows].max(initial=-1)) < self.largest_id:
            result.__dict__["largest_id"] = self.largest_id
        return result

    def resealed(self, structure: Structure, order: np.ndarray | None, n_taken: int) -> "State":
        """The structure took in the tail's first rows, up to row n_taken, ordered as `order` says."""
        rest = self.tail.array[n_taken - self.n_sealed :]
        tail = Column(rest.copy())
        if order is None:  # nothing else changes, so nothing is copied
            result = replace(self, structure=structure, tail=tail, measured=(None, 0), cache=dict(self.cache))
            result.__dict__.update(n_live=self.n_live, largest_id=self.largest_id)
            return result

        def ordered(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array[:n_taken][order], array[n_taken:]])

        by_row = Column(ordered(self.by_row.array))
        alive = Column(ordered(self.alive.array))
        return replace(
            self,
            structure=structure,
            tail=tail,
            measured=(None, 0),
            by_row=by_row,
            ids=IdMap.of_living(by_row.array, alive.array),
            alive=alive,
            columns={name: column[ordered(np.arange(self.n_rows))] for name, column in self.columns.items()},
            cache={},
        )

    def replayed(self, before: "State", now: "State", rows: np.ndarray) -> "State":
        """This state, built over `rows` of `before`, after what was written between `before` and `now`.

        Attributes may have changed, been widened, or been added for all rows.
        """
        died = ~now.alive.array[rows]
        state = self.without(np.flatnonzero(died)) if died.any() else self
        changed = any(now.columns.get(name) is not column for name, column in before.columns.items())
        if changed or len(now.columns) != len(before.columns):
            state = state.with_columns({name: column[rows] for name, column in now.columns.items()})
        later = np.arange(before.n_rows, now.n_rows)
        later = later[now.alive.array[later]]
        if len(later):
            columns = {name: column[later] for name, column in now.columns.items()}
            state = state.appended(now.by_row.array[later], now.gather(later), columns)
        return state
