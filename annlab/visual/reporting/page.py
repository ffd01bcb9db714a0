"""The page of a report: HTML with everything in it, readable in light and dark, with no address to fetch from."""

from __future__ import annotations

import datetime
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from annlab.evaluation import Evaluation, Rate
from annlab.visual.reporting.charts import Point, lying, upright
from annlab.visual.reporting.numbers import DEPTH, MEASURES, Numbers, Offline
from annlab.visual.search import VisualSearch

_STYLE = Path(__file__).with_name("style.css")
_MOST_POSITIONS, _MOST_DAYS, _ENDS = 20, 60, 8
_ENOUGH = 5.0  # expected clicks of an image whose ratio is worth a line


def render(numbers: Numbers, search: VisualSearch, title: str, *, note: str = "",
           at: datetime.datetime | None = None) -> str:  # fmt: skip
    """The whole page.

    Parameters
    ----------
    numbers : Numbers
    search : VisualSearch
        For the names of images.
    title : str
        Of the catalog.
    note : str
        A sentence that a reader must know first, such as that its users are simulated.
    at : datetime, optional
        When it was measured; now.
    """
    sections = [_clicks(numbers), _coec(numbers, search), _offline(numbers), _coverage(numbers), _state(numbers),
                _cost(numbers)]  # fmt: skip
    when = (at or datetime.datetime.now(datetime.UTC)).strftime("%Y-%m-%d %H:%M UTC")
    head = (f"{numbers.counts['indexed']:,} pictures by {numbers.encoder['name']} "
            f"({numbers.encoder['dim']} dimensions) in {numbers.index}; {when}")  # fmt: skip
    style = " ".join(_STYLE.read_text(encoding="utf-8").split())
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}: report</title><style>{style}</style></head><body>",
        f"<main><h1>{html.escape(title)}</h1><p class='head'>{html.escape(head)}</p>",
        f"<p class='note'>{html.escape(note)}</p>" if note else "",
        *sections,
        "</main></body></html>",
    ]
    return "\n".join(line for line in lines if line)


def _section(title: str, parts: Iterable[str]) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def _figure(says: str, chart: str) -> str:
    return f"<figure><figcaption>{html.escape(says)}</figcaption>{chart}</figure>"


