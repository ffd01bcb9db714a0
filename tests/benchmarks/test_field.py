"""`python -m benchmarks run`: tuning within a budget, raw results, verdicts with intervals, and the page."""

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from annlab.cli import main as annlab
from annlab.datasets import Dataset
from benchmarks import environment
from benchmarks.data import load
from benchmarks.field import filters, keeping, page, runbook, running
from benchmarks.field.contestants import Contestant, contestants
from benchmarks.field.drawing import looks
from benchmarks.field.tuning import Trial, Tuned, choose, tune
from benchmarks.field.verdicts import Measured, curves, first_places, tails, verdicts
from benchmarks.oracle import Oracle
from benchmarks.peers import Annlab, Answer, Peer


class Sampled(Peer):
    """Finds the neighbours among the first `share` of the rows: recall that is known, and grows with the effort."""

    name, package = "sampled", "numpy"
    built: ClassVar[list[int]] = []

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        self.built.append(len(train))
        self.train = train

    def search(self, queries: np.ndarray, k: int, share: float = 1.0, **parameters: Any) -> Answer:
        rows = self.train[: max(k, round(share * len(self.train)))]
        away = ((queries[:, None].astype(float) - rows) ** 2).sum(axis=2)
        ids = np.argsort(away, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(away, ids, axis=1), ids

    def memory(self) -> int:
        return self.train.nbytes


SHARES = [0.2, 0.5, 0.8, 0.9, 0.95, 1.0]
SAMPLED = Contestant("annlab sampled", Sampled, {"seed": [1, 2]}, {"share": SHARES}, "share")


@pytest.fixture(scope="module")
def small() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset("small", rng.random((600, 4), dtype="f4"), rng.random((60, 4), dtype="f4"), "l2")


def test_tuning_tries_all_builds_and_keeps_a_front(small: Dataset) -> None:
    oracle = Oracle(small.train, small.test, "l2", 10)
    found, built = tune(SAMPLED, small, oracle, [10], 60.0)
    assert found.builds == 2 and len(found.trials) == 2 * len(SHARES)
    recalls = [trial.recall for trial in found.chosen]
    assert recalls == sorted(recalls) and recalls[-1] == 1.0
    seconds = [trial.seconds for trial in found.chosen]
    assert seconds == sorted(seconds)  # no more recall without more time
    assert set(found.settings(10)) <= set(built)
    assert Tuned.of(json.loads(json.dumps(found.record()))) == found


def test_without_seconds_the_first_build_is_still_tried(small: Dataset) -> None:
    Sampled.built.clear()
    found, _ = tune(SAMPLED, small, Oracle(small.train, small.test, "l2", 10), [10], 0.0)
    assert found.builds == 1 and len(found.trials) == 1


def test_no_setting_is_chosen_that_another_beats() -> None:
    trials = [Trial(10, {}, {"x": i}, recall, seconds) for i, (recall, seconds) in enumerate(
        [(0.85, 1.0), (0.92, 2.0), (0.92, 3.0), (0.96, 2.5), (0.94, 4.0), (0.995, 9.0)])]  # fmt: skip
    assert [trial.search["x"] for trial in choose(trials)] == [0, 1, 3, 5]


def test_queries_of_tuning_are_not_those_that_are_reported(small: Dataset) -> None:
    dataset, tuning = running.apart(small)
    assert len(dataset.train) + len(tuning) == len(small.train) and len(dataset.test) == 60
    both = np.concatenate([dataset.train, tuning])
    assert np.array_equal(np.unique(both, axis=0), np.unique(small.train, axis=0))


def measured(
    recalls: dict[str, list[float]], us: dict[str, list[float]], queries: int = 400, rounds: int = 9
) -> Measured:
    """Settings with known recalls and times, and noise of 5 % in the times."""
    rng = np.random.default_rng(1)
    runs: list[dict[str, Any]] = []
    hits, times = [], []
    for name in recalls:
        for recall, one in zip(recalls[name], us[name]):
            spent = one * (1 + 0.05 * rng.standard_normal(rounds)) * queries / 1e6
            runs.append({"peer": name, "cpu": spent.tolist(), "queries": queries, "build": {}, "search": {"x": recall},
                         "build_cpu_seconds": 1.0, "bytes_per_vector": 8.0})  # fmt: skip
            hits.append(rng.binomial(10, recall, size=queries) / 10)
            times.append(np.full((rounds, queries), one / 1e6))
    return Measured(10, "one", runs, np.array(hits), times)


def test_a_clear_difference_has_a_verdict_and_none_is_a_tie() -> None:
    levels = [0.85, 0.93, 0.97, 0.998]
    some = measured({"annlab a": levels, "slow": levels, "alike": levels, "quick": levels},
                    {"annlab a": [10, 20, 40, 80], "slow": [30, 60, 120, 240], "alike": [10, 20, 40, 80],
                     "quick": [4, 8, 16, 32]})  # fmt: skip
    words = {verdict.name: verdict.word for verdict in verdicts(some) if verdict.recall == 0.95}
    assert words == {"slow": "ahead", "alike": "tied", "quick": "behind"}
    slow = next(v for v in verdicts(some) if (v.name, v.recall) == ("slow", 0.95))
    assert slow.low < 3 < slow.high or slow.ratio == pytest.approx(3, rel=0.1)
    places = first_places(some, curves(some))
    assert places[0.95] == ["quick"]


def test_a_recall_that_is_not_reached_is_no_time() -> None:
    some = measured({"annlab a": [0.92], "b": [0.7]}, {"annlab a": [10.0], "b": [1.0]})
    assert [v.name for v in verdicts(some)] == []
    assert np.isinf(curves(some)["b"][0]).all()


def test_tails_tell_hard_queries_from_easy_ones() -> None:
    some = measured({"annlab a": [0.96]}, {"annlab a": [10.0]})
    contrast = np.linspace(1, 5, some.hits.shape[1])
    some.hits[0][:40] = 0.5  # the hard ones
    record = tails(some, contrast)[0]
    assert record["recall, hard"] == 0.5 < record["recall, easy"]
    assert record["p99, us"] == pytest.approx(10)


def test_every_contestant_has_a_colour_of_its_own() -> None:
    names = [one.name for one in contestants(load(None, "clusters:500x8"))] + [f"peer {i}" for i in range(12)]
    assert len({look.color for look in looks(names).values()}) == len(names)


def test_who_takes_part_can_be_named() -> None:
    dataset = load(None, "clusters:500x8")
    assert [one.name for one in contestants(dataset, ["annlab exact"])] == ["annlab ExactIndex"]
    with pytest.raises(ValueError, match="there are: annlab ExactIndex"):
        contestants(dataset, ["nobody"])


def test_filters_count_only_what_is_allowed(small: Dataset) -> None:
    exact = Contestant("annlab ExactIndex", Annlab, exact=True)
    tuned = {exact.name: Tuned(exact.name, [], [Trial(5, {}, {}, 1.0, 1e-6)], 0.0, 1)}
    records = filters.run(small, [exact], tuned, Namespace(k=[5], seconds=0.0))
    assert len(records) == 3 * len(filters.SHARES)
    assert {record["recall"] for record in records} == {1.0}
    assert {record["results"] for record in records if record["share"] >= 0.01} == {1.0}


def test_a_made_runbook_exchanges_half_of_the_rows(small: Dataset) -> None:
    exact = Contestant("annlab ExactIndex", Sampled, exact=True)
    tuned = {exact.name: Tuned(exact.name, [], [Trial(5, {}, {}, 1.0, 1e-6)], 0.0, 1)}
    records = runbook.run(small, [exact], tuned, Namespace(k=[5], runbook=None))
    assert {record["runbook"] for record in records} == {"churn", "drift"}
    assert {record["recall"] for record in records} == {1.0}
    assert sum(record["step"] == "built anew" for record in records) == 2
    for order, steps in runbook.made(small).values():
        living = np.zeros(600, bool)
        for operation, low, high in steps:
            if operation != "search":
                living[order[low:high]] = operation == "insert"
        assert living.sum() == 300 and living[order[:150]].sum() == 0


def test_a_runbook_of_the_field_is_read_and_nonsense_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    book = tmp_path / "book.yaml"
    book.write_text("small:\n  max_pts: 600\n  1: {operation: insert, start: 0, end: 300}\n  2: {operation: search}\n"
                    "  3: {operation: delete, start: 0, end: 100}\n  4: {operation: search}\n")  # fmt: skip
    assert runbook.read(book, "small") == [("insert", 0, 300), ("search", 0, 0), ("delete", 0, 100), ("search", 0, 0)]
    book.write_text("small:\n  1: {operation: explode}\n")
    with pytest.raises(ValueError, match="none of insert, delete and search"):
        runbook.read(book, "small")


@pytest.mark.slow
def test_a_run_measures_goes_on_where_it_stood_and_writes_a_page(tmp_path: Path, small: Dataset, monkeypatch) -> None:
    """With an index of ours and another that scales not, in this process: everything but the fair child."""
    other = Contestant("sampled", Sampled, {"seed": [1]}, {"share": SHARES}, "share")
    monkeypatch.setattr(running, "contestants", lambda dataset, only: [*contestants(dataset, ["annlab Exact"]), other])
    used: list[int] = []  # CPUs
    monkeypatch.setattr(running.environment, "use_cpus", used.append)
    options = running.parser().parse_args(["--out", str(tmp_path), "--tuning", "0.2", "--seconds", "0.2", "--k", "5",
                                           "--threads", "2"])  # fmt: skip
    folder = tmp_path / "small"
    folder.mkdir()
    setting = {"versions": {}, "variables": {}, "matrix_product_gflops": {}, "thread_pools": [], "publishable": True,
               "cpu": "a <CPU>", "load_average": 0, "commit": "x"}  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps({"environment": setting, "options": {"tuning": 0.2, "seconds": 0.2}}))
    monkeypatch.setattr(running.environment, "commit", lambda: "a1b2")
    running.one_set(small, folder, options)
    first = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".npz"}
    (folder / "k5-one.json").unlink()
    monkeypatch.setattr(running.environment, "commit", lambda: "c3d4")
    running.one_set(small, folder, options)
    assert (folder / "k5-batch.npz").read_bytes() == first["k5-batch.npz"]
    assert 2 in used and used[-1] == 1
    on_two = json.loads((folder / "k5-batch-2.json").read_text())
    assert {(run["peer"], run["threads"]) for run in on_two} == {("annlab ExactIndex", 2)}
    assert {run["threads"] for run in json.loads((folder / "k5-one.json").read_text())} == {1}
    text = page.write(tmp_path).read_text()
    assert "annlab at commit a1b2, c3d4." in text
    assert "a &lt;CPU&gt;" in text and "sampled" in text and "With a filter" in text
    assert "k = 5, batch on 2 threads, wall time" in text and "queries a second (wall time)" in text
    monkeypatch.setattr(keeping, "FILE", tmp_path / "field.json")
    monkeypatch.setattr(keeping, "PAGE", tmp_path / "field.html")
    assert page.main([str(tmp_path), "--keep"]) == 0
    kept = json.loads((tmp_path / "field.json").read_text())
    assert (tmp_path / "field.html").read_text() == text and str(tmp_path) not in (tmp_path / "field.json").read_text()
    assert [(one["name"], one["commit"]) for one in kept["sets"]] == [("small", "a1b2, c3d4")]
    assert {one["queries"] for one in kept["first"]} == {"one", "batch", "batch, 2 threads"}
    assert {one["index"] for one in kept["times"]} == {"annlab ExactIndex", "sampled"}
    assert len(kept["settings"]) == sum(len(json.loads(path.read_text())) for path in folder.glob("k5-*.json"))
    assert all(kept[name] for name in ("builds", "tails", "filters", "churn"))
    assert "http://" not in text and "https://" not in text and "<script src" not in text


