"""The suite for inverted files: what it keeps of its runs, which settings it tries, and the peers' faithfulness."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from annlab.datasets import synthetic
from benchmarks import ivf, out_of_core, plots, report
from benchmarks.frontier import Point
from benchmarks.harness import Built
from benchmarks.oracle import Oracle
from benchmarks.peers import Peer


class Pretender(Peer):
    """Finds as many of the true neighbours as its probes allow, and remembers what it was asked."""

    name, package = "pretender", "numpy"

    def __init__(self, oracle: Oracle) -> None:
        self.truth, self.asked = oracle.ids, []

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        raise NotImplementedError

    def search(self, queries: np.ndarray, k: int, n_probes: int = 1, rerank: int = 1, **parameters: Any) -> Any:
        self.asked.append((n_probes, rerank))
        found = self.truth[: len(queries), :k].copy()
        found[:, min(k, n_probes, 4 * rerank) :] = -1
        return np.zeros(found.shape), found

    def memory(self) -> int:
        return 0


def test_settings_that_cannot_matter_are_not_tried() -> None:
    data = synthetic(500, 8, 4, 50, seed=0)
    oracle = Oracle(data.train, data.test, "l2", 10)
    peer = Pretender(oracle)
    settings = {"n_probes": (1, 4, 8, 10, 12, 20), "rerank": (1, 2, 4)}
    chosen = ivf.promising(Built(peer, {}, 0, 0, 0, 0), settings, data, 10, oracle)
    assert (20, 4) not in peer.asked and (12, 4) not in peer.asked and (10, 4) in peer.asked
    assert {"n_probes": 10, "rerank": 4} in chosen and len(chosen) <= ivf.MOST_SETTINGS


def test_latencies_are_kept_as_quantiles() -> None:
    walls = np.random.default_rng(0).random((3, 100))
    run = SimpleNamespace(query_wall=walls.tolist())
    ivf._shorten(run)  # type: ignore[arg-type]
    expected = np.percentile(np.median(walls, axis=0), [50, 95])
    assert len(run.query_wall) == 1 and np.percentile(run.query_wall[0], [50, 95]) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_peers_find_the_neighbours(metric: str) -> None:
    pytest.importorskip("faiss")
    data = synthetic(2000, 16, 4, 30, metric=metric, seed=0)
    oracle = Oracle(data.train, data.test, metric, 10)
    options = SimpleNamespace(threads=[1], peers=["annlab", "faiss"])
    for sweep in ivf.sweeps(data, options):  # type: ignore[arg-type]
        build = {name: values[-1] for name, values in sweep.build.items()}
        peer = sweep.peer()
        peer.build(data.train, metric, **build)
        queries = np.ascontiguousarray(peer.prepare(data.test))
        for some in (queries, queries[:1]):
            _, ids = peer.search(some, 10, n_probes=64, rerank=16) if "rerank" in sweep.search else peer.search(
                some, 10, n_probes=64)  # fmt: skip
            assert oracle.recall(ids, 10) > 0.95, peer.name
        assert peer.memory() >= data.train.nbytes // 4


def test_grid_of_plots_and_records(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    some = [Point("a", 0.9, 1e-5), Point("a", 0.95, 2e-5), Point("b", 0.8, 3e-5)]
    plots.save_grid({(1, "batch"): some, (1, "one"): some, (10, "batch"): some}, "title", tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000
    report.write_records(tmp_path / "records.json", {"cpu": "any"}, [{"x": 1.23456789e-5, "y": [1]}, {"x": 2}])
    assert json.loads((tmp_path / "records.json").read_text())["records"] == [{"x": 1.235e-05, "y": [1]}, {"x": 2}]


def test_blocks_are_made_from_the_seed() -> None:
    data = out_of_core.Clusters(250_000, 20)
    sizes = [block.shape for block in data.blocks()]
    assert sizes == [(100_000, 20), (100_000, 20), (50_000, 20)]
    assert (
        np.array_equal(data.some(5, 3), out_of_core.Clusters(9, 20).some(5, 3)) and data.queries(3).dtype == np.float32
    )
    assert not np.array_equal(data.some(5, 3), data.some(5, 4))


WATCHED = """
import time, numpy as np
from benchmarks.out_of_core import Memory
with Memory() as memory:
    big, until = np.ones(8_000_000), time.monotonic() + 60
    while memory.bytes < big.nbytes // 2 and time.monotonic() < until:  # the watcher looks every 10 ms
        big += 1
print(big.nbytes / 2 <= memory.bytes < big.nbytes * 4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_the_peak_of_memory_is_watched() -> None:
    """In a process of its own: what others free meanwhile would hide what this one takes."""
    done = subprocess.run([sys.executable, "-c", WATCHED], cwd=Path(__file__).parents[2], capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.stdout.strip() == "True", done.stderr
