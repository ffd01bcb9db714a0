"""Candidates for judging, pooled: what several rankers find, and some that none found.

Judging the results of one ranker alone would favour it for ever: what only another finds would count as irrelevant. So
the nearest of several rankers go into one pool (as TREC does), and a few images drawn by chance, which tell whether
judges give high grades to anything.

    results     the ranking as searches show it
    nearest     the nearest vectors, without re-ranking
    colours     the nearest by a histogram of colours: knows nothing of the encoder
    chance      drawn
"""

import numpy as np

from annlab.encoders.images import decode_image
from annlab.visual.catalog import Image
from annlab.visual.schema import INDEXED
from annlab.visual.search import ById, Filters, QueryError
from annlab.visual.service.browsing import some
from annlab.visual.service.core import Service
from annlab.visual.service.keys import Person
from annlab.visual.shown import listed

_CHANCE, _COLOURED, _LEVELS = 3, 60, 4


def pool(service: Service, person: Person, query: Image, depth: int) -> list[Image]:
    """Images to judge for a query, each once, in the order of their ids."""
    found: dict[int, Image] = {}
    viewer, form = service.viewer(person), service.form(query)
    for exact in (False, True):
        try:
            answer = service.search.search(form, k=depth, viewer=viewer, cutoff=0.0, exact=exact)
        except QueryError:
            continue
        found |= {image.id: image for image in service.images([result.id for result in answer.results], person)}
    vector = service.search.vector(query.id, viewer) if isinstance(form, ById) else None
    if vector is not None:
        ids = service.search.index.search(vector, k=depth + 1, allowed=service.search.allowed(viewer, Filters())).ids
        shown, keys = listed(service.search.facts(), viewer, Filters())
        near = service.images(shown[np.isin(keys, ids)].tolist(), person)
        found |= {image.id: image for image in near if image.status == INDEXED}
    drawn = some(service, person, _COLOURED, query.id, Filters())
    found |= {image.id: image for image in drawn[:_CHANCE]}
    found |= {image.id: image for image in _by_colour(service, query, drawn)[: depth // 2]}
    found.pop(query.id, None)
    return [found[id] for id in sorted(found)]


def _by_colour(service: Service, query: Image, among: list[Image]) -> list[Image]:
    """Some images, those of the most similar colours first; those that cannot be read are left out."""
    own = _colours(service, query)
    if own is None:
        return []
    apart = [(float(np.abs(own - colours).sum()), image) for image in among
             if (colours := _colours(service, image)) is not None]  # fmt: skip
    return [image for _, image in sorted(apart, key=lambda pair: pair[0])]


def _colours(service: Service, image: Image) -> np.ndarray | None:
    """The shares of 64 colours."""
    try:
        pixels = decode_image(service.thumbnails.of(image).data)
    except (OSError, ValueError):
        return None
    levels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(np.int64) * _LEVELS // 256
    codes = levels @ np.array([_LEVELS**2, _LEVELS, 1])
    counts = np.bincount(codes.ravel(), minlength=_LEVELS**3)
    return np.asarray(counts / counts.sum())
