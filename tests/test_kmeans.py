"""KMeans against NumPy: assignments, means, seeding, empty clusters, and its scikit-learn face."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from annlab import KMeans, kmeans, pairwise
from annlab.datasets import synthetic
from annlab.scan.centroids import Centroids, group_by_label


def squared_distances(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return ((points[:, None, :].astype(np.float64) - centroids[None].astype(np.float64)) ** 2).sum(axis=2)


@hypothesis.given(
    n=st.integers(1, 70),
    k=st.integers(1, 70),
    dim=st.integers(1, 40),
    seed=st.integers(0, 99),
    threads=st.integers(1, 3),
)
def test_nearest_centroid_is_the_nearest(n: int, k: int, dim: int, seed: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    points, centroids = rng.normal(size=(n, dim)).astype(np.float32), rng.normal(size=(k, dim)).astype(np.float32)
    labels, surrogates = Centroids(centroids).nearest(points, threads)
    squares = squared_distances(points, centroids)
    np.testing.assert_allclose(squares[np.arange(n), labels], squares.min(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(2 * surrogates + (points.astype(np.float64) ** 2).sum(1), squares.min(axis=1), atol=1e-4)


def test_ties_go_to_the_first_centroid_and_batches_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    centroids = np.tile(rng.normal(size=(7, 19)), (12, 1)).astype(np.float32)
    points = rng.normal(size=(101, 19)).astype(np.float32)
    labels, surrogates = Centroids(centroids).nearest(points)
    assert (labels < 7).all() and len(np.unique(labels)) > 1
    for start, stop in ((0, 1), (5, 30), (13, 14), (90, 101)):
        some = Centroids(centroids).nearest(np.ascontiguousarray(points[start:stop]))
        assert np.array_equal(some[0], labels[start:stop]) and np.array_equal(some[1], surrogates[start:stop])


def test_grouping_is_a_stable_sort() -> None:
    labels = np.random.default_rng(0).integers(9, size=200).astype(np.int32)
    offsets, order = group_by_label(labels, 12)
    assert np.array_equal(order, np.argsort(labels, kind="stable"))
    assert np.array_equal(np.diff(offsets), np.bincount(labels, minlength=12))


@pytest.mark.parametrize("dim", [3, 8, 21])
def test_one_iteration_moves_centroids_to_means(dim: int) -> None:
    rng = np.random.default_rng(1)
    points, start = rng.normal(size=(300, dim)).astype(np.float32), rng.normal(size=(6, dim)).astype(np.float32)
    labels = squared_distances(points, start).argmin(axis=1).astype(np.int32)
    errors = squared_distances(points, start).min(axis=1)
    expected = np.array([points[labels == c].mean(axis=0) for c in range(6)])
    for threads in (1, 2):
        np.testing.assert_allclose(kmeans._means(points, labels, errors, start, threads), expected, atol=1e-6)


def test_empty_clusters_go_to_the_farthest_point_of_the_worst_cluster() -> None:
    points = np.array([[0.0], [1.0], [10.0], [30.0]], np.float32)
    labels, errors = np.array([0, 0, 2, 2], np.int32), np.array([0.0, 1.0, 1.0, 100.0])
    means = kmeans._means(points, labels, errors, np.zeros((4, 1), np.float32), 1)
    assert means.ravel().tolist() == [0.5, 30.0, 20.0, 1.0]


def test_many_duplicates_leave_no_cluster_undefined() -> None:
    vectors = np.repeat(np.arange(3.0)[:, None], 40, axis=0)
    model = KMeans(n_clusters=10, seed=3).fit(vectors)
    assert model.inertia_ == 0 and np.isfinite(model.cluster_centers_).all()


def test_seeds_are_as_good_as_those_of_k_means_plus_plus() -> None:
    from sklearn.cluster import kmeans_plusplus

    points = synthetic(6000, 24, 8, clusters=40, seed=5).train
    errors = {"ours": [], "theirs": []}
    for i in range(5):
        seeds = kmeans.seed(points, 100, np.random.default_rng(i))
        assert len(np.unique(seeds, axis=0)) == 100
        errors["ours"].append(squared_distances(points, seeds).min(axis=1).mean())
        theirs = kmeans_plusplus(points, 100, random_state=i, n_local_trials=1)[0]
        errors["theirs"].append(squared_distances(points, theirs).min(axis=1).mean())
    assert np.mean(errors["ours"]) < 1.05 * np.mean(errors["theirs"])
    random = squared_distances(points, points[:100]).min(axis=1).mean()
    assert np.mean(errors["ours"]) < 0.97 * random


@pytest.mark.parametrize("clusters", [0, 30])
def test_error_is_that_of_scikit_learn(clusters: int) -> None:
    from sklearn.cluster import KMeans as Reference
    from sklearn.cluster import kmeans_plusplus

    vectors = synthetic(30_000, 16, 6, clusters=clusters, seed=2).train
    theirs, ours = [], []
    for i in range(4):
        seeds = kmeans_plusplus(vectors, 60, random_state=i, n_local_trials=1)[0]
        theirs.append(Reference(n_clusters=60, init=seeds, n_init=1, max_iter=25, tol=1e-3).fit(vectors).inertia_)
        model = KMeans(n_clusters=60, seed=i, max_points_per_cluster=1000).fit(vectors)
        ours.append(model.inertia_)
    assert np.median(ours) < 1.03 * np.median(theirs)
    squares = squared_distances(vectors, model.cluster_centers_).min(axis=1)
    np.testing.assert_allclose(model.inertia_, squares.sum(), rtol=1e-4)
    assert np.array_equal(model.labels_, model.predict(vectors))
    assert model.history_[-1] < model.history_[0] and model.n_iter_ == len(model.history_)


def test_same_seed_same_centroids_whatever_the_threads() -> None:
    vectors = synthetic(25_000, 20, 6, seed=0).train
    one, two = KMeans(30, seed=1, threads=1).fit(vectors), KMeans(30, seed=1, threads=2).fit(vectors)
    assert np.array_equal(one.cluster_centers_, two.cluster_centers_) and np.array_equal(one.labels_, two.labels_)
    assert not np.array_equal(one.cluster_centers_, KMeans(30, seed=2, threads=1).fit(vectors).cluster_centers_)


def test_data_far_from_the_origin() -> None:
    rng = np.random.default_rng(0)
    near = np.concatenate([rng.normal(size=(60, 5)), rng.normal(size=(60, 5)) + 9.0])
    for far in (near + 1e6, near.astype(np.float32) + np.float32(3000)):
        model = KMeans(2).fit(far)
        assert np.bincount(model.labels_).tolist() == [60, 60]
        np.testing.assert_allclose(model.inertia_, KMeans(2).fit(near).inertia_, rtol=0.01)


def test_spherical_centres_have_length_one() -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(4)[rng.integers(4, size=400)] + 0.05 * rng.normal(size=(400, 4))
    vectors = directions * rng.uniform(0.1, 50, size=(400, 1))
    model = KMeans(4, metric="cosine").fit(vectors)
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1.0, rtol=1e-5)
    assert len({(int(label), int(d.argmax())) for label, d in zip(model.labels_, directions)}) == 4


def test_a_sample_trains_and_all_are_labelled() -> None:
    vectors = synthetic(5000, 8, 4, seed=0).train
    model = KMeans(10, max_points_per_cluster=50).fit(vectors)
    assert len(model.labels_) == 5000 and model.history_[-1] * 5000 == pytest.approx(model.inertia_, rel=0.1)


def test_errors_name_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"n_clusters=9 needs at least 9 vectors, but there are 5"):
        KMeans(9).fit(np.eye(5))
    with pytest.raises(ValueError, match="call fit first"):
        KMeans(2).predict(np.eye(5))
    with pytest.raises(ValueError, match="6 dimensions, but the index has 5"):
        KMeans(2).fit(np.eye(5)).predict(np.eye(6))
    with pytest.raises(ValueError, match="'l2', 'cosine', not 'ip'"):
        KMeans(2, metric="ip").fit(np.eye(5))
    with pytest.raises(TypeError, match="did you mean 'n_clusters'"):
        KMeans(2).set_params(n_cluster=3)


def test_kmeans_works_in_pipelines_of_scikit_learn() -> None:
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    vectors = synthetic(500, 6, 3, seed=0).train
    model = clone(KMeans(n_clusters=5, seed=4))
    assert model.get_params()["n_clusters"] == 5 and "seed=4" in repr(model)
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors)
    assert pipeline.predict(vectors).shape == (500,) and pipeline.transform(vectors).shape == (500, 5)
    distances = model.fit_transform(vectors)
    np.testing.assert_allclose(distances**2, squared_distances(vectors, model.cluster_centers_), atol=1e-5)
    assert np.array_equal(distances.argmin(axis=1), model.fit_predict(vectors))
    assert model.score(vectors) == pytest.approx(-model.inertia_)


def test_kmeans_passes_the_checks_of_scikit_learn() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    wording = "the error is there, and says it in annlab's words"
    others = ["check_n_features_in_after_fitting", "check_complex_data", "check_dtype_object", "check_fit2d_predict1d",
              "check_estimators_empty_data_messages", "check_estimators_nan_inf"]  # fmt: skip
    results = check_estimator(KMeans(n_clusters=2), expected_failed_checks=dict.fromkeys(others, wording), on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "xfail", "skipped"}


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[str, float]] = []
    KMeans(3, progress=lambda what, share: seen.append((what, share))).fit(
        np.random.default_rng(0).normal(size=(100, 2))
    )
    assert seen[-1] == ("k-means", 1.0) and all(0 <= share <= 1 for _, share in seen)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_centers_of_float64_are_means_in_float64(metric):
    rng = np.random.default_rng(0)
    places = np.repeat([[0, 0, 0], [1e9, 1e9, 1e9], [-1e9, 1e9, 0]], [60, 80, 70], axis=0)
    vectors = places + rng.normal(size=(210, 3))
    model = KMeans(n_clusters=3, metric=metric).fit(vectors)
    rows = vectors if metric == "l2" else vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = np.array([rows[model.labels_ == cluster].mean(axis=0) for cluster in range(3)])
    if metric == "cosine":
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert model.cluster_centers_.dtype == np.float64
    if metric == "l2":  # on the sphere the first cluster has no place of its own
        np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-15, atol=1e-6)
        assert sorted(np.bincount(model.labels_)) == [60, 70, 80]
    distances = pairwise(rows, model.cluster_centers_)
    np.testing.assert_allclose(model.transform(vectors), distances, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(model.predict(vectors), distances.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_, model.predict(vectors))
    assert model.fit(vectors.astype(np.float32)).cluster_centers_.dtype == np.float32


@pytest.mark.parametrize("power", [-310, -170, 140])
def test_magnitudes_of_any_power_are_clustered(power):
    ordinary = np.random.default_rng(1).normal(size=(200, 3))
    vectors = ordinary * 10.0**power
    model = KMeans(n_clusters=4).fit(vectors)
    assert np.isfinite(model.cluster_centers_).all() and np.bincount(model.labels_, minlength=4).min() > 0
