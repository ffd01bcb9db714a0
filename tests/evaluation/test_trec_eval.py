"""Agreement with trec_eval (through ir-measures) to 6 digits, query by query.

Every result has its own score (1 / rank), since trec_eval breaks ties by document name. It knows linear gains only:
exponential ones are given to it as the relevance, 2^grade - 1, which must be whole numbers and are.
"""

from __future__ import annotations

import numpy as np
import pytest

from annlab.evaluation import from_rankings

ir_measures = pytest.importorskip("ir_measures")

N_QUERIES, N_ITEMS, DEPTH = 40, 60, 30


def _collection():
    """Rankings with gaps, and graded judgements, of which one query has none above 0."""
    rng = np.random.default_rng(11)
    rankings = np.array([rng.permutation(N_ITEMS)[:DEPTH] for _ in range(N_QUERIES)])
    for row in range(0, N_QUERIES, 4):
        rankings[row, rng.integers(5, DEPTH) :] = -1
    judged = [dict(enumerate(rng.choice(5, size=N_ITEMS, p=[0.8, 0.05, 0.05, 0.05, 0.05]).tolist())) for _ in rankings]
    judged[7] = dict.fromkeys(judged[7], 0)
    return rankings, judged


def _trec(rankings, judged, measures):
    """Scores (measure -> list by query) from ir-measures."""
    qrels = {f"q{q}": {f"d{i}": grade for i, grade in grades.items()} for q, grades in enumerate(judged)}
    run = {
        f"q{q}": {f"d{item}": 1.0 / rank for rank, item in enumerate(row.tolist(), start=1) if item != -1}
        for q, row in enumerate(rankings)
    }
    scores = {str(measure): [np.nan] * len(judged) for measure in measures}
    for value in ir_measures.iter_calc(measures, qrels, run):
        scores[str(value.measure)][int(value.query_id[1:])] = value.value
    return scores


OURS_TO_TREC = {
    "mrr": "RR",
    "mrr@10": "RR@10",
    "recall@10": "R@10",
    "precision@10": "P@10",
    "map": "AP",
    "map@10": "AP@10",
    "ndcg_linear": "nDCG",
    "ndcg_linear@10": "nDCG@10",
}


def test_trec_eval_agrees_on_every_query():
    rankings, judged = _collection()
    evaluation = from_rankings(rankings, judged, measures=OURS_TO_TREC)
    theirs = _trec(rankings, judged, [ir_measures.parse_measure(name) for name in OURS_TO_TREC.values()])
    for ours, name in OURS_TO_TREC.items():
        np.testing.assert_allclose(evaluation[ours], theirs[name], atol=5e-7, err_msg=ours)
    assert theirs["AP"][7] == 0.0  # the convention for a query with nothing relevant
    assert not evaluation.answerable[7]


def test_trec_eval_agrees_on_exponential_gains_given_as_relevance():
    rankings, judged = _collection()
    gains = [{item: 2**grade - 1 for item, grade in grades.items()} for grades in judged]
    theirs = _trec(rankings, gains, [ir_measures.nDCG, ir_measures.nDCG @ 10])
    evaluation = from_rankings(rankings, judged, measures=["ndcg", "ndcg@10", "ndcg_linear"])
    np.testing.assert_allclose(evaluation["ndcg"], theirs["nDCG"], atol=5e-7)
    np.testing.assert_allclose(evaluation["ndcg@10"], theirs["nDCG@10"], atol=5e-7)
    assert not np.allclose(evaluation["ndcg"], evaluation["ndcg_linear"])


def test_trec_eval_agrees_on_a_relevance_level():
    rankings, judged = _collection()
    names = {"map": "AP(rel=3)", "precision@10": "P(rel=3)@10", "recall@10": "R(rel=3)@10", "mrr@10": "RR(rel=3)@10"}
    evaluation = from_rankings(rankings, judged, measures=names, relevance_level=3)
    theirs = _trec(rankings, judged, [ir_measures.parse_measure(name) for name in names.values()])
    for ours, name in names.items():
        np.testing.assert_allclose(evaluation[ours], theirs[name], atol=5e-7, err_msg=ours)
