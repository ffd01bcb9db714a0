"""The next state of an index after a write: rows added, changed or removed.

Nothing here takes locks or publishes: that is for `Collection`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from annlab.common import validation
from annlab.core.attributes import Attribute, as_columns, criteria_values, with_names
from annlab.core.state import State
from annlab.distances import Metric


def appended(state: State | None, metric: Metric, dim: int | None, vectors: Any, ids: Any,
             attributes: Mapping[str, Any], on_duplicate: str,
             criteria: Sequence[str]) -> tuple[np.ndarray, State]:  # fmt: skip
    """The ids (n,) of added vectors and the state that holds them; everything handed in is checked first.

    Raises a ValueError or TypeError if anything is unusable; `on_duplicate` is "raise" or "replace".
    """
    dtype = None if state is None or not state.n_rows else state.tail.array.dtype
    array = validation.as_vectors(vectors, dim=dim, dtype=dtype, metric=metric.name)
    if state is None or (dtype is None and state.tail.array.dtype != array.dtype):
        state = State.empty(metric, array.shape[1], array.dtype)
    if ids is None:
        first, last = state.largest_id + 1, state.largest_id + len(array)
        if last > np.iinfo(np.int64).max:
            raise ValueError(
                f"ids cannot be continued from {first - 1} for {len(array)} rows: int64 ends there; give ids"
            )
        numbers = np.arange(first, last + 1, dtype=np.int64)
    else:
        numbers = validation.as_ids(ids, length=len(array))
        validation.no_duplicates(numbers)
    columns = as_columns(attributes, len(array))
    if criteria:
        criteria_values(criteria, columns, slice(0))  # are they there?
    together = with_names(state.columns, columns, state.n_rows)
    if len(together) > len(state.columns):
        state = state.with_columns(together)
    if state.n_rows + len(array) > validation.MAX_ROWS:
        raise ValueError(f"{state.n_rows} + {len(array)} rows exceed {validation.MAX_ROWS}: compact, or split")
    present = rows_present(state, numbers) if ids is not None else np.empty(0, np.int64)
    if len(present):
        if on_duplicate == "raise":
            known = int(state.by_row.array[present[0]])
            raise ValueError(f"id {known} is already in the index ({len(present)} of {len(numbers)} are); "
                             'use update, or add(..., on_duplicate="replace")')  # fmt: skip
        state = state.without(present)
    return numbers, state.appended(numbers, array, columns) if len(array) else state


def with_attributes(state: State, attributes: Mapping[str, Any], rows: np.ndarray) -> State:
    """The state in which some rows have other values of some attributes, or of new ones; checked first."""
    columns = dict(state.columns)
    for name, new in as_columns(attributes, len(rows)).items():
        known = columns.get(name)
        columns[name] = (Attribute.all_missing(state.n_rows) if known is None else known).replaced(name, rows, new)
    return state.with_columns(columns)


def removed(state: State | None, ids: np.ndarray, missing: str) -> tuple[State | None, int]:
    """The state without the rows of some ids, and how many these were; an id given twice counts once.

    Raises a KeyError for an id that is not there, unless `missing` is "ignore".
    """
    if not bool((ids[1:] > ids[:-1]).all()):
        ids = np.sort(ids)
        ids = ids[np.append(True, ids[1:] != ids[:-1])]  # np.unique hashes, for four times as long
    rows = rows_of(state, ids) if missing == "raise" else rows_present(state, ids)
    return state.without(rows) if state is not None and len(rows) else state, len(rows)


def rows_of(state: State | None, ids: np.ndarray) -> np.ndarray:
    """The living rows of ids that all have to be there: a KeyError names the first that is not."""
    rows = np.full(len(ids), -1, np.int64) if state is None else state.ids.find(ids, state.alive.array)
    if (rows < 0).any():
        absent = ids[rows < 0]
        raise KeyError(f"id {int(absent[0])} is not in the index ({len(absent)} of {len(ids)} are not)")
    return rows


def rows_present(state: State | None, ids: np.ndarray) -> np.ndarray:
    """The living rows of those ids that are there."""
    rows = np.empty(0, np.int64) if state is None else state.ids.find(ids, state.alive.array)
    return rows[rows >= 0]
