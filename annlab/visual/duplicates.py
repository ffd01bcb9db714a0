"""Duplicates in three grades: the same bytes, the same picture, and similar pictures.

    same bytes      equal SHA-256 of the files: certain, and free
    same picture    re-encoded, resized or slightly cropped (`pictures.py`); found when an image is indexed
    similar         near each other for the encoder: two shirts of one cut. A matter of taste, so these are shown
                    together where somebody asks for it, and never marked as duplicates

A group has a *leader*, the image that was there first, and an image joins a group only if it shows the same picture as
the leader. So no group has a diameter of more than twice what two files of one picture may differ by: a chain of a
thousand pictures, each a little different from the one before, becomes many groups. An image without duplicates is in
no group.

No group crosses privacy: an image is folded under another one only if whoever may see it may see that one, too. Else it
would tell, by vanishing, that somebody has the same picture.

What somebody decided is remembered (decisions.py) and stands above what pictures say.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from annlab.visual import pictures
from annlab.visual.sketches import Sketches, distances

_LOOKED_AT = 3  # candidates for one picture


class SamePictures:
    """The sketches of all leaders, and the search for the one whose picture an image shows.

    Parameters
    ----------
    thumbnail_of : function of an id
        The thumbnail of a leader, read again from its file; None if that cannot be read any more.
    decided : function of two ids
        True or False where somebody has decided whether two images are duplicates, None where nobody has.
    may_join : function of two ids
        Whether the first image may be folded under the second, if they show the same picture.
    """

    def __init__(self, thumbnail_of: Callable[[int], np.ndarray | None],
                 decided: Callable[[int, int], bool | None] = lambda one, other: None,
                 may_join: Callable[[int, int], bool] = lambda one, other: True) -> None:  # fmt: skip
        self._thumbnail_of, self._decided, self._may_join = thumbnail_of, decided, may_join
        self._sketches = Sketches()

    def add(self, sketches: Mapping[int, np.ndarray]) -> None:
        """Make leaders known, by id; one that is known gets its new sketch."""
        self._sketches.add(sketches)

    def remove(self, ids: Iterable[int]) -> None:
        """Forget leaders; those that are not there are left out."""
        self._sketches.remove(ids)

    def leaders_of(self, ids: Sequence[int], thumbs: Sequence[np.ndarray],
                   sketches: Sequence[np.ndarray]) -> list[int | None]:  # fmt: skip
        """For each image the leader whose picture it shows, or None: then it is a picture of its own.

        The leaders are those that are known, and the images of this call that come before and are pictures of their
        own; these are not made known, which is for `add` once they are indexed.
        """
        together = np.stack(sketches)
        found = self._sketches.near(together, _LOOKED_AT + 1, pictures.NEAR)  # an image may be known itself
        among = distances(together)
        leaders: list[int | None] = []
        own: list[int] = []  # places of the pictures of their own, so far
        for place, id in enumerate(ids):
            near = [(apart, other) for apart, other in found[place] if other != id]
            near += sorted((float(among[place, other]), ids[other]) for other in own)[:_LOOKED_AT]
            new = {ids[other]: thumbs[other] for other in own}
            leader = self._chosen(id, thumbs[place], sorted(near), new)
            leaders.append(leader)
            if leader is None:
                own.append(place)
        return leaders

    def _chosen(self, id: int, thumb: np.ndarray, near: Sequence[tuple[float, int]],
                new: Mapping[int, np.ndarray]) -> int | None:  # fmt: skip
        """The first of some candidates, nearest first, whose picture an image shows."""
        looked_at = 0
        for distance, leader in near:
            said = self._decided(id, leader)
            if said is not None:
                if said and self._may_join(id, leader):
                    return leader
                continue
            if distance > pictures.NEAR or looked_at == _LOOKED_AT:
                return None
            known = new[leader] if leader in new else self._thumbnail_of(leader)
            looked_at += 1
            if known is not None and pictures.difference(known, thumb) < pictures.SAME and self._may_join(id, leader):
                return leader
        return None
