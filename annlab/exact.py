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
`kernels/scan/int8.py` and `kernels/scan/one_bytes.py` (bytes).
"""

import tempfile
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common import validation
from annlab.common.memory import copied
from annlab.core.structure import SMALL_TAIL, Beside, Building, Request, Shortcut, Structure
from annlab.distances import Metric
from annlab.index import Index
from annlab.scan import int8
from annlab.scan.points import Extent
from annlab.scan.scanner import Scanner
from annlab.scan.shortcut import exact_shortcut

_SHORT_TAIL = 256  # rows in float32 that are scanned sooner than made bytes of
_TAIL_SHARE = 32  # of the rows, one in so many may wait in float32 beside bytes: an eighth of a search's time


class ExactStructure(Structure):
    """All vectors, scanned; with a quantized copy where the scanner is a `ByteScanner`."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors", "codes", "half_norms"})
    exhaustive: ClassVar[bool] = True
    most_dead: ClassVar[float] = 1 / 3  # a search looks at all of them, and to build anew is to copy the others

    def __init__(self, scanner: Scanner, params: dict[str, Any]) -> None:
        self.vectors = scanner.vectors
        self._scanner, self._params = scanner, params

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
        return self._scanner.search(queries, k, request.alive, request.keys, request.threads, request.counters)

    def shortcut(self, k: int, params: dict[str, Any], beside: Beside) -> Shortcut:
        return exact_shortcut(self._scanner, k, beside)

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
    def __init__(self, *, metric: str = "l2", precision: str = "auto", keep_vectors: str = "memory",
                 dim: int | None = None, auto_compact: bool = True) -> None:  # fmt: skip
        validation.as_choice("precision", precision, ("auto", "float32", "int8"))
        validation.as_choice("keep_vectors", keep_vectors, ("memory", "mmap"))
        super().__init__(metric=metric, dim=dim, auto_compact=auto_compact, precision=precision,
                         keep_vectors=keep_vectors)  # fmt: skip

    @property
    def precision(self) -> str | None:
        """What is scanned, "float32" or "int8", as it was chosen; None while nothing is sealed."""
        structure = None if self._state is None else self._state.structure
        return structure.precision if isinstance(structure, ExactStructure) else None
