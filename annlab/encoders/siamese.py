"""A Siamese network: two images, one set of weights, one score; and verification, "are these two the same?".

Both images go through the same encoder (the twins share every weight), and the score of the pair is the cosine
similarity of the two embeddings. It is trained with the contrastive loss on pairs (Hadsell, Chopra and LeCun, 2006;
Bromley et al., 1993), by ``train(images, LabelPairs(labels), TrainConfig(loss="contrastive"))`` for example: what
`train` trains *is* the shared twin, so a Siamese network is a way to use an encoder, not another encoder.

A decision needs a threshold. The ROC curve shows every threshold's trade of false accepts against true accepts; the
equal error rate is the point where false accepts and false rejects are equally frequent. The threshold is chosen on
validation pairs and then applied to pairs that had no part in the choice: choosing it on the test pairs flatters the
result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import nn, torch
from annlab.encoders.encoder import Encoder
from annlab.encoders.trained import Trained
from annlab.evaluation.checks import as_numbers

__all__ = ["Roc", "Siamese", "balanced_pairs", "equal_error_rate", "roc_curve", "verification_rates"]


class Siamese(nn.Module):
    """Scores pairs of images with one shared encoder.

    Parameters
    ----------
    encoder : torch.nn.Module, Trained or Encoder
        A module maps tensors of preprocessed images to rows of length 1, such as `ThinCNN`, and is called with two of
        them. What training returned, or an encoder that was loaded, scores images as they are (`score`).

    Examples
    --------
    >>> from annlab.encoders.cnn import ThinCNN
    >>> network = Siamese(ThinCNN(channels=1)).eval()
    >>> image = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> round(network(image, image).item(), 4)
    1.0

    >>> from annlab.encoders import load_encoder                                          # doctest: +SKIP
    >>> Siamese(load_encoder("efficientnet-lite0")).score(["me.jpg"], ["you.jpg"])        # doctest: +SKIP
    array([0.31], dtype=float32)
    """

    def __init__(self, encoder: nn.Module | Trained | Encoder) -> None:
        super().__init__()
        self.encoder: Any = encoder.module if isinstance(encoder, Trained) else encoder
        self.embed = encoder.embed if isinstance(encoder, Trained) else getattr(encoder, "encode", None)

    def score(self, first: Any, second: Any) -> npt.NDArray[np.float32]:
        """Similarity in [-1, 1] of each image of `first` to the same of `second`, (n,).

        Parameters
        ----------
        first, second : what `Trained.embed` or `Encoder.encode` takes, of one length
            Arrays of uint8 images; for an encoder also lists of paths, bytes and Pillow images.
        """
        if self.embed is None:
            raise TypeError(
                "images are scored by Siamese(trained) or Siamese(encoder): a bare network knows nothing of their "
                "preprocessing; call it with two tensors"
            )
        if len(first) != len(second):
            raise ValueError(f"pairs need as many first images as second ones, got {len(first)} and {len(second)}")
        one, other = self.embed(first), self.embed(second)  # (n, dim) each
        return np.asarray((one * other).sum(1))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Similarity in [-1, 1] of each image of `first` to the same row of `second`; symmetric."""
        if not isinstance(self.encoder, nn.Module):
            raise TypeError("an encoder that was loaded takes images: call score(first, second)")
        if first.shape != second.shape:
            raise ValueError(
                f"a pair needs two images of one shape, got {tuple(first.shape)} and {tuple(second.shape)}"
            )
        one = self.encoder(first)  # (batch, dim)
        other = self.encoder(second)  # (batch, dim), by the same weights
        similarity: torch.Tensor = (one * other).sum(1)  # (batch,)
        return similarity


class Roc(NamedTuple):
    """One point per distinct score, thresholds falling: accept a pair when its score is at least the threshold."""

    threshold: npt.NDArray[np.float64]
    false_accept_rate: npt.NDArray[np.float64]
    true_accept_rate: npt.NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve: the probability that a same pair scores above a different one (ties count half)."""
        return float(np.trapezoid(self.true_accept_rate, self.false_accept_rate))


def roc_curve(scores: npt.ArrayLike, same: npt.ArrayLike) -> Roc:
    """Receiver operating characteristic of verification scores.

    Parameters
    ----------
    scores : array of float, shape (n,)
    same : array of bool, shape (n,)

    Returns
    -------
    Roc
        From (0, 0), at a threshold above every score, to (1, 1).

    Examples
    --------
    >>> roc_curve([0.9, 0.8, 0.3, 0.1], [True, True, False, False]).area
    1.0
    """
    score, truth = np.asarray(scores, dtype=np.float64), _as_truth(same)
    if score.shape != truth.shape or score.ndim != 1:
        raise ValueError(f"scores and same must be 1-d of one length, got shapes {score.shape} and {truth.shape}")
    if not np.isfinite(score).all():
        raise ValueError(f"scores hold NaN or inf, first at pair {int(np.flatnonzero(~np.isfinite(score))[0])}")
    n_same = int(truth.sum())
    if n_same in (0, len(truth)):
        raise ValueError(
            f"a ROC curve needs pairs of both kinds, got {n_same} same and {len(truth) - n_same} different"
        )
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    accepted_same = np.cumsum(truth[order])[last_of_tie]
    accepted = last_of_tie + 1
    return Roc(
        np.concatenate([[np.inf], score[order][last_of_tie]]),
        np.concatenate([[0.0], (accepted - accepted_same) / (len(truth) - n_same)]),
        np.concatenate([[0.0], accepted_same / n_same]),
    )


def _as_truth(same: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each pair is of one kind: bools, or 0 and 1. Anything else would be True without being meant."""
    values = as_numbers(same, "same", 1)
    strange = values[(values != 0) & (values != 1)]
    if len(strange):
        raise ValueError(f"same must say True or False (1 or 0) of each pair, but holds {strange[0]}")
    return values.astype(np.bool_)


def equal_error_rate(roc: Roc) -> tuple[float, float]:
    """The threshold at which false accepts and false rejects are nearest to equal, and their mean there.

    Returns
    -------
    (threshold, equal error rate)
    """
    false_reject_rate = 1 - roc.true_accept_rate
    at = int(np.argmin(np.abs(roc.false_accept_rate - false_reject_rate)))
    return float(roc.threshold[at]), float((roc.false_accept_rate[at] + false_reject_rate[at]) / 2)


def verification_rates(scores: npt.ArrayLike, same: npt.ArrayLike, threshold: float) -> tuple[float, float, float]:
    """Accuracy, false accept rate and false reject rate at a threshold that was chosen elsewhere."""
    accept, truth = np.asarray(scores) >= threshold, _as_truth(same)
    return float(np.mean(accept == truth)), float(accept[~truth].mean()), float((~accept[truth]).mean())


def balanced_pairs(
    labels: npt.ArrayLike, n: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Draw `n` pairs of rows for verification, half with equal labels and half with different ones.

    Returns
    -------
    first, second : arrays of int64, shape (n,)
    same : array of bool, shape (n,)
    """
    values = np.asarray(labels)
    classes, counts = np.unique(values, return_counts=True)
    if len(classes) < 2 or counts.max() < 2:
        raise ValueError(f"pairs need two classes and a class with two images, got {len(classes)} classes")
    same = np.arange(n) < n // 2
    first, second = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    missing = np.arange(n)
    while len(missing):  # draw at random and keep what is of the wanted kind
        first[missing], second[missing] = rng.integers(0, len(values), (2, len(missing)))
        equal = values[first[missing]] == values[second[missing]]
        missing = missing[(equal != same[missing]) | (first[missing] == second[missing])]
    return first, second, same
