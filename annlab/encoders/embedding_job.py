"""Embedding a folder or a data set: block by block, resumable, and not stopped by a bad image.

`embed_images(images, encoder, "embeddings.npy")` leaves beside each other

    embeddings.npy            (n, dim) float32, one row per readable image
    embeddings.json           which image each row is, labels where known, and which encoder made them
    embeddings.skipped.txt    the images that could not be read, each with the reason; only where there are any

None of the three may be there already, unless they are to be overwritten. While it runs, `embeddings.npy.partial/`
holds the rows so far and how far that is. The rows are synced to the disk before the count that includes them is, and
blocks are always the same: so a run that was killed goes on where it stopped, and ends with the same bytes as one that
was not. It goes on only for the same images (names, sizes and modification times) and the same encoder; anything else
is refused.

An image outside the encoder's domain stops the job: it says that the encoder is the wrong one. A job that fails in
this way would fail again, so it clears its folder away, and the corrected command finds nothing in its way. The domain
of an encoder that somebody trained is only as wide as their images were, so for it an image outside may be skipped and
listed, or embedded all the same (`outside`).

Memory: one block of preprocessed images. Cost: decoding and the encoder; the bookkeeping is one fsync per block.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.encoder import DomainError, Encoder
from annlab.encoders.image_sets import FASHION_TEST, FASHION_TRAIN, ImageSet, open_images
from annlab.encoders.outputs import publish, refuse_existing, refuse_inputs, write_json, write_text

__all__ = ["BLOCK", "FASHION_TEST", "FASHION_TRAIN", "ImageSet", "embed_images", "open_images", "outputs_of"]

BLOCK = 64
Outside = Literal["stop", "skip", "embed"]
_ROWS, _STATE = "rows.f32", "state.json"
_ESCAPED = {9: "\\t", 10: "\\n", 13: "\\r"}  # in names of files: the list has one line for each
_STAGED = ("embeddings.json", "skipped.txt", "embeddings.npy")  # the embeddings last, so that what they need is there


def outputs_of(out: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
    """The description, the list of what was skipped, and the embeddings, for a file of embeddings."""
    target = Path(out)
    return target.with_suffix(".json"), target.with_suffix(".skipped.txt"), target


def embed_images(
    images: ImageSet,
    encoder: Encoder,
    out: str | os.PathLike[str],
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
    outside: Outside = "stop",
) -> int:
    """Embed images into a file; go on where an earlier, killed run stopped.

    Parameters
    ----------
    images : ImageSet
    encoder : Encoder
    out : path
        Ends in .npy; the other files are named after it.
    overwrite : bool
        Replace finished files, and give up an unfinished one of another job.
    progress : callable, optional
        Called after each block with the numbers of images done, images in all, and images skipped.
    outside : {"stop", "skip", "embed"}
        What becomes of an image outside the encoder's domain: the job ends; it is skipped, with the reason in the list;
        nobody asks.

    Returns
    -------
    int
        How many images were skipped.

    Raises
    ------
    FileExistsError
        One of the files exists, or an unfinished one of another job does.
    DomainError
        An image is outside the encoder's domain, and `outside` is "stop"; names it.
    ValueError
        No image at all could be read.

    Examples
    --------
    >>> from annlab.encoders import load_encoder, open_images
    >>> images = open_images("my-photos/")                                     # doctest: +SKIP
    >>> embed_images(images, load_encoder("efficientnet-lite0"), "photos.npy")     # doctest: +SKIP
    0
    """
    target = Path(out)
    if target.suffix != ".npy":
        raise ValueError(f"the file of embeddings must end in .npy, not {str(target)!r}")
    if len(images) == 0:
        raise ValueError(f"there are no images in {images.name}")
    refuse_inputs(outputs_of(target), [images.name], "the images")
    if outside not in ("stop", "skip", "embed"):
        raise ValueError(f'outside must be "stop", "skip" or "embed", not {outside!r}')
    work = _Work(Path(f"{target}.partial"), _job_key(images, encoder, outside), encoder.dim, overwrite)
    if work.done < len(images):  # else only the last step is missing, and what it finds may be its own
        refuse_existing(outputs_of(target), overwrite)
    if progress is not None and work.done:
        progress(work.done, len(images), len(work.skipped))
    try:
        while work.done < len(images):
            stop = min(work.done + BLOCK, len(images))
            work.append(*_embed_block(images, encoder, work.done, stop, outside))
            if progress is not None:
                progress(stop, len(images), len(work.skipped))
        if len(work.skipped) == len(images):
            raise ValueError(_nothing_came_of(images, work.skipped[0][1]))
    except ValueError:
        work.clear()
        raise
    _finish(work, images, encoder, target, overwrite)
    return len(work.skipped)


def _nothing_came_of(images: ImageSet, first_reason: str) -> str:
    """What to say where all images were skipped, and the first for this reason."""
    unlike = "is not for the encoder" in first_reason
    could = "embedded" if unlike else "read"
    way = '. --no-domain-check embeds them all the same (in Python: outside="embed")' if unlike else ""
    return f"none of the {len(images)} images in {images.name} could be {could}; the first: {first_reason}{way}"


def _embed_block(
    images: ImageSet, encoder: Encoder, start: int, stop: int, outside: Outside
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
            prepared.append(encoder.prepare(image, name, outside != "embed"))
        except (ValueError, OSError) as error:
            if isinstance(error, DomainError) and outside == "stop":
                raise
            skipped.append((number, str(error)))
    rows = encoder.run(np.concatenate(prepared), start) if prepared else np.empty((0, encoder.dim), np.float32)
    return rows, skipped, stop


class _Work:
    """The folder of an unfinished job: rows.f32, and state.json, which says how many of its rows count."""

    def __init__(self, folder: Path, key: str, dim: int, overwrite: bool) -> None:
        self.folder, self.key, self.dim = folder, key, dim
        self.done = 0
        self.skipped: list[tuple[int, str]] = []
        self._refuse_strange()
        try:
            self._resume(overwrite)
        except ValueError:
            if not overwrite:
                raise

    @property
    def rows_path(self) -> Path:
        return self.folder / _ROWS

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
        write_json(self.folder / _STATE, {"key": self.key, "done": done, "skipped": self.skipped})

    def clear(self) -> None:
        """Remove the folder, and in it only what jobs leave there."""
        for path in self._own_files():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or somebody has put something into it
            self.folder.rmdir()

    def _own_files(self) -> list[Path]:
        temporary = [*self.folder.glob(".*.tmp")] if self.folder.is_dir() else []
        return [*(self.folder / name for name in (_STATE, _ROWS, *_STAGED)), *temporary]

    def _refuse_strange(self) -> None:
        """Raise if what stands in the folder's place was not made by a job."""
        if not os.path.lexists(self.folder):
            return
        if not self.folder.is_dir():
            raise FileExistsError(f"{self.folder} is in the way: the unfinished job needs a folder of this name")
        strange = sorted(path.name for path in self.folder.iterdir() if path not in self._own_files())
        if strange:
            raise FileExistsError(f"{self.folder} holds {strange[0]!r}, which no job of annlab made: move it away")

    def _resume(self, overwrite: bool) -> None:
        """Take up the state that an earlier run left, if it is of this job."""
        state = self._read_state()
        if state is None:
            return
        if state["key"] != self.key:
            if overwrite:
                return
            raise FileExistsError(
                f"{self.folder} belongs to an unfinished job with other images or another encoder: name another file, "
                "or give that job up with --overwrite"
            )
        skipped = [(number, reason) for number, reason in state["skipped"]]
        n_bytes = (state["done"] - len(skipped)) * self.dim * 4
        if not self.rows_path.is_file() or self.rows_path.stat().st_size < n_bytes:
            raise ValueError(f"{self.rows_path} is damaged: delete {self.folder} to start over")
        self.done, self.skipped = state["done"], skipped

    def _read_state(self) -> dict[str, Any] | None:
        path = self.folder / _STATE
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


