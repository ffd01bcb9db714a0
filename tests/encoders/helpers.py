"""A tiny ONNX encoder for tests: one matrix, so that every embedding can be computed by hand."""

from __future__ import annotations

import numpy as np

from annlab.encoders.encoder import Domain, Encoder
from annlab.encoders.preprocess import ColorMode, Resize, ScaleToUnit, Step

STEPS: list[Step] = [ColorMode("grayscale"), Resize(4, 4), ScaleToUnit()]
ANYTHING = Domain("anything")


def linear_model(weights: np.ndarray, shape: tuple[int, int, int] = (1, 4, 4), n: str | int = "n") -> bytes:
    """ONNX: flatten (n, *shape) and multiply by weights, (pixels, dim)."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["out"])],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [n, *shape])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [n, weights.shape[1]])],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def linear_encoder(dim: int = 5, seed: int = 0, domain: Domain = ANYTHING) -> tuple[Encoder, np.ndarray]:
    weights = np.random.default_rng(seed).normal(size=(16, dim)).astype(np.float32)
    return Encoder(linear_model(weights), STEPS, "linear", domain), weights


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """(n, 4, 4, 1) uint8 noise, never black."""
    return np.random.default_rng(seed).integers(1, 256, (n, 4, 4, 1), dtype=np.uint8)
