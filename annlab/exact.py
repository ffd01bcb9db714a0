"""ExactIndex: every distance is computed, O(n * dim) for a query. The answer is always right; others are judged by it.

The structure is the vectors themselves, as rows of a matrix, and nothing else. A batch of queries is a matrix product
in disguise and runs near the machine's rate of multiplications; a single query reads the matrix once and runs at the
speed of the memory (`kernels/scan.py` and `kernels/scan_one.py` explain how, `scanning.py` why no neighbour is lost).

When to use it: up to some hundred thousand vectors; in batches up to millions; whenever the truth is asked for. When
not: single queries on millions of vectors, where an approximate index reads a hundredth of them.
"""

from typing import Any, ClassVar, Self

import numpy as np

from annlab import validation
from annlab.distances import Metric
from annlab.index import Index
from annlab.scanning import Extent, Scanner
from annlab.structure import Progress, Request


class ExactStructure:
    """All vectors, scanned."""

    bulk: ClassVar[frozenset[str]] = frozenset({"vectors"})
    exhaustive: ClassVar[bool] = True

    def __init__(self, vectors: np.ndarray, metric: Metric, extent: Extent | None = None) -> None:
        self.vectors = vectors
        self._scanner = Scanner(vectors, metric, extent)

    @classmethod
    def build(cls, vectors: np.ndarray, *, metric: Metric, params: dict[str, Any], rng: np.random.Generator,
              threads: int, progress: Progress, owned: bool) -> tuple[Self, None]:  # fmt: skip
        return cls(vectors if owned else vectors.copy(), metric), None

    def search(self, queries: np.ndarray, k: int, request: Request) -> np.ndarray:
        return self._scanner.search(queries, k, request.alive, request.keys, request.threads, request.counters)

    def search_radius(self, queries: np.ndarray, radius: float, request: Request) -> tuple[np.ndarray, np.ndarray]:
        return self._scanner.search_radius(queries, radius, request.alive, request.threads, request.counters)

    def absorb(self, vectors: np.ndarray, rng: np.random.Generator) -> tuple[Self, None]:
        scanner = self._scanner
        together = np.concatenate([self.vectors, vectors])
        return type(self)(together, scanner.metric, scanner.extent.extended(vectors, scanner.metric)), None

    def rows_touched(self, params: dict[str, Any]) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        extent = self._scanner.extent
        numbers = np.array([extent.reach, extent.largest_norm, min(extent.smallest_norm, 1e300)])
        return {"vectors": self.vectors, "center": extent.center, "extent": numbers}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], *, metric: Metric, params: dict[str, Any]) -> Self:
        center, numbers = arrays["center"], arrays["extent"]
        if center.dtype != np.float64 or center.shape != arrays["vectors"].shape[1:] or numbers.shape != (3,):
            raise ValueError(f"center {center.shape} and extent {numbers.shape} do not fit the vectors")
        if not (np.isfinite(center).all() and np.isfinite(numbers).all() and (numbers >= 0).all()):
            raise ValueError("center and extent must be finite")
        return cls(arrays["vectors"], metric, Extent(center, *(float(number) for number in numbers)))

    def check(self) -> None:
        """Nothing points anywhere: the shapes were checked when the structure was made."""


class ExactIndex(Index):
    """Exact nearest neighbours by scanning all vectors.

    Parameters
    ----------
    metric : {"l2", "cosine", "ip"}
        See `annlab.distances`.
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
    def __init__(self, *, metric: str = "l2", dim: int | None = None, auto_compact: bool = True) -> None:
        super().__init__(metric=metric, dim=dim, auto_compact=auto_compact)
