"""The rows of an IVFIndex with storage "flat": vectors contiguous by list, and what a scan needs besides.

The scan reads the stored vectors themselves; half a number per row (h, and for cosine w, see
`kernels/inverted/flat.py`) is all that is added. Only where float32 sums over the vectors as they are would be poor
(float64 data, data far from the origin or of extreme magnitude) residuals about the lists' centroids are stored and
scanned in their place.

Why no neighbour is lost
------------------------
A scan keeps all rows that can be among the k nearest of the probed lists, given how it rounds. For a pair of a query
and a list, let d = |y| be the distance of the query from the centroid, R the length of the longest residual, and A what
|c| + |m| is at most (0 where residuals are scanned). A row's value V = |y|^2 / 2 + y.(c + m) + |r|^2 / 2 - y.x is
computed in float32, with u = 2^-24 and g = (dim / LANES + 20) u, which bounds the error of a sum of dim products for
each unit of their magnitudes (dim / LANES additions in every lane, then the lanes, and the products themselves). As
|x| <= A + R, it is off by less than

    E1 = g (d^2 / 2 + d (2 A + R) + R^2 / 2).

The y that is used is not the true one: the query was converted to float32 (it is off by `blur`, which the conversion
reports), y is rounded by u d, and a stored residual by u R. With b = blur + 2 u d + u R the distance of query and row
is off by b at most, and lies below d + R, so that half its square is off by less than

    E2 = b (d + R + b).

So the true value of a row lies in V - E .. V + E, E = E1 + E2 and what underflows, and so it does for cosine, where x
is the normalised row. The scan works with V - E. The k-th smallest of these, and twice the largest E among them, bounds
k true values, so rows above it are not among the k nearest (`kernels/inverted/candidates.py`). `ip` errs by
g |q| (A + R), with R the longest row as it is scanned, and A = |c| for residuals, where -q.c is a sum of its own.

About a centroid all these numbers are as small as the list. A query of which too little is known (it was so far away
that it had to be shortened, or is a zero vector for cosine) gets an E that lets every row pass.
"""

from typing import Any, ClassVar, Self

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace, joined, rows_at_once
from annlab.common.progress import Progress
from annlab.inverted import checks
from annlab.inverted.storage import Cells, Storage, blocks_of, is_zero, nothing
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.inverted import flat as kernels
from annlab.kernels.inverted.loops import Operands
from annlab.kernels.simd.registers import LANES
from annlab.scan.centroids import Conversion, half_squared_norms, padded_dim

_FAR = 100.0  # times the spread: data whose center is farther away from the origin are centred
_NO_NUMBERS = np.empty(0, np.float32)
_UP = 1 + 1e-6  # so that a rounded bound is none too small


