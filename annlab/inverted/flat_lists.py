"""The rows of an IVFIndex with storage "flat": vectors contiguous by list, and what a scan needs besides.

The scan reads the stored vectors themselves; half a number per row (h, and for cosine w, see
`kernels/inverted/flat.py`) is all that is added. Only where float32 sums over the vectors as they are would be poor
(float64 data, data far from the origin or of extreme magnitude) a centred, scaled float32 copy is made and scanned in
their place.
"""

from typing import Self

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace, joined, rows_at_once
from annlab.inverted.batch import Share, scan_lists, words_of
from annlab.inverted.one_query import OneQuery
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.inverted import flat as kernels
from annlab.kernels.inverted.candidates import CHUNK_WIDTH
from annlab.scan.centroids import Conversion, half_squared_norms, padded_dim

_FAR = 100.0  # times the spread: data whose center is farther away from the origin are centred
_NO_NUMBERS = np.empty(0, np.float32)


class FlatLists:
    """Rows sorted by list, ready to be scanned.

    Attributes
    ----------
    rows : (n, dim) float32
        The vectors, or a copy: centred and scaled for l2 and ip, normalised for cosine.
    halves, scales : (n,) float32
        h and w of every row; scales are empty unless the metric is cosine.
    """

    def __init__(self, conversion: Conversion, rows: np.ndarray, copied: bool, halves: np.ndarray,
                 scales: np.ndarray) -> None:  # fmt: skip
        self.conversion, self.rows, self.copied = conversion, rows, copied
        self.halves, self.scales = halves, scales

    @classmethod
    def of(cls, vectors: np.ndarray, conversion: Conversion, copied: bool | None = None,
           workspace: Workspace = IN_MEMORY) -> Self:  # fmt: skip
        """Measure the vectors, and copy them if need be (or as `copied` says)."""
        code, n = conversion.metric.code, len(vectors)
        if copied is None:
            copied = vectors.dtype != np.float32 or conversion.scale != 1.0 or _needs_copy(vectors, conversion)
        rows = workspace.empty(vectors.shape, np.float32) if copied else vectors
        halves = np.zeros(n, np.float32)
        scales = np.ones(n, np.float32) if code == COSINE else _NO_NUMBERS
        at_once = rows_at_once(vectors.shape[1])
        for start in range(0, n, at_once):
            some = slice(start, start + at_once)
            points = conversion.rows(vectors[some])
            if copied:
                rows[some] = points + conversion.center if code == COSINE else points
            if code != INNER_PRODUCT:
                halves[some] = half_squared_norms(points)
            if code == COSINE:
                norms = np.sqrt(2.0 * half_squared_norms(vectors[some]))
                zero = norms == 0  # at distance 1 from everything, half a square more than the formula says
                halves[some][zero] += np.float32(0.5)
                scales[some] = np.where(zero, 0.0, 1.0 if copied else 1.0 / np.where(zero, 1.0, norms))
        return cls(conversion, rows, copied, halves, scales)

    def scan(
        self,
        y: np.ndarray,
        offsets: np.ndarray,
        probes: np.ndarray,
        coarse: np.ndarray,
        keep: int,
        alive: np.ndarray | None,
        keys: np.ndarray,
        n_threads: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `keep` best rows (q, keep) of the probed lists for converted queries, -1 padded, and their number (q,).

        probes (q, p) and coarse, the surrogates of their centroids; alive: words (w,) for all or (q, w).
        """
        stride, (words, words_each, has_alive) = padded_dim(y.shape[1]), words_of(alive)

        def scan(share: Share) -> None:
            most = share.most_pairs + kernels.QUERIES_IN_GROUP
            kernels.scan_lists(
                y, self.rows, self.halves, self.scales, self.conversion.metric.code,
                offsets[share.first : share.last + 1], share.pair_offsets, share.pairs, probes.shape[1], words,
                words_each, has_alive, keep, keys, share.bounds, share.lengths, share.values, share.rows,
                np.empty((most, stride), np.float32), np.empty((most, CHUNK_WIDTH), np.float32), share.low, share.high,
            )  # fmt: skip

        return scan_lists(scan, offsets, probes, keep, keys, n_threads)

    def search_one(self, one: OneQuery) -> int:
        """Answer one query; returns how many rows were re-ranked."""
        found: int = kernels.search_lists_one(*one, self.rows, self.halves, self.scales)
        return found

    def row_bytes(self) -> int:
        """Bytes that a scan reads for a row."""
        return 4 * (self.rows.shape[1] + 1) + 4 * bool(len(self.scales))

    def merged(self, vectors: np.ndarray, order: np.ndarray, together: np.ndarray, workspace: Workspace) -> "FlatLists":
        """These rows and those of `vectors` behind them, in another order; `together` are all vectors in it."""
        more = FlatLists.of(vectors, self.conversion, self.copied)
        rows = joined(self.rows, more.rows, order, workspace) if self.copied else together
        scales = np.concatenate([self.scales, more.scales])[order] if len(self.scales) else _NO_NUMBERS
        halves = np.concatenate([self.halves, more.halves])[order]
        return FlatLists(self.conversion, rows, self.copied, halves, scales)

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store besides the vectors."""
        return {"halves": self.halves, "scales": self.scales} | ({"rows": self.rows} if self.copied else {})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], conversion: Conversion) -> "FlatLists":
        """From `arrays`; raises a ValueError where their shapes do not fit the vectors."""
        vectors, halves, scales = arrays["vectors"], arrays["halves"], arrays["scales"]
        rows = arrays.get("rows", vectors)
        expected = len(vectors) if conversion.metric.code == COSINE else 0
        if rows.shape != vectors.shape or rows.dtype != np.float32:
            raise ValueError(f"rows {rows.dtype} {rows.shape} do not fit vectors {vectors.shape}")
        if halves.shape != (len(vectors),) or halves.dtype != np.float32:
            raise ValueError(f"halves {halves.dtype} {halves.shape} do not fit {len(vectors)} vectors")
        if scales.shape != (expected,) or scales.dtype != np.float32:
            raise ValueError(f"scales {scales.dtype} {scales.shape}, but {expected} are needed")
        return cls(conversion, rows, "rows" in arrays, halves, scales)


def _needs_copy(vectors: np.ndarray, conversion: Conversion) -> bool:
    """Whether float32 sums over the vectors as they are would be poor."""
    some = vectors[:: max(1, len(vectors) // rows_at_once(vectors.shape[1]))].astype(np.float64)
    if conversion.metric.code == COSINE:
        norms = np.sqrt((some * some).sum(axis=1))
        norms = norms[norms > 0]
        return bool(len(norms)) and not 1e-10 < norms.min() <= norms.max() < 1e10
    if conversion.metric.code == INNER_PRODUCT:
        return False
    spread = float(np.sqrt(((some - conversion.center) ** 2).mean()))
    return float(np.abs(conversion.center).max()) > _FAR * spread
