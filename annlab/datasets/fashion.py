"""The packaged real set: the 10,000 test images of Fashion-MNIST, with labels.

28 x 28 grey photographs of articles of clothing in ten classes of 1,000 images each (Xiao, Rasul, Vollgraf,
arXiv:1708.07747, 2017; MIT licence, see annlab/data/README.md). Small enough to ship, real enough to judge a search by:
the pixels have an intrinsic dimension of about 13, and of the ten nearest neighbours of a query among the other images,
compared pixel by pixel, about three quarters are of its class.
"""

import gzip
import math
from importlib import resources
from typing import NamedTuple

import numpy as np

from annlab.datasets.dataset import Dataset

NAME = "fashion-mnist-test"
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class LabelledImages(NamedTuple):
    """Images with their classes: ``class_names[labels[row]]`` is what ``images[row]`` shows."""

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


def fashion_mnist() -> LabelledImages:
    """Read the packaged images.

    Returns
    -------
    LabelledImages
        ``images`` uint8 (10000, 28, 28), 0 is the background; ``labels`` uint8 (10000,), 0..9; ten ``class_names``.

    Examples
    --------
    >>> images, labels, class_names = fashion_mnist()
    >>> images.shape, class_names[labels[0]]
    ((10000, 28, 28), 'Ankle boot')
    """
    folder = resources.files("annlab") / "data"
    images = parse_idx(gzip.decompress((folder / "fashion-mnist-t10k-images-idx3-ubyte.gz").read_bytes()))
    labels = parse_idx(gzip.decompress((folder / "fashion-mnist-t10k-labels-idx1-ubyte.gz").read_bytes()))
    return LabelledImages(images, labels, CLASS_NAMES)


def fashion_mnist_split(n_queries: int = 1000, seed: int = 0) -> Dataset:
    """Split the packaged images into a gallery and queries, at random.

    Parameters
    ----------
    n_queries : int
        1..9999; the other images are the gallery.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    Dataset
        ``train`` and ``test`` are the pixels as float32 in [0, 1], 784 columns; with images and labels.

    Raises
    ------
    ValueError
        If ``n_queries`` leaves no gallery or no queries.

    Examples
    --------
    >>> fashion_mnist_split(n_queries=500)
    Dataset('fashion-mnist-test': 9500 x 784 float32, 500 queries, l2, labels, images)
    """
    images, labels, class_names = fashion_mnist()
    if not 0 < n_queries < len(images):
        raise ValueError(f"n_queries must be 1..{len(images) - 1}, not {n_queries}: there are {len(images)} images")
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = np.sort(order[:n_queries]), np.sort(order[n_queries:])
    pixels = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    return Dataset(
        NAME, pixels[train], pixels[test], "l2",
        train_labels=labels[train], test_labels=labels[test],
        train_images=images[train], test_images=images[test], class_names=class_names,
    )  # fmt: skip


def parse_idx(content: bytes) -> np.ndarray:
    """Turn an IDX file of bytes (the format of MNIST) into an array.

    Two zero bytes, the type (8: uint8), the number of axes, each axis' length as a big-endian uint32, the values.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"not an IDX file of unsigned bytes: it starts with {content[:4]!r}, not with 0, 0, 8")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(
            f"an IDX file of {content[3]} axes has a header of {start} bytes; this one ends after {len(content)}"
        )
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"an IDX file of shape {shape} holds {math.prod(shape)} bytes; this one {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
