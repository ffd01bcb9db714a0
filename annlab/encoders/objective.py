"""The loss of a batch of training points, by the name in the settings, and what it is before anything was learned.

A network whose embeddings are all equally similar has a loss that can be computed beforehand: log(candidates) for the
losses with a softmax, the margin for triplets. That is the plateau on which a training begins. `learned` says how much
of the way from there to the least possible loss lies behind: near 0 after a training, nothing was learned, whatever the
embeddings look like.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import torch
from annlab.encoders.losses import (
    contrastive_loss,
    info_nce,
    normalised_softmax,
    nt_xent,
    pair_distance,
    supervised_contrastive,
    triplet_loss,
)
from annlab.encoders.pairs import PairSource
from annlab.encoders.training_config import TrainConfig

__all__ = ["TrainingError", "batch_loss", "class_vectors", "descend", "learned", "plateau_and_floor"]

Rows = npt.NDArray[np.int64]


class TrainingError(RuntimeError):
    """Training cannot go on: a loss that is not finite, or collapsed embeddings. The message says what to change."""


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, place: str, advice: str) -> float:
    """Make a step of the optimizer; returns the loss. Raises a TrainingError if it is not finite."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(f"the loss is {value} at {place}: {advice}")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value


def class_vectors(source: PairSource, config: TrainConfig) -> torch.Tensor | None:
    """What an image is compared with by the loss of classes, at the beginning: (n_classes, dim); None for the others,
    which compare images with images."""
    if config.loss != "normalised_softmax":
        return None
    generator = torch.Generator().manual_seed(config.seed)
    return torch.randn(_n_classes(source), config.dim, generator=generator)


def _n_classes(source: PairSource) -> int:
    """How many classes there are, as `LabelPairs` numbers them: groups from the number of images on have none."""
    known = source.groups[source.groups < source.n_images]
    if not len(known):
        raise ValueError("no image has a label: the loss of classes has nothing to learn")
    return int(known.max()) + 1


def batch_loss(
    vectors: torch.Tensor,
    query: Rows,
    positive: Rows,
    groups: Rows,
    n_negatives: int,
    config: TrainConfig,
    classes: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean loss of n training points.

    Parameters
    ----------
    vectors : Tensor, shape (n * (2 + n_negatives), dim), rows of length 1
        Embeddings of the queries, of their positives, and of each query's negatives.
    query, positive : arrays of int64, shape (n,)
        Which rows of the images they are.
    groups : array of int64, shape (n_images,)
        That of the source: equal for images known to be similar.
    config : TrainConfig
        Resolved: loss, temperature, smoothing and margin.
    classes : Tensor, shape (n_classes, dim), optional
        Those of `class_vectors`, by now.
    """
    n, temperature = len(query), cast(float, config.temperature)
    first, second = vectors[:n], vectors[n : 2 * n]  # (n, dim) each
    drawn = vectors[2 * n :].view(n, n_negatives, vectors.shape[1])  # (n, n_negatives, dim)
    ours = torch.from_numpy(groups[query]).to(vectors.device)  # (n,)
    theirs = torch.from_numpy(groups[positive]).to(vectors.device)  # (n,)
    if config.loss == "supervised_contrastive":
        return supervised_contrastive(vectors[: 2 * n], torch.cat([ours, theirs]), temperature)
    if config.loss == "normalised_softmax":
        both, learnt = torch.cat([ours, theirs]), cast(torch.Tensor, classes)  # (2n,), (n_classes, dim)
        both = both.where(both < len(learnt), torch.full_like(both, -1))  # (2n,)
        return normalised_softmax(vectors[: 2 * n], both, learnt, temperature, config.smoothing)
    if config.loss == "info_nce":
        return info_nce(first, second, drawn, temperature)
    if config.loss == "triplet":
        return triplet_loss(first, second, drawn[:, 0], config.margin)
    same = (ours[:, None] == ours) | (ours[:, None] == theirs) | (theirs[:, None] == ours) | (theirs[:, None] == theirs)
    if config.loss == "contrastive":  # each query with its positive, and with its neighbour's where that differs
        distance = torch.cat([pair_distance(first, second), pair_distance(first, second.roll(1, 0))])  # (2n,)
        rolled = same.roll(1, 1).diagonal()  # (n,): is the neighbour's positive known to be similar?
        return contrastive_loss(distance, torch.cat([torch.ones_like(rolled), rolled]), config.margin)
    return nt_xent(first, second, temperature, same, drawn if n_negatives else None)


def plateau_and_floor(source: PairSource, n: int, config: TrainConfig) -> tuple[float, float] | None:
    """The loss of a batch of n points where all similarities are equal, and the least there can be; None for the
    contrastive loss, which has no such value.

    Examples
    --------
    Two classes of one size: half of the 2 n - 1 candidates are right, and share what the softmax gives.

    >>> from annlab.encoders.pairs import LabelPairs
    >>> config = TrainConfig(loss="supervised_contrastive", temperature=0.1)
    >>> [round(value, 2) for value in plateau_and_floor(LabelPairs([0, 0, 1, 1]), 50, config)]
    [4.6, 3.9]
    """
    if config.loss == "contrastive":
        return None
    if config.loss == "triplet":
        return config.margin, 0.0
    if config.loss == "info_nce":
        return math.log(1 + config.n_negatives), 0.0
    if config.loss == "normalised_softmax":
        n_classes = _n_classes(source)
        rest = config.smoothing / n_classes  # of the probability, for each other class
        wanted = np.array([1 - config.smoothing + rest, *[rest] * (n_classes - 1)])
        return math.log(n_classes), float(-(wanted * np.log(np.maximum(wanted, 1e-300))).sum())
    shares = np.unique(source.groups[source.rows], return_counts=True)[1] / len(source.rows)
    alike = float(np.square(shares).sum())  # of two random images: the probability that they are known to be similar
    if config.loss == "supervised_contrastive":
        return math.log(2 * n - 1), math.log(max(1.0, (2 * n - 1) * alike))
    return math.log(1 + (2 * n - 2) * (1 - alike)), 0.0


def learned(loss: float, reference: tuple[float, float] | None) -> float | None:
    """How much of the way from the plateau to the floor a loss has come; None where there is no way to go."""
    if reference is None or reference[0] - reference[1] < 0.05:
        return None
    return (reference[0] - loss) / (reference[0] - reference[1])
