"""Training points: where "this image is similar to that one" comes from.

A training point is a query image, one positive and n - 1 negatives, all as row numbers into one array of images. The
three sources of positives differ in what they cost and what they know:

`AugmentationPairs`   the positive is the query itself, seen through another augmentation. Free; knows no meaning.
`ClickPairs`          users clicked it below the query. Plentiful; biased by what was shown, and where.
`JudgementPairs`      people judged the two similar, with a grade. Trustworthy and dear. `LabelPairs` is the common
                      case: two images are similar when they share a label.
`MixedPairs`          draws each point from one of several sources with given weights.

All of them answer ``sample(n, rng)`` with arrays and hold no images and no tensors; what they share, and where
negatives come from, is in `pair_source.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from annlab.encoders.clicks import aggregate_clicks
from annlab.encoders.pair_source import PairSource, Points, Rows, checked_rows, renumbered
from annlab.evaluation.checks import as_labels
from annlab.evaluation.showings import Showings

__all__ = ["AugmentationPairs", "ClickPairs", "JudgementPairs", "LabelPairs", "MixedPairs", "PairSource", "Points"]


class AugmentationPairs(PairSource):
    """The positive is the query itself; augmentation makes two views of it.

    Examples
    --------
    >>> points = AugmentationPairs(100).sample(5, np.random.default_rng(0), n_negatives=3)
    >>> bool((points.query == points.positive).all()), points.negatives.shape
    (True, (5, 3))
    """

    def restricted(self, allowed: npt.NDArray[np.bool_]) -> AugmentationPairs:
        source = AugmentationPairs(self.n_images)
        source.rows = self.rows[allowed[self.rows]]
        return source

    def taken(self, rows: Rows) -> AugmentationPairs:
        return AugmentationPairs(len(rows))

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        query = self._shuffled(n, rng)
        return query, query.copy()


class LabelPairs(PairSource):
    """The positive is another image with the same label; an image alone in its class is its own positive.

    Parameters
    ----------
    labels : array of int or str, shape (n_images,)
        A label of -1 or "" means unknown: such an image is its own positive and everybody's negative.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 7])
    >>> points = LabelPairs(labels).sample(6, np.random.default_rng(0))
    >>> bool((labels[points.query] == labels[points.positive]).all())
    True
    """

    def __init__(self, labels: npt.ArrayLike) -> None:
        given = as_labels(labels, "labels")
        if given.ndim != 1 or given.dtype.kind not in "iU":
            raise ValueError(f"labels must be 1-d integers or names, got {given.dtype} of shape {given.shape}")
        super().__init__(len(given))
        self.labels = given
        known = given != "" if given.dtype.kind == "U" else given >= 0
        self.groups = np.arange(self.n_images) + self.n_images  # beyond the numbers of classes
        self.groups[known] = np.unique(given[known], return_inverse=True)[1]
        self._prepare()

    def _prepare(self) -> None:
        self._by_group = self.rows[np.argsort(self.groups[self.rows], kind="stable")]  # rows, group after group
        self._sorted = self.groups[self._by_group]

    def restricted(self, allowed: npt.NDArray[np.bool_]) -> LabelPairs:
        source = LabelPairs(self.labels)
        source.rows = self.rows[allowed[self.rows]]
        source._prepare()
        return source

    def taken(self, rows: Rows) -> LabelPairs:
        return LabelPairs(self.labels[rows])

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        query = self._shuffled(n, rng)
        start = np.searchsorted(self._sorted, self.groups[query], side="left")
        stop = np.searchsorted(self._sorted, self.groups[query], side="right")
        # One of the class's other rows, all equally likely: draw without the last, and where that hits the query itself
        # the last stands in for it (in a class of one image the last is the query).
        positive = self._by_group[start + rng.integers(0, np.maximum(stop - start - 1, 1))]
        return query, np.where(positive == query, self._by_group[stop - 1], positive)


class JudgementPairs(PairSource):
    """Graded judgements (query, candidate, similarity): a pair is drawn in proportion to its similarity.

    Parameters
    ----------
    query, candidate : arrays of int, shape (n,)
        Rows of images.
    similarity : array of float, shape (n,)
        Not negative; 0 means judged dissimilar and makes the candidate a hard negative of the query.
    n_images : int

    Examples
    --------
    >>> judged = JudgementPairs([0, 0, 1], [1, 2, 3], [1.0, 0.0, 0.5], n_images=4)
    >>> points = judged.sample(6, np.random.default_rng(0), n_negatives=1)
    >>> points.query.shape, points.negatives.shape
    ((6,), (6, 1))
    """

    def __init__(
        self, query: npt.ArrayLike, candidate: npt.ArrayLike, similarity: npt.ArrayLike, n_images: int
    ) -> None:
        super().__init__(n_images)
        self.query = checked_rows("query", query, n_images)
        self.candidate = checked_rows("candidate", candidate, n_images)
        self.similarity = np.asarray(similarity, dtype=np.float64)
        if not len(self.query) == len(self.candidate) == len(self.similarity):
            raise ValueError(
                f"query, candidate and similarity have {len(self.query)}, {len(self.candidate)} and "
                f"{len(self.similarity)} rows; they must be the columns of one table"
            )
        if not np.isfinite(self.similarity).all() or (self.similarity < 0).any():
            raise ValueError("similarity must be finite and not negative: 0 is dissimilar, more is more similar")
        self._prepare(self.similarity == 0, np.ones(len(self.query)))

    def _prepare(self, is_negative: npt.NDArray[np.bool_], negative_weight: npt.NDArray[np.float64]) -> None:
        """Running sums of weights: drawing a pair is one binary search."""
        if not (self.similarity > 0).any():
            raise ValueError(f"none of the {len(self.query)} pairs has a similarity above 0: there is no positive")
        self._pair_sum = np.cumsum(self.similarity)
        positive = self.similarity > 0
        self._similar = np.unique(self.query[positive] * self.n_images + self.candidate[positive])
        chosen = np.flatnonzero(is_negative)
        chosen = chosen[np.argsort(self.query[chosen], kind="stable")]
        self._negative_query, self._negative = self.query[chosen], self.candidate[chosen]
        self._negative_sum = np.concatenate([[0.0], np.cumsum(negative_weight[chosen])])

    def restricted(self, allowed: npt.NDArray[np.bool_]) -> JudgementPairs:
        keep = allowed[self.query] & allowed[self.candidate]
        source = JudgementPairs(self.query[keep], self.candidate[keep], self.similarity[keep], self.n_images)
        source.rows = self.rows[allowed[self.rows]]
        return source

    def taken(self, rows: Rows) -> JudgementPairs:
        query, candidate, keep = renumbered(rows, self.n_images, self.query, self.candidate)
        return JudgementPairs(query, candidate, self.similarity[keep], len(rows))

    def _is_similar(self, query: Rows, other: Rows) -> npt.NDArray[np.bool_]:
        return np.isin(query * self.n_images + other, self._similar)

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        drawn = np.searchsorted(self._pair_sum, rng.random(n) * self._pair_sum[-1], side="right")
        return self.query[drawn], self.candidate[drawn]

    def _hard_negatives(self, query: Rows, rng: np.random.Generator) -> Rows:
        start = np.searchsorted(self._negative_query, query, side="left")
        stop = np.searchsorted(self._negative_query, query, side="right")
        low, high = self._negative_sum[start], self._negative_sum[stop]
        drawn = np.searchsorted(self._negative_sum, low + rng.random(len(query)) * (high - low), side="right") - 1
        found = np.append(self._negative, -1)[np.clip(drawn, 0, len(self._negative))]
        return np.where(high > low, found, -1)


class ClickPairs(JudgementPairs):
    """Clicks as a proxy for similarity, corrected for the position at which an image was shown.

    A user clicks what they looked at *and* found similar, and looks at the top of a list more
    than at its end; so a click at a position that is looked at with probability p counts 1 / p (inverse propensity
    weighting: Joachims, Swaminathan and Schnabel, 2017). The estimate of a pair's similarity is its clicks divided by
    the sum of its impressions' propensities, and it is capped at `max_weight`, since one lucky click at the bottom
    would otherwise outweigh hundreds. A pair shown but never clicked is a hard negative if it was presumably looked at,
    at least once in expectation: what stood at the end of the list may be as similar as what was clicked.

    Parameters
    ----------
    query, displayed, position, clicked : arrays, shape (n_rows,)
        Rows of images, the position in the list (1 is the first), and 0 or 1, bools, or the words "impression" and
        "click"; with words a click and its impression are one showing (`annlab.evaluation.showings`). Of a log with
        users or times, give what `showings_of` makes of it: ``ClickPairs.of(showings_of(table), n_images)``.
    n_images : int
    propensity : array of float, shape (max position,), or None
        Probability of a look at each position, up to a common factor; estimated from the impressions where None
        (see `estimate_propensities`). All ones: no correction.
    max_weight : float
        Cap of a pair's weight, in units of a click at the first position.

    Examples
    --------
    >>> query, shown = np.zeros(6, int), np.array([1, 2, 3, 1, 2, 3])         # two lists for image 0
    >>> position, clicked = [1, 2, 3, 3, 2, 1], [True, False, False, True, False, True]
    >>> clicks = ClickPairs(query, shown, position, clicked, n_images=4, propensity=[1.0, 0.6, 0.4])
    >>> sorted(set(clicks.sample(50, np.random.default_rng(0)).positive.tolist()))   # 1 and 3 were clicked
    [1, 3]
    """

    def __init__(
        self,
        query: npt.ArrayLike,
        displayed: npt.ArrayLike,
        position: npt.ArrayLike,
        clicked: npt.ArrayLike,
        n_images: int,
        propensity: npt.ArrayLike | None = None,
        max_weight: float = 2.0,
    ) -> None:
        query = checked_rows("query", query, n_images)
        displayed = checked_rows("displayed", displayed, n_images)
        table = aggregate_clicks(query, displayed, position, clicked, propensity)
        self.propensity = table.propensity
        weight = np.minimum(table.clicks / np.maximum(table.examined, 1e-12), max_weight)
        self._looks = table.examined
        super().__init__(table.query, table.displayed, weight, n_images)
        self._prepare(self._is_rejected(), self._looks)

    @classmethod
    def of(cls, seen: Showings, n_images: int, propensity: npt.ArrayLike | None = None) -> ClickPairs:
        """From showings, which must have positions.

        Examples
        --------
        >>> from annlab.evaluation import showings_of
        >>> log = {"user": [7, 7, 7], "query": [0, 0, 0], "displayed": [1, 1, 2], "position": [1, 1, 2],
        ...        "interaction": ["Impression", "Click", "Impression"]}
        >>> ClickPairs.of(showings_of(log), n_images=3, propensity=[1.0, 0.5]).similarity.tolist()
        [1.0, 0.0]
        """
        if seen.positions is None:
            raise ValueError("the showings have no positions: without them clicks cannot be corrected; np.ones(n) says "
                             "that all were looked at alike")  # fmt: skip
        return cls(seen.queries, seen.displayed, seen.positions, seen.clicked, n_images, propensity)

    def restricted(self, allowed: npt.NDArray[np.bool_]) -> ClickPairs:
        keep = allowed[self.query] & allowed[self.candidate]
        source = self._of_pairs(self.query[keep], self.candidate[keep], keep, self.n_images)
        source.rows = self.rows[allowed[self.rows]]
        return source

    def taken(self, rows: Rows) -> ClickPairs:
        query, candidate, keep = renumbered(rows, self.n_images, self.query, self.candidate)
        return self._of_pairs(query, candidate, keep, len(rows))

    def _of_pairs(self, query: Rows, candidate: Rows, keep: npt.NDArray[np.bool_], n_images: int) -> ClickPairs:
        """The same for some of the pairs, under these numbers."""
        source = ClickPairs.__new__(ClickPairs)
        source.propensity, source._looks = self.propensity, self._looks[keep]
        JudgementPairs.__init__(source, query, candidate, self.similarity[keep], n_images)
        source._prepare(source._is_rejected(), source._looks)
        return source

    def _is_rejected(self) -> npt.NDArray[np.bool_]:
        rejected: npt.NDArray[np.bool_] = (self.similarity == 0) & (self._looks >= 1)
        return rejected


class MixedPairs(PairSource):
    """Each training point comes from one of several sources, chosen with the given weights.

    Parameters
    ----------
    sources : sequence of PairSource, all of the same images
    weights : sequence of float
        Shares, scaled to sum to 1.

    Examples
    --------
    >>> mixed = MixedPairs([AugmentationPairs(6), LabelPairs([0, 0, 0, 1, 1, 1])], weights=[1, 3])
    >>> len(mixed.sample(10, np.random.default_rng(0)).query)
    10
    """

    def __init__(self, sources: Sequence[PairSource], weights: Sequence[float]) -> None:
        if not sources or len(sources) != len(weights):
            raise ValueError(
                f"a mixture needs one weight per source, got {len(sources)} sources, {len(weights)} weights"
            )
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"weights={list(weights)} must be finite, not negative, and not all 0")
        sizes = {source.n_images for source in sources}
        if len(sizes) > 1:
            raise ValueError(f"the sources of a mixture refer to different numbers of images: {sorted(sizes)}")
        super().__init__(sizes.pop())
        self.sources, self.weights = list(sources), np.asarray(weights, dtype=np.float64) / sum(weights)
        for source in sources:
            if isinstance(source, LabelPairs):
                self.groups = source.groups
        self.rows = np.unique(np.concatenate([source.rows for source in sources]))

    def restricted(self, allowed: npt.NDArray[np.bool_]) -> MixedPairs:
        return MixedPairs([source.restricted(allowed) for source in self.sources], self.weights.tolist())

    def taken(self, rows: Rows) -> MixedPairs:
        return MixedPairs([source.taken(rows) for source in self.sources], self.weights.tolist())

    def sample(self, n: int, rng: np.random.Generator, n_negatives: int = 0) -> Points:
        counts = rng.multinomial(n, self.weights)
        drawn = [(*s._pairs(int(count), rng), s, count) for s, count in zip(self.sources, counts, strict=True) if count]
        hard = np.concatenate([source._hard_negatives(query, rng) for query, _, source, _ in drawn])
        order = rng.permutation(n)
        query, positive = (np.concatenate([part[side] for part in drawn])[order] for side in (0, 1))
        return self._with_negatives(query, positive, hard[order], n_negatives, rng)

    def _is_similar(self, query: Rows, other: Rows) -> npt.NDArray[np.bool_]:
        similar = np.zeros(len(query), dtype=np.bool_)
        for source in self.sources:
            similar |= source._is_similar(query, other)
        return similar
