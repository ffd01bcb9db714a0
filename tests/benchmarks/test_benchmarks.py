"""The benchmarks' own honesty: recall, interleaving and ratios; `test_fairness.py` has the refusal of a strawman."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks import environment, harness, report
from benchmarks.data import first, load, names
from benchmarks.frontier import Point, pareto_front, seconds_at_recall
from benchmarks.harness import Budget, Sweep
from benchmarks.oracle import Oracle, WrongAnswerError
from benchmarks.peers import PEERS, Answer, Faiss, Numpy

BLAS_PEERS = ["faiss", "scikit-learn", "numpy"]
TINY = Budget(seconds=0.0, batch=20, one=5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Times mean nothing while BLAS threads wait for each other."""
    with threadpool_limits(1):
        yield


def direct_distances(train: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """The definition of each metric, written out."""
    train, queries = train.astype(float), queries.astype(float)
    if metric == "l2":
        return np.sqrt(((queries[:, None] - train) ** 2).sum(axis=2))
    products = queries @ train.T
    if metric == "ip":
        return -products
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(train, axis=1)
    return np.where(lengths > 0, 1 - products / np.where(lengths > 0, lengths, 1), 1.0)


# --- the oracle ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_oracle_is_brute_force(metric: str, offset: float) -> None:
    rng = np.random.default_rng(1)
    train = (rng.normal(size=(300, 7)) + offset).astype(np.float32)
    queries = (rng.normal(size=(11, 7)) + offset).astype(np.float32)
    oracle = Oracle(train, queries, metric, 10)
    expected = np.sort(direct_distances(train, queries, metric), axis=1)[:, :10]
    np.testing.assert_allclose(oracle.distances, expected, rtol=1e-7, atol=1e-12)
    assert oracle.recall(oracle.ids, 10) == 1.0


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_a_sum_in_another_order_near_distance_0_is_no_other_distance(metric: str, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(20, 33)).astype(np.float32)
    train = np.concatenate([queries, 3 * queries, 0.7 * queries])
    if metric == "ip":  # at right angles, but for the rounding
        train = train - (train @ queries[0])[:, None] / (queries[0] @ queries[0]) * queries[0]
        queries = queries[:1]
    oracle = Oracle(train, queries, metric, 3)
    exact = Oracle.of
    monkeypatch.setattr(Oracle, "of", lambda self, ids: exact(self, ids) + 2e-16 * (ids >= 0))
    assert oracle.recall(oracle.ids, 3) == 1.0
    far = np.argsort(-exact(oracle, np.tile(np.arange(len(train)), (len(queries), 1))), axis=1)[:, :3]
    assert metric == "ip" or oracle.recall(far, 3) == 0.0


def test_oracle_places_zero_vectors_at_cosine_distance_one() -> None:
    train = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    oracle = Oracle(train, np.array([[2, 0], [0, 0]], np.float32), "cosine", 3)
    np.testing.assert_allclose(oracle.distances, [[0, 1, 2], [1, 1, 1]])


def test_rows_at_equal_distance_are_interchangeable() -> None:
    train = np.array([[0.0], [1.0], [-1.0], [3.0]], np.float32)
    oracle = Oracle(train, np.zeros((1, 1), np.float32), "l2", 2)
    assert oracle.recall(np.array([[0, 1]]), 2) == 1.0
    assert oracle.recall(np.array([[0, 2]]), 2) == 1.0  # as near as row 1
    assert oracle.recall(np.array([[1, 2]]), 2) == 1.0  # both within the distance of the second nearest
    assert oracle.recall(np.array([[0, 3]]), 2) == 0.5


def test_the_tolerance_is_relative() -> None:
    """Distances of 1e-8 to 1e-5: an absolute slack of 1e-3 would call every row right."""
    train = np.geomspace(1e-8, 1e-5, 50, dtype=np.float32)[:, None]
    oracle = Oracle(train, np.zeros((1, 1), np.float32), "l2", 5)
    assert oracle.recall(np.arange(45, 50)[None], 5) == 0.0


def test_nothing_found_is_never_a_hit() -> None:
    train = np.zeros((4, 2), np.float32)  # every row is at distance zero
    oracle = Oracle(train, np.zeros((1, 2), np.float32), "l2", 4)
    assert oracle.recall(np.array([[0, 1, -1, -1]]), 4) == 0.5


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[0, 1, 1]], "row 1 is returned twice"),
        ([[0, 1]], "shape"),
        ([[0, 1, 10]], "run from 0 to 10"),
        ([[0, -2, 1]], "run from -2"),
        ([[0.0, 1.0, 2.0]], "not integers"),
    ],
)
def test_malformed_answers_are_errors(ids: list[list[Any]], message: str) -> None:
    train = np.arange(10, dtype=np.float32)[:, None]
    with pytest.raises(WrongAnswerError, match=message):
        Oracle(train, np.zeros((1, 1), np.float32), "l2", 3).recall(np.array(ids), 3)


