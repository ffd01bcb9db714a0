"""`annlab promote` and `annlab rollback`: another encoder for a catalog, and back."""

import argparse
from collections.abc import Iterator
from typing import Any

from annlab.cli import options as shared
from annlab.cli.output import ProgressLine, answer, counts_in_words, say

REFUSED = 3  # exit status


def add_to(commands: shared.Commands) -> None:
    """Make these commands known."""
    promote = shared.command(commands, "promote", "another encoder for a catalog", _promote)
    shared.add_catalog(promote)
    promote.add_argument("encoder", metavar="ENCODER", help=shared.ENCODER_HELP)
    promote.add_argument("--index", default="same", metavar="KIND", help="of the new index: same, exact, ivf, ...")
    promote.add_argument("--force", action="store_true", help="promote it even if it is worse than the current one")
    promote.add_argument("--restart", action="store_true", help="throw an unfinished promotion away first")
    shared.add_threads(promote)
    shared.add_json(promote)

    rollback = shared.command(commands, "rollback", "back to the previous encoder", _rollback)
    shared.add_catalog(rollback)
    shared.add_threads(rollback)
    shared.add_json(rollback)


def _promote(options: argparse.Namespace) -> int:
    """Embed all images of a catalog by another encoder, compare both on what was judged and clicked, and exchange
    encoder and index together. The old ones serve until then, and are kept for annlab rollback. A promotion that was
    stopped goes on when the same command is given again. Exit status 3: the encoder is worse, and was not promoted."""
    from annlab.visual.commands import promote
    from annlab.visual.promotion import WorseError

    try:
        result = promote(options.catalog, options.encoder, index_folder=options.index_folder, kind=options.index,
                         force=options.force, restart=options.restart, threads=options.threads,
                         progress=ProgressLine())  # fmt: skip
    except WorseError as error:
        say(f"annlab: refused: {error}")
        return REFUSED
    answer(options, result, _promoted(result, options.catalog))
    return 0


def _promoted(result: dict[str, Any], catalog: str) -> Iterator[str]:
    name = f"{result['encoder']} ({result['fingerprint']})"
    yield f"{name} is the encoder of {catalog} now; {result['embedded']} images were embedded"
    yield result["in words"]
    if result["failed"]:
        yield f"{result['failed']} images could not be embedded and are pending: annlab index tells why"
    yield f"annlab rollback {catalog} brings the old encoder back"


def _rollback(options: argparse.Namespace) -> int:
    """Let the previous encoder and its index take the place of the current ones, at once; then embed what was indexed
    since. Given again, it goes back to where it began."""
    from annlab.visual.commands import rollback

    result = rollback(options.catalog, index_folder=options.index_folder, threads=options.threads,
                      progress=ProgressLine(), say=say)  # fmt: skip
    answer(options, result, [f"{result['encoder']} is the encoder of {options.catalog} again",
                             counts_in_words(result["catalog"])])  # fmt: skip
    return 0
