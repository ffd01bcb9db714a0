"""From distances to scores: how likely it is that a result is relevant, and from which score on results are shown.

A distance says little by itself: 0.2 may be a twin for one encoder and a stranger for the next. Nor is one limit for
all queries enough, for *something* is nearest to a picture of noise, too. So the score of a result is a product:

    d    its distance from the query
    s    the strangeness of the query: its distance from the nearest of some hundred *references*, the centres of the
         clusters of what the encoder usually sees

    score = f(d) g(s)       f: how likely an image at this distance is relevant to a query that means something
                            g: how likely a query of this strangeness means something

Both are the falling functions that fit examples best (isotonic regression): f pairs of which it is known whether the
one is relevant to the other, g queries against pictures of nothing. The references belong to the encoder and not to the
catalog, so a score says nothing of images that the viewer may not see.

The *cut-off* is the highest score above which queries keep, on average, `KEPT` of the images relevant to them.

A calibration is a file, `relevance.npz`, beside the encoder's model; or, for an encoder that has none, it is learned
from a catalog without any labels (`learn_from_vectors`) and kept among the catalog's settings. It names the encoder's
fingerprint and is refused for any other.

B. Zadrozny and C. Elkan, Transforming classifier scores into accurate multiclass probability estimates, 2002.
"""

from __future__ import annotations

import io
import itertools
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

FILE = "relevance.npz"
_LARGEST_FILE = 16 * 2**20  # bytes
KEPT = 0.94
_REFERENCES = 256
_QUERIES = 600  # that a calibration looks at
_STEPS = 48  # of a falling function, at most
_NEAR = 10  # neighbours that count as relevant where nobody has said what is


class AnotherEncoderError(ValueError):
    """A calibration is that of another encoder."""


@dataclass(frozen=True, eq=False)
class Falling:
    """A falling function as points (m,) that straight lines connect; level before the first and after the last."""

    places: np.ndarray
    values: np.ndarray

    def __call__(self, at: np.ndarray | float) -> np.ndarray:
        result: np.ndarray = np.interp(at, self.places, self.values)
        return result

    def last_with(self, value: float, factor: float = 1.0) -> float:
        """The last place where this function, times a factor, is at least some value; -inf if it never is, inf if it
        always stays so."""
        enough = int(np.count_nonzero(self.values * factor >= value))
        if enough == 0:
            return float("-inf")
        if enough == len(self.values):
            return float("inf")
        place, further = self.places[enough - 1 : enough + 1].tolist()
        high, low = (self.values[enough - 1 : enough + 1] * factor).tolist()
        return float(place + (further - place) * (high - value) / (high - low))


@dataclass(frozen=True, eq=False)
class Curve:
    """f, g and the cut-off: see the head of the file."""

    by_distance: Falling
    by_strangeness: Falling
    cutoff: float

    def of(self, distances: np.ndarray, strangeness: float) -> np.ndarray:
        """The scores (n,) of some distances, falling with them."""
        result: np.ndarray = self.by_distance(distances) * self.by_strangeness(strangeness)
        return result

    def reach(self, cutoff: float, strangeness: float) -> float:
        """The largest distance with at least this score; -inf if none has it, inf if all have."""
        return self.by_distance.last_with(cutoff, float(self.by_strangeness(strangeness)))


