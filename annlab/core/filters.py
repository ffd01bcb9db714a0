"""Which vectors a search may return: ids, masks, compiled filters, and conditions on attributes.

Every kind ends as a mask over the rows of a state, which `Index` turns into the bits that kernels read. Masks of
conditions (`core/conditions.py`) are remembered per condition, and only the rows added since are looked at again.
"""

import weakref
from collections.abc import Iterator, Set
from typing import Any

import numpy as np

from annlab.common import validation
from annlab.core.conditions import Condition, evaluate
from annlab.core.state import State


def condition_mask(condition: Condition, state: State) -> np.ndarray:
    """The mask (rows,) of a condition, remembered in the state."""
    if not isinstance(condition, Condition):
        raise TypeError(f"where= takes a condition such as annlab.col('owner') == 7, not {condition!r}")
    known = state.cache.get(condition.key)
    if known is not None and len(known) == state.n_rows:
        return known
    start = 0 if known is None else len(known)  # rows are only ever appended while the cache lives
    columns = {name: column[start:] for name, column in state.columns.items()} if start else state.columns
    new = evaluate(condition.key, columns)
    mask = new if known is None else np.concatenate([known, new])
    if len(state.cache) >= 64:
        state.cache.clear()
    state.cache[condition.key] = mask
    return mask


class Filter:
    """A reusable set of vectors, made by `index.filter(...)`: pass it as `allowed=` or `excluded=`.

    It stands for ids and a condition, not for rows, so it stays right while the index changes: ids that are removed
    drop out, a condition takes in new vectors.
    """

    def __init__(self, allowed: np.ndarray | None, excluded: np.ndarray | None, where: Condition | None) -> None:
        self._allowed, self._excluded, self._where = allowed, excluded, where
        self._last: tuple[weakref.ref[State], np.ndarray] | None = None

    def mask(self, state: State) -> np.ndarray:
        """The mask (rows,) of this filter in a state."""
        last = self._last
        if last is not None and last[0]() is state:
            return last[1]
        mask = np.ones(state.n_rows, bool)
        if self._allowed is not None:
            mask = _ids_mask(self._allowed, state)
        if self._excluded is not None:
            mask = mask & ~_ids_mask(self._excluded, state)
        if self._where is not None:
            mask = mask & condition_mask(self._where, state)
        self._last = weakref.ref(state), mask
        return mask


def _ids_mask(ids: np.ndarray, state: State) -> np.ndarray:
    """Rows of some ids; ids that are not in the index select nothing."""
    rows = state.ids.find(ids, state.alive.array)
    mask = np.zeros(state.n_rows, bool)
    mask[rows[rows >= 0]] = True
    return mask


def to_ids(selection: Any, state: State, name: str) -> np.ndarray:
    """Ids from ids, in whatever holds integers, or from a boolean array that follows `index.ids`."""
    flags = _flags(selection, state, name)
    return validation.as_ids(selection, name=name) if flags is None else state.by_row.array[state.live_rows[flags]]


def _flags(selection: Any, state: State, name: str) -> np.ndarray | None:
    """The selection as a boolean array that follows `index.ids`, if it is one."""
    is_list = isinstance(selection, (list, tuple))
    if is_list and set(map(type, selection)) <= {bool, np.bool_} and len(selection):
        selection = np.array(selection, bool)
    if not isinstance(selection, np.ndarray) or selection.dtype != bool:
        return None
    if selection.shape != (state.n_live,):
        raise ValueError(f"{name} is a mask of shape {selection.shape}, but the index holds {state.n_live} vectors "
                         "(a mask follows index.ids)")  # fmt: skip
    return selection


def _one_mask(selection: Any, state: State, name: str) -> np.ndarray:
    if isinstance(selection, Filter):
        return selection.mask(state)
    if isinstance(selection, Condition):
        return condition_mask(selection, state)
    flags = _flags(selection, state, name)
    if flags is None:
        return _ids_mask(validation.as_ids(selection, name=name), state)
    mask = np.zeros(state.n_rows, bool)
    mask[state.live_rows[flags]] = True
    return mask


def _is_per_query(selection: Any) -> bool:
    """Whether a selection is a sequence of selections, or a matrix."""
    if isinstance(selection, (Filter, Condition)):
        return False
    if isinstance(selection, np.ndarray):
        return selection.ndim == 2
    if not isinstance(selection, (list, tuple)):
        return False
    return any(isinstance(s, (Filter, Condition, Set, Iterator)) or np.ndim(s) == 1 for s in selection)


class Selection:
    """What one search may return: `mask(start, stop)` gives (rows,) or (queries, rows) for some of its queries."""

    def __init__(self, state: State, n_queries: int, allowed: Any, excluded: Any, where: Any) -> None:
        self._state, self._shared = state, None if where is None else condition_mask(where, state)
        self._each: list[tuple[Any, bool, str]] = []
        self.per_query = False
        if allowed is None and excluded is None:
            return
        for selection, name in ((allowed, "allowed"), (excluded, "excluded")):
            if selection is None:
                continue
            if _is_per_query(selection):
                if len(selection) != n_queries:
                    raise ValueError(f"{name} has {len(selection)} entries for {n_queries} queries: give one each")
                each = [list(one) if isinstance(one, Iterator) else one for one in selection]  # they are read again
                self._each.append((each, name == "excluded", name))
            else:
                mask = _one_mask(selection, state, name)
                mask = ~mask if name == "excluded" else mask
                self._shared = mask if self._shared is None else self._shared & mask
        self.per_query = bool(self._each)

    @property
    def restricts(self) -> bool:
        """Whether anything is not allowed."""
        return self._shared is not None or self.per_query

    def mask(self, start: int, stop: int) -> np.ndarray | None:
        """None where everything is allowed."""
        if not self._each:
            return self._shared
        result = np.ones((stop - start, self._state.n_rows), bool)
        if self._shared is not None:
            result &= self._shared
        for selections, inverted, name in self._each:
            for row, selection in zip(result, selections[start:stop], strict=True):
                mask = _one_mask(selection, self._state, name)
                row &= ~mask if inverted else mask
        return result
