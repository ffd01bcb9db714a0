"""The text side of an encoder without torch, captions that teach it, and files that lie."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annlab.encoders.captions import Phrases, misspelt, nonsense
from annlab.encoders.encoder import Encoder
from annlab.encoders.texts import MAX_CHARACTERS, Texts, tokenize
from tests.encoders.helpers import ANYTHING, STEPS, linear_model


def some_texts(dim: int = 5, seed: int = 0, buckets: int = 64) -> Texts:
    rng = np.random.default_rng(seed)
    shapes = [(buckets, 8), (8, 7), (7,), (7, dim), (dim,)]
    return Texts(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


# ---------------------------------------------------------------- embedding


def test_a_text_is_the_mean_of_its_words_through_two_layers() -> None:
    rng = np.random.default_rng(1)
    words, hidden, embedding = (rng.normal(size=shape).astype(np.float32) for shape in ((64, 8), (8, 7), (7, 5)))
    biases = [np.full(n, 0.1, np.float32) for n in (7, 5)]
    texts = Texts(words, hidden, biases[0], embedding, biases[1])
    mean = words[tokenize("a red cat", 64)].mean(axis=0)
    row = np.maximum(mean @ hidden + 0.1, 0) @ embedding + 0.1
    found = texts.encode(["a dog", "a RED, cat!"])
    assert found.dtype == np.float32 and found.shape == (2, 5)
    np.testing.assert_allclose(found[1], row / np.linalg.norm(row), atol=0.02)  # its numbers are rounded
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert texts.encode([]).shape == (0, 5)


def test_stored_texts_come_back_bit_for_bit() -> None:
    texts = some_texts()
    again = Texts.from_bytes(texts.stored)
    assert again.stored == texts.stored == some_texts().stored and again.dim == 5
    assert (again.encode(["cat", "a dog"]) == texts.encode(["cat", "a dog"])).all()


def test_texts_without_words_and_other_things_are_refused() -> None:
    texts = some_texts()
    with pytest.raises(TypeError, match=r"pass \[text\]"):
        texts.encode("cat")
    with pytest.raises(TypeError, match="text 1 is of type NoneType"):
        texts.encode(["cat", None])  # type: ignore[list-item]
    for empty in ("", " ", "?!", "\N{GRINNING FACE}"):
        with pytest.raises(ValueError, match=r"text 1, .* neither a letter nor a digit"):
            texts.encode(["cat", empty])
    long = "word " * 100_000
    assert (texts.encode([long]) == texts.encode([long[:MAX_CHARACTERS]])).all()
    assert texts.encode(["\u732b", "\N{LATIN SMALL LETTER E WITH ACUTE}t\u00e9"]).shape == (2, 5)  # any script


# ---------------------------------------------------------------- files


def repacked(change: Callable[[dict[str, np.ndarray]], object], **options: int) -> bytes:
    with np.load(io.BytesIO(some_texts().stored)) as file:
        arrays = dict(file)
    change(arrays)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:  # type: ignore[arg-type]
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", part.getvalue())
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a text encoder"),
        (some_texts().stored[:-40], "not a text encoder"),
        (repacked(lambda a: a.pop("hidden")), "it holds"),
        (repacked(lambda a: a.update(more=a["hidden"])), "it holds"),
        (repacked(lambda a: None, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (repacked(lambda a: a.update(words=np.array([[None]]))), "not a text encoder"),
        (repacked(lambda a: a.update(words=a["words"].astype(np.int16))), "words of a text encoder must be int8"),
        (repacked(lambda a: a.update(words=np.asfortranarray(a["words"]))), "not a text encoder"),
        (repacked(lambda a: a.update(words=a["words"][:0], scales=a["scales"][:0])), "must be int8"),
        (repacked(lambda a: a.update(scales=a["scales"][:3])), r"do not fit together: .*scales \(3, 1\)"),
        (repacked(lambda a: a.update(hidden=a["hidden"][:3])), r"hidden \(3, 7\)"),
        (repacked(lambda a: a.update(embedding=a["embedding"][:3])), r"embedding \(3, 5\)"),
        (repacked(lambda a: a.update(hidden_bias=a["hidden_bias"] * np.float32("nan"))), "hidden_bias .* not finite"),
    ],
)
def test_damaged_and_hostile_texts_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Texts.from_bytes(content)


def test_any_damaged_byte_is_refused_or_harmless() -> None:
    content = bytearray(some_texts(buckets=8).stored)
    for place in range(0, len(content), 7):
        changed = bytes(content[:place]) + bytes([content[place] ^ 0x55]) + bytes(content[place + 1 :])
        try:
            Texts.from_bytes(changed).encode(["cat"])
        except ValueError:
            continue


# ---------------------------------------------------------------- the encoder's folder


def spoken(seed: int = 0) -> Encoder:
    weights = np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32)
    return Encoder(linear_model(weights), STEPS, "spoken", ANYTHING, texts=some_texts(seed=seed))


def test_an_encoder_keeps_its_text_side_and_its_fingerprint_covers_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    encoder = spoken()
    encoder.save(tmp_path)
    loaded = Encoder.load(tmp_path)
    assert loaded.texts is not None and encoder.texts is not None
    assert (loaded.texts.encode(["cat"]) == encoder.texts.encode(["cat"])).all()
    silent = Encoder(linear_model(np.ones((16, 5))), STEPS, "silent", ANYTHING)
    assert silent.texts is None
    assert len({spoken(0).fingerprint, spoken(1).fingerprint, silent.fingerprint}) == 3
    with pytest.raises(ValueError, match="texts have dimension 4, the images 5"):
        Encoder(linear_model(np.ones((16, 5))), STEPS, "x", ANYTHING, texts=some_texts(dim=4))


def test_a_text_side_that_is_not_the_encoders_own_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    spoken().save(tmp_path)
    (tmp_path / "texts.npz").write_bytes(some_texts(seed=1).stored)
    with pytest.raises(ValueError, match=r"texts\.npz has another hash"):
        Encoder.load(tmp_path)
    (tmp_path / "texts.npz").unlink()
    with pytest.raises(ValueError, match=r"names a text side, but there is no texts\.npz"):
        Encoder.load(tmp_path)
    manifest = json.loads((tmp_path / "encoder.json").read_text())
    for wrong, reason in ((7, "texts_sha256 must be of type str"), (None, "its fingerprint is not the one")):
        (tmp_path / "encoder.json").write_text(json.dumps(manifest | {"texts_sha256": wrong}))
        with pytest.raises(ValueError, match=reason):
            Encoder.load(tmp_path)


# ---------------------------------------------------------------- captions


def test_a_caption_is_true_of_all_images_that_have_its_phrases() -> None:
    source = Phrases([["red heart", "love"], ["blue heart", "love"], ["sad face", "tears"]], drop=0, misspell=0)
    rng, rows = np.random.default_rng(0), np.array([0, 1, 2])
    seen = set()
    for _ in range(100):
        captions, true = source.draw(rows, rng)
        assert true.diagonal().all()
        for place, caption in enumerate(captions):
            seen.add(caption)
            assert true[:2, place].all() == (caption in ("love", "love love")) and true[2, place] == (place == 2)
    assert {"red heart", "love", "love red heart", "tears"} <= seen


def test_words_are_left_out_and_misspelt_as_often_as_is_said() -> None:
    rng = np.random.default_rng(0)
    draws = Phrases([["one two three"]], drop=1, misspell=0).draw(np.zeros(300, int), rng)[0]
    assert set(draws) == {"one two", "one three", "two three"}
    draws = Phrases([["elephant"]], misspell=0.5).draw(np.zeros(400, int), rng)[0]
    assert 150 < sum(draw != "elephant" for draw in draws) < 250
    kinds = {len(misspelt("abcdefgh", rng)) for _ in range(50)}
    assert kinds == {7, 8, 9} and misspelt("cat", rng) == "cat"
    assert all(misspelt("abcdefgh", rng)[0] == "a" for _ in range(50))


def test_images_without_a_name_and_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="image 1 of 2 has no phrase"):
        Phrases([["cat"], []])
    with pytest.raises(ValueError, match="image 0 of 1 has no phrase, or an empty one"):
        Phrases([["cat", " "]])
    with pytest.raises(ValueError, match=r"drop=1\.5 is not in"):
        Phrases([["cat"]], drop=1.5)


def test_nonsense_is_words_of_letters() -> None:
    texts = nonsense(200, np.random.default_rng(0))
    words = [word for text in texts for word in text.split()]
    assert len(set(texts)) == 200 and {len(text.split()) for text in texts} == {1, 2, 3}
    assert all(word.isalpha() and 3 <= len(word) <= 9 for word in words)
