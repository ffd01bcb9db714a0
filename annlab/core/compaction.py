"""When added rows are taken into the structure, and removed ones dropped: functions from state to state.

Rows that were added lie in a tail that every search scans. The tail may grow until scanning it costs about as much as
the structure's own search (`tail_limit`); then the structure absorbs it, which is cheap, or is built anew. Removed
rows stay as tombstones until they are half as many as the living, or a quarter or third where a search looks at all of
them or a build is quick (`Structure.most_dead`): then it looks at up to as many more than it would in an index built
anew.

Nothing here takes locks or publishes: `Collection` does. Building goes on beside searches and writes; what was written
meanwhile is replayed (`State.replayed`) onto the new state before it is published.
"""

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from annlab.common.progress import Progress
from annlab.core.builder import Builder
from annlab.core.column import Column
from annlab.core.ids import IdMap
from annlab.core.state import State
from annlab.core.structure import SMALL_TAIL, Structure

_FEW_DEAD = 1024  # removed rows that are not worth building anything anew


def compacted(state: State, builder: Builder, threads: int, progress: Progress) -> tuple[State, np.ndarray]:
    """A state with the living rows of this one in a structure built anew, and which rows of this one they are."""
    rows = state.live_rows
    if not len(rows):
        new = State.empty(state.metric, state.tail.array.shape[1], state.tail.array.dtype)
        return new.with_columns({name: column[:0] for name, column in state.columns.items()}), rows
    structure, order = builder.rebuild(state, rows, threads, progress)
    ids = IdMap.of_reordered(state.by_row.array[rows], order)
    rows = rows if order is None else rows[order]
    columns = {name: column[rows] for name, column in state.columns.items()}
    divides_by = builder.structure_class.divides_by(builder.params)  # the structure remembers the strings' places
    columns = {name: column if name in divides_by else column.trimmed() for name, column in columns.items()}
    return State.sealed(state.metric, structure, ids, columns), rows


def part(state: State, rows: np.ndarray, builder: Builder, threads: int) -> State:
    """A state of some living rows (ascending), by what the structure of this one has learned."""
    sealed = rows[rows < state.n_sealed]
    structure = state.structure.part(sealed) if state.structure is not None and len(sealed) else None
    if structure is None:
        alive = np.zeros(state.n_rows, bool)
        alive[rows] = True
        return compacted(replace(state, alive=Column(alive), cache={}), builder, threads, lambda what, share: None)[0]
    ids = IdMap(state.by_row.array[sealed])
    new = State.sealed(state.metric, structure, ids, {name: column[sealed] for name, column in state.columns.items()})
    tail = rows[rows >= state.n_sealed]
    if not len(tail):
        return new
    columns = {name: column[tail] for name, column in state.columns.items()}
    return new.appended(state.by_row.array[tail], state.gather(tail), columns)


def many_dead(state: State) -> bool:
    """Whether removed rows are so many that the structure should be built anew without them."""
    dead = state.n_rows - state.n_live
    most = Structure.most_dead if state.structure is None else state.structure.most_dead
    return dead > _FEW_DEAD and dead >= most * state.n_live


def tail_is_long(state: State, params: dict[str, Any]) -> bool:
    """Whether scanning the tail costs too much beside a search of the structure with these search parameters."""
    return len(state.tail.array) > _bearable(state, params)


def tail_has_grown(before: State | None, state: State, params: dict[str, Any]) -> bool:
    """Whether this write has made the tail too long, or so much longer that to absorb it is worth another try."""
    most = _bearable(state, params)
    was = 0 if before is None or before.structure is not state.structure else len(before.tail.array)
    return ceil(len(state.tail.array) / most) > max(1, ceil(was / most))


def _bearable(state: State, params: dict[str, Any]) -> int:
    """Rows of the tail that a search bears beside the structure."""
    return SMALL_TAIL if state.structure is None else state.structure.tail_limit(params)
