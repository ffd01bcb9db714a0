"""Settings of a training run: defaults that suit small images, and choices made from the data where nothing is said."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

from annlab.encoders._torch import torch
from annlab.encoders.augment import Augment
from annlab.encoders.pairs import AugmentationPairs, LabelPairs, PairSource
from annlab.encoders.schedule import WARM_UP, Schedule, fitting_batch

__all__ = ["TrainConfig", "has_bfloat16"]

LOSSES = ("nt_xent", "supervised_contrastive", "normalised_softmax", "info_nce", "triplet", "contrastive")
EARLY = 2 / 3  # of the way, in which views have `early_size`


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. None means: chosen from the data, as described.

    Parameters
    ----------
    epochs : int, optional
        Passes over the images.
    batch_size : int, optional
        None: 256, and less where that would be more than an eighth of the images.
    steps : int, optional
        Steps in all. None, and no `epochs` or `minutes` either: ten passes, at least 1,000 steps (see `schedule.py`).
    minutes : float, optional
        As many steps as there is time for. Two such runs end with different weights, for no two have the same speed.
    learning_rate : float
        The peak; it rises over the first tenth of the way and falls along a cosine to 0.
    weight_decay : float
    loss : str, optional
        One of "nt_xent", "supervised_contrastive", "normalised_softmax" (of labels alone), "info_nce", "triplet",
        "contrastive"; None: supervised_contrastive where positives come from labels alone, else nt_xent.
    temperature : float, optional
        Of the softmax losses; None: 0.1 for those of labels, else 0.2.
    smoothing : float
        Of normalised_softmax.
    margin : float
        Of the other two.
    n_negatives : int
        Negatives drawn for each query besides those of the batch; hard ones first. "info_nce" and "triplet" need some.
    augment : Augment, optional
        None: strong for augmentation pairs, mild where positives come from people.
    early_size : float, optional
        Side of a view during the first two thirds of the way, in place of the `size` of `augment`. Small views teach
        the same shapes for less time, and the last third the details; None: one size all the way.
    projection : bool, optional
        Put the loss behind a projection, and principal components in its place later; None: for nt_xent, unless
        positives come from labels. It separates images of one kind too, where nothing says that they are similar.
    widths, dim, grid, whitened : the network, see `ThinCNN`
        grid None: 4 for grayscale images, 2 for colour; whitened None: for colour images. In gray outlines the strided
        network learns as much in less time.
    validation_size : int
        Images held out of training; never more than a tenth.
    patience : int, optional
        Stop after this many steps without a better validation result, those not counted in which the learning rate
        rises, views have `early_size` or the loss still stands where it began; None: half of all steps.
    seed : int
    bfloat16 : bool, optional
        Compute convolutions in bfloat16; None: where the processor does it natively (it halves the time).

    Examples
    --------
    >>> TrainConfig(minutes=5, loss="triplet", n_negatives=1).margin
    1.0
    """

    epochs: int | None = None
    batch_size: int | None = None
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    loss: str | None = None
    temperature: float | None = None
    smoothing: float = 0.1
    margin: float = 1.0
    n_negatives: int = 0
    augment: Augment | None = None
    early_size: float | None = None
    projection: bool | None = None
    widths: tuple[int, int, int] = (32, 64, 128)
    dim: int = 128
    grid: int | None = None
    whitened: bool | None = None
    validation_size: int = 5000
    patience: int | None = None
    seed: int = 0
    bfloat16: bool | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "steps", "patience", "dim"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        for name in ("learning_rate", "temperature", "margin", "minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}={value} must be a positive number")
        if self.early_size is not None and not 0.25 <= self.early_size <= 1.0:
            raise ValueError(f"early_size={self.early_size} is not in [0.25, 1]: it is a share of the image's side")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing={self.smoothing} is not in [0, 1): it is a share of a probability")
        if self.loss is not None and self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r} is none of {', '.join(LOSSES)}")
        if self.batch_size == 1:
            raise ValueError("batch_size=1 leaves a query without negatives; take at least 2, better hundreds")
        if self.loss in ("info_nce", "triplet") and self.n_negatives < 1:
            raise ValueError(f"loss={self.loss!r} compares with drawn negatives only: set n_negatives to at least 1")

    def schedule(self, n_images: int) -> Schedule:
        """How many steps this makes for so many training images, once `batch_size` is chosen."""
        size = fitting_batch(n_images, self.batch_size)
        undecided = WARM_UP if self.early_size is None else EARLY
        return Schedule.of(n_images, size, self.epochs, self.steps, self.minutes, self.patience, undecided)

    def augment_at(self, progress: float) -> Augment:
        """What makes views when so much of the way is done; of resolved settings."""
        augment = cast(Augment, self.augment)
        if self.early_size is None or progress >= EARLY:
            return augment
        return replace(augment, size=self.early_size)

    def resolved(self, source: PairSource, channels: int) -> TrainConfig:
        """The same settings with every None replaced by its choice; those of the budget stay, see `schedule`."""
        automatic = isinstance(source, AugmentationPairs)
        loss = self.loss or ("supervised_contrastive" if isinstance(source, LabelPairs) else "nt_xent")
        if loss == "normalised_softmax" and not isinstance(source, LabelPairs):
            raise ValueError('loss="normalised_softmax" learns classes: positives must come from labels')
        return replace(
            self,
            loss=loss,
            temperature=self.temperature or (0.1 if loss in ("supervised_contrastive", "normalised_softmax") else 0.2),
            grid=self.grid or (4 if channels == 1 else 2),
            whitened=channels == 3 if self.whitened is None else self.whitened,
            augment=self.augment or (Augment.strong(channels) if automatic else Augment.mild()),
            projection=loss == "nt_xent" and not isinstance(source, LabelPairs)
            if self.projection is None
            else self.projection,
            bfloat16=has_bfloat16() if self.bfloat16 is None else self.bfloat16,
        )


def has_bfloat16() -> bool:
    """Whether bfloat16 is native here: emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe is not None else False