class EndsTheProcess(Sampled):
    """As some libraries do on a CPU that they do not like."""

    def build(self, train: np.ndarray, metric: str, **parameters: Any) -> None:
        os._exit(3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that may end is forked")
def test_a_library_that_ended_the_process_is_left_out_when_the_run_goes_on(tmp_path: Path, small: Dataset) -> None:
    options = running.parser().parse_args(["--tuning", "0.1", "--k", "5"])
    oracle, one = Oracle(small.train, small.test, "l2", 5), Contestant("ends it", EndsTheProcess)
    child = os.fork()
    if not child:
        running._tuned(one, small, oracle, tmp_path, options)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    with pytest.raises(RuntimeError, match="ended the whole process the last time, or was killed; remove"):
        running._tuned(one, small, oracle, tmp_path, options)
    running._tuned(Contestant("stays", Sampled), small, oracle, tmp_path, options)
    assert [path.name for path in tmp_path.glob("*.begun")] == ["tuned-ends-it.begun"]


def test_what_was_lost_is_neither_first_nor_tied() -> None:
    base = {"data": "sift-128", "k": 10, "queries": "one", "us": 10.0, "annlab's best": "annlab a", "annlab's us": 20.0}
    records = [base | {"recall": 0.9, "first": "annlab a", "tied": []},
               base | {"recall": 0.95, "first": "peer", "tied": ["annlab a"]},
               base | {"recall": 0.99, "first": "peer", "tied": ["other"]}]  # fmt: skip
    assert [one["recall"] for one in keeping.lost(records)] == [0.99]
    content = {
        "first": records,
        "sets": [{"name": "sift-128", "rows": 1000}],
        "environment": {"cpu": "znver3", "load_average": 1.5},
    }
    said = keeping.table(content)
    assert (
        "Of 3 regimes" in said
        and "in 2." in " ".join(said.split())
        and "Zen 3, AVX2), load 1.5" in said
        and "| SIFT, 1,000 | one | 0.99: peer 0.50x |" in said
    )
    content["first"] = records[:2]
    assert "|" not in keeping.table(content)
    unreached = keeping.table(content | {"first": [records[2] | {"annlab's us": None}]})
    assert "0.99: peer alone" in unreached


def test_an_exact_search_that_misses_stops_everything() -> None:
    class Run:
        peer, recall, dataset = "annlab ExactIndex", 0.99, "small"

    with pytest.raises(running.WrongTruthError, match=r"finds 0\.9900"):
        running._certify([Run()], [Contestant("annlab ExactIndex", Sampled, exact=True)])  # type: ignore[list-item]


def test_more_threads_than_cpus_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(environment, "_allowed", [0])
    with pytest.raises(ValueError, match="2 threads are asked for; this process may use 1 CPUs"):
        environment.use_cpus(2)


def test_vectors_of_ones_own_are_read_from_parquet(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = np.random.default_rng(0).random((200, 3), dtype="f4")
    parquet.write_table(pa.table({"vector": rows.tolist()}), tmp_path / "own.parquet")
    found = running.own(tmp_path / "own.parquet")
    assert (found.name, len(found.train), len(found.test)) == ("own", 180, 20)


def test_the_command_line_passes_everything_on(monkeypatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("subprocess.call", lambda command, env: called.append(command) or 0)
    assert annlab(["bench", "vectors.npy", "--k", "1"]) == 0
    assert called[0][2:] == ["benchmarks", "run", "vectors.npy", "--k", "1"]
