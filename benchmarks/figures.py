"""The figures and the table of choice of the documentation, from the result files: `python -m benchmarks figures`.

Nothing is measured here. Each figure is a panel or two of lines; each line is read from one result file, and a panel
shows what one CPU did, which its title names. The numbers that a figure shows are hashed into it, so that a test finds
one that is older than its results, whatever version of matplotlib drew it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annlab.common import curves, style
from benchmarks.frontier import Point, pareto_front, points
from benchmarks.harness import Run
from benchmarks.measured import RESULTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = RESULTS.parents[1] / "docs"
FOLDER, TABLES, README = DOCS / "figures", DOCS / "tables", DOCS.parent / "README.md"
SIFT, GLOVE, CIFAR = "sift-clothing-128-euclidean-500k", "glove-6b-50-angular-200k", "cifar10-lite0-pca128-euclidean"
ZEN3, ZEN4, XEON = "AMD EPYC (Zen 3, AVX2)", "AMD EPYC (Zen 4, AVX-512)", "Intel Xeon 2.8 GHz (AVX-512)"
CPUS = {"znver3": ZEN3, "znver4": ZEN4, "icelake-server": XEON}
OURS = style.SERIES  # annlab's lines; those of others are grey and dashed
OTHERS = ("#555555", "#8a8a8a", "#b0a080", "#7f95a8", "#c0c0c0")
PICTURED = {"sift": "SIFT", "cifar10": "CNN embeddings", "glove": "GloVe, cosine", "clusters": "made clusters"}
KINDS = ("IVFIndex", "LSHIndex", "VamanaIndex", "ExactIndex")
STRONGEST = ("SymphonyQG", "ScaNN", "hnswlib", "faiss", "Glass")
CROWDED = 6  # lines
MARKS, DASHES = "os^Dv", ((4, 2), (1, 1.5), (6, 1, 1, 1), (2, 2), (8, 2))


@dataclass(frozen=True)
class Line:
    """A line of a panel: what it is called, and its places (x, y), y being microseconds of a query."""

    name: str
    places: tuple[tuple[float, float], ...]
    ours: bool = True


@dataclass(frozen=True)
class Panel:
    """Lines over one axis: "recall" (queries a second, stretched), "rows" or "dimension" (microseconds)."""

    title: str
    axis: str
    lines: tuple[Line, ...] = field(repr=False)


def runs(name: str, data: str, mode: str, k: int = 10) -> list[Run]:
    """The runs of one result file on one set, with one thread; a set's name may end in how its numbers look."""
    records = json.loads((RESULTS / f"{name}.json").read_text())["runs"]
    return [Run(**one) for one in records if one["dataset"].split(",")[0] == data and "sorted" not in one["dataset"]
            and (one["mode"], one["k"], one["threads"]) == (mode, k, 1)]  # fmt: skip


def cpu(name: str) -> str:
    """The CPU of a result file, as people call it."""
    measured = json.loads((RESULTS / f"{name}.json").read_text())["environment"]["cpu"]
    return next(called for part, called in CPUS.items() if part in measured)


def front(name: str, some: Iterable[Run], *peers: str) -> Line:
    """The best that any setting of these reaches, as a line."""
    curve = pareto_front(points(run for run in some if run.peer.startswith(peers)))
    return Line(name, tuple((point.recall, point.seconds * 1e6) for point in curve), peers[0].startswith("annlab"))


def against(name: str, some: Sequence[Run], chosen: Callable[[Run], bool], place: Callable[[Run], float]) -> Line:
    """Time against what `place` reads of a run."""
    mine = [run for run in some if chosen(run)]
    return Line(
        name, tuple(sorted((place(run), run.microseconds()) for run in mine)), mine[0].peer.startswith("annlab")
    )


def overview() -> list[Panel]:
    """One query, all indexes and the strongest of their peers, from the run of the whole field."""
    content = json.loads((RESULTS / "field.json").read_text())
    sets = {one["name"]: one for one in content["sets"]}
    chosen = [name for begins in PICTURED for name in sets if name.startswith(begins)][:2]
    panels = []
    for data in chosen:
        asked = [one for one in content["settings"] if (one["data"], one["queries"], one["k"]) == (data, "one", 10)]
        lines = []
        for called, begins in (*((kind, f"annlab {kind}") for kind in KINDS), *((name, name) for name in STRONGEST)):
            mine = [Point(called, one["recall"], one["us"] / 1e6) for one in asked if one["index"].startswith(begins)]
            places = tuple((point.recall, point.seconds * 1e6) for point in pareto_front(mine))
            lines += [Line(called, places, begins.startswith("annlab"))] if places else []
        about = sets[data]
        called = f"{PICTURED[next(begins for begins in PICTURED if data.startswith(begins))]}, {about['rows']:,}"
        panels.append(Panel(f"{called} x {about['dimension']}, one query\n{cpu('field')}", "recall", tuple(lines)))
    return panels


def exact() -> list[Panel]:
    """Scans against the number of rows."""
    panels = []
    for mode, called in (("batch", "batch of queries"), ("one", "one query")):
        some = runs("exact-sizes", "uniform:1000000x64", mode)
        lines = tuple(
            against(name, some, lambda run, label=label: run.label == label, lambda run: run.n)
            for name, label in (("ExactIndex, bytes", "annlab precision=int8"), ("float32", "annlab precision=float32"),
                                ("faiss IndexFlat", "faiss"))
        )  # fmt: skip
        panels.append(Panel(f"uniform, 64 dimensions, {called}\n{cpu('exact-sizes')}", "rows", lines))
    return panels


