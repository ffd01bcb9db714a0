"""Charts as SVG text: points with intervals over categories, upright or lying. Colours come from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 240, 56, 34, 12
_ROW = 22


class Point(NamedTuple):
    """A value with the ends of its interval, which are NaN where there is none."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan


def upright(points: Sequence[Point], *, unit: str = "", line: bool = False) -> str:
    """Points from left to right over their labels, the axis from 0 on.

    Examples
    --------
    >>> upright([Point("1", 0.5, 0.4, 0.6)]).startswith("<svg")
    True
    """
    top = _top(points)
    step = (_WIDTH - _LEFT - 12) / max(1, len(points))
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share * top, top)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:.3g}{unit}</text>')
    every = max(1, math.ceil(len(points) / 15))
    places = []
    for number, point in enumerate(points):
        x = _LEFT + (number + 0.5) * step
        if number % every == 0:
            label = html.escape(point.label)
            parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{label}</text>')
        if not math.isfinite(point.value):
            continue
        y = _y(point.value, top)
        places.append(f"{x:.1f},{y:.1f}")
        if math.isfinite(point.low) and math.isfinite(point.high):
            ends = f'y1="{_y(point.low, top):.1f}" y2="{_y(point.high, top):.1f}"'
            parts.append(f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{_told(point, unit)}</title></circle>')
    if line and len(places) > 1:
        parts.insert(0, f'<polyline points="{" ".join(places)}"/>')
    return _svg(_HEIGHT, parts)


def lying(points: Sequence[Point], *, middle: float | None = None, unit: str = "") -> str:
    """Points below each other, each at its value on an axis from 0; a line stands at the value `middle`."""
    right = max(_top(points), _ceiling(middle or 0.0) if middle else 0.0)
    left, height = 220, _ROW * len(points) + 30
    scale = (_WIDTH - left - 20) / right
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * right * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 24}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{share * right:.3g}{unit}</text>')
    if middle is not None:
        x = left + middle * scale
        parts.append(f'<line class="middle" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 24}"/>')
    for number, point in enumerate(points):
        y = _ROW * (number + 0.5) + 4
        label = point.label if len(point.label) <= 30 else point.label[:29] + "…"
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{html.escape(label)}</text>')
        if math.isfinite(point.low) and math.isfinite(point.high):
            ends = f'x1="{left + max(point.low, 0) * scale:.1f}" x2="{left + min(point.high, right) * scale:.1f}"'
            parts.append(f'<line class="interval" {ends} y1="{y:.1f}" y2="{y:.1f}"/>')
        if math.isfinite(point.value):
            x = left + point.value * scale
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{_told(point, unit)}</title></circle>')
    return _svg(height, parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="chart">{"".join(parts)}</svg>'


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - min(max(value, 0.0), top) / top * (_HEIGHT - _BOTTOM - _TOP)


def _top(points: Sequence[Point]) -> float:
    """The end of the axis: all values are before it, and of intervals what is no farther than twice the largest."""
    values = [point.value for point in points if math.isfinite(point.value)]
    highs = [min(point.high, 2 * max(values)) for point in points if math.isfinite(point.high)]
    return _ceiling(max([*values, *highs], default=1.0))


def _ceiling(value: float) -> float:
    """A round number at or above a value."""
    if not value > 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0) if step * unit >= value)


def _told(point: Point, unit: str) -> str:
    interval = f" [{point.low:.3g}, {point.high:.3g}]" if math.isfinite(point.low) else ""
    return html.escape(f"{point.label}: {point.value:.3g}{unit}{interval}")
