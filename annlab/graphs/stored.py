"""A graph and its rows as arrays of a file, and back: kernels rely on every number, so each is checked."""

import numpy as np

from annlab.distances import Metric
from annlab.graphs.graph import Graph, check_graph
from annlab.graphs.leading import left_out, turned
from annlab.graphs.points import Lifting
from annlab.graphs.rows import Rows, in_line, norms_of
from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.graphs.walk_rows import ROW_BYTES

_MOST_DEGREE = 128
_LARGEST_AXIS = 1.001  # a coordinate of a direction: of length 1, and rounded


def arrays_of(graph: Graph, blocks: np.ndarray, rows: Rows, lifting: Lifting,
              vectors: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    """What to store besides the vectors."""
    numbers = np.array([lifting.scale, rows.step, rows.blur], np.float64)
    result = {"links": blocks, "entries": graph.entries, "center": lifting.center, "numbers": numbers}
    if graph.offsets is not None:
        result["offsets"] = graph.offsets
    if rows.has_codes:
        result["codes"] = rows.array
        if rows.axes is not None:
            result["axes"] = rows.axes
    elif rows.array is not vectors:
        result["points"] = rows.array
    return result


def walkable_of(arrays: dict[str, np.ndarray], metric: Metric) -> tuple[Graph, np.ndarray, Rows, Lifting]:
    """The graph, its blocks, rows and lifting of stored arrays; raises a ValueError where these do not fit together."""
    vectors, blocks, entries = arrays["vectors"], arrays["links"], arrays["entries"]
    offsets, (n, dim) = arrays.get("offsets"), vectors.shape
    n_nodes = n if offsets is None else len(offsets) - 1
    if blocks.dtype != np.int32 or blocks.ndim != 2 or len(blocks) != n_nodes or blocks.shape[1] % 32:
        raise ValueError(f"links are {blocks.dtype} {blocks.shape} for {n_nodes} nodes")
    degree = blocks.shape[1] // 2
    if not 16 <= degree <= _MOST_DEGREE:
        raise ValueError(f"nodes have {degree} links, not 16 to {_MOST_DEGREE}")
    norms = blocks[:, degree:].view(np.float32)
    if not (norms >= 0).all() or not (np.isfinite(norms) | (blocks[:, :degree] < 0)).all():
        raise ValueError("norms beside links are negative or not finite")
    lifting = _lifting(arrays, metric, dim)
    graph = Graph(np.ascontiguousarray(blocks[:, :degree]), np.ascontiguousarray(entries), offsets)
    check_graph(graph, n)
    return graph, blocks, _rows(arrays, lifting, graph, n_nodes), lifting


def age_of(arrays: dict[str, np.ndarray]) -> tuple[int, int]:
    """When was learned what."""
    age = arrays["age"]
    if age.shape != (2,) or age.dtype != np.float64 or not ((age >= 1) & (age < 2.0**62)).all():
        raise ValueError(f"age is {age.dtype} {age.shape} {age}")
    return int(age[0]), int(age[1])


def _numbers(arrays: dict[str, np.ndarray]) -> tuple[float, float, float]:
    numbers = arrays["numbers"]
    if numbers.shape != (3,) or numbers.dtype != np.float64 or not np.isfinite(numbers).all():
        raise ValueError(f"scale, step and blur are {numbers}")
    scale, step, blur = numbers.tolist()
    if not (scale > 0 and 1e-35 < step < 1e15 and 0 <= blur < 1e15):
        raise ValueError(f"scale, step and blur are {numbers}")
    return scale, step, blur


def _lifting(arrays: dict[str, np.ndarray], metric: Metric, dim: int) -> Lifting:
    center, wanted = arrays["center"], dim + (metric.code == INNER_PRODUCT)
    if center.shape != (wanted,) or center.dtype != np.float64 or not np.isfinite(center).all():
        raise ValueError(f"center {center.dtype} {center.shape} does not fit dimension {wanted}")
    lifting = Lifting(metric, center, _numbers(arrays)[0])
    if not lifting.is_sound():
        raise ValueError(f"scale {lifting.scale} takes the center out of range")
    return lifting


def _rows(arrays: dict[str, np.ndarray], lifting: Lifting, graph: Graph, n_nodes: int) -> Rows:
    """The rows of the nodes: codes, points, or the vectors."""
    _, step, blur = _numbers(arrays)
    vectors, dim = arrays["vectors"], lifting.dim
    if "codes" in arrays:
        axes = _axes(arrays, dim)
        codes, stride = arrays["codes"], -(-(dim if axes is None else axes.shape[1]) // ROW_BYTES) * ROW_BYTES
        if codes.dtype != np.uint8 or codes.shape != (n_nodes, stride):
            raise ValueError(f"codes are {codes.dtype} {codes.shape}, not uint8 {(n_nodes, stride)}")
        norms = _norms_beside_links(graph, arrays["links"], n_nodes)
        known = norms >= 0
        some = np.flatnonzero(~known)
        own = vectors[_first_rows(graph, some)]
        norms[some] = norms_of(codes[some], step) + lifting.terms(own)
        if axes is not None:
            points = lifting.points(own)
            norms[some] += left_out(points, turned(points, axes, 1))
        return Rows(in_line(codes), norms, step, blur, axes)
    points = arrays.get("points", vectors)
    if points.dtype != np.float32 or points.shape != (n_nodes, dim):
        raise ValueError(f"points are {points.dtype} {points.shape}, not float32 {(n_nodes, dim)}")
    if "points" not in arrays and (lifting.center.any() or lifting.scale != 1.0):
        raise ValueError("points are missing")
    return Rows(points, lifting.terms(vectors[graph.first_rows]), step, blur)


def _axes(arrays: dict[str, np.ndarray], dim: int) -> np.ndarray | None:
    """The directions of leading components, if codes hold these."""
    axes = arrays.get("axes")
    if axes is None:
        return None
    if axes.dtype != np.float32 or axes.ndim != 2 or len(axes) != dim or not axes.size or axes.shape[1] % ROW_BYTES:
        raise ValueError(f"axes are {axes.dtype} {axes.shape}, not float32 ({dim}, a multiple of {ROW_BYTES})")
    if not np.isfinite(axes).all() or float(np.abs(axes).max()) > _LARGEST_AXIS:
        raise ValueError("axes hold numbers that are not finite, or none of a direction")
    return in_line(axes)


def _first_rows(graph: Graph, nodes: np.ndarray) -> np.ndarray:
    return nodes if graph.offsets is None else graph.offsets[nodes]


def _norms_beside_links(graph: Graph, blocks: np.ndarray, n_nodes: int) -> np.ndarray:
    """The norm of every node from beside a link that leads there; -1 where none does (an entry may have none)."""
    norms, degree = np.full(n_nodes, -1.0, np.float32), graph.degree
    there = graph.links >= 0
    norms[graph.links[there]] = blocks[:, degree:].view(np.float32)[there]
    return norms
