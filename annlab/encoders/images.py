"""From files, bytes and arrays to plain 8-bit pixels: the one door by which images enter.

Whatever comes in (a path, the bytes of an upload, a Pillow image, an array), `decode_image` gives an array of shape
(height, width, channels), uint8, with 1 channel (grayscale) or 3 (red, green, blue), and nothing else:

- the EXIF rotation is applied, so a phone's portrait stands upright;
- transparency is composited on white. Dropping the alpha channel instead would show the colours hidden under it;
- 16-bit samples are scaled by 255 / 65535, in either byte order. A plain conversion clips them, and turns most such
  images white;
- 1-bit, palette and CMYK images become 8-bit grayscale or RGB;
- of an animation or of several pages the first is taken, and a warning says so.

Uploads are hostile until shown otherwise. A picture's header is checked before its pixels are decoded: formats other
than `FORMATS` are refused, and so are more than `MAX_PIXELS`, since 49 kB of PNG can hold 400 million. Only JPEG may
claim more, up to `MAX_PHOTOGRAPH`: its decoder skips the fine detail, and reads a photograph of 108 or 200 megapixels
at a half or a quarter of its size, in the memory of a small one. A file that is empty, truncated or corrupt raises a
`ValueError` that names the file and the reason.

Cost: that of Pillow's decoder. Needs Pillow; no torch.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | NDArray[Any] | Image.Image"
)

# HEIF only where the package pillow-heif is installed: Pillow has no decoder of its own.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "HEIF")
MAX_PIXELS = 2**26  # 67 million: a phone's 50 megapixels (8192 x 6144), and 200 MB of memory in colour
MAX_PHOTOGRAPH = 2**28  # JPEG, decoded at a smaller scale
_BLOCK = 2**20  # samples or pixels computed with at once
_EXIF = 0x8769  # the tag of the directory of what the camera wrote


class FormatError(ValueError):
    """The bytes are no image, or of a format that is not read here."""


class TooLargeError(ValueError):
    """An image claims more pixels than are accepted."""


def decode_image(source: ImageSource, name: str | None = None, least_side: int | None = None) -> NDArray[np.uint8]:
    """Decode one image.

    Parameters
    ----------
    source : path, bytes, binary file, PIL.Image.Image or numpy.ndarray
        Bytes may be any bytes-like object; a file (`io.BytesIO`, `open(..., "rb")`) is read from its start. An array
        is (height, width) or (height, width, channels) with 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA) channels,
        of uint8, uint16 or bool.
    name : str, optional
        What error messages call the image; by default its path or "image".
    least_side : int, optional
        As many pixels a side are enough: a larger JPEG may be decoded at a half, a quarter or an eighth of its size, as
        long as neither side falls below this. For thumbnails, at a tenth of the time.

    Returns
    -------
    numpy.ndarray
        Shape (height, width, 1 or 3), uint8.

    Raises
    ------
    ValueError
        The image is empty, truncated, corrupt, too large (`TooLargeError`), of another format (`FormatError`) or of
        another shape or dtype.
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
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            raise ValueError(f"{name or path} is a folder, not an image")
        with path.open("rb") as stream:
            return _decode_stream(stream, name or str(path), least_side)
    return _decode_stream(_as_stream(source), name or "image", least_side)


def is_single_image(images: object) -> bool:
    """Whether this is one image that is no array: people forget to put it into a list."""
    return (
        isinstance(images, str | bytes | bytearray | memoryview | os.PathLike)
        or hasattr(images, "read")
        or hasattr(images, "getexif")
    )


def exif_of(data: bytes) -> dict[int, Any]:
    """What the camera wrote into a file's Exif directory, by the numbers of the tags: when it was taken, say. Empty
    where there is none or it is damaged; no pixel is decoded."""
    try:
        with _open(io.BytesIO(data), format_of(data[:32])) as image:
            # Asked for tags that stand behind its pixels, a PNG would decode these.
            tags = image.getexif() if image.format == "TIFF" else _pillow().Exif()
            if image.format != "TIFF":
                tags.load(image.info.get("exif", b""))
            return dict(tags.get_ifd(_EXIF))
    except Exception:  # parsers raise whatever they trip over
        return {}


def _as_stream(source: Any) -> IO[bytes]:
    """A seekable binary file of bytes, of any object that lends its bytes, or of a binary file."""
    if hasattr(source, "read") and not isinstance(source, memoryview):
        if isinstance(source, io.TextIOBase):
            raise TypeError(f'an image is read from a binary file, not from {type(source).__name__}: open it with "rb"')
        seekable = getattr(source, "seekable", None)
        stream: IO[bytes] = source if seekable is not None and seekable() else io.BytesIO(source.read())
        stream.seek(0)
        return stream
    try:
        return io.BytesIO(memoryview(source).tobytes())
    except TypeError:
        raise TypeError(
            f"an image is a path, bytes, a binary file, an array or a Pillow image, not {type(source).__name__}"
        ) from None


