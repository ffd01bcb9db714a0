"""Pictures of searches, drawn to files with matplotlib (extra `bench`): no window opens, no global state is touched."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from annlab.common import curves, style
from annlab.demo.row import Row


def recall_latency(drawn: Mapping[str, Sequence[Row]], path: Path, title: str) -> None:
    """Recall@10 against single-query latency: one line an index, its settings from fast to exact."""
    figure = style.new_figure(9, 5.5, style.LIGHT)
    places = {name: [(row.recall, 1e3 / float(np.median(row.milliseconds))) for row in rows]
              for name, rows in drawn.items()}  # fmt: skip
    curves.draw(figure.subplots(), places, f"{title}: recall of the 10 nearest; single queries, one thread")
    figure.savefig(path, dpi=120)


def example_sheet(queries: np.ndarray, query_labels: np.ndarray, results: np.ndarray, result_labels: np.ndarray,
                  class_names: Sequence[str], path: Path) -> None:  # fmt: skip
    """Queries (q, h, w) with their results (q, k, h, w): a frame where the class is the query's, else dashed."""
    q, k = result_labels.shape
    figure = style.new_figure(1.0 * (k + 1.4), 1.12 * q, style.LIGHT)
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
                spine.set(color=style.LIGHT.found if right else style.LIGHT.missed, linewidth=2.5,
                          linestyle="-" if right else (0, (2, 1.5)))  # fmt: skip
    figure.suptitle("query, and its ten nearest; dashed: of another class", fontsize=9)
    figure.savefig(path, dpi=120)
