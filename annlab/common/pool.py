"""Work on several CPUs: one pool of threads for the whole process, and kernels that release the interpreter's lock.

Numba's own parallel layers abort or hang when several threads or a forked process enter them, so kernels here are
serial and this module splits the work: a batch's queries, or the rows of a scan. The pool is made at its first use and
forgotten in a forked child (its threads do not exist there). Small work, and work asked for by a thread of the pool,
runs where it is called. No global setting of Numba, BLAS or OpenMP is touched.

Ctrl-C
------
Python answers it between two steps of the main thread, and a kernel is one step. So long work is done by `portions`, of
about a twentieth of a second each, whoever does it; where it is cut depends on the time that it takes, so it may be cut
only where that changes no result. Once the caller of `run` is interrupted, the threads that work for it give up before
their next portion, and it waits until they have.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from annlab.common import validation

T = TypeVar("T")

_PORTION_SECONDS = 0.05
_SMALL = 4 * 2**20  # bytes: read in the tenth of a millisecond or two that handing over takes
_FIRST_PORTION = 2.0**25  # multiply-adds: some milliseconds of a fast kernel, a tenth of a second of a slow one

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_inside = threading.local()


def available() -> int:
    """How many threads work is split over by default: `ANNLAB_THREADS`, or the CPUs that this process may use."""
    setting = os.environ.get("ANNLAB_THREADS")
    if setting:
        try:
            return validation.as_integer("ANNLAB_THREADS", int(setting), 1)
        except ValueError:
            raise ValueError(f"ANNLAB_THREADS must be a whole number of at least 1, not {setting!r}") from None
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def resolve(threads: int | None) -> int:
    """The number of threads to use for a call: as asked, or all; one inside the pool's own threads."""
    wanted = available() if threads is None else validation.as_integer("threads", threads, 1, 1024)
    return 1 if getattr(_inside, "worker", False) else wanted


def split(start: int, stop: int, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut start..stop into at most `parts` ranges of about the same length, cut at multiples (counted from start)."""
    units = -(-(stop - start) // multiple)
    parts = max(1, min(parts, units))
    cuts = [start + multiple * (units * i // parts) for i in range(parts)] + [stop]
    return list(itertools.pairwise(cuts))


def awake(n_bytes: float, threads: int) -> int:
    """How many of these threads read so many bytes: one alone, where it is done before another would be awake."""
    return threads if n_bytes > _SMALL else 1


class _Call:
    """One call of `run`: whether what is left of it is still wanted."""

    def __init__(self) -> None:
        self.wanted = True


class Unwanted(BaseException):
    """Ends work in a thread of the pool that nobody waits for any more. It never leaves this module."""


def check() -> None:
    """Give up if this thread works for a call that was interrupted; to be called between parts of long work."""
    call = getattr(_inside, "call", None)
    if call is not None and not call.wanted:
        raise Unwanted


def portions(start: int, stop: int, cost: float, multiple: int = 1) -> Iterable[tuple[int, int]]:
    """Ranges that make up start..stop, cut at multiples (counted from start), each for about a twentieth of a second.

    cost: about how many multiply-adds one unit of the range takes, by which the first portion is chosen; the length of
    each further one follows from the time that passed until it was asked for.
    """
    if 0 < (stop - start) * cost <= _FIRST_PORTION:  # most searches are short, and should not wait for this
        check()
        return ((start, stop),)
    return _timed(start, stop, cost, multiple)


def _timed(start: int, stop: int, cost: float, multiple: int) -> Iterator[tuple[int, int]]:
    length = _FIRST_PORTION / max(cost, 1.0)
    while start < stop:
        check()
        end = min(stop, start + max(multiple, int(length) // multiple * multiple))
        began = time.perf_counter()
        yield start, end
        length = (end - start) * min(8.0, _PORTION_SECONDS / max(time.perf_counter() - began, 1e-9))
        start = end


def run(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], threads: int) -> list[T]:
    """Call function(*task) for every task, over at most `threads` threads; results in the order of the tasks.

    If calls raise, the error of the first of them is raised, after all have ended. If the caller is interrupted, what
    is left is dropped.
    """
    if threads <= 1 or len(tasks) <= 1 or getattr(_inside, "worker", False):
        results: list[Any] = []
        for task in tasks:
            check()
            results.append(function(*task))
        return results
    lanes: list[list[int]] = [list(range(i, len(tasks), threads)) for i in range(min(threads, len(tasks)))]
    call, futures = _Call(), list[Future[list[T]]]()

    def work(lane: list[int]) -> list[T]:
        try:
            _inside.worker, _inside.call = True, call
            done = []
            for i in lane:
                check()
                done.append(function(*tasks[i]))
            return done
        finally:
            _inside.worker, _inside.call = False, None

    results = [None] * len(tasks)
    error: Exception | None = None
    try:
        with _lock:  # a pool that another call replaces takes no more work
            pool = _get_pool(threads)
            for lane in lanes[1:]:
                futures.append(pool.submit(work, lane))
        for lane, outcome in zip(lanes, [lambda: work(lanes[0]), *(f.result for f in futures)], strict=True):
            try:
                for i, value in zip(lane, outcome(), strict=True):
                    results[i] = value
            except Exception as failure:
                error = error or failure
    except BaseException:
        call.wanted = False
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    if error is not None:
        raise error
    return results


class _Behind:
    """Work that nobody waits for is wanted for as long as the program runs."""

    @property
    def wanted(self) -> bool:
        return threading.main_thread().is_alive()


def behind(function: Callable[[], None], name: str) -> None:
    """Call a function in a thread of its own, without making others wait: it gives up when the program ends.

    Where the system has no thread left, it is called here.
    """

    def work() -> None:
        _inside.worker, _inside.call = True, _Behind()
        with contextlib.suppress(Unwanted):
            function()

    try:
        threading.Thread(target=work, name=f"annlab {name}").start()
    except RuntimeError:
        function()


def _get_pool(threads: int) -> ThreadPoolExecutor:
    """The shared pool, grown to what a call asks for (the calling thread works too)."""
    global _pool, _pool_size
    wanted = max(threads - 1, available() - 1, 1)
    if _pool is None or _pool_size < wanted:
        if _pool is not None:
            _pool.shutdown(wait=False)  # what was submitted to it still runs
        _pool, _pool_size = ThreadPoolExecutor(wanted, thread_name_prefix="annlab"), wanted
    return _pool


def _forget_pool() -> None:
    global _pool, _pool_size, _lock
    _lock, _pool, _pool_size = threading.Lock(), None, 0
    _inside.worker, _inside.call = False, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
