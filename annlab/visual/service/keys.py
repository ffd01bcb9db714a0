"""API keys: who somebody is, and what they may do.

    reader      searches, looks at pictures, clicks
    writer      also adds pictures, deletes their own, and judges
    admin       sees and deletes everybody's, and reads the metrics

A key is 32 random bytes and is shown once, when it is made. The catalog keeps its SHA-256 alone, in the table of
settings: from that nobody gets the key back, and it is found by an equality of hashes, which tells nothing by its time.
A person who is forgotten (people.py) loses the keys.
"""

import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, insert, select

from annlab.visual.catalog import Catalog
from annlab.visual.people import KEY_PREFIX, add_user, find_user
from annlab.visual.schema import settings, users

Role = Literal["reader", "writer", "admin"]
ROLES: tuple[Role, ...] = ("reader", "writer", "admin")
_SECONDS = 10.0  # until a key is looked up again: so long a revoked one may still work
_REMEMBERED = 1000
_LOOKS_LIKE_A_KEY = re.compile(r"[A-Za-z0-9_-]{20,100}")


@dataclass(frozen=True)
class Person:
    """Somebody who asks the service for something; without keys, anybody."""

    user_id: int | None
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this is enough for what needs a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def add_key(catalog: Catalog, user: str, role: str) -> str:
    """Make a key for a user, who is added if there is none of this name; the key, which nobody can show again."""
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}: choose {', '.join(ROLES)}")
    if not user.strip() or not user.isprintable():
        raise ValueError(f"a key is for somebody: {user!r} is no name")
    key = secrets.token_urlsafe(32)
    try:
        id = find_user(catalog, user)
    except KeyError:
        id = add_user(catalog, username=user)
    value = json.dumps({"user": id, "role": role, "made": catalog.now().isoformat(timespec="seconds")})
    with catalog.writing() as connection:
        connection.execute(insert(settings), {"name": KEY_PREFIX + _digest(key), "value": value})
    return key


def list_keys(catalog: Catalog) -> list[dict[str, Any]]:
    """All keys by the first digits of their hashes, with role and user id."""
    with catalog.database.reading() as connection:
        query = select(settings).where(settings.c.name.startswith(KEY_PREFIX)).order_by(settings.c.name)
        rows = connection.execute(query).mappings().all()
    return [{"key": row["name"].removeprefix(KEY_PREFIX)[:12], **json.loads(row["value"])} for row in rows]


def revoke_key(catalog: Catalog, beginning: str) -> int:
    """Take back the keys whose hashes begin so, at least 8 digits; how many."""
    if not re.fullmatch(r"[0-9a-f]{8,64}", beginning):
        raise ValueError(f"give at least 8 digits of the hash, as `annlab keys list` shows them, not {beginning!r}")
    with catalog.writing() as connection:
        wanted = settings.c.name.startswith(KEY_PREFIX + beginning)
        return int(connection.execute(delete(settings).where(wanted)).rowcount)


class Keys:
    """Who a key belongs to, remembered for some seconds; safe from any number of threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[str, tuple[Person | None, float]] = {}
        self._lock = threading.Lock()

    def remembered(self, key: str) -> tuple[bool, Person | None]:
        """Whether it is known at the moment whose a key is, and whose it is (None: nobody's)."""
        if not _LOOKS_LIKE_A_KEY.fullmatch(key):
            return True, None
        found = self._known.get(_digest(key))
        if found is not None and time.monotonic() - found[1] < _SECONDS:
            return True, found[0]
        return False, None

    def look_up(self, key: str) -> Person | None:
        """Ask the catalog whose a key is."""
        digest = _digest(key)
        with self._catalog.database.reading() as connection:
            value = connection.scalar(select(settings.c.value).where(settings.c.name == KEY_PREFIX + digest))
            person = None
            if value is not None:
                stored = json.loads(value)
                name = connection.scalar(select(users.c.username).where(users.c.id == stored["user"]))
                if name is not None and stored["role"] in ROLES:
                    person = Person(int(stored["user"]), str(name), stored["role"])
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[digest] = person, time.monotonic()
        return person


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
