"""The course: exercises that say which mistake was made, and assignments with marks.

Two sizes. An *exercise* of a notebook is a question whose answer is a number, an array or a small function:

>>> from annlab import course
>>> course.check("03-kdtree-visited", 2000)
not yet [03-kdtree-visited] That is every row: the tree skips boxes that are farther away than the fifth nearest so far.

An *assignment* is a handout, a file of functions to fill in, and hidden tests with points: `annlab course build
--student OUT`, then `annlab course check FILE`; in Python `annlab.course.runner.mark`.

How to add both is in docs/course.md; read on in `registry.py` (naming and judging), `answers.py` (what checks are made
of), `diagnosis.py` (which mistake a search makes) and `runner.py` (programs in processes of their own).
"""

from annlab.course.registry import Exercise, Mistake, Verdict, check, exercise, exercises

__all__ = ["Exercise", "Mistake", "Verdict", "check", "exercise", "exercises"]
