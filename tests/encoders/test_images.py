"""Images in, pixels out: every mode and format, and every kind of bad file."""

from __future__ import annotations

import array
import io
import mmap
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from annlab.encoders.preprocess import (
    ColorMode,
    Resize,
    ScaleToUnit,
    ZScore,
    preprocess,
)

Image = pytest.importorskip("PIL.Image")

from annlab.encoders import images  # noqa: E402
from annlab.encoders.images import decode_image  # noqa: E402
from tests.encoders.made_pictures import encoded, photo  # noqa: E402

GRAY = [ColorMode("grayscale"), Resize(28, 28), ScaleToUnit()]
RGB = [ColorMode("rgb"), Resize(16, 24, "crop"), ScaleToUnit(), ZScore((0.5, 0.4, 0.3), (0.2, 0.2, 0.3))]


@pytest.mark.parametrize(
    ("format", "tolerance"),
    [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("PPM", 0), ("JPEG", 6), ("WEBP", 8), ("GIF", 40), ("AVIF", 8)],
    ids=lambda value: str(value),
)
def test_each_format_gives_the_pixels_that_went_in(format: str, tolerance: int) -> None:
    if format not in images._formats():
        pytest.skip(f"this Pillow reads no {format}")
    pixels = photo()
    decoded = decode_image(encoded(Image.fromarray(pixels), format))
    assert decoded.shape == (40, 60, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pixels).mean() <= tolerance


def test_path_bytes_array_and_pillow_image_give_the_same(tmp_path: Path) -> None:
    pixels = photo()
    data = encoded(Image.fromarray(pixels), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), data, pixels, Image.fromarray(pixels)):
        np.testing.assert_array_equal(decode_image(source), pixels)


def test_every_bytes_like_object_and_binary_file_is_read(tmp_path: Path) -> None:
    pixels = photo()
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")  # stands at its end
    data = written.getvalue()
    (tmp_path / "a").write_bytes(data)

    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            return io.BytesIO.readinto(source_of_pipe, buffer)

    source_of_pipe = io.BytesIO(data)
    with (tmp_path / "a").open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            sources = [bytearray(data), memoryview(data), memoryview(data + b"x")[:-1], written, file, mapped, Pipe()]
            for source in [*sources, array.array("B", data)]:
                np.testing.assert_array_equal(decode_image(source), pixels)
    for nothing in (bytearray(), memoryview(b""), io.BytesIO()):
        with pytest.raises(ValueError, match="upload is empty"):
            decode_image(nothing, "upload")
    with pytest.raises(TypeError, match='open it with "rb"'):
        decode_image(io.StringIO("text"))


def test_exif_rotation_is_applied() -> None:
    pixels = photo(30, 50)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show it upright
    decoded = decode_image(encoded(Image.fromarray(pixels), "PNG", exif=exif.tobytes()))
    np.testing.assert_array_equal(decoded, np.rot90(pixels, k=-1))


def test_alpha_is_composited_on_white() -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 0] = 200  # red, and hidden where the alpha is 0
    pixels[0, :, 3] = (0, 128, 255)
    expected = [[255, 255, 255], [227, 127, 127], [200, 0, 0]]
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(pixels), "PNG"))[0], expected)
    np.testing.assert_array_equal(decode_image(pixels)[0], expected)
    gray_alpha = Image.fromarray(np.array([[[10, 0], [10, 255]]], dtype=np.uint8), "LA")
    assert decode_image(encoded(gray_alpha, "PNG")).tolist() == [[[255], [10]]]  # and it stays gray: one channel


def test_transparent_palette_and_transparent_gray() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(decode_image(encoded(palette, "PNG"))[0], [[10, 20, 30], [200, 100, 50]])
    np.testing.assert_array_equal(
        decode_image(encoded(palette, "PNG", transparency=0))[0], [[255, 255, 255], [200, 100, 50]]
    )
    gray = Image.fromarray(np.array([[7, 9]], dtype=np.uint8))
    decoded = decode_image(encoded(gray, "PNG", transparency=7))
    assert decoded[0, :, 0].tolist() == [255, 9]
    wide = Image.fromarray(np.array([[257, 25700]], dtype=np.uint16))
    decoded = decode_image(encoded(wide, "PNG", transparency=257))
    assert decoded[0, :, 0].tolist() == [255, 100]


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    wide = np.array([[0, 257, 32896, 65280, 65535]], dtype=np.uint16)
    expected = [0, 1, 128, 254, 255]
    assert decode_image(encoded(Image.fromarray(wide), "PNG"))[0, :, 0].tolist() == expected
    assert decode_image(wide)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_are_read_in_either_byte_order(order: str) -> None:
    wide = np.array([[0, 257, 32896, 65280, 65535]], dtype=f"{order}u2")
    expected = [0, 1, 128, 254, 255]
    assert decode_image(wide)[0, :, 0].tolist() == expected
    assert preprocess([ColorMode("grayscale"), Resize(1, 5)], wide[np.newaxis])[0, 0, 0].tolist() == expected
    mode = "I;16" if order == "<" else "I;16B"
    gray = Image.frombytes(mode, (5, 1), wide.tobytes())
    assert decode_image(gray)[0, :, 0].tolist() == expected
    assert decode_image(encoded(gray, "TIFF"))[0, :, 0].tolist() == expected
    netpbm = b"P5 5 1 65535\n" + wide.astype(">u2").tobytes()
    assert decode_image(netpbm)[0, :, 0].tolist() == expected


