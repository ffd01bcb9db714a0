"""The formulas: worked by hand, against the textbook, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annlab.evaluation import (
    average_precision,
    average_precision_at_r,
    dcg,
    from_rankings,
    hit,
    ndcg,
    parse_measure,
    precision,
    r_precision,
    recall,
    reciprocal_rank,
)

from . import textbook

# One query with five relevant items; four of them come back, at ranks 2, 3, 5 and 8.
ONE_QUERY = [[0, 1, 1, 0, 1, 0, 0, 1]]


def test_reciprocal_rank_by_hand():
    assert reciprocal_rank(ONE_QUERY).tolist() == [0.5]  # first relevant at rank 2: 1/2
    assert reciprocal_rank(ONE_QUERY, k=1).tolist() == [0.0]  # the cut-off comes before it
    assert reciprocal_rank(ONE_QUERY, k=2).tolist() == [0.5]


def test_recall_by_hand():
    assert recall(ONE_QUERY, [5], k=3).tolist() == [0.4]  # 2 of 5
    assert recall(ONE_QUERY, [5], k=8).tolist() == [0.8]  # 4 of 5
    assert recall(ONE_QUERY, [5], k=100).tolist() == [0.8]  # ranks that do not exist find nothing


def test_precision_by_hand():
    assert precision(ONE_QUERY, k=5).tolist() == [0.6]  # 3 of 5
    assert precision(ONE_QUERY, k=16).tolist() == [0.25]  # 4 of 16: fewer results do not make it easier


def test_average_precision_by_hand():
    # 1/2 at rank 2, 2/3 at rank 3, 3/5 at rank 5, 4/8 at rank 8, 0 for the one not found; over five
    assert average_precision(ONE_QUERY, [5]) == pytest.approx([(1 / 2 + 2 / 3 + 3 / 5 + 4 / 8) / 5])
    # cut at 3: 1/2 and 2/3, still over five ...
    assert average_precision(ONE_QUERY, [5], k=3) == pytest.approx([(1 / 2 + 2 / 3) / 5])
    # ... or over the three that could have been shown
    assert average_precision(ONE_QUERY, [5], k=3, denominator="reachable") == pytest.approx([(1 / 2 + 2 / 3) / 3])


def test_dcg_and_ndcg_by_hand():
    # grades 3, 2, 3, 0, 1, 2 (the example of Järvelin and Kekäläinen, at most 3)
    grades = [[3, 2, 3, 0, 1, 2]]
    # gains 7 3 7 0 1 3, discounts log2: 1, 1.584963, 2, 2.321928, 2.584963, 2.807355
    # 7 + 1.892789 + 3.5 + 0 + 0.386853 + 1.068622 = 13.848264
    assert dcg(grades) == pytest.approx([13.848264], abs=1e-6)
    # linear: 3 + 1.261860 + 1.5 + 0 + 0.386853 + 0.712414 = 6.861127
    assert dcg(grades, gain="linear") == pytest.approx([6.861127], abs=1e-6)
    # ideal order 3 3 2 2 1 0: 7 + 4.416508 + 1.5 + 1.292030 + 0.386853 = 14.595390
    assert ndcg(grades, grades) == pytest.approx([13.848264 / 14.595390], abs=1e-6)
    # one more item of grade 3 was missed: the ideal is 3 3 3 2 2 1, at 3: 7 + 4.416508 + 3.5 = 14.916508
    assert ndcg(grades, [[3, 2, 3, 0, 1, 2, 3]], k=3) == pytest.approx([12.392789 / 14.916508], abs=1e-6)


def test_gains_differ_for_grades_and_agree_for_yes_or_no():
    grades = np.array([[1, 3, 0, 2]])
    assert ndcg(grades, grades)[0] < ndcg(grades, grades, gain="linear")[0]
    hits = grades > 0
    assert ndcg(hits, hits) == ndcg(hits.astype(int), hits.astype(int), gain="linear")


@pytest.mark.parametrize("grades", [[[5, 4, 3, 3, 1]], [[0.7, 0.3, 0.2, 0.1, 0.1]], [[True, True, True, True]]])
def test_the_perfect_ranking_scores_exactly_one(grades):
    shuffled = np.asarray(grades)[:, ::-1]
    wider = np.concatenate([grades, np.zeros((1, 37), dtype=np.asarray(grades).dtype)], axis=1)
    for k in (None, 1, 3, 100):
        assert ndcg(wider, shuffled, k=k).tolist() == [1.0]
        assert ndcg(wider, shuffled, k=k, gain="linear").tolist() == [1.0]
    assert average_precision(grades, [len(grades[0])]).tolist() == [1.0]


def test_a_query_without_a_relevant_item_scores_zero():
    none = np.zeros((1, 4))
    assert reciprocal_rank(none).tolist() == [0.0]
    assert recall(none, [0], k=2).tolist() == [0.0]
    assert average_precision(none, [0]).tolist() == [0.0]
    assert ndcg(none, none).tolist() == [0.0]


def test_no_results_at_all():
    empty = np.zeros((2, 0))
    assert reciprocal_rank(empty).tolist() == precision(empty, 3).tolist() == [0.0, 0.0]
    assert recall(empty, [3, 0], 3).tolist() == average_precision(empty, [3, 0]).tolist() == [0.0, 0.0]
    assert ndcg(empty, [[1], [0]]).tolist() == [0.0, 0.0]


@st.composite
def _judged_rankings(draw):
    """Rankings with pads at their ends, and grades of some items."""
    n_queries, width = draw(st.integers(1, 4)), draw(st.integers(4, 9))
    ids = st.integers(0, 12)
    rankings = [draw(st.lists(ids, unique=True, max_size=width)) for _ in range(n_queries)]
    grades = [draw(st.dictionaries(ids, st.integers(0, 4), max_size=8)) for _ in range(n_queries)]
    return rankings, grades, width


@settings(max_examples=200, deadline=None)
@given(_judged_rankings())
def test_every_measure_is_the_textbook_s(judged):
    rankings, grades, width = judged
    padded = [ranking + [-1] * (width - len(ranking)) for ranking in rankings]
    evaluation = from_rankings(padded, grades, measures=textbook.BY_NAME)
    for name, slow in textbook.BY_NAME.items():
        expected = [slow(ranking, graded) for ranking, graded in zip(rankings, grades, strict=True)]
        np.testing.assert_allclose(evaluation[name], expected, rtol=1e-12, atol=1e-15, err_msg=name)
        assert evaluation[name].dtype == np.float64
        assert ((evaluation[name] >= 0) & (evaluation[name] <= 1)).all()
    assert evaluation.n_relevant.tolist() == [len(textbook.relevant_items(g)) for g in grades]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=10), st.data())
def test_moving_the_better_result_up_never_hurts(grades, data):
    i = data.draw(st.integers(0, len(grades) - 2))
    swapped = list(grades)
    swapped[i], swapped[i + 1] = sorted(grades[i : i + 2], reverse=True)
    both = np.array([grades, swapped])
    n_relevant = np.count_nonzero(both, axis=1)
    for before, after in (
        ndcg(both, both),
        ndcg(both, both, k=3, gain="linear"),
        average_precision(both, n_relevant),
        reciprocal_rank(both),
        recall(both, n_relevant, 3),
        precision(both, 3),
    ):
        assert after >= before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: precision([[1, 0]], 0), ValueError, "k must be at least 1, got 0"),
        (lambda: precision([[1, 0]], 2.0), TypeError, "k must be an integer, got 2.0"),
        (lambda: precision([[1, 0]], True), TypeError, "k must be an integer, got True"),
        (lambda: reciprocal_rank([[1, 0]], -3), ValueError, "at least 1, got -3"),
        (lambda: precision([1, 0], 1), ValueError, r"2 dimension\(s\), got shape \(2,\)"),
        (lambda: precision([["a"]], 1), TypeError, "relevance must be real numbers"),
        (lambda: precision([[0.0, np.nan]], 1), ValueError, r"relevance\[0, 1\] is nan"),
        (lambda: r_precision([[1, 1]], [1]), ValueError, "has 2 relevant results, but"),
        (lambda: parse_measure("map_r@5"), ValueError, "has no cut-off of its own; it is called 'map_r'"),
        (lambda: parse_measure("hit"), ValueError, "'hit@10'"),
        (
            lambda: recall([[1, 1]], [1], 2),
            ValueError,
            r"query 0 has 2 relevant results, but n_relevant\[0\] is only 1",
        ),
        (lambda: recall([[1, 1]], [2, 2], 2), ValueError, "n_relevant has 2 queries, but relevance has 1"),
        (lambda: recall([[1, 1]], [2.0], 2), TypeError, "n_relevant must be integers"),
        (lambda: ndcg([[3]], [[1]]), ValueError, "worth 7, more than the perfect ranking"),
        (lambda: ndcg([[1]], [[1], [1]]), ValueError, "relevant_grades has 2 queries, but relevance has 1"),
        (lambda: dcg([[5000]]), ValueError, "grade 5000 overflows"),
        (lambda: dcg([[1]], gain="log"), ValueError, "got 'log'"),
        (lambda: average_precision([[1]], [1], denominator="found"), ValueError, "got 'found'"),
    ],
)
def test_errors_name_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_hits_r_precision_and_map_at_r_term_by_term():
    rng = np.random.default_rng(0)
    relevance = rng.random((40, 12)) < 0.3
    totals = relevance.sum(1) + rng.integers(0, 3, 40)
    for row, (found, total) in enumerate(zip(relevance.tolist(), totals.tolist(), strict=True)):
        first = found[:total]
        at_r = sum(sum(first[: i + 1]) / (i + 1) for i in range(len(first)) if first[i]) / total if total else 0.0
        assert average_precision_at_r(relevance, totals)[row] == pytest.approx(at_r)
        assert r_precision(relevance, totals)[row] == pytest.approx(sum(first) / total if total else 0.0)
        assert hit(relevance, 4)[row] == float(any(found[:4]))
    perfect = np.arange(12) < totals[:, None]
    assert (r_precision(perfect, np.minimum(totals, 12)) == average_precision_at_r(perfect, totals)).all()


def test_negative_grades_of_trec_are_not_relevant():
    assert precision([[2, -1, 1, -2]], k=4).tolist() == [0.5]
    assert ndcg([[-2, 1]], [[1, -2]]).tolist() == ndcg([[0, 1]], [[1, 0]]).tolist()
