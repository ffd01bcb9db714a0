"""DurableIndex: an index whose acknowledged writes survive. The head of the package says how.

What happens in which order

    write      branch the index, write to the branch, log it, commit, let the branch take the index's place
    snapshot   save the index as it is now, without a lock; then, in one transaction, name the file and cut the log
    compact    log the beginning; build aside from the index of that moment while writes go on; apply to it what was
               written meanwhile, read from the log; log the end, commit, let it take the index's place
    fit        build aside, save it as a snapshot, and let that take the place of everything, in one transaction
    start      load the snapshot, apply the log; a beginning of `compact` without its end is nothing

After each of these lines the state is that of the snapshot and the log: so it does not matter where a kill falls.

Locks: `maintenance` keeps snapshot, compact and fit apart; `writing` keeps writers apart. They are taken in this order.
"""

import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from annlab.durable import snapshots
from annlab.durable.database import Database
from annlab.durable.errors import CorruptLogError, InUseError, StorageError
from annlab.durable.lock import FolderLock
from annlab.durable.log import Head, Log
from annlab.durable.operations import Operation
from annlab.durable.reads import Reads
from annlab.durable.stored import stored
from annlab.durable.writes import Writes, transaction
from annlab.index import Index

_FEW = 64  # operations that a rebuild may catch up with while writers wait
_LARGE = 64 * 2**20  # bytes of vectors in the log
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."


