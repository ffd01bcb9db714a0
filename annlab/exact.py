"""ExactIndex: every distance is computed. The answer is always right; others are judged by it.

The idea
--------
The k nearest of n vectors are found by looking at all of them. What makes that fast is that a look need not be exact:
a rounded value with a proven error tells which few rows could be among the k nearest, and only these are measured.

    vectors     (n, dim)             the rows, as they were given
    center      (dim,) float64       about which rows are taken, so that rounded values err little
    codes       (n, dim) bytes       with precision="int8" only: the rows in a quarter of the memory,
    half_norms  (n,) float32         |x|^2 / 2 of each,
    limits      (n / 32, 3) float32  and for each panel of 32 rows its step and the largest errors

The search
----------
In plain Python, for one query q and `slack`, the most that rounding can do to two of the values:

    bound, kept = infinity, []
    for row, x in enumerate(vectors):
        value = |x|^2 / 2 - q.x                          # rounded; grows with the distance
        if value <= bound:
            kept.append((value, row))
        if len(kept) is large:                           # forget what cannot be among the k nearest
            bound = k-th smallest value in kept + slack
            kept = [each for each in kept if its value <= bound]
    return the k smallest (distance(vectors[row], q), id of row) for row in kept

Many queries against many rows are a product of matrices: tiles of it stay in registers and are compared with the
bounds there, so the matrix of distances is never written. One query reads the vectors once, at the speed of the memory.
With "int8" the values are those of bytes, four times as many at once, and each panel has its own slack: the same
answers, to the last bit.

Where rows lie in clusters, most of them need not be looked at. Once many queries were asked, the rows are divided into
cells about the centers of k-means, and a query leaves out all cells that lie farther away than its bound.

The cost
--------
n * dim multiply-adds a query, n * dim * 4 bytes (or n * dim) read by a single one. Nothing to build but the bytes.

When to use it: up to some hundred thousand vectors; in batches up to millions; whenever the truth is asked for. When
not: single queries on millions of vectors, where an approximate index reads a hundredth of them. `docs/measured.md` has
the figures.

Where to read on
----------------
`scan/scanner.py` (why no neighbour is lost), `kernels/tile.py` and `kernels/scan/batch.py` (the tile and its bounds),
`kernels/scan/one.py` and `core/shortcut.py` (one query), `kernels/topk.py` (the buffer), `scan/int8.py`,
`kernels/scan/int8.py` and `kernels/scan/one_bytes.py` (bytes), `scan/cells.py`, `kernels/scan/cells.py` and
`kernels/scan/one_cells.py` (cells).
"""

import tempfile
import threading
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common import pool, validation
from annlab.common.memory import copied
from annlab.core.structure import SMALL_TAIL, Beside, Building, Request, Shortcut, Structure
from annlab.distances import Metric
from annlab.index import Index
from annlab.kmeans import train
from annlab.scan import int8
from annlab.scan.cells import Cells, Frame, possible, share_seen
from annlab.scan.points import Extent
from annlab.scan.scanner import Scanner
from annlab.scan.shortcut import cells_shortcut, exact_shortcut

_SHORT_TAIL = 256  # rows in float32 that are scanned sooner than made bytes of
_FEWEST_QUERIES = 4  # that are a batch
_FEWEST_ROWS, _ROWS_OF_CELL, _MOST_CELLS = 20_000, 256, 4096  # rows that "auto" divides, and into how many cells
_QUERIES_OF_CELL = 10  # for each cell so many queries are asked before the rows are divided
_COST_OF_ONE = 4  # queries of a batch take as long as one for itself,
_COST_OF_FLOATS = 4  # and as many scans of bytes as one of floats
_SAMPLE, _SAMPLE_OF_CELL = 8192, 32  # rows that k-means learns from
_WORTH_IT = 0.4  # of the rows that a query may be expected to meet in its cells
_TAIL_SHARE = 32  # of the rows, one in so many may wait in float32 beside bytes: an eighth of a search's time


