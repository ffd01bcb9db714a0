"""The pool: work is split, in order, never nested, and errors come out."""

import itertools
import threading
import time

import pytest

from annlab.common import pool


def test_split():
    for start, stop, parts, multiple in [
        (0, 10, 3, 1),
        (0, 10, 20, 1),
        (5, 5, 3, 1),
        (0, 1000, 4, 64),
        (7, 130, 8, 12),
    ]:
        ranges = pool.split(start, stop, parts, multiple)
        assert ranges[0][0] == start and ranges[-1][1] == stop and len(ranges) <= parts
        for (_, end), (begin, _) in itertools.pairwise(ranges):
            assert end == begin and (begin - start) % multiple == 0
        assert all(a < b for a, b in ranges) or start == stop


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_results_are_in_order(n):
    tasks = [(i, i + 1) for i in range(23)]
    assert pool.run(lambda a, b: 10 * a + b, tasks, n) == [10 * a + b for a, b in tasks]
    assert pool.run(lambda a: a, [], n) == []


def test_work_runs_on_several_threads_at_once():
    barrier = threading.Barrier(3, timeout=30)
    names = pool.run(lambda i: (barrier.wait(), threading.current_thread().name)[1], [(i,) for i in range(3)], 3)
    assert len(set(names)) == 3 and names[0] == threading.current_thread().name, "the caller works too"


def test_work_of_a_worker_runs_where_it_is():
    def outer(i):
        time.sleep(0.01)
        inner = pool.run(lambda j: threading.current_thread().name, [(j,) for j in range(4)], 4)
        return set(inner), threading.current_thread().name, pool.resolve(None)

    results = pool.run(outer, [(i,) for i in range(8)], 4)
    for names, own, resolved in results[1:]:
        assert own in names
        if own.startswith("annlab"):
            assert names == {own} and resolved == 1


def test_the_first_error_is_raised_after_all_have_ended():
    ended = []

    def work(i):
        time.sleep(0.02 * i)
        ended.append(i)
        if i % 2:
            raise ValueError(f"task {i}")

    with pytest.raises(ValueError, match="task 1"):
        pool.run(work, [(i,) for i in range(4)], 4)
    assert sorted(ended) == [0, 1, 2, 3]
    assert pool.run(lambda i: i, [(1,), (2,)], 2) == [1, 2], "the pool still works"


def test_the_number_of_threads(monkeypatch):
    monkeypatch.setenv("ANNLAB_THREADS", "3")
    assert pool.available() == pool.resolve(None) == 3 and pool.resolve(5) == 5
    monkeypatch.delenv("ANNLAB_THREADS")
    assert pool.available() >= 1
    for bad in ("0", "-2", "two", "1.5"):
        monkeypatch.setenv("ANNLAB_THREADS", bad)
        with pytest.raises(ValueError, match="ANNLAB_THREADS must be"):
            pool.available()
