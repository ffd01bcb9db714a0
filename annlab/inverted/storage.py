"""What the three storages of inverted lists have in common: the cells that rows lie in, and how these are searched.

A storage holds what is scanned of the rows, sorted by list. `scan` answers a batch with the rows that are worth scoring
(`inverted/batch.py`), `search_one` a single query in one call of a kernel. The storages differ in what they hold and in
the kernels behind (`kernels/inverted/`); which rows are worth scoring is theirs to say:

    flat_lists.py    the vectors: all rows that can be among the k nearest
    byte_lists.py    a byte for every coordinate, and
    coded_lists.py   half a byte for two: as many rows as `shortlist` says, the best by their codes
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace, rows_at_once
from annlab.common.progress import Progress
from annlab.inverted.batch import Batch, scan
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.inverted.loops import Operands
from annlab.scan.centroids import Conversion, half_squared_norms

ALWAYS = np.float32(-1e30)  # half of a row that its code says little about: it is always among the best
_SAMPLE = 16384  # rows from which widths and codewords are learned
USUAL = 0.9  # quantile of the rows of a list that its codes are made for
OUTSIDE = 4.0  # times the usual residual: rows farther away do not make codes coarser, but are always scored
_SMALL = 8.0  # times smaller than the distances between lists: such lists are compared with pair by pair
_MANY_SMALL = 0.05  # share of the rows in small lists that makes this worth its time
_MARGIN = 2  # more candidates than asked for, at least
_EVERY_ROW = 2.0**62  # more than there can be


def nothing(what: str, share: float) -> None:
    """Progress that nobody wants to know of."""


@dataclass(frozen=True)
class Cells:
    """Where rows lie: the conversion of vectors to points, centroids (n_lists, dim) float32, offsets (n_lists + 1,)."""

    conversion: Conversion
    centroids: np.ndarray
    offsets: np.ndarray

    @property
    def n_lists(self) -> int:
        return len(self.centroids)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows of every list."""
        return np.diff(self.offsets)

    def labels(self, some: slice) -> np.ndarray:
        """The lists of some rows."""
        return self.labels_of(np.arange(some.start, some.stop))

    def labels_of(self, rows: np.ndarray) -> np.ndarray:
        """The list of every one of some rows."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def residuals(self, vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What is left of some vectors when the centroids of their lists are taken off: float64."""
        return self.conversion.rows(vectors) - self.centroids[labels]

    def over(self, offsets: np.ndarray) -> "Cells":
        """The same cells with other rows."""
        return replace(self, offsets=offsets)

    def usual(self, values: np.ndarray) -> np.ndarray:
        """Of a number for every row, the quantile of each list that most of its rows stay below; 0 for an empty one."""
        order = np.lexsort((values, np.repeat(np.arange(self.n_lists), self.sizes)))
        places = self.offsets[:-1] + np.floor((self.sizes - 1) * USUAL).astype(np.int64)
        result = np.zeros(self.n_lists)
        filled = self.sizes > 0
        result[filled] = values[order[places[filled]]]
        return result

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Of a number for every row, the largest in each list; 0 for an empty one."""
        result = np.zeros(self.n_lists)
        np.maximum.at(result, self.labels(slice(0, len(values))), values)
        return result

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Some rows, ascending."""
        n = int(self.offsets[-1])
        return np.sort(rng.choice(n, min(n, _SAMPLE), replace=False))

    def are_small(self, vectors: np.ndarray, lengths: np.ndarray) -> bool:
        """Whether many lists are small beside the distances between them; `lengths` (n,) are those of residuals."""
        if self.conversion.metric.code == INNER_PRODUCT:
            return False
        some = slice(None, None, max(1, len(vectors) // _SAMPLE))
        spread = np.median(np.sqrt(2.0 * half_squared_norms(self.conversion.rows(vectors[some]))))
        small = self.usual(lengths) * _SMALL < spread
        return bool(self.sizes[small].sum() > _MANY_SMALL * len(vectors))


class Storage:
    """Rows sorted by list, ready to be scanned.

    Attributes
    ----------
    cells : Cells
    loose : (n_lists,) int64
        Rows of each list that are scored in any case, because their codes say little about them.
    loss : float
        Of the neighbours that a calibrated search may miss, the share that codes are allowed to; 0: nothing is lost.
    """

    loss: ClassVar[float] = 0.0
    kernels: ClassVar[Any]
    finish: ClassVar[Any]
    cells: Cells
    loose: np.ndarray

    @property
    def conversion(self) -> Conversion:
        return self.cells.conversion

    @classmethod
    def of(cls, vectors: np.ndarray, cells: Cells, rng: np.random.Generator, threads: int = 1,
           progress: Progress = nothing, workspace: Workspace = IN_MEMORY) -> Self:  # fmt: skip
        """Learn what must be learned from vectors that are sorted by list, and encode them."""
        raise NotImplementedError

    def shortlist(self, k: int, factor: float) -> int:
        """How many rows `scan` is to keep for k neighbours, if it may be `factor` times as many."""
        return max(math.ceil(min(factor * k, _EVERY_ROW)), k + _MARGIN + k // 16)

    def scan(self, batch: Batch, keep: int) -> tuple[np.ndarray, np.ndarray]:
        """The `keep` best rows (q, m) of the probed lists, and what is tied with them, -1 padded; their number (q,)."""
        return scan(self, batch, keep)

    def asked(self, points: np.ndarray) -> Any:
        """The arrays that a kernel needs to scan the lists for some queries."""
        raise NotImplementedError

    def operands(self) -> Operands:
        """What the kernels make of a query."""
        raise NotImplementedError

    def search_one(self, one: Any, query: np.ndarray) -> int:
        """Answer one query (1, dim); returns how many rows were scored."""
        operands = self.operands()
        scratch = np.zeros(operands.stride, operands.dtype)
        kept: int = self.kernels.search_one(self.asked(query[:0]), one, query, scratch)
        return kept

    @cached_property
    def _most_loose(self) -> np.ndarray:
        return np.cumsum(np.append(0, np.sort(self.loose)[::-1]))

    def most_loose(self, n_probes: int) -> int:
        """The largest number of loose rows in so many lists."""
        return int(self._most_loose[min(n_probes, len(self._most_loose) - 1)])

    def row_bytes(self) -> int:
        """Bytes that a scan reads for a row."""
        raise NotImplementedError

    def merged(self, vectors: np.ndarray, labels: np.ndarray, order: np.ndarray, offsets: np.ndarray,
               together: np.ndarray, workspace: Workspace) -> Self:  # fmt: skip
        """These rows and those of `vectors`, of these labels, behind them, in another order with new offsets.

        `together` are all vectors in this order, which may leave out some of these rows.
        """
        raise NotImplementedError

    def over(self, vectors: np.ndarray) -> Self:
        """This storage over another array of the same vectors."""
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store besides the vectors."""
        raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], cells: Cells) -> Self:
        """From `arrays`; raises a ValueError where these do not fit the vectors and the cells."""
        raise NotImplementedError


def blocks_of(n: int, dim: int) -> list[slice]:
    """Ranges of rows to convert at a time."""
    at_once = rows_at_once(dim)
    return [slice(start, min(n, start + at_once)) for start in range(0, n, at_once)]


def is_zero(vectors: np.ndarray, conversion: Conversion) -> np.ndarray:
    """Which vectors are at cosine distance 1 from everything: half a square more than the formula says."""
    if conversion.metric.code != COSINE:
        return np.zeros(len(vectors), bool)
    return np.asarray(~vectors.any(axis=1))
