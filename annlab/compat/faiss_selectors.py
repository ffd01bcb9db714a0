"""faiss's selectors of ids, and the parameters of one search that carry them; `annlab.compat.faiss` has their names."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.common import validation

Ids = NDArray[np.int64]


def taken(ids: ArrayLike) -> Ids:
    """Ids, of which none is changed on the way; negative ones, which select nothing, are left out."""
    array = np.asarray(ids)
    if array.dtype.kind == "i":
        array = array[array >= 0]
    return validation.as_ids(array)


class IDSelector:
    """Which ids a search may return: ``SearchParameters(sel=IDSelectorBatch([1, 5]))``."""

    def among(self, ids: Ids) -> Ids:
        """Those of some ids (n,) that are selected."""
        raise NotImplementedError


class IDSelectorBatch(IDSelector):
    """Some ids."""

    def __init__(self, ids: ArrayLike) -> None:
        self.ids = np.unique(taken(ids))

    def among(self, ids: Ids) -> Ids:
        return ids[np.isin(ids, self.ids)]


class IDSelectorRange(IDSelector):
    """The ids imin..imax - 1."""

    def __init__(self, imin: int, imax: int) -> None:
        self.imin, self.imax = operator.index(imin), operator.index(imax)

    def among(self, ids: Ids) -> Ids:
        return ids[(ids >= self.imin) & (ids < self.imax)]


class IDSelectorNot(IDSelector):
    """All ids but those of another selector."""

    def __init__(self, sel: IDSelector) -> None:
        self.sel = sel

    def among(self, ids: Ids) -> Ids:
        return ids[~np.isin(ids, self.sel.among(ids))]


class SearchParameters:
    """What one search does otherwise than the index: `sel`, a selector of ids."""

    def __init__(self, sel: IDSelector | None = None) -> None:
        self.sel = sel


class SearchParametersIVF(SearchParameters):
    """Also `nprobe`, the lists that are read."""

    def __init__(self, sel: IDSelector | None = None, nprobe: int | None = None) -> None:
        super().__init__(sel)
        self.nprobe = nprobe
