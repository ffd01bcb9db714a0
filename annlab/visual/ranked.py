"""Ranked results on their way through the stages of re-ranking (`reranking.py`): what stages read, and do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from annlab.visual.click_rates import ClickRates
from annlab.visual.facts import Facts


class Candidate(NamedTuple):
    """One picture on its way.

    Attributes
    ----------
    key : int
        The id under which the index knows the picture.
    id : int
        The image of it that the viewer is shown.
    distance, score : float
        From the query, and how likely it is relevant, 0..1.
    value : float
        By which it is ranked: the score, as stages have changed it.
    copies : tuple of int
        Other images of this picture that the viewer may see.
    under : tuple of Candidate
        Other pictures that are shown under it, themselves with none.
    way : tuple of str
        What was done to it.
    """

    key: int
    id: int
    distance: float
    score: float
    value: float
    copies: tuple[int, ...] = ()
    under: tuple[Candidate, ...] = ()
    way: tuple[str, ...] = ()

    @property
    def folded(self) -> tuple[int, ...]:
        """All images that are shown under it."""
        if not self.under:
            return self.copies
        return (*self.copies, *(id for each in self.under for id in (each.id, *each.copies)))

    @property
    def keys(self) -> tuple[int, ...]:
        """Its key, and those of what is under it."""
        return (self.key, *(each.key for each in self.under)) if self.under else (self.key,)

    def each(self) -> tuple[Candidate, ...]:
        """It and those under it, each by itself."""
        return (self._replace(under=()), *self.under) if self.under else (self,)


@dataclass(frozen=True)
class About:
    """What stages may ask: the facts of all images, which images may be shown, the query's own images, the vectors of
    some keys, the time, whether somebody wants to know what they did, what was clicked, and the words of a text."""

    facts: Facts
    visible: np.ndarray
    named: tuple[int, ...]
    vectors: Callable[[Sequence[int]], np.ndarray]
    now: float
    explain: bool = False
    clicks: ClickRates | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """Candidates in their order, and those that were dropped, each with its way."""

    candidates: tuple[Candidate, ...]
    about: About
    dropped: tuple[Candidate, ...] = ()

    @cached_property
    def ids(self) -> list[int]:
        """The images of the candidates."""
        return [one.id for one in self.candidates]

    @cached_property
    def slots(self) -> np.ndarray:
        """The places (n,) of these images in the facts, -1 for one that is not there."""
        return self.about.facts.slots_of(np.array(self.ids, np.int64))

    def without(self, why: Mapping[int, str]) -> Ranked:
        """Some candidates dropped: by key, with the reason."""
        if not why:
            return self
        kept = [one for one in self.candidates if one.key not in why]
        gone = [self._noted(one, why[one.key]) for one in self.candidates if one.key in why]
        return replace(self, candidates=tuple(kept), dropped=(*self.dropped, *gone))

    def with_values(self, values: Sequence[float], notes: Sequence[str | None]) -> Ranked:
        """Other values, with a note for each that changed, and the order that follows."""
        new = [one if note is None else self._noted(one, note)._replace(value=value)
               for one, value, note in zip(self.candidates, values, notes, strict=True)]  # fmt: skip
        return replace(self, candidates=tuple(sorted(new, key=_order)))

    def in_order(self, places: Sequence[int], stage: str) -> Ranked:
        """The candidates in another order: where each of the new list stands in the old one."""
        moved = []
        for new, old in enumerate(places):
            one = self.candidates[old]
            moved.append(one if new == old else self._noted(one, f"{stage}: from place {old + 1} to {new + 1}"))
        return replace(self, candidates=tuple(moved))

    def folding(self, under: Mapping[int, int], stage: str) -> Ranked:
        """Some candidates put under others: from the key of each to the key of the one that it goes under."""
        if not under:
            return self
        below: dict[int, list[Candidate]] = {}
        for one in self.candidates:
            if one.key in under:
                below.setdefault(under[one.key], []).append(one)
        kept = []
        for one in self.candidates:
            if one.key in under:
                continue
            if one.key in below:
                more = [each for other in below[one.key] for each in other.each()]
                one = self._noted(one, f"{stage}: {len(more)} near-duplicates are put under it")
                one = one._replace(under=(*one.under, *more))
            kept.append(one)
        return replace(self, candidates=tuple(kept))

    def _noted(self, one: Candidate, what: str) -> Candidate:
        return one._replace(way=(*one.way, what)) if self.about.explain else one


Stage: TypeAlias = Callable[[Ranked], Ranked]


def _order(one: Candidate) -> tuple[float, float, int]:
    return -one.value, one.distance, one.key
