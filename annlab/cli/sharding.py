"""`annlab shard`: one index over several processes or machines, made, looked at, divided and searched."""

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annlab.cli import options as shared
from annlab.cli.output import answer

if TYPE_CHECKING:
    from annlab.sharded import ShardedIndex

ACTIONS = {
    "create": "create FOLDER DATA makes one from vectors: a .npy, .parquet, .arrow or .feather file",
    "status": "status FOLDER tells what each replica holds",
    "verify": "verify FOLDER compares all replicas by hash",
    "move": "move FOLDER divides the shards into --shards, while others search and write",
    "search": "search FOLDER QUERIES.npy finds the nearest of every row",
}


def add_to(commands: shared.Commands) -> None:
    """Make the command known."""
    shard = shared.command(commands, "shard", "one index over several processes or machines", _shard)
    shard.add_argument("action", choices=ACTIONS, help="; ".join(ACTIONS.values()))
    shard.add_argument("folder", metavar="FOLDER", help="of the manifest, the logs and the snapshots; all machines "
                       "see it")  # fmt: skip
    shard.add_argument("data", nargs="?", metavar="DATA", help="of create: vectors; of search: queries, a .npy file")
    shard.add_argument("--engine", choices=("inline", "ray"), default="inline", help="where replicas run: in this "
                       "process, while it lasts, or as actors of Ray, which stay (default: %(default)s)")  # fmt: skip
    shard.add_argument("--shards", type=int, metavar="N", help="of create (default: 2) and move")
    shard.add_argument("--replicas", type=int, default=1, metavar="N", help="of each shard (default: %(default)s)")
    shard.add_argument("--placement", choices=("hash", "cells"), default="hash", help="of create: rows go to shards "
                       "by a hash of their id, or by cells of k-means, so that searches ask few shards (default: "
                       "%(default)s)")  # fmt: skip
    shard.add_argument("--ack", choices=("one", "majority", "all"), default="majority", help="how many logs hold a "
                       "write before it is acknowledged (default: %(default)s)")  # fmt: skip
    shard.add_argument("--index", default="ivf", metavar="KIND", help="of create: exact, ivf, vamana, kdtree, balltree "
                       "or lsh (default: %(default)s)")  # fmt: skip
    shard.add_argument("--metric", choices=("l2", "ip", "cosine"), default="l2")
    columns = (
        ("--vectors", "vector", "the column of vectors"),
        ("--ids", None, "the column of ids; default: 0, 1, ..."),
    )
    for name, default, what in columns:
        shard.add_argument(name, metavar="COLUMN", default=default, help=f"of create, in a table: {what}")
    shard.add_argument("--attribute", action="append", default=[], metavar="COLUMN", help="of create, in a table: kept "
                       "with the vectors; may be given again")  # fmt: skip
    shard.add_argument("--max-memory", metavar="SIZE", help="of create, for ivf: what building may take, as 1GB; "
                       "temporary files then take the size of the vectors once or twice")  # fmt: skip
    shard.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of the index (create) "
                       "or of the search, such as storage=pq4 or n_probes=8; may be given again")  # fmt: skip
    shard.add_argument("-k", type=int, default=10, help="of search: results (default: %(default)s)")
    shard.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="that a read or write may take "
                       "(default: %(default)s)")  # fmt: skip
    shared.add_json(shard)


def _shard(options: argparse.Namespace) -> int:
    """Make an index whose vectors are spread over shards with replicas, see how it stands, divide its shards, or search
    it. Replicas are compared by hash, and where two of them differ the command fails and names them."""
    if (options.data is None) == (options.action in ("create", "search")):
        raise ValueError(f"say annlab shard {ACTIONS[options.action]}")
    if options.action == "create":
        return _create(options)
    if not (Path(options.folder) / "manifest-000000000001").is_file():
        raise FileNotFoundError(f"{options.folder} holds no sharded index: annlab shard create makes one")
    with _opened(options, None) as index:
        if options.action == "search":
            return _search(options, index)
        if options.action == "move":
            if options.shards is None:
                raise ValueError("say how many there shall be: annlab shard move FOLDER --shards 4")
            index.reshard(options.shards, timeout=options.timeout)
        hashes = index.verify() if options.action != "status" else {}
        answer(options, {"status": index.status(), "hashes": hashes}, _lines(index.status(), hashes))
    return 0


def _opened(options: argparse.Namespace, empty: Any, **how: Any) -> "ShardedIndex":
    from annlab.sharded import ShardedIndex

    return ShardedIndex(empty, engine=options.engine, path=options.folder, timeout=options.timeout, **how)


