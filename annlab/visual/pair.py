"""An encoder and the index of its vectors are a pair: they are opened together, and take turns together.

All indexes of a catalog lie in one folder, each under a name of its own; so do copies of the encoders, since an index
without its encoder answers nobody, and the folder that an encoder came from may hold another one tomorrow.

    photos.db                          the catalog, with the logs
    photos.index/images-0042.annlab    vectors of the first encoder
    photos.index/images-5d02....annlab those of another one, named after its fingerprint
    photos.index/encoders/5d02.../     that encoder, as `Encoder.save` writes it
"""

import os
import shutil
from pathlib import Path
from typing import Any

from annlab.encoders.encoder import Encoder
from annlab.encoders.pretrained import default_name, folder_of_encoder, load_encoder
from annlab.visual import relevance
from annlab.visual.catalog import Catalog, CatalogError


def index_folder_of(catalog: str | os.PathLike[str]) -> Path:
    """Where the index of a catalog lies if nothing is said: beside a SQLite file, with the suffix ``.index``."""
    text = os.fspath(catalog)
    if "://" in text:
        raise ValueError(f"{text} is no file: say where its index goes with --index-folder")
    return Path(text).with_suffix(".index")


def files_of(catalog: str | os.PathLike[str]) -> list[Path]:
    """What lies on the disk of a catalog and its index beside it; nothing of one that is elsewhere."""
    text = os.fspath(catalog)
    if "://" in text:
        return []
    return [*(Path(text + end) for end in ("", "-wal", "-shm")), *index_folder_of(text).rglob("*")]


def folder_of(catalog: Catalog, address: str | os.PathLike[str], given: str | os.PathLike[str] | None = None) -> Path:
    """Where the indexes of an open catalog lie: where somebody says, where somebody has said before, or beside it."""
    if given is not None:
        return Path(given)
    current = catalog.current_encoder()
    if current is not None and current["index_folder"]:
        return Path(current["index_folder"])
    return index_folder_of(address)


def encoder_of(catalog: Catalog, folder: Path, name: str | None = None, threads: int = 1) -> Encoder:
    """The encoder whose vectors a catalog holds; for a catalog without any the one of this name, or the default.

    Raises
    ------
    CatalogError
        The named one is another, or nothing of this name is the catalog's any more.
    """
    current = catalog.current_encoder()
    if current is None:
        return load_encoder(name or default_name(), threads)
    if name is None and (kept := kept_encoder(folder, current, threads)) is not None:
        return kept
    encoder = load_encoder(name or current["name"], threads)
    if encoder.fingerprint != current["fingerprint"]:
        raise CatalogError(
            f"the images of this catalog are embedded by {current['name']} ({current['fingerprint']}), and "
            f"{name or current['name']} is {encoder.fingerprint}: vectors of two encoders cannot be compared. Name the "
            "folder of the first, or change to the other with annlab promote CATALOG ENCODER"
        )
    return encoder


def keep_encoder(folder: Path, encoder: Encoder, source: str | None = None) -> None:
    """Make sure that a copy of an encoder lies beside its index, with what its folder says of relevance."""
    place = copy_of(folder, encoder.fingerprint)
    if not (place / "encoder.json").is_file():  # written last: what a kill left is written again
        beside = None if source is None else folder_of_encoder(source) / relevance.FILE
        if beside is not None and beside.is_file():
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(beside, place / relevance.FILE)
        encoder.save(place)


def kept_encoder(folder: Path, row: dict[str, Any], threads: int = 1) -> Encoder | None:
    """The copy of an encoder of the catalog; None if there is none."""
    place = copy_of(folder, row["fingerprint"])
    if not (place / "encoder.json").is_file():
        return None
    encoder = Encoder.load(place, threads)
    if encoder.fingerprint != row["fingerprint"]:
        raise CatalogError(f"{place} holds the encoder {encoder.fingerprint}, not {row['fingerprint']}: somebody has "
                           "put another one there; bring the right one back")  # fmt: skip
    return encoder


def drop_encoder(folder: Path, fingerprint: str) -> None:
    """Delete the copy of an encoder; what cannot be deleted stays."""
    shutil.rmtree(copy_of(folder, fingerprint), ignore_errors=True)


def copy_of(folder: Path, fingerprint: str) -> Path:
    """Where the copy of an encoder lies, or would lie."""
    if not fingerprint.isalnum():
        raise CatalogError(f"{fingerprint!r} is no fingerprint of an encoder")
    return folder / "encoders" / fingerprint
