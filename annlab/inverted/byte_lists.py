"""The rows of an IVFIndex with storage "sq8": a byte for every coordinate of their residuals, by list.

A scan reads a quarter of the bytes of float32 and multiplies four times as fast (`kernels/inverted/byte_codes.py`). The
few candidates are scored by the vectors, as always.

A list's step is made for most of its rows: those whose residuals are several times as large as is usual in the list
would make the codes of all others coarse. They are *loose* instead: always among the candidates of whoever probes the
list. So one value that is unlike all others spoils nothing.

What a code cannot say, e = x - (what the code stands for), is measured when a row is encoded. The value of a row holds
|e|^2 / 2, and so it is off by e.(c + r - q) only, which is small where rows and query are near each other.
"""

from typing import Any, ClassVar

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace
from annlab.common.progress import Progress
from annlab.inverted import checks
from annlab.inverted.storage import ALWAYS, OUTSIDE, USUAL, Cells, Storage, blocks_of, is_zero, nothing
from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.inverted import byte_codes as kernels
from annlab.kernels.inverted.flat import QUERIES_IN_GROUP
from annlab.kernels.inverted.loops import Operands
from annlab.kernels.simd.registers import LANES
from annlab.scan.centroids import half_squared_norms

MAX_DIM = 65_000  # above, sums of bytes could exceed int32
_LEVELS = 127  # on either side of a residual of zero
_THINNEST = 1e-3  # of the widest coordinate: thinner ones are not told apart from it


