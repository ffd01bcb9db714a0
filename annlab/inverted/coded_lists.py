"""The rows of an IVFIndex with storage "pq4": 4-bit product codes of the residuals, by list.

A scan reads dim / 4 bytes of codes and a float for a row, not its 4 * dim bytes, and yields a shortlist, which `Index`
re-ranks by the vectors; these are read only for the shortlist, so they may lie on disk.
`kernels/inverted/product_codes.py` explains the codes.
"""

from collections.abc import Iterator

import numpy as np

from annlab.common.memory import rows_at_once
from annlab.common.progress import Progress
from annlab.inverted.batch import Share, scan_lists, words_of
from annlab.inverted.one_query import OneQuery
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.inverted import product_codes as kernels
from annlab.kernels.inverted.candidates import CHUNK_WIDTH
from annlab.quantizers import ProductQuantizer
from annlab.scan.centroids import Conversion, half_squared_norms

_TRAINING_ROWS = 16384


class CodedLists:
    """Codes of rows that are sorted by list.

    Attributes
    ----------
    quantizer : ProductQuantizer
    codes : (n_blocks + padding, groups, 64) uint8
        See `kernels/inverted/product_codes.py`.
    terms : (n + padding,) float32
        |r|^2 / 2 + c.r of every row, with r as its codes say; zeros for ip.
    """

    loss = 0.5  # of the neighbours that a calibrated search may miss, the share that codes are allowed to

    def __init__(self, conversion: Conversion, quantizer: ProductQuantizer, offsets: np.ndarray, codes: np.ndarray,
                 terms: np.ndarray) -> None:  # fmt: skip
        self.conversion, self.quantizer, self.codes, self.terms = conversion, quantizer, codes, terms
        self._block_offsets = block_offsets(offsets)
        self._table_shape = codes.shape[1] * kernels.IN_GROUP, kernels.CODEWORDS

    @classmethod
    def of(cls, vectors: np.ndarray, conversion: Conversion, centroids: np.ndarray, offsets: np.ndarray,
           rng: np.random.Generator, threads: int,
           progress: Progress = lambda what, share: None) -> "CodedLists":  # fmt: skip
        """Learn codewords from the residuals of a sample, and encode all rows."""
        rows = np.sort(rng.choice(len(vectors), min(len(vectors), _TRAINING_ROWS), replace=False))
        residuals = conversion.points(vectors[rows]) - centroids[_labels(offsets, rows)]
        seed = int(rng.integers(2**31))
        quantizer = ProductQuantizer(seed=seed, n_threads=threads).fit(residuals)
        return cls.encoded(vectors, conversion, quantizer, centroids, offsets, progress)

    @classmethod
    def encoded(cls, vectors: np.ndarray, conversion: Conversion, quantizer: ProductQuantizer, centroids: np.ndarray,
                offsets: np.ndarray, progress: Progress = lambda what, share: None) -> "CodedLists":  # fmt: skip
        """Encode rows that are sorted by list, a few lists at a time."""
        result = cls.empty(conversion, quantizer, offsets)
        for first, last in _parts(offsets, rows_at_once(vectors.shape[1])):
            start, stop = int(offsets[first]), int(offsets[last])
            labels = np.repeat(np.arange(first, last), np.diff(offsets[first : last + 1]))
            codes, terms = _codes(vectors[start:stop], conversion, quantizer, centroids, labels)
            result.put(first, last, offsets, codes, terms)
            progress("encoding", stop / len(vectors))
        return result

    @classmethod
    def empty(cls, conversion: Conversion, quantizer: ProductQuantizer, offsets: np.ndarray) -> "CodedLists":
        """Lists whose rows are still to be `put`."""
        groups = -(-len(quantizer.codebooks) // kernels.IN_GROUP)
        packed = np.zeros((block_offsets(offsets)[-1] + kernels.PADDING_BLOCKS, groups, 64), np.uint8)
        terms = np.zeros(int(offsets[-1]) + kernels.PADDING_TERMS, np.float32)
        return cls(conversion, quantizer, offsets, packed, terms)

    def put(self, first: int, last: int, offsets: np.ndarray, codes: np.ndarray, terms: np.ndarray) -> None:
        """Fill the lists first..last-1 with codes (rows, m) uint8 below 16 and terms (rows,)."""
        own = offsets[first : last + 1] - offsets[first]
        kernels.pack_codes(codes, own, self._block_offsets[first : last + 1], self.codes)
        self.terms[offsets[first] : offsets[last]] = terms

    def unpacked(self, first: int, last: int, sizes: np.ndarray) -> np.ndarray:
        """The codes (rows, m) of the lists first..last-1, which have these sizes."""
        start, stop = self._block_offsets[first], self._block_offsets[last]
        bytes_of = self.codes[start:stop].reshape(stop - start, -1, 4, kernels.BLOCK_ROWS).transpose(0, 3, 1, 2)
        codes = np.concatenate([bytes_of & 15, bytes_of >> 4], axis=3)  # (blocks, rows, groups, IN_GROUP)
        codes = codes.reshape(-1, codes.shape[2] * codes.shape[3])[:, : len(self.quantizer.codebooks)]
        starts = (self._block_offsets[first:last] - start) * kernels.BLOCK_ROWS
        return codes[np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())]

    def merged(self, vectors: np.ndarray, labels: np.ndarray, order: np.ndarray, old: np.ndarray, offsets: np.ndarray,
               centroids: np.ndarray) -> "CodedLists":  # fmt: skip
        """These rows (by the offsets `old`) and those of `vectors`, of these labels, in the order of new lists."""
        n, result = int(old[-1]), self.empty(self.conversion, self.quantizer, offsets)
        codes, terms = _codes(vectors, self.conversion, self.quantizer, centroids, labels)
        terms = np.concatenate([self.terms[:n], terms])
        for first, last in _parts(offsets, rows_at_once(vectors.shape[1])):
            rows = order[offsets[first] : offsets[last]]
            mine, is_new = np.empty((len(rows), codes.shape[1]), np.uint8), rows >= n
            mine[~is_new] = self.unpacked(first, last, np.diff(old[first : last + 1]))
            mine[is_new] = codes[rows[is_new] - n]
            result.put(first, last, offsets, mine, terms[rows])
        return result

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
        q, (words, words_each, has_alive) = len(y), words_of(alive)
        tables, steps = np.zeros((q, *self._table_shape), np.uint8), np.empty(q, np.float32)
        starts = np.empty_like(steps)
        kernels.fill_tables(y, self.quantizer.codebooks, np.empty(self._table_shape, np.float32), tables, steps, starts)

        def scan(share: Share) -> None:
            kernels.scan_codes(
                tables, steps, starts, self.codes, self.terms, offsets[share.first : share.last + 1],
                self._block_offsets[share.first : share.last + 1], share.pair_offsets, share.pairs, coarse.ravel(),
                probes.shape[1], words, words_each, has_alive, keep, keys, share.bounds, share.lengths, share.values,
                share.rows, np.empty((2, CHUNK_WIDTH), np.float32), share.low, share.high,
            )  # fmt: skip

        return scan_lists(scan, offsets, probes, keep, keys, n_threads)

    def search_one(self, one: OneQuery) -> int:
        """As of `FlatLists`."""
        entries, table = np.empty(self._table_shape, np.float32), np.zeros(self._table_shape, np.uint8)
        found: int = kernels.search_codes_one(
            *one, self.quantizer.codebooks, entries, table, self.codes, self.terms, self._block_offsets
        )
        return found

    def row_bytes(self) -> int:
        """Bytes that a scan reads for a row."""
        return self.codes.shape[1] * 4 + 4

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store besides the vectors."""
        return {"codebooks": self.quantizer.codebooks, "codes": self.codes, "terms": self.terms}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], conversion: Conversion) -> "CodedLists":
        """From `arrays`; raises a ValueError where their shapes do not fit the vectors and the lists."""
        (n, dim), codes, terms = arrays["vectors"].shape, arrays["codes"], arrays["terms"]
        quantizer = ProductQuantizer.from_codebooks(arrays["codebooks"], dim)
        if not np.abs(arrays["codebooks"]).max() < 1e15:
            raise ValueError("codebooks are not finite, or too large")
        offsets = arrays["list_offsets"]
        groups = -(-len(quantizer.codebooks) // kernels.IN_GROUP)
        expected = (int(block_offsets(offsets)[-1]) + kernels.PADDING_BLOCKS, groups, 64)
        if codes.dtype != np.uint8 or codes.shape != expected:
            raise ValueError(f"codes are {codes.dtype} {codes.shape}, not uint8 {expected}")
        if terms.dtype != np.float32 or terms.shape != (n + kernels.PADDING_TERMS,):
            raise ValueError(f"terms are {terms.dtype} {terms.shape}, not float32 ({n + kernels.PADDING_TERMS},)")
        return cls(conversion, quantizer, offsets, codes, terms)


def _codes(vectors: np.ndarray, conversion: Conversion, quantizer: ProductQuantizer, centroids: np.ndarray,
           labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Codes (rows, m) uint8 and terms (rows,) float32 of vectors in lists of these labels."""
    code, at_once = conversion.metric.code, rows_at_once(vectors.shape[1])
    codes, terms = np.empty((len(vectors), len(quantizer.codebooks)), np.uint8), np.zeros(len(vectors), np.float32)
    for start in range(0, len(vectors), at_once):
        some = slice(start, start + at_once)
        own = centroids[labels[some]]
        codes[some] = quantizer.encode(conversion.points(vectors[some]) - own)
        if code != INNER_PRODUCT:
            restored = quantizer.decode(codes[some])
            terms[some] = half_squared_norms(restored) + np.einsum("ij,ij->i", own, restored, dtype=np.float64)
        if code == COSINE:  # a zero vector is at distance 1 from everything
            terms[some][~vectors[some].any(axis=1)] += np.float32(0.5)
    return codes, terms


def _labels(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The list of every row."""
    return np.searchsorted(offsets, rows, side="right") - 1


def _parts(offsets: np.ndarray, rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of lists with about so many rows each."""
    first, n_lists = 0, len(offsets) - 1
    while first < n_lists:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1)
        yield first, last
        first = last


def block_offsets(offsets: np.ndarray) -> np.ndarray:
    """The first block of every list, and behind them the number of blocks: int64."""
    result = np.zeros(len(offsets), np.int64)
    np.cumsum(-(-np.diff(offsets) // kernels.BLOCK_ROWS), out=result[1:])
    return result