class FlatLists(Storage):
    """Rows sorted by list, ready to be scanned.

    Attributes
    ----------
    rows : (n, dim) float32
        The vectors, or (`copied`) their residuals.
    halves, scales : (n,) float32
        h and w of every row; scales are empty unless the metric is cosine and rows are vectors.
    reach : (n_lists,) float32
        The longest residual of every list; for ip the longest row as it is scanned.
    """

    kernels: ClassVar[Any] = kernels
    finish: ClassVar[Any] = kernels.finish
    loss: ClassVar[float] = 0.0

    def __init__(self, cells: Cells, rows: np.ndarray, copied: bool, halves: np.ndarray, scales: np.ndarray,
                 reach: np.ndarray) -> None:  # fmt: skip
        self.cells, self.rows, self.copied = cells, rows, copied
        self.halves, self.scales, self.reach = halves, scales, reach
        self.loose = np.zeros(cells.n_lists, np.int64)
        conversion, lengths = cells.conversion, np.sqrt(2.0 * half_squared_norms(cells.centroids))
        is_product, center = conversion.metric.code == INNER_PRODUCT, conversion.center * conversion.scale
        if copied == is_product:  # what a sum that is not about the centroid has as its terms
            away = lengths if is_product else lengths + float(np.linalg.norm(center))
        else:
            away = np.zeros(cells.n_lists)
        self._away = (away * _UP).astype(np.float32)
        self._center = np.zeros(len(center), np.float32) if copied else center.astype(np.float32)

    @classmethod
    def of(cls, vectors: np.ndarray, cells: Cells, rng: np.random.Generator | None = None, threads: int = 1,
           progress: Progress = nothing, workspace: Workspace = IN_MEMORY) -> Self:  # fmt: skip
        """Measure the vectors, and take residuals of them if need be."""
        conversion = cells.conversion
        copied = vectors.dtype != np.float32 or conversion.scale != 1.0 or _needs_copy(vectors, conversion)
        return cls._measured(vectors, cells, None, copied, workspace)

    @classmethod
    def _measured(cls, vectors: np.ndarray, cells: Cells, labels: np.ndarray | None, copied: bool,
                  workspace: Workspace = IN_MEMORY) -> Self:  # fmt: skip
        """Of vectors in lists of these labels, or (None) sorted by list."""
        conversion, n = cells.conversion, len(vectors)
        code, scaled = conversion.metric.code, conversion.metric.code == COSINE and not copied
        rows = workspace.empty(vectors.shape, np.float32) if copied else vectors
        halves, reach = np.zeros(n, np.float32), np.zeros(cells.n_lists)
        scales = np.ones(n, np.float32) if scaled else _NO_NUMBERS
        for some in blocks_of(n, vectors.shape[1]):
            lists = cells.labels(some) if labels is None else labels[some]
            residuals = cells.residuals(vectors[some], lists)
            own = half_squared_norms(residuals) + 0.5 * is_zero(vectors[some], conversion)
            if copied:
                rows[some] = residuals
            if code == INNER_PRODUCT and not copied:
                own = half_squared_norms(vectors[some])
            if code != INNER_PRODUCT:
                halves[some] = own
            np.maximum.at(reach, lists, np.sqrt(2.0 * own))
            if scaled:
                norms = np.sqrt(2.0 * half_squared_norms(vectors[some]))
                scales[some] = np.where(norms > 0, 1.0 / np.where(norms > 0, norms, 1.0), 0.0)
        return cls(cells, rows, copied, halves, scales, (reach * _UP).astype(np.float32))

    def shortlist(self, k: int, factor: float) -> int:
        """The k nearest, and what cannot be told from them."""
        return k

    def asked(self, points: np.ndarray) -> kernels.Flat:
        n, dim = self.rows.shape
        cells, scaled = self.cells, len(self.scales) > 0
        return kernels.Flat(self.rows, self.halves, self.scales, self.reach, self._away, cells.centroids, self._center,
                            cells.offsets, self.copied, scaled, dim, n,
                            -(-LANES * dim // 16))  # fmt: skip

    def operands(self) -> Operands:
        return Operands(np.float32, padded_dim(self.rows.shape[1]), kernels.QUERIES_IN_GROUP)

    def row_bytes(self) -> int:
        return 4 * (self.rows.shape[1] + 1) + 4 * bool(len(self.scales))

    def merged(self, vectors: np.ndarray, labels: np.ndarray, order: np.ndarray, offsets: np.ndarray,
               together: np.ndarray, workspace: Workspace) -> "FlatLists":  # fmt: skip
        more = FlatLists._measured(vectors, self.cells, labels, self.copied)
        rows = joined(self.rows, more.rows, order, workspace) if self.copied else together
        scales = np.concatenate([self.scales, more.scales])[order] if len(self.scales) else _NO_NUMBERS
        halves, reach = np.concatenate([self.halves, more.halves])[order], np.maximum(self.reach, more.reach)
        return FlatLists(self.cells.over(offsets), rows, self.copied, halves, scales, reach)

    def over(self, vectors: np.ndarray) -> "FlatLists":
        if self.copied:
            return self
        return FlatLists(self.cells, vectors, False, self.halves, self.scales, self.reach)

    def arrays(self) -> dict[str, np.ndarray]:
        own = {"halves": self.halves, "scales": self.scales, "reach": self.reach}
        return own | ({"rows": self.rows} if self.copied else {})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], cells: Cells) -> "FlatLists":
        vectors = arrays["vectors"]
        copied = "rows" in arrays
        if "reach" not in arrays:  # of a version that measured rows about the center of all data
            return cls._measured(vectors, cells, None, copied)
        scaled = cells.conversion.metric.code == COSINE and not copied
        rows = checks.array(arrays, "rows" if copied else "vectors", np.float32, vectors.shape)
        halves = checks.array(arrays, "halves", np.float32, (len(vectors),))
        scales = checks.array(arrays, "scales", np.float32, (len(vectors) if scaled else 0,))
        reach = checks.numbers(arrays, "reach", (cells.n_lists,), 0.0)
        return cls(cells, rows, copied, halves, scales, reach)


def _needs_copy(vectors: np.ndarray, conversion: Conversion) -> bool:
    """Whether float32 sums over the vectors as they are would be poor."""
    some = vectors[:: max(1, len(vectors) // rows_at_once(vectors.shape[1]))].astype(np.float64)
    if conversion.metric.code == COSINE:
        norms = np.sqrt((some * some).sum(axis=1))
        norms = norms[norms > 0]
        return bool(len(norms)) and not 1e-10 < norms.min() <= norms.max() < 1e10
    spread = float(np.sqrt(((some - conversion.center) ** 2).mean()))
    return float(np.abs(conversion.center).max()) > _FAR * spread
