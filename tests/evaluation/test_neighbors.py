"""Recall of approximate search: ties count, pads and copies do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annlab.evaluation import ann_recall, rounding_floor, true_distances


def test_recall_by_distance_is_that_computed_by_hand():
    exact = [[1.0, 2.0, 3.0, 3.0, 5.0]]
    # 1, 2 and one at 3 are found, the fourth is at 4: 3 of 4
    assert ann_recall([[9, 8, 7, 6]], [[1.0, 2.0, 3.0, 4.0]], exact).tolist() == [0.75]
    # the third neighbour is at 3: another row at 3 is as good
    assert ann_recall([[9, 8, 5]], [[1.0, 2.0, 3.0]], exact).tolist() == [1.0]
    # k = 2 of the same results: 1 found, 3 is too far
    assert ann_recall([[9, 5, 8]], [[1.0, 3.0, 2.0]], exact, k=2).tolist() == [0.5]
    # only the number of good rows counts: at 3 the tie may fill every place
    assert ann_recall([[5, 6, 9, 8]], [[3.0, 3.0, 1.0, 2.0]], exact).tolist() == [1.0]


def test_pads_never_count():
    exact = [[1.0, 2.0, np.inf, np.inf]]  # two rows exist
    assert ann_recall([[3, -1, -1, -1]], [[1.0, 1.0, 1.0, 1.0]], exact).tolist() == [0.5]
    assert ann_recall([[3, 4, -1, -1]], [[1.0, 2.0, np.inf, np.inf]], exact).tolist() == [1.0]
    assert ann_recall([[-1, -1]], [[0.0, 0.0]], [[1.0, 2.0]]).tolist() == [0.0]


def test_the_tolerance_is_relative():
    far = ann_recall([[1]], [[200.0 + 1e-3]], [[200.0]])  # 5e-6 of the distance: rounding
    near = ann_recall([[1]], [[1e-4 + 1e-3]], [[1e-4]])  # the same slack is eleven times the distance
    assert (far[0], near[0]) == (1.0, 0.0)
    assert ann_recall([[1]], [[200.0 + 1e-3]], [[200.0]], rtol=1e-7).tolist() == [0.0]
    # inner-product distances are negative: a little nearer to 0 is a little farther
    assert ann_recall([[1], [1]], [[-99.9999], [-99.9]], [[-100.0], [-100.0]]).tolist() == [1.0, 0.0]


def test_one_good_row_ten_times_is_an_error():
    with pytest.raises(ValueError, match="row 1 holds id 4 more than once"):
        ann_recall([[1, 2], [4, 4]], [[1.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [1.0, 2.0]])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["l2", "cosine", "ip"]))
def test_recall_is_the_best_matching_of_ties(seed, metric):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, size=(12, 2)).astype(np.float32)  # many ties
    query = rng.integers(-2, 3, size=(1, 2)).astype(np.float32)
    everything = true_distances(query, vectors, [range(12)], metric)[0]
    exact = np.sort(everything)[None]
    k = int(rng.integers(1, 6))
    found = rng.permutation(12)[:k]
    padded = np.where(rng.random(k) < 0.2, -1, found)[None]
    recall = ann_recall(padded, true_distances(query, vectors, padded, metric), exact, k)
    # The textbook with ties: a row is right if fewer than k others are strictly nearer.
    right = [i for i in padded[0] if i != -1 and np.count_nonzero(everything < everything[i] - 1e-9) < k]
    assert recall.tolist() == [len(right) / k]
    best = np.argsort(everything, kind="stable")[None, :k]
    assert ann_recall(best, true_distances(query, vectors, best, metric), exact, k).tolist() == [1.0]


def plain(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """All distances by the usual formulas, in the dtype of the vectors: what most people compare with."""
    product = queries @ vectors.T
    if metric == "ip":
        return -product
    if metric == "cosine":
        return 1 - product / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)
    squares = (queries**2).sum(axis=1)[:, None] - 2 * product + (vectors**2).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0))


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_exact_answers_near_distance_0_are_never_wrong_and_wrong_ones_are(metric, dtype, k):
    """Copies, multiples and near copies of the queries, of every magnitude: by each formula, each judged by each."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        magnitude = 10.0 ** rng.integers(-6, 7)
        points = (magnitude * (rng.normal(size=(30, 12)) + 3 * (seed % 2))).astype(dtype)
        copies = (points * (1 + 10.0 ** -rng.integers(4, 13) * rng.normal(size=points.shape))).astype(dtype)
        vectors = np.concatenate([points, copies, 3 * points, points])
        queries = points[:8]
        if metric == "ip":  # near 0 are the right angles; everything else points away from the query
            one = queries[0].astype(np.float64)
            upright = vectors - vectors @ one[:, None] / (one @ one) * one
            vectors = np.concatenate([upright, upright[:20] - one]).astype(dtype)
            queries = np.repeat(queries[:1], 8, axis=0)
        everything = np.tile(np.arange(len(vectors)), (len(queries), 1))
        ways = [true_distances(queries, vectors, everything, metric), plain(queries, vectors, metric)]
        ways.append(ways[0].astype(dtype))  # as an index of this dtype returns them
        kth = np.sort(ways[0], axis=1)[:, k - 1]
        floor = rounding_floor(queries, vectors, metric, kth, dtype)
        for exact in ways:
            best = np.sort(exact, axis=1)[:, :k]
            for answer in ways:
                found = np.argsort(answer, axis=1, kind="stable")[:, :k]
                given = np.take_along_axis(answer, found, axis=1)
                assert (ann_recall(found, given, best, atol=floor) == 1).all(), (seed, magnitude)
        wrong = np.argsort(ways[0], axis=1)[:, -k:]  # the farthest
        far = np.take_along_axis(ways[0], wrong, axis=1)
        distinct = far[:, 0] > kth + 4 * floor + 1e-4 * np.abs(kth)
        recalls = ann_recall(wrong, far, np.sort(ways[0], axis=1)[:, :k], atol=floor)
        assert distinct.all() and (recalls == 0).all()
        # Without the vectors the floor is a guess, which does for distances that are right to the last digits.
        for exact in (ways[0], ways[2]):
            best, found = np.sort(exact, axis=1)[:, :k], np.argsort(exact, axis=1, kind="stable")[:, :k]
            given = true_distances(queries, vectors, found, metric)
            assert (ann_recall(found, given, best) == 1).all(), (seed, magnitude)


