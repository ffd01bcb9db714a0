"""The rows of an IVFIndex with storage "pq4": 4-bit product codes of the residuals, by list.

A scan reads dim / 4 bytes of codes and a float for a row, not its 4 * dim bytes, and yields a shortlist, which `Index`
re-ranks by the vectors; these are read only for the shortlist, so they may lie on disk. What the codes are says
`kernels/inverted/product_codes.py`. Codewords stand for residuals in units of the usual length in their list, so that
the rows of small lists are told apart as well as those of large ones.

Rows that no codeword is near, those far outside of their list, are *loose*, as in `inverted/byte_lists.py`: always
among the candidates of whoever probes the list. Codewords are not learned from such rows.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from annlab.common.memory import IN_MEMORY, Workspace, rows_at_once
from annlab.common.progress import Progress
from annlab.inverted import checks
from annlab.inverted.storage import ALWAYS, OUTSIDE, Cells, Storage, blocks_of, is_zero, nothing
from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.inverted import byte_codes
from annlab.kernels.inverted import product_codes as kernels
from annlab.kernels.inverted.loops import Operands
from annlab.quantizers import ProductQuantizer
from annlab.scan.centroids import half_squared_norms

_MOST_GROUPS = 2048  # each takes milliseconds to learn its codewords, however few rows there are
_FARTHEST = 1e6  # times the usual length: coordinates of residuals beyond are cut before they are encoded


class CodedLists(Storage):
    """Codes of rows that are sorted by list.

    Attributes
    ----------
    quantizer : ProductQuantizer
    codes : (n_blocks + padding, groups, 64) uint8
        See `kernels/inverted/product_codes.py`.
    terms : (n + padding,) float32
        |r|^2 / 2 of every row, with r as its codes say, and c.r if not `framed`; zeros for ip.
    lengths : (n_lists,) float32
        Usual lengths of the residuals of a list, by which its codewords are multiplied.
    framed : bool
        Whether queries are compared with a list about its centroid.
    """

    kernels: ClassVar[Any] = kernels
    finish: ClassVar[Any] = byte_codes.finish
    loss: ClassVar[float] = 0.5

    def __init__(self, cells: Cells, quantizer: ProductQuantizer, codes: np.ndarray, terms: np.ndarray,
                 lengths: np.ndarray, loose: np.ndarray, framed: bool) -> None:  # fmt: skip
        self.cells, self.quantizer, self.codes, self.terms = cells, quantizer, codes, terms
        self.lengths, self.loose, self.framed = lengths, loose, framed
        self._block_offsets = block_offsets(cells.offsets)
        self._table_shape = codes.shape[1] * kernels.IN_GROUP, kernels.CODEWORDS

    @classmethod
    def of(cls, vectors: np.ndarray, cells: Cells, rng: np.random.Generator, threads: int = 1,
           progress: Progress = nothing, workspace: Workspace = IN_MEMORY) -> "CodedLists":  # fmt: skip
        """Learn codewords from the residuals of a sample, and encode all rows."""
        norms = np.empty(len(vectors), np.float32)
        for some in blocks_of(*vectors.shape):
            norms[some] = np.sqrt(2.0 * half_squared_norms(cells.residuals(vectors[some], cells.labels(some))))
        lengths = cells.usual(norms).astype(np.float32)
        lengths = np.where(lengths > 1e-30, lengths, np.float32(1.0))
        rows = cells.sample(rng)
        rows = rows[norms[rows] <= OUTSIDE * lengths[cells.labels_of(rows)]]
        labels = cells.labels_of(rows)
        residuals = (cells.residuals(vectors[rows], labels) / lengths[labels, None]).astype(np.float32)
        seed = int(rng.integers(2**31))
        quantizer = ProductQuantizer(sub_dim=sub_dim_for(vectors.shape[1]), seed=seed, n_threads=threads).fit(residuals)
        return cls.encoded(vectors, cells, quantizer, lengths, cells.are_small(vectors, norms), progress)

    @classmethod
    def encoded(cls, vectors: np.ndarray, cells: Cells, quantizer: ProductQuantizer, lengths: np.ndarray, framed: bool,
                progress: Progress = nothing) -> "CodedLists":  # fmt: skip
        """Encode rows that are sorted by list, a few lists at a time."""
        result, offsets = cls.empty(cells, quantizer, lengths, framed), cells.offsets
        for first, last in _parts(offsets, rows_at_once(vectors.shape[1])):
            start, stop = int(offsets[first]), int(offsets[last])
            result.put(first, last, *result._encode(vectors[start:stop], cells.labels(slice(start, stop))))
            progress("encoding", stop / len(vectors))
        return result

    def _encode(self, vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes (rows, m) uint8 and terms (rows,) float32 of vectors in lists of these labels; counts the loose."""
        cells, quantizer = self.cells, self.quantizer
        codes, terms = np.empty((len(vectors), len(quantizer.codebooks)), np.uint8), np.zeros(len(vectors), np.float32)
        for some in blocks_of(*vectors.shape):
            own, lengths = labels[some], self.lengths[labels[some], None].astype(np.float64)
            residuals = cells.residuals(vectors[some], own) / lengths
            outside = np.abs(residuals).max(axis=1) > _FARTHEST
            codes[some] = quantizer.encode(np.clip(residuals, -_FARTHEST, _FARTHEST))
            restored = quantizer.decode(codes[some])
            left = np.sqrt(2.0 * half_squared_norms(residuals - restored))
            outside |= left > OUTSIDE
            if cells.conversion.metric.code != INNER_PRODUCT:
                values = half_squared_norms(restored * lengths)
                if not self.framed:
                    values += np.einsum("ij,ij->i", cells.centroids[own], restored * lengths)
                terms[some] = values + 0.5 * is_zero(vectors[some], cells.conversion)
            terms[some][outside] = ALWAYS
            np.add.at(self.loose, own[outside], 1)
        return codes, terms

    @classmethod
    def empty(cls, cells: Cells, quantizer: ProductQuantizer, lengths: np.ndarray, framed: bool) -> "CodedLists":
        """Lists whose rows are still to be `put`."""
        groups = -(-len(quantizer.codebooks) // kernels.IN_GROUP)
        packed = np.zeros((block_offsets(cells.offsets)[-1] + kernels.PADDING_BLOCKS, groups, 64), np.uint8)
        terms = np.zeros(int(cells.offsets[-1]) + kernels.PADDING_TERMS, np.float32)
        loose = np.zeros(cells.n_lists, np.int64)
        return cls(cells, quantizer, packed, terms, lengths, loose, framed)

    def put(self, first: int, last: int, codes: np.ndarray, terms: np.ndarray) -> None:
        """Fill the lists first..last-1 with codes (rows, m) uint8 below 16 and terms (rows,)."""
        offsets = self.cells.offsets
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

    def merged(self, vectors: np.ndarray, labels: np.ndarray, order: np.ndarray, offsets: np.ndarray,
               together: np.ndarray, workspace: Workspace) -> "CodedLists":  # fmt: skip
        old = self.cells.offsets
        n, result = int(old[-1]), self.empty(self.cells.over(offsets), self.quantizer, self.lengths, self.framed)
        codes, terms = result._encode(vectors, labels)
        result.loose += self.loose
        terms = np.concatenate([self.terms[:n], terms])
        for first, last in _parts(offsets, rows_at_once(vectors.shape[1])):
            rows = order[offsets[first] : offsets[last]]
            mine, is_new = np.empty((len(rows), codes.shape[1]), np.uint8), rows >= n
            mine[~is_new] = self.unpacked(first, last, np.diff(old[first : last + 1]))[rows[~is_new] - old[first]]
            mine[is_new] = codes[rows[is_new] - n]
            result.put(first, last, mine, terms[rows])
        return result

    def asked(self, points: np.ndarray) -> kernels.Codes:
        q, books = max(len(points), 1), self.quantizer.codebooks
        tables = np.zeros((1 if self.framed else q, *self._table_shape), np.uint8)
        units, starts = np.empty(q, np.float32), np.empty(q, np.float32)
        entries = np.empty(self._table_shape, np.float32)
        if len(points) and not self.framed:
            kernels.fill_tables(points, books, entries, tables, units, starts)
        return kernels.Codes(self.codes, self.terms, books, self.lengths, self.cells.centroids, self.cells.offsets,
                             self._block_offsets, tables, units, starts, entries, self.framed, self.quantizer.dim,
                             books.shape[0], books.shape[1], self.codes.shape[1], 0)  # fmt: skip

    def operands(self) -> Operands:
        return Operands(np.uint8, self._table_shape[0] * self._table_shape[1], 2)

    def row_bytes(self) -> int:
        return self.codes.shape[1] * 4 + 4

    def arrays(self) -> dict[str, np.ndarray]:
        return {"codebooks": self.quantizer.codebooks, "codes": self.codes, "terms": self.terms,
                "lengths": self.lengths, "loose": self.loose, "framed": np.array([self.framed], np.uint8)}  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], cells: Cells) -> "CodedLists":
        n, dim = arrays["vectors"].shape
        quantizer = ProductQuantizer.from_codebooks(arrays["codebooks"], dim)
        if not np.abs(arrays["codebooks"]).max() < 1e15:
            raise ValueError("codebooks are not finite, or too large")
        groups = -(-len(quantizer.codebooks) // kernels.IN_GROUP)
        n_blocks = int(block_offsets(cells.offsets)[-1]) + kernels.PADDING_BLOCKS
        codes = checks.array(arrays, "codes", np.uint8, (n_blocks, groups, 64))
        terms = checks.array(arrays, "terms", np.float32, (n + kernels.PADDING_TERMS,))
        if "lengths" not in arrays:  # of a version that took all lists for equally large
            lengths, loose = np.ones(cells.n_lists, np.float32), np.zeros(cells.n_lists, np.int64)
            return cls(cells, quantizer, codes, terms, lengths, loose, False)
        lengths = checks.numbers(arrays, "lengths", (cells.n_lists,), 0.0)
        loose, framed = checks.loose(arrays, cells), checks.flag(arrays, "framed")
        return cls(cells, quantizer, codes, terms, lengths, loose, framed)


def sub_dim_for(dim: int) -> int:
    """Coordinates that share a codeword: two, or more where there would be too many groups to learn codewords for."""
    return 2 * -(-dim // (2 * _MOST_GROUPS))


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
