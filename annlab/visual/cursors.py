"""Cursors: where the next page begins, as text that says nothing and cannot be forged.

Pages follow an order that each picture has by itself, (distance, id) or (time, id), and not by its number in a list. So
it does not matter what is added or removed between two pages: the next one begins behind the last picture shown.

Ranking mixes that order, within a *window* of it at a time. Until all of a window was shown, the cursor names its
beginning, its end and what of it was shown; then it moves on to the next window.

    after        (key, id) of the picture behind which the window begins, or None at the start
    end          (key, id) of the last picture of the window, or None where the next window is still to be chosen
    shown        ids of the window that were shown already
    reach        the distance up to which the pictures are looked at, or None
    depth        how many pictures were looked at so far: where to begin looking
    encoder      the fingerprint of the encoder that measured the keys; behind another one they mean nothing

A cursor belongs to one query of one viewer with its filters: a digest of these is part of it. The ids in it may be
those of private pictures, so it is encrypted: by a stream that follows from a secret of the catalog and from the
cursor's own code of authentication, which is checked when it comes back (SIV; Rogaway and Shrimpton 2006).
"""

import base64
import hashlib
import hmac
import json
import math
import zlib
from dataclasses import dataclass, fields
from typing import Any

from annlab.visual.viewers import QueryError

_TAG = 16  # bytes of authentication
_LONGEST = 16_000  # characters
_OPENED = 200_000  # bytes of an opened one

Key = tuple[float, int]


class StaleCursor(QueryError):
    """Another encoder serves since the page before: its order is another one."""


@dataclass(frozen=True)
class Cursor:
    """See the head of the file."""

    digest: str
    after: Key | None = None
    end: Key | None = None
    shown: tuple[int, ...] = ()
    reach: float | None = None
    depth: int = 0
    encoder: str = ""


_FIELDS = tuple(each.name for each in fields(Cursor))


def seal(cursor: Cursor, secret: bytes) -> str:
    """The text of a cursor."""
    content = [getattr(cursor, name) for name in _FIELDS]
    plain = zlib.compress(json.dumps(content, separators=(",", ":")).encode())
    tag = _tag(plain, secret)
    return base64.urlsafe_b64encode(tag + _crossed(plain, tag, secret)).decode().rstrip("=")


def unseal(text: str, digest: str, encoder: str, secret: bytes) -> Cursor:
    """The cursor of a text; a QueryError unless it was made here, for the same search, with the same encoder."""
    refused = QueryError("this cursor is none that was handed out here: begin again with the first page")
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise refused
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise refused from None
    tag, plain = raw[:_TAG], _crossed(raw[_TAG:], raw[:_TAG], secret)
    if len(tag) < _TAG or not hmac.compare_digest(tag, _tag(plain, secret)):
        raise refused
    values = json.loads(zlib.decompressobj().decompress(plain, _OPENED))
    if len(values) != len(_FIELDS):  # another version made it
        raise refused
    given, after, end, shown, reach, depth, by = values
    if by != encoder:
        raise StaleCursor("another encoder was promoted since the page before, so pictures have another order: begin "
                          "again with the first page")  # fmt: skip
    if given != digest:
        raise QueryError("this cursor belongs to another search: ask with the query, filters and order of its first "
                         "page, or begin again")  # fmt: skip
    return Cursor(given, _key(after), _key(end), tuple(shown), reach, depth, by)


def digest_of(*parts: Any) -> str:
    """What tells one search from another."""
    digest = hashlib.sha256()
    for part in parts:
        piece = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()[:16]


def _key(value: list[Any] | None) -> Key | None:
    return None if value is None or not math.isfinite(value[0]) else (value[0], value[1])


def _tag(plain: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, b"cursor" + plain, "sha256")[:_TAG]


def _crossed(data: bytes, tag: bytes, secret: bytes) -> bytes:
    stream = hashlib.shake_256(secret + b"stream" + tag).digest(len(data))
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))
