"""The catalog of the packaged pictures: made once, completed after a kill, searched by words."""

import re

import numpy as np
import pytest

from annlab import datasets
from annlab.encoders.pretrained import folder_of_encoder, load_encoder
from annlab.encoders.texts import Texts
from annlab.visual import packaged
from annlab.visual.catalog import Catalog
from annlab.visual.pair import folder_of
from annlab.visual.paths import from_text
from annlab.visual.relevance import Relevance
from tests.visual.drawings import UNKNOWN


@pytest.fixture(scope="module")
def some():
    """Sixty of the pictures, "red heart" and a hand in six tones among them."""
    every = datasets.emoji()
    wanted = {"red heart", "cat", "flag of Japan"}
    rows = [row for row, name in enumerate(every.names) if name in wanted or name.startswith("waving hand")]
    rows = sorted({*rows, *range(0, len(every.names), 74)})
    parts = {}
    for name, part in every._asdict().items():
        part_is_kinds = name == "class_names"
        parts[name] = (
            part if part_is_kinds else part[rows] if isinstance(part, np.ndarray) else tuple(part[r] for r in rows)
        )
    return datasets.Emoji(**parts)


@pytest.fixture
def few(some, monkeypatch):
    monkeypatch.setattr(packaged, "emoji", lambda: some)
    return some


def test_every_picture_is_a_file_and_a_row_with_its_names_as_tags(few, tmp_path):
    said = []
    path = packaged.packaged_catalog(tmp_path / "here", say=said.append)
    assert said[-1] == f"{len(few.names)} pictures are indexed"
    with Catalog.open(path) as catalog:
        counts = catalog.counts()
        assert counts.indexed == counts.discovered == len(few.names)
        (heart,) = catalog.find(tag="red heart", kind="image")
        assert heart.tags == ("red heart", "heart", "Smileys & Emotion") and not heart.private
        tones = catalog.find(tag="waving hand", kind="image")
        assert len(tones) == 6 and {image.tags[3:] for image in tones} >= {(), ("dark skin tone",)}
        names = [from_text(image.path) for image in catalog.find(kind="image")]
        assert len(set(names)) == len(few.names)
        assert all(re.fullmatch(r"[0-9A-Za-z ,&.()/-]+", name[len(str(tmp_path.resolve())) :]) for name in names)
        encoder = load_encoder("emoji")
        pixels = few.images[few.names.index("red heart")]
        np.testing.assert_array_equal(encoder.encode([from_text(heart.path)]), encoder.encode(pixels[None]))
        place = folder_of(catalog, path)
        with catalog.index(None, place) as index:
            vector = encoder.texts.encode(["red heart"])[0]
            assert index.search(vector, k=1).ids[0] == heart.id
        kept = place / "encoders" / encoder.fingerprint
        assert Relevance.load(kept, encoder.fingerprint, encoder.dim).text is not None


def test_the_second_time_it_is_there_already(few, tmp_path, monkeypatch):
    path = packaged.packaged_catalog(tmp_path)
    monkeypatch.setattr(packaged, "emoji", lambda: pytest.fail("the pictures were read again"))
    assert packaged.packaged_catalog(tmp_path, say=pytest.fail) == path


def test_what_was_killed_is_completed(few, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "mark_indexed", killed)
        with pytest.raises(KeyboardInterrupt):
            packaged.packaged_catalog(tmp_path)
    (tmp_path / "pictures" / "heart").joinpath(next((tmp_path / "pictures" / "heart").iterdir()).name).write_bytes(
        b"half"
    )
    with Catalog.open(packaged.packaged_catalog(tmp_path)) as catalog:
        assert catalog.counts().indexed == len(few.names)
        (heart,) = catalog.find(tag="red heart", kind="image")
        assert load_encoder("emoji").encode([from_text(heart.path)]).shape == (1, 96)


def test_catalogs_are_kept_where_the_system_keeps_such_things(monkeypatch, tmp_path):
    monkeypatch.setenv("ANNLAB_HOME", str(tmp_path / "own"))
    assert packaged.data_folder() == tmp_path / "own"
    monkeypatch.delenv("ANNLAB_HOME")
    monkeypatch.setattr(packaged.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert packaged.data_folder() == tmp_path / "annlab"


def test_a_class_keeps_what_is_relevant_and_nonsense_finds_little(some):
    """With the shipped calibration, over some of the pictures."""
    encoder = load_encoder("emoji")
    assert isinstance(encoder.texts, Texts)
    every = datasets.emoji()
    phrases, rows = every.phrases(), np.arange(0, len(every.names), 2)
    vectors = encoder.encode(every.images[rows])
    calibration = Relevance.load(folder_of_encoder("emoji"), encoder.fingerprint, encoder.dim)
    curve = calibration.curve(by_text=True)

    def shown(text):
        vector = encoder.texts.encode([text])[0]
        scores = curve.of(1.0 - vectors.astype(np.float64) @ vector, calibration.strangeness(vector, by_text=True))
        return scores >= curve.cutoff

    for text in ("fruit", "country flag", "cat face", "musical instrument", "food fruit"):
        right = np.array([text in phrases[row] for row in rows])
        assert shown(text)[right].mean() >= 0.9, text
    for text in ("xqzzt wgth", "quarterly tax return", "bfdjk", "zzxcvq pqowr ttk"):
        assert shown(text).mean() < 0.05, text


def test_drawings_of_any_kind_of_nothing_find_little_of_the_packaged_drawings():
    """Each kind by itself, screens and charts among them, which often pass for a picture: what is shown of the catalog
    with the shipped calibration, whether or not the pixels were refused before."""
    encoder, every = load_encoder("emoji"), datasets.emoji()
    vectors = encoder.encode(every.images[::8]).astype(np.float64)
    calibration = Relevance.load(folder_of_encoder("emoji"), encoder.fingerprint, encoder.dim)
    curve, rng = calibration.curve(), np.random.default_rng(5)

    def shown(pictures):
        found = encoder.encode(pictures, check_domain=False)
        scores = [curve.of(1.0 - vectors @ one, calibration.strangeness(one)) for one in found]
        return float(np.mean(np.array(scores) >= curve.cutoff))

    share = {draw.__name__: shown([draw(rng) for _ in range(12)]) for draw in UNKNOWN}
    assert max(share.values()) < 0.02 and np.mean(list(share.values())) < 0.006, share
    assert shown(list(every.images[2::400])) > 0.01, "while the drawings find their like"
