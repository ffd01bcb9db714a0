"""Column: rows that are only ever appended to, shared by all states of an index that were made of one another."""

import numpy as np


class Column:
    """Rows that never change, with room behind them: `extended` writes into the room if nobody else did.

    Only the holder of the index's write lock extends, and every state sees just the rows that it was made with.
    """

    def __init__(self, array: np.ndarray) -> None:
        """The array is kept, not copied."""
        self.array = array
        self._buffer, self._filled = array, [len(array)]  # the list is shared by all columns of one buffer

    def extended(self, more: np.ndarray) -> "Column":
        """A column with `more` rows behind these."""
        n, m = len(self.array), len(more)
        result = Column(self.array)
        if self._filled[0] == n and n + m <= len(self._buffer):
            result._buffer, result._filled = self._buffer, self._filled
        else:
            result._buffer = np.empty((n + m + max(16, (n + m) // 4), *self.array.shape[1:]), self.array.dtype)
            result._buffer[:n] = self.array
            result._filled = [n]
        result._buffer[n : n + m] = more
        result._filled[0] = n + m
        result.array = result._buffer[: n + m]
        return result
