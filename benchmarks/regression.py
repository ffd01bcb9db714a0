"""``python -m benchmarks compare OLD NEW``: whether a change made any index slower, and what else it changed.

OLD and NEW are folders of checkouts or commits of this repository (for which work trees are made). Every index, over
made data, is built in a process of each side; the two answer in turns, so a slow minute hits both, and each pair is
repeated with fresh processes, since where memory lies differs from process to process.

- *What was searched* is compared exactly: distances, visits and bytes that the searches count, and the ids. They do not
  depend on the machine, so a difference is a change of the algorithm, wanted or not.
- *Times* are ratios new / old of CPU time within a round, with the 95 % interval of their median by bootstrap. "slower"
  or "faster" is said only where the interval lies beyond `NOTABLE`.
- *Sizes*: bytes of the index. *Compiling*: seconds until the first answers in an empty cache (``--cold``).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import THREAD_VARIABLES

NOTABLE = 0.03
DRAWS = 1000
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "exact float32": ("ExactIndex", {"precision": "float32"}, "clusters"),
    "exact int8": ("ExactIndex", {"precision": "int8"}, "clusters"),
    "exact cosine": ("ExactIndex", {"metric": "cosine"}, "clusters"),
    "exact float64": ("ExactIndex", {}, "float64"),
    "kd tree, d = 3": ("KDTreeIndex", {}, "few"),
    "kd tree, d = 8": ("KDTreeIndex", {}, "eight"),
    "ball tree, d = 3": ("BallTreeIndex", {}, "few"),
    "lsh scan": ("LSHIndex", {"mode": "scan", "rerank": 200}, "clusters"),
    "lsh hyperplanes": ("LSHIndex", {"mode": "buckets", "family": "hyperplanes", "n_probes": 64, "rerank": 200},
                        "clusters"),
    "lsh polytopes": ("LSHIndex", {"mode": "buckets", "n_probes": 64, "rerank": 200}, "clusters"),
    "ivf flat": ("IVFIndex", {"storage": "flat", "n_probes": 8}, "clusters"),
    "ivf sq8": ("IVFIndex", {"storage": "sq8", "rerank": 3.0, "n_probes": 8}, "clusters"),
    "ivf pq4": ("IVFIndex", {"storage": "pq4", "rerank": 8.0, "n_probes": 8}, "clusters"),
    "vamana sq8": ("VamanaIndex", {"reach": 1.05}, "clusters"),
    "vamana flat": ("VamanaIndex", {"storage": "flat", "reach": 1.05}, "clusters"),
}  # fmt: skip
_CHILD = """
import json, sys, time
import numpy as np
import annlab
kind, parameters, data, rows = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
if data == "few":
    x = rng.random((3 * rows, 3), dtype="f4")
else:
    x = (4 * rng.standard_normal((200, 64)))[rng.integers(200, size=rows)] + rng.standard_normal((rows, 64))
    x = x[:, :8].astype("f4") if data == "eight" else x.astype("f8" if data == "float64" else "f4")
x, queries = np.ascontiguousarray(x[:-500]), np.ascontiguousarray(x[-500:])
start = time.perf_counter()
index = getattr(annlab, kind)(**parameters).fit(x, threads=1)
index.search(queries, 10, threads=1), index.search(queries[0], 10, threads=1)
cold = time.perf_counter() - start
stats = annlab.SearchStats()
found = index.search(queries, 10, threads=1, stats=stats)
counted = [int(getattr(stats, name).sum()) for name in ("distances", "visited", "bytes")]
facts = {"cold": cold, "counted": counted, "ids": found.ids.tolist(), "bytes": index.memory()["total"]}
print(json.dumps(facts), flush=True)
for line in sys.stdin:
    times = {}
    start = time.process_time_ns()
    index.search(queries, 10, threads=1)
    times["batch"] = (time.process_time_ns() - start) / len(queries) / 1e3
    start = time.process_time_ns()
    for query in queries[:100]:
        index.search(query, 10, threads=1)
    times["one query"] = (time.process_time_ns() - start) / 100 / 1e3
    print(json.dumps(times), flush=True)
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    result = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description=(__doc__ or "").partition("\n")[0]
    )
    result.add_argument("old", help="folder of a checkout, or a commit")
    result.add_argument("new", nargs="?", default=".", help="the same; this folder if left out")
    result.add_argument("--only", nargs="+", default=[], help="parts of the names of what is compared")
    result.add_argument("--rows", type=int, default=20_000)
    result.add_argument("--rounds", type=int, default=12, help="turns of each pair of processes")
    result.add_argument("--pairs", type=int, default=3, help="pairs of processes")
    result.add_argument("--cold", action="store_true", help="with empty caches: shows what compiling takes (slow)")
    result.add_argument("--out", type=Path, help="write the records to this JSON file")
    return result


