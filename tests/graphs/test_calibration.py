"""Calibration of graphs where a walk is no use: it says so, takes little work, and searches stay right."""

import warnings

import numpy as np
import pytest

from annlab import ExactIndex, RecallWarning, VamanaIndex
from annlab.core.heldout import HeldOut
from annlab.distances import get_metric
from annlab.graphs.calibration import Calibration, Calibrations, Found, checked, measured
from annlab.graphs.structure import GraphStructure


@pytest.fixture
def trials(monkeypatch):
    """How many nodes every trial of calibration was compared with."""
    visited, tried = [], GraphStructure.tried

    def noted(self, *args):
        found = tried(self, *args)
        visited.append(int(found.visited.sum()))
        return found

    monkeypatch.setattr(GraphStructure, "tried", noted)
    return visited


def assert_exact(index, vectors):
    queries = vectors[:20] + np.float32(0.01)
    for how in ({}, {"reach": 1.1}):
        found = index.search(queries, 10, **how)
        np.testing.assert_array_equal(found.ids, ExactIndex().fit(vectors).search(queries, 10).ids)


def test_codes_that_broken_rows_made_useless_are_noticed_by_a_few_walks(trials, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((1500, 128)).astype(np.float32)
    vectors[:9, 3], vectors[9:18, 3] = 1e6, -1e6  # more rows than are cut off as unlike all others
    with pytest.warns(RecallWarning, match=r'goes nearly everywhere.*far larger than all others; take storage="flat"'):
        index = VamanaIndex(storage="sq8", seed=0).fit(vectors)
    assert len(trials) == 1 and trials[0] <= 32 * 3 * len(vectors)
    assert index.calibration.reach == np.inf
    assert_exact(index, vectors)
    index.save(tmp_path / "index")
    assert_exact(VamanaIndex.load(tmp_path / "index"), vectors)


@pytest.mark.parametrize("storage", ["sq8", "flat"])
@pytest.mark.parametrize(("metric", "far"), [("l2", 1e15), ("l2", 1e6), ("ip", 1e6)])
def test_one_broken_row_owns_neither_the_graph_nor_the_codes(trials, storage, metric, far):
    """A node for every row, a walk that looks at few of them, and no warning: as if the row were not there."""
    rng = np.random.default_rng(1)
    vectors, queries = (rng.standard_normal((n, 16)).astype(np.float32) for n in (1500, 100))
    vectors[7] = far
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecallWarning)
        index = VamanaIndex(metric=metric, storage=storage, seed=0).fit(vectors)
    structure = index._state.structure
    assert structure.walkable.graph.n_nodes == len(vectors)
    assert sum(trials) <= 40 * 150 * len(vectors) / 4, "calibration looks at a part of the rows for each query"
    found, true = index.search(queries, 10), ExactIndex(metric=metric).fit(vectors).search(queries, 10)
    assert np.mean([len(np.intersect1d(*rows)) for rows in zip(found.ids, true.ids, strict=True)]) >= 9.3
    assert index.search(vectors[7], 1).ids[0] == 7


class Walks:
    """A structure whose walks find nothing below a reach, and look at so many nodes beyond another."""

    least_factor, vector_weight = 1.0, 1.0

    def __init__(self, has_codes, found_from=np.inf, far_from=np.inf, gives_up=False):
        self.vectors = np.random.default_rng(0).standard_normal((1500, 4)).astype(np.float32)
        self.has_codes, self.found_from, self.far_from, self.gives_up = has_codes, found_from, far_from, gives_up
        self.reaches = []

    def tried(self, held_out, k, reach, factor, threads, most=None):
        self.reaches.append(reach)
        q = len(held_out.queries)
        rows = held_out.rows[:, :k] if reach >= self.found_from else np.full((q, k), -1)
        visited = np.full(q, 2000 if reach >= self.far_from else 10)
        return Found(rows, visited, np.full(q, np.inf if self.gives_up else 1.0))

    def measured(self):
        chosen = np.random.default_rng(1).permutation(1500)[:100]
        return measured(self, HeldOut.of_rows(self.vectors, get_metric("l2"), chosen, 100), 0.95, 1)


