"""From a target to an index and its parameters, by measuring: `tune` for one kind of index, `recommend` for all.

Which index is the best is a property of the data, of the queries and of what is asked, and no table tells it. So both
measure:

1. Queries that are no vectors of the index: the user's own, or vectors taken out of the data with all their copies.
2. Their true neighbours, by an exact scan.
3. For every variant of an index (storage, bits, degree): build it, and climb its ladders to the cheapest search
   parameters whose recall reaches the target, with what chance may have added taken off.
4. The best few take turns with the clock; the first is the answer. Its recall is measured again, on other queries.

`recommend` looks at a sample where the data are large, and goes up from it: a search costs n^e, where e is measured
between a quarter of the sample and all of it, and parameters that depend on n are left to the index, which measures
them by itself when it is filled.

The answer may be "exact is fastest": below some ten thousand vectors it often is, and it needs no parameters.

When not to use it: to compare libraries, or to publish. That is what `python -m benchmarks` is for.

Where to read on: `choosing/ladders.py` (what is tried), `choosing/measuring.py` (how), `choosing/facts.py`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annlab.choosing import trying
from annlab.choosing.facts import Facts
from annlab.choosing.measuring import Measured, Recall, Task, cheapest, take_time
from annlab.choosing.trying import EXACT, Candidate, Question
from annlab.common import validation
from annlab.common.progress import as_progress
from annlab.core.heldout import HeldOut
from annlab.index import Index
from annlab.kinds import INDEX_CLASSES

__all__ = ["Facts", "Measured", "Recall", "Recommendation", "recommend", "tune"]
_SAMPLE = 50_000  # vectors that `recommend` measures with
_WORTH = 0.97  # of the time: what saves less, saves nothing
_MISSES = 1.1  # times as fast must be what can miss a neighbour, to come before what cannot
_ROWS = 200  # vectors that are asked for their neighbours, to compare queries with them


@dataclass(frozen=True)
class Recommendation:
    """An index for some data, and why.

    Attributes
    ----------
    best : Measured
    others : tuple of Measured
        The best of every other kind that reached the target, the fastest first.
    facts : Facts
    reasons : tuple of str
        In words: what the data are like, what was compared, what more memory or less recall would buy.
    left_out : tuple of str
        What was not tried, or did not reach the target, each with the reason.
    """

    best: Measured
    others: tuple[Measured, ...]
    facts: Facts
    reasons: tuple[str, ...]
    left_out: tuple[str, ...]

    def make(self) -> Index:
        """An empty index as recommended, to be filled."""
        return self.best.make()

    def __str__(self) -> str:
        lines = [f"{self.best}", ""]
        for one in (self.best, *self.others):
            lines.append(f"  {one.microseconds:9.1f} us a query  recall {one.recall.mean:.3f} "
                         f"({one.recall.low:.3f} to {one.recall.high:.3f})  {one.bytes / 1e6:8.1f} MB  "
                         f"built in {one.build_seconds:.2f} s  {one}")  # fmt: skip
        return "\n".join([*lines, "", *(f"- {reason}." for reason in (*self.reasons, *self.left_out))])


def tune(kind: type[Index], data: Any, *, target_recall: float = 0.95, k: int = 10, queries: Any = None,
         metric: str = "l2", batch: int = 1000, threads: int = 1, seconds: float = 60.0, seed: int = 0,
         progress: Any = None, **fixed: Any) -> Measured:  # fmt: skip
    """The fastest parameters of one kind of index that reach a recall.

    Parameters
    ----------
    kind : class of an index
    data : array of shape (n, dim)
        Every variant is built with all of it: give a sample if that takes too long.
    target_recall : float
        Share of the k nearest that a search has to find, above 0 and at most 1.
    k : int
    queries : array of shape (q, dim), optional
        Some hundred as they will be asked. Without them, up to a tenth of the vectors, at most 1,000, are held out with
        all their copies.
    metric : {"l2", "cosine", "ip"}
    batch : int
        Queries of one call; 1 for single ones.
    threads : int
    seconds : float
        No further variant is begun after so many; the first is always measured.
    seed : int
    progress : bool or function of (what, share), optional
    **fixed
        Parameters of the constructor that are not to be varied.

    Returns
    -------
    Measured
        With `make()`, and `parameters` for the constructor.

    Raises
    ------
    ValueError, TypeError
        If an argument is unusable, the index cannot serve such data, or no parameters reach the target: then with what
        was reached.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((3000, 16), dtype=np.float32)
    >>> found = annlab.tune(annlab.IVFIndex, vectors, target_recall=0.9, storage="flat")
    >>> index = found.make().fit(vectors)
    >>> found.parameters["storage"], found.recall.high >= 0.9
    ('flat', True)
    """
    if not (isinstance(kind, type) and issubclass(kind, Index) and kind in INDEX_CLASSES):
        names = ", ".join(one.__name__ for one in INDEX_CLASSES)
        raise TypeError(f"tune varies one of the classes {names}, not {kind!r}")
    vectors, kind_of_distance = trying.vectors_for(data, metric)
    asked = trying.question(vectors, queries, kind_of_distance, target_recall, k, batch, threads, None, seed)
    found, left_out = trying.tried([kind], asked, fixed, seconds, as_progress(progress), seed)
    if not found:
        raise ValueError(f"no {kind.__name__} of {len(vectors):,} vectors will do: {'; '.join(left_out)}. "
                         "Take another kind of index, or a lower target_recall")  # fmt: skip
    return trying.best(found, asked)[0]


def recommend(data: Any, queries: Any = None, *, target_recall: float = 0.95, k: int = 10, metric: str = "l2",
              memory: int | None = None, updates: float = 0.0, filters: float | None = None, batch: int = 1000,
              seconds: float = 60.0, seed: int = 0, progress: Any = None) -> Recommendation:  # fmt: skip
    """The index that answers these queries fastest, with its parameters and the reasons.

    Parameters
    ----------
    data : array of shape (n, dim)
        Of more than 50,000 vectors a random sample is looked at.
    queries : array of shape (q, dim), optional
        Some hundred as they will be asked. Without them vectors are held out; if real queries are of another kind
        (words for pictures, say), what is measured does not hold for them.
    target_recall : float
        Share of the k nearest that a search has to find; 1 asks for an exact index.
    k : int
    metric : {"l2", "cosine", "ip"}
    memory : int, optional
        Bytes that the index may take, all vectors included.
    updates : float
        Vectors that are added for every query: their cost counts.
    filters : float, optional
        The share of the vectors that a typical filter allows, drawn at random.
    batch : int
        Queries of one call; 1 for single ones. All is measured on one thread.
    seconds : float
        No further variant is begun after so many.
    seed : int
    progress : bool or function of (what, share), optional

    Returns
    -------
    Recommendation

    Raises
    ------
    ValueError, TypeError
        If an argument is unusable, or no index fits into `memory`: then with the least that one takes.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((2000, 8), dtype=np.float32)
    >>> answer = annlab.recommend(vectors, target_recall=0.9)
    >>> index = answer.make().fit(vectors)
    >>> answer.best.recall.high >= 0.9
    True
    """
    updates = validation.as_number("updates", updates, 0.0)
    share = None if filters is None else validation.as_number("filters", filters, 0.0)
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"filters is the share that a filter allows, above 0 and at most 1, not {share}")
    everything, kind_of_distance = trying.vectors_for(data, metric)
    rng, n = np.random.default_rng(seed), len(everything)
    sample = everything if n <= _SAMPLE else everything[np.sort(rng.choice(n, _SAMPLE, replace=False))]
    asked = trying.question(sample, queries, kind_of_distance, target_recall, k, batch, 1, share, seed)
    kinds = [kind for kind in INDEX_CLASSES if target_recall < 1 or kind.__name__ in EXACT]
    found, left_out = trying.tried(kinds, asked, {}, seconds, as_progress(progress), seed)
    growth, measured, winners = n / len(sample), [], {}
    for kind in kinds:
        if own := [one for one in found if type(one.filled) is kind]:
            one, winners[kind] = trying.best(own, asked)
            one = trying.scaled(one, winners[kind], asked, growth, seed)
            written = trying.write_microseconds(winners[kind], asked) if updates else 0.0
            measured.append(replace(one, write_microseconds=written))
    fitting = _by_cost([one for one in measured if memory is None or one.bytes <= memory], updates)
    if not fitting:
        least = min(measured, key=lambda one: one.bytes)
        raise ValueError(f"no index of {n:,} vectors fits into {memory:,} bytes: {least} takes {least.bytes:,}")
    facts = _facts(asked, sample, n, queries is not None, rng)
    reasons = [*facts.sentences(), *_comparison(fitting, measured, updates, memory)]
    reasons += _one_point_less(winners[fitting[0].kind], asked, growth)
    if growth > 1:
        reasons.append(f"measured on {len(sample):,} vectors; times, sizes and parameters are for {n:,}, carried over")
    return Recommendation(fitting[0], tuple(fitting[1:]), facts, tuple(reasons), tuple(left_out))


def _facts(asked: Question, sample: np.ndarray, n: int, given: bool, rng: np.random.Generator) -> Facts:
    """What the data are like, seen from the queries."""
    rows, k = asked.held_out, asked.task.k
    if given:
        chosen = rng.permutation(len(sample))[:_ROWS]
        rows = HeldOut.of_rows(sample, rows.metric, chosen, rows.rows.shape[1], threads=asked.task.threads)
    bare = np.ascontiguousarray(sample).view(np.dtype((np.void, sample.dtype.itemsize * sample.shape[1])))
    copies = 1.0 - len(np.unique(bare)) / len(sample)
    return Facts.of(asked.held_out, k, rows, n, copies, rng)


def _by_cost(measured: list[Measured], updates: float) -> list[Measured]:
    """The cheapest first; what is approximate must be cheaper by a tenth than what is exact, or comes after it."""

    def cost(one: Measured) -> float:
        return (one.microseconds + updates * one.write_microseconds) * (1 if one.kind.__name__ in EXACT else _MISSES)

    return sorted(measured, key=cost)


def _comparison(fitting: list[Measured], measured: list[Measured], updates: float, memory: int | None) -> list[str]:
    """How the best stands against an exact scan, and against what takes more memory."""
    best, said = fitting[0], []
    exact = next((one for one in measured if one.kind.__name__ == "ExactIndex"), best)
    if best is exact:
        faster_than = "is the fastest here" if exact.microseconds <= min(one.microseconds for one in fitting) else (
            f"takes less than {_MISSES:g} times as long as the fastest here")  # fmt: skip
        said.append(f"exact search {faster_than}, and needs no parameters")
    else:
        times = exact.microseconds / best.microseconds
        said.append(f"an exact scan takes {exact.microseconds:.1f} us a query, {times:.1f} times as long")
    if updates:
        said.append(f"adding a vector costs {best.write_microseconds:.1f} us, {updates:g} times for every query")
    larger = [one for one in measured if memory is not None and memory < one.bytes <= 2 * memory]
    if larger:
        faster = min(larger, key=lambda one: one.microseconds)
        if faster.microseconds < best.microseconds:
            said.append(f"twice the memory would buy {faster}: {faster.microseconds:.1f} us a query")
        else:
            said.append("twice the memory would buy nothing")
    return said


def _one_point_less(winner: Candidate, asked: Question, growth: float) -> list[str]:
    """What a recall that is lower by 0.01 would save."""
    task: Task = asked.task
    if growth > 1 or task.target <= 0.02 or type(winner.filled).__name__ == "ExactIndex":
        return []
    times = [take_time(winner.filled, task, search) for search in cheapest(winner.filled, task, task.target - 0.01)]
    share = min(times, default=np.inf) / winner.microseconds
    return [f"one point of recall less would take {share:.0%} of the time" if share < _WORTH
            else "one point of recall less would save nothing"]  # fmt: skip
