"""An assignment: a handout, a stub to fill in, and hidden tests with points.

Each is a folder of `annlab/course/assignments/`:

    handout.md      what is to be done, and why
    stub.py         functions with their docstrings, and no bodies
    hidden.py       TESTS: what is asked of them

A hidden test is a function of the student's program. It calls what it tests, as if it were a function of its own, and
raises `Mistake`, by `expect` and its like, with the mistake's name:

    TESTS = Tests()

    @TESTS.add(points=3)
    def linear_search(code):
        "The k nearest patches by the L1 distance, without the patch itself."
        expect(code.linear_search(patches, 0, 5) ...)
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annlab.course.answers import call, expect
from annlab.course.registry import Mistake

_FOLDER = "annlab.course.assignments"


class Program:
    """A student's module. Its functions are called through the door: with copies, and errors become mistakes."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._module, name, None)
        expect(callable(function), f"There is no function {name}: it is in the stub; was it renamed?")
        return lambda *arguments: call(function, *arguments)


@dataclass(frozen=True)
class HiddenTest:
    """One test: `judge(program)` returns, or raises `Mistake`."""

    name: str
    asks: str
    points: int
    judge: Callable[[Any], None]


class Tests:
    """The hidden tests of an assignment, in their order."""

    def __init__(self) -> None:
        self.all: list[HiddenTest] = []

    def add(self, points: int) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Register the decorated function; the first line of its docstring is what the test asks for."""

        def register(judge: Callable[[Any], None]) -> Callable[[Any], None]:
            asks = (judge.__doc__ or "").strip().split("\n")[0]
            self.all.append(HiddenTest(judge.__name__, asks, points, judge))
            return judge

        return register

    def __iter__(self) -> Iterator[HiddenTest]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)


@dataclass(frozen=True)
class Assignment:
    """An assignment by its name."""

    name: str

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(importlib.import_module(_FOLDER).__path__[0]) / self.name

    @property
    def title(self) -> str:
        """The first heading of the handout."""
        return self.handout.partition("\n")[0].lstrip("# ").strip()

    @property
    def handout(self) -> str:
        """The text for the student, in Markdown."""
        return (self.folder / "handout.md").read_text(encoding="utf-8")

    @property
    def stub(self) -> str:
        """The file to fill in."""
        return (self.folder / "stub.py").read_text(encoding="utf-8")

    def tests(self) -> Tests:
        """The hidden tests; they import NumPy and what they need."""
        tests: Tests = importlib.import_module(f"{_FOLDER}.{self.name}.hidden").TESTS
        return tests


def assignments() -> dict[str, Assignment]:
    """Every assignment by its name."""
    package = importlib.import_module(_FOLDER)
    return {module.name: Assignment(module.name) for module in pkgutil.iter_modules(package.__path__) if module.ispkg}


def assignment_of(path: Path, name: str | None = None) -> Assignment:
    """The assignment that a file is handed in for: the given one, or what its line `ASSIGNMENT = "..."` says.

    Raises
    ------
    ValueError
        Nothing says it, or there is no assignment of this name.
    """
    known = assignments()
    if name is None:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):  # it cannot be run, and the marks will say where
            tree = ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                if any(isinstance(target, ast.Name) and target.id == "ASSIGNMENT" for target in node.targets):
                    name = str(node.value.value)
        if name is None and path.stem in known:
            name = path.stem
    if name not in known:
        says = f"its line ASSIGNMENT says {name!r}" if name else 'it has no line such as ASSIGNMENT = "patches"'
        raise ValueError(f"which assignment is {path.name} for? There are {', '.join(known)}; {says}. "
                         "Keep the line of the stub, or pass --assignment.")  # fmt: skip
    return known[name]


def foreign_imports(source: str) -> list[str]:
    """Packages beside NumPy and the standard library that a program imports, in order."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else ["(what lies beside it)"]
        found += [top for top in (each.partition(".")[0] for each in names) if top != "numpy"]
    return [top for top in dict.fromkeys(found) if top not in sys.stdlib_module_names]


__all__ = ["Assignment", "HiddenTest", "Mistake", "Program", "Tests", "assignment_of", "assignments", "foreign_imports"]
