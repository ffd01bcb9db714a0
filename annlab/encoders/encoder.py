"""An encoder: preprocessing steps and an ONNX model, stored together, that turn images into embeddings.

    encoder = load_encoder("fashion-mnist")          # or Encoder.load("my-encoder")
    embeddings = encoder.encode(images)              # (n, dim) float32, each row of length 1

An encoder is a folder of these files:

    encoder.json      the manifest: format version, name, dimension, preprocessing steps, domain, hashes
    model.onnx        (n, channels, height, width) float32 -> (n, dim) float32
    texts.npz         from texts into the same space, where it was trained for that (`texts.py`)
    MODEL_CARD.md     for people: data, training, measured quality, licence (where there is one)

Inference is ONNX Runtime's, on the threads the caller asks for; torch is not needed, nor imported. The runtime's
telemetry, which its official builds switch on, is switched off.

*Fingerprint.* Embeddings of two encoders must never meet in one index: their distances mean nothing, and nothing would
raise. So each encoder has a fingerprint, a hash over its weights, its preprocessing, its text side and the format
version, that
whoever stores embeddings stores beside them and compares.

*Domain.* A network answers any input, with nonsense outside what it was trained on. So each encoder states its domain,
and `encode` checks what can be checked cheaply, at the size that the network sees: how colourful an image is and how
dark its outer frame of pixels is.
That stops the common error, photographs given to an encoder of 28 x 28 clothing, and not every one: a gray picture
on black passes, whatever it shows.

A manifest may come from anywhere, so nothing in it is believed: sizes, types and hashes are checked, file names are
fixed, the model's own input and output shapes must agree with what the manifest says, and a model that refers to files
outside itself is not loaded. (ONNX Runtime itself still parses the model: take models from people you trust.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annlab.encoders.images import ImageSource, array_batch, decode_image, is_single_image
from annlab.encoders.manifest import FORMAT, VERSION, read_bounded, read_manifest, replace_file, sha256
from annlab.encoders.preprocess import Step, output_shape, preprocess, steps_from_json, steps_to_json
from annlab.encoders.texts import FILE_BYTES, Texts

MODEL_BYTES = 1 << 30
DARK = 32  # a pixel below this luma, of 255, is dark


class DomainError(ValueError):
    """An image lies outside what the encoder was trained on."""


@dataclass(frozen=True)
class Domain:
    """What an encoder's images look like.

    Parameters
    ----------
    description : str
        In words, for people and error messages.
    max_chroma : float, optional
        The largest mean difference, over an image's pixels, of the largest and the smallest of red, green and blue
        (0..255). Gray images have 0; half of all colour photographs of CIFAR-10 have more than 28.
    min_dark_frame : float, optional
        The smallest share of dark pixels in the image's outermost frame.

    Examples
    --------
    >>> Domain("drawings, black on white").description
    'drawings, black on white'
    """

    description: str
    max_chroma: float | None = None
    min_dark_frame: float | None = None

    def first_outside(self, batch: NDArray[np.uint8]) -> tuple[int, str] | None:
        """Row and reason of the first image outside, of (n, height, width, 1 or 3) uint8; None if all are inside."""
        complaints: list[tuple[int, str]] = []
        if self.max_chroma is not None and batch.shape[3] == 3:
            chroma = _chroma(batch)
            for row in np.flatnonzero(chroma > self.max_chroma)[:1]:
                reason = f"mean chroma {chroma[row]:.1f} of 255, at most {self.max_chroma:g}"
                complaints.append((int(row), f"it is a colour photograph ({reason})"))
        if self.min_dark_frame is not None:
            dark = _dark_frame(batch)
            for row in np.flatnonzero(dark < self.min_dark_frame)[:1]:
                reason = f"{dark[row]:.0%} of its frame is dark, at least {self.min_dark_frame:.0%}"
                complaints.append((int(row), f"its background is not black ({reason})"))
        return min(complaints, key=lambda complaint: complaint[0], default=None)


def learn_domain(images: NDArray[np.uint8], description: str) -> Domain:
    """The domain of an encoder trained on these images, (n, height, width, 1 or 3): limits that they keep, with room.

    A limit is set only where the images have the property at all: all nearly gray, or all on black.
    """
    chroma = max((float(_chroma(block).max()) for block in _blocks(images)), default=0.0)
    dark = min((float(_dark_frame(block).min()) for block in _blocks(images)), default=0.0)
    max_chroma = round(1.5 * chroma + 3, 1) if chroma < 10 else None
    return Domain(description, max_chroma, round(0.5 * dark, 2) if dark > 0.2 else None)


def _blocks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + 1024] for start in range(0, len(images), 1024))


def _chroma(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean over the pixels of the largest minus the smallest channel, 0..255, (n,)."""
    means: NDArray[np.float64] = (batch.max(axis=3) - batch.min(axis=3)).mean(axis=(1, 2))
    return means


