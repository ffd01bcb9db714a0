"""Who is first, at equal recall, and whether the difference is more than chance.

Of every contestant there are some settings, each with the recall of every query and the times of several rounds. A
curve through the front of the settings gives the time at a recall that nobody hit exactly (`frontier.py`). How far this
time can be trusted is found by bootstrap: queries are drawn with replacement, and rounds too, and the curve is computed
again, some hundred times. Two contestants are measured on the same queries in the same rounds, so they are drawn
together, and what is compared is their ratio; where its 95 % interval holds 1 they are tied.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frontier import Point, seconds_at_recall

TARGETS = (0.90, 0.95, 0.99)
DRAWS = 200
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Measured:
    """One k and mode on one data set, of all settings s: names, parameters, hits and times."""

    k: int
    mode: str
    runs: list[dict[str, Any]]  # as `harness.Run.record`, in the order of the arrays
    hits: np.ndarray  # (s, q): the recall of every query
    times: list[np.ndarray]  # of each setting (rounds, q) seconds of wall, or (rounds, 1) of CPU where it was a batch
    threads: int = 1

    @property
    def names(self) -> list[str]:
        """The contestants, in order."""
        return list(dict.fromkeys(run["peer"] for run in self.runs))

    def of(self, name: str) -> list[int]:
        """The places of one contestant's settings."""
        return [i for i, run in enumerate(self.runs) if run["peer"] == name]

    @property
    def clock(self) -> str:
        """Single threads are compared by "cpu" time, several by "wall" time."""
        return "cpu" if self.threads == 1 else "wall"

    def microseconds(self, i: int) -> float:
        """Time of a query of setting i: the median over the rounds."""
        return float(np.median(self.runs[i][self.clock]) / self.runs[i]["queries"] * 1e6)


def read(folder: Path) -> list[Measured]:
    """All k and modes that were measured in the folder of a data set."""
    found = []
    for path in sorted(folder.glob("k*-*.json")):
        k, mode, *threads = path.stem[1:].split("-")
        runs = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as raw:
            times = [raw[f"times-{i}"] if f"times-{i}" in raw else np.zeros((0, 0)) for i in range(len(runs))]
            hits = raw["hits"]
        found.append(Measured(int(k), mode, runs, hits, times, *map(int, threads)))
    return found


def curves(measured: Measured, draws: int = DRAWS) -> dict[str, np.ndarray]:
    """Microseconds at each target, (1 + draws, targets) for every contestant: as measured, then drawn anew.

    inf where the recall is not reached.
    """
    rng = np.random.default_rng(0)
    n_queries, n_rounds = measured.hits.shape[1], len(measured.runs[0][measured.clock])
    weights = rng.multinomial(n_queries, np.full(n_queries, 1 / n_queries), size=draws) / n_queries
    recalls = np.concatenate([measured.hits.mean(axis=1)[:, None], measured.hits @ weights.T], axis=1)  # (s, 1 + draws)
    rounds = rng.integers(n_rounds, size=(draws, n_rounds))
    spent = np.array([run[measured.clock] for run in measured.runs]) / n_queries * 1e6  # (s, rounds)
    times = np.concatenate([np.median(spent, axis=1)[:, None], np.median(spent[:, rounds], axis=2)], axis=1)
    found = {}
    for name in measured.names:
        own = measured.of(name)
        found[name] = np.array([
            [seconds_at_recall([Point("", recalls[i, b], times[i, b]) for i in own], target) for target in TARGETS]
            for b in range(draws + 1)
        ])  # fmt: skip
    return found


@dataclass(frozen=True)
class Verdict:
    """How a contestant compares with the fastest of annlab's at a recall: its time divided by ours."""

    name: str
    recall: float
    microseconds: float
    ratio: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """Whether annlab is "ahead" of it, "behind", or "tied" with it."""
        return "ahead" if self.low > 1 else "behind" if self.high < 1 else "tied"


def verdicts(measured: Measured, found: dict[str, np.ndarray] | None = None) -> list[Verdict]:
    """Of every contestant that is not annlab's, at each recall that both sides reach."""
    found = curves(measured) if found is None else found
    ours = [times for name, times in found.items() if name.startswith("annlab")]
    if not ours:
        return []
    best = np.min(ours, axis=0)
    result = []
    for name, times in found.items():
        if name.startswith("annlab"):
            continue
        for j, target in enumerate(TARGETS):
            if not (np.isfinite(times[0, j]) and np.isfinite(best[0, j])):
                continue
            both = np.isfinite(times[1:, j]) & np.isfinite(best[1:, j])
            ratios = times[1:, j][both] / best[1:, j][both]
            low, high = np.percentile(ratios, INTERVAL) if len(ratios) else (0.0, np.inf)
            ratio = float(times[0, j] / best[0, j])
            result.append(Verdict(name, target, float(times[0, j]), ratio, float(low), float(high)))
    return result


def first_places(measured: Measured, found: dict[str, np.ndarray]) -> dict[float, list[str]]:
    """At each recall the fastest contestant, and those tied with it."""
    result: dict[float, list[str]] = {}
    for j, target in enumerate(TARGETS):
        reach = {name: times[:, j] for name, times in found.items() if np.isfinite(times[0, j])}
        if not reach:
            continue
        winner = min(reach, key=lambda name: reach[name][0])
        tied = [winner]
        for name, times in reach.items():
            both = np.isfinite(times[1:]) & np.isfinite(reach[winner][1:])
            ratios = times[1:][both] / reach[winner][1:][both]
            if name != winner and len(ratios) and np.percentile(ratios, INTERVAL[0]) <= 1:
                tied.append(name)
        result[target] = tied
    return result


def tails(measured: Measured, contrast: Sequence[float]) -> list[dict[str, Any]]:
    """Of every contestant's setting nearest above a recall of 0.95: latencies, and recall and p99 of the hard and easy.

    Hard are the tenth of the queries whose neighbours are hardly nearer than any row, by relative contrast.
    """
    order = np.argsort(np.asarray(contrast), kind="stable")
    tenth = max(1, len(order) // 10)
    groups = {"hard": order[:tenth], "easy": order[-tenth:]}
    records = []
    for name in measured.names:
        own = measured.of(name)
        recalls = {i: float(measured.hits[i].mean()) for i in own}
        reaching = [i for i in own if recalls[i] >= 0.95] or [max(own, key=lambda i: recalls[i])]
        i = min(reaching, key=measured.microseconds)
        record = {
            "index": name,
            "recall": recalls[i],
            "worst tenth's recall": float(np.sort(measured.hits[i])[:tenth].mean()),
        }
        for group, rows in groups.items():
            record[f"recall, {group}"] = float(measured.hits[i][rows].mean())
        if measured.times[i].size:
            each = np.median(measured.times[i], axis=0) * 1e6
            record |= {f"p{p}, us": float(np.percentile(each, p)) for p in (50, 95, 99)}
            record |= {f"median, {group}, us": float(np.median(each[rows])) for group, rows in groups.items()}
        records.append(record)
    return records
