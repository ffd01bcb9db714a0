"""The same program with faiss and with annlab behind its names: the same numbers."""

import copy

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import annlab
from annlab.compat import faiss as own

faiss = pytest.importorskip("faiss")


def whole(n, d, seed=0, high=40):
    return np.random.default_rng(seed).integers(-high, high, (n, d)).astype(np.float32)


@pytest.mark.parametrize("metric", [own.METRIC_L2, own.METRIC_INNER_PRODUCT])
@hypothesis.given(n=st.integers(0, 60), d=st.integers(1, 9), k=st.integers(1, 70), seed=st.integers(0, 99))
def test_exact_distances_are_the_same_to_the_last_bit(metric, n, d, k, seed):
    x, queries = whole(n, d, seed), whole(5, d, seed + 1)
    answers = []
    for library in (faiss, own):
        index = library.IndexFlat(d, metric)
        index.add(x)
        answers.append((*index.search(queries, k), index.ntotal))
    (theirs, their_ids, n_theirs), (distances, ids, n_own) = answers
    np.testing.assert_array_equal(distances, theirs)
    assert n_own == n_theirs == n and distances.dtype == np.float32 and ids.dtype == np.int64
    for row in range(5):
        values, counts = np.unique(theirs[row], return_counts=True)
        alone = np.isin(theirs[row], values[counts == 1])
        alone[theirs[row] == theirs[row][-1]] = False  # a tie may be cut there
        np.testing.assert_array_equal(ids[row][alone], their_ids[row][alone])


@pytest.mark.parametrize(("metric", "radius"), [(own.METRIC_L2, 900.0), (own.METRIC_INNER_PRODUCT, 400.0)])
def test_all_within_a_radius_are_the_same(metric, radius):
    x, queries = whole(300, 4), whole(20, 4, 1)
    results = []
    for library in (faiss, own):
        index = library.IndexFlat(4, metric)
        index.add(x)
        lims, distances, ids = index.range_search(queries, radius)
        rows = np.repeat(np.arange(20), np.diff(lims.astype(np.int64)))
        results.append(sorted(zip(rows.tolist(), ids.tolist(), distances.tolist(), strict=True)))
    assert results[0] == results[1] and len(results[0]) > 20


def test_a_border_is_outside():
    index = own.IndexFlatL2(1)
    index.add(np.array([[3.0], [2.0]], "f4"))
    assert index.range_search(np.zeros((1, 1), "f4"), 9.0)[2].tolist() == [1]
    assert index.range_search(np.zeros((1, 1), "f4"), 0.0)[2].tolist() == []


@pytest.mark.parametrize("name", ["IVF16,Flat", "IVF16,SQ8", "IVF16,PQ4x4fs,RFlat"])
def test_lists_find_what_their_probes_reach(name):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(20, 8))[rng.integers(0, 20, 4000)] * 5 + rng.normal(size=(4000, 8))).astype("f4")
    index, truth = own.index_factory(8, name), own.IndexFlatL2(8)
    with pytest.raises(RuntimeError, match="train"):
        index.add(x)
    for each in (index, truth):
        each.train(x)
        each.add(x)
    distances, expected = truth.search(x[:200], 5)
    found = []
    for nprobe in (1, 16):
        index.nprobe = nprobe
        found.append(
            np.mean([np.isin(a, b).mean() for a, b in zip(index.search(x[:200], 5)[1], expected, strict=True)])
        )
    params = own.SearchParametersIVF(nprobe=16)
    index.nprobe = 1
    assert found[0] < found[1] >= 0.95
    np.testing.assert_array_equal(index.search(x[:9], 5, params=params)[1][:, 0], expected[:9, 0])
    np.testing.assert_array_equal(index.search(x[:9], 1, params=params)[0], distances[:9, :1])


def test_selectors_leave_in_and_out():
    x = whole(50, 3)
    for library in (faiss, own):
        index = library.IndexFlatL2(3)
        index.add(x)
        some = library.IDSelectorBatch([3, 9, 30])
        assert set(index.search(x[:4], 3, params=library.SearchParameters(sel=some))[1].ravel()) == {3, 9, 30}
        others = library.IDSelectorNot(some)
        assert not {3, 9, 30} & set(index.search(x[:4], 47, params=library.SearchParameters(sel=others))[1].ravel())
        span = library.SearchParameters(sel=library.IDSelectorRange(10, 14))
        assert set(index.search(x[:1], 4, params=span)[1][0]) == {10, 11, 12, 13}


def test_selectors_of_selectors_and_of_ids_that_are_not_there():
    index, x = own.IndexFlatL2(3), whole(50, 3)
    index.add(x)
    some = own.IDSelectorBatch([-1, 3, 9, 1000])
    twice = own.SearchParameters(sel=own.IDSelectorNot(own.IDSelectorNot(some)))
    assert set(index.search(x[:1], 3, params=twice)[1][0]) == {3, 9, -1}
    wide = own.SearchParameters(sel=own.IDSelectorRange(-(2**40), 2**40))  # not an array of all of them
    np.testing.assert_array_equal(index.search(x, 4, params=wide)[1], index.search(x, 4)[1])
    assert index.remove_ids(own.IDSelectorNot(own.IDSelectorRange(0, 7))) == 43 and index.ntotal == 7


@pytest.mark.parametrize("ids", [[1.7, 2.9], np.array([2**63, 1], np.uint64), ["1", "2"]])
def test_no_id_is_changed_on_the_way(ids):
    mapped = own.IndexIDMap(own.IndexFlatL2(3))
    with pytest.raises((TypeError, ValueError), match=r"integers|int64"):
        mapped.add_with_ids(whole(2, 3), ids)
    with pytest.raises((TypeError, ValueError), match=r"integers|int64"):
        own.IDSelectorBatch(ids)
    assert mapped.ntotal == 0


