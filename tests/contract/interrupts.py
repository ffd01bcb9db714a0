"""Long work that Ctrl-C has to end: `python -m tests.contract.interrupts NAME` begins it, and says how it ended.

Each job takes ten seconds or more on two slow cores, so whoever ends within a second did not simply come to its end.
"""

import json
import sys
import time

import numpy as np

import annlab
from annlab import ExactIndex, IVFIndex, KDTreeIndex, KMeans, LSHIndex
from annlab.evaluation import true_distances

_rng = np.random.default_rng(0)


def data(n, dim):
    return _rng.random((n, dim), dtype=np.float32)


def searching(make, n, dim, q, k=10, **options):
    def begin():
        index = make().fit(data(n, dim))
        queries = data(q, dim)
        return index, lambda: index.search(queries, k, **options)

    return begin


def within(make, n, dim, q, radius):
    def begin():
        index = make().fit(data(n, dim))
        queries = data(q, dim)
        return index, lambda: index.search_radius(queries, radius)

    return begin


def fitting(make, n, dim):
    def begin():
        index, vectors = make().fit(data(3000, dim)), data(n, dim)
        return index, lambda: index.fit(vectors)

    return begin


def adding(make, n, dim):
    """The rows are taken in, and a tail so long makes the index build anew."""

    def begin():
        index, vectors = make().fit(data(3000, dim)), data(n, dim)
        return index, lambda: index.add(vectors)

    return begin


def compacting():
    index = KDTreeIndex(auto_compact=False).fit(data(3000, 48))
    index.add(data(1_500_000, 48))
    return index, index.compact


def blocks_of(n, dim):
    return (data(20_000, dim) for _ in range(n // 20_000))


def out_of_core():
    index = IVFIndex(n_lists=64).fit(data(3000, 64))
    return index, lambda: index.fit(blocks_of(10_000_000, 64), max_memory="2GB")


def calibrating():
    index = IVFIndex(n_lists=512).fit(data(300_000, 96))
    queries = data(30_000, 96)
    return index, lambda: index.calibrate(queries)


def neighbors():
    index = ExactIndex().fit(data(200_000, 96))
    return index, lambda: index.neighbors(10)


def clustering():
    vectors = data(400_000, 64)
    return None, lambda: KMeans(4000, max_iterations=100, tolerance=0.0).fit(vectors)


def judging():
    rows = _rng.integers(0, 100_000, size=(60_000, 300))
    vectors = data(100_000, 96)
    queries = data(60_000, 96)
    return None, lambda: true_distances(queries, vectors, rows, "l2")


def lsh(mode):
    return lambda: LSHIndex(mode=mode, seed=0)


JOBS = {
    "exact, batch": searching(lambda: ExactIndex(precision="float32"), 300_000, 96, 60_000),
    "exact, bytes": searching(lambda: ExactIndex(precision="int8"), 400_000, 128, 100_000),
    "exact, filtered": searching(lambda: ExactIndex(), 300_000, 96, 60_000, allowed=np.arange(0, 300_000, 2)),
    "exact, one thread": searching(lambda: ExactIndex(precision="float32"), 200_000, 96, 60_000, threads=1),
    "exact, many neighbours": searching(lambda: ExactIndex(precision="float32"), 100_000, 64, 20_000, k=2000),
    "exact, radius": within(ExactIndex, 300_000, 96, 5000, 3.2),
    "kd-tree, batch": searching(KDTreeIndex, 150_000, 48, 30_000),
    "kd-tree, radius": within(KDTreeIndex, 200_000, 48, 20_000, 2.0),
    "ball tree, batch": searching(annlab.BallTreeIndex, 150_000, 48, 30_000),
    "kd-tree, fit": fitting(KDTreeIndex, 2_000_000, 48),
    "ball tree, fit": fitting(annlab.BallTreeIndex, 2_000_000, 48),
    "kd-tree, add": adding(KDTreeIndex, 2_000_000, 48),
    "kd-tree, compact": compacting,
    "ivf, fit": fitting(lambda: IVFIndex(n_lists=4000), 600_000, 96),
    "ivf sq8, fit": fitting(lambda: IVFIndex(storage="sq8"), 1_000_000, 96),
    "ivf pq4, fit": fitting(lambda: IVFIndex(storage="pq4"), 600_000, 96),
    "ivf, batch": searching(lambda: IVFIndex(n_lists=64), 200_000, 96, 100_000, n_probes=32),
    "ivf, blocks": out_of_core,
    "ivf, calibrate": calibrating,
    "vamana, fit": fitting(annlab.VamanaIndex, 200_000, 96),
    "vamana, batch": searching(annlab.VamanaIndex, 30_000, 48, 200_000, reach=1.5),
    "lsh scan, fit": fitting(lsh("scan"), 3_000_000, 64),
    "lsh buckets, fit": fitting(lsh("buckets"), 1_500_000, 64),
    "lsh scan, batch": searching(lsh("scan"), 1_000_000, 32, 30_000),
    "lsh buckets, batch": searching(lsh("buckets"), 300_000, 32, 200_000),
    "neighbours of all": neighbors,
    "k-means": clustering,
    "true distances": judging,
}
QUICK = ("exact, batch", "kd-tree, batch", "k-means")


def main(name):
    """Begin, wait for the interrupt, and say what came of it."""
    index, work = JOBS[name]()
    asked = data(20, index.dim) if index is not None else None
    before = None if index is None else (len(index), *index.search(asked, 5, threads=1))
    print("begun", flush=True)
    start = time.monotonic()
    try:
        work()
        outcome = "finished"
    except KeyboardInterrupt:
        outcome = "interrupted"
    print(json.dumps({"outcome": outcome, "seconds": time.monotonic() - start}), flush=True)
    if index is not None:
        after = (len(index), *index.search(asked, 5, threads=1))
        assert all(map(np.array_equal, before, after)), "the index is another one"
        assert all(map(np.array_equal, before[1:], index.search(asked, 5, threads=2))), "the pool works no more"
    print("unchanged", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
