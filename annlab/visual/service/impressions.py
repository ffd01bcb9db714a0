"""Impressions, written behind the answers: who searches does not wait for a database.

`remember` gives a result list its number at once, writes it to a journal, and puts it into a queue; one thread writes
what is in the queue, the lists of some moments in one transaction. A click may come before its list is written:
`wait_for` hurries that thread, and waits until it is. A queue that is full (the database does not keep up) takes no
more, which is counted.

The journal is a file of one line for each list that is not in the database yet. A process that is killed leaves it
behind, and the next one writes what is in it: no list that was given a number is lost with a process. Lines are not
forced to the disk one by one, so a loss of power may take the last moments.

Numbers are made of the time, so that they need no database, are in the order in which lists were made, and never meet
those of an earlier run. JavaScript can hold them, too.
"""

import dataclasses
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from annlab.durable import StorageError
from annlab.visual.catalog import Catalog
from annlab.visual.interactions import Listed, log_lists
from annlab.visual.schema import result_lists

_QUEUED, _TOGETHER = 5000, 200
_GATHER_SECONDS, _AGAIN_SECONDS = 1.0, 1.0
_LARGEST_JOURNAL = 4 * 2**20  # bytes, after which it is written anew
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """What somebody was shown: the query image, or None for a query that is no image of the catalog."""

    user_id: int | None
    query_image_id: int | None
    images: tuple[int, ...]
    ranker: str
    encoder: str | None
    first: int = 1
    details: dict[str, Any] = field(default_factory=dict)


class Impressions:
    """The queue, its journal and its thread.

    Parameters
    ----------
    catalog : Catalog
    keep : timedelta
        How long the row of a query without an image is kept.
    journal : Path
        The file; what an earlier process left in it is written first.
    count : function of an outcome
        Called with "written" or "lost" for every list.
    """

    def __init__(self, catalog: Catalog, keep: Any, journal: Path,
                 count: Callable[[str], None] = lambda outcome: None) -> None:  # fmt: skip
        self._catalog, self._keep, self._count = catalog, keep, count
        self._queue: queue.Queue[tuple[int, Shown] | None] = queue.Queue(_QUEUED)
        self._changed, self._hurry, self._ends = threading.Condition(), threading.Event(), threading.Event()
        self._pending: dict[int, Shown] = {}
        self._journal = Journal(journal)
        with catalog.database.reading() as connection:
            self._last = int(connection.scalar(select(func.max(result_lists.c.id))) or 0)
        self._write_what_was_left()
        self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
        self._thread.start()

    def remember(self, shown: Shown) -> int | None:
        """The number of a list that will be written soon; None if it cannot be taken."""
        with self._changed:
            self._last = max(self._last + 1, int(time.time() * 2000))
            number = self._last
            if self._queue.full() or not self._journal.note(number, shown):
                self._count("lost")
                return None
            self._pending[number] = shown
            self._queue.put_nowait((number, shown))
        return number

    def wait_for(self, number: int, seconds: float = 5.0) -> None:
        """Return when a list is written, was never taken, or that time is over."""
        with self._changed:
            if number in self._pending:
                self._hurry.set()
                self._changed.wait_for(lambda: number not in self._pending, seconds)

    def close(self) -> None:
        """Write what is in the queue, and end; what the database does not take stays in the journal."""
        self._hurry.set()
        self._ends.set()
        self._queue.put(None)
        self._thread.join()
        self._journal.close()

    def _write_what_was_left(self) -> None:
        left = self._journal.read()
        known: set[int] = set()
        numbers = list(left)
        with self._catalog.database.reading() as connection:
            for start in range(0, len(numbers), 500):
                some = result_lists.c.id.in_(numbers[start : start + 500])
                known.update(connection.scalars(select(result_lists.c.id).where(some)))
        self._pending = {number: shown for number, shown in left.items() if number not in known}
        while self._pending:
            if not self._write(list(self._pending.items())[:_TOGETHER]):
                raise StorageError(f"{self._catalog.database.where} does not take the result lists that an earlier "
                                   "process left")  # fmt: skip
        self._journal.replace({})

    def _run(self) -> None:
        ends = False
        while not ends:
            lists = [self._queue.get()]
            self._hurry.wait(_GATHER_SECONDS)
            self._hurry.clear()
            while len(lists) < _TOGETHER:
                try:
                    lists.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ends = None in lists
            ready = [each for each in lists if each is not None]
            while not self._write(ready):
                if self._ends.wait(_AGAIN_SECONDS):
                    return  # they are in the journal, for the next process
            with self._changed:
                if not self._pending or self._journal.size > _LARGEST_JOURNAL:
                    self._journal.replace(self._pending)

    def _write(self, lists: list[tuple[int, Shown]]) -> bool:
        """All in one transaction; where a row is refused, each by itself, so that one cannot take the others with it.
        False if the database does not answer: nothing was written, and it may be tried again."""
        if not lists:
            return True
        try:
            with self._catalog.writing() as connection:
                written = []
                for number, shown in lists:
                    query = shown.query_image_id
                    if query is None:
                        query = self._catalog.add_query(keep=self._keep, owner_id=shown.user_id, private=True,
                                                        connection=connection)  # fmt: skip
                    written.append(Listed(number, query, shown.images, shown.ranker, shown.user_id, shown.encoder,
                                          shown.details, shown.first))  # fmt: skip
                log_lists(self._catalog, written, connection=connection)
        except StorageError as error:
            _log.warning("%d result lists wait: %s", len(lists), error)
            return False
        except Exception as error:  # whatever it is, the thread goes on with the next ones
            if len(lists) > 1:
                return all([self._write([each]) for each in lists if each[0] in self._pending])
            self._count("lost")
            _log.warning("a result list could not be written: %s", error)
        else:
            for _ in lists:
                self._count("written")
        with self._changed:
            for number, _ in lists:
                self._pending.pop(number, None)
            self._changed.notify_all()
        return True


class Journal:
    """Lists that are not in the database yet, a line each. Not safe from threads: whoever uses it holds a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def note(self, number: int, shown: Shown) -> bool:
        """Add a list; False if the disk does not take it, or the file is closed."""
        if self._file.closed:
            return False
        line = _line(number, shown)
        try:
            if self._file.write(line) == len(line):
                self.size += len(line)
                return True
        except OSError as error:
            _log.warning("%s: %s", self._path, error)
        self._file.truncate(self.size)  # no half of a line stays
        return False

    def read(self) -> dict[int, Shown]:
        """What is in it; a line that was not written to its end, as by a full disk, is passed over."""
        found: dict[int, Shown] = {}
        for line in self._path.read_bytes().splitlines():
            try:
                number, values = json.loads(line)
                found[int(number)] = Shown(**{**values, "images": tuple(values["images"])})
            except (ValueError, TypeError, KeyError):
                _log.warning("a line of %s cannot be read", self._path)
        return found

    def replace(self, pending: Mapping[int, Shown]) -> None:
        """Only these lists are waiting still."""
        self._file.truncate(0)
        self.size = 0
        for number, shown in pending.items():
            self.note(number, shown)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()


def _line(number: int, shown: Shown) -> bytes:
    values: Iterable[tuple[str, Any]] = ((each.name, getattr(shown, each.name)) for each in dataclasses.fields(shown))
    return json.dumps([number, dict(values)], separators=(",", ":")).encode() + b"\n"
