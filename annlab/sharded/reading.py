"""What a replica answers to reads: functions of an index and of what was asked. What they return can be sent."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.core.attributes import Attribute, of_one_kind
from annlab.core.conditions import Condition
from annlab.core.filters import Filter
from annlab.core.state import State
from annlab.index import Index
from annlab.sharded.merging import Ranked, RankedWithin
from annlab.sharded.placement import ByHash

_AT_ONCE = 2**14  # rows


class Chosen(NamedTuple):
    """A reusable filter, as it is sent: ids as arrays."""

    allowed: np.ndarray | None
    excluded: np.ndarray | None
    where: Condition | None


class Query(NamedTuple):
    """What all searches say: vectors (q, dim); allowed, excluded, where; threads; parameters of the index; and the
    attributes that any shard has, without rows."""

    vectors: np.ndarray
    selection: tuple[Any, Any, Any]
    threads: int | None
    params: dict[str, Any]
    columns: dict[str, Attribute]


class Facts(NamedTuple):
    """What a shard says of itself, or all together. `columns`: an attribute for each name, which says its kind; of one
    row, or of none where no row has a value, and so any kind may come."""

    n: int
    dim: int | None
    dtype: str | None
    largest_id: int
    columns: dict[str, Attribute]
    memory: dict[str, int]
    rebuild_due: bool


def _state(index: Index) -> State | None:
    return index._state


def facts(index: Index) -> Facts:
    """See `Facts`."""
    state = _state(index)
    if state is None:
        return Facts(0, index.parameters["dim"], None, -1, {}, index.memory(), False)
    columns = {name: column[np.flatnonzero(~column.missing)[:1]].trimmed() for name, column in state.columns.items()}
    dtype = state.tail.array.dtype.name if state.n_rows else None
    return Facts(len(index), index.dim, dtype, state.largest_id, columns, index.memory(), index.rebuild_due)


def _with(index: Index, columns: dict[str, Attribute]) -> Index:
    """The index with attributes that only other shards have: missing in all rows."""
    state = _state(index)
    if state is None or columns.keys() <= state.columns.keys():
        return index
    more = {name: of_one_kind(name, like, Attribute.all_missing(state.n_rows))[1]
            for name, like in columns.items() if name not in state.columns}  # fmt: skip
    wider = index.branch()
    wider._state = state.with_columns(state.columns | more)
    return wider


def _selection(index: Index, chosen: Any) -> Any:
    """A filter as the index takes it."""
    if isinstance(chosen, Chosen):
        return Filter(*chosen)
    return [_selection(index, one) for one in chosen] if isinstance(chosen, list) else chosen


def _prepared(index: Index, query: Query) -> Any:
    """The search of an index that holds something."""
    index = _with(index, query.columns)
    allowed, excluded, where = query.selection
    chosen = _selection(index, allowed), _selection(index, excluded), where
    return index._prepared(query.vectors, chosen, query.threads, query.params)[0]


def search(index: Index, query: Query, k: int) -> Ranked:
    """The k nearest of every query, in float64."""
    q = len(query.vectors)
    if not len(index):
        none = np.empty((q, 0))
        return Ranked(none, none.astype(np.int64), *_nothing(query))
    prepared = _prepared(index, query)
    distances, ids = prepared.ranked(min(k, prepared.state.n_live))
    return Ranked(distances, ids, prepared.counters, prepared.scanned, prepared.queries.dtype.name)


def search_radius(index: Index, query: Query, radii: np.ndarray, limit: int | None) -> RankedWithin:
    """All within a radius of every query, in float64."""
    if not len(index):
        none, zeros = np.empty(0), np.zeros(len(query.vectors) + 1, np.int64)
        return RankedWithin(zeros, none, none.astype(np.int64), *_nothing(query))
    prepared = _prepared(index, query)
    lims, distances, ids = prepared.ranked_within(radii, limit)
    return RankedWithin(lims, distances, ids, prepared.counters, prepared.scanned, prepared.queries.dtype.name)


def _nothing(query: Query) -> tuple[np.ndarray, np.ndarray, str]:
    """What a search of nothing has counted."""
    q = len(query.vectors)
    return np.zeros((q, 3), np.int64), np.zeros(q, bool), str(query.vectors.dtype)


def select(index: Index, where: Condition, columns: dict[str, Attribute]) -> np.ndarray:
    """The ids that fulfil a condition."""
    return _with(index, columns).select(where) if len(index) else np.empty(0, np.int64)


def ids(index: Index) -> np.ndarray:
    """All ids, ascending."""
    return index.ids


def present(index: Index, asked: np.ndarray) -> np.ndarray:
    """Which ids are there (n,) bool."""
    return np.isin(asked, index.ids)


def vectors(index: Index, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of some ids are there, and the vectors of these."""
    there = present(index, asked)
    return there, index.vectors(asked[there]) if len(index) else np.empty((0, 0))


def columns(index: Index, asked: np.ndarray) -> tuple[np.ndarray, dict[str, Attribute]]:
    """Which of some ids are there, and the attributes of these."""
    there, state = present(index, asked), _state(index)
    if state is None:
        return there, {}
    rows = state.ids.find(asked[there], state.alive.array)
    return there, {name: column[rows].trimmed() for name, column in state.columns.items()}


def content(index: Index) -> bytes:
    """The file of the index."""
    return index.to_bytes()


def digests(index: Index, n_shards: int, numbers: list[int]) -> list[str]:
    """For shards of these numbers, of n_shards: a hash of the rows of this index that belong there, in the order of
    their ids; the same for equal rows, however they lie in the index."""
    found = []
    homes = ByHash(n_shards).of(index.ids)
    for number in numbers:
        own, digest = index.ids[homes == number], hashlib.sha256()
        for start in range(0, len(own), _AT_ONCE):
            some = own[start : start + _AT_ONCE]
            digest.update(some.tobytes())
            digest.update(index.vectors(some).tobytes())
            columns = {name: _plain(values) for name, values in sorted(index.attributes(some).items())}
            digest.update(json.dumps({name: values for name, values in columns.items() if values}).encode())
        found.append(digest.hexdigest())
    return found


def _plain(values: np.ndarray) -> list[tuple[int, str]]:
    """The values of an attribute that are not missing, with their places; equal numbers are equal in any type."""
    return [(place, value if isinstance(value, str) else repr(float(value)) if float(value) == value else repr(value))
            for place, value in enumerate(values.tolist()) if value is not None and value == value]  # fmt: skip


def warm(index: Index) -> None:
    """Search for some of its own rows, so that the kernels are loaded before somebody waits for that."""
    for n in (1, 4, 64):
        some = index.ids[:n]
        if len(some):
            index.search(index.vectors(some), 10)


READS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (facts, search, search_radius, select, ids, present, vectors, columns, content, digests)
}
