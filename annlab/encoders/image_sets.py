"""Where images come from: a folder, an array in a file, or a data set, and what is known of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.folders import SUFFIXES, class_of, described, find_images
from annlab.encoders.images import ImageSource, looks_single

FASHION_TEST, FASHION_TRAIN, EMOJI = "fashion-mnist-test", "fashion-mnist-train", "emoji"
NAMED = (FASHION_TEST, FASHION_TRAIN, EMOJI)
CAPTION_BYTES = 1 << 28


@dataclass(frozen=True)
class ImageSet:
    """Images to embed or to train on, and what is known of them.

    Attributes
    ----------
    name : str
        The folder, file or data set.
    images : sequence or array
        Paths, or an array (n, height, width[, channels]).
    items : list of str
        What each image is called: its path relative to the folder, or its row.
    labels : array of shape (n,), or None
        Class numbers, or the names of the top folders that the images lie in ("" for those that lie in none).
    identity : str
        A hash; two sets with the same one hold the same images.
    left_out : list of (str, str)
        What should have been an image and cannot be opened: its path relative to the folder, and the reason.
    notes : list of str
        What else there is to say of the source: `left_out` and the files that are no images, in words.
    captions : list of sequences of str, or None
        For each image its name and other words for it; empty where nothing is said of one.
    versions : array of int64, shape (n,), or None
        One number for all images that are versions of one picture.
    """

    name: str
    images: Sequence[ImageSource] | NDArray[Any]
    items: list[str]
    labels: NDArray[Any] | None
    identity: str
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    captions: Sequence[Sequence[str]] | None = None
    versions: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.items)


def open_images(source: str | os.PathLike[str]) -> ImageSet:
    """Find images.

    Parameters
    ----------
    source : str or path
        "fashion-mnist-test" or "emoji" (packaged), "fashion-mnist-train" (found or downloaded by
        `annlab.datasets.load`), a folder of image files (searched with its sub-folders; those directly under it are the
        classes, see `folders.py`), or a .npy file of images (n, height, width[, channels]), or of a single one.

    Raises
    ------
    ValueError
        The folder holds no image, or the source is none of the above.

    Examples
    --------
    >>> images = open_images("emoji")
    >>> len(images) > 3000, images.captions[0][0]
    (True, 'grinning face')
    """
    if source == FASHION_TEST:
        from annlab.datasets import fashion_mnist

        images, labels, _ = fashion_mnist()
        return _array_set(FASHION_TEST, images, labels, "packaged")
    if source == EMOJI:
        from annlab.datasets import emoji

        pictures = emoji()
        found = _array_set(EMOJI, pictures.images, pictures.labels, "packaged")
        return replace(found, captions=pictures.phrases(), versions=pictures.drawings)
    if source == FASHION_TRAIN:
        from annlab.datasets import load

        dataset = load("fashion-mnist-784-euclidean")
        pixels = dataset.train.astype(np.uint8).reshape(-1, 28, 28)
        return _array_set(FASHION_TRAIN, pixels, dataset.train_labels, hashlib.sha256(pixels.tobytes()).hexdigest())
    path = Path(source)
    if path.is_dir():
        return _folder_set(path)
    if path.is_file() and path.suffix == ".npy":
        status = path.stat()
        images = read_array(path, mapped=True)
        if images.ndim not in (3, 4):
            raise ValueError(f"{path} has shape {images.shape}, not (n, height, width) or (n, height, width, channels)")
        identity = f"{status.st_size} {status.st_mtime_ns}"
        if len(images) and looks_single(images.shape):
            note = f"{path} of shape {images.shape} is taken for one image; a batch is (n, height, width, channels)"
            return replace(_array_set(str(path), images[np.newaxis], None, identity), notes=[note])
        return _array_set(str(path), images, None, identity)
    known = f"a folder, a .npy file, or one of {', '.join(NAMED)}"
    raise ValueError(f"there are no images at {str(source)!r}: name {known}")


def with_captions(images: ImageSet, path: str | os.PathLike[str]) -> ImageSet:
    """The same images with what a file says of them.

    Parameters
    ----------
    images : ImageSet
    path : path
        A text file in UTF-8 with a line for each image: what it is called (its path relative to the folder, or its
        row), its name, and other words for it, all with tabs between them.

    Raises
    ------
    ValueError
        A line names an image that is not there, one for the second time, or says nothing of it.

    Examples
    --------
    >>> images = with_captions(open_images("my-photos/"), "captions.tsv")         # doctest: +SKIP
    >>> images.captions[0]                                                        # doctest: +SKIP
    ('red bicycle', 'bike', 'street')
    """
    if Path(path).stat().st_size > CAPTION_BYTES:
        raise ValueError(f"{path} has more than {CAPTION_BYTES} bytes: these are no captions")
    places = {item: place for place, item in enumerate(images.items)}
    captions: list[Sequence[str]] = [()] * len(images)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    for number, line in enumerate(lines, 1):
        item, *phrases = (part.strip() for part in line.split("\t"))
        if not item and not phrases:
            continue
        if item not in places or captions[places[item]]:
            known = "an image for the second time" if item in places else "no image of these"
            raise ValueError(f"{path}, line {number}: {item[:80]!r} is {known} ({len(images)} from {images.name})")
        captions[places[item]] = tuple(phrase for phrase in phrases if phrase)
        if not captions[places[item]]:
            raise ValueError(f"{path}, line {number}: nothing is said of {item[:80]!r}; its name belongs behind a tab")
    return replace(images, captions=captions)


def read_array(path: str | os.PathLike[str], mapped: bool = False) -> NDArray[Any]:
    """The array in a .npy file; a ValueError says what else the file is. No pickle is loaded."""
    with open(path, "rb") as file:
        begins = file.read(6)
    if begins not in (b"\x93NUMPY", b"") and begins[:2] != b"PK":
        raise ValueError(f"{path} holds no array that can be read: it begins with {begins!r}, which no .npy file does")
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} holds no array that can be read: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is an archive of several arrays, not a .npy file of one")
    return array


def _folder_set(folder: Path) -> ImageSet:
    found = find_images(folder)
    listing, paths, left_out = [], [], list(found.left_out)
    for path in found.images:
        item = path.relative_to(folder).as_posix()
        try:
            status = path.stat()
        except OSError as error:  # deleted since
            left_out.append((item, f"cannot be opened: {error.strerror}"))
            continue
        listing.append(f"{item} {status.st_size} {status.st_mtime_ns}")
        paths.append(path)
    notes = described(found)
    if not paths:
        looked = f"there is no image in {folder} or its sub-folders: looked for {', '.join(SUFFIXES)}"
        raise ValueError("; ".join([looked, *notes]))
    items = [path.relative_to(folder).as_posix() for path in paths]
    classes = [class_of(item) for item in items]
    labels = np.array(classes) if any(classes) else None
    digest = hashlib.sha256("\n".join(listing).encode(errors="surrogateescape")).hexdigest()
    return ImageSet(str(folder), paths, items, labels, digest, left_out, notes)


def _array_set(name: str, images: NDArray[Any], labels: NDArray[Any] | None, identity: str) -> ImageSet:
    return ImageSet(name, images, [str(row) for row in range(len(images))], labels, f"{name} {identity}")
