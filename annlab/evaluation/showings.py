"""From a log of interactions to showings: what counts clicks, and what learns from them, counts the same.

A log holds one row for each *interaction*: who, for which query image, which displayed image, at which position, was it
an impression or a click, and when. One **showing** is one displayed image, shown once for one query, clicked or not. It
may have left several rows: its impression, a click, another click. Which rows belong together depends on what the log
knows:

- all rows of one (user, query, displayed, session), where it names sessions; otherwise
- a run of rows of one (user, query, displayed) without a pause of more than `session_gap` seconds (30 minutes, the
  usual bound of a visit in web analytics); otherwise, in a log of users without times,
- all rows of one (user, query, displayed);
- in a log of neither users nor sessions, words tell events apart: a "click" belongs to an "impression" of the same
  query, image and position, where there is one left. Bools, or 0 and 1, are showings already, a row each.

So a click implies its impression, also where that was lost or never written; a pair that is always clicked is clicked
in all of its showings; and where showings can be told apart a second click counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_ids, as_labels, as_numbers

__all__ = ["Showings", "showings", "showings_of"]

# What a column may be called in a table; the first is also the name of the argument.
_NAMES = {
    "queries": ("queries", "query", "query_id", "query_image_id"),
    "displayed": ("displayed", "displayed_id", "displayed_image_id"),
    "clicked": ("clicked", "interaction", "interaction_type", "kind"),
    "users": ("users", "user", "user_id"),
    "positions": ("positions", "position"),
    "timestamps": ("timestamps", "timestamp", "time"),
    "sessions": ("sessions", "session", "session_id", "result_list_id"),
}


class Showings(NamedTuple):
    """One row for each showing, columns of shape (n,); None where the log does not have one."""

    queries: NDArray[np.int64]
    displayed: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    users: NDArray[np.int64] | None
    positions: NDArray[np.int64] | None
    timestamps: NDArray[Any] | None


def showings(queries: ArrayLike, displayed: ArrayLike, clicked: ArrayLike, *, users: ArrayLike | None = None,
             positions: ArrayLike | None = None, timestamps: ArrayLike | None = None,
             sessions: ArrayLike | None = None, session_gap: float = 1800.0) -> Showings:  # fmt: skip
    """Sum up interactions; see the head of this file. Every argument has one entry for each logged row, in any order.

    Parameters
    ----------
    queries, displayed : int arrays of shape (n,)
    clicked : bools, 0 and 1, or the words "click" and "impression" in any case
    users, positions, timestamps, sessions : arrays of shape (n,), optional
        Positions count from 1; timestamps are seconds.
    session_gap : float

    Raises
    ------
    ValueError
        If there are no rows, lengths differ, a position is below 1, or an interaction is neither click nor impression.

    Examples
    --------
    >>> seen = showings([4, 4, 4], [1, 1, 2], ["impression", "click", "impression"], positions=[1, 1, 2])
    >>> seen.displayed.tolist(), seen.clicked.tolist()
    ([1, 2], [True, False])
    """
    if not session_gap >= 0:
        raise ValueError(f"session_gap must be 0 seconds or more, got {session_gap!r}")
    words, hits = _as_clicks(clicked)
    columns: dict[str, NDArray[Any]] = {
        "queries": as_ids(queries, "queries", 1),
        "displayed": as_ids(displayed, "displayed", 1),
        "clicked": hits,
    }
    for name, values in (("users", users), ("positions", positions), ("sessions", sessions)):
        if values is not None:
            columns[name] = as_ids(values, name, 1)
    if timestamps is not None:
        columns["timestamps"] = as_numbers(timestamps, "timestamps", 1)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all columns must have one length, got {lengths}")
    if lengths["queries"] == 0:
        raise ValueError("there are no interactions: a log of clicks needs columns of one length > 0")
    if positions is not None and columns["positions"].min() < 1:
        raise ValueError(f"positions start at 1, got {columns['positions'].min()}")
    if users is not None or sessions is not None:
        rows, first = _runs(columns, session_gap)
        merged = {name: column[first] for name, column in rows.items()}
        merged["clicked"] = np.logical_or.reduceat(rows["clicked"], first)
    elif words:
        merged = _events(columns)
    else:
        merged = columns
    return Showings(
        merged["queries"],
        merged["displayed"],
        merged["clicked"],
        *(merged.get(name) for name in ("users", "positions", "timestamps")),
    )


def showings_of(table: Mapping[str, Any] | Sequence[Any] | Any, session_gap: float = 1800.0) -> Showings:
    """The same from a table: a data frame, a mapping from names to columns, or the rows of a database, each of which
    is asked for its columns by name (dictionaries, `sqlite3.Row`).

    Columns may be called as the arguments of :func:`showings`, or as in a catalog: query_image_id, displayed_image_id,
    position, interaction_type, user_id, timestamp, session_id. Others are not looked at.

    Raises
    ------
    ValueError
        A column that is needed is missing; names those that are there.

    Examples
    --------
    >>> rows = [{"query": 4, "displayed": 1, "interaction": "Impression", "user": 7},
    ...         {"query": 4, "displayed": 1, "interaction": "Click", "user": 7}]
    >>> showings_of(rows).clicked.tolist()
    [True]
    """
    if hasattr(table, "columns") or isinstance(table, Mapping):
        there = list(table)
        column = {name: table[name] for name in there}
    else:
        rows = list(table)
        if not rows or not hasattr(rows[0], "keys"):
            raise ValueError("a table is a data frame, a mapping of columns, or rows with named columns (dictionaries, "
                             "sqlite3.Row)" + ("" if rows else "; there are no rows"))  # fmt: skip
        there = list(rows[0].keys())
        column = {name: [row[name] for row in rows] for name in there}
    lower = {str(name).lower(): name for name in there}
    found = {name: next((lower[called] for called in known if called in lower), None) for name, known in _NAMES.items()}
    missing = [name for name in ("queries", "displayed", "clicked") if found[name] is None]
    if missing:
        raise ValueError(f"the table has no column for {', '.join(missing)}: it has {', '.join(map(str, there))}")
    given = {name: np.asarray(column[its]) for name, its in found.items() if its is not None}
    return showings(**given, session_gap=session_gap)


def _runs(columns: dict[str, NDArray[Any]], session_gap: float) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """The rows sorted such that those of one showing lie side by side, and which of them begin one.

    Within a showing the earliest row comes first, at equal times the impression.
    """
    identity = [name for name in ("users", "queries", "displayed", "sessions") if name in columns]
    within = ["timestamps"] if "timestamps" in columns else []
    order = np.lexsort([columns[name] for name in ["clicked", *reversed([*identity, *within])]])
    rows = {name: column[order] for name, column in columns.items()}
    starts_here = np.ones(len(order), dtype=np.bool_)
    starts_here[1:] = np.any([rows[name][1:] != rows[name][:-1] for name in identity], axis=0)
    if within and "sessions" not in columns:
        starts_here[1:] |= np.diff(rows["timestamps"]) > session_gap
    return rows, np.flatnonzero(starts_here)


def _events(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Without the impressions that a click of the same query, image and position stands for, one for each click."""
    identity = [columns[name] for name in ("queries", "displayed", "positions") if name in columns]
    group = np.unique(np.stack(identity), axis=1, return_inverse=True)[1].reshape(-1)
    clicks = np.bincount(group, weights=columns["clicked"])
    impressions = np.flatnonzero(~columns["clicked"])
    order = impressions[np.argsort(group[impressions], kind="stable")]
    rank = np.arange(len(order)) - np.searchsorted(group[order], group[order])  # of an impression within its group
    keep = np.ones(len(group), dtype=np.bool_)
    keep[order] = rank >= clicks[group[order]]
    return {name: column[keep] for name, column in columns.items()}


def _as_clicks(clicked: ArrayLike) -> tuple[bool, NDArray[np.bool_]]:
    """Whether the interactions are words, and True for a click."""
    values = np.asarray(clicked)
    if values.dtype.kind in "OT" and values.size:  # a column of a table
        values = as_labels(values, "clicked")
    if values.ndim != 1:
        raise ValueError(f"clicked must have 1 dimension, got shape {values.shape}")
    if values.dtype.kind == "U":
        words = np.char.lower(values)
        unknown = ~np.isin(words, ["click", "impression"])
        if unknown.any():
            row = int(np.argmax(unknown))
            raise ValueError(f"an interaction is a 'click' or an 'impression', but row {row} says {str(values[row])!r}")
        return True, np.asarray(words == "click")
    if values.dtype.kind in "iu" and values.size and (values.min() < 0 or values.max() > 1):
        raise ValueError(f"clicked must be 0 or 1, got {values.min()}..{values.max()}")
    if values.dtype.kind in "biu" or values.size == 0:
        return False, values.astype(np.bool_)
    raise TypeError(f"clicked must be bools, 0 and 1, or the words 'click' and 'impression', got dtype {values.dtype}")
