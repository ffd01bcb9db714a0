"""A calibration (`relevance.py`) is learned: of images of which it is known what they show, or of vectors alone.

f and g are the falling functions that fit examples best (isotonic regression): f pairs of which it is known whether the
one is relevant to the other, g queries against nonsense. The leaning is a logistic regression that tells vectors of
queries from those of nonsense. It learns from one half of the nonsense and g from the other: what the leaning knows
already would look easier to tell than the next.

The *cut-off* is the highest score above which queries keep, on average, `KEPT` of the images relevant to them. An image
that is near enough may make up for any strangeness; so g may be 0 for what is stranger than a share `ANSWERED` of the
queries, which then find nothing. Their part of `KEPT` lowers the cut-off for the others; of these shares the largest
counts that shows nonsense less than `LITTLE` of the images, or else the one that shows it the least.

B. Zadrozny and C. Elkan, Transforming classifier scores into accurate multiclass probability estimates, 2002.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from annlab.visual.relevance import Curve, Falling, Relevance, directions_of, nearest

KEPT, KEPT_BY_TEXT = 0.955, 0.92  # of uploads some are refused by their pixels already (`sense.py`)
ANSWERED, LITTLE = (1.0, 0.99, 0.98), 0.002
_REFERENCES = 256
_QUERIES = 600  # that a calibration looks at
_IMAGES = 1000  # that nonsense is tried on
_STEPS = 48  # of a falling function, at most
_EXAMPLES = 3000  # of sense that the leaning is learned from, at most
_FEWEST = 20  # of nonsense that a leaning is learned from
_FREEDOM = 30.0  # of its weights
_NEAR = 10  # neighbours that count as relevant where nobody has said what is


def learn_relevance(vectors: np.ndarray, labels: np.ndarray, fingerprint: str, *, nonsense: np.ndarray | None = None,
                    texts: np.ndarray | None = None, text_labels: np.ndarray | None = None,
                    text_nonsense: np.ndarray | None = None, expected: float | None = None,
                    learned_from: str = "", seed: int = 0) -> Relevance:  # fmt: skip
    """Learn a calibration from images of which it is known what they show.

    Parameters
    ----------
    vectors : (n, dim)
        Embeddings of images, n >= 20.
    labels : (n,) or (n, n)
        Images of one label are relevant to each other; at least two labels. Or whether one image, a row, is answered
        by another, a column.
    fingerprint : str
        Of the encoder.
    nonsense : (m, dim), optional
        Embeddings of pictures of nothing (`nonsense.py`): nothing is relevant to them.
    texts, text_labels : (t, dim) and (t,) or (t, n), optional
        Embeddings of texts in the same space, and which label each describes, or of which images it is true.
    text_nonsense : (m, dim), optional
        Embeddings of texts that mean nothing; None: `nonsense`.
    expected : float, optional
        Scores as if this share of the images, in (0, 1), were relevant to a query, where in truth very few are and
        nearly all scores would be next to 0. None: the share that there is.

    Raises
    ------
    ValueError
        There is too little to learn from.
    """
    directions, labels = directions_of(vectors), np.asarray(labels)
    if len(directions) < 20 or len(labels) != len(directions) or len(np.unique(labels)) < 2:
        different = len(np.unique(labels))
        raise ValueError(f"a calibration needs at least 20 images of two labels, and one label each: there are "
                         f"{len(directions)} images and {len(labels)} labels, {different} different")  # fmt: skip
    rng = np.random.default_rng(seed)
    references = centres(directions, _REFERENCES, rng)
    chosen = rng.permutation(len(directions))[:_QUERIES]
    nothing = _drawn(nonsense, directions.shape[1], rng)

    def learned(every: np.ndarray, own: np.ndarray, some: np.ndarray, every_label: np.ndarray, kept: float) -> Curve:
        given = every_label.ndim == 2
        relevant = every_label[some].astype(bool) if given else every_label[some, None] == labels[None, :]
        leaning = _leaning(_others(every, some), nothing[::2], references)
        return _learned(every[some], own, relevant, nothing[1::2], directions, references, leaning, expected=expected,
                        kept=kept)  # fmt: skip

    image = learned(directions, chosen, chosen, labels, KEPT)
    text = None
    if text_nonsense is not None:
        nothing = _drawn(text_nonsense, directions.shape[1], rng)
    if texts is not None and text_labels is not None:
        some = rng.permutation(len(texts))[:_QUERIES]
        text = learned(directions_of(texts), np.full(len(some), -1), some, np.asarray(text_labels), KEPT_BY_TEXT)
    return Relevance(fingerprint, references, image, text, learned_from or f"{len(directions)} labelled images")


def learn_from_vectors(vectors: np.ndarray, fingerprint: str, *, nonsense: np.ndarray | None = None,
                       seed: int = 0) -> Relevance:  # fmt: skip
    """Learn a calibration where nobody has said what is relevant: the nearest neighbours of images are taken to be.

    It knows where neighbours end and strangers begin, and no more than that; labels or judgements are better.
    Parameters as for `learn_relevance`.
    """
    directions = directions_of(vectors)
    if len(directions) < 20:
        raise ValueError(f"a calibration needs at least 20 images; there are {len(directions)}")
    rng = np.random.default_rng(seed)
    references = centres(directions, _REFERENCES, rng)
    chosen = rng.permutation(len(directions))[:_QUERIES]
    distances = 1.0 - directions[chosen] @ directions.T
    distances[np.arange(len(chosen)), chosen] = np.inf
    limit = np.partition(distances, _NEAR, axis=1)[:, _NEAR]
    nothing = _drawn(nonsense, directions.shape[1], rng)
    leaning = _leaning(_others(directions, chosen), nothing[::2], references)
    image = _learned(directions[chosen], chosen, distances <= limit[:, None], nothing[1::2], directions, references,
                     leaning, expected=0.5)  # fmt: skip
    return Relevance(fingerprint, references, image, None, f"the neighbourhoods of {len(directions)} images")


def centres(directions: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Up to n centres (r, dim) float32 of clusters of directions, of length 1 (spherical k-means, Dhillon and Modha
    2001); fewer than a quarter of the directions."""
    some = directions[rng.permutation(len(directions))[: 40 * n]]
    found: np.ndarray = some[: min(n, max(1, len(some) // 4))].copy()
    for _ in range(12):
        nearest = np.argmax(some @ found.T, axis=1)
        sums = np.zeros_like(found)
        np.add.at(sums, nearest, some)
        lengths: np.ndarray = np.linalg.norm(sums, axis=1)
        full = lengths > 1e-3
        found[full] = sums[full] / lengths[full, None]
    return found.astype(np.float32)


def _drawn(nonsense: np.ndarray | None, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Directions (m, dim) of nonsense in an order that is drawn, so that both halves hold all kinds."""
    return np.empty((0, dim)) if nonsense is None else directions_of(nonsense)[rng.permutation(len(nonsense))]


def _others(every: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The rows that are not chosen; all where they are too few."""
    rest = np.delete(every, chosen, axis=0)
    return rest if len(rest) >= len(chosen) else every


def _leaning(sense: np.ndarray, nonsense: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The weights (1 + dim,) by which vectors of nonsense are told from others; the distance's alone without any."""
    alone = np.zeros(1 + references.shape[1])
    alone[0] = 1.0
    if len(nonsense) < _FEWEST:
        return alone
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([sense[:_EXAMPLES], nonsense])
    features = np.column_stack([nearest(both, references), both])
    truth = np.arange(len(both)) >= len(both) - len(nonsense)
    fitted = LogisticRegression(C=_FREEDOM, class_weight="balanced", max_iter=2000).fit(features, truth)
    weights: np.ndarray = fitted.coef_[0].astype(np.float32).astype(np.float64)
    weights[0] = max(0.0, weights[0])  # far from everything never speaks for sense
    return weights


def _learned(queries: np.ndarray, own: np.ndarray, relevant: np.ndarray, nonsense: np.ndarray, images: np.ndarray,
             references: np.ndarray, leaning: np.ndarray, *, expected: float | None = None,
             kept: float = KEPT) -> Curve:  # fmt: skip
    """The curve that fits queries (q, dim), of which `own` are rows of the images (-1: of none), and nonsense.

    `expected`: the share of relevant pairs that is to be expected, if it is not that which there is.
    """
    distances = 1.0 - queries @ images.T
    counted = np.ones(distances.shape, bool)
    counted[np.flatnonzero(own >= 0), own[own >= 0]] = False
    relevant = relevant & counted
    truth, pairs = relevant[counted], distances[counted]
    if not truth.any() or truth.all():
        raise ValueError("of the pairs of images all are relevant, or none is: there is nothing to learn from")
    weights = np.ones(len(truth))
    if expected is not None:
        weights[truth] = expected / (1 - expected) * (~truth).sum() / truth.sum()
    by_distance = _falling(pairs, truth, weights)
    plain = Curve(by_distance, Falling(np.zeros(1), np.ones(1)), 0.0, leaning)
    strange = plain.strangeness(queries, references)

    def cut(by_strangeness: Falling) -> Curve:
        scores = by_distance(distances) * by_strangeness(strange)[:, None]
        return replace(plain, by_strangeness=by_strangeness, cutoff=_cutoff(scores, relevant, kept))

    if not len(nonsense):
        return cut(plain.by_strangeness)
    odd = plain.strangeness(nonsense, references)
    both, sense = np.concatenate([strange, odd]), np.arange(len(strange) + len(odd)) < len(strange)
    likely = _falling(both, sense, np.where(sense, 1.0, len(strange) / len(nonsense)))
    near = by_distance(1.0 - nonsense @ images[:: max(1, len(images) // _IMAGES)].T)
    curves = [cut(_ending(likely, float(np.quantile(strange, answered)))) for answered in ANSWERED]
    shown = [np.mean(near * curve.by_strangeness(odd)[:, None] >= curve.cutoff) for curve in curves]
    return next((curve for curve, share in zip(curves, shown, strict=True) if share < LITTLE), curves[np.argmin(shown)])


def _ending(likely: Falling, last: float) -> Falling:
    """g, but 0 after a place."""
    if not last < likely.places[-1]:
        return likely
    before = likely.places <= last
    return Falling(np.concatenate([likely.places[before], [last, np.nextafter(last, np.inf)]]),
                   np.concatenate([likely.values[before], [likely(last), 0.0]]))  # fmt: skip


def _cutoff(scores: np.ndarray, relevant: np.ndarray, kept: float) -> float:
    """The highest score at which queries keep some share of what is relevant to them, on average."""
    counts = relevant.sum(axis=1)
    values, shares = scores[relevant], np.repeat(1.0 / np.maximum(counts, 1), counts)
    order = np.argsort(-values, kind="stable")
    so_far = np.cumsum(shares[order]) / max(1, int((counts > 0).sum()))
    return float(values[order][min(int(np.searchsorted(so_far, kept)), len(order) - 1)])


def _falling(places: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> Falling:
    """The shares of what is true along some places: means of groups with equally many true ones, pooled until they
    fall (isotonic regression by pooling adjacent violators)."""
    order = np.argsort(places, kind="stable")
    hits = np.flatnonzero(truth[order])
    edges = np.unique([0, *hits[:: max(1, len(hits) // _STEPS)].tolist(), len(order)])
    blocks: list[list[float]] = []  # weight, weight of the true, weighted sum of places
    for start, stop in itertools.pairwise(edges.tolist()):
        own = order[start:stop]
        weight = weights[own]
        blocks.append([weight.sum(), (weight * truth[own]).sum(), (weight * places[own]).sum()])
        while len(blocks) > 1 and blocks[-1][1] * blocks[-2][0] >= blocks[-2][1] * blocks[-1][0]:
            last = blocks.pop()
            blocks[-1] = [one + other for one, other in zip(blocks[-1], last, strict=True)]
    table = np.array(blocks)
    return Falling(table[:, 2] / table[:, 0], table[:, 1] / table[:, 0])
