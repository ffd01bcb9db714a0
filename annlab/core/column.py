"""Column: rows that are only ever appended to, shared by all states of an index that were made of one another."""

import threading
from typing import Any

import numpy as np

_CLAIMING = threading.Lock()  # held for a comparison and an assignment


class Column:
    """Rows that never change, with room behind them: `extended` writes into the room if nobody else did.

    Every state sees just the rows that it was made with. Two indexes that share a state may extend it at once.
    """

    def __init__(self, array: np.ndarray) -> None:
        """The array is kept, not copied."""
        self.array = array
        self._buffer, self._filled = array, [len(array)]  # the list is shared by all columns of one buffer

    def __reduce__(self) -> Any:
        """Sent to another process: the rows, without the room behind them."""
        return Column, (self.array,)

    def copied(self) -> "Column":
        """A column of the same rows that nobody else has, to be changed before it is shown; it has room at once."""
        n = len(self.array)
        result = Column(np.empty((n + _room(n), *self.array.shape[1:]), self.array.dtype))
        result.array, result._filled = result._buffer[:n], [n]
        result.array[...] = self.array
        return result

    def extended(self, more: np.ndarray) -> "Column":
        """A column with `more` rows behind these."""
        n, m = len(self.array), len(more)
        result = Column(self.array)
        with _CLAIMING:
            has_room = self._filled[0] == n and n + m <= len(self._buffer)
            if has_room:
                self._filled[0] = n + m
        if has_room:
            result._buffer, result._filled = self._buffer, self._filled
        else:
            result._buffer = np.empty((n + m + _room(n + m), *self.array.shape[1:]), self.array.dtype)
            result._buffer[:n] = self.array
            result._filled = [n + m]
        result._buffer[n : n + m] = more
        result.array = result._buffer[: n + m]
        return result


def _room(n: int) -> int:
    """Rows that n rows get room for behind them, so that appending one by one copies each row a few times at most."""
    return max(16, n // 4)
