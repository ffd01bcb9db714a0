"""CLIP: images and texts in one space, so that a sentence finds images and an image finds sentences.

Two encoders end in unit vectors of one length: a thin CNN for images, and for texts the mean of word vectors followed
by two fully connected layers. Trained on image-caption pairs, the loss asks which of the batch's captions belongs to
each image and which image to each caption (Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", 2021). Afterwards

- text to image and image to text are nearest-neighbour search across the two kinds of embeddings,
- zero-shot classification embeds one sentence per class ("a photo of a {}") and takes the nearest.

Words have no fixed vocabulary: how a text becomes numbers, and how a trained text side runs without torch, is in
`texts.py`. The order of words is ignored: enough for captions made of names and tags, not for "a cat on a mat" against
"a mat on a cat". Where captions come from is in `captions.py`; a class name in a sentence is the simplest kind. How
both learn is in `clip_training.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import nn, torch
from annlab.encoders.augment import Augment
from annlab.encoders.captions import captions_from_tags
from annlab.encoders.checkpoints import load_checkpoint, save_checkpoint, under
from annlab.encoders.cnn import ThinCNN
from annlab.encoders.texts import N_BUCKETS, Texts, tokens
from annlab.encoders.trained import as_nchw, embed

__all__ = ["Clip", "ClipConfig", "TextEncoder"]


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
        self.n_buckets, self.width = n_buckets, width
        self.words = nn.EmbeddingBag(n_buckets, width, mode="mean")
        self.hidden = nn.Linear(width, 2 * dim)
        self.embedding = nn.Linear(2 * dim, dim)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Embed texts: float32, shape (len(texts), dim), rows of length 1."""
        rows = [tokens(text, self.n_buckets) for text in texts]
        starts = np.cumsum([0] + [len(row) for row in rows[:-1]])
        device = self.words.weight.device
        flat = torch.from_numpy(np.concatenate(rows)).to(device)  # (all tokens,)
        means = self.words(flat, torch.from_numpy(starts).to(device))  # (texts, width)
        hidden = self.hidden(means).relu()  # (texts, 2 * dim)
        return nn.functional.normalize(self.embedding(hidden), dim=1)  # (texts, dim)

    def exported(self) -> Texts:
        """The same without torch, its numbers rounded as they are stored."""
        parts = (
            self.words.weight,
            self.hidden.weight.T,
            self.hidden.bias,
            self.embedding.weight.T,
            self.embedding.bias,
        )
        return Texts(*(part.detach().cpu().numpy() for part in parts))


@dataclass(frozen=True)
class ClipConfig:
    """Settings of a CLIP training: as in `TrainConfig`, for pairs of image and caption.

    `hidden` is that of `ThinCNN`, `n_buckets` and `word_width` are the table's of `TextEncoder`; `augment` None: mild.
    Each batch gets so many `distractors`, texts without a meaning that are to be near no image. For `text_epochs` more
    the images stay where they are and the texts alone learn, which costs a tenth: all versions of a picture, more
    wordings.

    Examples
    --------
    >>> ClipConfig(epochs=20, text_epochs=40).batch_size
    256
    """

    epochs: int = 5
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    widths: tuple[int, int, int] = (32, 64, 128)
    dim: int = 128
    grid: int = 4
    hidden: int = 256
    n_buckets: int = N_BUCKETS
    word_width: int = 64
    augment: Augment | None = None
    distractors: int = 0
    text_epochs: int = 0
    seed: int = 0
    bfloat16: bool | None = None


class Clip:
    """Image and text encoders of one space.

    Attributes
    ----------
    images : ThinCNN
    texts : TextEncoder
    mean, std : statistics of the z-score of the training images

    Examples
    --------
    >>> clip = Clip(ThinCNN(1, dim=16), TextEncoder(16), (0.5,), (0.2,))       # untrained: see `train_clip`
    >>> images = np.zeros((2, 28, 28), np.uint8)
    >>> clip.embed_images(images).shape, clip.embed_texts(["a cat", "a dog"]).shape
    ((2, 16), (2, 16))
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

    def recall(self, images: npt.NDArray[np.uint8], texts: Sequence[str], k: int = 1) -> tuple[float, float]:
        """How often an image's own text is among the k nearest texts, and its image among the k nearest to a text.

        Parameters
        ----------
        images : uint8 array, shape (n, height, width[, channels])
        texts : sequence of str, length n
            Of equal texts each is right.
        k : int

        Returns
        -------
        (by image, by text) : floats in 0..1
            Measure them on images that were not trained on: the others were taught their texts by heart.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images need as many texts, got {len(texts)}")
        if not 1 <= k <= len(texts):
            raise ValueError(f"k={k} must be from 1 to the number of images, {len(texts)}")
        near = self.embed_images(images) @ self.embed_texts(texts).T  # (n, n)
        codes = np.unique(np.array(texts), return_inverse=True)[1]
        right = codes[:, None] == codes  # (n, n)
        found = [np.take_along_axis(right, np.argsort(-scores, axis=1, kind="stable")[:, :k], axis=1).any(1).mean()
                 for scores in (near, near.T)]  # fmt: skip
        return float(found[0]), float(found[1])

    def save(self, path: str | Path) -> None:
        """Write both networks to one .npz file without pickle."""
        tensors = {f"images/{name}": tensor for name, tensor in self.images.state_dict().items()}
        tensors |= {f"texts/{name}": tensor for name, tensor in self.texts.state_dict().items()}
        of_texts = {"dim": self.images.dim, "n_buckets": self.texts.n_buckets, "width": self.texts.width}
        manifest = {"kind": "clip", "images": self.images.settings(), "texts": of_texts}
        save_checkpoint(path, tensors, {**manifest, "mean": self.mean, "std": self.std})

    @classmethod
    def load(cls, path: str | Path) -> Clip:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            The file is damaged, or holds something else.
        """
        tensors, manifest = load_checkpoint(path)
        if manifest.get("kind") != "clip":
            raise ValueError(f"{path} holds {manifest.get('kind')!r}, not a clip")
        try:
            images, texts = ThinCNN(**manifest["images"]), TextEncoder(**manifest["texts"])
            for network, prefix in ((images, "images/"), (texts, "texts/")):
                network.load_state_dict(under(prefix, tensors))
            images = images.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return cls(images, texts, tuple(manifest["mean"]), tuple(manifest["std"]))
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: its weights do not fit its description: {error}") from error

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
