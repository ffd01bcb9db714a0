"""The page of encoders is what its result file gives, and the measurement gives what the page needs."""

import json
from pathlib import Path

import pytest

from benchmarks import encoders


def test_the_page_is_what_the_results_give() -> None:
    content = json.loads(encoders.RESULTS.read_text())
    assert encoders.PAGE.read_text() == encoders.document(content), "run: python -m benchmarks encoders --page"
    pairs = {(record["encoder"], record["set"]) for record in content["records"]}
    assert len(pairs) >= 7, "every encoder on every set that it takes"


@pytest.mark.encoders
def test_a_measurement_has_what_the_page_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("annlab.encoders.pretrained.NAMES", ("fashion-mnist", "emoji"))
    assert encoders.main(["--images", "70", "--out", str(tmp_path / "r.json")]) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert {(r["encoder"], r["set"]) for r in content["records"]} == {
        ("fashion-mnist", "fashion-mnist"), ("emoji", "fashion-mnist"), ("emoji", "emoji")
    }  # fmt: skip
    page = encoders.document(content)
    assert "| `emoji` (learned from these images) |" in page and "70 images" in page
    for record in content["records"]:
        assert 0 <= record["low"] <= record["P@10"] <= record["high"] <= 1 and record["ms an image"] > 0
