"""What a structure was asked for."""

from typing import NamedTuple

import numpy as np

from annlab.core.state import State
from annlab.core.structure import Request


class Asked(NamedTuple):
    """One search of one state.

    Attributes
    ----------
    state : State
    query : (1, dim)
        In the type of the index.
    k : int
    request : Request
    may : (rows of the structure,) bool
        What may be returned.
    may_tail : (rows of the tail,) bool
    """

    state: State
    query: np.ndarray
    k: int
    request: Request
    may: np.ndarray
    may_tail: np.ndarray

    @property
    def vector_bytes(self) -> int:
        """Of one vector."""
        return int(self.query.shape[1] * self.query.itemsize)

    def ids(self, rows: np.ndarray) -> np.ndarray:
        """The ids of those of some rows that may be returned."""
        return np.asarray(self.request.keys[rows[self.may[rows]]])
