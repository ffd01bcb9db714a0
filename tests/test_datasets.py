"""Data sets: readers against files written here (whole, damaged and hostile), loading by name, synthetic data."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annlab import datasets
from annlab.datasets import Dataset, fashion, registry

RNG = np.random.default_rng(7)


def write_records(path, vectors, dtype):
    dims = np.full((len(vectors), 1), vectors.shape[1], "<i4").view(np.uint8)
    path.write_bytes(np.hstack([dims, vectors.astype(dtype).view(np.uint8)]).tobytes())
    return path


RECORDS = {
    "fvecs": (datasets.load_fvecs, "<f4", RNG.standard_normal((7, 5)).astype(np.float32)),
    "ivecs": (datasets.load_ivecs, "<i4", RNG.integers(-9, 10**6, (7, 5)).astype(np.int32)),
    "bvecs": (datasets.load_bvecs, "u1", RNG.integers(0, 256, (7, 5)).astype(np.uint8)),
}


# fvecs, ivecs, bvecs


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", RECORDS)
def test_records_come_back_as_written(tmp_path, kind, mmap):
    load, dtype, vectors = RECORDS[kind]
    loaded = load(write_records(tmp_path / f"a.{kind}", vectors, dtype), mmap=mmap)
    assert loaded.dtype == vectors.dtype
    assert isinstance(loaded, np.memmap) == mmap
    np.testing.assert_array_equal(loaded, vectors)


@pytest.mark.parametrize("kind", RECORDS)
def test_a_truncated_file_of_records_names_the_numbers(tmp_path, kind):
    load, dtype, vectors = RECORDS[kind]
    path = write_records(tmp_path / f"a.{kind}", vectors, dtype)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"dimension 5.* {size - 1} bytes are 6 of them"):
        load(path)


def test_a_record_of_another_dimension_is_named(tmp_path):
    path = write_records(tmp_path / "a.fvecs", RECORDS["fvecs"][2], "<f4")
    content = bytearray(path.read_bytes())
    content[3 * 24 : 3 * 24 + 4] = (6).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="record 3 states dimension 6, record 0 states 5"):
        datasets.load_fvecs(path, mmap=True)


@pytest.mark.parametrize("start", [b"", b"\1\0", b"\0\0\0\0", b"\xff\xff\xff\xff" * 2, b"\xff\xff\xff\x7f" * 2])
def test_an_impossible_dimension_is_refused_before_anything_is_allocated(tmp_path, start):
    path = tmp_path / "a.fvecs"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=rf"dimension.*\b{len(start)} bytes|{len(start)} bytes.*dimension"):
        datasets.load_fvecs(path)


@given(st.data())
def test_mutated_records_are_refused_or_of_the_stated_shape(tmp_path_factory, data):
    path = write_records(tmp_path_factory.mktemp("m") / "a.fvecs", RECORDS["fvecs"][2], "<f4")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        loaded = datasets.load_fvecs(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert loaded.nbytes + 4 * len(loaded) == path.stat().st_size


# npy


@pytest.mark.parametrize("mmap", [False, True])
def test_npy_comes_back_as_written(tmp_path, mmap):
    vectors = RNG.standard_normal((4, 3))
    np.save(tmp_path / "a.npy", vectors)
    loaded = datasets.load_npy(tmp_path / "a.npy", mmap=mmap)
    assert isinstance(loaded, np.memmap) == mmap
    np.testing.assert_array_equal(loaded, vectors)


class Trap:
    """Leaves a file where it was unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_npy_never_unpickles(tmp_path):
    sprung = tmp_path / "sprung"
    np.save(tmp_path / "a.npy", np.array([[Trap(sprung)]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        datasets.load_npy(tmp_path / "a.npy")
    assert not sprung.exists()


def test_npy_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    for wrong in (np.zeros(3), np.zeros((2, 2, 2)), np.array([["a"]]), np.zeros((2, 2), complex)):
        np.save(path, wrong)
        with pytest.raises(ValueError, match="2-d array of numbers"):
            datasets.load_npy(path)


@given(st.data())
def test_mutated_npy_is_refused_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("m") / "a.npy"
    np.save(path, np.arange(12.0).reshape(4, 3))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))  # the header
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        loaded = datasets.load_npy(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert loaded.ndim == 2 and loaded.nbytes <= path.stat().st_size


def test_a_huge_npy_header_is_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1, 8), np.float32))
    path.write_bytes(path.read_bytes().replace(b"(1, 8), }        ", b"(99999999999, 8)}"))
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load_npy(path)


