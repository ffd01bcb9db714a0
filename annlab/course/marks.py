"""Marks: what a program got for each hidden test, and why it did not get more."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Mark:
    """Of one hidden test: all its points, or none and the mistake.

    Attributes
    ----------
    name, asks : str
        Of the test, and what it asks for.
    points, out_of : int
    message : str
        The mistake; "" where there is none.
    """

    name: str
    asks: str
    points: int
    out_of: int
    message: str


@dataclass(frozen=True)
class Marks:
    """Of one program.

    Attributes
    ----------
    assignment, file : str
    tests : tuple of Mark
    output : str
        The beginning of what the program printed.
    """

    assignment: str
    file: str
    tests: tuple[Mark, ...]
    output: str = ""

    @property
    def points(self) -> int:
        """The sum over all tests."""
        return sum(mark.points for mark in self.tests)

    @property
    def out_of(self) -> int:
        """What there was to be had."""
        return sum(mark.out_of for mark in self.tests)

    def as_json(self) -> dict[str, Any]:
        """The same as a dictionary of text, numbers and lists."""
        return {
            "assignment": self.assignment, "file": self.file, "points": self.points, "out_of": self.out_of,
            "tests": [asdict(mark) for mark in self.tests], "output": self.output,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """For people: a line a test, and below it the mistake."""
        yield f"{self.file}: {self.points} of {self.out_of} points for {self.assignment!r}"
        for mark in self.tests:
            yield f"  {'✓' if not mark.message else '✗'} {mark.name:<22} {mark.points} / {mark.out_of}   {mark.asks}"
            if mark.message:
                yield textwrap.fill(mark.message, 110, initial_indent=" " * 6, subsequent_indent=" " * 6)
        if self.output:
            yield "  The program printed:"
            yield textwrap.indent(self.output.rstrip(), " " * 6)
