"""Pixels in, float32 arrays out: every step, and descriptions of steps."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from annlab.encoders.preprocess import (
    ColorMode,
    Resize,
    ScaleToUnit,
    ZScore,
    learn_zscore,
    output_shape,
    preprocess,
    steps_from_json,
    steps_to_json,
)

Image = pytest.importorskip("PIL.Image")

from tests.encoders.made_pictures import encoded, photo  # noqa: E402

GRAY = [ColorMode("grayscale"), Resize(28, 28), ScaleToUnit()]
RGB = [ColorMode("rgb"), Resize(16, 24, "crop"), ScaleToUnit(), ZScore((0.5, 0.4, 0.3), (0.2, 0.2, 0.3))]


def test_grayscale_is_pillow_luma() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(ColorMode("grayscale")(pixels[np.newaxis])[0, :, :, 0], expected)


def test_gray_becomes_rgb_by_repetition() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 1), dtype=np.uint8)
    np.testing.assert_array_equal(ColorMode("rgb")(gray), np.concatenate([gray] * 3, axis=3))


def marked(height: int, width: int) -> np.ndarray:
    """White, with red ends on the longer side and a green centre."""
    image = np.full((1, height, width, 3), 255, dtype=np.uint8)
    ends = image[0] if height >= width else image[0].transpose(1, 0, 2)
    ends[: len(ends) // 8] = ends[-(len(ends) // 8) :] = (255, 0, 0)
    ends[len(ends) // 2 - 4 : len(ends) // 2 + 4] = (0, 255, 0)
    return image


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32)])
def test_fit_crop_and_pad(height: int, width: int) -> None:
    image = marked(height, width)
    fitted, cropped, padded = (Resize(16, 16, mode, fill=9)(image)[0] for mode in ("fit", "crop", "pad"))
    if height > width:
        fitted, cropped, padded = (result.transpose(1, 0, 2) for result in (fitted, cropped, padded))
    assert fitted[8, 0].tolist() == [255, 0, 0] and fitted[8, -1].tolist() == [255, 0, 0]  # everything is in
    assert cropped[8, 0].tolist() == [255, 255, 255]  # the ends are cut, the centre stays
    assert cropped[8, 8, 1] == 255 and cropped[8, 8, 0] < 60
    assert (padded[:4] == 9).all() and (padded[-4:] == 9).all()
    assert padded[5, 0].tolist() == [255, 0, 0] and (padded[4:12, 8] != 9).any()


def test_resize_is_antialiased_and_batches_agree_with_single_images() -> None:
    stripes = np.zeros((1, 64, 64, 1), np.uint8)
    stripes[:, :, ::2] = 255
    shrunk = Resize(8, 8)(stripes)
    assert np.abs(shrunk[0, 1:-1, 1:-1].astype(int) - 127).max() <= 16  # without antialiasing: 0 or 255
    batch = np.stack([photo(seed=seed) for seed in range(3)])
    resized = Resize(10, 12, "crop", filter="bicubic")(batch)
    for row, image in zip(resized, batch, strict=True):
        np.testing.assert_array_equal(row, Resize(10, 12, "crop", filter="bicubic")(image[np.newaxis])[0])


@pytest.mark.parametrize("mode", ["fit", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (1, 1)])
def test_extreme_proportions_need_no_extreme_memory(mode: str, shape: tuple[int, int]) -> None:
    image = np.full((1, *shape, 1), 77, np.uint8)
    assert Resize(28, 28, mode, fill=77)(image).tolist() == np.full((1, 28, 28, 1), 77).tolist()


def test_scale_and_zscore_by_hand() -> None:
    steps = [ColorMode("grayscale"), Resize(1, 2), ScaleToUnit(), ZScore((0.5,), (0.25,))]
    result = preprocess(steps, np.array([[[0, 255]]], np.uint8))
    assert result.tolist() == [[[[-2.0, 2.0]]]]
    unscaled = [ColorMode("grayscale"), Resize(1, 2), ZScore((127.0,), (128.0,))]
    assert preprocess(unscaled, np.array([[[127, 255]]], np.uint8)).tolist() == [[[[0.0, 1.0]]]]


def test_learned_zscore_gives_mean_0_and_variance_1() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (1500, 6, 6, 3), dtype=np.uint8)
    batch[..., 1] //= 2
    steps = [ColorMode("rgb"), Resize(6, 6), ScaleToUnit()]
    zscore = learn_zscore(steps, batch)
    result = preprocess([*steps, zscore], batch).astype(np.float64)
    np.testing.assert_allclose(result.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std(axis=(0, 2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(zscore.mean, (batch / 255).mean(axis=(0, 1, 2)))
    with pytest.raises(ValueError, match="channel 0 is constant"):
        learn_zscore(GRAY, np.full((3, 28, 28), 5, np.uint8))
    with pytest.raises(ValueError, match="0 images"):
        learn_zscore(GRAY, [])


# ---------------------------------------------------------------- pipelines


def test_training_and_serving_see_the_same_array(tmp_path: Path) -> None:
    """The batch that training builds, and one upload at a time through steps read back from JSON."""
    batch = np.stack([photo(seed=seed) for seed in range(5)])
    training = preprocess(RGB, batch)
    served_steps = steps_from_json(json.loads(json.dumps(steps_to_json(RGB))))
    assert served_steps == RGB
    for row, pixels in zip(training, batch, strict=True):
        path = tmp_path / "upload.png"
        Image.fromarray(pixels).save(path)
        np.testing.assert_array_equal(preprocess(served_steps, [path])[0], row)


def test_output_is_float32_channels_first_and_contiguous() -> None:
    mixed = [photo(30, 20), photo(9, 40)[..., 0], encoded(Image.fromarray(photo()), "JPEG")]
    for steps, images_in in ((RGB, mixed), (GRAY, mixed), (GRAY, np.zeros((4, 28, 28), np.uint8))):
        result = preprocess(steps, images_in)
        assert result.shape == (len(images_in), *output_shape(steps))
        assert result.dtype == np.float32 and result.flags.c_contiguous
    assert preprocess(GRAY, []).shape == (0, 1, 28, 28)
    assert preprocess(GRAY, np.zeros((0, 28, 28), np.uint8)).shape == (0, 1, 28, 28)
    assert preprocess(GRAY, photo()[np.newaxis]).shape == (1, 1, 28, 28)  # a batch of one


def test_a_single_image_is_not_taken_for_a_list() -> None:
    picture = Image.fromarray(photo())
    for single in ("photo.png", Path("photo.png"), b"data", bytearray(b"data"), memoryview(b"data"), picture):
        with pytest.raises(TypeError, match=r"pass \[image\]"):
            preprocess(GRAY, single)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"pass \[image\]"):
        preprocess(GRAY, io.BytesIO(encoded(picture, "PNG")))
    assert preprocess(GRAY, [photo()[..., :1]]).shape == (1, 1, 28, 28)  # (height, width, 1) is one image


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([Resize(8, 8), ColorMode("rgb")], "in this order"),
        ([ColorMode("rgb")], "in this order"),
        ([ColorMode("rgb"), Resize(8, 8), ScaleToUnit(), ScaleToUnit()], "in this order"),
        ([ColorMode("rgb"), Resize(8, 8), ZScore((0.5,), (0.5,))], "1 channels.* 3"),
    ],
)
def test_steps_out_of_order_are_refused(steps: list, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        preprocess(steps, [])


@pytest.mark.parametrize(
    "entry",
    [
        {"step": "resize", "height": 0, "width": 8},
        {"step": "resize", "height": 10**9, "width": 8},
        {"step": "resize", "height": 8.5, "width": 8},
        {"step": "resize", "height": True, "width": 8},
        {"step": "resize", "height": 8},
        {"step": "resize", "height": 8, "width": 8, "mode": "melt"},
        {"step": "resize", "height": 8, "width": 8, "mode": []},
        {"step": "resize", "height": 8, "width": 8, "fill": 256},
        {"step": "resize", "height": 8, "width": 8, "filter": "__class__"},
        {"step": "resize", "height": 8, "width": 8, "kind": "other"},
        {"step": "os.system"},
        {"step": ["resize"]},
        "resize",
        None,
    ],
)
def test_hostile_descriptions_of_a_resize_are_refused(entry: object) -> None:
    with pytest.raises(ValueError, match=r"resize|preprocessing"):
        steps_from_json([{"step": "color_mode", "mode": "rgb"}, entry])


@pytest.mark.parametrize(
    "settings",
    [
        {"mean": [0.5] * 3, "std": [0.0] * 3},
        {"mean": [0.5] * 3, "std": [-1.0] * 3},
        {"mean": [float("nan")] * 3, "std": [1.0] * 3},
        {"mean": [float("inf")] * 3, "std": [1.0] * 3},
        {"mean": [10**400] * 3, "std": [1.0] * 3},
        {"mean": "abc", "std": [1.0] * 3},
        {"mean": [0.5] * 2, "std": [1.0] * 3},
        {"mean": [0.5], "std": [1.0]},
    ],
)
def test_hostile_descriptions_of_a_zscore_are_refused(settings: dict) -> None:
    described = steps_to_json([ColorMode("rgb"), Resize(8, 8)])
    with pytest.raises(ValueError, match="z-score"):
        steps_from_json([*described, {"step": "z_score", **settings}])


def test_a_pipeline_that_is_no_list_is_refused() -> None:
    for described in ({}, "resize", None, [{}] * 100):
        with pytest.raises(ValueError, match="preprocessing must be a list"):
            steps_from_json(described)
