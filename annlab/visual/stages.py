"""The stages of re-ranking. Each is made with its settings and is a function from ranked results to ranked results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annlab.visual.ranked import Ranked


@dataclass(frozen=True)
class Hidden:
    """Drop what the viewer may not see. The index has left these out already; this is the second lock of that door."""

    def __call__(self, ranked: Ranked) -> Ranked:
        about = ranked.about
        slots = about.facts.slots_of(np.array([one.id for one in ranked.candidates], np.int64))
        shown = np.append(about.visible, False)[slots]
        return ranked.without({one.key: "hidden: it is private or deleted"
                               for one, may in zip(ranked.candidates, shown.tolist(), strict=True)
                               if not may})  # fmt: skip


@dataclass(frozen=True)
class TheQuery:
    """Drop the images that the query itself names."""

    def __call__(self, ranked: Ranked) -> Ranked:
        named = set(ranked.about.named)
        return ranked.without({one.key: "query: it is the query itself" for one in ranked.candidates
                               if one.id in named})  # fmt: skip


@dataclass(frozen=True)
class NearDuplicates:
    """Put pictures whose vectors are almost those of one that stands before them under that one.

    A picture goes under the first such one that stands by itself, so a chain of likenesses does not become one group.
    """

    distance: float = 0.0005

    def __post_init__(self) -> None:
        if not 0 <= self.distance <= 2:
            raise ValueError(f"distance is between 0 and 2, not {self.distance}")

    def __call__(self, ranked: Ranked) -> Ranked:
        candidates = ranked.candidates
        if len(candidates) < 2:
            return ranked
        near = 1.0 - _alike(ranked) <= self.distance
        under: dict[int, int] = {}
        for place in range(1, len(candidates)):
            for leader in np.flatnonzero(near[place, :place]).tolist():
                if candidates[leader].key not in under:
                    under[candidates[place].key] = candidates[leader].key
                    break
        return ranked.folding(under, "near-duplicates")


def _alike(ranked: Ranked) -> np.ndarray:
    """(n, n): the cosines of the candidates' vectors with each other."""
    vectors = ranked.about.vectors([one.key for one in ranked.candidates]).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    result: np.ndarray = np.einsum("ik,jk->ij", vectors, vectors)  # threads of a matrix product would cost more
    return result


@dataclass(frozen=True)
class Diversity:
    """Order so that each picture is relevant and unlike those before it: maximal marginal relevance.

    The next one is that with the largest (1 - strength) value - strength (cosine to the most similar one before it).

    J. Carbonell and J. Goldstein, The use of MMR, diversity-based reranking, 1998.
    """

    strength: float = 0.3

    def __post_init__(self) -> None:
        _share("strength", self.strength)

    def __call__(self, ranked: Ranked) -> Ranked:
        n = len(ranked.candidates)
        if n < 3 or self.strength == 0:
            return ranked
        alike = _alike(ranked)
        worth = (1 - self.strength) * np.array([one.value for one in ranked.candidates])
        closest, left, places = np.full(n, -1.0), np.ones(n, bool), []
        for _ in range(n):
            merit = np.where(left, worth - self.strength * closest, -np.inf)
            chosen = int(np.argmax(merit))  # of equals the first
            places.append(chosen)
            left[chosen] = False
            closest = np.maximum(closest, alike[chosen])
        return ranked.in_order(places, "diversity")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is between 0 and 1, not {value}")


STAGES: dict[str, type] = {
    "hidden": Hidden,
    "query": TheQuery,
    "near-duplicates": NearDuplicates,
    "diversity": Diversity,
}
"""By the name that a file of stages gives them."""