def _dark_frame(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of dark pixels in the outermost frame, (n,)."""
    sides = batch[:, 0], batch[:, -1], batch[:, :, 0], batch[:, :, -1]
    frame = np.concatenate(sides, axis=1).mean(axis=2)
    shares: NDArray[np.float64] = (frame < DARK).mean(axis=1)
    return shares


class Encoder:
    """Images in, L2-normalised embeddings out.

    Parameters
    ----------
    model : bytes
        An ONNX model with one input (n, channels, height, width) and one output (n, dim), both float32.
    steps : list of steps
        Preprocessing that produces the model's input; see `annlab.encoders.preprocess`.
    name : str
    domain : Domain
    threads : int
        Threads of ONNX Runtime per call.
    texts : Texts, optional
        From texts into the space of the images.

    Attributes
    ----------
    texts : Texts or None
    model : bytes
    dim : int
        The length of an embedding.
    fingerprint : str
        32 hexadecimal digits; equal only for equal weights, preprocessing, text side and format version.

    Raises
    ------
    ValueError
        The model is damaged, or its input does not fit the steps.
    ImportError
        ONNX Runtime is not installed.

    Examples
    --------
    >>> from annlab.encoders import load_encoder                                          # doctest: +SKIP
    >>> load_encoder("fashion-mnist").encode(images).shape                                # doctest: +SKIP
    (10000, 64)
    """

    def __init__(
        self,
        model: bytes,
        steps: Sequence[Step],
        name: str,
        domain: Domain,
        threads: int = 1,
        texts: Texts | None = None,
    ) -> None:
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be an integer of at least 1, not {threads!r}")
        self.steps = list(steps)
        self.name = name
        self.domain = domain
        self.texts = texts
        self.model = model
        self._session = _session(model, threads)
        self.dim = self._check_shapes()
        described = json.dumps(steps_to_json(self.steps), sort_keys=True)
        if texts is not None and texts.dim != self.dim:
            raise ValueError(f"the texts have dimension {texts.dim}, the images {self.dim}: they share no space")
        beside = "" if texts is None else f"\n{sha256(texts.stored)}"
        identity = f"{FORMAT} {VERSION}\n{described}\n{sha256(model)}{beside}"
        self.fingerprint = sha256(identity.encode())[:32]

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, dim={self.dim}, fingerprint={self.fingerprint!r})"

    def encode(
        self, images: NDArray[Any] | Sequence[ImageSource], batch_size: int = 64, check_domain: bool = True
    ) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        images : array or sequence of images
            An array (n, height, width[, channels]) of uint8, uint16 or bool; or a list whose elements are paths, bytes,
            binary files, arrays or Pillow images of any size.
        batch_size : int
            Images that go through the model at once; bounds the working memory.
        check_domain : bool
            False: embed images outside the encoder's domain, too.

        Returns
        -------
        numpy.ndarray
            Shape (n, dim), float32, C-contiguous, rows of length 1.

        Raises
        ------
        DomainError
            An image is outside the encoder's domain; names the first.
        ValueError
            An image cannot be decoded, or its embedding is not finite or all zero.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if is_single_image(images):
            raise TypeError("images must be an array or a list of images: pass [image] for a single one")
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            block = images[start : start + batch_size]
            names = [f"image {number}" for number in range(start, start + len(block))]
            if isinstance(block, np.ndarray):
                batch = self._prepared(array_batch(block), names, check_domain)
            else:  # one after the other: 64 decoded photographs at once could fill the memory
                batch = np.concatenate(
                    [
                        self.prepare(image, str(image) if isinstance(image, str | os.PathLike) else name, check_domain)
                        for image, name in zip(block, names)
                    ]
                )
            embeddings[start : start + len(batch)] = self.run(batch, start)
        return embeddings

    def run(self, batch: NDArray[np.float32], start: int = 0) -> NDArray[np.float32]:
        """Embed images that are preprocessed already, (n, channels, height, width) float32, in one call.

        `start` is the number of the first image, for error messages.
        """
        rows: NDArray[np.float32] = self._session.run(None, {self._session.get_inputs()[0].name: batch})[0]
        lengths = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
        if bad.any():
            raise ValueError(f"the model's embedding of image {start + int(bad.argmax())} is zero or not finite")
        normalized: NDArray[np.float32] = (rows / lengths).astype(np.float32)
        return normalized

    def save(self, folder: str | os.PathLike[str], card: str | None = None) -> None:
        """Write the encoder's folder; `card` is the Markdown text of its model card.

        The manifest is written last: a crash half-way leaves a folder that `load` refuses, not a wrong encoder.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "dim": self.dim,
            "fingerprint": self.fingerprint,
            "model_sha256": sha256(self.model),
            **({"texts_sha256": sha256(self.texts.stored)} if self.texts else {}),
            "domain": asdict(self.domain),
            "preprocess": steps_to_json(self.steps),
        }
        replace_file(path / "model.onnx", self.model)
        if self.texts is not None:
            replace_file(path / "texts.npz", self.texts.stored)
        if card is not None:
            replace_file(path / "MODEL_CARD.md", card.encode())
        replace_file(path / "encoder.json", (json.dumps(manifest, indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: str | os.PathLike[str], threads: int = 1, expected_dim: int | None = None) -> Encoder:
        """Read an encoder's folder, and check all of it.

        Parameters
        ----------
        folder : path
        threads : int
            Threads of ONNX Runtime per call.
        expected_dim : int, optional
            The dimension of the index or file that the embeddings are meant for.

        Raises
        ------
        FileNotFoundError
            There is no encoder in the folder.
        ValueError
            The encoder is of another version or dimension, or damaged.
        """
        if not isinstance(threads, int) or threads < 1:  # said of the caller, not of the encoder
            raise ValueError(f"threads must be an integer of at least 1, not {threads!r}")
        path = Path(folder)
        manifest = read_manifest(path)
        if expected_dim is not None and manifest["dim"] != expected_dim:
            raise ValueError(f"the encoder in {path} has dimension {manifest['dim']}, but {expected_dim} is expected")
        model = read_bounded(path / "model.onnx", MODEL_BYTES)
        if sha256(model) != manifest["model_sha256"]:
            raise ValueError(f"{path / 'model.onnx'} is damaged: its hash is not the one in encoder.json")
        domain = Domain(**manifest["domain"])
        try:
            texts = _read_texts(path, manifest["texts_sha256"])
            encoder = cls(model, steps_from_json(manifest["preprocess"]), manifest["name"], domain, threads, texts)
        except ValueError as error:
            raise ValueError(f"the encoder in {path} is damaged: {error}") from error
        if encoder.dim != manifest["dim"]:
            raise ValueError(f"the model in {path} gives dimension {encoder.dim}, its manifest says {manifest['dim']}")
        if encoder.fingerprint != manifest["fingerprint"]:
            raise ValueError(f"the encoder in {path} is damaged: its fingerprint is not the one in encoder.json")
        return encoder

    def prepare(self, image: ImageSource, name: str, check_domain: bool = True) -> NDArray[np.float32]:
        """Decode, check and preprocess one image: (1, channels, height, width). Errors call it `name`."""
        return self._prepared(decode_image(image, name)[np.newaxis], [name], check_domain)

    def outside(self, decoded: NDArray[np.uint8]) -> tuple[int, str] | None:
        """Row and reason of the first image outside the domain, of (n, height, width, 1 or 3) uint8; None if none is.

        What is looked at is what the network sees, at its size, and in the image's own colours: the same pixels that
        the domain was learned from.
        """
        if self.domain.max_chroma is None and self.domain.min_dark_frame is None:
            return None
        resize = self.steps[1]
        return self.domain.first_outside(resize(decoded))

    def _prepared(self, decoded: NDArray[np.uint8], names: Sequence[str], check_domain: bool) -> NDArray[np.float32]:
        outside = self.outside(decoded) if check_domain else None
        if outside is not None:
            row, reason = outside
            raise DomainError(
                f"{names[row]} ({decoded.shape[1]} x {decoded.shape[2]}) is not for the encoder {self.name!r}, "
                f"which knows {self.domain.description}: {reason}. For photographs select EfficientNet-Lite0: "
                '`annlab encode IMAGES --encoder efficientnet-lite0`, after `pip install "annlab[encoders]"`; '
                'in Python: load_encoder("efficientnet-lite0")'
            )
        return preprocess(self.steps, decoded)

    def _check_shapes(self) -> int:
        """Compare the model's declared shapes with the steps; return the dimension of its output."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"the model has {len(inputs)} inputs and {len(outputs)} outputs; it must have one of each")
        expected = list(output_shape(self.steps))
        if inputs[0].shape[1:] != expected or inputs[0].type != "tensor(float)":
            raise ValueError(f"the model takes {inputs[0].type} of {inputs[0].shape}, the steps give {expected} floats")
        if isinstance(inputs[0].shape[0], int):
            raise ValueError(f"the model takes exactly {inputs[0].shape[0]} images at once; export it for any number")
        shape = outputs[0].shape
        if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 1 or outputs[0].type != "tensor(float)":
            raise ValueError(f"the model gives {outputs[0].type} of {shape}, not (n, dimension) floats")
        return int(shape[1])


def _read_texts(folder: Path, expected: str | None) -> Texts | None:
    """The text side, where the manifest names one."""
    if expected is None:
        return None
    if not (folder / "texts.npz").is_file():
        raise ValueError("encoder.json names a text side, but there is no texts.npz")
    content = read_bounded(folder / "texts.npz", FILE_BYTES)
    if sha256(content) != expected:
        raise ValueError("texts.npz has another hash than encoder.json says")
    return Texts.from_bytes(content)


def _runtime() -> Any:
    """ONNX Runtime, which reports its use to its makers unless told otherwise *before* it is imported.

    Whoever wants that sets ORT_DISABLE_TELEMETRY=0. Where the runtime was imported before, or knows no such variable,
    the events that can still be stopped are.
    """
    wanted = os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1") in ("0", "")
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('running an encoder needs ONNX Runtime: pip install "annlab[onnx]"') from error
    if not wanted:
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def _session(model: bytes, threads: int) -> Any:
    onnxruntime = _runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an exception
    try:  # from bytes, not from a path: a model that refers to other files then finds none
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception classes share no public base
        raise ValueError(f"not a readable ONNX model: {str(error)[:300]}") from error
