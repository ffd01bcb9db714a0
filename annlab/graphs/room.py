"""How a walk is handed to its kernel: addresses and sizes, in arrays that are made once.

To look into thirty arrays takes Numba longer than the first steps of a walk. So the graph (`Fixed`), what a search asks
for (`asked`), and the scratch of a walk (`Room`) travel as arrays of addresses, in the order in which
`kernels/graphs/walk_search.py` reads them. Whoever holds one of these holds the arrays, too.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from annlab.common import rowsets
from annlab.graphs.graph import Graph
from annlab.graphs.points import Lifting
from annlab.graphs.rows import Rows, aligned
from annlab.kernels.graphs.walk_open import NEAR, ROOM
from annlab.kernels.graphs.walk_search import N_NOTES
from annlab.kernels.simd.registers import LANES

_NO_WORDS = np.zeros(1, np.uint64)
_NO_OFFSETS = np.zeros(1, np.int64)
_KEPT = 16  # rooms that wait for another search
_LEAST_LINE = 16  # nodes that are scored, in whole numbers of these: the same on every path


def blocks_of(graph: Graph, norms: np.ndarray) -> np.ndarray:
    """Links and, behind them, the bits of the norms of the nodes that they lead to: (n_nodes, 2 degree) int32."""
    blocks = aligned((graph.n_nodes, 2 * graph.degree), np.int32)
    blocks[:, : graph.degree] = graph.links
    beside = norms[graph.links]
    beside[graph.links < 0] = np.inf
    blocks[:, graph.degree :] = beside.view(np.int32)
    return blocks


class Fixed:
    """A graph and the rows of its nodes, ready to be walked through."""

    def __init__(self, graph: Graph, blocks: np.ndarray, rows: Rows, lifting: Lifting) -> None:
        n, n_entries = len(blocks), len(graph.entries)
        padded = -(-n_entries // LANES) * LANES
        entry_rows = aligned((padded, rows.array.shape[1]), rows.array.dtype.type)
        entry_rows[:n_entries] = rows.array[graph.entries]
        entry_norms = np.full(padded, np.inf, np.float32)
        entry_norms[:n_entries] = rows.norms[graph.entries]
        offsets = _NO_OFFSETS if graph.offsets is None else graph.offsets
        self.arrays = blocks, rows.array, graph.entries, entry_rows, entry_norms, offsets, lifting.center
        sizes = (graph.offsets is not None, blocks.shape[1] // 2, rows.array.shape[1], lifting.dim, n_entries)
        self.addresses = np.array([*(array.ctypes.data for array in self.arrays), *sizes], np.int64)
        self.n_nodes, self.degree, self.n_entries = n, blocks.shape[1] // 2, n_entries


class Asked(NamedTuple):
    """What one search asks for, and the arrays whose addresses it holds."""

    integers: np.ndarray
    numbers: np.ndarray
    arrays: tuple[np.ndarray, ...]


def keep_for(k: int, factor: float = 1.0) -> int:
    """How many nodes a walk keeps for k neighbours, to be told apart by their vectors."""
    wanted = max(math.ceil(factor * k), k + 2 + k // 16)
    return -(-wanted // _LEAST_LINE) * _LEAST_LINE


class Rooms:
    """Scratch for walks, as many at a time as there are threads; taken from here and given back."""

    def __init__(self, fixed: Fixed, stride: int, point_dim: int) -> None:
        self._fixed, self._stride, self._point_dim = fixed, stride, point_dim
        self._free: list[Room] = []

    def take(self, keep: int, most: int) -> "Room":
        """A room for walks that keep and open so many nodes."""
        while self._free:
            try:
                room = self._free.pop()  # one step of the interpreter: no other thread gets this one
            except IndexError:
                break
            if room.keep >= keep and room.most >= most:
                return room
        return Room(self._fixed, self._stride, self._point_dim, max(keep, _LEAST_LINE), most)

    def give_back(self, room: "Room") -> None:
        """For others; not after a walk that ended by an error."""
        if len(self._free) < _KEPT:
            self._free.append(room)


class Room:
    """Scratch for one walk at a time."""

    def __init__(self, fixed: Fixed, stride: int, point_dim: int, keep: int, most: int) -> None:
        n, degree = fixed.n_nodes, fixed.degree
        seen = min(n, most * degree) + fixed.n_entries + 2 * LANES
        side = -(-degree // LANES) * LANES + LANES
        near, pile = NEAR + degree + ROOM, seen + ROOM + degree
        listed = 2 * max(side, LANES)
        longest = max(near, pile) + 2 * ROOM
        self.arrays: tuple[np.ndarray, ...] = (
            np.zeros(n // 64 + 1, np.int64),
            np.empty(seen, np.int32),
            np.empty(near, np.float32),
            np.empty(near, np.int32),
            np.empty(pile, np.float32),
            np.empty(pile, np.int32),
            np.empty(longest, np.float32),
            np.empty(longest, np.float32),
            np.zeros(listed, np.int32),
            np.empty(listed, np.float32),
            np.empty(keep + LANES, np.float32),
            np.empty(keep + LANES, np.int32),
            np.empty(fixed.n_entries + 2 * LANES, np.float32),
            np.zeros(max(stride, 64), np.int8),
            np.zeros(point_dim + 2 * LANES, np.float32),
        )
        self.addresses = np.array([*(array.ctypes.data for array in self.arrays), side], np.int64)
        self.keep, self.most = keep, most
        self.notes = np.zeros((1, N_NOTES))


def nodes_of_rows(alive: np.ndarray, offsets: np.ndarray | None, n_rows: int) -> np.ndarray:
    """The nodes of which some row is in a set, as words of bits."""
    if offsets is None:
        return alive
    among = rowsets.unpack(alive, n_rows)
    return rowsets.pack(np.logical_or.reduceat(among, offsets[:-1]))


def as_asked(k: int, keep: int, most: int, numbers: tuple[Any, ...], metric: int, words: tuple[np.ndarray, ...] | None,
             keys: np.ndarray) -> Asked:  # fmt: skip
    """What a search asks for; `words` are the bits of the allowed nodes and rows, None for all."""
    has_alive, arrays = words is not None, (words or (_NO_WORDS, _NO_WORDS))
    integers = [k, keep, most, metric, has_alive, *(array.ctypes.data for array in (*arrays, keys))]
    return Asked(np.array(integers, np.int64), np.array(numbers, np.float64), (*arrays, keys))
