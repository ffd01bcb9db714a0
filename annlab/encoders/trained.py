"""A trained encoder: the network, the statistics of its preprocessing, and how it came about.

What `train` returns and a weights file holds. `Trained.embed` is the plain torch path from uint8 images to embeddings;
serving exports the network to ONNX and needs none of this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from annlab.encoders._torch import nn, torch
from annlab.encoders.checkpoints import load_checkpoint, save_checkpoint
from annlab.encoders.cnn import ThinCNN
from annlab.encoders.readout import Readout

if TYPE_CHECKING:
    from annlab.encoders.encoder import Encoder

__all__ = ["Trained", "as_nchw", "embed", "normalised", "pixel_statistics"]


@dataclass
class Trained:
    """A trained encoder: network, statistics for the z-score, and how it came about.

    Attributes
    ----------
    module : ThinCNN, in eval mode, or the Readout of one that learned without labels
    mean, std : tuples of float, one per channel, of pixel values in 0..1
    image_shape : (height, width) of the training images
    config : dict, the settings of the run (see `TrainConfig`)
    history : list of dict, one per epoch

    Examples
    --------
    >>> trained = Trained(ThinCNN(channels=1).eval(), (0.3,), (0.3,), (28, 28), {})       # `train` gives a better one
    >>> trained.embed(np.zeros((5, 28, 28), np.uint8)).shape
    (5, 128)
    """

    module: ThinCNN | Readout
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int]
    config: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)

    def embed(self, images: npt.NDArray[np.uint8], batch_size: int = 500) -> npt.NDArray[np.float32]:
        """Embeddings of uint8 images (n, height, width[, channels]): float32, shape (n, dim), rows of length 1.

        The images must have the size and the channels of those that it was trained on; another size would go through
        the convolutions, and mean something else.
        """
        pixels = as_nchw(images)
        if pixels.shape[1:] != (len(self.mean), *self.image_shape):
            given, wanted = pixels.shape[2:] + pixels.shape[1:2], (*self.image_shape, len(self.mean))
            raise ValueError(
                f"images are {given}, but it was trained on {wanted} (height, width, channels): resize them"
            )
        return embed(self.module, pixels, self.mean, self.std, batch_size)

    def to_encoder(self, name: str, description: str = "", compact: bool = False) -> Encoder:
        """The same as an `Encoder`, which takes files, pictures of any size and arrays, and runs without torch.

        Parameters
        ----------
        name : str
        description : str
            What it is for, in words; no image is outside its domain.
        compact : bool
            See `annlab.encoders.export.export_encoder`.

        Examples
        --------
        >>> encoder = trained.to_encoder("mine")                              # doctest: +SKIP
        >>> encoder.save("my-encoder")                                        # doctest: +SKIP
        >>> load_encoder("my-encoder").encode(["one.jpg"]).shape              # doctest: +SKIP
        (1, 128)
        """
        from annlab.encoders.encoder import Domain
        from annlab.encoders.export import export_encoder
        from annlab.encoders.preprocess import ColorMode, Resize, ScaleToUnit, Step, ZScore

        mode: Literal["grayscale", "rgb"] = "grayscale" if len(self.mean) == 1 else "rgb"
        steps: list[Step] = [
            ColorMode(mode),
            Resize(*self.image_shape, "crop"),
            ScaleToUnit(),
            ZScore(self.mean, self.std),
        ]
        words = description or f"{self.image_shape[0]}x{self.image_shape[1]} {mode} images"
        return export_encoder(self.module, steps, name, Domain(words), compact=compact)

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
            built = Readout.built if "n_words" in manifest["network"] else ThinCNN
            module: ThinCNN | Readout = built(**manifest["network"]).eval()
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
