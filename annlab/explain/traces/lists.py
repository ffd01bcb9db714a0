"""The cells of an inverted file in the order of their nearness: the first ones were probed."""

import numpy as np

from annlab.explain.trace import Step, Trace
from annlab.explain.traces.asked import Asked
from annlab.inverted.byte_lists import ByteLists
from annlab.inverted.coded_lists import CodedLists
from annlab.inverted.structure import IVFStructure
from annlab.kernels.distance import INNER_PRODUCT
from annlab.kernels.inverted.byte_codes import MIDDLE


def order_of_cells(structure: IVFStructure, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """All cells, the nearest first, and how near each is (n_lists,)."""
    conversion, centroids = structure.lists.conversion, structure.centroids
    y, half_norms = conversion.queries(asked.query), centroids.half_norms
    if asked.request.alive is not None:
        allowed = structure.allowed(asked.request.alive)
        half_norms = allowed.half_norms if allowed.goes_with_lists else half_norms
    order = structure.probes(y, structure.n_lists, half_norms=half_norms)[0][0]
    points = centroids.array[order].astype(np.float64)
    if conversion.metric.code == INNER_PRODUCT:
        return order, -(points @ y[0].astype(np.float64)) / conversion.scale
    return order, np.linalg.norm(points - y[0], axis=1) / conversion.scale


def cell_of(structure: IVFStructure, row: int) -> int:
    """The cell that a row lies in."""
    return int(np.searchsorted(structure.offsets, row, side="right")) - 1


def trace(structure: IVFStructure, asked: Asked, visited: int) -> Trace:
    """Of a search that looked into so many cells."""
    order, near = order_of_cells(structure, asked)
    offsets, row_bytes = structure.offsets, structure.lists.row_bytes()

    def step(place: int) -> Step:
        cell = int(order[place])
        size = int(offsets[cell + 1] - offsets[cell])
        ids = asked.ids(np.arange(offsets[cell], offsets[cell + 1]))
        return Step("cell", cell, float(near[place]), ids, size, size * row_bytes)

    is_product = structure.lists.conversion.metric.code == INNER_PRODUCT
    return Trace(
        "the inner product with its centroid, negated" if is_product else "the distance of its centroid",
        tuple(step(place) for place in range(min(visited, len(order)))),
        tuple(step(place) for place in range(visited, len(order))),
        structure.n_lists,
        f"beyond the {visited:,} nearest cells",
    )


def stands_for(structure: IVFStructure, rows: np.ndarray) -> np.ndarray:
    """What the codes of some rows, ascending, stand for: (m, dim) float64, where vectors lie; themselves if "flat"."""
    storage, conversion = structure.lists, structure.lists.conversion
    cells = np.searchsorted(structure.offsets, rows, side="right") - 1
    if isinstance(storage, CodedLists):
        codes = storage.unpacked(0, structure.n_lists, np.diff(structure.offsets))[rows]
        residuals = storage.quantizer.decode(codes).astype(np.float64) * storage.lengths[cells, None]
    elif isinstance(storage, ByteLists):
        dim = structure.vectors.shape[1]
        levels = storage.codes[rows, :dim].astype(np.float64) - MIDDLE
        residuals = levels * storage.steps[cells, None] * storage.widths
    else:
        return structure.vectors[rows].astype(np.float64)
    return (structure.centroids.array[cells] + residuals) / conversion.scale + conversion.center
