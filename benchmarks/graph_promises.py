"""What VamanaIndex promises beside its speed, tried on the sets of the benchmarks: ``--part promises``.

Each trial gives records of what was wanted and what was found; `kept` says whether that is enough.

- *elsewhere*: queries of another distribution than the rows: recall within 0.05 of the target, or a warning.
- *copies*: three tenths of the rows again, and 5,000 near copies of one row (noise of half a unit): every distinct row
  finds itself, and recall is within 0.005 of the set without them, also beside the group and half way to it.
- *churn*: twenty rounds in which a twentieth is removed and as much is added: recall within 0.005 of an index built
  anew, and a query takes at most 1.2 times as long.
- *filters*: from a ten-thousandth to nine tenths of the rows, drawn at random, near to the query and far from it:
  recall at least that without filter less 0.01, k results where there are so many, and time at most three times that
  without filter or that of an exact scan of what is allowed.
- *sizes*: k of 100 and 1,000, and sets of 50 to 300 rows.
"""

import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import annlab
from annlab.datasets import Dataset
from benchmarks.data import elsewhere, gap, load, names
from benchmarks.harness import Budget
from benchmarks.oracle import Oracle

Record = dict[str, Any]
K, TARGET = 10, 0.95
_ROUNDS = 3


def _record(data: str, trial: str, wanted: str, found: float, kept: bool, **more: Any) -> Record:
    record = {"data set": data, "trial": trial, "wanted": wanted, "found": round(float(found), 4), "kept": bool(kept)}
    record |= more
    print(record, flush=True)
    return record


def _recall(index: Any, train: np.ndarray, queries: np.ndarray, metric: str, k: int = K) -> float:
    return Oracle(train, queries, metric, k).recall(index.search(queries, k).ids, k)


def _microseconds(search: Callable[[np.ndarray], Any], queries: np.ndarray) -> float:
    """Median CPU time of one query in a call of its own, over rounds."""
    rounds = []
    for query in queries[:5]:
        search(query)
    for _ in range(_ROUNDS):
        start = time.process_time()
        for query in queries:
            search(query)
        rounds.append(time.process_time() - start)
    return float(np.median(rounds)) / len(queries) * 1e6


def out_of_distribution(dataset: Dataset) -> Iterator[Record]:
    """Queries from elsewhere: a made set, means of three rows, and rows with noise."""
    rng = np.random.default_rng(1)
    train, spread = dataset.train, dataset.train.std(axis=0)
    means = train[rng.integers(len(train), size=(500, 3))].mean(axis=1).astype(np.float32)
    noisy = (train[rng.integers(len(train), size=500)] + spread * rng.standard_normal((500, train.shape[1]))).astype(
        np.float32
    )
    made = elsewhere(min(50_000, len(train)), 64, "elsewhere:50000x64", 500)
    cases = [("means of three rows", Dataset(dataset.name, train, means, dataset.metric)),
             ("rows with noise", Dataset(dataset.name, train, noisy, dataset.metric)), ("made", made)]  # fmt: skip
    for name, case in cases:
        index = annlab.VamanaIndex(metric=case.metric).fit(case.train, threads=1)
        oracle = Oracle(case.train, case.test, case.metric, K)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            recall = oracle.recall(index.search(case.test, K).ids, K)
        warned = any(issubclass(warning.category, annlab.RecallWarning) for warning in heard)
        yield _record(case.name, f"elsewhere: {name}", f">= {TARGET - 0.05:.2f}, or a warning", recall,
                      warned or recall >= TARGET - 0.05, warned=warned, gap=gap(case, oracle.distances))  # fmt: skip
        index.calibrate(case.test[:250])
        own = Oracle(case.train, case.test[250:], case.metric, K).recall(index.search(case.test[250:], K).ids, K)
        yield _record(case.name, f"elsewhere: {name}, calibrated", f">= {TARGET - 0.02:.2f}", own, own >= TARGET - 0.02)


