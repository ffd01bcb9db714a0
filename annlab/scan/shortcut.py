"""What a shortcut is made of, see `core/shortcut.py`; and that of all that is scanned: exact indexes, tails alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annlab.common import rowsets
from annlab.distances import Metric
from annlab.kernels.scan import one_cells
from annlab.kernels.scan import shortcut as kernels
from annlab.kernels.scan.int8 import Codes
from annlab.kernels.scoring import Entries
from annlab.kernels.shortcut import Waiting
from annlab.kernels.simd.path import entry
from annlab.scan.cells import FAINT, FAR, Cells
from annlab.scan.int8 import ByteScanner
from annlab.scan.points import Extent
from annlab.scan.scanner import Scanner

_CAPACITY = 4096  # rows that a buffer takes at least
_NO_WORDS = np.empty(0, np.uint64)


class Beside(NamedTuple):
    """What a shortcut must know of a state beside its structure.

    Attributes
    ----------
    metric : Metric
    keys : (n + t,) int64
        The ids of all rows, those of the structure first.
    n : int
        Rows of the structure.
    alive : (words,) uint64 or None
        Bits of the living rows of the structure; None: all.
    tail_alive : (words,) uint64 or None
        The same of the tail.
    tail : Scanner
        Of the rows that were added since.
    """

    metric: Metric
    keys: np.ndarray
    n: int
    alive: np.ndarray | None
    tail_alive: np.ndarray | None
    tail: Scanner

    def entries(self, vectors: np.ndarray) -> Entries:
        """The rows as kernels measure them; `vectors` are those of the structure, if they are measured here."""
        return Entries(vectors, self.n, self.tail.vectors, self.keys, vectors.shape[1], self.metric.code)

    def waiting(self) -> Waiting:
        """The living rows of the tail."""
        n = len(self.tail.vectors)
        rows = np.arange(n) if self.tail_alive is None else np.flatnonzero(rowsets.unpack(self.tail_alive, n))
        return Waiting(self.n + rows, len(rows))


class Shortcut(NamedTuple):
    """A compiled call that answers one query, and what it is called with.

    Attributes
    ----------
    kernel : entry
        kernel(table, query, room, distances, ids): fills distances (k,) float32 and ids (k,), and returns whether it
        did; if not, the query is answered in the general way.
    table : NamedTuple
        What it reads: arrays and numbers that never change.
    make_room : function of `size`
        Makes its scratch, a NamedTuple of arrays and numbers, once for each thread.
    size : tuple of int, or None
        Shortcuts with the same `make_room` and size share the scratch of a thread; None: this one has its own.
    dim : int
    work : int
        Bytes that a call reads, about.
    batch : int
        So many queries are answered sooner by as many calls than together in the general way.
    outdated : function, or None
        Asked before every call; once it says True, the structure has a better shortcut.
    """

    kernel: entry
    table: Any
    make_room: Callable[..., Any]
    size: tuple[int, ...] | None
    dim: int
    work: int
    batch: int = 1
    outdated: Callable[[], bool] | None = None


def exact_shortcut(scanner: Scanner | None, k: int, beside: Beside) -> Shortcut:
    """The shortcut of rows that are all scanned: those of a scanner, if there is one, and the tail."""
    if scanner is None:
        nothing = beside.tail.vectors[:0]
        scanner = Scanner(nothing, beside.metric, Extent.of_nothing(nothing.shape[1]))
    entries = beside.entries(scanner.vectors)
    by_bytes = isinstance(scanner, ByteScanner) and scanner.serves_one(k)
    codes = scanner.for_kernels if isinstance(scanner, ByteScanner) else _no_codes(entries)
    sealed, tail = _part(scanner, beside.alive), _part(beside.tail, beside.tail_alive)
    work = entries.dim * ((1 if by_bytes else 4) * sealed.rows.stop + 4 * tail.rows.stop)
    size = (entries.dim, max(_CAPACITY, 8 * k), k)
    table = kernels.Table(entries, sealed, tail, codes, by_bytes)
    return Shortcut(kernels.search_exact, table, kernels.new_room, size, entries.dim, work)


def cells_shortcut(cells: Cells, k: int, beside: Beside) -> Shortcut | None:
    """The shortcut of rows that lie in cells, and the tail; None where cells are of no use."""
    scanner, rows, frame = cells.scanner, cells.rows, cells.frame
    if not cells.serves_one(k, beside.alive):
        return None
    entries, center = beside.entries(scanner.vectors), np.zeros(rows.stride)
    center[: entries.dim] = frame.center
    how = one_cells.Frame(center, float(frame.scale), entries.metric, FAINT, FAR, cells.longest,
                          cells.largest + frame.unit, frame.exact)  # fmt: skip
    n_cells, n_panels = len(rows.radii), len(rows.codes)
    most_seen = int(min(cells.most_seen, 1.0) * n_panels)
    alive = _NO_WORDS if beside.alive is None else beside.alive
    table = one_cells.Table(entries, rows, n_cells, how, most_seen, alive, beside.alive is not None,
                            _part(beside.tail, beside.tail_alive))  # fmt: skip
    size = (entries.dim, rows.stride, rows.quads, n_cells, max(_CAPACITY, 8 * k), k)
    work = 8 * rows.centers.size + int(cells.expected * rows.codes.size) + 4 * beside.tail.vectors.size
    return Shortcut(one_cells.search_by_cells, table, one_cells.new_room, size, entries.dim, work)


def _part(scanner: Scanner, alive: np.ndarray | None) -> kernels.Part:
    rows = scanner.rows(None, _NO_WORDS if alive is None else alive, 0, len(scanner.vectors))
    return kernels.Part(rows, scanner.extent.largest_norm, scanner.extent.smallest_norm)


def _no_codes(entries: Entries) -> Codes:
    """In place of codes, where there are none."""
    nothing = np.empty(0, np.float32)
    return Codes(np.empty(0, np.uint8), nothing, nothing, 0, 0, entries.dim, entries.metric, np.empty(0), 1.0, 0.0, 1.0,
                 1.0, 0.0)  # fmt: skip
