"""Pictures of searches, drawn to files with matplotlib (extra `bench`): no window opens, no global state is touched."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from annlab.demo.row import Row

_NINES = 4  # a recall of one is drawn where 0.9999 would be
_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)


def _stretched(recall: float) -> float:
    """Position on the recall axis: the number of nines, since that is where indexes differ."""
    return float(-np.log10(max(1 - recall, 10.0**-_NINES)))


def recall_latency(curves: Mapping[str, Sequence[Row]], path: Path, title: str) -> None:
    """Recall@10 against single-query latency: one line an index, its settings from fast to exact."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for name, rows in curves.items():
        points = sorted((_stretched(row.recall), 1e3 / float(np.median(row.milliseconds))) for row in rows)
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    lowest = min(row.recall for rows in curves.values() for row in rows)
    ticks = [tick for tick in _TICKS if tick >= lowest - 0.3]
    axes.set_xticks([*map(_stretched, ticks), _NINES], [*map(str, ticks), "1"])
    axes.set_yscale("log")
    axes.set_xlabel("recall@10")
    axes.set_ylabel("single queries a second, one thread")
    axes.set_title(f"{title}: up and to the right is better")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def example_sheet(queries: np.ndarray, query_labels: np.ndarray, results: np.ndarray, result_labels: np.ndarray,
                  class_names: Sequence[str], path: Path) -> None:  # fmt: skip
    """Queries (q, h, w) with their results (q, k, h, w): green frames where the class is the query's, red where not."""
    from matplotlib.figure import Figure

    q, k = result_labels.shape
    figure = Figure(figsize=(1.0 * (k + 1.4), 1.12 * q), layout="constrained")
    for i, row in enumerate(figure.subplots(q, k + 1)):
        for j, axes in enumerate(row):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.imshow(queries[i] if j == 0 else results[i, j - 1], cmap="gray_r")
            if j == 0:
                axes.set_title(class_names[query_labels[i]], fontsize=7)
                continue
            right = result_labels[i, j - 1] == query_labels[i]
            for spine in axes.spines.values():
                spine.set(color="tab:green" if right else "tab:red", linewidth=2.5)
    figure.suptitle("query, and its ten nearest", fontsize=9)
    figure.savefig(path, dpi=120)
