"""The thin CNN: convolutional layers, fully connected layers, and an embedding of length 1.

A convolution looks at a small window with the same weights everywhere, so a pattern is recognised wherever it stands;
a stride of 2 halves the map, so the next layer's window covers twice as much of the image. Three such steps turn
pixels into a 4 x 4 map of a hundred channels ("which part is roughly where"). Flattened, it goes through fully
connected layers to the embedding, which is divided by its length so that an inner product is a cosine.

    strided:  image (1 or 3, 28..32, ..) -> stem 5x5 / 2 -> [3x3 / 2 + residual 3x3] x 2 -> flatten -> fc -> fc -> unit
    whitened: image -> whitening -> [3x3, max / 2 + residual 3x3] x 3 -> flatten -> fc -> fc -> unit vector

The strided network is the faster one: its very first layer has stride 2, so no layer ever sees the full resolution.
The *whitened* one sees more. Neighbouring pixels are nearly equal, so a layer that looks at them learns slowly; here
the first filters are measured, not learned: the principal directions of small patches of the training images, each
divided by its spread, in either sense, so that all have equal say from the first step. Then a convolution sees all
places before the strongest answer of each 2 x 2 is kept (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
2024). In the same minutes it learns a good deal more.

Both have a channels-last memory layout, which is what is fast on a CPU. They are for small images, up to some 64
pixels; for photographs take a pretrained encoder.

The residual blocks follow He et al., "Deep Residual Learning for Image Recognition" (2016), batch normalisation Ioffe
and Szegedy (2015). A trained network must be in `eval()` mode to embed: a batch of one then works as any other.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from annlab.encoders._torch import nn, torch

__all__ = ["Projection", "ThinCNN"]


PATCH = {1: 3, 3: 2}  # side of the patches that are whitened, by channels: 9 and 12 numbers
_LEAST = 5e-4  # of the largest variance is added to each, lest noise is blown up
_N_PATCHES = 50  # of an image


class _Whitening(nn.Module):
    """Patches of an image in directions that do not depend on each other, all of the same spread, and both ways."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = PATCH[channels]
        self.before, self.after = (side - 1) // 2, side // 2  # of a pixel: a patch reaches so far to the left and right
        self.n_out = 2 * channels * side**2
        self.filters: torch.Tensor
        self.register_buffer("filters", torch.eye(self.n_out // 2).view(-1, channels, side, side))

    @torch.no_grad()
    def measure(self, images: torch.Tensor, rng: np.random.Generator) -> None:
        """Learn the directions from images (n, channels, height, width), preprocessed."""
        channels, side = self.filters.shape[1:3]
        windows = np.lib.stride_tricks.sliding_window_view(images.numpy(), (side, side), axis=(2, 3))
        n, _, height, width = windows.shape[:4]
        at = rng.integers([n, height, width], size=(_N_PATCHES * n, 3)).T
        patches = windows[at[0], :, at[1], at[2]].reshape(-1, channels * side**2).astype(np.float64)
        variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
        filters = directions / np.sqrt(variances + _LEAST * variances[-1] + 1e-12)
        self.filters.copy_(torch.from_numpy(filters.T).view_as(self.filters))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> (batch, n_out, height, width), not negative."""
        reach = (self.before, self.after, self.before, self.after)
        along = nn.functional.conv2d(nn.functional.pad(images, reach, mode="replicate"), self.filters)
        return torch.cat([along, -along], 1).relu()


def _halved(n_in: int, n_out: int) -> nn.Sequential:
    """A convolution that sees all places, and of each 2 x 2 of them the strongest."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


def _convolution(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU. The normalisation adds the bias, so the convolution has none."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """x + convolution(x): what the block learns is the difference, so depth costs no trainability."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.convolution = _convolution(n_channels, n_channels, kernel=3, stride=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.convolution(maps)  # (batch, n_channels, height, width)


class ThinCNN(nn.Module):
    """Embeds small images as unit vectors.

    Parameters
    ----------
    channels : int
        1 (grayscale) or 3 (RGB).
    widths : tuple of three ints
        Channels after each halving of the resolution.
    dim : int
        Length of the embedding.
    grid : int
        The last map is averaged to grid x grid positions before the fully connected layers. 4 keeps the 4 x 4 map of a
        small image, for centred objects whose outline says what they are (Fashion-MNIST); 1 forgets where things are,
        for photographs in which the object may be anywhere (CIFAR-10).
    hidden : int
        Width of the first fully connected layer; 0 leaves only the last one, which is how an encoder that learned
        without labels ends (see `train`).
    mirrored : bool
        Embed an image together with its mirror image, for twice the time; in training it is one or the other.
    whitened : bool
        Begin with whitened patches and all pixels: better, and slower; see above. `whiten` measures them.

    Examples
    --------
    >>> network = ThinCNN(channels=1).eval()
    >>> embeddings = network(torch.zeros(2, 1, 28, 28))
    >>> tuple(embeddings.shape), round(embeddings[0].norm().item(), 4)
    ((2, 128), 1.0)
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, int, int] = (32, 64, 128),
        dim: int = 128,
        grid: int = 4,
        hidden: int = 256,
        mirrored: bool = False,
        whitened: bool = False,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels={channels}: images have 1 channel (grayscale) or 3 (RGB)")
        if len(widths) != 3 or min(*widths, dim, grid) < 1 or hidden < 0:
            raise ValueError(
                f"widths={widths} must be three positive numbers, dim={dim} and grid={grid} positive, "
                f"hidden={hidden} not negative"
            )
        self.channels, self.widths, self.dim, self.grid, self.n_hidden = channels, tuple(widths), dim, grid, hidden
        self.mirrored, self.whitened = mirrored, whitened
        low, middle, high = widths
        if whitened:
            first = _Whitening(channels)
            self.stem = nn.Sequential(first, _halved(first.n_out, low), _Residual(low))
        else:
            self.stem = _convolution(channels, low, kernel=5, stride=2)
        self.down1 = _halved(low, middle) if whitened else _convolution(low, middle, kernel=3, stride=2)
        self.residual1 = _Residual(middle)
        self.down2 = _halved(middle, high) if whitened else _convolution(middle, high, kernel=3, stride=2)
        self.residual2 = _Residual(high)
        self.n_features = high * grid * grid
        self.hidden: nn.Module = nn.Identity()
        if hidden:
            self.hidden = nn.Sequential(
                nn.Linear(self.n_features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
            )
        self.embedding = nn.Linear(hidden or self.n_features, dim)

    def settings(self) -> dict[str, Any]:
        """What rebuilds this network: ``ThinCNN(**settings)``."""
        return {
            "channels": self.channels,
            "widths": list(self.widths),
            "dim": self.dim,
            "grid": self.grid,
            "hidden": self.n_hidden,
            "mirrored": self.mirrored,
            "whitened": self.whitened,
        }

    def whiten(self, images: torch.Tensor, rng: np.random.Generator) -> None:
        """Measure the first filters on images (n, channels, height, width), preprocessed, before anything is learned.
        A strided network has none."""
        if self.whitened:
            cast(_Whitening, self.stem[0]).measure(images, rng)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """The last map of the convolutions: (batch, widths[2], height / 8, width / 8), rounded up."""
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"expected images of shape (batch, {self.channels}, height, width), got {tuple(images.shape)}"
            )
        # sizes for 28 x 28 images | for 32 x 32 images
        maps = self.stem(images)  # (batch, widths[0], 14, 14) | (batch, widths[0], 16, 16)
        maps = self.down1(maps)  # (batch, widths[1], 7, 7) | (batch, widths[1], 8, 8)
        maps = self.residual1(maps)  # (batch, widths[1], 7, 7) | (batch, widths[1], 8, 8)
        maps = self.down2(maps)  # (batch, widths[2], 4, 4)
        maps = self.residual2(maps)  # (batch, widths[2], 4, 4)
        return maps

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The convolutional part: one vector of `grid * grid * widths[2]` numbers per image."""
        maps = self.maps(images)  # (batch, widths[2], 4, 4)
        if tuple(maps.shape[2:]) != (self.grid, self.grid):
            maps = nn.functional.adaptive_avg_pool2d(maps, self.grid)  # (batch, widths[2], grid, grid)
        return maps.flatten(1)  # (batch, widths[2] * grid * grid)

    def pooled(self, images: torch.Tensor, grids: tuple[int, ...]) -> torch.Tensor:
        """The last map, averaged over grids of several sizes: (batch, widths[2] * sum of their fields)."""
        maps = self.maps(images)  # (batch, widths[2], height / 8, width / 8)
        return torch.cat([nn.functional.adaptive_avg_pool2d(maps, grid).flatten(1) for grid in grids], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed.

        Parameters
        ----------
        images : torch.Tensor, shape (batch, channels, height, width), float32, preprocessed

        Returns
        -------
        torch.Tensor, shape (batch, dim), float32, rows of length 1
        """
        vectors = self._embedded(images)  # (batch, dim)
        if self.mirrored and not self.training:
            vectors = vectors + self._embedded(images.flip(3))  # (batch, dim)
            vectors = nn.functional.normalize(vectors, dim=1)  # (batch, dim)
        return vectors

    def _embedded(self, images: torch.Tensor) -> torch.Tensor:
        """Unit vectors of images as they are."""
        features = self.features(images)  # (batch, widths[2] * grid * grid)
        hidden = self.hidden(features)  # (batch, hidden), or the features themselves
        vectors = self.embedding(hidden).float()  # (batch, dim)
        return nn.functional.normalize(vectors, dim=1)  # (batch, dim)


class Projection(nn.Module):
    """Fully connected layers that only the loss of learning without labels sees; afterwards they are thrown away.

    What the augmentations change, the loss demands to be forgotten, and the search may still need: with three layers
    between them and the loss the convolutions keep more of it (Chen et al., "Big Self-Supervised Models are Strong
    Semi-Supervised Learners", 2020).
    """

    def __init__(self, n_features: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, 2 * dim, bias=False),
            nn.BatchNorm1d(2 * dim),
            nn.ReLU(inplace=True),
            nn.Linear(2 * dim, 2 * dim, bias=False),
            nn.BatchNorm1d(2 * dim),
            nn.ReLU(inplace=True),
            nn.Linear(2 * dim, dim),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.layers(features)  # (batch, dim)
        return projected
