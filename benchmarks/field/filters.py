"""Searches with a filter: 0.1 to 50 % of the rows, allowed at random, towards the queries, or away from them.

A direction is drawn, and rows and queries are ordered along it. "random" allows any rows; "near" the rows foremost
along the direction, asked for by the foremost tenth of the queries, so filter and query go together; "far" the same
rows, asked for by the hindmost tenth. Every index takes the setting that tuning chose for a recall of 0.95 without a
filter: what a user has set up when a filter comes along. Peers take part who have filters in Python without calling
back for every row: faiss.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from annlab.datasets import Dataset
from benchmarks.field.contestants import Contestant
from benchmarks.field.taking_turns import Call, least, take_turns
from benchmarks.field.tuning import Trial, Tuned, build
from benchmarks.oracle import Oracle
from benchmarks.peers import Peer

SHARES = (0.001, 0.01, 0.1, 0.5)
QUERIES = 100
Record = dict[str, Any]
Search = Callable[[np.ndarray], Call]  # takes allowed (n,) bool, once; what it gives answers queries


def run(dataset: Dataset, taking_part: Sequence[Contestant], tuned: Mapping[str, Tuned],
        options: Namespace) -> list[Record]:  # fmt: skip
    """A record for each index, share and kind of filter: recall, and microseconds of a query, one at a time."""
    k = options.k[0]
    searches: dict[str, Search] = {}
    for one in taking_part:
        trial = setting(tuned[one.name], k)
        if trial is not None and (one.ours or one.name in FAISS):
            peer = build(one, trial.build, dataset).peer
            searches[one.name] = _search(one.name, peer, trial.search, k)
    records: list[Record] = []
    for kind, queries, order in regimes(dataset):
        for share in SHARES:
            allowed = np.zeros(len(dataset.train), bool)
            allowed[order[: max(1, round(share * len(order)))]] = True
            rows = np.flatnonzero(allowed)
            oracle = Oracle(np.ascontiguousarray(dataset.train[rows]), queries, dataset.metric, min(k, len(rows)))
            calls = {name: search(allowed) for name, search in searches.items()}
            times, found = take_turns(calls, queries, options.seconds / 6)
            for name, ids in found.items():
                places = np.where(ids >= 0, np.searchsorted(rows, np.maximum(ids, 0)), -1)
                records.append({"index": name, "filter": kind, "share": share,
                                "recall": oracle.recall(places[:, : min(k, len(rows))], min(k, len(rows))),
                                "results": float((ids >= 0).mean()), "us": least(times[name])})  # fmt: skip
    return records


def regimes(dataset: Dataset) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each kind its name, queries (q, d), and all rows in the order in which a filter lets them in."""
    rng = np.random.default_rng(3)
    direction = rng.standard_normal(dataset.train.shape[1]).astype(np.float32)
    along, asked = dataset.train @ direction, dataset.test @ direction
    foremost = np.argsort(-along, kind="stable")
    n = min(QUERIES, len(dataset.test))
    ordered = np.argsort(-asked, kind="stable")
    return [
        ("random", dataset.test[:n], rng.permutation(len(along))),
        ("near", np.ascontiguousarray(dataset.test[ordered[:n]]), foremost),
        ("far", np.ascontiguousarray(dataset.test[ordered[-n:]]), foremost),
    ]


def setting(tuned: Tuned, k: int, recall: float = 0.95) -> Trial | None:
    """The fastest setting that reached the recall, or else the one with the most; None where nothing was chosen."""
    own = [trial for trial in tuned.chosen if trial.k == k]
    reaching = [trial for trial in own if trial.recall >= recall]
    if reaching:
        return min(reaching, key=lambda trial: trial.seconds)
    return max(own, key=lambda trial: trial.recall, default=None)


def _search(name: str, peer: Peer, parameters: Mapping[str, Any], k: int) -> Search:
    """How this peer searches with a filter."""
    if name in FAISS:
        return _faiss(name, peer, parameters, k)
    index: Any = peer.index  # type: ignore[attr-defined]

    def ours(allowed: np.ndarray) -> Call:
        rows = index.filter(allowed=allowed)
        return lambda queries: index.search(queries, k, allowed=rows, threads=1, **parameters).ids

    return ours


FAISS = ("faiss Flat", "faiss IVFFlat", "faiss HNSW")


def _faiss(name: str, peer: Any, parameters: Mapping[str, Any], k: int) -> Search:
    import faiss

    def theirs(allowed: np.ndarray) -> Call:
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
        if name == "faiss IVFFlat":
            how = faiss.SearchParametersIVF(sel=selector, nprobe=parameters["n_probes"])
        elif name == "faiss HNSW":
            how = faiss.SearchParametersHNSW(sel=selector, efSearch=parameters["ef"])
        else:
            how = faiss.SearchParameters(sel=selector)
        how.kept = bits, selector  # faiss points at both and owns neither
        return lambda queries: peer.index.search(peer.prepare(queries), k, params=how)[1]

    return theirs
