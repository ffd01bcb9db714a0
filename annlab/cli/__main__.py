"""`python -m annlab.cli` is `annlab`."""

import sys

from annlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
