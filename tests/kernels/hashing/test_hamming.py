"""Scans of sign codes against NumPy, one query at a time, in batches and by several threads."""

import numpy as np
import pytest

from annlab.common import rowsets
from annlab.hashing.scan import CodeScan
from annlab.kernels.hashing import hamming_tables


@pytest.mark.parametrize("words", [1, 3, 4, 8, 40])
@pytest.mark.parametrize("n", [1, 7, 8, 100, 1003])
def test_a_scan_selects_by_distance_then_row(words, n):
    rng = np.random.default_rng(n + words)
    codes = rng.integers(0, 2**63, (n, words), np.uint64) & rng.integers(0, 2**63, (n, words), np.uint64)
    queries = rng.integers(0, 2**63, (11, words), np.uint64)
    codes[n // 2 :: 3] = codes[0]  # ties
    codes[n - 1] = ~queries[0]  # as far as can be
    half = CodeScan.build(codes[: n // 2]) if n > 1 else None
    scan = half.extended(codes[n // 2 :]) if half else CodeScan.build(codes)
    living = rng.random((11, n)) < 0.6
    distances = np.bitwise_count(codes[None] ^ queries[:, None]).sum(axis=2).astype(int)
    for alive, kind in ((np.ones((11, n), bool), None), (living[:1].repeat(11, 0), 0), (living, 1)):
        words_of = None if kind is None else rowsets.pack(alive[0] if kind == 0 else alive)
        for keep in (1, 5, n):
            for threads, some in ((1, 11), (1, 2), (3, 11)):
                found = scan.search(queries[:some], keep, words_of, threads)
                for i in range(some):
                    rows, length = np.flatnonzero(alive[i]), found.lengths[i]
                    expected = np.sort(rows[np.lexsort((rows, distances[i, rows]))][:keep])
                    np.testing.assert_array_equal(found.rows[i, :length], expected)
                    np.testing.assert_array_equal(found.distances[i, :length], distances[i, expected])
                    assert (found.rows[i, length:] == -1).all()


def test_tables_count_differing_bits_of_two_queries_in_the_halves_of_a_byte():
    rng = np.random.default_rng(0)
    queries = rng.integers(0, 2**63, (11, 2), np.uint64)
    tables = hamming_tables.tables_of(queries)
    assert tables.shape == (2, 33, hamming_tables.PAIRS_IN_TILE, 16)
    for i, query in enumerate(queries):
        own = tables[i // 8, :, i % 8 // 2] >> (4 * (i % 2)) & 15
        assert not own[32].any()  # the padding
        for position in range(32):
            nibble = int(query[position // 16]) >> (4 * (position % 16)) & 15
            assert own[position].tolist() == [(nibble ^ value).bit_count() for value in range(16)]


def test_tables_of_long_codes_are_summed_in_sections():
    """Where a section's sum does not fit a byte, rows as far as can be are found as such."""
    rng = np.random.default_rng(1)
    queries = rng.integers(0, 2**63, (16, 12), np.uint64)
    codes = np.vstack([~queries[0], queries[1], np.hstack([~queries[2, :4], queries[2, 4:]]), queries[3:8]])
    found = CodeScan.build(codes).search(queries, 2, None, 1).rows
    distances = np.bitwise_count(codes[None] ^ queries[:, None]).sum(axis=2).astype(int)
    expected = np.sort(np.argsort(distances, axis=1, kind="stable")[:, :2], axis=1)
    np.testing.assert_array_equal(found, expected)
