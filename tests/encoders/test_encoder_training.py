"""From images to a finished encoder: what training sees is what serving sees, and a killed run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytestmark = pytest.mark.encoders

from PIL import Image  # noqa: E402

from annlab.datasets import fashion_mnist  # noqa: E402
from annlab.encoders import encoder_training as module  # noqa: E402
from annlab.encoders import lessons  # noqa: E402
from annlab.encoders.encoder import Domain, Encoder, learn_domain  # noqa: E402
from annlab.encoders.image_sets import ImageSet, open_images, with_captions  # noqa: E402
from annlab.encoders.pixels import read_pixels  # noqa: E402
from annlab.encoders.preprocess import ColorMode, Resize, preprocess  # noqa: E402
from annlab.encoders.texts import Texts  # noqa: E402
from tests.encoders.helpers import linear_encoder, linear_model  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures of three sizes, two of them in colour, one alone in its class, and a bad one."""
    rng = np.random.default_rng(0)
    for number in range(7):
        side = 20 + 9 * (number % 3)
        shape = (side, 2 * side, 3) if number < 2 else (side, 2 * side)
        path = tmp_path / "pics" / ("alone" if number == 6 else "many") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    (tmp_path / "pics" / "many" / "bad.png").write_bytes(b"bad")
    return tmp_path / "pics"


def test_training_and_serving_see_the_same_bits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from annlab.encoders import export
    from annlab.encoders.cnn import ThinCNN
    from annlab.encoders.trained import Trained, as_nchw, normalised

    geometry, pixels, _ = read_pixels(open_images(folder), 24, lambda text: None)
    mean, std = (0.2860, 0.35, 0.31), (0.353, 0.2, 0.27)
    trained_on = normalised(torch.from_numpy(as_nchw(pixels)).float() / 255, mean, std).numpy()
    files = [path for path in open_images(folder).images if path.name != "bad.png"]  # type: ignore[union-attr]
    monkeypatch.setattr(export, "export_encoder", lambda network, steps, *_, **__: steps)
    steps: Any = module.encoder_of(Trained(ThinCNN(3), mean, std, (24, 24), {}), geometry, "x", Domain("x"))
    served = preprocess(steps, files)
    np.testing.assert_array_equal(served, trained_on)


def test_files_are_scaled_and_arrays_keep_their_size(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    steps, pixels, read = read_pixels(open_images(folder), None, said.append)
    assert steps == [ColorMode("rgb"), Resize(32, 32, "crop")] and pixels.shape == (7, 32, 32, 3)
    assert read.tolist() == [0, 1, 2, 3, 4, 5, 6] and open_images(folder).items[7] == "many/bad.png"
    assert len(said) == 1 and said[0].startswith("left out: ") and "bad.png" in said[0]
    np.save(tmp_path / "a.npy", np.zeros((3, 20, 30), np.uint8))
    steps, pixels, _ = read_pixels(open_images(tmp_path / "a.npy"), None, said.append)
    assert steps == [ColorMode("grayscale"), Resize(20, 30)] and pixels.shape == (3, 20, 30, 1)
    steps, pixels, _ = read_pixels(open_images(tmp_path / "a.npy"), 16, said.append)
    assert steps == [ColorMode("grayscale"), Resize(16, 16, "crop")] and pixels.shape == (3, 16, 16, 1)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"none of the 8 images .* could be read"):
        read_pixels(open_images(folder), None, said.append)


def test_the_domain_is_learned_from_the_images_with_room() -> None:
    images = fashion_mnist().images[:, :, :, np.newaxis]
    domain = learn_domain(images[:2000], "clothing")
    assert domain.max_chroma == 3.0 and domain.min_dark_frame is not None and 0.15 < domain.min_dark_frame < 0.4
    assert domain.first_outside(images) is None  # the other 8,000 pass as well
    photographs = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 3), dtype=np.uint8)
    assert learn_domain(photographs, "photographs") == Domain("photographs", None, None)


