"""What can be asked: an image of the catalog, an upload, a part of either, several at once, or words.

    ById(7)                                     what is like image 7
    ByUpload(data)                              what is like this file
    Crop(ById(7), (0.1, 0.2, 0.6, 0.9))         what is like this part of image 7: left, top, right, bottom, in 0..1
    Several((ById(7), ByUpload(data)), unlike=(ById(9),))     like these, and not like that one
    ByText("red shoe")                          where the encoder knows text; elsewhere tags are searched

Each becomes one vector. That of an image is the one in the index, so asking by id embeds nothing. Several are combined
as Rocchio did for texts: the mean of the ones, less a part of the mean of the others.

J. J. Rocchio, Relevance feedback in information retrieval, 1971.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from annlab.durable import DurableIndex
from annlab.encoders.encoder import Encoder
from annlab.encoders.images import decode_image
from annlab.index import Index
from annlab.visual.catalog import Catalog
from annlab.visual.emptiness import what_is_missing
from annlab.visual.facts import Facts
from annlab.visual.paths import from_text
from annlab.visual.sense import Sense
from annlab.visual.viewers import NotFound, QueryError, whole_number

MOST_IMAGES = 16  # in one query of several
LONGEST_TEXT = 500  # characters
_UNLIKE = 0.5  # what "not like this" counts against "like this": more, and the query leaves what was asked for
_FLAT = 1e-6  # of a direction that is left after subtracting: shorter than this it says nothing


@dataclass(frozen=True)
class ById:
    """What is like an image of the catalog."""

    id: int

    def __post_init__(self) -> None:
        if self.id is None:
            raise QueryError("an image is asked for by its number")
        whole_number("the id of an image", self.id)


@dataclass(frozen=True)
class ByUpload:
    """What is like an image that is not in the catalog: the bytes of its file."""

    data: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise QueryError(f"an upload is the bytes of an image file, not {type(self.data).__name__}")


@dataclass(frozen=True)
class Crop:
    """What is like a part of an image: left, top, right and bottom of a box, as shares of its width and height."""

    of: ById | ByUpload
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        if not isinstance(self.of, ById | ByUpload):
            raise QueryError(
                f"a part is one of an image of the catalog or of an upload, not of {type(self.of).__name__}"
            )
        try:
            left, top, right, bottom = box = tuple(float(edge) for edge in self.box)
        except (TypeError, ValueError):
            raise QueryError(f"a box is left, top, right and bottom, not {self.box!r}") from None
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise QueryError(f"a box has 0 <= left < right <= 1 and 0 <= top < bottom <= 1, not {box}")
        object.__setattr__(self, "box", box)


@dataclass(frozen=True)
class ByText:
    """What shows what the words say."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise QueryError("a text has at least one word")
        if len(self.text) > LONGEST_TEXT:
            raise QueryError(f"a text of {len(self.text)} characters; at most {LONGEST_TEXT} are taken")


@dataclass(frozen=True)
class Several:
    """What is like some images, and not like others."""

    like: tuple[ById | ByUpload | Crop | ByText, ...]
    unlike: tuple[ById | ByUpload | Crop | ByText, ...] = ()

    def __post_init__(self) -> None:
        for part in (*self.like, *self.unlike):
            if not isinstance(part, ById | ByUpload | Crop | ByText):
                raise QueryError(f"several queries are combined from single ones, not from {type(part).__name__}")
        if not self.like:
            raise QueryError("say at least one image that the results shall be like")
        if len(self.like) + len(self.unlike) > MOST_IMAGES:
            raise QueryError(
                f"{len(self.like) + len(self.unlike)} images in one query; at most {MOST_IMAGES} are taken"
            )


Query: TypeAlias = ById | ByUpload | Crop | ByText | Several


@dataclass(frozen=True)
class Embedded:
    """A query as a vector (dim,); the images of the catalog that it names, which are no results of it; and, in words,
    why it shows nothing, or nothing that the catalog has the like of."""

    vector: np.ndarray
    named: tuple[int, ...]
    empty: str | None = None


