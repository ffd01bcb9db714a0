"""In two dimensions: how an index divides the plane, and which parts of it a search looked into, numbered in order.

    KD-tree, ball tree   the boxes or balls of the leaves, and those that a bound pruned
    IVF                  the cells of the centroids; by lines, what the codes of rows stand for
    LSH                  the buckets between the hyperplanes, or bands of equally many differing bits
    Vamana               the edges, the walk, and the circle beyond which it opens nothing

Cells and buckets are painted pixel by pixel, by asking the index where each pixel would lie: so the picture shows what
the index does, for every metric. For cosine, where only directions count, vectors are drawn with length one.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from annlab.common.style import Palette
from annlab.explain.traces import lists, trees
from annlab.graphs.structure import GraphStructure
from annlab.hashing.finders import BucketFinder
from annlab.hashing.structure import LSHStructure
from annlab.inverted.structure import IVFStructure
from annlab.kernels.distance import COSINE, L2
from annlab.kernels.trees.tree import BOX
from annlab.scan.centroids import Centroids
from annlab.trees.structure import TreeStructure

if TYPE_CHECKING:
    from annlab.explain.explanation import Explanation

Window = tuple[tuple[float, float], tuple[float, float]]

_PIXELS = 1000  # along the longer side
_OUTLIERS = 0.002  # share of the rows that may lie outside, at each side
_AROUND = 1.5  # times as far as the farthest that a search looked at
_NUMBERED = 12  # parts
_MOST_LINES = 64  # hyperplanes that are drawn
_MOST_EDGES = 30_000
_MOST_CODES = 600  # rows whose codes are drawn


def shown(told: "Explanation", vectors: np.ndarray) -> np.ndarray:
    """Where vectors (m, 2) are drawn, float64."""
    points = np.asarray(vectors, np.float64)
    if told.index._require_state().metric.code == COSINE:
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = points / np.where(lengths > 0, lengths, 1.0)
    return points


def window_of(points: np.ndarray, query: np.ndarray, shown_in_any_case: np.ndarray | None = None) -> Window:
    """The part of the plane to draw: around the query, what the search looked at; never more than about all points.

    shown_in_any_case: (n,) bool, which of the points (n, 2) that was; None: all of them.
    """
    low, high = np.quantile(points, [_OUTLIERS, 1 - _OUTLIERS], axis=0)
    low, high = np.minimum(low, query), np.maximum(high, query)
    margin = 0.06 * np.maximum(high - low, 1e-9 + 0.2 * float((high - low).max()))
    low, high = low - margin, high + margin
    if shown_in_any_case is not None and shown_in_any_case.any():
        near = np.vstack([points[shown_in_any_case], query])
        half = _AROUND * max(float(np.abs(near - query).max()), 1e-9)
        low, high = np.maximum(low, query - half), np.minimum(high, query + half)
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def title_of(told: "Explanation") -> str:
    """What the partition shows."""
    structure = told.index._require_state().structure
    if isinstance(structure, TreeStructure):
        kind = "boxes" if structure.shape == BOX else "balls"
        return f"{kind} of the leaves, visited in order"
    if isinstance(structure, IVFStructure):
        return "cells, probed in order"
    if isinstance(structure, LSHStructure):
        if isinstance(structure.finder, BucketFinder):
            return "buckets of all tables, probed in order"
        return "codes: the fewer bits differ, the darker"
    if isinstance(structure, GraphStructure) and structure.walkable is not None:
        return "links, and the walk in order"
    return "no partition: every row is compared"


def draw(axes: Any, told: "Explanation", window: Window, colours: Palette) -> None:
    """The partition below the rows."""
    structure = told.index._require_state().structure
    if isinstance(structure, TreeStructure):
        _draw_leaves(axes, told, structure, colours)
    elif isinstance(structure, IVFStructure):
        _draw_cells(axes, told, structure, window, colours)
    elif isinstance(structure, LSHStructure):
        _draw_buckets(axes, told, structure, window, colours)
    elif isinstance(structure, GraphStructure) and structure.walkable is not None:
        _draw_graph(axes, told, structure, colours)


# ---- cells and buckets, pixel by pixel


def _pixels(window: Window) -> tuple[np.ndarray, tuple[int, int]]:
    """The middles of all pixels, row by row from below, and the shape of the picture."""
    (left, right), (bottom, top) = window
    longer = max(right - left, top - bottom)
    width = max(2, round(_PIXELS * (right - left) / longer))
    height = max(2, round(_PIXELS * (top - bottom) / longer))
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = bottom + (np.arange(height) + 0.5) * (top - bottom) / height
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), (height, width)


def _borders(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels (height, width) at both sides of a border between labels."""
    picture, border = labels.reshape(shape), np.zeros(shape, bool)
    beside, above = picture[:, 1:] != picture[:, :-1], picture[1:] != picture[:-1]
    border[:, 1:] |= beside
    border[:, :-1] |= beside
    border[1:] |= above
    border[:-1] |= above
    return border


