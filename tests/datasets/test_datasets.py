"""Data sets: loading by name, the packaged images, synthetic data of a stated intrinsic dimension."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from annlab import datasets
from annlab.datasets import Dataset, fashion, registry
from tests.datasets.hdf5_file import TEST, TRAIN, write_hdf5

# by name


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        if self.server.content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content) + self.server.missing))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def publisher(monkeypatch):
    """A server on this machine in the place of ann-benchmarks."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.missing, server.requested = None, 0, []
    monkeypatch.setattr(registry, "BASE_URL", f"http://127.0.0.1:{server.server_port}")
    for proxy in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ANNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ANNLAB_DATA", raising=False)
    return tmp_path / "cache"


def test_a_set_is_downloaded_once_and_verified_afterwards(publisher, cache, tmp_path, capsys):
    publisher.content = write_hdf5(tmp_path / "source.hdf5").read_bytes()
    for _ in range(2):
        assert datasets.load("glove-25-angular").metric == "cosine"
    assert publisher.requested == ["/glove-25-angular.hdf5"]
    assert "MB" in capsys.readouterr().err
    assert sorted(os.listdir(cache)) == ["glove-25-angular.hdf5", "glove-25-angular.sha256"]
    recorded = (cache / "glove-25-angular.sha256").read_text().split()
    assert recorded == [hashlib.sha256(publisher.content).hexdigest(), "glove-25-angular.hdf5"]

    damaged = bytearray(publisher.content)
    damaged[-1] ^= 1
    (cache / "glove-25-angular.hdf5").write_bytes(damaged)
    with pytest.raises(ValueError, match=rf"{recorded[0]}.*damaged"):
        datasets.load("glove-25-angular")


@pytest.mark.parametrize("missing, reason", [(0, "404"), (10, "of")])
def test_a_failed_download_says_what_to_do_and_leaves_nothing(publisher, cache, tmp_path, missing, reason):
    if missing:
        publisher.content, publisher.missing = b"half a file", missing
        reason = "ended after 11 of 21 bytes"
    with pytest.raises(ConnectionError) as caught:
        datasets.load("glove-25-angular", data_dir=tmp_path / "mine")
    for part in (
        f"{registry.BASE_URL}/glove-25-angular.hdf5",
        str(cache),
        str(tmp_path / "mine"),
        fashion.NAME,
        reason,
    ):
        assert part in str(caught.value)
    assert os.listdir(cache) == []


def test_local_files_are_found_by_name_in_order(publisher, cache, tmp_path, monkeypatch):
    for number, folder in enumerate(("mine", "environment", "cache")):
        (tmp_path / folder).mkdir()
        write_hdf5(tmp_path / folder / "own-set.hdf5", train_labels=np.full(20, number))
    assert datasets.load("own-set").train_labels[0] == 2
    monkeypatch.setenv("ANNLAB_DATA", str(tmp_path / "environment"))
    assert datasets.load("own-set").train_labels[0] == 1
    assert datasets.load("own-set", tmp_path / "mine").train_labels[0] == 0
    assert publisher.requested == []


def test_an_unknown_name_gets_the_nearest_and_no_request(publisher, cache):
    with pytest.raises(ValueError, match="Did you mean 'sift-128-euclidean'"):
        datasets.load("sift-128-euclidian")
    for name in ("../secret", "/etc/passwd", "", ".hidden", "a b"):
        with pytest.raises(ValueError, match="not the name of a data set"):
            datasets.load(name)
    assert publisher.requested == []


@pytest.mark.slow
@pytest.mark.skipif("ANNLAB_DATA" not in os.environ, reason="ANNLAB_DATA names no folder of data")
def test_true_neighbours_of_real_files_are_at_the_distances_that_we_mean():
    paths = sorted(Path(os.environ["ANNLAB_DATA"]).glob("*.hdf5"))
    for path in paths:
        dataset = datasets.load(path.stem)
        nearest = dataset.train[dataset.neighbors[:50, 0]].astype(np.float64)
        queries = dataset.test[:50].astype(np.float64)
        if dataset.metric == "l2":
            expected = np.linalg.norm(nearest - queries, axis=1)
        else:
            lengths = np.linalg.norm(nearest, axis=1) * np.linalg.norm(queries, axis=1)
            expected = 1 - (nearest * queries).sum(axis=1) / lengths
        np.testing.assert_allclose(dataset.distances[:50, 0], expected, rtol=1e-4, atol=1e-5)


# the packaged set


def test_the_packaged_images_are_the_originals():
    images, labels, class_names = datasets.fashion_mnist()
    assert images.shape == (10000, 28, 28) and images.dtype == labels.dtype == np.uint8
    # The MD5 sums that the publishers state are of the compressed files; these are of what is in them.
    assert (
        hashlib.sha256(images.tobytes()).hexdigest()
        == "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a"
    )
    assert (
        hashlib.sha256(labels.tobytes()).hexdigest()
        == "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9"
    )
    assert np.bincount(labels).tolist() == [1000] * 10 and len(class_names) == 10


