"""The tables of the page that helps to choose an index, from the result files; `figures.py` writes them.

A table holds what one CPU did, and says which. A cell is the time of the fastest setting tried that reaches the recall
at the head of the table: microseconds of CPU time for one query, one thread.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.figures import CIFAR, CPUS, GLOVE, SIFT, cpu, runs, trees
from benchmarks.harness import Run
from benchmarks.measured import _number, _table

FASHION = "fashion-mnist-784-euclidean"
SETS = {SIFT: "SIFT, 500,000 x 128", GLOVE: "GloVe, 200,000 x 50, cosine", FASHION: "Fashion-MNIST, 60,000 x 784",
        CIFAR: "CNN embeddings, 50,000 x 128"}  # fmt: skip
LISTS = {SIFT: "ivf-sift", GLOVE: "ivf-glove", FASHION: "ivf-others", CIFAR: "ivf-cifar"}
RECALL = 0.95
Field = Mapping[str, Any]  # what `field/keeping.py` keeps of a run
HEADLINE = (
    ("exact search, batch of 1,000", SIFT, "batch", "annlab ExactIndex", ["faiss Flat"]),
    ("`IVFIndex`, batch, recall 0.95", SIFT, "batch", "annlab IVFIndex", ["ScaNN", "faiss IVF"]),
    ("`VamanaIndex`, one query, recall 0.95", GLOVE, "one", "annlab VamanaIndex", ["SymphonyQG", "hnswlib"]),
)


def fastest(some: Sequence[Run], peer: str, recall: float = RECALL) -> Run | None:
    """The fastest setting of the peers whose names begin so that reaches the recall."""
    reaching = [run for run in some if run.peer.startswith(peer) and run.recall >= recall]
    return min(reaching, key=lambda run: run.microseconds(), default=None)


def scans_hashes_lists() -> str:
    """Exact search, hashing and inverted files, on four sets of data."""
    rows = []
    for data, called in SETS.items():
        for mode, how in (("batch", "batch"), ("one", "one query")):
            hashed, lists = runs("lsh", data, mode), runs(LISTS[data], data, mode)
            exact = [run for run in hashed if run.peer == "annlab"]
            best = [fastest(exact, "annlab"), fastest(hashed, "annlab LSH"), fastest(lists, "annlab IVFIndex")]
            rows.append([called if mode == "batch" else "", how, *map(_cell, best)])
    return _written(f"Recall of the 10 nearest at least {RECALL}; {cpu('lsh')}; microseconds for a query.",
                    ["data", "", "ExactIndex", "LSHIndex", "IVFIndex"], rows)  # fmt: skip


def graphs() -> str:
    """Graphs and the two strongest of their kind."""
    rows = []
    for data in (CIFAR, GLOVE):
        for mode, how in (("batch", "batch"), ("one", "one query")):
            some = runs("graphs", data, mode)
            best = [fastest(some, peer) for peer in ("annlab VamanaIndex", "SymphonyQG", "hnswlib")]
            rows.append([SETS[data] if mode == "batch" else "", how, *map(_cell, best)])
    return _written(f"Recall of the 10 nearest at least {RECALL}; {cpu('graphs')}; microseconds for a query.",
                    ["data", "", "VamanaIndex", "SymphonyQG", "hnswlib"], rows)  # fmt: skip


def costs() -> str:
    """What the same settings cost before the first query: building, and memory."""
    rows = []
    for data, called in SETS.items():
        hashed, lists, built = runs("lsh", data, "one"), runs(LISTS[data], data, "one"), []
        exact = [run for run in hashed if run.peer == "annlab"]
        for run in (fastest(exact, "annlab"), fastest(hashed, "annlab LSH"), fastest(lists, "annlab IVFIndex")):
            built.append(
                "" if run is None else f"{_number(run.build_cpu_seconds)} s, {_number(run.bytes_per_vector)} B"
            )
        rows.append([called, *built])
    return _written(f"CPU seconds to build, and bytes a vector with the vectors themselves; {cpu('lsh')}.",
                    ["data", "ExactIndex", "LSHIndex", "IVFIndex"], rows)  # fmt: skip


def dimensions() -> str:
    """Trees and a scan, by dimension."""
    uniform, clusters = trees()
    dims = [x for x, _ in uniform.lines[0].places]
    rows = [[str(dim), *(_number(dict(line.places)[dim]) for panel in (uniform, clusters) for line in panel.lines)]
            for dim in dims]  # fmt: skip
    heads = [f"{name}, {of}" for of in ("uniform", "clusters") for name in ("KD", "ball", "scan")]
    return _written(f"KDTreeIndex, BallTreeIndex and ExactIndex, 100,000 rows, k = 10, batch; {cpu('trees-sections')}; "
                    "microseconds for a query.",
                    ["dimensions", *heads], rows)  # fmt: skip


def headline(field: Field) -> str:
    """Three comparisons for whoever has thirty seconds, of the run of all peers: the best of each, at equal recall."""
    machine = next(called for part, called in CPUS.items() if part in field["environment"]["cpu"])
    rows = [[what, _called(field, data), *_times(field, data, queries, ours, theirs), machine]
            for what, data, queries, ours, theirs in HEADLINE]  # fmt: skip
    return "\n".join(_table(["", "data", "annlab", "others", "CPU"], rows)) + "\n"


def with_headline(page: str, field: Field) -> str:
    """A page whose lines between the two marks are the headline."""
    before, begin, rest = page.partition("<!-- headline: python -m benchmarks figures -->\n")
    _, end, after = rest.partition("<!-- headline: end -->\n")
    if not (begin and end):
        raise ValueError("the page has no marks between which the headline stands")
    return before + begin + headline(field) + end + after


TABLES: dict[str, Callable[[], str]] = {
    "scans-hashes-lists": scans_hashes_lists, "graphs": graphs, "costs": costs, "dimensions": dimensions,
}  # fmt: skip


def _cell(run: Run | None) -> str:
    return "not reached" if run is None else _number(run.microseconds())


def _written(says: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, _, *rest = _table(heads, rows)
    aligned = "| " + " | ".join("---" if head in ("", "data") else "---:" for head in heads) + " |"
    return "\n".join([f"*{says}*", "", first, aligned, *rest, ""])


def _called(field: Field, data: str) -> str:
    """A set of the run, with its size."""
    facts = next((one for one in field["sets"] if one["name"] == data), None)
    if facts is None:
        raise ValueError(f"the run on record has no set {data}")
    return f"{SETS[data].split(',')[0]}, {facts['rows']:,} x {facts['dimension']}"


def _times(field: Field, data: str, queries: str, ours: str, theirs: Sequence[str]) -> tuple[str, str]:
    """Our time, and that of the best of each other kind with how many times as long it is."""
    mine = _fastest_of_run(field, data, queries, ours)
    others = [(name, _fastest_of_run(field, data, queries, name)) for name in theirs]
    said = [f"{name.split(' ')[0]} {_number(time)} us ({time / mine:.1f}x)" for name, time in others]
    return f"**{_number(mine)} us**", ", ".join(said)


def _fastest_of_run(field: Field, data: str, queries: str, kind: str) -> float:
    """Microseconds at the recall of the tables, of the indexes of the run whose names begin so."""
    times = [one[f"us at {RECALL:.2f}"] for one in field["times"]
             if (one["data"], one["queries"], one["k"]) == (data, queries, 10)
             and one["index"].startswith(kind)]  # fmt: skip
    if not any(times):
        raise ValueError(f"no {kind} on {data} ({queries}) in the run on record reaches a recall of {RECALL}")
    return float(min(time for time in times if time))
