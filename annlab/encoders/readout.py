"""What an encoder that learned without labels ends in: as much as `dim` numbers can hold of what its maps tell.

Its last layer was made for a loss that is over (see `training.py`), so another one is measured, on training images:

    image -> half as large again -> convolutions, of it and of its mirror image -> mean over 1 x 1 and 3 x 3 fields
    image -> many 6 x 6 patches, in units of its contrast -> likeness to 400 patches of a dictionary -> mean over 2 x 2
    of either the roots -> principal components, divided by the root of their spread -> length 1 and 0.8
    both -> principal components -> unit vector

An image that is larger meets finer features, and the mirror image takes out what augmentations with a flip ask to be
forgotten anyway. A strong feature drowns the others, so roots are taken; the largest principal components do,
too, and are scaled half-way to equal shares.

The *dictionary* (Coates and Ng, "The Importance of Encoding Versus Training with Single-layer Networks and Vector
Quantization", 2011) knows of edges and colours what a network trained for minutes has not learned: the centres of a
spherical k-means of whitened patches, and of each patch how far it goes along each of them, beyond a threshold, in
either direction. Learning it takes seconds. Whitening is linear, so the whole of it is one convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from annlab.encoders._torch import nn, torch
from annlab.encoders.cnn import ThinCNN

__all__ = ["Dictionary", "Readout", "n_words_for"]

_SIDE, _STEP = 6, 2  # of a patch, and from one to the next
_FIELDS = 2  # squared: where in the image a patch of the dictionary was met
_SCALES = 1, 3  # fields that the last map is averaged over
_ENLARGED = 1.5
_CONTRAST, _WHITENING = 0.01, 0.1  # what is added to variances, lest noise is blown up
_THRESHOLD = 0.5
_ROUNDS = 10  # of the clustering
_POWER = -0.25  # of the variances of the components
_SHARE = 0.8  # length of what the dictionary tells, where the maps have 1
_AT_ONCE = 250  # images
_PATCHES_EACH, _MOST_PATCHES = 25, 40_000  # of an image, and in all
_PATCHES_A_WORD, _MOST_WORDS = 60, 400


def n_words_for(n_images: int) -> int:
    """Patches of a dictionary for so many images."""
    return max(8, min(_MOST_WORDS, n_images * _PATCHES_EACH // _PATCHES_A_WORD))


class Dictionary(nn.Module):
    """Likeness of the patches of images to those of a dictionary.

    Parameters
    ----------
    channels, n_words : int
    """

    def __init__(self, channels: int, n_words: int) -> None:
        super().__init__()
        self.filters: torch.Tensor
        self.offsets: torch.Tensor
        self.register_buffer("filters", torch.zeros(n_words, channels, _SIDE, _SIDE))
        self.register_buffer("offsets", torch.zeros(n_words))
        self.n_features = 2 * n_words * _FIELDS**2

    @torch.no_grad()
    def learn(self, images: torch.Tensor, rng: np.random.Generator) -> None:
        """Fill the dictionary from images (n, channels, height, width), preprocessed."""
        patches = _patches(images, rng)  # (patches, channels * _SIDE**2)
        centre = patches.mean(0)
        variances, axes = np.linalg.eigh(np.cov(patches - centre, rowvar=False))
        whitening = (axes * (variances + _WHITENING) ** -0.5) @ axes.T
        points = ((patches - centre) @ whitening).astype(np.float32)
        words = _spherical_means(points, len(self.filters), rng) @ whitening
        self.filters.copy_(torch.from_numpy(words).view_as(self.filters))
        self.offsets.copy_(torch.from_numpy(words @ centre))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float32, shape (batch, n_features)."""
        alike = torch.ones_like(self.filters[:1]) / self.filters[0].numel()
        mean = nn.functional.conv2d(images, alike, stride=_STEP)  # (batch, 1, rows, columns) of patches
        variance = (nn.functional.conv2d(images * images, alike, stride=_STEP) - mean * mean).clamp(min=0.0)
        filters = self.filters - self.filters.mean((1, 2, 3), keepdim=True)  # of the patch without its mean
        along = nn.functional.conv2d(images, filters, stride=_STEP)  # (batch, n_words, rows, columns)
        along = along * (variance + _CONTRAST).rsqrt() - self.offsets.view(1, -1, 1, 1)
        ways = [nn.functional.adaptive_avg_pool2d((way - _THRESHOLD).relu(), _FIELDS) for way in (along, -along)]
        return torch.cat(ways, 1).flatten(1)  # (batch, n_features)