def test_the_split_is_seeded_complete_and_keeps_images_labels_and_vectors_together():
    images, labels, _ = datasets.fashion_mnist()
    split, again, other = (datasets.fashion_mnist_split(200, seed) for seed in (3, 3, 4))
    assert split.train.dtype == np.float32 and split.train.max() == 1
    np.testing.assert_array_equal(split.test, again.test)
    assert (split.test != other.test).any()
    together = np.concatenate([split.train_images, split.test_images])
    assert sorted(image.tobytes() for image in together) == sorted(image.tobytes() for image in images)
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert [label_of[image.tobytes()] for image in split.test_images] == split.test_labels.tolist()
    np.testing.assert_array_equal(np.rint(split.test * 255).astype(np.uint8).reshape(-1, 28, 28), split.test_images)
    np.testing.assert_array_equal(np.rint(split.train * 255).astype(np.uint8).reshape(-1, 28, 28), split.train_images)
    for wrong in (0, 10000):
        with pytest.raises(ValueError, match=f"1..9999, not {wrong}"):
            datasets.fashion_mnist_split(wrong)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x09\1", b"\0\0\x08\3\0\0", b"\0\0\x08\1\0\0\0\5abcd", b"\0\0\x08\1\0\0\0\1ab"]
)
def test_wrong_idx_content_is_refused(content):
    with pytest.raises(ValueError, match="IDX file"):
        fashion.parse_idx(content)


# synthetic data


@pytest.mark.parametrize("clusters", [0, 5])
@pytest.mark.parametrize("intrinsic_dim, dim", [(2, 32), (4, 64), (8, 32), (8, 128)])
def test_the_intrinsic_dimension_is_the_stated_one(intrinsic_dim, dim, clusters):
    dataset = datasets.synthetic(5000, dim, intrinsic_dim, 100, clusters=clusters, seed=1)
    assert datasets.intrinsic_dimension(dataset.train) == pytest.approx(intrinsic_dim, rel=0.15)


def test_more_stated_dimensions_are_more_measured_ones():
    measured = [datasets.intrinsic_dimension(datasets.synthetic(5000, 64, m).train) for m in (2, 4, 8, 16, 32)]
    assert np.all(np.diff(np.log2(measured)) > 0.6)


def test_synthetic_data_bends_and_uses_every_column():
    vectors = datasets.synthetic(5000, 32, 4, dtype=np.float64).train
    assert vectors.std(axis=0).min() > 0.02
    # A flat surface would have 4 directions of variance only.
    variances = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    assert variances[4:].sum() > 0.05 * variances.sum()


def test_synthetic_data_is_as_asked_for():
    dataset = datasets.synthetic(300, 16, 3, 20, clusters=4, metric="cosine", dtype=np.float64, seed=2)
    assert dataset.train.shape == (300, 16) and dataset.test.shape == (20, 16) and dataset.train.dtype == np.float64
    assert dataset.metric == "cosine" and set(dataset.train_labels) == {0, 1, 2, 3} and len(dataset.test_labels) == 20
    again = datasets.synthetic(300, 16, 3, 20, clusters=4, dtype=np.float64, seed=2)
    np.testing.assert_array_equal(dataset.train, again.train)
    assert (datasets.synthetic(300, 16, 3, seed=3).train != datasets.synthetic(300, 16, 3, seed=4).train).all()
    flat = datasets.synthetic(300, 3, 3, 20)  # nothing left to bend into
    assert flat.train.shape == (300, 3) and flat.train.dtype == np.float32


def test_clusters_are_denser_than_the_space_between_them():
    dataset = datasets.synthetic(2000, 32, 8, 10, clusters=10, seed=5)
    centres = np.stack([dataset.train[dataset.train_labels == label].mean(axis=0) for label in range(10)])
    gaps = np.linalg.norm(dataset.train[:, None] - centres, axis=2)
    assert (gaps.argmin(axis=1) == dataset.train_labels).mean() > 0.99


def test_uniform_noise_has_as_many_dimensions_as_columns():
    noise = datasets.uniform_noise(5000, 4, 50)
    assert noise.test.shape == (50, 4) and 0 <= noise.train.min() and noise.train.max() < 1
    assert datasets.intrinsic_dimension(noise.train) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"n": 0}, "n must be at least 1, not 0"),
        ({"n_queries": 0}, "n_queries must be at least 1"),
        ({"intrinsic_dim": 9}, "at most dim = 8, not 9"),
        ({"intrinsic_dim": 0}, "intrinsic_dim must be at least 1"),
        ({"clusters": -1}, "clusters must be 0"),
        ({"metric": "l1"}, "metric must be one of"),
        ({"dtype": np.int8}, "float32 or float64, not int8"),
    ],
)
def test_impossible_synthetic_data_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        datasets.synthetic(**({"n": 10, "dim": 8, "intrinsic_dim": 2} | changed))


def test_the_intrinsic_dimension_of_too_few_or_equal_points_is_refused():
    with pytest.raises(ValueError, match="not 20; there are n = 20 vectors"):
        datasets.intrinsic_dimension(np.zeros((20, 2)))
    with pytest.raises(ValueError, match="duplicates"):
        datasets.intrinsic_dimension(np.zeros((50, 2)))


def test_a_dataset_describes_itself_without_its_arrays():
    dataset = Dataset("toy", TRAIN, TEST, "l2", neighbors=np.zeros((3, 2), np.int64))
    assert repr(dataset) == "Dataset('toy': 20 x 4 float32, 3 queries, l2, 2 true neighbours each)"
