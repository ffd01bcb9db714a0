"""Is B better than A: the sign-flip test and the interval of the difference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annlab.evaluation import Evaluation, compare, from_rankings, permutation_test


def _evaluation(scores, query_ids=None, n_relevant=None):
    scores = np.asarray(scores, dtype=np.float64)
    ids = np.arange(len(scores)) if query_ids is None else np.asarray(query_ids)
    return Evaluation({"mrr": scores}, ids, np.ones(len(scores), np.int64) if n_relevant is None else n_relevant)


def test_sign_flips_by_hand():
    # 0.1 + 0.2 + 0.3: of 8 patterns only +++ and --- reach 0.6
    assert permutation_test([0.1, 0.2, 0.3]) == 2 / 8
    # -0.1 + 0.2 + 0.3 = 0.4: sums are +-0.6 (2 patterns), +-0.4 (2), +-0.2 (2), +-0 (2): four are at least 0.4
    assert permutation_test([-0.1, 0.2, 0.3]) == 4 / 8
    assert permutation_test([0.0, 0.0]) == 1.0
    # zeros change nothing
    assert permutation_test([0.1, 0.0, 0.2, 0.3, 0.0]) == 2 / 8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_exact_p_is_the_count_of_all_patterns(tenths):
    signs = list(product([1, -1], repeat=len(tenths)))
    sums = [abs(sum(s * t for s, t in zip(pattern, tenths, strict=True))) for pattern in signs]
    expected = sum(total >= abs(sum(tenths)) for total in sums) / len(signs)
    assert permutation_test(np.array(tenths) / 10) == pytest.approx(expected)
    assert permutation_test(-np.array(tenths) / 10) == pytest.approx(expected)  # two-sided


def test_random_patterns_agree_with_the_exact_count_and_p_is_never_zero(monkeypatch):
    differences = np.random.default_rng(8).normal(0.25, 0.5, size=14)
    exact = permutation_test(differences)
    assert 0.01 < exact < 0.5
    monkeypatch.setattr("annlab.evaluation.comparison._EXACT_UP_TO", 0)
    monkeypatch.setattr("annlab.evaluation.comparison._BLOCK", 1000)  # several blocks
    sampled = permutation_test(differences, n_permutations=20_000, seed=1)
    assert sampled == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert sampled == permutation_test(differences, n_permutations=20_000, seed=1)
    assert sampled != permutation_test(differences, n_permutations=20_000, seed=2)
    assert permutation_test(np.full(200, 0.1), n_permutations=999) == 1 / 1000


def test_p_is_uniform_when_nothing_differs():
    rng = np.random.default_rng(4)
    p = np.array([permutation_test(rng.normal(size=40), n_permutations=199, seed=trial) for trial in range(400)])
    # 5 % of 400 is 20, with a standard deviation of 4.4
    assert 7 <= np.count_nonzero(p <= 0.05) <= 34
    assert p.mean() == pytest.approx(0.5, abs=0.06)


def test_comparison_by_hand_and_the_pairs_matter():
    rng = np.random.default_rng(2)
    hardness = rng.random(150)
    a = _evaluation(hardness * 0.9)
    b = _evaluation(hardness * 0.9 + 0.02 + rng.normal(0, 0.03, 150))
    found = compare(a, b, "mrr")
    assert found.difference == pytest.approx(b.mean("mrr") - a.mean("mrr"))
    assert found.low < found.difference < found.high
    assert found.low > 0  # seen by pairs,
    assert a.interval("mrr")[1] > b.interval("mrr")[0]  # but not by two intervals, which overlap
    assert found.p_value < 0.01
    assert found.wins + found.losses <= found.n_queries == 150
    back = compare(b, a, "mrr")
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-found.difference, -found.high, -found.low), abs=2e-3
    )
    assert (back.wins, back.losses, back.p_value) == (found.losses, found.wins, found.p_value)
    assert "difference +0.0" in str(found)
    assert compare(a, b, "mrr", level=0.5).low > found.low


def test_queries_are_matched_by_id():
    a = _evaluation([0.1, 0.5, 0.9], [10, 20, 30])
    b = _evaluation([0.9, 0.1, 0.5], [30, 10, 20])
    assert (compare(a, b, "mrr").wins, compare(a, b, "mrr").losses) == (0, 0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (_evaluation([1, 0]), _evaluation([1, 0, 1]), "A has 2 queries and B has 3.*B has query 2 and A has not"),
        (_evaluation([1, 0], [5, 6]), _evaluation([1, 0], [5, 7]), "A has query 6 and B has not"),
        (
            _evaluation([1, 0]),
            _evaluation([1, 0], n_relevant=np.array([1, 4])),
            "query 1 has 1 relevant items in A, but 4 in B",
        ),
    ],
)
def test_what_is_not_paired_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        compare(a, b, "mrr")


def test_comparing_what_was_not_computed_is_refused():
    a = from_rankings([[1]], [{1}], measures=["mrr"])
    with pytest.raises(KeyError, match="map was not computed"):
        compare(a, a, "map")
    with pytest.raises(ValueError, match="n_permutations must be at least 1, got 0"):
        permutation_test([0.1], n_permutations=0)
    with pytest.raises(ValueError, match=r"differences\[0\] is nan"):
        permutation_test([np.nan])
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        compare(a, a, "mrr", level=1.0)