def trees() -> list[Panel]:
    """Trees and a scan against the dimension."""
    panels = []
    records = json.loads((RESULTS / "trees-sections.json").read_text())["runs"]
    every = [Run(**one) for one in records if (one["mode"], one["k"], one["threads"]) == ("batch", 10, 1)]
    for kind, called in (("uniform", "uniform rows"), ("clusters", "clusters on a curved surface")):
        some = [run for run in every if run.dataset.startswith(f"{kind}:")]
        lines = tuple(
            against(name, some, lambda run, peer=peer: run.peer == peer, lambda run: run.dim)
            for name, peer in (("KDTreeIndex", "annlab KDTreeIndex"), ("BallTreeIndex", "annlab BallTreeIndex"),
                               ("ExactIndex", "annlab"))
        )  # fmt: skip
        panels.append(Panel(f"{called}, 100,000, batch\n{cpu('trees-sections')}", "dimension", lines))
    return panels


def lsh() -> list[Panel]:
    """Hashing against other hashing."""
    panels = []
    for mode, called in (("one", "one query"), ("batch", "batch of queries")):
        some = runs("lsh", SIFT, mode)
        ours = tuple(front(f"LSHIndex, {how}", some, f"annlab LSH {how}") for how in ("scan", "buckets"))
        lines = (*ours, front("faiss IndexLSH, re-ranked", some, "faiss IndexLSH"), front("FALCONN", some, "FALCONN"))
        panels.append(Panel(f"SIFT, 500,000 x 128, {called}\n{cpu('lsh')}", "recall", lines))
    return panels


def ivf() -> list[Panel]:
    """Inverted files against other inverted files."""
    panels = []
    for mode, called in (("one", "one query"), ("batch", "batch of queries")):
        some = runs("ivf-sift", SIFT, mode)
        ours = tuple(front(f'IVFIndex, "{kind}"', some, f"annlab IVFIndex {kind}") for kind in ("pq4", "sq8", "flat"))
        others = front("ScaNN", some, "ScaNN"), front("faiss, its best", some, "faiss")
        panels.append(Panel(f"SIFT, 500,000 x 128, {called}\n{cpu('ivf-sift')}", "recall", (*ours, *others)))
    return panels


def vamana() -> list[Panel]:
    """Graphs against other graphs."""
    panels = []
    for data, called in ((CIFAR, "CNN embeddings, 50,000 x 128"), (GLOVE, "GloVe, 200,000 x 50, cosine")):
        some = runs("graphs", data, "one")
        ours = tuple(front(f"degree {degree}", some, f"annlab VamanaIndex, degree {degree}") for degree in (32, 64))
        others = front("SymphonyQG", some, "SymphonyQG"), front("hnswlib", some, "hnswlib")
        panels.append(Panel(f"{called}, one query\n{cpu('graphs')}", "recall", (*ours, *others)))
    return panels


FIGURES: dict[str, Callable[[], list[Panel]]] = {
    "overview": overview, "exact": exact, "trees": trees, "lsh": lsh, "ivf": ivf, "vamana": vamana,
}  # fmt: skip


def fingerprint(panels: Sequence[Panel]) -> str:
    """A hash of all that a figure says."""
    said: list[Any] = [
        [panel.title, panel.axis, [[line.name, line.places] for line in panel.lines]] for panel in panels
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Write a figure as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "annlab", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False}):  # fmt: skip
        figure = Figure(figsize=(4.6 * len(panels), 4.0), layout="constrained")
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(every, panels, strict=True):
            _panel(axes, panel)
        if len(panels[0].lines) > CROWDED:  # one legend for all, below
            handles, labels = max((axes.get_legend_handles_labels() for axes in every), key=lambda both: len(both[1]))
            figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
        figure.savefig(path, metadata={"Date": None, "Description": fingerprint(panels)})


def _panel(axes: "Axes", panel: Panel) -> None:
    """The lines, ours in colour with full marks, and the axes."""
    recall, ours, others = panel.axis == "recall", 0, 0
    for line in panel.lines:
        xs = [curves.stretch(x) if recall else x for x, _ in line.places]
        ys = [1e6 / y if recall else y for _, y in line.places]
        if line.ours:
            axes.plot(xs, ys, "-", marker=MARKS[ours], color=OURS[ours], lw=2, ms=5, label=line.name, zorder=3)
            ours += 1
        else:
            axes.plot(xs, ys, marker=MARKS[others], color=OTHERS[others], lw=1.4, ms=4, dashes=DASHES[others],
                      mfc="white", label=line.name)  # fmt: skip
            others += 1
    axes.set_yscale("log")
    axes.set_title(panel.title, fontsize=10)
    if recall:
        axes.set_xlim(curves.stretch(0.75), curves.stretch(1) + 0.15)
        curves.recall_axis(axes, (0.8, 0.9, 0.95, 0.99, 0.999))
    else:
        axes.grid(alpha=0.25, which="major")
        axes.set(xlabel=panel.axis + " (down is better)", ylabel="microseconds a query")
        if panel.axis == "rows":
            axes.set_xscale("log")
    if len(panel.lines) <= CROWDED:
        axes.legend(fontsize=9, frameon=False)


def main() -> int:
    """Write all figures and the tables."""
    from benchmarks import choice
    from benchmarks.field import keeping

    for folder in (FOLDER, TABLES):
        folder.mkdir(exist_ok=True, parents=True)
    for name, panels in FIGURES.items():
        draw(panels(), FOLDER / f"{name}.svg")
    for name, text in choice.TABLES.items():
        (TABLES / f"{name}.md").write_text(text())
    field = json.loads(keeping.FILE.read_text())
    README.write_text(keeping.with_lost(choice.with_headline(README.read_text(), field), field))
    print(f"{FOLDER}: {len(FIGURES)} figures; {TABLES}: {len(choice.TABLES)} tables")
    return 0
