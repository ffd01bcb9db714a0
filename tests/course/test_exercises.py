"""Exercises of notebooks: the instructor's answer passes, mistakes fail by their name, and no file tells the answer."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from annlab import course
from annlab.course import answers, registry

ROOT = Path(__file__).resolve().parents[2]


def instructors(folder):
    found = {}
    for path in sorted((ROOT / "course" / folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"course_{folder}_{path.stem}", path)
        found[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[path.stem])
    return found


ANSWERS = instructors("answers")
RIGHT = [(name, make) for module in ANSWERS.values() for name, make in module.ANSWERS.items()]
WRONG = [mistake for module in ANSWERS.values() for mistake in module.MISTAKES]


def test_every_exercise_has_an_answer_and_a_mistake_and_both_files_have_one_name():
    names = set(course.exercises())
    assert names == {name for name, _ in RIGHT} == {name for name, *_ in WRONG}
    assert len(RIGHT) == len(names)
    files = {each.judge.__module__.rpartition(".")[2] for each in course.exercises().values()}
    assert files == set(ANSWERS)


@pytest.mark.parametrize(("name", "make"), RIGHT, ids=[name for name, _ in RIGHT])
def test_the_right_answer_passes(name, make):
    verdict = course.check(name, make())
    assert verdict, verdict


@pytest.mark.parametrize(("name", "make", "words"), WRONG, ids=[f"{name}: {words}" for name, _, words in WRONG])
def test_a_mistake_is_named(name, make, words):
    verdict = course.check(name, make())
    assert not verdict and words in verdict.message, verdict


@pytest.mark.parametrize("name", [name for name, _ in RIGHT])
def test_whatever_is_handed_in_gets_a_verdict(name):
    for answer in (None, ..., "", "41", [], [[1], [2, 3]], {}, np.nan, -1, np.zeros((3, 3)), object(), len, lambda: 1):
        verdict = course.check(name, answer)
        assert verdict.passed is False and len(verdict.message) > 10
        assert name in repr(verdict) and name in verdict._repr_html_() and not verdict


def test_an_open_answer_shows_the_question_and_a_name_that_is_none_says_which_there_are():
    verdict = course.check("03-kdtree-visited")
    assert verdict.message.startswith("Not answered yet: With data = ")
    assert verdict.as_json() == {"exercise": "03-kdtree-visited", "passed": False, "message": verdict.message}
    with pytest.raises(KeyError, match="no exercise is called '03-kdtree'; there are 03-box-distance, 03-kdtree-vis"):
        course.check("03-kdtree", 1)


def test_what_an_author_gets_wrong_is_said():
    for name in ("kdtree", "3-x", "03_x", "03-X", "03-"):
        with pytest.raises(ValueError, match="two digits"):
            course.exercise(name, "What?")
    with pytest.raises(ValueError, match="asks nothing"):
        course.exercise("99-nothing", " ")
    with pytest.raises(ValueError, match="registered twice"):
        course.exercise("03-kdtree-visited", "Again?")(lambda answer: None)


def test_seals_open_for_the_number_and_for_no_other():
    sealed = answers.seal("99-x", 0.7312, 2)
    assert len(sealed) == 32
    near = [
        value
        for value in (0.7, 0.7199, 0.7205, 0.728, 0.73, 0.7395, 0.7401, 0.76)
        if answers.opens(sealed, "99-x", value, 2)
    ]
    assert near == [0.7205, 0.728, 0.73, 0.7395]
    assert not answers.opens(sealed, "99-y", 0.73, 2), "the name is the salt"


def test_answers_of_the_wrong_form_are_refused_at_the_door():
    refused = {
        "divided by 0": lambda: answers.number(np.inf),
        "from 0 to 1": lambda: answers.number(2, 0, 1),
        "whole number": lambda: answers.whole(1.5),
        "wrong way round": lambda: answers.array(np.ones((2, 3)), (3, 2)),
        "shape (any, 2)": lambda: answers.array([1], (None, 2)),
        "Whole numbers are asked for": lambda: answers.array([1.0], (1,), "iu"),
        "NaN": lambda: answers.array([np.nan], (1,)),
        "0 to 3, and there is 4": lambda: answers.rows([4], 1, 4),
        "Row 2 is there twice": lambda: answers.rows([2, 2], 2, 4),
        "changed an array": lambda: answers.call(lambda values: values.sort() or 1, np.array([2, 1])),
        "not written yet": lambda: answers.call(unwritten),
        "ZeroDivisionError: division by zero (line ": lambda: answers.call(lambda: 1 / 0),
    }
    for words, act in refused.items():
        with pytest.raises(course.Mistake) as caught:
            act()
        assert words in str(caught.value)


def unwritten():
    raise NotImplementedError


def test_no_file_of_an_exercise_writes_its_answer_down():
    """A number that is right stands nowhere in the file of its check, neither as it is nor rounded."""
    for module in ANSWERS.values():
        for name, make in module.ANSWERS.items():
            value = make()
            if not isinstance(value, (int, float, np.number)):
                continue
            path = Path(importlib.util.find_spec(course.exercises()[name].judge.__module__).origin)
            spoken = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            numbers = {each for each in spoken if isinstance(each, (int, float)) and abs(each) > 5}
            assert value not in numbers, name
    assert registry.exercises() == course.exercises()
