"""The command line: quick to answer, clear when something is wrong, and the three commands end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from annlab.cli import main

ROOT = Path(__file__).resolve().parents[1]


def test_help_is_light_and_names_the_commands() -> None:
    code = (
        "import sys; from annlab.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'numba', 'sklearn', 'torch', 'PIL', 'onnxruntime') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.splitlines()[-1] == "[]"
    for command in ("encode", "train", "evaluate"):
        assert command in found.stdout


@pytest.mark.parametrize("command", [["encode", "x", "--out", "e"], ["train", "x", "--out", "e"], ["index", "x"],
                                     ["serve", "x"], ["start"]])  # fmt: skip
@pytest.mark.parametrize("threads", ["0", "-3", "two"])
def test_no_command_takes_less_than_one_thread(
    command: list[str], threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, f"--threads={threads}"])
    assert caught.value.code == 2
    assert f"--threads: '{threads}': at least 1 thread is needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["encode"], ["train", "x"], ["encode", "x", "--out", "e", "--fast"]]
)
def test_commands_that_make_no_sense_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: annlab" in capsys.readouterr().err


# ---------------------------------------------------------------- evaluate


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    """Two tight classes and one odd one out: row 4 lies among the others' class."""
    embeddings = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [1, 0.03]], np.float32)
    np.save(tmp_path / "e.npy", embeddings)
    (tmp_path / "e.json").write_text(json.dumps({"labels": ["a", "a", "b", "b", "b"]}))
    return tmp_path / "e.npy"


def test_evaluate_prints_the_measures(clusters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means = tmp_path / "m.json"
    assert main(["evaluate", str(clusters), "--measures", "mrr", "precision@1", "--json", str(means)]) == 0
    # by hand: row 0 finds 1 first; so does 1; 2 and 3 find each other; row 4 finds 1, 0, then 3
    assert json.loads(means.read_text()) == pytest.approx({"queries": 5, "mrr": (4 + 1 / 3) / 5, "precision@1": 0.8})
    printed = capsys.readouterr().out
    assert "precision@1  0.8000" in printed and "5 queries" in printed


def test_of_a_gallery_that_holds_the_queries_none_finds_itself(
    clusters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = {"labels": ["a", "a", "b", None, "b"], "items": [*"vwxyz"]}
    clusters.with_suffix(".json").write_text(json.dumps(described))
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "held-out.txt").write_text("x\nz\n")
    command = ["evaluate", str(clusters), "--held-out", str(tmp_path / "encoder"), "--measures", "mrr", "--json"]
    means = []
    for path in (clusters, tmp_path / "copy.npy"):
        if path != clusters:
            path.write_bytes(clusters.read_bytes())
            path.with_suffix(".json").write_text(json.dumps(described))
        assert main([*command, "--gallery", str(path)]) == 0
        means.append(json.loads(capsys.readouterr().out)["mrr"])
    # among v, w, x, z: to x is z nearest, to z are w and v nearer than x; in another file each finds its copy
    assert means == pytest.approx([(1 + 1 / 3) / 2, 1.0])


def test_evaluate_takes_labels_from_a_file(clusters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 0, 1, 1, 0]))
    assert main(["evaluate", str(clusters), "--labels", str(tmp_path / "labels.npy"), "--measures", "map"]) == 0
    assert "1.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "embeddings", "reason"),
    [
        (np.zeros(4, int), None, "5 embeddings but 4 labels"),
        (np.zeros((5, 2), int), None, "not one integer or name per image"),
        (np.zeros(5), None, "float64 of shape"),
        (np.zeros(5, int), np.zeros(5), "not (n, dim) floats"),
        (None, None, "no labels are known"),
    ],
)
def test_evaluate_says_what_does_not_fit(
    clusters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labels: np.ndarray | None,
    embeddings: np.ndarray | None,
    reason: str,
) -> None:
    arguments = ["evaluate", str(clusters)]
    if labels is None:
        clusters.with_suffix(".json").unlink()
    else:
        np.save(tmp_path / "labels.npy", labels)
        arguments += ["--labels", str(tmp_path / "labels.npy")]
    if embeddings is not None:
        np.save(clusters, embeddings)
    assert main(arguments) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", '"text"', "{}", '{"labels": null}', '{"labels": 3}'])
