"""Trying indexes on a task: each variant is built, its ladders are climbed, and the best few are timed in turns."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from annlab.choosing.ladders import variants
from annlab.choosing.measuring import Measured, Task, cheapest, half, interleaved, recall, take_time, with_interval
from annlab.common import pool, rowsets, validation
from annlab.common.progress import Progress
from annlab.core.heldout import HeldOut, RecallWarning, n_held_out
from annlab.distances import Metric, get_metric
from annlab.index import Index

__all__ = ["EXACT", "Candidate", "Question", "best", "best_of_variant", "question", "scaled", "tried"]
EXACT = ("ExactIndex", "KDTreeIndex", "BallTreeIndex")
"""Kinds whose searches are exact unless told otherwise."""

_LEAST = 50  # vectors: with fewer there is nothing to choose
_NEIGHBORS = 20  # are looked for at least, to see the dimension around a query
_FINALISTS, _ROUNDS = 4, 7
_GROWN = 1.3  # times as many vectors as were measured: from here on, parameters follow the number
_WRITTEN = 50  # one vector of so many is added to learn what a write costs
_WRITES = 20
_FEW = 1500  # vectors of a small index
_MEASURED_BY_INDEX = ("n_probes", "rerank", "reach")


class Question(NamedTuple):
    """Vectors, the rows of them that are searched, and what is asked of them."""

    held_out: HeldOut
    rows: np.ndarray
    task: Task


class Candidate(NamedTuple):
    """A filled index, the parameters it was made with, and those of its searches."""

    filled: Index
    made_with: dict[str, Any]
    search: dict[str, Any]
    build_seconds: float
    microseconds: float


def question(vectors: np.ndarray, queries: Any, metric: Metric, target: float, k: int, batch: int, threads: int,
             share: float | None, seed: int) -> Question:  # fmt: skip
    """Queries and their true neighbours among vectors (n, dim), of which a filter may allow a share."""
    n, rng, n_threads = len(vectors), np.random.default_rng(seed), pool.resolve(threads)
    k, batch = validation.as_integer("k", k, 1), validation.as_integer("batch", batch, 1)
    target = validation.as_number("target_recall", target, 0.0)
    if not 0 < target <= 1:
        raise ValueError(f"target_recall must be above 0 and at most 1, but is {target}")
    if n < _LEAST or k > n // 4:
        raise ValueError(
            f"{n} vectors leave nothing to choose at k = {k} (at least {max(_LEAST, 4 * k)}): use ExactIndex"
        )
    wanted = max(k, _NEIGHBORS)
    if queries is None:
        chosen = rng.permutation(n)[: max(_LEAST // 2, n_held_out(n))]
        held_out = HeldOut.of_rows(vectors, metric, chosen, wanted, threads=n_threads)
    else:
        array, _ = validation.as_queries(queries, vectors.shape[1], vectors.dtype, metric.name)
        if len(array) < 20:
            raise ValueError(f"{len(array)} queries say too little about recall: give at least 20, better some hundred")
        held_out = HeldOut.of_queries(vectors, metric, rng.permutation(array), wanted, threads=n_threads)
    living = np.ones(n, bool) if held_out.alive is None else rowsets.unpack(held_out.alive, n)
    rows, allowed = np.flatnonzero(living), None
    if share is not None:
        allowed = rows[rng.random(len(rows)) < share]
        if len(allowed) < k:
            raise ValueError(f"a filter that allows {share:.3g} of {len(rows)} vectors leaves fewer than k = {k}")
        mask = np.zeros(n, bool)
        mask[allowed] = True
        held_out = HeldOut.of_queries(vectors, metric, held_out.queries, wanted, threads=n_threads,
                                      alive=rowsets.pack(mask))  # fmt: skip
    middle = len(held_out.queries) // 2
    halves = half(held_out, slice(0, middle)), half(held_out, slice(middle, None))
    return Question(held_out, rows, Task(*halves, allowed, k, batch, n_threads, target))


def tried(kinds: Sequence[type[Index]], asked: Question, fixed: dict[str, Any], seconds: float, progress: Progress,
          seed: int) -> tuple[list[Candidate], list[str]]:  # fmt: skip
    """The best of every variant of every kind, and what was left out, in words."""
    metric, deadline = asked.held_out.metric.name, time.monotonic() + seconds
    n, dim = len(asked.rows), asked.held_out.vectors.shape[1]
    every = []
    for kind in kinds:
        possible = variants(kind, metric, n, dim)
        wanted = [one for one in possible if all(fixed.get(name, value) == value for name, value in one.items())]
        if possible and not wanted:  # what is fixed is none of the variants: it is the only one
            wanted = [{}]
        every += [(place, kind, variant | fixed) for place, variant in enumerate(wanted)]
    every.sort(key=lambda one: one[0])  # the first variant of every kind, then the others
    found: list[Candidate] = []
    skipped: list[str] = []
    left_out = [f"{kind.__name__} cannot serve {asked.held_out.vectors.shape[1]} columns by {metric!r}"
                for kind in kinds if not any(kind is one for _, one, _ in every)]  # fmt: skip
    for at, (_, kind, variant) in enumerate(every):
        progress(f"trying {kind.__name__}", at / len(every))
        if found and time.monotonic() > deadline:
            skipped.append(kind.__name__)
            continue
        begun = time.monotonic()
        _compile(kind, variant, asked)
        deadline += time.monotonic() - begun
        candidate = best_of_variant(kind, variant, asked, seed)
        if candidate is None:
            left_out.append(f"{kind.__name__} with {variant} does not reach a recall of {asked.task.target}")
        else:
            found.append(candidate)
    progress("trying", 1.0)
    for name in dict.fromkeys(skipped):
        left_out.append(f"{name}: {skipped.count(name)} of its variants not tried, the {seconds:.0f} seconds were over")
    return found, left_out


def _compile(kind: type[Index], variant: dict[str, Any], asked: Question) -> None:
    """Load or compile the kernels of a variant by a small index, so that compiling takes nobody's time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecallWarning)
        few = asked.held_out.vectors[asked.rows[:_FEW]]
        index = kind(metric=asked.held_out.metric.name, **variant).fit(few)
        for queries in (few[:40], few[0]):
            index.search(queries, min(asked.task.k, len(few)), threads=asked.task.threads)


