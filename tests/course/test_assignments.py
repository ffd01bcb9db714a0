"""Assignments: solutions get all points, wrong ones fail by the name of their mistake, and students get no solution."""

import ast
import importlib.util
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from annlab import evaluation
from annlab.cli import main
from annlab.course import assignment, builds, diagnosis
from annlab.course.registry import Mistake

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "course"
NAMES = sorted(assignment.assignments())
SOLUTIONS = {name: (COURSE / "solutions" / f"{name}.py").read_text() for name in NAMES}
WRONG = [(name, *wrong) for name in NAMES for wrong in builds.wrong_solutions(COURSE, name)]


def judged(name, source, folder):
    """The mistakes that the hidden tests find in a program, by test; in this process, which is faster."""
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(f"submission_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing, in wrong solutions
        for test in assignment.Assignment(name).tests():
            try:
                test.judge(assignment.Program(module))
            except Mistake as mistake:
                said[test.name] = str(mistake)
    return said


@pytest.mark.parametrize("name", NAMES)
def test_a_correct_solution_passes_all(name, tmp_path):
    assert judged(name, SOLUTIONS[name], tmp_path) == {}


@pytest.mark.parametrize(  # every fourth, and all with --full
    ("name", "source", "words"),
    [
        pytest.param(n, s, w, id=f"{n}: {m}", marks=[pytest.mark.slow] * (i % 4 > 0))
        for i, (n, m, s, w) in enumerate(WRONG)
    ],
)
def test_a_wrong_solution_is_told_its_mistake(name, source, words, tmp_path):
    said = judged(name, source, tmp_path)
    assert any(words in message for message in said.values()), said


def test_the_mistakes_that_everybody_makes_are_among_the_seeded():
    names = {name for _, name, *_ in WRONG}
    usual = {
        "no re-rank", "squared distances", "self match", "last row dropped", "ties by accident", "probes ignored",
        "wrong axis of normalisation", "bits of one sign", "the centre of an empty cluster becomes NaN",
        "off by one in leaf ranges", "AP divided by the hits",
    }  # fmt: skip
    assert usual <= names and len(WRONG) >= 80
    assert len(WRONG) == len({(name, mistake) for name, mistake, *_ in WRONG})


VECTORISED = {
    "factors": (
        "    return np.sqrt(((data - query) ** 2).sum(axis=1))",
        "    return np.linalg.norm(np.asarray(data, np.float64) - query, axis=-1)",
    ),
    "words": (
        "    return np.array([((centres - row) ** 2).sum(axis=1).argmin() for row in data])",
        "    return ((centres**2).sum(axis=1) - 2 * data @ centres.T).argmin(axis=1)",
    ),
    "patches": (
        "    return abs(patches.astype(int) - query.astype(int)).sum(axis=1)",
        "    return np.abs(patches.astype(np.float32) - query).sum(axis=1)",
    ),
}


@pytest.mark.parametrize("name", VECTORISED)
def test_another_way_to_write_it_passes_too(name, tmp_path):
    right, other = VECTORISED[name]
    assert SOLUTIONS[name].count(right) == 1
    assert judged(name, SOLUTIONS[name].replace(right, other), tmp_path) == {}


@pytest.mark.parametrize("name", NAMES)
def test_handout_stub_and_tests_belong_together(name):
    one = assignment.Assignment(name)
    assert one.stub == builds.stub_of(SOLUTIONS[name]), (
        "write it anew: python -m annlab.course stub course/solutions/..."
    )
    rows = re.findall(r"^\| `(\w+)`.* \| (\d+) \|", one.handout, re.MULTILINE)
    tests = list(one.tests())
    assert [int(points) for _, points in rows] == [test.points for test in tests]
    assert sum(test.points for test in tests) == 20 and all(len(test.asks) > 20 for test in tests)
    defined = {node.name for node in ast.parse(one.stub).body if isinstance(node, ast.FunctionDef)}
    assert {function for function, _ in rows} <= defined
    assert f"annlab course check {name}.py" in one.handout and "## What to find out" in one.handout


def test_the_stub_fails_every_test_by_saying_that_it_is_not_written(tmp_path):
    for name in NAMES:
        said = judged(name, assignment.Assignment(name).stub, tmp_path)
        assert len(said) == len(assignment.Assignment(name).tests())
        assert all("is not written yet" in message for message in said.values())


# ---- builds


def statements(source):
    """The statements and longer expressions of a program with the names taken out, so that renaming hides nothing."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Assign, ast.Return, ast.AugAssign, ast.For, ast.If)):
            text = ast.dump(node)
            if len(text) > 260:
                found.add(re.sub(r"(id|arg)='\w+'", r"\1=_", text))
    return found


def bodies(source):
    """The functions of a program that do something."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {
        node.name for node in functions
        if not (ast.get_docstring(node) or "").startswith("Given:")
        and any(not isinstance(part, (ast.Expr, ast.Raise)) for part in node.body)
    }  # fmt: skip


