"""Preprocessing: from decoded images of any size to the float32 array that an encoder takes.

A pipeline is a plain list of steps, applied in order:

    steps = [ColorMode("grayscale"), Resize(28, 28), ScaleToUnit(), ZScore(mean=(0.286,), std=(0.353,))]
    batch = preprocess(steps, images)                     # (n, channels, height, width), float32

Each step is a small frozen object that maps a batch (n, height, width, channels) to a batch. An encoder is stored
together with its steps (`steps_to_json`, `steps_from_json`), and training and serving call the same `preprocess`, so
that both see the same array: a difference between the two is the classic silent error of visual search, and costs
accuracy without ever raising.

- `ColorMode`: consistent colour, "rgb" or "grayscale" (ITU-R 601 luma, as in JPEG).
- `Resize`: to a fixed size. "fit" squeezes the whole image in and changes its proportions; "crop" keeps the
  proportions and the centre, and loses the ends of the longer side; "pad" keeps proportions and the whole image, and
  fills the rest.
- `ScaleToUnit`: from 0..255 to 0..1.
- `ZScore`: to mean 0 and variance 1 by given statistics, or by those that `learn_zscore` measures on training images.

Cost: a few nanoseconds a pixel; arrays of decoded images go through in batches, without a loop where their size is
already right. Needs NumPy, and Pillow for decoding and resizing; no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.images import ImageSource, _pillow, array_batch, decode_image, is_single_image

MAX_SIDE = 4096


@dataclass(frozen=True)
class ColorMode:
    """Bring images to one colour mode.

    Parameters
    ----------
    mode : "rgb" or "grayscale"
        Gray images become RGB by repeating their channel.
    """

    mode: Literal["rgb", "grayscale"]
    kind: ClassVar[str] = "color_mode"

    def __post_init__(self) -> None:
        if self.mode not in ("rgb", "grayscale"):
            raise ValueError(f'color mode must be "rgb" or "grayscale", not {self.mode!r}')

    @property
    def channels(self) -> int:
        return 3 if self.mode == "rgb" else 1

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """(n, height, width, 1 or 3) uint8 -> (n, height, width, channels) uint8."""
        if batch.shape[3] == self.channels:
            return batch
        if self.mode == "rgb":
            return np.repeat(batch, 3, axis=3)
        red, green, blue = (batch[..., channel].astype(np.uint32) for channel in range(3))
        luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16  # 0.299, 0.587, 0.114 in 16-bit fixed point
        return luma.astype(np.uint8)[..., np.newaxis]


@dataclass(frozen=True)
class Resize:
    """Bring images to one size, in pixels, with an antialiased filter.

    Parameters
    ----------
    height, width : int
        From 1 to 4096.
    mode : "fit", "crop" or "pad"
        See the head of this file.
    fill : int
        The gray, 0..255, that "pad" fills with.
    filter : "bilinear" or "bicubic"
    """

    height: int
    width: int
    mode: Literal["fit", "crop", "pad"] = "fit"
    fill: int = 0
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    kind: ClassVar[str] = "resize"

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            if not _is_int(side) or not 1 <= side <= MAX_SIDE:
                raise ValueError(f"resize {name} must be an integer from 1 to {MAX_SIDE}, not {side!r}")
        if self.mode not in ("fit", "crop", "pad"):
            raise ValueError(f'resize mode must be "fit", "crop" or "pad", not {self.mode!r}')
        if not _is_int(self.fill) or not 0 <= self.fill <= 255:
            raise ValueError(f"resize fill must be an integer from 0 to 255, not {self.fill!r}")
        if self.filter not in ("bilinear", "bicubic"):
            raise ValueError(f'resize filter must be "bilinear" or "bicubic", not {self.filter!r}')

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """(n, any height, any width, channels) uint8 -> (n, height, width, channels) uint8."""
        n, height, width, channels = batch.shape
        if (height, width) == (self.height, self.width):
            return batch
        resized = np.full((n, self.height, self.width, channels), self.fill, dtype=np.uint8)
        for row, image in zip(resized, batch, strict=True):
            self._resize_into(row, image)
        return resized

    def _resize_into(self, target: NDArray[Any], image: NDArray[Any]) -> None:
        image_module = _pillow()
        height, width = image.shape[:2]
        box = (0.0, 0.0, float(width), float(height))
        top, left, new_height, new_width = 0, 0, self.height, self.width
        if self.mode == "crop":  # cut before scaling: a strip of 1 x 10,000,000 must not be blown up first
            scale = min(height / self.height, width / self.width)
            cut_height, cut_width = scale * self.height, scale * self.width
            y, x = (height - cut_height) / 2, (width - cut_width) / 2
            box = (x, y, min(x + cut_width, width), min(y + cut_height, height))
        elif self.mode == "pad":
            scale = min(self.height / height, self.width / width)
            new_height, new_width = max(1, round(scale * height)), max(1, round(scale * width))
            top, left = (self.height - new_height) // 2, (self.width - new_width) // 2
        pillow_image = image_module.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
        resample = getattr(image_module.Resampling, self.filter.upper())
        pixels = np.asarray(pillow_image.resize((new_width, new_height), resample, box=box))
        target[top : top + new_height, left : left + new_width] = pixels.reshape(new_height, new_width, -1)


@dataclass(frozen=True)
class ScaleToUnit:
    """Scale pixel values from 0..255 to 0..1."""

    kind: ClassVar[str] = "scale_to_unit"

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """(n, height, width, channels), uint8 -> the same shape, float32."""
        return batch.astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class ZScore:
    """Subtract the mean and divide by the standard deviation, channel by channel.

    Parameters
    ----------
    mean, std : tuple of float
        One number per channel, in the units that the step receives: of 0..1 after `ScaleToUnit`, else of 0..255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: ClassVar[str] = "z_score"

    def __post_init__(self) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if not isinstance(numbers, tuple | list) or not all(_is_number(number) for number in numbers):
                raise ValueError(f"z-score {name} must be a list of numbers below 1e30, not {numbers!r}")
            object.__setattr__(self, name, tuple(float(number) for number in numbers))
        if len(self.mean) != len(self.std):
            raise ValueError(f"z-score has {len(self.mean)} means but {len(self.std)} standard deviations")
        if not all(deviation >= 1e-6 for deviation in self.std):
            raise ValueError(f"z-score standard deviations must be positive, not {self.std}")

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """(n, height, width, channels) -> the same shape, float32."""
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        return (batch.astype(np.float32) - mean) / std