class ExactStructure(Structure):
    """All vectors, scanned; with a quantized copy where the scanner is a `ByteScanner`."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "codes", "half_norms"})
    exhaustive: ClassVar[bool] = True
    most_dead: ClassVar[float] = 1 / 3  # a search looks at all of them, and to build anew is to copy the others

    def __init__(self, scanner: Scanner, params: dict[str, Any]) -> None:
        self.vectors = scanner.vectors
        self._scanner, self._params = scanner, params
        self._division = Division(scanner, params)

    @property
    def precision(self) -> str:
        """What is scanned: "float32" or "int8"."""
        return "int8" if isinstance(self._scanner, int8.ByteScanner) else "float32"

    @classmethod
    def build(cls, vectors: np.ndarray, building: Building) -> tuple[Self, None]:
        metric, params = building.metric, building.params
        if params["keep_vectors"] == "mmap":
            vectors = _on_disk(vectors)
        elif not building.owned:
            vectors = copied(vectors)
        building.progress("measuring", 0.0)
        extent = Extent.of(vectors, metric)
        building.progress("measuring", 1.0)
        scanner = _scanner(vectors, metric, extent, params["precision"], building.rng, building.threads)
        return cls(scanner, params), None

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray:
        scanner = self._division.scanner_for(len(queries), request.threads)
        return scanner.search(queries, k, request.alive, request.keys, request.threads, request.counters)

    def shortcut(self, k: int, params: dict[str, Any], beside: Beside) -> Shortcut:
        division = self._division
        shortcut = None if division.cells is None else cells_shortcut(division.cells, k, beside)
        if shortcut is not None:
            return shortcut
        outdated = division.note_one if division.is_open else None
        return exact_shortcut(self._scanner, k, beside)._replace(outdated=outdated)

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        return self._scanner.search_radius(queries, radius, request.alive, request.threads, request.counters)

    def absorb(self, vectors: np.ndarray, building: Building) -> tuple[Self, None]:
        metric, extent = self._scanner.metric, self._scanner.extent.extended(vectors, self._scanner.metric)
        together = np.concatenate([self.vectors, vectors])
        if self._params["keep_vectors"] == "mmap":
            together = _on_disk(together)
        scanner: Scanner | None = None
        if isinstance(self._scanner, int8.ByteScanner):
            scanner = self._scanner.extended(together, extent, building.threads)
        if scanner is None:
            scanner = _scanner(together, metric, extent, self._params["precision"], building.rng, building.threads)
        return type(self)(scanner, self._params), None

    def made_since(self) -> dict[str, int]:
        return {} if self._division.cells is None else {"cells": self._division.cells.nbytes}

    def tail_limit(self, params: dict[str, Any]) -> int:
        """Of rows in float32; where bytes are scanned, these would take several times as long as their number says."""
        if self.precision == "float32":
            return max(SMALL_TAIL, len(self.vectors))
        return max(_SHORT_TAIL, len(self.vectors) // _TAIL_SHARE)

    def arrays(self) -> dict[str, np.ndarray]:
        scanner, extent = self._scanner, self._scanner.extent
        numbers = np.array([extent.reach, extent.largest_norm, min(extent.smallest_norm, 1e300)])
        arrays = {"vectors": self.vectors, "center": extent.center, "extent": numbers}
        if isinstance(scanner, int8.ByteScanner):
            arrays |= {"codes": scanner.codes, "half_norms": scanner.half_norms, "limits": scanner.limits,
                       "byte_center": scanner.byte_center, "exact_step": np.array([scanner.exact_step])}  # fmt: skip
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        vectors, center, numbers = arrays["vectors"], arrays["center"], arrays["extent"]
        if center.dtype != np.float64 or center.shape != vectors.shape[1:] or numbers.shape != (3,):
            raise ValueError(f"center {center.shape} and extent {numbers.shape} do not fit the vectors")
        if not (np.isfinite(center).all() and np.isfinite(numbers).all() and (numbers >= 0).all()):
            raise ValueError("center and extent must be finite")
        extent = Extent(center, *(float(number) for number in numbers))
        if "codes" not in arrays:
            return cls(Scanner(vectors, metric, extent), params)
        int8.check_arrays(arrays, *vectors.shape)
        scanner = int8.ByteScanner(vectors, metric, extent, arrays["byte_center"], float(arrays["exact_step"][0]),
                                   arrays["codes"], arrays["half_norms"], arrays["limits"],
                                   for_all=params["precision"] == "int8")  # fmt: skip
        return cls(scanner, params)


class Division:
    """Rows divided into cells, once so many queries were asked that they would have paid for it.

    Few searches are not worth a division, and which searches come is not known. So the rows are divided when the
    searches so far took about as long as that takes: whoever asks little never pays, and nobody waits more than twice
    as long as the one who knew. A batch does it at its start. Who asks one query at a time does not expect that one of
    them takes seconds: there a thread does it, while all go on as before.
    """

    def __init__(self, scanner: Scanner, params: dict[str, Any]) -> None:
        self.cells: Cells | None = None
        self._scanner, self._lock, self._asked = scanner, threading.Lock(), 0
        n, wanted = len(scanner.vectors), params["cells"]
        self._n_cells, self._automatic = min(_MOST_CELLS, n // _ROWS_OF_CELL), wanted == "auto"
        self.is_open = possible(scanner)  # whether they may still be divided
        if self._automatic:
            self.is_open &= n >= _FEWEST_ROWS and int8.suits(scanner.vectors) and params["precision"] != "float32"
            self.is_open &= params["keep_vectors"] == "memory"
        else:
            self._n_cells = min(wanted, n)
            self.is_open &= wanted > 1
        self._due = _QUERIES_OF_CELL * self._n_cells if self._automatic else 0
        if not isinstance(scanner, int8.ByteScanner):
            self._due //= _COST_OF_FLOATS

    def scanner_for(self, n_queries: int, threads: int) -> Scanner | Cells:
        """What a batch of so many queries is given to."""
        if n_queries < _FEWEST_QUERIES:
            return self._scanner
        if self._is_due(n_queries):
            self._divide(threads)
        return self.cells or self._scanner

    def note_one(self) -> bool:
        """Count a query that is asked for itself; whether there are cells for it."""
        if self._is_due(_COST_OF_ONE):
            if self._automatic:
                pool.behind(lambda: self._divide(1), "cells")
            else:
                self._divide(1)
        return self.cells is not None

    def _is_due(self, cost: int) -> bool:
        """Whether the caller is to divide the rows: it holds the lock then. A query of a batch costs 1."""
        if not self.is_open:
            return False
        self._asked += cost  # two threads may lose a count: this need not be exact
        return self._asked > self._due and self._lock.acquire(blocking=False)

    def _divide(self, threads: int) -> None:
        """Divide the rows, unless another did so meanwhile, and release the lock."""
        try:
            if self.is_open:
                self.cells = self._divided(threads)
            self.is_open = False
        except MemoryError:
            self.is_open = False  # searches go on as before
        finally:
            self._lock.release()

    def _divided(self, threads: int) -> Cells | None:
        """The rows in cells; None where a search would have to look into most of them."""
        rng, vectors = np.random.default_rng(0), self._scanner.vectors
        frame = Frame(self._scanner)
        sample = rng.permutation(len(vectors))[: max(_SAMPLE, _SAMPLE_OF_CELL * self._n_cells)]
        points = frame.points(vectors[sample]).astype(np.float32)
        finite = np.isfinite(points).all(axis=1)  # a damaged file that is mapped unseen may hold anything
        points, sample = points[finite], sample[finite]
        if len(points) < self._n_cells:
            return None
        centers = train(points, self._n_cells, rng, max_iterations=4, n_threads=threads).centroids
        if not self._automatic:
            return Cells(self._scanner, frame, centers, threads, most_seen=np.inf)
        expected = share_seen(frame, self._scanner, centers, sample)
        return Cells(self._scanner, frame, centers, threads, expected=expected) if expected <= _WORTH_IT else None


def _scanner(vectors: np.ndarray, metric: Metric, extent: Extent, precision: str, rng: np.random.Generator,
             threads: int) -> Scanner:  # fmt: skip
    """The scanner for a precision; "auto" measures whether the quantized copy is worth having."""
    dim = vectors.shape[1]
    if precision == "int8" and dim > int8.MAX_DIM:
        raise ValueError(f'precision="int8" goes up to {int8.MAX_DIM} dimensions, not {dim}: use "float32"')
    if precision == "float32" or (precision == "auto" and not int8.suits(vectors)):
        return Scanner(vectors, metric, extent)
    scanner = int8.ByteScanner.of(vectors, metric, extent, threads, for_all=precision == "int8")
    if precision == "auto" and not int8.pays(scanner, rng):
        return Scanner(vectors, metric, extent)
    return scanner


def _on_disk(vectors: np.ndarray) -> np.ndarray:
    """The vectors in an unnamed temporary file, mapped: the file is gone when the index is."""
    with tempfile.TemporaryFile(prefix="annlab") as file:
        vectors.tofile(file)
        file.flush()
        return np.asarray(np.memmap(file, vectors.dtype, mode="c", shape=vectors.shape))


class ExactIndex(Index):
    """Exact nearest neighbours by scanning all vectors.

    Parameters
    ----------
    metric : {"l2", "cosine", "ip"}
        See `annlab.distances`.
    precision : {"auto", "float32", "int8"}
        What is scanned first. "int8" needs dim + 4 bytes more for a vector, and pays for that with speed; "auto"
        takes it from 512 vectors on for single queries, and from 20,000 on for batches, if it leaves few of a sample of
        vectors to be looked at again. The answers are the same.
    cells : "auto" or int
        Into how many cells rows are divided, for searches by l2 and cosine that then look into few of them. It takes
        dim + 12 bytes more for a vector. "auto" divides 20,000 rows and more, once so many queries were asked that
        these took about as long as dividing, if a sample of rows shows that most cells can be left out; a batch then
        does it first, for single queries a thread does. 1: never. The answers are the same.
    keep_vectors : {"memory", "mmap"}
        "mmap" keeps the vectors in a temporary file, for the few that are looked at again; with "int8", memory then
        holds little more than a quarter of them.
    dim : int, optional
        The dimension, to begin with an empty index and `add`; `fit` finds it by itself.
    auto_compact : bool
        Whether writes tidy up by themselves, see `Index`.

    Notes
    -----
    Memory: the vectors, 8 bytes for each id and 1 for its state. Time: n * dim multiply-adds a query.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((1000, 32), dtype=np.float32)
    >>> index = annlab.ExactIndex(metric="l2").fit(vectors)
    >>> distances, ids = index.search(vectors[:2], k=3)
    >>> distances.shape, ids[:, 0].tolist()
    ((2, 3), [0, 1])
    """

    structure_class = ExactStructure

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", precision: str = "auto", cells: int | str = "auto",
                 keep_vectors: str = "memory", dim: int | None = None, auto_compact: bool = True) -> None:  # fmt: skip
        validation.as_choice("precision", precision, ("auto", "float32", "int8"))
        validation.as_choice("keep_vectors", keep_vectors, ("memory", "mmap"))
        if cells != "auto":
            cells = validation.as_integer("cells", cells, 1)
        super().__init__(metric=metric, dim=dim, auto_compact=auto_compact, precision=precision, cells=cells,
                         keep_vectors=keep_vectors)  # fmt: skip

    @property
    def precision(self) -> str | None:
        """What is scanned, "float32" or "int8", as it was chosen; None while nothing is sealed."""
        structure = None if self._state is None else self._state.structure
        return structure.precision if isinstance(structure, ExactStructure) else None
