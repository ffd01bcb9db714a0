"""Scoring: what the screening in float32 leaves out is never among the k nearest by definition."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import annlab
from annlab.kernels import scoring
from annlab.kernels.distance import COSINE, INNER_PRODUCT, L2
from annlab.kernels.simd.path import entry
from annlab.kernels.simd.registers import pointer
from tests import oracle

CODES = {"l2": L2, "cosine": COSINE, "ip": INNER_PRODUCT}


def test_score_takes_the_best_of_both_parts():
    rng = np.random.default_rng(3)
    vectors = rng.integers(-2, 3, size=(60, 5)).astype(np.float32)
    queries, ids = vectors[:4] + np.float32(0.5), rng.permutation(500)[:60]
    for split in (0, 25, 60):
        for k in (1, 7, 50):
            candidates = np.array([rng.permutation(60)[:33] for _ in queries])
            candidates[:, ::5] = -1
            distances, found = np.full((4, k), np.inf), np.full((4, k), -1)
            sealed, tail = vectors[:split].copy(), vectors[split:].copy()
            scoring.score(queries, sealed, tail, ids, candidates, L2, scoring.scratch(candidates), distances, found)
            for i, some in enumerate(candidates):
                rows = some[some >= 0]
                expected = oracle.nearest(queries[i : i + 1], ids[rows], vectors[rows], "l2", k)
                np.testing.assert_array_equal(found[i], expected[1][0])
                np.testing.assert_array_equal(distances[i].astype(np.float32), expected[0][0])


@entry
def bounds(path, query, vectors, candidates, metric, lower, upper):
    """`intervals`, for Python."""
    x, rows = pointer(vectors), pointer(candidates)
    entries = scoring.Entries(x, vectors.shape[0], x, rows, query.shape[0], metric)
    scoring.intervals(pointer(query), entries, rows, candidates.shape[0], pointer(lower), pointer(upper))


def check(vectors: np.ndarray, queries: np.ndarray, metric: str, k: int, seed: int) -> None:
    """Scoring all rows, in any order and with gaps, gives what measuring all of them does."""
    rng, n = np.random.default_rng(seed), len(vectors)
    ids, split = rng.permutation(3 * n)[:n], n // 3
    candidates = np.full((len(queries), n + 7), -1)
    for some in candidates:
        some[rng.permutation(n + 7)[:n]] = rng.permutation(n)
    distances, found = np.full((len(queries), k), np.inf), np.full((len(queries), k), -1)
    scoring.score(queries, vectors[:split].copy(), vectors[split:].copy(), ids, candidates, CODES[metric],
                  scoring.scratch(candidates), distances, found)  # fmt: skip
    true = oracle.in_float64(queries, vectors, metric)
    for i in range(len(queries)):
        order = np.lexsort((ids, true[i]))[:k]
        np.testing.assert_array_equal(distances[i], true[i][order])
        np.testing.assert_array_equal(found[i], ids[order])


KINDS = ("spread", "near", "equal", "grid", "far", "huge", "tiny", "mixed", "zeros")


@pytest.mark.parametrize("metric", sorted(CODES))
@pytest.mark.parametrize("kind", KINDS)
@hypothesis.given(
    dim=st.integers(1, 70),
    dtype=st.sampled_from(["float32", "float32", "float64"]),
    k=st.one_of(st.integers(1, 12), st.integers(13, 120)),
    seed=st.integers(0, 999),
)
def test_screening_changes_no_answer(dim: int, metric: str, dtype: str, kind: str, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = rng.normal(size=(120, dim)), rng.normal(size=(3, dim))
    if kind == "near":  # all distances differ in the last digits only
        vectors = queries[:1] + 1e-6 * vectors
    elif kind == "equal":
        vectors = np.repeat(vectors[:4], 30, axis=0)
    elif kind == "grid":
        vectors, queries = np.rint(2 * vectors), np.rint(2 * queries)
    elif kind == "far":
        vectors, queries = vectors + 1e4, queries + 1e4
    elif kind == "huge":
        vectors, queries = vectors * 1e17, queries * 1e17
    elif kind == "tiny":
        vectors, queries = vectors * 1e-22, queries * 1e-22
    elif kind == "mixed":
        vectors *= 10.0 ** rng.integers(-22, 17, size=(120, 1))
    elif kind == "zeros":
        vectors[::2], queries[0] = 0, 0
    check(vectors.astype(dtype), queries.astype(dtype), metric, k, seed)


@pytest.mark.parametrize("kind", ["spread", "grid"])
@pytest.mark.parametrize(("n", "k"), [(512, 300), (513, 300), (512, 512), (700, 100), (1100, 600)])
def test_many_are_sorted_or_kept_in_a_heap(n: int, k: int, kind: str) -> None:
    """Up to 512 that are measured, and more; some of them differ in float64 only, or in their ids."""
    rng = np.random.default_rng(n)
    vectors, queries = rng.normal(size=(n, 3)), rng.normal(size=(3, 3))
    if kind == "grid":
        vectors, queries = np.rint(vectors), np.rint(queries)
    vectors[1::7] = vectors[0] * (1 + 1e-7 * rng.integers(0, 3, size=vectors[1::7].shape))
    check(vectors.astype(np.float32), queries.astype(np.float32), "l2", k, n)


@pytest.mark.parametrize("metric", sorted(CODES))
@pytest.mark.parametrize("dim", [3, 50, 128, 700])
def test_screening_leaves_little_to_measure(dim: int, metric: str) -> None:
    """The intervals are narrow: hardly more than k candidates reach below the k-th smallest upper end."""
    rng = np.random.default_rng(0)
    vectors, query = rng.normal(size=(500, dim)).astype(np.float32), rng.normal(size=dim).astype(np.float32)
    lower, upper = np.empty(560, np.float32), np.empty(560, np.float32)
    bounds(query, vectors, np.arange(500), CODES[metric], lower, upper)
    lower, upper = lower[:500], upper[:500]
    true = annlab.pairwise(query[None], vectors, metric)[0].astype(np.float64)
    true = true**2 if metric == "l2" else true
    assert (lower <= true).all() and (true <= upper).all()
    assert (lower <= np.sort(upper)[9]).sum() <= 14


@hypothesis.given(seed=st.integers(0, 999), k=st.integers(1, 9), n=st.integers(0, 9), m=st.integers(0, 9))
def test_merged_results_are_those_of_all(seed: int, k: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    values, ids = (
        rng.integers(0, 4, size=(3, n + m)).astype(np.float64),
        rng.permuted(np.tile(np.arange(n + m), (3, 1)), axis=1),
    )

    def part(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        distances, numbers = np.full((3, k), np.inf), np.full((3, k), -1)
        for i in range(3):
            order = np.lexsort((ids[i, start:stop], values[i, start:stop]))[:k]
            distances[i, : len(order)], numbers[i, : len(order)] = (
                values[i, start:stop][order],
                ids[i, start:stop][order],
            )
        return distances, numbers

    best, best_ids = np.empty((3, k)), np.empty((3, k), np.int64)
    scoring.merge(*part(0, n), *part(n, n + m), best, best_ids)
    expected = part(0, n + m)
    np.testing.assert_array_equal(best, expected[0])
    np.testing.assert_array_equal(best_ids, expected[1])
