"""The assignments: a folder each, with handout, stub and hidden tests. See `annlab/course/assignment.py`."""
