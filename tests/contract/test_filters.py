"""Filters: every kind, alone and together, for all queries and for each, against brute force over what they leave."""

import numpy as np
import pytest

import annlab
from tests.contract.checks import check_neighbors, same

N = 900


@pytest.fixture
def content():
    """Vectors with ties, ids in disorder, attributes."""
    rng = np.random.default_rng(0)
    vectors = rng.integers(-3, 4, size=(N, 5)).astype(np.float32)
    order = rng.permutation(3 * N)[:N]
    return (
        vectors,
        np.sort(order),
        {"owner": rng.integers(0, 6, N), "price": rng.random(N), "private": rng.random(N) < 0.5},
    )


def _index(entry, metric, content):
    """Half sealed, half in the tail, some removed again."""
    vectors, ids, attributes = content
    first = {name: values[: N // 2] for name, values in attributes.items()}
    rest = {name: values[N // 2 :] for name, values in attributes.items()}
    index = entry.make(metric).fit(vectors[: N // 2], ids[: N // 2], attributes=first)
    index.add(vectors[N // 2 :], ids[N // 2 :], attributes=rest)
    extra = index.add(vectors[:30], attributes={name: values[:30] for name, values in attributes.items()})
    index.remove(extra)
    return index


@pytest.mark.parametrize("share", [0.0, 0.003, 0.05, 0.5, 0.97, 1.0])
def test_every_kind_of_filter(entry, metric, content, share):
    vectors, ids, _ = content
    index = _index(entry, metric, content)
    rng = np.random.default_rng(int(1000 * share))
    mask = rng.random(N) < share
    queries, k = vectors[rng.integers(N, size=14)] + np.float32(0.25), 8
    unknown = np.array([3 * N, 10**12])
    same_set = [
        {"allowed": ids[mask]},
        {"allowed": [*ids[mask].tolist(), *ids[mask][:3].tolist(), *unknown.tolist()]},
        {"allowed": mask},
        {"excluded": ids[~mask]},
        {"excluded": ~mask},
        {"allowed": index.filter(allowed=mask)},
        {"excluded": index.filter(excluded=ids[mask])},
        {"allowed": [ids[mask]] * len(queries)},
        {"allowed": np.tile(mask, (len(queries), 1))},
        {"allowed": [index.filter(allowed=ids[mask])] * len(queries)},
    ]
    for options in same_set:
        found = index.search(queries, k, **options, **entry.exhaustive)
        check_neighbors(found, queries, ids, vectors, metric, k, entry.judged_exactly, mask)
        one = index.search(queries[3], k, allowed=mask, **entry.exhaustive)
        same(one, (found.distances[3], found.ids[3]))
    # Half of the queries with another filter, and both sides at once.
    masks = np.array([mask if i % 2 else rng.random(N) < 0.5 for i in range(len(queries))])
    banned = [ids[rng.integers(N, size=50)] for _ in queries]
    found = index.search(queries, k, allowed=list(masks), excluded=banned, **entry.exhaustive)
    both = masks & ~np.array([np.isin(ids, one) for one in banned])
    check_neighbors(found, queries, ids, vectors, metric, k, entry.judged_exactly, both)


def test_conditions_on_attributes_choose_the_rows_of_a_mask(entry, metric, content):
    vectors, ids, attributes = content
    index, col = _index(entry, metric, content), annlab.col
    owner, price, private = attributes["owner"], attributes["price"], attributes["private"]
    cases = [
        (col("owner") == 3, owner == 3),
        (col("owner") != 3, owner != 3),
        (col("private"), private),
        (~col("private") & (col("price") < 0.5), ~private & (price < 0.5)),
        ((col("owner") <= 1) | (col("owner") > 4), (owner <= 1) | (owner > 4)),
        (col("owner").isin([0, 5, 77]), np.isin(owner, [0, 5])),
        (col("price") >= np.float32(0.999), price >= np.float32(0.999)),
        (col("owner") == 99, np.zeros(N, bool)),
    ]
    queries = vectors[::100]
    for condition, mask in cases:
        for _ in range(2):  # the second time from the cache
            found = index.search(queries, 7, where=condition, **entry.exhaustive)
            check_neighbors(found, queries, ids, vectors, metric, 7, entry.judged_exactly, mask)
        found = index.search(queries, 7, where=condition, allowed=ids[::2], **entry.exhaustive)
        check_neighbors(found, queries, ids, vectors, metric, 7, entry.judged_exactly, mask & (np.arange(N) % 2 == 0))


def test_filters_and_conditions_follow_the_content(entry, content):
    vectors, ids, _ = content
    index = _index(entry, "l2", content)
    compiled = index.filter(allowed=[*ids[:10].tolist(), 5000], where=annlab.col("owner") < 6)
    mine = annlab.col("owner") == 6
    query = vectors[0]
    assert (index.search(query, 5, where=mine).ids == -1).all()
    index.add(np.stack([query, query]), [5000, 5001], attributes={"owner": [1, 6], "price": [0, 0], "private": [0, 1]})
    assert index.search(query, 1, where=mine).ids.tolist() == [5001]
    assert 5000 in index.search(query, 12, allowed=compiled).ids
    index.remove(ids[:9])
    left = index.search(query, 12, allowed=compiled).ids
    assert set(left[left >= 0].tolist()) == {ids[9], 5000}
    index.update([5000], query[None], attributes={"owner": [6], "price": [0.0], "private": [False]})
    assert index.search(query, 3, where=mine).ids.tolist() == [5000, 5001, -1]
    assert 5000 not in index.search(query, 12, allowed=compiled).ids, "it no longer fulfils the condition"
    index.compact()
    assert index.search(query, 3, where=mine).ids.tolist() == [5000, 5001, -1]


def test_selective_filters_are_scanned_exactly(entry):
    """Also where the index is approximate: few allowed rows are all looked at, and the statistics say so."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((2000, 12)).astype(np.float32)
    index = entry.make().fit(vectors)
    allowed = rng.integers(2000, size=12)
    stats = annlab.SearchStats()
    found = index.search(vectors[:20], 5, allowed=allowed, stats=stats)
    check_neighbors(found, vectors[:20], np.arange(2000), vectors, "l2", 5, True, np.isin(np.arange(2000), allowed))
    if not index._state.structure.exhaustive:
        assert stats.exact_fallback.all()
    assert (stats.distances <= 2 * len(allowed)).all(), "rows that are not allowed cost nothing"


def test_a_filter_that_is_removed_later_leaves_no_trace(entry):
    index = entry.make().fit(np.eye(40, 6, dtype=np.float32))
    before = index.search(np.eye(6), 10)
    index.search(np.eye(6), 10, allowed=[1, 2, 3])
    same(index.search(np.eye(6), 10), before)


def test_a_filter_for_each_query_is_answered_alike_in_any_batch(entry):
    """Alone, among others whose filters leave more or fewer rows, and by any threads."""
    rng = np.random.default_rng(1)
    centers, near, clusters = 2 * rng.standard_normal((30, 24)), rng.integers(30, size=60), rng.integers(30, size=3000)
    vectors = (centers[clusters] + rng.standard_normal((3000, 24))).astype(np.float32)
    queries = (centers[near] + rng.standard_normal((60, 24))).astype(np.float32)
    index = entry.make().fit(vectors)
    masks = rng.random((60, 3000)) < rng.uniform(0.5, 1, (60, 1))
    masks &= (clusters != near[:, None]) | (rng.random((60, 3000)) < 0.1)
    whole = index.search(queries, 20, allowed=masks, threads=1)
    same(index.search(queries, 20, allowed=masks, threads=2), whole)
    for i, (query, mask) in enumerate(zip(queries, masks, strict=True)):
        same(index.search(query, 20, allowed=mask), (whole.distances[i], whole.ids[i]))
