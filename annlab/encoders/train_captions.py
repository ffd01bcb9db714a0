"""From pictures and what is said of them to an encoder of both, in one space: ``annlab train --positives captions``.

The pictures are brought to one size as for any encoder (`pixels.py`), the phrases become captions
(`captions.py`), both networks learn from each other (`clip_training.py`). What is returned embeds images and texts
without torch. The pictures are never mirrored: a caption may say left or right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.augment import Augment
from annlab.encoders.captions import Phrases
from annlab.encoders.clip import Clip, ClipConfig
from annlab.encoders.clip_training import train_on_captions
from annlab.encoders.encoder import Domain, Encoder
from annlab.encoders.export import export_encoder
from annlab.encoders.preprocess import ScaleToUnit, Step, ZScore

__all__ = ["CONFIG", "encoder_of_clip", "train_with_captions"]

CONFIG = ClipConfig(
    epochs=60,
    batch_size=128,
    dim=96,
    hidden=192,
    n_buckets=8192,
    word_width=48,
    augment=Augment(min_scale=0.7, max_shift=0.08, flip=0.0, colour=0.1),
    distractors=32,
    text_epochs=150,
)
"""Small enough to be shipped: 0.7 million weights for images, 0.4 million for texts."""


def train_with_captions(
    pixels: NDArray[np.uint8],
    phrases: Sequence[Sequence[str]],
    config: ClipConfig = CONFIG,
    versions: NDArray[np.int64] | None = None,
    say: Callable[[str], None] = lambda line: None,
    checkpoint: Path | None = None,
) -> Clip:
    """Train on pixels (n, height, width, 1 or 3) and, for each picture, its name and other words for it.

    `versions` and `checkpoint` are those of `train_on_captions`. `say` receives a line for each epoch.
    """
    started = time.process_time()

    def progress(row: dict[str, float]) -> None:
        spent = (time.process_time() - started) / 60
        who = "the texts alone" if row["texts_alone"] else "both"
        say(f"{who}, epoch {row['epoch']:.0f}: loss {row['loss']:.3f}, {spent:.1f} CPU-minutes")

    return train_on_captions(pixels, Phrases(phrases), config, progress, versions, checkpoint)


def encoder_of_clip(clip: Clip, geometry: Sequence[Step], name: str, domain: Domain, compact: bool = False) -> Encoder:
    """Export both sides, with the preprocessing that training saw; `compact` as in `export_encoder`."""
    steps = [*geometry, ScaleToUnit(), ZScore(clip.mean, clip.std)]
    return export_encoder(clip.images, steps, name, domain, compact=compact, texts=clip.texts.exported())
