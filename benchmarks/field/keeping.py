"""What is kept of a run in git: `results/field.json`, the page `docs/field.html`, and README's table of what was lost.

``python -m benchmarks report FOLDER --keep`` writes the first two from the folder of a run, whose raw ids and times of
every query stay where they are; ``python -m benchmarks figures`` writes the table into README. Nothing is measured.
"""

import json
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.field import page
from benchmarks.field.verdicts import TARGETS, Measured, curves, first_places, read, tails
from benchmarks.figures import CPUS
from benchmarks.measured import RESULTS

DOCS = RESULTS.parents[1] / "docs"
FILE, PAGE = RESULTS / "field.json", DOCS / "field.html"
BEGIN, END = "<!-- lost: python -m benchmarks figures -->\n", "<!-- lost: end -->\n"
OPTIONS = ("tuning", "seconds")
FACTS = ("name", "rows", "dimension", "metric", "queries", "copies", "gap", "failed", "commit")
CALLED = {"cifar10": "CNN embeddings", "sift": "SIFT", "glove": "GloVe (cosine)", "fashion": "Fashion-MNIST",
          "clusters": "made clusters", "copies": "made clusters, a fifth copies", "uniform": "uniform noise",
          "elsewhere": "queries from elsewhere"}  # fmt: skip
Record = dict[str, Any]


def keep(folder: Path) -> list[Path]:
    """Write the result file and the page from the folder of a run; the paths of both."""
    run = json.loads((folder / "run.json").read_text())
    content = kept(folder)
    if not content["sets"]:
        raise ValueError(f"{folder} holds no set that was measured")
    setting = run["environment"] | {name: run["options"][name] for name in OPTIONS}
    report.write_named_records(FILE, setting, content)
    shutil.copyfile(page.write(folder), PAGE)
    return [FILE, PAGE]


def kept(folder: Path) -> dict[str, list[Record]]:
    """All that is said of a run, by kind: one record a set, a regime, an index, a setting."""
    content: dict[str, list[Record]] = {
        name: [] for name in ("sets", "first", "times", "settings", "builds", "tails", "filters", "churn")
    }
    for path in sorted(folder.glob("*/set.json")):
        some = read(path.parent)
        if not some:
            continue
        facts = json.loads(path.read_text())
        data = {"data": facts["name"]}
        content["sets"].append({name: facts[name] for name in FACTS})
        for measured in some:
            found = curves(measured)
            of = data | {"k": measured.k, "queries": _asked(measured)}
            content["first"] += [of | record for record in _first(measured, found)]
            content["times"] += [of | {"index": name} | {f"us at {target:.2f}": _finite(times[0, j])
                                 for j, target in enumerate(TARGETS)} for name, times in found.items()]  # fmt: skip
            content["settings"] += [of | {"index": run["peer"], "given": {**run["build"], **run["search"]},
                                    "recall": float(measured.hits[i].mean()), "us": measured.microseconds(i)}
                                    for i, run in enumerate(measured.runs)]  # fmt: skip
            if measured.mode == "one" and measured.threads == 1:
                content["tails"] += [of | record for record in tails(measured, facts["contrast"])]
        content["builds"] += [data | record for record in page.builds(some)]
        for name in ("filters", "churn"):
            if (path.parent / f"{name}.json").exists():
                content[name] += [data | record for record in json.loads((path.parent / f"{name}.json").read_text())]
    return content


def _asked(measured: Measured) -> str:
    return (
        "one" if measured.mode == "one" else "batch" if measured.threads == 1 else f"batch, {measured.threads} threads"
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _first(measured: Measured, found: dict[str, np.ndarray]) -> list[Record]:
    """At each recall who is first, who is tied with it, and how annlab's best stands."""
    records = []
    for target, names in first_places(measured, found).items():
        j = TARGETS.index(target)
        ours = {name: float(times[0, j]) for name, times in found.items() if name.startswith("annlab")}
        best = min(ours, key=lambda name: ours[name])
        records.append({"recall": target, "first": names[0], "tied": names[1:], "us": float(found[names[0]][0, j]),
                        "annlab's best": best if np.isfinite(ours[best]) else None,
                        "annlab's us": _finite(ours[best])})  # fmt: skip
    return records


def lost(records: Sequence[Record]) -> list[Record]:
    """The regimes in which annlab is neither first nor tied with the first."""
    return [one for one in records if not any(name.startswith("annlab") for name in (one["first"], *one["tied"]))]


def table(content: dict[str, Any]) -> str:
    """For README: in how many regimes annlab is first, and all others, with who is and by how much."""
    records, gone = content["first"], lost(content["first"])
    rows = {one["name"]: one["rows"] for one in content["sets"]}
    groups: dict[tuple[str, str], list[Record]] = {}
    for one in gone:
        groups.setdefault((one["data"], one["queries"]), []).append(one)
    lines = []
    for (data, asked), some in groups.items():
        called = f"{CALLED.get(data.partition(':')[0].partition('-')[0], data)}, {rows[data]:,}"
        said = "; ".join(f"{one['recall']:.2f}: {one['first']} {_share(one)}" for one in some)
        lines.append(f"| {called} | {'one' if asked == 'one' else asked} | {said} |")
    cpu = next((called for part, called in CPUS.items() if part in content["environment"]["cpu"]), "CPU not known")
    said = (f"Of {len(records)} regimes ({len(rows)} data sets, batches and single queries, recall 0.90, 0.95, 0.99; "
            f"{cpu}, load {content['environment']['load_average']}) annlab is first, or tied with the first, in "
            f"{len(records) - len(gone)}.")  # fmt: skip
    if not lines:
        return textwrap.fill(said, 120) + "\n"
    said += " In the others, with the time of the first as a share of annlab's:"
    return "\n".join([textwrap.fill(said, 120), "", "| data, rows | queries | recall: first |", "| --- | --- | --- |",
                      *lines, ""])  # fmt: skip


def _share(record: Record) -> str:
    ours = record["annlab's us"]
    return f"{record['us'] / ours:.2f}x" if ours else "alone"


def with_lost(text: str, content: dict[str, Any]) -> str:
    """A page whose lines between the two marks are the table."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no marks between which the table of what was lost stands")
    return before + begin + table(content) + end + after
