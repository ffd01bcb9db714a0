"""The report of a run: one HTML file that works offline, on a phone, in the dark and in print.

``python -m benchmarks report FOLDER`` writes it anew from what the folder holds; nothing is measured.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.field import drawing
from benchmarks.field.verdicts import TARGETS, Measured, curves, first_places, read, tails, verdicts
from benchmarks.frontier import Point

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1c2026; --soft: #5b6470; --line: #d9dde3; --good: #00664b;
  --bad: #a13d00; }
@media (prefers-color-scheme: dark) { :root { --back: #15181c; --ink: #e8eaed; --soft: #a3abb5; --line: #363c44;
  --good: #4fd3a7; --bad: #ff9c5c; } }
body { background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1320px; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); font-size: .9rem; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
figure { margin: 0; } figcaption { font-weight: 600; }
svg text { fill: var(--soft); font-size: 12px; } svg .grid { stroke: var(--line); stroke-width: .7; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.places td { white-space: normal; min-width: 9rem; } .ahead { color: var(--good); } .behind { color: var(--bad); }
.legend { background: var(--back); display: flex; flex-wrap: wrap; gap: .2rem .4rem; padding: .4rem 0; position: sticky;
  top: 0; } .legend button { align-items: center; background: none; border: 1px solid var(--line); border-radius: 1rem;
  color: inherit; cursor: pointer; display: inline-flex; font: inherit; font-size: .82rem; padding: .1rem .6rem; }
.legend button[aria-pressed=false] { opacity: .35; text-decoration: line-through; } .hidden { display: none; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
@media print { .legend { position: static; } details > * { display: block; } }
"""
SCRIPT = """
for (const button of document.querySelectorAll('.legend button')) button.onclick = () => {
  const shown = button.getAttribute('aria-pressed') !== 'true';
  button.setAttribute('aria-pressed', shown);
  for (const curve of document.querySelectorAll('svg g[data-name]'))
    if (curve.dataset.name === button.dataset.name) curve.classList.toggle('hidden', !shown);
};
"""


def main(arguments: Sequence[str]) -> int:
    """``python -m benchmarks report FOLDER``, and with ``--keep`` what git holds of it."""
    folders = [Path(one) for one in arguments if one != "--keep"]
    if len(folders) != 1 or not (folders[0] / "run.json").exists():
        print("usage: python -m benchmarks report FOLDER [--keep], the folder that `python -m benchmarks run --out` "
              "names; --keep writes benchmarks/results/field.json and docs/field.html", file=sys.stderr)  # fmt: skip
        return 2
    if "--keep" in arguments:
        from benchmarks.field.keeping import keep  # which uses this page

        print(*keep(folders[0]), sep="\n")
    else:
        print(write(folders[0]))
    return 0


def write(folder: Path) -> Path:
    """Write report.html into the folder of a run, from all data sets in it that are measured."""
    run = json.loads((folder / "run.json").read_text())
    found = {path.parent: read(path.parent) for path in sorted(folder.glob("*/set.json"))}
    measured = {path: some for path, some in found.items() if some}
    names = list(dict.fromkeys(name for some in measured.values() for one in some for name in one.names))
    style = drawing.looks(names)
    both = {path: [(one, curves(one)) for one in some] for path, some in measured.items()}
    body = [" ".join(_head(run).split()), _places(both), drawing.legend(names, style)]
    body += [_one_set(path, some, style) for path, some in both.items()]
    target = folder / "report.html"
    look, script = (" ".join(text.split()) for text in (STYLE, SCRIPT))  # nobody reads them in a generated page
    target.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
                      f'content="width=device-width"><title>Recall against latency</title><style>{look}</style>'
                      f"<body>{''.join(body)}<script>{script}</script></body></html>")  # fmt: skip
    return target


def _head(run: Mapping[str, Any]) -> str:
    """Machine, versions, and what makes it fair."""
    setting, options = run["environment"], run["options"]
    versions = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    variables = ", ".join(f"{name}={value}" for name, value in setting["variables"].items())
    rates = ", ".join(f"{name} {rate}" for name, rate in setting["matrix_product_gflops"].items())
    kernels = ", ".join(f"{pool['library'].split('-')[0]}: {pool['kernel']}" for pool in setting["thread_pools"])
    allowed = (
        ""
        if setting["publishable"]
        else f'<p class="behind">Not publishable: {escape("; ".join(setting["problems"]))}</p>'
    )
    return f"""<h1>Recall against latency</h1>{allowed}
<p>Every index of annlab and every installed peer, at equal recall. CPU: {escape(setting["cpu"])}, load
{setting["load_average"]} at the start.</p>
<details><summary>How it was measured, and what keeps it fair</summary><ul>
<li>Each index had {options["tuning"]:g} seconds of CPU for each k, after its first build, to choose what to build and
search with, on queries that are not among those reported.</li>
<li>What was chosen took turns in one process on one thread, {options["seconds"]:g} seconds for each plot and at least
three rounds: times are medians of CPU time, of wall time on several threads. Hover over a point for its
parameters.</li>
<li>Recall is computed from the returned ids against brute force in float64; ties count, a missing result never does.
Every exact search had to score 1.000.</li>
<li>An interval is the middle 95 % of 200 draws of queries and rounds with replacement; "tied" means that it holds
1.</li>
<li>Rates of matrix products, GFLOP/s: {escape(rates)}. BLAS kernels: {escape(kernels)}. Variables:
{escape(variables)}.</li>
<li>Versions: {escape(versions)}.</li></ul></details>"""