# --- the peers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metric"), [(name, metric) for name in BLAS_PEERS for metric in sorted(PEERS[name].metrics)]
)
@pytest.mark.parametrize("k", [1, 10, 300])
def test_peers_find_the_neighbours(name: str, metric: str, k: int) -> None:
    pytest.importorskip(PEERS[name].package)
    peer = PEERS[name]()
    whole = load(None, "clusters:5000x24")
    peer.build(whole.train, metric)
    queries = whole.test[:30]
    _, ids = peer.search(peer.prepare(queries), k)
    assert Oracle(whole.train, queries, metric, k).recall(ids, k) > 0.999
    assert peer.memory() >= whole.train.nbytes


def test_numpy_merges_blocks_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that no block, batch or group divides."""
    monkeypatch.setattr(Numpy, "block", 700)
    monkeypatch.setattr(Numpy, "batch", 7)
    whole = load(None, "uniform:1999x5")
    peer = Numpy()
    peer.build(whole.train, "l2")
    _, ids = peer.search(whole.test[:30], 20)
    assert Oracle(whole.train, whole.test[:30], "l2", 20).recall(ids, 20) == 1.0


def test_faiss_answers_one_query_by_its_plain_scan() -> None:
    """Through BLAS it would copy the database for every query: several times slower, a strawman."""
    faiss = pytest.importorskip("faiss")
    whole = load(None, "uniform:20000x128")
    peer = Faiss()
    peer.build(whole.train, "l2")
    query = whole.test[:1]
    chosen = environment.hardware.best_rate(lambda: peer.search(query, 10), 1)
    faiss.cvar.distance_compute_blas_threshold = environment.FAISS_BLAS_THRESHOLD
    forced = environment.hardware.best_rate(lambda: peer.index.search(query, 10), 1)
    assert chosen > 2 * forced


# --- the harness --------------------------------------------------------------------------------------------------


class Recorder(Numpy):
    """Writes down what is asked of it; a search takes `delay` more turns of a busy loop."""

    builds: ClassVar[list[int]] = []
    turns: ClassVar[list[str]] = []

    def __init__(self, name: str = "recorder", delay: int = 0) -> None:
        self.name, self.delay = name, delay

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        self.builds.append(parameters.get("leaf", 0))
        super().build(train, metric)

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        self.turns.append(self.name)
        sum(range(self.delay * len(queries)))
        return super().search(queries, k)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr(Recorder, "builds", [])
    monkeypatch.setattr(Recorder, "turns", [])
    return Recorder


def test_builds_once_and_sweeps_the_search(recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "REBUILD_BELOW", -1.0)
    sweep = Sweep(recorder, build={"leaf": [1, 2]}, search={"probes": [1, 2, 3], "refine": [True, False]})
    runs = harness.measure(load(None, "uniform:500x4"), [sweep], [5], ["batch", "one"], TINY)
    assert recorder.builds == [1, 2]
    assert len(runs) == 2 * 6 * 2
    assert {run.label for run in runs} >= {"recorder leaf=2 probes=3 refine=False"}
    assert all(run.recall == 1.0 for run in runs)
    assert {len(run.cpu) for run in runs} == {harness.MINIMUM_ROUNDS}


def test_entrants_take_turns(recorder: type[Recorder]) -> None:
    sweeps = [Sweep(lambda: recorder("a")), Sweep(lambda: recorder("b"))]
    harness.measure(load(None, "uniform:500x4"), sweeps, [5], ["batch"], TINY)
    assert recorder.turns == ["a", "b", *"ab", *"ba", *"ab"]  # warm-up, then rounds that begin in turn


def test_a_peer_that_does_more_work_is_said_to_be_slower(recorder: type[Recorder]) -> None:
    """A peer that does its work and much more is slower; the same peer twice is as fast as itself."""
    sweeps = [
        Sweep(lambda: recorder("fast", 2_000)),
        Sweep(lambda: recorder("again", 2_000)),
        Sweep(lambda: recorder("slow", 200_000)),
    ]
    budget = Budget(seconds=1.0, batch=50, one=5)
    fast, again, slow = harness.measure(load(None, "uniform:2000x8"), sweeps, [5], ["batch"], budget)
    assert harness.speedup(fast, slow)[0] > 5
    assert harness.speedup(slow, fast)[0] < 0.2
    assert 0.6 < harness.speedup(fast, again)[0] < 1.6


def test_percentiles_are_over_queries_not_rounds(recorder: type[Recorder]) -> None:
    (run,) = harness.measure(load(None, "uniform:500x4"), [Sweep(recorder)], [5], ["one"], TINY)
    run.query_wall = [[1.0, 2.0, 3.0, 4.0, 5.0]] * 2 + [[900.0, 2.0, 3.0, 4.0, 5.0]]  # one accident of the scheduler
    p50, _, p99 = run.percentiles()
    assert p50 == pytest.approx(3e6)
    assert p99 < 5.1e6


class Repeater(Recorder):
    """Returns the nearest row k times, which is very fast."""

    def search(self, queries: np.ndarray, k: int, **parameters: Any) -> Answer:
        distances, ids = Numpy.search(self, queries, 1)
        return np.repeat(distances, k, axis=1), np.repeat(ids, k, axis=1)


def test_a_peer_that_repeats_rows_is_caught() -> None:
    with pytest.raises(WrongAnswerError, match="twice"):
        harness.measure(load(None, "uniform:500x4"), [Sweep(Repeater)], [5], ["batch"], TINY)


def test_results_survive_the_file(tmp_path: Path) -> None:
    runs = harness.measure(load(None, "uniform:500x4"), [Sweep(Numpy)], [5], ["batch", "one"], TINY)
    report.write(tmp_path / "results.json", {"publishable": True}, runs)
    setting, again = report.read(tmp_path / "results.json")
    assert setting == {"publishable": True}
    for before, after in zip(runs, again, strict=True):
        assert after.microseconds() == pytest.approx(before.microseconds(), rel=1e-3)
    assert "one query at a time" in report.tables(again, "numpy")


# --- data and frontier --------------------------------------------------------------------------------------------


def test_sets_are_chosen_by_name(tmp_path: Path) -> None:
    for name in ("sift-128", "glove-50"):
        (tmp_path / f"{name}.hdf5").touch()
    assert names(tmp_path, [], ["uniform:9x2"]) == ["glove-50", "sift-128", "uniform:9x2"]
    assert names(tmp_path, ["sift", "clusters:9x2"], []) == ["sift-128", "clusters:9x2"]
    with pytest.raises(ValueError, match="no set 'gist'"):
        names(tmp_path, ["gist"], [])


def test_synthetic_sets_are_seeded_and_sized() -> None:
    one, two = load(None, "clusters:300x6"), load(None, "clusters:300x6")
    np.testing.assert_array_equal(one.train, two.train)
    assert one.train.shape == (300, 6)
    assert first(one, 100).train.shape == (100, 6)
    with pytest.raises(ValueError, match="fewer than 301"):
        first(one, 301)


def test_hdf5_is_read_as_float32(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "tiny.hdf5", "w") as file:
        file["train"], file["test"] = np.arange(12, dtype=np.uint8).reshape(6, 2), np.zeros((2, 2))
        file.attrs["distance"] = "angular"
    dataset = load(tmp_path, "tiny")
    assert (dataset.metric, dataset.train.dtype.name, dataset.train.shape) == ("cosine", "float32", (6, 2))


def test_frontier_and_equal_recall() -> None:
    curve = [Point("a", 0.5, 1.0), Point("a", 0.9, 4.0), Point("a", 0.8, 9.0), Point("a", 0.99, 16.0)]
    assert [point.recall for point in pareto_front(curve)] == [0.5, 0.9, 0.99]
    assert seconds_at_recall(curve, 0.9) == pytest.approx(4.0)
    assert seconds_at_recall(curve, 0.7) == pytest.approx(2.0)  # half-way, in the logarithm
    assert seconds_at_recall(curve, 0.1) == 1.0
    assert seconds_at_recall(curve, 0.999) == float("inf")


def test_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plots

    plots.save([Point("a", 0.5, 1e-3), Point("a", 1.0, 1e-2), Point("b", 0.9, 1e-4)], "tiny", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
