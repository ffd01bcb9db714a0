"""What is found: against brute force, on all the data that break such libraries, however the search is asked for."""

import numpy as np
import pytest

import annlab
from tests import oracle
from tests.contract import data
from tests.contract.checks import check_neighbors, check_valid, recall, same


@pytest.mark.parametrize("name", data.VECTORS)
def test_the_nearest_are_those_of_brute_force(entry, metric, name):
    vectors, queries = data.make(name)
    n = len(vectors)
    index = entry.make(metric).fit(vectors)
    for k in sorted({1, min(10, n), n, n + 3}):
        found = index.search(queries, k, **entry.exhaustive)
        check_neighbors(found, queries, np.arange(n), vectors, metric, k, entry.judged_exactly)
    for i in (0, len(queries) - 1):
        single = index.search(queries[i], n + 3, **entry.exhaustive)
        assert single.ids.shape == (n + 3,)
        same(single, (found.distances[i], found.ids[i]))


@pytest.mark.parametrize("name", ["ordinary", "integer grid", "all zero", "far from the origin", "denormal", "huge"])
def test_within_a_radius_are_those_of_brute_force(entry, metric, name):
    vectors, queries = data.make(name)
    index = entry.make(metric).fit(vectors)
    everything = annlab.pairwise(queries, vectors, metric)
    for radius in (np.float64(everything[0, 0]), np.median(everything).astype(np.float64), float(everything.max())):
        lims, distances, ids = index.search_radius(queries, radius, **entry.exhaustive)
        limited = index.search_radius(queries, radius, limit=3, **entry.exhaustive)
        assert lims[0] == 0 and len(lims) == len(queries) + 1 and lims[-1] == len(ids) == len(distances)
        for i, query in enumerate(queries):
            one = slice(lims[i], lims[i + 1])
            first = slice(limited.lims[i], limited.lims[i + 1])
            same((limited.distances[first], limited.ids[first]), (distances[one][:3], ids[one][:3]))
            if entry.judged_exactly:
                same((distances[one], ids[one]), oracle.within(query, np.arange(len(vectors)), vectors, metric, radius))
            else:
                check_valid(distances[one][None], ids[one][None], query[None], np.arange(len(vectors)), vectors, metric)
                assert (distances[one] <= radius).all()
    if metric == "ip":
        assert len(index.search_radius(queries, -np.inf, **entry.exhaustive).ids) == 0
        assert len(index.search_radius(queries, -1e300, **entry.exhaustive).ids) == 0


def test_a_radius_for_each_query_and_a_largest_distance(entry, metric):
    vectors, queries = data.make("ordinary")
    index = entry.make(metric).fit(vectors[:350])
    index.add(vectors[350:])
    everything = index.search(queries, len(vectors), **entry.exhaustive)
    some = everything.ids[:, :8] >= 0
    radii = everything.distances[:, :8].max(axis=1, where=some, initial=-np.inf).astype(np.float64)
    radii[3] = np.inf
    lims, distances, ids = index.search_radius(queries, radii, **entry.exhaustive)
    for i, query in enumerate(queries):
        alone = index.search_radius(query, radii[i], **entry.exhaustive)
        same(alone[1:], (distances[lims[i] : lims[i + 1]], ids[lims[i] : lims[i + 1]]))
    if entry.judged_exactly:
        assert lims[4] - lims[3] == len(vectors), "all are within infinity"
    found = index.search(queries, 12, **entry.exhaustive)
    near = index.search(queries, 12, max_distance=radii, **entry.exhaustive)
    inside = found.distances <= radii[:, None]
    same(near, (np.where(inside, found.distances, np.float32(np.inf)), np.where(inside, found.ids, -1)))
    assert (near.ids[3] >= 0).all() and (near.ids[0] < 0).any() == (~inside[0]).any()
    same(index.search(queries[0], 12, max_distance=radii[0], **entry.exhaustive), (near.distances[0], near.ids[0]))


