"""Measure indexes against each other, so that the ratio can be believed.

- *Build once, sweep the search.* A `Sweep` names a peer with lists of build parameters and lists of search parameters;
  every combination of build parameters is built once and then searched with every combination of search parameters.
- *Interleaved.* All entrants of a comparison live in one process and take turns, round after round (A B C, B C A, ...),
  until the time budget is spent. A slow minute of the machine hits everyone, so the ratio within a round is sound where
  times are not. What is reported is the median of the rounds' ratios, with the quartiles as spread.
- *Warm.* The first call is timed by itself (a JIT compiles then, a library allocates) and never mixed with the rest.
- *CPU time and wall time.* A single-threaded comparison is read in CPU time of the whole process (what helper threads
  do counts); scaling over threads is read in wall time.
- *Two modes, never mixed.* "batch": a thousand queries in one call. "one": one query a call, with percentiles over the
  queries; a query's latency is its median over the rounds, so that the scheduler's accidents do not make the 99th
  percentile.
- *Recall is recomputed* from the ids of the very mode that is timed (`oracle.py`).
"""

import gc
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks.oracle import Oracle
from benchmarks.peers import Answer, Peer

MODES = ("batch", "one")
MINIMUM_ROUNDS = 3
REBUILD_BELOW = 30.0  # seconds: a quicker first build is repeated, so that compiling does not count as building
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """How long to measure: seconds for each comparison, queries in a batch and one at a time, and a cap on rounds."""

    seconds: float = 20.0
    batch: int = 1000
    one: int = 100
    maximum_rounds: int = 50


@dataclass(frozen=True)
class Sweep:
    """A peer with the values to try: each choice of build parameters is built once, and searched with every other."""

    peer: Callable[[], Peer]
    build: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    search: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass
class Built:
    """One index that was built, with what building it cost."""

    peer: Peer
    parameters: Parameters
    first_seconds: float  # wall time of the first build in the process, compilation included
    seconds: float  # wall time of a later one
    cpu_seconds: float
    bytes: int


@dataclass
class Run:
    """Everything measured of one index, search parameters, k and mode on one data set. Times in seconds, raw."""

    dataset: str
    n: int
    dim: int
    metric: str
    peer: str
    threads: int
    build: Parameters
    search: Parameters
    k: int
    mode: str
    queries: int
    recall: float
    build_seconds: float
    build_cpu_seconds: float
    first_build_seconds: float
    first_call_seconds: float
    bytes_per_vector: float
    wall: list[float]  # per round, all queries
    cpu: list[float]
    query_wall: list[list[float]] = field(default_factory=list)  # mode "one": per round, per query
    facts: dict[str, Any] = field(default_factory=dict)  # what the peer says of its search beside its time

    @property
    def label(self) -> str:
        """The peer with the parameters that tell its runs apart."""
        given = {**self.build, **self.search}
        return self.peer + "".join(f" {name}={value}" for name, value in given.items())

    def microseconds(self, clock: str = "cpu") -> float:
        """Median time of one query."""
        return float(np.median(getattr(self, clock))) / self.queries * 1e6

    def spread(self, clock: str = "cpu") -> float:
        """Interquartile range of the rounds, as a share of the median."""
        low, middle, high = np.percentile(getattr(self, clock), [25, 50, 75])
        return float((high - low) / middle)

    def percentiles(self) -> tuple[float, float, float]:
        """Latency of one query in microseconds, wall time: median, 95th and 99th percentile over the queries."""
        p50, p95, p99 = np.percentile(np.median(self.query_wall, axis=0), [50, 95, 99]) * 1e6
        return float(p50), float(p95), float(p99)

    def record(self) -> dict[str, Any]:
        """The run as plain data, raw timings included."""
        return asdict(self)


def speedup(run: Run, other: Run, clock: str = "cpu") -> tuple[float, float, float]:
    """How many times as fast `run` is as `other`: the median over rounds that both took part in, and the quartiles."""
    ratios = [theirs / ours for ours, theirs in zip(getattr(run, clock), getattr(other, clock), strict=True)]
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return float(middle), float(low), float(high)


def combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every choice of one value for each name."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def build(sweep: Sweep, dataset: Dataset) -> list[Built]:
    """Build the sweep's peer once for each combination of build parameters."""
    return [_build(sweep.peer, dataset, parameters) for parameters in combinations(sweep.build)]


def _build(make: Callable[[], Peer], dataset: Dataset, parameters: Parameters) -> Built:
    first_seconds = seconds = 0.0
    for attempt in range(2):
        peer = make()
        start, start_cpu = time.perf_counter(), time.process_time()
        peer.build(dataset.train, dataset.metric, **parameters)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        if attempt == 0:
            first_seconds = seconds
        if first_seconds > REBUILD_BELOW:
            break
    return Built(peer, parameters, first_seconds, seconds, cpu_seconds, peer.memory())


