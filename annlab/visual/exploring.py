"""An exploration slot: now and then one place of a first page shows a picture that is ranked farther behind.

What is never shown on top is never known to belong there, and from a log of one ranking nobody can tell what stands in
a good place from what is good. So a share of the lists explores: a place of the page is drawn evenly, and a rank behind
it, as far as candidates were ranked among each other; the two pictures change places. The chance of just this exchange,
its *propensity*, is stored with the list, and so are the share, the places and the ranks of every list that might have
explored, since their not exploring is evidence, too:

    {"explore": {"share": 0.1, "places": 20, "among": 80, "position": 3, "rank": 31, "propensity": 0.0000649}}

`examining.py` reads it.
"""

import random
from typing import Any

from annlab.visual.examining import EXPLORE
from annlab.visual.ranked import Ranked


class Explore:
    """The last stage of one search: it may exchange two candidates of the first window.

    Parameters
    ----------
    share : float
        Of the lists that explore, 0..1.
    places : int
        Of the page.
    chance : random.Random

    Attributes
    ----------
    details : dict
        What is to be stored with the list; empty before the stage was called.
    """

    def __init__(self, share: float, places: int, chance: random.Random) -> None:
        self._share, self._places, self._chance = share, places, chance
        self.details: dict[str, Any] = {}

    def __call__(self, ranked: Ranked) -> Ranked:
        n = len(ranked.candidates)
        places = min(self._places, n - 1)
        if self.details or places < 1:
            return ranked
        self.details = {"share": self._share, "places": places, "among": n}
        if self._chance.random() >= self._share:
            return ranked
        place = self._chance.randrange(places)
        behind = self._chance.randrange(place + 1, n)
        self.details |= {"position": place + 1, "rank": behind + 1,
                         "propensity": self._share / places / (n - 1 - place)}  # fmt: skip
        order = list(range(n))
        order[place], order[behind] = behind, place
        return ranked.in_order(order, EXPLORE)