def run(
    images: Any, out: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int = 99, epochs: int = 3, **options: Any
) -> dict[str, np.ndarray]:
    """Train for a few epochs with a stand-in for the export, stopped after some; return the weights."""
    weights: dict[str, np.ndarray] = {}

    def exported(trained: Any, *_: Any) -> Any:
        weights.update({name: tensor.numpy() for name, tensor in trained.module.state_dict().items()})
        return linear_encoder()[0]

    def say(text: str) -> None:
        if text.startswith(f"epoch {stop_after}"):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "encoder_of", exported)
    from annlab.encoders.training_config import TrainConfig

    config = TrainConfig(epochs=epochs)
    module.train_encoder(
        images, out, "labels", images.labels, config=config, start="scratch", threads=1, say=say, **options
    )
    return weights


def test_a_class_of_one_image_trains_and_a_stopped_run_ends_with_the_same_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    images = open_images(folder)
    assert images.labels is not None and (images.labels == "alone").sum() == 1
    whole = run(images, tmp_path / "whole", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "stopped", monkeypatch, stop_after=2)
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["training.npz"]
    resumed = run(images, tmp_path / "stopped", monkeypatch)
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == [
        "MODEL_CARD.md",
        "encoder.json",
        "model.onnx",
    ]
    assert whole.keys() == resumed.keys() and len(whole) > 10
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name])


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md", "encoder.json"])
def test_no_file_in_the_folder_is_replaced_without_being_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    (out / "diary.txt").write_text("mine")
    images = open_images(folder)
    with pytest.raises(FileExistsError, match="--overwrite"):
        run(images, out, monkeypatch, epochs=1)
    assert sorted(path.name for path in out.iterdir()) == sorted([name, "diary.txt"])
    assert (out / name).read_text() == "mine"
    run(images, out, monkeypatch, epochs=1, overwrite=True)
    expected = ["MODEL_CARD.md", "diary.txt", "encoder.json", "model.onnx"]
    assert sorted(path.name for path in out.iterdir()) == expected
    assert (out / name).read_bytes() != b"mine" and (out / "diary.txt").read_text() == "mine"
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is not a folder"):
        run(images, tmp_path / "file", monkeypatch)


def test_an_unfinished_training_of_other_settings_is_kept_unless_given_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    images, out = open_images(folder), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(images, out, monkeypatch, stop_after=1)
    before = (out / "training.npz").read_bytes()
    with pytest.raises(ValueError, match=r"epochs is 3, this run's is 2.*--overwrite"):
        run(images, out, monkeypatch, epochs=2)
    assert (out / "training.npz").read_bytes() == before
    (out / "training.npz.4711.tmp").touch()  # a kill left it
    run(images, out, monkeypatch, epochs=2, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["MODEL_CARD.md", "encoder.json", "model.onnx"]


def test_a_failed_training_leaves_nothing_that_blocks_the_corrected_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from annlab.encoders import training

    validate = training._Run._validate

    def failing(self: Any, n_steps: int) -> Any:
        if len(self.history) == 1:
            raise training.TrainingError("collapsed")
        return validate(self, n_steps)

    images, out = open_images(folder), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(training._Run, "_validate", failing)
        with pytest.raises(training.TrainingError):
            run(images, out, monkeypatch)
    assert not out.exists()
    run(images, out, monkeypatch, epochs=1)
    assert (out / "encoder.json").is_file()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"without onnx, onnxscript, onnxruntime: pip install"):
        run(images, tmp_path / "other", monkeypatch)
    assert not (tmp_path / "other").exists()


def sorted_out(labels: list[str], said: list[str], positives: str = "labels") -> lessons.Lesson:
    """The lesson of so many blank images with these labels."""
    n = len(labels)
    images = ImageSet("x", np.zeros((n, 8, 8), np.uint8), [str(row) for row in range(n)], np.array(labels), "x")
    pixels = np.zeros((n, 8, 8, 1), np.uint8)
    return lessons.lesson_of(images, pixels, np.arange(n), positives, images.labels, None, 0, said.append)


