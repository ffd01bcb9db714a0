"""Embedding a folder or a data set: block by block, resumable, and not stopped by a bad image.

`embed_images(images, encoder, "embeddings.npy")` leaves beside each other

    embeddings.npy            (n, dim) float32, one row per readable image
    embeddings.json           which image each row is, labels where known, and which encoder made them
    embeddings.skipped.txt    the images that could not be read, each with the reason; only where there are any

While it runs, `embeddings.npy.partial/` holds the rows so far and how far that is. The rows are synced to the disk
before the count that includes them is, and blocks are always the same: so a run that was killed goes on where it
stopped, and ends with the same bytes as one that was not. It goes on only for the same images (names, sizes and
modification times) and the same encoder; anything else is refused.

An image outside the encoder's domain stops the job: it says that the encoder is the wrong one.

Memory: one block of preprocessed images. Cost: decoding and the encoder; the bookkeeping is one fsync per block.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.encoder import DomainError, Encoder
from annlab.encoders.images import SUFFIXES, ImageSource

BLOCK = 64
FASHION_TEST, FASHION_TRAIN = "fashion-mnist-test", "fashion-mnist-train"


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
        Class numbers, or the names of the sub-folders that the images lie in.
    identity : str
        A hash; two sets with the same one hold the same images.
    """

    name: str
    images: Sequence[ImageSource] | NDArray[Any]
    items: list[str]
    labels: NDArray[Any] | None
    identity: str

    def __len__(self) -> int:
        return len(self.items)


def open_images(source: str | os.PathLike[str]) -> ImageSet:
    """Find images.

    Parameters
    ----------
    source : str or path
        "fashion-mnist-test" (packaged), "fashion-mnist-train" (found or downloaded by `annlab.datasets.load`), a folder
        of image files (searched with its sub-folders, whose names become the labels), or a .npy file of uint8 images.

    Raises
    ------
    ValueError
        The folder holds no image, or the source is none of the above.
    """
    if source == FASHION_TEST:
        from annlab.datasets import fashion_mnist

        images, labels, _ = fashion_mnist()
        return _array_set(FASHION_TEST, images, labels, "packaged")
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
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if images.ndim not in (3, 4):
            raise ValueError(f"{path} has shape {images.shape}, not (n, height, width) or (n, height, width, channels)")
        return _array_set(str(path), images, None, f"{status.st_size} {status.st_mtime_ns}")
    known = f"a folder, a .npy file, or one of {FASHION_TEST}, {FASHION_TRAIN}"
    raise ValueError(f"there are no images at {str(source)!r}: name {known}")


def embed_images(
    images: ImageSet,
    encoder: Encoder,
    out: str | os.PathLike[str],
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
) -> int:
    """Embed images into a file; go on where an earlier, killed run stopped.

    Parameters
    ----------
    images : ImageSet
    encoder : Encoder
    out : path
        Ends in .npy; the other files are named after it.
    overwrite : bool
        Replace a finished file, and give up an unfinished one of another job.
    progress : callable, optional
        Called after each block with the numbers of images done, images in all, and images skipped.

    Returns
    -------
    int
        How many images were skipped.

    Raises
    ------
    FileExistsError
        The file exists, or an unfinished one of another job does.
    DomainError
        An image is outside the encoder's domain; names it.
    ValueError
        No image at all could be read.
    """
    target = Path(out)
    if target.suffix != ".npy":
        raise ValueError(f"the file of embeddings must end in .npy, not {str(target)!r}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already: name another file, or overwrite it with --overwrite")
    if len(images) == 0:
        raise ValueError(f"there are no images in {images.name}")
    work = _Work(Path(f"{target}.partial"), _job_key(images, encoder), encoder.dim, overwrite)
    if progress is not None and work.done:
        progress(work.done, len(images), len(work.skipped))
    while work.done < len(images):
        stop = min(work.done + BLOCK, len(images))
        work.append(*_embed_block(images, encoder, work.done, stop))
        if progress is not None:
            progress(stop, len(images), len(work.skipped))
    if len(work.skipped) == len(images):
        reason = work.skipped[0][1]
        raise ValueError(f"none of the {len(images)} images in {images.name} could be read; the first: {reason}")
    _finish(work, images, encoder, target)
    return len(work.skipped)


def _embed_block(
    images: ImageSet, encoder: Encoder, start: int, stop: int
) -> tuple[NDArray[np.float32], list[tuple[int, str]], int]:
    """Rows of the readable images start..stop, (number, reason) of the others, and stop."""
    prepared, skipped = [], []
    for number in range(start, stop):
        image = images.images[number]
        if isinstance(image, os.PathLike):
            name = str(image)
        else:
            name = f"image {images.items[number]} of {images.name}"
        try:
            prepared.append(encoder.prepare(image, name))
        except DomainError:
            raise
        except (ValueError, OSError) as error:
            skipped.append((number, str(error)))
    rows = encoder.run(np.concatenate(prepared), start) if prepared else np.empty((0, encoder.dim), np.float32)
    return rows, skipped, stop


