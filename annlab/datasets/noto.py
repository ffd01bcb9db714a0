"""The packaged coloured set: 3,786 emoji of 64 x 64 pixels, with names, groups and keywords.

Noto's drawings of Unicode's emoji (Apache-2.0), on white. Small enough to ship, and pleasant to search in: faces,
animals, food, flags, and 323 drawings of people and hands in up to 26 skin tones. What one picture is relevant to can
be asked in three ways, from strict to generous: the same drawing in another tone (``drawings``), the same sub-group
("animal mammal", "face smiling"; ``labels``), the same group (``groups``).

A drawing in several tones is stored once, as a map of colour numbers, and each tone as a palette: ``benchmarks/
package_emoji.py`` makes both files and says what this costs. The names are Unicode's ("grinning face", "flag of Japan",
"waving hand: dark skin tone"), the keywords emojilib's. Sources and licences: annlab/data/README.md.
"""

import io
import zipfile
from importlib import resources
from typing import NamedTuple

import numpy as np

NAME = "emoji"
SIDE = 64
PICTURES_FILE = "noto-emoji-64.npz"
TABLE_FILE = "noto-emoji.tsv"
COLUMNS = ("code", "drawing", "name", "group", "subgroup", "keywords")


class Emoji(NamedTuple):
    """Pictures with what is known of them, row by row; ``class_names[labels[row]]`` is the sub-group of a picture.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 64, 64, 3)
    labels : ndarray of int64, shape (n,)
        The sub-group, a place in ``class_names``.
    class_names : tuple of str
        Ninety-nine sub-groups.
    names : tuple of str
        What each picture shows; no two are alike.
    keywords : tuple of tuple of str
        Other words for it; those of a drawing are the same in all skin tones.
    groups : tuple of str
        The group that the sub-group belongs to, such as "Animals & Nature".
    drawings : ndarray of int64, shape (n,)
        Pictures with one number are one drawing in several skin tones.
    codes : tuple of str
        Code points in hexadecimal, such as "1F44B-1F3FB".
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    drawings: np.ndarray
    codes: tuple[str, ...]

    def phrases(self) -> list[tuple[str, ...]]:
        """What may be said of each picture: its name; for a skin tone the drawing's own name; kind; and keywords."""
        own = [name.partition(":")[0] for name in self.names]
        kinds = [(self.class_names[label], group.lower()) for label, group in zip(self.labels, self.groups)]
        rows = zip(self.names, own, kinds, self.keywords)
        return [tuple(dict.fromkeys((name, base, *kind, *words))) for name, base, kind, words in rows]


def emoji() -> Emoji:
    """Read the packaged pictures: some 0.3 s, and 47 MB of memory.

    Returns
    -------
    Emoji

    Raises
    ------
    ValueError
        The files are damaged, or not of one another.

    Examples
    --------
    >>> pictures = emoji()
    >>> pictures.images.shape, pictures.names[0], pictures.class_names[pictures.labels[0]]
    ((3786, 64, 64, 3), 'grinning face', 'face smiling')
    """
    folder = resources.files("annlab") / "data"
    table = _read_table((folder / TABLE_FILE).read_text(encoding="utf-8"))
    codes, drawings, names, groups, subgroups, words = (tuple(row[column] for row in table) for column in range(6))
    drawing = np.array(drawings, dtype=np.int64)
    with resources.as_file(folder / PICTURES_FILE) as path:
        images = _read_pictures(path.read_bytes(), drawing)
    class_names, labels = np.unique(subgroups, return_inverse=True)
    first = {number: row for row, number in reversed(list(enumerate(drawings)))}
    keywords = tuple(tuple(word for word in words[first[number]].split("; ") if word) for number in drawings)
    return Emoji(images, labels.astype(np.int64), tuple(class_names.tolist()), names, keywords, groups, drawing, codes)


def _read_table(text: str) -> list[list[str]]:
    lines = [line.split("\t") for line in text.splitlines()]
    wrong = [number for number, line in enumerate(lines, 1) if len(line) != len(COLUMNS)]
    if not lines or tuple(lines[0]) != COLUMNS or wrong or not all(line[1].isdecimal() for line in lines[1:]):
        raise ValueError(
            f"{TABLE_FILE} is damaged: it must have the columns {', '.join(COLUMNS)}, see lines {wrong[:3]}"
        )
    return lines[1:]


def _read_pictures(content: bytes, drawing: np.ndarray) -> np.ndarray:
    """Colour the maps: (n, 64, 64, 3) uint8."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            maps, colours, sizes = file["maps"], file["colours"], file["sizes"]
    except (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{PICTURES_FILE} is damaged: {error}") from error
    kinds = [(maps, 3, "u1"), (colours, 2, "u1"), (sizes, 1, "i4")]
    if any(array.ndim != axes or array.dtype != kind for array, axes, kind in kinds) or len(colours) != 3:
        shapes = ", ".join(f"{array.dtype} {array.shape}" for array, *_ in kinds)
        raise ValueError(f"{PICTURES_FILE} is damaged: its parts are {shapes}")
    if sizes.min(initial=0) < 0:
        raise ValueError(f"{PICTURES_FILE} is damaged: it has palettes of {sizes.min()} to {sizes.max()} colours")
    if len(sizes) != len(drawing) or drawing.max() >= len(maps) or sizes.sum() != colours.shape[1]:
        raise ValueError(
            f"{PICTURES_FILE} holds {len(maps)} maps, {len(sizes)} palettes and {colours.shape[1]} colours, but "
            f"{TABLE_FILE} names {len(drawing)} pictures of {int(drawing.max()) + 1} drawings"
        )
    images = np.empty((len(drawing), *maps.shape[1:], 3), dtype=np.uint8)
    palettes, ends, largest = colours.T, np.cumsum(sizes), maps.max(axis=(1, 2))
    for row, (end, size) in enumerate(zip(ends.tolist(), sizes.tolist())):
        if largest[drawing[row]] >= size:
            raise ValueError(
                f"{PICTURES_FILE} is damaged: it names colour {largest[drawing[row]]} of a palette of {size}"
            )
        images[row] = palettes[end - size : end][maps[drawing[row]]]
    return images
