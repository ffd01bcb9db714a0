"""The suite for graphs: annlab's VamanaIndex against the graphs of other libraries, at equal recall.

``--part frontier`` (the default): recall against time, in batches and one query at a time. All settings of every index
are tried once; those just above and just below the recalls of interest take part in the interleaved rounds. Then the
times at these recalls are interpolated on each library's front over all its builds, and held against annlab's. Beside
the files in --data there is a made set whose queries come from elsewhere than its rows, see `data.elsewhere`.

``--built FOLDER`` keeps the peers' graphs there; ``--part build`` does nothing but build them; ``--only-built`` leaves
out what is not there yet.

The other parts are in `graph_parts.py` and `graph_promises.py`.
"""

import json
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import annlab
from annlab.datasets import Dataset
from benchmarks import graph_parts, graph_promises
from benchmarks.data import first, gap, load, names
from benchmarks.frontier import points, seconds_at_recall
from benchmarks.graph_peers import PEERS, SVS, Graph, Vamana
from benchmarks.harness import MODES, Budget, Built, Parameters, Run, Sweep, combinations, compare
from benchmarks.oracle import Oracle
from benchmarks.peers import Peer

SUBJECT = "annlab VamanaIndex, degree 64"
SETS = ("elsewhere:100000x128",)  # beside the files in --data
QUICK_SETS = ("clusters:5000x32",)
RECALLS = (0.9, 0.95, 0.99)
DEGREES = (32, 64)
REACHES = (1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.09, 1.1, 1.115, 1.13, 1.15, 1.17, 1.2, 1.23, 1.27,
           1.32, 1.4, 1.5, 1.7, 2.0)  # fmt: skip
EFFORTS = (10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 86, 100, 120, 150, 180, 220, 260, 320, 400, 500, 640, 800,
           1100, 1500, 2000)  # fmt: skip
EPSILONS = tuple(round(0.02 * i - 0.1, 2) for i in range(20))
LARGE_K = ("annlab", "hnswlib", "symphonyqg")  # take part where k is above 10
COMPLETE, STILL = 0.995, 0.0005  # a recall beyond which nobody looks, and a gain that is none
PARTS = {"frontier": None, "build": None, **graph_parts.PARTS, **graph_promises.PARTS}

LIBRARIES: dict[str, tuple[dict[str, Sequence[Any]], dict[str, Sequence[Any]]]] = {
    "hnswlib": ({"M": (16, 32), "efc": (200,)}, {"ef": EFFORTS}),
    "symphonyqg": ({"degree": (32, 64), "efc": (200,)}, {"ef": EFFORTS}),
    "glass": ({"R": (32,), "L": (200,)}, {"ef": EFFORTS, "refine": (False, True)}),
    "svs": ({"degree": (32, 64), "efc": (128,)}, {"window": EFFORTS, "codes": SVS.codes}),
    "faiss": ({"M": (16,), "efc": (128,), "codes": ("sq8", "flat")}, {"ef": EFFORTS}),
    "usearch": ({"M": (16,), "efc": (128,), "codes": ("f32", "i8")}, {"ef": EFFORTS}),
    "ngt": ({"edges": (20,)}, {"epsilon": EPSILONS}),
}
"""Of every peer what it is built with, the first choice first, and searched with."""


def peers(options: Namespace) -> list[Peer]:
    """Nobody calls BLAS."""
    return []