def _create(options: argparse.Namespace) -> int:
    from annlab.kinds import INDEX_CLASSES

    kinds = {each.__name__.removesuffix("Index").lower(): each for each in INDEX_CLASSES}
    if options.index not in kinds:
        raise ValueError(f"there is no index {options.index!r}: choose {', '.join(kinds)}")
    if os.path.isdir(options.folder) and os.listdir(options.folder):
        raise FileExistsError(f"{options.folder} is not empty: make a sharded index in a folder of its own")
    data, how = _data(options)
    if options.max_memory is not None:
        if options.index != "ivf":
            raise ValueError(f"--max-memory is for --index ivf, not {options.index}")
        how["max_memory"] = options.max_memory
    with _parameters_told():
        empty = kinds[options.index](metric=options.metric, **shared.parameters(options.parameter))
    n_shards = 2 if options.shards is None else options.shards
    how_placed = {"n_shards": n_shards, "n_replicas": options.replicas, "placement": options.placement}
    with _emptied_by_failure(Path(options.folder)), _opened(options, empty, ack=options.ack, **how_placed) as index:
        index.fit(data, **how)
        answer(options, {"status": index.status(), "hashes": {}}, _lines(index.status(), {}))
    return 0


@contextlib.contextmanager
def _parameters_told() -> Iterator[None]:
    """A --parameter that there is not, or of another type, is told as whatever else makes no sense."""
    try:
        yield
    except TypeError as error:
        raise ValueError(str(error)) from None


@contextlib.contextmanager
def _emptied_by_failure(folder: Path) -> Iterator[None]:
    """A folder that is not there or empty is so again if the block raises: then the corrected command can use it.

    Not where another process was quicker: what lies there is its.
    """
    from annlab.durable.errors import InUseError
    from annlab.sharded.errors import ConflictError

    existed = folder.is_dir()
    try:
        yield
    except (InUseError, ConflictError):
        raise
    except BaseException:
        for path in folder.iterdir() if folder.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if folder.is_dir() and not existed:
            folder.rmdir()
        raise


def _data(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Vectors as `fit` takes them, with what belongs to them."""
    from annlab.datasets import arrow_batches, load_npy

    if Path(options.data).suffix == ".npy":
        if options.ids is not None or options.attribute:
            raise ValueError(f"{options.data} has no columns: ids and attributes come from a table, such as .parquet")
        return load_npy(options.data, mmap=True), {}
    found = arrow_batches(options.data, vectors=options.vectors, ids=options.ids, attributes=options.attribute)
    if options.index == "ivf":
        return found.vectors, {"ids": found.ids, "attributes": found.attributes}
    return _whole(found)


def _whole(found: Any) -> tuple[Any, dict[str, Any]]:
    """All of a table in memory, for indexes that are not built block by block."""
    import numpy as np

    rows, ids, columns = [], [], {name: [] for name in found.attributes}  # type: ignore[var-annotated]
    for block in found.vectors:
        rows.append(block)
        if found.ids is not None:
            ids.append(next(found.ids))
        for name, values in found.attributes.items():
            columns[name] += next(values).to_pylist()
    if not rows:
        raise ValueError("there is no vector in the table")
    return np.concatenate(rows), {"ids": np.concatenate(ids) if ids else None, "attributes": columns}


def _search(options: argparse.Namespace, index: "ShardedIndex") -> int:
    from annlab.datasets import load_npy

    with _parameters_told():
        found = index.search(load_npy(options.data), options.k, **shared.parameters(options.parameter))
    ids, distances = found.ids.tolist(), found.distances.tolist()
    lines = (f"{i}: " + "  ".join(f"{id} ({distance:.4g})" for id, distance in zip(*row, strict=True))
             for i, row in enumerate(zip(ids, distances, strict=True)))  # fmt: skip
    answer(options, {"ids": ids, "distances": distances}, lines)
    return 0


def _lines(status: dict[str, Any], hashes: dict[str, str]) -> Iterator[str]:
    yield (f"{status['vectors']:,} vectors in {len(status['shards'])} shards of {status['kind']}, "
           f"version {status['version']} of the manifest, ack {status['ack']}")  # fmt: skip
    for shard in status["shards"]:
        proof = f", hash {hashes[shard['name']][:16]}" if shard["name"] in hashes else ""
        yield f"shard {shard['name']}, written by {shard['writer']} in term {shard['term']}{proof}"
        for replica in shard["replicas"]:
            applied = replica["applied"]
            yield f"    {replica['name']}: " + ("no answer" if applied is None else f"{applied} operations")
    if status["moving"]:
        yield f"a move to {status['moving']} shards has begun; annlab shard move carries it on"
