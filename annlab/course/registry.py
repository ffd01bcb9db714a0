"""Exercises of the notebooks: a question, and a function that judges an answer.

An exercise is registered where its check is written, in a file of `annlab/course/notebooks/` for each topic:

    @exercise("03-kdtree-visited", "How many rows does the KD-tree compare with the first query?")
    def visited(answer):
        given = whole(answer)
        if given == 2000:
            raise Mistake("That is every row: the tree has skipped boxes that are too far.")
        expect(given == recomputed(), "Count the rows of the leaves that were opened.")
        return "So few, because there are two dimensions."

Files of that folder are found by being there; nothing else names them. A check holds no answer as text: it computes
the answer again, tests a property of it, or compares with a seal (`answers.py`). What it raises as `Mistake` is what
the student reads, so it says which mistake was made, not only that one was.
"""

from __future__ import annotations

import html
import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

Check = Callable[[Any], str | None]
"""Judges an answer: returns what is said to a right one (None: just that it is right), raises `Mistake` for another."""

_NAME = re.compile(r"\d\d-[a-z0-9]+(-[a-z0-9]+)*")
_FOLDER = "annlab.course.notebooks"


class Mistake(Exception):
    """What is wrong with an answer or a program, in words for the one who wrote it."""


@dataclass(frozen=True)
class Exercise:
    """A question with its check; `name` begins with the number of its notebook."""

    name: str
    asks: str
    judge: Check


@dataclass(frozen=True)
class Verdict:
    """What a check says of an answer. It is true where the answer is right.

    Attributes
    ----------
    exercise : str
        The name of the exercise.
    passed : bool
    message : str
        What was right about it, or the mistake.
    """

    exercise: str
    passed: bool
    message: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{'right' if self.passed else 'not yet'} [{self.exercise}] {self.message}"

    def _repr_html_(self) -> str:
        sign, edge = ("✓", "#0072b2") if self.passed else ("✗", "#d55e00")  # told apart by the sign, too
        return (
            f'<div style="border-left: 4px solid {edge}; padding: 0.3em 0.8em"><strong>{sign} '
            f"{html.escape(self.exercise)}</strong><br>{html.escape(self.message)}</div>"
        )

    def as_json(self) -> dict[str, Any]:
        """The same as a dictionary of text and bool."""
        return asdict(self)


_registered: dict[str, Exercise] = {}
_loaded: list[str] = []


def exercise(name: str, asks: str) -> Callable[[Check], Check]:
    """Register the decorated function as the check of an exercise.

    Parameters
    ----------
    name : str
        The number of the notebook in two digits, then small words: "03-kdtree-visited".
    asks : str
        The question, as a sentence.

    Raises
    ------
    ValueError
        If the name has another form, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"an exercise is named like 03-kdtree-visited (two digits, small words), not {name!r}")
    if not asks.strip():
        raise ValueError(f"the exercise {name} asks nothing: give its question")

    def register(judge: Check) -> Check:
        taken = _registered.get(name)
        if taken is not None and taken.judge.__module__ != judge.__module__:
            raise ValueError(f"{name} is registered twice: in {taken.judge.__module__} and in {judge.__module__}")
        _registered[name] = Exercise(name, asks, judge)
        return judge

    return register


def exercises() -> dict[str, Exercise]:
    """Every registered exercise by its name, in order."""
    if not _loaded:
        for module in pkgutil.iter_modules(importlib.import_module(_FOLDER).__path__):
            importlib.import_module(f"{_FOLDER}.{module.name}")
        _loaded.append(_FOLDER)
    return dict(sorted(_registered.items()))


def check(name: str, answer: Any = ...) -> Verdict:
    """Judge an answer to an exercise of a notebook.

    Parameters
    ----------
    name : str
        Of the exercise, such as "03-kdtree-visited"; `exercises()` has all of them.
    answer : object
        Whatever the exercise asks for: a number, an array, a function. `...` and None: not answered yet.

    Returns
    -------
    Verdict
        True where the answer is right, with a message that names the mistake where it is not. An answer of a wrong
        type or shape and a function that raises are mistakes, too; nothing is raised for them.

    Raises
    ------
    KeyError
        No exercise has this name.

    Examples
    --------
    >>> check("03-kdtree-visited")
    not yet [03-kdtree-visited] Not answered yet: ...
    """
    known = exercises()
    if name not in known:
        same = [other for other in known if other[:3] == name[:3]] or list(known)
        raise KeyError(f"no exercise is called {name!r}; there are {', '.join(same)}")
    if answer is None or answer is ...:
        return Verdict(name, False, f"Not answered yet: {known[name].asks}")
    try:
        said = known[name].judge(answer)
    except Mistake as mistake:
        return Verdict(name, False, str(mistake))
    return Verdict(name, True, said or "That is right.")
