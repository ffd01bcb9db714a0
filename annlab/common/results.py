"""What searches return."""

from typing import NamedTuple

import numpy as np


class Neighbors(NamedTuple):
    """What a search returns: `distances, ids = index.search(...)`, each (q, k), or (k,) for a 1-d query.

    Sorted by (distance, id), where rows count as equally far only if they are so in float64: what is returned is
    rounded to the type of the index, so equal numbers may stand before each other for a reason. Where fewer than k were
    found, inf and -1 fill the row; `valid` says where not.
    """

    distances: np.ndarray
    ids: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """Where there is a result: mask with it before ids are used to look anything up."""
        return self.ids >= 0


class RadiusNeighbors(NamedTuple):
    """All vectors within a radius: those of query i are `distances[lims[i]:lims[i + 1]]` and `ids[...]`."""

    lims: np.ndarray
    distances: np.ndarray
    ids: np.ndarray
