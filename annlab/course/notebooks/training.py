"""Exercises of notebooks 10, 11 and 15: losses, and what a tile saves."""

from __future__ import annotations

from typing import Any

import numpy as np

from annlab.course.answers import call, expect_close, number
from annlab.course.registry import exercise


@exercise("10-first-loss", "A batch of 8 pictures in two views each goes through NT-Xent: every view has one "
          "positive and all other views as negatives. All similarities are equal. What is the loss, to two decimal "
          "places?")  # fmt: skip
def first_loss(answer: Any) -> str:
    """log(2 n - 1)."""
    expect_close(number(answer, 0), np.log(2 * 8 - 1), "Minus the logarithm of the share of the right one among all "
                                                 "candidates; "
                 "they are equal, so count them.", [
        (np.log(8), "That counts the pictures; there are two views of each."),
        (np.log(16), "A view is no candidate for itself: one less."),
        (np.log(14), "The positive is a candidate, too, beside the negatives."),
        (np.log2(15), "Natural logarithms."),
    ], rtol=2e-3)  # fmt: skip
    return "A training that begins much above has an error; one that stays there learns nothing."


@exercise("11-clip-loss", "Write clip_loss(images, texts, scale): rows (n, d) of length 1, row i of both a pair. "
                          "The mean of two "
          "cross-entropies: over the texts for each image, and over the images for each text, of cosines times "
          "scale.")  # fmt: skip
def clip_loss(answer: Any) -> str:
    """Symmetric cross-entropy."""
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 20, 8))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts * 0.3 + images + 0.5
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    logits = images @ texts.T * 8.0
    own = np.diag(logits)
    rows, columns = (np.log(np.exp(logits).sum(axis=axis)) - own for axis in (1, 0))
    plain = images @ texts.T
    unscaled = [np.log(np.exp(plain).sum(axis=axis)) - np.diag(plain) for axis in (1, 0)]
    expect_close(number(call(answer, images, texts, 8.0)), (rows.mean() + columns.mean()) / 2, "For each row, and "
                                                                                               "for each "
                 "column, of scale * images @ texts.T: the logarithm of the sum of exponentials, less the diagonal.", [
        (rows.mean(), "That asks which text belongs to an image only; ask which image belongs to a text, too."),
        (columns.mean(), "That asks which image belongs to a text only; ask which text belongs to an image, too."),
        (rows.mean() + columns.mean(), "That is the sum; the mean of both is asked for."),
        (np.mean(unscaled), "The scale is missing."),
        (-own.mean(), "That is the diagonal alone: without the others everything would collapse to one point."),
        ((rows.sum() + columns.sum()) / 2, "That is summed over the batch; the mean is asked for."),
    ], rtol=1e-5)  # fmt: skip
    return "Both questions together make one space of two."


@exercise("15-loads", "A tile holds 12 queries against 2 registers of 16 rows. For each dimension it loads the 2 "
                      "registers of rows "
          "and broadcasts 12 numbers. How many multiply-adds of single numbers are done for each of these 14 "
          "loads?")  # fmt: skip
def loads(answer: Any) -> str:
    """12 * 32 / 14."""
    expect_close(number(answer, 0), 12 * 32 / 14, "Queries times rows, over loads and broadcasts.", [
        (24 / 14, "These are instructions; each does sixteen numbers."),
        (12 * 32 / 2, "The broadcasts of the queries' numbers are loads, too."),
        (12 * 16 / 14, "There are two registers of rows."),
        (16.0, "That is one register with one query; a tile uses each load many times."),
    ], rtol=4e-3)  # fmt: skip
    return "Three plain loops do half a multiply-add for each load."
