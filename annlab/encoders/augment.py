"""Augmentation: random views of an image, made for a whole batch at once.

A view is the image seen through a random window (crop), perhaps mirrored (flip), in other light (colour) and a little
out of focus (blur). Two views of one image are a positive pair that costs no label: what survives all of this is what
the encoder learns to describe, so the augmentations *are* the definition of "similar" when there is nothing better
(Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020).

Everything works on one tensor of shape (batch, channels, height, width) with values in 0..1, and every image draws
its own parameters. The crop and the flip are a single affine resampling; the blur is three shifted copies per axis:
one pass over a batch costs about as much as a 3 x 3 convolution to a handful of channels, far less than the encoder
behind it.

Randomness comes from the generator handed in, never from torch's global one: the same seed gives the same views.
"""

from __future__ import annotations

from dataclasses import dataclass

from annlab.encoders._torch import nn, torch

__all__ = ["Augment"]


@dataclass(frozen=True)
class Augment:
    """A recipe of random views; call it with a batch and a generator.

    Parameters
    ----------
    min_scale : float
        A crop keeps a share of the area drawn from [min_scale, 1]; 1 keeps all of it.
    max_shift : float
        The window moves by up to this share of the image's side beyond its border; what lies outside is mirrored in.
    flip : float
        Probability of a left-right mirror image.
    colour : float
        Strength: brightness and contrast are scaled by factors in 1 +- colour; with three channels also the
        saturation, and each channel by a factor in 1 +- colour / 2 (another lamp).
    gray : float
        Probability that a view with three channels loses its colours.
    blur : float
        Probability of a binomial-like 3 x 3 blur of random width.
    size : float
        Side of a view as a share of the image's side. Below 1 it halves the cost, and it suits the crop: a crop that is
        blown up to full size shows everything larger than the whole images that will be searched (Touvron et al.,
        "Fixing the train-test resolution discrepancy", 2019).

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(8, 3, 32, 32)
    >>> views = Augment(min_scale=0.3, colour=0.4)(images, torch.Generator().manual_seed(0))
    >>> tuple(views.shape)
    (8, 3, 32, 32)
    """

    min_scale: float = 1.0
    max_shift: float = 0.0
    flip: float = 0.5
    colour: float = 0.0
    gray: float = 0.0
    blur: float = 0.0
    size: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.min_scale <= 1.0:
            raise ValueError(f"min_scale={self.min_scale} is not in (0, 1]: it is the smallest share of the area kept")
        if not 0.25 <= self.size <= 1.0:
            raise ValueError(f"size={self.size} is not in [0.25, 1]: it is the side of a view relative to the image's")
        for name in ("max_shift", "flip", "colour", "gray", "blur"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value} is not in [0, 1]")

    @classmethod
    def strong(cls, channels: int) -> Augment:
        """The recipe for learning without labels: views must differ in everything but the content."""
        if channels == 1:  # the outline says most: small crops would make a coat of a shirt
            return cls(min_scale=0.7, max_shift=0.07, colour=0.7, blur=0.5)
        return cls(min_scale=0.25, colour=0.5, gray=0.2, size=0.75)

    @classmethod
    def mild(cls) -> Augment:
        """The recipe where the positives come from people: it only keeps the encoder from learning images by heart."""
        return cls(min_scale=0.7, max_shift=0.1, flip=0.5, colour=0.1)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One random view of every image.

        Parameters
        ----------
        images : torch.Tensor, shape (batch, channels, height, width), float32 in 0..1
        generator : torch.Generator

        Returns
        -------
        torch.Tensor, in 0..1, of the same shape, its height and width multiplied by `size`
        """
        views = self._crop_and_flip(images, generator)  # (batch, channels, height, width)
        if self.colour or self.gray:
            views = self._change_colour(views, generator)  # (batch, channels, height, width)
        if self.blur:
            views = self._blur(views, generator)  # (batch, channels, height, width)
        return views.clamp_(0.0, 1.0)

    def _crop_and_flip(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Resample each image through its own window: an affine map with a scale, a mirror and a shift, no rotation."""
        batch, channels, full_height, full_width = images.shape
        draw = torch.rand(5, batch, generator=generator).to(images.device)  # (5, batch)
        area = self.min_scale + (1.0 - self.min_scale) * draw[0]  # (batch,)
        aspect = (draw[1] - 0.5) * 0.5 * (self.min_scale < 1.0)  # (batch,) log of width / height, within e^(1/4)
        width = (area.sqrt() * torch.exp(aspect / 2)).clamp(max=1.0)  # (batch,)
        height = (area.sqrt() * torch.exp(-aspect / 2)).clamp(max=1.0)  # (batch,)
        mirror = torch.where(draw[2] < self.flip, -1.0, 1.0)  # (batch,)
        theta = images.new_zeros(batch, 2, 3)  # (batch, 2, 3): output coordinates in [-1, 1] to input coordinates
        theta[:, 0, 0] = width * mirror
        theta[:, 1, 1] = height
        theta[:, 0, 2] = (2 * draw[3] - 1) * (1 - width + 2 * self.max_shift)
        theta[:, 1, 2] = (2 * draw[4] - 1) * (1 - height + 2 * self.max_shift)
        shape = [batch, channels, round(full_height * self.size), round(full_width * self.size)]
        grid = nn.functional.affine_grid(theta, shape, align_corners=False)  # (batch, height, width, 2)
        return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _change_colour(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Saturation, lamp, brightness and contrast, each with a factor of its own per image."""
        batch, channels = images.shape[:2]
        draw = torch.rand(6, batch, 1, 1, 1, generator=generator).to(images.device)  # (6, batch, 1, 1, 1)
        factors = 1 + self.colour * (2 * draw - 1)  # (6, batch, 1, 1, 1)
        if channels == 3:
            lost = torch.rand(batch, 1, 1, 1, generator=generator).to(images.device) < self.gray  # (batch, 1, 1, 1)
            saturation = torch.where(lost, 0.0, factors[0])  # (batch, 1, 1, 1)
            lamp = torch.where(lost, 1.0, 0.5 + factors[1:4].squeeze(-1).permute(1, 0, 2, 3) / 2)  # (batch, 3, 1, 1)
            luma = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # (1, 3, 1, 1)
            light = (images * luma).sum(1, keepdim=True)  # (batch, 1, height, width)
            images = light + (images - light) * saturation  # (batch, 3, height, width)
            images = images * lamp  # (batch, 3, height, width)
        mean = images.mean((1, 2, 3), keepdim=True)  # (batch, 1, 1, 1)
        return ((images - mean) * factors[4] + mean) * factors[5]  # (batch, channels, height, width)

    def _blur(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Mix each pixel with its two neighbours along each axis; a share of 0 leaves the image as it was."""
        draw = torch.rand(2, len(images), 1, 1, 1, generator=generator).to(images.device)  # (2, batch, 1, 1, 1)
        share = torch.where(draw[0] < self.blur, draw[1] / 3, 0.0)  # (batch, 1, 1, 1): 1/3 is a box filter
        padded = nn.functional.pad(images, (1, 1, 0, 0), mode="replicate")  # (batch, channels, height, width + 2)
        images = images + share * (padded[..., :-2] + padded[..., 2:] - 2 * images)  # (batch, channels, height, width)
        padded = nn.functional.pad(images, (0, 0, 1, 1), mode="replicate")  # (batch, channels, height + 2, width)
        return images + share * (padded[..., :-2, :] + padded[..., 2:, :] - 2 * images)
