"""Whether an upload means something in a catalog: whether it looks like its pictures, or like a drawing of nothing.

An encoder puts strokes, letters and patterns near *something*, and how near says little: they lie as close to clothes
as a part of a garment does. Their pixels tell more: how much they change from pixel to pixel and from afar, how many
colours there are, how even the frame is, where in the picture things stand, whether left and right are alike. From
these `CLUES`, and their products two by two, a logistic regression tells a catalog's own pictures from pictures of
nothing (`nonsense.py`). Its examples of sense are some of the public images: as they are, cut at the edges, and as they
come back from elsewhere (turned, lighter, noisy, on more ground, in grey). The limit is where `KEPT` of these pass.

So it belongs to the catalog and not to the encoder: the same encoder may serve drawings on white and photographs. It is
learned when a search is opened over enough images, takes some seconds, and is kept among the catalog's settings until
there are four times as many. A part of a picture is judged by the whole of it: what is cut out of a picture that means
something does so too, however little there is in it.

What it cannot do: a picture of something that looks unlike all pictures of the catalog is told that nothing is like it.
With a cut-off of 0 its nearest are shown all the same.

D. R. Cox, The regression analysis of binary sequences, 1958.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import delete, insert, select

from annlab.encoders.images import decode_image
from annlab.visual.catalog import Catalog
from annlab.visual.facts import Facts
from annlab.visual.nonsense import border_of, coloured, drawn_nonsense
from annlab.visual.paths import from_text
from annlab.visual.schema import images, settings

KEPT = 0.97
CLUES = 21
TERMS = CLUES + CLUES * (CLUES + 1) // 2  # clues, and products of two, which may be the same
_SIDE = 32  # pixels at which pictures are looked at
_ENOUGH, _SAMPLE, _GROWN = 50, 250, 4  # images: to learn from, at most, and times as many after which it is done again
_LEAST_SIDE = 64  # pixels of what is decoded: more are not looked at
_FARTHEST = 6.0  # standard deviations: what is farther from all examples counts as if it were there
_FREEDOM = 0.005  # of the weights: more follows the nonsense that is drawn here, less tells screens and charts worse
_SETTING = "sense"


@dataclass(frozen=True, eq=False)
class Sense:
    """A logistic regression on clues: means and scales (CLUES,) of the examples of sense, weights (`TERMS`,) of the
    scaled clues and their products, and the least sum with which a picture means something."""

    means: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    least: float

    def sums(self, clues: np.ndarray) -> np.ndarray:
        """How much clues (n, CLUES) speak for sense, (n,)."""
        result: np.ndarray = _terms(clues, self.means, self.scales) @ self.weights
        return result

    def has(self, pixels: np.ndarray) -> bool:
        """Whether a picture (height, width, 1 or 3) uint8 means something."""
        return bool(self.sums(clues_of(pixels)[None])[0] >= self.least)

    def to_text(self) -> str:
        """As it is kept."""
        return json.dumps([*(each.round(9).tolist() for each in (self.means, self.scales, self.weights)), self.least])

    @classmethod
    def from_text(cls, text: str) -> Sense | None:
        """What was kept; None if it is none of this version, so that it is learned again."""
        try:
            means, scales, weights, least = json.loads(text)
            found = cls(np.array(means, float), np.array(scales, float), np.array(weights, float), float(least))
        except (ValueError, TypeError):
            return None
        shapes = found.means.shape, found.scales.shape, found.weights.shape
        whole = np.isfinite([*found.means, *found.scales, *found.weights, found.least]).all() if shapes == (
            (CLUES,), (CLUES,), (TERMS,)) else False  # fmt: skip
        return found if whole and (found.scales > 0).all() else None


def learn_sense(pictures: Sequence[np.ndarray], seed: int = 0) -> Sense:
    """Learn what pictures (height, width, 1 or 3) uint8, at least two, are told from nonsense by."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    whole = [coloured(picture) for picture in pictures]
    examples = [*whole, *(_cut(each, rng) for each in whole), *(_come_back(each, rng) for each in whole)]
    own = np.array([clues_of(picture) for picture in examples])
    others = np.array([clues_of(picture) for picture in drawn_nonsense(4 * len(whole), whole, seed)])
    means, scales = own.mean(axis=0), own.std(axis=0) + 1e-3
    terms = _terms(np.vstack([own, others]), means, scales)
    truth = np.arange(len(terms)) < len(own)
    fitted = LogisticRegression(C=_FREEDOM, class_weight="balanced", max_iter=500).fit(terms, truth)
    learned = Sense(means, scales, fitted.coef_[0].astype(float), 0.0)
    return Sense(means, scales, learned.weights, float(np.quantile(learned.sums(own), 1 - KEPT)))