class ByteLists(Storage):
    """Codes of rows that are sorted by list.

    Attributes
    ----------
    codes : (n, stride) uint8
        128 behind the last coordinate.
    halves : (n,) float32
        |r|^2 / 2 of what the codes stand for, and of what they leave, and c.r if not `framed`; zeros for ip.
    widths : (dim,) float32
        Usual residuals of the coordinates.
    steps : (n_lists,) float32
        A code stands for step * width * (code - 128).
    framed : bool
        Whether queries are compared with a list about its centroid.
    """

    kernels: ClassVar[Any] = kernels
    finish: ClassVar[Any] = kernels.finish
    loss: ClassVar[float] = 0.1

    def __init__(self, cells: Cells, codes: np.ndarray, halves: np.ndarray, widths: np.ndarray, steps: np.ndarray,
                 loose: np.ndarray, framed: bool) -> None:  # fmt: skip
        self.cells, self.codes, self.halves, self.widths = cells, codes, halves, widths
        self.steps, self.loose, self.framed = steps, loose, framed

    @classmethod
    def of(cls, vectors: np.ndarray, cells: Cells, rng: np.random.Generator, threads: int = 1,
           progress: Progress = nothing, workspace: Workspace = IN_MEMORY) -> "ByteLists":  # fmt: skip
        """Find the widths of coordinates and the steps of lists, and encode all rows."""
        (n, dim), rows = vectors.shape, cells.sample(rng)
        widths = np.quantile(np.abs(cells.residuals(vectors[rows], cells.labels_of(rows))), USUAL, axis=0)
        widths = np.maximum(widths, _THINNEST * widths.max())
        widths = np.where(widths > 0, widths, 1.0).astype(np.float32)
        sizes, lengths = np.empty(n, np.float32), np.empty(n, np.float32)
        for some in blocks_of(n, dim):
            residuals = cells.residuals(vectors[some], cells.labels(some))
            sizes[some] = np.abs(residuals / widths).max(axis=1)
            lengths[some] = np.sqrt(2.0 * half_squared_norms(residuals))
        most = np.minimum(cells.largest(sizes), OUTSIDE * cells.usual(sizes))
        steps = np.maximum(most / _LEVELS * (1 + 1e-6), 1e-30).astype(np.float32)
        return cls.encoded(vectors, cells, widths, steps, cells.are_small(vectors, lengths), None)

    @classmethod
    def encoded(cls, vectors: np.ndarray, cells: Cells, widths: np.ndarray, steps: np.ndarray, framed: bool,
                labels: np.ndarray | None) -> "ByteLists":  # fmt: skip
        """Encode rows in lists of these labels, or (None) sorted by list."""
        (n, dim), is_product = vectors.shape, cells.conversion.metric.code == INNER_PRODUCT
        codes, halves = np.full((n, _stride(dim)), kernels.MIDDLE, np.uint8), np.zeros(n, np.float32)
        loose = np.zeros(cells.n_lists, np.int64)
        for some in blocks_of(n, dim):
            own = cells.labels(some) if labels is None else labels[some]
            residuals = cells.residuals(vectors[some], own)
            scale = steps[own, None].astype(np.float64) * widths
            levels = np.rint(residuals / scale)
            outside = np.abs(levels).max(axis=1) > _LEVELS
            levels = np.clip(levels, -_LEVELS, _LEVELS)
            codes[some, :dim] = levels + kernels.MIDDLE
            if not is_product:
                restored = levels * scale
                values = half_squared_norms(restored) + half_squared_norms(residuals - restored)
                if not framed:
                    values += np.einsum("ij,ij->i", cells.centroids[own], restored)
                halves[some] = values + 0.5 * is_zero(vectors[some], cells.conversion)
            halves[some][outside] = ALWAYS
            np.add.at(loose, own[outside], 1)
        return cls(cells, codes, halves, widths, steps, loose, framed)

    def asked(self, points: np.ndarray) -> kernels.Bytes:
        (n, stride), q = self.codes.shape, max(len(points), 1)
        rounded, units, sums = np.empty((q, stride), np.int8), np.empty(q, np.float32), np.empty(q, np.int32)
        if len(points) and not self.framed:
            kernels.quantize_queries(points, self.widths, rounded, units, sums)
        cells, lines = self.cells, LANES * stride // 64
        return kernels.Bytes(self.codes, self.halves, self.widths, self.steps, cells.centroids, cells.offsets, rounded,
                             units, sums, self.framed, len(self.widths), stride, n, lines)  # fmt: skip

    def operands(self) -> Operands:
        return Operands(np.int8, self.codes.shape[1], QUERIES_IN_GROUP)

    def row_bytes(self) -> int:
        return self.codes.shape[1] + 4

    def merged(self, vectors: np.ndarray, labels: np.ndarray, order: np.ndarray, offsets: np.ndarray,
               together: np.ndarray, workspace: Workspace) -> "ByteLists":  # fmt: skip
        new = self.encoded(vectors, self.cells, self.widths, self.steps, self.framed, labels)
        codes, halves = np.concatenate([self.codes, new.codes])[order], np.concatenate([self.halves, new.halves])[order]
        return ByteLists(self.cells.over(offsets), codes, halves, self.widths, self.steps, self.loose + new.loose,
                         self.framed)  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        return {"codes": self.codes, "halves": self.halves, "widths": self.widths, "steps": self.steps,
                "loose": self.loose, "framed": np.array([self.framed], np.uint8)}  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], cells: Cells) -> "ByteLists":
        (n, dim) = arrays["vectors"].shape
        if "steps" not in arrays:  # of a version whose codes were about the center of all data
            return cls.of(arrays["vectors"], cells, np.random.default_rng(0))
        codes = checks.array(arrays, "codes", np.uint8, (n, _stride(dim)))
        halves = checks.array(arrays, "halves", np.float32, (n,))
        widths = checks.numbers(arrays, "widths", (dim,), 0.0)
        steps = checks.numbers(arrays, "steps", (cells.n_lists,), 0.0)
        return cls(cells, codes, halves, widths, steps, checks.loose(arrays, cells), checks.flag(arrays, "framed"))


def _stride(dim: int) -> int:
    return -(-dim // kernels.ROW_BYTES) * kernels.ROW_BYTES
