"""Measuring one index: the recall of a search, what it costs, and the cheapest parameters that reach a target.

Queries are in two halves. Parameters are chosen on the first, and what is reported was measured on the second, which
had no part in the choice: the best of many candidates was lucky on the queries that chose it.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from annlab.choosing.ladders import ladders
from annlab.core.heldout import HeldOut, lower_bound
from annlab.index import Index

__all__ = ["Measured", "Recall", "Task", "cheapest", "interleaved", "recall", "take_time"]
_SINGLES = 200  # queries that are timed one by one
_BATCHED = 2000  # queries that are timed in batches
_FEW = 2.0  # successes and failures added to a share before its spread is judged (Agresti and Coull, 1998)


class Task(NamedTuple):
    """What is asked of an index: held-out queries, and how they are put.

    Attributes
    ----------
    choosing, reporting : HeldOut
        The two halves of the queries.
    allowed : (n,) int64, or None
        Ids of what a search may return.
    k, batch, threads : int
        Neighbours, and queries of one call.
    target : float
        Recall.
    """

    choosing: HeldOut
    reporting: HeldOut
    allowed: np.ndarray | None
    k: int
    batch: int
    threads: int
    target: float


class Recall(NamedTuple):
    """A recall and the interval in which it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """An index with search parameters, and what was measured of it.

    Attributes
    ----------
    kind : type
        The class of the index.
    parameters : dict
        Keywords of its constructor, those of searches included.
    recall : Recall
        On queries that had no part in choosing the parameters.
    microseconds : float
        Of a query, CPU time on one thread, wall time on several.
    build_seconds : float
    bytes : int
        That the index takes in memory.
    write_microseconds : float
        Of adding one vector, what it costs later included; 0 where nothing is written.
    """

    kind: type[Index]
    parameters: dict[str, Any]
    recall: Recall
    microseconds: float
    build_seconds: float
    bytes: int
    write_microseconds: float = 0.0

    def make(self) -> Index:
        """An empty index with these parameters, to be filled."""
        return self.kind(**self.parameters)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{self.kind.__name__}({given})"


def recall(index: Index, held_out: HeldOut, task: Task, search: dict[str, Any]) -> np.ndarray:
    """The share (q,) of every query's neighbours that a search with these parameters finds."""
    found = index.search(held_out.queries, task.k, allowed=task.allowed, threads=task.threads, **search)
    return held_out.recall(found.ids, task.k)


def with_interval(shares: np.ndarray, k: int) -> Recall:
    """The mean of shares (q,) of k neighbours, and where it lies; never surer than the number of queries allows."""
    q, mean = len(shares), float(shares.mean())
    guarded = (mean * q + _FEW) / (q + 2 * _FEW)
    error = float(1.96 * max(shares.std(), np.sqrt(guarded * (1 - guarded) / k)) / np.sqrt(q))
    return Recall(mean, max(0.0, mean - error), min(1.0, mean + error))


def cheapest(index: Index, task: Task, target: float) -> list[dict[str, Any]]:
    """For every step of all ladders but the first, the lowest step of the first that reaches the target, if one does.

    "Reaches" as everywhere: with a mean less what chance may have added. Where the first ladder ends in None, which is
    a search without a bound, this is among them too: to heed a bound can cost more than it saves.
    """
    steps = ladders(index, task.k, exactly=target >= 1)
    if not steps:
        return [{}]
    first, *others = steps
    found = []
    for values in itertools.product(*(steps[name] for name in others)):
        rest = dict(zip(others, values, strict=True))

        def reaches(value: Any, rest: dict[str, Any] = rest) -> bool:
            shares = recall(index, task.choosing, task, {first: value, **rest})
            return lower_bound(shares) >= min(target, 1 - 1e-9) or bool(shares.min() == 1)

        at = lowest(steps[first], reaches)
        if at is not None:
            found.append({first: steps[first][at], **rest})
            if at == 0:
                break  # more of the rest costs more and saves nothing
    unbounded = {first: None} | {name: steps[name][-1] for name in others}
    return found if steps[first][-1] is not None or unbounded in found else [*found, unbounded]


def lowest(values: list[Any], reaches: Callable[[Any], bool]) -> int | None:
    """The place of the first value that reaches, of values of which all later ones do too; None if none does.

    Goes up in doubling strides and then halves, so that what is far too thorough, and slow, is seldom tried.
    """
    low, high, stride = -1, 0, 1
    while not reaches(values[high]):
        if high == len(values) - 1:
            return None
        low, high, stride = high, min(high + stride, len(values) - 1), 2 * stride
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(values[middle]) else (middle, high)
    return high


def take_time(index: Index, task: Task, search: dict[str, Any]) -> float:
    """Microseconds a query, once: CPU time on one thread, wall time on several."""
    queries = task.choosing.queries
    n = min(_SINGLES if task.batch == 1 else max(_BATCHED, task.batch), max(len(queries), task.batch))
    asked = np.take(queries, np.arange(n) % len(queries), axis=0)
    clock = time.process_time if task.threads == 1 else time.perf_counter
    calls = [asked[at : at + task.batch] if task.batch > 1 else asked[at] for at in range(0, n, task.batch)]
    begun = clock()
    for call in calls:
        index.search(call, task.k, allowed=task.allowed, threads=task.threads, **search)
    return (clock() - begun) / n * 1e6


def interleaved(candidates: list[tuple[Index, dict[str, Any]]], task: Task, rounds: int) -> list[float]:
    """The median time of each candidate over rounds in which all take turns, so that all meet the same disturbances."""
    times = [[take_time(index, task, search) for index, search in candidates] for _ in range(rounds)]
    return [float(np.median(column)) for column in zip(*times, strict=True)]


def half(held_out: HeldOut, part: slice) -> HeldOut:
    """Some of the queries."""
    return replace(held_out, queries=held_out.queries[part], distances=held_out.distances[part],
                   rows=held_out.rows[part], chosen=None)  # fmt: skip
