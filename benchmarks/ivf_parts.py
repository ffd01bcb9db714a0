"""The parts of the suite for inverted files that are no comparison on one data set.

    defaults      recall with no parameter given, on many made sets; on shifted queries, before and after `calibrate`
    sizes         cost of a query against n from 10,000 to 2,000,000, with the fitted exponent
    kmeans        error against time of k-means: annlab, faiss, scikit-learn
    threads       batches with two threads against one, wall time
    growth        n vectors grown to 2n by small adds: cost against a build, latency against a fresh index
    out-of-core   ten million vectors within a limit of memory (`out_of_core.py`)

Each prints a table and returns its records.
"""

import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np

import annlab
from annlab import evaluation
from annlab.datasets import Dataset, synthetic, uniform_noise
from annlab.kmeans import train
from benchmarks import out_of_core
from benchmarks.data import load, names
from benchmarks.environment import choose_faiss_path
from benchmarks.harness import Budget
from benchmarks.ivf_peers import FaissFastScan

STORAGES = ("flat", "sq8", "pq4")
Record = dict[str, Any]


def _limits(dataset: Dataset, queries: np.ndarray, k: int) -> np.ndarray:
    """The distances (q, k) of the true neighbours."""
    return annlab.ExactIndex(metric=dataset.metric).fit(dataset.train).search(queries, k=k).distances


def _recall(index: annlab.IVFIndex, queries: np.ndarray, limits: np.ndarray, k: int) -> float:
    """Recall@k with no parameter given."""
    found = index.search(queries, k=k)
    return float(evaluation.ann_recall(found.ids, found.distances, limits, k).mean())


def shifted(dataset: Dataset, n: int, seed: int = 0) -> np.ndarray:
    """Queries moved off the data: all by the same vector, as long as the data's standard deviation from their mean."""
    displacement = np.random.default_rng(seed).normal(size=dataset.train.shape[1])
    displacement *= np.sqrt(dataset.train.var(axis=0).sum()) / np.linalg.norm(displacement)
    return (dataset.test[:n] + displacement).astype(np.float32)


def defaults(options: Namespace, budget: Budget) -> list[Record]:
    """Recall at "auto"."""
    sets = [synthetic(n, dim, intrinsic, 500, clusters=clusters, seed=1)
            for n, dim, clusters in ((20_000, 64, 0), (20_000, 64, 50), (100_000, 128, 100), (3000, 1024, 0))
            for intrinsic in (5, 15, 40)]  # fmt: skip
    sets += [synthetic(20_000, 25, 15, 500, metric="cosine"), synthetic(20_000, 25, 15, 500, metric="ip"),
             synthetic(1000, 64, 15, 500), uniform_noise(50_000, 25, 500)]  # fmt: skip
    records = []
    print(f"{'':42} lists probes rerank  r@1   r@10  r@100  shifted  calibrated (probes)")
    for dataset in sets[: 1 if options.quick else None]:
        off, limits = shifted(dataset, 500), _limits(dataset, dataset.test, 100)
        real, rest, far = off[:250], off[250:], _limits(dataset, off[250:], 10)
        for storage in STORAGES:
            index = annlab.IVFIndex(metric=dataset.metric, storage=storage).fit(dataset.train)
            chosen = index.calibration
            recalls = [_recall(index, dataset.test, limits, k) for k in (1, 10, 100)]
            before = _recall(index, rest, far, 10)
            again = index.calibrate(real)
            after = _recall(index, rest, far, 10)
            records.append({"dataset": dataset.name, "n": len(dataset.train), "metric": dataset.metric,
                            "storage": storage, "n_lists": index.n_lists, "n_probes": chosen.n_probes,
                            "rerank": chosen.rerank, "bound": chosen.bound, "recall": recalls, "shifted": before,
                            "calibrated": after, "calibrated_probes": again.n_probes})  # fmt: skip
            print(f"{dataset.name[:28]:28} {len(dataset.train):7} {storage:5} {index.n_lists:5} {chosen.n_probes:6} "
                  f"{chosen.rerank:6.1f} {recalls[0]:6.3f} {recalls[1]:6.3f} {recalls[2]:6.3f}  {before:6.3f}  "
                  f"{after:6.3f} ({again.n_probes})", flush=True)  # fmt: skip
    return records


def _cpu(call: Callable[[], Any], seconds: float) -> float:
    """Median CPU seconds of a call, repeated for so long, at least three times."""
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 50):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return float(np.median(times))


def _times(search: Callable[..., Any], queries: np.ndarray, seconds: float) -> tuple[float, float]:
    """CPU seconds of a query, in one batch and one at a time."""
    batch = _cpu(lambda: search(queries), seconds) / len(queries)
    return batch, _cpu(lambda: [search(queries[i : i + 1]) for i in range(100)], seconds) / 100


