"""The folders that a photograph lies in as its tags, where somebody wants that.

    photos/animals/dogs/rex.jpg  -->  animals, dogs        (of the folder photos)

The first of them, the top folder, is what encoders learn from as the label. A photograph that moves loses the tags of
its old folders and gets those of the new ones; tags that were given by hand stay. It has to be asked for, since whoever
searches reads tags: a catalog remembers that it was.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert, select

from annlab.visual.catalog import Catalog
from annlab.visual.schema import settings

_SETTING = "folder tags"


def has_folder_tags(catalog: Catalog) -> bool:
    """Whether the photographs of a catalog are tagged by their folders."""
    with catalog.database.reading() as connection:
        return connection.scalar(select(settings.c.value).where(settings.c.name == _SETTING)) is not None


def want_folder_tags(catalog: Catalog) -> None:
    """From now on; photographs that are known already keep their tags."""
    if not has_folder_tags(catalog):
        with catalog.writing() as connection:
            connection.execute(insert(settings), {"name": _SETTING, "value": "yes"})


def tags_of(root: Path, path: Path) -> tuple[str, ...]:
    """The names of the folders between a folder and a file under it, each once, the top one first."""
    names = (name.encode("utf-8", "replace").decode().strip() for name in path.relative_to(root).parts[:-1])
    return tuple(dict.fromkeys(name for name in names if name))


def moved(tags: Sequence[str], before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """The tags of a photograph that was under some folders before, and is under others now."""
    return tuple(dict.fromkeys([*after, *(tag for tag in tags if tag not in before)]))
