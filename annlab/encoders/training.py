"""Training an encoder: from images and a source of positive pairs to a network whose embeddings retrieve.

One step takes a batch of training points (query, positive, and hard negatives where the source knows some), makes an
augmented view of every image, embeds all of them in one pass, and lets the loss pull each query to its positive and
push it from everything else. How many steps there are says `schedule.py`; an epoch is a pass over the training images,
or some passes where these are few. After each epoch the validation images, which no training point may touch, are
embedded and searched.

Reproducible and resumable: all randomness of an epoch comes from (seed, epoch), so a run that was killed continues from
its last checkpoint and ends with the same bits as one that was not (on the same machine, torch version and number of
threads). The checkpoint holds weights, optimizer moments and history as plain arrays.

Where one pair is all that is known of an image (augmentation, clicks), the loss demands too much: to forget whatever
the augmentations change, and to keep apart images of one kind that nobody called similar. So the fully connected layers
that it acts on are thrown away (Chen et al., 2020), and the embedding becomes what best keeps the convolutional map in
`dim` numbers: its principal components, measured on training images, while it learns; at the end a `Readout`, which
looks closer and costs more (`readout.py`). Labels say of all pairs whether they are similar; the fully connected layers
that learn from them stay, and where views were mirrored an image is embedded together with its mirror image.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg

from annlab.encoders._torch import nn, torch
from annlab.encoders.augment import Augment
from annlab.encoders.checkpoints import (
    load_unfinished,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    under,
)
from annlab.encoders.cnn import Projection, ThinCNN
from annlab.encoders.objective import TrainingError, batch_loss, class_vectors, descend, learned, plateau_and_floor
from annlab.encoders.pairs import AugmentationPairs, PairSource
from annlab.encoders.readout import Readout, n_words_for
from annlab.encoders.schedule import fitting_batch
from annlab.encoders.trained import Trained, as_nchw, embed, normalised, pixel_statistics
from annlab.encoders.training_config import TrainConfig
from annlab.encoders.validation import mean_cosine, retrieval_metrics, view_recall
from annlab.evaluation.checks import as_labels

__all__ = ["TrainConfig", "Trained", "TrainingError", "train"]

N_PCA_IMAGES = 4000


def train(
    images: npt.NDArray[np.uint8],
    source: PairSource | None = None,
    config: TrainConfig | None = None,
    *,
    labels: npt.ArrayLike | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
    """Train a thin CNN.

    Parameters
    ----------
    images : uint8 array, shape (n, height, width) or (n, height, width, 1 or 3)
    source : PairSource, optional
        Where positives come from; None: `AugmentationPairs`, which needs nothing but the images.
    config : TrainConfig, optional
    labels : array of int or str, shape (n,), optional
        For validation only: precision and mean average precision of the held-out images. Without labels a held-out
        image has to find its own second view.
    checkpoint : path, optional
        Written after every epoch. Where it exists already, training goes on from it.
    progress : callable, optional
        Called after every epoch with its row of the history.

    Returns
    -------
    Trained
        The weights of the best epoch by validation.

    Raises
    ------
    TrainingError
        If the loss is not finite or the embeddings collapse.
    ValueError
        If images, labels and source do not fit together, or the checkpoint is of another run.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    >>> trained = train(images, config=TrainConfig(epochs=1, batch_size=16))
    >>> trained.embed(images[:3]).shape
    (3, 128)
    """
    pixels = as_nchw(images)
    source = AugmentationPairs(len(pixels)) if source is None else source
    if source.n_images != len(pixels):
        raise ValueError(f"the source of pairs refers to {source.n_images} images, but {len(pixels)} were given")
    run = _Run(
        pixels,
        source,
        (config or TrainConfig()).resolved(source, pixels.shape[1]),
        _checked_labels(labels, len(pixels)),
    )
    if checkpoint is not None and Path(checkpoint).exists():
        run.resume(checkpoint)
    while not run.finished:
        row = run.epoch()
        if checkpoint is not None:
            run.save(checkpoint)
        if progress is not None:
            progress(row)
    return run.result()


class _Run:
    """One training run: the state that an epoch changes and a checkpoint holds."""

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        source: PairSource,
        config: TrainConfig,
        labels: npt.NDArray[np.int64] | None,
    ) -> None:
        self.pixels, self.config, self.labels = pixels, config, labels
        self.temperature = cast(float, config.temperature)  # `resolved` has left no None
        self.augment = cast(Augment, config.augment)
        n = len(pixels)
        order = np.random.default_rng(config.seed).permutation(n)
        self.validation = np.sort(order[: min(config.validation_size, n // 10)])
        training = np.ones(n, dtype=bool)
        training[self.validation] = False
        self.source = source.restricted(training)
        self.n_training = n - len(self.validation)
        self.size, self.schedule = fitting_batch(self.n_training, config.batch_size), config.schedule(self.n_training)
        self.reference = plateau_and_floor(self.source, self.size, config)
        self.mean, self.std = pixel_statistics(pixels[training])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            hidden = 0 if config.projection else 2 * config.dim
            mirrored = not config.projection and self.augment.flip > 0
            grid, whitened = cast(int, config.grid), cast(bool, config.whitened)
            self.network = ThinCNN(pixels.shape[1], config.widths, config.dim, grid, hidden, mirrored, whitened)
            n_features = self.network.n_features
            self.projection = Projection(n_features, config.dim) if config.projection else nn.Identity()
            classes = class_vectors(self.source, config)
        if config.projection and config.dim > n_features:
            raise ValueError(
                f"dim={config.dim} exceeds the {n_features} numbers of the last map, of which it is a part"
            )
        self.network.whiten(self._some_images(), np.random.default_rng(config.seed))
        self.model = nn.ModuleList([self.network, self.projection])
        if classes is not None:
            self.model.append(nn.ParameterList([classes]))
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        )
        self.history: list[dict[str, float]] = []
        self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    @property
    def finished(self) -> bool:
        return self.schedule.is_over(self.history)

    def epoch(self) -> dict[str, float]:
        """Train one round of the schedule, validate, and return the row for the history."""
        number, started, on_wall = len(self.history), time.process_time(), time.monotonic()
        done, before = (int(self.history[-1]["steps"]), self.history[-1]["seconds"]) if self.history else (0, 0.0)
        seeds = np.random.SeedSequence([self.config.seed, number]).spawn(2)
        rng = np.random.default_rng(seeds[0])
        generator = torch.Generator().manual_seed(int(seeds[1].generate_state(1)[0]))
        size, n_steps = self.size, self.schedule.steps_per_round
        points = self.source.sample(n_steps * size, rng, self.config.n_negatives)
        self.model.train()
        advice = (
            f"lower learning_rate (now {self.config.learning_rate:g}) or raise temperature (now {self.temperature:g})"
        )
        losses: list[float] = []
        while len(losses) < n_steps:
            step, seconds = done + len(losses), before + time.monotonic() - on_wall
            if losses and not self.schedule.in_time(step, seconds):
                break
            batch = slice(len(losses) * size, (len(losses) + 1) * size)
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate * self.schedule.rate(step, seconds)
            augment = self.config.augment_at(self.schedule.progress(step, seconds))
            loss = self._loss(points.query[batch], points.positive[batch], points.negatives[batch], augment, generator)
            losses.append(descend(loss, self.optimizer, f"epoch {number + 1}, step {len(losses) + 1}", advice))
        mean = sum(losses) / len(losses)
        row = {"epoch": number + 1.0, "steps": float(done + len(losses)), "loss": mean}
        share = learned(mean, self.reference)
        row |= ({} if share is None else {"learned": share}) | self._validate(int(row["steps"]))
        row["cpu_seconds"] = time.process_time() - started
        row["seconds"] = before + time.monotonic() - on_wall
        row["progress"] = self.schedule.progress(int(row["steps"]), row["seconds"])
        if not self.history or row["score"] > max(previous["score"] for previous in self.history):
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.history.append(row)
        return row

    def _loss(
        self,
        query: npt.NDArray[np.int64],
        positive: npt.NDArray[np.int64],
        negatives: npt.NDArray[np.int64],
        augment: Augment,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Views of all images of the batch, embedded in one pass, and the loss of their embeddings."""
        rows = np.concatenate([query, positive, negatives.ravel()])  # (n * (2 + n_negatives),)
        pixels = torch.from_numpy(self.pixels[rows]).to(self.device)  # (rows, channels, height, width) uint8
        views = augment(pixels.float() / 255, generator)  # (rows, channels, height, width)
        views = normalised(views, self.mean, self.std)  # (rows, channels, height, width)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bool(self.config.bfloat16)):
            if self.config.projection:
                vectors = self.projection(self.network.features(views))  # (rows, dim)
            else:
                vectors = self.network(views)  # (rows, dim)
        vectors = nn.functional.normalize(vectors.float(), dim=1)  # (rows, dim)
        classes = self.model[2][0] if len(self.model) > 2 else None  # type: ignore[index]
        return batch_loss(vectors, query, positive, self.source.groups, negatives.shape[1], self.config, classes)

    def _validate(self, n_steps: int) -> dict[str, float]:
        """Search the validation images by their embeddings; `score` is what the best epoch is chosen by. Before 50
        steps the running statistics of the normalisations have not settled, and a collapse is none."""
        self.model.eval()
        if self.config.projection:
            self._fit_embedding()
        if len(self.validation) < 2:
            return {"score": float(len(self.history))}  # nothing to choose by: the last epoch is the best
        pixels = self.pixels[self.validation]
        vectors = embed(self.network, pixels, self.mean, self.std)
        alike = mean_cosine(vectors)
        if alike > 0.995 and n_steps >= 50:
            raise TrainingError(
                f"the embeddings collapsed at epoch {len(self.history) + 1}: two different validation images have a "
                f"mean cosine similarity of {alike:.4f}. Lower learning_rate (now {self.config.learning_rate:g}), take "
                f"a larger batch_size (now {self.size}: the other images of the batch are the negatives), "
                f"or check that the images differ at all"
            )
        metrics = {"mean_cosine": alike}
        if self.labels is None:
            generator = torch.Generator().manual_seed(self.config.seed)
            views = [self.augment(torch.from_numpy(pixels).float() / 255, generator) for _ in range(2)]
            pair = [embed(self.network, (view * 255).byte().numpy(), self.mean, self.std) for view in views]
            return {**metrics, "view_recall": (found := view_recall(*pair)), "score": found}
        precision, average = retrieval_metrics(vectors, self.labels[self.validation])
        return {**metrics, "precision_at_10": precision, "mean_average_precision": average, "score": precision}

    def _fit_embedding(self) -> None:
        """Make the embedding the principal components of the convolutional map of some training images."""
        rows = self._some_rows()
        vectors = embed(self.network, self.pixels[rows], self.mean, self.std, part="features").astype(np.float64)
        centre = vectors.mean(0)  # (n_features,)
        covariance = np.cov(vectors - centre, rowvar=False)  # (n_features, n_features)
        components = linalg.eigh(covariance, subset_by_index=[len(centre) - self.config.dim, len(centre) - 1])[1].T
        layer = self.network.embedding
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(components))
            layer.bias.copy_(torch.from_numpy(-components @ centre))

    def _some_rows(self) -> npt.NDArray[np.int64]:
        """Training images that components are measured on."""
        return self.source.rows[:: max(1, len(self.source.rows) // N_PCA_IMAGES)]

    def _some_images(self) -> torch.Tensor:
        """The same, preprocessed."""
        return normalised(torch.from_numpy(self.pixels[self._some_rows()]).float() / 255, self.mean, self.std)

    def _readout(self, network: ThinCNN) -> Readout:
        images = self._some_images()
        readout = Readout(network, self.config.dim, n_words_for(len(images)), self.augment.flip > 0).eval()
        readout.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        readout.learn(images, np.random.default_rng(self.config.seed))
        return readout

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with this run: settings, and checksums of images and groups."""
        return {
            **json.loads(json.dumps(asdict(self.config))),
            "source": type(self.source).__name__,
            "images": f"{len(self.pixels)} with checksum {zlib.crc32(self.pixels.data):08x}",
            "groups": f"{zlib.crc32(self.source.groups.data):08x}",
        }

    def save(self, path: str | Path) -> None:
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= optimizer_tensors(self.optimizer)
        save_checkpoint(path, tensors, {"kind": "training", "history": self.history, "run": self._identity()})

    def resume(self, path: str | Path) -> None:
        tensors, manifest = load_unfinished(path, self._identity())
        self.model.load_state_dict(under("model/", tensors))
        self.best = under("best/", tensors)
        restore_optimizer(self.optimizer, tensors)
        self.history = manifest["history"]

    def result(self) -> Trained:
        self.network.load_state_dict(self.best)
        network: ThinCNN | Readout = self.network.cpu().eval()
        if self.config.projection:
            network = self._readout(self.network)
        height, width = (int(side) for side in self.pixels.shape[2:])
        settings = json.loads(json.dumps(asdict(self.config)))
        return Trained(network, self.mean, self.std, (height, width), settings, self.history)


def _checked_labels(labels: npt.ArrayLike | None, n: int) -> npt.NDArray[np.int64] | None:
    if labels is None:
        return None
    array = as_labels(labels, "labels")
    if array.shape != (n,):
        raise ValueError(f"labels must be {n} integers or names, one per image, got {array.dtype} of {array.shape}")
    return np.unique(array, return_inverse=True)[1].reshape(-1)