def sense_of(catalog: Catalog, facts: Facts) -> Sense | None:
    """What is kept in the catalog, or is learned now; None while there are too few public images that can be read."""
    public = facts.ids.by_row[facts.there & ~facts.private & (facts.leaders == np.arange(len(facts)))]
    with catalog.database.reading() as connection:
        text = connection.scalar(select(settings.c.value).where(settings.c.name == _SETTING))
    count, _, content = (text or "").partition(" ")
    if count.isdecimal() and len(public) < _GROWN * max(1, int(count)):
        if not content:  # there were none that could be read
            return None
        kept = Sense.from_text(content)
        if kept is not None:
            return kept
    if len(public) < _ENOUGH:
        return None
    pictures = pictures_of(catalog, np.random.default_rng(0).permutation(public)[: 2 * _SAMPLE].tolist())
    learned = learn_sense(pictures) if len(pictures) >= _ENOUGH else None
    value = f"{len(public)} {'' if learned is None else learned.to_text()}"
    with catalog.writing() as connection:
        connection.execute(delete(settings).where(settings.c.name == _SETTING))
        connection.execute(insert(settings), {"name": _SETTING, "value": value})
    return learned


def pictures_of(catalog: Catalog, ids: Sequence[int]) -> list[np.ndarray]:
    """The pictures of some images, small, at most so many as are learned from; those whose file is gone or damaged are
    passed over."""
    with catalog.database.reading() as connection:
        wanted = images.c.id.in_(ids) & images.c.path.is_not(None)
        paths = connection.scalars(select(images.c.path).where(wanted).order_by(images.c.id).limit(_SAMPLE)).all()
    found = []
    for path in paths:
        try:
            found.append(decode_image(from_text(path), path, _LEAST_SIDE))
        except (OSError, ValueError, MemoryError):
            continue
    return found


def clues_of(pixels: np.ndarray) -> np.ndarray:
    """What is told of a picture (height, width, 1 or 3) uint8 by its pixels at 32 x 32, (CLUES,)."""
    small = _small(coloured(pixels))
    grey = small.mean(axis=2)
    right, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
    halves = grey.reshape(16, 2, 16, 2).mean(axis=(1, 3))
    quarters = halves.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    changes = [np.mean(np.diff(level, axis=0) ** 2) + np.mean(np.diff(level, axis=1) ** 2)
               for level in (grey, halves, quarters)]  # fmt: skip
    frame = border_of(small)
    colours = len(np.unique((small // 32).astype(np.int64).reshape(-1, 3) @ np.array([64, 8, 1])))
    shares = np.bincount((grey // 16).astype(np.int64).ravel(), minlength=16) / grey.size
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    around = grey - grey.mean()
    power = float((around**2).sum()) + 1e-3
    alike = [float((around * around[:, ::-1]).sum()) / power, float((around * around[::-1]).sum()) / power]
    weight = np.abs(small - np.median(frame, axis=0)).sum(axis=2)
    y, x = np.mgrid[:_SIDE, :_SIDE] / (_SIDE - 1) - 0.5
    total = float(weight.sum()) + 1
    middle_x, middle_y = float((weight * x).sum()) / total, float((weight * y).sum()) / total
    spread = np.sqrt(float((weight * ((x - middle_x) ** 2 + (y - middle_y) ** 2)).sum()) / total)
    chroma = small.max(axis=2) - small.min(axis=2)
    corners = float((np.minimum(right[:-1], down[:, :-1]) > 16).mean())
    return np.array([
        grey.mean(), grey.std(), *np.log1p([right.mean(), down.mean(), *changes, frame.std(axis=0).mean()]),
        frame.mean(), np.log(colours), entropy, *alike, middle_x, middle_y, spread, chroma.mean(), chroma.std(),
        *np.log1p([_SIDE * (weight > 30).mean(), _SIDE * (right > 16).mean()]), corners,
    ])  # fmt: skip


def _terms(clues: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """What is weighed of clues (n, CLUES), (n, TERMS)."""
    scaled = np.clip((clues - means) / scales, -_FARTHEST, _FARTHEST)
    one, other = np.triu_indices(CLUES)
    result: np.ndarray = np.hstack([scaled, scaled[:, one] * scaled[:, other]])
    return result


def _small(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image).astype(np.float64)


def _cut(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture without something at its edges."""
    height, width = picture.shape[:2]
    high, wide = (max(1, round(side * rng.uniform(0.7, 0.95))) for side in (height, width))
    top, left = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
    return picture[top : top + high, left : left + wide]


def _come_back(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture as it comes back from elsewhere: turned a little, lighter or darker, noisy; some on more ground, some
    in grey."""
    from PIL import Image

    ground = tuple(int(value) for value in np.median(border_of(picture), axis=0))
    image = Image.fromarray(np.ascontiguousarray(picture))
    image = image.rotate(rng.uniform(-12, 12), resample=Image.Resampling.BILINEAR, fillcolor=ground)
    if rng.random() < 0.3:
        side = int(max(image.size) * rng.uniform(1.05, 1.4))
        more = Image.new("RGB", (side, side), ground)
        more.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = more
    values = np.asarray(image) * rng.uniform(0.75, 1.2) + rng.uniform(-15, 15)
    values += rng.normal(size=(*values.shape[:2], 1)) * rng.uniform(0, 8)
    if rng.random() < 0.2:
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    result: np.ndarray = np.clip(values, 0, 255).astype(np.uint8)
    return result
