"""``python -m benchmarks measured``: docs/measured.md, one page with the figures of every file in results/.

Nothing is typed in by hand: whoever measures anew writes the result file, runs this command, and commits both. A test
compares the page with what the files give, and fails while it is stale.

Three kinds of tables, by what a file holds:

- runs with few settings: a row for each data set, a column for each index, and the time of a query in the cells;
- runs that draw a curve of recall against time: the same, with the time of the fastest setting that reaches a recall;
- records: a row each, with their own names as columns.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.harness import Run

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "measured.md"
CURVE = 12  # more settings than this on one data set are a curve
TARGETS = (0.90, 0.95, 0.99)
HEAD = """# What was measured

Made from `benchmarks/results/*.json` by `python -m benchmarks measured`; edit neither the figures nor this page. How
it was measured, and what keeps the comparisons fair, is in [benchmarks/README.md](../benchmarks/README.md), and there
is a recipe for every data set. A figure holds for the CPU that its section names.

Times are microseconds of CPU time for one query, one thread, the median over interleaved rounds; where a name says how
many threads, they are wall time. A number in brackets is the recall where it is not 1. "Batch": all queries in one
call; "one query": each in a call of its own. Where a table has a column "recall at least", the time is that of the
fastest setting tried that reaches it, and an empty cell says that none did; the settings are in the result file.
"""
TITLES = {
    "claims": "What is said of trees, hashing and clustering: what the verdicts rest on",
    "durable": "Durable indexes: what an acknowledged write and a start cost",
    "encoders": "Ready-made encoders: what each costs and finds on the packaged sets (docs/encoders.md)",
    "exact-k10": "Exact search, the 10 nearest, AVX-512",
    "exact-k10-avx2": "Exact search, the 10 nearest, AVX2",
    "exact-k100-sift": "Exact search, the 100 nearest",
    "exact-sizes": "Exact search: cost against the number of rows",
    "field": "The field: annlab and its peers, tuned within the same seconds",
    "feedback": "Feedback: what clicks teach, and what experiments promise (simulated users)",
    "graphs": "Graphs: SIFT, GloVe, embeddings, and queries from elsewhere",
    "graphs-avx2": "Graphs: AVX2 beside AVX-512",
    "graphs-elsewhere": "Graphs: queries from elsewhere",
    "graphs-fashion": "Graphs: Fashion-MNIST",
    "graphs-sift": "Graphs: SIFT",
    "graphs-promises": "Graphs: what is promised, and kept",
    "graphs-threads": "Graphs: building on two threads",
    "indexing": "Images into a catalog: speed by stage, and memory",
    "ivf-cifar": "Inverted files: embeddings of CIFAR-10",
    "ivf-defaults": "Inverted files: recall with no parameter given",
    "ivf-glove": "Inverted files: word vectors (GloVe)",
    "ivf-growth": "Inverted files: growing from n to 2 n vectors by adds",
    "ivf-kmeans": "k-means: CPU time and error after some passes",
    "ivf-others": "Inverted files: Fashion-MNIST and made clusters",
    "ivf-out-of-core": "Inverted files: more vectors than memory",
    "ivf-sift": "Inverted files: SIFT",
    "ivf-sizes": "Inverted files: cost against the number of rows",
    "lsh": "Hashing",
    "lsh-sizes": "Hashing: cost against the number of rows",
    "nonsense": "Uploads that mean nothing: what they find",
    "nonsense-words": "Texts that mean nothing among the packaged drawings, and what is kept of real ones",
    "pinterest": "Pinterest in small: features, duplicates, depth, gate, with the lift in a simulated experiment",
    "quality": "Encoders that learned: how well each finds test images of its set, with 95 % intervals over these",
    "recommend": "annlab.recommend against the fastest choice, on twice ten made sets (a busy machine)",
    "serve": "The service under load: 100,000 images, an inverted file, two cores that the generator uses too",
    "sharded": "Several machines: what a sharded index costs and bears",
    "taught": "Encoders taught by clicks and judgements, on pictures that no training saw (simulated people)",
    "trees": "Trees: two to sixteen dimensions, a million rows",
    "trees-high": "Trees: sixteen and thirty-two dimensions",
    "trees-sections": "Trees: where they stop paying, and criteria",
}
SHOWN = {"field": ("sets", "first")}  # of these files some tables only: docs/field.html has the others


def document(results: Path = RESULTS) -> str:
    """The whole page."""
    sections = [_section(path) for path in sorted(results.glob("*.json"))]
    return "\n".join([HEAD, *sections])


def main() -> int:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(document())
    print(f"{PAGE}: {len(list(RESULTS.glob('*.json')))} result files")
    return 0


def _section(path: Path) -> str:
    content = json.loads(path.read_text())
    plain = content if isinstance(content, dict) else {"records": content}
    environment = plain.get("environment", {})
    lines = [f"## {TITLES.get(path.stem, path.stem)}", "", f"`{path.name}`; {_machine(environment)}", ""]
    if "runs" in plain:
        runs = [Run(**record) for record in plain["runs"]]
        for title, tables in _tables_of_runs(runs):
            lines += [f"**{title}**", "", *tables, ""]
    for name, value in plain.items():
        if name in ("environment", "runs") or name not in SHOWN.get(path.stem, plain):
            continue
        if isinstance(value, list) and value and all(isinstance(record, dict) for record in value):
            lines += [*([] if name == "records" else [f"**{name}**", ""]), *_table_of_records(value), ""]
        else:
            lines += [f"{name}: {_cell(value)}", ""]
    return "\n".join(lines)


def _machine(environment: dict[str, Any]) -> str:
    parts = [str(environment.get("cpu", "CPU not recorded"))]
    parts += [f"load {environment['load_average']}"] if "load_average" in environment else []
    parts += [f"commit {environment['commit']}"] if "commit" in environment else []
    parts += [f"not installed: {', '.join(environment['not_installed'])}"] if "not_installed" in environment else []
    versions = environment.get("versions", {})
    parts += [f"{name} {versions[name]}" for name in ("numpy", "numba", "faiss-cpu", "scann") if name in versions]
    if not environment.get("publishable", True):
        parts.append("NOT PUBLISHABLE: " + "; ".join(map(str, environment.get("problems", []))))
    return ", ".join(parts)


def _tables_of_runs(runs: Sequence[Run]) -> Iterable[tuple[str, list[str]]]:
    """A title for each k and mode, and a table for each stretch of data sets that the same indexes ran on."""
    settings: dict[tuple[str, int, int, str], list[Run]] = {}
    for run in runs:
        settings.setdefault((run.dataset, run.n, run.k, run.mode), []).append(run)
    for k, mode in sorted({(run.k, run.mode) for run in runs}):
        groups = [members for key, members in settings.items() if key[2:] == (k, mode)]
        tables: list[str] = []
        for columns, stretch in groupby(groups, key=_columns):
            tables += [*([""] if tables else []), *_one_table(list(stretch), columns)]
        yield f"k = {k}, {'batch' if mode == 'batch' else 'one query'}", tables


def _one_table(groups: Sequence[Sequence[Run]], columns: Sequence[str]) -> list[str]:
    if len(groups[0]) <= CURVE:
        return _table(["data set", "rows", *columns], [_plain_row(group, columns) for group in groups])
    heads = ["data set", "rows", "recall at least", *columns]
    rows = [row for group in groups for row in _curve_rows(group, columns)]
    full = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    never = [name for name in columns if heads.index(name) not in full]
    below = ["", f"Below {TARGETS[0]:.2f} with every setting: {', '.join(never)}."] if never else []
    return _table([heads[i] for i in full], [[row[i] for i in full] for row in rows]) + below


def _columns(group: Sequence[Run]) -> tuple[str, ...]:
    """The names of the columns: indexes for a curve, otherwise indexes with their parameters."""
    return tuple(dict.fromkeys(run.peer if len(group) > CURVE else run.label for run in group))


def _plain_row(group: Sequence[Run], columns: Sequence[str]) -> list[str]:
    cells = {run.label: _time(run) + ("" if run.recall > 0.9995 else f" ({run.recall:.3f})") for run in group}
    return [group[0].dataset, f"{group[0].n:,}", *(cells[name] for name in columns)]


def _curve_rows(group: Sequence[Run], columns: Sequence[str]) -> list[list[str]]:
    """For each recall the time of the fastest setting that reaches it."""
    rows = []
    for target in TARGETS:
        cells = []
        for name in columns:
            reaching = [run for run in group if run.peer == name and run.recall >= target]
            cells.append(_time(min(reaching, key=lambda run: run.microseconds(_clock(run)))) if reaching else "")
        rows.append([group[0].dataset, f"{group[0].n:,}", f"{target:.2f}", *cells])
    return rows


def _clock(run: Run) -> str:
    return "cpu" if run.threads == 1 else "wall"


def _time(run: Run) -> str:
    return _number(run.microseconds(_clock(run)))


def _table_of_records(records: Sequence[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for record in records for name in record))
    rows = [[_cell(record.get(name)) for name in names] for record in records]
    return _table([name.replace("_", " ") for name in names], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [_line(heads), _line("---" for _ in heads)]
    return lines + [_line(row) for row in rows]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    return " / ".join(_cell(item) for item in value)


def _number(value: float) -> str:
    """Three significant digits, without an exponent where people do not expect one."""
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) <= 1 else f"{value:.3g}"
