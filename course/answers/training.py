"""Answers to the exercises of notebooks 10, 11 and 15, and mistakes with words of what is said to them. Not in the "
"wheel."""

import numpy as np


def both(images, texts, scale):
    logits = images @ texts.T * scale
    return [np.log(np.exp(logits).sum(axis=axis)) - np.diag(logits) for axis in (1, 0)]


def diagonal(images, texts, scale):
    return -(images * texts).sum(axis=1).mean() * scale


def clip_loss(images, texts, scale):
    return np.mean(both(images, texts, scale))


ANSWERS = {
    "10-first-loss": lambda: np.log(15),
    "11-clip-loss": lambda: clip_loss,
    "15-loads": lambda: 27.43,
}
MISTAKES = [
    ("10-first-loss", lambda: np.log(8), "two views"),
    ("10-first-loss", lambda: np.log(16), "no candidate for itself"),
    ("10-first-loss", lambda: np.log(14), "positive is a candidate"),
    ("10-first-loss", lambda: np.log2(15), "Natural"),
    ("10-first-loss", lambda: 1, "count them"),
    ("11-clip-loss", lambda: lambda *given: both(*given)[0].mean(), "image only"),
    ("11-clip-loss", lambda: lambda *given: both(*given)[1].mean(), "text only"),
    ("11-clip-loss", lambda: lambda *given: 2 * clip_loss(*given), "the sum"),
    ("11-clip-loss", lambda: lambda images, texts, scale: clip_loss(images, texts, 1), "scale is missing"),
    (
        "11-clip-loss",
        lambda: diagonal,
        "diagonal alone",
    ),
    ("11-clip-loss", lambda: lambda *given: np.sum(both(*given)) / 2, "summed over the batch"),
    ("11-clip-loss", lambda: lambda *given: 0.0, "less the diagonal"),
    ("15-loads", lambda: 24 / 14, "instructions"),
    ("15-loads", lambda: 192, "broadcasts"),
    ("15-loads", lambda: 192 / 14, "two registers"),
    ("15-loads", lambda: 16, "one register"),
    ("15-loads", lambda: 100, "Queries times rows"),
]
