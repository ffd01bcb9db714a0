"""A graph and the rows of its nodes as kernels see them, and scratch for their walks."""

import math
from typing import Any

import numpy as np

from annlab.common import rowsets
from annlab.graphs.graph import Graph
from annlab.graphs.rows import Rows
from annlab.kernels.graphs.walk import Nodes
from annlab.kernels.graphs.walk_search import new_room
from annlab.kernels.simd.memory import aligned
from annlab.kernels.simd.prepared import Prepared
from annlab.kernels.simd.registers import LANES

_NO_OFFSETS = np.zeros(1, np.int64)
_KEPT = 16  # rooms that wait for another search
_LEAST_KEPT = 16  # nodes that are scored, in whole numbers of these: the same on every path


def blocks_of(graph: Graph, norms: np.ndarray) -> np.ndarray:
    """Links and, behind them, the bits of the norms of the nodes that they lead to: (n_nodes, 2 degree) int32."""
    blocks = aligned((graph.n_nodes, 2 * graph.degree), np.int32)
    blocks[:, : graph.degree] = graph.links
    beside = norms[graph.links]
    beside[graph.links < 0] = np.inf
    blocks[:, graph.degree :] = beside.view(np.int32)
    return blocks


def nodes_for_kernels(graph: Graph, blocks: np.ndarray, rows: Rows) -> Nodes:
    """What a walk goes through. The rows of the entries lie together, since each walk looks at all of them."""
    n_entries = len(graph.entries)
    padded = -(-n_entries // LANES) * LANES
    entry_rows = aligned((padded, rows.array.shape[1]), rows.array.dtype.type)
    entry_rows[n_entries:] = 0
    entry_rows[:n_entries] = rows.array[graph.entries]
    entry_norms = np.full(padded, np.inf, np.float32)
    entry_norms[:n_entries] = rows.norms[graph.entries]
    offsets = _NO_OFFSETS if graph.offsets is None else _plain(graph.offsets)
    return Nodes(_plain(blocks), _plain(rows.array), _plain(graph.entries), entry_rows, entry_norms, offsets,
                 graph.offsets is not None, graph.degree, rows.array.shape[1], n_entries)  # fmt: skip


def _plain(array: np.ndarray) -> np.ndarray:
    """An array that may be handed over: writeable, though nobody writes to it."""
    return array if array.flags.carray else np.array(array)


def keep_for(k: int, factor: float = 1.0) -> int:
    """How many nodes a walk keeps for k neighbours, to be told apart by their vectors."""
    wanted = max(math.ceil(factor * k), k + 2 + k // 16)
    return -(-wanted // _LEAST_KEPT) * _LEAST_KEPT


class Rooms:
    """Scratch for walks, as many at a time as there are threads; taken from here and given back."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, ...], list[Prepared]] = {}

    def take(self, size: tuple[int, ...]) -> Prepared:
        """A room of a size, see `new_room`."""
        try:
            return self._free[size].pop()  # one step of the interpreter: no other thread gets this one
        except (KeyError, IndexError):
            return Prepared(new_room(*size))

    def give_back(self, size: tuple[int, ...], room: Prepared) -> None:
        """For others; not after a walk that ended by an error."""
        if len(self._free) >= _KEPT:
            self._free = {}
        waiting = self._free.setdefault(size, [])
        if len(waiting) < _KEPT:
            waiting.append(room)


def nodes_of_rows(alive: np.ndarray, offsets: np.ndarray | None, n_rows: int) -> np.ndarray:
    """The nodes of which some row is in a set, as words of bits."""
    if offsets is None:
        return alive
    among: Any = rowsets.unpack(alive, n_rows)
    return rowsets.pack(np.logical_or.reduceat(among, offsets[:-1]))
