"""What all notebooks share: one style of plots, captions that conclude, and the guess beside what was measured."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import Markdown, display
from PIL import Image

# The colours of Okabe and Ito, which people with any kind of colour blindness tell apart; with them always a marker,
# a line style or a word, so that nothing is said by colour alone.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#9A9A9A",
)

plt.rcParams.update({
    "figure.figsize": (7.2, 3.2), "figure.dpi": 80, "savefig.dpi": 80, "figure.constrained_layout.use": True,
    "figure.facecolor": "white", "font.size": 10, "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.8, "lines.markersize": 5, "image.cmap": "gray_r",
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY], marker=["o", "s", "^", "D", "v", "P"]),
})  # fmt: skip


def show(figure: Any, caption: str) -> None:
    """Show a figure as a picture, and below it what to conclude from it."""
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight")
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(256).save(content, format="png", optimize=True)  # a third of the bytes
    display({"image/png": content.getvalue(), "text/plain": f"[figure: {caption}]"}, raw=True)
    display(Markdown(f"**Conclude.** {caption}"))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Show rows as a table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows]
    display(Markdown("\n".join(lines)))


def verdict(guess: float, measured: float, what: str) -> None:
    """Show the guess beside the measured value, and by what factor it was off."""
    said = "exactly right"
    if guess != measured:
        low, high = sorted((float(guess), float(measured)))
        factor = f", {high / low:.3g} times" if low > 0 else ""
        said = f"too {'low' if guess < measured else 'high'} by {_text(abs(guess - measured))}{factor}"
    table((what, ""), [("your guess", guess), ("measured", measured), ("the guess was", said)])


def milliseconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """The least time of some runs, after one that compiles or loads what is needed: the least disturbed by others."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if float(cell) == int(cell) and abs(cell) < 1e15:
        return f"{int(cell):,}"
    return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
