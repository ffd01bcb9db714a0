"""A database as this package uses it: short transactions, SQLite by default, PostgreSQL by its address.

    database = Database.open("photos.db")                       # a file: SQLite
    database = Database.open("postgresql://user@host/photos")   # needs psycopg
    with database.writing() as connection: ...                  # one transaction; an exception takes it back
    with database.reading() as connection: ...

SQLite runs with a write-ahead log, so readers and the one writer do not wait for each other, and with synchronous=FULL,
so a commit that returned is on the disk. A writing transaction takes the write lock when it begins: two that both read
and then write cannot collide halfway. Deleted content is overwritten (`secure_delete`), since forgetting a person means
it.

Errors of the driver become a `StorageError` that says what to do, or a `CorruptLogError` for a damaged file. Values
never appear in messages: they may be personal.
"""

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, exc, make_url, text

from annlab.durable.errors import CorruptLogError, InUseError, StorageError
from annlab.durable.lock import FolderLock

BUSY_SECONDS = 30  # that a transaction waits for another process to finish its own
_WRITES = "annlab_writes"  # the option of a connection whose transactions write

_ADVICE = {  # by the beginning of SQLite's name of the error
    "SQLITE_FULL": "the disk is full: make room and repeat the write",
    "SQLITE_READONLY": "it cannot be written: it, its folder or the disk is read-only",
    "SQLITE_CANTOPEN": "it cannot be opened: does its folder exist, and may this user write there?",
    "SQLITE_IOERR": "the disk reports an error or is full: see to it and repeat the write",
    "SQLITE_BUSY": f"another process has been writing to it for {BUSY_SECONDS} s: repeat when that one is done",
    "SQLITE_LOCKED": "another connection of this process keeps it locked: finish that transaction first",
    "SQLITE_PERM": "this user may not read or write it",
}
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_POSTGRES_ADVICE = {
    "53100": "the server's disk is full: make room and repeat the write",
    "25006": "the server is read-only",
    "57P01": "the server was shut down: repeat when it is back",
}


