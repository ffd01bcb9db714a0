"""The suite for inverted files: annlab's IVFIndex against those of faiss and ScaNN, at equal recall.

``--part frontier`` (the default) runs on every data set: recall@1, @10 and @100 against time, in batches and one query
at a time. Every index is searched with many settings; one timed call of each tells which of them lie near its own
front, and only these take part in the interleaved rounds. Lines at fixed recalls compare the fronts, and the last ones
give the best peer's time divided by ours. The other parts are in `ivf_parts.py`.
"""

import importlib.util
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

import annlab
from annlab.datasets import Dataset
from benchmarks import ivf_parts, plots
from benchmarks.frontier import Point, points, seconds_at_recall
from benchmarks.harness import MODES, Budget, Built, Parameters, Run, Sweep, combinations, compare
from benchmarks.ivf_peers import FaissFastScan, FaissIVFFlat, FaissRaBitQ, FaissScalar, ScaNN
from benchmarks.oracle import Oracle
from benchmarks.peers import PEERS, Annlab, Peer

SUBJECT = "annlab IVFIndex pq4"
SETS = ("clusters:200000x64",)  # beside the files in --data
QUICK_SETS = ("clusters:5000x32",)
RECALLS = (0.8, 0.9, 0.92, 0.95, 0.98, 0.99)
PROBES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
RERANK = (1, 2, 4, 8, 16, 32)
MORE_FOR_ONE = (64, 128)  # a single neighbour is found among as many candidates as ten are
LOWEST = 0.7  # recall below which a setting does not interest
NEAR = 1.3  # times as slow as its own front at equal recall: then a setting takes part
MOST_SETTINGS = 7  # of an index, spread over its front
COMPLETE = 0.997  # recall: beyond, there is nothing to be gained
EXPLORING = 200  # queries
PARTS = {"frontier": None, **ivf_parts.PARTS}


def peers(options: Namespace) -> list[Peer]:
    """Everyone whose BLAS must be verified."""
    return [PEERS[name]() for name in options.peers if name in ("annlab", "faiss")]


def _annlab(storage: str, threads: int = 1) -> Peer:
    peer = Annlab("IVFIndex", threads=threads)
    peer.name = peer.name.replace("IVFIndex", f"IVFIndex {storage}")
    return peer


