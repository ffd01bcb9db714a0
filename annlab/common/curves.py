"""Recall against speed, as all pictures here draw it: up and to the right is better.

The recall axis is stretched towards one (the distance from 0.9 to 0.99 equals that from 0.99 to 0.999), since that is
where indexes differ; the speed axis is logarithmic. Each index is a line through the settings that no other of its
settings beats; the others are faint, since hiding them would hide how well the index must be tuned. No two lines have
one colour and one mark (`style.looks`).

The demo, the benchmarks and the figures of the documentation draw by this; the pages of ``annlab bench`` draw the same
axes and colours as SVG.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from annlab.common import style

FULL_RECALL = 0.9999
"""Where a recall of one is drawn: the stretched axis has no place for it."""
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
Places = Sequence[tuple[float, float]]  # recall, and queries a second, of settings


def stretch(recall: float) -> float:
    """Position of a recall on the axis: the number of nines.

    Examples
    --------
    >>> round(stretch(0.9), 6), round(stretch(0.99), 6)
    (1.0, 2.0)
    """
    return -math.log10(1 - min(recall, FULL_RECALL))


def front(places: Places) -> list[tuple[float, float]]:
    """The settings that no other beats in recall and speed, by growing recall.

    Examples
    --------
    >>> front([(0.9, 10.0), (0.95, 20.0), (0.99, 5.0)])
    [(0.95, 20.0), (0.99, 5.0)]
    """
    kept: list[tuple[float, float]] = []
    for recall, speed in sorted(places, key=lambda place: (-place[0], -place[1])):
        if not kept or speed > kept[-1][1]:
            kept.append((recall, speed))
    return kept[::-1]


def draw(axes: Any, curves: Mapping[str, Places], title: str, colours: style.Palette = style.LIGHT) -> None:
    """Draw the settings of every index into axes of matplotlib."""
    for name, look in style.looks(list(curves)).items():
        best = front(curves[name])
        beaten = [place for place in curves[name] if place not in best]
        for places, line, alpha, label in ((best, "-", 1.0, name), (beaten, "", 0.25, None)):
            axes.plot([stretch(recall) for recall, _ in places], [speed for _, speed in places], linestyle=line,
                      color=look.colour, marker=look.mark, alpha=alpha, label=label)  # fmt: skip
    lowest = min(recall for places in curves.values() for recall, _ in places)
    least = max((tick for tick in TICKS if tick <= lowest), default=0.0)
    recall_axis(axes, [tick for tick in TICKS if tick >= least])
    axes.set_yscale("log")
    axes.set_title(title, fontsize="medium")
    style.dress(axes, colours)
    axes.tick_params(which="both", labelsize="small")
    style.legend(axes, colours)


def recall_axis(axes: Any, ticks: Sequence[float]) -> None:
    """The stretched axis with these recalls and one, the other's name, and a grid."""
    axes.set_xticks([stretch(tick) for tick in (*ticks, 1.0)], [f"{tick:g}" for tick in (*ticks, 1.0)])
    axes.set_xlabel("recall (up and to the right is better)")
    axes.set_ylabel("queries a second")
    axes.grid(alpha=0.25, which="major")