def test_large_pictures_are_computed_with_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 65536, (3, 5, 4, 1), dtype=np.uint16)
    pictures = [wide, wide[:, ::2], rng.integers(0, 256, (3, 5, 4, 2), dtype=np.uint8)]
    pictures += [rng.integers(0, 256, (5, 4, 4), dtype=np.uint8)]
    convert = [images.array_batch, images.array_batch, images.array_batch, decode_image]
    whole = [function(picture) for function, picture in zip(convert, pictures, strict=True)]
    monkeypatch.setattr(images, "_BLOCK", 7)
    for function, picture, expected in zip(convert, pictures, whole, strict=True):
        np.testing.assert_array_equal(function(picture), expected)
    np.testing.assert_array_equal(whole[0], np.rint(wide / 257))


def test_one_bit_and_cmyk() -> None:
    bits = np.array([[True, False, True]])
    assert decode_image(encoded(Image.fromarray(bits), "PNG"))[0, :, 0].tolist() == [255, 0, 255]
    assert decode_image(bits)[0, :, 0].tolist() == [255, 0, 255]
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    decoded = decode_image(encoded(red, "JPEG", quality=95))
    assert decoded.shape == (16, 16, 3)
    assert np.abs(decoded.astype(int) - (255, 0, 0)).max() <= 4


def test_heic_is_read_where_the_package_for_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"

    class PillowHeif:
        @staticmethod
        def register_heif_opener() -> None:
            red = Image.new("RGB", (3, 2), "red")
            Image.register_open("HEIF", lambda stream, name: red.copy(), lambda head: head[4:8] == b"ftyp")

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    images._formats.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    with pytest.raises(ValueError, match="photo is HEIC: pip install pillow-heif to read it, or convert it to JPEG"):
        decode_image(heic, "photo")
    monkeypatch.setitem(sys.modules, "pillow_heif", PillowHeif)
    assert decode_image(heic)[0, 0].tolist() == [255, 0, 0] and decode_image(heic).shape == (2, 3, 3)
    images._formats.cache_clear()


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken_and_said(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options)
    with pytest.warns(UserWarning, match="cat is animated: only its first frame"):
        decoded = decode_image(data, name="cat")
    assert decoded[0, 0].tolist() == [255, 0, 0]


# ---------------------------------------------------------------- bad files


