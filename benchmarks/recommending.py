"""``python -m benchmarks recommend``: is what `annlab.recommend` advises the best choice that there is?

Ten sets are made, of a seed that is new in every run (and printed, so that a run can be repeated): their kind, number
of rows, dimension, intrinsic dimension and clusters are drawn. On each, `recommend` is asked, and then all of annlab's
indexes are tuned as in ``python -m benchmarks run``, by other steps than those of `recommend` and with other queries.
The setting of each that reaches the recall there takes turns with what was recommended, on queries that neither has
seen. Recommended well is what takes at most a fifth longer than the fastest.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import annlab
from annlab.datasets import Dataset, synthetic, uniform_noise
from benchmarks import environment, report
from benchmarks.data import elsewhere
from benchmarks.field import tuning
from benchmarks.field.contestants import contestants
from benchmarks.field.filters import setting
from benchmarks.harness import Budget, Built, Parameters, compare
from benchmarks.oracle import Oracle
from benchmarks.peers import Annlab

SETS, ENOUGH = 10, 8
LONGER = 1.2  # times as long as the fastest, at most
K, TARGET = 10, 0.95
LUCK = 0.01  # of recall, that may be missing on other queries
REPORTED, TUNING = 500, 300  # queries
LEAST_ROWS = 4000
DIMENSIONS = (3, 8, 16, 32, 64, 128, 256)
KINDS = ("uniform", "surface", "clusters", "copies", "elsewhere")


@dataclass(frozen=True)
class Drawn:
    """A made set: its queries are for `recommend` (where they come from elsewhere), for tuning, and to be reported."""

    data: Dataset
    queries: np.ndarray | None
    tuning: np.ndarray


def drawn(seed: int, most_rows: int) -> Iterator[Drawn]:
    """The sets of a seed; every kind twice."""
    rng = np.random.default_rng(seed)
    for number in range(SETS):
        kind, dim = KINDS[number % len(KINDS)], int(rng.choice(DIMENSIONS))
        n = int(np.exp(rng.uniform(np.log(LEAST_ROWS), np.log(most_rows))))
        intrinsic, clusters, metric = int(rng.integers(1, min(dim, 32) + 1)), int(rng.integers(2, 200)), "l2"
        asked = REPORTED + 2 * TUNING
        if kind == "uniform":
            made = uniform_noise(n, dim, asked, seed=seed + number)
        elif kind == "elsewhere":
            made = elsewhere(n, dim, "", asked, seed + number)
        else:
            made = synthetic(n, dim, intrinsic, asked, clusters=0 if kind == "surface" else clusters,
                             seed=seed + number)  # fmt: skip
            metric = str(rng.choice(["l2", "cosine"]))
        train = np.array(made.train, np.float32)
        if kind == "copies":
            some = rng.permutation(n)[: n // 5]
            train[some] = train[rng.integers(n, size=len(some))]
        name = f"{kind}, {n} x {dim}" + ("" if kind in ("uniform", "elsewhere") else f", {intrinsic} intrinsic")
        parts = np.split(np.ascontiguousarray(made.test, np.float32), [REPORTED, REPORTED + TUNING])
        yield Drawn(Dataset(name, train, parts[0], metric), parts[2] if kind == "elsewhere" else None, parts[1])


def judged(one: Drawn, tuning_seconds: float, seconds: float) -> dict[str, Any]:
    """What was recommended, what was fastest, and how many times as long the former takes."""
    data = one.data
    answer = annlab.recommend(data.train, one.queries, target_recall=TARGET, k=K, metric=data.metric)
    given = {name: value for name, value in answer.best.parameters.items() if name != "metric"}
    advised = Annlab(answer.best.kind.__name__)
    advised.build(data.train, data.metric, **given)
    advised.name = "recommended"
    entrants: list[tuple[Built, Sequence[Parameters]]] = [(Built(advised, given, 0.0, 0.0, 0.0, 1), [{}])]
    oracle = Oracle(data.train, one.tuning, data.metric, K)
    for contestant in contestants(data, ["annlab"]):
        found, built = tuning.tune(contestant, data, oracle, [K], tuning_seconds)
        trial = setting(found, K, TARGET)
        if trial is not None and trial.recall >= TARGET:
            entrants.append((built[str(trial.build)], [trial.search]))
    budget = Budget(seconds, len(data.test), len(data.test))
    runs = compare(data, entrants, K, "batch", budget, Oracle(data.train, data.test, data.metric, K))
    ours, others = runs[0], [run for run in runs if run.recall >= TARGET - LUCK]
    best = min(others or runs[:1], key=lambda run: run.microseconds())
    return {"set": data.name, "metric": data.metric, "recommended": str(answer.best), "recall": ours.recall,
            "us": ours.microseconds(), "fastest": best.label, "its us": best.microseconds(),
            "times as long": float(np.median(np.array(ours.cpu) / np.array(best.cpu)))}  # fmt: skip


def well(record: dict[str, Any]) -> bool:
    """Whether the recommendation was a good one: it keeps its recall, and takes at most a fifth longer."""
    return bool(record["times as long"] <= LONGER and record["recall"] >= TARGET - LUCK)


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 where fewer than eight of ten recommendations are good ones."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks recommend", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31, help="repeats a run")
    parser.add_argument("--rows", type=int, default=50_000, help="of a set, at most")
    parser.add_argument("--tuning", type=float, default=5.0, help="seconds of CPU for each index")
    parser.add_argument("--seconds", type=float, default=3.0, help="of interleaved rounds")
    parser.add_argument("--out", type=Path, help="write the records to this JSON file")
    options = parser.parse_args(arguments)
    if options.rows < LEAST_ROWS:
        parser.error(f"--rows must be at least {LEAST_ROWS}")
    if not environment.is_child():
        return environment.run_child(["recommend", *arguments, "--seed", str(options.seed)])
    environment.prepare(1)
    about, records = {**environment.about(), "seed": options.seed}, []
    print(f"seed {options.seed}", flush=True)
    for one in drawn(options.seed, options.rows):
        records.append(judged(one, options.tuning, options.seconds))
        print(", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in records[-1].items()), flush=True)  # fmt: skip
        if options.out:
            report.write_records(options.out, about, records)
    good = sum(map(well, records))
    print(f"within {LONGER - 1:.0%} of the fastest, at its recall: {good} of {len(records)}", file=sys.stdout)
    return 0 if good >= ENOUGH else 1
