"""Texts that mean something: made of words that were taught, or of such as are written like them."""

from dataclasses import replace

import numpy as np
import pytest

from annlab.datasets import emoji
from annlab.encoders.captions import misspelt, nonsense
from annlab.encoders.pretrained import folder_of_encoder, load_encoder
from annlab.visual.calibrating import learn_relevance
from annlab.visual.facts import words_of
from annlab.visual.relevance import Relevance
from annlab.visual.scoring import relevance_of
from annlab.visual.search import ByText, Viewer
from annlab.visual.wording import Wording
from tests.visual.searching import Made, directions
from tests.visual.test_relevance import clusters

TAUGHT = Wording(["red", "heart", "elephant", "guitar", "smile"])


@pytest.mark.parametrize(
    "text",
    [
        "red",
        "Red HEART!",
        "elephants",
        "elepphant",
        "guitars",
        "smiles",
        "red xqzt",
        "reds",
        "gutar",
        "guitarr",
        "guizar",
        "giutar",
    ],
)
def test_taught_words_and_what_is_written_like_them_say_something(text):
    assert TAUGHT.says_something(text)


@pytest.mark.parametrize(
    "text", ["xqzt", "84", "res", "2026-11-29", "ele", "rot", "rde", "猫", "xqzt red bfdj", "tnahpele", "q" * 400]
)
def test_other_words_do_not(text):
    assert not TAUGHT.says_something(text)
    assert TAUGHT.says_something(text, lambda word: True), "a function may know them"


def test_likeness_is_the_share_of_pieces_in_common():
    wording = Wording(["abc", "abcd", "xyz"])
    # <abc>: pairs <a ab bc c>, triples <ab abc bc>; <abcd>: <a ab bc cd d>, <ab abc bcd cd>
    np.testing.assert_allclose(wording.likeness("abc"), [1.0, 3 / 9 + 2 / 7, 0.0])
    assert not Wording([]).has_like("abc")


def test_words_are_kept_in_the_file_of_the_calibration():
    encoder = load_encoder("emoji")
    learned = Relevance.load(folder_of_encoder("emoji"), encoder.fingerprint, encoder.dim)
    taught = {word for phrases in emoji().phrases() for phrase in phrases for word in words_of(phrase)}
    assert set(learned.wording.words) == taught
    for bad in (np.frombuffer(b"two words", np.uint8), np.frombuffer(b"\xff\xfe", np.uint8), np.zeros(3)):
        with pytest.raises(ValueError):
            Wording.from_bytes(bad)
    without = Relevance.from_bytes(replace(learned, wording=None).to_bytes(), encoder.fingerprint, encoder.dim)
    assert without.wording is None and without.text.cutoff == learned.text.cutoff


def test_a_catalog_of_the_time_before_words_were_kept_has_those_of_the_package(tmp_path):
    encoder = load_encoder("emoji")
    shipped = Relevance.load(folder_of_encoder("emoji"), encoder.fingerprint, encoder.dim)
    replace(shipped, wording=None, learned_from="here").save(tmp_path)
    with Made(tmp_path) as made:
        found = relevance_of(made.catalog, made.index, encoder, made.search.facts(), tmp_path)
    assert found.learned_from == "here" and found.wording.words == shipped.wording.words


def test_the_packaged_words_tell_made_up_ones_from_slips_of_the_pen():
    encoder, rng = load_encoder("emoji"), np.random.default_rng(11)
    wording = Relevance.load(folder_of_encoder("emoji"), encoder.fingerprint, encoder.dim).wording
    long = [word for word in wording.words if len(word) >= 7][::9]
    assert np.mean([wording.says_something(misspelt(word, rng)) for word in long]) == 1
    assert all(wording.says_something(word) for word in wording.words[::7])
    assert np.mean([wording.says_something(text) for text in nonsense(150, rng)]) < 0.03
    assert not any(wording.says_something(str(number)) for number in rng.integers(10**3, 10**7, 60))


def test_words_that_were_not_taught_find_nothing_unless_a_tag_that_is_seen_holds_them(tmp_path):
    class Texts:
        def encode(self, texts):
            return directions(len(texts), 16, seed=5)

    vectors, labels = clusters(200)
    learned = replace(learn_relevance(vectors, labels, "enc"), wording=Wording(["cat"]))
    with Made(tmp_path, dim=16, relevance=learned) as made:
        made.encoder.texts = Texts()
        made.add(vectors[:4], [{"tags": ("zorbl",)}, {"tags": ("quux",), "private": True}, {}, {}])

        def told(text, **options):
            answer = made.search.search(ByText(text), **options)
            return answer.weaker, answer.notes

        for text in ("cat", "zorbl"):
            assert made.search.search(ByText(text)).notes == []
        weaker, notes = told("quux")
        assert weaker == 3 and "not learned these words" in notes[0]
        assert told("quux", viewer=Viewer(role="admin"))[1] == [], "whoever sees the tag may ask for it"
        assert len(made.search.search(ByText("quux"), cutoff=0.0).results) == 3, "the nearest, where all are asked for"
