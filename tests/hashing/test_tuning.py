"""What LSHIndex measures: that it holds for new queries, for every k, and that nothing odd leads it astray."""

import warnings
from itertools import pairwise

import numpy as np
import pytest

import annlab
from annlab import LSHIndex, SearchStats
from annlab.core.heldout import RecallWarning
from annlab.distances import get_metric
from annlab.hashing.codes import Encoder
from annlab.hashing.finders import ScanFinder
from annlab.hashing.keys import CrossPolytopeKeys, HyperplaneKeys
from annlab.hashing.tuning import EVERYTHING, Level, Tuner, Tuning
from annlab.scan.scanner import Scanner
from tests import oracle

VARIANTS = [{"mode": "scan"}, {"mode": "buckets", "family": "hyperplanes"}, {"mode": "buckets"}]


def clusters(n, dim=24, seed=0, n_clusters=30, spread=0.5):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((n_clusters, dim))
    return (centers[rng.integers(n_clusters, size=n)] + spread * rng.standard_normal((n, dim))).astype(np.float32)


def recall(index, queries, vectors, k):
    found = index.search(queries, k).distances
    true, _ = oracle.nearest(queries, np.arange(len(vectors)), vectors, index.metric, k)
    return float(np.minimum((found <= true[:, -1:]).sum(axis=1), k).mean() / k)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_what_is_stated_holds_for_new_queries_at_every_level(variant):
    everything = clusters(4200)
    vectors, queries = everything[:4000], everything[4000:]
    index = LSHIndex(**variant).fit(vectors)
    levels = index.calibration.levels
    assert [level.k for level in levels][:3] == [1, 3, 10] and index.calibration.n_rows == 4000
    assert all(a.rerank <= b.rerank and a.n_probes <= b.n_probes for a, b in pairwise(levels))
    for level in levels:
        assert level.bound >= 0.9
        assert recall(index, queries, vectors, level.k) >= level.recall - 0.06, level


def test_levels_between_those_measured_take_the_next_and_beyond_them_grow():
    tuning = Tuning((Level(1, 4, 32, 10.0, 1, 1, 0.1, 9), Level(10, 8, 64, 20.0, 1, 1, 0.2, 9)), 0.9, 100, 100)
    assert tuning.at(1).rerank == 32 and tuning.at(2) == tuning.at(10) == tuning.levels[1]
    assert (tuning.at(40).rerank, tuning.at(40).n_probes) == (256, 16)
    assert tuning.at(2.0**31).rerank == EVERYTHING


def test_tuning_survives_its_arrays_and_refuses_others():
    tuning = LSHIndex(mode="buckets").fit(clusters(900)).calibration
    levels, tuned = tuning.arrays()["levels"], tuning.arrays()["tuned"]
    assert Tuning.from_arrays(levels, tuned, 64, 900) == tuning

    def changed(array, place, value):
        array = array.copy()
        array[place] = value
        return array

    for place, value in [((0, 0), 0), ((1, 0), 1), ((0, 1), 0), ((0, 1), np.nan), ((0, 2), 0), ((0, 2), 2.5),
                         ((0, 3), -1), ((0, 3), np.inf), ((0, 6), -1), ((0, 7), 2**40)]:  # fmt: skip
        with pytest.raises(ValueError, match=r"level|whole"):
            Tuning.from_arrays(changed(levels, place, value), tuned, 64, 900)
    for place, value in [(0, 2), (0, np.nan), (1, 0), (1, 901), (2, 901), (2, 1)]:
        with pytest.raises(ValueError, match="numbers"):
            Tuning.from_arrays(levels, changed(tuned, place, value), 64, 900)
    with pytest.raises(ValueError, match="eight"):
        Tuning.from_arrays(levels[:, :7].copy(), tuned, 64, 900)


def test_one_far_row_moves_neither_center_nor_scale():
    vectors = clusters(3000, 12)
    far = vectors.copy()
    far[77] = 1e6
    for metric in ("l2", "ip"):
        usual, with_far = (
            Encoder.learn(rows, get_metric(metric), 64, True, np.random.default_rng(0)) for rows in (vectors, far)
        )
        np.testing.assert_allclose(with_far.center, usual.center, atol=0.01)
        assert with_far.scale == usual.scale
    huge = vectors.copy()
    huge[77] = 1e30
    codes = Encoder.learn(huge, get_metric("l2"), 64, True, np.random.default_rng(0)).rows(huge)
    assert np.isfinite(codes.halves).all() and np.isfinite(codes.slopes).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_probes_are_buckets_whatever_the_query(value):
    vectors = clusters(200, 10)
    rng = np.random.default_rng(0)
    encoder = Encoder.learn(vectors, get_metric("l2"), 6 * 8, True, rng)
    queries = vectors[:5].copy()
    queries[1, 3], queries[2] = value, value
    for keys in (HyperplaneKeys(6, 8), CrossPolytopeKeys.draw(6, 8, encoder, rng)):
        for n_probes in (1, 20, 500):
            probes = keys.probes(queries, encoder.queries(queries), n_probes)
            assert probes.shape == (5, n_probes) and probes.min() >= 0 and probes.max() < 6 * 2**8
        rows = keys.rows(queries, encoder.rows(queries))
        assert rows.min() >= 0 and rows.max() < 2**8


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_tuning_is_checked_with_the_rows_that_came_and_measured_again_when_they_are_many(variant):
    vectors = clusters(8000)
    index = LSHIndex(**variant).fit(vectors[:3000])
    for start in range(3000, 8000, 1250):
        index.add(vectors[start : start + 1250])
    structure = index._state.structure
    assert structure.tuning.n_rows > 4000
    assert len(structure.vectors) - structure.tuning.n_checked <= structure.tuning.n_checked / 8