def test_evaluate_beside_a_json_file_of_something_else(
    clusters: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    clusters.with_suffix(".json").write_text(content)
    assert main(["evaluate", str(clusters)]) == 1
    assert "no labels are known" in capsys.readouterr().err


def test_files_that_are_no_arrays_are_named(clusters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "many.npz", a=np.zeros(5))
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    np.save(tmp_path / "objects.npy", np.array([None] * 5))
    for name in ("empty.npy", "text.npy", "many.npy", "objects.npy"):
        file = str(tmp_path / name)
        for command in (["evaluate", file], ["evaluate", str(clusters), "--labels", file]):
            assert main(command) == 1
            assert file in capsys.readouterr().err
        assert main(["encode", file, "--encoder", "fashion-mnist", "--out", str(tmp_path / "o.npy")]) == 1
        assert file in capsys.readouterr().err


def test_evaluate_leaves_out_what_has_no_label(clusters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clusters.with_suffix(".json").write_text(json.dumps({"labels": ["a", "a", "b", "b", None]}))
    assert main(["evaluate", str(clusters), "--measures", "map"]) == 0
    output = capsys.readouterr()
    assert "left out: 1 images without a label" in output.err and "4 queries" in output.out
    for labels, reason in ((["a"] * 5, "all 5 labels are the same"), ([1, "a", 2, 3, 4], "all integers, or all names")):
        clusters.with_suffix(".json").write_text(json.dumps({"labels": labels}))
        assert main(["evaluate", str(clusters)]) == 1
        assert reason in capsys.readouterr().err


def test_a_report_replaces_nothing_without_being_asked(
    clusters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 0, 1, 1, 0]))
    (tmp_path / "link.json").symlink_to(clusters.with_suffix(".json"))
    (tmp_path / "mine.json").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    command = ["evaluate", str(clusters), "--labels", str(tmp_path / "labels.npy"), "--measures", "map", "--json"]
    for name in ("e.json", "e.npy", "labels.npy", "link.json", "e.skipped.txt"):
        for extra in ([], ["--overwrite"]):
            assert main([*command, str(tmp_path / name), *extra]) == 1
            assert "name another file" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "mine.json")]) == 1
    assert "mine.json exists already" in capsys.readouterr().err
    assert main([*command, str(tmp_path)]) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main([*command, str(tmp_path / "mine.json"), "--overwrite"]) == 0
    assert main([*command, str(tmp_path / "new" / "report.json")]) == 0
    report = json.loads((tmp_path / "mine.json").read_text())
    assert report == json.loads((tmp_path / "new" / "report.json").read_text()) == {"queries": 5, "map": 1.0}


# ---------------------------------------------------------------- encode


def test_encode_embeds_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ("onnx", "onnxruntime", "PIL"):
        pytest.importorskip(extra)
    from PIL import Image

    from tests.encoders.helpers import linear_encoder, pictures

    encoder = linear_encoder()[0]
    encoder.save(tmp_path / "encoder")
    (tmp_path / "pics").mkdir()
    for number, pixels in enumerate(pictures(5)):
        Image.fromarray(pixels[..., 0]).save(tmp_path / "pics" / f"{number}.png")
    frames = [Image.new("L", (4, 4), gray) for gray in (50, 99)]
    frames[0].save(tmp_path / "pics" / "x.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "pics" / "bad.jpg").write_bytes(b"bad")
    command = [
        "encode",
        str(tmp_path / "pics"),
        "--encoder",
        str(tmp_path / "encoder"),
        "--out",
        str(tmp_path / "e.npy"),
    ]
    assert main(command) == 0
    output = capsys.readouterr()
    assert f"6 x 5 float32, encoder {encoder.fingerprint}" in output.out
    assert "1 of 7 images could not be read" in output.out and "e.skipped.txt" in output.out
    assert "7 / 7 images, 1 skipped" in output.err and "x.gif is animated" in output.err
    np.testing.assert_allclose(np.load(tmp_path / "e.npy")[:5], encoder.encode(pictures(5)), atol=1e-6)
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    (tmp_path / "pics" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "pics" / "notes.txt").touch()
    (tmp_path / "photos.json").write_text("mine")
    (tmp_path / "photos.skipped.txt").write_text("mine")
    capsys.readouterr()
    assert main([*command[:-1], str(tmp_path / "photos.npy")]) == 1
    assert "photos.json and " in (complaint := capsys.readouterr().err) and "photos.skipped.txt exist" in complaint
    assert "left out: gone.png: a link to " in complaint and "not images: 1 files (1 .txt)" in complaint
    assert (tmp_path / "photos.json").read_text() == (tmp_path / "photos.skipped.txt").read_text() == "mine"
    assert main([*command[:-1], str(tmp_path / "other.npy")]) == 0
    assert "2 of 8 images could not be read" in capsys.readouterr().out


def test_encode_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["encode", str(tmp_path / "empty"), "--out", str(tmp_path / "e.npy")]) == 1
    assert "there is no image in" in capsys.readouterr().err
    assert main(["encode", "fashion-mnist-test", "--encoder", "no-such", "--out", str(tmp_path / "e.npy")]) == 1
    assert "there is no encoder 'no-such': name a folder, or one of fashion-mnist" in capsys.readouterr().err


