"""Recall against speed, drawn as the field draws it: up and to the right is better.

The recall axis is stretched towards one (the distance from 0.9 to 0.99 equals that from 0.99 to 0.999), since that is
where indexes differ; the speed axis is logarithmic. Each index is a line through its Pareto front; settings that its
front beats are shown faded, since hiding them would hide how well the index must be tuned.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.frontier import Point, pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL_RECALL = 0.9999  # where a recall of one is drawn: the stretched axis has no place for it
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


def stretch(recall: float) -> float:
    """Position of a recall on the axis: the number of nines."""
    return -math.log10(1 - min(recall, FULL_RECALL))


def draw(axes: "Axes", points: Sequence[Point], title: str) -> None:
    """Draw every label's points and front into `axes`."""
    for label in dict.fromkeys(point.label for point in points):
        mine = [point for point in points if point.label == label]
        front = pareto_front(mine)
        (line,) = axes.plot([stretch(p.recall) for p in front], [1 / p.seconds for p in front], "o-", label=label)
        beaten = [point for point in mine if point not in front]
        axes.plot(
            [stretch(p.recall) for p in beaten],
            [1 / p.seconds for p in beaten],
            "o",
            color=line.get_color(),
            alpha=0.25,
        )
    lowest = min(point.recall for point in points)
    shown = [tick for tick in TICKS if tick >= lowest - 0.1]
    axes.set_xticks([stretch(tick) for tick in (*shown, 1.0)], [f"{tick:g}" for tick in (*shown, 1.0)])
    axes.set_yscale("log")
    axes.set_xlabel("recall")
    axes.set_ylabel("queries a second")
    axes.set_title(f"{title}\nup and to the right is better")
    axes.grid(alpha=0.3)
    axes.legend()


def save_grid(grid: Mapping[tuple[int, str], Sequence[Point]], title: str, path: Path) -> None:
    """Write one figure with a plot for each (k, mode): rows are k, columns modes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "annlab[bench]"') from error
    ks, modes = list(dict.fromkeys(k for k, _ in grid)), list(dict.fromkeys(mode for _, mode in grid))
    figure = Figure(figsize=(8 * len(modes), 5 * len(ks)), layout="constrained")
    axes = figure.subplots(len(ks), len(modes), squeeze=False)
    for (k, mode), some in grid.items():
        draw(axes[ks.index(k)][modes.index(mode)], some, f"{title}, k={k}, {mode}")
    figure.savefig(path, dpi=70)


def save(points: Sequence[Point], title: str, path: Path) -> None:
    """Write the plot of `points` to an image file."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "annlab[bench]"') from error
    figure = Figure(figsize=(8, 5), layout="constrained")  # not pyplot: no window, no global state
    draw(figure.subplots(), points, title)
    figure.savefig(path, dpi=120)
