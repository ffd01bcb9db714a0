"""Is the new encoder better than what was there before it? A table, and the truth where it is not.

Whoever trains an encoder has two others already: the pixels themselves, and a pretrained encoder where one is
installed. Some images are taken away before anything is learned from them (`lessons.py`); each of them is then searched
among the others, by every encoder, and an image with the same label is relevant. The same images for all, so
differences are compared query by query.

Labels judge here, they do not teach: they are looked at also where the training had to do without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.encoder import Encoder
from annlab.encoders.image_sets import ImageSet
from annlab.encoders.images import decode_image
from annlab.encoders.lessons import Lesson
from annlab.encoders.pretrained import default_name, load_encoder
from annlab.encoders.schedule import ON_PLATEAU
from annlab.evaluation import Evaluation, compare, from_embeddings

__all__ = ["NEW", "Judgement", "judge", "known_encoders", "plateau_warning"]

MEASURE, NEW = "precision@10", "this encoder"


@dataclass(frozen=True, eq=False)
class Judgement:
    """What :func:`judge` found: an evaluation for each encoder, the new one last."""

    results: Mapping[str, Evaluation]

    @property
    def lines(self) -> list[str]:
        """The table, and a sentence on each encoder that the new one does not beat."""
        *others, new = self.results
        n = len(self.results[new])
        lines = [f"{n} images that nothing was learned from, each searched among the others:"]
        width = max(len(name) for name in self.results)
        lines.append(f"  {'':<{width}}  P@10    95% interval      mAP")
        for name, result in self.results.items():
            low, high = result.interval(MEASURE)
            lines.append(
                f"  {name:<{width}}  {result.mean(MEASURE):.3f}   [{low:.3f}, {high:.3f}]   {result.mean('map'):.3f}"
            )
        return lines + [warning for name in others if (warning := self._against(name))]

    def _against(self, other: str) -> str:
        """What there is to warn of; empty where the new encoder is better beyond the chance of the queries."""
        new = list(self.results)[-1]
        found = compare(self.results[other], self.results[new], MEASURE, n_permutations=1)
        if found.low > 0:
            return ""
        if found.high < 0:
            return f"WARNING: this encoder is worse than {other} by {-found.difference:.3f}: use that, or teach it more"
        difference, low, high = (round(x, 3) + 0.0 for x in (found.difference, found.low, found.high))  # no "-0.000"
        unclear = f"the difference is {difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        return f"WARNING: this encoder is not better than {other} as far as these images can tell: {unclear}"

    @property
    def table(self) -> dict[str, dict[str, float]]:
        """For machines: the means of each encoder."""
        return {name: result.means() for name, result in self.results.items()}


def known_encoders(lesson: Lesson, images: ImageSet, threads: int) -> dict[str, Encoder]:
    """The encoders that are there without training and take images like these: the one for photographs where it is
    installed, in the resolution that fits, and the packaged one for clothing where no image is outside its domain."""
    found: dict[str, Encoder] = {}
    sample = [decode_image(image) for image in lesson.sources(images, np.arange(len(lesson.rows))[:50])]
    if default_name() == "efficientnet-lite0":
        side = float(np.median([min(image.shape[:2]) for image in sample]))
        name = "efficientnet-lite0-128" if side <= 128 else "efficientnet-lite0"  # small ones gain nothing blown up
        found[name] = load_encoder(name, threads)
    clothing = load_encoder("fashion-mnist", threads)
    if all(clothing.outside(image[np.newaxis]) is None for image in sample):
        found["fashion-mnist"] = clothing
    return found


def judge(
    lesson: Lesson,
    images: ImageSet,
    known: Mapping[str, Encoder],
    new: Encoder,
    vectors: Mapping[str, NDArray[np.float32]],
    say: Callable[[str], None] = lambda text: None,
) -> Judgement:
    """Let the pixels and all encoders search the images that were held out.

    Parameters
    ----------
    lesson, images : Lesson and ImageSet
    known : mapping from names to encoders that were there before
    new : Encoder
    vectors : mapping from names to arrays (n, dim)
        Embeddings of the images that were held out, where they are known; the new encoder is called "this encoder".
    """
    held = np.flatnonzero(lesson.judges)
    pixels, codes = lesson.pixels[held], lesson.codes[held]
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    results = {f"pixels at {pixels.shape[1]}x{pixels.shape[2]}": _evaluated(flat, codes, "l2")}
    embedded = {name: array for name, array in vectors.items() if name != NEW}
    for name, encoder in {**known, NEW: new}.items():
        if name in vectors:
            embedded[name] = vectors[name]
        else:
            say(f"{name} embeds {len(held)} held-out images")
            embedded[name] = encoder.encode(lesson.sources(images, held), check_domain=False)
    results |= {name: _evaluated(rows, codes, "cosine") for name, rows in embedded.items()}
    return Judgement(results)


def _evaluated(vectors: NDArray[np.float32], codes: NDArray[np.int64], metric: Literal["l2", "cosine"]) -> Evaluation:
    return from_embeddings(vectors, codes, vectors, codes, metric=metric, exclude_self=True, measures=[MEASURE, "map"])


def plateau_warning(history: list[dict[str, float]]) -> str:
    """What to say where the loss of a training still stands where it began; empty where it does not."""
    if not history or history[-1].get("learned", 1.0) >= ON_PLATEAU:
        return ""
    last = history[-1]
    return (
        f"WARNING: after {last['steps']:.0f} steps the loss of {last['loss']:.3f} still stands near log(candidates), "
        "where training begins: nothing was learned. Train longer (--minutes), or check that images called similar "
        "look similar at this size"
    )