def _paint(axes: Any, window: Window, shade: np.ndarray, border: np.ndarray, colours: Palette) -> None:
    """Shades (height, width) from 0, nothing, to 1 in the colour of what was visited, and borders above them."""
    from matplotlib.colors import to_rgb

    image = np.zeros((*shade.shape, 4))
    image[..., :3], image[..., 3] = to_rgb(colours.visited), 0.55 * shade
    image[border] = (*to_rgb(colours.faint), 1.0)
    axes.imshow(
        image, extent=(*window[0], *window[1]), origin="lower", interpolation="antialiased", aspect="equal", zorder=0
    )


def _fading(rank: int, n: int) -> float:
    """The first is the darkest."""
    return 1.0 - 0.65 * rank / max(n - 1, 1)


def _number(axes: Any, place: np.ndarray, number: int, colours: Palette) -> None:
    text = axes.annotate(str(number), place, ha="center", va="center", fontsize=8, color=colours.ink, zorder=5,
                         annotation_clip=True)  # fmt: skip
    text.set_bbox(
        {"boxstyle": "circle,pad=0.15", "facecolor": colours.paper, "edgecolor": colours.faint, "alpha": 0.85}
    )


def _draw_cells(axes: Any, told: "Explanation", structure: IVFStructure, window: Window, colours: Palette) -> None:
    grid, shape = _pixels(window)
    conversion, own = structure.lists.conversion, Centroids(structure.centroids.array)
    labels = own.nearest(conversion.points(grid.astype(structure.vectors.dtype)))[0]
    shade = np.zeros(structure.n_lists)
    cells = [step for step in told.trace.steps if step.what == "cell"]
    for rank, step in enumerate(cells):
        shade[step.number] = _fading(rank, len(cells))
    _paint(axes, window, shade[labels].reshape(shape), _borders(labels, shape), colours)
    for rank, step in enumerate(cells[:_NUMBERED]):
        inside = grid[labels == step.number]
        if len(inside):
            _number(axes, inside.mean(axis=0), rank + 1, colours)
    if structure.lists.loss:
        _draw_codes(axes, told, structure, colours)


def _draw_codes(axes: Any, told: "Explanation", structure: IVFStructure, colours: Palette) -> None:
    """Lines from rows of the probed cells to what their codes stand for."""
    from matplotlib.collections import LineCollection

    ids = np.concatenate([step.ids for step in told.trace.steps if step.what == "cell"] or [np.zeros(0, np.int64)])
    by_row = told.index._require_state().by_row.array
    rows = np.flatnonzero(np.isin(by_row[: len(structure.vectors)], ids))[:_MOST_CODES]
    stand = lists.stands_for(structure, rows)
    lines = np.stack([shown(told, structure.vectors[rows]), stand], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=colours.left_out, linewidths=0.7, zorder=2.5))
    axes.scatter(
        *stand.T, s=9, marker="s", color=colours.left_out, linewidths=0, zorder=2.6, label="what codes stand for"
    )


