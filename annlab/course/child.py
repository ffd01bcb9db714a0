"""What runs in the child process: a student's program, and the hidden tests, one after the other.

The parent (`runner.py`) writes one line of JSON to the standard input, and reads lines of JSON from what was the
standard output. Whatever the program prints goes to the standard error, so it cannot mix with them.

Limits: memory beyond what is in use at the start, where the system has `RLIMIT_AS`; and computing time a test, by an
alarm that interrupts the very line that loops, so that its number can be told. Code that no alarm can interrupt is
ended by the parent.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from annlab.course.answers import in_words
from annlab.course.assignment import Assignment, HiddenTest, Program, foreign_imports
from annlab.course.registry import Mistake

_HAS_LIMITS = importlib.util.find_spec("resource") is not None  # not on Windows: there the parent's clock has to do
_HAS_ALARM = hasattr(signal, "setitimer")


class OutOfTime(BaseException):
    """Raised by the alarm; no `Exception`, so that `except Exception` of a student does not swallow it."""


def main() -> None:
    """Read what to do, load the program and run the tests from the one that is named."""
    task = json.loads(sys.stdin.readline())
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def tell(**facts: Any) -> None:
        results.write(json.dumps(facts) + "\n")
        results.flush()

    tests = list(Assignment(task["assignment"]).tests())
    tell(ready=True)
    _limit_memory(task["megabytes"])
    if _HAS_ALARM:
        signal.signal(signal.SIGPROF, _alarm)
    path = Path(task["file"])
    try:
        program = _limited(task["seconds"], lambda: _load(path), str(path))
    except Mistake as mistake:
        tell(cannot=str(mistake))
        return
    tell(loaded=True)
    for number in range(task["first"], len(tests)):
        tell(begins=number)
        tell(ends=number, message=_judged(tests[number], program, task["seconds"], str(path)))


def _judged(test: HiddenTest, program: Program, seconds: float, file: str) -> str:
    """The mistake that a test finds, or ""."""
    try:
        _limited(seconds, lambda: test.judge(program), file)
    except Mistake as mistake:
        return str(mistake) or "wrong"
    return ""


def _limited(seconds: float, act: Any, file: str) -> Any:
    """Do it within so many seconds of computing; whatever goes wrong in the student's code becomes a mistake."""
    _set_alarm(seconds)
    try:
        return act()
    except OutOfTime as alarm:
        where = in_words(alarm, file).removeprefix("OutOfTime").strip()
        raise Mistake(f"It computed for more than {seconds:g} s: an endless loop, or one in Python where NumPy "
                      "could do "
                      f"all at once? {where}") from None  # fmt: skip
    except MemoryError as error:
        raise Mistake("It took too much memory: does an array have a shape like (n, n, d)? "
                      f"{in_words(error, file)}") from None  # fmt: skip
    except SystemExit as error:
        raise Mistake(f"It ended the whole program: {in_words(error, file)}. Return, do not exit.") from None
    except Mistake as mistake:
        if isinstance(mistake.__cause__, MemoryError):
            raise Mistake(f"It took too much memory: does an array have a shape like (n, n, d)? {mistake}") from None
        raise
    except BaseException as error:
        raise Mistake(f"It raised {in_words(error, file)}") from None
    finally:
        _set_alarm(0)


def _load(path: Path) -> Program:
    source = path.read_text(encoding="utf-8")
    foreign = foreign_imports(compile_checked(source, path))
    if foreign:
        raise Mistake(f"The program imports {', '.join(foreign)}; it is to be written with NumPy alone.")
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("submission", path)
    if spec is None or spec.loader is None:
        raise Mistake(f"{path.name} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["submission"] = module
    spec.loader.exec_module(module)
    return Program(module)


def compile_checked(source: str, path: Path) -> str:
    """The source, if it can be compiled; the error names its line."""
    try:
        compile(source, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        raise Mistake(f"The program cannot be read: {in_words(error, str(path))}") from None
    return source


def _set_alarm(seconds: float) -> None:
    """After so many seconds of computing; 0: none."""
    if _HAS_ALARM:
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _alarm(*_: Any) -> None:
    raise OutOfTime


def _limit_memory(megabytes: int) -> None:
    """So many beyond the address space that is in use now."""
    if not _HAS_LIMITS:
        return
    import resource

    used = 0
    if os.path.exists("/proc/self/statm"):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
