"""A trained encoder: the network, the statistics of its preprocessing, and how it came about.

What `train` returns and a weights file holds. `Trained.embed` is the plain torch path from uint8 images to embeddings;
serving exports the network to ONNX and needs none of this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import nn, torch
from annlab.encoders.checkpoints import load_checkpoint, save_checkpoint
from annlab.encoders.cnn import ThinCNN

__all__ = ["Trained", "as_nchw", "embed", "normalised", "pixel_statistics"]


@dataclass
class Trained:
    """A trained encoder: network, statistics for the z-score, and how it came about.

    Attributes
    ----------
    module : ThinCNN, in eval mode
    mean, std : tuples of float, one per channel, of pixel values in 0..1
    image_shape : (height, width) of the training images
    config : dict, the settings of the run (see `TrainConfig`)
    history : list of dict, one per epoch
    """

    module: ThinCNN
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int]
    config: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)

    def embed(self, images: npt.NDArray[np.uint8], batch_size: int = 500) -> npt.NDArray[np.float32]:
        """Embeddings of uint8 images (n, height, width[, channels]): float32, shape (n, dim), rows of length 1."""
        return embed(self.module, as_nchw(images), self.mean, self.std, batch_size)

    def save(self, path: str | Path) -> None:
        """Write weights, preprocessing statistics, configuration and history to one .npz file without pickle."""
        manifest = {
            "kind": "thin_cnn",
            "network": self.module.settings(),
            "mean": self.mean,
            "std": self.std,
            "image_shape": self.image_shape,
            "config": self.config,
            "history": self.history,
        }
        save_checkpoint(path, self.module.state_dict(), manifest)

    @classmethod
    def load(cls, path: str | Path) -> Trained:
        """Read what `save` wrote."""
        tensors, manifest = load_checkpoint(path)
        if manifest.get("kind") != "thin_cnn":
            raise ValueError(f"{path} holds {manifest.get('kind')!r}, not a trained thin_cnn")
        try:
            module = ThinCNN(**manifest["network"]).eval()
            module.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: its weights do not fit its description: {error}") from error
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(
            module,
            tuple(manifest["mean"]),
            tuple(manifest["std"]),
            tuple(manifest["image_shape"]),
            manifest["config"],
            manifest["history"],
        )


def embed(
    network: nn.Module,
    pixels: npt.NDArray[np.uint8],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int = 500,
    part: str = "forward",
) -> npt.NDArray[np.float32]:
    """Embed uint8 images of shape (n, channels, height, width) in float32, in batches, by a network in eval mode.

    `part` names the method of the network to call: "forward", or "features" for the convolutional part of `ThinCNN`.
    """
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch_size):
            batch = torch.from_numpy(pixels[start : start + batch_size]).to(device)  # (batch, channels, height, width)
            parts.append(getattr(network, part)(normalised(batch.float() / 255, mean, std)).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, getattr(network, "dim", 0)), dtype=np.float32)


def normalised(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """z-score per channel, in the memory layout that convolutions are fastest with."""
    shape = (1, len(mean), 1, 1)
    centre, spread = images.new_tensor(mean).view(shape), images.new_tensor(std).view(shape)  # (1, channels, 1, 1)
    return ((images - centre) / spread).contiguous(memory_format=torch.channels_last)  # (n, channels, height, width)


def as_nchw(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(n, height, width[, 1 or 3]) uint8 -> (n, channels, height, width), contiguous; refuses anything else.

    A read-only array is copied: torch takes writable ones only.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise ValueError(
            f"images must be uint8 of shape (n, height, width) or (n, height, width, 1 or 3), got {array.dtype} "
            f"of shape {array.shape}"
        )
    if len(array) < 1 or min(array.shape[1:3]) < 8:
        raise ValueError(f"need at least one image of at least 8 x 8 pixels, got shape {array.shape}")
    array = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    return np.require(array, requirements=["C", "W"])


def pixel_statistics(pixels: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of values in 0..1, exact, from a histogram."""
    levels = np.arange(256) / 255
    means, stds = [], []
    for channel in range(pixels.shape[1]):
        share = np.bincount(pixels[:, channel].ravel(), minlength=256) / pixels[:, channel].size
        mean = float(share @ levels)
        means.append(mean)
        stds.append(max(float(np.sqrt(share @ (levels - mean) ** 2)), 1e-3))
    return tuple(means), tuple(stds)
