"""Sources of training points: what each may draw, how clicks are corrected, and what never leaks."""

import numpy as np
import pytest

from annlab.encoders.clicks import ClickSimulator, aggregate_clicks, estimate_propensities
from annlab.encoders.pairs import AugmentationPairs, ClickPairs, JudgementPairs, LabelPairs, MixedPairs
from annlab.evaluation import showings, showings_of

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 7, -1, -1])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_augmentation_pairs_use_every_image_once_before_any_twice():
    points = AugmentationPairs(10).sample(25, rng())
    assert (points.query == points.positive).all()
    assert sorted(points.query[:10]) == sorted(points.query[10:20]) == list(range(10))


def test_label_pairs_draw_all_others_of_the_class_equally_and_a_lone_image_itself():
    points = LabelPairs(LABELS).sample(13 * 3000, rng())
    known = LABELS[points.query] >= 0
    assert (LABELS[points.query[known]] == LABELS[points.positive[known]]).all()
    lone = np.isin(points.query, [10, 11, 12])
    assert (points.query == points.positive)[lone].all()
    assert not (points.query == points.positive)[~lone].any()
    for query in (0, 3, 9):  # first, middle and last of the class of rows 0, 3, 6, 9
        counts = np.bincount(points.positive[points.query == query], minlength=10)[
            [r for r in (0, 3, 6, 9) if r != query]
        ]
        assert counts.min() > 850


def test_negatives_are_never_of_the_group_of_query_or_positive():
    points = LabelPairs(LABELS).sample(500, rng(), n_negatives=4)
    assert points.negatives.shape == (500, 4)
    known = LABELS[points.query] >= 0
    assert (LABELS[points.negatives] != LABELS[points.query][:, None])[known].all()


def test_judgements_are_drawn_in_proportion_and_zero_is_a_hard_negative():
    source = JudgementPairs([0, 0, 0, 5], [1, 2, 3, 6], [3.0, 1.0, 0.0, 0.0], n_images=50)
    points = source.sample(4000, rng(), n_negatives=2)
    assert set(points.query) == {0}
    assert set(points.positive) == {1, 2}
    assert np.mean(points.positive == 1) == pytest.approx(0.75, abs=0.03)
    assert (points.negatives[:, 0] == 3).all()
    assert len(set(points.negatives[:, 1])) > 20


@pytest.mark.parametrize(
    "source",
    [
        AugmentationPairs(13),
        LabelPairs(LABELS),
        JudgementPairs(np.arange(12), np.arange(1, 13), np.arange(12) % 3, 13),
        ClickPairs(np.arange(12), np.arange(1, 13), np.ones(12, int), np.arange(12) % 3 > 0, 13, propensity=[1.0]),
    ],
    ids=lambda source: type(source).__name__,
)
def test_a_restricted_source_touches_no_other_row(source):
    allowed = np.arange(13) % 4 != 0
    points = source.restricted(allowed).sample(300, rng(), n_negatives=3)
    for rows in points:
        assert allowed[rows].all()
    mixed = MixedPairs([source, AugmentationPairs(13)], [1, 1]).restricted(allowed).sample(300, rng(), n_negatives=3)
    assert all(allowed[rows].all() for rows in mixed)


def test_a_mixture_keeps_its_weights_and_the_groups_of_its_labels():
    labels = np.arange(1000) // 500
    mixed = MixedPairs([AugmentationPairs(1000), LabelPairs(labels)], [1, 3])
    points = mixed.sample(8000, rng())
    assert np.mean(points.query == points.positive) == pytest.approx(0.25, abs=0.02)
    assert (mixed.groups == labels).all()


def test_the_simulator_follows_its_formula():
    n = 40_000
    relevance = np.tile([1.0, 0.5, 0.0], (n, 1))
    shown = np.tile([1, 2, 3], (n, 1))
    _, _, position, clicked = ClickSimulator(eta=1.0, noise=0.1).impressions(np.zeros(n, int), shown, relevance, rng())
    rates = [clicked[position == k].mean() for k in (1, 2, 3)]
    np.testing.assert_allclose(rates, [0.9, 0.5 / 2, 0.1 / 3], atol=0.01)


def simulated_log(eta, n_queries=1500, sessions=6, seed=0):
    """Lists in random order, so that pairs are seen at several positions; images divisible by 5 are relevant."""
    generator = rng(seed)
    shown = np.argsort(generator.random((n_queries, 60)), 1)[:, :8]
    shown = generator.permuted(np.tile(shown, (sessions, 1)), axis=1)
    query = np.tile(np.arange(100, 100 + n_queries), sessions)
    return ClickSimulator(eta, noise=0.05).impressions(query, shown, (shown % 5 == 0) * 1.0, generator)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 1.5])
