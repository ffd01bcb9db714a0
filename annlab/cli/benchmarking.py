"""`annlab bench`: recall against latency of every index, and of installed peers, on one's own vectors."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import annlab
from annlab.cli import options as shared


def add_to(commands: shared.Commands) -> None:
    """Make this command known."""
    bench = shared.command(
        commands, "bench", "every index and every installed peer on your vectors, and a report", _bench
    )
    bench.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="DATA ...",
        help="files of vectors (.npy, .fvecs, .parquet, .hdf5) and options; `annlab bench -- --help` lists them",
    )  # fmt: skip


def _bench(options: argparse.Namespace) -> int:
    """Tune every index within the same seconds, let them take turns, and write one page that says who is first at which
    recall. It is `python -m benchmarks run` of annlab's repository, and needs a checkout of that."""
    root = Path(annlab.__file__).parents[1]
    if not (root / "benchmarks" / "__main__.py").exists():
        raise RuntimeError(
            "the benchmarks are part of annlab's repository and not of what pip installs: clone it, and in that folder "
            'run pip install -e ".[bench]" and this command again'
        )
    given = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    search = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "benchmarks", "run", *given]
    return subprocess.call(command, env={**os.environ, "PYTHONPATH": search})
