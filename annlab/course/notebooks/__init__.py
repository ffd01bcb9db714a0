"""The checks of the notebooks' exercises: a file for each notebook, found by being here. See docs/course.md."""
