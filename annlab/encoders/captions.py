"""Captions: what is said of an image, in many wordings, so that a text encoder learns words and not sentences.

An image comes with phrases: its name, and other words for it ("grinning face"; "happy", "smile"). Each time the image
is shown to the network, a caption is drawn from them: the name or some other phrase, at times two together, at times
with a word left out or misspelt. So one word alone finds the image, and so does a word with a slip of the pen.

A caption may well be true of other images of the batch ("face"): they must not be taught as wrong. `draw` says of which
images each caption is true: those that have all of the phrases that it was made of.

`nonsense` makes captions that are true of no image. Without them a text that says nothing would be as near to some
images as a text that says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CaptionSource", "Phrases", "Tags", "captions_from_tags", "misspelt", "nonsense"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 4  # letters of a word that may be misspelt: of fewer, not enough would be left to know it by


class CaptionSource(Protocol):
    """Where the captions of a training come from."""

    def __len__(self) -> int:
        """The number of images."""

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[list[str], NDArray[np.bool_]]:
        """A caption for each image, and of which of these images it is true: (image, caption), with a true diagonal."""


def captions_from_tags(
    tags: Sequence[str], templates: Sequence[str], rng: np.random.Generator | None = None
) -> list[str]:
    """One caption per image from its tag (a class name, or several joined): a template is drawn for each.

    Examples
    --------
    >>> captions_from_tags(["dress", "bag"], ["a photo of a {}"])
    ['a photo of a dress', 'a photo of a bag']
    """
    if not templates or any("{}" not in template for template in templates):
        raise ValueError(f"every template needs a place for the tag, {{}}; got {list(templates)}")
    draw = (rng or np.random.default_rng(0)).integers(0, len(templates), len(tags))
    return [templates[i].replace("{}", tag) for i, tag in zip(draw, tags, strict=True)]


class Tags:
    """Captions made of one tag for each image and a template, drawn anew each time; true of images of the same tag.

    Parameters
    ----------
    tags : sequence of str
        What each image shows.
    templates : sequence of str
        Wordings with a place {} for the tag.
    """

    def __init__(self, tags: Sequence[str], templates: Sequence[str]) -> None:
        self._tags, self._templates = np.asarray(tags), templates

    def __len__(self) -> int:
        return len(self._tags)

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[list[str], NDArray[np.bool_]]:
        """See `CaptionSource`."""
        tags = self._tags[rows]
        return captions_from_tags(tags.tolist(), self._templates, rng), tags[:, None] == tags


class Phrases:
    """Captions made of phrases.

    Parameters
    ----------
    phrases : sequence of sequences of str
        For each image: its name first, then other words for it.
    name_share : float
        How often the caption is the name.
    joined : float
        How often another phrase gets a second one beside it.
    drop, misspell : float
        How often a caption of several words loses one, and how often one of its words is misspelt.

    Examples
    --------
    >>> import numpy as np
    >>> source = Phrases([["red heart", "love"], ["blue heart", "love"]], name_share=0, joined=0, misspell=0)
    >>> captions, true = source.draw(np.array([0, 1]), np.random.default_rng(0))
    >>> captions, true.all()
    (['love', 'love'], np.True_)
    """

    def __init__(
        self,
        phrases: Sequence[Sequence[str]],
        name_share: float = 0.4,
        joined: float = 0.3,
        drop: float = 0.2,
        misspell: float = 0.2,
    ) -> None:
        empty = [row for row, each in enumerate(phrases) if not each or not all(phrase.strip() for phrase in each)]
        if empty:
            raise ValueError(f"image {empty[0]} of {len(phrases)} has no phrase, or an empty one: each needs a name")
        for name, share in (("name_share", name_share), ("joined", joined), ("drop", drop), ("misspell", misspell)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share} is not in [0, 1]")
        self._phrases = [list(each) for each in phrases]
        self._own = [frozenset(each) for each in phrases]
        self._name_share, self._joined, self._drop, self._misspell = name_share, joined, drop, misspell

    def __len__(self) -> int:
        return len(self._phrases)

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[list[str], NDArray[np.bool_]]:
        """See `CaptionSource`."""
        chosen = [self._chosen(self._phrases[row], rng) for row in rows]
        own = [self._own[row] for row in rows]
        true = np.array([[phrases <= each for phrases in map(frozenset, chosen)] for each in own], dtype=np.bool_)
        return [self._worded(phrases, rng) for phrases in chosen], true

    def _chosen(self, phrases: list[str], rng: np.random.Generator) -> list[str]:
        """The phrases of a caption: one, or two."""
        if len(phrases) == 1 or rng.random() < self._name_share:
            return phrases[:1]
        first = int(rng.integers(1, len(phrases)))
        if rng.random() >= self._joined:
            return [phrases[first]]
        return [phrases[first], phrases[int(rng.integers(len(phrases)))]]

    def _worded(self, phrases: list[str], rng: np.random.Generator) -> str:
        words = " ".join(phrases).split()
        if len(words) > 2 and rng.random() < self._drop:
            del words[int(rng.integers(len(words)))]
        if rng.random() < self._misspell:
            place = int(rng.integers(len(words)))
            words[place] = misspelt(words[place], rng)
        return " ".join(words)


def misspelt(word: str, rng: np.random.Generator) -> str:
    """A word with one slip of the pen: two letters exchanged, one left out, doubled or mistaken.

    Words of fewer than four letters stay as they are; the first letter does, too.

    Examples
    --------
    >>> import numpy as np
    >>> [misspelt("elephant", np.random.default_rng(seed)) for seed in (1, 2, 3)]
    ['elepphant', 'elephat', 'elephnat']
    """
    if len(word) < _SHORTEST:
        return word
    place, kind = int(rng.integers(1, len(word) - 1)), int(rng.integers(4))
    before, letter, behind = word[:place], word[place], word[place + 1 :]
    if kind == 0:
        return before + behind[0] + letter + behind[1:]
    if kind == 1:
        return before + behind
    if kind == 2:
        return before + letter + letter + behind
    return before + _LETTERS[int(rng.integers(len(_LETTERS)))] + behind


def nonsense(n: int, rng: np.random.Generator) -> list[str]:
    """Texts of one to three words of three to nine letters each, which mean nothing.

    Examples
    --------
    >>> import numpy as np
    >>> nonsense(2, np.random.default_rng(0))
    ['baevqxn pzsqoo yhvr', 'akw']
    """
    lengths = [rng.integers(3, 10, int(rng.integers(1, 4))) for _ in range(n)]
    return [" ".join("".join(rng.choice(list(_LETTERS), length)) for length in each) for each in lengths]
