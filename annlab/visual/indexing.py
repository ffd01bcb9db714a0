"""The indexing pipeline: from files to rows of the catalog and vectors of the index, in step at every moment.

    folder --discover--> pending rows --+--> read, hash    --> duplicate (same bytes)
                                        +--> decode, date  --> failed, with the reason
                                        +--> sketch        --> duplicate (same picture)
                                        +--> embed         --> indexed: row and vector in one transaction

A block of images is read, looked at and embedded; then one transaction writes what became of all of them. So a kill at
any moment leaves each image either pending or done, and the next run goes on with what is pending; nothing is embedded
twice but the block in hand. Memory holds one block of images and the sketches of all pictures (63 numbers each).

No image stops the others. What cannot be read or embedded fails with a reason. An image that ends the whole process
(a decoder that crashes, memory that runs out) is recognised by its count of attempts, which is raised *before* a block
is tried: after two, images are tried one at a time, after four they fail. Where the process was killed from outside,
again and again, an image may be blamed that did nothing; so such a failure is tried once more a day later.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import update

from annlab.common.progress import Counted, uncounted
from annlab.durable import DurableIndex, Writes
from annlab.encoders.encoder import Encoder
from annlab.encoders.images import decode_image
from annlab.visual import pictures
from annlab.visual.attributes import attributes_of
from annlab.visual.catalog import Catalog, CatalogError, Image
from annlab.visual.decisions import Decisions
from annlab.visual.duplicates import SamePictures
from annlab.visual.paths import from_text
from annlab.visual.reading import embed, read_picture
from annlab.visual.schema import INDEXED, images

BLOCK = 64  # images that are read, embedded and written together
_ALONE_AFTER, _FAIL_AFTER = 2, 4  # attempts that did not come to an end
_BLAMED_FOR = datetime.timedelta(days=1)  # then an image that is said to have ended the process is tried once more
_THUMBNAILS = 4000  # that are kept: 12 kB each


@dataclass
class Indexed:
    """What a run did."""

    indexed: int = 0
    duplicate: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        return self.indexed + self.duplicate + self.failed

    def __str__(self) -> str:
        return f"{self.indexed} indexed, {self.duplicate} duplicates, {self.failed} failed"


@dataclass
class _Outcome:
    """What became of one image of a block, until it is written."""

    image: Image
    content_hash: str | None = None
    pixels: np.ndarray | None = None
    taken: datetime.datetime | None = None  # of files of a folder, where they say
    thumb: np.ndarray | None = None
    sketch: np.ndarray | None = None
    duplicate_of: int | None = None
    reason: str | None = None
    blamed: bool = False  # for the end of a process, which it may not have caused
    vector: np.ndarray | None = None

    @property
    def open(self) -> bool:
        """Whether it still has to be embedded."""
        return self.reason is None and self.duplicate_of is None

    @property
    def dated(self) -> Image:
        """The image with the date that was found."""
        return self.image if self.taken is None else replace(self.image, uploaded_at=self.taken)

    @property
    def facts(self) -> dict[str, object]:
        """What was learned of the file."""
        facts: dict[str, object] = {}
        if self.content_hash is not None:
            facts["content_hash"] = self.content_hash
        if self.taken is not None:
            facts["uploaded_at"] = self.taken
        if self.pixels is not None and self.sketch is not None:
            facts |= {"height": self.pixels.shape[0], "width": self.pixels.shape[1],
                      "picture_hash": pictures.to_text(self.sketch)}  # fmt: skip
        return facts


@dataclass
class Indexer:
    """Embeds what is pending in a catalog, with one encoder, into one index.

    Parameters
    ----------
    catalog : Catalog
    index : DurableIndex
        Made by `catalog.index(...)`, so that rows and vectors share transactions.
    encoder : Encoder
        Made known to the catalog as the current one. A catalog whose images are by another encoder refuses it: vectors
        of two encoders cannot be compared.
    """

    catalog: Catalog
    index: DurableIndex
    encoder: Encoder
    _same: SamePictures = field(init=False)
    _decisions: Decisions = field(init=False)
    _in_hand: dict[int, Image] = field(init=False, default_factory=dict)
    """The images of the block, and those with the same bytes."""
    _joining: dict[int, int] = field(init=False, default_factory=dict)
    """The leaders of images of the block."""
    _thumbnails: dict[int, np.ndarray] = field(init=False, default_factory=dict)
    """Of leaders that were looked at last, so that their files need not be read again."""

    def __post_init__(self) -> None:
        for row in self.catalog.encoders():
            if row["role"] == "current" and row["fingerprint"] != self.encoder.fingerprint:
                raise CatalogError(
                    f"the images of this catalog are embedded by {row['name']} ({row['fingerprint']}), not by "
                    f"{self.encoder.name} ({self.encoder.fingerprint}): vectors of two encoders cannot be compared; "
                    "annlab promote CATALOG ENCODER changes to another one"
                )
        self.catalog.add_encoder(self.encoder.fingerprint, self.encoder.name, self.encoder.dim,
                                 index_name=self.index.name)  # fmt: skip
        self._decisions = Decisions(self.catalog)
        self._same = SamePictures(self._thumbnail, self._decisions.on, self._may_join)
        after = 0
        while some := self.catalog.find(status=INDEXED, kind="image", after=after, limit=10_000):
            self._same.add({i.id: pictures.from_text(i.picture_hash) for i in some if i.picture_hash})
            after = some[-1].id

    def run(self, *, progress: Counted = uncounted) -> Indexed:
        """Do what is due until nothing is; may be stopped at any moment.

        Raises
        ------
        StorageError
            The catalog or the index cannot be written. What was written before stays.
        """
        self._decisions.read()
        result, after = Indexed(), 0
        total = self.catalog.counts().pending
        while due := self.catalog.due(BLOCK, after=after):
            after = due[-1].id
            careful = [image for image in due if image.attempts >= _ALONE_AFTER]
            together = [image for image in due if image.attempts < _ALONE_AFTER]
            for block in [together, *([image] for image in careful)]:
                if block:
                    self._do(block, result)
                    progress("indexing", min(result.done, total), total)
        progress("indexing", total, total)
        return result

    def _do(self, block: Sequence[Image], result: Indexed) -> None:
        self._begin([image.id for image in block])
        outcomes = [_Outcome(image) for image in block]
        for outcome in outcomes:
            if outcome.image.attempts >= _FAIL_AFTER:
                outcome.reason = f"reading it ended the process {outcome.image.attempts} times"
                outcome.blamed = True
            else:
                self._look_at(outcome)
        self._find_duplicates(outcomes)
        self._embed([outcome for outcome in outcomes if outcome.open])
        self._embed(_orphans(outcomes))
        with self.catalog.transaction(self.index) as writes:
            self._write(outcomes, writes)
        for outcome in outcomes:
            result.failed += outcome.reason is not None
            result.duplicate += outcome.duplicate_of is not None
            result.indexed += outcome.vector is not None
        self._same.remove(outcome.image.id for outcome in outcomes if outcome.vector is None)
        self._same.add({o.image.id: o.sketch for o in outcomes if o.vector is not None and o.sketch is not None})
        for outcome in outcomes:
            self._thumbnails.pop(outcome.image.id, None)  # it may show something else now
            if outcome.vector is not None and outcome.thumb is not None:
                self._remember(outcome.image.id, outcome.thumb)

    def _begin(self, ids: Sequence[int]) -> None:
        """Count an attempt, before anything can go wrong with it."""
        with self.catalog.writing() as connection:
            connection.execute(update(images).where(images.c.id.in_(ids)).values(attempts=images.c.attempts + 1))

    def _look_at(self, outcome: _Outcome) -> None:
        """Read, hash, decode and sketch one image."""
        # Of what came otherwise, whoever gave it may have given its date.
        of_folder = outcome.image.modified_ns is not None
        found = read_picture(outcome.image.path, self.catalog.now() if of_folder else None)
        outcome.taken = found.taken
        outcome.content_hash, outcome.pixels, outcome.reason = found.content_hash, found.pixels, found.reason
        if outcome.pixels is not None:
            outcome.thumb = pictures.thumbnail(outcome.pixels)
            outcome.sketch = pictures.sketch(outcome.thumb)

    def _find_duplicates(self, outcomes: Sequence[_Outcome]) -> None:
        """Same bytes, then same picture, among what is indexed and what comes earlier in the block."""
        hashes = [outcome.content_hash for outcome in outcomes if outcome.open]
        known = self.catalog.find(status=INDEXED, content_hash=hashes, kind="image")
        self._in_hand = {image.id: image for image in (*known, *(outcome.image for outcome in outcomes))}
        self._joining = {}
        pictured: list[_Outcome] = []
        for outcome in outcomes:
            own = outcome.image.id
            if outcome.open:
                decided = self._decisions.groups(own, duplicates=True, joining=self._joining)
                same_bytes = [i.id for i in known if i.content_hash == outcome.content_hash and i.id != own]
                leaders = (leader for leader in (*decided, *same_bytes) if self._may_join(own, leader))
                outcome.duplicate_of = next(leaders, None)
                if outcome.open:
                    pictured.append(outcome)
        if pictured:
            ids = [outcome.image.id for outcome in pictured]
            thumbs = [o.thumb for o in pictured if o.thumb is not None]
            sketches = [o.sketch for o in pictured if o.sketch is not None]
            for outcome, leader in zip(pictured, self._same.leaders_of(ids, thumbs, sketches), strict=True):
                outcome.duplicate_of = leader

    def _embed(self, outcomes: Sequence[_Outcome]) -> None:
        """Vectors for a block, or reasons."""
        vectors = embed(self.encoder, [o.pixels for o in outcomes if o.pixels is not None])
        for outcome, vector in zip(outcomes, vectors, strict=True):
            if isinstance(vector, str):
                outcome.reason = vector
            else:
                outcome.vector = vector

    def _write(self, outcomes: Sequence[_Outcome], writes: Writes) -> None:
        """What became of a block, in the transaction of `writes`."""
        connection = writes.connection
        once_more = _FAIL_AFTER - 2  # so that it has one more, alone
        facts = {o.image.id: {**o.facts, "attempts": once_more if o.blamed else 0} for o in outcomes}
        self.catalog.change_images(facts, connection=connection)
        for outcome in outcomes:
            id = outcome.image.id
            if outcome.reason is not None:
                later = self.catalog.now() + _BLAMED_FOR if outcome.blamed else None
                self.catalog.mark_failed(id, outcome.reason, retry_at=later, connection=connection)
            elif outcome.duplicate_of is not None:
                self.catalog.mark_duplicate([id], outcome.duplicate_of, connection=connection)
        done = [outcome for outcome in outcomes if outcome.vector is not None]
        without = [outcome.image.id for outcome in outcomes if outcome.vector is None]
        if without:
            writes.remove(without, missing="ignore")  # of images that have changed
            self.catalog.release_duplicates(without, connection=connection)
        if done:
            ids = [outcome.image.id for outcome in done]
            self.catalog.mark_indexed(ids, self.encoder.fingerprint, connection=connection)
            writes.add(np.stack([o.vector for o in done if o.vector is not None]), ids, on_duplicate="replace",
                       attributes=attributes_of([outcome.dated for outcome in done]))  # fmt: skip

    def _thumbnail(self, id: int) -> np.ndarray | None:
        known = self._thumbnails.pop(id, None)
        if known is None:
            try:
                known = pictures.thumbnail(decode_image(from_text(self.catalog.image(id).path or "")))
            except (KeyError, ValueError, OSError):
                return None
        self._remember(id, known)
        return known

    def _remember(self, id: int, thumb: np.ndarray) -> None:
        """Keep a thumbnail; the one that was not asked for longest goes."""
        self._thumbnails[id] = thumb.astype(np.uint8)  # as they were made
        if len(self._thumbnails) > _THUMBNAILS:
            del self._thumbnails[next(iter(self._thumbnails))]

    def _may_join(self, own: int, leader: int) -> bool:
        """Whether whoever may see the one image may see the other, and nobody has said that it is apart from that
        group. Then it is taken to join it."""
        if leader in self._decisions.groups(own, duplicates=False, joining=self._joining):
            return False
        found = [self._in_hand.get(id) or self.catalog.image(id) for id in (own, leader)]
        seen = not found[1].private or (found[0].private and found[0].owner_id == found[1].owner_id)
        if seen:
            self._joining[own] = leader
        return seen


def _orphans(outcomes: Sequence[_Outcome]) -> list[_Outcome]:
    """Duplicates of images of the same block that failed: they are pictures of their own, then."""
    failed = {outcome.image.id for outcome in outcomes if outcome.reason is not None}
    orphans = [outcome for outcome in outcomes if outcome.duplicate_of in failed]
    for outcome in orphans:
        outcome.duplicate_of = None
    return orphans
