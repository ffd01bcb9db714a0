"""What somebody decided of two images: duplicates, or not. It is remembered and stands above what pictures say.

    decide(catalog, 12, 15, duplicates=False, judge="ann")     # 12 and 15 are never in one group again
    Indexer(catalog, index, encoder).run()                     # looks again at what is in the wrong group now

A group is its leader and those that are folded under it. "Not duplicates" keeps the two out of one group, be one of
them the leader or not; "duplicates" brings the later one into the group of the earlier. A decision never opens what is
private: two images of which not everybody may see both stay apart whatever was decided.
"""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, select

from annlab.visual.catalog import Catalog, CatalogError, Image
from annlab.visual.schema import DUPLICATE, INDEXED, decisions
from annlab.visual.upsert import upsert


def decide(catalog: Catalog, one: int, other: int, *, duplicates: bool, judge: str,
           connection: Connection | None = None) -> list[int]:  # fmt: skip
    """Remember a decision on two images; a later one takes its place.

    Returns
    -------
    list of int
        The images that are in the wrong group now: they are pending, for the next run of the indexer.

    Raises
    ------
    CatalogError
        The two are one image, or one of them is not in the catalog.
    """
    if one == other:
        raise CatalogError(f"a decision is about two images, and both are {one}")
    with catalog.writing(connection) as active:
        found = {image.id: image for image in catalog.find(ids=[one, other], kind="image", connection=active)}
        for id in (one, other):
            if id not in found:
                raise CatalogError(f"image {id} is not in the catalog, or was deleted")
        first, second = (found[id] for id in sorted(found))
        row = {"first_image_id": first.id, "second_image_id": second.id, "duplicates": duplicates, "judge": judge,
               "decided_at": catalog.now(), "similarity": None}  # fmt: skip
        upsert(active, decisions, [row])
        leaders = [group_of(first), group_of(second)]
        together = None not in leaders and leaders[0] == leaders[1]
        if None in leaders or together == duplicates:
            return []
        wrong = first if not duplicates and second.status == INDEXED else second  # a leader stays
        catalog.mark_pending([wrong.id], connection=active)
        return [wrong.id]


def group_of(image: Image) -> int | None:
    """The leader of the group that an image is in, maybe itself; None if it is in none yet."""
    return image.id if image.status == INDEXED else image.duplicate_of if image.status == DUPLICATE else None


class Decisions:
    """All decisions of a catalog, at the time of `read`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._of: dict[int, dict[int, bool]] = {}

    def read(self) -> None:
        """Take in what was decided until now."""
        of: defaultdict[int, dict[int, bool]] = defaultdict(dict)
        with self._catalog.database.reading() as connection:
            for row in connection.execute(select(decisions)).mappings():
                one, other = row["first_image_id"], row["second_image_id"]
                of[one][other] = of[other][one] = row["duplicates"]
        self._of = dict(of)

    def on(self, one: int, other: int) -> bool | None:
        """What was decided of two images; None if nothing was."""
        return self._of.get(one, {}).get(other)

    def groups(self, id: int, *, duplicates: bool, joining: Mapping[int, int]) -> list[int]:
        """The leaders of the groups of all images of which it was decided that this one is, or is not, a duplicate;
        `joining` are leaders of images that are about to be written."""
        partners = [other for other, said in self._of.get(id, {}).items() if said == duplicates]
        if not partners:
            return []
        found = self._catalog.find(ids=partners, kind="image")
        leaders = (joining.get(image.id, group_of(image)) for image in found)
        return sorted({leader for leader in leaders if leader is not None and leader != id})
