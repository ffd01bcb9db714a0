"""When added rows are taken into the structure, and removed ones dropped: functions from state to state.

Rows that were added lie in a tail that every search scans. The tail may grow until scanning it costs about as much as
the structure's own search (`rows_touched`); then the structure absorbs it, which is cheap, or is built anew. Removed
rows stay as tombstones until they are half of all.

Nothing here takes locks or publishes: `Index` does. Building goes on beside searches and writes; what was written
meanwhile is replayed (`State.replayed`) onto the new state before it is published.
"""

from typing import Any

import numpy as np

from annlab.common.progress import Progress
from annlab.core.builder import Builder
from annlab.core.state import State

_SMALL_TAIL = 1024  # rows that are scanned rather than taken in, however cheap a search is


def compacted(state: State, builder: Builder, threads: int, progress: Progress) -> tuple[State, np.ndarray]:
    """A state with the living rows of this one in a structure built anew, and which rows of this one they are."""
    rows = state.live_rows
    if not len(rows):
        new = State.empty(state.metric, state.tail.array.shape[1], state.tail.array.dtype)
        return new.with_columns({name: column.array for name, column in state.columns.items()}), rows
    structure, order = builder.rebuild(state, rows, threads, progress)
    rows = rows if order is None else rows[order]
    columns = {name: column.array[rows] for name, column in state.columns.items()}
    return State.sealed(state.metric, structure, state.by_row.array[rows], columns), rows


def mostly_dead(state: State) -> bool:
    """Whether removed rows are so many that the structure should be built anew without them."""
    dead = state.n_rows - state.n_live
    return dead > _SMALL_TAIL and dead >= state.n_live


def tail_is_long(state: State, params: dict[str, Any]) -> bool:
    """Whether scanning the tail costs as much as a search of the structure with these search parameters."""
    touched = 0 if state.structure is None else state.structure.rows_touched(params)
    return len(state.tail.array) > max(_SMALL_TAIL, touched)
