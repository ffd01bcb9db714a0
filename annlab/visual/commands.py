"""What the command line does with a catalog: each command is a function that returns what it would print as JSON."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annlab.common.progress import Counted, uncounted
from annlab.durable import DurableIndex, InUseError, describe
from annlab.encoders.encoder import Encoder
from annlab.encoders.pretrained import load_encoder
from annlab.index import Index
from annlab.kinds import INDEX_CLASSES
from annlab.visual import promotion, watching
from annlab.visual.catalog import Catalog
from annlab.visual.discovery import discover
from annlab.visual.encoder_rows import FIRST_INDEX
from annlab.visual.folder_tags import want_folder_tags
from annlab.visual.indexing import Indexed, Indexer
from annlab.visual.pair import encoder_of, folder_of, keep_encoder
from annlab.visual.schema import FAILED

KINDS = {cls.__name__.removesuffix("Index").lower(): cls for cls in INDEX_CLASSES}
_MANY_IMAGES = 100_000  # from here on a scan takes milliseconds more than an approximate index; before, it is right,
# and its time says nothing of what is hidden

Say = Callable[[str], None]
Sharding = dict[str, Any]
"""As `Catalog.spread` takes it."""


def index_folder(folder: str, into: str, *, encoder: str | None = None, kind: str = "auto",
                 index_folder: str | None = None, forget_missing: bool = False, folder_tags: bool = False,
                 threads: int = 1, sharding: Sharding | None = None, progress: Counted = uncounted,
                 say: Say = lambda line: None) -> dict[str, Any]:  # fmt: skip
    """Bring a catalog and its index up to date with a folder of images.

    Raises
    ------
    ValueError, OSError, RuntimeError
        With what is wrong and what to do; whatever was written before stays.
    """
    pair = opened_pair(folder, into, encoder, kind, index_folder, threads, sharding, folder_tags)
    with pair as (catalog, index, model):
        say(f"catalog {into}; encoder {model.name}")
        found = discover(catalog, index, folder, forget_missing=forget_missing, progress=progress)
        say(str(found))
        done = Indexer(catalog, index, model).run(progress=progress)
        say(str(done))
        return watching.result_of(catalog, index, found, done)


def watch_folder(folder: str, into: str, *, encoder: str | None = None, kind: str = "auto",
                 index_folder: str | None = None, folder_tags: bool = False, threads: int = 1,
                 sharding: Sharding | None = None, told: Callable[[dict[str, Any]], None],
                 progress: Counted = uncounted, say: Say = lambda line: None) -> None:  # fmt: skip
    """Keep a catalog and its index up to date with a folder, until somebody interrupts it."""

    def opened() -> Any:
        named = encoder if first else None  # another one may have been promoted
        first.clear()
        return opened_pair(folder, into, named, kind, index_folder, threads, sharding, folder_tags)

    first = ["time"]
    watching.watch(folder, opened, told=told, say=say, progress=progress)


@contextmanager
def opened_pair(folder: str, into: str, encoder: str | None, kind: str, index_folder: str | None, threads: int,
                sharding: Sharding | None = None,
                folder_tags: bool = False) -> Iterator[tuple[Catalog, DurableIndex, Encoder]]:  # fmt: skip
    """A catalog with its index and encoder, made if they are not there."""
    if not Path(folder).is_dir():  # before anything is made
        raise NotADirectoryError(f"{folder} is no folder of images")
    with Catalog.open(into) as catalog:
        if sharding is not None:
            catalog.spread(**sharding)
        if folder_tags:
            want_folder_tags(catalog)
        place = folder_of(catalog, into, index_folder)
        model = encoder_of(catalog, place, encoder, threads)
        there = catalog.index_name() in catalog.index_names()
        empty = None if there else new_index(kind, _size_of(folder), model.dim)
        with catalog.index(empty, place) as index:
            keep_encoder(place, model, encoder)
            chosen = None if index_folder is None else str(place.resolve())
            catalog.add_encoder(model.fingerprint, model.name, model.dim, index_name=index.name, index_folder=chosen)
            yield catalog, index, model


def status(catalog: str, *, index_folder: str | None = None, failures: int = 20) -> dict[str, Any]:
    """How many images are in which state, the encoders with their indexes and what these take, and the first of those
    images that failed, with the reasons."""
    with _there(catalog) as opened:
        failed = opened.find(status=FAILED, limit=failures)
        encoders = [
            {name: row[name] for name in ("name", "fingerprint", "dim", "role")}
            | {"index": _index_of(opened, catalog, index_folder, row)}
            for row in opened.encoders()
        ]
        return {"catalog": asdict(opened.counts()), "encoders": encoders,
                "promotion": promotion.building(opened),
                "failures": [{"path": image.path, "reason": image.reason} for image in failed]}  # fmt: skip


def _index_of(opened: Catalog, catalog: str, index_folder: str | None, row: dict[str, Any]) -> dict[str, Any] | None:
    """What is known of the index of an encoder; None if it has none, or nobody says where."""
    try:
        folder = folder_of(opened, catalog, index_folder)
        return asdict(describe(folder, opened.database, row["index_name"] or FIRST_INDEX))
    except (OSError, ValueError):
        return None


def promote(catalog: str, encoder: str, *, index_folder: str | None = None, kind: str = "same", force: bool = False,
            restart: bool = False, threads: int = 1, progress: Counted = uncounted) -> dict[str, Any]:  # fmt: skip
    """Let another encoder take the place of the current one; errors as for `promotion.promote`."""
    with _there(catalog) as opened:
        place = folder_of(opened, catalog, index_folder)
        model = load_encoder(encoder, threads)
        index = None if kind == "same" else new_index(kind, opened.counts().indexed, model.dim)
        done = promotion.promote(
            opened, place, model, kind=index, source=encoder, force=force, restart=restart, progress=progress
        )
        return {"encoder": done.encoder, "fingerprint": done.fingerprint, "embedded": done.embedded,
                "failed": done.failed, "offline": done.offline.as_dict(), "in words": str(done.offline),
                "catalog": asdict(opened.counts())}  # fmt: skip


def rollback(catalog: str, *, index_folder: str | None = None, threads: int = 1, progress: Counted = uncounted,
             say: Say = lambda line: None) -> dict[str, Any]:  # fmt: skip
    """Bring the previous encoder and its index back, and embed what was indexed since."""
    with _there(catalog) as opened:
        place = folder_of(opened, catalog, index_folder)
        name = promotion.roll_back(opened, place)
        say(f"{name} serves again")
        done = Indexed()
        try:
            with opened.index(None, place) as index:
                done = Indexer(opened, index, encoder_of(opened, place, threads=threads)).run(progress=progress)
        except InUseError as error:  # a service has gone on with it at once
            say(f"{error}; what is pending waits for the next image that is added there, or for annlab index")
        return {"encoder": name, "done": asdict(done), "catalog": asdict(opened.counts())}


def _there(catalog: str) -> Catalog:
    """A catalog that is there already."""
    if "://" not in catalog and not os.path.isfile(catalog):
        raise FileNotFoundError(f"there is no catalog {catalog}: annlab index FOLDER --into {catalog} makes one")
    return Catalog.open(catalog)


def new_index(kind: str, n_images: int, dim: int) -> Index:
    """An empty index; "auto" chooses by how many images there will be."""
    if kind == "auto":
        kind = "exact" if n_images < _MANY_IMAGES else "ivf"
    if kind not in KINDS:
        raise ValueError(f"there is no index {kind!r}: choose auto, {', '.join(KINDS)}")
    return KINDS[kind](metric="cosine", dim=dim)


def _size_of(folder: str) -> int:
    """How many files a folder holds."""
    return sum(len(names) for _, _, names in os.walk(folder))