def sizes(options: Namespace, budget: Budget) -> list[Record]:
    """Cost against n at the recall that "auto" reaches; faiss with the same centroids, at the same recall."""
    counts = options.sizes or (
        [2000, 5000] if options.quick else [10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000]
    )
    data, records = out_of_core.Clusters(max(counts), 64), []
    everything, queries = np.concatenate(list(data.blocks())), data.queries(1000)
    for n in counts:
        vectors, seconds = everything[:n], budget.seconds / 10
        truth = annlab.ExactIndex().fit(vectors).search(queries, k=10).distances
        centroids = None
        for storage in ("flat", "pq4"):
            start = time.process_time()
            index = annlab.IVFIndex(storage=storage).fit(vectors, threads=1)
            built = time.process_time() - start
            batch, one = _times(lambda some, index=index: index.search(some, k=10, threads=1), queries, seconds)
            recall = _recall(index, queries, truth, 10)
            records.append({"n": n, "peer": f"annlab IVFIndex {storage}", "recall": recall, "build": built,
                            "batch": batch, "one": one, "n_lists": index.n_lists})  # fmt: skip
            centroids = index._structure.centroids.array + index._structure.lists.conversion.center.astype(np.float32)
        if "faiss" in options.peers and centroids is not None:
            records.append(_faiss_at(recall, n, vectors, queries, truth, centroids, seconds))
        for record in records[-3:]:
            print(f"{record['n']:8} {record['peer']:28} recall {record['recall']:.3f}  build {record['build']:7.1f} s  "
                  f"batch {record['batch'] * 1e6:8.1f} us  one {record['one'] * 1e6:8.1f} us", flush=True)  # fmt: skip
    for peer in dict.fromkeys(record["peer"] for record in records):
        mine = [r for r in records if r["peer"] == peer]
        for mode in ("batch", "one", "build"):
            slope = float(np.polyfit(np.log([r["n"] for r in mine]), np.log([r[mode] for r in mine]), 1)[0])
            print(f"{peer}, {mode}: time grows as n^{slope:.2f}")
            records.append({"peer": peer, "mode": mode, "exponent": slope})
    return records


def _faiss_at(recall: float, n: int, vectors: np.ndarray, queries: np.ndarray, truth: np.ndarray,
              centroids: np.ndarray, seconds: float) -> Record:  # fmt: skip
    """faiss's fast scan with re-ranking over the same lists, at the fastest setting of at least this recall."""
    import faiss

    peer = FaissFastScan()
    start = time.process_time()
    peer.cosine, peer.vectors, peer.coarse = False, vectors, faiss.IndexFlatL2(vectors.shape[1])
    peer.coarse.add(np.ascontiguousarray(centroids))
    peer.inverted = peer.make(faiss, vectors.shape[1], len(centroids))
    peer.inverted.train(vectors)
    peer.inverted.add(vectors)
    peer.index = faiss.IndexRefineFlat(peer.inverted, faiss.swig_ptr(vectors))
    built, best = time.process_time() - start, None
    for rerank in (2, 4, 8, 16):
        for n_probes in (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64):
            how = {"n_probes": n_probes, "rerank": rerank}
            start = time.process_time()
            found = peer.search(queries, 10, **how)[1]
            spent = time.process_time() - start
            distances = evaluation.true_distances(queries, vectors, found, "l2")
            reached = float(evaluation.ann_recall(found, distances, truth).mean())
            if reached >= recall - 0.002:
                if best is None or spent < best[0]:
                    best = spent, reached, how
                break
    _, reached, how = best or (0.0, 0.0, {"n_probes": 64, "rerank": 16})
    batch, one = _times(lambda some: peer.search(some, 10, **how), queries, seconds)
    return {"n": n, "peer": peer.name, "recall": reached, "build": built, "batch": batch, "one": one, **how}


