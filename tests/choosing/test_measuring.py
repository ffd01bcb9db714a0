import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import annlab
from annlab.choosing import trying
from annlab.choosing.ladders import ladders, variants
from annlab.choosing.measuring import cheapest, lowest, recall, with_interval
from annlab.datasets.synthetic import synthetic
from annlab.distances import get_metric
from annlab.kinds import INDEX_CLASSES

DATA = synthetic(3000, 16, 6, 100, seed=3)
L2 = get_metric("l2")


@given(st.integers(1, 40), st.integers(0, 40))
def test_the_lowest_step_that_reaches_is_found_and_high_ones_are_seldom_tried(n, first):
    tried = []

    def reaches(value):
        tried.append(value)
        return value >= first

    at = lowest(list(range(n)), reaches)
    assert at == (first if first < n else None)
    assert len(tried) <= 14 and len(set(tried)) == len(tried)
    assert max(tried) <= 2 * first + 1


@pytest.mark.parametrize("kind", INDEX_CLASSES)
def test_ladders_ascend_and_their_top_finds_everything(kind):
    asked = trying.question(DATA.train, DATA.test, L2, 0.9, 10, 1000, 1, None, 0)
    for variant in variants(kind, "l2", 3000, 16):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", annlab.RecallWarning)
            index = kind(**variant).fit(DATA.train)
        steps = ladders(index, 10)
        for name, values in steps.items():
            numbers = [np.inf if value is None else value for value in values]
            assert numbers == sorted(set(numbers)), (name, values)
        top = {name: values[-1] for name, values in steps.items()}
        assert recall(index, asked.task.choosing, asked.task, top).min() == 1


def test_the_cheapest_parameters_reach_and_the_step_below_does_not():
    asked = trying.question(DATA.train, DATA.test, L2, 0.9, 10, 1000, 1, None, 0)
    index = annlab.IVFIndex(storage="flat").fit(DATA.train)
    (chosen,) = cheapest(index, asked.task, 0.9)
    probes = ladders(index, 10)["n_probes"]
    below = probes[probes.index(chosen["n_probes"]) - 1]
    assert recall(index, asked.task.choosing, asked.task, chosen).mean() >= 0.9
    assert recall(index, asked.task.choosing, asked.task, {"n_probes": below}).mean() < 0.93


def test_a_search_without_a_bound_is_tried_beside_the_lowest_bound():
    asked = trying.question(DATA.train, DATA.test, L2, 0.9, 10, 1000, 1, None, 0)
    bounded, unbounded = cheapest(annlab.KDTreeIndex().fit(DATA.train), asked.task, 0.9)
    assert bounded["max_leaves"] is not None and unbounded == {"max_leaves": None}


def test_all_lists_stay_all_lists_when_the_held_out_vectors_are_back():
    noise = np.random.default_rng(0).random((1500, 48), dtype="f4")
    asked = trying.question(noise, None, L2, 0.999, 10, 1000, 1, None, 0)
    one = trying.best_of_variant(annlab.IVFIndex, {"storage": "pq4"}, asked, 0)
    assert one.search["n_probes"] == one.filled.n_lists  # nothing less reaches it on noise
    index = annlab.IVFIndex(**one.made_with, **one.search).fit(noise)
    exact = annlab.ExactIndex().fit(noise).search(noise[:50], 10)
    np.testing.assert_array_equal(index.search(noise[:50], 10).ids, exact.ids)


def test_no_interval_is_surer_than_its_queries_allow():
    perfect = with_interval(np.ones(100), 1)
    assert perfect.mean == 1 and perfect.low < 0.99 and perfect.high == 1
    some = with_interval(np.repeat([0.0, 1.0], 50), 1)
    assert some.low == pytest.approx(0.402, abs=0.005) and some.high == pytest.approx(0.598, abs=0.005)


def test_held_out_queries_meet_neither_themselves_nor_their_copies():
    vectors = np.repeat(DATA.train[:600], 2, axis=0)
    asked = trying.question(vectors, None, L2, 0.9, 5, 100, 1, None, 0)
    left = {row.tobytes() for row in vectors[asked.rows]}
    assert not any(query.tobytes() in left for query in asked.held_out.queries)
    index = annlab.ExactIndex().fit(vectors[asked.rows], asked.rows)
    assert recall(index, asked.task.reporting, asked.task, {}).min() == 1


def test_a_filter_is_part_of_the_question():
    asked = trying.question(DATA.train, DATA.test, L2, 0.9, 5, 100, 1, 0.1, 0)
    assert 200 < len(asked.task.allowed) < 400
    assert np.isin(asked.task.choosing.rows, asked.task.allowed).all()
    index = annlab.ExactIndex().fit(DATA.train)
    assert recall(index, asked.task.choosing, asked.task, {}).min() == 1
