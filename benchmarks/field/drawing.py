"""Recall against speed as SVG: for the report, where hovering over a point tells its parameters.

The axes and colours are those of `annlab.common.curves`: recall stretched towards one, queries a second logarithmic, up
and to the right is better. Every contestant has a colour and a mark of its own, the same in all plots: annlab's are
drawn thick, and where two colours may look alike (to some eyes, or in print) the marks differ. Settings that its front
beats are faint.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from annlab.common import style
from annlab.common.curves import TICKS, stretch
from benchmarks.frontier import Point, pareto_front

BASE = style.SERIES  # then the same darker and lighter
MARKS = ("circle", "square", "diamond", "triangle", "cross", "down")
WIDTH, HEIGHT = 620, 400
LEFT, RIGHT, TOP, BOTTOM = 82, 14, 16, 46


@dataclass(frozen=True)
class Look:
    """How a contestant is drawn."""

    color: str
    mark: str
    thick: bool


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A colour for each name that no other has; annlab's come first, so that theirs are the clearest."""
    ordered = sorted(names, key=lambda name: (not name.startswith("annlab"), name))
    return {name: Look(_shade(BASE[i % len(BASE)], i // len(BASE)), MARKS[(i + i // len(BASE)) % len(MARKS)],
                       name.startswith("annlab")) for i, name in enumerate(ordered)}  # fmt: skip


def _shade(color: str, level: int) -> str:
    """Itself, darker, lighter, and so on."""
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    share = (1.0, 0.6, 1.35, 0.4, 1.6)[level % 5]
    mixed = [min(255, round(part * share)) if share < 1 else round(255 - (255 - part) / share) for part in parts]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def mark(look: Look, x: float, y: float, size: float = 4.0, extra: str = "", title: str = "") -> str:
    """One mark, with a title that shows when the pointer rests on it."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    shape = {
        "circle": [(math.cos(a), math.sin(a)) for a in (math.pi * i / 6 for i in range(12))],
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "triangle": [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        "down": [(0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
        "cross": [(-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2),
                  (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)],
    }[look.mark]  # fmt: skip
    corners = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in shape)
    return f'<polygon points="{corners}" fill="{look.color}" {extra}>{tip}</polygon>'


def chart(points: Mapping[str, Sequence[tuple[Point, str]]], style: Mapping[str, Look], label: str,
          clock: str = "cpu") -> str:  # fmt: skip
    """The plot of all contestants: of each its points with the words that hovering shows."""
    shown = [point for some in points.values() for point, _ in some if point.recall >= 0.5]
    if not shown:
        return "<p>No setting reaches a recall of 0.5.</p>"
    low, high = stretch(max(0.5, min(p.recall for p in shown) - 0.02)), stretch(1.0)
    speeds = [math.log10(1 / p.seconds) for p in shown]
    bottom, top = min(speeds) - 0.1, max(speeds) + 0.1

    def at(point: Point) -> tuple[float, float]:
        x = LEFT + (stretch(point.recall) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        y = TOP + (top - math.log10(1 / point.seconds)) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        return x, y

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    parts += _axes(low, high, bottom, top, {"cpu": "CPU", "wall": "wall"}[clock])
    for name, some in points.items():
        look = style[name]
        inside = [(point, words) for point, words in some if point.recall >= 0.5]
        front = set(pareto_front([point for point, _ in inside]))
        line = " ".join("{:.1f},{:.1f}".format(*at(p)) for p in sorted(front, key=lambda p: p.recall))
        parts.append(f'<g data-name="{escape(name)}"><polyline points="{line}" fill="none" stroke="{look.color}" '
                     f'stroke-width="{2.6 if look.thick else 1.3}"/>')  # fmt: skip
        for point, words in inside:
            faint = "" if point in front else 'opacity="0.3"'
            parts.append(mark(look, *at(point), 4.4 if look.thick else 3.4, faint, f"{name}\n{words}"))
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _axes(low: float, high: float, bottom: float, top: float, clock: str) -> list[str]:
    """Grid, ticks and names of both axes."""
    parts, base = [], HEIGHT - BOTTOM
    for tick in (*TICKS, 1.0):
        if low <= stretch(tick) <= high:
            x = LEFT + (stretch(tick) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{base}" class="grid"/>'
                         f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{tick:g}</text>')  # fmt: skip
    for power in range(math.floor(bottom), math.ceil(top) + 1):
        for factor in (1, 2, 5):
            level = power + math.log10(factor)
            words = f"{factor * 10.0**power:,.0f}"
            if bottom <= level <= top:
                y = TOP + (top - level) / (top - bottom) * (base - TOP)
                parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
                             f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'
                             )  # fmt: skip
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">recall: farther right is better</text>')
    parts.append(f'<text transform="translate(12 {(TOP + base) / 2}) rotate(-90)" text-anchor="middle">'
                 f"queries a second ({clock} time): higher is better</text>")  # fmt: skip
    return parts


def legend(names: Sequence[str], style: Mapping[str, Look]) -> str:
    """Buttons that show and hide a contestant in all plots."""
    entries = []
    for name in sorted(names, key=lambda n: (not n.startswith("annlab"), n)):
        picture = f'<svg viewBox="0 0 20 12" width="20" height="12">{mark(style[name], 10, 6)}</svg>'
        entries.append(
            f'<button type="button" aria-pressed="true" data-name="{escape(name)}">{picture}{escape(name)}</button>'
        )
    return f'<div class="legend">{"".join(entries)}</div>'