Step: TypeAlias = ColorMode | Resize | ScaleToUnit | ZScore
ORDER: tuple[type[Step], ...] = (ColorMode, Resize, ScaleToUnit, ZScore)


def preprocess(steps: Sequence[Step], images: NDArray[Any] | Iterable[ImageSource]) -> NDArray[np.float32]:
    """Run images through the steps.

    Parameters
    ----------
    steps : list of steps
        In the order color mode, resize, and then scaling and z-score where wanted.
    images : array or iterable of images
        An array is a batch (n, height, width) or (n, height, width, channels) of uint8, uint16 or bool. Anything else
        is iterated over, and each element may be whatever `decode_image` takes, of any size.

    Returns
    -------
    numpy.ndarray
        Shape (n, channels, height, width), float32, C-contiguous.

    Raises
    ------
    ValueError
        An image cannot be decoded, or the steps are not in order.

    Examples
    --------
    >>> import numpy as np
    >>> steps = [ColorMode("grayscale"), Resize(4, 4), ScaleToUnit()]
    >>> preprocess(steps, [np.full((9, 7, 3), 255, dtype=np.uint8)]).shape
    (1, 1, 4, 4)
    """
    shape = output_shape(steps)
    if is_single_image(images):
        raise TypeError("images must be an array or a list of images: pass [image] for a single one")
    if isinstance(images, np.ndarray):
        batch = _run(steps, array_batch(images))
    else:
        rows = [_run(steps, decode_image(image)[np.newaxis]) for image in images]
        batch = np.concatenate(rows) if rows else np.empty((0, *shape[1:], shape[0]), dtype=np.float32)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def learn_zscore(steps: Sequence[Step], images: NDArray[Any] | Sequence[ImageSource]) -> ZScore:
    """Measure each channel's mean and standard deviation over all pixels of training images.

    Parameters
    ----------
    steps : list of steps
        The steps that will stand before the z-score.
    images : array or sequence of images
        As in `preprocess`; read in blocks, so that memory stays bounded.

    Raises
    ------
    ValueError
        There is no image, or a channel is constant.
    """
    channels = output_shape(steps)[0]
    if len(images) == 0:
        raise ValueError("a z-score cannot be learned from 0 images")
    count, total, squares = 0, np.zeros(channels), np.zeros(channels)
    for start in range(0, len(images), 1024):
        block = preprocess(steps, images[start : start + 1024]).astype(np.float64)
        count += block.size // channels
        total += block.sum(axis=(0, 2, 3))
        squares += (block**2).sum(axis=(0, 2, 3))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    if std.min() < 1e-6:
        raise ValueError(f"channel {int(std.argmin())} is constant over all {len(images)} images: nothing to scale by")
    return ZScore(tuple(mean.tolist()), tuple(std.tolist()))