def _finish(work: _Work, images: ImageSet, encoder: Encoder, target: Path, overwrite: bool) -> None:
    """Turn the rows into the final files."""
    unread = {number for number, _ in work.skipped}
    read = [number for number in range(len(images)) if number not in unread]
    description_path, skipped_path, embeddings_path = (work.folder / name for name in _STAGED)
    rows = np.memmap(work.rows_path, dtype="<f4", mode="r", shape=(len(read), encoder.dim))
    with embeddings_path.open("wb") as file:
        np.save(file, rows)
        file.flush()
        os.fsync(file.fileno())
    del rows
    description = {
        "source": images.name,
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "domain": encoder.domain.description,
        "dim": encoder.dim,
        "items": [images.items[number] for number in read],
        "labels": _labels(images, read),
    }
    write_json(description_path, description)
    unreadable = [(images.items[number], reason) for number, reason in work.skipped] + images.left_out
    lines = [f"{item.translate(_ESCAPED)}\t{' '.join(reason.split())}\n" for item, reason in unreadable]
    write_text(skipped_path, "".join(lines))
    staged = dict(zip((description_path, skipped_path, embeddings_path), outputs_of(target), strict=True))
    if not lines:
        of_earlier_run = staged.pop(skipped_path)
        if overwrite:
            of_earlier_run.unlink(missing_ok=True)
    publish(staged, overwrite)
    work.clear()


def _labels(images: ImageSet, rows: list[int]) -> list[Any] | None:
    """Labels as JSON: None for an image that lies in no class's folder, and None altogether where nothing is known."""
    if images.labels is None:
        return None
    return [None if label == "" else label for label in images.labels[rows].tolist()]


def _job_key(images: ImageSet, encoder: Encoder, outside: Outside) -> str:
    otherwise = "" if outside == "stop" else f" {outside}"
    key = f"{encoder.fingerprint} {BLOCK} {len(images)} {images.identity}{otherwise}"
    return hashlib.sha256(key.encode()).hexdigest()