def copies(dataset: Dataset) -> Iterator[Record]:
    """Copies and near copies."""
    rng = np.random.default_rng(2)
    base, n = dataset.train, len(dataset.train)
    dim, unit = base.shape[1], float(np.abs(base).max()) / 255
    group = base[77] + 0.5 * unit * rng.standard_normal((5000, dim)).astype(np.float32)
    train = np.concatenate([base, group, base[rng.integers(n, size=n * 3 // 10)]])
    index = annlab.VamanaIndex(metric=dataset.metric).fit(train, threads=1)
    without = annlab.VamanaIndex(metric=dataset.metric).fit(base, threads=1)
    some = np.concatenate([rng.choice(n, 2000, replace=False), n + rng.choice(5000, 1000, replace=False)])
    selves = float((index.search(train[some], 1).distances[:, 0] == 0).mean())
    yield _record(dataset.name, "copies: rows find themselves", "1", selves, selves == 1)
    plain = _recall(without, base, dataset.test, dataset.metric)
    own = _recall(index, train, dataset.test, dataset.metric)
    yield _record(dataset.name, "copies: queries", f">= {plain:.3f} - 0.005", own, own >= plain - 0.005)
    aside = rng.standard_normal((200, dim))
    aside *= np.median(np.linalg.norm(base[:200] - base[77], axis=1)) / np.linalg.norm(aside, axis=1, keepdims=True)
    others = base[rng.integers(n, size=200)]
    for name, queries in (("beside the group", base[77] + 0.2 * aside), ("members", group[:200]),
                          ("a third of the way", base[77] + 0.3 * (others - base[77])),
                          ("half way", base[77] + 0.5 * (others - base[77]))):  # fmt: skip
        queries = np.ascontiguousarray(queries, np.float32)
        own, plain = _recall(index, train, queries, dataset.metric), _recall(without, base, queries, dataset.metric)
        wanted = min(plain, TARGET)
        yield _record(dataset.name, f"copies: {name}", f">= {wanted:.3f} - 0.005", own, own >= wanted - 0.005)


def churn(dataset: Dataset) -> Iterator[Record]:
    """Twenty rounds of a twentieth."""
    rng, n = np.random.default_rng(3), len(dataset.train) // 2
    index = annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train[:n], np.arange(n), threads=1)
    present, waiting = np.arange(n), np.arange(n, 2 * n)
    start = time.process_time()
    for turn in range(20):
        gone = rng.permutation(len(present))[: n // 20]
        index.remove(present[gone])
        more = waiting[turn * (n // 20) : (turn + 1) * (n // 20)]
        index.add(dataset.train[more], more, threads=1)
        present = np.concatenate([np.delete(present, gone), more])
    spent = time.process_time() - start
    rows = np.ascontiguousarray(dataset.train[present])
    start = time.process_time()
    fresh = annlab.VamanaIndex(metric=dataset.metric).fit(rows, present, threads=1)
    built = time.process_time() - start
    oracle = Oracle(rows, dataset.test, dataset.metric, K)
    places = np.full(2 * n + 1, -1)
    places[present] = np.arange(len(present))
    for reach in (index.calibration.reach, fresh.calibration.reach):
        own, new = (oracle.recall(places[one.search(dataset.test, K, reach=reach).ids], K) for one in (index, fresh))
        yield _record(dataset.name, f"churn: recall at reach {reach:.3f}", f">= {new:.3f} - 0.005", own,
                      own >= new - 0.005)  # fmt: skip
    times = [_microseconds(lambda query, one=one: one.search(query, K, threads=1), dataset.test)  # type: ignore[misc]
             for one in (index, fresh)]  # fmt: skip
    yield _record(dataset.name, "churn: time of a query, times that of a new index", "<= 1.2", times[0] / times[1],
                  times[0] <= 1.2 * times[1], microseconds=times[0])  # fmt: skip
    yield _record(dataset.name, "churn: cost of all rounds, in builds", "", spent / built, True)


def filters(dataset: Dataset) -> Iterator[Record]:
    """Shares of the rows, allowed at random, near to the query, or far from it."""
    rng, n = np.random.default_rng(4), len(dataset.train)
    index = annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train, threads=1)
    exact = annlab.ExactIndex(metric=dataset.metric).fit(dataset.train)
    queries = dataset.test[:40]
    plain = _recall(index, dataset.train, dataset.test, dataset.metric)
    usual = _microseconds(lambda query: index.search(query, K, threads=1), dataset.test[:200])
    away = exact.search(queries, n).ids.argsort(axis=1) if n <= 60_000 else None
    for share in (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9):
        size = max(1, int(share * n))
        for kind in ("random", "near", "far") if away is not None else ("random",):
            recalls, results, ours, scans = [], [], [], []
            for i, query in enumerate(queries):
                allowed = np.zeros(n, bool)
                if kind == "random":
                    allowed[rng.permutation(n)[:size]] = True
                else:
                    allowed = away[i] < size if kind == "near" else away[i] >= n - size  # type: ignore[index]
                true = exact.search(query, K, allowed=allowed)
                found = index.search(query, K, allowed=allowed)
                most = min(K, size)
                recalls.append((found.distances[:most] <= true.distances[most - 1] * (1 + 1e-6)).sum() / most)
                results.append((found.ids >= 0).sum() == most)
                times = []
                for one in (index, exact):
                    start = time.process_time()
                    for _ in range(_ROUNDS):
                        one.search(query, K, allowed=allowed, threads=1)
                    times.append((time.process_time() - start) / _ROUNDS * 1e6)
                ours.append(times[0]), scans.append(times[1])
            mean, scan = float(np.median(ours)), float(np.median(scans))
            kept = np.mean(recalls) >= plain - 0.01 and all(results) and mean <= max(3 * usual, scan)
            yield _record(dataset.name, f"filters: {share:.2%} {kind}", f">= {plain:.3f} - 0.01", np.mean(recalls),
                          kept, microseconds=mean, exact=scan, unfiltered=usual)  # fmt: skip


def sizes(dataset: Dataset) -> Iterator[Record]:
    """Many neighbours, and few rows."""
    index = annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train, threads=1)
    for k in (1, 100, 1000):
        own = _recall(index, dataset.train, dataset.test[:300], dataset.metric, k)
        yield _record(dataset.name, f"sizes: k = {k}", f">= {TARGET - 0.01:.2f}", own, own >= TARGET - 0.01)
    for n in (50, 100, 200, 300):
        own = _recall(annlab.VamanaIndex(metric=dataset.metric).fit(dataset.train[:n]), dataset.train[:n],
                      dataset.test, dataset.metric)  # fmt: skip
        yield _record(dataset.name, f"sizes: {n} rows", "1", own, own == 1)


TRIALS: dict[str, Callable[[Dataset], Iterator[Record]]] = {
    "elsewhere": out_of_distribution,
    "copies": copies,
    "churn": churn,
    "filters": filters,
    "sizes": sizes,
}


def promises(options: Namespace, budget: Budget) -> list[Record]:
    """All trials on the sets asked for, with the first of --sizes that they have."""
    records: list[Record] = []
    default = ["clusters:5000x32"] if options.quick else ["clusters:100000x32"]
    for name in names(None if options.quick else options.data, options.sets, default):
        whole = load(options.data, name)
        size = min([size for size in options.sizes if size <= len(whole.train)], default=len(whole.train))
        chosen = np.sort(np.random.default_rng(0).permutation(len(whole.train))[:size])
        dataset = Dataset(whole.name, np.ascontiguousarray(whole.train[chosen]), whole.test, whole.metric)
        for trial, run in TRIALS.items():
            if options.trials and trial not in options.trials:
                continue
            records += run(dataset)
    kept = sum(record["kept"] for record in records)
    print(f"{kept} of {len(records)} kept")
    return records


PARTS: dict[str, Callable[[Namespace, Budget], list[Record]]] = {"promises": promises}
