"""Names of files as text, whatever bytes they are made of.

A name is bytes to the system, and not all bytes are UTF-8. In the catalog every byte that is not, every control
character and every percent sign is written as %XX: so any name can be stored, printed in one line, and found again.
"""

import os
import re

_ESCAPE = re.compile(r"%([0-9A-F]{2})")


def to_text(path: str | bytes | os.PathLike[str]) -> str:
    """The text of a path.

    >>> to_text(b"caf\\xe9/100%.jpg")
    'caf%E9/100%25.jpg'
    """
    decoded = os.fsencode(path).decode("utf-8", "surrogateescape")
    return "".join(_escaped(sign) for sign in decoded)


def from_text(text: str) -> str:
    """The path of a text, as `os` takes it.

    >>> os.fsencode(from_text("caf%E9/100%25.jpg"))
    b'caf\\xe9/100%.jpg'
    """
    pieces = _ESCAPE.split(text)  # text, digits, text, ...
    raw = b"".join(bytes.fromhex(piece) if i % 2 else piece.encode() for i, piece in enumerate(pieces))
    return os.fsdecode(raw)


def _escaped(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"%{code - 0xDC00:02X}"
    if sign == "%" or not sign.isprintable():
        return "".join(f"%{byte:02X}" for byte in sign.encode())
    return sign
