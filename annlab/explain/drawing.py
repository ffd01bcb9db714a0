"""An explanation as a picture: what was visited in order, what was found, and what was missed for which cause."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from annlab.common import style
from annlab.common.style import Palette
from annlab.explain import marks, partitions, work
from annlab.explain.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("auto", "partition", "work", "projection")
_MOST_ROWS = 20_000  # that are drawn
_MOST_CAUSES = 6  # that are written below


def draw(told: Explanation, axes: "Axes | None", what: str, dark: bool | None) -> "Figure":
    """See `Explanation.plot`."""
    if what not in KINDS:
        raise ValueError(f"what={what!r}: one of {', '.join(map(repr, KINDS))}")
    plane = len(told.query) == 2
    if what == "partition" and not plane:
        raise ValueError(f'a partition is drawn in two dimensions, and there are {len(told.query)}: what="projection"')
    if not len(told.index):
        raise ValueError("there is nothing to draw: the index is empty")
    try:
        colours = style.palette(dark)
    except ImportError as error:
        raise ImportError(style.INSTALL) from error
    shown: tuple[str, ...] = ("partition", "work") if plane else ("work", "projection")
    if axes is not None:
        _draw_into(axes, told, shown[0] if what == "auto" else what, colours)
        return axes.get_figure()  # type: ignore[return-value]
    shown = shown if what == "auto" else (what,)
    words = caption(told)
    figure = style.new_figure(5.6 * len(shown), 5.4 + 0.19 * (words.count("\n") + 1) * bool(words), colours)
    for each, panel in zip(shown, np.atleast_1d(figure.subplots(1, len(shown)))):
        _draw_into(panel, told, each, colours)
    figure.suptitle(heading(told), color=colours.ink, fontsize="medium")
    figure.supxlabel(words, color=colours.ink, fontsize="small", x=0.01, ha="left")
    return figure  # type: ignore[no-any-return]


def heading(told: Explanation) -> str:
    """What was asked, and how much of it was found at which cost."""
    given = ", ".join(f"{name}={value:.4g}" for name, value in told.used.items())
    compared = int(told.stats.distances[0])
    return (f"{told.kind}" + (f", {given}" if given else "") + f": found {len(told.expected) - len(told.missed)} of "
            f"{len(told.expected)}, compared {compared:,} for {told.n:,} rows")  # fmt: skip


def caption(told: Explanation) -> str:
    """Why rows were missed, in words."""
    lines = [f"{replace(one, place='')}" for one in told.missed[:_MOST_CAUSES]]
    more = len(told.missed) - len(lines)
    return "\n".join(["missed " + line for line in lines] + ([f"and {more} more"] if more > 0 else []))


def _draw_into(axes: Any, told: Explanation, what: str, colours: Palette) -> None:
    style.dress(axes, colours)
    if what == "partition":
        _plane(axes, told, colours)
    elif what == "work":
        work.distance_by_work(axes, told, colours)
    else:
        work.projection(axes, told, colours)


def _plane(axes: Any, told: Explanation, colours: Palette) -> None:
    """Two dimensions: what divides them, and the rows."""
    ids = told.index.ids
    vectors = partitions.shown(told, told.index.vectors(ids))
    query = partitions.shown(told, told.query[None, :])[0]
    compared = np.unique(np.concatenate([step.ids for step in told.trace.steps] or [np.zeros(0, np.int64)]))
    looked_at = np.isin(ids, compared)
    asked_for = np.concatenate([np.asarray(told.ids), told.expected])
    window = partitions.window_of(vectors, query, looked_at | np.isin(ids, asked_for))
    axes.set_xlim(*window[0])
    axes.set_ylim(*window[1])
    axes.set_aspect("equal")
    partitions.draw(axes, told, window, colours)
    some = slice(None, None, -(-len(ids) // _MOST_ROWS))
    size = float(np.clip(6000 / max(len(ids), 1), 1.5, 12))
    axes.scatter(*vectors[some].T, s=size, color=colours.row, linewidths=0, zorder=2)
    if 0 < looked_at.sum() < len(ids):
        axes.scatter(*vectors[looked_at][:_MOST_ROWS].T, s=size * 1.6, color=colours.seen, linewidths=0, zorder=3,
                     label=f"compared ({int(looked_at.sum()):,})")  # fmt: skip
    marks.mark(axes, told, lambda wanted: vectors[np.searchsorted(ids, wanted)], query, colours)
    axes.set_title(partitions.title_of(told), fontsize="medium")
    style.legend(axes, colours, loc="best")