class Database:
    """Transactions on one database; safe from any number of threads. Made by `open`."""

    def __init__(self, engine: Engine, where: str) -> None:
        self.engine = engine
        self.where = where
        """What messages call it: the path, or the address without its password."""
        self._inside = threading.local()
        self._asked: Any = None
        self._asking = threading.Lock()
        event.listen(engine, "handle_error", self._note)

    @classmethod
    def open(cls, target: str | os.PathLike[str]) -> "Database":
        """Open a database, and make the file if there is none.

        Parameters
        ----------
        target : path or str
            The path of a SQLite file, or an address as SQLAlchemy writes them (``sqlite:///...``, ``postgresql://...``).

        Raises
        ------
        StorageError
            It cannot be opened, with the reason.
        ValueError
            The address is of another kind of database.
        """
        url = _url_of(target)
        if url.get_backend_name() == "sqlite":
            engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)
            _prepare_sqlite(engine)
            where = url.database or "a database in memory"
        else:
            engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
            where = url.render_as_string(hide_password=True)
        database = cls(engine, where)
        with database.reading():
            pass
        return database

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write: committed at the end, taken back by an exception.

        Raises
        ------
        StorageError
            The database cannot be written; nothing of the transaction happened.
        RuntimeError
            This thread is in such a transaction already: use its connection.
        """
        if self.is_writing:
            raise RuntimeError(f"this thread is already inside a writing transaction on {self.where}: use the "
                               "connection of that one, for a second one would wait for it for ever")  # fmt: skip
        self._inside.writes, self._inside.failed = True, False
        try:
            with self._translated(), self.engine.connect() as connection:
                connection = connection.execution_options(**{_WRITES: True})
                with connection.begin():
                    yield connection
                    if self._inside.failed:  # SQLite may have taken everything back already
                        raise StorageError(f"{self.where}: a statement of this transaction failed and its error was "
                                           "passed over; the transaction is taken back")  # fmt: skip
        finally:
            self._inside.writes = False

    @property
    def is_writing(self) -> bool:
        """Whether this thread is inside a writing transaction."""
        return getattr(self._inside, "writes", False)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that reads: all of it sees one moment."""
        with self._translated(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def number(self, query: str) -> int | None:
        """The one number that a query without parameters reads, or None: at the price of the query alone.

        A SQLite file is asked without a transaction of its own, which costs ten times what such a query does.
        """
        if isinstance(self.engine.pool, QueuePool) and self.is_sqlite:
            try:
                with self._asking:
                    if self._asked is None:  # kept for the next time: to take one from the pool costs more than a query
                        with self._translated():
                            self._asked = self.engine.raw_connection()
                    cursor = self._asked.driver_connection.execute(query)
                    try:
                        row = cursor.fetchone()
                    finally:
                        cursor.close()  # and with it the transaction
            except sqlite3.Error:
                pass  # what is wrong is told below
            else:
                return None if row is None or row[0] is None else int(row[0])
        with self.reading() as connection:
            found = connection.exec_driver_sql(query).scalar()
        return None if found is None else int(found)

    def lock(self, name: str) -> "FolderLock | ServerLock":
        """Keep every other process from taking the lock of this name on this database; `release` it in the end.

        Raises
        ------
        InUseError
            Somebody has it.
        """
        if self.is_sqlite:
            return FolderLock(Path(f"{self.where}.{name}.lock"))
        with self._translated():
            return ServerLock(self, name)

    def shrink(self, *, wait: bool) -> None:
        """Give back to the file system what deleted rows held, and empty SQLite's write-ahead log. While somebody reads
        it cannot be emptied: `wait` for that, or leave it to the next time."""
        if self.is_sqlite:
            with self._translated(), self.engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                driver.execute("PRAGMA incremental_vacuum").fetchall()
                try:
                    driver.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS * wait:.0f}")
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    driver.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS:.0f}")

    def check(self) -> None:
        """Read all of it and raise a CorruptLogError if it is damaged. Only for SQLite: a server checks itself."""
        if self.is_sqlite:
            with self.reading() as connection:
                answers = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(5)")]
            if answers != ["ok"]:
                raise CorruptLogError(f"{self.where} is damaged: {'; '.join(answers)}")

    def close(self) -> None:
        """Close all connections."""
        with self._asking:
            if self._asked is not None:
                self._asked.close()
                self._asked = None
        self.engine.dispose()

    def _note(self, context: Any) -> None:
        if not isinstance(context.sqlalchemy_exception, exc.IntegrityError) or not self.is_sqlite:
            self._inside.failed = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError:
            raise  # a rule of a table: for whoever knows the table
        except exc.DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: exc.DBAPIError) -> Exception:
        name = str(getattr(error.orig, "sqlite_errorname", ""))
        if name.startswith(_DAMAGED):
            return CorruptLogError(f"{self.where} is damaged ({error.orig}): restore it from a copy")
        for beginning, advice in _ADVICE.items():
            if name.startswith(beginning):
                return StorageError(f"{self.where}: {advice} ({error.orig}). Nothing that was acknowledged is lost")
        state = str(getattr(error.orig, "sqlstate", "") or "")
        if state in _POSTGRES_ADVICE:
            return StorageError(f"{self.where}: {_POSTGRES_ADVICE[state]}. Nothing that was acknowledged is lost")
        if isinstance(error, exc.OperationalError | exc.InterfaceError):
            lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            return StorageError(f"{self.where} does not answer ({lines[0]}). Nothing that was acknowledged is lost")
        return error


class ServerLock:
    """A lock that a PostgreSQL server keeps for as long as a connection lives."""

    def __init__(self, database: Database, name: str) -> None:
        self._connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        if not self._connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}):
            self._connection.close()
            raise InUseError(f"{database.where}, {name!r}, is in use by another process: one at a time may write there")

    def release(self) -> None:
        """Let others in. Releasing twice is no error."""
        if not self._connection.closed:
            with contextlib.suppress(exc.SQLAlchemyError):  # a server notices late that a connection was closed
                self._connection.scalar(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})
            self._connection.invalidate()  # not given back to the pool: the lock is that of the connection
            self._connection.close()


def _url_of(target: str | os.PathLike[str]) -> URL:
    address = os.fspath(target)
    if "://" not in address:
        return URL.create("sqlite", database=str(Path(address)))
    try:
        url = make_url(address)
    except exc.ArgumentError:
        raise ValueError(
            "the address of the database is not one: give a path, or postgresql://user@host/name"
        ) from None
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise ValueError(f"the database is of the kind {kind!r}: give a path (SQLite) or postgresql://user@host/name")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise ImportError('PostgreSQL needs psycopg: pip install "annlab[postgres]"') from error
    return url


def _prepare_sqlite(engine: Engine) -> None:
    """Settings of every connection, and transactions that begin when SQLAlchemy says so and not when Python does."""

    @event.listens_for(engine, "connect")
    def connect(driver: Any, _: Any) -> None:
        driver.isolation_level = None
        for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON",
                       "secure_delete=ON"):  # fmt: skip
            driver.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
