"""Rows that come and go: a runbook of adds, removals and searches, played to every index that can do all three.

A runbook is what big-ann-benchmarks calls so (the streaming track of 2023): a YAML file whose top names a data set and
whose numbered steps are ``{operation: insert, start: 0, end: 1000}``, ``{operation: delete, start: ..., end: ...}``
(rows of the set, by number) or ``{operation: search}``. Without a file two are made: *churn* begins with half of the
rows and exchanges a tenth of them five times, so that half has been exchanged in the end; *drift* does the same with
the rows in the order of their place along one direction, so that what comes differs from what was there.

After every search step: recall among the rows that live then, microseconds of a query, and the seconds of the writes
before it. At the end the same for an index that is built anew of the same rows: what the changes have cost.
"""

import importlib.util
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks.field.contestants import Contestant
from benchmarks.field.filters import setting
from benchmarks.field.taking_turns import least, take_turns
from benchmarks.field.tuning import Tuned
from benchmarks.oracle import Oracle
from benchmarks.peers import normalised

Record = dict[str, Any]
Step = tuple[str, int, int]  # operation, and the first and last row
QUERIES, ROUNDS = 100, 5


class Changing:
    """An index that takes rows in and out, under their numbers; it starts empty but for the first insertion."""

    def start(self, rows: np.ndarray, ids: np.ndarray) -> None:
        """Build over the first rows (n, d)."""
        raise NotImplementedError

    def insert(self, rows: np.ndarray, ids: np.ndarray) -> None:
        """Take further rows in."""
        raise NotImplementedError

    def delete(self, ids: np.ndarray) -> None:
        """Take rows out."""
        raise NotImplementedError

    def search(self, queries: np.ndarray) -> np.ndarray:
        """Ids (q, k)."""
        raise NotImplementedError


