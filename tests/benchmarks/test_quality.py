"""The quality table: rows are measured one by one, and stored beside those that were measured before."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from annlab.encoders.training_config import TrainConfig
from benchmarks import quality
from tests.encoders.toy_images import toy_images

pytestmark = pytest.mark.encoders


def test_rows_are_stored_each_in_place_of_its_predecessor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = quality.LabelledSet("fashion-mnist", *toy_images(160), *toy_images(60, seed=1))
    monkeypatch.setattr(quality, "LOADERS", {"fashion-mnist": lambda folder: data})
    recipe = TrainConfig(steps=30, widths=(8, 12, 16), dim=16, learning_rate=1e-2)
    monkeypatch.setattr(quality, "RECIPES", {("fashion-mnist", "labels"): recipe})
    results, weights = tmp_path / "r.json", tmp_path / "weights"

    def measured(*rows: str) -> dict[str, dict[str, float]]:
        options = ["--data", str(tmp_path), "--out", str(weights), "--json", str(results), "--rows", *rows]
        monkeypatch.setattr("sys.argv", ["quality", *options])
        quality.main()
        return {record["row"]: record for record in json.loads(results.read_text())["records"]}

    first = measured("labels", "pixels")
    assert list(first) == ["pixels", "labels"], "in the order of the table"
    for record in first.values():
        assert 0 <= record["P@10 low"] <= record["P@10"] <= record["P@10 high"] <= 1
    monkeypatch.setattr(quality, "flat", lambda images: np.ones((len(images), 2), np.float32))
    again = measured("pixels")
    assert again["labels"] == first["labels"] and again["pixels"]["P@10"] < first["pixels"]["P@10"]
    assert measured("labels")["labels"] == first["labels"], "from the weights, with the minutes of their training"
