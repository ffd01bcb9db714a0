"""Embedding folders and data sets: what is written, what is skipped, and what a kill leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from annlab.encoders import embedding_job
from annlab.encoders.embedding_job import BLOCK, ImageSet, embed_images, open_images
from annlab.encoders.encoder import Domain, DomainError, Encoder
from annlab.encoders.image_sets import read_array
from tests.encoders.helpers import linear_encoder, pictures

for extra in ("onnx", "onnxruntime"):
    pytest.importorskip(extra)
Image = pytest.importorskip("PIL.Image")

N = 3 * BLOCK + 7


@pytest.fixture
def encoder() -> Encoder:
    return linear_encoder()[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """200 images in two classes; one empty, one cut, one text, and files that are no images at all."""
    for number, pixels in enumerate(pictures(N)):
        path = tmp_path / "pics" / ("cat" if number % 3 else "dog") / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(path)
    (tmp_path / "pics" / "cat" / "0001.png").write_bytes(b"")
    whole = (tmp_path / "pics" / "dog" / "0150.png").read_bytes()
    (tmp_path / "pics" / "dog" / "0150.png").write_bytes(whole[:40])
    (tmp_path / "pics" / "notes.txt").write_text("not an image, and not named like one")
    (tmp_path / "pics" / ".hidden.png").write_text("not looked at")
    (tmp_path / "pics" / "folder.png").mkdir()
    return tmp_path / "pics"


def outputs(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(target.parent.glob(f"{target.stem}*"))}


def test_a_folder_gives_embeddings_items_labels_and_a_list_of_what_was_skipped(
    folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    seen: list[tuple[int, int, int]] = []
    images = open_images(folder)
    target = tmp_path / "e.npy"
    skipped = embed_images(images, encoder, target, progress=lambda *numbers: seen.append(numbers))
    assert skipped == 2 and len(images) == N
    assert seen[0] == (BLOCK, N, 1) and seen[-1] == (N, N, 2)
    embeddings = np.load(target)
    assert embeddings.shape == (N - 2, encoder.dim) and embeddings.dtype == np.float32
    described = json.loads((tmp_path / "e.json").read_text())
    assert (described["fingerprint"], described["dim"]) == (encoder.fingerprint, encoder.dim)
    assert described["items"][:2] == ["cat/0002.png", "cat/0004.png"] and len(described["items"]) == N - 2
    assert described["labels"] == [item.split("/")[0] for item in described["items"]]
    for row in (0, 70, N - 3):
        expected = encoder.encode([folder / described["items"][row]])[0]
        np.testing.assert_allclose(embeddings[row], expected, atol=1e-6)
    lines = (tmp_path / "e.skipped.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["cat/0001.png", "dog/0150.png"]
    assert "is empty" in lines[0] and "not a readable image" in lines[1]
    assert sorted(outputs(target)) == ["e.json", "e.npy", "e.skipped.txt"]


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    linear_encoder()[0].save(tmp_path / "encoder")
    encoder = Encoder.load(tmp_path / "encoder")
    embed_images(open_images(folder), encoder, tmp_path / "whole.npy")
    code = f"""
import os, signal
from annlab.encoders.embedding_job import embed_images, open_images
from annlab.encoders.encoder import Encoder
def kill(done, total, skipped):
    if done >= {2 * BLOCK}:
        os.kill(os.getpid(), signal.SIGKILL)