def sweeps(options: Namespace) -> list[Sweep]:
    """All indexes, with what to try."""
    own = [Sweep(partial(Vamana, degree), {"degree": [degree]}, {"reach": REACHES}) for degree in DEGREES]
    found = own if "annlab" in options.peers else []
    return found + [Sweep(PEERS[name], *LIBRARIES[name]) for name in options.peers if name in LIBRARIES]


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set."""
    warm = annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train[:3000])  # compiles, so that no build counts it
    warm.search(dataset.test[0], k=10), warm.search(dataset.test[:20], k=10)
    indexes = []
    for sweep in sweeps(options):
        for parameters in combinations(sweep.build):
            built = build(sweep, parameters, dataset, options)
            indexes += [] if built is None else [(built, sweep.search)]
    budget = Budget(budget.seconds, budget.batch, max(budget.one, min(budget.batch, 1000)), budget.maximum_rounds)
    oracle = Oracle(dataset.train, dataset.test[: budget.batch], dataset.metric, max(options.k))
    away = gap(dataset, oracle.distances)
    print(f"the 10th neighbour of a query is {away:.2f} times as far away as that of a row", flush=True)
    runs: list[Run] = []
    for k in options.k:
        some = [(built, search) for built, search in indexes if k <= 10 or _name(built.peer) in LARGE_K]
        chosen = [(built, promising(built, search, dataset, k, oracle)) for built, search in some]
        for mode in MODES:
            runs += compare(dataset, chosen, k, mode, budget, oracle)
    runs[0].facts["gap"] = away
    for one in runs:
        one.query_wall = [np.quantile(np.median(one.query_wall, axis=0), np.linspace(0, 1, 21)).tolist()] * bool(
            one.query_wall
        )
    for record in summary(runs)["at equal recall"]:
        print(" ".join(f"{value:>9}" if isinstance(value, str) else f"{value:9.4g}" for value in record.values()))
    return runs


def _name(peer: Peer) -> str:
    return next(name for name, kind in PEERS.items() if isinstance(peer, kind))


def build(sweep: Sweep, parameters: Parameters, dataset: Dataset, options: Namespace) -> Built | None:
    """The peer of a sweep with some build parameters, from the folder of those that are kept if it is there."""
    peer = sweep.peer()
    if not isinstance(peer, Graph):
        start, start_cpu = time.perf_counter(), time.process_time()
        peer.build(dataset.train, dataset.metric, **parameters)
        return _report(peer, parameters, time.perf_counter() - start, time.process_time() - start_cpu)
    name = "-".join([dataset.name, str(len(dataset.train)), _name(peer), *map(str, parameters.values())])
    kept = options.built or Path(tempfile.mkdtemp())
    folder = kept / name.replace(":", "-")
    record = folder / "built.json"
    if record.exists():
        peer.restore(folder, dataset.train, dataset.metric, **parameters)
        return _report(peer, parameters, *json.loads(record.read_text()))
    if options.only_built:
        print(f"left out: {peer.name} {dict(parameters)}, not built yet", flush=True)
        return None
    folder.mkdir(parents=True, exist_ok=True)
    start, start_cpu = time.perf_counter(), time.process_time()
    peer.build(dataset.train, dataset.metric, **parameters)
    seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peer.write(folder)
    record.write_text(json.dumps(seconds))
    return _report(peer, parameters, *seconds)


def _report(peer: Peer, parameters: Parameters, wall: float, cpu: float) -> Built:
    print(f"built {peer.name} {dict(parameters)}: {wall:.1f} s, {cpu:.1f} s of CPU", flush=True)
    return Built(peer, parameters, wall, wall, cpu, peer.memory())


def promising(built: Built, search: Mapping[str, Sequence[Any]], dataset: Dataset, k: int,
              oracle: Oracle) -> list[Parameters]:  # fmt: skip
    """The settings of one index that are just below and just above the recalls of interest."""
    (effort, levels), *others = search.items()
    queries, chosen = np.ascontiguousarray(built.peer.prepare(dataset.test[: len(oracle.queries)])), []
    for other in combinations(dict(others)):
        tried: list[tuple[Parameters, float]] = []
        for level in levels:
            if effort != "reach" and level > 1 and level < k:
                continue
            setting = {effort: level, **other}
            recall = oracle.recall(built.peer.search(queries, k, **setting)[1], k)
            tried.append((setting, recall))
            if recall >= COMPLETE or (len(tried) > 4 and recall > 0.8 and recall - tried[-5][1] < STILL):
                break
        places = set()
        for target in RECALLS:
            above = next((i for i, (_, recall) in enumerate(tried) if recall >= target), None)
            places |= {len(tried) - 1} if above is None else {max(above - 1, 0), above}
        chosen += [tried[i][0] for i in sorted(places)]
    return chosen


def summary(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """Times at equal recall: of the faster degree, and how many times as long each library takes; and builds."""
    found, builds = [], {}
    gaps = {run.dataset: run.facts["gap"] for run in runs if "gap" in run.facts}
    for run in runs:
        key = run.dataset, run.peer, json.dumps(run.build)
        builds[key] = {"data set": run.dataset, "library": run.peer, "built with": _words(run.build),
                       "CPU seconds": run.build_cpu_seconds, "bytes a vector": run.bytes_per_vector}  # fmt: skip
    for dataset, k, mode in dict.fromkeys((run.dataset, run.k, run.mode) for run in runs):
        some = [run for run in runs if (run.dataset, run.k, run.mode) == (dataset, k, mode)]
        curves = {name: points(run for run in some if run.peer == name) for name in dict.fromkeys(r.peer for r in some)}
        for recall in RECALLS:
            times = {name: seconds_at_recall(curve, recall) * 1e6 for name, curve in curves.items()}
            ours = {name: at for name, at in times.items() if name.startswith("annlab")}
            best = min(ours.values(), default=np.inf)
            how = "batch" if mode == "batch" else "one query"
            record = {"data set": dataset, "gap": gaps.get(dataset), "k": k, "how": how, "recall": recall}
            record |= {name.removeprefix("annlab VamanaIndex, "): _finite(at) for name, at in ours.items()}
            record |= {f"{name}, times": _finite(at / best) for name, at in times.items() if name not in ours and ours}
            found.append(record)
    return {"at equal recall": found, "builds": list(builds.values())}


def _finite(value: float) -> float | str:
    return round(value, 2) if np.isfinite(value) else "-"


def _words(parameters: Parameters) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def run_part(options: Namespace, budget: Budget) -> list[dict[str, Any]]:
    """Another part than the frontier: its records."""
    if options.part == "build":
        return build_all(options)
    return PARTS[options.part](options, budget)  # type: ignore[misc]


def build_all(options: Namespace) -> list[dict[str, Any]]:
    """Builds what is not built yet: of every library its first choice, then the others."""
    records = []
    choices = [(i, sweep, parameters) for sweep in sweeps(options) for i, parameters in
               enumerate(combinations(sweep.build)) if isinstance(sweep.peer(), Graph)]  # fmt: skip
    for _, sweep, parameters in sorted(choices, key=lambda choice: choice[0]):
        for name in names(options.data, options.sets, SETS):
            dataset = load(options.data, name)
            size = min([size for size in options.sizes if size < len(dataset.train)], default=0)
            built = build(sweep, parameters, first(dataset, size) if size else dataset, options)
            if built is not None:
                records.append({"data set": name, "library": built.peer.name, "built with": _words(parameters),
                                    "CPU seconds": built.cpu_seconds})  # fmt: skip
            del built
    return records