def _places(both: Mapping[Path, Sequence[tuple[Measured, Mapping[str, Any]]]]) -> str:
    """Who is first in which regime."""
    rows, ours, all_ = [], 0, 0
    for path, some in both.items():
        name = _facts(path)["name"]
        for measured, found in some:
            cells = []
            places = first_places(measured, dict(found))
            for target in TARGETS:
                names = places.get(target, [])
                all_ += bool(names)
                ours += any(winner.startswith("annlab") for winner in names)
                kind = "ahead" if names and names[0].startswith("annlab") else "behind"
                tied = f" (tied: {', '.join(map(escape, names[1:]))})" if len(names) > 1 else ""
                cells.append(f'<td class="{kind}">{escape(names[0]) if names else "nobody"}{tied}</td>')
            rows.append(f"<tr><td>{escape(name)}, k={measured.k}, {_mode(measured)}</td>{''.join(cells)}</tr>")
    heads = "".join(f"<th>recall {target:.2f}</th>" for target in TARGETS)
    return f"""<h2>Who is first</h2><p>annlab is first, or tied with the first, in {ours} of {all_} regimes.</p>
<div class="wide"><table class="places"><tr><th>data</th>{heads}</tr>{"".join(rows)}</table></div>"""


def _facts(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((path / "set.json").read_text())
    return facts


def _mode(measured: Measured) -> str:
    if measured.threads > 1:
        return f"batch on {measured.threads} threads, wall time"
    return "batch" if measured.mode == "batch" else "one query at a time"


def _one_set(path: Path, some: Sequence[tuple[Measured, Mapping[str, Any]]], style: Mapping[str, drawing.Look]) -> str:
    """Everything about one data set."""
    facts = _facts(path)
    parts = [f"<h2>{escape(facts['name'])}</h2><p>{facts['rows']:,} x {facts['dimension']}, {facts['metric']}, "
             f"{facts['queries']:,} queries. The tenth neighbour of a query is {facts['gap']:.2f} times as far away as "
             f"that of a row; {facts['copies']:.1%} of the rows are copies of others. annlab at commit "
             f"{facts['commit']}.</p>",
             '<div class="plots">']  # fmt: skip
    for measured, _ in some:
        title = f"k = {measured.k}, {_mode(measured)}"
        points = {name: [_point(measured, i) for i in measured.of(name)] for name in measured.names}
        picture = drawing.chart(points, style, f"{facts['name']}, {title}", measured.clock)
        parts.append(f"<figure><figcaption>{title}</figcaption>{picture}</figure>")
    parts.append("</div>")
    for measured, found in some:
        parts.append(_ratios(measured, dict(found)))
    parts.append(_details("Latencies, hard and easy queries", [
        _table(f"k = {one.k}, one query at a time, at a recall of about 0.95", tails(one, facts["contrast"]))
        for one, _ in some if one.mode == "one"]))  # fmt: skip
    parts.append(_details("Building and memory", [_table("", builds([one for one, _ in some]))]))
    for name, title in (("filters", "With a filter"), ("churn", "Rows that come and go")):
        file = path / f"{name}.json"
        if file.exists():
            parts.append(_details(title, [_table("", json.loads(file.read_text()))]))
    return "".join(parts)


def _point(measured: Measured, i: int) -> tuple[Point, str]:
    run, us = measured.runs[i], measured.microseconds(i)
    recall = float(measured.hits[i].mean())
    given = ", ".join(f"{name} {value}" for name, value in {**run["build"], **run["search"]}.items()) or "no parameters"
    return Point(run["peer"], recall, us / 1e6), f"{given}\nrecall {recall:.4f}, {us:.4g} us"


def _ratios(measured: Measured, found: dict[str, Any]) -> str:
    """Times at equal recall, and the verdicts."""
    by_name = {(v.name, v.recall): v for v in verdicts(measured, found)}
    rows = []
    for name, times in sorted(found.items(), key=lambda item: (not item[0].startswith("annlab"), item[0])):
        cells = []
        for j, target in enumerate(TARGETS):
            verdict = by_name.get((name, target))
            if verdict is not None:
                interval = f"{verdict.low:.2f} to {verdict.high:.2f}"
                cells.append(f'<td>{verdict.microseconds:.4g}</td><td class="{verdict.word}" title="{interval}">'
                             f"{verdict.ratio:.2f}x, {verdict.word}</td>")  # fmt: skip
            else:
                cells.append(f"<td>{times[0, j]:.4g}</td><td></td>" if times[0, j] < 1e300 else "<td></td><td></td>")
        rows.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}</tr>")
    heads = "".join(f"<th>us at {target:.2f}</th><th>/ annlab's best</th>" for target in TARGETS)
    table = f'<div class="wide"><table><tr><th></th>{heads}</tr>{"".join(rows)}</table></div>'
    return _details(f"Times at equal recall, k = {measured.k}, {_mode(measured)}", [table])


def builds(some: Sequence[Measured]) -> list[dict[str, Any]]:
    """Of each index what building it cost, and the memory it takes."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for measured in some:
        for run in measured.runs:
            given = ", ".join(f"{name} {value}" for name, value in run["build"].items())
            seen[run["peer"], given] = {"index": run["peer"], "built with": given, "CPU, s": run["build_cpu_seconds"],
                                        "bytes a row": run["bytes_per_vector"]}  # fmt: skip
    return list(seen.values())


def _details(title: str, parts: Iterable[str]) -> str:
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def _table(title: str, records: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for record in records for name in record))
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(f"<tr>{''.join(f'<td>{_cell(record.get(name))}</td>' for name in names)}</tr>" for record in records)
    caption = f'<p class="soft">{escape(title)}</p>' if title else ""
    return f'{caption}<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