def test_recall_at_default_parameters(entry, metric):
    vectors, queries = data.clustered(np.random.default_rng(5))
    index = entry.make(metric).fit(vectors)
    found = index.search(queries, 10)
    ids = np.arange(len(vectors))
    check_neighbors(found, queries, ids, vectors, metric, 10, entry.exact)
    assert recall(found, queries, ids, vectors, metric, 10) >= entry.recall


NEARLY_ONE = 4e-6 * np.arange(60)[::-1]
EQUAL_WHEN_ROUNDED = {
    "l2": (np.stack([np.ones(60), NEARLY_ONE], axis=1), [0.0, 0.0]),
    "cosine": (np.stack([NEARLY_ONE / 1e4, np.ones(60)], axis=1), [-1.0, 0.0]),
    "ip": (np.stack([np.ones(60), -NEARLY_ONE / 1e4], axis=1), [-1.0, 1.0]),
}


def test_rows_are_ranked_before_they_are_rounded(entry, metric):
    """In float32 all distances are 1: the truly nearer row comes first, also where its id is the larger one."""
    vectors, query = (np.asarray(array, np.float32) for array in EQUAL_WHEN_ROUNDED[metric])
    index = entry.make(metric).fit(vectors[:40])
    index.add(vectors[40:])
    (distances,), (ids,) = oracle.nearest(query[None], np.arange(60), vectors, metric, 60)
    assert (distances == 1).all() and ids.tolist() == list(range(60))[::-1], "this is what is tested"
    for k in (1, 3, 11, 30, 60):
        batch = index.search(np.tile(query, (30, 1)), k, **entry.exhaustive)
        check_neighbors(batch, np.tile(query, (30, 1)), np.arange(60), vectors, metric, k, entry.judged_exactly)
        same(index.search(query, k, **entry.exhaustive), (batch.distances[0], batch.ids[0]))
    if entry.judged_exactly:
        same(index.search_radius(query, 1.0, **entry.exhaustive)[1:], (distances, ids))
        assert len(index.search_radius(query, np.nextafter(1.0, 0), **entry.exhaustive).ids) == 0
        pairs = oracle.in_float64(vectors, vectors, metric)
        np.fill_diagonal(pairs, np.inf)
        nearest = [np.lexsort((np.arange(60), row))[:2].tolist() for row in pairs]
        assert index.neighbors(2, **entry.exhaustive).ids.tolist() == nearest


def test_agrees_with_the_textbook(entry, metric):
    """The oracle of the other tests orders by `pairwise`; here a float64 formula of its own is the judge."""
    for name in ("ordinary", "float64", "some zero rows", "far from the origin", "many dimensions", "tiny"):
        vectors, queries = data.make(name)
        distances, ids = entry.make(metric).fit(vectors).search(queries, 5, **entry.exhaustive)
        true = oracle.distances(queries, vectors, metric)
        error = oracle.rounding(queries, vectors, metric, vectors.dtype)
        assert (ids >= 0).all() or not entry.judged_exactly
        gap = np.where(ids >= 0, np.abs(distances - np.take_along_axis(true, np.maximum(ids, 0), axis=1)), 0)
        assert (gap <= error).all(), name
        if entry.judged_exactly:
            assert (distances <= np.sort(true, axis=1)[:, :5] + error).all(), f"{name}: a nearer row was missed"


def test_batches_threads_and_single_queries_agree(entry, metric):
    """To the last bit, ties included, also for approximate indexes at their default parameters."""
    rng = np.random.default_rng(1)
    vectors = rng.integers(-3, 4, size=(3000, 6)).astype(np.float32)
    vectors[::2] += rng.standard_normal((1500, 6)).astype(np.float32)
    queries = np.vstack([vectors[:30], rng.standard_normal((71, 6)).astype(np.float32)])
    index = entry.make(metric).fit(vectors[:2500], ids=rng.permutation(5000)[:2500])
    index.add(vectors[2500:])
    index.remove(index.ids[::7])
    for k in (1, 25):
        whole = index.search(queries, k, threads=1)
        check_neighbors(whole, queries, index.ids, index.vectors(), metric, k, entry.exact)
        for threads in range(2, 9):
            same(index.search(queries, k, threads=threads), whole)
        for size in (1, 3, 12, 13, 50):
            parts = [index.search(queries[i : i + size], k, threads=2) for i in range(0, len(queries), size)]
            same([np.concatenate(column) for column in zip(*parts, strict=True)], whole)
        for i in (0, 57):
            same(index.search(queries[i], k, threads=3), (whole.distances[i], whole.ids[i]))
    radius = float(np.median(whole.distances))
    same(index.search_radius(queries, radius, threads=1), index.search_radius(queries, radius, threads=5))