def output_shape(steps: Sequence[Step]) -> tuple[int, int, int]:
    """Check a pipeline and return the (channels, height, width) that it produces."""
    for step in steps:
        if type(step) not in ORDER:
            raise TypeError(f"{step!r} is not a preprocessing step")
    ranks = [ORDER.index(type(step)) for step in steps]
    if ranks[:2] != [0, 1] or any(after <= before for before, after in pairwise(ranks)):
        names = [step.kind for step in steps]
        raise ValueError(f"steps must be color_mode, resize[, scale_to_unit][, z_score], in this order, not {names}")
    color_mode, resize, last = steps[0], steps[1], steps[-1]
    if not isinstance(color_mode, ColorMode) or not isinstance(resize, Resize):
        raise TypeError("the first two steps must be ColorMode and Resize")
    if isinstance(last, ZScore) and len(last.mean) != color_mode.channels:
        raise ValueError(f"z-score has {len(last.mean)} channels, but the color mode has {color_mode.channels}")
    return color_mode.channels, resize.height, resize.width


def steps_to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as lists, dictionaries, strings and numbers, ready for `json.dumps`."""
    output_shape(steps)
    return [{"step": step.kind} | asdict(step) for step in steps]


def steps_from_json(described: object) -> list[Step]:
    """Rebuild steps from what `steps_to_json` gave, distrusting every part of it.

    Raises
    ------
    ValueError
        An unknown step or setting, a missing one, or a value out of range.

    Examples
    --------
    >>> steps_from_json([{"step": "color_mode", "mode": "rgb"}, {"step": "resize", "height": 8, "width": 8}])[0]
    ColorMode(mode='rgb')
    """
    if not isinstance(described, list) or len(described) > len(ORDER):
        raise ValueError(f"preprocessing must be a list of at most {len(ORDER)} steps")
    kinds = {step.kind: step for step in ORDER}
    steps: list[Step] = []
    for number, entry in enumerate(described):
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), str) or entry["step"] not in kinds:
            raise ValueError(f"preprocessing step {number} is {json.dumps(entry)[:80]}; known steps: {sorted(kinds)}")
        settings = {key: value for key, value in entry.items() if key != "step"}
        try:
            steps.append(kinds[entry["step"]](**settings))
        except TypeError as error:
            raise ValueError(f"preprocessing step {number} ({entry['step']}) has wrong settings: {error}") from error
    output_shape(steps)
    return steps


def _run(steps: Sequence[Step], batch: NDArray[Any]) -> NDArray[np.float32]:
    for step in steps:
        batch = step(batch)
    return batch.astype(np.float32, copy=False)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