def test_hidden_propensities_are_recovered(eta):
    estimated = estimate_propensities(*simulated_log(eta))
    np.testing.assert_allclose(estimated, np.arange(1, 9) ** -eta, atol=0.05)


def test_correction_makes_the_bottom_of_the_list_count_as_much_as_the_top():
    """Relevant images shown at the top only, or at the bottom only: uncorrected clicks prefer the top ones."""
    generator = rng()
    n = 20_000
    query = np.arange(100, 100 + n)
    shown = np.tile(np.arange(8), (n, 1))
    log = ClickSimulator(eta=1.0, noise=0.0).impressions(query, shown, np.full((n, 8), 0.5), generator)
    propensity = 1 / np.arange(1, 9)
    raw = ClickPairs(*log, n_images=200_000, propensity=np.ones(8)).sample(n, rng()).positive
    fair = ClickPairs(*log, n_images=200_000, propensity=propensity, max_weight=100).sample(n, rng()).positive
    assert np.mean(raw == 0) / np.mean(raw == 7) == pytest.approx(8, rel=0.2)
    assert np.mean(fair == 0) / np.mean(fair == 7) == pytest.approx(1, rel=0.1)


def test_impressions_without_a_click_are_the_hard_negatives():
    source = ClickPairs([0, 0, 0], [1, 2, 3], [1, 2, 3], [1, 0, 0], 100, propensity=[1.0, 1.0, 0.5])
    negatives = source.sample(100, rng(), n_negatives=1).negatives[:, 0]
    assert set(negatives) == {2}  # position 3 is looked at half of the time: no click there says little
    trusting = ClickPairs([0, 0, 0], [1, 2, 3], [1, 2, 3], [1, 0, 0], 100, propensity=np.ones(3))
    assert set(trusting.sample(100, rng(), n_negatives=1).negatives[:, 0]) == {2, 3}


def test_correction_keeps_images_that_nobody_saw_from_becoming_negatives():
    """Simulated users of a real set: what stands low in a list is seldom seen, and mostly similar all the same."""
    pytest.importorskip("torch")
    from annlab.datasets import fashion_mnist
    from benchmarks.quality import LabelledSet, simulated_clicks

    images, labels, _ = fashion_mnist()
    labels = labels.astype(np.int64)[:3000]
    log = simulated_clicks(
        LabelledSet("fashion-mnist", images[:3000], labels, images, labels), ClickSimulator(1.0, 0.05)
    )
    share = {}
    for name, propensity in (("corrected", None), ("uncorrected", np.ones(10))):
        points = ClickPairs(*log, n_images=3000, propensity=propensity).sample(5000, rng(), n_negatives=1)
        share[name] = np.mean(labels[points.query] == labels[points.negatives[:, 0]])
        assert np.mean(labels[points.query] == labels[points.positive]) > 0.8
    assert share["corrected"] < 0.25
    assert share["uncorrected"] > 0.5


def test_a_click_table_counts_each_pair_once():
    table = aggregate_clicks([4, 4, 4, 9], [1, 1, 2, 1], [1, 2, 1, 1], [1, 1, 0, 1], propensity=[1.0, 0.5])
    rows = {(q, d): (c, e) for q, d, c, e in zip(*table[:4], strict=True)}
    assert rows == {(4, 1): (2, 1.5), (4, 2): (0, 1.0), (9, 1): (1, 1.0)}


def test_negatives_come_from_the_complement_also_where_one_class_dominates():
    labels = np.where(np.arange(1000) < 990, 0, 1 + np.arange(1000) % 5)
    points = LabelPairs(labels).sample(2000, rng(), n_negatives=3)
    assert (labels[points.negatives] != labels[points.query][:, None]).all()
    of_most = points.negatives[labels[points.query] == 0]
    assert np.bincount(of_most.ravel() - 990).min() > 0.8 * of_most.size / 10, "all of the complement, equally likely"


def test_what_was_judged_similar_is_no_negative_of_the_query_from_any_source():
    judged = JudgementPairs(np.zeros(18, int), np.arange(1, 19), np.ones(18), n_images=20)
    points = judged.sample(300, rng(), n_negatives=2)
    assert set(points.negatives.ravel()) == {19}, "of twenty images one is left"
    mixed = MixedPairs([AugmentationPairs(20), judged], [1, 1]).sample(2000, rng(), n_negatives=1)
    of_first = mixed.negatives[mixed.query == 0]
    assert set(of_first.ravel()) == {19} and len(of_first) > 900
    with pytest.raises(ValueError, match="every image is known to be similar to image 0: there are no negatives"):
        JudgementPairs(np.zeros(19, int), np.arange(1, 20), np.ones(19), n_images=20).sample(5, rng(), 1)


