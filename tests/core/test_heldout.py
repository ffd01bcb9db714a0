"""Held-out queries: what is masked, who their neighbours are, and how recall is counted."""

import numpy as np
import pytest

from annlab.common import rowsets
from annlab.core.heldout import HeldOut, lower_bound
from annlab.distances import get_metric, pairwise

L2 = get_metric("l2")


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_neighbours_are_the_nearest_of_the_rows_that_are_left(metric: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 5)).astype(np.float32)
    vectors[200:250] = vectors[:50]  # copies
    vectors[7] = 0.0
    held_out = HeldOut.of_rows(vectors, get_metric(metric), np.arange(30), 6)
    left = rowsets.unpack(held_out.alive, 300)
    assert np.flatnonzero(~left).tolist() == [*range(30), *range(200, 207), *range(208, 230)]  # 7 is another one now
    distances = pairwise(held_out.queries.astype(np.float64), vectors, metric)
    distances[:, ~left] = np.inf
    np.testing.assert_array_equal(held_out.distances, np.sort(distances, axis=1)[:, :6])
    assert left[held_out.rows].all()


def test_zeros_of_either_sign_are_the_same() -> None:
    vectors = np.array([[0.0, 1.0], [-0.0, 1.0], *np.arange(5.0, 45.0).reshape(-1, 2)])
    held_out = HeldOut.of_rows(vectors, L2, np.array([0]), 3)
    assert rowsets.unpack(held_out.alive, len(vectors))[:2].tolist() == [False, False]


def test_rows_that_all_have_copies_leave_something_to_search() -> None:
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.standard_normal((50, 4)), 20, axis=0)
    held_out = HeldOut.of_rows(vectors, L2, rng.permutation(1000)[:100], 5)
    left = rowsets.unpack(held_out.alive, 1000)
    assert 0.75 <= left.mean() < 1 and len(held_out.queries) and (held_out.distances > 0).all()
    few = HeldOut.of_rows(np.repeat(vectors[::500], 100, axis=0), L2, np.arange(0, 200, 10), 5)
    assert few.alive is None and len(few.queries) == 20 and (few.distances == 0).all()


def test_recall_counts_rows_that_are_as_near() -> None:
    vectors = np.array([[0.0], [1.0], [-1.0], [2.0], [9.0]])
    held_out = HeldOut.of_queries(vectors, L2, np.array([[0.0], [9.0]]), 2)
    candidates = np.array([[2, 0, -1], [4, 1, 0]])  # of the rows at distance 1 either will do; 3 was missed
    assert held_out.recall(candidates).tolist() == [1.0, 0.5]
    assert held_out.recall(candidates, 1).tolist() == [1.0, 1.0]
    assert held_out.recall(np.full((2, 3), -1)).tolist() == [0.0, 0.0]
    assert held_out.first(1).recall(candidates[:1]).tolist() == [1.0]


def test_the_bound_of_groups_is_that_of_the_lowest() -> None:
    recalls = np.array([1.0, 1.0, 0.5, 0.7])
    assert lower_bound(recalls, np.array([0, 0, 1, 1])) == lower_bound(recalls[2:]) < lower_bound(recalls) < 0.8
