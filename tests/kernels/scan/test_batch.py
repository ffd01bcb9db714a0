"""The scans: whatever the sizes, filters and ties, the candidates contain the true k nearest."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from annlab.common import rowsets
from annlab.common.statistics import N_COUNTERS
from annlab.distances import get_metric
from annlab.kernels import tile
from annlab.kernels.scan import batch
from annlab.kernels.tile import PANEL_ROWS, QUERIES_IN_TILE
from annlab.scan.scanner import Scanner
from tests import oracle


def check(vectors, queries, metric, k, alive=None, keys=None, scanner=None):
    """Assert that the candidates of a scan contain the k nearest, are allowed, and occur once."""
    n = len(vectors)
    keys = np.arange(n) if keys is None else keys
    scanner = scanner or Scanner(vectors, get_metric(metric))
    words = None if alive is None else rowsets.pack(alive)
    counters = np.zeros((len(queries), N_COUNTERS), np.int64)
    found = scanner.search(queries, k, words, keys, 1, counters)
    _, expected = oracle.nearest(queries, keys, vectors, metric, k, alive)
    for i, rows in enumerate(found):
        rows = rows[rows >= 0]
        assert len(set(rows.tolist())) == len(rows) and (rows < n).all()
        if alive is not None:
            assert np.broadcast_to(alive, (len(queries), n))[i][rows].all()
        missed = set(expected[i][expected[i] >= 0].tolist()) - set(keys[rows].tolist())
        assert not missed, f"query {i} misses {missed}"
    return found


SIZES = [1, 2, PANEL_ROWS - 1, PANEL_ROWS, PANEL_ROWS + 1, 3 * PANEL_ROWS + 5, 1000]


@pytest.mark.parametrize("n_queries", [1, 3, 4, QUERIES_IN_TILE - 1, QUERIES_IN_TILE, QUERIES_IN_TILE + 1, 40])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_batches_of_every_size_find_the_nearest(metric, n_queries):
    rng = np.random.default_rng(n_queries)
    for n in SIZES:
        for dim in (1, 5, 16, 19, 40):
            vectors = rng.standard_normal((n, dim)).astype(np.float32)
            queries = rng.standard_normal((n_queries, dim)).astype(np.float32)
            found = check(vectors, queries, metric, 3)
            if n > 200 and dim > 1:
                assert (found >= 0).sum(axis=1).max() < n, "a scan that keeps everything selects nothing"


@given(
    metric=st.sampled_from(["l2", "cosine", "ip"]),
    n=st.integers(1, 300),
    n_queries=st.integers(1, 20),
    dim=st.integers(1, 9),
    k=st.integers(1, 80),
    kind=st.sampled_from(["grid", "normal", "far", "mixed"]),
    filtered=st.sampled_from(["none", "shared", "each"]),
    seed=st.integers(0, 999),
)
def test_no_neighbour_is_lost_on_any_kind_of_rows(metric, n, n_queries, dim, k, kind, filtered, seed):
    rng = np.random.default_rng(seed)
    vectors = {
        "grid": lambda: rng.integers(-1, 2, size=(n, dim)),
        "normal": lambda: rng.standard_normal((n, dim)),
        "far": lambda: 1e4 + 1e-3 * rng.standard_normal((n, dim)),
        "mixed": lambda: 10.0 ** rng.uniform(-6, 6, (n, 1)) * rng.standard_normal((n, dim)),
    }[kind]().astype(np.float32)
    queries = vectors[rng.integers(n, size=n_queries)] + rng.choice([0, 0.5], size=(n_queries, 1)).astype(np.float32)
    alive = {
        "none": None,
        "shared": rng.random(n) < rng.random(),
        "each": rng.random((n_queries, n)) < rng.random((n_queries, 1)),
    }[filtered]
    check(vectors, queries, metric, k, alive, rng.permutation(2 * n)[:n])


@pytest.mark.parametrize("n_queries", [1, 13])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_ties_that_overflow_every_buffer(metric, n_queries):
    """Thousands of rows at one distance: the smallest keys win, though no buffer holds them all."""
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.standard_normal((2, 6)), 4000, axis=0).astype(np.float32)
    check(vectors, vectors[[0] * n_queries] + np.float32(0.01), metric, 5, keys=rng.permutation(len(vectors)))


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_ranges_of_rows_together_find_what_one_scan_finds(metric):
    """Threads scan ranges of rows: together they find what one scan finds."""
    rng = np.random.default_rng(2)
    vectors = rng.integers(-2, 3, size=(700, 8)).astype(np.float32)
    queries = rng.integers(-2, 3, size=(5, 8)).astype(np.float32)
    scanner = Scanner(vectors, get_metric(metric))
    for search in (scanner._scan_batch, scanner._scan_single):
        parts = [search(queries, 9, None, None, a, b, 400) for a, b in [(0, 64), (64, 640), (640, 700)]]
        assert all(ok.all() for _, ok in parts)
        for i, expected in enumerate(oracle.nearest(queries, np.arange(700), vectors, metric, 9)[1]):
            found = np.concatenate([rows[i] for rows, _ in parts])
            assert set(expected.tolist()) <= set(found.tolist())
            assert all(((rows[i] >= a) & (rows[i] < b) | (rows[i] == -1)).all()
                       for (rows, _), (a, b) in zip(parts, [(0, 64), (64, 640), (640, 700)]))  # fmt: skip


def test_radius_scans_go_on_where_a_buffer_is_full():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((9000, 3)).astype(np.float32)
    scanner = Scanner(vectors, get_metric("l2"))
    counters = np.zeros((2, N_COUNTERS), np.int64)
    queries = vectors[:2].copy()
    for alive in (None, rng.random(9000) < 0.7):
        words = None if alive is None else rowsets.pack(alive)
        limits, rows = scanner.search_radius(queries, 100.0, words, 1, counters)
        everything = np.arange(9000) if alive is None else np.flatnonzero(alive)
        for i in range(2):
            np.testing.assert_array_equal(np.sort(rows[limits[i] : limits[i + 1]]), everything)


def test_surrogates_are_within_the_proven_bound():
    """The derivation at the head of scan/scanner.py, measured: |s - R| <= c (4 |q|^2 + 3 R)."""
    rng = np.random.default_rng(4)
    for dim in (3, 50, 300):
        c = (dim + 8) * 2.0**-24
        vectors = (5 + rng.standard_normal((PANEL_ROWS, dim))).astype(np.float32)
        queries = (5 + rng.standard_normal((7, dim))).astype(np.float32)
        x, q = vectors.astype(np.float64), queries.astype(np.float64)
        true = (x**2).sum(axis=1) / 2 - q @ x.T
        s = (-queries) @ vectors.T + (vectors**2).sum(axis=1) / 2
        squared = (q**2).sum(axis=1)[:, None]
        assert (np.abs(s - true) <= c * (4 * squared + 3 * (true + squared / 2))).all()
        slack, slope = Scanner(vectors, get_metric("l2"))._batch_slack(squared[:, 0], dim)
        assert (slack >= 9 * c * squared[:, 0]).all() and slope >= 7 * c


def test_panels_are_transposed_rows():
    """`scan_batch` with one query per coordinate reads every packed element back."""
    assert PANEL_ROWS == 2 * batch.LANES and tile.ACCUMULATORS == 2 * QUERIES_IN_TILE
    rng = np.random.default_rng(5)
    for dim in (1, batch.LANES - 1, batch.LANES, batch.LANES + 3):
        vectors = rng.permutation(5 * PANEL_ROWS * dim).reshape(-1, dim).astype(np.float32)[: 5 * PANEL_ROWS - 3]
        axes = np.eye(dim, dtype=np.float32)
        for sign in (1, -1):
            check(vectors, sign * np.vstack([axes] * 4), "ip", 2)
