"""``python -m benchmarks durable``: what it costs that writes survive, and how long a start takes.

    python -m benchmarks durable [--quick] [--out benchmarks/results/durable.json]

Wall time, since it is the disk that is waited for: so the figures are of one disk as much as of one CPU, and the time
of a bare sync stands beside them. Four questions:

- what does one acknowledged add cost, beside the same add to an index in memory, alone and with a row of a catalog?
- and a batch of a hundred, of which a row costs a hundredth?
- how long does a snapshot take, and a start from it?
- how long does a start take when the log still holds many operations?

The vectors are random; the index is exact. Adds are timed one by one, in turn with those in memory. On an idle machine
whose kernels are compiled it takes some two minutes.
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annlab import ExactIndex
from annlab.durable import DurableIndex
from annlab.visual.catalog import Catalog
from benchmarks import environment, report

DIM = 128
STARTS = 3  # of which the median is told
START = """
import sys, time
began = time.perf_counter()
from annlab.durable import DurableIndex
imported = time.perf_counter()
index = DurableIndex(None, sys.argv[1])
opened = time.perf_counter()
index.search(index.vectors(index.ids[:1]), 10)
print(imported - began, opened - imported, time.perf_counter() - opened)
"""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks durable", description="the price of durability")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--folder", type=Path, help="where to write: the disk that is measured (default: temporary)")
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions")
    options = parser.parse_args(arguments)
    n, times = (5_000, 30) if options.quick else (100_000, 500)
    records: list[dict[str, Any]] = []
    about = environment.about()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for measure in (adds, starts):
            for record in measure(Path(folder), n, times):
                print(", ".join(f"{name} {value}" for name, value in record.items()), flush=True)
                records.append(record)
                if options.out:  # what there is, whatever becomes of the rest
                    report.write_records(options.out, about, records)
    return 0


def adds(folder: Path, n: int, times: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of one write, for single vectors and batches of a hundred."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n, DIM), np.float32)
    memory = ExactIndex(metric="cosine").fit(vectors)
    catalog = Catalog.open(folder / "photos.db")
    catalog.add_encoder("measured", "measured", DIM)
    alone = DurableIndex(ExactIndex(metric="cosine").fit(vectors), folder / "alone", snapshot_after=None)
    with_row = catalog.index(ExactIndex(metric="cosine").fit(vectors), folder / "with", snapshot_after=None)

    def add_with_row(rows: np.ndarray) -> None:
        with with_row.transaction() as writes:
            now = datetime.datetime.now(datetime.UTC)
            images = [{"uploaded_at": now, "status": "indexed", "encoder": "measured"} for _ in rows]
            ids = catalog.add_images(images, connection=writes.connection)
            writes.add(rows, np.array(ids) + n)

    file = open(folder / "bare", "wb")

    def sync(rows: np.ndarray) -> None:
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())

    subjects: dict[str, Callable[[np.ndarray], Any]] = {
        "bare write and sync of the same bytes": sync,
        "add in memory": memory.add,
        "acknowledged add": alone.add,
        "acknowledged add with a row of the catalog": add_with_row,
    }
    for size in (1, 100):
        taken: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(times if size == 1 else max(times // 10, 5)):
            rows = rng.standard_normal((size, DIM), np.float32)
            for name, subject in subjects.items():
                began = time.perf_counter()
                subject(rows)
                taken[name].append(1e3 * (time.perf_counter() - began))
        for name, values in taken.items():
            median, p95, p99 = np.percentile(values, [50, 95, 99])
            yield {"what": name, "vectors": size, "rows": n, "median ms": round(float(median), 3),
                   "p95 ms": round(float(p95), 3), "p99 ms": round(float(p99), 3)}  # fmt: skip
    for closed in (file, alone, with_row, catalog):
        closed.close()


def starts(folder: Path, n: int, times: int) -> Iterator[dict[str, Any]]:
    """Seconds of a snapshot, and of starts in fresh processes: from it, and from a log."""
    rng = np.random.default_rng(1)
    for operations in (0, 4 * times):
        place = folder / f"start-{operations}"
        filled = ExactIndex(metric="cosine").fit(rng.standard_normal((n, DIM), np.float32))
        with DurableIndex(filled, place, snapshot_after=None) as index:
            index.add(rng.standard_normal((1, DIM), np.float32))
            began = time.perf_counter()
            index.snapshot()
            snapshot = time.perf_counter() - began
            while index._ops < operations:
                with index.transaction() as writes:  # many operations, without a sync for each
                    for row in rng.standard_normal((min(500, operations), 1, DIM), np.float32):
                        writes.add(row)
        found = []
        for _ in range(STARTS):
            command = [sys.executable, "-c", START, str(place)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found.append([float(value) for value in answer.split()])
        imported, opened, searched = np.median(found, axis=0).tolist()
        seconds = {"snapshot s": snapshot, "import s": imported, "open s": opened, "first search s": searched,
                   "open and first search s": opened + searched}  # fmt: skip
        record = {"what": "start", "rows": n, "operations in the log": operations}
        yield record | {name: round(value, 3) for name, value in seconds.items()}