embed_images(open_images({str(folder)!r}), Encoder.load({str(tmp_path / "encoder")!r}), "killed.npy", progress=kill)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=_environment())
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob("killed*")] == ["killed.npy.partial"]
    with (tmp_path / "killed.npy.partial" / "rows.f32").open("ab") as file:
        file.write(b"half a row of a block that was not counted")
    seen: list[int] = []
    embed_images(open_images(folder), encoder, tmp_path / "killed.npy", progress=lambda done, *_: seen.append(done))
    assert seen == [2 * BLOCK, 3 * BLOCK, N]  # the first tells where it starts
    for suffix in (".npy", ".json", ".skipped.txt"):
        assert (tmp_path / f"killed{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not (tmp_path / "killed.npy.partial").exists()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def interrupt(images: ImageSet, encoder: Encoder, target: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_images(images, encoder, target, progress=stop)


def test_an_unfinished_job_is_not_continued_with_other_images_or_another_encoder(
    folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    target = tmp_path / "e.npy"
    interrupt(open_images(folder), encoder, target)
    other = linear_encoder(seed=1)[0]
    with pytest.raises(FileExistsError, match="other images or another encoder"):
        embed_images(open_images(folder), other, target)
    Image.fromarray(pictures(1, seed=9)[0, ..., 0]).save(folder / "cat" / "0002.png")
    with pytest.raises(FileExistsError, match="other images or another encoder"):
        embed_images(open_images(folder), encoder, target)
    embed_images(open_images(folder), other, target, overwrite=True)
    np.testing.assert_allclose(np.load(target)[0], other.encode([folder / "cat" / "0002.png"])[0], atol=1e-6)


def test_a_finished_file_is_kept_unless_told_otherwise(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    target = tmp_path / "e.npy"
    embed_images(open_images(folder), encoder, target)
    before = outputs(target)
    with pytest.raises(FileExistsError, match="--overwrite"):
        embed_images(open_images(folder), encoder, target)
    (folder / "cat" / "0001.png").unlink()
    (folder / "dog" / "0150.png").unlink()
    assert outputs(target) == before
    embed_images(open_images(folder), encoder, target, overwrite=True)
    assert sorted(outputs(target)) == ["e.json", "e.npy"]  # nothing was skipped this time, so no stale list stays


@pytest.mark.parametrize("name", ["e.json", "e.skipped.txt", "e.npy"])
def test_no_file_beside_the_embeddings_is_touched_without_being_asked(
    folder: Path, encoder: Encoder, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=rf"{re.escape(name)} exists already.*--overwrite"):
        embed_images(open_images(folder), encoder, tmp_path / "e.npy")
    assert [(path.name, path.read_text()) for path in tmp_path.glob("e.*")] == [(name, "mine")]
    embed_images(open_images(folder), encoder, tmp_path / "e.npy", overwrite=True)
    assert sorted(outputs(tmp_path / "e.npy")) == ["e.json", "e.npy", "e.skipped.txt"]


def test_a_file_that_appears_while_the_job_runs_stays_and_the_work_is_not_lost(
    folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    def meanwhile(done: int, *_: int) -> None:
        (tmp_path / "e.json").write_text("mine")

    with pytest.raises(FileExistsError, match=r"e\.json has appeared in the meantime"):
        embed_images(open_images(folder), encoder, tmp_path / "e.npy", progress=meanwhile)
    assert (tmp_path / "e.json").read_text() == "mine" and not (tmp_path / "e.npy").exists()
    (tmp_path / "e.json").unlink()
    seen: list[int] = []
    embed_images(open_images(folder), encoder, tmp_path / "e.npy", progress=lambda done, *_: seen.append(done))
    assert seen == [N]  # all was done
    assert sorted(outputs(tmp_path / "e.npy")) == ["e.json", "e.npy", "e.skipped.txt"]


def test_the_images_are_never_the_file_to_write(encoder: Encoder, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pictures(3))
    (tmp_path / "link.npy").symlink_to(tmp_path / "a.npy")
    before = (tmp_path / "a.npy").read_bytes()
    for name in ("a.npy", "link.npy"):
        with pytest.raises(FileExistsError, match="belongs to the images"):
            embed_images(open_images(tmp_path / "a.npy"), encoder, tmp_path / name, overwrite=True)
    assert (tmp_path / "a.npy").read_bytes() == before


def test_a_list_that_appears_while_nothing_is_skipped_stays(encoder: Encoder, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pictures(3))

    def meanwhile(*_: int) -> None:
        (tmp_path / "e.skipped.txt").write_text("mine")

    embed_images(open_images(tmp_path / "a.npy"), encoder, tmp_path / "e.npy", progress=meanwhile)
    assert (tmp_path / "e.skipped.txt").read_text() == "mine" and (tmp_path / "e.npy").is_file()


@pytest.mark.parametrize("n_published", [0, 1, 2, 3])
def test_a_run_killed_between_its_files_is_completed_by_the_same_command(
    folder: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_published: int
) -> None:
    whole = tmp_path / "whole.npy"
    embed_images(open_images(folder), encoder, whole)
    publish = embedding_job.publish

    def killed(staged: dict[Path, Path], overwrite: bool) -> None:
        publish(dict(list(staged.items())[:n_published]), overwrite)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(embedding_job, "publish", killed)
        embed_images(open_images(folder), encoder, tmp_path / "e.npy")
    assert (tmp_path / "e.npy.partial").is_dir()
    embed_images(open_images(folder), encoder, tmp_path / "e.npy")
    for suffix in (".npy", ".json", ".skipped.txt"):
        assert (tmp_path / f"e{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not (tmp_path / "e.npy.partial").exists()


def test_a_failed_job_leaves_nothing_that_blocks_the_corrected_one(folder: Path, tmp_path: Path) -> None:
    picky, target = linear_encoder(domain=Domain("gray things", max_chroma=5))[0], tmp_path / "e.npy"
    Image.new("RGB", (9, 9), "red").save(folder / "dog" / "red.png")  # the last one: three blocks are done by then
    with pytest.raises(DomainError):
        embed_images(open_images(folder), picky, target)
    assert not list(tmp_path.glob("e.*"))
    embed_images(open_images(folder), linear_encoder()[0], target)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "1.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match="none of the 1 images"):
        embed_images(open_images(bad), picky, tmp_path / "f.npy")
    assert not list(tmp_path.glob("f.*"))


def test_a_folder_that_no_job_made_is_left_alone(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    partial = tmp_path / "e.npy.partial"
    partial.mkdir()
    (partial / "diary.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"holds 'diary.txt', which no job of annlab made"):
            embed_images(open_images(folder), encoder, tmp_path / "e.npy", overwrite)
    (partial / "diary.txt").unlink()
    (partial / "rows.f32").write_bytes(b"of a run that was killed before its first count")
    embed_images(open_images(folder), encoder, tmp_path / "e.npy")
    assert not partial.exists()
    (tmp_path / "f.npy.partial").touch()
    with pytest.raises(FileExistsError, match=r"f\.npy\.partial is in the way"):
        embed_images(open_images(folder), encoder, tmp_path / "f.npy")


def test_root_files_have_no_label_and_unreadable_things_are_listed(
    folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    Image.fromarray(pictures(1)[0, ..., 0]).save(folder / "root.jfif", "JPEG")
    (folder / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "cat" / "raw\nname.cr2").touch()
    images = open_images(folder)
    assert embed_images(images, encoder, tmp_path / "e.npy") == 2
    described = json.loads((tmp_path / "e.json").read_text())
    labels = dict(zip(described["items"], described["labels"], strict=True))
    assert labels["root.jfif"] is None and labels["cat/0002.png"] == "cat"
    lines = (tmp_path / "e.skipped.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        *("cat/0001.png", "dog/0150.png", "cat/gone.png", "cat/raw\\nname.cr2"),
    ]
    assert "does not exist" in lines[2] and ".cr2 is not read here" in lines[3]
    assert "not images: 1 files (1 .txt)" in images.notes


@pytest.mark.parametrize("damage", ["state", "numbers", "rows"])
def test_a_damaged_unfinished_job_says_what_to_delete(
    folder: Path, encoder: Encoder, tmp_path: Path, damage: str
) -> None:
    target = tmp_path / "e.npy"
    interrupt(open_images(folder), encoder, target)
    partial = tmp_path / "e.npy.partial"
    if damage == "state":
        (partial / "state.json").write_text("{")
    elif damage == "numbers":
        state = json.loads((partial / "state.json").read_text())
        (partial / "state.json").write_text(json.dumps({**state, "done": "many"}))
    else:
        (partial / "rows.f32").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is damaged.*delete .*partial to start over"):
        embed_images(open_images(folder), encoder, target)


def test_an_image_outside_the_domain_stops_the_job_and_is_named(folder: Path, tmp_path: Path) -> None:
    encoder = linear_encoder(domain=Domain("gray things", max_chroma=5))[0]
    Image.new("RGB", (9, 9), "red").save(folder / "dog" / "red.png")
    with pytest.raises(DomainError, match=r"dog/red\.png \(9 x 9\) is not for the encoder 'linear', which knows gray"):
        embed_images(open_images(folder), encoder, tmp_path / "e.npy")
    (folder / "dog" / "red.png").rename(folder / "0.png")  # now the very first: nothing is left behind
    with pytest.raises(DomainError, match=r"0\.png"):
        embed_images(open_images(folder), encoder, tmp_path / "f.npy")
    assert not list(tmp_path.glob("f.npy*"))


def test_an_image_outside_is_skipped_and_listed_or_embedded_where_that_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    encoder = linear_encoder(domain=Domain("gray things", max_chroma=5))[0]
    Image.new("RGB", (9, 9), "red").save(folder / "dog" / "red.png")
    images = open_images(folder)
    skipped = embed_images(images, encoder, tmp_path / "skip.npy", outside="skip")
    listed = (tmp_path / "skip.skipped.txt").read_text().splitlines()
    assert skipped == len(listed)
    assert any(line.startswith("dog/red.png\t") and "is not for the encoder" in line for line in listed)
    assert embed_images(images, encoder, tmp_path / "all.npy", outside="embed") == skipped - 1
    (tmp_path / "reds").mkdir()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "reds" / "red.png")
    with pytest.raises(ValueError, match=r"none of the 1 images .* could be embedded; .*--no-domain-check embeds them"):
        embed_images(open_images(tmp_path / "reds"), encoder, tmp_path / "reds.npy", outside="skip")
    with pytest.raises(ValueError, match="outside must be"):
        embed_images(images, encoder, tmp_path / "x.npy", outside="no")  # type: ignore[arg-type]


def test_a_place_without_images_says_what_was_looked_for(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"there is no image in .*empty or its sub-folders: looked for \.png"):
        open_images(tmp_path / "empty")
    with pytest.raises(ValueError, match="there are no images at 'nowhere'"):
        open_images("nowhere")
    (tmp_path / "empty" / "bad.jpg").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"none of the 1 images .* could be read; the first: .*bad\.jpg"):
        embed_images(open_images(tmp_path / "empty"), encoder, tmp_path / "e.npy")
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="there are no images in"):
        embed_images(open_images(tmp_path / "none.npy"), encoder, tmp_path / "e.npy")
    np.save(tmp_path / "flat.npy", np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"has shape \(3, 4\)"):
        open_images(tmp_path / "flat.npy")
    with pytest.raises(ValueError, match=r"must end in \.npy"):
        embed_images(open_images(folder), encoder, tmp_path / "e.bin")


def test_arrays_and_the_packaged_data_set(encoder: Encoder, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pictures(100))
    embed_images(open_images(tmp_path / "a.npy"), encoder, tmp_path / "e.npy")
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), encoder.encode(pictures(100)), atol=1e-6)
    described = json.loads((tmp_path / "e.json").read_text())
    assert described["items"] == [str(row) for row in range(100)] and described["labels"] is None
    images = open_images("fashion-mnist-test")
    assert len(images) == 10_000 and images.images[0].shape == (28, 28)  # type: ignore[union-attr]
    assert images.labels is not None and np.bincount(images.labels).tolist() == [1000] * 10


def test_images_directly_in_the_folder_have_no_labels(folder: Path) -> None:
    assert open_images(folder / "cat").labels is None


def test_a_file_that_is_no_array_is_not_said_to_be_pickled(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"begins with b'\[1, 2\]', which no \.npy file does"):
        read_array(tmp_path / "labels.json")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="holds no array that can be read"):
        read_array(tmp_path / "pickled.npy")
