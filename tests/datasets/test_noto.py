"""The packaged coloured pictures: what is there, and files that do not belong together."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

from annlab import datasets
from annlab.datasets import noto as module

DATA = Path(datasets.__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def pictures():
    return datasets.emoji()


def test_every_picture_has_a_name_of_its_own_and_a_place_among_the_kinds(pictures):
    n = len(pictures.names)
    assert pictures.images.shape == (n, 64, 64, 3) and pictures.images.dtype == np.uint8 and n > 3000
    assert len(set(pictures.names)) == len(set(pictures.codes)) == n
    assert all(len(part) == n for part in (pictures.labels, pictures.keywords, pictures.groups, pictures.drawings))
    assert set(pictures.labels) == set(range(len(pictures.class_names))) and "animal mammal" in pictures.class_names


@pytest.mark.parametrize(
    ("name", "colour"),
    [("red heart", (237, 46, 63)), ("blue square", (25, 118, 210)), ("large blue diamond", (2, 119, 189))],
)
def test_pictures_show_what_their_names_say(pictures, name, colour):
    image = pictures.images[pictures.names.index(name)]
    assert (image[0, 0] == 255).all() or name == "blue square"  # on white
    strongest = np.argmax(image[30:34, 30:34].reshape(-1, 3).mean(axis=0))
    assert strongest == np.argmax(colour)


def test_a_drawing_in_several_tones_has_one_outline_and_one_list_of_keywords(pictures):
    rows = [row for row, name in enumerate(pictures.names) if name.partition(":")[0] == "waving hand"]
    assert len(rows) == 6 and len(set(pictures.drawings[rows])) == 1 and len({pictures.keywords[r] for r in rows}) == 1
    images = pictures.images[rows].astype(int)
    assert (np.abs(images - images[0]).max(axis=(1, 2, 3))[1:] > 20).all()  # other colours
    background = (images == 255).all(axis=3)
    assert (background == background[0]).all()  # of one shape
    light, dark = (images[i].mean() for i in (1, 5))
    assert pictures.names[rows[5]] == "waving hand: dark skin tone" and dark < light


def test_phrases_begin_with_the_name_and_hold_no_word_twice(pictures):
    row = pictures.names.index("waving hand: dark skin tone")
    phrases = pictures.phrases()[row]
    assert phrases[:2] == ("waving hand: dark skin tone", "waving hand") and "goodbye" in phrases
    assert all(len(set(each)) == len(each) and all(each) for each in pictures.phrases())
    words = {word for each in pictures.keywords for word in each}
    assert not [word for word in words if word != word.strip().lower() or re.search(r"[_;\t]", word)]


def test_the_page_of_sources_states_the_files_as_they_are():
    page = (DATA / "README.md").read_text()
    for name in (module.PICTURES_FILE, module.TABLE_FILE):
        content = (DATA / name).read_bytes()
        assert f"| {name} | {len(content):,} | {hashlib.sha256(content).hexdigest()} |" in page
    assert (DATA / module.PICTURES_FILE).stat().st_size + (DATA / module.TABLE_FILE).stat().st_size < 5_000_000


def packed(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


PARTS = {
    "maps": np.zeros((2, 64, 64), np.uint8),
    "colours": np.zeros((3, 2), np.uint8),
    "sizes": np.ones(2, np.int32),
}


@pytest.mark.parametrize(
    ("content", "drawings", "reason"),
    [
        (b"no archive", [0, 1], "is damaged"),
        (packed(maps=PARTS["maps"]), [0, 1], "is damaged"),
        (packed(**{**PARTS, "maps": np.array([None])}), [0, 1], "is damaged"),
        (packed(**PARTS), [0, 1, 1], "2 maps, 2 palettes and 2 colours, but .* names 3 pictures of 2 drawings"),
        (packed(**PARTS), [0, 2], "names 2 pictures of 3 drawings"),
        (packed(**{**PARTS, "sizes": np.array([1, 2], np.int32)}), [0, 1], "2 colours"),
        (packed(**{**PARTS, "sizes": np.array([3, -1], np.int32)}), [0, 1], "palettes of -1 to 3 colours"),
        (packed(**{**PARTS, "maps": PARTS["maps"] + 1}), [0, 1], "colour 1 of a palette of 1"),
        (packed(**{**PARTS, "maps": PARTS["maps"].astype(np.int8)}), [0, 1], "is damaged: .*int8"),
        (packed(**{**PARTS, "colours": PARTS["colours"][:2]}), [0, 1], "is damaged"),
    ],
)
def test_damaged_pictures_are_refused(content, drawings, reason):
    with pytest.raises(ValueError, match=reason):
        module._read_pictures(content, np.array(drawings))


@pytest.mark.parametrize("text", ["", "code\tname\n", "\t".join(module.COLUMNS) + "\nA\tB\n"])
def test_damaged_tables_are_refused(text):
    with pytest.raises(ValueError, match="must have the columns code, drawing"):
        module._read_table(text)