def test_new_rows_are_looked_for_as_searches_among_more_rows_do(monkeypatch):
    vectors, checked = clusters(5500), []
    index = LSHIndex(mode="scan").fit(vectors[:4000])
    before = index.calibration.main.rerank
    monkeypatch.setattr(Tuner, "recall", lambda self, level, rows: checked.append(level.rerank) or 1.0)
    index.add(vectors[4000:])
    assert index.calibration.n_rows == 4000, "nothing was tuned again"
    assert checked == [index._state.structure.plans.of(10, index._search_params({})).keep]
    assert checked[0] > before
    given = LSHIndex(mode="buckets", rerank=70).fit(vectors[:4000])
    assert given._state.structure._grown(8000).rerank == 70, "what the user says is not scaled"


def test_rows_that_are_not_found_make_a_new_tuning_due():
    """A third as many rows of another kind, whose neighbours cannot be told apart by their codes."""
    vectors, rng = clusters(3000), np.random.default_rng(1)
    index = LSHIndex(mode="scan").fit(vectors)
    before = index.calibration.main.rerank
    narrow = vectors[0] + np.float32(0.5) + 1e-3 * rng.standard_normal((1100, 24)).astype(np.float32)
    index.add(narrow)
    tuning = index.calibration
    assert tuning.n_rows == 4100 and tuning.main.rerank > 2 * before
    queries = narrow[::20] + np.float32(1e-4)
    assert recall(index, queries, np.vstack([vectors, narrow]), 10) >= 0.87


def test_a_number_that_keeps_the_target_out_of_reach_is_named():
    vectors = np.random.default_rng(0).random((3000, 24), dtype=np.float32)
    with pytest.warns(RecallWarning, match=r"n_probes=2 finds 0\.\d+ of the 10 nearest.*not 0.9"):
        LSHIndex(mode="buckets", n_probes=2).fit(vectors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LSHIndex(mode="buckets", n_probes=2, rerank=50).fit(vectors)  # nothing was left to be measured
        LSHIndex(mode="scan", rerank=400).fit(vectors)


def test_where_codes_tell_nothing_the_search_is_an_exact_scan():
    """All rows on one ray from the center have one code."""
    vectors = (np.random.default_rng(0).random((6000, 1)) + 1) * np.ones((1, 6))
    vectors = np.vstack([vectors, -vectors]).astype(np.float32)
    for variant in VARIANTS:
        index, stats = LSHIndex(**variant).fit(vectors), SearchStats()
        assert index.calibration.main.rerank == EVERYTHING
        assert recall(index, vectors[:50] + np.float32(1e-5), vectors, 10) == 1.0
        index.search(vectors[:5], 10, stats=stats)
        assert (stats.distances == len(vectors)).all()


def test_nothing_is_padded_while_rows_are_left_and_no_probe_is_too_few():
    vectors = clusters(1500)
    for family in ("hyperplanes", "cross_polytope"):
        index = LSHIndex(mode="buckets", family=family, n_probes=1, rerank=10).fit(vectors)
        for k in (1, 40, 1499, 1500, 1600):
            found = index.search(vectors[:20], k).ids
            assert ((found >= 0).sum(axis=1) == min(k, 1500)).all()
            assert all(len(set(row[row >= 0].tolist())) == min(k, 1500) for row in found)
        index.remove(np.arange(0, 1500, 2))
        assert ((index.search(vectors[:20], 700).ids >= 0).sum(axis=1) == 700).all()


def test_a_filter_of_one_query_does_not_change_the_answer_of_another():
    vectors = clusters(3000)
    index = LSHIndex(mode="buckets").fit(vectors)
    rng = np.random.default_rng(0)
    masks = [rng.random(3000) < share for share in (0.9, 0.6, 0.3, 0.6, 0.9, 0.31)]
    together = index.search(vectors[:6], 10, allowed=masks)
    true = oracle.nearest(vectors[:6], np.arange(3000), vectors, "l2", 10, np.array(masks))
    assert np.mean([np.isin(a, b).mean() for a, b in zip(true[1], together.ids, strict=True)]) > 0.9


def test_the_ranks_of_a_tuner_are_those_of_the_search():
    """The neighbours that rank below `keep` are those that a search with this `rerank` scores."""
    vectors = clusters(2000)
    encoder = Encoder.learn(vectors, get_metric("l2"), 128, True, np.random.default_rng(0))
    finder, scanner = ScanFinder.build(encoder, vectors), Scanner(vectors, get_metric("l2"))
    tuner = Tuner(finder, scanner, None, None)
    held_out = tuner._held_out(np.arange(0, 2000, 40))
    ranked = finder.ranked(held_out.queries, 0, 2000, held_out.alive)
    best_first = np.take_along_axis(ranked.rows, np.argsort(ranked.order, axis=1), axis=1)
    for keep in (5, 50, 400):
        found = finder.find(held_out.queries, 0, keep, held_out.alive, 1).rows
        np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(best_first[:, :keep], axis=1))


def test_calibration_of_an_index_without_a_structure_says_so():
    index = annlab.LSHIndex(dim=4)
    with pytest.raises(ValueError, match="no content"):
        _ = index.calibration
    index.add(np.eye(4))
    with pytest.raises(ValueError, match="nothing was measured"):
        _ = index.calibration


def test_nothing_is_nearer_than_at_distance_zero():
    """A query without a length makes lengths vanish, and what is measured in them must stay a distance."""
    vectors = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    index = annlab.LSHIndex(metric="ip", mode="buckets", n_tables=4, n_bits=4).fit(vectors)
    far = index._state.structure.finder.encoder.farness(np.zeros((2, 5), np.float32), np.array([-2.0, 2.0]))
    assert (far >= 0).all()
