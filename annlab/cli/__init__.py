"""The command `annlab`: from images to embeddings, to a catalog that is searched, and the numbers that say how good.

    annlab train IMAGES --out my-encoder                learn an encoder from images, and say whether it is better
    annlab encode IMAGES --encoder my-encoder --out e.npy       images to embeddings, resumable
    annlab evaluate e.npy                               MRR, recall, precision, mAP and nDCG
    annlab index FOLDER --into photos.db                a catalog of images and the index of their vectors
    annlab status photos.db                             what became of every image
    annlab search photos.db me.jpg                      what in it is like an image
    annlab catalog forget photos.db USER                take a person out, everywhere
    annlab promote photos.db my-encoder                 another encoder for it, if that is better
    annlab rollback photos.db                           the previous one again
    annlab serve photos.db                              search it over HTTP, and on a page
    annlab experiment start photos.db a.toml b.toml     which of two rankings people click more
    annlab report photos.db --out report.html           how it is doing, on one page
    annlab start                                        the same for packaged pictures, or --photos FOLDER, at once
    annlab course check patches.py                      exercises and assignments, with marks
    annlab shard create folder vectors.npy              one index over several processes or machines
    annlab bench vectors.npy                            every index on these vectors: recall against latency

What is named the same everywhere (`options.py`): CATALOG is a SQLite file or an address postgresql://..., the first
argument of every command but `index`, which fills it (`--into`); the index lies beside it, or where `--index-folder`
says; an encoder is a name or a folder. With `--json` the one thing on stdout is a JSON value.

Results go to stdout, progress and complaints to stderr. The exit status is

    0      done
    1      something went wrong; the message says what, and what to do
    2      the command makes no sense
    3      it was understood and refused, as a promotion to a worse encoder
    130    interrupted

No file is replaced without --overwrite, and nothing that a failed command leaves is in the way of the corrected one.

Each group of commands is a module with a function `add_to(commands)`, named in `GROUPS`. Everything heavy is imported
by the command that needs it, so that `annlab --help` answers at once.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence

from annlab import __version__
from annlab.cli import (
    benchmarking,
    catalog,
    course,
    encoding,
    evaluation,
    experimenting,
    promotion,
    reporting,
    searching,
    serving,
    sharding,
    starting,
)
from annlab.cli.output import show_warning

GROUPS = (
    encoding,
    evaluation,
    catalog,
    searching,
    promotion,
    serving,
    experimenting,
    reporting,
    starting,
    course,
    sharding,
    benchmarking,
)
"""In the order in which the help shows their commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            status: int = options.run(options)
    except KeyboardInterrupt:
        print("annlab: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"annlab: error: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="annlab", description="Nearest-neighbour search and visual search.")
    parser.add_argument("--version", action="version", version=f"annlab {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_to(commands)
    return parser
