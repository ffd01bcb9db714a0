"""Interleaved timing of single queries, for the regimes that are not plain searches."""

import time
from collections.abc import Callable, Mapping

import numpy as np

Call = Callable[[np.ndarray], np.ndarray]  # one query (1, d) to ids (1, k)
MOST_ROUNDS = 7


def take_turns(calls: Mapping[str, Call], queries: np.ndarray,
               seconds: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:  # fmt: skip
    """Every call answers all queries, one at a time, in rounds; at least three, while the seconds last.

    Returns
    -------
    times : dict of arrays (rounds, q)
        CPU seconds of the thread, which answers all of them.
    ids : dict of arrays (q, k)
        From a first round that is not timed.
    """
    rows = [np.ascontiguousarray(queries[i : i + 1]) for i in range(len(queries))]
    found = {name: np.concatenate([call(row) for row in rows]) for name, call in calls.items()}
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    deadline = time.perf_counter() + seconds * max(len(calls), 1)
    for turn in range(MOST_ROUNDS):
        if turn >= 3 and time.perf_counter() > deadline:
            break
        for name in sorted(calls, reverse=bool(turn % 2)):
            spent = []
            for row in rows:
                start = time.thread_time()
                calls[name](row)
                spent.append(time.thread_time() - start)
            times[name].append(spent)
    return {name: np.asarray(some) for name, some in times.items()}, found


def least(times: np.ndarray) -> float:
    """Microseconds of a query: the mean over queries of each one's median over the rounds."""
    return float(np.median(times, axis=0).mean() * 1e6)