def _draw_buckets(axes: Any, told: "Explanation", structure: LSHStructure, window: Window, colours: Palette) -> None:
    grid, shape = _pixels(window)
    grid = grid.astype(structure.vectors.dtype)
    codes, finder = structure.finder.encoder.rows(grid), structure.finder
    border = np.zeros(shape, bool)
    if not isinstance(finder, BucketFinder):
        n_bits = structure.settings.code_bits
        own = finder.encoder.queries(_row(told, structure)).bits[0]
        differing = np.bitwise_count(codes.bits ^ own).sum(axis=1, dtype=np.int64)
        if n_bits <= _MOST_LINES:
            border = _borders(codes.bits[:, 0], shape)
        _paint(axes, window, np.clip(1.0 - 2.0 * differing / n_bits, 0.0, 1.0).reshape(shape), border, colours)
        return
    keys, n_buckets = finder.keys.rows(grid, codes), 1 << finder.tables.n_bits
    probed = [step for step in told.trace.steps if step.what == "bucket"]
    shade = np.zeros(len(grid))
    places: list[np.ndarray] = []
    for rank, step in enumerate(probed):
        inside = keys[step.number // n_buckets] == step.number % n_buckets
        new = inside & (shade == 0)
        shade[inside] = np.maximum(shade[inside], _fading(rank, len(probed)))
        places.append(grid[new if new.any() else inside])
    tables = range(finder.n_tables)
    if finder.n_tables * finder.tables.n_bits > _MOST_LINES and probed:
        tables = range(probed[0].number // n_buckets, probed[0].number // n_buckets + 1)
    for table in tables:
        border |= _borders(keys[table], shape)
    _paint(axes, window, shade.reshape(shape), border, colours)
    for rank, inside in enumerate(places[:_NUMBERED]):
        if len(inside):
            middle = inside.mean(axis=0)
            _number(axes, inside[np.argmin(((inside - middle) ** 2).sum(axis=1))], rank + 1, colours)


def _row(told: "Explanation", structure: Any) -> np.ndarray:
    return np.ascontiguousarray(told.query[None, :], dtype=structure.vectors.dtype)


# ---- boxes, balls, edges


def _draw_leaves(axes: Any, told: "Explanation", structure: TreeStructure, colours: Palette) -> None:
    leaves = {trees.number_of(structure, part): part for part in trees.parts_of(structure)}
    visited = [step.number for step in told.trace.steps if step.what == "leaf"]
    pruned = {step.number for step in told.trace.left_out if step.what == "leaf"}
    for number, part in leaves.items():
        if number not in visited:
            edge = colours.left_out if number in pruned else colours.faint
            style = {"facecolor": "none", "edgecolor": edge, "linewidth": 0.8, "zorder": 1}
            axes.add_patch(_patch(structure, part, linestyle="--" if number in pruned else "-", **style))
    for rank, number in enumerate(visited):
        alpha = 0.5 * _fading(rank, len(visited))
        axes.add_patch(
            _patch(structure, leaves[number], facecolor=colours.visited, edgecolor="none", alpha=alpha, zorder=1)
        )
        axes.add_patch(
            _patch(structure, leaves[number], facecolor="none", edgecolor=colours.found, linewidth=1, zorder=1)
        )
    for rank, number in enumerate(visited[:_NUMBERED]):
        _number(axes, _middle(structure, leaves[number]), rank + 1, colours)
    if pruned:
        axes.plot(
            [], [], linestyle="--", color=colours.left_out, linewidth=0.8, label="leaves that were seen and left out"
        )


def _patch(structure: TreeStructure, part: trees.Part, **look: Any) -> Any:
    from matplotlib.patches import Circle, Rectangle

    bound = trees.shape_of(structure, part)
    if structure.shape == BOX:
        return Rectangle(tuple(bound[0]), *(bound[1] - bound[0]), **look)
    return Circle(tuple(bound[:2]), float(bound[2]), **look)


def _middle(structure: TreeStructure, part: trees.Part) -> np.ndarray:
    bound = trees.shape_of(structure, part)
    return np.asarray(bound.mean(axis=0) if structure.shape == BOX else bound[:2])


def _draw_graph(axes: Any, told: "Explanation", structure: GraphStructure, colours: Palette) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Circle

    graph = structure.walkable.graph  # type: ignore[union-attr]
    points = shown(told, structure.vectors[graph.first_rows])
    sources = np.repeat(np.arange(graph.n_nodes), graph.degree)
    targets = graph.links.ravel()
    edges = np.stack([sources, targets], axis=1)[targets >= 0]
    edges = np.unique(np.sort(edges, axis=1), axis=0)[:_MOST_EDGES]
    axes.add_collection(LineCollection(list(points[edges]), colors=colours.faint, linewidths=0.35, zorder=1))
    walk = [step for step in told.trace.steps if step.what == "node"]
    for rank, step in enumerate(walk):
        if step.parent >= 0:
            arrow = {
                "arrowstyle": "-|>",
                "color": colours.found,
                "lw": 1.3,
                "shrinkA": 1,
                "shrinkB": 2,
                "mutation_scale": 7,
            }
            axes.annotate("", points[step.number], points[step.parent], arrowprops=arrow, zorder=4.5)
        axes.scatter(*points[step.number], s=20, color=colours.visited, edgecolors=colours.ink, linewidths=0.5,
                     zorder=5, label="opened" if rank == 0 else None)  # fmt: skip
    for rank, step in enumerate(walk[:_NUMBERED]):
        axes.annotate(str(rank + 1), points[step.number], xytext=(4, 4), textcoords="offset points", fontsize=7,
                      color=colours.ink, zorder=6, annotation_clip=True)  # fmt: skip
    limits = [step.limit for step in told.trace.left_out if np.isfinite(step.limit)]
    if limits and structure.metric.code == L2:
        radius = limits[0] / structure.walkable.lifting.scale  # type: ignore[union-attr]
        axes.add_patch(Circle(tuple(told.query), radius, facecolor="none", edgecolor=colours.left_out, linestyle="--",
                              linewidth=1.2, zorder=4, label="reach: nothing beyond is opened"))  # fmt: skip