def main(arguments: Sequence[str]) -> int:
    """Compare; the exit code is 1 where something is slower or searches differently."""
    options = parser().parse_args(arguments)
    chosen = {
        name: case for name, case in CASES.items() if not options.only or any(part in name for part in options.only)
    }
    if not chosen:
        raise SystemExit(f"{options.only} is part of no name; there are: {', '.join(CASES)}")
    records: list[dict[str, Any]] = []
    with checkout(options.old) as old, checkout(options.new) as new:
        for name, case in chosen.items():
            record = {"index": name} | compare(old, new, (*case, options.rows), options)
            records.append(record)
            print(_line(record), flush=True)
    if options.out:
        options.out.write_text(json.dumps(records, indent=1))
    return int(any("slower" in (r["batch"]["word"], r["one query"]["word"]) or not r["same ids"] for r in records))


@contextmanager
def checkout(place: str) -> Iterator[Path]:
    """A folder as it is; of a commit a work tree, which is removed afterwards."""
    if Path(place, "annlab").is_dir():
        yield Path(place).resolve()
        return
    folder = Path(tempfile.mkdtemp()) / "tree"
    made = subprocess.run(
        ["git", "worktree", "add", "--detach", str(folder), place], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise SystemExit(f"{place!r} is neither a folder with annlab in it nor a commit: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], capture_output=True, check=False)


class Side:
    """A process of one checkout that has built the index, and answers a round when it is asked."""

    def __init__(self, folder: Path, case: Sequence[Any], cache: Path | None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)} | dict.fromkeys(THREAD_VARIABLES, "1")
        if cache is not None:
            environment["NUMBA_CACHE_DIR"] = str(cache)
        command = [sys.executable, "-W", "ignore", "-c", _CHILD, json.dumps(case)]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)  # fmt: skip
        self.facts = self._read()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit(f"a process of {self.process.args!r} ended; its message is above")
        found: dict[str, Any] = json.loads(line)
        return found

    def round(self) -> dict[str, float]:
        """Microseconds of a query, in a batch and alone."""
        if self.process.stdin:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """Let the process go."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def compare(old: Path, new: Path, case: Sequence[Any], options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of one case."""
    times: dict[str, list[list[float]]] = {"batch": [[], []], "one query": [[], []]}
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(options.pairs):
            caches = [Path(folder) / f"{pair}-{side}" if options.cold else None for side in ("old", "new")]
            sides = [Side(place, case, cache) for place, cache in zip((old, new), caches)]
            for turn in range(options.rounds):
                for i in (0, 1) if turn % 2 else (1, 0):
                    for mode, spent in sides[i].round().items():
                        times[mode][i].append(spent)
            for side in sides:
                side.end()
    before, after = (side.facts for side in sides)
    result: dict[str, Any] = {mode: verdict(*spent) for mode, spent in times.items()}
    result |= {"same ids": before["ids"] == after["ids"], "same counts": before["counted"] == after["counted"]}
    result |= {"counted": [before["counted"], after["counted"]], "bytes": [before["bytes"], after["bytes"]]}
    return result | ({"compiling, s": [before["cold"], after["cold"]]} if options.cold else {})


def verdict(old: Sequence[float], new: Sequence[float]) -> dict[str, Any]:
    """The median ratio new / old of the rounds, its interval, and a word."""
    ratios = np.asarray(new) / np.asarray(old)
    drawn = np.random.default_rng(0).integers(len(ratios), size=(DRAWS, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    word = "slower" if low > 1 + NOTABLE else "faster" if high < 1 - NOTABLE else "level"
    return {"old, us": float(np.median(old)), "new, us": float(np.median(new)), "ratio": float(np.median(ratios)),
            "low": float(low), "high": float(high), "word": word}  # fmt: skip


def _line(record: dict[str, Any]) -> str:
    parts = [f"{record['index']:18}"]
    for mode in ("batch", "one query"):
        v = record[mode]
        interval = f"{v['low']:.2f} to {v['high']:.2f}"
        parts.append(f"{mode} {v['old, us']:8.2f} -> {v['new, us']:8.2f} us, {v['ratio']:.2f} ({interval}), "
                     f"{v['word']}")  # fmt: skip
    parts.append("the same search" if record["same ids"] and record["same counts"] else
                 "OTHER RESULTS" if not record["same ids"] else
                 f"other counts, {record['counted'][0]} -> {record['counted'][1]}")  # fmt: skip
    if record["bytes"][0] != record["bytes"][1]:
        parts.append(f"bytes {record['bytes'][0]:,} -> {record['bytes'][1]:,}")
    if "compiling, s" in record:
        parts.append("first answers after {:.1f} -> {:.1f} s".format(*record["compiling, s"]))
    return "; ".join(parts)
