"""The suite for graphs: which settings it tries, what it keeps, its table at equal recall, and its made set."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from annlab.datasets import synthetic
from benchmarks import graph_peers, graph_promises, graphs, report
from benchmarks.data import elsewhere, gap, load
from benchmarks.graph_peers import Graph
from benchmarks.harness import Built, Run, Sweep
from benchmarks.oracle import Oracle


class Pretender(Graph):
    """Finds as many of the true neighbours as it makes efforts."""

    name, package, made = "pretender", "numpy", 0

    def make(self, parameters: dict[str, Any]) -> None:
        Pretender.made += 1

    def write(self, path: Path) -> None:
        (path / "index").write_text("kept")

    def read(self, path: Path, parameters: dict[str, Any]) -> None:
        assert (path / "index").read_text() == "kept"

    def memory(self) -> int:
        return 0

    def search(self, queries: np.ndarray, k: int, ef: int = 1, **parameters: Any) -> Any:
        found = self.truth[: len(queries), :k].copy()
        found[: round(len(found) * max(0.0, 1.0 - ef / 100))] = -1
        return np.zeros(found.shape), found


def test_settings_beside_the_recalls_of_interest_are_chosen() -> None:
    data = synthetic(500, 8, 4, 100, seed=0)
    oracle, peer = Oracle(data.train, data.test, "l2", 5), Pretender()
    peer.truth, peer.cosine = oracle.ids, False
    levels = {"ef": (4, 80, 86, 91, 92, 94, 96, 97, 100, 200)}
    chosen = graphs.promising(Built(peer, {}, 0, 0, 0, 0), levels, data, 5, oracle)
    assert [setting["ef"] for setting in chosen] == [86, 91, 94, 96, 97, 100]


def test_what_was_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(graph_peers.PEERS, "pretender", Pretender)
    data, options = synthetic(100, 4, 2, 5, seed=0), SimpleNamespace(built=tmp_path, only_built=True)
    sweep = Sweep(Pretender, {"M": [4]}, {"ef": [1]})
    assert graphs.build(sweep, {"M": 4}, data, options) is None  # type: ignore[arg-type]
    options.only_built = False
    first = graphs.build(sweep, {"M": 4}, data, options)  # type: ignore[arg-type]
    again = graphs.build(sweep, {"M": 4}, data, options)  # type: ignore[arg-type]
    assert first is not None and again is not None
    assert Pretender.made == 1 and again.cpu_seconds == first.cpu_seconds


def run_of(peer: str, recall: float, seconds: float) -> Run:
    return Run("set", 100, 4, "l2", peer, 1, {}, {}, 10, "one", 10, recall, 1.0, 1.0, 1.0, 0.0, 9.0,
               [seconds] * 3, [seconds] * 3)  # fmt: skip


def test_times_are_compared_at_equal_recall(tmp_path: Path) -> None:
    ours = [run_of("annlab VamanaIndex, degree 32", recall, at) for recall, at in ((0.9, 1e-4), (0.96, 2e-4))]
    theirs = [run_of("other", 0.89, 2e-4), run_of("other", 0.97, 8e-4)]
    table = graphs.summary([*ours, *theirs])
    at_90, at_95, at_99 = table["at equal recall"]
    assert at_90["degree 32"] == 10 and 2.0 < at_90["other, times"] < 3.0
    assert 3.0 < at_95["other, times"] < 4.0 and at_99["degree 32"] == "-"
    report.write(tmp_path / "runs.json", {}, ours, table)
    assert report.read(tmp_path / "runs.json")[1] == ours


def test_queries_come_from_elsewhere() -> None:
    data = elsewhere(3000, 32, "made", 100)
    assert data.train.dtype == np.float32 and np.allclose(np.linalg.norm(data.train, axis=1), 1, atol=1e-5)
    assert gap(data, Oracle(data.train, data.test, "l2", 10).distances) > 1.2
    assert (load(None, "elsewhere:300x16").train == elsewhere(300, 16, "").train).all()


@pytest.mark.parametrize("name", list(graph_peers.PEERS))
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_peers_find_the_neighbours(name: str, metric: str, tmp_path: Path) -> None:
    pytest.importorskip(graph_peers.PEERS[name].package)
    data = synthetic(1500, 16, 4, 30, metric=metric, seed=0)
    oracle = Oracle(data.train, data.test, metric, 10)
    options = SimpleNamespace(peers=[name], built=tmp_path, only_built=False)
    for sweep in graphs.sweeps(options)[:1]:  # type: ignore[arg-type]
        parameters = {key: values[-1] for key, values in sweep.build.items()}
        for _ in range(2):  # built, and read again
            built = graphs.build(sweep, parameters, data, options)  # type: ignore[arg-type]
            assert built is not None
            (effort, levels), *_ = sweep.search.items()
            queries = np.ascontiguousarray(built.peer.prepare(data.test))
            for some in (queries, queries[:1]):
                ids = built.peer.search(some, 10, **{effort: levels[-1]})[1]
                assert oracle.recall(ids, 10) > 0.9, built.peer.name


def test_promises_of_the_graph_are_tried_and_kept() -> None:
    data = synthetic(3000, 12, 6, 50, clusters=10, seed=0)
    found = list(graph_promises.sizes(data))
    assert all(record["kept"] for record in found if "rows" in record["trial"])