def test_no_reach_is_tried_beyond_what_a_scan_costs():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecallWarning)
        walks = Walks(True, found_from=4.5, far_from=1.2)
        assert {one.reach for one in walks.measured().each} == {np.inf}
        assert max(walks.reaches) < 3 and sum(reach >= 1.2 for reach in walks.reaches) <= 12
        walks = Walks(True, found_from=1.0, far_from=1.0)
        assert {(one.reach, one.visited) for one in walks.measured().each} == {(np.inf, 2000.0)}
        assert len(walks.reaches) == 3, "the probes, and one for each k"
        reach = Walks(True, found_from=1.1, far_from=1.2).measured().main.reach
        assert 1.1 <= reach < 1.12, "what is found before is kept"


@pytest.mark.parametrize(("gives_up", "what"), [(True, "it goes nearly everywhere"), (False, "not 0.95")])
def test_nobody_is_told_to_take_floats_who_has_them(gives_up, what):
    for has_codes, advice in ((True, 'take storage="flat", or ExactIndex'), (False, r"slow\. Take ExactIndex")):
        walks = Walks(has_codes, gives_up=gives_up)
        with pytest.warns(RecallWarning, match=f"{what}.*{advice}"):
            each = walks.measured().each
        assert {one.reach for one in each} == {np.inf} and (len(walks.reaches) == 1) == gives_up


class Blurred(Walks):
    """Walks over components: where `enough` nodes for each neighbour are kept, a short one finds them."""

    least_factor = 1.5

    def __init__(self, enough, wide):
        super().__init__(True)
        self.enough, self.wide = enough, wide

    def tried(self, held_out, k, reach, factor, threads, most=None):
        self.found_from = 1.0 if factor >= self.enough else 1.5
        found = super().tried(held_out, k, reach, factor, threads, most)
        return found._replace(visited=np.full(len(held_out.queries), self.wide if reach > 1.2 else 100))


@pytest.mark.parametrize(("enough", "wide", "factor", "reach"), [
    (2.0, 1000, 2.0, 1.0),
    (3.0, 100, 3.0, 1.0),  # where fewer decide, only short walks are tried
    (6.0, 1000, 6.0, 1.0),  # to keep more is less work than to reach farther
    (6.0, 101, 4.0, 1.5),  # it is not
    (6.0, 2000, 6.0, 1.0),  # to reach so far is a scan
    (99.0, 1000, 4.0, 1.5),
])  # fmt: skip
def test_walks_over_components_keep_as_many_nodes_as_is_least_work(enough, wide, factor, reach):
    main = Blurred(enough, wide).measured().main
    assert main.rerank == factor
    assert main.reach == pytest.approx(reach, rel=0.1)


class SomeLost(Walks):
    """Walks that do not find the neighbours of the first twenty queries."""

    def tried(self, *args):
        found = super().tried(*args)
        found.rows[:20] = -1
        return found


@pytest.mark.parametrize(("walks", "reach", "nearness", "target", "holds"), [
    (Walks(True, found_from=1.5), 1.5, 0.0, 0.95, True),
    (Walks(True, found_from=1.5), 1.4, 0.0, 0.95, False),
    (Walks(True, found_from=1.0, far_from=1.5), 1.5, 0.0, 0.95, False),  # a scan costs less
    (Walks(True, found_from=1.0), 1.5, 2.0, 0.95, False),  # neighbours are as near as never before
    (Walks(True, found_from=1.0), np.inf, 0.0, 0.95, False),  # there may be more to gain
    (SomeLost(True, found_from=1.0), 1.5, 0.0, 0.7, False),  # all of the new ones
])  # fmt: skip
def test_what_still_holds_as_rows_come_is_not_measured_again(walks, reach, nearness, target, holds):
    one, ten = (
        Calibration(reach, 2.0, 9.0, nearness, 0.1, target=target, recall=1.0, bound=1.0, n_queries=7, k=k)
        for k in (1, 10)
    )
    held_out = HeldOut.of_rows(walks.vectors, get_metric("l2"), np.arange(100), 100)
    known = checked(walks, Calibrations((one, ten)), held_out, 1, np.arange(100) < 20)
    assert walks.reaches == [] if np.isinf(reach) else walks.reaches == [reach]
    assert (known is not None) == holds
    if known is not None:
        assert known.each[0] == one and known.main.n_queries == 100 and known.main.reach == reach
