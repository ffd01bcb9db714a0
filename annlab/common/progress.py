"""Progress of long work, for people: one line on standard error that is written over. Or of work that is counted."""

import sys
import time
from collections.abc import Callable
from typing import Any

Progress = Callable[[str, float], None]
"""Called while something long runs: what is being done, and the share of it that is done, 0 to 1."""

Counted = Callable[[str, int, int], None]
"""The same for work that can be counted: what is being done, how many are done, and of how many."""

_last = [0.0]


def report(what: str, share: float) -> None:
    """Say what is being done and the share (0 to 1) that is done; at most ten times a second."""
    now = time.monotonic()
    if share < 1 and now - _last[0] < 0.1:
        return
    _last[0] = now
    bar = "#" * int(30 * share)
    end = "\n" if share >= 1 else ""
    print(f"\r{what:<32} [{bar:<30}] {share:4.0%}", end=end, file=sys.stderr, flush=True)


def uncounted(what: str, done: int, total: int) -> None:
    """A `Counted` that says nothing."""


def as_progress(progress: Any) -> Progress:
    """What a user gave as `progress=`, as a function."""
    if progress is None or progress is False:
        return lambda what, share: None
    if progress is True:
        return report
    if not callable(progress):
        raise TypeError(f"progress must be a bool or a function of (what, share), not {progress!r}")
    function: Progress = progress
    return function