class Embedding:
    """From queries to vectors, for one catalog, index and encoder."""

    def __init__(self, catalog: Catalog, index: DurableIndex | Index, encoder: Encoder,
                 sense: Sense | None = None) -> None:  # fmt: skip
        """`sense` tells uploads that mean something from others; without it, all do but noise and flat colours."""
        self.catalog, self.index, self.encoder, self.sense = catalog, index, encoder, sense

    @property
    def knows_text(self) -> bool:
        """Whether words have a place among the images' vectors."""
        return getattr(self.encoder, "texts", None) is not None

    def of(self, query: Query, visible: np.ndarray, facts: Facts) -> Embedded:
        """The vector of a query.

        Parameters
        ----------
        query : Query
        visible : (n,) bool
            Which images the viewer may see, by their places in `facts`.

        Raises
        ------
        NotFound, QueryError
        """
        if isinstance(query, Several):
            like = [self._one(part, visible, facts) for part in query.like]
            unlike = [self._one(part, visible, facts) for part in query.unlike]
            named = tuple(part.id for part in (*query.like, *query.unlike) if isinstance(part, ById))
            return Embedded(combined(like, unlike), named)
        if isinstance(query, ByUpload | Crop):
            whole = self._pixels(query.of if isinstance(query, Crop) else query, visible, facts)
            pixels = _part(whole, query.box) if isinstance(query, Crop) else whole
            ours = isinstance(query, Crop) and isinstance(query.of, ById)
            return Embedded(self._of_pixels(pixels), (), self._what_is_missing(pixels, whole, ours))
        return Embedded(self._one(query, visible, facts), (query.id,) if isinstance(query, ById) else ())

    def _one(self, query: ById | ByUpload | Crop | ByText, visible: np.ndarray, facts: Facts) -> np.ndarray:
        if isinstance(query, ById):
            return self._stored(query.id, visible, facts)
        if isinstance(query, ByText):
            if not self.knows_text:
                raise QueryError("the encoder of this catalog knows no text: words cannot be combined with images")
            texts: Any = self.encoder.texts  # type: ignore[attr-defined]
            return _answered(lambda: texts.encode([query.text])[0])
        return self._of_pixels(self._pixels(query, visible, facts))

    def _of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        return _answered(lambda: self.encoder.encode([pixels])[0])

    def _stored(self, id: int, visible: np.ndarray, facts: Facts) -> np.ndarray:
        """The vector of an image of the catalog; of a duplicate that of the image whose picture it shows."""
        leader = facts.leader_of(id, visible)
        if leader is None:
            raise NotFound(f"there is no image {id}")
        try:
            vector: np.ndarray = self.index.vectors([leader])[0]
        except (KeyError, ValueError):
            raise QueryError(f"image {id} is not in the index yet: search again in a moment") from None
        return vector

    def _what_is_missing(self, pixels: np.ndarray, whole: np.ndarray, ours: bool) -> str | None:
        """Why a picture shows nothing, or nothing that the catalog has the like of; a part of one is judged by the
        whole, too, and a part of an image of the catalog means something."""
        empty = what_is_missing(pixels)
        if empty is not None or ours or self.sense is None or self.sense.has(whole) or self.sense.has(pixels):
            return empty
        return "it looks unlike all pictures here, as a drawing, a pattern or a page of text does"

    def _pixels(self, query: ById | ByUpload | Crop, visible: np.ndarray, facts: Facts) -> np.ndarray:
        if isinstance(query, Crop):
            return _part(self._pixels(query.of, visible, facts), query.box)
        if isinstance(query, ById):
            return self._file(query.id, visible, facts)
        return _answered(lambda: decode_image(query.data, "the upload"))

    def _file(self, id: int, visible: np.ndarray, facts: Facts) -> np.ndarray:
        """The pixels of an image of the catalog."""
        if facts.leader_of(id, visible) is None:
            raise NotFound(f"there is no image {id}")
        try:
            path = self.catalog.image(id).path
        except KeyError:
            raise NotFound(f"there is no image {id}") from None
        if path is None:
            raise QueryError(f"image {id} has no file, so no part of it can be searched")
        try:
            return _answered(lambda: decode_image(from_text(path), f"the file of image {id}"))
        except OSError as error:
            raise QueryError(f"the file of image {id} cannot be read ({error.strerror})") from None


def _part(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    x, y = int(left * width), int(top * height)
    return np.ascontiguousarray(pixels[y : max(y + 1, math.ceil(bottom * height)),
                                       x : max(x + 1, math.ceil(right * width))])  # fmt: skip


def combined(like: list[np.ndarray], unlike: list[np.ndarray]) -> np.ndarray:
    """One direction (dim,) float32 of length 1: the mean of some directions, less a part of the mean of others."""
    total = np.mean([_direction(vector) for vector in like], axis=0)
    if unlike:
        total = total - _UNLIKE * np.mean([_direction(vector) for vector in unlike], axis=0)
    length = float(np.linalg.norm(total))
    if length < _FLAT:
        raise QueryError("these images cancel each other out: nothing is left to search for")
    result: np.ndarray = (total / length).astype(np.float32)
    return result


def _answered(ask: Callable[[], np.ndarray]) -> np.ndarray:
    """What a decoder or encoder answers; what it complains of is the query."""
    try:
        return ask()
    except MemoryError:
        raise QueryError("decoding this image takes more memory than there is: make it smaller") from None
    except ValueError as error:
        raise QueryError(str(error)) from None


def _direction(vector: np.ndarray) -> np.ndarray:
    wide = vector.astype(np.float64)
    result: np.ndarray = wide / max(float(np.linalg.norm(wide)), 1e-300)
    return result
