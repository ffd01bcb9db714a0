"""Finding candidates by scanning all sign codes: the rows whose codes differ from the query's in the fewest bits.

A code is 16 to 64 bytes where a vector is hundreds, and comparing two takes a few instructions, so a scan of all codes
is ten to forty times as fast as one of the vectors. See `kernels/hashing/hamming.py` for how (and
`hamming_tables.py` for batches where the CPU does not count bits in registers), and for the layout:

    blocks   (ceil(n / 8), words, 8) uint64   the codes of eight rows, word by word
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self

import numpy as np

from annlab.common import pool
from annlab.core.column import Column
from annlab.kernels.hashing import hamming, hamming_tables, signs

_NO_WORDS = np.empty((0, 0), np.uint64)
_WORDS_AT_ONCE = 2**29  # of codes that are compared in one call, so that Ctrl-C is answered soon
_BATCH_FROM = 4 if hamming.COUNTS_BITS else 8  # queries: below, each reads the codes for itself
_BUFFER_BYTES = 16 * 2**20  # of the buffers of one block of queries


class Nearest(NamedTuple):
    """What a scan selected for each query, in the order of the rows, not of the distances.

    rows (q, keep) int64, -1 behind the last one; their Hamming distances (q, keep) int32; how many there are (q,).
    """

    rows: np.ndarray
    distances: np.ndarray
    lengths: np.ndarray


class CodeScan:
    """The codes of rows 0..n-1."""

    def __init__(self, blocks: Column, n: int) -> None:
        self.blocks, self.n = blocks, n

    @classmethod
    def build(cls, bits: np.ndarray) -> Self:
        """From codes (n, words)."""
        return cls(Column(np.empty((0, bits.shape[1], 8), np.uint64)), 0).extended(bits)

    def extended(self, bits: np.ndarray) -> Self:
        """With some more codes behind these; the arrays are shared where they have room."""
        n = self.n + len(bits)
        more = np.zeros((-(-n // 8) - len(self.blocks.array), bits.shape[1], 8), np.uint64)
        blocks = self.blocks.extended(more)
        if not blocks.array.flags.writeable:  # pragma: no cover - a mapped file is copy-on-write
            blocks = Column(blocks.array.copy())
        signs.interleave(bits, self.n, blocks.array)  # the last block's free lanes: nobody reads them yet
        return type(self)(blocks, n)

    def search(self, codes: np.ndarray, keep: int, alive: np.ndarray | None, n_threads: int) -> Nearest:
        """The `keep` rows nearest by (Hamming distance, row) to each code (q, words)."""
        keep = min(keep, self.n)
        words = _NO_WORDS if alive is None else np.atleast_2d(np.ascontiguousarray(alive))
        if len(codes) < _BATCH_FROM:
            n_threads = pool.awake(len(codes) * self.blocks.array.nbytes, n_threads)
        if len(codes) == 1 and n_threads == 1:
            return self._part(np.ascontiguousarray(codes[0]), keep, words.reshape(-1), 0, len(self.blocks.array))
        found = Nearest(np.empty((len(codes), keep), np.int64), np.empty((len(codes), keep), np.int32),
                        np.empty(len(codes), np.int64))  # fmt: skip
        found.rows.fill(-1)
        at_once = max(2 * hamming.QUERIES_IN_TILE, _WORDS_AT_ONCE // self.blocks.array.size)
        size = min(max(hamming.QUERIES_IN_TILE, _BUFFER_BYTES // (16 * keep)), at_once)
        for start in range(0, len(codes), size):
            pool.check()
            some = slice(start, start + size)
            masks = words[some] if len(words) > 1 else words
            part = Nearest(*(array[some] for array in found))
            if len(codes) < _BATCH_FROM or n_threads > 1:
                self._one_by_one(codes[some], keep, masks, n_threads, part)
            else:
                self._batch(codes[some], keep, np.ascontiguousarray(masks), part)
        return found

    def _batch(self, codes: np.ndarray, keep: int, alive: np.ndarray, found: Nearest) -> None:
        q, n_words = codes.shape
        padded = -(-q // hamming.QUERIES_IN_TILE) * hamming.QUERIES_IN_TILE
        counts, taken = hamming.selection(padded, n_words, keep)
        counts[q:, 0] = 0  # nothing is nearer than that
        if hamming.COUNTS_BITS:
            scratch = np.empty(hamming.QUERIES_IN_TILE * hamming.WORD_LANES, np.uint64)
            hamming.scan_batch(self.blocks.array, self.n, hamming.in_tiles(codes), q, alive, keep, scratch, counts,
                               taken)  # fmt: skip
        else:
            codes = np.ascontiguousarray(codes)
            hamming_tables.scan_batch(
                self.blocks.array, self.n, codes, hamming_tables.tables_of(codes), alive, keep,
                hamming_tables.scratch(n_words), -counts[:, 0].astype(np.int16), counts, taken,
            )  # fmt: skip
        found.lengths[:] = counts[:q, 2]
        for i, length in enumerate(found.lengths):
            found.distances[i, :length], found.rows[i, :length] = taken[i, :, :length]

    def _one_by_one(self, codes: np.ndarray, keep: int, alive: np.ndarray, n_threads: int, found: Nearest) -> None:
        n_blocks = len(self.blocks.array)
        ranges = pool.split(0, n_blocks, n_threads, hamming.BLOCKS_AT_ONCE) if n_threads > 1 else [(0, n_blocks)]
        for i, code in enumerate(np.ascontiguousarray(codes)):
            mask = alive[i if len(alive) > 1 else 0] if len(alive) else alive.reshape(-1)
            best = _merged(pool.run(partial(self._part, code, keep, mask), ranges, n_threads), keep)
            length = found.lengths[i] = best.lengths[0]
            found.rows[i, :length], found.distances[i, :length] = best.rows[0], best.distances[0]

    def _part(self, code: np.ndarray, keep: int, mask: np.ndarray, start: int, stop: int) -> Nearest:
        """The best of some blocks, in the order of the rows."""
        counts, taken = hamming.selection(1, len(code), keep)
        scratch = np.empty(hamming.BLOCKS_AT_ONCE * hamming.ROWS_IN_BLOCK, np.uint64)
        hamming.scan_one(self.blocks.array, self.n, start, stop, code, mask, keep, hamming.BITS_OF, scratch, counts,
                         taken)  # fmt: skip
        length = counts[0, 2]
        return Nearest(taken[:, 1, :length].astype(np.int64), taken[:, 0, :length], counts[:, 2])


def _merged(parts: Sequence[Nearest], keep: int) -> Nearest:
    """The best rows of several ranges, in the order of the rows, as one scan would have selected them."""
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([part.rows[0] for part in parts])
    distances = np.concatenate([part.distances[0] for part in parts])
    best = np.sort(np.argsort(distances, kind="stable")[:keep])
    return Nearest(rows[best][None], distances[best][None], np.array([len(best)]))
