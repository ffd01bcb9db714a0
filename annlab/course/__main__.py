"""`python -m annlab.course`: seals for the authors of exercises."""

import argparse
import sys
from collections.abc import Sequence

from annlab.course.answers import seal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m annlab.course", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sealing = commands.add_parser("seal", help="the seal of an exercise's answer")
    sealing.add_argument("name", help="of the exercise")
    sealing.add_argument("value", type=float)
    sealing.add_argument("--places", type=int, default=0, help="decimal places that count (default: %(default)s)")
    options = parser.parse_args(arguments)
    print(seal(options.name, options.value, options.places))
    return 0


if __name__ == "__main__":
    sys.exit(main())