def test_no_value_is_changed_on_the_way():
    index = own.IndexFlatL2(2)
    for x in (np.eye(2) + 1j, np.eye(2).astype("U"), np.full((1, 2), 2**53 + 1)):
        with pytest.raises((TypeError, ValueError), match=r"numeric|float32 cannot"):
            index.add(x)
    whole_numbers = np.array([[3, 4]])
    with pytest.raises(TypeError, match="floats, not int64"):
        own.normalize_L2(whole_numbers)
    assert whole_numbers.tolist() == [[3, 4]]


def test_a_range_search_reads_all_lists():
    x = np.random.default_rng(0).normal(size=(3000, 16)).astype("f4")
    lists, flat = own.index_factory(16, "IVF32,Flat"), own.IndexFlatL2(16)
    for index in (lists, flat):
        index.train(x)
        index.add(x)
    for one, other in zip(lists.range_search(x[:20], 14.0), flat.range_search(x[:20], 14.0), strict=True):
        np.testing.assert_array_equal(one, other)
    few = own.SearchParametersIVF(nprobe=1)
    assert lists.range_search(x[:20], 14.0, params=few)[0][-1] < flat.range_search(x[:20], 14.0)[0][-1]


def test_what_is_read_and_copied_answers_as_before(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 8)).astype("f4")
    mapped = own.IndexIDMap(own.IndexFlatL2(8))
    mapped.add_with_ids(x[:5], np.arange(5) * 10)
    np.testing.assert_array_equal(copy.deepcopy(mapped).search(x[:2], 3)[1], mapped.search(x[:2], 3)[1])
    own.write_index(mapped, tmp_path / "map.annlab")
    again = own.read_index(tmp_path / "map.annlab")
    again.remove_ids([10])
    assert again.inner.ids.tolist() == [0, 20, 30, 40]
    lists = own.IndexIVFFlat(None, 8, 16)
    lists.train(x)
    lists.add(x)
    lists.nprobe = 16
    own.write_index(lists, tmp_path / "lists.annlab")
    again = own.read_index(tmp_path / "lists.annlab")
    assert again.nlist == again.nprobe == 16 and (again.search(x[:200], 1)[1][:, 0] == np.arange(200)).all()


def test_removed_rows_of_a_flat_index_close_up_and_those_of_a_map_do_not():
    x = whole(10, 3)
    for library in (faiss, own):
        flat = library.IndexFlatL2(3)
        flat.add(x)
        assert flat.remove_ids(np.array([0, 4, 77])) == 2 and flat.ntotal == 8
        np.testing.assert_array_equal(flat.reconstruct(0), x[1])
        np.testing.assert_array_equal(flat.reconstruct_n(2, 2), x[[3, 5]])
        flat.reset()
        assert flat.ntotal == 0
        mapped = library.index_factory(3, "IDMap,Flat")
        mapped.add_with_ids(x, np.arange(100, 110))
        mapped.remove_ids(np.array([100]))
        assert mapped.search(x[3:4], 1)[1].tolist() == [[103]] and mapped.ntotal == 9
        with pytest.raises(RuntimeError, match="add_with_ids"):
            mapped.add(x)


def test_unit_rows_and_free_functions_are_the_same():
    one, other = whole(30, 5), whole(30, 5)
    one[3] = other[3] = 0
    faiss.normalize_L2(one)
    own.normalize_L2(other)
    np.testing.assert_allclose(one, other, rtol=3e-7)
    for metric in (own.METRIC_L2, own.METRIC_INNER_PRODUCT):
        theirs, mine = (library.knn(whole(4, 5, 2), whole(30, 5), 3, metric=metric) for library in (faiss, own))
        np.testing.assert_array_equal(theirs[0], mine[0])


def test_clusters_are_as_good():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(8, 4))[rng.integers(0, 8, 2000)] * 6 + rng.normal(size=(2000, 4))).astype("f4")
    kmeans = own.Kmeans(4, 8, niter=30)
    error = kmeans.train(x)
    theirs = faiss.Kmeans(4, 8, niter=30, nredo=5)
    assert kmeans.centroids.shape == (8, 4) and error < 1.3 * theirs.train(x)
    distances, ids = kmeans.assign(x)
    np.testing.assert_allclose(distances, ((x - kmeans.centroids[ids]) ** 2).sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize("name", ["Flat", "IVF8,Flat"])
def test_written_files_are_files_of_annlab(name, tmp_path):
    index = own.index_factory(3, name)
    index.train(whole(200, 3))
    index.add(whole(200, 3))
    own.write_index(index, tmp_path / "x.annlab")
    again = own.read_index(tmp_path / "x.annlab")
    for one, other in zip(again.search(whole(5, 3, 1), 4), index.search(whole(5, 3, 1), 4), strict=True):
        np.testing.assert_array_equal(one, other)
    annlab.ExactIndex(metric="cosine").fit(np.eye(3)).save(tmp_path / "cosine.annlab")
    with pytest.raises(ValueError, match="cosine"):
        own.read_index(tmp_path / "cosine.annlab")


def test_what_has_no_counterpart_says_so():
    with pytest.raises(ValueError, match=r"'HNSW64' has no counterpart .* IVFn,SQ8"):
        own.index_factory(8, "HNSW64")
    with pytest.raises(ValueError, match=r"shape \(n, 8\), not \(2, 7\)"):
        own.IndexFlatL2(8).add(np.zeros((2, 7)))
    with pytest.raises(RuntimeError, match="must be empty"):
        full = own.IndexFlatL2(2)
        full.add(np.eye(2))
        own.IndexIDMap(full)
    with pytest.raises(ValueError, match="at least 1"):
        own.IndexFlatL2(2).search(np.eye(2), 0)