def test_the_same_seed_gives_the_same_index(entry):
    vectors, queries = data.clustered(np.random.default_rng(3), 700)
    one, other = (entry.make().fit(vectors, threads=threads) for threads in (1, 2))
    same(one.search(queries, 10), other.search(queries, 10))


def test_a_row_is_at_distance_zero_from_itself(entry):
    for name in ("ordinary", "far from the origin", "huge", "denormal", "float64"):
        vectors, _ = data.make(name)
        distances, _ = entry.make("l2").fit(vectors).search(vectors, 1, **entry.exhaustive)
        assert (distances == 0).all(), name


def test_an_empty_index_answers_with_pads(entry, metric):
    index = entry.make(metric, dim=4)
    assert len(index) == 0 and index.dim == 4 and 3 not in index and index.ids.tolist() == []
    distances, ids = index.search(np.ones((2, 4)), 3)
    assert ids.tolist() == [[-1] * 3] * 2 and np.isinf(distances).all()
    assert index.search_radius(np.ones((2, 4)), 1.0).lims.tolist() == [0, 0, 0]
    assert index.add(np.eye(4)).tolist() == [0, 1, 2, 3]  # exact until something is built
    check_neighbors(index.search(np.eye(4), 6), np.eye(4), np.arange(4), index.vectors(), metric, 6, exact=True)
    index.remove(index.ids)
    assert len(index) == 0 and (index.search(np.ones((1, 4)), 2).ids == -1).all()
    index.compact()
    assert (index.search(np.ones((1, 4)), 2).ids == -1).all()


def test_no_queries_get_no_answers(entry):
    index = entry.make().fit(np.eye(5))
    assert index.search(np.empty((0, 5)), 3).ids.shape == (0, 3)
    assert index.search_radius(np.empty((0, 5)), 3.0).lims.tolist() == [0]


def test_statistics_count_what_each_query_cost(entry):
    vectors, queries = data.make("ordinary")
    index = entry.make().fit(vectors)
    stats = annlab.SearchStats()
    index.search(queries, 3, stats=stats)
    assert stats.distances.shape == stats.visited.shape == stats.bytes.shape == (len(queries),)
    assert (stats.distances > 0).all() and (stats.bytes > 0).all() and not stats.exact_fallback.any()
    if entry.exact:
        assert (stats.distances <= len(vectors)).all()
    index.search(queries[:4], 3, stats=stats, threads=2)  # replaced, not added to
    again = annlab.SearchStats()
    for i in range(4):
        index.search(queries[i], 3, stats=again)
        assert again.distances.shape == (1,) and again.distances[0] == stats.distances[i]
    index.search_radius(queries, 1.0, stats=stats)
    assert (stats.distances > 0).all() and len(stats.distances) == len(queries)
    assert str(len(queries)) in str(stats)


def test_neighbours_of_all_rows_leave_out_the_row_itself(entry):
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.standard_normal((50, 6)), 1 + np.arange(50) % 3, axis=0)  # some twice, some three times
    ids = rng.permutation(1000)[: len(vectors)]
    index = entry.make().fit(vectors, ids)
    found = index.neighbors(k=4, **entry.exhaustive)
    assert found.ids.shape == (len(ids), 4) and not (found.ids == index.ids[:, None]).any()
    if entry.judged_exactly:
        for i, own in enumerate(index.ids):
            expected = index.search(index.vectors([own])[0], 4, excluded=[own], **entry.exhaustive)
            assert np.array_equal(found.ids[i], expected.ids) and np.array_equal(found.distances[i], expected.distances)