def test_labels_may_be_names_and_without_one_an_image_is_alone():
    named = LabelPairs(np.array(["cat", "dog", "", "cat", ""]))
    numbered = LabelPairs([0, 1, -1, 0, -1])
    for source in (named, numbered):
        assert source.groups[0] == source.groups[3] and len(np.unique(source.groups)) == 4
    for ours, theirs in zip(named.sample(50, rng(), 2), numbered.sample(50, rng(), 2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["augmentation", "labels", "judgements", "clicks", "mixture"])
def test_a_source_of_some_images_numbers_them_anew(kind):
    judged = JudgementPairs([0, 3, 5], [3, 5, 8], [1.0, 2.0, 0.0], 10)
    clicked = ClickPairs([0, 3, 5], [3, 5, 8], [1, 1, 1], [1, 1, 0], 10, propensity=[1.0])
    labelled = LabelPairs([0, 1, 2, 0, 1, 0, 2, 1, 0, 1])
    whole = {
        "augmentation": AugmentationPairs(10), "labels": labelled, "judgements": judged, "clicks": clicked,
        "mixture": MixedPairs([labelled, judged], [1, 1]),
    }[kind]  # fmt: skip
    rows = np.array([8, 5, 3, 1, 2])
    some = whole.taken(rows)
    assert some.n_images == 5
    points = some.sample(200, rng(), 1)
    if kind == "judgements":
        assert set(zip(rows[points.query], rows[points.positive], strict=True)) == {(3, 5)}
    if kind == "clicks":
        assert set(zip(rows[points.query], rows[points.positive], strict=True)) == {(3, 5)}
    if kind == "labels":
        assert (labelled.labels[rows[points.query]] == labelled.labels[rows[points.positive]]).all()


@pytest.mark.parametrize("as_rows", [False, True], ids=["frame", "rows"])
def test_a_pair_that_is_always_clicked_has_similarity_one(as_rows):
    """An impression and its click are one showing, whether or not the log knows who it was."""
    table = {"query": [0, 0, 0, 0, 0], "displayed": [1, 1, 1, 1, 2], "position": [1, 1, 1, 1, 2],
             "interaction": ["Impression", "Click", "impression", "click", "impression"]}  # fmt: skip
    columns = (table["query"], table["displayed"], table["position"], table["interaction"])
    pairs = ClickPairs(*columns, n_images=9, propensity=np.ones(2))
    assert dict(zip(pairs.candidate.tolist(), pairs.similarity.tolist(), strict=True)) == {1: 1.0, 2: 0.0}
    table["user"] = [5, 5, 6, 6, 6]
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)] if as_rows else table
    again = ClickPairs.of(showings_of(rows), 9, np.ones(2))
    assert again.similarity.tolist() == pairs.similarity.tolist()
    with pytest.raises(ValueError, match="have no positions"):
        ClickPairs.of(showings([0], [1], [True]), 9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate_propensities([0, 0], [1, 2], [1, 2], [1, 1]), "no clicked pair was shown at two positions"),
        (lambda: aggregate_clicks([0], [1], [0], [1]), "positions start at 1, got 0"),
        (lambda: aggregate_clicks([0], [1], [1], [2]), "clicked must be 0 or 1"),
        (lambda: aggregate_clicks([0], [1], [3], [1], propensity=[1.0]), r"positions 1\.\.3"),
        (lambda: aggregate_clicks([], [], [], []), "1-d integer|length > 0"),
        (lambda: ClickPairs([0], [99], [1], [1], 10), "but there are 10 images"),
        (lambda: ClickPairs([0], [1], [1], [0], 10, propensity=[1.0]), "no positive"),
        (lambda: JudgementPairs([0], [1, 2], [1.0], 10), "1, 2 and 1 rows"),
        (lambda: JudgementPairs([0], [1], [-1.0], 10), "not negative"),
        (lambda: LabelPairs([[0, 1]]), r"1-d integers or names, got int64 of shape \(1, 2\)"),
        (lambda: LabelPairs([1, 1, 1]).sample(4, rng(), 1), "every image is known to be similar to image"),
        (lambda: AugmentationPairs(1), "at least 2 images, got 1"),
        (lambda: MixedPairs([AugmentationPairs(5), AugmentationPairs(6)], [1, 1]), r"\[5, 6\]"),
        (lambda: MixedPairs([AugmentationPairs(5)], [0]), "not all 0"),
    ],
)
def test_bad_input_is_refused_with_the_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
