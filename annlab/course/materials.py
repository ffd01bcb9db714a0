"""Data for the assignments: packaged pictures, and vectors that are made.

- `image_patches`: squares cut out of the packaged Fashion-MNIST images, as bytes.
- `clothes`: whole images of it, as floats.
- `word_like_vectors`: no word vectors are packaged; the usual sets have licences and sizes of their own. These are made
  to be like them: their spectrum falls by a power law, topics have sizes after Zipf's law, rare words have longer
  vectors. They have no words; to see words, take vectors of your own.
"""

from __future__ import annotations

import numpy as np

from annlab.datasets import fashion_mnist


def image_patches(n: int, side: int = 14, seed: int = 0) -> np.ndarray:
    """Squares of packaged images, each from another place, none nearly empty: (n, side * side) uint8.

    >>> image_patches(500).shape
    (500, 196)
    """
    images = fashion_mnist().images
    if not 0 < n <= len(images) or not 4 <= side <= 28:
        raise ValueError(f"n must be 1..{len(images)} and side 4..28, not {n} and {side}")
    rng, patches = np.random.default_rng(seed), np.empty((n, side * side), np.uint8)
    for row, image in enumerate(rng.permutation(len(images))[:n]):
        for _ in range(20):  # a few chances to hit something
            top, left = rng.integers(0, 29 - side, size=2)
            patch = images[image, top : top + side, left : left + side]
            if patch.mean() > 40:
                break
        patches[row] = patch.ravel()
    return patches


def clothes(n: int, seed: int = 0) -> np.ndarray:
    """Packaged images as (n, 784) float64, from 0 to 1.

    >>> clothes(100).shape
    (100, 784)
    """
    images = fashion_mnist().images
    if not 0 < n <= len(images):
        raise ValueError(f"n must be 1..{len(images)}, not {n}")
    chosen = np.random.default_rng(seed).permutation(len(images))[:n]
    return images[chosen].reshape(n, -1) / 255.0


def word_like_vectors(n: int, dim: int = 32, topics: int = 40, seed: int = 0) -> np.ndarray:
    """Vectors like those of words, the most frequent first: (n, dim) float64.

    >>> word_like_vectors(200).shape
    (200, 32)
    """
    if n < 1 or dim < 1 or topics < 1:
        raise ValueError(f"n, dim and topics must be at least 1, not {n}, {dim} and {topics}")
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, dim + 1) ** -0.5  # deviations along the principal axes
    sizes = 1 / np.arange(1, topics + 1)
    topic = rng.choice(topics, size=n, p=sizes / sizes.sum())
    centres = rng.normal(size=(topics, dim)) * spectrum
    vectors = centres[topic] + 0.6 * rng.normal(size=(n, dim)) * spectrum
    rotation, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    lengths = 1 + 0.25 * np.log1p(np.arange(n)) / np.log1p(n)
    rotated: np.ndarray = (vectors * lengths[:, None]) @ rotation
    return rotated
