"""The commands of the course: `annlab course ...`, or `python -m annlab.course ...`.

    annlab course list                              the assignments and the exercises of the notebooks
    annlab course build --student OUT               handouts and stubs
    annlab course build --instructor OUT            these, and hidden tests, solutions, and wrong solutions
    annlab course check FILE ... [--json]           marks, and the mistakes by their names
    annlab course seal NAME VALUE                   the seal of an exercise's answer, for its author
    annlab course stub SOLUTION                     a solution without its bodies, for the author of an assignment

The exit status of `check` is 0 where every file has all points, 3 where one has not, and 1 where one could not be
checked; the others are all the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

ABOUT = "Exercises and assignments whose checks say which mistake was made."


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the commands to a parser."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _command(commands, "list", "the assignments, and the exercises of the notebooks", _list)
    build = _command(commands, "build", "what is handed to students, or what instructors have", _build)
    kind = build.add_mutually_exclusive_group(required=True)
    kind.add_argument("--student", metavar="OUT", help="a new folder for handouts and stubs")
    kind.add_argument("--instructor", metavar="OUT", help="a new folder for these, hidden tests and solutions")
    build.add_argument("--source", metavar="FOLDER", help="the folder course/ of annlab's repository; default: "
                       "beside the package")  # fmt: skip
    check = _command(commands, "check", "marks for programs, and their mistakes by name", _check)
    check.add_argument("files", metavar="FILE", nargs="+", help="a stub that was filled in")
    check.add_argument("--assignment", metavar="NAME", help="default: what the line ASSIGNMENT of the file says")
    check.add_argument("--json", action="store_true", help="print a list of marks as JSON, and nothing else, on stdout")
    check.add_argument("--seconds", type=float, default=10.0, help="of computing, for each test (default: %(default)s)")
    check.add_argument("--megabytes", type=int, default=1024, help="of memory (default: %(default)s)")
    sealing = _command(commands, "seal", "the seal of an exercise's answer", _seal)
    sealing.add_argument("name", help="of the exercise")
    sealing.add_argument("value", type=float)
    sealing.add_argument("--places", type=int, default=0, help="decimal places that count (default: %(default)s)")
    _command(commands, "stub", "a solution without its bodies", _stub).add_argument("solution", metavar="SOLUTION")


def _command(commands: Any, name: str, help: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=run.__doc__)
    parser.set_defaults(run=run)
    return parser


def _list(options: argparse.Namespace) -> int:
    """Every assignment with its points, and every exercise with its question."""
    from annlab.course.assignment import assignments
    from annlab.course.registry import exercises

    for assignment in assignments().values():
        print(f"{assignment.name:<10} {sum(test.points for test in assignment.tests())} points   {assignment.title}")
    for exercise in exercises().values():
        print(f"{exercise.name:<26} {exercise.asks}")
    return 0


def _build(options: argparse.Namespace) -> int:
    """Write a folder for students, or for instructors."""
    from annlab.course.builds import build_instructor, build_student

    if options.student is not None:
        written, out = build_student(options.student), options.student
    else:
        written, out = build_instructor(options.instructor, options.source), options.instructor
    print(f"{len(written)} files in {out}; begin with {min(written, key=lambda path: (len(path.parts), path))}")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Run the hidden tests over programs, each in a process of its own with limits of time and memory. This protects
    from accidents, not from hostile programs, which have all rights of whoever runs them."""
    from annlab.course.runner import Limits, mark

    limits, marks, failed = Limits(options.seconds, options.megabytes), [], False
    for file in options.files:
        try:
            marks.append(mark(file, options.assignment, limits, _progress))
        except (ValueError, OSError) as error:  # the others get their marks all the same
            print(f"annlab course: error: {error}", file=sys.stderr)
            failed = True
            continue
        if not options.json:
            print("\n".join(marks[-1].lines()))
    if options.json:
        print(json.dumps([one.as_json() for one in marks], ensure_ascii=False))
    return 1 if failed else 0 if all(one.points == one.out_of for one in marks) else 3


def _seal(options: argparse.Namespace) -> int:
    """Print the salted hash of a rounded number, which a check compares with."""
    from annlab.course.answers import seal

    print(seal(options.name, options.value, options.places))
    return 0


def _stub(options: argparse.Namespace) -> int:
    """Print a solution without the bodies of its functions."""
    from pathlib import Path

    from annlab.course.builds import stub_of

    print(stub_of(Path(options.solution).read_text(encoding="utf-8")), end="")
    return 0


def _progress(what: str, done: int, total: int) -> None:
    """One line on stderr, which is written over; only where somebody looks at it."""
    if sys.stderr.isatty():
        text = f"test {done + 1} of {total}: {what}" if done < total else ""
        print(f"\r{text:<60}", end="\r" if done == total else "", file=sys.stderr, flush=True)
