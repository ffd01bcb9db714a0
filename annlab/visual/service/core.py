"""What the routes share: the search, who may see what, adding and deleting, and what is to be tidied up.

Nothing here knows of HTTP. Methods are called from many threads; writes go through one lock, since an index has one
writer.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true

from annlab.durable import InUseError
from annlab.encoders.images import decode_image
from annlab.visual import changes, schema
from annlab.visual.catalog import CatalogError, Image, StaleIndexError
from annlab.visual.folder_tags import has_folder_tags
from annlab.visual.indexing import Indexer
from annlab.visual.paths import from_text, to_text
from annlab.visual.search import ById, ByText, ByUpload, Crop, NotFound, QueryError, Viewer, VisualSearch
from annlab.visual.service import picturing
from annlab.visual.service.arms import Arms
from annlab.visual.service.impressions import Impressions
from annlab.visual.service.keys import Keys, Person
from annlab.visual.service.limits import RateLimit
from annlab.visual.service.metrics import Metrics, resident_bytes
from annlab.visual.service.settings import Settings
from annlab.visual.service.showing import add_names
from annlab.visual.shown import Seen, as_known
from annlab.visual.withdrawing import is_withdrawn, restore, withdraw

_LOOK_SECONDS, _TIDY_SECONDS, _OLD_SECONDS = 5.0, 300.0, 3600.0
_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]


class Service:
    """One catalog, its index and encoder, and what it takes to serve them. Close it in the end."""

    def __init__(self, search: VisualSearch, settings: Settings) -> None:
        self.search, self.settings = search, settings
        self.catalog = search.catalog
        self.keys, self.metrics = Keys(self.catalog), Metrics()
        self.limit = RateLimit(settings.per_second, settings.burst)
        self.decoder = picturing.Decoder()
        self.thumbnails = picturing.Thumbnails(self.decoder)
        self.impressions = Impressions(self.catalog, settings.keep_queries, settings.journal,
                                       lambda outcome: self.metrics.impressions.labels(outcome).inc())  # fmt: skip
        self.arms = Arms(search, settings.explore)
        self.started = time.time()
        self._folder_tags = has_folder_tags(self.catalog)
        self._exchanged = 0
        self._given = search
        self._following, self._writing = threading.Lock(), threading.Lock()  # taken in this order
        self._indexer: Indexer | None = None
        self._ends = threading.Event()
        self.metrics.gauge("annlab_images", "Vectors in the index", lambda: len(self.search.index))
        self.metrics.gauge("annlab_resident_bytes", "Memory of the process", resident_bytes)
        self._tidier = threading.Thread(target=self._tidy_often, name="tidier", daemon=True)
        self._tidier.start()

    def close(self) -> None:
        """Write what is in the queue of impressions, and end all threads."""
        self._ends.set()
        self._tidier.join()
        self.impressions.close()
        if self.search is not self._given:
            self.search.close()

    def warm_up(self) -> None:
        """Search once, so that nobody waits for kernels to be compiled."""
        _warm_up(self.search)

    def follow(self) -> None:
        """Go on with the encoder that another process has promoted, or taken back, and with its index.

        Searches that have begun end with the old pair, and its index is closed, so that others may open it.

        Raises
        ------
        InUseError
            That process has not let go of the new index yet; until it does, the old pair answers.
        """
        with self._following:
            search = self.search.successor()
            if search is None:
                return
            _warm_up(search)
            with self._writing:
                before, self.search, self._indexer = self.search, search, None
                self._exchanged += 1
            before.index.close()
        _log.warning("%s was promoted, and serves from now on", search.encoder.name)

    # ---- who may see what

    def viewer(self, person: Person) -> Viewer:
        """Somebody as the search knows people."""
        return Viewer(person.user_id, person.role)

    @property
    def changes(self) -> tuple[int, int]:
        """Another one after every change of an image, by whichever process, and of the encoder: for what is remembered
        until then."""
        return self._exchanged, changes.latest(self.catalog.database)

    def image(self, id: int, person: Person) -> Image:
        """An image that somebody may see; NotFound for any other, whether it is there or not."""
        found = self.images([id], person)
        if not found:
            raise NotFound(f"there is no image {id}")
        return found[0]

    def images(self, ids: Sequence[int], person: Person) -> list[Image]:
        """Those of some images that somebody may see, in the order of their ids."""
        # The database leaves out what is hidden, so an answer takes as long as where there is nothing.
        found = [each for each in self.catalog.find(ids=ids, where=_seen_by(person))
                 if person.may("admin") or not is_withdrawn(each)]  # fmt: skip
        return as_known(found, self.search.facts(), self.viewer(person))

    def query(self, id: int, person: Person) -> Image | Seen:
        """An image to search with: of the catalog, as it is known in memory, or an upload that was kept."""
        return self.search.seen(id, self.viewer(person)) or self.image(id, person)

    def form(self, image: Image | Seen, box: Box | None = None) -> ById | ByUpload | Crop:
        """The query that an image is, or the upload that was kept under an id; or a part of either."""
        whole: ById | ByUpload = ById(image.id)
        if isinstance(image, Image) and image.kind == "query":
            try:  # a query in words has no file
                whole = ByUpload(Path(from_text(image.path or "")).read_bytes())
            except OSError:
                raise NotFound(f"there is no image {image.id}") from None
        return whole if box is None else Crop(whole, box)

    def add_names(self, told: Sequence[dict[str, Any]]) -> None:
        """Names for images that have no tag of their own: see `showing.add_names`."""
        add_names(told, self.catalog, self.settings.uploads.resolve(), also_tagged=self._folder_tags)

    # ---- adding and deleting

    def keep_query(self, data: bytes, person: Person) -> Image:
        """Keep an upload to search with, for its owner alone."""
        encoded = self.decoder.upload(data, picturing.QUERY)
        path = picturing.keep(encoded, self.settings.uploads)
        id = self.catalog.add_query(keep=self.settings.keep_queries, owner_id=person.user_id, private=True,
                                    path=to_text(path), width=encoded.width, height=encoded.height)  # fmt: skip
        return self.catalog.image(id)

    def add(self, data: bytes, person: Person, tags: Sequence[str], private: bool) -> Image:
        """Add an image and index it; the row says what became of it.

        Raises
        ------
        ValueError
            It is no image, or the encoder does not take it; nothing of it stays.
        StaleIndexError, InUseError
            Another encoder is being promoted; nothing of it stays, and a moment later it can be added.
        """
        self.follow()
        encoded = self.decoder.upload(data)
        path = picturing.keep(encoded, self.settings.uploads)
        row = {"path": to_text(path), "owner_id": person.user_id, "tags": tuple(tags), "private": private}
        id = self.catalog.add_images([row])[0]
        try:
            self._write(self._index_what_is_new)
        except Exception:
            self._take_back(id)
            raise
        image = self.catalog.image(id)
        if image.status == schema.FAILED:
            self._write(lambda: self._remove(image))
            raise ValueError(f"the image cannot be searched: {image.reason}")
        known = as_known([image], self.search.facts(), self.viewer(person))[0]
        if known.status != image.status:  # a copy of what is hidden takes as long as what is new, which was embedded
            self.search.encoder.encode([decode_image(encoded.data, "the upload")])
        return known

    def _take_back(self, id: int) -> None:
        """After an error: an image that is not indexed is as if it had never come, so it may be sent again."""
        image = self.catalog.image(id)
        if image.status == schema.PENDING:
            self.catalog.mark_deleted([id])
            picturing.drop(image, self.settings.uploads)

    def _index_what_is_new(self) -> None:
        if self._indexer is None:
            self._indexer = Indexer(self.catalog, self.search.index, self.search.encoder)
        self._indexer.run()

    def _write(self, work: Callable[[], None]) -> None:
        """Do what writes to the index; once more, if another encoder was promoted meanwhile."""
        try:
            with self._writing:
                work()
        except (StaleIndexError, CatalogError):
            before = self.search
            self.follow()
            if self.search is before:
                raise
            with self._writing:
                work()

    def delete(self, id: int, person: Person) -> None:
        """Delete an image that came by upload: one's own, or as an admin anybody's. As an admin also take out of the
        results what is a file of a folder, until it is restored.

        Raises
        ------
        NotFound
            There is none that this person may see.
        PermissionError
            It is somebody else's, or its file belongs to a folder that is looked after elsewhere.
        """
        image = self.image(id, person)
        if not person.may("admin") and (image.owner_id is None or image.owner_id != person.user_id):
            raise PermissionError("only its owner may delete this image")
        kept = picturing.is_kept(image, self.settings.uploads)
        if not kept and not person.may("admin"):
            raise PermissionError("this image is a file of a folder: delete the file, and run `annlab index` again")
        self.follow()
        with _there(id):
            self._write(lambda: self._remove(image) if kept else self._withdraw(id))

    def _withdraw(self, id: int) -> None:
        for each in withdraw(self.catalog, self.search.index, id):
            self.thumbnails.forget(each)
        self._indexer = None

    def restore(self, id: int) -> Image:
        """Index what an admin has taken out of the results.

        Raises
        ------
        NotFound
            There is no such image.
        CatalogError
            It was not taken out.
        """
        self.follow()
        with _there(id):
            restore(self.catalog, id)
            self._write(self._index_what_is_new)
            return self.catalog.image(id)

    def change(self, id: int, person: Person, tags: Sequence[str] | None, private: bool | None) -> Image:
        """Give an image other tags, or make it private or public: one's own, or as an admin anybody's.

        Raises
        ------
        NotFound
            There is none that this person may see.
        PermissionError
            It is somebody else's.
        """
        image = self.image(id, person)
        if image.kind != "image":
            raise NotFound(f"there is no image {id}")
        if not person.may("admin") and (image.owner_id is None or image.owner_id != person.user_id):
            raise PermissionError("only its owner may change this image")
        values: dict[str, Any] = {} if tags is None else {"tags": tuple(tags)}
        if private is not None:
            values["private"] = private
        with _there(id), self.catalog.writing() as connection:
            self.catalog.image(id, connection=connection)  # it may have been deleted meanwhile
            self.catalog.change_image(id, connection=connection, **values)
        return self.image(id, person)

    def _remove(self, image: Image) -> None:
        with self.catalog.transaction(self.search.index) as writes:
            self.catalog.mark_deleted([image.id], connection=writes.connection)
            writes.remove([image.id], missing="ignore")
        self.thumbnails.forget(image.id)
        picturing.drop(image, self.settings.uploads)
        self._indexer = None  # it remembers pictures that images may be duplicates of

    # ---- tidying up

    def _tidy_often(self) -> None:
        due = 0.0
        while True:
            try:
                self.follow()
                self.arms.look(self.search)
                if time.monotonic() >= due:
                    due = time.monotonic() + _TIDY_SECONDS
                    self.tidy()
            except InUseError as error:
                _log.info("another encoder was promoted, and is not free yet: %s", error)
            except Exception as error:  # the next time may go better
                _log.warning("could not tidy up: %s", error)
            if self._ends.wait(_LOOK_SECONDS):
                return

    def tidy(self) -> None:
        """Read what was clicked; forget queries whose time is over, and files of no row: who wrote them was killed."""
        self.search.refresh_clicks()
        for image in self.catalog.expire_queries():
            picturing.drop(image, self.settings.uploads)
        if not self.settings.uploads.is_dir():
            return
        with self.catalog.database.reading() as connection:
            query = select(schema.images.c.path).where(~schema.images.c.deleted, schema.images.c.path.is_not(None))
            known = set(connection.scalars(query))
        for path in self.settings.uploads.resolve().iterdir():
            with contextlib.suppress(OSError):
                if to_text(path) not in known and time.time() - path.stat().st_mtime > _OLD_SECONDS:
                    path.unlink()


@contextlib.contextmanager
def _there(id: int) -> Iterator[None]:
    """An image that the catalog does not find, as where somebody has deleted it meanwhile, is not there."""
    try:
        yield
    except KeyError:
        raise NotFound(f"there is no image {id}") from None


def _warm_up(search: VisualSearch) -> None:
    if len(search.index):
        with contextlib.suppress(NotFound, QueryError):
            search.search(ById(int(search.index.ids[0])), k=10, viewer=Viewer(None, "admin"))
            if search.can_search_text:  # no word is like this one, so all is made that words are compared with
                search.search(ByText("xqzj"), k=10, viewer=Viewer(None, "admin"))


def _seen_by(person: Person) -> ColumnElement[bool]:
    """Of rows: public, this person's own, or the person is an admin."""
    c = schema.images.c
    if person.may("admin"):
        return true()
    return ~c.private if person.user_id is None else or_(~c.private, c.owner_id == person.user_id)
