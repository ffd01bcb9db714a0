"""Choose settings of one contestant within a budget of seconds, on queries that are not reported.

The first choice of its build parameters is always built, and that counts for nothing. Then, as long as the budget
lasts, which is seconds of CPU: the effort is raised step by step, for each choice of the other search parameters, until
recall is complete; and then the next build. What each setting reaches is kept, and the result is the settings near the
front of all of them, spread over the recalls of interest. All contestants get the same seconds.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks.field.contestants import Contestant
from benchmarks.frontier import Point, pareto_front
from benchmarks.graph_peers import Graph
from benchmarks.harness import Built, combinations
from benchmarks.oracle import Oracle
from benchmarks.peers import Peer

TARGETS = (0.8, 0.9, 0.95, 0.99)
COMPLETE = 0.997
REPEATS = 3  # of a call that takes less than QUICK seconds: its shortest time counts
QUICK = 0.2
WARM_ROWS = 3000
STALL_STEPS, STALL_GAIN = 4, 0.0005  # so many steps that gain no more end a ladder


@dataclass(frozen=True)
class Trial:
    """One setting that was tried for k: what it reached, and the seconds of CPU that a query took, in a batch."""

    k: int
    build: dict[str, Any]
    search: dict[str, Any]
    recall: float
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """What tuning found: all trials, those that take part, and the seconds that went by."""

    contestant: str
    trials: list[Trial]
    chosen: list[Trial]
    seconds: float
    builds: int

    def record(self) -> dict[str, Any]:
        """As plain data, for a file."""
        return asdict(self)

    @staticmethod
    def of(record: dict[str, Any]) -> "Tuned":
        """From such a file."""
        both = {name: [Trial(**trial) for trial in record[name]] for name in ("trials", "chosen")}
        return Tuned(**{**record, **both})

    def settings(self, k: int) -> dict[str, list[dict[str, Any]]]:
        """The search parameters chosen for k, by `str` of the build parameters."""
        found: dict[str, list[dict[str, Any]]] = {}
        for trial in self.chosen:
            if trial.k == k:
                found.setdefault(str(trial.build), []).append(trial.search)
        return found


def warm_up(one: Contestant, dataset: Dataset, ks: Sequence[int]) -> None:
    """Build and search a little, so that nobody's compilation counts against its budget, or as building."""
    peer, rows = one.make(), dataset.train[: min(WARM_ROWS, len(dataset.train))]
    parameters = combinations(one.build)[0]
    peer.build(rows, dataset.metric, **parameters | ({"n_lists": 20} if "n_lists" in parameters else {}))
    settle(peer)
    queries = np.ascontiguousarray(peer.prepare(dataset.test[:20]))
    for k in ks:
        for some in (queries[:1], queries):
            peer.search(some, k, **_least(one))


def build(one: Contestant, parameters: dict[str, Any], dataset: Dataset) -> Built:
    """Build it once, timed."""
    peer = one.make()
    peer.name = one.name
    start, start_cpu = time.perf_counter(), time.process_time()
    peer.build(dataset.train, dataset.metric, **parameters)
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    settle(peer)
    shared = getattr(peer, "shared_seconds", 0.0)
    return Built(peer, parameters, wall + shared, wall + shared, cpu + shared, peer.memory())


def settle(peer: Peer) -> None:
    """Some graphs are searched by another object than the one that builds, and it reads a file; that is not timed."""
    if isinstance(peer, Graph):
        folder = tempfile.TemporaryDirectory()
        peer.write(Path(folder.name))
        peer.folder_of_its_own = folder  # type: ignore[attr-defined]  # goes when the peer does


def _least(one: Contestant) -> dict[str, Any]:
    """The setting with the least effort."""
    return {name: values[0] for name, values in one.search.items()}


def tune(one: Contestant, dataset: Dataset, oracle: Oracle, ks: Sequence[int],
         budget: float) -> tuple[Tuned, dict[str, Built]]:  # fmt: skip
    """Try settings for `budget` seconds for each k; `oracle` knows the neighbours of the queries that are tried.

    Returns
    -------
    Tuned, dict
        And the indexes that the chosen settings need, by `str(parameters)`.
    """
    warm_up(one, dataset, ks)
    trials: list[Trial] = []
    kept: dict[str, Built] = {}
    started = time.process_time()
    for number, parameters in enumerate(combinations(one.build)):
        if number and time.process_time() - started > budget * len(ks):
            break
        built = build(one, parameters, dataset)
        if not number:
            started = time.process_time()
        kept[str(parameters)] = built
        queries = np.ascontiguousarray(built.peer.prepare(oracle.queries))
        built.peer.search(queries[:20], ks[0], **_least(one))  # allocates what it needs
        for i, k in enumerate(ks):
            trials += _ladder(one, built, queries, oracle, k, started + budget * (i + 1))
    chosen = [trial for k in ks for trial in choose([trial for trial in trials if trial.k == k])]
    needed = {str(trial.build) for trial in chosen}
    seconds = time.process_time() - started
    return Tuned(one.name, trials, chosen, seconds, len(kept)), {name: kept[name] for name in needed}


def _ladder(one: Contestant, built: Built, queries: np.ndarray, oracle: Oracle, k: int,
            deadline: float) -> Iterator[Trial]:  # fmt: skip
    """Trials with ever more effort, for each choice of the other parameters."""
    others = {name: values for name, values in one.search.items() if name != one.effort}
    for other in combinations(others):
        before: list[float] = []
        for level in one.search[one.effort] if one.effort else (None,):
            setting = dict(other) if level is None else {**other, one.effort: level}
            if one.effort in ("ef", "window") and level is not None and level < k:
                continue
            trial = _try(built, setting, queries, oracle, k)
            yield trial
            before.append(trial.recall)
            stalled = len(before) > STALL_STEPS and before[-1] - before[-1 - STALL_STEPS] < STALL_GAIN
            if trial.recall >= COMPLETE or (stalled and trial.recall > 0.5) or time.process_time() > deadline:
                break
        if time.process_time() > deadline:
            break


def _try(built: Built, setting: dict[str, Any], queries: np.ndarray, oracle: Oracle, k: int) -> Trial:
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        _, ids = built.peer.search(queries, k, **setting)
        spent.append(time.process_time() - start)
        if spent[0] > QUICK:
            break
    return Trial(k, dict(built.parameters), setting, oracle.recall(ids, k), min(spent) / len(queries))


def choose(trials: Sequence[Trial]) -> list[Trial]:
    """On the front of all trials: those just below and just above each target, and the one with the highest recall."""
    points = {id(trial): Point(str(i), trial.recall, trial.seconds) for i, trial in enumerate(trials)}
    front = pareto_front(points.values())
    names, recalls = [point.label for point in front], [point.recall for point in front]
    places = {len(front) - 1}
    for target in TARGETS:
        above = next((i for i, recall in enumerate(recalls) if recall >= target), None)
        if above is not None:
            places |= {max(above - 1, 0), above}
    return [trials[int(names[i])] for i in sorted(places)]