@dataclass(frozen=True, eq=False)
class Relevance:
    """The calibration of an encoder, for queries by image and, where it knows text, by text. See the head of the file.

    Attributes
    ----------
    fingerprint : str
        Of the encoder.
    references : (r, dim) float32
        Directions of length 1.
    image, text : Curve
        `text` is None where no text was calibrated: then `image` serves.
    learned_from : str
        In words.
    """

    fingerprint: str
    references: np.ndarray
    image: Curve
    text: Curve | None = None
    learned_from: str = ""

    def curve(self, by_text: bool = False) -> Curve:
        """That of queries by text or by image."""
        return self.text if by_text and self.text is not None else self.image

    def strangeness(self, vector: np.ndarray) -> float:
        """The distance (1 - cosine) of a query from the nearest reference."""
        return float(_strangeness(vector[None], self._wide)[0])

    @cached_property
    def _wide(self) -> np.ndarray:
        return self.references.astype(np.float64)

    # ---- files

    def to_bytes(self) -> bytes:
        """The content of the file."""
        arrays: dict[str, np.ndarray] = {
            "fingerprint": np.array(self.fingerprint), "learned_from": np.array(self.learned_from),
            "references": self.references.astype(np.float16),
        }  # fmt: skip
        for name, curve in (("image", self.image), ("text", self.text)):
            if curve is not None:
                arrays[f"{name}_cutoff"] = np.array(curve.cutoff)
                for part, falling in (("distance", curve.by_distance), ("strangeness", curve.by_strangeness)):
                    arrays[f"{name}_{part}"] = np.stack([falling.places, falling.values])
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # whose stub knows no ** of arrays
        return file.getvalue()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write it beside the encoder in a folder."""
        path = Path(folder) / FILE
        temporary = path.with_name(f".{FILE}.{os.getpid()}.tmp")
        temporary.write_bytes(self.to_bytes())
        os.replace(temporary, path)

    @classmethod
    def from_bytes(cls, content: bytes, fingerprint: str, dim: int, where: str = "a calibration") -> Relevance:
        """Read and check it; a ValueError says what is wrong."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            given, said = str(arrays["fingerprint"]), str(arrays["learned_from"])
            references = arrays["references"].astype(np.float32)
            image = _curve(arrays, "image")
            text = _curve(arrays, "text") if "text_cutoff" in arrays else None
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{where} is damaged: {error}") from None
        if given != fingerprint:
            raise AnotherEncoderError(f"{where} belongs to the encoder {given}, not to {fingerprint}: learn it anew")
        if references.ndim != 2 or references.shape[1] != dim or not len(references):
            raise ValueError(f"{where} has references of shape {references.shape} for an encoder of dimension {dim}")
        if not np.isfinite(references).all():
            raise ValueError(f"{where} is damaged: its references are not all finite")
        return cls(fingerprint, references, image, text, said)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], fingerprint: str, dim: int) -> Relevance | None:
        """That beside an encoder in a folder; None if there is none."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {_LARGEST_FILE} are accepted")
        return cls.from_bytes(path.read_bytes(), fingerprint, dim, str(path))


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
    directions, labels = _directions(vectors), np.asarray(labels)
    if len(directions) < 20 or len(labels) != len(directions) or len(np.unique(labels)) < 2:
        different = len(np.unique(labels))
        raise ValueError(f"a calibration needs at least 20 images of two labels, and one label each: there are "
                         f"{len(directions)} images and {len(labels)} labels, {different} different")  # fmt: skip
    rng = np.random.default_rng(seed)
    references = centres(directions, _REFERENCES, rng)
    chosen = rng.permutation(len(directions))[:_QUERIES]
    nothing = np.empty((0, directions.shape[1])) if nonsense is None else _directions(nonsense)

    def learned(queries: np.ndarray, own: np.ndarray, query_labels: np.ndarray) -> Curve:
        given = query_labels.ndim == 2
        relevant = query_labels.astype(bool) if given else query_labels[:, None] == labels[None, :]
        return _learned(queries, own, relevant, nothing, directions, references, expected=expected)

    image = learned(directions[chosen], chosen, labels[chosen])
    text = None
    if text_nonsense is not None:
        nothing = _directions(text_nonsense)
    if texts is not None and text_labels is not None:
        some = rng.permutation(len(texts))[:_QUERIES]
        text = learned(_directions(texts)[some], np.full(len(some), -1), np.asarray(text_labels)[some])
    return Relevance(fingerprint, references, image, text, learned_from or f"{len(directions)} labelled images")


def learn_from_vectors(vectors: np.ndarray, fingerprint: str, *, nonsense: np.ndarray | None = None,
                       seed: int = 0) -> Relevance:  # fmt: skip
    """Learn a calibration where nobody has said what is relevant: the nearest neighbours of images are taken to be.

    It knows where neighbours end and strangers begin, and no more than that; labels or judgements are better.
    Parameters as for `learn_relevance`.
    """
    directions = _directions(vectors)
    if len(directions) < 20:
        raise ValueError(f"a calibration needs at least 20 images; there are {len(directions)}")
    rng = np.random.default_rng(seed)
    references = centres(directions, _REFERENCES, rng)
    chosen = rng.permutation(len(directions))[:_QUERIES]
    distances = 1.0 - directions[chosen] @ directions.T
    distances[np.arange(len(chosen)), chosen] = np.inf
    limit = np.partition(distances, _NEAR, axis=1)[:, _NEAR]
    nothing = np.empty((0, directions.shape[1])) if nonsense is None else _directions(nonsense)
    image = _learned(directions[chosen], chosen, distances <= limit[:, None], nothing, directions, references,
                     expected=0.5)  # fmt: skip
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


def _learned(queries: np.ndarray, own: np.ndarray, relevant: np.ndarray, nonsense: np.ndarray, images: np.ndarray,
             references: np.ndarray, *, expected: float | None = None) -> Curve:  # fmt: skip
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
    strange = _strangeness(queries, references)
    by_strangeness = Falling(np.zeros(1), np.ones(1))
    if len(nonsense):
        both = np.concatenate([strange, _strangeness(nonsense, references)])
        sense = np.arange(len(both)) < len(strange)
        by_strangeness = _falling(both, sense, np.where(sense, 1.0, len(strange) / len(nonsense)))
    scores = by_distance(distances) * by_strangeness(strange)[:, None]
    return Curve(by_distance, by_strangeness, _cutoff(scores, relevant))


def _cutoff(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The highest score at which queries keep `KEPT` of what is relevant to them, on average."""
    counts = relevant.sum(axis=1)
    values, shares = scores[relevant], np.repeat(1.0 / np.maximum(counts, 1), counts)
    order = np.argsort(-values, kind="stable")
    kept = np.cumsum(shares[order]) / max(1, int((counts > 0).sum()))
    return float(values[order][min(int(np.searchsorted(kept, KEPT)), len(order) - 1)])


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


def _curve(arrays: dict[str, np.ndarray], name: str) -> Curve:
    cutoff = float(arrays[f"{name}_cutoff"])
    parts: list[Falling] = []
    for part in ("distance", "strangeness"):
        places, values = arrays[f"{name}_{part}"].astype(np.float64)
        if not np.isfinite([cutoff, *places, *values]).all() or not len(places):
            raise ValueError(f"the curve of {name} queries is not one")
        if (np.diff(places) < 0).any() or (np.diff(values) > 0).any() or not 0 <= values[-1] <= values[0] <= 1:
            raise ValueError(f"the curve of {name} queries does not fall from at most 1 to at least 0")
        parts.append(Falling(places, values))
    return Curve(parts[0], parts[1], cutoff)


def _directions(vectors: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise ValueError(f"embeddings are finite numbers of shape (n, dim), not of shape {wide.shape}")
    result: np.ndarray = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)
    return result


def _strangeness(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    if not len(queries):
        return np.empty(0)
    unit = _directions(queries)
    result: np.ndarray = 1.0 - (unit @ references.astype(np.float64, copy=False).T).max(axis=1)
    return result
