"""The doors to scikit-learn: its own checks of estimators, and its own neighbours as the oracle."""

import numpy as np
import pytest
from sklearn import neighbors
from sklearn.base import clone
from sklearn.cluster import DBSCAN, HDBSCAN, SpectralClustering
from sklearn.manifold import TSNE, Isomap
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import annlab
from annlab.sklearn import ANNClassifier, ANNRegressor, ANNTransformer, NearestNeighbors


@parametrize_with_checks([ANNTransformer(), NearestNeighbors(), ANNClassifier(), ANNRegressor()])
def test_the_checks_of_scikit_learn_pass(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 6)) * 6
    y = rng.integers(0, 4, 300)
    return centres[y] + rng.normal(size=(300, 6)), y


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_the_graph_is_that_of_scikit_learn(data, mode, metric):
    X, _ = data
    own = ANNTransformer(7, mode=mode, metric=metric).fit(X)
    theirs = neighbors.KNeighborsTransformer(n_neighbors=7, mode=mode, metric=metric).fit(X)
    for queries in (X, X[:9] + 0.1):
        one, other = own.transform(queries), theirs.transform(queries)
        assert (np.diff(one.indptr) == (8 if mode == "distance" else 7)).all()
        np.testing.assert_allclose(one.toarray(), other.toarray(), atol=1e-9)
    assert (own.fit_transform(X).diagonal() == (0 if mode == "distance" else 1)).all()
    assert own.get_feature_names_out()[0] == "anntransformer0"


@pytest.mark.parametrize("index", ["auto", "exact", "kdtree", "balltree", annlab.ExactIndex,
                                   annlab.IVFIndex(metric="l2", n_lists=8, n_probes=8, storage="flat")])  # fmt: skip
def test_neighbours_are_those_of_scikit_learn_with_every_index(data, index):
    X, _ = data
    own, theirs = NearestNeighbors(5, index=index).fit(X), neighbors.NearestNeighbors(n_neighbors=5).fit(X)
    for queries in (None, X[:20] + 0.3):
        for one, other in zip(own.kneighbors(queries), theirs.kneighbors(queries), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        one = own.kneighbors_graph(queries, mode="distance")
        np.testing.assert_allclose(
            one.toarray(), theirs.kneighbors_graph(queries, mode="distance").toarray(), atol=1e-6
        )


def test_rows_within_a_radius_are_those_of_scikit_learn(data):
    X, _ = data
    own, theirs = NearestNeighbors(radius=2.5).fit(X), neighbors.NearestNeighbors(radius=2.5).fit(X)
    for queries in (None, X[:20] + 0.3):
        distances, rows = own.radius_neighbors(queries)
        expected_distances, expected = theirs.radius_neighbors(queries, sort_results=True)
        for one, other in zip([*rows, *distances], [*expected, *expected_distances], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-9)
        for mode in ("connectivity", "distance"):
            one = own.radius_neighbors_graph(queries, mode=mode).toarray()
            np.testing.assert_allclose(one, theirs.radius_neighbors_graph(queries, mode=mode).toarray(), atol=1e-9)


def test_a_row_is_not_its_own_neighbour_even_among_copies():
    rows = NearestNeighbors(2).fit(np.ones((5, 2))).kneighbors(return_distance=False)
    assert rows.shape == (5, 2) and not (rows == np.arange(5)[:, None]).any()
    rows = NearestNeighbors(radius=1).fit([[0.0], [9.0]]).radius_neighbors(return_distance=False)
    assert [len(r) for r in rows] == [0, 0]


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda d: np.exp(-d)])
def test_votes_and_means_are_those_of_scikit_learn(data, weights):
    X, y = data
    X = np.concatenate([X, X[:5]])  # copies: distance 0
    y = np.concatenate([y, (y[:5] + 1) % 4])
    queries = np.concatenate([X[:10], X[:40] + 0.7])
    own, theirs = (cls(6, weights=weights).fit(X, y) for cls in (ANNClassifier, neighbors.KNeighborsClassifier))
    np.testing.assert_allclose(own.predict_proba(queries), theirs.predict_proba(queries), atol=1e-9)
    np.testing.assert_array_equal(own.predict(queries), theirs.predict(queries))
    for targets in (y * 1.5, np.stack([y, X[:, 0]], axis=1)):
        own, theirs = (cls(6, weights=weights).fit(X, targets) for cls in (ANNRegressor, neighbors.KNeighborsRegressor))
        np.testing.assert_allclose(own.predict(queries), theirs.predict(queries), atol=1e-9)


