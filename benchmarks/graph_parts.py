"""The parts of the suite for graphs that need no other library: SIMD paths, and threads.

- ``paths``: the same graphs, searched by processes that take turns: with the registers that the CPU has, and with
  AVX2 forced upon it. The ratio is what AVX2 costs; on a CPU without AVX-512 it is one.
- ``threads``: building on one thread and on two, interleaved, by the clock on the wall; and the CPU time of both, whose
  ratio says what threads cost beside the work that they share out.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import annlab
from annlab.kernels.simd.path import PATH_NAME
from benchmarks.data import first, load, names
from benchmarks.harness import Budget
from benchmarks.oracle import Oracle

Record = dict[str, Any]
REACHES = (1.0, 1.02, 1.05, 1.1, 1.15, 1.2)
ROUNDS = 5
_SEARCHING = """
import json, sys, time
import numpy as np
import annlab
from annlab.kernels.simd.path import PATH_NAME
index, queries = annlab.load(sys.argv[1]), np.load(sys.argv[2])
times = []
for reach in json.loads(sys.argv[3]):
    for round in range(3):
        start = time.process_time()
        for query in queries:
            index.search(query, 10, threads=1, reach=reach)
        spent = time.process_time() - start
    times.append(spent / len(queries) * 1e6)
print(json.dumps({"path": PATH_NAME, "times": times}))
"""


def _sets(options: Namespace) -> list[Any]:
    if options.quick:
        return [load(None, "clusters:5000x32")]
    found = [load(options.data, name) for name in names(options.data, options.sets, ("clusters:200000x64",))]
    sizes = [min([size for size in options.sizes if size < len(dataset.train)], default=0) for dataset in found]
    return [first(dataset, size) if size else dataset for dataset, size in zip(found, sizes)]


def paths(options: Namespace, budget: Budget) -> list[Record]:
    """What AVX2 costs where there is AVX-512."""
    records = []
    for dataset in _sets(options):
        queries = dataset.test[: budget.one * 5]
        oracle = Oracle(dataset.train, queries, dataset.metric, 10)
        for degree in (32, 64):
            index = annlab.VamanaIndex(metric=dataset.metric, degree=degree).fit(dataset.train, threads=1)
            with tempfile.TemporaryDirectory() as folder:
                index.save(Path(folder) / "index.annlab")
                np.save(Path(folder) / "queries.npy", queries)
                times: dict[str, list[list[float]]] = {PATH_NAME: [], "avx2": []}
                for turn in range(ROUNDS):
                    for path in sorted(times, reverse=bool(turn % 2)):
                        times[path].append(_search_in_process(path, Path(folder)))
            for i, reach in enumerate(REACHES):
                recall = oracle.recall(index.search(queries, 10, reach=reach).ids, 10)
                medians = {path: float(np.median([row[i] for row in some])) for path, some in times.items()}
                record = {"data set": dataset.name, "rows": len(dataset.train), "degree": degree, "reach": reach,
                          "recall": recall, **{f"{path}, us": at for path, at in medians.items()},
                          "AVX2 takes, times": medians["avx2"] / medians[PATH_NAME]}  # fmt: skip
                records.append(record)
                print(record, flush=True)
    return records


def _search_in_process(path: str, folder: Path) -> list[float]:
    arguments = [str(folder / "index.annlab"), str(folder / "queries.npy"), json.dumps(REACHES)]
    answer = subprocess.run([sys.executable, "-c", _SEARCHING, *arguments], env={**os.environ, "ANNLAB_SIMD": path},
                            capture_output=True, text=True, check=True)  # fmt: skip
    found = json.loads(answer.stdout)
    if found["path"] != path:
        raise RuntimeError(f"a process was told to take the path {path} and took {found['path']}")
    times: list[float] = found["times"]
    return times


def threads(options: Namespace, budget: Budget) -> list[Record]:
    """Building on one thread and on two."""
    records = []
    for dataset in _sets(options):
        annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train[:3000])
        walls: dict[int, list[float]] = {1: [], 2: []}
        spent: dict[int, list[float]] = {1: [], 2: []}
        hashes = set()
        for _ in range(1 if options.quick else 3):
            for count in (1, 2):
                start, start_cpu = time.perf_counter(), time.process_time()
                index = annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train, threads=count)
                walls[count].append(time.perf_counter() - start)
                spent[count].append(time.process_time() - start_cpu)
                hashes.add(index.content_hash())
        one, two = (float(np.median(walls[count])) for count in (1, 2))
        record = {"data set": dataset.name, "rows": len(dataset.train), "seconds on one": one, "on two": two,
                  "times as fast": one / two, "CPU on two, times": float(np.median(spent[2]) / np.median(spent[1])),
                  "the same file": len(hashes) == 1}  # fmt: skip
        records.append(record)
        print(record, flush=True)
    return records


PARTS: dict[str, Callable[[Namespace, Budget], list[Record]]] = {"paths": paths, "threads": threads}
