"""Batches whose lists are shared between threads: the same rows as with one thread, whatever the storage."""

import numpy as np
import pytest

import annlab
from annlab import IVFIndex
from annlab.core import search
from annlab.datasets import synthetic
from annlab.distances import get_metric
from annlab.inverted import batch, structure
from annlab.inverted.batch import Batch
from annlab.inverted.byte_lists import ByteLists
from annlab.inverted.coded_lists import CodedLists
from annlab.inverted.flat_lists import FlatLists
from annlab.inverted.storage import Cells, Storage
from annlab.kernels import scoring
from annlab.scan.centroids import Conversion

OFFSETS = np.array([0, 3, 3, 90, 400, 460, 600])


def lists_of(storage: str, vectors: np.ndarray) -> Storage:
    centroids = np.zeros((len(OFFSETS) - 1, vectors.shape[1]), np.float32)
    cells = Cells(Conversion.of(vectors, get_metric("l2")), centroids, OFFSETS)
    kind: type[Storage] = {"flat": FlatLists, "sq8": ByteLists, "pq4": CodedLists}[storage]
    return kind.of(vectors, cells, np.random.default_rng(0))


@pytest.mark.parametrize("storage", ["flat", "sq8", "pq4"])
@pytest.mark.parametrize("filtered", ["no", "shared", "each"])
@pytest.mark.parametrize("tied", [False, True])
def test_any_number_of_threads_keeps_the_same_rows(storage: str, filtered: str, tied: bool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(batch, "_FEWEST_PAIRS", 1)
    rng = np.random.default_rng(0)
    q, n, keep = 40, 600, 9
    vectors = rng.normal(size=(n, 12)).astype(np.float32)
    if tied:
        vectors = vectors[rng.integers(5, size=n)]
    lists, keys = lists_of(storage, vectors), rng.permutation(n)
    queries = vectors[rng.integers(n, size=q)] + np.float32(0.01)
    points, blurs = lists.conversion.blurred(queries)
    probes, coarse = np.stack([rng.permutation(6)[:4] for _ in range(q)]), np.zeros((q, 4), np.float32)
    words = rng.integers(2**63, size=(q, -(-n // 64)), dtype=np.uint64)
    words[0] = 0
    alive = {"no": None, "shared": words[1], "each": words}[filtered]
    whole = Batch(queries, points, blurs, probes, coarse, vectors, keys, alive)
    expected, n_expected = lists.scan(whole, keep)
    distances, ids = scored(whole, expected)
    for n_threads in (2, 3, 7):
        found, lengths = lists.scan(whole._replace(threads=n_threads), keep)
        if storage == "flat":  # what is kept beyond the nearest may differ
            assert np.array_equal(scored(whole, found)[0], distances) and np.array_equal(scored(whole, found)[1], ids)
        else:
            assert np.array_equal(lengths, n_expected)
            assert [set(row) - {-1} for row in found.tolist()] == [set(row) - {-1} for row in expected.tolist()]
    for i in range(q):  # and alone
        own = words[i] if filtered == "each" else alive
        one = Batch(queries[i : i + 1], points[i : i + 1], blurs[i : i + 1], probes[i : i + 1], coarse[:1], vectors,
                    keys, own)  # fmt: skip
        alone, _ = lists.scan(one, keep)
        if storage == "flat":
            assert np.array_equal(scored(one, alone)[1][0], ids[i])
        else:
            assert set(alone[0].tolist()) - {-1} == set(expected[i].tolist()) - {-1}


def scored(batch: Batch, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 9 nearest of some candidates."""
    distances, ids = np.full((len(rows), 9), np.inf), np.full((len(rows), 9), -1, np.int64)
    rows = np.ascontiguousarray(rows)
    scoring.score(batch.queries, batch.vectors, batch.vectors[:0], batch.keys, rows, 0, scoring.scratch(rows),
                  distances, ids)  # fmt: skip
    return distances, ids


@pytest.mark.parametrize("seed", range(20))
def test_lists_are_cut_into_ranges_of_about_the_same_cost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, n_pairs = rng.integers(0, 50, size=200), rng.integers(0, 9, size=200)
    for parts in (1, 2, 3, 8):
        cuts = batch._cut(sizes, n_pairs, parts)
        assert cuts[0] == 0 and cuts[-1] == 200 and (np.diff(cuts) > 0).all() and len(cuts) == parts + 1
        costs = np.add.reduceat(sizes * np.where(n_pairs > 0, n_pairs + batch._READING, 0), cuts[:-1])
        assert costs.max() - costs.min() <= 2 * 50 * (9 + batch._READING)
    assert len(batch._cut(np.array([5]), np.array([3]), 4)) == 2
    assert list(batch._cut(np.zeros(3, int), np.zeros(3, int), 2))[-1] == 3


@pytest.mark.parametrize("shared", ["lists", "queries"])
@pytest.mark.parametrize("storage", ["flat", "sq8", "pq4"])
def test_searches_with_more_threads_answer_and_count_the_same(storage: str, shared: str,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(structure, "CACHED_BYTES", 0 if shared == "lists" else 2**40)
    data = synthetic(6000, 24, 8, 300, seed=0)
    index = IVFIndex(storage=storage, n_lists=60).fit(data.train[:5500])
    index.add(data.train[5500:])
    index.remove(np.arange(0, 6000, 7))
    for filters in ({}, {"allowed": np.arange(0, 6000, 2)}, {"allowed": np.arange(40)}):
        one, more = annlab.SearchStats(), annlab.SearchStats()
        expected = index.search(data.test, k=10, threads=1, stats=one, **filters)
        for n_threads, entries in ((2, 10 * 200), (5, 10**6)):  # in two blocks of queries, and in one
            monkeypatch.setattr(search, "_BLOCK_ENTRIES", entries)
            found = index.search(data.test, k=10, threads=n_threads, stats=more, **filters)
            assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)
            assert np.array_equal(more.distances, one.distances) and np.array_equal(more.visited, one.visited)


def test_vectors_of_lists_begin_at_a_cache_line():
    """A register of 64 bytes then never lies across two lines."""
    index = IVFIndex(n_lists=4).fit(np.random.default_rng(0).random((5000, 16), dtype=np.float32))
    assert index._state.structure.vectors.ctypes.data % 64 == 0
