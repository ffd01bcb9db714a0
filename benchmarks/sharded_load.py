"""What the measurements of sharded indexes share: people who search and write meanwhile, and how long they waited."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from annlab.sharded import ShardedError, ShardedIndex

DIM = 32
Record = dict[str, Any]
_WRONG = "a wrong answer"


class Load:
    """Searches and writes in two threads, and what came of them."""

    def __init__(self, opened: Callable[[], ShardedIndex], vectors: np.ndarray) -> None:
        self.vectors, self.ends = vectors, threading.Event()
        self.reader, self.writer = opened(), opened()
        self.errors: list[str] = []
        self.searches: list[float] = []
        self.writes: list[float] = []
        self.acknowledged: set[int] = set()
        self.threads = [threading.Thread(target=self._search), threading.Thread(target=self._write)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def took(self) -> list[float]:
        """Seconds of all searches so far."""
        return list(self.searches)

    def outcome(self, index: ShardedIndex) -> Record:
        """What went wrong."""
        for error in self.errors:
            print(error, file=sys.stderr)
        lost = self.acknowledged - set(index.ids.tolist())
        return {"errors": len(self.errors), "wrong answers": sum(error == _WRONG for error in self.errors),
                "acknowledged rows": len(self.acknowledged), "lost rows": len(lost)}  # fmt: skip

    def _search(self) -> None:
        rng, index = np.random.default_rng(1), self.reader
        while not self.ends.is_set():
            some, began = rng.integers(0, len(self.vectors), 4), time.perf_counter()
            try:
                if (index.search(self.vectors[some], 1).ids[:, 0] != some).any():
                    self.errors.append(_WRONG)
            except ShardedError as error:
                self.errors.append(f"search: {error}")
            self.searches.append(time.perf_counter() - began)
            time.sleep(0.02)

    def _write(self) -> None:
        rng, id, index = np.random.default_rng(2), 1_000_000, self.writer
        while not self.ends.is_set():
            ids, near = np.arange(id, id + 8), self.vectors[rng.integers(0, len(self.vectors), 8)]
            rows, began = near + np.float32(0.01) * rng.random(near.shape, dtype=np.float32), time.perf_counter()
            try:
                index.add(rows, ids, op_id=str(id), timeout=60)
                self.acknowledged |= set(ids.tolist())
            except ShardedError as error:
                self.errors.append(f"write: {error}")
            self.writes.append(time.perf_counter() - began)
            id += 8
            time.sleep(0.2)


def timed(do: Callable[[], Any], n: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    took = []
    for _ in range(n):
        began = clock()
        do()
        took.append(clock() - began)
    return took


def ms(seconds: Sequence[float], quantile: float) -> float | None:
    return 1e3 * float(np.quantile(seconds, quantile)) if len(seconds) else None


def moved(index: ShardedIndex, opened: Callable[[], ShardedIndex], vectors: np.ndarray, seconds: float) -> Record:
    """Twice as many shards, while one thread searches and another one writes."""
    n = index.n_shards
    with Load(opened, vectors) as load:
        time.sleep(seconds)
        before, written = load.took(), len(load.writes)
        began = time.perf_counter()
        index.reshard(2 * n)
        took = time.perf_counter() - began
        after = load.took()[len(before) :]
    index.verify()
    return {"what": f"{n} shards become {2 * n}", "rows": len(vectors), "seconds": took, "searches": len(after),
            "p99 ms before": ms(before, 0.99), "p99 ms meanwhile": ms(after, 0.99),
            "median ms before": ms(before, 0.5), "median ms meanwhile": ms(after, 0.5),
            "slowest search ms": 1e3 * max(after, default=0.0), "writes meanwhile": len(load.writes) - written,
            "slowest write s": max(load.writes[written:], default=0.0), **load.outcome(index)}  # fmt: skip
