"""Whether a text means something to an encoder: whether it is made of words that the encoder was taught.

A text encoder puts any row of letters near *something*, and of made-up words one in ten lies where words lie. How they
are written tells more. So a calibration (`relevance.py`) may keep the words that its encoder has learned from, and a
text means something if at least half of its words are among them, or are like one of them: a word with another ending
still shares most of its pieces with one that was taught, and one that is misspelt is equal to it but for a slip of the
pen. Made-up words seldom are.

    pieces of a word    the pairs and the triples of letters in ``<word>``
    how like two are    the shares of their pieces that they have in common, of pairs and of triples, their mean
    a slip              two longer words are equal once a letter is left out, of one or of both: so a letter may be
                        wanting, doubled, mistaken or exchanged with the next, and no word is compared with all others

A word of the tags that the viewer sees counts as one that is known: whoever asks for it means these.

What it cannot do: a word of another language that is written much as a taught one is taken for it.

L. R. Dice, Measures of the amount of ecologic association between species, 1945. T. Bocek, E. Hunt, B. Stiller, Fast
similarity search in large dictionaries, 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np

from annlab.visual.facts import words_of

_ALIKE = 0.62  # more refuses words with a slip of the pen, less takes what can be pronounced for a word
_HALF = 0.5
_SHORT = 3  # letters: of fewer before an s, it is seldom a plural
_LONG = 5  # letters of a taught word that may be misspelt: of fewer, any row of letters is a slip away from some word
_LONGEST = 40  # letters of a word that is compared with others


class Wording:
    """Words, and what is like them."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(sorted(set(words)))
        self._known = frozenset(self.words)

    def says_something(self, text: str, known: Callable[[str], bool] = lambda word: False) -> bool:
        """Whether enough words of a text are known: here, or as a function says."""
        words = words_of(text)
        said = (self.has(word) or self.has_like(word) or known(word) for word in words)
        return sum(said) >= _HALF * len(words)

    def has(self, word: str) -> bool:
        """Whether a word was taught, or is the plural of one, which is little like a short one."""
        return word in self._known or (len(word) > _SHORT and word.removesuffix("s") in self._known)

    def has_like(self, word: str) -> bool:
        """Whether some word is like this one."""
        if len(word) > _LONGEST or not self.words:
            return False
        return not self._slips.isdisjoint(_shorter(word)) or float(self.likeness(word).max()) >= _ALIKE

    def likeness(self, word: str) -> np.ndarray:
        """How like every word (n,) is to this one, 0..1."""
        result = np.zeros(len(self.words))
        for n, (places_of, sizes) in self._pieces.items():
            pieces = _pieces(word, n)
            places = [places_of[piece] for piece in pieces if piece in places_of]
            if places:
                shared = np.bincount(np.concatenate(places), minlength=len(result))
                result += shared / (sizes + len(pieces))
        return result

    @cached_property
    def _slips(self) -> set[str]:
        """Longer words, whole and with a letter left out."""
        return {each for word in self.words if len(word) >= _LONG for each in _shorter(word)}

    @cached_property
    def _pieces(self) -> dict[int, tuple[dict[str, np.ndarray], np.ndarray]]:
        """For pairs and triples: the places of the words that hold each, and how many each word has (n,)."""
        found = {}
        for n in (2, 3):
            own = [_pieces(word, n) for word in self.words]
            having: dict[str, list[int]] = {}
            for place, pieces in enumerate(own):
                for piece in pieces:
                    having.setdefault(piece, []).append(place)
            places_of = {piece: np.array(places) for piece, places in having.items()}
            found[n] = places_of, np.array([len(pieces) for pieces in own])
        return found

    # ---- files

    def to_bytes(self) -> np.ndarray:
        """As an array of a file."""
        return np.frombuffer("\n".join(self.words).encode(), np.uint8)

    @classmethod
    def from_bytes(cls, content: np.ndarray) -> Wording:
        """What `to_bytes` gave; a ValueError says what is wrong."""
        if content.dtype != np.uint8 or content.ndim != 1:
            raise ValueError(f"the words are bytes, not {content.dtype} {content.shape}")
        words = content.tobytes().decode().split("\n")
        if any(words_of(word) != [word] for word in words):
            raise ValueError("what is kept as words holds something else")
        return cls(words)


def _shorter(word: str) -> set[str]:
    """A word, and all that is left of it without one of its letters."""
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


def _pieces(word: str, n: int) -> set[str]:
    framed = f"<{word}>"
    return {framed[start : start + n] for start in range(len(framed) - n + 1)}
