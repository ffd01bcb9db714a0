"""CLIP: images and texts in one space, so that a sentence finds images and an image finds sentences.

Two encoders end in unit vectors of one length: a thin CNN for images, and for texts the mean of word vectors followed
by two fully connected layers. Trained on image-caption pairs, the loss asks which of the batch's captions belongs to
each image and which image to each caption (Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", 2021). Afterwards

- text to image and image to text are nearest-neighbour search across the two kinds of embeddings,
- zero-shot classification embeds one sentence per class ("a photo of a {}") and takes the nearest.

Words have no fixed vocabulary: a word is hashed, whole and as its letter triples, into a table of vectors, as in
fastText (Bojanowski et al., 2017), so a wording that was never trained on ("sneakers") still shares most of its
pieces with one that was ("sneaker"). The order of words is ignored: enough for captions made of class names and tags,
not for "a cat on a mat" against "a mat on a cat".
"""

from __future__ import annotations

import math
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import nn, torch
from annlab.encoders.augment import Augment
from annlab.encoders.cnn import ThinCNN
from annlab.encoders.losses import clip_loss
from annlab.encoders.trained import as_nchw, embed, normalised, pixel_statistics
from annlab.encoders.training import TrainingError
from annlab.encoders.training_config import has_bfloat16

__all__ = ["Clip", "ClipConfig", "TextEncoder", "captions_from_tags", "tokenize", "train_clip"]

N_BUCKETS = 4096


def tokenize(text: str, n_buckets: int = N_BUCKETS) -> npt.NDArray[np.int64]:
    """Token numbers of a text: each word and each letter triple of ``<word>``, hashed to 0..n_buckets-1.

    Lower-case, letters and digits only; the hash is CRC-32, the same on every machine. An empty text is one token.

    Examples
    --------
    >>> len(tokenize("A cat!")), len(np.intersect1d(tokenize("sneaker"), tokenize("sneakers")))
    (6, 6)
    """
    return _tokenize(text, n_buckets).copy()


@lru_cache(maxsize=10_000)
def _tokenize(text: str, n_buckets: int) -> npt.NDArray[np.int64]:
    """Captions repeat from epoch to epoch: each is taken apart once."""
    pieces: list[str] = []
    for word in re.findall(r"\w+", text.lower()):
        framed = f"<{word}>"
        pieces.append(framed)
        pieces.extend(framed[i : i + 3] for i in range(len(framed) - 2))
    return np.array([zlib.crc32(piece.encode()) % n_buckets for piece in pieces or [""]], dtype=np.int64)


def captions_from_tags(
    tags: Sequence[str], templates: Sequence[str], rng: np.random.Generator | None = None
) -> list[str]:
    """One caption per image from its tag (a class name, or several joined): a template is drawn for each.

    Examples
    --------
    >>> captions_from_tags(["dress", "bag"], ["a photo of a {}"])
    ['a photo of a dress', 'a photo of a bag']
    """
    if not templates or any("{}" not in template for template in templates):
        raise ValueError(f"every template needs a place for the tag, {{}}; got {list(templates)}")
    draw = (rng or np.random.default_rng(0)).integers(0, len(templates), len(tags))
    return [templates[i].replace("{}", tag) for i, tag in zip(draw, tags, strict=True)]


