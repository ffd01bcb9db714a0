"""The rows of an IVFIndex with storage "sq8": a byte for every coordinate, by list.

A scan reads a quarter of the bytes of float32 and multiplies four times as fast (`kernels/bytelists.py`); integer data
of up to 256 levels lose nothing. The few candidates are scored by the vectors, as always.
"""

import numpy as np

from annlab.centroids import Conversion, group_by_label, half_squared_norms
from annlab.kernels import bytelists as kernels
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.lists import QUERIES_IN_GROUP, finish
from annlab.kernels.simd import LANES
from annlab.kernels.simd_bytes import LARGEST_SIGNED
from annlab.quantizers import ScalarQuantizer

_CHUNK = 65536  # rows encoded at a time
MAX_DIM = 65_000  # above, sums of bytes could exceed int32


class ByteLists:
    """Codes of rows that are sorted by list.

    Attributes
    ----------
    quantizer : ScalarQuantizer
        Of the converted rows.
    codes : (n, stride) uint8
        Zeros behind the last coordinate.
    halves : (n,) float32
        |x - m|^2 / 2 of every row, zeros for ip.
    """

    def __init__(self, conversion: Conversion, quantizer: ScalarQuantizer, codes: np.ndarray,
                 halves: np.ndarray) -> None:  # fmt: skip
        self.conversion, self.quantizer, self.codes, self.halves = conversion, quantizer, codes, halves

    @classmethod
    def of(cls, vectors: np.ndarray, conversion: Conversion) -> "ByteLists":
        """Take the range of every coordinate, and encode all rows."""
        low, high = np.full(vectors.shape[1], np.inf), np.full(vectors.shape[1], -np.inf)
        for start in range(0, len(vectors), _CHUNK):
            points = conversion.points(vectors[start : start + _CHUNK])
            low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
        return cls.encoded(vectors, conversion, ScalarQuantizer().fit(np.stack([low, high])))

    @classmethod
    def encoded(cls, vectors: np.ndarray, conversion: Conversion, quantizer: ScalarQuantizer) -> "ByteLists":
        """Encode rows that are sorted by list."""
        (n, dim), code = vectors.shape, conversion.metric.code
        codes, halves = np.zeros((n, _stride(dim)), np.uint8), np.zeros(n, np.float32)
        for start in range(0, n, _CHUNK):
            some = slice(start, start + _CHUNK)
            points = conversion.points(vectors[some])
            codes[some, :dim] = quantizer.encode(points)
            if code != INNER_PRODUCT:
                halves[some] = half_squared_norms(points)
            if code == COSINE:  # a zero vector is at distance 1 from everything
                halves[some][~vectors[some].any(axis=1)] += np.float32(0.5)
        return cls(conversion, quantizer, codes, halves)

    def scan(self, y: np.ndarray, offsets: np.ndarray, probes: np.ndarray, coarse: np.ndarray, keep: int,
             alive: np.ndarray | None, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The `keep` best rows by their codes: arguments and result as of `FlatLists.scan`."""
        q, capacity, stride = len(y), 3 * keep + 6 * LANES, self.codes.shape[1]
        values, rows = np.empty((q, capacity), np.float32), np.empty((q, capacity), np.int32)
        lengths, result = np.zeros(q, np.int64), np.empty((q, keep), np.int64)
        bounds = np.full(q, np.finfo(np.float32).max, np.float32)
        low = np.empty(capacity + 2 * LANES, np.float32)
        high, words = np.empty_like(low), np.zeros(1, np.uint64) if alive is None else alive
        weighted = y * self.quantizer.step
        steps = np.maximum(np.abs(weighted).max(axis=1, initial=0.0) / np.float32(LARGEST_SIGNED), np.float32(1e-30))
        z = np.zeros((q, stride), np.int8)
        z[:, : y.shape[1]] = np.rint(weighted / steps[:, None])
        pair_offsets, pairs = group_by_label(probes.ravel().astype(np.int32), len(offsets) - 1)
        kernels.scan_byte_lists(
            z, steps, self.codes, self.halves, offsets, pair_offsets, pairs, probes.shape[1], words.ravel(),
            words.shape[1] if words.ndim == 2 else 0, alive is not None, keep, keys, bounds, lengths, values, rows,
            np.zeros((QUERIES_IN_GROUP, stride), np.int8), np.empty(LANES, np.float32), np.zeros(LANES, np.float32),
            np.empty(LANES, np.float32), low, high,
        )  # fmt: skip
        finish(lengths, values, rows, keep, keys, low, high, result)
        return result, lengths

    def row_bytes(self) -> int:
        """Bytes that a scan reads for a row."""
        return self.codes.shape[1] + 4

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store besides the vectors."""
        levels = np.stack([self.quantizer.low, self.quantizer.step])
        return {"levels": levels, "codes": self.codes, "halves": self.halves}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], conversion: Conversion) -> "ByteLists":
        """From `arrays`; raises a ValueError where their shapes do not fit the vectors."""
        (n, dim), codes, halves, levels = arrays["vectors"].shape, arrays["codes"], arrays["halves"], arrays["levels"]
        if levels.shape != (2, dim) or levels.dtype != np.float32 or not np.abs(levels).max() < 1e15:
            raise ValueError(f"levels are {levels.dtype} {levels.shape}, not finite float32 (2, {dim})")
        if codes.shape != (n, _stride(dim)) or codes.dtype != np.uint8:
            raise ValueError(f"codes are {codes.dtype} {codes.shape}, not uint8 ({n}, {_stride(dim)})")
        if halves.shape != (n,) or halves.dtype != np.float32:
            raise ValueError(f"halves {halves.dtype} {halves.shape} do not fit {n} vectors")
        quantizer = ScalarQuantizer()
        quantizer.low, quantizer.step = levels[0], levels[1]
        return cls(conversion, quantizer, codes, halves)


def _stride(dim: int) -> int:
    return -(-dim // kernels.ROW_BYTES) * kernels.ROW_BYTES