class _Work:
    """The folder of an unfinished job: rows.f32, and state.json, which says how many of its rows count."""

    def __init__(self, folder: Path, key: str, dim: int, overwrite: bool) -> None:
        self.folder, self.key, self.dim = folder, key, dim
        self.done = 0
        self.skipped: list[tuple[int, str]] = []
        state = self._read_state()
        if state is not None and state["key"] != key:
            if not overwrite:
                raise FileExistsError(
                    f"{folder} belongs to an unfinished job with other images or another encoder: name another file, "
                    "or give that job up with --overwrite"
                )
            state = None
        if state is not None:
            self.done = state["done"]
            self.skipped = [(number, reason) for number, reason in state["skipped"]]
            if not self.rows_path.is_file() or self.rows_path.stat().st_size < self.n_bytes:
                raise ValueError(f"{self.rows_path} is damaged: delete {folder} to start over")

    @property
    def rows_path(self) -> Path:
        return self.folder / "rows.f32"

    @property
    def n_bytes(self) -> int:
        return (self.done - len(self.skipped)) * self.dim * 4

    def append(self, rows: NDArray[np.float32], skipped: list[tuple[int, str]], done: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.rows_path.open("r+b" if self.done else "wb") as file:
            file.truncate(self.n_bytes)  # rows of a block that was not counted before a kill
            file.seek(self.n_bytes)
            file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.done = done
        self.skipped += skipped
        _write_json(self.folder / "state.json", {"key": self.key, "done": done, "skipped": self.skipped})

    def _read_state(self) -> dict[str, Any] | None:
        path = self.folder / "state.json"
        if not path.is_file():
            return None
        try:
            state = json.loads(path.read_text())
            counted = [state["done"], *(number for number, _ in state["skipped"])]
            if not isinstance(state["key"], str) or not all(isinstance(n, int) and n >= 0 for n in counted):
                raise ValueError("a number is missing")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}): delete {self.folder} to start over") from error
        return dict(state)


def _finish(work: _Work, images: ImageSet, encoder: Encoder, target: Path) -> None:
    """Turn the rows into the final files; the embeddings come last, so that what they need is there."""
    unread = {number for number, _ in work.skipped}
    read = [number for number in range(len(images)) if number not in unread]
    rows = np.memmap(work.rows_path, dtype="<f4", mode="r", shape=(len(read), encoder.dim))
    temporary = work.folder / "embeddings.npy"
    with temporary.open("wb") as file:
        np.save(file, rows)
        file.flush()
        os.fsync(file.fileno())
    description = {
        "source": images.name,
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "domain": encoder.domain.description,
        "dim": encoder.dim,
        "items": [images.items[number] for number in read],
        "labels": None if images.labels is None else images.labels[read].tolist(),
    }
    _write_json(target.with_suffix(".json"), description)
    skipped_path = target.with_suffix(".skipped.txt")
    skipped_path.unlink(missing_ok=True)
    if work.skipped:
        lines = [f"{images.items[number]}\t{' '.join(reason.split())}\n" for number, reason in work.skipped]
        skipped_path.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    os.replace(temporary, target)
    del rows
    shutil.rmtree(work.folder)


def _folder_set(folder: Path) -> ImageSet:
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _hidden(path.relative_to(folder))
    )
    if not paths:
        raise ValueError(f"there is no image in {folder} or its sub-folders: looked for {', '.join(SUFFIXES)}")
    items = [path.relative_to(folder).as_posix() for path in paths]
    classes = [path.parent.name if path.parent != folder else "" for path in paths]
    labels = np.array(classes) if len(set(classes)) > 1 else None
    listing = [f"{item} {path.stat().st_size} {path.stat().st_mtime_ns}" for item, path in zip(items, paths)]
    digest = hashlib.sha256("\n".join(listing).encode(errors="surrogateescape")).hexdigest()
    return ImageSet(str(folder), paths, items, labels, digest)


def _array_set(name: str, images: NDArray[Any], labels: NDArray[Any] | None, identity: str) -> ImageSet:
    return ImageSet(name, images, [str(row) for row in range(len(images))], labels, f"{name} {identity}")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _job_key(images: ImageSet, encoder: Encoder) -> str:
    return hashlib.sha256(f"{encoder.fingerprint} {BLOCK} {len(images)} {images.identity}".encode()).hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
