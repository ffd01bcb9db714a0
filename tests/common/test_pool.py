"""The pool: work is split, in order, never nested, and errors come out."""

import itertools
import threading
import time

import pytest

from annlab.common import pool


def test_parts_of_a_range_cover_it_once():
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


@pytest.mark.parametrize("n", [1, 2, 4])
def test_an_interrupted_caller_waits_for_no_more_than_the_portions_in_hand(n):
    begun, ended = [], []

    def work(i):
        for _ in pool.portions(0, 2**60, 2.0**40):
            begun.append(i)
            if i == 0 and len(begun) > 8:
                raise KeyboardInterrupt
            time.sleep(0.02)
        ended.append(i)

    with pytest.raises(KeyboardInterrupt):
        pool.run(work, [(i,) for i in range(12)], n)
    count = len(begun)
    time.sleep(0.1)
    assert len(begun) == count and not ended, "nobody works on"
    assert pool.run(lambda i: i, [(1,), (2,)], 2) == [1, 2] and pool.resolve(3) == 3, "the pool still works"


def test_an_interrupt_is_no_error_of_the_work():
    """Whoever catches errors inside of the work does not catch the end of it."""
    survived, started = [], threading.Event()

    def work(i):
        if i == 0:
            started.wait(10)
            raise KeyboardInterrupt
        started.set()
        for _ in range(10_000):
            try:
                pool.check()
                time.sleep(0.001)
            except Exception:
                survived.append(i)

    with pytest.raises(KeyboardInterrupt):
        pool.run(work, [(0,), (1,)], 2)
    assert not survived


def test_portions_make_up_the_whole_and_are_cut_at_multiples():
    for start, stop, cost, multiple in [(0, 100, 1.0, 1), (3, 1000, 2.0**20, 12), (5, 5, 1, 1), (0, 7, 2.0**60, 64),
                                        (10, 5000, 2.0**22, 3)]:  # fmt: skip
        ranges = list(pool.portions(start, stop, cost, multiple))
        assert [i for a, b in ranges for i in range(a, b)] == list(range(start, stop))
        assert all((a - start) % multiple == 0 for a, _ in ranges)
    assert list(pool.portions(0, 10**6, 1.0)) == [(0, 10**6)], "what is short is not cut"
    assert len(list(pool.portions(0, 10**6, 2.0**25))) > 5, "what may be long begins with little"


def test_portions_follow_the_time_that_they_take(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    lengths = []
    for start, stop in pool.portions(0, 1000, 2.0**25 / 100):
        lengths.append(stop - start)
        now[0] += (stop - start) / 64
    assert lengths == [100] + 300 * [3]


def test_the_number_of_threads(monkeypatch):
    monkeypatch.setenv("ANNLAB_THREADS", "3")
    assert pool.available() == pool.resolve(None) == 3 and pool.resolve(5) == 5
    monkeypatch.delenv("ANNLAB_THREADS")
    assert pool.available() >= 1
    for bad in ("0", "-2", "two", "1.5"):
        monkeypatch.setenv("ANNLAB_THREADS", bad)
        with pytest.raises(ValueError, match="ANNLAB_THREADS must be"):
            pool.available()
