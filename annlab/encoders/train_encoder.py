"""From a folder of images to a finished encoder: what `annlab train` does.

The first two preprocessing steps (colour mode, size) run before training, on every image; the last two (0..1, z-score)
hold the statistics that training measured. Together they are the steps that the encoder is saved with, so that serving
repeats exactly what training saw.

A run that was killed leaves `training.npz` in the encoder's folder, and goes on from there when it is started again.
One that failed for good (no finite loss, collapsed embeddings) takes it away. The folder may hold other files; those
that are named as an encoder's are not replaced without being asked.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.encoder import Domain, Encoder, learn_domain
from annlab.encoders.image_sets import ImageSet
from annlab.encoders.images import decode_image
from annlab.encoders.outputs import publish, refuse_existing
from annlab.encoders.preprocess import ColorMode, Resize, ScaleToUnit, Step, ZScore

if TYPE_CHECKING:
    from annlab.encoders.pairs import PairSource
    from annlab.encoders.trained import Trained
    from annlab.encoders.training_config import TrainConfig

DEFAULT_SIDE = 32
# The manifest last: it says that the rest is there. Only an encoder that learned from captions has texts.
PARTS = ("model.onnx", "texts.npz", "MODEL_CARD.md", "encoder.json")
CHECKPOINT = "training.npz"


def train_encoder(
    images: ImageSet,
    out: str | os.PathLike[str],
    positives: str = "augmentation",
    labels: NDArray[Any] | None = None,
    size: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    threads: int = 2,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
    overwrite: bool = False,
    pairs: Callable[[NDArray[np.int64]], PairSource] | None = None,
) -> Encoder:
    """Train a thin CNN on images, and on captions where they are the positives; write the encoder's folder.

    Parameters
    ----------
    images : ImageSet
        From `open_images`. Files that cannot be read are left out, and named.
    out : path
        The folder to write.
    positives : "augmentation", "labels" or "captions"; with `pairs` a word for these, such as "clicks"
        What counts as similar. Without "labels" no label is looked at, not even to choose the best epoch. "captions"
        (those of `images`) give an encoder that embeds texts, too; such a training starts anew after a kill.
    labels : array of shape (n,), optional
        Integers or names. Images whose name of a class is "" have none, and are left out where labels are used.
    size : int, optional
        Side of the square that images are scaled to; None: 32 for files, their own size for an array.
    epochs : int, optional
        None: the default of `TrainConfig`, or of `train_captions.CONFIG`.
    seed, threads : int
    command : str
        For the model card.
    say : callable
        Receives a line of progress.
    overwrite : bool
        Replace an encoder in the folder, and give up an unfinished training of other images or settings.
    pairs : callable, optional
        Gives the source of training points for the rows (n,) of `images` that could be read.

    Raises
    ------
    FileExistsError
        The folder holds a finished encoder, or a file where a part of one belongs.
    ValueError
        There are no labels to train with, no image could be read, or the folder holds an unfinished training of other
        images or settings.
    TrainingError
        The loss is not finite, or the embeddings collapse.
    """
    folder = Path(out)
    _refuse_folder(folder, overwrite)
    if positives == "captions" and images.captions is None:
        raise ValueError("there are no captions to learn from: give --captions FILE.tsv")
    if positives == "labels" and labels is None:
        raise ValueError("there are no labels to learn from: give --labels FILE.npy, or --positives augmentation")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"there are {len(images)} images but {len(labels)} labels")
    _refuse_without_export()
    import torch  # the extra's absence is explained by the modules below

    from annlab.encoders.augment import Augment
    from annlab.encoders.pairs import LabelPairs
    from annlab.encoders.training_config import TrainConfig

    torch.set_num_threads(threads)
    geometry, pixels, read = read_pixels(images, size, say)
    if positives == "captions":
        encoder, card = _with_captions(folder.name, images, (geometry, pixels, read), (epochs, seed), command, say)
        _write(encoder, card, folder, overwrite)
        return encoder
    config = TrainConfig(seed=seed) if epochs is None else TrainConfig(seed=seed, epochs=epochs)
    codes: NDArray[np.int64] | None = None
    source: PairSource | None = None
    if positives == "labels" and labels is not None:
        pixels, codes = _labelled(pixels, labels[read], say)
        source = LabelPairs(codes)
    if pairs is not None:  # people's pairs are few: views differ as much as without them, and what they rejected counts
        source = pairs(read)
        config = replace(config, n_negatives=1, augment=Augment.strong(pixels.shape[3]))
    say(f"training on {len(pixels)} images of {pixels.shape[1:]}, positives from {positives}, {config.epochs} epochs")
    trained = _trained(folder, pixels, source, config, codes, say, overwrite)
    encoder = encoder_of(trained, geometry, folder.name, _domain(pixels, images))
    _write(encoder, _card(encoder, trained, images, command, positives, len(pixels)), folder, overwrite)
    _forget(folder / CHECKPOINT)
    return encoder


def _write(encoder: Encoder, card: str, folder: Path, overwrite: bool) -> None:
    """The encoder's files into its folder, all of them or none."""
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".encoder-", dir=folder))
    try:
        encoder.save(staging, card)
        publish({staging / part: folder / part for part in PARTS if (staging / part).exists()}, overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _domain(pixels: NDArray[np.uint8], images: ImageSet) -> Domain:
    """What the encoder is for, learned from the images and said in words."""
    height, width, channels = pixels.shape[1:]
    kind = "grayscale" if channels == 1 else "colour"
    return learn_domain(pixels, f"{height}x{width} {kind} images like those of {Path(images.name).name}")


def _with_captions(
    name: str,
    images: ImageSet,
    prepared: tuple[list[Step], NDArray[np.uint8], NDArray[np.int64]],
    asked: tuple[int | None, int],
    command: str,
    say: Callable[[str], None],
) -> tuple[Encoder, str]:
    """Train on pictures and their captions: the encoder and its card. `prepared` is what `read_pixels` gave, `asked`
    the number of epochs and the seed."""
    from annlab.encoders.train_captions import CONFIG, encoder_of_clip, train_with_captions

    geometry, pixels, read = prepared
    captions = images.captions or []
    said = np.array([bool(captions[row]) for row in read], dtype=np.bool_)
    if not said.all():
        say(f"left out: {np.count_nonzero(~said)} images of which nothing is said")
    pixels, read = pixels[said], read[said]
    if len(pixels) < 2:
        raise ValueError(f"{len(pixels)} of {len(images)} images have a caption: at least 2 are needed to compare")
    epochs, seed = asked
    config = replace(CONFIG, epochs=CONFIG.epochs if epochs is None else epochs, seed=seed)
    say(f"training on {len(pixels)} images of {pixels.shape[1:]} and their captions, {config.epochs} epochs")
    versions = None if images.versions is None else images.versions[read]
    clip = train_with_captions(pixels, [captions[row] for row in read], config, versions, say)
    encoder = encoder_of_clip(clip, geometry, name, _domain(pixels, images))
    card = f"""# {name}

- Embeds: {encoder.domain.description}, and texts into the same space
- Embedding: {encoder.dim} numbers, length 1; compare by cosine
- Command: `{command}`
- Data: {len(pixels)} images from {Path(images.name).name} with captions; none was held out
- Seed: {seed}; settings: `{json.dumps(asdict(config), sort_keys=True)}`
- Licence: that of the images and captions, as far as they have one
"""
    return encoder, card


def _refuse_folder(folder: Path, overwrite: bool) -> None:
    """Raise before the work begins if the folder is none, or holds what the encoder's files would replace."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise FileExistsError(f"{folder} is not a folder: name another one for the encoder")
    if not overwrite and os.path.lexists(folder / "encoder.json"):
        raise FileExistsError(
            f"{folder} holds a finished encoder: name another folder, or replace the encoder with --overwrite"
        )
    # Beside a checkpoint the other parts may be this training's own, of a run that was killed while it wrote them.
    parts = [] if (folder / CHECKPOINT).is_file() else [folder / part for part in PARTS]
    refuse_existing(parts, overwrite)


def _refuse_without_export() -> None:
    """Raise before hours of training if what has to follow them is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'an encoder cannot be written without {", ".join(missing)}: pip install "annlab[encoders]"')