def test_the_floor_of_l2_falls_with_the_distance_and_that_of_a_sum_does_not():
    points = np.random.default_rng(0).normal(size=(5, 16))
    for metric in ("l2", "cosine", "ip"):
        near, far = (rounding_floor(points, points, metric, [at] * 5, np.float32) for at in (0.0, 5.0))
        if metric == "l2":
            assert (near < 0.1).all() and (far < 1e-2 * near).all() and (far > 0).all()
        else:
            assert (near == far).all() and (near < 2e-4).all()


def test_the_guessed_floor_is_that_of_float64_at_magnitude_1():
    assert ann_recall([[1], [2]], [[1e-16], [1e-12]], [[0.0], [-1e-16]]).tolist() == [1.0, 0.0]
    assert ann_recall([[1]], [[0.0]], [[1e-16]]).tolist() == [1.0]  # nearer than possible, by rounding
    single = np.array([[-6e-8]], np.float32)  # 1 - cos of a copy, in float32
    assert ann_recall([[1], [1]], [[0.0], [1e-4]], np.repeat(single, 2, axis=0)).tolist() == [1.0, 0.0]
    left = 1 - np.array([[1 - 2**-23], [1 - 2**-24]], np.float32)  # the same, on the other side of 0
    assert ann_recall([[1], [2]], [[1e-6], [1e-4]], left).tolist() == [1.0, 0.0]
    tiny = np.array([[1e-7]], np.float32)  # no multiple of a step of numbers near 1: a distance of small vectors
    assert ann_recall([[1]], [[2e-7]], tiny).tolist() == [0.0]
    near_copies = np.array([[5e-6]], np.float32)  # rounded to float32 at the end only: told apart
    assert ann_recall([[1]], [[5.1e-6]], near_copies).tolist() == [0.0]
    assert ann_recall([[1], [1]], [[2e-12], [2e-12]], [[1e-12], [1e-12]], atol=[0, 1e-12]).tolist() == [0.0, 1.0]
    assert ann_recall([[1]], [[1e-30]], [[0.0]], atol=0).tolist() == [0.0]
    assert ann_recall([[1, 2]], [[-2e-5, -1e-5]], np.array([[-2e-5, -1.1e-5]], np.float32)).tolist() == [0.5]


