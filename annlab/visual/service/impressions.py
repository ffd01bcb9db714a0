"""Impressions, written behind the answers: who searches does not wait for a disk.

`remember` gives a result list its number at once and puts it into a queue; one thread writes what is in the queue, many
lists in one transaction. A click may come before its list is written: `wait_for` waits until it is. What is in the
queue when a process is killed is lost, and with it only impressions: the catalog stays whole. When the service ends,
the queue is emptied first. A queue that is full (the database does not keep up) takes no more, which is counted.

Numbers are made of the time, so that they need no database, are in the order in which lists were made, and never meet
those of an earlier run. JavaScript can hold them, too.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from annlab.visual.catalog import Catalog
from annlab.visual.interactions import log_results
from annlab.visual.schema import result_lists

_QUEUED, _TOGETHER = 5000, 200
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
    """The queue and its thread.

    Parameters
    ----------
    catalog : Catalog
    keep : timedelta
        How long the row of a query without an image is kept.
    count : function of an outcome
        Called with "written" or "lost" for every list.
    """

    def __init__(self, catalog: Catalog, keep: Any, count: Callable[[str], None] = lambda outcome: None) -> None:
        self._catalog, self._keep, self._count = catalog, keep, count
        self._queue: queue.Queue[tuple[int, Shown] | None] = queue.Queue(_QUEUED)
        self._changed = threading.Condition()
        self._pending: set[int] = set()
        with catalog.database.reading() as connection:
            self._last = int(connection.scalar(select(func.max(result_lists.c.id))) or 0)
        self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
        self._thread.start()

    def remember(self, shown: Shown) -> int | None:
        """The number of a list that will be written soon; None if it cannot be taken."""
        with self._changed:
            self._last = max(self._last + 1, int(time.time() * 2000))
            number = self._last
            try:
                self._queue.put_nowait((number, shown))
            except queue.Full:
                self._count("lost")
                return None
            self._pending.add(number)
        return number

    def wait_for(self, number: int, seconds: float = 5.0) -> None:
        """Return when a list is written, was never taken, or that time is over."""
        with self._changed:
            self._changed.wait_for(lambda: number not in self._pending, seconds)

    def close(self) -> None:
        """Write what is in the queue, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ends = False
        while not ends:
            lists = [self._queue.get()]
            while len(lists) < _TOGETHER:
                try:
                    lists.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ends = None in lists
            self._write([each for each in lists if each is not None])

    def _write(self, lists: list[tuple[int, Shown]]) -> None:
        """All in one transaction; where that fails, each by itself, so that one cannot take the others with it."""
        if not lists:
            return
        try:
            with self._catalog.writing() as connection:
                for number, shown in lists:
                    self._write_one(number, shown, connection)
        except Exception as error:  # whatever it is, the thread goes on with the next ones
            if len(lists) > 1:
                for each in lists:
                    self._write([each])
                return
            self._count("lost")
            _log.warning("a result list could not be written: %s", error)
        else:
            for _ in lists:
                self._count("written")
        with self._changed:
            self._pending.difference_update(number for number, _ in lists)
            self._changed.notify_all()

    def _write_one(self, number: int, shown: Shown, connection: Connection) -> None:
        query = shown.query_image_id
        if query is None:
            query = self._catalog.add_query(keep=self._keep, owner_id=shown.user_id, private=True,
                                            connection=connection)  # fmt: skip
        log_results(self._catalog, query, shown.images, ranker=shown.ranker, user_id=shown.user_id,
                    encoder=shown.encoder, details=shown.details, id=number, first=shown.first,
                    connection=connection)  # fmt: skip
