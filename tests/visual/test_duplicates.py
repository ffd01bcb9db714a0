"""Same picture or not: precision and recall on pairs that are drawn here, and groups of bounded diameter."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from annlab.visual import pictures
from annlab.visual.duplicates import SamePictures
from tests.visual.drawings import drawing, encoded, variant


def thumb_of(image):
    return pictures.thumbnail(np.asarray(image))


def grouped(thumbs, decided=lambda one, other: None):
    """The leader of every picture, in the order in which they come; its own number for a picture of its own."""
    same, leaders = SamePictures(lambda id: thumbs[id], decided), []
    for start in range(0, len(thumbs), 50):
        ids = list(range(start, min(start + 50, len(thumbs))))
        sketches = [pictures.sketch(thumbs[id]) for id in ids]
        for id, leader, sketch in zip(
            ids, same.leaders_of(ids, [thumbs[id] for id in ids], sketches), sketches, strict=True
        ):
            leaders.append(id if leader is None else leader)
            if leader is None:
                same.add({id: sketch})
    return leaders


def test_files_of_one_picture_are_found_and_others_are_not():
    rng = np.random.default_rng(0)
    originals = [drawing(rng) for _ in range(120)]
    thumbs = [thumb_of(image) for image in originals] + [thumb_of(variant(image, rng)) for image in originals]
    leaders = grouped(thumbs)
    said = [(id, leader) for id, leader in enumerate(leaders) if leader != id]
    right = [(id, leader) for id, leader in said if id - 120 == leader]
    assert len(right) >= 0.99 * len(said), "precision"
    assert len(right) >= 0.95 * 120, "recall"


def test_another_colour_is_another_picture():
    rng = np.random.default_rng(1)
    image = drawing(rng)
    red, green, blue = image.split()
    swapped = Image.merge("RGB", (green, blue, red))
    assert pictures.difference(thumb_of(image), thumb_of(swapped)) > pictures.SAME
    assert pictures.difference(thumb_of(image), thumb_of(encoded(image, 40))) < pictures.SAME


def test_a_chain_of_small_steps_does_not_become_one_group(full):
    """Pictures that are each a little different from the one before: the first and the last have nothing in common.
    All members of a group are as near to its leader as two files of one picture."""
    rng = np.random.default_rng(2)
    stops = [np.asarray(drawing(rng).resize((96, 96)), np.float32) for _ in range(6)]
    frames = [
        (1 - share) * one + share * other
        for one, other in pairwise(stops)
        for share in np.linspace(0, 1, 200 if full else 30, endpoint=False)
    ]
    thumbs = [pictures.thumbnail(frame.astype(np.uint8)) for frame in frames]
    leaders = grouped(thumbs)
    sizes = np.bincount(leaders)
    assert len(np.flatnonzero(sizes)) >= 10, "many groups"
    for id, leader in enumerate(leaders):
        if id != leader:
            assert pictures.difference(thumbs[leader], thumbs[id]) < pictures.SAME


def test_what_somebody_decided_stands_above_the_pictures():
    rng = np.random.default_rng(3)
    one, other = drawing(rng), drawing(rng)
    thumbs = [thumb_of(one), thumb_of(encoded(one)), thumb_of(other)]
    assert grouped(thumbs) == [0, 0, 2]
    assert grouped(thumbs, lambda a, b: False) == [0, 1, 2]
    assert grouped(thumbs, lambda a, b: True if {a, b} == {0, 2} else None) == [0, 0, 0]


@pytest.mark.parametrize("level", [0, 130, 255])
def test_flat_pictures_are_told_apart_by_their_colour(level):
    flat = np.full((40, 60, 3), level, np.uint8)
    near = np.minimum(flat, 254) + np.uint8(1)
    far = flat + np.uint8(60) if level < 200 else flat // 2
    thumbs = [pictures.thumbnail(pixels) for pixels in (flat, near, far)]
    assert pictures.difference(thumbs[0], thumbs[1]) < pictures.SAME < pictures.difference(thumbs[0], thumbs[2])


def test_a_sketch_survives_as_text():
    sketch = pictures.sketch(thumb_of(drawing(np.random.default_rng(4))))
    again = pictures.from_text(pictures.to_text(sketch))
    assert np.linalg.norm(again - sketch) < 0.05
    with pytest.raises(ValueError):
        pictures.from_text("AAAA")