def kmeans(options: Namespace, budget: Budget) -> list[Record]:
    """Error against CPU time: passes are varied, all train on the same points, one thread, error over these points."""
    import faiss

    records: list[Record] = []
    wanted = options.sets or (["clusters:20000x32"] if options.quick else ["clusters:200000x64"])
    for name in names(options.data, wanted, []) if options.sets or options.quick or not options.data else [
        *names(options.data, ["sift", "glove"], []), *wanted]:  # fmt: skip
        dataset = load(options.data, name)
        n_clusters = 100 if options.quick else min(2048, len(dataset.train) // 100)
        points = dataset.train[np.random.default_rng(0).permutation(len(dataset.train))[: 256 * n_clusters]]
        points = np.ascontiguousarray(points - points.mean(axis=0))
        train(points[:3000], 10, np.random.default_rng(0))  # compiles

        def ours(passes: int, points: np.ndarray = points, k: int = n_clusters) -> np.ndarray:
            return train(points, k, np.random.default_rng(0), max_iterations=passes, tolerance=0.0).centroids

        def theirs(passes: int, points: np.ndarray = points, k: int = n_clusters) -> np.ndarray:
            choose_faiss_path(1000)
            model = faiss.Kmeans(points.shape[1], k, niter=passes, max_points_per_centroid=10**6)
            model.train(points)
            return model.centroids

        entrants = {"annlab": (ours, (1, 2, 4, 8, 16, 25)), "faiss": (theirs, (4, 8, 16, 25))}
        if len(points) * n_clusters < 2e8:

            def scikit(passes: int, points: np.ndarray = points, k: int = n_clusters) -> np.ndarray:
                from sklearn.cluster import KMeans

                return (
                    KMeans(k, n_init=1, init="random", max_iter=passes, tol=0, random_state=0)
                    .fit(points)
                    .cluster_centers_
                )

            entrants["scikit-learn"] = (scikit, (4, 8, 16, 25))
        curves: dict[str, list[tuple[float, float]]] = {}
        for peer, (make, passes) in entrants.items():
            for count in passes:
                start = time.process_time()
                centroids = make(count)
                seconds = time.process_time() - start
                squares = annlab.ExactIndex(precision="float32").fit(centroids.astype(np.float32)).search(
                    points, k=1).distances  # fmt: skip
                error = float((squares.astype(np.float64) ** 2).mean())
                curves.setdefault(peer, []).append((error, seconds))
                records.append({"dataset": name, "n": len(points), "n_clusters": n_clusters, "peer": peer,
                                "passes": count, "cpu_seconds": seconds, "error": error})  # fmt: skip
                print(
                    f"{name} {n_clusters} clusters, {peer:13} {count:3} passes {seconds:7.2f} s  error {error:.6g}",
                    flush=True,
                )
        errors, ours_cpu = np.array(curves["annlab"])[::-1].T  # ascending, as np.interp wants them
        for error, seconds in curves["faiss"]:
            if errors[0] <= error <= errors[-1]:
                mine = float(np.exp(np.interp(error, errors, np.log(ours_cpu))))
                print(f"  error {error:.6g}: faiss {seconds:.2f} s, annlab {mine:.2f} s: {seconds / mine:.2f}x")
    return records


def threads(options: Namespace, budget: Budget) -> list[Record]:
    """Wall time of a batch of 1,000 with two threads and with one, interleaved."""
    records = []
    real = ["sift", "glove"] if options.data and not options.quick else []
    made = ["clusters:20000x32"] if options.quick else ["clusters:200000x64"]
    for name in names(options.data, options.sets or [*real, *made], []):
        dataset = load(options.data, name)
        for storage in STORAGES:
            index = annlab.IVFIndex(metric=dataset.metric, storage=storage).fit(dataset.train)
            walls: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(3 if options.quick else 15):
                for count, wall in walls.items():
                    start = time.perf_counter()
                    index.search(dataset.test[:1000], k=10, threads=count)
                    wall.append(time.perf_counter() - start)
            ratio = float(np.median([one / two for one, two in zip(walls[1][1:], walls[2][1:])]))
            records.append({"dataset": name, "storage": storage, "wall": walls, "ratio": ratio})
            print(f"{name} {storage}: two threads {ratio:.2f}x one", flush=True)
    return records


def growth(options: Namespace, budget: Budget) -> list[Record]:
    """From n to 2n vectors by adds of n / 500."""
    records = []
    for n in (5000,) if options.quick else (20_000, 100_000):
        dataset = synthetic(2 * n, 64, 15, 1000, clusters=100, seed=0)
        limits = _limits(dataset, dataset.test, 10)
        for storage in STORAGES:
            start = time.process_time()
            fresh = annlab.IVFIndex(storage=storage).fit(dataset.train, threads=1)
            built = time.process_time() - start
            index = annlab.IVFIndex(storage=storage).fit(dataset.train[:n], threads=1)
            start = time.process_time()
            for first in range(n, 2 * n, n // 500):
                index.add(dataset.train[first : first + n // 500], threads=1)
            grown = time.process_time() - start
            times: dict[str, list[float]] = {"fresh": [], "grown": []}
            for query in dataset.test[:500]:
                for which, one in (("fresh", fresh), ("grown", index)):
                    start = time.process_time()
                    one.search(query, k=10, threads=1)
                    times[which].append(time.process_time() - start)
            slower = float(np.median(times["grown"]) / np.median(times["fresh"]))
            recalls = [_recall(one, dataset.test, limits, 10) for one in (index, fresh)]
            records.append({"n": n, "storage": storage, "build": built, "growth": grown, "latency_ratio": slower,
                            "recall": recalls})  # fmt: skip
            print(f"{n} -> {2 * n} {storage}: adds {grown:.2f} s, a build {built:.2f} s ({grown / built:.2f}x); median "
                  f"latency {slower:.2f}x of a fresh index; recall {recalls[0]:.3f}, {recalls[1]:.3f}")  # fmt: skip
    return records


def large(options: Namespace, budget: Budget) -> list[Record]:
    """Out of core."""
    record = out_of_core.run(50_000 if options.quick else 10_000_000, 64, "200MB" if options.quick else "1GB", 2)
    for name, value in record.items():
        print(f"  {name:26} {value}")
    return [record]


PARTS: dict[str, Callable[[Namespace, Budget], list[Record]]] = {
    "defaults": defaults,
    "sizes": sizes,
    "kmeans": kmeans,
    "threads": threads,
    "growth": growth,
    "out-of-core": large,
}
