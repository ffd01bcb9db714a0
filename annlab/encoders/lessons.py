"""What an encoder is to learn from: which images, what says that two are similar, and which images judge it later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.image_sets import ImageSet
from annlab.encoders.images import ImageSource
from annlab.encoders.pairs import LabelPairs, PairSource

__all__ = ["Lesson", "lesson_of"]

SHARE, MOST, LEAST = 10, 500, 10  # one image in ten is held out, at most 500; fewer than ten say nothing


@dataclass(frozen=True, eq=False)
class Lesson:
    """Images to learn from, and images to judge by.

    Attributes
    ----------
    rows : int64 (n,)
        Of the image set: those that could be read, and have what is needed of them.
    pixels : uint8 (n, height, width, channels)
    codes : int64 (n,)
        A number for each label; -1 where none is known.
    judges : bool (n,)
        What is held out: nothing may be learned from it.
    source : PairSource or None
        Of the images that are not held out, numbered in their order; None: augmentation alone.
    of_labels : bool
        Whether labels teach.
    """

    rows: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    codes: NDArray[np.int64]
    judges: NDArray[np.bool_]
    source: PairSource | None
    of_labels: bool

    @property
    def validation_labels(self) -> NDArray[np.int64] | None:
        """Of the images to learn from, for choosing the best epoch; None where labels must not be looked at."""
        return self.codes[~self.judges] if self.of_labels else None

    def sources(self, images: ImageSet, places: NDArray[np.int64]) -> Sequence[ImageSource] | NDArray[Any]:
        """Some of the lesson's images as they were found, whatever their size."""
        if isinstance(images.images, np.ndarray):
            return images.images[self.rows[places]]
        return [images.images[row] for row in self.rows[places]]

    def subset(self, images: ImageSet) -> ImageSet:
        """The image set without what is not of the lesson."""
        chosen = hashlib.sha256(self.rows.tobytes()).hexdigest()
        return replace(
            images,
            images=self.sources(images, np.arange(len(self.rows))),
            items=[images.items[row] for row in self.rows],
            labels=None,
            identity=f"{images.identity} {chosen}",
            left_out=[],
            notes=[],
            captions=None,
            versions=None,
        )


def lesson_of(
    images: ImageSet,
    pixels: NDArray[np.uint8],
    read: NDArray[np.int64],
    positives: str,
    labels: NDArray[Any] | None,
    source: PairSource | Callable[[NDArray[np.int64]], PairSource] | None,
    seed: int,
    say: Callable[[str], None],
) -> Lesson:
    """Sort out what there is to learn from.

    Parameters
    ----------
    images, pixels, read
        The image set, and what `read_pixels` gave of it.
    positives, labels, source
        As in `train_encoder`.
    seed : int
    say : callable

    Raises
    ------
    ValueError
        Labels are to teach, and all are one class, or no class has two images; or there is one image alone.
    """
    codes = np.full(len(read), -1)
    if labels is not None:
        of_read = np.asarray(labels)[read]
        known = of_read != "" if of_read.dtype.kind in "UT" else np.ones(len(read), dtype=np.bool_)
        names, codes[known] = np.unique(of_read[known], return_inverse=True)
        if positives == "labels":
            _refuse_useless(names, codes[known])
            if not known.all():
                say(f"left out: {np.count_nonzero(~known)} images that lie in no class's folder")
            pixels, read, codes = pixels[known], read[known], codes[known]
    if len(pixels) < 2:
        raise ValueError(f"there is {len(pixels)} image to learn from; what differs can be learned from two on")
    judges = _held_out(codes, seed)
    if not judges.any():
        say(f"no image is held out to compare with pixels and pretrained encoders: that takes {SHARE * LEAST} images "
            f"with labels of two classes or more (folders, or --labels), here are {_what_is_there(codes)}")  # fmt: skip
    if isinstance(source, PairSource):
        given: PairSource | None = source.taken(read[~judges])
    elif source is not None:
        given = source(read[~judges])
    else:
        given = LabelPairs(codes[~judges]) if positives == "labels" else None
    return Lesson(read, pixels, codes, judges, given, positives == "labels")


def _refuse_useless(names: NDArray[Any], codes: NDArray[np.int64]) -> None:
    """Raise where labels teach nothing: one class says nothing of what differs, one image a class nothing of what is
    similar."""
    if len(names) < 2:
        raise ValueError(
            f"the images are of {len(names)} class(es), {', '.join(map(str, names))}: labels teach what is different "
            "from two on; without them use --positives augmentation"
        )
    if np.bincount(codes).max() < 2:
        raise ValueError(
            f"each of the {len(codes)} images has a class of its own, as {names[0]}: labels teach what is similar "
            "where a class has two images or more; without them use --positives augmentation"
        )


def _what_is_there(codes: NDArray[np.int64]) -> str:
    n_classes = len(np.unique(codes[codes >= 0]))
    return f"{np.count_nonzero(codes >= 0)} of {n_classes} class{'' if n_classes == 1 else 'es'}"


def _held_out(codes: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which images are kept for judging, (n,): a tenth of those with a label, at most 500; none where these would be
    too few to say anything."""
    chosen, labelled = np.zeros(len(codes), dtype=np.bool_), np.flatnonzero(codes >= 0)
    n_chosen = min(MOST, len(labelled) // SHARE)
    if n_chosen >= LEAST:
        rows = np.random.default_rng((seed, 1)).permutation(labelled)[:n_chosen]
        shares = np.unique(codes[rows], return_counts=True)[1]
        if len(shares) > 1 and shares.max() > 1:
            chosen[rows] = True
    return chosen
