"""What all sources of training points share: the rows they may use, groups of similar images, and negatives.

Negatives are drawn from the complement: from all images but those of the groups of query and positive, and those that
are known to be similar to the query. A source that knows better ones (an impression without a click, a judgement of 0)
puts those first, as hard negatives. Images of one group are known to be similar, so that the loss never takes them for
negatives of each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PairSource", "Points", "Rows", "checked_rows", "renumbered"]

Rows = npt.NDArray[np.int64]
_TRIES = 4  # random draws, before negatives of a query are looked for one by one


class Points(NamedTuple):
    """Training points as rows of the image array: query (n,), positive (n,), negatives (n, n_negatives)."""

    query: Rows
    positive: Rows
    negatives: Rows


class PairSource:
    """What the sources share: the rows they may use, the groups, and random negatives.

    Parameters
    ----------
    n_images : int
        Number of images that rows refer to.
    """

    def __init__(self, n_images: int) -> None:
        if n_images < 2:
            raise ValueError(f"a source of pairs needs at least 2 images, got {n_images}")
        self.rows: Rows = np.arange(n_images)
        self.groups: Rows = np.arange(n_images)

    @property
    def n_images(self) -> int:
        return len(self.groups)

    def restricted(self, allowed: npt.NDArray[np.bool_]) -> PairSource:
        """The same source without rows that are not `allowed` (bool, shape (n_images,)): the validation images."""
        raise NotImplementedError

    def sample(self, n: int, rng: np.random.Generator, n_negatives: int = 0) -> Points:
        """Draw `n` training points with `n_negatives` negatives each."""
        query, positive = self._pairs(n, rng)
        return self._with_negatives(query, positive, self._hard_negatives(query, rng), n_negatives, rng)

    def taken(self, rows: Rows) -> PairSource:
        """The same source for the images of `rows` alone, (m,), which become its rows 0, 1, ..., m - 1."""
        raise NotImplementedError

    def _with_negatives(
        self, query: Rows, positive: Rows, hard: Rows, n_negatives: int, rng: np.random.Generator
    ) -> Points:
        """Points with negatives from the complement: of all rows but the groups of query and positive, all equally
        likely, and none that is known to be similar to the query. `hard`, (n,), goes first; -1 where none is known."""
        negatives = self._others(np.repeat(query, n_negatives), np.repeat(positive, n_negatives), rng)
        negatives = negatives.reshape(len(query), n_negatives)  # (n, n_negatives)
        if n_negatives:
            group = self.groups[hard]
            usable = (hard >= 0) & (group != self.groups[query]) & (group != self.groups[positive])
            negatives[:, 0] = np.where(usable, hard, negatives[:, 0])
        return Points(query, positive, negatives)

    def _others(self, query: Rows, positive: Rows, rng: np.random.Generator) -> Rows:
        """For each pair a row that is in neither's group, and not known to be similar to the query, (n,)."""
        by_group = self.rows[np.argsort(self.groups[self.rows], kind="stable")]
        sorted_groups = self.groups[by_group]
        # The two groups are two runs of `by_group`, or one: draw from what is left, and step over them.
        low, high = np.sort(np.stack([self.groups[query], self.groups[positive]]), axis=0)
        starts = [np.searchsorted(sorted_groups, group, side="left") for group in (low, high)]
        widths = [np.searchsorted(sorted_groups, group, side="right") - start
                  for group, start in zip((low, high), starts, strict=True)]  # fmt: skip
        widths[1] = np.where(low == high, 0, widths[1])
        left = len(by_group) - widths[0] - widths[1]
        if (left < 1).any():
            row = int(query[np.argmin(left)])
            raise ValueError(f"every image is known to be similar to image {row} or to its positive: there are no "
                             "negatives to draw; take a loss without them, or images of more kinds")  # fmt: skip
        found = np.full(len(query), -1)
        missing = np.arange(len(query))
        for _ in range(_TRIES):
            place = rng.integers(0, left[missing])
            for start, width in zip(starts, widths, strict=True):
                place += np.where(place >= start[missing], width[missing], 0)
            found[missing] = by_group[place]
            missing = missing[self._is_similar(query[missing], found[missing])]
            if not len(missing):
                return found
        for at in missing.tolist():  # nearly all are known to be similar: look at each
            others = by_group[~np.isin(sorted_groups, [low[at], high[at]])]
            others = others[~self._is_similar(np.full(len(others), query[at]), others)]
            if not len(others):
                raise ValueError(f"every image is known to be similar to image {query[at]}: there are no negatives")
            found[at] = rng.choice(others)
        return found

    def _is_similar(self, query: Rows, other: Rows) -> npt.NDArray[np.bool_]:
        """Whether an image is known to be similar to the query, by more than the groups, (n,)."""
        return np.zeros(len(query), dtype=np.bool_)

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        raise NotImplementedError

    def _hard_negatives(self, query: Rows, rng: np.random.Generator) -> Rows:
        return np.full(len(query), -1)

    def _shuffled(self, n: int, rng: np.random.Generator) -> Rows:
        """`n` rows such that each is used once before any is used again."""
        rounds = [rng.permutation(self.rows) for _ in range(-(-n // len(self.rows)))]
        return np.concatenate(rounds)[:n]


def renumbered(rows: Rows, n_images: int, *columns: Rows) -> tuple[Rows, Rows, npt.NDArray[np.bool_]]:
    """Two columns of rows in the numbers of `rows`, and which entries (n,) are left: those that have both."""
    place = np.full(n_images, -1)
    place[rows] = np.arange(len(rows))
    first, second = (place[column] for column in columns)
    keep: npt.NDArray[np.bool_] = (first >= 0) & (second >= 0)
    return first[keep], second[keep], keep


def checked_rows(name: str, values: npt.ArrayLike, n_images: int) -> Rows:
    """Rows of images as int64, checked."""
    rows = np.asarray(values)
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and len(rows)):
        raise ValueError(f"{name} must be a 1-d integer array of image rows, got {rows.dtype} of shape {rows.shape}")
    if len(rows) and (rows.min() < 0 or rows.max() >= n_images):
        raise ValueError(f"{name} holds rows {rows.min()}..{rows.max()}, but there are {n_images} images")
    return rows.astype(np.int64)
