"""A catalog whose vectors are in a sharded index (annlab/sharded): one setting, and all else is as it was.

    catalog.spread(n_shards=4, n_replicas=2, engine="ray")      # before the first image; or annlab index --shards 4

Rows and vectors are then in two places, which no one transaction covers. So the log that a `DurableIndex` has in the
catalog's database is a queue here:

    1. a transaction writes rows and operations together; both are there, or neither
    2. after it the operations go to the shards, each under a name that follows from its place in the log, so that it is
       done once, however often it is sent
    3. once the shards have acknowledged them, they leave the queue

What a kill leaves in the queue is passed on by whoever opens the index next, before it reads or writes anything. While
the shards do not acknowledge, searches go on, what was written is in the catalog and waits, and the next write fails.
"""

import hashlib
import os
import shutil
import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from annlab.common import validation
from annlab.core.filters import Filter
from annlab.durable import Database, DurableIndex, Operation, StorageError, snapshots
from annlab.durable.durable import as_json, check_agreement
from annlab.durable.log import Head
from annlab.index import Index
from annlab.sharded import ShardedError, ShardedIndex

_LOOK_AFTER = 500  # operations, until it is asked whether shards should be built anew


class SpreadIndex(DurableIndex):
    """A `DurableIndex` whose vectors are in a `ShardedIndex`. `sharding`: n_shards, n_replicas, engine, ack."""

    def __init__(self, index: Index | None, path: str | os.PathLike[str], *, database: Database, name: str,
                 sharding: Mapping[str, Any]) -> None:  # fmt: skip
        self._sharding, self._look_at = dict(sharding), _LOOK_AFTER
        super().__init__(index, path, database=database, name=name, snapshot_after=None)

    def _start(self, given: Index | None) -> tuple[Any, Head]:
        with self.database.reading() as connection:
            head = self._log.head(connection)
        if head is not None:
            check_agreement(given, head, self._log.where)
        elif given is None:
            raise FileNotFoundError(f"{self._log.where}: there is no such index; to begin one, give an empty Index")
        elif len(given):
            raise ValueError(f"an index in shards begins empty, and the one given holds {len(given)} vectors: fit it")
        begun = head or Head.first(type(given).__name__, as_json(given.parameters if given is not None else {}))
        empty = snapshots.empty(begun, self._log.where)
        self.sharded = ShardedIndex(empty, path=folder_of_shards(self.path, self.name), **self._sharding)
        if head is None:
            with self.database.writing() as connection:
                self._log.create(connection, begun)
        return _Shards(self.sharded, empty), self._passed_on(begun)

    def _release(self) -> None:
        super()._release()
        if hasattr(self, "sharded"):
            self.sharded.close()

    # ---- the queue

    def _passed_on(self, head: Head) -> Head:
        """Send what is in the queue to the shards, and take it out."""
        chain = head.snapshot_chain
        with self.database.reading() as connection:
            waiting = list(self._log.verified(connection, head))
        for operation in waiting:
            chain = operation.chain(chain)
            self._send(operation, f"{self.name} {operation.seq} {chain.hex()[:16]}")
        if not waiting:
            return head
        done = replace(head, snapshot_seq=head.seq, snapshot_chain=head.chain)
        with self.database.writing() as connection:
            self._log.cut(connection, head.seq)
            self._log.move(connection, head, done)
        return done

    def _send(self, operation: Operation, op_id: str) -> None:
        to, columns = self.sharded, operation.columns
        if operation.kind == "add":
            to.add(operation.rows, operation.ids, attributes=columns, op_id=op_id, **operation.options)
        elif operation.kind == "update":
            to.update(operation.ids, operation.rows, attributes=columns or None, op_id=op_id)
        elif operation.kind == "attributes":
            to.set_attributes(columns, operation.ids, op_id=op_id)
        elif operation.kind == "remove":
            to.remove(operation.ids, op_id=op_id, **operation.options)

    def _publish(self, index: Index, head: Head, ops: int, n_bytes: int) -> None:
        self._index, self._head = self._index.branch(), head
        try:
            self._catch_up()
        except StorageError as error:
            warnings.warn(f"{error}", RuntimeWarning, stacklevel=2)

    def _catch_up(self) -> None:
        with self.database.reading() as connection:
            head = self._log.head(connection)
        try:
            if head is not None:
                self._head = self._passed_on(head)
        except ShardedError as error:
            raise StorageError(f"{self._log.where}: what was written is in the catalog, and waits for its shards: "
                               f"{error}") from error  # fmt: skip
        self._behind = False

    # ---- what goes to the shards directly

    def fit(self, vectors: Any, ids: Any = None, **options: Any) -> Self:
        """Replace the content, as `ShardedIndex.fit` does."""
        self._refuse_inside("fit")
        with self._maintenance, self._writing():
            self.sharded.fit(vectors, ids, **options)
        return self

    def compact(self, *, threads: int | None = None, progress: Any = None) -> None:
        """Build every shard anew over its living vectors. Writes wait."""
        self._refuse_inside("compact")
        with self._maintenance, self._writing():
            self.sharded.compact(timeout=3600.0)

    def snapshot(self) -> Path | None:
        """Let every replica write its index to a file and cut its log. None: there is no one file."""
        self._refuse_inside("snapshot")
        with self._maintenance, self._writing():
            self.sharded.snapshot()
        return None

    def _maintain_if_due(self) -> None:
        """Build the shards anew in the background, where many rows were added or removed."""
        if self._head.seq < self._look_at or self.is_rebuilding:
            return
        self._look_at = self._head.seq + _LOOK_AFTER
        self._background = threading.Thread(target=self._rebuild_if_due, name="annlab-maintenance", daemon=True)
        self._background.start()

    def _rebuild_if_due(self) -> None:
        try:
            if self.sharded.rebuild_due:
                self.compact()
        except Exception as error:
            warnings.warn(f"the shards were not built anew, so searches are slower than they could be: {error}",
                          RuntimeWarning, stacklevel=1)  # fmt: skip

    @property
    def kind(self) -> str:
        return self.sharded.kind

    def state_hash(self) -> str:
        """SHA-256 of the states of all shards, whose replicas are compared."""
        with self._writing():
            return hashlib.sha256(repr(sorted(self.sharded.verify().items())).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"<SpreadIndex {self.sharded!r} in {str(self.path)!r}>"


def folder_of_shards(folder: Path, name: str) -> Path:
    """Where the shards of an index lie."""
    return folder / f"{name}.shards"


def remove_shards(folder: Path, name: str, engine: str) -> None:
    """End the replicas of an index that nobody has open, and delete what they wrote."""
    place = folder_of_shards(folder, name)
    if (place / "manifest-000000000001").is_file():
        ShardedIndex(None, path=place, engine=engine).stop()
    shutil.rmtree(place, ignore_errors=True)


class _Shards:
    """The sharded index in the place of the one that a `DurableIndex` has inside: reads go to the shards, writes are
    only tried, since the log brings them there. `_there`: the ids that writes of a branch have added or removed."""

    rebuild_due = False

    def __init__(self, sharded: ShardedIndex, empty: Index, there: dict[int, bool] | None = None) -> None:
        self._sharded, self._empty, self._there = sharded, empty, there or {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sharded, name)  # ids, vectors, attributes, select, dim, metric, parameters, memory

    def __len__(self) -> int:
        return len(self._sharded)

    def __contains__(self, id: object) -> bool:
        return id in self._sharded

    def branch(self) -> "_Shards":
        return _Shards(self._sharded, self._empty, dict(self._there))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._sharded._known().dtype or np.float32)

    def search(self, queries: Any, k: int = 10, *, allowed: Any = None, excluded: Any = None, **options: Any) -> Any:
        return self._sharded.search(queries, k, allowed=_sent(allowed), excluded=_sent(excluded), **options)

    def search_radius(self, queries: Any, radius: Any, *, allowed: Any = None, excluded: Any = None,
                      **options: Any) -> Any:  # fmt: skip
        return self._sharded.search_radius(queries, radius, allowed=_sent(allowed), excluded=_sent(excluded), **options)

    # ---- writes, tried

    def add(self, rows: np.ndarray, ids: Any, *, attributes: Mapping[str, Any], on_duplicate: str) -> np.ndarray:
        if ids is None:
            raise ValueError("add to an index in shards needs ids")
        numbers = validation.as_ids(ids, length=len(rows))
        self._empty.branch().add(rows, numbers, attributes=attributes)
        self._sharded._columns(attributes, len(rows))
        if on_duplicate == "raise" and (present := self._present(numbers)).any():
            raise ValueError(f"id {int(numbers[present][0])} is already in the index; "
                             'use update, or add(..., on_duplicate="replace")')  # fmt: skip
        self._there.update(dict.fromkeys(numbers.tolist(), True))
        return numbers

    def update(self, ids: np.ndarray, rows: np.ndarray, *, attributes: Mapping[str, Any] | None = None) -> None:
        self._require(ids)
        self._empty.branch().add(rows, ids, attributes=attributes)
        self._sharded._columns(attributes, len(rows))

    def set_attributes(self, attributes: Mapping[str, Any], ids: np.ndarray) -> None:
        self._require(ids)
        self._sharded._columns(attributes, len(ids))

    def remove(self, ids: np.ndarray, missing: str) -> int:
        if missing == "raise":
            self._require(ids)
        count = int(self._present(ids).sum())
        self._there.update(dict.fromkeys(ids.tolist(), False))
        return count

    def _present(self, ids: np.ndarray) -> np.ndarray:
        there = self._sharded.present(ids)
        return np.array([self._there.get(id, bool(known)) for id, known in zip(ids.tolist(), there, strict=True)], bool)

    def _require(self, ids: np.ndarray) -> None:
        absent = ids[~self._present(ids)]
        if len(absent):
            raise KeyError(f"id {int(absent[0])} is not in the index ({len(absent)} of {len(ids)} are not)")


def _sent(chosen: Any) -> Any:
    """A filter in the form in which it can be sent: one of images (`facts.ImageFilter`) knows its ids."""
    if not isinstance(chosen, Filter):
        return chosen
    if not hasattr(chosen, "ids"):
        raise TypeError("a filter of another index cannot be sent to shards: make it by the filter() of this one")
    return chosen.ids