def test_true_distances_by_hand():
    vectors = [[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [-2.0, 0.0]]
    rows = [[0, 1, 2, 3, -1]]
    assert true_distances([[1.0, 0.0]], vectors, rows, "ip").tolist() == [[-3.0, 0.0, -1.0, 2.0, np.inf]]
    # cos of (1, 0) and (3, 4) is 3/5; a zero vector is at 1
    assert true_distances([[1.0, 0.0]], vectors, rows, "cosine")[0] == pytest.approx([0.4, 1.0, 0.0, 2.0, np.inf])
    assert true_distances([[1.0, 0.0]], vectors, rows, "l2")[0] == pytest.approx([20**0.5, 1.0, 0.0, 3.0, np.inf])


@pytest.mark.parametrize("magnitude", [1e-300, 1e-170, 1.0, 1e170, 1e300])
def test_true_distances_of_every_magnitude(magnitude):
    points = magnitude * np.array([[3.0, 4.0], [0.0, 0.0], [-3.0, -4.0]])
    found = true_distances(points[:1], points, [[0, 1, 2]], "l2")[0]
    np.testing.assert_allclose(found / magnitude, [0.0, 5.0, 10.0], rtol=1e-15)
    np.testing.assert_allclose(true_distances(points[:1], points, [[0, 1, 2]], "cosine")[0], [0, 1, 2], rtol=1e-15)


def test_true_distances_are_exact_far_from_the_origin_in_any_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.integers(0, 9, size=(50, 7)) + 10**7  # |x|^2 - 2xq + |q|^2 would lose everything in float32
    rows = rng.integers(-1, 50, size=(6, 9))
    expected = [
        [np.inf if i < 0 else np.sqrt(((vectors[i] - q) ** 2).sum()) for i in row]
        for q, row in zip(vectors[:6], rows, strict=True)
    ]
    np.testing.assert_allclose(true_distances(vectors[:6], vectors, rows, "l2"), expected, rtol=1e-14)
    monkeypatch.setattr("annlab.evaluation.neighbors._BLOCK", 20)
    np.testing.assert_allclose(true_distances(vectors[:6], vectors, rows, "l2"), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ann_recall([[1, 2]], [[1.0]], [[1.0, 2.0]]),
            ValueError,
            r"shape \(1, 1\), but returned_ids has \(1, 2\)",
        ),
        (lambda: ann_recall([[1]], [[1.0]], [[1.0], [1.0]]), ValueError, r"shape \(2, 1\), but there are 1 queries"),
        (lambda: ann_recall([[1]], [[1.0]], [[1.0]], k=2), ValueError, "k = 2, 1 returned, 1 exact"),
        (lambda: ann_recall([[1, 2]], [[1.0, 2.0]], [[1.0]]), ValueError, "k = 2, 2 returned, 1 exact"),
        (lambda: ann_recall([[-3]], [[1.0]], [[1.0]]), ValueError, "holds -3"),
        (lambda: ann_recall([[1.0]], [[1.0]], [[1.0]]), TypeError, "must be integers"),
        (lambda: ann_recall([[1]], [[np.nan]], [[1.0]]), ValueError, "finite wherever"),
        (lambda: ann_recall([[1, 2]], [[1.0, 2.0]], [[2.0, 1.0]]), ValueError, "must ascend"),
        (lambda: ann_recall([[1]], [[1.0]], [[np.inf]]), ValueError, "query 0 has no true neighbour"),
        (lambda: ann_recall([[1]], [[1.0]], [[1.0]], rtol=-1), ValueError, "got -1"),
        (lambda: ann_recall([[1]], [[1.0]], [[1.0]], atol=[1, 2]), ValueError, "one for each of 1 queries"),
        (lambda: ann_recall([[1]], [[1.0]], [[1.0]], atol=-1), ValueError, "0 or more, and finite, got -1"),
        (lambda: ann_recall([[1]], [[1.0]], [["1"]]), TypeError, "exact_distances must be real numbers"),
        (lambda: ann_recall([[1.5]], [[1.0]], [[1.0]]), TypeError, "must be integers, got dtype float64, .* 1.5"),
        (lambda: rounding_floor([[1.0]], [[1.0]], "dot", [0.0]), ValueError, "got 'dot'"),
        (lambda: rounding_floor([[1.0]], [[1.0]], "l2", [0.0, 1.0]), ValueError, "shapes do not fit"),
        # squared against plain distances, or another gallery: caught because nothing can be nearer than the nearest
        (lambda: ann_recall([[1, 2]], [[0.1, 0.3]], [[0.4, 0.6]]), ValueError, "query 0.*rank 1.*not the same metric"),
        (lambda: true_distances([[1.0]], [[1.0]], [[1]], "l2"), ValueError, "rows must be 0..0 or -1, got 1..1"),
        (lambda: true_distances([[1.0]], [[1.0, 2.0]], [[0]], "l2"), ValueError, "shapes do not fit"),
        (lambda: true_distances([[1.0]], [[1.0]], [[0]], "dot"), ValueError, "got 'dot'"),
    ],
)
def test_errors_name_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
