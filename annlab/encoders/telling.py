"""What a training tells people: lines of progress, and the model card."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annlab.encoders.encoder import Encoder
from annlab.encoders.image_sets import ImageSet
from annlab.encoders.lessons import Lesson

__all__ = ["card_of", "every", "line_of"]


def every(say: Callable[[str], None], seconds: float = 5.0) -> Callable[[str], None]:
    """Say lines of progress, but not more often than every so many seconds, and none at first."""
    last = [time.monotonic()]

    def tell(text: str) -> None:
        if time.monotonic() - last[0] >= seconds:
            last[0] = time.monotonic()
            say(text)

    return tell


_UNSAID = ("epoch", "score", "seconds", "progress")


def line_of(row: dict[str, float]) -> str:
    """A round of a training in one line."""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in _UNSAID)
    return f"epoch {row['epoch']:.0f}: {numbers}"


def card_of(
    encoder: Encoder,
    said: Sequence[str],
    images: ImageSet,
    lesson: Lesson,
    command: str,
    origin: tuple[str, str],
    run: tuple[list[dict[str, float]], dict[str, Any]],
) -> str:
    """The model card of an encoder. `said`: lines on its quality; `origin`: the kind of positives and the start; `run`:
    history and settings."""
    (positives, start), (history, settings) = origin, run
    used = "used, as the source of positives and to choose the best epoch"
    labels = used if positives == "labels" else "not learned from"
    begun = "from scratch" if start == "scratch" else f"as a head for {start}"
    card = f"""# {encoder.name}

- Embeds: {encoder.domain.description}
- Embedding: {encoder.dim} numbers, length 1; compare by cosine
- Command: `{command}`
- Data: {len(lesson.pixels)} images from {Path(images.name).name}, {np.count_nonzero(lesson.judges)} of them held out
  (`held-out.txt`); labels: {labels}
- Learned: {begun}
- Seed: {settings["seed"]}; settings: `{json.dumps(settings, sort_keys=True)}`
- Licence: that of the images, as far as they have one
"""
    if history:
        best = max(history, key=lambda row: row["score"])
        metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in best.items() if name not in _UNSAID)
        card += f"""
Epoch {best["epoch"]:.0f} of {len(history)}, measured on images of the training that it was chosen by:

| metric | value |
|---|---|
{metrics}
"""
    if said:
        card += "\nCompared with what was there before:\n\n" + "".join(f"    {line}\n" for line in said)
    return card
