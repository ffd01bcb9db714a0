"""A small set in the plane and an index of every kind that misses something: what the documentation shows.

    python -m annlab.explain.examples docs/explain

draws all pictures of docs/explain.md anew. Each index is asked for less than it needs, so that there is a miss to
explain.
"""

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annlab import (
    BallTreeIndex,
    ExactIndex,
    IVFIndex,
    KDTreeIndex,
    LSHIndex,
    RecallWarning,
    VamanaIndex,
)
from annlab.common import style
from annlab.datasets.synthetic import synthetic
from annlab.explain.explanation import Explanation
from annlab.index import Index

N, K = 1500, 10
_DOTS, _SHADES = 90, 16


class Example(NamedTuple):
    """An index, and a search that asks too little of it."""

    name: str
    searched: Index
    params: dict[str, Any]
    query: tuple[float, ...]


def points(n: int = N, seed: int = 7) -> np.ndarray:
    """Six clouds and a thin haze (n, 2) float32, in whole numbers from 0 to 999, no point twice.

    Squares of whole numbers so small are exact in float32, so that nobody's rounding decides who is nearer.
    """
    rng = np.random.default_rng(seed)
    middles = np.array([[200, 240], [420, 620], [700, 260], [780, 720], [160, 800], [520, 400]])
    clouds = middles[rng.integers(0, len(middles), 4 * n)] + rng.normal(0, 75, (4 * n, 2))
    haze = rng.uniform(0, 1000, (4 * n, 2))
    drawn = np.where(rng.random((4 * n, 1)) < 0.85, clouds, haze)
    inside = np.rint(drawn[((drawn >= 0) & (drawn < 999.5)).all(axis=1)])
    first = np.sort(np.unique(inside, axis=0, return_index=True)[1])[:n]
    return inside[first].astype(np.float32)


def examples() -> list[Example]:
    """All of them, fitted."""
    made = [
        Example("exact", ExactIndex(), {}, (470, 500)),
        Example("kdtree", KDTreeIndex(), {"max_leaves": 3}, (521, 400)),
        Example("balltree", BallTreeIndex(), {"max_leaves": 2}, (415, 629)),
        Example("lsh-hyperplanes", LSHIndex(mode="buckets", family="hyperplanes", n_tables=3, n_bits=5),
                {"n_probes": 4, "rerank": N}, (446, 490)),
        Example("lsh-polytopes", LSHIndex(mode="buckets", family="cross_polytope", n_tables=3, n_bits=6),
                {"n_probes": 4, "rerank": N}, (472, 848)),
        Example("lsh-scan", LSHIndex(mode="scan", n_bits=24), {"rerank": 60}, (738, 631)),
        Example("ivf-flat", IVFIndex(storage="flat", n_lists=40), {"n_probes": 2}, (653, 566)),
        Example("ivf-sq8", IVFIndex(storage="sq8", n_lists=40), {"n_probes": 2}, (776, 707)),
        Example("ivf-pq4", IVFIndex(storage="pq4", n_lists=8), {"n_probes": 3, "rerank": 1.0}, (815, 605)),
        Example("vamana-flat", VamanaIndex(degree=16, storage="flat"), {"reach": 1.0}, (640, 330)),
        Example("vamana-sq8", VamanaIndex(degree=16, storage="sq8"), {"reach": 1.0}, (300, 700)),
    ]  # fmt: skip
    vectors = points()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecallWarning)
        for example in made:
            example.searched.fit(vectors)
        return [*made, _in_many_dimensions()]


def _in_many_dimensions() -> Example:
    """In the plane a walk hardly ever ends too early; in sixteen dimensions it does."""
    data = synthetic(4000, 16, 16, 30, seed=3)
    index = VamanaIndex(degree=16, storage="flat").fit(data.train)
    return Example("vamana-16-dimensions", index, {"reach": 1.0}, tuple(data.test[2].tolist()))


def told(example: Example) -> Explanation:
    """The explanation of an example."""
    explanation: Explanation = example.searched.explain(np.array(example.query, np.float32), K, **example.params)
    return explanation


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a picture of each example, and its text."""
    parser = argparse.ArgumentParser(
        prog="python -m annlab.explain.examples", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where NAME.png goes")
    parser.add_argument("--dark", action="store_true", help="light on dark")
    parser.add_argument("--only", metavar="NAME", help="one of them")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for example in examples():
        if chosen.only in (None, example.name):
            path = chosen.folder / f"{example.name}.png"
            save(told(example), path, chosen.dark)
            print(path)
    return 0


def save(explanation: Explanation, path: Path, dark: bool = False) -> None:
    """Write a picture with few colours, which takes half the bytes: those of the style, and what lies between them."""
    from matplotlib.colors import to_rgb  # Pillow comes with matplotlib
    from PIL import Image

    colours = style.palette(dark)
    shares, paper = np.linspace(0, 1, _SHADES)[:, None], np.array(to_rgb(colours.paper))
    shades = np.concatenate([shares * to_rgb(colour) + (1 - shares) * paper for colour in colours])
    chosen = Image.new("P", (1, 1))
    chosen.putpalette(np.rint(255 * shades).astype(int).ravel().tolist())
    buffer = io.BytesIO()
    explanation.plot(dark=dark).savefig(buffer, dpi=_DOTS)
    Image.open(buffer).convert("RGB").quantize(palette=chosen, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
