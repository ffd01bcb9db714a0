"""One query of an exact index in one call: checked, scanned (sealed rows and tail), measured, sorted, written out.

It is put together from the scans of `one.py` and `one_bytes.py`, and answers as `Search` does, to the last bit. What is
not for it (magnitudes at which the bounds do not hold, more ties than a buffer takes) it leaves to that.
"""

from typing import Any, NamedTuple

import numpy as np

from annlab.kernels.distance import COSINE
from annlab.kernels.scan.batch import OVERFLOWED
from annlab.kernels.scan.int8 import STORED_ROWS, Codes
from annlab.kernels.scan.one import Hits, Rows, new_hits, offer_nearest, rule_of
from annlab.kernels.scan.one_bytes import ByteRoom, offer_bytes
from annlab.kernels.scoring import Entries
from annlab.kernels.shortcut import Desk, length_of, new_desk, settle
from annlab.kernels.simd.path import entry, kernel
from annlab.kernels.simd.prepared import opened
from annlab.kernels.simd.registers import pointer

_LARGEST = np.finfo(np.float32).max


class Part(NamedTuple):
    """Rows that are scanned, and the largest and smallest norm of any."""

    rows: Rows
    largest_norm: float
    smallest_norm: float


class Table(NamedTuple):
    """All that one query needs to know of a state."""

    entries: Entries
    sealed: Part
    tail: Part
    codes: Codes
    by_bytes: bool  # whether the sealed rows are scanned as bytes


class Room(NamedTuple):
    """Scratch of a thread."""

    unit: Any  # (dim,) float32: the query at length 1
    bytes: ByteRoom
    hits: Hits
    desk: Desk


def new_room(dim: int, most: int, k: int) -> Room:
    """Room for a query of `dim` coordinates, and for buffers of about so many rows."""
    hits = new_hits(most)
    return Room(np.empty(dim, np.float32), ByteRoom(np.empty(dim, np.float32), np.empty(dim + 4, np.int8), hits), hits,
                new_desk(2 * hits.capacity, k))  # fmt: skip


@kernel
def offer_part(part, q, norm, room, k):
    """Scan the rows of a part; returns the length of the buffer, or OVERFLOWED."""
    rows = part.rows
    rule = rule_of(k, norm, rows.dim, rows.metric, part.largest_norm, part.smallest_norm)
    if not rule.slack < np.inf:
        return OVERFLOWED
    if rows.metric == COSINE:
        for i in range(rows.dim):
            room.unit[i] = q[i] / norm
        q = room.unit
    return offer_nearest(rows, q, room.hits, _LARGEST, rule)


@kernel
def offer_tail(entries, tail, q, norm, room, k, m):
    """Append what can be among the nearest of the tail to the first m candidates; returns their number."""
    if tail.rows.stop > 0:
        length = offer_part(tail, q, norm, room, k)
        if length == OVERFLOWED:
            return OVERFLOWED
        for i in range(length):
            room.desk.candidates[m + i] = entries.n + room.hits.rows[i]
        m += length
    return m


@entry
def search_exact(path, table, query, room, distances, ids):
    """Fill distances and ids (k,) for a query (dim,); whether that was possible."""
    t, r = opened(table), opened(room)
    entries, q, k, m = t.entries, pointer(query), ids.shape[0], 0
    norm = length_of(query, entries.dim)
    if not norm < np.inf:
        return False
    candidates = r.desk.candidates
    if entries.n > 0:
        rows, length = t.sealed.rows, OVERFLOWED
        if t.by_bytes:
            length = offer_bytes(
                t.codes, q, 0, (entries.n + STORED_ROWS - 1) // STORED_ROWS, rows.alive, rows.n_words, r.bytes, k
            )
        if length == OVERFLOWED:
            length = offer_part(t.sealed, q, norm, r, k)
        if length == OVERFLOWED:
            return False
        for i in range(length):
            candidates[i] = r.hits.rows[i]
        m = length
    m = offer_tail(entries, t.tail, q, norm, r, k, m)
    if m == OVERFLOWED:
        return False
    settle(query, entries, r.desk, m, distances, ids)
    return True
