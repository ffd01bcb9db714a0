"""The stages of re-ranking. Each is made with its settings and is a function from ranked results to ranked results."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from annlab.visual.facts import words_of
from annlab.visual.ranked import Ranked


@dataclass(frozen=True)
class Hidden:
    """Drop what the viewer may not see. The index has left these out already; this is the second lock of that door."""

    def __call__(self, ranked: Ranked) -> Ranked:
        shown = (ranked.slots >= 0) & ranked.about.visible[ranked.slots]
        if shown.all():
            return ranked
        return ranked.without({one.key: "hidden: it is private or deleted"
                               for one, may in zip(ranked.candidates, shown.tolist(), strict=True)
                               if not may})  # fmt: skip


@dataclass(frozen=True)
class TheQuery:
    """Drop the images that the query itself names."""

    def __call__(self, ranked: Ranked) -> Ranked:
        named = ranked.about.named
        places = [place for place, id in enumerate(ranked.ids) if id in named]
        return ranked.without({ranked.candidates[place].key: "query: it is the query itself" for place in places})


@dataclass(frozen=True)
class Words:
    """What is called as the text says comes first, then what has a word that begins so: an encoder takes words that are
    used together for each other. A value grows by 2 for all words of the text in a picture's tags, by 1 where they only
    begin one there, and by a part of that for some of them."""

    def __call__(self, ranked: Ranked) -> Ranked:
        asked = ranked.about.words
        if not asked:
            return ranked
        values, notes, tags_of = [], [], ranked.about.facts.tags_of
        for one, slot in zip(ranked.candidates, ranked.slots.tolist(), strict=True):
            held = {word for tag in tags_of.get(slot, ()) for word in words_of(tag)}
            whole = sum(word in held for word in asked)
            begun = sum(word not in held and any(each.startswith(word) for each in held) for word in asked)
            values.append(one.value + (2 * whole + begun) / len(asked))
            notes.append(f"words: {whole + begun} of {len(asked)} stand in its tags" if whole + begun else None)
        return ranked.with_values(values, notes)


@dataclass(frozen=True)
class Rules:
    """Drop images of some owners, with some tags, or by id; and, where `only_tags` are named, all without one of
    these."""

    deny_tags: tuple[str, ...] = ()
    deny_owners: tuple[int, ...] = ()
    deny_ids: tuple[int, ...] = ()
    only_tags: tuple[str, ...] = ()

    def __call__(self, ranked: Ranked) -> Ranked:
        facts, why = ranked.about.facts, {}
        for one, slot in zip(ranked.candidates, ranked.slots.tolist(), strict=True):
            tags, owner = facts.tags_of.get(slot, ()), int(facts.owners[slot])
            denied = sorted(set(tags) & set(self.deny_tags))
            if denied:
                why[one.key] = f"rules: the tag {denied[0]!r} is denied"
            elif owner in self.deny_owners:
                why[one.key] = f"rules: owner {owner} is denied"
            elif one.id in self.deny_ids:
                why[one.key] = "rules: this image is denied"
            elif self.only_tags and not set(tags) & set(self.only_tags):
                why[one.key] = "rules: it has none of the tags that are asked for"
        return ranked.without(why)


@dataclass(frozen=True)
class CategoryGate:
    """Drop what is of another category than the query.

    The categories are some tags. The query's is its own, where it names an image that has one; otherwise the one of
    at least a share `agreement` of the nearest `among` candidates that have any. Where these do not agree, and for
    candidates without a category, nothing is done.
    """

    categories: tuple[str, ...] = ()
    among: int = 10
    agreement: float = 0.8

    def __post_init__(self) -> None:
        _share("agreement", self.agreement)
        if self.among < 1:
            raise ValueError(f"among is at least 1, not {self.among}")

    def __call__(self, ranked: Ranked) -> Ranked:
        known = set(self.categories)
        slots = ranked.slots.tolist()
        each = [known & set(ranked.about.facts.tags_of.get(slot, ())) for slot in slots]
        wanted = self._of_query(ranked, known) or self._of_nearest(ranked, each)
        if not wanted:
            return ranked
        named = ", ".join(sorted(wanted))
        return ranked.without({one.key: f"category-gate: {', '.join(sorted(own))}, and the query is {named}"
                               for one, own in zip(ranked.candidates, each, strict=True)
                               if own and not own & wanted})  # fmt: skip

    def _of_query(self, ranked: Ranked, known: set[str]) -> set[str]:
        facts = ranked.about.facts
        slots = facts.slots_of(np.array(ranked.about.named, np.int64)).tolist()
        return {tag for slot in slots for tag in facts.tags_of.get(slot, ())} & known

    def _of_nearest(self, ranked: Ranked, each: list[set[str]]) -> set[str]:
        order = sorted(range(len(each)), key=lambda place: ranked.candidates[place].distance)
        near = [each[place] for place in order if each[place]][: self.among]
        counts = {tag: sum(tag in own for own in near) for own in near for tag in own}
        return {tag for tag, count in counts.items() if count >= self.agreement * len(near)}


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
        if np.count_nonzero(near) == np.count_nonzero(near.diagonal()):
            return ranked
        near = np.tril(near, -1)  # each with those before it
        under: dict[int, int] = {}
        for place in np.flatnonzero(near.any(axis=1)).tolist():
            for leader in np.flatnonzero(near[place]).tolist():
                if candidates[leader].key not in under:
                    under[candidates[place].key] = candidates[leader].key
                    break
        return ranked.folding(under, "near-duplicates")


@dataclass(frozen=True)
class ClickBoost:
    """What is clicked oftener than expected at its positions counts more (`click_rates.py`): a value is multiplied by
    the ratio to the power of `strength`, the ratio being at most `limit` and at least 1 / limit."""

    strength: float = 0.3
    limit: float = 3.0

    def __post_init__(self) -> None:
        _share("strength", self.strength)
        if not 1 <= self.limit <= 100:
            raise ValueError(f"limit is between 1 and 100, not {self.limit}")

    def __call__(self, ranked: Ranked) -> Ranked:
        clicks = ranked.about.clicks
        if clicks is None:
            return ranked
        values, notes = [], []
        for one in ranked.candidates:
            ratio = clicks.ratio(one.id, ranked.about.named)
            gain = min(max(ratio, 1 / self.limit), self.limit) ** self.strength
            values.append(one.value * gain)
            notes.append(None if ratio == 1.0 else f"clicks: times {gain:.3f}, {ratio:.2f} times as many as expected")
        return ranked.with_values(values, notes)


@dataclass(frozen=True)
class Freshness:
    """What is new counts more: a value grows by `weight` at the moment of upload, and by half of that after
    `half_life` days."""

    weight: float = 0.2
    half_life: float = 30.0

    def __post_init__(self) -> None:
        _share("weight", self.weight)
        if not 0 < self.half_life < 1e6:
            raise ValueError(f"half_life is a number of days above 0, not {self.half_life}")

    def __call__(self, ranked: Ranked) -> Ranked:
        facts = ranked.about.facts
        ages = (ranked.about.now - facts.times[ranked.slots]) / 86_400
        gains = 1 + self.weight * 0.5 ** (np.maximum(ages, 0) / self.half_life)
        notes = [f"freshness: times {gain:.3f}, {age:.0f} days old" for gain, age in zip(gains, ages, strict=True)]
        values = [one.value * gain for one, gain in zip(ranked.candidates, gains.tolist(), strict=True)]
        return ranked.with_values(values, notes)


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


@dataclass(frozen=True)
class OwnerCap:
    """Of one owner at most some before all others: the rest of the owner's pictures go to the end of the window."""

    most: int = 3

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most is at least 1, not {self.most}")

    def __call__(self, ranked: Ranked) -> Ranked:
        owners = ranked.about.facts.owners[ranked.slots].tolist()
        counts: dict[int, int] = {}
        first: list[int] = []
        later: list[int] = []
        for place, owner in enumerate(owners):
            counts[owner] = counts.get(owner, 0) + (owner >= 0)
            (first if counts[owner] <= self.most else later).append(place)
        return ranked.in_order([*first, *later], "owner-cap")


