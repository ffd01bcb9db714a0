"""`python -m annlab.course` is `annlab course`."""

import argparse
import sys
from collections.abc import Sequence

from annlab.course import commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m annlab.course", description=commands.ABOUT)
    commands.add_to(parser)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"annlab course: error: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