def eight_bit(samples: NDArray[Any], name: str = "images") -> NDArray[np.uint8]:
    """Scale uint16 and bool samples to the full range of uint8; leave uint8 as it is; refuse all else."""
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:  # in either byte order
        flat, scaled = samples.reshape(-1), np.empty(samples.size, dtype=np.uint8)
        for start in range(0, len(flat), _BLOCK):  # the wide sums of a large picture would take gigabytes
            block = slice(start, start + _BLOCK)
            scaled[block] = (flat[block].astype(np.uint32) + 128) // 257
        return scaled.reshape(samples.shape)
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
    if looks_single(images.shape):
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


def looks_single(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is one image, (height, width[, 1, 3 or 4 channels]), rather than a batch."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


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
        raise TooLargeError(_too_large(name, image.shape[1], image.shape[0]))
    return image


def _without_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite (..., 2) and (..., 4) pixels, whose last channel is alpha, on white."""
    if pixels.shape[-1] in (1, 3):
        return pixels
    flat = pixels.reshape(-1, pixels.shape[-1])
    blended = np.empty((len(flat), flat.shape[1] - 1), dtype=np.uint8)
    for start in range(0, len(flat), _BLOCK):
        block = slice(start, start + _BLOCK)
        color, alpha = flat[block, :-1].astype(np.uint32), flat[block, -1:].astype(np.uint32)
        blended[block] = (color * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.reshape(*pixels.shape[:-1], -1)


def _decode_stream(stream: IO[bytes], name: str, least_side: int | None = None) -> NDArray[np.uint8]:
    image_module = _pillow()
    head = stream.read(32)
    stream.seek(0)
    if not head:
        raise ValueError(f"{name} is empty (0 bytes)")
    kind = format_of(head)
    try:
        image = _open(stream, kind)  # reads the header; the pixels wait for load()
        # An MPO is a photograph with its preview; asking a GIF makes it read on to its second frame.
        animated = image.format != "MPO" and getattr(image, "is_animated", False)
    except (image_module.UnidentifiedImageError, SyntaxError) as error:
        if kind == "HEIF":
            raise FormatError(f"{name} is HEIC: pip install pillow-heif to read it, or convert it to JPEG") from error
        raise FormatError(f"{name} is not a readable image of the formats {', '.join(_formats())}") from error
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning) as error:
        raise TooLargeError(f"{name} is refused: {error} (the limit here is {MAX_PIXELS} pixels)") from error
    except Exception as error:  # parsers raise whatever they trip over: OSError, struct.error, KeyError, ...
        raise ValueError(f"{name} is truncated or corrupt: {error}") from error
    with image:
        if animated:
            what = "has several pages" if image.format == "TIFF" else "is animated"
            warnings.warn(f"{name} {what}: only its first frame is used", stacklevel=3)
        _draft(image, least_side)
        return _pixels(image, name)


def _open(stream: IO[bytes], kind: str | None) -> Image.Image:
    """Read the header. JPEG goes past the guard of `Image.open` against large images: `_draft` makes them small."""
    if kind == "JPEG":
        from PIL import JpegImagePlugin

        photograph: Image.Image = JpegImagePlugin.jpeg_factory(stream)
        return photograph
    if kind == "HEIF":
        _register_heif()
    opened: Image.Image = _pillow().open(stream, formats=_formats())
    return opened


def _draft(image: Image.Image, least_side: int | None) -> None:
    """Let the decoder halve a large JPEG until it fits, or is as small as somebody wants it. Not a progressive one that
    is too large: all of it is in memory at once."""
    width, height = image.size
    if image.format not in ("JPEG", "MPO") or width * height > MAX_PHOTOGRAPH:
        return
    if "progressive" in image.info and width * height > MAX_PIXELS:
        return
    scale = next((s for s in (1, 2, 4, 8) if -(-width // s) * -(-height // s) <= MAX_PIXELS), 1)
    if least_side is not None:
        scale = max([scale, *(s for s in (2, 4, 8) if min(width, height) // s >= least_side)])
    if scale > 1:
        image.draft(None, (width // scale, height // scale))


def format_of(head: bytes) -> str | None:
    """The name that Pillow has for the format of a file with these first 32 bytes, if it is one of `FORMATS`."""
    if head[4:8] == b"ftyp":
        brands = head[8:]
        return "AVIF" if b"avif" in brands or b"avis" in brands else "HEIF" if _is_heif(brands) else None
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    starts = {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF87a": "GIF",
        b"GIF89a": "GIF",
        b"BM": "BMP",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"\xff\x4f\xff\x51": "JPEG2000",
        b"\0\0\0\x0cjP  ": "JPEG2000",
    }
    return next((kind for start, kind in starts.items() if head.startswith(start)), None)


def _is_heif(brands: bytes) -> bool:
    return any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"))


def _register_heif() -> None:
    """Teach Pillow HEIC where the package for it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()
    _formats.cache_clear()


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow has a reader for."""
    image_module = _pillow()
    image_module.init()
    return tuple(name for name in FORMATS if name in image_module.OPEN)


def _pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """The upright pixels of a Pillow image, (height, width, 1 or 3)."""
    from PIL import ImageOps

    if image.width * image.height > MAX_PIXELS:
        raise TooLargeError(_too_large(name, image.width, image.height))
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
        wide = np.asarray(image)  # uint16, or int32 in mode "I"
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError(f"samples from {wide.min()} to {wide.max()} do not fit 16 bits")
        gray = eight_bit(wide.astype(np.uint16, copy=False))[..., np.newaxis]
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
