"""The encoder as a stored thing: embeddings, fingerprint, domain, and files that lie."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annlab.encoders import encoder as encoder_module
from annlab.encoders.encoder import Domain, DomainError, Encoder, learn_domain
from annlab.encoders.preprocess import ColorMode, Resize, ScaleToUnit, ZScore
from tests.encoders.helpers import ANYTHING, STEPS, linear_encoder, linear_model, pictures

for extra in ("onnx", "onnxruntime", "PIL"):
    pytest.importorskip(extra)

CLOTHING = Domain("28x28 grayscale clothing on black", max_chroma=6.0, min_dark_frame=0.3)


def test_embeddings_are_the_models_output_divided_by_its_length() -> None:
    encoder, weights = linear_encoder()
    images = pictures(130)  # more than two batches of 64
    rows = (images.reshape(130, 16) / 255) @ weights
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    embeddings = encoder.encode(images)
    assert embeddings.dtype == np.float32 and embeddings.shape == (130, encoder.dim)
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(list(images), batch_size=7), embeddings, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(images[5:6])[0], embeddings[5], atol=1e-6)  # a batch of one
    assert encoder.encode(images[:0]).shape == (0, encoder.dim) and encoder.encode([]).shape == (0, encoder.dim)


def test_bad_arguments_are_refused() -> None:
    encoder, _ = linear_encoder()
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        encoder.encode(pictures(2), batch_size=0)
    with pytest.raises(TypeError, match=r"pass \[image\]"):
        encoder.encode(Path("photo.png"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"threads must be .* not 0"):
        Encoder(linear_model(np.ones((16, 2))), STEPS, "x", ANYTHING, threads=0)
    black = np.concatenate([pictures(70), np.zeros((1, 4, 4, 1), np.uint8)])
    with pytest.raises(ValueError, match="image 70 is zero or not finite"):
        encoder.encode(black)


def test_a_saved_encoder_comes_back_equal(tmp_path: Path) -> None:
    encoder, _ = linear_encoder(domain=CLOTHING)
    encoder.save(tmp_path / "e", card="# linear\n")
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["MODEL_CARD.md", "encoder.json", "model.onnx"]
    loaded = Encoder.load(tmp_path / "e", threads=2, expected_dim=5)
    assert (loaded.fingerprint, loaded.dim, loaded.steps) == (encoder.fingerprint, encoder.dim, encoder.steps)
    assert (loaded.domain, loaded.name) == (CLOTHING, "linear")
    images = pictures(9)
    np.testing.assert_array_equal(loaded.encode(images, check_domain=False), encoder.encode(images, check_domain=False))


def test_the_fingerprint_covers_weights_and_preprocessing_and_nothing_else() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 5))
    model = linear_model(weights)
    changed = weights.copy()
    changed[3, 2] += 1e-3
    original = Encoder(model, STEPS, "a", ANYTHING).fingerprint
    assert Encoder(model, STEPS, "b", CLOTHING, threads=2).fingerprint == original
    assert Encoder(linear_model(changed), STEPS, "a", ANYTHING).fingerprint != original
    assert Encoder(model, [*STEPS, ZScore((0.5,), (0.5,))], "a", ANYTHING).fingerprint != original
    assert Encoder(model, [STEPS[0], Resize(4, 4, "crop"), ScaleToUnit()], "a", ANYTHING).fingerprint != original
    assert len(original) == 32


# ---------------------------------------------------------------- domain


def clothing(n: int = 3) -> np.ndarray:
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 4:24, 8:20] = 200
    return images


def clothing_encoder() -> Encoder:
    steps = [ColorMode("grayscale"), Resize(28, 28), ScaleToUnit()]
    weights = np.random.default_rng(0).normal(size=(784, 4))
    return Encoder(linear_model(weights, (1, 28, 28)), steps, "fashion-mnist", CLOTHING)


def test_images_of_the_domain_pass_in_any_form() -> None:
    encoder = clothing_encoder()
    expected = encoder.encode(clothing())
    as_rgb = np.repeat(clothing()[..., np.newaxis], 3, axis=3)
    np.testing.assert_array_equal(encoder.encode(as_rgb), expected)
    np.testing.assert_array_equal(encoder.encode(list(as_rgb)), expected)
    large = clothing().repeat(4, axis=1).repeat(4, axis=2)
    assert encoder.encode(large).shape == (3, 4)


@pytest.mark.parametrize("as_list", [True, False])
def test_colour_photographs_stop_with_the_command_that_helps(as_list: bool) -> None:
    encoder = clothing_encoder()
    images = np.repeat(clothing(70)[..., np.newaxis], 3, axis=3)
    images[66, ..., 0] |= 40  # a faint red tint
    given = list(images) if as_list else images
    with pytest.raises(DomainError) as caught:
        encoder.encode(given)
    message = str(caught.value)
    for part in ("image 66 (28 x 28)", "'fashion-mnist'", "28x28 grayscale clothing on black", "colour photograph"):
        assert part in message
    assert "annlab encode IMAGES --encoder efficientnet-lite0" in message and "pip install" in message
    assert encoder.encode(given, check_domain=False).shape == (70, 4)


def test_gray_pictures_that_are_not_on_black_stop_too() -> None:
    images = clothing()
    images[1] = 255 - images[1]
    with pytest.raises(DomainError, match=r"image 1 .* background is not black \(0% of its frame is dark"):
        clothing_encoder().encode(images)


def test_of_two_complaints_the_first_image_is_named() -> None:
    images = np.repeat(clothing()[..., np.newaxis], 3, axis=3)
    images[1] = 255 - images[1]
    images[2, ..., 0] |= 40
    with pytest.raises(DomainError, match=r"image 1 .*not black"):
        clothing_encoder().encode(images)


def test_an_encoder_without_limits_takes_everything() -> None:
    encoder, _ = linear_encoder()
    assert encoder.encode(np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3), dtype=np.uint8)).shape == (3, 5)


# ---------------------------------------------------------------- files that lie


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    linear_encoder()[0].save(tmp_path / "e")
    return tmp_path / "e"


def rewrite(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "encoder.json").read_text())
    manifest.update(changes)
    (folder / "encoder.json").write_text(json.dumps(manifest))


def test_another_version_or_dimension_is_refused_with_both_numbers(saved: Path) -> None:
    with pytest.raises(ValueError, match="dimension 5, but 64 is expected"):
        Encoder.load(saved, expected_dim=64)
    rewrite(saved, dim=64)
    with pytest.raises(ValueError, match="gives dimension 5, its manifest says 64"):
        Encoder.load(saved)
    rewrite(saved, dim=5, version=2)
    with pytest.raises(ValueError, match="format version 2, but this annlab reads 1"):
        Encoder.load(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "does not describe an encoder"),
        ({"version": None}, "format version None"),
        ({"version": True}, "format version True"),
        ({"dim": "5"}, "dim must be of type int"),
        ({"dim": True}, "dim must be of type int"),
        ({"name": 7}, "name must be of type str"),
        ({"model_sha256": "0" * 64}, "model.onnx is damaged"),
        ({"fingerprint": "0" * 32}, "fingerprint is not the one"),
        ({"preprocess": []}, "damaged: steps must be"),
        ({"preprocess": [{"step": "import os"}]}, "damaged: preprocessing step 0"),
        (
            {"preprocess": [{"step": "color_mode", "mode": "rgb"}, {"step": "resize", "height": 4, "width": 4}]},
            r"damaged: the model takes .*\[3, 4, 4\]",
        ),
        ({"domain": {"description": "x", "max_chroma": "low"}}, "domain must hold"),
        ({"domain": {"description": "x", "max_chroma": -1}}, "domain must hold"),
        ({"domain": {"description": "x", "surprise": 1}}, "domain must hold"),
        ({"domain": {}}, "domain must hold"),
    ],
)
def test_hostile_manifests_are_refused(saved: Path, changes: dict[str, Any], reason: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=reason):
        Encoder.load(saved)


def test_damaged_files_are_refused(saved: Path) -> None:
    model = (saved / "model.onnx").read_bytes()
    (saved / "model.onnx").write_bytes(model[:-1])
    with pytest.raises(ValueError, match=r"model\.onnx is damaged"):
        Encoder.load(saved)
    for text, reason in (("{", "is not JSON"), ("[" * 50_000, "is not JSON"), ("[]", "does not describe")):
        (saved / "encoder.json").write_text(text)
        with pytest.raises(ValueError, match=reason):
            Encoder.load(saved)
    (saved / "encoder.json").write_text(" " * 100_001)
    with pytest.raises(ValueError, match="100001 bytes; at most 100000"):
        Encoder.load(saved)
    with pytest.raises(FileNotFoundError, match="there is no encoder in"):
        Encoder.load(saved.parent)


def external_model(location: str) -> bytes:
    """A model whose weights are said to lie in another file."""
    import onnx

    model = onnx.load_from_string(linear_model(np.ones((16, 2))))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: b"", "not a readable ONNX model"),
        (lambda: b"\x80\x04not a model", "not a readable ONNX model"),
        (lambda: external_model("weights.bin"), "not a readable ONNX model"),
        (lambda: external_model("/etc/hostname"), "not a readable ONNX model"),
        (lambda: linear_model(np.ones((16, 2)), n=1), "exactly 1 images at once"),
        (lambda: linear_model(np.ones((64, 2)), (1, 8, 8)), r"takes tensor\(float\) of \['n', 1, 8, 8\]"),
    ],
)
def test_models_that_do_not_fit_are_refused(model: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Encoder(model(), STEPS, "x", ANYTHING)


def test_inference_imports_no_torch(saved: Path) -> None:
    code = (
        "import sys, numpy; from annlab.encoders import load_encoder; "
        f"load_encoder({str(saved)!r}).encode(numpy.full((2, 4, 4, 1), 9, numpy.uint8)); "
        "print([name for name in ('torch', 'onnx', 'sklearn', 'numba') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("chosen", "off"), [(None, True), ("1", True), ("0", False)])
def test_the_runtimes_telemetry_is_off_before_it_is_imported(tmp_path: Path, chosen: str | None, off: bool) -> None:
    """A stand-in for the runtime writes down what it finds at its import, and what it is told then."""
    (tmp_path / "onnxruntime.py").write_text(
        "import os\n"
        "print('imported with', os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "def disable_telemetry_events(): print('events off')\n"
        "def SessionOptions(): raise SystemExit\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if chosen is None else {"ORT_DISABLE_TELEMETRY": chosen}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    code = "from annlab.encoders import load_encoder; load_encoder('fashion-mnist')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert found.stdout.splitlines() == [f"imported with {chosen or '1'}", *(["events off"] if off else [])]


def test_nothing_else_imports_the_runtime() -> None:
    """The one place that switches the telemetry off is the only one that may."""
    package = Path(encoder_module.__file__).parents[1]
    importing = [
        path for path in package.rglob("*.py") if re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.M)
    ]
    assert importing == [Path(encoder_module.__file__)]


def test_an_encoder_takes_the_images_that_its_domain_was_learned_from() -> None:
    """The domain is looked at in the size that the network sees: a large picture has another frame than a small one."""
    large = np.zeros((1, 64, 64, 1), dtype=np.uint8)
    large[:, 2:62, 2:62] = 200  # a thin dark frame, which is gone at 4 x 4
    small = Resize(4, 4)(large)
    domain = learn_domain(np.concatenate([small, np.zeros_like(small)]), "squares")
    assert linear_encoder(domain=domain)[0].encode(large).shape == (1, 5)
    dark = Domain("on black", min_dark_frame=0.5)
    assert dark.first_outside(large) is None and dark.first_outside(small) is not None
    with pytest.raises(DomainError, match=r"image 0 \(64 x 64\) is not for"):
        linear_encoder(domain=dark)[0].encode(large)
    assert linear_encoder(domain=dark)[0].encode(large, check_domain=False).shape == (1, 5)


def test_a_wrong_number_of_threads_is_not_called_a_damaged_encoder(tmp_path: Path) -> None:
    linear_encoder()[0].save(tmp_path)
    with pytest.raises(ValueError, match=r"^threads must be an integer of at least 1, not 0"):
        Encoder.load(tmp_path, threads=0)
