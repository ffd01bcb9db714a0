"""The suite for exact search: annlab's ExactIndex against faiss Flat, scikit-learn and a tuned numpy.

annlab runs with `precision="int8"` (the certified scan of bytes) and "float32"; below a table stand the rows that the
bytes left to be scored, what "auto" would choose, and the rates against the machine's limits. Where all data are
integers that fit into bytes nothing is lost by them, so a table's title says which kind of data it is about.

Every entrant must find what float64 brute force finds (ties count as equal), so only time is compared: batches of a
thousand queries and one query at a time, for k = 10 and 100. With ``--threads 1 2`` annlab runs with two threads as
well, and its rows show how its wall time scales; the peers always run on one thread.
"""

from argparse import Namespace
from functools import partial

import numpy as np

from annlab.datasets import Dataset
from benchmarks.harness import MODES, Budget, Run, Sweep, measure
from benchmarks.peers import PEERS, Annlab, Peer

PRECISIONS = ("int8", "float32")  # the first is the subject

SUBJECT = "annlab"
SETS = ("uniform:100000x64",)  # beside the files in --data
QUICK_SETS = ("uniform:2000x16",)


def peers(options: Namespace) -> list[Peer]:
    """Everyone who takes part."""
    return [PEERS[name]() for name in options.peers]


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set."""
    sweeps = [Sweep(PEERS[name], {"precision": PRECISIONS} if name == SUBJECT else {}) for name in options.peers]
    if SUBJECT in options.peers:
        several = [count for count in options.threads if count > 1]
        sweeps += [Sweep(partial(Annlab, threads=count), {"precision": PRECISIONS}) for count in several]
    runs = measure(dataset, sweeps, options.k, MODES, budget)
    whole = all(np.array_equal(some, np.rint(some)) for some in (dataset.train, dataset.test))
    for run in runs:
        run.dataset += ", integers" if whole else ", reals"
        run.facts |= rates(run) if run.peer.startswith(SUBJECT) else {}
    return runs


def rates(run: Run) -> dict[str, float]:
    """Multiplications and additions, and for single queries bytes read, per second: what `hardware` has limits for."""
    seconds = run.microseconds("cpu" if run.threads == 1 else "wall") / 1e6
    row = run.dim + 4 if run.build["precision"] == "int8" else 4 * run.dim
    result = {"Gop/s": round(2 * run.n * run.dim / seconds / 1e9, 1)}
    return result | ({"GB/s": round(run.n * row / seconds / 1e9, 1)} if run.mode == "one" else {})
