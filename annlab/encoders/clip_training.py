"""How the two encoders of a CLIP learn from images and what is said of them, and go on after a kill.

In the first stage both learn from each other; in the second, which costs a tenth, the images stay where they are and
the texts alone learn: all versions of a picture, more wordings. The loss of both asks which of the batch's captions
belongs to each image and which image to each caption, and that texts without a meaning are near none (`clip.py`).

A checkpoint holds the stage, both networks, the moments of the optimizer, and the states of the generators and of the
learning rate, so a training that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import json
import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import nn, torch
from annlab.encoders.augment import Augment
from annlab.encoders.captions import CaptionSource, Tags, nonsense
from annlab.encoders.checkpoints import (
    load_unfinished,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    under,
)
from annlab.encoders.clip import Clip, ClipConfig, TextEncoder
from annlab.encoders.cnn import ThinCNN
from annlab.encoders.losses import clip_loss
from annlab.encoders.objective import descend
from annlab.encoders.trained import as_nchw, embed, normalised, pixel_statistics
from annlab.encoders.training_config import has_bfloat16

__all__ = ["refine_texts", "train_clip", "train_on_captions"]

Progress = Callable[[dict[str, float]], None]
_BOTH, _TEXTS = "both", "texts"  # the stages
_ASKED = 64  # images whose captions tell one source from another


def train_clip(
    images: npt.NDArray[np.uint8],
    tags: Sequence[str],
    templates: Sequence[str],
    config: ClipConfig | None = None,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> Clip:
    """Train both encoders on images and captions made from their tags, a new wording for each image in every epoch.

    Parameters
    ----------
    images : uint8 array, shape (n, height, width[, channels])
    tags : sequence of str, length n
        What each image shows.
    templates : sequence of str
        Wordings with a place {} for the tag.
    config : ClipConfig, optional
    progress : callable, optional
        Called with {"epoch", "texts_alone", "loss", "cpu_seconds"} after each epoch.
    checkpoint : path, optional
        Written after every epoch. Where it exists already, training goes on from it.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    CheckpointError
        If the checkpoint is damaged, or of another training.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    >>> config = ClipConfig(epochs=1, batch_size=8, widths=(8, 12, 16), dim=16)
    >>> clip = train_clip(images, ["cat", "dog"] * 20, ["a photo of a {}"], config)
    >>> clip.embed_texts(["a cat"]).shape, clip.embed_images(images[:2]).shape
    ((1, 16), (2, 16))
    """
    if len(tags) != len(images):
        raise ValueError(f"{len(images)} images need as many tags, got {len(tags)}")
    return train_on_captions(images, Tags(tags, templates), config, progress, checkpoint=checkpoint)


def train_on_captions(
    images: npt.NDArray[np.uint8],
    captions: CaptionSource,
    config: ClipConfig | None = None,
    progress: Progress | None = None,
    versions: npt.NDArray[np.int64] | None = None,
    checkpoint: str | Path | None = None,
) -> Clip:
    """Train both encoders on images and whatever captions a source draws for them; as `train_clip` otherwise.

    `versions` has one number for all versions of one picture (another colour, another size): of these an epoch takes
    one, drawn anew, so that a picture of many versions does not count many times.
    """
    config = config or ClipConfig()
    pixels = as_nchw(images)
    versions = np.arange(len(pixels)) if versions is None else np.asarray(versions)
    if not len(captions) == len(versions) == len(pixels):
        raise ValueError(
            f"{len(pixels)} images need as many captions and versions, got {len(captions)} and {len(versions)}"
        )
    if not 2 <= config.batch_size:
        raise ValueError(f"batch_size={config.batch_size}: the other captions of a batch are the negatives; at least 2")
    identity = _identity(pixels, captions, versions, config)
    tensors, kept = _unfinished(checkpoint, identity)
    both = _Both(pixels, captions, versions, config)
    if kept.get("stage") == _TEXTS:  # the images have learned
        both.load_networks(tensors)
    else:
        _run(both, config.epochs, progress, checkpoint, identity, tensors, kept)
    clip = Clip(both.images.cpu(), both.texts.cpu(), both.mean, both.std)
    if config.text_epochs:
        texts = _TextsAlone(clip, pixels, captions, config)
        own = (tensors, kept) if kept.get("stage") == _TEXTS else ({}, {})
        _run(texts, config.text_epochs, progress, checkpoint, identity, *own)
        clip.texts.eval()
    return clip


def refine_texts(
    clip: Clip,
    pixels: npt.NDArray[np.uint8],
    captions: CaptionSource,
    config: ClipConfig,
    progress: Progress | None = None,
) -> None:
    """Train the texts alone for `config.text_epochs`; `pixels`, (n, channels, height, width), stay where they are.

    All randomness comes from the seed, so it may be done later, with weights that were kept.
    """
    _run(_TextsAlone(clip, pixels, captions, config), config.text_epochs, progress, None, {}, {}, {})
    clip.texts.eval()


class _Stage:
    """Networks that learn batch by batch, and all that a checkpoint keeps of them."""

    name: str
    images: ThinCNN
    texts: TextEncoder
    log_scale: nn.Parameter  # of the inverse temperature
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.OneCycleLR
    rng: np.random.Generator
    generator: torch.Generator

    def learn(self, parameters: list[nn.Parameter], config: ClipConfig, n_steps: int) -> None:
        """Prepare the optimizer."""
        self.optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, total_steps=n_steps)

    def batches(self) -> list[npt.NDArray[np.int64]]:
        """The rows of the batches of an epoch."""
        raise NotImplementedError

    def loss(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        """The loss of a batch."""
        raise NotImplementedError

    def epoch(self, number: int, learning_rate: float) -> dict[str, float]:
        """Learn from every picture once; the row of the history."""
        started, losses = time.process_time(), list[float]()
        for rows in self.batches():
            place, advice = (
                f"epoch {number + 1}, step {len(losses) + 1}",
                f"lower learning_rate (now {learning_rate:g})",
            )
            losses.append(descend(self.loss(rows), self.optimizer, place, advice))
            self.schedule.step()
        seconds = time.process_time() - started
        alone = float(self.name == _TEXTS)
        return {"epoch": number + 1.0, "texts_alone": alone, "loss": float(np.mean(losses)), "cpu_seconds": seconds}

    def save(self, path: str | Path, history: list[dict[str, float]], identity: Mapping[str, Any]) -> None:
        tensors = {f"images/{name}": tensor for name, tensor in self.images.state_dict().items()}
        tensors |= {f"texts/{name}": tensor for name, tensor in self.texts.state_dict().items()}
        tensors |= {"log_scale": self.log_scale, "generator": self.generator.get_state()}
        tensors |= optimizer_tensors(self.optimizer)
        manifest = {"kind": "clip training", "stage": self.name, "run": identity, "history": history,
                    "rng": self.rng.bit_generator.state}  # fmt: skip
        save_checkpoint(path, tensors, manifest)

    def load_networks(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.images.load_state_dict(under("images/", tensors))
        self.texts.load_state_dict(under("texts/", tensors))

    def restore(self, tensors: Mapping[str, torch.Tensor], kept: Mapping[str, Any]) -> None:
        self.load_networks(tensors)
        with torch.no_grad():
            self.log_scale.copy_(tensors["log_scale"])
        self.generator.set_state(tensors["generator"])
        self.rng.bit_generator.state = kept["rng"]
        restore_optimizer(self.optimizer, tensors)
        with warnings.catch_warnings():  # that the optimizer has made no step: it has, in another process
            warnings.simplefilter("ignore", UserWarning)
            for _ in range(int(next(iter(self.optimizer.state.values()))["step"])):
                self.schedule.step()


class _Both(_Stage):
    """Both networks learn, each from the other."""

    name = _BOTH

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        captions: CaptionSource,
        versions: npt.NDArray[np.int64],
        config: ClipConfig,
    ) -> None:
        self.pixels, self.captions = pixels, captions
        _, self.versions = np.unique(versions, return_inverse=True)
        self.n_distinct = int(self.versions.max()) + 1
        self.mean, self.std = pixel_statistics(pixels)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.images = ThinCNN(pixels.shape[1], config.widths, config.dim, config.grid, config.hidden)
            self.texts = TextEncoder(config.dim, config.n_buckets, config.word_width)
        self.images.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.texts.to(self.device)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0), device=self.device))
        self.size = min(config.batch_size, self.n_distinct)
        parameters = [*self.images.parameters(), *self.texts.parameters(), self.log_scale]
        self.learn(parameters, config, config.epochs * (self.n_distinct // self.size))
        self.augment, self.generator = config.augment or Augment.mild(), torch.Generator().manual_seed(config.seed)
        self.rng, self.distractors = np.random.default_rng(config.seed), config.distractors
        self.bfloat16 = has_bfloat16() if config.bfloat16 is None else config.bfloat16

    def batches(self) -> list[npt.NDArray[np.int64]]:
        """Every picture once, in one of its versions, in random order, in batches of one size."""
        order = self.rng.permutation(len(self.pixels))
        if self.n_distinct < len(order):
            order = order[np.sort(np.unique(self.versions[order], return_index=True)[1])]
        return [order[i * self.size : (i + 1) * self.size] for i in range(len(order) // self.size)]

    def loss(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        batch = torch.from_numpy(self.pixels[rows]).to(self.device)  # (size, channels, height, width) uint8
        views = normalised(self.augment(batch.float() / 255, self.generator), self.mean, self.std)  # the same, float32
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            of_images = self.images(views)  # (size, dim)
        captions, true = self.captions.draw(rows, self.rng)
        of_texts = self.texts([*captions, *nonsense(self.distractors, self.rng)])  # (size + distractors, dim)
        own, others = of_texts[: len(rows)], of_texts[len(rows) :]  # (size, dim), (distractors, dim)
        same = torch.from_numpy(true).to(self.device)  # (size, size)
        return clip_loss(of_images, own, self.log_scale.exp().clamp(max=100.0), same, others)


class _TextsAlone(_Stage):
    """The texts learn, from images that stay where they are."""

    name = _TEXTS

    def __init__(self, clip: Clip, pixels: npt.NDArray[np.uint8], captions: CaptionSource, config: ClipConfig) -> None:
        self.images, self.texts, self.captions = clip.images, clip.texts, captions
        self.of_images = torch.from_numpy(embed(clip.images, pixels, clip.mean, clip.std))  # (n, dim)
        self.rng, self.size = np.random.default_rng((config.seed, 1)), min(2 * config.batch_size, len(pixels))
        self.generator, self.distractors = torch.Generator(), 2 * config.distractors
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        n_steps = config.text_epochs * (len(pixels) // self.size)
        self.learn([*clip.texts.train().parameters(), self.log_scale], config, n_steps)

    def batches(self) -> list[npt.NDArray[np.int64]]:
        """All versions of every picture."""
        order = self.rng.permutation(len(self.of_images))
        return [order[start : start + self.size] for start in range(0, len(order) - self.size + 1, self.size)]

    def loss(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        drawn, true = self.captions.draw(rows, self.rng)
        of_texts = self.texts([*drawn, *nonsense(self.distractors, self.rng)])  # (size + distractors, dim)
        scale, same = self.log_scale.exp().clamp(max=100.0), torch.from_numpy(true)
        return clip_loss(self.of_images[rows], of_texts[: len(rows)], scale, same, of_texts[len(rows) :])


def _run(
    stage: _Stage,
    n_epochs: int,
    progress: Progress | None,
    checkpoint: str | Path | None,
    identity: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    kept: Mapping[str, Any],
) -> None:
    """What is left of the epochs of a stage, of which a checkpoint may have kept a part."""
    history: list[dict[str, float]] = list(kept.get("history", []))
    if kept:
        stage.restore(tensors, kept)
    for number in range(len(history), n_epochs):
        history.append(stage.epoch(number, stage.optimizer.defaults["lr"]))
        if checkpoint is not None:
            stage.save(checkpoint, history, identity)
        if progress is not None:
            progress(history[-1])


def _identity(
    pixels: npt.NDArray[np.uint8], captions: CaptionSource, versions: npt.NDArray[np.int64], config: ClipConfig
) -> dict[str, Any]:
    """What a checkpoint must have in common with a run."""
    some = np.unique(np.linspace(0, len(pixels) - 1, _ASKED).astype(np.int64))
    said = json.dumps(captions.draw(some, np.random.default_rng(0))[0])
    return {
        **json.loads(json.dumps(asdict(config))),
        "images": f"{len(pixels)} with checksum {zlib.crc32(pixels.data):08x}",
        "captions": f"{type(captions).__name__} with checksum {zlib.crc32(said.encode()):08x}",
        "versions": f"{zlib.crc32(np.ascontiguousarray(versions).data):08x}",
    }


def _unfinished(
    checkpoint: str | Path | None, identity: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and the manifest of the checkpoint, which are empty where there is none."""
    if checkpoint is None or not Path(checkpoint).exists():
        return {}, {}
    return load_unfinished(checkpoint, identity)
