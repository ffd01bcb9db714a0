"""Recall against speed as image files, one curve an index: `annlab.common.curves` draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from annlab.common import curves, style
from benchmarks.frontier import Point


def by_label(points: Sequence[Point]) -> dict[str, list[tuple[float, float]]]:
    """Recall and queries a second of all settings, by label."""
    found: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        found.setdefault(point.label, []).append((point.recall, 1 / point.seconds))
    return found


def save_grid(grid: Mapping[tuple[int, str], Sequence[Point]], title: str, path: Path) -> None:
    """Write one figure with a plot for each (k, mode): rows are k, columns modes."""
    ks, modes = list(dict.fromkeys(k for k, _ in grid)), list(dict.fromkeys(mode for _, mode in grid))
    figure = style.new_figure(8 * len(modes), 5 * len(ks), style.LIGHT)
    axes = figure.subplots(len(ks), len(modes), squeeze=False)
    for (k, mode), some in grid.items():
        curves.draw(axes[ks.index(k)][modes.index(mode)], by_label(some), f"{title}, k={k}, {mode}")
    figure.savefig(path, dpi=70)


def save(points: Sequence[Point], title: str, path: Path) -> None:
    """Write the plot of `points` to an image file."""
    figure = style.new_figure(8, 5, style.LIGHT)
    curves.draw(figure.subplots(), by_label(points), title)
    figure.savefig(path, dpi=120)