def sweeps(dataset: Dataset, options: Namespace) -> list[Sweep]:
    """All indexes, with what to try."""
    n, dim = dataset.train.shape
    few, many = (max(1, round(times * n**0.5)) for times in (1.5, 3.0))
    probes = [p for p in PROBES if p <= many // 2]
    lists, plain, coded = {"n_lists": [many]}, {"n_probes": probes}, {"n_probes": probes, "rerank": RERANK}
    found = []
    for threads in options.threads if "annlab" in options.peers else ():
        for storage in ("pq4", "sq8", "flat"):
            search = plain if storage == "flat" else coded if storage == "pq4" else {**coded, "rerank": (1, 2)}
            build = {"n_lists": [few, many] if storage == "pq4" else [many], "storage": [storage]}
            found.append(Sweep(partial(_annlab, storage, threads), build, search))
    if "faiss" in options.peers:
        sub_dims = [s for s in (2, 4) if dim % s == 0] or [1]
        found += [
            Sweep(FaissIVFFlat, lists, plain),
            Sweep(FaissFastScan, {"n_lists": [few, many], "sub_dim": sub_dims}, coded),
            Sweep(FaissRaBitQ, {**lists, "bits": [1, 4]}, coded),
            Sweep(FaissScalar, {**lists, "bits": [8]}, {**coded, "rerank": (1, 2)}),
        ]
        if importlib.util.find_spec("scann") is not None:
            found.append(Sweep(ScaNN, {"n_lists": [few, many]}, coded))
    return [sweep for sweep in found if dataset.metric in sweep.peer().metrics]


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set."""
    for storage in ("flat", "sq8", "pq4"):  # compiles, so that no build counts it
        index = annlab.IVFIndex(metric=dataset.metric, storage=storage).fit(dataset.train[:3000])
        index.search(dataset.test[:1], k=10), index.search(dataset.test[:20], k=10)
    indexes = [(built, sweep.search) for sweep in sweeps(dataset, options) for built in build(sweep, dataset)]
    oracle = Oracle(dataset.train, dataset.test[: max(budget.batch, budget.one)], dataset.metric, max(options.k))
    runs: list[Run] = []
    for k in options.k:
        chosen = [(built, promising(built, search, dataset, k, oracle)) for built, search in indexes]
        for mode in MODES:
            fresh = compare(dataset, chosen, k, mode, budget, oracle)
            equal_recall(fresh, dataset.name, k, mode)
            runs += fresh
    for one in runs:
        _shorten(one)
    if options.out:
        plots.save_grid({(k, mode): points(r for r in runs if (r.k, r.mode) == (k, mode)) for k in options.k
                         for mode in MODES}, f"{dataset.name}, {len(dataset.train):,} x {dataset.train.shape[1]}",
                        options.out.with_name(f"{options.out.stem}-{_file_name(dataset.name)}.png"))  # fmt: skip
    return runs


def build(sweep: Sweep, dataset: Dataset) -> list[Built]:
    """Build the sweep's peer once for each combination of build parameters; nothing is left to be compiled."""
    found = []
    for parameters in combinations(sweep.build):
        peer = sweep.peer()
        start, start_cpu = time.perf_counter(), time.process_time()
        peer.build(dataset.train, dataset.metric, **parameters)
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        shared = getattr(peer, "shared_seconds", 0.0)  # of training that another index of this library has done
        wall, cpu = wall + shared, cpu + shared
        print(f"built {peer.name} {parameters}: {wall:.1f} s, {cpu:.1f} s of CPU", flush=True)
        found.append(Built(peer, parameters, wall, wall, cpu, peer.memory()))
    return found


def promising(built: Built, search: Mapping[str, Sequence[Any]], dataset: Dataset, k: int,
              oracle: Oracle) -> list[Parameters]:  # fmt: skip
    """The settings near the front of one index, by one call of each that can matter, with some of the queries.

    Recall grows with probes, for each number of candidates to re-rank: once it hardly does, or is complete, more probes
    need not be tried.
    """
    queries = np.ascontiguousarray(built.peer.prepare(dataset.test[:EXPLORING]))
    tried: list[tuple[Parameters, Point]] = []
    reranks = search.get("rerank", (None,))
    for rerank in (*reranks, *MORE_FOR_ONE) if k == 1 and len(reranks) > 1 else reranks:
        before = 0.0
        for n_probes in search["n_probes"]:
            parameters = {"n_probes": n_probes} | ({} if rerank is None else {"rerank": rerank})
            start = time.process_time()
            _, ids = built.peer.search(queries, k, **parameters)
            seconds, recall = time.process_time() - start, oracle.recall(ids, k)
            tried.append((parameters, Point("", recall, seconds)))
            if recall >= COMPLETE or (recall > LOWEST / 2 and recall - before < 0.001):
                break
            before = recall
    curve = [point for _, point in tried]
    near = [
        (parameters, point)
        for parameters, point in tried
        if point.recall >= LOWEST and point.seconds <= NEAR * seconds_at_recall(curve, point.recall)
    ]
    near.sort(key=lambda each: each[1].recall)
    near = near or [max(tried, key=lambda each: each[1].recall)]
    places = np.unique(np.linspace(0, len(near) - 1, MOST_SETTINGS).round().astype(int))
    return [near[i][0] for i in places]


def _shorten(run: Run) -> None:
    """Keep 21 quantiles of the queries' latencies in place of all: files stay small, percentiles the same."""
    if run.query_wall:
        run.query_wall = [np.quantile(np.median(run.query_wall, axis=0), np.linspace(0, 1, 21)).tolist()]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def equal_recall(runs: list[Run], name: str, k: int, mode: str) -> None:
    """Print microseconds a query at fixed recalls, and how the best peer compares."""
    clock = "cpu" if all(run.threads == 1 for run in runs) else "wall"
    curves = {peer: points((r for r in runs if r.peer == peer), clock) for peer in dict.fromkeys(r.peer for r in runs)}
    head = " ".join(f"{r:8.2f}" for r in RECALLS)
    print(f"\nequal recall, {name}, k={k}, {mode}, {clock} us/q at recall\n{'':>40} {head}")
    times = {peer: [seconds_at_recall(curve, r) * 1e6 for r in RECALLS] for peer, curve in curves.items()}
    for peer, row in times.items():
        print(f"{peer:>40} " + " ".join(f"{t:8.1f}" for t in row))
    others = [row for peer, row in times.items() if not peer.startswith("annlab")]
    for peer, row in times.items():
        if others and peer.startswith("annlab"):
            flat = times.get(FaissIVFFlat.name, others[0]) if "flat" in peer else None
            best = flat or [min(column) for column in zip(*others)]
            against = "faiss IVFFlat" if flat else "best peer"
            print(f"{'x ' + against + ' / ' + peer:>40} " + " ".join(f"{b / t:8.2f}" for b, t in zip(best, row)))


def run_part(options: Namespace, budget: Budget) -> list[dict[str, Any]]:
    """Another part than the frontier: its records."""
    return ivf_parts.PARTS[options.part](options, budget)
