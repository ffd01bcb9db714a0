"""From files, bytes and arrays to plain 8-bit pixels: the one door by which images enter.

Whatever comes in (a path, the bytes of an upload, a Pillow image, an array), `decode_image` gives an array of shape
(height, width, channels), uint8, with 1 channel (grayscale) or 3 (red, green, blue), and nothing else:

- the EXIF rotation is applied, so a phone's portrait stands upright;
- transparency is composited on white. Dropping the alpha channel instead would show the colours hidden under it;
- 16-bit samples are scaled by 255 / 65535. A plain conversion clips them, and turns most such images white;
- 1-bit, palette and CMYK images become 8-bit grayscale or RGB;
- of an animation the first frame is taken, and a warning says so.

Uploads are hostile until shown otherwise. A picture's header is checked before its pixels are decoded: more than
`MAX_PIXELS` are refused (49 kB of PNG can hold 400 million), as are formats other than `FORMATS`. A file that is empty,
truncated or corrupt raises a `ValueError` that names the file and the reason.

Cost: that of Pillow's decoder. Needs Pillow; no torch.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[Any] | Image.Image"

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MAX_PIXELS = 50_000_000


def decode_image(source: ImageSource, name: str | None = None) -> NDArray[np.uint8]:
    """Decode one image.

    Parameters
    ----------
    source : path, bytes, PIL.Image.Image or numpy.ndarray
        An array is (height, width) or (height, width, channels) with 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA)
        channels, of uint8, uint16 or bool.
    name : str, optional
        What error messages call the image; by default its path or "image".

    Returns
    -------
    numpy.ndarray
        Shape (height, width, 1 or 3), uint8.

    Raises
    ------
    ValueError
        The image is empty, truncated, corrupt, too large, of another format or of another shape or dtype.
    FileNotFoundError
        There is no such file.

    Examples
    --------
    >>> import numpy as np
    >>> decode_image(np.array([[0, 65535]], dtype=np.uint16))[..., 0]
    array([[  0, 255]], dtype=uint8)
    """
    if isinstance(source, np.ndarray):
        return _without_alpha(eight_bit(_with_channels(source, name or "image"), name or "image"))
    image_module = _pillow()
    if isinstance(source, image_module.Image):
        return _pixels(source, name or "image")
    if isinstance(source, bytes):
        name = name or "image"
        if not source:
            raise ValueError(f"{name} is empty (0 bytes)")
        return _decode_stream(io.BytesIO(source), name)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        name = name or str(path)
        if path.is_dir():
            raise ValueError(f"{name} is a folder, not an image")
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise ValueError(f"{name} is empty (0 bytes)")
            return _decode_stream(stream, name)

    raise TypeError(f"an image is a path, bytes, an array or a Pillow image, not {type(source).__name__}")


def eight_bit(samples: NDArray[Any], name: str = "images") -> NDArray[np.uint8]:
    """Scale uint16 and bool samples to the full range of uint8; leave uint8 as it is; refuse all else."""
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == np.uint16:
        return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    raise ValueError(
        f"{name} has dtype {samples.dtype}, but pixels must be uint8 (0..255), uint16 (0..65535) or bool; "
        "for floats in 0..1 pass (255 * x).round().astype(numpy.uint8)"
    )


def array_batch(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Check an array of equally large images, (n, height, width) or (n, height, width, channels).

    Returns
    -------
    numpy.ndarray
        Shape (n, height, width, 1 or 3), uint8.

    Raises
    ------
    ValueError
        The shape is that of a single image, or no shape of images at all.
    """
    if images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (3, 4)):
        raise ValueError(f"an array of shape {images.shape} looks like one image, not a batch: pass [image]")
    if images.ndim not in (3, 4):
        raise ValueError(
            f"images must have shape (n, height, width) or (n, height, width, channels), not {images.shape}"
        )
    batch = images[..., np.newaxis] if images.ndim == 3 else images
    if not 1 <= batch.shape[3] <= 4:
        raise ValueError(f"images must have 1 to 4 channels in the last axis, but shape {images.shape} has more")
    if batch.shape[1] == 0 or batch.shape[2] == 0:
        raise ValueError(f"images of shape {images.shape} have no pixels")
    return _without_alpha(eight_bit(batch))


def _with_channels(image: NDArray[Any], name: str) -> NDArray[Any]:
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise ValueError(
            f"{name} must have shape (height, width) or (height, width, channels) with 1 to 4 channels, "
            f"not {image.shape}"
        )
    if image.size == 0:
        raise ValueError(f"{name} of shape {image.shape} has no pixels")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ValueError(_too_large(name, image.shape[1], image.shape[0]))
    return image


def _without_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite (..., 2) and (..., 4) pixels, whose last channel is alpha, on white."""
    if pixels.shape[-1] in (1, 3):
        return pixels
    color = pixels[..., :-1].astype(np.uint32)
    alpha = pixels[..., -1:].astype(np.uint32)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _decode_stream(stream: Any, name: str) -> NDArray[np.uint8]:
    image_module = _pillow()
    try:
        image = image_module.open(stream, formats=FORMATS)  # reads the header; the pixels wait for load()
        # An MPO is a photograph with its preview; asking a GIF makes it read on to its second frame.
        animated = image.format != "MPO" and getattr(image, "is_animated", False)
    except image_module.UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a readable image of the formats {', '.join(FORMATS)}") from error
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning) as error:
        raise ValueError(f"{name} is refused: {error} (the limit here is {MAX_PIXELS} pixels)") from error
    except Exception as error:  # parsers raise whatever they trip over: OSError, struct.error, SyntaxError, ...
        raise ValueError(f"{name} is truncated or corrupt: {error}") from error
    with image:
        if animated:
            warnings.warn(f"{name} is animated: only its first frame is used", stacklevel=3)
        return _pixels(image, name)


def _pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """The upright pixels of a Pillow image, (height, width, 1 or 3)."""
    from PIL import ImageOps

    if image.width * image.height > MAX_PIXELS:
        raise ValueError(_too_large(name, image.width, image.height))
    if image.width == 0 or image.height == 0:
        raise ValueError(f"{name} is {image.width} x {image.height}: it has no pixels")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        return _without_alpha(_samples(image))
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # the decoders raise whatever their parser trips over: OSError, struct.error, SyntaxError
        raise ValueError(f"{name} is truncated or corrupt: {error}") from error


def _samples(image: Image.Image) -> NDArray[np.uint8]:
    """The 8-bit samples of a decoded image, its alpha channel last where it has transparency."""
    if image.mode == "F":
        raise ValueError("floating-point samples have no stated range")
    if image.mode.startswith("I"):  # 16-bit grayscale, which Pillow keeps in 16 or 32 bits
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError(f"samples from {wide.min()} to {wide.max()} do not fit 16 bits")
        gray = eight_bit(wide.astype(np.uint16))[..., np.newaxis]
        transparent = image.info.get("transparency")
        if transparent is None:
            return gray
        alpha = np.where(wide == transparent, 0, 255).astype(np.uint8)
        return np.concatenate([gray, alpha[..., np.newaxis]], axis=2)
    if image.has_transparency_data:
        mode = "LA" if image.mode in ("LA", "La") else "RGBA"
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    samples = np.array(image if image.mode == mode else image.convert(mode), dtype=np.uint8)
    return samples[..., np.newaxis] if samples.ndim == 2 else samples


def _too_large(name: str, width: int, height: int) -> str:
    return f"{name} is {width} x {height} = {width * height} pixels; at most {MAX_PIXELS} are accepted: make it smaller"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('reading images needs Pillow: pip install "annlab[onnx]"') from error
    return Image
