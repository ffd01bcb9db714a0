"""One style for all pictures: colours that colour-blind readers tell apart, on white paper and on a dark screen.

The colours are those of Okabe and Ito ("Color universal design", 2008). Nothing is said by colour alone: whatever has a
meaning has a shape, a line style or a number too, so that a picture survives a printer without colours.

matplotlib is the extra `plot`, and is imported when something is drawn.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

INSTALL = 'pictures need matplotlib: pip install "annlab[plot]"'


class Palette(NamedTuple):
    """Colours by what they stand for."""

    paper: str
    ink: str  # words and axes
    faint: str  # lines that divide
    row: str  # vectors that a search did not look at
    seen: str  # those that it compared
    found: str
    missed: str
    query: str
    visited: str  # the parts of an index that a search looked into
    left_out: str  # and what it pruned


LIGHT = Palette("#ffffff", "#1a1a1a", "#c4c4c4", "#b3b3b3", "#4d4d4d", "#0072b2", "#d55e00", "#000000", "#56b4e9",
                "#e69f00")  # fmt: skip
DARK = Palette("#16181c", "#ececec", "#4a4d52", "#6b6e73", "#b8bbc0", "#56b4e9", "#ff8a3d", "#ffffff", "#2f7fb5",
               "#f0e442")  # fmt: skip


SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f", "#a6761d")
"""Colours of lines that stand beside each other: Okabe and Ito's, and three more."""
MARKS = "osD^Pv*X"


class Look(NamedTuple):
    """How a line is drawn."""

    colour: str
    mark: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A colour and a mark for every name; no two have both in common.

    Examples
    --------
    >>> some = looks([str(i) for i in range(72)])
    >>> len(set(some.values())), len({look.colour for look in looks(["a", "b"]).values()})
    (72, 2)
    """
    return {name: Look(SERIES[i % len(SERIES)], MARKS[(i % len(SERIES) + i // len(SERIES)) % len(MARKS)])
            for i, name in enumerate(dict.fromkeys(names))}  # fmt: skip


def palette(dark: bool | None) -> Palette:
    """The colours for a light or a dark page; None: as matplotlib's own style is at the moment."""
    if dark is None:
        from matplotlib import colors, rcParams

        red, green, blue, _ = colors.to_rgba(rcParams["figure.facecolor"])
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4
    return DARK if dark else LIGHT


def new_figure(width: float, height: float, colours: Palette) -> Any:
    """A figure that belongs to nobody: no window opens, and no global state is touched.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(INSTALL) from error
    return Figure(figsize=(width, height), layout="constrained", facecolor=colours.paper)


def dress(axes: Any, colours: Palette) -> None:
    """Give axes these colours."""
    axes.set_facecolor(colours.paper)
    axes.tick_params(colors=colours.ink, labelsize="small")
    for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
        part.set_color(colours.ink)
    for side, spine in axes.spines.items():
        spine.set_color(colours.faint)
        spine.set_visible(side in ("left", "bottom"))


def legend(axes: Any, colours: Palette, **where: Any) -> None:
    """A legend in these colours, if anything has a label."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, fontsize="small", frameon=True, framealpha=0.85, facecolor=colours.paper,
                    edgecolor=colours.faint, labelcolor=colours.ink, **where)  # fmt: skip