def test_images_in_no_class_teach_no_labels(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    Image.new("L", (20, 20), 99).save(folder / "root.png")
    said: list[str] = []
    found = sorted_out(["a", "", "b", "a"], said)
    assert found.rows.tolist() == [0, 2, 3] and found.codes.tolist() == [0, 1, 0] and not found.judges.any()
    assert said[0] == "left out: 1 images that lie in no class's folder" and "no image is held out" in said[1]
    sorted_out(["a"] * 200, said := [], "augmentation")
    assert said[0].endswith("with labels of two classes or more (folders, or --labels), here are 200 of 1 class")
    with pytest.raises(ValueError, match=r"of 1 class\(es\), a: labels teach"):
        sorted_out(["a", ""], said)
    with pytest.raises(ValueError, match=r"each of the 2 images has a class of its own, as a: .*two images or more"):
        sorted_out(["a", "b"], said)
    run(open_images(folder), tmp_path / "out", monkeypatch, epochs=1)
    assert "7 images from" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


# ---------------------------------------------------------------- captions


def captioned(folder: Path, lines: str) -> ImageSet:
    path = folder.parent / "captions.tsv"
    path.write_text(lines, encoding="utf-8")
    return with_captions(open_images(folder), path)


def test_captions_come_from_a_file_by_the_names_of_the_images(folder: Path) -> None:
    images = captioned(folder, "\ufeffmany/2.png\tgrey noise\tnoise\t \n\nalone/6.png\t alone \r\n")
    said = {item: tuple(each) for item, each in zip(images.items, images.captions or [], strict=True) if each}
    assert said == {"many/2.png": ("grey noise", "noise"), "alone/6.png": ("alone",)}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("many/1.png\tx\nmany/1.png\ty", "line 2: 'many/1.png' is an image for the second time"),
        ("../many/1.png\tx", r"line 1: '\.\./many/1\.png' is no image of these \(8 from"),
        ("many/1.png\t \t", "line 1: nothing is said of 'many/1.png'"),
        ("many/1.png", "line 1: nothing is said"),
    ],
)
def test_captions_of_other_images_or_without_words_are_refused(folder: Path, lines: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        captioned(folder, lines)
    (folder.parent / "captions.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        with_captions(open_images(folder), folder.parent / "captions.tsv")


def test_an_encoder_that_learns_from_captions_embeds_texts_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from annlab.encoders import train_captions

    def exported(network: Any, steps: Any, name: str, domain: Domain, compact: bool, texts: Texts) -> Encoder:
        """In place of the real translation, which takes a quarter of a minute and is tested with it."""
        weights = np.random.default_rng(0).normal(size=(3 * 16 * 16, texts.dim))
        return Encoder(linear_model(weights, (3, 16, 16)), steps, name, domain, texts=texts)

    monkeypatch.setattr(train_captions, "export_encoder", exported)
    images, said = captioned(folder, "many/2.png\tgrey\nmany/0.png\tred\nmany/bad.png\tbad"), []
    out = tmp_path / "out"
    from annlab.encoders.training_config import TrainConfig

    options: dict[str, Any] = {"positives": "captions", "size": 16, "threads": 1, "say": said.append}
    options["config"] = TrainConfig(epochs=2)

    def stopped(line: str) -> None:
        if line.startswith("both, epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.train_encoder(images, out, **{**options, "say": stopped})
    encoder = module.train_encoder(images, out, command="annlab train pics", **options).encoder
    assert "an unfinished training is there: it resumes at epoch 2" in said
    assert not any(line.startswith("both, epoch 1") for line in said)
    assert encoder.texts is not None and encoder.texts.encode(["red"]).shape == (1, encoder.dim)
    assert "left out: 5 images of which nothing is said" in said
    assert {path.name for path in out.iterdir()} == {"encoder.json", "model.onnx", "texts.npz", "MODEL_CARD.md"}
    assert Encoder.load(out).fingerprint == encoder.fingerprint
    assert "2 images from pics with captions" in (out / "MODEL_CARD.md").read_text()
    with pytest.raises(FileExistsError, match="--overwrite"):
        module.train_encoder(images, out, **options)
    with pytest.raises(ValueError, match=r"give --captions FILE\.tsv"):
        module.train_encoder(open_images(folder), tmp_path / "other", **options)
    with pytest.raises(ValueError, match="1 of 8 images have a caption: at least 2"):
        module.train_encoder(captioned(folder, "many/2.png\tgrey"), tmp_path / "other", **options)


def test_the_packaged_pictures_bring_their_captions() -> None:
    images = open_images("emoji")
    assert images.captions is not None and images.versions is not None
    assert len(images) == len(images.captions) == len(images.versions) and images.captions[0][0] == "grinning face"
