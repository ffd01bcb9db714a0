"""The scores of one search: a calibration (`relevance.py`) applied to one query, and where the calibration comes from.

It lies beside the encoder. For an encoder that has none, one is learned from the vectors of the catalog's public
images, once there are enough, and kept among the catalog's settings until there are four times as many.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sqlalchemy import delete, insert, select

from annlab.durable import DurableIndex
from annlab.encoders.encoder import Encoder
from annlab.encoders.pretrained import MODELS
from annlab.index import Index
from annlab.visual.calibrating import learn_from_vectors
from annlab.visual.catalog import Catalog
from annlab.visual.facts import Facts
from annlab.visual.nonsense import drawn_nonsense
from annlab.visual.relevance import AnotherEncoderError, Curve, Relevance
from annlab.visual.schema import settings
from annlab.visual.sense import pictures_of

_ENOUGH = 50  # images to learn from
_SAMPLE = 5000
_GROWN = 4  # times as many images: learn again
_NONSENSE = 400  # pictures of nothing
_DRESSES = 50  # images whose manner some of them wear


@dataclass(frozen=True)
class Scoring:
    """From the distances of one query to scores. Without a curve the score falls along a straight line."""

    cutoff: float
    metric: str
    curve: Curve | None = None
    strangeness: float = 0.0
    longest: float = 2.0
    means_something: bool = True
    """If not, nothing is relevant to the query."""

    @classmethod
    def of(cls, relevance: Relevance | None, vector: np.ndarray, by_text: bool, metric: str,
           means_something: bool = True) -> Scoring:  # fmt: skip
        """For the query of a vector."""
        if relevance is None:
            return cls(0.0, metric, means_something=means_something)
        curve = relevance.curve(by_text)
        return cls(curve.cutoff, metric, curve, relevance.strangeness(vector, by_text), means_something=means_something)

    @classmethod
    def of_tags(cls) -> Scoring:
        """For words in tags, whose distance is the share of the words that are missing."""
        return cls(0.0, "tags", longest=1.0)

    def scores(self, distances: np.ndarray) -> np.ndarray:
        """(n,), falling with the distance."""
        if not self.means_something:
            return np.zeros(len(distances))
        cosine = self._as_cosine(distances)
        if self.curve is None:
            result: np.ndarray = np.clip(1.0 - cosine / self.longest, 0.0, 1.0)
            return result
        return self.curve.of(cosine, self.strangeness)

    def reach(self, cutoff: float) -> float:
        """The largest distance with at least this score; -inf if not even 0 has it, inf if all have."""
        if cutoff <= 0:
            return float("inf")
        if not self.means_something:
            return float("-inf")
        cosine = self.longest * (1.0 - cutoff) if self.curve is None else self.curve.reach(cutoff, self.strangeness)
        if self.metric == "ip":
            return cosine - 1
        return math.copysign(math.sqrt(2 * abs(cosine)), cosine) if self.metric == "l2" else cosine

    def _as_cosine(self, distances: np.ndarray) -> np.ndarray:
        """Distances of vectors of length 1, by whatever metric, as 1 - cosine."""
        if self.metric == "l2":
            return distances**2 / 2
        return distances + 1 if self.metric == "ip" else distances


def relevance_of(catalog: Catalog, index: DurableIndex | Index, encoder: Encoder, facts: Facts,
                 folder: Path | None = None) -> Relevance | None:  # fmt: skip
    """The calibration for an encoder: that in its folder or with the packaged encoder that it is, or one that is
    learned from the catalog; None while that has too few images."""
    packaged = _packaged(encoder)
    found = packaged if folder is None else Relevance.load(folder, encoder.fingerprint, encoder.dim) or packaged
    if found is None:
        return _learned(catalog, index, encoder, facts)
    if found.wording is None and packaged is not None:  # a copy of the time before words were kept
        found = replace(found, wording=packaged.wording)
    return found


def _packaged(encoder: Encoder) -> Relevance | None:
    """The calibration that the package brings for an encoder, if it is one of the packaged."""
    if encoder.name not in {place.name for place in MODELS.iterdir() if place.is_dir()}:
        return None
    try:
        return Relevance.load(MODELS / encoder.name, encoder.fingerprint, encoder.dim)
    except AnotherEncoderError:  # that only has the same name
        return None


def _learned(catalog: Catalog, index: DurableIndex | Index, encoder: Encoder, facts: Facts) -> Relevance | None:
    """A calibration that was learned from the catalog, or that is learned now."""
    public = facts.ids.by_row[facts.there & ~facts.private & (facts.leaders == np.arange(len(facts)))]
    public = np.intersect1d(public, index.ids)
    name = f"relevance {encoder.fingerprint}"
    with catalog.database.reading() as connection:
        text = connection.scalar(select(settings.c.value).where(settings.c.name == name))
    if text is not None:
        count, _, content = text.partition(" ")
        if count.isdecimal() and len(public) < _GROWN * int(count):
            return Relevance.from_bytes(base64.b64decode(content), encoder.fingerprint, encoder.dim,
                                        "the calibration in the catalog's settings")  # fmt: skip
    if len(public) < _ENOUGH:
        return None
    sample = np.sort(np.random.default_rng(0).permutation(public)[:_SAMPLE])
    drawn = drawn_nonsense(_NONSENSE, pictures_of(catalog, sample[:_DRESSES].tolist()))
    nonsense = encoder.encode(drawn, check_domain=False)
    learned = learn_from_vectors(index.vectors(sample), encoder.fingerprint, nonsense=nonsense)
    value = f"{len(public)} {base64.b64encode(learned.to_bytes()).decode()}"
    with catalog.writing() as connection:
        connection.execute(delete(settings).where(settings.c.name == name))
        connection.execute(insert(settings), {"name": name, "value": value})
    return learned
