"""From a torch network to an `Encoder` that runs without torch.

`export_encoder` translates the network to ONNX, removes what the translation leaves behind (stack traces with the
paths of this machine; they also make equal networks give unequal files), and then compares: torch and ONNX Runtime must
agree on random inputs before anything is returned. A network that is to be shipped may store its weights with 8 and
16 bits, in a third of the space; the runtime widens them once, at loading, so speed stays the same.

The bytes depend on the versions of torch and onnx, so one network exported twice by different versions may have two
fingerprints. Export once, and ship the file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from annlab.encoders.encoder import Domain, Encoder
from annlab.encoders.preprocess import Step, output_shape, preprocess

if TYPE_CHECKING:
    import torch

    from annlab.encoders.texts import Texts

TOLERANCE = 5e-5


def export_encoder(
    network: torch.nn.Module,
    steps: Sequence[Step],
    name: str,
    domain: Domain,
    compact: bool = False,
    threads: int = 1,
    texts: Texts | None = None,
) -> Encoder:
    """Translate a network to ONNX, check that both agree, and wrap it with its preprocessing.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (n, channels, height, width) float32, as the steps produce it, to (n, dim). It is put into evaluation mode.
    steps : list of steps
    name : str
    domain : Domain
    compact : bool
        Store weights with 8 and 16 bits: about a third of the file, and embeddings that differ by some 1e-3.
    threads : int
        Threads of the returned encoder.
    texts : Texts, optional
        Its text side.

    Returns
    -------
    Encoder

    Raises
    ------
    RuntimeError
        The exported network differs from the given one by more than 5e-5 (1e-2 if compact) in a coordinate.
    ImportError
        torch or onnx is not installed.
    """
    try:
        import onnx
        import torch
    except ImportError as error:
        raise ImportError('exporting an encoder needs torch and onnx: pip install "annlab[encoders]"') from error
    network = network.eval()
    example = torch.from_numpy(_example_batch(steps))
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch exported nothing for {name!r}")
    model = program.model_proto
    _strip(model)
    if compact:
        _compact_weights(model)
    onnx.checker.check_model(model)
    encoder = Encoder(model.SerializeToString(deterministic=True), steps, name, domain, threads, texts)
    _compare(encoder, network, example, 1e-2 if compact else TOLERANCE)
    return encoder


def compacted(encoder: Encoder, name: str, domain: Domain) -> Encoder:
    """An encoder with its weights stored in a third of the space, under another name and domain; see `export_encoder`.

    Its embeddings differ by some 1e-3, so it has another fingerprint.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError('rewriting an encoder needs onnx: pip install "annlab[encoders]"') from error
    model = onnx.load_from_string(encoder.model)
    _compact_weights(model)
    onnx.checker.check_model(model)
    return Encoder(model.SerializeToString(deterministic=True), encoder.steps, name, domain, texts=encoder.texts)


def _compare(encoder: Encoder, network: torch.nn.Module, example: torch.Tensor, tolerance: float) -> None:
    """Raise where ONNX Runtime's embeddings of the example differ from torch's."""
    import torch

    with torch.inference_mode():
        expected = torch.nn.functional.normalize(network(example).double(), dim=1).numpy()
    difference = float(np.abs(encoder.run(example.numpy()) - expected).max())
    if not difference <= tolerance:
        raise RuntimeError(f"the ONNX model of {encoder.name!r} is {difference:.1e} off the network, above {tolerance}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from reporting its progress, and that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _example_batch(steps: Sequence[Step], n: int = 3) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noise, preprocessed as images are, so that the comparison happens at realistic magnitudes."""
    channels, height, width = output_shape(steps)
    noise = np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)
    return preprocess(steps, noise)


def _strip(model: Any) -> None:
    """Remove notes on where in which source file each node came from."""
    model.doc_string = ""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        graph.doc_string = ""
        del graph.metadata_props[:]
        values = [] if graph is not model.graph else [*graph.input, *graph.output, *graph.initializer]
        for part in [*graph.node, *graph.value_info, *values]:
            part.doc_string = ""
            del part.metadata_props[:]
    del model.metadata_props[:]


def _compact_weights(model: Any) -> None:
    """Store convolutions as floats of 16 bits and matrices as integers of 8 bits with one scale per row.

    The matrices of the fully connected layers are most of a thin CNN's weights and bear coarse rounding; the filters
    of the convolutions are few, and their errors add up from layer to layer. The runtime widens both when it loads.
    """
    from onnx import TensorProto, helper, numpy_helper

    scales, nodes = [], []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2:
            continue
        name, values = weight.name, numpy_helper.to_array(weight)
        if values.ndim > 2:
            stored = values.astype(np.float16)
            nodes.append(helper.make_node("Cast", [f"{name}.stored"], [name], to=TensorProto.FLOAT))
        else:
            scale = (np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12) / 127).astype(np.float32)
            stored = np.rint(values / scale).astype(np.int8)
            scales.append(numpy_helper.from_array(scale, f"{name}.scale"))
            nodes.append(helper.make_node("Cast", [f"{name}.stored"], [f"{name}.cast"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}.cast", f"{name}.scale"], [name]))
        weight.CopyFrom(numpy_helper.from_array(stored, f"{name}.stored"))
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(scales)
