"""A folder that is watched: looked at again and again, and files that are still being written wait.

A look costs one status of every file, and reads none that has not changed; so polling works on every disk, also on
those of the network that notify nobody. A file that is new or has changed is taken in when two looks in a row find the
same size and time of change. No clock is compared with any other.

What goes wrong in a look (the folder is gone, the disk is full) is said once, and the next look tries again. If another
encoder is promoted meanwhile, the next look goes on with that one.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annlab.common.progress import Counted, uncounted
from annlab.durable import DurableIndex
from annlab.encoders.encoder import Encoder
from annlab.visual.catalog import Catalog, StaleIndexError
from annlab.visual.discovery import Discovered, discover
from annlab.visual.indexing import Indexed, Indexer

INTERVAL = 2.0
"""Seconds from one look to the next, unless a look takes long."""

_SHARE = 10  # looking may take one part in so many of the time


class Settling:
    """Which files were found as they are now by the look before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._now: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        """A look begins."""
        self._before, self._now = self._now, {}

    def __call__(self, path: str, size: int, modified_ns: int) -> bool:
        """Whether a file that is new or has changed has come to rest."""
        self._now[path] = size, modified_ns
        return self._before.get(path) == (size, modified_ns)


def watch(folder: str | Path, opened: Callable[[], Any], *, interval: float = INTERVAL,
          told: Callable[[dict[str, Any]], None], say: Callable[[str], None], progress: Counted = uncounted,
          waited: Callable[[float], bool] | None = None) -> None:  # fmt: skip
    """Keep a catalog up to date with a folder until `waited` says that it is enough, or for ever.

    Parameters
    ----------
    opened : function
        Opens catalog, index and encoder: returns a context manager that yields the three.
    told : function
        Gets what a look did, if it did anything: as `annlab index --json` prints it.
    say : function
        Gets what went wrong.
    waited : function of seconds
        Waits; True says that it is enough.
    """
    settled, complaint = Settling(), ""
    waited = waited or _slept
    while True:
        with opened() as (catalog, index, encoder):
            indexer = Indexer(catalog, index, encoder)
            while _is_current(catalog, encoder):
                began = time.monotonic()
                try:
                    settled.begin()
                    found = discover(catalog, index, folder, settled=settled)
                    done = indexer.run(progress=progress)
                except StaleIndexError:
                    break
                except (OSError, RuntimeError, ValueError) as error:
                    if str(error) != complaint:
                        complaint = str(error)
                        say(f"{complaint}; the next look tries again")
                else:
                    complaint = ""
                    if done.done or found.new + found.changed + found.moved + found.removed:
                        told(result_of(catalog, index, found, done))
                if waited(max(interval, _SHARE * (time.monotonic() - began))):
                    return
        say("another encoder has been promoted: going on with that one")


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def result_of(catalog: Catalog, index: DurableIndex, found: Discovered, done: Indexed) -> dict[str, Any]:
    """What a look at a folder did, and how things stand."""
    return {"discovered": asdict(found), "done": asdict(done), "catalog": asdict(catalog.counts()),
            "vectors": len(index), "memory": index.memory()["total"]}  # fmt: skip


def _is_current(catalog: Catalog, encoder: Encoder) -> bool:
    current = catalog.current_encoder()
    return current is None or current["fingerprint"] == encoder.fingerprint