class Ours(Changing):
    """One of annlab's."""

    def __init__(self, kind: str, metric: str, build: Mapping[str, Any], how: Mapping[str, Any], k: int) -> None:
        import annlab

        self.index = getattr(annlab, kind)(metric=metric, **build)
        self.how, self.k = how, k

    def start(self, rows: np.ndarray, ids: np.ndarray) -> None:
        self.index.fit(rows, ids)

    def insert(self, rows: np.ndarray, ids: np.ndarray) -> None:
        self.index.add(rows, ids)

    def delete(self, ids: np.ndarray) -> None:
        self.index.remove(ids)

    def search(self, queries: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.index.search(queries, self.k, threads=1, **self.how).ids
        return found


class Hnswlib(Changing):
    """hnswlib, which marks what is deleted and reuses its place."""

    def __init__(self, capacity: int, dim: int, cosine: bool, m: int, ef: int, k: int) -> None:
        import hnswlib

        self.index, self.cosine, self.k = hnswlib.Index("l2", dim), cosine, k
        self.index.init_index(capacity, M=m, ef_construction=200, allow_replace_deleted=True)
        self.ef = ef

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        return normalised(rows) if self.cosine else rows

    def start(self, rows: np.ndarray, ids: np.ndarray) -> None:
        self.insert(rows, ids)

    def insert(self, rows: np.ndarray, ids: np.ndarray) -> None:
        self.index.add_items(self._unit(rows), ids, num_threads=1, replace_deleted=True)
        self.index.set_ef(self.ef)

    def delete(self, ids: np.ndarray) -> None:
        for label in ids:
            self.index.mark_deleted(int(label))

    def search(self, queries: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.index.knn_query(self._unit(queries), self.k, num_threads=1)[0].astype(np.int64)
        return found


class FaissLists(Changing):
    """faiss IVFFlat, whose centroids stay those of the first rows."""

    def __init__(self, dim: int, cosine: bool, n_lists: int, n_probes: int, k: int) -> None:
        import faiss

        self.coarse, self.cosine, self.k = faiss.IndexFlatL2(dim), cosine, k
        self.index = faiss.IndexIVFFlat(self.coarse, dim, n_lists)
        self.index.nprobe = n_probes

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        return normalised(rows) if self.cosine else rows

    def start(self, rows: np.ndarray, ids: np.ndarray) -> None:
        self.index.train(self._unit(rows))
        self.insert(rows, ids)

    def insert(self, rows: np.ndarray, ids: np.ndarray) -> None:
        self.index.add_with_ids(self._unit(rows), ids)

    def delete(self, ids: np.ndarray) -> None:
        self.index.remove_ids(ids)

    def search(self, queries: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.index.search(self._unit(queries), self.k)[1]
        return found


def run(dataset: Dataset, taking_part: Sequence[Contestant], tuned: Mapping[str, Tuned],
        options: Namespace) -> list[Record]:  # fmt: skip
    """Records of all runbooks and indexes."""
    k = options.k[0]
    makers = dict(changing(dataset, taking_part, tuned, k))
    if options.runbook:
        books = {options.runbook.stem: (np.arange(len(dataset.train)), read(options.runbook, dataset.name))}
    else:
        books = made(dataset)
    return [record for name, (order, steps) in books.items() for index, maker in makers.items()
            for record in play(name, index, maker, dataset, order, steps, k)]  # fmt: skip


def changing(dataset: Dataset, taking_part: Sequence[Contestant], tuned: Mapping[str, Tuned],
             k: int) -> Iterator[tuple[str, Callable[[], Changing]]]:  # fmt: skip
    """Those that take rows in and out, with the setting chosen for a recall of 0.95."""
    n, dim = dataset.train.shape
    cosine = dataset.metric == "cosine"
    for one in taking_part:
        trial = setting(tuned[one.name], k)
        if trial is None:
            continue
        build, how = trial.build, trial.search
        if one.ours:
            kind = one.name.split()[1]
            yield one.name, lambda kind=kind, build=build, how=how: Ours(kind, dataset.metric, build, how, k)  # type: ignore[misc]
        elif one.name == "hnswlib":
            yield one.name, lambda b=build, h=how: Hnswlib(n, dim, cosine, b["M"], h["ef"], k)  # type: ignore[misc]
        elif one.name == "faiss IVFFlat":
            yield one.name, lambda b=build, h=how: FaissLists(dim, cosine, b["n_lists"], h["n_probes"], k)  # type: ignore[misc]


def made(dataset: Dataset) -> dict[str, tuple[np.ndarray, list[Step]]]:
    """Churn and drift: the order of the rows, and the steps."""
    rng, n = np.random.default_rng(4), len(dataset.train)
    along = dataset.train @ rng.standard_normal(dataset.train.shape[1]).astype(np.float32)
    half, part = n // 2, n // 2 // (2 * ROUNDS)
    steps: list[Step] = [("insert", 0, half), ("search", 0, 0)]
    for turn in range(ROUNDS):
        steps += [("delete", turn * part, (turn + 1) * part),
                  ("insert", half + turn * part, half + (turn + 1) * part), ("search", 0, 0)]  # fmt: skip
    return {"churn": (rng.permutation(n), steps), "drift": (np.argsort(along, kind="stable"), steps)}


def read(path: Path, name: str) -> list[Step]:
    """The steps of a runbook for the data set of this name, or of its only set.

    Raises
    ------
    ValueError
        When there is no such set, or a step is none of insert, delete and search.
    """
    if importlib.util.find_spec("yaml") is None:
        raise ImportError("a runbook is YAML: pip install pyyaml")
    import yaml

    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or (name not in content and len(content) != 1):
        raise ValueError(f"{path} holds no runbook for {name!r}: there is {list(content or [])}")
    book = content.get(name) or next(iter(content.values()))
    steps: list[Step] = []
    for number in sorted(key for key in book if isinstance(key, int)):
        step = book[number]
        if step.get("operation") not in ("insert", "delete", "search"):
            raise ValueError(f"{path}, step {number}: {step} is none of insert, delete and search")
        steps.append((step["operation"], int(step.get("start", 0)), int(step.get("end", 0))))
    return steps


def play(book: str, name: str, make: Callable[[], Changing], dataset: Dataset, order: np.ndarray,
         steps: Sequence[Step], k: int) -> Iterator[Record]:  # fmt: skip
    """A record for each search step, and one for an index built anew of the rows that live in the end."""
    index, living, spent, begun = make(), np.zeros(len(order), bool), 0.0, False
    queries = dataset.test[:QUERIES]
    for number, (operation, low, high) in enumerate(steps):
        if operation == "search":
            yield _searched(index, dataset, np.flatnonzero(living), queries, k) | {
                "runbook": book, "index": name, "step": number, "writes, s": spent}  # fmt: skip
            spent = 0.0
            continue
        rows = order[low:high]
        taken = np.ascontiguousarray(dataset.train[rows])
        start = time.process_time()
        if operation == "delete":
            index.delete(rows)
        elif begun:
            index.insert(taken, rows)
        else:
            index.start(taken, rows)
            begun = True
        spent += time.process_time() - start
        living[rows] = operation == "insert"
    fresh, rows = make(), np.flatnonzero(living)
    start = time.process_time()
    fresh.start(np.ascontiguousarray(dataset.train[rows]), rows)
    spent = time.process_time() - start
    yield _searched(fresh, dataset, rows, queries, k) | {
        "runbook": book, "index": name, "step": "built anew", "writes, s": spent}  # fmt: skip


def _searched(index: Changing, dataset: Dataset, rows: np.ndarray, queries: np.ndarray, k: int) -> Record:
    """Recall among the living rows (ids are row numbers), and microseconds of a query."""
    oracle = Oracle(np.ascontiguousarray(dataset.train[rows]), queries, dataset.metric, k)
    times, found = take_turns({"": index.search}, queries, 0.0)
    ids = found[""]
    places = np.searchsorted(rows, np.maximum(ids, 0))
    dead = (ids >= 0) & (rows[np.minimum(places, len(rows) - 1)] != ids)
    if dead.any():
        raise RuntimeError(f"{dead.sum()} results of {len(ids)} queries are rows that were removed")
    return {"recall": oracle.recall(np.where(ids >= 0, places, -1), k), "us": least(times[""])}
