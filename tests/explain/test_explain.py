"""Every cause is verified: with what it needs the row is found, with the next smaller value it is not."""

import subprocess
import sys

import numpy as np
import pytest

import annlab
from annlab.common.results import Neighbors
from annlab.datasets.synthetic import synthetic
from annlab.explain import Cause, explain
from annlab.explain.counterfactual import Search, cause_of
from tests.explain.kinds import KINDS, fitted

DATA = synthetic(6000, 12, 12, 40, seed=11)
MISSING = [name for name in KINDS if name != "exact"]


def verify(index, query, k, params, told, causes):
    """Search as each cause says; returns which causes there were."""
    plain = index.search(query, k, **params)
    assert (told.ids == plain.ids).all() and (told.distances == plain.distances).all()
    for missed in told.missed:
        assert missed.needs and set(missed.needs) == set(missed.too_little)
        assert missed.id in index.search(query, k, **(params | missed.needs)).ids
        for name, value in missed.too_little.items():
            assert missed.id not in index.search(query, k, **(params | missed.needs | {name: value})).ids
        for name in set(missed.needs) & {"n_probes", "max_leaves"}:
            assert missed.needs[name] == missed.too_little[name] + 1
    seen = {missed.cause for missed in told.missed}
    assert seen <= causes
    return seen


@pytest.mark.parametrize("name", MISSING)
def test_each_miss_has_a_cause_that_searching_confirms(name):
    (index, params), causes = fitted(name, DATA.train), KINDS[name][3]
    told = [explain(index, query, 10, **params) for query in DATA.test[:12]]
    seen = set().union(*(verify(index, query, 10, params, one, causes) for query, one in zip(DATA.test, told)))
    assert seen and sum(len(one.missed) for one in told) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", MISSING)
def test_many_misses_of_each_index_have_causes_that_searching_confirms(name, misses):
    (index, params), causes = fitted(name, DATA.train), KINDS[name][3]
    rng, seen, n_missed = np.random.default_rng(4), set(), 0
    while n_missed < misses:
        one, other, share = rng.integers(0, len(DATA.train)), rng.integers(0, len(DATA.train)), rng.random()
        query = (share * DATA.train[one] + (1 - share) * DATA.train[other]).astype(np.float32)
        told = explain(index, query, 40, **params)
        seen |= verify(index, query, 40, params, told, causes)
        n_missed += len(told.missed)
    assert seen and (seen == causes or misses < 1000 or name.startswith("vamana"))


def test_nothing_of_it_is_there_while_nobody_asks():
    code = """
import sys, numpy as np, annlab
for kind in (annlab.ExactIndex, annlab.KDTreeIndex):
    kind().fit(np.eye(20, dtype=np.float32)).search(np.eye(20, dtype=np.float32), 3, stats=annlab.SearchStats())
print(sorted(name for name in sys.modules if "explain" in name or "matplotlib" in name))
"""
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_of_an_inverted_file_the_probes_that_are_needed_are_the_rank_of_the_cell():
    index = annlab.IVFIndex(storage="flat").fit(DATA.train)
    structure, ids = index._structure, index._state.by_row.array
    for query in DATA.test[:10]:
        order = structure.probes(structure.lists.conversion.queries(query[None, :]), structure.n_lists)[0][0]
        for missed in explain(index, query, 10, n_probes=1).missed:
            row = int(np.flatnonzero(ids == missed.id)[0])
            cell = int(np.searchsorted(structure.offsets, row, side="right")) - 1
            assert missed.needs["n_probes"] == int(np.flatnonzero(order == cell)[0]) + 1


def test_filtered_removed_tied_and_far_rows_are_told_apart():
    vectors = np.array([[0.0, 0], [1, 0], [0, 1], [5, 5], [9, 9]], np.float32)
    index = annlab.ExactIndex().fit(vectors, [10, 11, 12, 13, 14], attributes={"private": [0, 0, 0, 1, 0]})
    index.remove([14])
    told = explain(index, [0.0, 0.0], 2, expected=[10, 12, 13, 14], where=annlab.col("private") == 0)
    causes = {missed.id: missed.cause for missed in told.missed}
    assert causes == {12: Cause.TIE, 13: Cause.FILTERED, 14: Cause.ABSENT}
    assert explain(index, [0.0, 0.0], 2, expected=[13]).missed[0].cause is Cause.FARTHER
    assert told.recall == 0.25


def test_an_exact_search_misses_nothing_and_the_text_says_what_was_done():
    index = annlab.ExactIndex().fit(DATA.train)
    told = index.explain(DATA.test[0], 5)
    assert not told.missed and told.recall == 1
    assert "ExactIndex, 5 nearest of 6,000 vectors" in str(told) and "returned 5 of 5 expected" in str(told)
    told = annlab.IVFIndex().fit(DATA.train).explain(DATA.test[0], 10, n_probes=1)
    assert str(told).count("does not") == len(told.missed) and "n_probes=1" in str(told)


def test_where_the_filter_leaves_nothing_nothing_is_missed():
    index = annlab.IVFIndex().fit(DATA.train)
    told = explain(index, DATA.test[0], 3, allowed=[])
    assert not told.missed and (told.ids == -1).all() and told.recall == 1


def test_one_query_at_a_time():
    with pytest.raises(ValueError, match="one query"):
        explain(annlab.ExactIndex().fit(DATA.train), DATA.test[:2])


@pytest.mark.parametrize(("distance", "cause"), [(0.25, Cause.UNREACHABLE), (0.5, Cause.TIE), (0.75, Cause.FARTHER)])
def test_what_no_parameter_finds_is_judged_by_its_distance(distance, cause):
    index = annlab.ExactIndex().fit(DATA.train[:10])
    search = Search(index, DATA.test[0], 1, {"allowed": None}, {})
    found = Neighbors(np.array([0.5], np.float32), np.array([3]))
    assert cause_of(search, 7, distance, True, True, found).cause is cause
