"""The suite for exact search: annlab's ExactIndex against faiss Flat, scikit-learn and a tuned numpy.

Every entrant must find what float64 brute force finds (ties count as equal), so only time is compared: batches of a
thousand queries and one query at a time, for k = 10 and 100. With ``--threads 1 2`` annlab runs with two threads as
well, and its rows show how its wall time scales; the peers always run on one thread.
"""

from argparse import Namespace
from functools import partial

from annlab.datasets import Dataset
from benchmarks.harness import MODES, Budget, Run, Sweep, measure
from benchmarks.peers import PEERS, Annlab, Peer

SUBJECT = "annlab"
SETS = ("uniform:100000x64",)  # beside the files in --data
QUICK_SETS = ("uniform:2000x16",)


def peers(options: Namespace) -> list[Peer]:
    """Everyone who takes part."""
    return [PEERS[name]() for name in options.peers]


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """All comparisons on one data set."""
    sweeps = [Sweep(PEERS[name]) for name in options.peers]
    if SUBJECT in options.peers:
        sweeps += [Sweep(partial(Annlab, threads=count)) for count in options.threads if count > 1]
    return measure(dataset, sweeps, options.k, MODES, budget)
