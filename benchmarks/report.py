"""Tables for people and one JSON file for everything else.

The file holds the environment block and every run with its raw timings; whatever is printed can be computed from it
again. It is rewritten after every data set, beside itself and then moved over, so an interrupted benchmark leaves a
whole file.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.harness import Run, speedup

SIGNIFICANT = 4  # digits kept of a timing: clocks give no more


def write(path: Path, environment: dict[str, Any], runs: Sequence[Run],
          summary: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> None:  # fmt: skip
    """Write the result file; `summary`: tables that are computed from the runs."""
    content = {"environment": environment, "runs": [_rounded(run.record()) for run in runs]}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    head = json.dumps(content["environment"], indent=1)
    body = ",\n".join(json.dumps(run) for run in content["runs"])  # one run a line: a diff stays readable
    tables = "".join(f",\n{json.dumps(name)}: {json.dumps(_rounded(list(records)))}" for name, records in
                     (summary or {}).items())  # fmt: skip
    temporary.write_text(f'{{"environment": {head},\n"runs": [\n{body}\n]{tables}}}\n')
    os.replace(temporary, path)


def write_records(path: Path, environment: dict[str, Any], records: Sequence[dict[str, Any]]) -> None:
    """Write results that are not runs."""
    write_named_records(path, environment, {"records": records})


def write_named_records(path: Path, environment: dict[str, Any],
                        records: Mapping[str, Sequence[dict[str, Any]]]) -> None:  # fmt: skip
    """Write results that are not runs, of several kinds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [f'"environment": {json.dumps(environment, indent=1)}']
    for name, some in records.items():
        body = ",\n".join(json.dumps(_rounded(record)) for record in some)
        parts.append(f"{json.dumps(name)}: [\n{body}\n]")
    path.write_text("{" + ",\n".join(parts) + "}\n")


def show_named_records(records: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Print such results, a line each under the name of their kind."""
    for name, some in records.items():
        print(f"\n{name}")
        for record in some:
            print("   ", record)


def read(path: Path) -> tuple[dict[str, Any], list[Run]]:
    """The environment and the runs of a result file."""
    content = json.loads(path.read_text())
    return content["environment"], [Run(**record) for record in content["runs"]]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}") if abs(value) < 0.5 else round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def environment_lines(environment: dict[str, Any]) -> str:
    """The environment block in a few lines."""
    kernels = {pool["library"].split("-")[0]: pool["kernel"] for pool in environment["thread_pools"] if pool["kernel"]}
    return "\n".join(
        [
            f"CPU        {environment['cpu']}, load {environment['load_average']}",
            f"versions   annlab {environment['commit']}, {_numbers(environment['versions'])}",
            f"BLAS       {', '.join(f'{library}: {kernel}' for library, kernel in kernels.items())}",
            f"products   {_numbers(environment['matrix_product_gflops'])} GFLOP/s; "
            f"numpy left alone {environment['matrix_product_gflops_untouched']}",
            f"limits     {_numbers(environment['limits'])}",
        ]
    )


def _numbers(values: dict[str, float | str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def tables(runs: Iterable[Run], subject: str) -> str:
    """One table for each data set, size, k and mode.

    The last column is the row's time divided by the `subject`'s: 2x is twice as slow.
    The subject is the first peer of that name in the table; without one, the first run.
    """
    parts = []
    for (dataset, n, k, mode), group in groupby(runs, key=lambda run: (run.dataset, run.n, run.k, run.mode)):
        members = list(group)
        ours = next((run for run in members if run.peer == subject), members[0])
        many = f"batch of {ours.queries}" if mode == "batch" else "one query at a time"
        title = f"{dataset} ({ours.metric}), {n:,} x {ours.dim}, k={k}, {many}, {len(ours.cpu)} rounds"
        parts.append("\n".join([title, *_rows(members, ours)]))
    return "\n\n".join(parts)


def _rows(members: Sequence[Run], ours: Run) -> list[str]:
    width = max(len(run.label) for run in members)
    one = ours.mode == "one"
    header = f"  {'':{width}}  recall   cpu us/q  spread  wall us/q"
    header += "      p50      p95      p99" if one else ""
    header += f"  build s  first call s  bytes/row  time / {ours.peer}'s"
    lines = [header]
    for run in members:
        line = f"  {run.label:{width}}  {run.recall:.4f} {run.microseconds():10.1f} {run.spread():7.0%}"
        line += f" {run.microseconds('wall'):10.1f}"
        if one:
            line += "".join(f" {value:8.0f}" for value in run.percentiles())
        line += f" {run.build_seconds:8.2f} {run.first_call_seconds:13.2f} {run.bytes_per_vector:10.0f}"
        lines.append(line + ("" if run is ours else f"  {_ratio(ours, run)}"))
    return lines + [f"  {run.label:{width}}  {_numbers(run.facts)}" for run in members if run.facts]


def _ratio(ours: Run, run: Run) -> str:
    """By the right clock: CPU time between single threads, wall time between different thread counts."""
    clock = "cpu" if ours.threads == run.threads == 1 else "wall"
    middle, low, high = speedup(ours, run, clock)
    return f"{middle:.2f}x ({low:.2f}-{high:.2f}, {clock} time)"