class TextEncoder(nn.Module):
    """Mean of hashed word vectors, two fully connected layers, length 1.

    Parameters
    ----------
    dim : int
        Length of the embedding, that of the image encoder.
    n_buckets : int
        Rows of the table of vectors that words are hashed into.
    width : int
        Length of the word vectors.
    """

    def __init__(self, dim: int = 128, n_buckets: int = N_BUCKETS, width: int = 64) -> None:
        super().__init__()
        self.n_buckets = n_buckets
        self.words = nn.EmbeddingBag(n_buckets, width, mode="mean")
        self.hidden = nn.Linear(width, 2 * dim)
        self.embedding = nn.Linear(2 * dim, dim)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Embed texts: float32, shape (len(texts), dim), rows of length 1."""
        tokens = [_tokenize(text, self.n_buckets) for text in texts]
        starts = np.cumsum([0] + [len(row) for row in tokens[:-1]])
        device = self.words.weight.device
        flat = torch.from_numpy(np.concatenate(tokens)).to(device)  # (all tokens,)
        means = self.words(flat, torch.from_numpy(starts).to(device))  # (texts, width)
        hidden = self.hidden(means).relu()  # (texts, 2 * dim)
        return nn.functional.normalize(self.embedding(hidden), dim=1)  # (texts, dim)


@dataclass(frozen=True)
class ClipConfig:
    """Settings of a CLIP training: as in `TrainConfig`, for pairs of image and caption."""

    epochs: int = 5
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    widths: tuple[int, int, int] = (32, 64, 128)
    dim: int = 128
    grid: int = 4
    seed: int = 0
    bfloat16: bool | None = None


class Clip:
    """Image and text encoders of one space.

    Attributes
    ----------
    images : ThinCNN
    texts : TextEncoder
    mean, std : statistics of the z-score of the training images
    """

    def __init__(self, images: ThinCNN, texts: TextEncoder, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.images, self.texts, self.mean, self.std = images.eval(), texts.eval(), mean, std

    def embed_images(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 images (n, height, width[, channels]) -> float32 (n, dim), rows of length 1."""
        return embed(self.images, as_nchw(images), self.mean, self.std)

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Texts -> float32 (n, dim), rows of length 1, comparable with `embed_images`."""
        if isinstance(texts, str) or not len(texts):
            raise ValueError("texts must be a sequence of at least one string, not a single string")
        with torch.inference_mode():
            vectors: npt.NDArray[np.float32] = self.texts(texts).cpu().numpy()
        return vectors

    def classify(
        self, images: npt.NDArray[np.uint8], class_names: Sequence[str], templates: Sequence[str] = ("a photo of a {}",)
    ) -> npt.NDArray[np.int64]:
        """Zero-shot classification: the class whose sentences' mean embedding is nearest to the image.

        Parameters
        ----------
        images : uint8 array, shape (n, height, width[, channels])
        class_names : sequence of str
        templates : sequence of str
            Each with a place {} for the name; their embeddings are averaged.

        Returns
        -------
        array of int64, shape (n,)
            Positions in `class_names`.
        """
        prompts = [captions_from_tags(class_names, [template]) for template in templates]
        centres = np.mean([self.embed_texts(texts) for texts in prompts], axis=0)  # (n_classes, dim)
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        return (self.embed_images(images) @ centres.T).argmax(1).astype(np.int64)


def train_clip(
    images: npt.NDArray[np.uint8],
    tags: Sequence[str],
    templates: Sequence[str],
    config: ClipConfig | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
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
        Called with {"epoch", "loss", "cpu_seconds"} after each epoch.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    """
    config = config or ClipConfig()
    pixels = as_nchw(images)
    if len(tags) != len(pixels):
        raise ValueError(f"{len(pixels)} images need as many tags, got {len(tags)}")
    if not 2 <= config.batch_size:
        raise ValueError(f"batch_size={config.batch_size}: the other captions of a batch are the negatives; at least 2")
    run = _ClipRun(pixels, np.asarray(tags), templates, config)
    for epoch in range(config.epochs):
        started = time.process_time()
        losses = []
        for rows in run.batches():
            loss = run.loss(rows)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss is {losses[-1]} at epoch {epoch + 1}, step {len(losses)}: lower learning_rate (now "
                    f"{config.learning_rate:g})"
                )
            run.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            run.optimizer.step()
            run.schedule.step()
        if progress is not None:
            seconds = time.process_time() - started
            progress({"epoch": epoch + 1.0, "loss": float(np.mean(losses)), "cpu_seconds": seconds})
    return Clip(run.images.cpu(), run.texts.cpu(), run.mean, run.std)


class _ClipRun:
    """Both networks, their optimizer, and the loss of a batch."""

    def __init__(
        self, pixels: npt.NDArray[np.uint8], tags: npt.NDArray[np.str_], templates: Sequence[str], config: ClipConfig
    ) -> None:
        self.pixels, self.tags, self.templates = pixels, tags, templates
        self.mean, self.std = pixel_statistics(pixels)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.images = ThinCNN(pixels.shape[1], config.widths, config.dim, config.grid)
            self.texts = TextEncoder(config.dim)
        self.images.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.texts.to(self.device)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0), device=self.device))  # of the inverse temperature
        parameters = [*self.images.parameters(), *self.texts.parameters(), self.log_scale]
        self.optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.size = min(config.batch_size, len(pixels))
        n_steps = config.epochs * (len(pixels) // self.size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, total_steps=n_steps)
        self.augment, self.generator = Augment.mild(), torch.Generator().manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.bfloat16 = has_bfloat16() if config.bfloat16 is None else config.bfloat16

    def batches(self) -> list[npt.NDArray[np.int64]]:
        """One epoch: every image once, in random order, in batches of one size."""
        order = self.rng.permutation(len(self.pixels))
        return [order[i * self.size : (i + 1) * self.size] for i in range(len(order) // self.size)]

    def loss(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        batch = torch.from_numpy(self.pixels[rows]).to(self.device)  # (size, channels, height, width) uint8
        views = normalised(self.augment(batch.float() / 255, self.generator), self.mean, self.std)  # the same, float32
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            of_images = self.images(views)  # (size, dim)
        of_texts = self.texts(captions_from_tags(self.tags[rows].tolist(), self.templates, self.rng))  # (size, dim)
        same = torch.from_numpy(self.tags[rows][:, None] == self.tags[rows]).to(self.device)  # (size, size)
        return clip_loss(of_images, of_texts, self.log_scale.exp().clamp(max=100.0), same)
