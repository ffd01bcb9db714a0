"""A head on an encoder that is there: it learns, it is joined to the model exactly, and the truth is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytestmark = pytest.mark.encoders

from PIL import Image  # noqa: E402

from annlab.encoders import comparing  # noqa: E402
from annlab.encoders.encoder import Encoder  # noqa: E402
from annlab.encoders.encoder_folder import held_out_of  # noqa: E402
from annlab.encoders.encoder_training import train_encoder  # noqa: E402
from annlab.encoders.head import Head, attach, train_head  # noqa: E402
from annlab.encoders.image_sets import open_images  # noqa: E402
from annlab.encoders.pairs import AugmentationPairs, LabelPairs  # noqa: E402
from annlab.encoders.training_config import TrainConfig  # noqa: E402
from annlab.encoders.validation import retrieval_metrics  # noqa: E402
from tests.encoders.helpers import linear_encoder, pictures  # noqa: E402


def clouds(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in 40 dimensions: the first four tell four classes apart, the others are louder and say nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    rows = rng.normal(0, 0.5, (n, 40))
    rows[:, :4] = 0.8 * np.eye(4)[labels] + 0.1 * rng.normal(size=(n, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), labels


@pytest.mark.parametrize("loss", [None, "normalised_softmax"])
def test_labels_teach_a_head_what_matters_and_augmentation_leaves_the_components(loss: str | None) -> None:
    rows, labels = clouds(600)
    fresh, truth = clouds(300, seed=1)
    config = TrainConfig(dim=8, steps=300, loss=loss)
    head = train_head(rows, LabelPairs(labels), config, labels=labels)
    before, after = retrieval_metrics(fresh, truth)[0], retrieval_metrics(head(fresh), truth)[0]
    assert after > before + 0.2
    assert [row["steps"] for row in head.history] == [100.0, 200.0, 300.0]
    assert head.history[-1]["learned"] > 0.3
    again = train_head(rows, LabelPairs(labels), config, labels=labels)
    assert again.weight.tobytes() == head.weight.tobytes()
    alone = train_head(rows, AugmentationPairs(600), TrainConfig(dim=8, validation_size=0))
    assert alone.history == []
    spread = (rows @ alone.weight.T + alone.bias).std(0)
    variance = np.linalg.eigvalsh(np.cov(rows.astype(np.float64), rowvar=False, bias=True))[-8:]
    np.testing.assert_allclose(spread, variance**0.5, rtol=1e-3)  # as they are: no small one is made louder


def test_a_head_that_makes_it_worse_is_not_taken() -> None:
    rows, labels = clouds(400)
    rows = (np.eye(40)[labels] + 0.01 * rows).astype(np.float32)  # told apart already: the start cannot be bettered
    head = train_head(rows, LabelPairs(np.arange(400) // 4 % 7), TrainConfig(dim=8, steps=100), labels=labels)
    begun = train_head(rows, None, TrainConfig(dim=8))
    lengths = np.linalg.norm(head.weight, axis=1, keepdims=True)  # the beginning has the same components, scaled
    np.testing.assert_allclose(head.weight / lengths, begun.weight, atol=1e-5)
    assert len(head.history) == 1 and lengths.max() > 1.1 * lengths.min()


def test_the_joined_model_gives_what_encoder_and_head_give() -> None:
    encoder, _ = linear_encoder(dim=9)
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(4, 9)).astype(np.float32), rng.normal(size=4).astype(np.float32), [])
    joined = attach(encoder, head, "joined")
    images = pictures(70)
    np.testing.assert_allclose(joined.encode(images), head(encoder.encode(images)), atol=1e-5)
    twice = attach(joined, Head(np.eye(4, dtype=np.float32), np.zeros(4, np.float32), []), "twice")
    np.testing.assert_allclose(twice.encode(images), joined.encode(images), atol=1e-5)
    assert joined.fingerprint != encoder.fingerprint and joined.steps == encoder.steps
    with pytest.raises(ValueError, match="takes 3 numbers, but 'linear' gives 9"):
        attach(encoder, Head(np.zeros((4, 3), np.float32), np.zeros(4, np.float32), []), "x")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two kinds of coloured noise, told apart by its grain; 60 files each and one that is damaged."""
    rng = np.random.default_rng(0)
    for number in range(120):
        kind = "fine" if number % 2 else "coarse"
        small = rng.integers(0, 256, (24, 24, 3) if kind == "fine" else (4, 4, 3), dtype=np.uint8)
        path = tmp_path / "pics" / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((24, 24), Image.Resampling.NEAREST).save(path)
    (tmp_path / "pics" / "fine" / "bad.png").write_bytes(b"bad")
    return tmp_path / "pics"


