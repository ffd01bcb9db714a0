"""Encoders: from images to embeddings. Training needs torch; preprocessing and inference do not.

    from annlab.encoders import load_encoder
    embeddings = load_encoder("fashion-mnist").encode(images)      # (n, dim) float32, rows of length 1

The way of an image: `images.py` decodes it, `preprocess.py` brings it to the size and scale that the network expects,
`encoder.py` runs the network and checks that the image is one it was made for. `pretrained.py` has the ready-made
encoders, `embedding_job.py` embeds whole folders. `encoder_training.py` trains one on your own images: a head for one
that is there (`head.py`), or a thin CNN from scratch (`training.py`), from pairs of similar images (`pairs.py`). Which
files of a folder are images, and of which class, is said in `folders.py`; how results reach their files, and never over
something else, in `outputs.py`.

Embeddings serve more than search. Rows of length 1 go straight into scikit-learn, where Euclidean distance then orders
them as cosine does:

    KNeighborsClassifier(n_neighbors=10).fit(embeddings, labels).predict(others)       # k-NN classification
    KMeans(n_clusters=10, n_init=3, random_state=0).fit_predict(embeddings)            # clustering
"""

import importlib
from typing import TYPE_CHECKING, Any

from annlab.encoders.embedding_job import embed_images
from annlab.encoders.encoder import Domain, DomainError, Encoder
from annlab.encoders.image_sets import ImageSet, open_images, with_captions
from annlab.encoders.pairs import AugmentationPairs, ClickPairs, JudgementPairs, LabelPairs, MixedPairs
from annlab.encoders.pretrained import default_encoder, load_encoder

if TYPE_CHECKING:
    from annlab.encoders.augment import Augment
    from annlab.encoders.clip import Clip, ClipConfig
    from annlab.encoders.clip_training import train_clip
    from annlab.encoders.encoder_training import train_encoder
    from annlab.encoders.head import Head, attach, train_head
    from annlab.encoders.losses import (
        clip_loss,
        contrastive_loss,
        info_nce,
        normalised_softmax,
        nt_xent,
        supervised_contrastive,
        triplet_loss,
    )
    from annlab.encoders.siamese import Siamese
    from annlab.encoders.trained import Trained
    from annlab.encoders.training import TrainingError, train
    from annlab.encoders.training_config import TrainConfig

_LAZY = {
    "augment": ("Augment",),
    "clip": ("Clip", "ClipConfig"),
    "clip_training": ("train_clip",),
    "head": ("Head", "attach", "train_head"),
    "losses": (
        "clip_loss",
        "contrastive_loss",
        "info_nce",
        "normalised_softmax",
        "nt_xent",
        "supervised_contrastive",
        "triplet_loss",
    ),
    "siamese": ("Siamese",),
    "encoder_training": ("train_encoder",),
    "trained": ("Trained",),
    "training": ("TrainingError", "train"),
    "training_config": ("TrainConfig",),
}
"""What needs torch, by the module that has it: it is imported when it is asked for."""
_HOMES = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "Augment",
    "AugmentationPairs",
    "ClickPairs",
    "Clip",
    "ClipConfig",
    "Domain",
    "DomainError",
    "Encoder",
    "Head",
    "ImageSet",
    "JudgementPairs",
    "LabelPairs",
    "MixedPairs",
    "Siamese",
    "TrainConfig",
    "Trained",
    "TrainingError",
    "attach",
    "clip_loss",
    "contrastive_loss",
    "default_encoder",
    "embed_images",
    "info_nce",
    "load_encoder",
    "normalised_softmax",
    "nt_xent",
    "open_images",
    "supervised_contrastive",
    "train",
    "train_clip",
    "train_encoder",
    "train_head",
    "triplet_loss",
    "with_captions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'annlab.encoders' has no attribute {name!r}")
    return getattr(importlib.import_module(f"annlab.encoders.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