@pytest.mark.parametrize("last", [
    Isomap(n_neighbors=100, metric="precomputed"),
    pytest.param(TSNE(metric="precomputed", init="random", perplexity=9, max_iter=250), marks=pytest.mark.slow),
    DBSCAN(metric="precomputed", eps=2.5),
    SpectralClustering(n_clusters=4, affinity="precomputed_nearest_neighbors", n_neighbors=10),
], ids=lambda estimator: type(estimator).__name__)  # fmt: skip
def test_pipelines_take_the_graph(data, last):
    X, y = data
    pipeline = make_pipeline(ANNTransformer(n_neighbors=100), last)
    found = (pipeline.fit_predict if hasattr(last, "fit_predict") else pipeline.fit_transform)(X)
    assert len(found) == len(X)
    if found.ndim == 1:  # four blobs that stand apart
        assert len(set(zip(found[found >= 0], y[found >= 0], strict=True))) <= 4 + (found < 0).any()


def test_hdbscan_takes_the_symmetric_graph(data):
    X, _ = data
    graph = ANNTransformer(n_neighbors=120).fit_transform(X)
    labels = HDBSCAN(metric="precomputed", min_cluster_size=10, copy=True).fit_predict(graph.maximum(graph.T))
    assert len(set(labels[labels >= 0])) == 4


def test_parameters_are_searched_and_cloned(data):
    X, y = data
    search = GridSearchCV(ANNClassifier(index=annlab.ExactIndex()), {"n_neighbors": [1, 5]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    assert clone(ANNTransformer(index="lsh", search_params={"rerank": 50})).search_params == {"rerank": 50}


def test_parameters_of_searches_are_those_of_a_radius_too():
    X = np.random.default_rng(0).standard_normal((3000, 8))
    index = annlab.IVFIndex(n_lists=32)
    found = [
        sum(
            map(
                len,
                NearestNeighbors(radius=2.0, index=index, search_params={"n_probes": n}).fit(X).radius_neighbors()[1],
            )
        )
        for n in (1, 32)
    ]
    assert found[0] < found[1]


def test_large_data_is_learned_and_small_data_scanned(data, monkeypatch):
    monkeypatch.setattr("annlab.sklearn._SCAN_UP_TO", 299)
    assert isinstance(NearestNeighbors().fit(data[0]).index_, annlab.IVFIndex)
    assert isinstance(NearestNeighbors().fit(data[0][:299]).index_, annlab.ExactIndex)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (NearestNeighbors(0), ValueError, "at least 1, not 0"),
        (NearestNeighbors(2.0), TypeError, "must be an integer"),
        (NearestNeighbors(metric="cosin"), ValueError, "cosine"),
        (NearestNeighbors(index="kdtre"), ValueError, "kdtree"),
        (NearestNeighbors(index=annlab.ExactIndex(metric="cosine")), ValueError, "'euclidean', but .* 'cosine'"),
        (NearestNeighbors(n_jobs=0), ValueError, "n_jobs = 0"),
        (ANNTransformer(mode="distances"), ValueError, "distance"),
    ],
)
def test_what_cannot_be_is_refused_by_fit_with_a_suggestion(estimator, error, message):
    with pytest.raises(error, match=message):
        estimator.fit([[0.0], [1.0]])


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(ValueError, match="n_neighbors = 5, n_samples_fit = 3"):
        NearestNeighbors(5).fit(np.eye(3)).kneighbors(np.eye(3))
    with pytest.raises(ValueError, match="not its own neighbour"):
        NearestNeighbors(3).fit(np.eye(3)).kneighbors()
    with pytest.raises(ValueError, match="one classifier for each output"):
        ANNClassifier(1).fit(np.eye(3), [[0, 1], [1, 0], [0, 1]])
    with pytest.raises(ValueError, match="uniform"):
        ANNRegressor(1, weights="uniforms").fit(np.eye(3), [0.0, 1.0, 2.0])
