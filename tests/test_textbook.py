"""The textbook answers as the real indexes do: always where they are exact, and where parameters make them exact."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn.cluster import KMeans

import annlab
from annlab import textbook

EXACT = {
    "exact": lambda data: lambda q, k: textbook.exact_search(data, q, k),
    "kd": lambda data: textbook.KDTree(data, leaf_size=3).search,
    "ball": lambda data: textbook.BallTree(data, leaf_size=3).search,
    "lsh": lambda data: lambda q, k: textbook.HyperplaneLSH(data, 2, 5).search(q, k, n_probes=32),
    "ivf": lambda data: lambda q, k: textbook.InvertedFile(data, min(6, len(data))).search(q, k, n_probes=6),
    "pq": lambda data: lambda q, k: textbook.ProductQuantizer(data, 2, 4).search(q, k, rerank=len(data)),
    "graph": lambda data: lambda q, k: textbook.NeighbourGraph(data, 4).search(q, k, beam=len(data)),
}
REAL = {
    "exact": lambda data: annlab.ExactIndex(metric="l2").fit(data),
    "kd": lambda data: annlab.KDTreeIndex(metric="l2").fit(data),
    "ball": lambda data: annlab.BallTreeIndex(metric="l2").fit(data),
}


def mixture(n=400, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(8, d))[rng.integers(0, 8, n)] * 4 + rng.normal(size=(n, d))


@pytest.mark.parametrize("name", EXACT)
@hypothesis.given(
    data=st.integers(1, 40).flatmap(lambda n: st.lists(st.tuples(*[st.integers(-3, 3)] * 4), min_size=n, max_size=n)),
    query=st.tuples(*[st.integers(-4, 4)] * 4), k=st.integers(1, 12),
)  # fmt: skip
def test_with_everything_looked_at_all_are_exact_ties_included(name, data, query, k):
    data, query = np.array(data, float), np.array(query, float)
    truth = annlab.ExactIndex(metric="l2", dim=4)
    truth.add(data)
    expected = truth.search(query, min(k, len(data)))
    distances, rows = EXACT[name](data)(query, k)
    np.testing.assert_array_equal(rows, expected.ids)
    np.testing.assert_allclose(distances, expected.distances, rtol=1e-6)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("d", [2, 6, 24])
def test_exact_ones_answer_as_the_real_index(name, d):
    data, queries = mixture(600, d), mixture(30, d, seed=1)
    real, search = REAL[name](data), EXACT[name](data)
    for query in queries:
        expected = real.search(query, 10)
        distances, rows = search(query, 10)
        np.testing.assert_array_equal(rows, expected.ids)
        np.testing.assert_allclose(distances, expected.distances, rtol=1e-12)


WHOLE = {
    "lsh": lambda n: annlab.LSHIndex(mode="buckets", family="hyperplanes", n_tables=2, n_bits=5, n_probes=64, rerank=n),
    "ivf": lambda n: annlab.IVFIndex(n_lists=6, n_probes=6),
    "pq": lambda n: annlab.IVFIndex(n_lists=6, n_probes=6, storage="pq4"),
    "graph": lambda n: annlab.VamanaIndex(storage="flat", degree=16, reach=np.inf),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_others_answer_as_the_real_index_where_it_looks_at_everything_ties_included(name):
    rng = np.random.default_rng(5)
    data, queries = rng.integers(-3, 4, (300, 4)).astype(float), rng.integers(-4, 5, (20, 4)).astype(float)
    real, search = WHOLE[name](len(data)).fit(data), EXACT[name](data)
    for query in queries:
        expected = real.search(query, 12)
        distances, rows = search(query, 12)
        np.testing.assert_array_equal(rows, expected.ids)
        np.testing.assert_allclose(distances, expected.distances, rtol=1e-12)


def test_with_the_same_centres_the_inverted_file_finds_and_misses_what_the_real_index_does(monkeypatch):
    data, queries = mixture(900), mixture(30, seed=1)
    real = annlab.IVFIndex(n_lists=20).fit(data)
    structure = real._structure
    conversion = structure.lists.conversion
    centres = structure.centroids.array / conversion.scale + conversion.center
    monkeypatch.setattr(textbook, "kmeans", lambda rows, n, seed=0: (centres, textbook.assign(rows, centres)))
    index, missed = textbook.InvertedFile(data, 20), 0
    for n_probes in (1, 2, 5, 19):
        for query in queries:
            expected, (_, rows) = real.search(query, 10, n_probes=n_probes), index.search(query, 10, n_probes=n_probes)
            np.testing.assert_array_equal(rows, expected.ids[: len(rows)])
            assert (expected.ids[len(rows) :] == -1).all()
            missed += len(np.setdiff1d(textbook.exact_search(data, query, 10)[1], rows))
    assert missed > 50


def test_with_the_same_planes_the_tables_find_and_miss_what_the_real_index_does(monkeypatch):
    data = mixture(900)
    queries = data[:40] + np.random.default_rng(1).normal(size=(40, 6))
    real = annlab.LSHIndex(
        mode="buckets", family="hyperplanes", n_tables=3, n_bits=6, center=False, n_probes=3, rerank=900
    ).fit(data)
    normals = np.asarray(real._require_state().structure.finder.encoder.normals, float)[:18]

    class Given:
        def normal(self, size):
            return normals.reshape(size)

    with monkeypatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda seed: Given())
        index = textbook.HyperplaneLSH(data, 3, 6)
    missed = compared = 0
    for query in queries:
        expected, (_, rows) = real.search(query, 10), index.search(query, 10)
        if len(rows) == 10:  # with fewer candidates than k the real index looks on
            np.testing.assert_array_equal(rows, expected.ids)
            missed += len(np.setdiff1d(textbook.exact_search(data, query, 10)[1], rows))
            compared += 1
    assert compared >= 30 and missed > 20


def test_with_the_same_codebooks_codes_are_those_of_the_real_quantizer(monkeypatch):
    data = mixture(400, 6).astype(np.float32)
    real = annlab.ProductQuantizer(sub_dim=2).fit(data)
    books = iter(real.codebooks.swapaxes(1, 2).astype(float))

    def given(part, n_centres, seed=0):
        centres = next(books)
        return centres, textbook.assign(np.asarray(part, float), centres)

    monkeypatch.setattr(textbook, "kmeans", given)
    index = textbook.ProductQuantizer(data, 3, 16)
    np.testing.assert_allclose(index.decoded(), real.decode(real.encode(data)), rtol=1e-6)


def test_trees_skip_most_leaves_in_few_dimensions(monkeypatch):
    data, looked_at = np.random.default_rng(0).random((2000, 2)), []
    real = textbook.Best.offer
    monkeypatch.setattr(textbook.Best, "offer", lambda *a: (looked_at.append(len(a[2])), real(*a))[1])
    for tree in (textbook.KDTree(data), textbook.BallTree(data)):
        looked_at.clear()
        tree.search(data[7] + 0.001, 5)
        assert sum(looked_at) < 300


def recall(search, data, queries, **parameters):
    hits = [np.isin(search(q, 10, **parameters)[1], textbook.exact_search(data, q, 10)[1]).sum() for q in queries]
    return np.sum(hits) / (10 * len(queries))


APPROXIMATE = {
    "lsh": (lambda data: textbook.HyperplaneLSH(data, 4, 8), "n_probes", (1, 4, 16, 256)),
    "ivf": (lambda data: textbook.InvertedFile(data, 20), "n_probes", (1, 2, 5, 20)),
    "pq": (lambda data: textbook.ProductQuantizer(data, 3, 16), "rerank", (10, 20, 60, 1000)),
    "graph": (lambda data: textbook.NeighbourGraph(data, 6), "beam", (10, 20, 40, 1000)),
}


@pytest.mark.parametrize("name", APPROXIMATE)
def test_more_work_finds_more_up_to_everything(name):
    data, queries = mixture(400 if name == "graph" else 1000), mixture(25, seed=1)  # a graph takes all pairs
    make, parameter, values = APPROXIMATE[name]
    index = make(data)
    found = [recall(index.search, data, queries, **{parameter: value}) for value in values]
    assert found == sorted(found) and found[-1] == 1.0 and 0.2 < found[0] < 1.0
    assert found[2] > 0.85


def test_lloyds_steps_are_those_of_scikit_learn_and_annlab():
    data = mixture(500, 3)
    initial = data[:8]
    centres, assigned = textbook.kmeans(data, 8, n_iterations=100, initial=initial)
    expected = KMeans(8, init=initial, n_init=1, max_iter=100, tol=0).fit(data)
    np.testing.assert_allclose(centres, expected.cluster_centers_, atol=1e-9)
    np.testing.assert_array_equal(assigned, expected.labels_)
    own = annlab.KMeans(8, seed=0).fit(data)
    seeded, labels = textbook.kmeans(data, 8, n_iterations=100)
    errors = [((data - c[a]) ** 2).sum() for c, a in ((seeded, labels), (own.cluster_centers_, own.labels_))]
    assert errors[0] < 1.4 * errors[1], "another start, and no worse a valley"


def test_codes_are_the_nearest_centres_and_distances_sums_of_tables():
    data = mixture(300, 4)
    index = textbook.ProductQuantizer(data, 2, 8)
    first = index.codebooks[0]
    np.testing.assert_array_equal(index.codes[:, 0], [textbook.distances_to(first, row[:2]).argmin() for row in data])
    query = mixture(1, 4, seed=2)[0]
    order = np.argsort(textbook.distances_to(index.decoded(), query), kind="stable")[:5]
    assert set(index.search(query, 5, rerank=5)[1]) == set(order), (
        "a sum of look-ups is the distance to what codes mean"
    )


def test_keys_differ_as_the_angle_says():
    """One plane separates two vectors with probability angle / pi (Charikar, 2002)."""
    one, other = np.array([1.0, 0, 0]), np.array([1.0, 1.0, 0])
    index = textbook.HyperplaneLSH(np.stack([one, other]), n_tables=1, n_bits=20_000)
    differ = ((index.planes[0] @ one > 0) != (index.planes[0] @ other > 0)).mean()
    assert abs(differ - 0.25) < 0.012


def test_links_are_few_and_everything_is_reached():
    index = textbook.NeighbourGraph(mixture(300), degree=5)
    assert max(map(len, index.links)) <= 7 and np.mean([len(links) for links in index.links]) <= 5.5
    assert len(index._reachable()) == 300


def test_what_cannot_be_is_refused_with_a_reason():
    with pytest.raises(ValueError, match=r"a query of shape \(1,\) has no distance to rows of shape \(3,\)"):
        textbook.KDTree(np.ones((5, 3))).search(np.ones(1), 2)
    with pytest.raises(ValueError, match="7 dimensions cannot be cut into 2 equal parts"):
        textbook.ProductQuantizer(np.ones((3, 7)), 2)
    with pytest.raises(ValueError, match="a row to begin at"):
        textbook.NeighbourGraph(np.empty((0, 2)))
