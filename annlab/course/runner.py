"""The runner: a student's program in a child process. Whatever it does is a mark, and never the end of the runner.

One child runs all tests of a program, one after the other. Where it dies, hangs or floods its output, it is ended, the
test gets no points and a message, and another child goes on with the next test.

What this protects from is accident: endless loops, all memory, crashes, print storms, programs that exit. It is no
sandbox. A hostile program has the rights of whoever runs it: it can read and delete files, use the network, and find
the hidden tests and its own marks. Programs of strangers belong into a container without network, and marks
that count into the hands of somebody who looks at the program.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import annlab
from annlab.course.assignment import Assignment, HiddenTest, assignment_of
from annlab.course.marks import Mark, Marks

_FLOOD = 1_000_000  # characters that a program may print
_SHOWN = 2_000  # of these are kept
_START = 60.0  # seconds that a child may take to import NumPy and annlab, on a busy machine


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes
    ----------
    seconds : float
        Of computing, for each test. The clock on the wall may show five times as many, for the machine may be busy.
    megabytes : int
        Of memory, beyond what Python, NumPy and the data of the tests use. Not limited on macOS and Windows.
    """

    seconds: float = 10.0
    megabytes: int = 1024

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.megabytes < 1:
            raise ValueError(f"limits must be positive, not {self.seconds} s and {self.megabytes} MB")


def mark(file: str | Path, assignment: str | None = None, limits: Limits | None = None,
         progress: Callable[[str, int, int], None] | None = None) -> Marks:  # fmt: skip
    """Run the hidden tests over a student's program.

    Parameters
    ----------
    file : path
        Of the program.
    assignment : str, optional
        Its name; otherwise what the line `ASSIGNMENT = ...` of the program says.
    limits : Limits, optional
        Seconds for each test, and memory.
    progress : function of (text, done, total), optional
        Called before each test.

    Returns
    -------
    Marks

    Raises
    ------
    ValueError, OSError
        The assignment is unknown, or the file cannot be read. Whatever the program does is a mark, not an error.
    """
    path = Path(file).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{file} is no file: hand in the stub, filled in")
    chosen, limits = assignment_of(path, assignment), limits or Limits()
    tests, messages, output = list(chosen.tests()), dict[int, str](), ""
    while len(messages) < len(tests):
        if progress is not None:
            progress(path.name, len(messages), len(tests))
        child = _Child(chosen, path, limits, first=len(messages))
        try:
            child.run(messages, tests, progress)
        finally:
            child.end()
        output += child.output
    if progress is not None:
        progress(path.name, len(tests), len(tests))
    marks = tuple(_mark(test, messages[number]) for number, test in enumerate(tests))
    return Marks(chosen.name, path.name, marks, output[:_SHOWN])


def _mark(test: HiddenTest, message: str) -> Mark:
    return Mark(test.name, test.asks, 0 if message else test.points, test.points, message)


class _Child:
    """A process that runs tests from the first that is left, and what it says, in order."""

    def __init__(self, assignment: Assignment, path: Path, limits: Limits, first: int) -> None:
        self.limits, self.next, self.output, self._printed = limits, first, "", 0
        self._folder = tempfile.TemporaryDirectory(prefix="annlab-course-", ignore_cleanup_errors=True)
        root = str(Path(annlab.__file__).resolve().parents[1])
        one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "annlab.course.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self._folder.name,
            env={**os.environ, **one, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
                 "PYTHONIOENCODING": "utf-8:replace", "PYTHONUNBUFFERED": "1"},
            encoding="utf-8", errors="replace", start_new_session=os.name != "nt",
        )  # fmt: skip
        task = {"assignment": assignment.name, "file": str(path), "first": first, "seconds": limits.seconds,
                "megabytes": limits.megabytes}  # fmt: skip
        if self._process.stdin is None or self._process.stdout is None or self._process.stderr is None:
            raise RuntimeError("a child without pipes")
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.close()
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        reads = ((self._read_results, self._process.stdout), (self._read_output, self._process.stderr))
        self._readers = [threading.Thread(target=read, args=(pipe,), daemon=True) for read, pipe in reads]
        for reader in self._readers:
            reader.start()

    def _read_results(self, pipe: IO[str]) -> None:
        for line in pipe:
            try:
                self._events.put(json.loads(line))
            except ValueError:  # half a line, of a child that was ended while it wrote
                break
        self._events.put({"ended": True})

    def _read_output(self, pipe: IO[str]) -> None:
        while text := pipe.read(4096):
            self._printed += len(text)
            self.output = (self.output + text)[:_SHOWN]
            if self._printed > _FLOOD:
                self._events.put({"flood": True})
                return

    def run(self, messages: dict[int, str], tests: list[HiddenTest],
            progress: Callable[[str, int, int], None] | None) -> None:  # fmt: skip
        """Fill in the messages of the tests, up to the last, or to the one at which the child has to be ended."""
        patience = self._patience
        deadline, loaded, ready = time.monotonic() + _START, False, False
        while self.next < len(tests):
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                event = {"late": True}
            deadline = time.monotonic() + patience
            if "ready" in event:
                ready = True
            elif "loaded" in event:
                loaded = True
            elif "begins" in event:
                if progress is not None:
                    progress(tests[self.next].name, self.next, len(tests))
            elif "ends" in event:
                messages[self.next] = str(event["message"])
                self.next += 1
            elif "cannot" in event:
                self._fail_all(messages, len(tests), str(event["cannot"]))
            elif not ready:
                raise RuntimeError(f"the child process did not start; it printed: {self.output.strip() or 'nothing'}")
            elif not loaded:
                self._fail_all(messages, len(tests), f"While the program was loaded: {self._why(event)}")
            else:
                messages[self.next] = self._why(event)
                return

    @property
    def _patience(self) -> float:
        """Seconds by the clock, on a machine that may be busy."""
        return 5 * self.limits.seconds + 5

    def _fail_all(self, messages: dict[int, str], n: int, message: str) -> None:
        messages.update({number: message for number in range(self.next, n)})
        self.next = n

    def _why(self, event: dict[str, Any]) -> str:
        """In words, why the child did not come to an end."""
        if "flood" in event:
            return f"It printed more than {_FLOOD:,} characters: is a print left in a loop?"
        if "late" in event:
            return (f"It did not come to an end in {self._patience:g} s: does it wait for something, "
                    "or loop "
                    "endlessly?")  # fmt: skip
        code = self._process.wait(timeout=10)
        if code >= 0:
            return f"It ended the whole program with exit code {code}. Return, do not exit."
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"It crashed Python ({name}): was memory overwritten, or was there too little of it?"

    def end(self) -> None:
        """End the process and whatever it started, and read the rest of what it printed."""
        if os.name != "nt":
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:  # what was printed is in the pipe still
            reader.join(timeout=10)
        self._folder.cleanup()
