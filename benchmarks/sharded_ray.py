"""The measurements of sharded indexes that need actors of Ray (`sharded.py` says which)."""

import argparse
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from annlab import ExactIndex
from annlab.sharded import ShardedIndex
from benchmarks.sharded_load import DIM, Load, Record, moved, ms, timed


@contextlib.contextmanager
def begun(*how: Any, **more: Any) -> Iterator[tuple[ShardedIndex, Path]]:
    """An index of actors, in a cluster of its own."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray

    from annlab.sharded.ray_engine import begin_ray

    begin_ray(num_cpus=2, object_store_memory=200 * 2**20)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            index = ShardedIndex(ExactIndex(dim=DIM), *how, engine="ray", path=path, timeout=120, **more)
            yield index, path
            index.stop()
    finally:
        ray.shutdown()


def ray_steady(options: argparse.Namespace) -> Iterator[Record]:
    """Four shards, by hash: calls, a slow replica, kills."""
    vectors = np.random.default_rng(0).random((20_000, DIM), dtype=np.float32)
    with begun(4, 2) as (index, path):
        index.fit(vectors)
        yield calls(index)
        yield slowed(index, path, vectors, options.pause)
        yield kills(index, path, vectors, options.seconds, "SIGKILL under load")


def ray_cells(options: argparse.Namespace) -> Iterator[Record]:
    """Four shards, by cells: kills, of the registry too."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((100, DIM))
    vectors = (centers[rng.integers(0, 100, 20_000)] + 0.15 * rng.standard_normal((20_000, DIM))).astype(np.float32)
    with begun(4, 2, placement="cells") as (index, path):
        index.fit(vectors)
        yield kills(index, path, vectors, options.seconds, "SIGKILL under load, rows placed by cells")


def ray_move(options: argparse.Namespace) -> Iterator[Record]:
    """Two shards become four."""
    vectors = np.random.default_rng(0).random((options.rows, DIM), dtype=np.float32)
    with begun(2, 2) as (index, path):
        index.fit(vectors)
        record = moved(index, lambda: _attached(path), vectors, options.pause)
        yield record | {"what": f"{record['what']}, on Ray"}


def calls(index: ShardedIndex) -> Record:
    """What Ray itself takes: a read of every shard that computes nothing, and searches."""
    many = np.random.default_rng(0).random((1000, DIM), dtype=np.float32)
    nothing = np.empty(0, np.int64)
    index.search(many, 10)
    return {"what": "calls to 4 shards",
            "empty ms": ms(timed(lambda: index._answers("present", (nothing,)), 100), 0.5),
            "one query ms": ms(timed(lambda: index.search(many[0], 10), 100), 0.5),
            "1,000 queries ms": ms(timed(lambda: index.search(many, 10), 10), 0.5)}  # fmt: skip


def slowed(index: ShardedIndex, path: Path, vectors: np.ndarray, seconds: float) -> Record:
    """One replica runs for a tenth of the time."""
    pids, ends = index._engine.pids(index._manifest), threading.Event()  # type: ignore[attr-defined]

    def hold(pid: int) -> None:
        while not ends.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.09)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)

    with Load(lambda: _attached(path), vectors) as load:
        time.sleep(seconds)
        before = load.took()
        thread = threading.Thread(target=hold, args=(pids["0-1"],))
        thread.start()
        time.sleep(seconds)
        after = load.took()[len(before) :]
        ends.set()
        thread.join()
    return {"what": "one replica of 8 slowed tenfold", "searches": len(after), "p99 ms before": ms(before, 0.99),
            "p99 ms meanwhile": ms(after, 0.99), **load.outcome(index)}  # fmt: skip


def kills(index: ShardedIndex, path: Path, vectors: np.ndarray, seconds: float, what: str) -> Record:
    """SIGKILL to one replica after another, the next one when the last is back."""
    chance, back = random.Random(0), []
    names = [name for entry in index._manifest.serving for name in entry.replicas]
    with Load(lambda: _attached(path), vectors) as load:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            name, pids = chance.choice(names), index._engine.pids(index._manifest)  # type: ignore[attr-defined]
            if name in pids:
                os.kill(pids[name], signal.SIGKILL)
                began = time.monotonic()
                while time.monotonic() - began < 60:
                    now = index._engine.pids(index._manifest)  # type: ignore[attr-defined]
                    if now.get(name, pids[name]) != pids[name]:
                        back.append(time.monotonic() - began)
                        break
                    time.sleep(0.05)
            time.sleep(1.0)
    index.verify()
    return {"what": what, "seconds": seconds, "kills": len(back), "searches": len(load.searches),
            "writes": len(load.writes), **load.outcome(index),
            "back s median": float(np.median(back)) if back else None, "back s max": max(back, default=None),
            "search ms median": ms(load.searches, 0.5),
            "search ms p99": ms(load.searches, 0.99), "write ms median": ms(load.writes, 0.5),
            "write ms p99": ms(load.writes, 0.99)}  # fmt: skip


def _attached(path: Path) -> ShardedIndex:
    """As another user of the same actors."""
    return ShardedIndex(None, engine="ray", path=path, timeout=30)
