"""Strings: every string of an attribute once, by its place, so that rows hold four bytes each.

A table only grows, and all states of an index share one: a place that a state knows means the same for ever.
"""

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np


class Strings:
    """A table of distinct strings."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._place_of: dict[str, int] = {}
        self._lock = threading.Lock()  # indexes that are copies of one another share their tables
        self.places(texts)

    def __reduce__(self) -> Any:
        """Sent to another process: the strings, and a lock of its own there."""
        return Strings, (list(self.texts),)

    def places(self, texts: Iterable[str]) -> np.ndarray:
        """The places (m,) int32 of some strings; those that are new are taken in."""
        with self._lock:
            known, places = self._place_of, []
            for text in texts:
                place = known.get(text)
                if place is None:
                    _check(text)
                    place = known[text] = len(self.texts)
                    self.texts.append(str(text))
                places.append(place)
        return np.array(places, np.int32)

    def find(self, text: str) -> int:
        """The place of a string, or -2: no row has that."""
        return self._place_of.get(text, -2)

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored: all strings in UTF-8, one behind the other, and where each ends."""
        encoded = [text.encode() for text in self.texts]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        return {"strings": np.frombuffer(b"".join(encoded), np.uint8), "string_ends": ends}

    @classmethod
    def from_arrays(cls, strings: np.ndarray, ends: np.ndarray) -> "Strings":
        """The table of stored arrays; a ValueError if they do not fit together."""
        if strings.dtype != np.uint8 or ends.dtype != np.int64 or strings.ndim != 1 or ends.ndim != 1:
            raise ValueError(f"strings are {strings.dtype} {strings.shape}, their ends {ends.dtype} {ends.shape}")
        last = int(ends[-1]) if len(ends) else 0
        if last != len(strings) or (len(ends) and ends[0] < 0) or (ends[1:] < ends[:-1]).any():
            raise ValueError(f"strings of {len(strings)} bytes do not end at {last}, or not in order")
        data, start, texts = strings.tobytes(), 0, []
        for end in ends.tolist():
            texts.append(data[start:end].decode())  # a UnicodeDecodeError is a ValueError
            start = end
        table = cls(texts)
        if len(table.texts) != len(texts):
            raise ValueError("a string is there twice")
        return table


def _check(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the string {text!r} has no UTF-8 form ({error.reason}): repair it") from None
