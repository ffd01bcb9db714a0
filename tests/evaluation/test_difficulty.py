"""Difficulty of searches: hand-worked values, known distributions, and what is refused."""

import numpy as np
import pytest
from scipy.stats import skew

from annlab.evaluation import approximation_factor, hubness, local_intrinsic_dimension, relative_contrast


def neighbours(data, k):
    """Distances and rows of the k nearest other rows of every row."""
    squared = ((data[:, None] - data[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    rows = squared.argsort(axis=1)[:, :k]
    return np.sqrt(np.take_along_axis(squared, rows, axis=1)), rows


def test_the_factor_of_each_rank_by_hand():
    exact = [[1.0, 2.0], [0.0, 1.0], [0.0, 1.0], [3.0, np.inf], [np.inf, np.inf]]
    found = [[2.0, 2.0], [0.0, 3.0], [1.0, 1.0], [3.0, np.inf], [np.inf, np.inf]]
    np.testing.assert_array_equal(approximation_factor(found, exact), [1.5, 2.0, np.inf, 1.0, 1.0])
    np.testing.assert_array_equal(approximation_factor(found, exact, worst=True), [2.0, 3.0, np.inf, 1.0, 1.0])


def test_what_was_not_found_is_infinitely_far():
    assert np.isinf(approximation_factor([[1.0, np.inf]], [[1.0, 2.0]])).all()


def test_contrast_is_the_typical_over_the_kth_distance():
    exact = [[1.0, 2.0], [0.0, 4.0], [1.0, np.inf]]
    typical = [[4.0, 8.0], [4.0, 4.0], [1.0, 1.0]]
    np.testing.assert_array_equal(relative_contrast(exact, typical, k=1), [6.0, np.inf, 1.0])
    np.testing.assert_array_equal(relative_contrast(exact, typical, k=2), [3.0, 1.0, np.nan])


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_dimension_of_evenly_spread_rows_is_theirs_wherever_they_lie(d):
    rng = np.random.default_rng(d)
    data = rng.random((1500, d)) @ np.linalg.qr(rng.normal(size=(30, d)))[0].T  # a flat of d dimensions in 30
    dimension = local_intrinsic_dimension(neighbours(data, 30)[0])
    assert abs(np.median(dimension) - d) < 0.15 * d + 0.1


def test_copies_are_left_out_and_equal_distances_have_no_dimension():
    np.testing.assert_allclose(local_intrinsic_dimension([[0.0, 0.25, 0.5, 1.0]]), 2 / np.log(8))
    assert np.isinf(local_intrinsic_dimension([[2.0, 2.0, 2.0]])).all()
    assert np.isnan(local_intrinsic_dimension([[0.0, 0.0, 2.0], [1.0, np.inf, np.inf]])).all()


def test_hubs_appear_in_many_dimensions():
    rng = np.random.default_rng(0)
    few, many = (hubness(neighbours(rng.normal(size=(700, d)), 10)[1], 700) for d in (2, 60))
    assert few.counts.sum() == many.counts.sum() == 7000
    assert few.skewness < 0.5 and many.skewness > 2.0 and many.never_found > 0.02
    np.testing.assert_allclose(many.skewness, skew(many.counts))


def test_pads_are_not_counted_and_equal_counts_are_even():
    found = hubness([[1, -1], [0, -1]], n=2)
    assert found.counts.tolist() == [1, 1] and found.skewness == 0.0 and found.never_found == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: approximation_factor([[1.0]], [[1.0, 2.0]]), "must have one shape"),
        (lambda: approximation_factor([[-1.0]], [[1.0]]), r"returned_distances\[0, 0\] is -1.0"),
        (lambda: approximation_factor([[1.0]], [[np.nan]]), r"exact_distances\[0, 0\] is nan"),
        (lambda: approximation_factor([1.0], [1.0]), r"shape \(queries, k\)"),
        (lambda: relative_contrast([[1.0]], [[1.0]], k=2), "hold 1 neighbours"),
        (lambda: relative_contrast([[1.0]], [[np.inf]]), "must be finite"),
        (lambda: relative_contrast([[1.0]], [[1.0], [2.0]]), "of 1 queries, typical_distances of 2"),
        (lambda: local_intrinsic_dimension([[1.0]]), "at least two neighbours"),
        (lambda: hubness([[5]], n=5), r"holds 5, but rows are numbered 0\.\.4"),
        (lambda: hubness([[0]], n=0), "n must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
