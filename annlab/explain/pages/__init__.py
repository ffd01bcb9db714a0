"""Explorables: small pages on which a search can be tried, over data that annlab computed.

    python -m annlab.explain.pages docs/explore

writes them anew. `data.py` is what annlab computed of each index, and a page holds it. All pages share `explore.js`,
which searches in the browser, as annlab does (the tests compare the two), and draws, and `explore.css`; both lie beside
them in `docs/explore`, so that the pages open from a disk, without network. Without JavaScript there is a picture of
one search.
"""

import html
import json
from importlib import resources
from typing import Any

import numpy as np

from annlab.explain.pages.data import Page, pages

__all__ = ["Page", "pages", "rendered"]

_LIGHT = {"row": "#b3b3b3", "seen": "#4d4d4d", "found": "#0072b2", "missed": "#d55e00"}


def rendered(page: Page) -> str:
    """The page as HTML."""
    template = (resources.files(__name__) / "page.html").read_text("utf-8")
    for name, value in {
        "TITLE": html.escape(page.title),
        "LEAD": page.lead,
        "PICTURE": picture(page),
        "CAPTION": html.escape(caption(page)),
        "DATA": json.dumps(page.data, separators=(",", ":")),
    }.items():
        template = template.replace(f"%%{name}%%", value)
    return template


def caption(page: Page) -> str:
    """What the picture without JavaScript shows, in words."""
    told, knob = page.told, page.data["knobs"][-1]
    return (f"{page.title} with {knob['name']} = {knob['value']}: returned the rings, "
            f"missed {len(told['missed'])} of {page.data['k']} (crosses), compared {len(told['compared']):,} of "
            f"{len(page.points):,} rows (dark).")  # fmt: skip


def picture(page: Page) -> str:
    """One search as SVG: rows, those that were compared, what was returned and missed, and the query."""
    told, (x, y) = page.told, page.data["query"]
    compared = set(told["compared"])
    parts = [
        _dots([p for i, p in enumerate(page.points.tolist()) if i not in compared], "row", 5),
        _dots([page.points[i].tolist() for i in told["compared"]], "seen", 6),
    ]
    for i in told["ids"]:
        a, b = page.points[i].tolist()
        parts.append(
            f'<circle cx="{a:.0f}" cy="{1000 - b:.0f}" r="9" fill="none" stroke="{_LIGHT["found"]}" stroke-width="4"/>'
        )
    for i in told["missed"]:
        a, b = page.points[i].tolist()
        parts.append(
            f'<path d="M{a - 8:.0f} {992 - b:.0f}l16 16m0-16l-16 16" stroke="{_LIGHT["missed"]}" stroke-width="5"/>'
        )
    parts.append(f'<path d="M{x - 14} {1000 - y}h28m-14-14v28" stroke="#000" stroke-width="5"/>')
    return f'<svg viewBox="0 0 1000 1000" role="img" aria-label="{html.escape(caption(page))}">{"".join(parts)}</svg>'


def _dots(points: list[list[float]], colour: str, width: int) -> str:
    path = "".join(f"M{a:.0f} {1000 - b:.0f}h0" for a, b in points)
    return f'<path d="{path}" stroke="{_LIGHT[colour]}" stroke-width="{width}" stroke-linecap="round"/>'


def data_of(text: str) -> tuple[str, dict[str, Any]]:
    """A page without its data, and the data: to compare a page with what would be written today."""
    opening = '<script id="data" type="application/json">'
    start = text.index(opening) + len(opening)
    stop = text.index("</script>", start)
    return text[:start] + text[stop:], json.loads(text[start:stop])


def alike(one: Any, other: Any) -> bool:
    """Whether data are the same but for the last digits of numbers, which depend on the CPU."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-4, atol=1e-4))
    return bool(one == other)
