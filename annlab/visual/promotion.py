"""Another encoder for a catalog: promoted while the old one serves, and taken back if it disappoints.

    begin      the new encoder is known as `building`; its index lies beside the old one, under a name of its own
    embed      every indexed image gets a vector of the new encoder, block by block. What is indexed, changed or removed
               meanwhile is followed, so new images are in both indexes
    compare    both pairs of encoder and index answer the queries that people judged and clicked (offline.py); a worse
               one is refused, unless forced
    swap       in one transaction: nothing is missing in the new index; it is the current one; the old one is kept as
               the previous one; the one before that is deleted

Killed at any moment, the same command goes on from where it was: a block is written together with the note of what it
holds (the table `embedded`), and before the swap nobody searches the new index.

`roll_back` is the swap the other way round, at once. What was indexed since the promotion is not in the old index:
these images are pending then, and embedded by the next run of the indexer. To roll back twice changes nothing.

The old index may be open in a process that serves. It is read without its lock; that process goes on with the old pair
until it opens the new one (`VisualSearch.successor`), and whatever it tries to write to the old index is refused
(`StaleIndexError`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, delete, func, insert, literal, not_, or_, select, update

from annlab.common.progress import Counted, uncounted
from annlab.durable import DurableIndex, Writes
from annlab.durable.log import Log
from annlab.encoders.encoder import Encoder
from annlab.index import Index
from annlab.visual import pair
from annlab.visual.attributes import attributes_of
from annlab.visual.catalog import Catalog, CatalogError, Image
from annlab.visual.encoder_rows import FIRST_INDEX
from annlab.visual.offline import Offline, compare_pairs
from annlab.visual.reading import embed, read_picture
from annlab.visual.schema import INDEXED, PENDING, embedded, encoders, images
from annlab.visual.upsert import upsert

BLOCK = 64  # images that are read, embedded and written together

_INDEXED = and_(images.c.kind == "image", images.c.status == INDEXED, not_(images.c.deleted))


class WorseError(RuntimeError):
    """The new encoder does worse on what people judged or clicked, or cannot embed all images; nothing was changed."""


@dataclass
class Promoted:
    """What a promotion did."""

    encoder: str
    fingerprint: str
    embedded: int = 0
    failed: int = 0
    offline: Offline = field(default_factory=Offline)


def promote(catalog: Catalog, folder: Path, encoder: Encoder, *, kind: Index | None = None, source: str | None = None,
            force: bool = False, restart: bool = False, progress: Counted = uncounted) -> Promoted:  # fmt: skip
    """Embed a catalog by another encoder, compare, and let it take the place of the current one.

    Parameters
    ----------
    catalog, folder
        The catalog, and the folder of its indexes.
    encoder : Encoder
        The new one.
    kind : Index, optional
        An empty index of the kind and dimension to build; one like the current one if not given.
    source : path, optional
        The folder that the encoder came from, for what it says of relevance.
    force : bool
        Whether to promote it even if it is worse. Images that it cannot embed are pending then.
    restart : bool
        Whether an unfinished promotion is thrown away first, be it of this encoder or of another.

    Raises
    ------
    WorseError
        It is worse. Its index stays, so that `force` has only to swap.
    CatalogError
        It is the current encoder, or the previous one; or the promotion of another one is unfinished.
    InUseError
        Another process is promoting.
    """
    if restart:
        _throw_away(catalog, folder)
    current, name = _begin(catalog, folder, encoder)
    pair.keep_encoder(folder, encoder, source)
    result = Promoted(encoder.name, encoder.fingerprint)
    empty = None
    if name not in catalog.index_names():
        empty = kind if kind is not None else _alike(catalog, current, encoder.dim)
    with catalog.index(empty, folder, name=name) as index:
        _follow(catalog, index, encoder, result, progress)
        old_encoder = pair.kept_encoder(folder, current)  # for queries that were uploaded
        old = catalog.read_index(folder, current["index_name"] or FIRST_INDEX)
        result.offline = compare_pairs(catalog, (old_encoder, old), (encoder, index))
        result.failed = _count_failed(catalog, encoder.fingerprint)
        del old
        if not force:
            _refuse_worse(catalog, encoder, result)
        while not _swapped(catalog, index, current["fingerprint"], encoder.fingerprint, complete=True):
            _follow(catalog, index, encoder, result, progress)
        _delete_retired(catalog, folder)
        index.snapshot()
    return result


def roll_back(catalog: Catalog, folder: Path) -> str:
    """Let the previous encoder and its index take the place of the current ones; its name.

    Raises
    ------
    CatalogError
        There is no previous encoder.
    """
    rows = {row["role"]: row for row in catalog.encoders()}
    if "previous" not in rows:
        raise CatalogError(f"{catalog.database.where}: no encoder has been promoted, so there is none to go back to")
    previous, current = rows["previous"], rows["current"]
    name = previous["index_name"] or FIRST_INDEX
    with catalog.index(None, folder, name=name) as index:
        _swapped(catalog, index, current["fingerprint"], previous["fingerprint"], complete=False)
    return str(previous["name"])


def building(catalog: Catalog) -> dict[str, Any] | None:
    """The promotion that is under way or unfinished: the encoder, and how many of how many images it has embedded."""
    row = next((row for row in catalog.encoders() if row["role"] == "building"), None)
    if row is None:
        return None
    done, total = _progress(catalog, row["fingerprint"])
    return {"name": row["name"], "fingerprint": row["fingerprint"], "embedded": done, "of": total}


# ---- begin


def _begin(catalog: Catalog, folder: Path, encoder: Encoder) -> tuple[dict[str, Any], str]:
    """Make the new encoder known as the one that is being built; the current one's row, and the new index's name."""
    where, fingerprint = catalog.database.where, encoder.fingerprint
    known = {row["fingerprint"]: row for row in catalog.encoders()}
    current = next((row for row in known.values() if row["role"] == "current"), None)
    if current is None:
        raise CatalogError(f"{where} has no indexed images yet: annlab index FOLDER --into {where} --encoder ENCODER")
    role = known[fingerprint]["role"] if fingerprint in known else None
    if role == "current":
        raise CatalogError(f"{encoder.name} ({fingerprint}) is the current encoder of {where} already")
    if role == "previous":
        raise CatalogError(
            f"{encoder.name} ({fingerprint}) is the previous encoder of {where}: annlab rollback {where}"
        )
    for other in known.values():
        if other["role"] == "building" and other["fingerprint"] != fingerprint:
            raise CatalogError(f"{where}: the promotion of {other['name']} ({other['fingerprint']}) is unfinished: "
                               "give its name to finish it, or --restart to throw it away")  # fmt: skip
    name = f"{FIRST_INDEX}-{fingerprint[:16]}"
    if role != "building":
        catalog.remove_index(folder, name)  # what is left of an earlier promotion
        with catalog.writing() as connection:
            connection.execute(delete(embedded).where(embedded.c.encoder == fingerprint))
            values = {"role": "building", "index_name": name, "index_folder": current["index_folder"]}
            if role is None:
                catalog.add_encoder(fingerprint, encoder.name, encoder.dim, connection=connection, **values)
            else:
                row = encoders.c.fingerprint == fingerprint
                connection.execute(update(encoders).where(row).values(values))
    return current, name


def _alike(catalog: Catalog, current: Mapping[str, Any], dim: int) -> Index:
    """An empty index of the kind and with the parameters of the current one."""
    log = Log(catalog.database, current["index_name"] or FIRST_INDEX)
    with catalog.database.reading() as connection:
        head = log.head(connection)
    if head is None or head.kind not in Index.kinds:
        raise CatalogError(f"{log.where}: its kind is not known here; name one with --index")
    return Index.kinds[head.kind](**{**json.loads(head.parameters), "dim": dim})


def _throw_away(catalog: Catalog, folder: Path) -> None:
    """Forget an unfinished promotion."""
    unfinished = {row["fingerprint"]: "retired" for row in catalog.encoders() if row["role"] == "building"}
    if unfinished:
        catalog.set_roles(unfinished)
        _delete_retired(catalog, folder)


# ---- embed


def _follow(catalog: Catalog, index: DurableIndex, encoder: Encoder, result: Promoted, progress: Counted) -> None:
    """Bring the new index up to date with what is indexed now."""
    done, total = _progress(catalog, encoder.fingerprint)
    after = 0
    while some := _next_due(catalog, encoder.fingerprint, after):
        after = some[-1].id
        progress("embedding again", done, total)
        result.embedded += _embed_block(catalog, index, encoder, some)
        done += len(some)
    progress("embedding again", total, total)


def _progress(catalog: Catalog, fingerprint: str) -> tuple[int, int]:
    """How many images have a vector of this encoder, and how many shall have one."""
    with catalog.database.reading() as connection:
        total = connection.scalar(select(func.count()).select_from(images).where(_INDEXED)) or 0
        left = connection.scalar(select(func.count()).select_from(_due(fingerprint).subquery())) or 0
    return total - left, total


def _due(fingerprint: str, after: int = 0) -> Any:
    """Indexed images that have no vector of an encoder, or one of what they were before."""
    mine = and_(embedded.c.image_id == images.c.id, embedded.c.encoder == fingerprint)
    query = select(images).select_from(images.outerjoin(embedded, mine)).where(_INDEXED, images.c.id > after)
    return query.where(or_(embedded.c.image_id.is_(None), not_(_agrees()))).order_by(images.c.id)


def _agrees() -> Any:
    """Whether a vector is of what its image is now, and filtered by what holds now."""
    return and_(embedded.c.content_hash.is_not_distinct_from(images.c.content_hash),
                embedded.c.owner_id.is_not_distinct_from(images.c.owner_id),
                embedded.c.private == images.c.private)  # fmt: skip


def _next_due(catalog: Catalog, fingerprint: str, after: int) -> list[Image]:
    with catalog.database.reading() as connection:
        rows = connection.execute(_due(fingerprint, after).limit(BLOCK)).mappings()
        return [Image(**row) for row in rows]


def _embed_block(catalog: Catalog, index: DurableIndex, encoder: Encoder, some: Sequence[Image]) -> int:
    """Vectors of some images, written together with the note that they are there; how many there are."""
    reasons, readable, pixels = {}, [], []
    for image in some:
        found = read_picture(image.path)
        if found.reason is None and found.content_hash != image.content_hash:
            found.reason = "its file has changed since it was indexed: annlab index takes it in"
        if found.reason is not None:
            reasons[image.id] = found.reason
        elif found.pixels is not None:
            readable.append(image)
            pixels.append(found.pixels)
    vectors, of = [], []
    for image, vector in zip(readable, embed(encoder, pixels), strict=True):
        if isinstance(vector, str):
            reasons[image.id] = vector
        else:
            vectors.append(vector)
            of.append(image)
    with index.transaction() as writes:
        if reasons:
            writes.remove(list(reasons), missing="ignore")
        if of:
            writes.add(np.stack(vectors), [image.id for image in of], on_duplicate="replace",
                       attributes=attributes_of(of))  # fmt: skip
        upsert(writes.connection, embedded, [
            {"encoder": encoder.fingerprint, "image_id": image.id, "content_hash": image.content_hash,
             "owner_id": image.owner_id, "private": image.private, "reason": reasons.get(image.id)} for image in some
        ])  # fmt: skip
    return len(of)


# ---- compare


def _count_failed(catalog: Catalog, fingerprint: str) -> int:
    with catalog.database.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(_failed(fingerprint).subquery())) or 0)


def _failed(fingerprint: str) -> Any:
    mine = and_(embedded.c.image_id == images.c.id, embedded.c.encoder == fingerprint)
    query = select(images.c.path, embedded.c.reason).select_from(images.join(embedded, mine))
    return query.where(_INDEXED, embedded.c.reason.is_not(None))


def _refuse_worse(catalog: Catalog, encoder: Encoder, result: Promoted) -> None:
    if result.failed:
        with catalog.database.reading() as connection:
            path, reason = connection.execute(_failed(encoder.fingerprint).order_by(images.c.id).limit(1)).one()
        raise WorseError(f"{encoder.name} cannot embed {result.failed} of the images that are indexed, such as {path}: "
                         f"{reason}. Nothing was changed; --force promotes it and leaves them pending")  # fmt: skip
    if result.offline.worse:
        raise WorseError(f"{encoder.name} is worse than the current encoder, so nothing was changed:\n"
                         f"{result.offline}\n"
                         "Its index is kept: with --force it is promoted at once, with --restart it is thrown away "
                         "by the next promotion")  # fmt: skip


# ---- swap


def _swapped(catalog: Catalog, index: DurableIndex, old: str, new: str, *, complete: bool) -> bool:
    """Let one pair take the place of another, in one transaction.

    With `complete`, only if the new index holds all that is indexed; False says that it does not. Otherwise images that
    are not in it become pending.
    """
    with index.transaction() as writes:
        connection = writes.connection
        _require_current(connection, old)
        if complete and connection.execute(_due(new).limit(1)).first() is not None:
            return False
        mine = and_(embedded.c.image_id == images.c.id, embedded.c.encoder == new)
        fits = select(images.c.id).select_from(images.join(embedded, mine)).where(
            _INDEXED, embedded.c.reason.is_(None), _agrees())  # fmt: skip
        _remove_others(writes, index, set(connection.scalars(fits)))
        noted = select(literal(old), images.c.id, images.c.content_hash, images.c.owner_id, images.c.private)
        columns = ["encoder", "image_id", "content_hash", "owner_id", "private"]
        connection.execute(insert(embedded).from_select(columns, noted.where(_INDEXED)))
        connection.execute(update(images).where(images.c.id.in_(fits)).values(encoder=new))
        left = and_(_INDEXED, images.c.encoder != new)
        connection.execute(update(images).where(left).values(status=PENDING, attempts=0))
        connection.execute(delete(embedded).where(embedded.c.encoder == new))
        _exchange_roles(catalog, connection, old, new)
    return True


def _require_current(connection: Connection, fingerprint: str) -> None:
    row = select(encoders.c.fingerprint).where(encoders.c.role == "current").with_for_update()
    found = connection.scalar(row)
    if found != fingerprint:
        raise CatalogError(f"another encoder ({found}) was promoted meanwhile: see annlab status, and begin again")


def _remove_others(writes: Writes, index: DurableIndex, fitting: set[int]) -> None:
    """Remove what is in an index and should not be; a vector that should be there and is not is an error."""
    there = set(index.ids.tolist())
    if not fitting <= there:
        raise CatalogError(f"{len(fitting - there)} vectors that were noted are not in the index, such as that of "
                           f"image {min(fitting - there)}: begin again with --restart")  # fmt: skip
    if there - fitting:
        writes.remove(sorted(there - fitting))


def _exchange_roles(catalog: Catalog, connection: Connection, old: str, new: str) -> None:
    """The new encoder is current, the old one previous; the one that was previous is retired, and its notes go."""
    roles = {}
    for row in connection.execute(select(encoders.c.fingerprint).where(encoders.c.role == "previous")):
        if row[0] != new:
            roles[row[0]] = "retired"
            connection.execute(delete(embedded).where(embedded.c.encoder == row[0]))
    catalog.set_roles({**roles, old: "previous", new: "current"}, connection=connection)


def _delete_retired(catalog: Catalog, folder: Path) -> None:
    """Delete the indexes and copies of retired encoders; their rows stay, for what was shown by them."""
    names = set(catalog.index_names())
    for row in catalog.encoders():
        if row["role"] == "retired":
            name = row["index_name"] or FIRST_INDEX
            if name in names:
                catalog.remove_index(folder, name)
            pair.drop_encoder(folder, row["fingerprint"])