class Readout(nn.Module):
    """Embeds images by a network that learned without labels; see the head of this file.

    Parameters
    ----------
    network : ThinCNN
    dim : int
        Length of the embedding.
    n_words : int
        Patches of the dictionary.
    mirrored : bool
        Whether an image and its mirror image are to be one.

    Examples
    --------
    >>> readout = Readout(ThinCNN(channels=1, hidden=0), dim=16, n_words=32).eval()
    >>> images = torch.rand(40, 1, 28, 28)
    >>> readout.learn(images, np.random.default_rng(0))
    >>> tuple(readout(images[:2]).shape)
    (2, 16)
    """

    def __init__(self, network: ThinCNN, dim: int, n_words: int, mirrored: bool = True) -> None:
        super().__init__()
        self.network, self.dictionary, self.dim = network, Dictionary(network.channels, n_words), dim
        self.mirrored = mirrored
        n_maps = network.widths[2] * sum(fields**2 for fields in _SCALES)
        self.of_maps, self.of_words = nn.Linear(n_maps, dim), nn.Linear(self.dictionary.n_features, dim)
        self.embedding = nn.Linear(2 * dim, dim)

    def settings(self) -> dict[str, Any]:
        """What rebuilds this: see `built`."""
        n_words, network = len(self.dictionary.filters), self.network.settings()
        return {"network": network, "dim": self.dim, "n_words": n_words, "mirrored": self.mirrored}

    @classmethod
    def built(cls, network: dict[str, Any], dim: int, n_words: int, mirrored: bool) -> Readout:
        """From `settings`, with weights that are still to be loaded."""
        return cls(ThinCNN(**network), dim, n_words, mirrored)

    @torch.no_grad()
    def learn(self, images: torch.Tensor, rng: np.random.Generator) -> None:
        """Measure dictionary and components on images (n, channels, height, width), preprocessed."""
        self.dictionary.learn(images, rng)
        parts = [self._parts(some) for some in images.split(_AT_ONCE)]
        maps, words = (torch.cat(each) for each in zip(*parts, strict=True))
        _fit_components(self.of_maps, maps, _POWER, rng)
        _fit_components(self.of_words, words, _POWER, rng)
        _fit_components(self.embedding, self._joined(maps, words), 0.0, rng)

    def _parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the maps and the dictionary tell of images: (batch, n_maps), (batch, n_features), not negative."""
        larger = nn.functional.interpolate(images, scale_factor=_ENLARGED, mode="bilinear", align_corners=False)
        maps = self.network.pooled(larger, _SCALES)
        if self.mirrored:
            maps = (maps + self.network.pooled(larger.flip(3), _SCALES)) / 2
        return maps.sqrt(), self.dictionary(images).sqrt()

    def _joined(self, maps: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """The components of both, of length 1 and _SHARE: (batch, 2 * dim)."""
        own = nn.functional.normalize(self.of_maps(maps), dim=1)  # (batch, dim)
        return torch.cat([own, _SHARE * nn.functional.normalize(self.of_words(words), dim=1)], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed, as `ThinCNN.forward` does."""
        vectors = self.embedding(self._joined(*self._parts(images)))  # (batch, dim)
        return nn.functional.normalize(vectors.float(), dim=1)  # (batch, dim)


def _fit_components(layer: nn.Linear, features: torch.Tensor, power: float, rng: np.random.Generator) -> None:
    """Make a layer the principal components of features (n, n_in), times their variances to this power."""
    rows = features.numpy()
    centre = rows.mean(0, dtype=np.float64).astype(np.float32)
    n_components = min(layer.out_features, *rows.shape)
    _, lengths, axes = randomized_svd(rows - centre, n_components, random_state=int(rng.integers(2**31)))
    known = lengths > max(1e-4 * lengths[0], 1e-15)  # the others are rounding, which a power below 0 would make loud
    components = np.zeros((layer.out_features, rows.shape[1]), np.float32)  # fewer than wanted leave zeros
    variances = lengths[known] ** 2 / len(rows)
    components[:n_components][known] = axes[known] * (variances**power)[:, None]
    layer.weight.copy_(torch.from_numpy(components))
    layer.bias.copy_(torch.from_numpy(-components @ centre))


def _patches(images: torch.Tensor, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Random patches in units of their contrast: (patches, channels * _SIDE**2)."""
    windows = np.lib.stride_tricks.sliding_window_view(images.numpy(), (_SIDE, _SIDE), axis=(2, 3))
    n, _, height, width = windows.shape[:4]
    n_patches = min(_MOST_PATCHES, _PATCHES_EACH * n)
    chosen = rng.integers([n, height, width], size=(n_patches, 3)).T
    patches = windows[chosen[0], :, chosen[1], chosen[2]].reshape(n_patches, -1).astype(np.float64)
    patches -= patches.mean(1, keepdims=True)
    return np.asarray(patches / np.sqrt(patches.var(1, keepdims=True) + _CONTRAST))


def _spherical_means(points: npt.NDArray[np.float32], n: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Directions (n, dim) that points go along, in either sense: spherical k-means."""
    rows = np.arange(len(points) + 1)
    means = _unit(points[rng.choice(len(points), n, replace=len(points) < n)])
    for _ in range(_ROUNDS):
        along = points @ means.T  # (points, n)
        nearest = np.abs(along).argmax(1)
        weights = sparse.csr_array((along[rows[:-1], nearest], nearest, rows), shape=along.shape)
        sums = np.asarray(weights.T @ points)
        lost = ~sums.any(1)
        sums[lost] = points[rng.choice(len(points), int(lost.sum()))]
        means = _unit(sums)
    return means


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
