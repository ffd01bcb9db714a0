"""The three ways in, the judgements behind them, and the Evaluation they end in."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annlab.evaluation import Evaluation, Judgements, from_embeddings, from_judgements, from_rankings, sources
from annlab.evaluation import parse_measure as parse

from . import textbook

EVERY = tuple(textbook.BY_NAME)


# ---- rankings ---------------------------------------------------------------------------------------------------


def test_rankings_by_hand():
    found = [[10, 30, 20, 50], [70, 10, -1, -1], [1, 2, 3, 4]]
    relevant = [{10: 3, 20: 1}, {70: 2, 71: 2, 72: 1}, {}]
    evaluation = from_rankings(found, relevant, measures=["mrr", "recall@2", "precision@4", "map", "ndcg@2"])
    assert evaluation["mrr"].tolist() == [1.0, 1.0, 0.0]
    assert evaluation["recall@2"].tolist() == [1 / 2, 1 / 3, 0.0]
    assert evaluation["precision@4"].tolist() == [2 / 4, 1 / 4, 0.0]
    assert evaluation["map"] == pytest.approx([(1 + 2 / 3) / 2, 1 / 3, 0.0])
    # query 0: 7 of 7 + 1/log2(3); query 1: 3 of 3 + 3/log2(3)
    assert evaluation["ndcg@2"] == pytest.approx([7 / (7 + 1 / np.log2(3)), 3 / (3 + 3 / np.log2(3)), 0.0])
    assert evaluation.answerable.tolist() == [True, True, False]
    assert evaluation.mean("recall@2") == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)  # the third one counts


def test_every_form_of_relevance_says_the_same():
    found = [[4, 9, 2], [7, 1, 4]]
    lists = [[9, 2], [4]]
    forms = [
        lists,
        [set(ids) for ids in lists],
        [np.array(ids) for ids in lists],
        [dict.fromkeys(ids, 1) for ids in lists],
        Judgements([0, 2, 3], [9, 2, 4]),
        Judgements.from_triples([0, 1, 0], [2, 4, 9], [1, 1, 1]),
    ]
    for form in forms:
        assert from_rankings(found, form, measures=["map"])["map"] == pytest.approx([(1 / 2 + 2 / 3) / 2, 1 / 3])


def test_a_pad_keeps_its_rank_and_large_ids_are_kept_apart():
    big = 2**62
    evaluation = from_rankings([[-1, big + 1, big]], [[big]], measures=["mrr"])
    assert evaluation["mrr"].tolist() == [1 / 3]  # float64 could not tell these ids apart


def test_relevance_level_moves_yes_or_no_but_not_ndcg():
    found, grades = [[1, 2, 3]], [{1: 1, 2: 2, 3: 3}]
    names = ["mrr", "map", "ndcg"]
    all_grades, strict = (from_rankings(found, grades, measures=names, relevance_level=level) for level in (None, 2))
    assert (all_grades["mrr"][0], strict["mrr"][0]) == (1.0, 0.5)
    assert strict["map"][0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert strict["ndcg"][0] == all_grades["ndcg"][0]
    assert strict.n_relevant.tolist() == [2]


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    found = np.array([rng.permutation(30)[:12] for _ in range(23)])
    grades = [
        {int(i): int(g) for i, g in zip(rng.permutation(30)[:9], rng.integers(0, 4, 9), strict=True)} for _ in found
    ]
    points, labels = rng.normal(size=(23, 3)), rng.integers(0, 4, 23)

    def both():
        return (
            from_rankings(found, grades, measures=EVERY),
            from_embeddings(points, labels, points, labels, exclude_self=True, measures=EVERY),
        )

    whole = both()
    monkeypatch.setattr(sources, "_BLOCK", 50)
    for one, other in zip(whole, both(), strict=True):
        for name in EVERY:
            np.testing.assert_array_equal(one[name], other[name])
        np.testing.assert_array_equal(one.n_relevant, other.n_relevant)


# ---- embeddings -------------------------------------------------------------------------------------------------


def _slow_ranking(query, gallery, metric, skip, first):
    """Gallery rows by (distance, ``first``, row), the distance straight from its definition."""

    def distance(row):
        if metric == "l2":
            return float(np.sqrt(((query - row) ** 2).sum()))
        if metric == "ip":
            return -float(query @ row)
        norms = float(np.linalg.norm(query) * np.linalg.norm(row))
        return 1.0 if norms == 0 else 1 - float(query @ row) / norms

    rows = [i for i in range(len(gallery)) if i != skip]
    return sorted(rows, key=lambda i: (round(distance(gallery[i]), 9), first(i), i))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    metric=st.sampled_from(["l2", "cosine", "ip"]),
    ties=st.sampled_from(["id", "best", "worst"]),
    excluded=st.booleans(),
    shift=st.sampled_from([0.0, 1e9]),
)
def test_embeddings_are_ranked_as_the_definitions_say(seed, metric, ties, excluded, shift):
    rng = np.random.default_rng(seed)
    n, n_queries = int(rng.integers(4, 14)), int(rng.integers(1, 6))
    # a coarse grid: many ties, duplicates and zero vectors
    shift = shift if metric == "l2" else 0.0  # far from the origin, where |x|^2 - 2xq + |q|^2 alone is noise
    gallery = rng.integers(-1, 2, size=(n, 2)) + shift
    queries = gallery[:n_queries] if excluded else rng.integers(-1, 2, size=(n_queries, 2)) + shift
    gallery_labels, labels = rng.integers(0, 3, n), rng.integers(0, 4, len(queries))
    itself = np.where(rng.random(len(queries)) < 0.8, np.arange(len(queries)), -1) if excluded else False
    names = ["mrr", "map", "ndcg", "recall@4", "precision@4", "ndcg@4"]
    evaluation = from_embeddings(
        queries, labels, gallery, gallery_labels, metric=metric, exclude_self=itself, measures=names, ties=ties
    )
    shallow = from_embeddings(
        queries, labels, gallery, gallery_labels, metric=metric, exclude_self=itself, measures=names[3:], ties=ties
    )
    for q in range(len(queries)):
        skip = int(itself[q]) if excluded else -1
        grades = {i: 1 for i in range(n) if gallery_labels[i] == labels[q] and i != skip}
        sign = {"id": 0, "best": -1, "worst": 1}[ties]
        ranking = _slow_ranking(queries[q], gallery, metric, skip, lambda i, g=grades, s=sign: s * g.get(i, 0))
        assert evaluation.n_relevant[q] == len(grades)
        for name in names:
            assert evaluation[name][q] == pytest.approx(textbook.BY_NAME[name](ranking, grades)), name
        for name in names[3:]:
            assert shallow[name][q] == evaluation[name][q]  # a top k and the full ranking agree


@pytest.mark.parametrize("n_copies", [57, 131])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_copies_of_the_query_tie_although_a_matrix_product_rounds(metric, n_copies):
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(3, 129))
    # (for cosine of any length): a blocked product gives columns at its edges other last bits
    lengths = rng.integers(1, 9, size=(3 * n_copies, 1)) if metric == "cosine" else 1
    copies = np.repeat(queries, n_copies, axis=0) * lengths
    labels = np.full(3 * n_copies, 99)
    labels[n_copies - 1 :: n_copies] = [0, 1, 2]  # the last copy of each is the relevant one
    for ties, rank in (("best", 1), ("id", n_copies), ("worst", n_copies)):
        found = from_embeddings(queries, [0, 1, 2], copies, labels, metric=metric, measures=["mrr"], ties=ties)
        assert found["mrr"].tolist() == [1 / rank] * 3


def test_plus_and_minus_zero_tie():
    found = from_embeddings([[1.0]], [1], [[-1e-60], [1e-60], [1.0]], [1, 0, 0], metric="ip", measures=["mrr"])
    assert found["mrr"].tolist() == [1 / 2]  # after row 2, and before row 1, whose distance is -0.0 in float32


def test_a_collapsed_encoder_is_seen_by_the_tie_rules():
    points, labels = np.ones((6, 3)), [0, 0, 0, 1, 1, 1]
    first = {
        ties: from_embeddings(points, labels, points, labels, exclude_self=True, measures=["precision@2"], ties=ties)
        for ties in ("id", "best", "worst")
    }
    assert first["best"]["precision@2"].tolist() == [1.0] * 6
    assert first["worst"]["precision@2"].tolist() == [0.0] * 6
    assert first["id"]["precision@2"].tolist() == [1.0] * 3 + [0.0] * 3  # the first rows, whatever the query


def test_scale_does_not_matter():
    rng = np.random.default_rng(5)
    points, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    for metric in ("l2", "cosine", "ip"):
        expected = from_embeddings(points, labels, points, labels, metric=metric, measures=["map"])["map"]
        for scale in (1e-200, 1e200):
            scaled = from_embeddings(points * scale, labels, points * scale, labels, metric=metric, measures=["map"])
            np.testing.assert_array_equal(scaled["map"], expected)


def test_labels_may_be_words_and_may_be_missing_from_the_gallery():
    evaluation = from_embeddings(
        [[1.0], [1.0]], ["cat", "emu"], [[1.0], [2.0]], ["dog", "cat"], metric="l2", measures=["mrr"]
    )
    assert evaluation["mrr"].tolist() == [0.5, 0.0]
    assert evaluation.answerable.tolist() == [True, False]


# ---- judged triples ---------------------------------------------------------------------------------------------


def test_judged_triples_by_hand():
    # query 5 meets candidates 1 (grade 0), 2 (grade 3), 3 (grade 1) in this order; query 4 meets 9 (2), then 1 (0)
    queries, candidates = [5, 4, 5, 4, 5], [3, 1, 1, 9, 2]
    similarities, distances = [1, 0, 0, 2, 3], [0.9, 0.8, 0.1, 0.2, 0.4]
    evaluation = from_judgements(
        queries, candidates, similarities, distances, measures=["mrr", "precision@4", "map", "ndcg@3"]
    )
    assert evaluation.query_ids.tolist() == [4, 5]
    assert evaluation["mrr"].tolist() == [1.0, 0.5]
    assert evaluation["precision@4"].tolist() == [1 / 4, 2 / 4]
    assert evaluation["map"] == pytest.approx([1.0, (1 / 2 + 2 / 3) / 2])
    # query 5: 0 + 7/log2(3) + 1/2 of 7 + 1/log2(3)
    assert evaluation["ndcg@3"] == pytest.approx([1.0, (7 / np.log2(3) + 0.5) / (7 + 1 / np.log2(3))])


def test_ties_among_judged_candidates():
    call = {"queries": [0, 0, 0], "candidates": [1, 2, 3], "similarities": [0, 1, 0], "distances": [1.0, 1.0, 1.0]}
    ranks = {ties: from_judgements(**call, measures=["mrr"], ties=ties)["mrr"][0] for ties in ("id", "best", "worst")}
    assert ranks == {"id": 1 / 2, "best": 1.0, "worst": 1 / 3}
    for ties in ("best", "worst"):  # the rule is for ties only: distances come first
        decided = from_judgements(**call | {"distances": [0.3, 0.2, 0.1]}, measures=["mrr"], ties=ties)
        assert decided["mrr"][0] == 1 / 2


def test_triples_and_rankings_agree():
    rng = np.random.default_rng(3)
    queries, candidates = (axis.ravel() for axis in np.meshgrid(np.arange(7), np.arange(20), indexing="ij"))
    similarities, distances = rng.integers(0, 4, 140), rng.permutation(140) / 140
    ranked = np.argsort(distances.reshape(7, 20), axis=1)
    from_triples = from_judgements(queries, candidates, similarities, distances, measures=EVERY)
    judged = Judgements.from_triples(queries, candidates, similarities)
    from_ids = from_rankings(ranked, judged, measures=EVERY)
    for name in EVERY:
        np.testing.assert_array_equal(from_triples[name], from_ids[name])


# ---- the result -------------------------------------------------------------------------------------------------


def test_an_evaluation_is_read_only_and_prints_its_table():
    evaluation = from_rankings([[1, 2], [3, 4]], [{1}, set()], measures=["mrr", "recall@2"])
    with pytest.raises(ValueError, match="read-only"):
        evaluation["mrr"][0] = 1.0
    with pytest.raises(TypeError):
        evaluation.scores["mrr"] = np.ones(2)
    assert len(evaluation) == 2
    assert evaluation.means() == {"mrr": 0.5, "recall@2": 0.5}
    table = str(evaluation).splitlines()
    assert table[1].startswith("mrr       0.5000  [0.0000, 1.0000]")
    assert table[-1] == "2 queries, of which 1 without a relevant item (they score 0)"


def test_the_interval_is_seeded_and_follows_the_level():
    rng = np.random.default_rng(0)
    evaluation = Evaluation({"mrr": rng.random(200)}, np.arange(200), np.ones(200, dtype=np.int64))
    assert evaluation.interval("mrr") == evaluation.interval("mrr")
    assert evaluation.interval("mrr", seed=1) != evaluation.interval("mrr")
    narrow, wide = evaluation.interval("mrr", level=0.5), evaluation.interval("mrr", level=0.99)
    assert wide[0] < narrow[0] < evaluation.mean("mrr") < narrow[1] < wide[1]
    # the normal approximation of the same: mean +- 1.96 s / sqrt(n)
    half = 1.96 * evaluation["mrr"].std() / np.sqrt(200)
    low, high = evaluation.interval("mrr", n_resamples=4000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(42)
    covered, trials = 0, 300
    for trial in range(trials):
        scores = rng.beta(0.5, 0.7, size=100)  # skewed to both ends, as reciprocal ranks are; mean 0.5 / 1.2
        evaluation = Evaluation({"mrr": scores}, np.arange(100), np.ones(100, dtype=np.int64))
        low, high = evaluation.interval("mrr", level=0.9, n_resamples=400, seed=trial)
        covered += low <= 0.5 / 1.2 <= high
    # 0.9 of 300 with a standard error of 0.017: three of them either side, and a little for the percentile method
    assert 0.84 <= covered / trials <= 0.955


def test_measures_are_parsed_from_their_names():
    for name in ("mrr", "mrr@3", "map@10", "map_reachable@10", "ndcg_linear@7", "recall@1", "precision@100"):
        assert str(parse(name)) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "did you mean 'ndcg@10'"),
        ("MAP", "did you mean 'map'"),
        ("recal@5", "did you mean 'recall@5'"),
        ("bpref", "unknown measure 'bpref'.*Known: mrr, recall"),
        ("recall", "needs a cut-off, for example 'recall@10'"),
        ("map_reachable", "needs a cut-off"),
        ("ndcg@0", "positive integer, got '0'"),
        ("ndcg@", "positive integer, got ''"),
        ("ndcg@ten", "positive integer, got 'ten'"),
        ("ndcg@-1", "positive integer, got '-1'"),
        ("ndcg@1.5", "positive integer"),
        ("ndcg@²", "positive integer"),
    ],
)
def test_bad_names_get_a_useful_answer(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name)


POINTS = [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_rankings([[1, 1]], [{1}], measures=["mrr"]), ValueError, "row 0 holds id 1 more than once"),
        (lambda: from_rankings([[1, -2]], [{1}], measures=["mrr"]), ValueError, "ranked_ids holds -2"),
        (
            lambda: from_rankings([[1.0, 2.0]], [{1}], measures=["mrr"]),
            TypeError,
            "must be integers, got dtype float64",
        ),
        (lambda: from_rankings([[1, 2]], [{1}], measures=["recall@5"]), ValueError, "at 5 needs 5 .* has 2 columns"),
        (lambda: from_rankings([[1, 2]], [{1}, {2}], measures=["mrr"]), ValueError, "1 rows, but relevant has 2"),
        (lambda: from_rankings([[1, 2]], {0: {1}}, measures=["mrr"]), TypeError, "one entry a query"),
        (lambda: from_rankings([[1, 2]], [1], measures=["mrr"]), TypeError, r"relevant\[0\] must be ids or a mapping"),
        (lambda: from_rankings([[1, 2]], [{1: np.nan}], measures=["mrr"]), ValueError, r"grades\[0\] is nan"),
        (lambda: from_rankings([[1, 2]], [[1, 1]], measures=["mrr"]), ValueError, "item 1 is judged more than once"),
        (lambda: from_rankings([[1, 2]], [[-1]], measures=["mrr"]), ValueError, "must be 0 or more, got -1"),
        (lambda: from_rankings(np.zeros((0, 3), int), [], measures=["mrr"]), ValueError, "no queries"),
        (lambda: from_rankings([[1]], [{1}], measures=[]), ValueError, "measures is empty"),
        (lambda: from_rankings([[1]], [{1}], measures=["mrr", "mrr"]), ValueError, "more than once: mrr"),
        (lambda: from_rankings([[1]], [{1}], measures=["mrr"], relevance_level=0), ValueError, "above 0, got 0"),
        (lambda: from_rankings([[1]], [{1}], measures=["mrr"])["map"], KeyError, "map was not computed"),
        (lambda: from_rankings([[1]], [{1}], measures=["mrr"]).interval("mrr", level=95), ValueError, "got 95"),
        (lambda: Judgements([0, 2], [1]), ValueError, r"end at len\(ids\) = 1"),
        (lambda: Judgements([0, 1], [1], grades=[1, 2]), ValueError, "grades has 2 entries, but ids has 1"),
        (lambda: Judgements([0, 1, 1], [1], query_ids=[3, 3]), ValueError, "query_ids must all be different"),
        (lambda: from_judgements([0], [1], [1, 2], [0.5]), ValueError, "got 1, 1 and 2"),
        (lambda: from_judgements([0], [1], [1], [0.5, 0.6]), ValueError, "distances has 2 entries"),
        (lambda: from_judgements([0], [1], [1], [np.nan]), ValueError, r"distances\[0\] is nan"),
        (lambda: from_judgements([0, 0], [1, 1], [1, 2], [0.5, 0.6]), ValueError, "item 1 is judged more than once"),
        (lambda: from_judgements([0], [1], [1], [0.5], ties="first"), ValueError, "got 'first'"),
        (lambda: from_embeddings(POINTS, [0, 1], [[1.0]], [0]), ValueError, "dimension 2, but the gallery has 1"),
        (lambda: from_embeddings(POINTS, [0], POINTS, [0, 1]), ValueError, r"query_labels has shape \(1,\)"),
        (lambda: from_embeddings(POINTS, [0, 1], POINTS, ["a", "b"]), TypeError, "use one kind for both"),
        (lambda: from_embeddings(POINTS, [0.5, 1], POINTS, [0, 1]), TypeError, "integers or strings"),
        (lambda: from_embeddings([[np.inf, 0]], [0], POINTS, [0, 1]), ValueError, r"query_embeddings\[0, 0\] is inf"),
        (lambda: from_embeddings(POINTS, [0, 1], POINTS, [0, 1], metric="cos"), ValueError, "got 'cos'"),
        (lambda: from_embeddings(POINTS, [0, 1], POINTS, [0, 1], ties="random"), ValueError, "got 'random'"),
        (
            lambda: from_embeddings(POINTS[:1], [0], POINTS, [0, 1], exclude_self=True),
            ValueError,
            "1 queries and 2 gallery rows",
        ),
        (lambda: from_embeddings(POINTS, [0, 1], POINTS, [0, 1], exclude_self=[0]), ValueError, "1 entries, but .* 2"),
        (lambda: from_embeddings(POINTS, [0, 1], POINTS, [0, 1], exclude_self=[0, 2]), ValueError, "got 0..2"),
        (lambda: from_embeddings(POINTS, [0, 1], np.zeros((0, 2)), np.zeros(0, int)), ValueError, "got 0"),
    ],
)
def test_errors_name_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_evaluation_needs_numpy_and_nothing_else():
    code = (
        "import sys, annlab.evaluation; print([m for m in ('torch', 'numba', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