def _says(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='table'><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>"


# ---- clicks


def _clicks(numbers: Numbers) -> str:
    found = numbers.clicks
    if found is None:
        return _section("Clicks", [_says("Nothing was shown to anybody yet.")])
    by_place = {place: rate for place, rate in found.by_position.items() if place <= _MOST_POSITIONS}
    by_day = dict(list(found.by_day.items())[-_MOST_DAYS:])
    parts = [_says(f"Of what was shown, {found.overall} was clicked; the interval redraws people.")]
    parts.append(_figure(_of_places(by_place), upright([_rate(str(place), rate) for place, rate in by_place.items()],
                                                       unit="%")))  # fmt: skip
    parts.append(_figure(_of_days(by_day), upright([_rate(day[5:], rate) for day, rate in by_day.items()], unit="%",
                                                   line=True)))  # fmt: skip
    if numbers.examined is None:
        parts.append(_says("The service has not explored, so what a position is worth is told from pictures that stood "
                           "at several of them; annlab serve --explore 0.05 gives better evidence."))  # fmt: skip
    else:
        seen = numbers.examined
        columns = (seen.shares[:_MOST_POSITIONS], seen.low, seen.high)
        points = [Point(str(n), 100 * share, 100 * low, 100 * high)
                  for n, (share, low, high) in enumerate(zip(*columns, strict=False), 1)]  # fmt: skip
        known = [point for point in points if math.isfinite(point.value)]
        parts.append(_figure(
            f"Position {known[-1].label} is looked at {known[-1].value:.0f} times where position 1 is looked at 100 "
            "times: told from pictures that changed places by chance.", upright(points, unit="%")))  # fmt: skip
    return _section("Clicks", parts)


def _rate(label: str, rate: Rate) -> Point:
    return Point(label, rate.percent, 100 * rate.low, 100 * rate.high)


def _of_places(by_place: dict[int, Rate]) -> str:
    first, last = min(by_place), max(by_place)
    if first == last or not by_place[first].clicks:
        return "The click-through rate by position."
    times = by_place[last].rate / by_place[first].rate
    return (f"Position {last} is clicked {times:.2f} times as often as position {first}: that is the position as well "
            "as the pictures, so raw rates must not rank.")  # fmt: skip


def _of_days(by_day: dict[str, Rate]) -> str:
    days = list(by_day)
    first, last = by_day[days[0]], by_day[days[-1]]
    if len(days) < 2:
        return "The click-through rate of the only day."
    apart = last.low > first.high or last.high < first.low
    return (f"From {days[0]} to {days[-1]} the rate went from {first.percent:.1f}% to {last.percent:.1f}%; their "
            f"intervals {'do not meet' if apart else 'meet, so that may be chance'}.")  # fmt: skip


def _coec(numbers: Numbers, search: VisualSearch) -> str:
    rates = numbers.rates
    known = sorted((rates.ratio(key[0]), key[0]) for key, (_, expected) in rates.evidence.items()
                   if len(key) == 1 and expected >= _ENOUGH)  # fmt: skip
    title = "Clicks over expected clicks"
    if not known:
        return _section(title, [_says(f"No picture has {_ENOUGH:g} expected clicks yet, so none is known well.")])
    ends = known if len(known) <= 2 * _ENDS else known[:_ENDS] + known[-_ENDS:]
    names = {image.id: ", ".join(image.tags[:2]) for image in search.catalog.find(ids=[id for _, id in ends])}
    points = [Point(f"{id} {names.get(id, '')}".strip(), ratio, *rates.interval(id)) for ratio, id in reversed(ends)]
    clear = [rates.interval(id) for _, id in known]
    up, down = sum(low > 1 for low, _ in clear), sum(high < 1 for _, high in clear)
    says = (f"Of {len(known)} pictures with at least {_ENOUGH:g} expected clicks, {up} are clicked more and {down} "
            f"less than an average one at their positions, with 95% intervals that leave 1 out; by chance alone some "
            f"{max(1, round(0.05 * len(known)))} would be. Below: both ends.")  # fmt: skip
    return _section(title, [_figure(says, lying(points, middle=1.0))])


# ---- offline


def _offline(numbers: Numbers) -> str:
    parts = []
    for name, found in (("judgements", numbers.judged), ("clicks", numbers.clicked)):
        if found is None:
            parts.append(_says(f"There are no {name} of pictures that are indexed."))
            continue
        parts.append(_measures(name, found))
    parts.append(_losses(numbers))
    return _section("Does it find what is relevant?", parts)


def _measures(name: str, found: Offline) -> str:
    of = found.by_index
    points = [_mean(of, measure) for measure in MEASURES]
    low, high = of.interval("ndcg@10")
    says = (f"From {name}, {len(of)} queries: nDCG@10 is {of.mean('ndcg@10'):.3f} [{low:.3f}, {high:.3f}]; what nobody "
            f"judged counts as irrelevant.")  # fmt: skip
    if name == "clicks":
        says = (f"From clicks, {len(of)} queries: nDCG@10 is {of.mean('ndcg@10'):.3f} [{low:.3f}, {high:.3f}]; only "
                "what was shown can be clicked, so this flatters the ranking that showed it.")  # fmt: skip
    return _figure(says, lying(points))


def _mean(found: Evaluation, measure: str) -> Point:
    return Point(measure, found.mean(measure), *found.interval(measure))


def _losses(numbers: Numbers) -> str:
    found = numbers.judged or numbers.clicked
    if found is None:
        return ""
    exact, approximate = (each.mean("map") for each in (found.by_scan, found.by_index))
    encoder, index = 1 - exact, exact - approximate
    points = [Point("a perfect ranking", 1.0), Point("exact search", exact, *found.by_scan.interval("map")),
              Point(f"the index, {numbers.index}", approximate, *found.by_index.interval("map"))]  # fmt: skip
    larger = "The encoder loses more" if encoder >= index else "The index loses more"
    return _figure(f"{larger}: of a mean average precision of 1, its vectors lose {encoder:.3f} with exact search, and "
                   f"the index {index:.3f} more (the first {DEPTH} results).", lying(points))  # fmt: skip


# ---- what there is, and what it costs


def _coverage(numbers: Numbers) -> str:
    share = numbers.shown / max(1, numbers.indexed)
    says = (f"{numbers.shown:,} of {numbers.indexed:,} pictures ({share:.0%}) were shown at least once. The tenth that "
            f"was shown most had {numbers.most_shown:.0%} of all showings; were all shown alike, it would be "
            "10%.")  # fmt: skip
    return _section("Coverage", [_says(says)])


def _state(numbers: Numbers) -> str:
    counts = numbers.counts
    parts = [_table(list(counts), [[f"{n:,}" for n in counts.values()]])]
    looked_at = max(1, counts["indexed"] + counts["duplicate"])
    parts.append(_says(f"{counts['duplicate'] / looked_at:.1%} of the pictures that could be read are duplicates of "
                       "others and stand under these."))  # fmt: skip
    if numbers.failures:
        rows = [[str(image.id), image.path or "", image.reason or ""] for image in numbers.failures]
        parts += [_says(f"{counts['failed']} failed:"), _table(["id", "file", "reason"], rows)]
    return _section("Pictures, duplicates and failures", parts)


def _cost(numbers: Numbers) -> str:
    parts = []
    taken = numbers.milliseconds
    if len(taken):
        middle, late, worst = np.percentile(taken, [50, 95, 99])
        counts, edges = np.histogram(taken, bins=min(20, max(5, len(taken) // 10)))
        points = [Point(f"{(low + high) / 2:.3g}", float(n))
                  for n, low, high in zip(counts, edges, edges[1:], strict=False)]  # fmt: skip
        parts.append(_figure(f"Half of {len(taken)} searches took {middle:.1f} ms or less, 95% at most {late:.1f} ms, "
                             f"99% at most {worst:.1f} ms, one after another and measured for this report: "
                             "milliseconds from left to right, searches upward.", upright(points)))  # fmt: skip
    memory = numbers.memory
    each = memory.get("total", 0) / max(1, numbers.indexed)
    rows = [[name, f"{size / 2**20:,.2f} MiB"] for name, size in memory.items() if size > 0.01 * max(memory.values())]
    parts += [_says(f"The index holds {memory.get('total', 0) / 2**20:,.1f} MiB in memory, {each:,.0f} bytes a "
                    "picture."), _table(["part", "size"], rows)]  # fmt: skip
    return _section("Latency and memory", parts)
