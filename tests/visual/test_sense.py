"""Uploads that mean something are told from drawings of nothing, also of kinds that nobody learned from."""

import numpy as np
import pytest
from PIL import Image

from annlab import ExactIndex
from annlab.datasets import emoji, fashion_mnist
from annlab.visual.facts import CatalogFacts
from annlab.visual.nonsense import drawn_nonsense, nonsense_pictures
from annlab.visual.search import ById, ByUpload, Crop, VisualSearch
from annlab.visual.sense import CLUES, TERMS, Sense, clues_of, learn_sense, sense_of
from tests.encoders.helpers import linear_encoder
from tests.visual.drawings import UNKNOWN, on_black, screen
from tests.visual.searching import png

pytestmark = pytest.mark.xdist_group("sense")  # learned once for all


@pytest.fixture(scope="module")
def drawings():
    """The packaged drawings in an order that is drawn."""
    images = emoji().images
    return images[np.random.default_rng(0).permutation(len(images))[:260]]


@pytest.fixture(scope="module")
def learned(drawings):
    return learn_sense(list(drawings[:160]))


def test_drawings_of_nothing_are_told_from_the_packaged_drawings(drawings, learned):
    """Kinds that were learned from, and others; and half of the packaged pictures, that were not."""
    assert np.mean([learned.has(picture) for picture in drawings[160:]]) >= 0.9
    rng = np.random.default_rng(5)
    known = [picture for number, picture in enumerate(drawn_nonsense(100, list(drawings[160:]), 7)) if number % 5 != 4]
    assert np.mean([learned.has(picture) for picture in known]) < 0.2
    share = {draw.__name__: np.mean([learned.has(draw(rng)) for _ in range(20)]) for draw in UNKNOWN}
    assert max(share.values()) < 0.2, share


def test_a_manner_of_its_own_is_not_mistaken_for_sense():
    """Drawings in grey on black are no clothes, though the packaged clothes are grey and on black."""
    images = fashion_mnist().images[..., None]
    learned = learn_sense(list(images[:160]))
    assert np.mean([learned.has(picture) for picture in images[5000:5100]]) >= 0.9
    rng = np.random.default_rng(5)
    share = {
        draw.__name__: np.mean([learned.has(on_black(draw(rng))[..., None]) for _ in range(20)]) for draw in UNKNOWN
    }
    assert np.mean(list(share.values())) < 0.1, share


def test_what_was_learned_is_read_as_it_was_written_and_not_otherwise(drawings, learned):
    again = Sense.from_text(learned.to_text())
    assert [again.has(picture) for picture in drawings] == [learned.has(picture) for picture in drawings]
    for text in ("", "[]", "[1, 2, 3, 4]", "[[0], [1], [1, 1], 0]", learned.to_text().replace("[[", "[[NaN, "),
                 Sense(np.zeros(CLUES), np.zeros(CLUES), np.zeros(TERMS), 0.0).to_text()):  # fmt: skip
        assert Sense.from_text(text) is None
    assert learn_sense(list(drawings[:20])).to_text() == learn_sense(list(drawings[:20])).to_text()


def test_pictures_of_any_shape_have_clues():
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (1, 300, 3), (2, 2, 3), (500, 40, 1)):
        for picture in (np.zeros(shape, np.uint8), rng.integers(0, 256, shape, dtype=np.uint8)):
            assert clues_of(picture).shape == (CLUES,) and np.isfinite(clues_of(picture)).all()
        assert learn_sense([np.zeros(shape, np.uint8), rng.integers(0, 256, shape, dtype=np.uint8)]) is not None


def test_a_catalog_learns_of_its_public_images_and_answers_nonsense_with_nothing(tmp_path, drawings):
    from annlab.visual.catalog import Catalog
    from annlab.visual.indexing import Indexer

    encoder = linear_encoder(16)[0]
    with Catalog.open(tmp_path / "c.db") as catalog:
        with catalog.index(ExactIndex(metric="cosine", dim=encoder.dim), tmp_path / "c.index") as index:
            rows = []
            for number, picture in enumerate(drawings[:68]):
                path = tmp_path / f"{number}.png"
                Image.fromarray(picture).save(path)
                rows.append({"path": str(path), "private": number >= 60})
            ids = catalog.add_images(rows[:40])
            assert sense_of(catalog, CatalogFacts(catalog).now()) is None, "too few"
            ids += catalog.add_images(rows[40:])
            Indexer(catalog, index, encoder).run()
            first = sense_of(catalog, CatalogFacts(catalog).now())
            for path in tmp_path.glob("6?.png"):
                path.write_bytes(b"private ones are not looked at")
            search = VisualSearch(catalog, index, encoder)
            assert search._embedding.sense.to_text() == first.to_text()
            nothing = png(next(each for each in nonsense_pictures(9, 64, 1)[2:] if not first.has(each)))
            rng = np.random.default_rng(0)
            page = png(next(each for each in (screen(rng) for _ in range(20)) if not first.has(each)))
            own = drawings[next(n for n in range(60) if first.has(drawings[n]))]
            part = (0.0, 0.0, 0.8, 0.8)
            for query, few in ((ByUpload(nothing), True), (ByUpload(page), True),
                               (ByUpload(png(own)), False), (Crop(ByUpload(png(own)), part), False),
                               (Crop(ById(ids[0]), part), False)):  # fmt: skip
                answer = search.search(query)
                assert (answer.total == 0) is few and bool(answer.notes) is few, query
            answer = search.search(ByUpload(page), cutoff=0.0)
            assert len(answer.results) == 20 and "unlike all pictures" in answer.notes[0]


def test_a_catalog_without_files_is_asked_once(tmp_path):
    from annlab.visual.catalog import Catalog

    with Catalog.open(tmp_path / "c.db") as catalog:
        encoder = linear_encoder(16)[0]
        catalog.add_encoder(encoder.fingerprint, encoder.name, encoder.dim)
        ids = catalog.add_images([{"path": str(tmp_path / f"gone {n}")} for n in range(60)])
        catalog.mark_indexed(ids, encoder.fingerprint)
        for _ in range(2):
            assert sense_of(catalog, CatalogFacts(catalog).now()) is None
