"""Builds: what is handed to students, what instructors have, and stubs out of solutions.

The student's build has handouts, stubs and how to check them. It has neither solutions nor hidden tests.

The instructor's build has all that, the hidden tests, the solutions, wrong solutions with the mistake that is made in
each, and the answers to the exercises of the notebooks. These come from the folder `course/` of the repository and of
the source distribution: the wheel, which is what students install, has none of them.

What this can and cannot do. annlab is open source. Whoever looks for the solutions finds them in its repository, finds
each algorithm in `annlab.textbook`, and finds in the hidden tests what they compare with. Marks that count need a talk
with the student, or tests of one's own.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import annlab
from annlab.course.assignment import Assignment, assignments

_READ_ME = """# The assignments

| | |
|---|---|
{table}

Each folder has a handout and a stub. Install annlab (`pip install annlab`), read the handout, and fill in the stub. It
may import NumPy and the standard library. As often as you like:

    annlab course check {example}/{example}.py

runs the tests, in a process of its own, and says for each function whether it is right or which mistake it makes. With
`--json` it prints the marks as JSON.
"""

_FOR_INSTRUCTORS = """# For instructors

`solution.py` of each assignment gets all points. The files in `wrong` make one mistake each; their first lines name it,
with words of what is said to it. `hidden.py` are the tests; `notebooks` holds the answers to the exercises of the
notebooks.

To mark what was handed in:

    annlab course check submissions/*.py --json > marks.json

Each program runs in a process of its own, with limits of time and memory. That is for accidents, and is no sandbox: run
programs of strangers in a container without network. Give students the folder `student`, and not this one.
"""


def build_student(out: str | Path) -> list[Path]:
    """Write handouts and stubs into a new folder.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    FileExistsError
        The folder is there and not empty.
    """
    folder, written = _new(out), []
    for assignment in assignments().values():
        written += _student_files(assignment, folder / assignment.name)
    table = "\n".join(f"| `{each.name}` | {each.title} |" for each in assignments().values())
    written.append(_write(folder / "README.md", _READ_ME.format(table=table, example=next(iter(assignments())))))
    return written


def build_instructor(out: str | Path, source: str | Path | None = None) -> list[Path]:
    """Write the student's files, hidden tests, solutions and wrong solutions into a new folder.

    Parameters
    ----------
    out : path
    source : path, optional
        The folder `course/` of the repository or source distribution; by default the one beside the package.

    Returns
    -------
    list of Path
        The files that were written, of the student's build first.

    Raises
    ------
    FileNotFoundError
        There is no such folder: annlab was installed from a wheel, which has no solutions.
    FileExistsError
        The folder `out` is there and not empty.
    """
    course = Path(source) if source is not None else Path(annlab.__file__).resolve().parents[1] / "course"
    if not (course / "solutions").is_dir():
        raise FileNotFoundError(f"{course} has no solutions: they are in annlab's repository and source "
                                "distribution, in "
                                "the folder course/, and not in the wheel. Get one of these, and pass --source "
                                "FOLDER.")  # fmt: skip
    folder = _new(out)
    written = build_student(folder / "student")
    for assignment in assignments().values():
        own = folder / "instructor" / assignment.name
        solution = (course / "solutions" / f"{assignment.name}.py").read_text(encoding="utf-8")
        hidden = (assignment.folder / "hidden.py").read_text(encoding="utf-8")
        written += [_write(own / "solution.py", solution), _write(own / "hidden.py", hidden)]
        for name, wrong, words in wrong_solutions(course, assignment.name):
            text = f'# A mistake: {name}.\n# The check says: "... {words} ..."\n{wrong}'
            written.append(_write(own / "wrong" / f"{name.replace(' ', '-')}.py", text))
    written.append(_write(folder / "instructor" / "README.md", _FOR_INSTRUCTORS))
    for path in sorted((course / "answers").glob("*.py")):
        target = folder / "instructor" / "notebooks" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(Path(shutil.copyfile(path, target)))
    return written


def wrong_solutions(course: Path, assignment: str) -> list[tuple[str, str, str]]:
    """The name of each mistake, the solution with it, and words of what the check says.

    `course/mistakes/NAME.txt` has them as blocks, divided by empty lines: `# name: words of the message`, then text of
    the solution that is there once, then `-> ` and what stands in its place (`\\n` begins a line).
    """
    solution = (course / "solutions" / f"{assignment}.py").read_text(encoding="utf-8")
    found = []
    for block in (course / "mistakes" / f"{assignment}.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        head, right, wrong = block.split("\n")
        name, _, words = head.removeprefix("# ").partition(": ")
        if solution.count(right) != 1 or not wrong.startswith("-> "):
            raise ValueError(f"{assignment}, {name}: {solution.count(right)} places in the solution read {right!r}")
        found.append((name, solution.replace(right, wrong[3:].replace("\\n", "\n")), words))
    return found


def stub_of(solution: str) -> str:
    """A solution without the bodies of its functions; those whose docstring begins with "Given:" keep them.

    Helpers, whose names begin with an underscore, are left out, and so are all other statements but imports and
    `ASSIGNMENT`.

    >>> print(stub_of('def f(x):\\n    "Twice."\\n    return _twice(x)\\n\\ndef _twice(x):\\n    return 2 * x\\n'))
    def f(x):
        "Twice."
        raise NotImplementedError
    """
    lines = solution.splitlines()
    parts: list[str] = []
    for node in ast.parse(solution).body:
        text = lines[node.lineno - 1 : node.end_lineno]
        if isinstance(node, ast.FunctionDef):
            if node.name.startswith("_"):
                continue
            documented = ast.get_docstring(node) or ""
            if not documented.startswith("Given:"):
                text = [*lines[node.lineno - 1 : node.body[0].end_lineno], "    raise NotImplementedError"]
            text = ["", "", *text] if parts else text
        elif isinstance(node, ast.Assign):
            text = ["", *text]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            text = ["", *text]
        elif not isinstance(node, ast.Expr):
            continue
        parts += text
    return "\n".join(parts) + "\n"


def _student_files(assignment: Assignment, folder: Path) -> list[Path]:
    return [
        _write(folder / "handout.md", assignment.handout),
        _write(folder / f"{assignment.name}.py", assignment.stub),
    ]


def _new(out: str | Path) -> Path:
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already: name a folder that is new or empty")
    return folder


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
