"""The rows of an IVFIndex with storage "sq8": a byte for every coordinate, by list.

A scan reads a quarter of the bytes of float32 and multiplies four times as fast (`kernels/inverted/byte_codes.py`);
integer data of up to 256 levels lose nothing. The few candidates are scored by the vectors, as always.
"""

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.inverted.batch import Share, scan_lists, words_of
from annlab.inverted.one_query import OneQuery
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.inverted import byte_codes as kernels
from annlab.kernels.inverted.candidates import CHUNK_WIDTH
from annlab.kernels.inverted.flat import QUERIES_IN_GROUP
from annlab.quantizers import ScalarQuantizer
from annlab.scan.centroids import Conversion, half_squared_norms

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

    loss = 0.1  # of the neighbours that a calibrated search may miss, the share that codes are allowed to

    def __init__(self, conversion: Conversion, quantizer: ScalarQuantizer, codes: np.ndarray,
                 halves: np.ndarray) -> None:  # fmt: skip
        self.conversion, self.quantizer, self.codes, self.halves = conversion, quantizer, codes, halves

    @classmethod
    def of(cls, vectors: np.ndarray, conversion: Conversion) -> "ByteLists":
        """Take the range of every coordinate, and encode all rows."""
        low, high = np.full(vectors.shape[1], np.inf), np.full(vectors.shape[1], -np.inf)
        at_once = rows_at_once(vectors.shape[1])
        for start in range(0, len(vectors), at_once):
            points = conversion.points(vectors[start : start + at_once])
            low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
        return cls.encoded(vectors, conversion, ScalarQuantizer().fit(np.stack([low, high])))

    @classmethod
    def encoded(cls, vectors: np.ndarray, conversion: Conversion, quantizer: ScalarQuantizer) -> "ByteLists":
        """Encode rows that are sorted by list."""
        (n, dim), code = vectors.shape, conversion.metric.code
        codes, halves = np.zeros((n, _stride(dim)), np.uint8), np.zeros(n, np.float32)
        for start in range(0, n, rows_at_once(dim)):
            some = slice(start, start + rows_at_once(dim))
            points = conversion.points(vectors[some])
            codes[some, :dim] = quantizer.encode(points)
            if code != INNER_PRODUCT:
                halves[some] = half_squared_norms(points)
            if code == COSINE:  # a zero vector is at distance 1 from everything
                halves[some][~vectors[some].any(axis=1)] += np.float32(0.5)
        return cls(conversion, quantizer, codes, halves)

    def merged(self, vectors: np.ndarray, order: np.ndarray) -> "ByteLists":
        """These rows and those of `vectors` behind them, in another order."""
        new = self.encoded(vectors, self.conversion, self.quantizer)
        codes = np.concatenate([self.codes, new.codes])[order]
        return ByteLists(self.conversion, self.quantizer, codes, np.concatenate([self.halves, new.halves])[order])

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
        """The `keep` best rows by their codes: arguments and result as of `FlatLists.scan`."""
        q, stride, (words, words_each, has_alive) = len(y), self.codes.shape[1], words_of(alive)
        z, steps = np.empty((q, stride), np.int8), np.empty(q, np.float32)
        kernels.quantize_queries(y, self.quantizer.step, z, steps)

        def scan(share: Share) -> None:
            most = share.most_pairs + QUERIES_IN_GROUP
            kernels.scan_byte_lists(
                z, steps, self.codes, self.halves, offsets[share.first : share.last + 1], share.pair_offsets,
                share.pairs, probes.shape[1], words, words_each, has_alive, keep, keys, share.bounds, share.lengths,
                share.values, share.rows, np.empty((most, stride), np.int8), np.empty((most, CHUNK_WIDTH), np.float32),
                share.low, share.high,
            )  # fmt: skip

        return scan_lists(scan, offsets, probes, keep, keys, n_threads)

    def search_one(self, one: OneQuery) -> int:
        """As of `FlatLists`."""
        z = np.empty(self.codes.shape[1], np.int8)
        found: int = kernels.search_byte_lists_one(*one, self.quantizer.step, z, self.codes, self.halves)
        return found

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
