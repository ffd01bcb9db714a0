"""What searches return."""

from typing import NamedTuple

import numpy as np


class Neighbors(NamedTuple):
    """What a search returns: `distances, ids = index.search(...)`, each (q, k), or (k,) for a 1-d query.

    Sorted by (distance, id), where rows count as equally far only if they are so in float64: what is returned is
    rounded to the type of the index, so equal numbers may stand before each other for a reason. Where fewer than k were
    found, inf and -1 fill the row; `valid` says where not.

    Examples
    --------
    >>> import annlab
    >>> index = annlab.ExactIndex().fit(np.array([[0.0], [1.0], [3.0]]), ids=[7, 8, 9])
    >>> found = index.search([0.9], k=4)
    >>> found.ids, found.distances.round(1), found.valid
    (array([ 8,  7,  9, -1]), array([0.1, 0.9, 2.1, inf]), array([ True,  True,  True, False]))
    """

    distances: np.ndarray
    ids: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """Where there is a result: mask with it before ids are used to look anything up."""
        return self.ids >= 0


class RadiusNeighbors(NamedTuple):
    """All vectors within a radius: those of query i are `distances[lims[i]:lims[i + 1]]` and `ids[...]`.

    Examples
    --------
    >>> import annlab
    >>> index = annlab.ExactIndex().fit(np.array([[0.0], [1.0], [3.0]]))
    >>> found = index.search_radius([[0.0], [9.0]], radius=2.0)
    >>> found.lims, found.ids
    (array([0, 2, 2]), array([0, 1]))
    """

    lims: np.ndarray
    distances: np.ndarray
    ids: np.ndarray