def test_a_training_starts_from_what_is_there_and_says_how_it_compares(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = linear_encoder(dim=12)[0]
    base.save(tmp_path / "base")
    known: dict[str, Encoder] = {"efficientnet-lite0-128": base}
    monkeypatch.setattr(comparing, "known_encoders", lambda *_: known)
    images, said = open_images(photographs), list[str]()
    options: dict[str, Any] = {"labels": images.labels, "threads": 1, "say": said.append}
    options["config"] = TrainConfig(steps=20, dim=6)
    made = train_encoder(images, tmp_path / "mine", "labels", **options)
    assert any(line.startswith("a head is learned for linear (12 numbers)") for line in said)
    assert made.judgement is not None and list(made.judgement.results) == ["pixels at 32x32", "efficientnet-lite0-128",
                                                                          "this encoder"]  # fmt: skip
    assert len(made.judgement.results["this encoder"]) == 12, "a tenth of what could be read"
    names = held_out_of(tmp_path / "mine")
    assert len(names) == 12 and names < set(images.items)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        *("MODEL_CARD.md", "encoder.json", "held-out.txt", "model.onnx")
    ]
    card = (tmp_path / "mine" / "MODEL_CARD.md").read_text()
    assert "as a head for efficientnet-lite0-128" in card and made.judgement.lines[0] in card
    again = Encoder.load(tmp_path / "mine")
    assert again.dim == 6 and again.fingerprint == made.encoder.fingerprint
    json.dumps(made.judgement.table)
    other = train_encoder(images, tmp_path / "other", "labels", start=str(tmp_path / "base"), **options)
    assert other.encoder.fingerprint == made.encoder.fingerprint, "an encoder of one's own may be the start, too"


def test_whoever_leaves_labels_unused_and_starts_from_scratch_is_told_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annlab.encoders.image_sets import ImageSet

    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (120, 16, 16), dtype=np.uint8)
    known = {"fashion-mnist": linear_encoder(dim=12)[0]}
    monkeypatch.setattr(comparing, "known_encoders", lambda *_: known)
    images, labels = ImageSet("gray", gray, [str(row) for row in range(120)], None, "gray"), np.arange(120) % 3
    said = list[str]()
    config = TrainConfig(steps=3, widths=(8, 12, 16), dim=6)
    train_encoder(images, tmp_path / "mine", labels=labels, threads=1, say=said.append, config=config)
    assert "labels of 3 classes are there, and judge alone: --positives labels learns from them" in said
    assert any("--start fashion-mnist learns a head" in line for line in said)
    assert any(line.startswith("it takes at most 3 steps") for line in said)
    said.clear()
    train_encoder(images, tmp_path / "other", "labels", labels, threads=1, say=said.append, config=config)
    assert not any("judge alone" in line for line in said)


def test_a_head_that_was_stopped_goes_on_with_the_embeddings_it_has(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annlab.encoders import encoder_training as module

    base = linear_encoder(dim=12)[0]
    base.save(tmp_path / "base")
    monkeypatch.setattr(comparing, "known_encoders", lambda *_: {})
    images = open_images(photographs)
    options: dict[str, Any] = {"positives": "augmentation", "threads": 1, "start": str(tmp_path / "base")}

    def stop(text: str) -> None:
        if text.startswith("embedded 64"):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "every", lambda say: say)
    with pytest.raises(KeyboardInterrupt):
        train_encoder(images, tmp_path / "mine", say=stop, **options)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["start.npy.partial"]
    said: list[str] = []
    made = train_encoder(images, tmp_path / "mine", say=said.append, **options)
    assert "embedded 64 of 120 images" in said and made.judgement is None
    assert not (tmp_path / "mine" / "start.npy").exists() and (tmp_path / "mine" / "encoder.json").is_file()


def test_the_truth_is_told_of_an_encoder_that_is_not_better() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    good = (np.eye(4)[labels] + 0.1 * rng.normal(size=(200, 4))).astype(np.float32)
    noise = rng.normal(size=(200, 4)).astype(np.float32)
    results = {name: comparing._evaluated(rows, labels, "l2")
               for name, rows in (("pixels", noise), ("known", good), (comparing.NEW, noise + 0.3 * good))}  # fmt: skip
    lines = comparing.Judgement(results).lines
    assert any(line.startswith("WARNING: this encoder is worse than known by 0.") for line in lines)
    results[comparing.NEW] = comparing._evaluated(noise[::-1].copy(), labels, "l2")
    lines = comparing.Judgement({name: results[name] for name in ("pixels", comparing.NEW)}).lines
    assert any("is not better than pixels as far as these images can tell" in line for line in lines)
    same = comparing.Judgement({"pixels": results["pixels"], comparing.NEW: results["pixels"]}).lines[-1]
    assert same.endswith("the difference is +0.000 [+0.000, +0.000]")
    results[comparing.NEW] = results["known"]
    assert not any(
        "WARNING" in line for line in comparing.Judgement({k: results[k] for k in ("pixels", comparing.NEW)}).lines
    )


def test_a_loss_at_the_plateau_is_named() -> None:
    row = {"steps": 40.0, "loss": 5.53, "learned": 0.01}
    assert "nothing was learned" in comparing.plateau_warning([row])
    assert comparing.plateau_warning([{**row, "learned": 0.4}]) == comparing.plateau_warning([]) == ""
