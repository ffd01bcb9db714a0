"""Many threads: searches while others write and compact; forks."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import annlab
from tests.contract.indexes import ENTRIES

K = 12


class History:
    """All states that an index went through, as ids and the places of their vectors in one pool."""

    def __init__(self, ids, places):
        self.states = [(np.array(ids), np.array(places))]
        self.begun = self.finished = 0

    def write(self, operation, changed, removed=()):
        """Run a write that is about to change {id: place} and to remove ids."""
        state = dict(zip(*(column.tolist() for column in self.states[-1]), strict=True)) | changed
        for number in removed:
            del state[number]
        self.states.append((np.array(list(state)), np.array(list(state.values()))))
        self.begun += 1
        operation()
        self.finished += 1


def _explains(state, answer, table, allowed, exact):
    """Whether an answer (distances, ids) for all queries is what a state says; table (q, pool) are the distances."""
    ids, places = state
    if allowed:
        ids, places = ids[ids % 2 == 0], places[ids % 2 == 0]
    distances = table[:, places]
    if not exact:
        order = np.argsort(ids)
        place = np.clip(np.searchsorted(ids, answer.ids, sorter=order), 0, len(ids) - 1)
        known = ids[order][place] == answer.ids
        true = np.take_along_axis(distances, order[place], axis=1) == answer.distances
        return bool(((known & true) | (answer.ids == -1)).all())
    for row, found, numbers in zip(distances, answer.distances, answer.ids, strict=True):
        nearest = np.lexsort((ids, row))[:K]
        if not (np.array_equal(ids[nearest], numbers) and np.array_equal(row[nearest], found)):
            return False
    return True


@pytest.mark.parametrize("seconds", [1.5, pytest.param(15, marks=pytest.mark.slow)])
def test_searches_see_one_state(entry, seconds):
    """Four searchers, a writer and a compactor: every answer is that of a state between its beginning and its end."""
    rng = np.random.default_rng(0)
    pool = rng.integers(-4, 5, size=(3000, 4)).astype(np.float32)
    queries = pool[:6] + np.float32(0.5)
    table = annlab.pairwise(queries, pool)
    index = entry.make().fit(pool[:600])
    history, answers, problems, stop = History(range(600), range(600)), [], [], threading.Event()
    counts = {"compactions": 0}
    index.search(queries, K)

    def guarded(work):
        def run():
            try:
                while not stop.is_set():
                    work()
            except BaseException as problem:
                problems.append(problem)
                stop.set()

        return run

    def search(number, every_second):
        first = history.finished
        options = {"allowed": np.arange(0, 10**5, 2)} if every_second else {}
        answer = index.search(queries, K, threads=1 + number % 3, **options, **entry.exhaustive)
        answers.append((first, history.begun, every_second, answer))

    def write():
        ids = history.states[-1][0]
        some, places = rng.permutation(ids)[:20], rng.integers(3000, size=20)
        new = int(ids.max()) + 1 + np.arange(20)
        kind = rng.integers(4)
        if kind == 0 and len(ids) < 1500:
            history.write(lambda: index.add(pool[places], new), dict(zip(new.tolist(), places.tolist(), strict=True)))
        elif kind == 1 and len(ids) > 300:
            history.write(lambda: index.remove(some), {}, some.tolist())
        elif kind == 2:
            history.write(
                lambda: index.update(some, pool[places]), dict(zip(some.tolist(), places.tolist(), strict=True))
            )
        else:
            mixed = np.concatenate([some[:10], new[:10]])
            changed = dict(zip(mixed.tolist(), places.tolist(), strict=True))
            history.write(lambda: index.add(pool[places], mixed, on_duplicate="replace"), changed)
        time.sleep(0.001)

    def compact():
        index.compact(threads=2)
        counts["compactions"] += 1
        time.sleep(0.005)

    def enough():
        return len(answers) >= 20 and history.finished >= 5 and counts["compactions"] >= 2

    jobs = [lambda i=i: search(i, i % 2 == 1) for i in range(4)] + [write, compact]
    threads = [threading.Thread(target=guarded(job)) for job in jobs]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)  # change threads often
    try:
        for thread in threads:
            thread.start()
        stop.wait(seconds)
        deadline = time.monotonic() + 60  # a slow machine, or a slow path, gets more time for as much to happen
        while not enough() and time.monotonic() < deadline:
            stop.wait(0.1)
            if problems:
                break
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a thread hangs"
    finally:
        sys.setswitchinterval(interval)
    assert not problems, problems
    assert enough(), "too slow to mean anything"
    for first, last, allowed, answer in answers[:: max(1, len(answers) // 600)]:
        candidates = history.states[first : last + 1]
        assert any(_explains(state, answer, table, allowed, entry.judged_exactly) for state in candidates), (
            f"an answer fits none of the {len(candidates)} states between its beginning and its end"
        )
    ids, places = history.states[-1]
    order = np.argsort(ids)
    np.testing.assert_array_equal(index.ids, ids[order])
    np.testing.assert_array_equal(index.vectors(), pool[places[order]])


_FORK = """
import os, sys, numpy as np
from tests.contract.indexes import ENTRIES
index = ENTRIES[int(sys.argv[1])].make().fit(np.random.default_rng(0).random((3000, 8), dtype=np.float32))
queries = index.vectors()[:100]
before = index.search(queries, 5, threads=4)
child = os.fork()
after = index.search(queries, 5, threads=4)
index.add(queries)
index.compact(threads=4)
right = np.array_equal(before.ids, after.ids) and len(index) == 3100
if child == 0:
    os._exit(0 if right else 3)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code if right else 4)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_search_and_write(entry):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORK, str(ENTRIES.index(entry))]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_many_threads_ask_at_once(entry):
    """The pool is shared: callers neither wait for each other forever nor mix their answers."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2000, 8)).astype(np.float32)
    index = entry.make().fit(vectors)
    expected = index.search(vectors[:200], 5).ids
    wrong = []

    def ask(number):
        for _ in range(5):
            found = index.search(vectors[number * 20 : number * 20 + 40], 5, threads=1 + number % 5).ids
            if not np.array_equal(found, expected[number * 20 : number * 20 + 40]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    assert not wrong
