"""What was acknowledged survives: a log of operations and snapshots behind an index.

    from annlab import IVFIndex
    from annlab.durable import DurableIndex

    with DurableIndex(IVFIndex(metric="cosine", dim=128), "photos") as index:
        index.add(vectors, ids)            # on the disk when this returns
        index.search(query, k=10)

Every write is first an *operation* in a table of a database, in a transaction that is committed before the write is
acknowledged; then it becomes visible to searches. Now and then the whole index is written to a file, a *snapshot*, and
the log up to there is cut. Starting again means: load the snapshot, apply what the log holds beyond it. The state of
the index is a function of the two, bit for bit, and `state_hash()` proves it.

    operations.py   one write as arrays and bytes, its checksum, and how it is applied to an index
    log.py          the tables: the operations in order, each chained to the one before; what was retried is known
    snapshots.py    the files
    lock.py         one writing process; a kill releases it
    database.py     SQLite (or PostgreSQL): transactions, and errors that say what to do
    writes.py       one transaction over indexes and whatever else is in the database
    stored.py       what snapshot and log hold together; `read` takes it without being the one that writes
    durable.py      DurableIndex: puts these together; reads.py is its reading half

A row and its vector commit together when the table that the row belongs to is in the same database:

    with transaction(index) as (writes,):
        writes.connection.execute(images.insert(), {"id": 7, "owner": 3})
        writes.add(vector[None], [7], op_id="upload-7")

Needs SQLAlchemy: `pip install "annlab[visual]"`.
"""

try:
    import sqlalchemy as _sqlalchemy  # noqa: F401
except ImportError as error:
    raise ImportError('annlab.durable needs SQLAlchemy: pip install "annlab[visual]"') from error

from annlab.durable.database import Database
from annlab.durable.durable import DurableIndex
from annlab.durable.errors import CorruptLogError, InUseError, StorageError
from annlab.durable.operations import Operation
from annlab.durable.stored import Description, describe, read, remove
from annlab.durable.writes import Writes, transaction

__all__ = ["CorruptLogError", "Database", "Description", "DurableIndex", "InUseError", "Operation", "StorageError",
           "Writes", "describe", "read", "remove", "transaction"]  # fmt: skip
