"""The course: exercises that say which mistake was made, and assignments with marks.

Two sizes. An *exercise* of a notebook is a question whose answer is a number, an array or a small function:

>>> from annlab import course
>>> course.check("03-kdtree-visited", 2000)
not yet [03-kdtree-visited] That is every row: the tree skips boxes that are farther away than the fifth nearest so far.

How to add exercises, and what the pieces of a check are, is in docs/course.md; read on in `registry.py` (naming and
judging) and `answers.py` (what checks are made of).
"""

from annlab.course.registry import Exercise, Mistake, Verdict, check, exercise, exercises

__all__ = ["Exercise", "Mistake", "Verdict", "check", "exercise", "exercises"]