def bad_files() -> dict[str, tuple[bytes, str]]:
    png = encoded(Image.fromarray(photo()), "PNG")
    jpeg = encoded(Image.fromarray(photo()), "JPEG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    return {
        "empty": (b"", "is empty"),
        "text": (b"I am not an image at all", "not a readable image"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable image"),
        "icon": (encoded(Image.fromarray(photo()), "ICO"), "not a readable image"),
        "truncated tiff": (encoded(Image.fromarray(photo()), "TIFF")[:3000], "truncated or corrupt|not a readable"),
        "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(90), "HEIC|truncated or corrupt"),
        "truncated png": (png[: len(png) // 2], "truncated or corrupt"),
        "truncated jpeg": (jpeg[: len(jpeg) // 2], "truncated or corrupt"),
        "header only": (png[:20], "not a readable image|truncated or corrupt"),
        "flipped bits": (bytes(flipped), "truncated or corrupt"),
    }


@pytest.mark.parametrize("kind", list(bad_files()))
def test_a_bad_file_raises_with_its_name_and_the_reason(kind: str, tmp_path: Path) -> None:
    data, reason = bad_files()[kind]
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"holiday.png.*({reason})"):
        decode_image(path)
    with pytest.raises(ValueError, match=f"upload.*({reason})"):
        decode_image(data, name="upload")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mutated_files_give_pixels_or_a_value_error(full: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture, wide = Image.fromarray(photo()), Image.fromarray(photo()[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [Image.new("RGB", (60, 40), "red")]}
    seeds = [encoded(picture, format, exif=exif.tobytes()) for format in ("PNG", "JPEG", "WEBP")]
    seeds += [encoded(picture, format) for format in ("BMP", "GIF", "TIFF", "PPM")] + [encoded(wide, "PNG")]
    seeds += [encoded(picture, format, **frames) for format in ("GIF", "PNG", "WEBP")]
    seeds += [encoded(picture.convert("CMYK"), "JPEG"), encoded(picture.convert("P"), "PNG", transparency=3)]
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(20_000 if full else 1500):
        data = bytearray(seeds[number % len(seeds)])
        if rng.random() < 0.3:
            data = data[: rng.integers(1, len(data))]
        for _ in range(rng.integers(0, 4)):
            data[rng.integers(min(len(data), rng.choice([40, 10**6])))] = rng.integers(256)
        try:
            decoded = decode_image(bytes(data), name="mutated")
        except ValueError as error:
            assert "mutated" in str(error)
            refused += 1
        else:
            assert decoded.dtype == np.uint8 and decoded.ndim == 3 and decoded.shape[2] in (1, 3)
    assert refused > 100


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["GIF", "PNG"])
def test_an_animation_damaged_anywhere_gives_pixels_or_a_value_error(format: str) -> None:
    """Cut after each byte, or with each byte changed: asking for the second frame must fail as the first does."""
    frames = [Image.new("P" if format == "GIF" else "RGB", (9, 8), color) for color in (3, 9, 200)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    damaged = [data[:length] for length in range(1, len(data))]
    damaged += [data[:at] + bytes([value]) + data[at + 1 :] for at in range(len(data)) for value in (1, 5, 44)]
    refused = 0
    for mutated in damaged:
        try:
            decode_image(mutated, name="damaged")
        except ValueError as error:
            assert "damaged" in str(error)
            refused += 1
    assert refused > 20


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8_200, 11_000, 60_000])  # above our limit, where Pillow warns, where Pillow raises
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(ValueError, match=r"bomb.*67108864"):
        decode_image(png_claiming(side, side), name="bomb")


def jpeg_claiming(width: int, height: int, **options: object) -> bytes:
    """A small JPEG whose header says that it is large: what is missing at its end is gray."""
    data = bytearray(encoded(Image.fromarray(photo(16, 16)[..., 0]), "JPEG", **options))
    at = data.index(b"\xff\xc2" if "progressive" in options else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("side", [20_000, 65_000])
def test_a_jpeg_of_too_many_pixels_is_refused_before_it_is_decoded(side: int, options: dict) -> None:
    with pytest.raises(ValueError, match=r"bomb.*67108864"):
        decode_image(jpeg_claiming(side, side, **options), name="bomb")


def test_a_large_photograph_is_decoded_at_a_smaller_scale_and_a_large_drawing_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 8192 * 6144 <= images.MAX_PIXELS < images.MAX_PHOTOGRAPH and 16384 * 12288 <= images.MAX_PHOTOGRAPH
    monkeypatch.setattr(images, "MAX_PIXELS", 400)
    monkeypatch.setattr(images, "MAX_PHOTOGRAPH", 2400)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow would refuse twice as many
    picture = Image.fromarray(photo())
    decoded = decode_image(encoded(picture, "JPEG", quality=95))
    assert decoded.shape == (10, 15, 3)  # of 40 x 60: a half would still be too large
    small = np.asarray(picture.resize((15, 10), Image.Resampling.BOX))
    assert np.abs(decoded.astype(int) - small).mean() < 4
    turned = Image.Exif()
    turned[0x0112] = 6
    assert decode_image(encoded(picture, "JPEG", exif=turned.tobytes())).shape == (15, 10, 3)
    with pytest.raises(ValueError, match="40 = 2400 pixels; at most 400"):
        decode_image(encoded(picture, "JPEG", progressive=True))
    for format in ("PNG", "WEBP", "TIFF"):
        with pytest.raises(ValueError, match=r"at most 400|the limit here is 400"):
            decode_image(encoded(picture, format))
    monkeypatch.setattr(images, "MAX_PHOTOGRAPH", 2399)
    with pytest.raises(ValueError, match="60 x 40 = 2400 pixels; at most 400"):
        decode_image(encoded(picture, "JPEG"))


def test_a_photograph_of_50_megapixels_is_read_whole() -> None:
    gradient = np.repeat(np.linspace(0, 255, 8192).astype(np.uint8)[np.newaxis], 6144, axis=0)
    decoded = decode_image(encoded(Image.fromarray(gradient), "JPEG"))
    assert (
        decoded.shape == (6144, 8192, 1)
        and np.abs(decoded[::999, ::99, 0].astype(int) - gradient[::999, ::99]).max() < 5
    )


def test_the_limit_holds_for_arrays_and_pillow_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    for source in (np.zeros((10, 10), np.uint8), Image.new("L", (10, 10))):
        with pytest.raises(ValueError, match="10 x 10 = 100 pixels; at most 99"):
            decode_image(source)


def test_missing_files_folders_and_other_objects(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="is a folder"):
        decode_image(tmp_path)
    with pytest.raises(TypeError, match="not int"):
        decode_image(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4), np.float32), "dtype float32.*255"),
        (np.zeros((4, 4), np.int64), "dtype int64"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.zeros((4, 4, 5), np.uint8), "1 to 4 channels"),
        (np.zeros(4, np.uint8), "must have shape"),
    ],
)
def test_arrays_that_are_no_image_are_refused(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_image(array)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (28, 28, 3), (28, 28, 4), (5,), (2, 8, 8, 5), (2, 0, 8)])
def test_an_array_that_is_no_batch_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"pass \[image\]|must have|no pixels"):
        preprocess(GRAY, np.zeros(shape, np.uint8))