# HDF5


TRAIN, TEST = RNG.random((20, 4)).astype(np.float32), RNG.random((3, 4)).astype(np.float32)


def write_hdf5(path, distance="angular", **changed):
    h5py = pytest.importorskip("h5py")
    gaps = ((TEST[:, None] - TRAIN) ** 2).sum(axis=2)
    neighbors = np.argsort(gaps, axis=1)[:, :5]
    arrays = {"train": TRAIN, "test": TEST, "neighbors": neighbors.astype(np.int32)}
    arrays |= {"distances": np.sqrt(np.take_along_axis(gaps, neighbors, axis=1))} | changed
    with h5py.File(path, "w") as file:
        file.attrs.update({"distance": distance, "dimension": 4, "type": "dense"})
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    return path


@pytest.mark.parametrize("distance, metric", [("euclidean", "l2"), ("angular", "cosine")])
def test_hdf5_comes_back_as_written(tmp_path, distance, metric):
    labels = np.arange(20, dtype=np.uint8)
    path = write_hdf5(tmp_path / "toy-4.hdf5", distance, train_labels=labels)
    dataset = datasets.load_hdf5(path)
    assert (dataset.name, dataset.metric, dataset.dim) == ("toy-4", metric, 4)
    np.testing.assert_array_equal(dataset.train, TRAIN)
    np.testing.assert_array_equal(dataset.test, TEST)
    np.testing.assert_array_equal(dataset.train_labels, labels)
    assert dataset.neighbors.dtype == np.int64 and dataset.neighbors.shape == dataset.distances.shape == (3, 5)
    assert dataset.test_labels is None


def test_hdf5_may_lack_the_true_neighbours(tmp_path):
    dataset = datasets.load_hdf5(write_hdf5(tmp_path / "a.hdf5", neighbors=None, distances=None))
    assert dataset.neighbors is None and dataset.distances is None


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"train": None}, "train"),
        ({"distance": "jaccard"}, "'jaccard'; known are euclidean, angular"),
        ({"test": np.zeros((3, 5), np.float32)}, "train has 4 columns, test has 5"),
        ({"neighbors": np.full((3, 5), 20)}, "rows 0..19 of train, but range from 20 to 20"),
        ({"neighbors": np.full((3, 5), -1)}, "but range from -1 to -1"),
        ({"neighbors": np.zeros((2, 5), int)}, r"integers of shape \(3, k\).*\(2, 5\)"),
        ({"neighbors": np.zeros((3, 5))}, "must be integers"),
        ({"distances": np.zeros((3, 4))}, r"distances have shape \(3, 4\), neighbors \(3, 5\)"),
        ({"neighbors": None}, "distances are given without neighbors"),
        ({"train": np.zeros(20, np.float32)}, r"train must be 2-d.*\(20,\)"),
        ({"train": np.array([b"x"])}, "train is not an array of numbers"),
        ({"test_labels": np.zeros(4, int)}, "4 test_labels for 3 rows of test"),
    ],
)
def test_a_wrong_hdf5_file_is_refused_with_the_numbers(tmp_path, changed, message):
    path = write_hdf5(tmp_path / "a.hdf5", **changed)
    with pytest.raises(ValueError, match=message):
        datasets.load_hdf5(path)


def test_hdf5_that_claims_more_than_it_stores_is_refused_before_allocating(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = write_hdf5(tmp_path / "a.hdf5", train=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("train", shape=(10**12, 4), dtype=np.float32, chunks=(1024, 4))
    with pytest.raises(ValueError, match=r"claims 16000000000000 bytes.*stores 0 of them"):
        datasets.load_hdf5(path)


def test_truncated_hdf5_is_refused_and_a_missing_one_is_a_missing_file(tmp_path):
    path = write_hdf5(tmp_path / "a.hdf5")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        datasets.load_hdf5(path)
    with pytest.raises(FileNotFoundError):
        datasets.load_hdf5(tmp_path / "b.hdf5")


def test_mutated_hdf5_is_refused_or_fits_together(tmp_path, full):
    original = write_hdf5(tmp_path / "a.hdf5").read_bytes()
    rng, path, refused = np.random.default_rng(0), tmp_path / "m.hdf5", 0
    for _ in range(500 if full else 100):
        content = bytearray(original)
        for at in rng.integers(len(content), size=8):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            dataset = datasets.load_hdf5(path)
        except ValueError:
            refused += 1
        else:
            assert dataset.neighbors is None or dataset.neighbors.max() < len(dataset.train)
    assert refused


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
