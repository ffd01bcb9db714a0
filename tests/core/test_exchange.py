"""An index whose rows are exchanged, a part at a time, costs a search about what a fresh one does."""

import numpy as np
import pytest

import annlab
from annlab.common import pool
from annlab.common.statistics import SearchStats
from annlab.hashing.tuning import Tuner

N, PORTION = 8000, 400
KINDS = {
    "float32": (lambda: annlab.ExactIndex(precision="float32"), 16),
    "int8": (lambda: annlab.ExactIndex(precision="int8"), 16),
    "boxes": (annlab.KDTreeIndex, 8),
    "balls": (annlab.BallTreeIndex, 8),
}


def looked_at(index, queries):
    """Rows that a search for one query looks at, and the neighbours of all."""
    stats = SearchStats()
    found = index.search(queries, 10, stats=stats)
    single = [index.search(query, 10, stats=(own := SearchStats())).ids for query in queries[:5]]
    assert np.array_equal(single, found.ids[:5])
    assert own.distances[0] <= stats.distances[4], "one query looks at no more than it does in a batch"
    return float(stats.distances.mean()), found


@pytest.mark.parametrize("kind", KINDS)
def test_rows_looked_at_while_rows_are_exchanged(kind):
    make, dim = KINDS[kind]
    rng = np.random.default_rng(0)
    index, queries = make().fit(rng.random((N, dim), np.float32)), rng.random((40, dim), np.float32)
    fresh, costs = looked_at(index, queries)[0], []
    for _ in range(2 * N // PORTION):
        index.remove(rng.choice(index.ids, PORTION, replace=False))
        index.add(rng.random((PORTION, dim), np.float32))
        cost, found = looked_at(index, queries)
        costs.append(cost)
    again = make().fit(index.vectors(), index.ids).search(queries, 10)
    assert np.array_equal(found.ids, again.ids) and np.array_equal(found.distances, again.distances)
    assert len(index) == N
    assert np.median(costs) <= 1.5 * fresh, np.median(costs) / fresh
    assert max(costs) <= 2 * fresh, max(costs) / fresh


@pytest.mark.parametrize("make", [
    pytest.param(lambda: annlab.IVFIndex(storage="pq4"), id="IVF"),
    pytest.param(lambda: annlab.LSHIndex(mode="scan"), id="LSH"),
])  # fmt: skip
def test_a_short_tail_waits_beside_searches_that_look_at_few_rows(make):
    """It is scanned row by row, which a thousand rows would make dearer than the search itself."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.standard_normal((60, 12))
    draw = lambda n: (centers[rng.integers(60, size=n)] + rng.standard_normal((n, 12))).astype(np.float32)  # noqa: E731
    index, queries, costs = make().fit(draw(6000)), draw(40), []
    fresh = looked_at(index, queries)[0]
    for _ in range(60):
        index.remove(rng.choice(index.ids, 50, replace=False))
        index.add(draw(50))
        assert len(index._state.tail.array) <= 64
        costs.append(looked_at(index, queries)[0])
    assert np.median(costs) <= 1.5 * fresh, np.median(costs) / fresh


def test_one_query_of_few_rows_wakes_no_other_thread(monkeypatch):
    """To hand work over takes longer than to read some megabytes."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 16))
    made = [annlab.ExactIndex(dim=16).fit(vectors), annlab.LSHIndex(mode="scan").fit(vectors.astype(np.float32)),
            annlab.ExactIndex(precision="int8").fit(vectors.astype(np.float32))]  # fmt: skip
    monkeypatch.setattr(pool, "_get_pool", lambda threads: pytest.fail("another thread was asked for"))
    for index in made:
        query = vectors[0].astype(index.dtype)
        assert index.search(query, 3, threads=4, stats=SearchStats()).ids[0] == 0


def test_exactly_half_dead_rows_are_dropped():
    rng = np.random.default_rng(0)
    index = annlab.KDTreeIndex().fit(rng.random((6000, 3)))
    index.remove(np.arange(3000))
    assert index._state.n_rows == len(index) == 3000


def test_codes_are_tuned_once_while_half_of_the_rows_are_exchanged(monkeypatch):
    """The dead are dropped before they are half as many as the living, and before there are rows enough to tune for."""
    rng = np.random.default_rng(0)
    index = annlab.LSHIndex(mode="scan").fit(rng.standard_normal((4500, 8)).astype(np.float32))
    tuned, tune = [], Tuner.tune
    monkeypatch.setattr(Tuner, "tune", lambda self, *rest: tuned.append(rest) or tune(self, *rest))
    for start in range(0, 2250, 250):
        index.remove(np.arange(start, start + 250))
        assert 3 * (index._state.n_rows - len(index)) < len(index)
        index.add(rng.standard_normal((250, 8)).astype(np.float32))
    assert len(tuned) == 1


@pytest.mark.parametrize("mode", ["scan", "buckets"])
def test_the_dead_do_not_count_as_growth(mode):
    """As many living rows as were tuned for need about as many candidates, whatever lies between them: their number is
    rounded down, to what was measured for the next larger number of neighbours at most."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.standard_normal((60, 12))
    draw = lambda n: (centers[rng.integers(60, size=n)] + rng.standard_normal((n, 12))).astype(np.float32)  # noqa: E731
    index = annlab.LSHIndex(mode=mode).fit(draw(8000))
    before = index._state.structure.plans.of(10, index._usual_params)
    index.remove(np.arange(1500))
    index.add(draw(1500))
    structure, queries = index._state.structure, draw(60)
    assert (len(structure.vectors), structure.tuning.n_rows) == (9500, 8000)
    exchanged = structure.plans.of(10, index._usual_params, allowed=8000, n_living=8000)
    assert (
        before.keep
        <= exchanged.keep
        <= structure.plans.of(11, index._usual_params, allowed=8000, n_living=8000).keep + 1
    )
    assert exchanged.keep < 1.35 * before.keep and exchanged.n_probes == before.n_probes
    true = annlab.ExactIndex().fit(index.vectors(), index.ids).search(queries, 10).ids
    found = index.search(queries, 10).ids
    assert np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(true, found, strict=True)]) >= 0.85


@pytest.mark.parametrize("kind", ["int8", "int8 of bytes"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_only_new_rows_are_quantized(kind, metric):
    rng = np.random.default_rng(0)
    draw = rng.standard_normal if kind == "int8" else lambda shape: rng.integers(0, 256, shape)
    vectors, queries = draw((3100, 24)).astype(np.float32), draw((30, 24)).astype(np.float32)
    index = annlab.ExactIndex(metric=metric, precision="int8").fit(vectors[:1001])
    before = index._state.structure._scanner
    index.add(vectors[1001:])
    after = index._state.structure._scanner
    assert not len(index._state.tail.array) and len(after.vectors) == 3100
    again = type(after).of(vectors, index._metric, after.extent)
    if before.byte_scale == again.byte_scale and np.array_equal(before.byte_center, again.byte_center):
        for one, other in ((after.codes, again.codes), (after.half_norms, again.half_norms)):
            assert np.array_equal(one, other)
    found, exactly = (
        one.search(queries, 10) for one in (index, annlab.ExactIndex(metric=metric, precision="float32").fit(vectors))
    )
    assert np.array_equal(found.ids, exactly.ids) and np.array_equal(found.distances, exactly.distances)
