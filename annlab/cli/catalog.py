"""`annlab index`, `status` and `catalog`: a catalog is filled, looked at, and looked after."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from annlab.cli import options as shared
from annlab.cli.output import ProgressLine, answer, counts_in_words, say

ACTIONS = {
    "export": "export CATALOG FOLDER writes all tables without what is personal",
    "import": "import CATALOG FOLDER reads tables",
    "export-qrels": "export-qrels CATALOG FILE writes the judgements",
    "import-qrels": "import-qrels CATALOG FILE reads judgements",
    "duplicates": "duplicates CATALOG ID ID remembers that two images are of one picture",
    "not-duplicates": "not-duplicates CATALOG ID ID remembers that they are not",
    "person": "person CATALOG USER prints all that is held of one person, for that person",
    "forget": "forget CATALOG USER takes a person out of tables, index and log, and lists the files to delete",
}


def add_to(commands: shared.Commands) -> None:
    """Make these commands known."""
    index = shared.command(commands, "index", "bring a catalog up to date with a folder", _index)
    index.add_argument("folder", metavar="FOLDER", help="images, with sub-folders")
    index.add_argument("--into", required=True, metavar="CATALOG", help="a SQLite file, or an address postgresql://...")
    shared.add_encoder(index, "that of the catalog; for a new one as annlab encode chooses")
    index.add_argument("--index", default="auto", metavar="KIND", help="for a new catalog: auto, exact, ivf, lsh, ...")
    shared.add_index_folder(index)
    index.add_argument("--shards", type=int, metavar="N", help="for a new catalog: spread its vectors over so many "
                       "shards, which annlab shard looks after")  # fmt: skip
    index.add_argument("--replicas", type=int, default=1, metavar="N", help="of each shard (default: %(default)s)")
    index.add_argument("--engine", choices=("inline", "ray"), default="inline", help="where they run: in the process "
                       "that has the catalog open, or as actors of Ray (default: %(default)s)")  # fmt: skip
    index.add_argument("--watch", action="store_true", help="go on: look again every few seconds until Ctrl-C; files "
                       "that are still being written wait; with --json one line for every change")  # fmt: skip
    index.add_argument("--folder-tags", action="store_true", help="the folders that an image lies in become its tags, "
                       "which whoever searches may read; the catalog remembers it")  # fmt: skip
    index.add_argument("--forget-missing", action="store_true", help="even if not one known image is there any more")
    shared.add_threads(index)
    shared.add_json(index)

    status = shared.command(commands, "status", "what became of every image", _status)
    shared.add_catalog(status)
    status.add_argument("--failures", type=int, default=20, metavar="N", help="list so many (default: %(default)s)")
    shared.add_json(status)

    catalog = shared.command(commands, "catalog", "tables in and out, and people", _catalog)
    catalog.add_argument("action", choices=ACTIONS, help="; ".join(ACTIONS.values()))
    shared.add_catalog(catalog)
    catalog.add_argument("operands", nargs="+", metavar="FOLDER|FILE|USER|ID")
    catalog.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of export (default: %(default)s)")
    catalog.add_argument("--on-conflict", choices=("raise", "replace", "skip"), default="raise",
                         help="of import: what to do about rows whose key is there (default: %(default)s)")  # fmt: skip
    catalog.add_argument("--overwrite", action="store_true", help="of exports: replace files that are there")
    catalog.add_argument("--json", action="store_true", help="as always here: the result is one JSON value")


def _index(options: argparse.Namespace) -> int:
    """Find images that are new, changed, moved or gone, embed what is due, and write catalog and index together. A run
    that was stopped goes on when the same command is given again."""
    from annlab.visual.commands import index_folder

    if options.watch and options.forget_missing:
        raise ValueError("--forget-missing is for one look, not for every one: give it without --watch first")
    if options.watch:
        return _watch(options)
    result = index_folder(
        options.folder, options.into, encoder=options.encoder, kind=options.index, index_folder=options.index_folder,
        forget_missing=options.forget_missing, folder_tags=options.folder_tags, threads=options.threads,
        sharding=_sharding(options), progress=ProgressLine(), say=say,
    )  # fmt: skip
    answer(options, result, _indexed(result, options.into))
    return 0


def _watch(options: argparse.Namespace) -> int:
    """Keep a catalog up to date until Ctrl-C, which is the way to end it."""
    from annlab.visual.commands import watch_folder

    def told(result: dict[str, Any]) -> None:
        answer(options, result, _indexed(result, options.into))
        sys.stdout.flush()

    say(f"watching {options.folder}; Ctrl-C ends it")
    try:
        watch_folder(options.folder, options.into, encoder=options.encoder, kind=options.index,
                     index_folder=options.index_folder, folder_tags=options.folder_tags, threads=options.threads,
                     sharding=_sharding(options), told=told, progress=ProgressLine(), say=say)  # fmt: skip
    except KeyboardInterrupt:
        say("no longer watching")
    return 0


def _sharding(options: argparse.Namespace) -> dict[str, Any] | None:
    """As `Catalog.spread` takes it; None where nothing is said."""
    if options.shards is None:
        return None
    return {"n_shards": options.shards, "n_replicas": options.replicas, "engine": options.engine}


def _indexed(result: dict[str, Any], catalog: str) -> Iterator[str]:
    yield counts_in_words(result["catalog"])
    if result["catalog"]["failed"]:
        yield f"annlab status {catalog} lists the failures with their reasons"


def _status(options: argparse.Namespace) -> int:
    """Say how many images are indexed, duplicates, failed (with the reasons) and still to do."""
    from annlab.visual.commands import status

    result = status(options.catalog, index_folder=options.index_folder, failures=options.failures)
    answer(options, result, _state(result))
    return 0


def _state(result: dict[str, Any]) -> Iterator[str]:
    yield counts_in_words(result["catalog"])
    for encoder in result["encoders"]:
        yield f"encoder {encoder['name']}, {encoder['fingerprint']}, {encoder['dim']} dimensions: {encoder['role']}"
        if encoder["index"] is not None:
            index = encoder["index"]
            memory, disk = index["memory"] / 2**20, index["file_bytes"] / 2**20
            yield (f"    {index['kind']}: {memory:,.1f} MiB in memory, {disk:,.1f} MiB on disk, "
                   f"{index['operations']} operations in the log since")  # fmt: skip
    if result["promotion"] is not None:
        promotion = result["promotion"]
        yield (f"promotion of {promotion['name']}: {promotion['embedded']} of {promotion['of']} images are embedded; "
               "annlab promote goes on with it")  # fmt: skip
    for failure in result["failures"]:
        yield f"failed: {failure['path']}: {failure['reason']}"
    more = result["catalog"]["failed"] - len(result["failures"])
    if more > 0:
        yield f"and {more} more: --failures {result['catalog']['failed']} lists all"


def _catalog(options: argparse.Namespace) -> int:
    """Tables of a catalog as files, in and out; judgements; one person's own data; forgetting a person. Prints JSON."""
    from annlab.visual.catalog_commands import run

    result = run(options.action, options.catalog, options.operands, form=options.format,
                 on_conflict=options.on_conflict, index_folder=options.index_folder,
                 overwrite=options.overwrite)  # fmt: skip
    print(json.dumps(result, indent=2, ensure_ascii=False, default=str))
    return 0