@dataclass
class _Entrant:
    """One index with one setting of search parameters, taking turns in a comparison."""

    built: Built
    parameters: Parameters
    calls: list[np.ndarray]  # the queries of each call: one batch, or many single rows
    k: int
    first_call_seconds: float = 0.0
    wall: list[list[float]] = field(default_factory=list)  # per round, per call
    cpu: list[float] = field(default_factory=list)

    def answer(self, queries: np.ndarray) -> Answer:
        return self.built.peer.search(queries, self.k, **self.parameters)

    def warm_up(self) -> np.ndarray:
        """The ids of all calls; the first call is timed by itself."""
        start = time.perf_counter()
        answers = [self.answer(self.calls[0])[1]]
        self.first_call_seconds = time.perf_counter() - start
        answers += [self.answer(queries)[1] for queries in self.calls[1:]]
        return np.concatenate(answers)

    def round(self) -> None:
        """Time every call once."""
        wall = []
        start_cpu = time.process_time()
        for queries in self.calls:
            start = time.perf_counter()
            self.answer(queries)
            wall.append(time.perf_counter() - start)
        self.cpu.append(time.process_time() - start_cpu)
        self.wall.append(wall)


def compare(
    dataset: Dataset,
    indexes: Sequence[tuple[Built, Sequence[Parameters]]],
    k: int,
    mode: str,
    budget: Budget,
    oracle: Oracle,
    answers: list[np.ndarray] | None = None,
) -> list[Run]:
    """Let the `indexes`, each with the search parameters to try, take turns on the data set's queries.

    Parameters
    ----------
    dataset : Dataset
    indexes : sequence of (Built, search parameters)
    k : int
    mode : {"batch", "one"}
    budget : Budget
    oracle : Oracle
        Over the same data, with at least `k` neighbours.
    answers : list, optional
        Is given the ids (q, k) that each of them found.

    Returns
    -------
    list of Run
        In the order given; all have the same number of rounds.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it must be one of {MODES}")
    queries = dataset.test[: budget.batch if mode == "batch" else budget.one]
    entrants, recalls, facts = [], [], []
    for built, settings in indexes:
        prepared = np.ascontiguousarray(built.peer.prepare(queries))
        calls = [prepared] if mode == "batch" else [prepared[i : i + 1] for i in range(len(prepared))]
        for parameters in settings:
            entrant = _Entrant(built, parameters, calls, k)
            found = entrant.warm_up()
            recalls.append(oracle.recall(found, k))
            if answers is not None:
                answers.append(found)
            facts.append(built.peer.facts(prepared, k))
            entrants.append(entrant)
    _take_turns(entrants, budget)
    return [
        _run(dataset, entrant, mode, len(queries), recall, says)
        for entrant, recall, says in zip(entrants, recalls, facts, strict=True)
    ]


def _take_turns(entrants: Sequence[_Entrant], budget: Budget) -> None:
    """Rounds in which everyone is timed once, each starting with the next entrant, until the budget is spent."""
    deadline = time.perf_counter() + budget.seconds
    gc.collect()
    gc.disable()
    try:
        for number in range(max(MINIMUM_ROUNDS, budget.maximum_rounds)):
            if number >= MINIMUM_ROUNDS and time.perf_counter() > deadline:
                break
            first = number % len(entrants)
            for entrant in [*entrants[first:], *entrants[:first]]:
                entrant.round()
    finally:
        gc.enable()


def _run(dataset: Dataset, entrant: _Entrant, mode: str, n_queries: int, recall: float, facts: dict[str, Any]) -> Run:
    built = entrant.built
    return Run(
        dataset=dataset.name,
        n=len(dataset.train),
        dim=dataset.train.shape[1],
        metric=dataset.metric,
        peer=built.peer.name,
        threads=built.peer.threads,
        build=dict(built.parameters),
        search=dict(entrant.parameters),
        k=entrant.k,
        mode=mode,
        queries=n_queries,
        recall=recall,
        build_seconds=built.seconds,
        build_cpu_seconds=built.cpu_seconds,
        first_build_seconds=built.first_seconds,
        first_call_seconds=entrant.first_call_seconds,
        bytes_per_vector=built.bytes / len(dataset.train),
        wall=[sum(calls) for calls in entrant.wall],
        cpu=entrant.cpu,
        query_wall=entrant.wall if mode == "one" else [],
        facts=facts,
    )


def measure(
    dataset: Dataset, sweeps: Sequence[Sweep], ks: Sequence[int], modes: Sequence[str], budget: Budget
) -> list[Run]:
    """Build every sweep that knows the data's metric and compare all of them, for each k and each mode."""
    able = [sweep for sweep in sweeps if dataset.metric in sweep.peer().metrics]
    oracle = Oracle(dataset.train, dataset.test[: max(budget.batch, budget.one)], dataset.metric, max(ks))
    indexes = [(built, combinations(sweep.search)) for sweep in able for built in build(sweep, dataset)]
    return [run for k in ks for mode in modes for run in compare(dataset, indexes, k, mode, budget, oracle)]
