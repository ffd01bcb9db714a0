"""When added rows are taken into the structure, and removed ones dropped.

Rows that were added lie in a tail that every search scans. The tail may grow until scanning it costs about as much as
the structure's own search (`rows_touched`); then the structure absorbs it, which is cheap, or is built anew. Removed
rows stay as tombstones until they are the majority.

Building needs no lock but the one that keeps two compactions apart: searches go on, and so do writes. What was written
meanwhile is replayed onto the new state before it is published.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from annlab.state import State

if TYPE_CHECKING:
    from annlab.index import Index

_SMALL_TAIL = 1024  # rows that are scanned rather than taken in, however cheap a search is


def compact(index: "Index", threads: int | None, progress: Any) -> None:
    """Build the structure of an index anew over its living vectors."""
    with index._compact_lock:
        before = index._state
        if before is None or not before.n_rows:  # an empty state may still change its element type
            return
        rows = before.live_rows
        new = State.empty(before.metric, index.dim, before.tail.array.dtype)
        new = new.with_columns({name: column.array for name, column in before.columns.items()})
        if len(rows):
            structure, order = index._rebuild(before, rows, threads, progress)
            rows = rows if order is None else rows[order]
            columns = {name: column.array[rows] for name, column in before.columns.items()}
            new = State.sealed(before.metric, structure, before.by_row.array[rows], columns)
        with index._write_lock:
            index._state = new.replayed(before, index._require_state(), rows)


def compact_if_due(index: "Index", threads: int | None) -> None:
    """Take in the tail once scanning it costs as much as a search; drop the dead once they are most.

    A write that comes while another thread compacts does not wait for it: what is due then is found by the next write.
    """
    if index._auto_compact and index._compact_lock.acquire(blocking=False):
        try:
            _compact_if_due(index, threads)
        finally:
            index._compact_lock.release()


def _compact_if_due(index: "Index", threads: int | None) -> None:
    state = index._state
    if state is None:
        return
    tail, dead = len(state.tail.array), state.n_rows - state.n_live
    if dead > max(_SMALL_TAIL, state.n_live):
        compact(index, threads, None)
        return
    touched = 0 if state.structure is None else state.structure.rows_touched(index._search_params({}))
    if tail <= max(_SMALL_TAIL, touched):
        return
    absorbed = None
    if state.structure is not None:
        columns = {name: column.array for name, column in state.columns.items()}
        more = {"criteria": lambda rows: index._criteria(columns, rows)} if index._params.get("criteria") else {}
        absorbed = state.structure.absorb(state.tail.array, np.random.default_rng(index._seed), **more)
    if absorbed is None:
        compact(index, threads, None)
        return
    with index._write_lock:  # only rows and tombstones can have been added since
        index._state = index._require_state().resealed(*absorbed, n_taken=state.n_rows)