def test_the_students_build_holds_no_answer(tmp_path):
    written = builds.build_student(tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in written}
    assert names == {"README.md"} | {f"{n}/{file}" for n in NAMES for file in ("handout.md", f"{n}.py")}
    assert names == {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    text = "\n".join(path.read_text() for path in written)
    for path in written:
        assert path.suffix == ".md" or not bodies(path.read_text()), path
    known = "\n".join(map(builds.stub_of, SOLUTIONS.values()))
    for solution in SOLUTIONS.values():
        assert bodies(solution)
        secret = {
            line.strip() for line in solution.splitlines() if len(line.strip()) > 25 and line.strip() not in known
        }
        assert len(secret) > 15 and not [line for line in secret if line in text]
    assert "hidden" not in text and "TESTS" not in text


@pytest.mark.parametrize("name", NAMES)
def test_neither_hidden_tests_nor_what_runs_them_contains_a_solution(name):
    secret = statements(SOLUTIONS[name])
    assert len(secret) >= 4
    for path in (ROOT / "annlab" / "course").rglob("*.py"):
        if path.name != "stub.py" and path.parent.name != "notebooks":  # their checks compute their own answers again
            shared = secret & statements(path.read_text())
            assert not shared, f"{path}: {shared}"
    assert not any(path.is_relative_to(ROOT / "annlab") for path in COURSE.rglob("*"))


def test_the_instructors_build_holds_everything(tmp_path):
    written = builds.build_instructor(tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in written}
    for name in NAMES:
        assert {f"student/{name}/{name}.py", f"instructor/{name}/solution.py", f"instructor/{name}/hidden.py"} <= files
    assert "instructor/patches/wrong/self-match.py" in files and "instructor/notebooks/trees.py" in files
    assert "annlab course check" in (tmp_path / "out/instructor/README.md").read_text()
    wrong = (tmp_path / "out/instructor/patches/wrong/self-match.py").read_text()
    assert wrong.startswith('# A mistake: self match.\n# The check says: "... The query found itself ..."\n')
    with pytest.raises(FileExistsError, match="there already"):
        builds.build_student(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="and not in the wheel"):
        builds.build_instructor(tmp_path / "other", source=tmp_path)
    assert not (tmp_path / "other").exists()


# ---- the command


def test_the_command_lists_builds_and_seals(tmp_path, capsys):
    assert main(["course", "list"]) == 0
    listed = capsys.readouterr().out
    assert "patches    20 points   Image patches" in listed and "03-box-distance" in listed
    assert main(["course", "build", "--student", str(tmp_path / "s")]) == 0
    assert "README.md" in capsys.readouterr().out
    assert main(["course", "build", "--student", str(tmp_path / "s")]) == 1
    assert "new or empty" in capsys.readouterr().err
    assert main(["course", "seal", "04-x", "0.5", "--places", "1"]) == 0
    assert len(capsys.readouterr().out.strip()) == 32
    assert main(["course", "stub", str(COURSE / "solutions" / "words.py")]) == 0
    assert capsys.readouterr().out == assignment.Assignment("words").stub


def test_the_command_checks_and_says_what_it_cannot(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(SOLUTIONS["missed"])
    assert main(["course", "check", str(path), "--json"]) == 0
    (marks,) = json.loads(capsys.readouterr().out)
    assert (marks["assignment"], marks["points"], marks["out_of"]) == ("missed", 20, 20)
    other = tmp_path / "other.py"
    other.write_text("x = 1\n")
    assert main(["course", "check", str(other), str(path), "--json"]) == 1, "one cannot be checked, the other is"
    answered = capsys.readouterr()
    assert [one["file"] for one in json.loads(answered.out)] == ["mine.py"] and "other.py" in answered.err
    path.write_text("x = 1\n")
    assert main(["course", "check", str(path)]) == 1
    assert 'no line such as ASSIGNMENT = "patches"' in capsys.readouterr().err
    path.write_text('ASSIGNMENT = "mist"\n')
    assert main(["course", "check", str(path)]) == 1
    assert "its line ASSIGNMENT says 'mist'" in capsys.readouterr().err
    assert main(["course", "check", str(tmp_path / "none.py")]) == 1
    assert "is no file" in capsys.readouterr().err
    assert main(["course", "check", str(path), "--seconds", "0"]) == 1


# ---- what the hidden tests are made of


def test_what_an_assignment_asks_for_is_what_annlab_computes(tmp_path):
    """The reference against the library: the factor and the average precision have one meaning each."""
    namespace = {}
    for name in ("factors", "missed"):
        path = tmp_path / f"{name}.py"
        path.write_text(SOLUTIONS[name])
        spec = importlib.util.spec_from_file_location(name, path)
        namespace[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(namespace[name])
    rng = np.random.default_rng(0)
    true = np.sort(rng.random((5, 4)), axis=1)
    found = true * (1 + rng.random((5, 4)))
    mean, largest = namespace["factors"].approximation_factors(found, true)
    factors = evaluation.approximation_factor(found, true)
    assert mean == pytest.approx(np.mean(found / true)) and largest == np.max(found / true)
    assert factors.mean() == pytest.approx(mean)
    relevant = np.isin(np.array([4, 9, 2, 7]), [9, 7, 1])
    ours = evaluation.average_precision(relevant[None], [3], 4)[0]
    assert namespace["missed"].average_precision(np.array([4, 9, 2, 7]), np.array([9, 7, 1])) == pytest.approx(ours)


def test_a_mistake_has_to_explain_all_answers():
    """One query cannot tell whether probes are ignored or the second was left out; two can."""
    data = np.arange(8.0)[:, None]
    first, all_rows = np.arange(4), np.arange(8)

    def case(query, rows, wrong):
        rows = np.array(rows)
        return diagnosis.Case(
            (abs(data[rows, 0] - query), rows), data, np.array([query]), 2,
            also=[(wrong, "only the first"), (all_rows[:6], "all but the last")],
        )  # fmt: skip

    diagnosis.expect_searches([case(0.1, [0, 1], first), case(7.1, [7, 6], first)])
    with pytest.raises(Mistake, match="all but the last"):
        diagnosis.expect_searches([case(0.1, [0, 1], first), case(5.1, [5, 4], first), case(7.1, [5, 4], first)])
    with pytest.raises(Mistake, match="only the first"):
        diagnosis.expect_searches([case(0.1, [0, 1], first), case(7.1, [3, 2], first)])
    with pytest.raises(Mistake, match=r"Row 7 at 0\.1 is missing, and row 1 at 6\.1 was returned"):
        diagnosis.expect_searches([case(7.1, [6, 1], first)])
