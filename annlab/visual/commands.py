"""What the command line does with a catalog: each command is a function that returns what it would print as JSON."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annlab.common.progress import Counted, uncounted
from annlab.encoders.encoder import Encoder
from annlab.encoders.pretrained import default_name, load_encoder
from annlab.index import Index
from annlab.kinds import INDEX_CLASSES
from annlab.visual.catalog import Catalog
from annlab.visual.discovery import discover
from annlab.visual.indexing import Indexer, index_folder_of
from annlab.visual.schema import FAILED

KINDS = {cls.__name__.removesuffix("Index").lower(): cls for cls in INDEX_CLASSES}
_MANY_IMAGES = 50_000  # from here on an approximate index answers faster than a scan by more than it loses

Say = Callable[[str], None]


def index_folder(folder: str, into: str, *, encoder: str | None = None, kind: str = "auto",
                 index_folder: str | None = None, forget_missing: bool = False, threads: int = 1,
                 progress: Counted = uncounted, say: Say = lambda line: None) -> dict[str, Any]:  # fmt: skip
    """Bring a catalog and its index up to date with a folder of images.

    Raises
    ------
    ValueError, OSError, RuntimeError
        With what is wrong and what to do; whatever was written before stays.
    """
    if not Path(folder).is_dir():  # before anything is made
        raise NotADirectoryError(f"{folder} is no folder of images")
    place = Path(index_folder) if index_folder else index_folder_of(into)
    with Catalog.open(into) as catalog:
        current = next((row for row in catalog.encoders() if row["role"] == "current"), None)
        name = encoder or (current["name"] if current else default_name())
        say(f"catalog {into}; encoder {name}")
        model = load_encoder(name, threads)
        empty = None if _has_index(place) else _new_index(kind, folder, model)
        with catalog.index(empty, place) as index:
            found = discover(catalog, index, folder, forget_missing=forget_missing, progress=progress)
            say(str(found))
            done = Indexer(catalog, index, model).run(progress=progress)
            say(str(done))
            counts = catalog.counts()
            return {"discovered": asdict(found), "done": asdict(done), "catalog": asdict(counts),
                    "vectors": len(index), "memory": index.memory()["total"]}  # fmt: skip


def status(catalog: str, *, failures: int = 20) -> dict[str, Any]:
    """How many images are in which state, the encoders, and the first of those that failed, with the reasons."""
    if "://" not in catalog and not os.path.isfile(catalog):
        raise FileNotFoundError(f"there is no catalog {catalog}: annlab index FOLDER --into {catalog} makes one")
    with Catalog.open(catalog) as opened:
        failed = opened.find(status=FAILED, limit=failures)
        encoders = [{name: row[name] for name in ("name", "fingerprint", "dim", "role")} for row in opened.encoders()]
        return {"catalog": asdict(opened.counts()), "encoders": encoders,
                "failures": [{"path": image.path, "reason": image.reason} for image in failed]}  # fmt: skip


def _has_index(place: Path) -> bool:
    return place.is_dir() and any(place.glob("*.lock"))


def _new_index(kind: str, folder: str, encoder: Encoder) -> Index:
    """An empty index; "auto" looks at how many files there are."""
    if kind == "auto":
        files = sum(len(names) for _, _, names in os.walk(folder))
        kind = "exact" if files < _MANY_IMAGES else "ivf"
    if kind not in KINDS:
        raise ValueError(f"there is no index {kind!r}: choose auto, {', '.join(KINDS)}")
    return KINDS[kind](metric="cosine", dim=encoder.dim)