_SERIAL = 200_000
"""Multiplications of a matrix product that OpenBLAS does in one thread; to start others would cost more."""

STAGES: dict[str, type] = {
    "hidden": Hidden, "query": TheQuery, "words": Words, "rules": Rules, "category-gate": CategoryGate,
    "near-duplicates": NearDuplicates, "clicks": ClickBoost, "freshness": Freshness,
    "diversity": Diversity, "owner-cap": OwnerCap,
}  # fmt: skip
"""By the name that a file of stages gives them."""


def _alike(ranked: Ranked) -> np.ndarray:
    """(n, n): the cosines of the candidates' vectors with each other."""
    vectors = ranked.about.vectors([one.key for one in ranked.candidates]).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    n, dim = vectors.shape
    tiles = max(1, math.ceil(n / max(1, int((_SERIAL / dim) ** 0.5))))
    side = math.ceil(n / tiles)
    parts = np.zeros((tiles, side, dim), np.float32)
    parts.reshape(-1, dim)[:n] = vectors
    products = parts[:, None] @ parts.transpose(0, 2, 1)[None]  # (tiles, tiles, side, side)
    result: np.ndarray = products.transpose(0, 2, 1, 3).reshape(tiles * side, -1)[:n, :n]
    return result


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is between 0 and 1, not {value}")