# ---------------------------------------------------------------- all three


@pytest.mark.encoders
def test_train_encode_and_evaluate_read_each_others_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for extra in ("onnx", "onnxruntime", "onnxscript", "PIL"):
        pytest.importorskip(extra)
    from annlab.datasets import fashion_mnist
    from annlab.encoders import Encoder

    images, labels, _ = fashion_mnist()
    chosen = np.flatnonzero(labels <= 1)[:300]  # shirts and trousers: told apart after three short epochs
    np.save(tmp_path / "images.npy", images[chosen])
    np.save(tmp_path / "labels.npy", labels[chosen])
    paths = {name: str(tmp_path / name) for name in ("images.npy", "labels.npy", "encoder", "e.npy", "m.json")}
    train = ["train", paths["images.npy"], "--out", paths["encoder"], "--labels", paths["labels.npy"], "--threads", "1"]
    train += ["--positives", "labels", "--epochs", "5", "--batch-size", "81", "--patience", "999"]
    monkeypatch.setattr("annlab.encoders.comparing.default_name", lambda: "fashion-mnist")
    assert main(train) == 0
    said = capsys.readouterr()
    assert "epoch 5: steps 15, loss" in said.err and "a thin CNN learns from scratch" in said.err
    for part in ("30 images that nothing was learned from", "pixels at 28x28", "fashion-mnist ", "this encoder "):
        assert part in said.out
    card = (tmp_path / "encoder" / "MODEL_CARD.md").read_text()
    for part in (
        "--positives labels --epochs 5 --batch-size 81 --patience 999 --seed 0",
        "300 images",
        "30 of them held out",
        "labels: used",
        "this encoder",
        "mean_average_precision",
    ):
        assert part in card
    assert str(tmp_path) not in (tmp_path / "encoder" / "encoder.json").read_text()
    assert Encoder.load(paths["encoder"]).domain.max_chroma == 3.0
    assert not (tmp_path / "encoder" / "training.npz").exists()
    assert main(train) == 1
    assert "holds a finished encoder" in capsys.readouterr().err
    assert main(["encode", paths["images.npy"], "--encoder", paths["encoder"], "--out", paths["e.npy"]]) == 0
    evaluate = ["evaluate", paths["e.npy"], "--labels", paths["labels.npy"], "--json", paths["m.json"]]
    assert main(evaluate) == 0
    means = json.loads((tmp_path / "m.json").read_text())
    assert set(means) == {"queries", "mrr", "hit@10", "precision@10", "r_precision", "map", "ndcg@10"}
    assert means["queries"] == 300 and means["precision@10"] > 0.8
    capsys.readouterr()
    assert main(["evaluate", paths["e.npy"], "--labels", paths["labels.npy"], "--held-out", paths["encoder"]]) == 0
    said = capsys.readouterr()
    assert "30 queries" in said.out and "30 images that" in said.err
    np.save(tmp_path / "light.npy", np.full((70, 28, 28), 250, np.uint8))  # unlike all that it learned from
    encode = ["encode", str(tmp_path / "light.npy"), "--encoder", paths["encoder"], "--out", str(tmp_path / "l.npy")]
    assert main(encode) == 1 and "none of the 70 images" in capsys.readouterr().err
    assert main([*encode, "--no-domain-check"]) == 0
    assert np.load(tmp_path / "l.npy").shape == (70, 128)


@pytest.mark.encoders
def test_train_needs_labels_where_it_is_told_to_use_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "images.npy", np.zeros((9, 28, 28), np.uint8))
    command = ["train", str(tmp_path / "images.npy"), "--out", str(tmp_path / "encoder")]
    assert main([*command, "--positives", "labels"]) == 1
    assert "there are no labels to learn from" in capsys.readouterr().err
    np.save(tmp_path / "labels.npy", np.zeros(8, int))
    assert main([*command, "--labels", str(tmp_path / "labels.npy")]) == 1
    assert "9 images but 8 labels" in capsys.readouterr().err
    for size in ("0", "7"):
        assert main([*command, "--size", size]) == 1
        assert f"size={size}: images are scaled to at least 8 x 8" in capsys.readouterr().err
    assert not (tmp_path / "encoder").exists()
