"""The runner: whatever a program does is a mark with a message, and the other tests are run all the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from annlab.course.runner import Limits, mark

ROOT = Path(__file__).resolve().parents[2]
SOLUTION = (ROOT / "course" / "solutions" / "missed.py").read_text()
SHORT = Limits(seconds=0.5, megabytes=400)


def program(tmp_path, function, body, head=""):
    """The solution, with the body of one function replaced."""
    lines, path = SOLUTION.splitlines(), tmp_path / "missed.py"
    start = next(number for number, line in enumerate(lines) if line.startswith(f"def {function}("))
    while not lines[start].endswith(":"):
        start += 1
    path.write_text(
        "\n".join([*lines[: start + 1], *(f"    {line}" for line in body.split("\n")), *lines[start + 1 :]])
    )
    path.write_text(path.read_text().replace("import numpy as np\n", f"import numpy as np\n{head}\n", 1))
    return path


HARM = {
    "an endless loop": ("visit_order", "while True:\n    pass", "for more than 0.5 s: an endless loop", "line "),
    "a loop that catches errors": (
        "visit_order",
        "while True:\n    try:\n        low + 1\n    except Exception:\n        0", "endless loop", "line ",
    ),
    "endless recursion": ("visit_order", "return visit_order(low, high, query)", "RecursionError", "line "),
    "a crash": ("visit_order", "import ctypes\nctypes.string_at(0)", "It crashed Python (SIGSEGV)", ""),
    "an exit of the process": ("visit_order", "import os\nos._exit(0)", "ended the whole program with exit code 0", ""),
    "an exit": ("visit_order", "raise SystemExit", "It ended the whole program", "Return, do not exit"),
    "a print storm": ("visit_order", "while True:\n    print('x' * 1000)", "printed more than 1,000,000", "print left"),
    "all memory": ("visit_order", "return np.ones((40000, 40000)).sum(axis=1)", "too much memory", "(n, n, d)"),
    "waiting for input": ("visit_order", "return input()", "EOFError", "line "),
    "an error": ("visit_order", "return low[1000]", "IndexError", "low[1000]"),
    "lines that look like results": (
        "visit_order", "print('{\"ends\": 2, \"message\": \"\"}')\nreturn 5 + None", "TypeError", "5 + None",
    ),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="limits of time and memory are those of Linux")
@pytest.mark.parametrize("name", HARM)
def test_harm_costs_the_points_of_one_test(name, tmp_path):
    function, body, *words = HARM[name]
    marks = mark(program(tmp_path, function, body), limits=SHORT)
    by_name = {one.name: one for one in marks.tests}
    assert by_name[function].points == 0
    assert all(word in by_name[function].message for word in words), by_name[function].message
    assert marks.points == marks.out_of - by_name[function].out_of, marks


@pytest.mark.slow
def test_one_that_sleeps_is_ended_by_the_clock(tmp_path):
    marks = mark(program(tmp_path, "visit_order", "import time\ntime.sleep(1000)"), limits=Limits(seconds=0.4))
    assert marks.points == 18 and "did not come to an end in 7 s" in marks.tests[2].message


BROKEN = {
    "def f(:\n": ("The program cannot be read: SyntaxError", "line 1"),
    "1 / 0\n": ("ZeroDivisionError", "line 1: 1 / 0"),
    "import annlab.textbook\n": ("imports annlab", "NumPy alone"),
    "from sklearn.neighbors import KDTree\n": ("imports sklearn", "NumPy alone"),
    "from . import mine\n": ("what lies beside it", "NumPy alone"),
    "import os; os._exit(3)\n": ("While the program was loaded", "exit code 3"),
    "leaf_ranges = 5\n": ("no function leaf_ranges",),
}


@pytest.mark.parametrize("source", BROKEN)
def test_a_program_that_cannot_be_loaded_gets_no_points_and_the_reason(source, tmp_path):
    path = tmp_path / "x.py"
    path.write_text(source)
    marks = mark(path, "missed", SHORT)
    assert marks.points == 0 and len(marks.tests) == 7
    assert all(words in marks.tests[0].message for words in BROKEN[source]), marks.tests[0].message


def test_marks_as_json_hold_everything(tmp_path):
    told = []
    path = program(tmp_path, "outlines", "print('hello')\nreturn np.zeros((1, 2))")
    marks = mark(path, limits=SHORT, progress=lambda what, done, total: told.append((done, total)))
    value = json.loads(json.dumps(marks.as_json()))
    assert set(value) == {"assignment", "file", "points", "out_of", "tests", "output"}
    assert (value["file"], value["points"], value["out_of"], value["output"]) == ("missed.py", 18, 20, "hello\n")
    last = value["tests"][-1]
    assert set(last) == {"name", "asks", "points", "out_of", "message"}
    assert last["points"] == 0 and "shape (16, 5, 2)" in last["message"]
    assert told[0] == (0, 7) and told[-1] == (7, 7) and len(told) >= 8
    lines = list(marks.lines())
    assert lines[0] == "missed.py: 18 of 20 points for 'missed'" and any("✗ outlines" in line for line in lines)
    assert lines[-1].strip() == "hello"


def test_a_program_cannot_change_what_the_tests_compare_with(tmp_path):
    marks = mark(program(tmp_path, "leaf_boxes", "data.sort()"), limits=SHORT)
    assert "changed an array that it was given" in {one.name: one for one in marks.tests}["leaf_boxes"].message
    assert marks.points == 17


def test_limits_are_checked_and_the_runner_needs_no_installation(tmp_path):
    with pytest.raises(ValueError, match="positive"):
        Limits(seconds=0)
    with pytest.raises(FileNotFoundError, match="is no file"):
        mark(tmp_path / "none.py")
    program(tmp_path, "outlines", "pass")
    command = [sys.executable, "-m", "annlab.course", "check", str(tmp_path / "missed.py"), "--seconds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "20 of 20 points" in done.stdout and done.stderr == ""
