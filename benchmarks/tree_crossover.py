"""From which dimension on a plain scan overtakes the trees: noise, and clusters, in ever more dimensions.

Noise is the worst case: all its rows are about equally far away once there are many dimensions. The clusters have at
most sixteen intrinsic dimensions, however many they are embedded in. The scan is ExactIndex with its defaults.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annlab.datasets import Dataset
from benchmarks.harness import Budget, Run, Sweep, measure
from benchmarks.peers import Annlab

DIMENSIONS = (2, 4, 6, 8, 10, 12, 14, 18, 24, 32, 48)
KINDS = ("uniform", "clusters")
ROWS = 100_001  # not a round number: sets of this section are known by it
SETS = tuple(f"{kind}:{ROWS}x{dim}" for dim in DIMENSIONS for kind in KINDS)
SCAN = "annlab"


def run(dataset: Dataset, options: Namespace, budget: Budget) -> list[Run]:
    """The trees and the scan on one set, in batches of 300 for ten neighbours."""
    entrants: list[Any] = [partial(Annlab, "KDTreeIndex"), partial(Annlab, "BallTreeIndex"), Annlab]
    short = Budget(seconds=min(budget.seconds, 2.0), batch=300, one=50)
    return measure(dataset, [Sweep(entrant) for entrant in entrants], [10], ("batch", "one"), short)


def _times(runs: Sequence[Run], kind: str, mode: str) -> dict[str, dict[int, float]]:
    """Microseconds a query by peer and dimension."""
    times: dict[str, dict[int, float]] = {}
    for one in runs:
        if one.dataset in SETS and one.dataset.startswith(kind) and one.mode == mode:
            times.setdefault(one.peer, {})[one.dim] = one.microseconds()
    return times


def table(runs: Sequence[Run]) -> str:
    """Time of a query divided by the scan's, and the first dimension in which the scan is faster."""
    lines = [f"time of a query / the scan's, {ROWS:,} rows, k=10"]
    for kind in KINDS:
        for mode in ("batch", "one"):
            times = _times(runs, kind, mode)
            for peer in sorted(set(times) - {SCAN}):
                ratios = {dim: time / times[SCAN][dim] for dim, time in sorted(times[peer].items())}
                first = next((dim for dim, ratio in ratios.items() if ratio > 1), None)
                numbers = "  ".join(f"{dim}: {ratio:.2f}" for dim, ratio in ratios.items())
                lines.append(f"  {kind:8} {mode:5} {peer:22} {numbers}  -> the scan wins from {first or 'nowhere'} on")
    return "\n".join(lines)


def draw(runs: Sequence[Run], path: Path) -> None:
    """The same as a plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")  # not pyplot: no window, no global state
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), KINDS, strict=True):
        for peer, times in _times(runs, kind, "batch").items():
            dims = sorted(times)
            axes.plot(dims, [times[dim] for dim in dims], "o-", label="annlab ExactIndex" if peer == SCAN else peer)
        axes.set(xscale="log", yscale="log", xlabel="dimensions", title=f"{kind}, {ROWS:,} rows, k=10, batches")
        axes.set_xticks(DIMENSIONS, [str(dim) for dim in DIMENSIONS])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.axes[0].set_ylabel("microseconds a query\ndown is better")
    figure.savefig(path, dpi=120)
