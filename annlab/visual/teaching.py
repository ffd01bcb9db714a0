"""Training points from a catalog: what people clicked, or judged, as pairs of its pictures.

A training point is one query, one positive and some negatives. From *clicks*, a pair is drawn by how likely it is
clicked once it is looked at: a click at a position that few look at counts more (inverse propensities), and what was
looked at and not clicked is a hard negative (`encoders/pairs.py`). How likely positions are looked at is taken from
exploration where the service explores, else from pairs that stood at several positions. From *judgements*, a pair is
drawn by its grade, and grade 0 is a hard negative.

Half of the points are pictures beside themselves, as in training without any of this: most pictures were never clicked,
and the encoder has to know them, too. Only public pictures whose files are there are learned from, and of what one
person was shown of a picture only some showings count (`click_rates.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from annlab.encoders.image_sets import ImageSet
from annlab.encoders.pairs import AugmentationPairs, ClickPairs, JudgementPairs, MixedPairs, PairSource
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.click_rates import MOST_OF_ONE
from annlab.visual.examining import read_examination
from annlab.visual.interactions import InteractionArrays, read_interactions
from annlab.visual.judging import read_judgements
from annlab.visual.offline import leaders_of
from annlab.visual.paths import from_text

Kind = Literal["clicks", "judgements"]


class Lesson(NamedTuple):
    """Pictures, and from the rows of those that could be read the source of training points."""

    images: ImageSet
    source: Callable[[np.ndarray], PairSource]


class Pairs(NamedTuple):
    """Pairs of images by their ids: a grade of each, or a position and whether it was clicked."""

    query: np.ndarray
    other: np.ndarray
    value: np.ndarray
    position: np.ndarray | None = None


def lesson(catalog: Catalog, kind: Kind, name: str) -> Lesson:
    """What a catalog has to teach.

    Parameters
    ----------
    catalog : Catalog
    kind : "clicks" or "judgements"
    name : str
        Of the catalog, for messages.

    Raises
    ------
    CatalogError
        Nothing was clicked or judged, or of no two pictures that can be read.
    """
    pairs = _clicked(read_interactions(catalog)) if kind == "clicks" else _judged(catalog)
    leaders = leaders_of(catalog, {int(id) for id in (*pairs.query, *pairs.other)})
    found = [image for image in catalog.find(kind="image", status="indexed") if image.path and not image.private]
    files = {image.id: Path(from_text(image.path or "")) for image in found}
    rows = {id: row for row, id in enumerate(id for id, file in files.items() if file.is_file())}
    query, other = (np.array([rows.get(leaders.get(int(id), -1), -1) for id in ids], np.int64)
                    for ids in (pairs.query, pairs.other))  # fmt: skip
    usable = (query >= 0) & (other >= 0) & (query != other)
    if not (usable & (pairs.value > 0)).any():
        raise CatalogError(f"{name} has no {kind} to learn from: of {len(pairs.query)} pairs none that is similar has "
                           "two public pictures whose files are there")  # fmt: skip
    looks = _looks(catalog, pairs.position[usable]) if pairs.position is not None else None
    kept = Pairs(query[usable], other[usable], pairs.value[usable],
                 None if pairs.position is None else pairs.position[usable])  # fmt: skip
    paths = [files[id] for id in rows]
    identity = hashlib.sha256(repr([(str(path), path.stat().st_size) for path in paths]).encode()).hexdigest()
    images = ImageSet(name, paths, [str(path) for path in paths], None, identity)
    return Lesson(images, lambda read: _source(kept, looks, read, len(paths)))


def _source(pairs: Pairs, looks: np.ndarray | None, read: np.ndarray, n_images: int) -> PairSource:
    """Half of the points from pairs, half from augmentation; rows are those of the pictures that could be read."""
    place = np.full(n_images, -1)
    place[read] = np.arange(len(read))
    query, other = place[pairs.query], place[pairs.other]
    there = (query >= 0) & (other >= 0)
    query, other, value = query[there], other[there], pairs.value[there]
    source: PairSource
    if pairs.position is None:
        source = JudgementPairs(query, other, value, len(read))
    else:
        source = ClickPairs(query, other, pairs.position[there], value.astype(np.int64), len(read), looks)
    return MixedPairs([AugmentationPairs(len(read)), source], [1, 1])


def _judged(catalog: Catalog) -> Pairs:
    found = read_judgements(catalog)
    times = np.diff(found.offsets)
    return Pairs(np.repeat(found.query_ids, times), found.ids, found.grades)


def _clicked(log: InteractionArrays) -> Pairs:
    """One row for every showing; those of one person of a picture beyond some are left out."""
    shown = ~log.clicked
    keys = np.stack([log.result_list_ids, log.displayed_ids], axis=1)
    hits = {tuple(key) for key in keys[log.clicked].tolist()}
    clicked = np.array([tuple(key) in hits for key in keys[shown].tolist()], bool)
    users, displayed = log.user_ids[shown], log.displayed_ids[shown]
    order = np.lexsort((displayed, users))
    starts = np.ones(len(order), bool)
    starts[1:] = (np.diff(users[order]) != 0) | (np.diff(displayed[order]) != 0)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    times = np.empty(len(order), np.int64)
    times[order] = np.arange(len(order)) - first
    kept = (users < 0) | (times < MOST_OF_ONE)
    return Pairs(log.query_ids[shown][kept], displayed[kept], clicked[kept].astype(float), log.positions[shown][kept])


def _looks(catalog: Catalog, positions: np.ndarray) -> np.ndarray | None:
    """How likely each position is looked at, from exploration; None where that says nothing of some position."""
    found = read_examination(catalog, n_resamples=1)
    width = int(positions.max())
    if found is None or len(found.shares) < width:
        return None
    shares: np.ndarray = found.shares[:width]
    return np.maximum(shares, 1e-3) if np.isfinite(shares).all() else None
