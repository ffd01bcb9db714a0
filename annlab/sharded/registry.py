"""Where each id lives, where rows are placed by cells: a shard of its own, with replicas and a log like all others.

An id gets its home when it is first written, by the cell of its vector then, and keeps it until the next `fit`: the
first who writes it down decides, and everybody else reads that. So a write knows its shard although the id does not
say it; two who add one id at once meet in one shard, which refuses the second; a retry goes where the write went; and
an update is one write to one shard, so no reader ever sees a row twice or not at all, wherever the new vector lies.
That a row may so come to lie in another cell than those of its shard costs searches some calls, and no answer: see
reach.py.
"""

import secrets

import numpy as np

from annlab.exact import ExactIndex
from annlab.sharded.client import Client
from annlab.sharded.errors import MissingShardError, UnacknowledgedError
from annlab.sharded.manifest import Manifest
from annlab.sharded.replica import Change

_PAUSE = 0.02  # seconds


async def homes(client: Client, manifest: Manifest, ids: np.ndarray, wanted: np.ndarray | None,
                seconds: float) -> np.ndarray:  # fmt: skip
    """The shards (n,) of ids (n,), by number. Ids that have none get what is wanted (n,); if nothing is, -1.

    Raises
    ------
    UnacknowledgedError
        The registry does not answer in time; nothing was written to any shard then.
    """
    entry, until, found = manifest.registry[0], client.world.now() + seconds, np.full(len(ids), -1, np.int64)
    while True:
        left = max(until - client.world.now(), 0.0)
        try:
            there, rows = await client.read(entry, "vectors", (ids,), client.token.get(entry.name, 0), left)
        except MissingShardError as error:
            raise UnacknowledgedError(f"nothing was written, since nobody says where ids live: {error}") from None
        if there.any():
            found[there] = rows[:, 0].astype(np.int64)
        if wanted is None or there.all():
            return found
        try:
            await client.write(entry.name, _claim(ids[~there], wanted[~there]), "one", left)
        except ValueError:  # another one was faster with some of them: look again
            if client.world.now() + _PAUSE >= until:
                raise UnacknowledgedError(f"nothing was written: others claim the same ids ({entry.name})") from None
            await client.world.sleep(_PAUSE)


def content(ids: np.ndarray, numbers: np.ndarray) -> bytes:
    """The file of a registry in which ids (n,) live in shards of these numbers (n,)."""
    return ExactIndex(dim=1).fit(_as_rows(numbers), ids).to_bytes()


def _claim(ids: np.ndarray, numbers: np.ndarray) -> Change:
    return Change("add", ids, _as_rows(numbers), {}, {"on_duplicate": "raise"}, secrets.token_hex(16), "claim")


def _as_rows(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.float32)[:, None]
