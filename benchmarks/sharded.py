"""``python -m benchmarks sharded``: what a sharded index costs, and what it bears.

    merge     answers of 1,000 made-up shards, k = 100, become one: milliseconds a query
    rows      bytes and microseconds for each row and shard: in memory, in the log, on the disk, searched, added
    cells     rows placed by cells: how many shards a search asks, and what that gains, on clusters and without any
    ingest    a Parquet file becomes an index that is built out of core: the memory that takes, beside the index
    move      2 shards become 4 in this process, while others search and write: the slowest searches
    ray       on Ray, 4 shards x 2 replicas: an empty call; one replica slowed tenfold (stopped for nine tenths of the
              time); SIGKILL to one replica after another under load, for --seconds
    ray-cells the same kills, of rows placed by cells: replicas of the registry are killed too
    ray-move  on Ray, 2 shards x 2 replicas become 4

Times of `merge`, `rows` are CPU time; all others are of the clock, and depend on what else the machine does: the load
stands in the results. `docs/several-machines.md` says what follows for more machines than one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annlab import ExactIndex, IVFIndex
from annlab.sharded import ShardedIndex, merging
from benchmarks import environment
from benchmarks.out_of_core import Clusters, Memory
from benchmarks.sharded_load import DIM, Record, moved, ms, timed
from benchmarks.sharded_ray import ray_cells, ray_move, ray_steady


def merge(options: argparse.Namespace) -> Iterator[Record]:
    """One query, all shards with k results each."""
    rng, n_shards, k = np.random.default_rng(0), 1000, 100
    parts = [(np.sort(rng.random((1, k)), axis=1), rng.integers(0, 2**40, (1, k))) for _ in range(n_shards)]
    times = timed(lambda: merging.nearest(parts, 1, k), 50, time.process_time)
    yield {"what": "merge", "shards": n_shards, "k": k, "median ms": ms(times, 0.5), "p99 ms": ms(times, 0.99)}


def rows(options: argparse.Namespace) -> Iterator[Record]:
    """One shard of n rows in this process, by kind."""
    n, dim = options.rows, 128
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((200, dim))
    vectors = (centers[rng.integers(0, 200, n)] + 0.5 * rng.standard_normal((n, dim))).astype(np.float32)
    queries = vectors[:200] + np.float32(0.01)
    for name, make in (("exact", ExactIndex(dim=dim)), ("ivf flat", IVFIndex(dim=dim)),
                       ("ivf pq4", IVFIndex(dim=dim, storage="pq4"))):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder, ShardedIndex(make, 1, path=folder) as index:
            built = timed(lambda index=index: index.fit(vectors[: n - 1000]), 1, time.process_time)
            ids = iter(range(n - 1000, n, 100))

            def add(index: ShardedIndex = index, ids: Iterator[int] = ids) -> None:
                start = next(ids)
                index.add(vectors[start : start + 100], np.arange(start, start + 100))

            added = timed(add, 10, time.process_time)
            turns = iter(np.concatenate([queries[:1], queries]))
            searched = timed(lambda index=index, turns=turns: index.search(next(turns), 10, threads=1), 200,
                              time.process_time)  # fmt: skip
            disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            yield {"what": f"a shard, {name}", "rows": n, "dim": dim, "memory bytes a row": index.memory()["total"] / n,
                   "disk bytes a row": disk / n, "fit us a row": 1e6 * sum(built) / n,
                   "add us a row": 1e3 * sum(added), "search us": 1e6 * float(np.mean(searched[1:]))}  # fmt: skip


def cells(options: argparse.Namespace) -> Iterator[Record]:
    """Eight shards in this process, one query at a time: by hash, all are asked; by cells, some."""
    n, dim, n_shards, rng = options.rows, DIM, 8, np.random.default_rng(0)
    centers = rng.standard_normal((100, dim))
    spread = {"clusters": 0.15, "clusters that overlap": 0.6, "no clusters": None}
    for name, width in spread.items():
        noise = rng.standard_normal((n + 200, dim))
        made = noise if width is None else centers[rng.integers(0, 100, n + 200)] + width * noise
        vectors, queries = made[:n].astype(np.float32), made[n:].astype(np.float32)
        for kind, make in (("exact", ExactIndex(dim=dim)), ("ivf", IVFIndex(dim=dim, n_lists=100))):
            true = ExactIndex().fit(vectors).search(queries, 10).ids
            record: Record = {"what": f"{kind}, {name}", "rows": n, "dim": dim, "shards": n_shards}
            for placement in ("hash", "cells"):
                with ShardedIndex(make, n_shards, placement=placement) as index:
                    index.fit(vectors)
                    index.search(queries[:2], 10)
                    before, turns = index.asked(), iter(queries)
                    times = timed(lambda index=index, turns=turns: index.search(next(turns), 10, threads=1), 100,
                                   time.process_time)  # fmt: skip
                    found, asked = index.search(queries, 10).ids, index.asked()
                    hits = [len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), true.tolist(), strict=True)]
                    record |= {
                        f"{placement}: ms a query": ms(times, 0.5),
                        f"{placement}: recall": float(np.mean(hits)),
                    }
            record["shards asked of 8"] = n_shards * (asked["shards"] - before["shards"]) / (asked["of"] - before["of"])
            yield record


def ingest(options: argparse.Namespace) -> Iterator[Record]:
    """From a Parquet file, block by block."""
    import pyarrow
    import pyarrow.parquet

    from annlab.datasets import arrow_batches

    n = options.ingest
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder) / "rows.parquet", Clusters(n, options.dim)
        layout = pyarrow.schema([("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), options.dim))])
        with pyarrow.parquet.ParquetWriter(path, layout) as writer:
            start = 0
            for block in made.blocks():
                vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.ravel()), options.dim)
                ids = pyarrow.array(np.arange(start, start + len(block)))
                writer.write_table(pyarrow.table([ids, vectors], schema=layout), row_group_size=50_000)
                start += len(block)
        del block, vectors, ids
        IVFIndex(storage="pq4").fit(made.some(20_000, 1))  # compiled before it is measured
        began = time.perf_counter()
        with Memory() as memory:
            found = arrow_batches(path, ids="id")
            index = IVFIndex(storage="pq4").fit(found.vectors, found.ids, max_memory=options.max_memory,
                                                path=Path(folder) / "index.annlab")  # fmt: skip
        parts = index.memory()
        yield {"what": "ingest from Parquet, ivf pq4", "rows": n, "dim": options.dim, "max_memory": options.max_memory,
               "seconds": time.perf_counter() - began, "peak MB": memory.bytes / 1e6,
               "index MB": parts["total"] / 1e6, "peak above the index MB": (memory.bytes - parts["total"]) / 1e6,
               "mapped MB": parts.get("mapped", 0) / 1e6}  # fmt: skip


def move(options: argparse.Namespace) -> Iterator[Record]:
    """2 -> 4 while one thread searches and another one writes."""
    vectors = np.random.default_rng(0).random((options.rows, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        with ShardedIndex(ExactIndex(dim=DIM), 2, 2, path=Path(folder) / "index") as index:
            index.fit(vectors)
            index.search(vectors[:4], 1)
            yield moved(index, lambda: index, vectors, options.pause)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "merge": merge, "rows": rows, "cells": cells, "ingest": ingest, "move": move, "ray": ray_steady,
    "ray-cells": ray_cells, "ray-move": ray_move,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to; the status is 1 where an answer was wrong or a row is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sharded", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="one of them; may be given again (default: all)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of kills (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=20.0, help="seconds of load for a comparison (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=40_000, help="of a shard, and to be moved (default: %(default)s)")
    parser.add_argument(
        "--ingest", type=int, default=10_000_000, help="rows of the Parquet file (default: %(default)s)"
    )
    parser.add_argument("--dim", type=int, default=DIM, help="of the rows of the Parquet file (default: %(default)s)")
    parser.add_argument("--max-memory", default="1GB", help="that building may take (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {"environment": environment.about()}
    wrong = False
    for part in options.part or PARTS:
        for record in PARTS[part](options):
            record = {name: round(value, 3) if isinstance(value, float) else value for name, value in record.items()}
            record["load"] = round(os.getloadavg()[0], 1)
            wrong |= bool(record.get("wrong answers") or record.get("lost rows"))
            print(", ".join(f"{name} {value}" for name, value in record.items()), flush=True)
            found.setdefault(record["what"] if part.startswith("ray") else part, []).append(record)
            if options.out:  # what there is, whatever becomes of the rest
                options.out.write_text(json.dumps(found, indent=1) + "\n")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
