"""``python -m benchmarks nonsense``: what uploads that mean nothing find, of kinds that nobody has learned from.

    python -m benchmarks nonsense [--each 100] [--words] [--out benchmarks/results/nonsense.json]

The cut-off and the look at the pixels were made better while figures of other kinds were looked at, so those flatter.
The kinds here were drawn afterwards, and measured once (codes and handwriting had been among the others too, drawn by
other code). Whoever changes the cut-off and looks at these figures has used them up, and draws new ones.

Each picture is asked as an upload among the packaged drawings, and among the packaged clothes as it comes and in grey
on black, as clothes are. What is told is the mean share of the catalog that is shown, and the share of queries that are
shown more than a twentieth of it: of all uploads ("shown", "many"), and by their vectors alone, as if no look at the
pixels came before ("by_vector", "many_by_vector"); "refused" are those that their pixels give away. Texts of words that
mean nothing, and real ones, follow (`nonsense_words.py`; `--words`: they alone).
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environment, nonsense_words, report

_MANY, _LEARNED_FROM = 0.05, 250
Pixels = np.ndarray


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks nonsense", description="what nonsense finds")
    parser.add_argument("--each", type=int, default=100, help="pictures of each kind")
    parser.add_argument("--words", action="store_true", help="texts alone")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    options = parser.parse_args(arguments)
    records = ([] if options.words else measured(options.each)) + nonsense_words.measured(options.each)
    for record in records:
        print(", ".join(f"{name} {value}" for name, value in record.items()))
    if options.out:
        report.write_records(options.out, environment.about(), records)
    return 0


def measured(each: int) -> list[dict[str, Any]]:
    """A record for each catalog and manner, of every kind and of all of them."""
    from annlab.datasets import emoji, fashion_mnist

    rng = np.random.default_rng(2026)
    drawn = {draw.__name__: [draw(rng, int(rng.choice([64, 96, 160, 256]))) for _ in range(each)] for draw in KINDS}
    records = []
    clothes = fashion_mnist().images[..., None]
    for catalog, encoder, images, manner, dress in (
        ("drawings", "emoji", emoji().images, "as it comes", lambda picture: picture),
        ("clothes", "fashion-mnist", clothes, "as it comes", lambda picture: picture),
        ("clothes", "fashion-mnist", clothes, "grey on black", on_black),
    ):  # fmt: skip
        shown = shown_by(encoder, images)
        asked = {kind: shown([dress(picture) for picture in pictures]) for kind, pictures in drawn.items()}
        asked["all"] = (np.concatenate([one for one, _ in asked.values()]),
                        np.concatenate([other for _, other in asked.values()]))  # fmt: skip
        records += [{"catalog": catalog, "manner": manner, "kind": kind, **told(*asked[kind])} for kind in asked]
    return records


def shown_by(name: str, images: np.ndarray) -> Callable[[list[Pixels]], tuple[np.ndarray, np.ndarray]]:
    """A catalog of images, with the calibration that the package brings: of some pictures the share of it that is shown
    by their vectors, and whether their pixels give them away."""
    from annlab.encoders.pretrained import MODELS, load_encoder
    from annlab.visual.emptiness import what_is_missing
    from annlab.visual.relevance import Relevance
    from annlab.visual.sense import learn_sense

    encoder = load_encoder(name)
    calibration = Relevance.load(MODELS / name, encoder.fingerprint, encoder.dim)
    assert calibration is not None
    curve, catalog = calibration.image, encoder.encode(images, check_domain=False).astype(np.float64)
    some = np.random.default_rng(0).permutation(len(images))[:_LEARNED_FROM]
    sense = learn_sense(list(images[np.sort(some)]))

    def shown(pictures: list[Pixels]) -> tuple[np.ndarray, np.ndarray]:
        vectors = encoder.encode(pictures, check_domain=False).astype(np.float64)
        shares = [float(np.mean(curve.of(1 - catalog @ one, calibration.strangeness(one)) >= curve.cutoff))
                  for one in vectors]  # fmt: skip
        refused = [what_is_missing(picture) is not None or not sense.has(picture) for picture in pictures]
        return np.array(shares), np.array(refused)

    return shown


def told(shares: np.ndarray, refused: np.ndarray) -> dict[str, Any]:
    """Of shares of the catalog (n,) that queries are shown by their vectors, and which of them are refused before."""
    left = np.where(refused, 0.0, shares)
    return {"queries": len(shares), "refused": round(float(refused.mean()), 4),
            "shown": round(float(left.mean()), 5), "many": int(np.count_nonzero(left > _MANY)),
            "by_vector": round(float(shares.mean()), 5),
            "many_by_vector": int(np.count_nonzero(shares > _MANY))}  # fmt: skip


def on_black(picture: Pixels) -> Pixels:
    """A picture in grey on black, 28 x 28 with a frame, as the packaged clothes are."""
    from PIL import Image

    grey = picture.mean(axis=2)
    frame = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    grey = 255 - grey if np.median(frame) > 127 else grey
    small = Image.fromarray(grey.astype(np.uint8)).resize((24, 24), Image.Resampling.BILINEAR)
    return np.pad(np.array(small), 2)[..., None]


# ---- the kinds: (side, side, 3) uint8 each


def square_codes(rng: np.random.Generator, side: int) -> Pixels:
    """Modules in a square, with its three corner marks and a quiet edge."""
    cells = int(rng.choice([21, 25, 29, 33]))
    dark = rng.random((cells, cells)) < 0.5
    mark = np.pad(np.pad(np.pad(np.ones((3, 3), bool), 1), 1, constant_values=True), (0, 1))
    dark[:8, :8], dark[:8, -8:], dark[-8:, :8] = mark, mark[:, ::-1], mark[::-1]
    return _sized(np.where(np.pad(dark, int(rng.integers(1, 5)))[..., None], _dark(rng), 255), side)


def contours(rng: np.random.Generator, side: int) -> Pixels:
    """A map: lines of equal height of some hills, some with tinted ground between them."""
    height = _hills(rng, side)
    level = height * int(rng.integers(5, 16))
    edge = np.abs(np.diff(np.floor(level), axis=0, prepend=0)) + np.abs(np.diff(np.floor(level), axis=1, prepend=0)) > 0
    ground = np.full((side, side, 3), 250.0)
    if rng.random() < 0.5:
        low, high = rng.uniform(120, 255, (2, 3))
        ground = low + (high - low) * height[..., None]
    ground[edge] = rng.integers(40, 160, 3)
    return ground.astype(np.uint8)


def waveforms(rng: np.random.Generator, side: int) -> Pixels:
    """The loudness of a sound over time, as an editor of sounds shows it."""
    loud = np.abs(rng.normal(size=side)) * np.repeat(rng.uniform(0.1, 1, -(-side // 8)), 8)[:side]
    reach = np.clip(loud * side / 5, 1, side / 2 - 2)
    away = np.abs(np.arange(side) - side / 2)[:, None]
    ground, ink = ((255, 255, 255), (20, 22, 28))[int(rng.integers(2))], rng.integers(30, 230, 3)
    return np.where((away < reach)[..., None], ink, ground).astype(np.uint8)


def moire(rng: np.random.Generator, side: int) -> Pixels:
    """Two gratings or sets of rings over each other."""
    y, x = np.mgrid[:side, :side] - side / 2
    whole = np.ones((side, side))
    for _ in range(2):
        turn, (left, top), width = rng.uniform(0, np.pi), rng.normal(size=2) * side / 8, rng.uniform(2.5, 7)
        along = np.hypot(x - left, y - top) if rng.random() < 0.4 else x * np.cos(turn) + y * np.sin(turn)
        whole *= (np.sin(2 * np.pi * along / width) + 1) / 2
    return (_dark(rng) + (255 - _dark(rng)) * whole[..., None]).clip(0, 255).astype(np.uint8)


def handwriting(rng: np.random.Generator, side: int) -> Pixels:
    """Lines of joined loops with ascenders, on paper that may be ruled."""
    image, draw, rows = _paper(rng, side)
    ink, pen = tuple(rng.integers(0, 110, 3).tolist()), max(1, side // 80)
    size = side / rows
    for row in range(rows):
        if rng.random() < 0.3:
            draw.line([0, (row + 0.8) * size, side, (row + 0.8) * size], fill=(190, 205, 225))
        left = side * 0.05
        while left < side * rng.uniform(0.6, 0.95):
            at = np.linspace(0, 2 * np.pi * rng.uniform(2, 6), 80)
            tall = np.repeat(rng.choice([0.18, 0.2, 0.4], 8, p=[0.4, 0.35, 0.25]), 10)
            across = left + at * size * 0.09 + np.sin(at) * size * 0.08
            up = (row + 0.65) * size - np.cos(at) * tall * size
            draw.line(np.stack([across, up], axis=1).ravel().tolist(), fill=ink, width=pen)
            left = float(across[-1]) + size * 0.35
    return np.array(image)


def soft_light(rng: np.random.Generator, side: int) -> Pixels:
    """Gradients of light out of focus, with the grain and the dark corners of a photograph."""
    one, other, third = rng.uniform(20, 235, (3, 3))
    hills, more = _hills(rng, side)[..., None], _hills(rng, side)[..., None]
    y, x = np.mgrid[:side, :side] / side - 0.5
    light = (one + (other - one) * hills + (third - one) * 0.5 * more) * (1 - (x**2 + y**2))[..., None]
    return (light + rng.normal(size=light.shape) * rng.uniform(1, 12)).clip(0, 255).astype(np.uint8)


def crosswords(rng: np.random.Generator, side: int) -> Pixels:
    """A grid of squares, some of them black and alike when turned, some with numbers or letters."""
    from PIL import Image, ImageDraw, ImageFont

    cells = int(rng.integers(7, 16))
    black = rng.random((cells, cells)) < rng.uniform(0.08, 0.15)
    black |= black[::-1, ::-1]
    image, size = Image.new("RGB", (side, side), (255, 255, 255)), (side - 3) / cells
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(max(5, int(size * 0.7)))
    filled = rng.random()
    for (row, column), is_black in np.ndenumerate(black):
        box = [1 + column * size, 1 + row * size, 1 + (column + 1) * size, 1 + (row + 1) * size]
        draw.rectangle(box, fill=(0, 0, 0) if is_black else None, outline=(60, 60, 60))
        if not is_black and rng.random() < filled:
            draw.text((box[0] + size * 0.2, box[1]), chr(int(rng.integers(65, 91))), fill=(30, 30, 60), font=font)
    return np.array(image)


def night_skies(rng: np.random.Generator, side: int) -> Pixels:
    """Points of light of any brightness on a dark ground, some with a glow or a band of haze."""
    sky = np.full((side, side, 3), rng.uniform(0, 30, 3)) + _hills(rng, side)[..., None] * rng.uniform(0, 60, 3)
    y, x = np.mgrid[:side, :side]
    for _ in range(int(rng.integers(20, 120))):
        (left, top), bright = rng.uniform(0, side, 2), 255 * rng.power(0.5)
        near = np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * (rng.uniform(0.4, 1.2) * side / 90) ** 2))
        sky += bright * near[..., None] * rng.uniform(0.8, 1, 3)
    return sky.clip(0, 255).astype(np.uint8)


KINDS = (square_codes, contours, waveforms, moire, handwriting, soft_light, crosswords, night_skies)


def _dark(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 90, 3)


def _hills(rng: np.random.Generator, side: int) -> np.ndarray:
    """Smooth heights (side, side) from 0 to 1."""
    y, x = np.mgrid[:side, :side] / side
    height = functools.reduce(np.add, (
        rng.normal() * np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * wide**2))
        for left, top, wide in zip(*rng.uniform(0, 1, (2, 6)), rng.uniform(0.1, 0.4, 6), strict=True)
    ))  # fmt: skip
    result: np.ndarray = (height - height.min()) / np.ptp(height)
    return result


def _sized(picture: np.ndarray, side: int) -> Pixels:
    """A picture of cells (n, n) or (n, n, 3) with sharp edges, as large as is asked for."""
    from PIL import Image

    wide = np.broadcast_to(picture[..., None] if picture.ndim == 2 else picture, (*picture.shape[:2], 3))
    return np.array(Image.fromarray(wide.astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST))


def _paper(rng: np.random.Generator, side: int) -> tuple[Any, Any, int]:
    """A sheet, a pen on it, and how many lines go on it."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (side, side), tuple((250 - rng.integers(0, 25, 3)).tolist()))
    return image, ImageDraw.Draw(image), int(rng.integers(3, 9))