class DurableIndex(Reads):
    """An index in a folder, with a log of operations in a database and a snapshot.

    Parameters
    ----------
    index : Index or None
        Says of what kind and with which parameters the index is. Where one is stored already, it must be empty and
        agree, or be None. Where none is, what it holds becomes the content. It is not used afterwards.
    path : path
        The folder; it is made if it is not there. It belongs to one process at a time.
    database : Database, optional
        Where the log goes: the catalog's own, so that rows and vectors commit together. ``path/log.db`` if not given.
    name : str
        Tells several indexes in one folder and database apart.
    snapshot_after : int or None
        A snapshot is written in the background after so many operations (or one for every fifty vectors, if that is
        more), or as soon as the log holds more bytes of vectors than the index and 64 MiB. So a start never has much
        to apply again. Where many rows were added or removed, the index is built anew, in the background too, before
        that. None: nothing is done in the background, only when `compact` and `snapshot` are called.

    Raises
    ------
    InUseError
        Another process has it open, with its number.
    CorruptLogError
        The log or the snapshot is damaged, with the place.
    StorageError
        The folder or the database cannot be written, with the reason.

    Examples
    --------
    >>> import annlab, numpy as np, tempfile
    >>> from annlab.durable import DurableIndex
    >>> folder = tempfile.TemporaryDirectory()
    >>> with DurableIndex(annlab.ExactIndex(dim=2), folder.name) as index:
    ...     index.add(np.eye(2), [5, 6], op_id="first")
    array([5, 6])
    >>> with DurableIndex(None, folder.name) as index:
    ...     index.add(np.eye(2), [5, 6], op_id="first"), len(index)  # a retry
    (array([5, 6]), 2)
    """

    def __init__(self, index: Index | None, path: str | os.PathLike[str], *, database: Database | None = None,
                 name: str = "index", snapshot_after: int | None = 2_000) -> None:  # fmt: skip
        if not 0 < len(name) <= 64 or set(name) - set(_NAME) or name.startswith("."):
            raise ValueError(f"name {name!r}: at most 64 letters, digits, '-', '_' and '.', and no '.' to begin with")
        self.path, self.name = Path(path), name
        self.snapshot_after = snapshot_after
        self._due = snapshot_after or 0
        self._behind = False
        self._rebuild_from = 0  # the operation from which on one may be tried
        self._ops = self._bytes = 0  # of the log since the snapshot
        self._maintenance, self._write_lock = threading.RLock(), threading.RLock()
        self._background: threading.Thread | None = None
        self._pid = os.getpid()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be made a folder ({error.strerror}): name another place") from error
        self._locks: list[Any] = [FolderLock(self.path / f"{name}.lock")]
        self._owns_database = database is None
        try:
            self.database = Database.open(self.path / "log.db") if database is None else database
            self._log = Log(self.database, name)
            if database is not None:
                self._locks.append(database.lock(name))
            self._log.create_tables()
            self._index, self._head = self._start(index)
        except BaseException:
            self._release()
            raise

    # ---- start and end

    def _start(self, given: Index | None) -> tuple[Index, Head]:
        with self.database.reading() as connection:
            head = self._log.head(connection)
            if head is not None:
                check_agreement(given, head, self._log.where)
                index, head = self._stored(connection, head)
        if head is None:
            index, head = self._first(given)
        snapshots.remove_others(self.path, self.name, head.snapshot_file)
        return index, head

    def _stored(self, connection: Any, head: Head | None) -> tuple[Index, Head]:
        """What snapshot and log hold."""
        if head is None:
            raise CorruptLogError(f"{self._log.where}: the row of the index is gone; restore a copy")
        self._ops, self._bytes = self._log.size(connection)
        return stored(self._log, connection, self.path, head), head

    def _first(self, given: Index | None) -> tuple[Index, Head]:
        """Begin a new index, with what is given as its content."""
        if given is None:
            raise FileNotFoundError(f"{self._log.where}: there is no such index; to begin one, give an empty Index")
        there = [path for path in snapshots.others(self.path, self.name, None) if path.suffix == ".annlab"]
        if there:
            raise CorruptLogError(f"{self._log.where}: the log knows nothing of this index, but its snapshot "
                                  f"{there[0]} is "
                                  "there: bring the database back, or move the file away to begin anew")  # fmt: skip
        head = Head.first(type(given).__name__, as_json(given.parameters))
        index = given.branch()
        index.rebuilds_itself = False
        if len(index):
            file, sha256 = snapshots.write(index, self.path, self.name, 0)
            head = replace(head, snapshot_file=file, snapshot_sha256=sha256)
        with self.database.writing() as connection:
            self._log.create(connection, head)
        return index, head

    def close(self) -> None:
        """Let others open it. Nothing needs to be written: everything acknowledged is on the disk already."""
        thread = self._background
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._maintenance, self._write_lock:
            self._release()

    def _release(self) -> None:
        for lock in reversed(self._locks):
            lock.release()
        if self._owns_database and hasattr(self, "database"):
            self.database.close()
        self._pid = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- writing

    def transaction(self) -> Any:
        """`annlab.durable.transaction` over this index alone: yields its `Writes`."""
        return _one(transaction(self))

    def add(self, vectors: Any, ids: Any = None, **options: Any) -> np.ndarray:
        """Add vectors; they are on the disk and found when this returns. Everything else as for `Writes.add`."""
        with self.transaction() as writes:
            numbers: np.ndarray = writes.add(vectors, ids, **options)
        return numbers

    def update(self, ids: Any, vectors: Any, **options: Any) -> None:
        """Give existing ids new vectors. Everything else as for `Writes.update`."""
        with self.transaction() as writes:
            writes.update(ids, vectors, **options)

    def set_attributes(self, attributes: Mapping[str, Any], ids: Any = None, **options: Any) -> None:
        """Give vectors other values of some attributes, or new ones. Everything else as for `Writes.set_attributes`."""
        with self.transaction() as writes:
            writes.set_attributes(attributes, ids, **options)

    def remove(self, ids: Any, missing: str = "raise", **options: Any) -> int:
        """Remove vectors by id; returns how many there were. Everything else as for `Writes.remove`."""
        with self.transaction() as writes:
            count: int = writes.remove(ids, missing, **options)
        return count

    def fit(self, vectors: Any, ids: Any = None, **options: Any) -> Self:
        """Replace the content, as `Index.fit` does. It goes into a snapshot at once and not through the log."""
        self._refuse_inside("fit")
        with self._maintenance, self._writing():
            index = self._index.branch()
            index.fit(vectors, ids, **options)
            seq = self._head.seq + 1
            file, sha256 = snapshots.write(index, self.path, self.name, seq)
            with self.transaction() as writes:
                chain = Operation(seq, "fit", options={"snapshot": sha256}).chain(self._head.chain)
                self._log.cut(writes.connection, seq)
                writes._replace(index, (-self._ops, -self._bytes), seq=seq, chain=chain, snapshot_seq=seq,
                                snapshot_chain=chain, snapshot_file=file, snapshot_sha256=sha256)  # fmt: skip
            self._tidy()
        return self

    def compact(self, *, threads: int | None = None, progress: Any = None) -> None:
        """Build the index anew over the living vectors, aside: searches and writes go on meanwhile."""
        self._refuse_inside("compact")
        with self._maintenance:
            with self.transaction() as writes:
                since = writes._log("compact")
            built = writes._branch.branch()
            built.compact(threads=threads, progress=progress)
            done = since
            while self._head.seq - done > _FEW:
                done = self._caught_up(built, done, self._head.seq, None)
            with self.transaction() as writes:
                self._caught_up(built, done, writes._head.seq, writes.connection)
                writes._log("compacted", options={"since": since})
                writes._replace(built, writes._logged)

    def _caught_up(self, built: Index, done: int, until: int, connection: Any) -> int:
        """Apply to an index what the log holds between two places."""
        if connection is None:
            with self.database.reading() as own:
                return self._caught_up(built, done, until, own)
        for operation, _ in self._log.read(connection, done, until):
            operation.apply(built)
        return until

    def snapshot(self) -> Path | None:
        """Write the index to a file and cut the log. Searches and writes go on meanwhile.

        Returns
        -------
        path
            The snapshot; None while nothing has been written at all.

        Raises
        ------
        StorageError
            The file cannot be written, as on a full disk: the old snapshot and the log are as they were.
        """
        self._refuse_inside("snapshot")
        with self._maintenance:
            with self._writing():
                index, head, ops, n_bytes = self._index, self._head, self._ops, self._bytes
            if head.seq == head.snapshot_seq:
                return None if head.snapshot_file is None else self.path / head.snapshot_file
            file, sha256 = snapshots.write(index, self.path, self.name, head.seq)
            with self.transaction() as writes:
                self._log.cut(writes.connection, head.seq)
                writes._replace(writes._branch, (-ops, -n_bytes), snapshot_seq=head.seq, snapshot_chain=head.chain,
                                snapshot_file=file, snapshot_sha256=sha256)  # fmt: skip
            self._tidy()
            return self.path / file

    def _tidy(self) -> None:
        """After the log was cut."""
        self._due = self.snapshot_after or 0
        snapshots.remove_others(self.path, self.name, self._head.snapshot_file)
        self.database.shrink(wait=False)

    # ---- what is inside

    @property
    def seq(self) -> int:
        """The number of the last operation that was acknowledged."""
        return self._head.seq

    def state_hash(self) -> str:
        """SHA-256 of the state: equal where snapshot and log are equal, on whatever machine they were applied.

        Only writes change it, and the rebuild that they may begin in the background, which is waited for (but for those
        who ask inside a transaction); nothing else is in it, no clock and no order of threads.
        """
        thread = self._background
        if thread is not None and thread is not threading.current_thread() and not self.database.is_writing:
            thread.join()
        with self._writing():
            return self._index.content_hash()

    def __repr__(self) -> str:
        return f"<DurableIndex {self._index!r} in {str(self.path)!r}, {self._ops} operations since the snapshot>"

    # ---- helpers

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the write lock, with the index as the log says."""
        if self._pid != os.getpid():
            what = "is closed" if self._pid == -1 else f"belongs to process {self._pid}, of which this one is a fork"
            raise InUseError(f"{self._log.where} {what}: open it again")
        with self._write_lock:
            if self._pid == -1:
                raise InUseError(f"{self._log.where} was closed meanwhile: open it again")
            if self._behind:
                self._catch_up()
            yield

    def _catch_up(self) -> None:
        """After an interruption between commit and publication: what the log holds is what counts."""
        with self.database.reading() as connection:
            head = self._log.head(connection)
            if head == self._head:  # the commit had failed
                self._behind = False
                return
            index, head = self._stored(connection, head)
        self._index, self._head, self._behind = index, head, False

    def _publish(self, index: Index, head: Head, ops: int, n_bytes: int) -> None:
        self._ops, self._bytes = self._ops + ops, self._bytes + n_bytes
        self._index, self._head, self._behind = index, head, False

    def _maintain_if_due(self) -> None:
        """Begin what is due in the background: a rebuild, and a snapshot once replaying the log would take long."""
        if self.snapshot_after is None or (self._background is not None and self._background.is_alive()):
            return
        rebuild = self._index.rebuild_due and self._head.seq >= self._rebuild_from
        long = self._ops >= max(self._due, len(self._index) // 50)
        if rebuild or long or (self._bytes > _LARGE and self._bytes > self._index.memory()["total"]):
            self._background = threading.Thread(target=self._maintain, args=(rebuild,), name="annlab-maintenance",
                                                daemon=True)  # fmt: skip
            self._background.start()

    def _maintain(self, rebuild: bool) -> None:
        later = self.snapshot_after or 0
        try:
            if rebuild:
                self._rebuild_from = self._head.seq + later  # not again at once, if it fails
                self.compact()
                self._rebuild_from = 0
            self.snapshot()  # after a rebuild, too: a start would repeat it
        except Exception as error:
            self._due = self._ops + later
            what = "no snapshot was written, so the log goes on growing"
            if self._rebuild_from:
                what = "the index was not built anew, so searches are slower than they could be"
            warnings.warn(f"{what}: {error}", RuntimeWarning, stacklevel=1)

    @property
    def is_rebuilding(self) -> bool:
        """Whether the index is being built anew, or written to a snapshot, in the background."""
        return self._background is not None and self._background.is_alive()

    def _refuse_inside(self, what: str) -> None:
        if self.database.is_writing:
            raise RuntimeError(
                f"{what} inside a transaction would wait for that for ever: call it after the transaction"
            )


def check_agreement(given: Index | None, head: Head, where: str) -> None:
    """Raise a ValueError unless an index that was given to be opened is empty and like the stored one."""
    if given is None:
        return
    if len(given):
        raise ValueError(f"{where}: there is an index already, and the one given holds {len(given)} vectors: give an "
                         "empty one, or None, and use fit to replace the content")  # fmt: skip
    if type(given).__name__ != head.kind:
        raise ValueError(f"{where}: it is stored as {head.kind}, not {type(given).__name__}: give that, or None")
    stored, asked = json.loads(head.parameters), json.loads(as_json(given.parameters))
    for name in sorted(stored.keys() | asked.keys()):
        old, new = stored.get(name), asked.get(name)
        if old != new and not (name == "dim" and None in (old, new)):
            raise ValueError(f"{where}: it is stored with {name}={old!r}, not {new!r}: give that, or None as the index")


def as_json(parameters: dict[str, Any]) -> str:
    """Parameters of an index as the log holds them."""
    return json.dumps(parameters, sort_keys=True, allow_nan=False)


@contextmanager
def _one(several: Any) -> Iterator[Writes]:
    with several as (writes,):
        yield writes
