"""Options that several commands share, so that the same thing has the same name everywhere."""

import argparse
from collections.abc import Callable
from typing import Any

ENCODER_HELP = (
    "fashion-mnist, emoji (drawings in colour, and words), efficientnet-lite0 (photographs), efficientnet-lite0-128 "
    "(small photographs), or a folder written by annlab train"
)
IMAGES_HELP = (
    "a folder (the folders in it are the classes), a .npy file of uint8 images, fashion-mnist-test or emoji (both are "
    "packaged), or fashion-mnist-train (from the folder that ANNLAB_DATA names, or downloaded)"
)

Run = Callable[[argparse.Namespace], int]
Commands = Any  # what `ArgumentParser.add_subparsers` returns has no public name


def command(commands: Commands, name: str, help: str, run: Run) -> argparse.ArgumentParser:
    """A command, described by the docstring of the function that runs it."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=run.__doc__)
    parser.set_defaults(run=run)
    return parser


def add_catalog(parser: argparse.ArgumentParser, *, index: bool = True) -> None:
    """CATALOG as the first argument, and where its index lies."""
    parser.add_argument("catalog", metavar="CATALOG", help="a SQLite file, or an address postgresql://...")
    if index:
        add_index_folder(parser)


def add_index_folder(parser: argparse.ArgumentParser) -> None:
    """Where the index lies."""
    parser.add_argument("--index-folder", metavar="FOLDER", help="of the index; default: beside a catalog that is a "
                        "file, with the suffix .index")  # fmt: skip


def add_encoder(parser: argparse.ArgumentParser, default: str) -> None:
    """`--encoder`, and what is taken without it, in words."""
    parser.add_argument("--encoder", metavar="ENCODER", help=f"{ENCODER_HELP}; default: {default}")


def add_threads(parser: argparse.ArgumentParser, default: int = 1, of: str = "the encoder") -> None:
    """`--threads`, of whatever computes most."""
    parser.add_argument("--threads", type=_at_least_1, default=default, help=f"threads of {of} (default: %(default)s)")


def _at_least_1(text: str) -> int:
    """A number of threads."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: at least 1 thread is needed")
    return int(text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, for machines."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else, on stdout")


def parameters(given: list[str]) -> dict[str, Any]:
    """Values given as NAME=VALUE, numbers as numbers."""
    import ast

    found: dict[str, Any] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign:
            raise ValueError(f"--parameter is NAME=VALUE, such as n_probes=8, not {each!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found
