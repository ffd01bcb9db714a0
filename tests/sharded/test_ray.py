"""The same index as actors of Ray: the same answers, through a kill and after the end of whoever made them."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.sharded.manifest import Entry, Manifest

ROOT = Path(__file__).parents[2]

DRIVER = """
import sys
import numpy as np
import ray
from annlab import ExactIndex
from annlab.sharded import ShardedIndex
ray.init(address=sys.argv[2], namespace="annlab", log_to_driver=False)
index = ShardedIndex(ExactIndex(dim=8), 1, 2, engine="ray", path=sys.argv[1], timeout=60)
index.fit(np.random.default_rng(0).random((500, 8), dtype=np.float32))
index.add(np.ones((2, 8), np.float32), [1000, 1001], op_id="first")
print("written", flush=True)
sys.stdin.read()
"""


class SlowRay:
    """Ray on a machine that is too busy for it, so many times."""

    def __init__(self, fails, error):
        self.fails, self.error, self.begun, self.ended = fails, error, [], 0

    def init(self, **how):
        self.begun.append(how)
        if len(self.begun) <= self.fails:
            raise self.error
        return "the context"

    def shutdown(self):
        self.ended += 1


@pytest.mark.parametrize(("fails", "error", "how", "begun"), [
    (0, None, {}, 1), (2, Exception("The current node timed out during startup"), {}, 3),
    (9, Exception("The current node timed out during startup"), {}, 3), (9, ValueError("num_cpus"), {}, 1),
    (9, ConnectionError("nobody is there"), {"address": "10.0.0.1:6379"}, 1)])  # fmt: skip
def test_ray_is_begun_again_where_it_takes_too_long(fails, error, how, begun, monkeypatch):
    from annlab.sharded import ray_engine

    ray = SlowRay(fails, error)
    monkeypatch.setattr(ray_engine, "_ray", lambda: ray)
    if fails < 3:
        assert ray_engine.begin_ray(**how) == "the context"
    else:
        with pytest.raises(type(error), match=str(error)):
            ray_engine.begin_ray(**how)
    assert len(ray.begun) == begun and ray.ended == min(fails, begun)
    assert all(each["namespace"] == "annlab" for each in ray.begun)


@pytest.mark.parametrize(("cpus", "at_once"), [(1, 1), (4, 2), (64, 4)])
def test_shards_that_are_being_made_begin_a_few_at_a_time(cpus, at_once, monkeypatch):
    from annlab.sharded import ray_engine

    entries = [Entry(name, (f"{name}-0", f"{name}-1"), f"{name}-0", 1) for name in "abcd"]
    manifest = Manifest(1, "ExactIndex", "{}", "one", tuple(entries[:2]), moving=tuple(entries[2:]))
    engine, begun = object.__new__(ray_engine.RayEngine), []
    monkeypatch.setattr(ray_engine, "_ray", lambda: SimpleNamespace(cluster_resources=lambda: {"CPU": float(cpus)}))
    monkeypatch.setattr(engine, "_start", lambda replicas: begun.append([name for _, name in replicas]))
    engine.start(manifest)
    new = ["c-0", "c-1", "d-0", "d-1"]
    assert begun == [["a-0", "a-1", "b-0", "b-1"], *(new[i : i + at_once] for i in range(0, 4, at_once))]


def test_a_node_is_ready_when_it_has_searched(monkeypatch):
    from annlab.sharded import ray_engine

    index, did = ExactIndex(dim=8).fit(np.eye(8, dtype=np.float32)), []
    search = index.search
    monkeypatch.setattr(index, "search", lambda queries, k: did.append(len(queries)) or search(queries, k))

    async def start():
        did.append("begun")

    node = object.__new__(ray_engine.Node)
    node._replica, node._started = SimpleNamespace(start=start, visible=index), None

    def call():  # in a thread of its own: where a browser was tested before, this one has a loop that runs
        with ThreadPoolExecutor(1) as own:
            own.submit(lambda: asyncio.run(node.call("ready", ()))).result()

    call()
    assert did[0] == "begun" and did[1] == 1 and max(did[1:]) == 8, "one query, and several"
    node._replica.visible = ExactIndex(dim=8)
    call()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills a process by its number")
def test_actors_answer_as_one_index_outlive_their_driver_and_come_back_after_a_kill(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from annlab.sharded import ShardedIndex
    from annlab.sharded.ray_engine import begin_ray

    one = ExactIndex(dim=8).fit(np.random.default_rng(0).random((500, 8), dtype=np.float32))
    one.add(np.ones((2, 8), np.float32), [1000, 1001])
    queries = np.random.default_rng(1).random((20, 8), dtype=np.float32)
    context = begin_ray(num_cpus=2, object_store_memory=80 * 2**20)
    try:
        command = [sys.executable, "-c", DRIVER, str(tmp_path / "index"), context.address_info["address"]]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
            assert driver.stdout.readline() == b"written\n"
            driver.send_signal(signal.SIGKILL)
        with ShardedIndex(None, engine="ray", path=tmp_path / "index", timeout=60) as index:
            assert (index.search(queries, 5).ids == one.search(queries, 5).ids).all()
            assert (index.search(queries, 5).distances == one.search(queries, 5).distances).all()
            pids = index._engine.pids(index._manifest)
            assert set(pids) == {"0-0", "0-1"}
            os.kill(pids["0-0"], signal.SIGKILL)
            assert (index.search(queries, 5).ids == one.search(queries, 5).ids).all(), "the other one answers"
            index.add(np.ones((2, 8), np.float32), [1000, 1001], op_id="first")  # a retry, of before the kill
            index.add(np.zeros((30, 8), np.float32), np.arange(2000, 2030), op_id="second", ack="all")
            assert len(index) == 532
            with pytest.raises(ValueError, match="id 2000 is already in the index"):
                index.add(np.zeros((1, 8), np.float32), [2000])
            index.verify()
            deadline = time.monotonic() + 60
            while len(index._engine.pids(index._manifest)) < 2 and time.monotonic() < deadline:
                time.sleep(0.2)
            again = index._engine.pids(index._manifest)
            assert again["0-0"] != pids["0-0"] and again["0-1"] == pids["0-1"]
            index.verify()
            _is_divided_while_another_searches(index, tmp_path / "index", queries, one)
            index.stop()
    finally:
        ray.shutdown()


def _is_divided_while_another_searches(index, path, queries, one):
    from annlab.sharded import ShardedIndex

    one.add(np.zeros((30, 8), np.float32), np.arange(2000, 2030))
    expected, wrong, ends = one.search(queries, 5), [], threading.Event()
    with ShardedIndex(None, engine="ray", path=path, timeout=60) as other:

        def search():
            while not ends.is_set():
                found = other.search(queries, 5)
                if (found.ids != expected.ids).any() or (found.distances != expected.distances).any():
                    wrong.append(found)

        thread = threading.Thread(target=search)
        thread.start()
        try:
            index.reshard(2)
            while other.n_shards == 1 and thread.is_alive():
                time.sleep(0.05)
        finally:
            ends.set()
            thread.join()
        assert not wrong and other.n_shards == 2, "who has an old manifest finds the new one"
        other.add(np.ones((2, 8), np.float32), [1000, 1001], op_id="first")  # a retry, of before the division
        assert len(other) == len(index) == 532
    assert len(index._engine.pids(index._manifest)) == 4
    index.verify()
