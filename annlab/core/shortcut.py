"""The shortcut: one query is answered by one compiled call, from a table that was prepared once for a state.

One query at a time is how services search, and on small sets most of its time would be spent in Python, between
kernels. So everything that a state knows and a query needs (addresses, lengths, norms, constants) is written into one
table (`kernels/simd/prepared.py`), as immutable as the state; and a kernel that is given the query and the table
checks, searches, measures by the one definition, sorts and writes the answer. Its answers are those of the general way
(`core/search.py`), to the last bit, and what is not for it goes there: larger batches, filters, statistics, float64,
anything that must be converted or refused, and queries at which the kernel gives up.

What there is in the table depends on k and the search parameters. It is made by the structure (`Structure.shortcut`)
when it is first asked for, with the rows of the tail, so that an index that is written to keeps its shortcut.

Any number of threads may take one while others write: a table is never written again, a writer publishes another
state, which has shortcuts of its own, and scratch belongs to the thread.
"""

import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from annlab.common import pool
from annlab.common.results import Neighbors
from annlab.core.state import State
from annlab.core.structure import Beside, Shortcut
from annlab.kernels.simd.prepared import Prepared, compiled_for
from annlab.scan.shortcut import exact_shortcut

_LARGEST_K = 1024
_SMALL = 4 * 2**20  # bytes: above, several threads are quicker than one call
_LARGE = 2**28  # bytes that one call reads at most, so that Ctrl-C is answered soon
_FEW = 4  # queries that are answered sooner by one thread than handed to several
_MOST_KEPT, _MOST_ROOMS = 32, 16
_FLOAT, _FLOATS, _IDS = np.dtype(np.float32), numba.float32[::1], numba.int64[::1]

_tuple: Callable[[type[Neighbors], tuple[np.ndarray, np.ndarray]], Neighbors] = tuple.__new__

_shared = threading.local()
Check = Callable[[dict[str, Any]], dict[str, Any]]


class Shortcuts:
    """All shortcuts of one state: by k, for an index with these search parameters, and by k and what else is given."""

    __slots__ = ("_known", "params", "state")

    def __init__(self, state: State | None, params: dict[str, Any]) -> None:
        self.state, self.params = state, params
        self._known: dict[Any, _Ready | None] = {}

    def answer(self, query: Any, k: Any, threads: Any, given: dict[str, Any], check: Check) -> Neighbors | None:
        """The nearest of a query (dim,) or (1, dim); None where the general way must be taken.

        `given` are search parameters that are not the index's own; `check` makes all parameters of them, or refuses.
        """
        if type(k) is not int or type(query) is not np.ndarray or query.dtype != _FLOAT or not query.flags.carray:
            return None
        if not given:
            asked: Any = k
        elif len(given) == 1:  # the usual case, in half the time
            ((name, value),) = given.items()
            asked = k, name, value, type(value)
        else:
            asked = k, *[(name, value, type(value)) for name, value in given.items()]
        try:
            ready = self._known[asked]
        except KeyError:
            ready = self._made(asked, k, check(given))
        except TypeError:  # what is given cannot even be compared
            return None
        if ready is None:
            return None
        if ready.outdated is not None and (query.ndim == 1 or len(query) == 1) and ready.outdated():
            ready = self._made(asked, k, check(given))
            if ready is None:
                return None
        alone = not ready.is_large if threads is None else threads == 1 and type(threads) is int  # nearly always
        if not alone and not _alone(threads, ready.is_large):
            return None
        if query.shape == ready.shape:
            return ready(query, k)
        if query.ndim != 2 or query.shape[1:] != ready.shape or not 1 <= len(query) <= ready.batch:
            return None
        if len(query) > _FEW and pool.resolve(threads) > 1:
            return None
        return ready.one_by_one(query, k)

    def _made(self, asked: Any, k: int, params: dict[str, Any]) -> "_Ready | None":
        shortcut = self._shortcut(k, params) if 1 <= k <= _LARGEST_K else None
        ready: _Ready | None = None
        if shortcut is not None:
            ready = _Ready(shortcut) if shortcut.work <= _LARGE else _TooLarge(shortcut.outdated)
        if len(self._known) >= _MOST_KEPT:
            self._known = {}
        self._known[asked] = ready
        return ready

    def _shortcut(self, k: int, params: dict[str, Any]) -> Shortcut | None:
        state = self.state
        if state is None or state.tail.array.dtype != _FLOAT or not state.n_live:
            return None
        beside = Beside(state.metric, state.by_row.array, state.n_sealed, *state.living,
                        state.tail_scanner)  # fmt: skip
        if state.structure is None or not state.n_sealed:
            return exact_shortcut(None, k, beside)
        if state.few_alive(k, params):
            return None
        return state.structure.shortcut(k, params, beside)


class _Ready:
    """A shortcut, prepared for calls."""

    __slots__ = ("_call", "_local", "_make_room", "_room", "_size", "_table", "batch", "is_large", "outdated",
                 "shape")  # fmt: skip

    def __init__(self, shortcut: Shortcut) -> None:
        self._table, self._make_room, self._size = Prepared(shortcut.table), shortcut.make_room, shortcut.size
        self.shape, self.is_large, self.batch = (shortcut.dim,), shortcut.work > _SMALL, shortcut.batch
        self.outdated = shortcut.outdated
        made = shortcut.make_room
        self._room = f"{made.__module__} {made.__qualname__} {shortcut.size}"  # a name: its hash is computed once
        self._local = threading.local() if shortcut.size is None else _shared
        kinds = (self._table.kind, _FLOATS, self._new_room().kind, _FLOATS, _IDS)
        self._call = compiled_for(shortcut.kernel, kinds)

    def __call__(self, query: np.ndarray, k: int) -> Neighbors | None:
        try:
            room = self._local.rooms[self._room]
        except (AttributeError, KeyError):
            room = self._new_room()
        distances, ids = np.empty(k, _FLOAT), np.empty(k, np.int64)
        if self._call(self._table, query, room, distances, ids):
            return _tuple(Neighbors, (distances, ids))  # in half the time of Neighbors(...)
        return None

    def one_by_one(self, queries: np.ndarray, k: int) -> Neighbors | None:
        """The same for a few queries (q, dim)."""
        room = self._local.__dict__.get("rooms", {}).get(self._room) or self._new_room()
        distances, ids = np.empty((len(queries), k), _FLOAT), np.empty((len(queries), k), np.int64)
        for i in range(len(queries)):
            if not self._call(self._table, queries[i], room, distances[i], ids[i]):
                return None
        return Neighbors(distances, ids)

    def _new_room(self) -> Prepared:
        """Scratch of this thread, used only while one call lasts."""
        rooms = self._local.__dict__.setdefault("rooms", {})
        if len(rooms) >= _MOST_ROOMS:
            rooms.clear()
        rooms[self._room] = room = Prepared(self._make_room(*self._size or ()))
        return room


class _TooLarge(_Ready):
    """In place of a shortcut that would keep Ctrl-C waiting: it takes no query, but may be outdated."""

    __slots__ = ()

    def __init__(self, outdated: Callable[[], bool] | None) -> None:
        self.shape, self.is_large, self.batch, self.outdated = (-1,), True, 0, outdated


def _alone(threads: Any, is_large: bool) -> bool:
    """Whether a search is to be done by one thread; False for anything that is no number of threads."""
    if threads is not None and (type(threads) is not int or not 1 <= threads <= 1024):
        return False
    return not is_large or pool.resolve(threads) == 1
