"""`annlab course`: exercises and assignments; what it does is in `annlab/course/commands.py`."""

from annlab.cli import options as shared
from annlab.course import commands as course


def add_to(commands: shared.Commands) -> None:
    """Make this command known."""
    parser = commands.add_parser("course", help="exercises and assignments: build them, check answers, give marks",
                                 description=course.ABOUT)  # fmt: skip
    course.add_to(parser)