def best_of_variant(kind: type[Index], variant: dict[str, Any], asked: Question, seed: int) -> Candidate | None:
    """The variant, built, with the fastest search parameters that reach the target; None if none do."""
    made_with = {"metric": asked.held_out.metric.name, **variant}
    if "seed" in kind(**made_with).get_params():
        made_with["seed"] = seed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecallWarning)  # recall is what is measured here
        begun = time.perf_counter()
        index = kind(**made_with).fit(asked.held_out.vectors[asked.rows], asked.rows, threads=asked.task.threads)
        built = time.perf_counter() - begun
        searches = cheapest(index, asked.task, asked.task.target)
        timed = [(take_time(index, asked.task, search), at) for at, search in enumerate(searches)]
    if not timed:
        return None
    microseconds, at = min(timed)
    lists = getattr(index, "n_lists", None)
    if lists is not None and searches[at].get("n_probes") == lists:
        made_with["n_lists"] = lists  # all lists of this index: one of all vectors would have a few more
    return Candidate(index, made_with, searches[at], built, microseconds)


def best(candidates: list[Candidate], asked: Question) -> tuple[Measured, Candidate]:
    """The fastest of some candidates, timed in turns, and its recall on queries that had no part in the choice."""
    task = asked.task
    finalists = sorted(candidates, key=lambda one: one.microseconds)[:_FINALISTS]
    times = interleaved([(one.filled, one.search) for one in finalists], task, _ROUNDS)
    winner = finalists[int(np.argmin(times))]
    shares = recall(winner.filled, task.reporting, task, winner.search)
    size, parameters = int(winner.filled.memory()["total"]), winner.made_with | winner.search
    measured = Measured(type(winner.filled), parameters, with_interval(shares, task.k), min(times),
                        winner.build_seconds, size)  # fmt: skip
    return measured, winner


def write_microseconds(candidate: Candidate, asked: Question) -> float:
    """What adding one vector costs, all that it makes necessary included."""
    vectors, rows = asked.held_out.vectors, asked.rows
    n_new = max(_WRITES, len(rows) // _WRITTEN)
    kept, new = rows[:-n_new], rows[-n_new:]
    index = type(candidate.filled)(**candidate.made_with).fit(vectors[kept], kept, threads=asked.task.threads)
    begun = time.process_time()
    for some in np.array_split(new, _WRITES):
        index.add(vectors[some], some)
    return (time.process_time() - begun) / n_new * 1e6


def scaled(measured: Measured, candidate: Candidate, asked: Question, growth: float, seed: int) -> Measured:
    """What to expect of `growth` times as many vectors."""
    if growth < _GROWN:
        return measured
    parameters = dict(measured.parameters)
    if parameters.get("n_lists") == parameters.get("n_probes"):
        parameters.pop("n_lists", None)  # all lists, of fewer vectors
    target = "target_recall" in measured.make().get_params()
    for name in _MEASURED_BY_INDEX:
        if name in parameters and target:
            del parameters[name]  # the index measures it when it is filled
        elif name == "rerank" and name in parameters:
            parameters[name] = int(np.ceil(parameters[name] * growth))
    if target:
        parameters["target_recall"] = asked.task.target
    exponent = 1.0
    if type(candidate.filled).__name__ != "ExactIndex":
        exponent = _exponent(candidate, asked, seed)
    return replace(measured, parameters=parameters, microseconds=measured.microseconds * growth**exponent,
                   build_seconds=measured.build_seconds * growth, bytes=int(measured.bytes * growth))  # fmt: skip


def _exponent(candidate: Candidate, asked: Question, seed: int) -> float:
    """e of the n^e that a search costs, from a quarter of the vectors and all of them."""
    few, n = asked.rows[::4], len(asked.held_out.vectors)
    mask = np.zeros(n, bool)
    mask[few] = True
    task = asked.task
    allowed = None if task.allowed is None else task.allowed[np.isin(task.allowed, few)]
    halves = [HeldOut.of_queries(one.vectors, one.metric, one.queries, task.k, threads=task.threads,
                                 alive=rowsets.pack(mask)) for one in (task.choosing, task.reporting)]  # fmt: skip
    smaller = asked._replace(rows=few, task=task._replace(choosing=halves[0], reporting=halves[1], allowed=allowed))
    variant = {name: value for name, value in candidate.made_with.items() if name not in ("metric", "seed")}
    other = best_of_variant(type(candidate.filled), variant, smaller, seed)
    if other is None:
        return 1.0
    pair = interleaved(
        [(candidate.filled, candidate.search), (other.filled, other.search)], task._replace(allowed=None), 3
    )
    return float(np.clip(np.log(pair[0] / pair[1]) / np.log(4), 0.0, 1.0))


def vectors_for(data: Any, metric: str) -> tuple[np.ndarray, Metric]:
    """Checked vectors (n, dim) and the metric."""
    kind = get_metric(metric)
    return validation.as_vectors(data, name="data", metric=kind.name), kind
