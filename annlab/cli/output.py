"""What commands say: results on stdout, as text or JSON; progress, notes and warnings on stderr."""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from typing import Any


def answer(options: argparse.Namespace, result: Any, lines: Iterable[str]) -> None:
    """Print a result: as one JSON value where `--json` asks for it, else as lines for people."""
    if options.json:
        print(json.dumps(result, ensure_ascii=False, default=str))
    else:
        for line in lines:
            print(line)


def counts_in_words(counts: dict[str, int]) -> str:
    """The identity that holds at every moment."""
    parts = " + ".join(f"{counts[name]} {name}" for name in ("indexed", "duplicate", "failed", "pending"))
    return f"{counts['discovered']} discovered = {parts}"


def say(text: str) -> None:
    """A line for people that is no result."""
    print(text, file=sys.stderr, flush=True)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """What stands in the place of `warnings.showwarning`."""
    say(f"annlab: note: {message}")


class ProgressLine:
    """What is being done, how much of it, at which rate, and how long it will take: a line on stderr about once a
    second, overwritten in a terminal, one below the other elsewhere."""

    def __init__(self) -> None:
        self._what = ""
        self._started = self._last = 0.0
        self._first = self._shown = 0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """So many of so many are done; `note` is appended."""
        now = time.monotonic()
        if what != self._what:  # what an earlier run did says nothing about the speed of this one
            self._what, self._started, self._first, self._last, self._shown = what, now, done, now, -1
        if (done < total and now - self._last < 1) or done == self._shown or not total:
            return
        self._last, self._shown = now, done
        terminal = sys.stderr.isatty()
        line = f"{what}: {done:,} / {total:,} images{note}{self._speed(done, total, now)}"
        ending = "" if terminal and done < total else "\n"
        print(f"\r{line:<78}" if terminal else line, end=ending, file=sys.stderr, flush=True)

    def _speed(self, done: int, total: int, now: float) -> str:
        rate = (done - self._first) / max(now - self._started, 1e-9)
        if rate <= 0:
            return ""
        left = f", {_in_words((total - done) / rate)} left" if done < total else ""
        return f", {rate:,.0f}/s{left}"


def _in_words(seconds: float) -> str:
    """A time that is still to pass, as precise as it can be known."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
