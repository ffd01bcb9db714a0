"""``python -m benchmarks exchange``: single queries while rows are exchanged, beside a fresh index of the same rows.

    python -m benchmarks exchange [--rows 20000] [--portion 250] [--indexes LSH ...] [--out FILE]

Half of the rows are exchanged five times, portion by portion. At ten moments an index is built over the rows that are
there, and both answer the same queries in turn, one by one; a query's time is the CPU time of the process, the least of
three. What is told for each index: the median over the moments of how many times a fresh index's time a query took, the
worst of them, and what one exchange of half the rows cost, in builds.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import annlab
from annlab.index import Index
from benchmarks import environment, report

TIMES, MOMENTS, K, REPEATED = 5, 10, 10, 3
CLUSTERS, QUERIES = 100, 60


class Kind(NamedTuple):
    """An index, and the dimension it is tried in."""

    make: Callable[[], Index]
    dim: int


KINDS = {
    "Exact": Kind(annlab.ExactIndex, 32),
    "Exact float32": Kind(lambda: annlab.ExactIndex(precision="float32"), 32),
    "KDTree": Kind(annlab.KDTreeIndex, 8),
    "BallTree": Kind(annlab.BallTreeIndex, 8),
    "LSH scan": Kind(lambda: annlab.LSHIndex(mode="scan"), 32),
    "LSH buckets": Kind(lambda: annlab.LSHIndex(mode="buckets"), 32),
    "LSH hyperplanes": Kind(lambda: annlab.LSHIndex(mode="buckets", family="hyperplanes"), 32),
    "IVF flat": Kind(annlab.IVFIndex, 32),
    "IVF sq8": Kind(lambda: annlab.IVFIndex(storage="sq8"), 32),
    "IVF pq4": Kind(lambda: annlab.IVFIndex(storage="pq4"), 32),
    "Vamana": Kind(annlab.VamanaIndex, 32),
}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks exchange", description="queries between writes")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--portion", type=int, default=250, help="rows that are removed, and added, at once")
    parser.add_argument("--indexes", nargs="+", default=[], help=f"beginnings of names: {', '.join(KINDS)}")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    options = parser.parse_args(arguments)
    chosen = [name for name in KINDS if not options.indexes or name.startswith(tuple(options.indexes))]
    parts = {"exchange": [exchanged(name, options.rows, options.portion) for name in chosen]}
    report.show_named_records(parts)
    if options.out:
        report.write_named_records(options.out, environment.about(), parts)
    return 0


def exchanged(name: str, n: int, portion: int) -> dict[str, Any]:
    """One index through all exchanges; see the head of the file."""
    (make, dim), rng = KINDS[name], np.random.default_rng(7)
    centers = 1.5 * rng.standard_normal((CLUSTERS, dim))

    def draw(m: int) -> np.ndarray:
        rows = centers[rng.integers(CLUSTERS, size=m)] + rng.standard_normal((m, dim))
        return rows.astype(np.float32)

    vectors, queries = draw(n), draw(QUERIES)
    make().fit(vectors)  # its kernels are compiled now
    began = time.process_time()
    index = make().fit(vectors)
    build = time.process_time() - began
    steps, ratios, wrote = TIMES * (n // 2) // portion, [], 0.0
    moments = set(np.linspace(max(1, steps // 8), steps, MOMENTS).astype(int).tolist())
    for step in range(1, steps + 1):
        gone, new = rng.choice(index.ids, portion, replace=False), draw(portion)
        began = time.process_time()
        index.remove(gone)
        index.add(new)
        wrote += time.process_time() - began
        if step in moments:
            ratios.append(times_fresh(index, make().fit(index.vectors(), index.ids), queries))
    return {"index": name, "rows": n, "dim": dim, "portion": portion, "median": round(float(np.median(ratios)), 2),
            "worst": round(max(ratios), 2), "builds a half": round(wrote / build / TIMES, 2)}  # fmt: skip


def times_fresh(index: Index, fresh: Index, queries: np.ndarray) -> float:
    """How many times as long as in a fresh index a single query takes: medians, asked in turn."""
    times = np.empty((2, REPEATED, len(queries)))
    for one in (index, fresh):
        one.search(queries[0], K)
    for repeat in range(REPEATED):
        for number, query in enumerate(queries):
            for which, one in enumerate((index, fresh)):
                began = time.process_time_ns()
                one.search(query, K)
                times[which, repeat, number] = time.process_time_ns() - began
    exchanged, new = np.median(times.min(axis=1), axis=1)
    return float(exchanged / new)