def _labelled(
    pixels: NDArray[np.uint8], labels: NDArray[Any], say: Callable[[str], None]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images that have a class, and its number: (n,)."""
    known = labels != "" if labels.dtype.kind == "U" else np.ones(len(labels), dtype=np.bool_)
    if not known.all():
        say(f"left out: {np.count_nonzero(~known)} images that lie in no class's folder")
    names, codes = np.unique(labels[known], return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"the images are of {len(names)} class(es), {', '.join(map(str, names))}: labels teach what is different "
            "from two on; without them use --positives augmentation"
        )
    return pixels[known], codes


def _trained(
    folder: Path,
    pixels: NDArray[np.uint8],
    source: PairSource | None,
    config: TrainConfig,
    codes: NDArray[np.int64] | None,
    say: Callable[[str], None],
    overwrite: bool,
) -> Trained:
    """Train with a checkpoint in the folder, which is made for it, and taken away if the training can never end."""
    from annlab.encoders.checkpoints import CheckpointError
    from annlab.encoders.training import TrainingError, train

    checkpoint, existed = folder / CHECKPOINT, folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)

    def run() -> Trained:
        return train(pixels, source, config, labels=codes, checkpoint=checkpoint, progress=lambda row: say(_line(row)))

    try:
        try:
            return run()
        except CheckpointError as error:
            if not overwrite:
                raise ValueError(f"{error}, which --overwrite does") from error
            _forget(checkpoint)
            return run()
    except TrainingError:
        _forget(checkpoint)
        raise
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _forget(checkpoint: Path) -> None:
    """Remove a checkpoint, and what kills have left of its predecessors."""
    for path in [checkpoint, *checkpoint.parent.glob(f"{checkpoint.name}.*.tmp")]:
        path.unlink(missing_ok=True)


def encoder_of(trained: Trained, geometry: list[Step], name: str, domain: Any, compact: bool = False) -> Encoder:
    """Export what training returned, with the preprocessing that it saw."""
    from annlab.encoders.export import export_encoder

    steps = [*geometry, ScaleToUnit(), ZScore(tuple(trained.mean), tuple(trained.std))]
    return export_encoder(trained.module, steps, name, domain, compact=compact)


def read_pixels(
    images: ImageSet, size: int | None, say: Callable[[str], None]
) -> tuple[list[Step], NDArray[np.uint8], NDArray[np.int64]]:
    """Bring images to one colour mode and size.

    Returns
    -------
    steps : the color mode and the resize that were applied
    pixels : (n, height, width, 1 or 3) uint8; grayscale only if every image is
    read : (n,) the rows of `images` that could be read
    """
    resize = None
    if size is not None or not isinstance(images.images, np.ndarray):
        side = size or DEFAULT_SIDE
        resize = Resize(side, side, "crop")
    for note in images.notes:
        say(note)
    rows: list[NDArray[np.uint8]] = []
    read: list[int] = []
    for number in range(len(images)):
        try:
            image = decode_image(images.images[number])[np.newaxis]
        except (ValueError, OSError) as error:
            say(f"left out: {error}")
            continue
        rows.append(image if resize is None else resize(image))
        read.append(number)
    if not rows:
        raise ValueError(f"none of the {len(images)} images in {images.name} could be read")
    color_mode = ColorMode("grayscale" if all(row.shape[3] == 1 for row in rows) else "rgb")
    pixels = np.concatenate([color_mode(row) for row in rows])
    return [color_mode, resize or Resize(pixels.shape[1], pixels.shape[2])], pixels, np.array(read)


def _line(row: dict[str, float]) -> str:
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "score"))
    return f"epoch {row['epoch']:.0f}: {numbers}"


def _card(encoder: Encoder, trained: Trained, images: ImageSet, command: str, positives: str, n: int) -> str:
    best = max(trained.history, key=lambda row: row["score"])
    labels = "used, as the source of positives and to choose the best epoch" if positives == "labels" else "not used"
    metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in best.items() if name not in ("epoch", "score"))
    return f"""# {encoder.name}

- Embeds: {encoder.domain.description}
- Embedding: {encoder.dim} numbers, length 1; compare by cosine
- Command: `{command}`
- Data: {n} images from {Path(images.name).name}; labels: {labels}
- Seed: {trained.config["seed"]}; settings: `{json.dumps(trained.config, sort_keys=True)}`
- Licence: that of the images, as far as they have one

Epoch {best["epoch"]:.0f} of {len(trained.history)}, measured on held-out training images:

| metric | value |
|---|---|
{metrics}
"""
