"""What lies in a folder: images, their classes, and a reason for everything else."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from annlab.encoders.folders import SUFFIXES, class_of, described, find_images
from annlab.encoders.image_sets import open_images

Image = pytest.importorskip("PIL.Image")


def picture(path: Path, format: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), 99).save(path, format)
    return path


def items(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_images(root).images]


def test_the_class_is_the_top_folder_and_root_files_have_none(tmp_path: Path) -> None:
    for name in ("dog/deep/sub/x.png", "dog/y.png", "cat/z.png", "cat/dog/w.png", "r.png"):
        picture(tmp_path / name)
    images = open_images(tmp_path)
    assert images.labels is not None
    assert dict(zip(images.items, images.labels.tolist(), strict=True)) == {
        "dog/deep/sub/x.png": "dog",
        "dog/y.png": "dog",
        "cat/z.png": "cat",
        "cat/dog/w.png": "cat",
        "r.png": "",
    }
    assert class_of("a/b/c") == "a" and class_of("c") == ""
    assert open_images(tmp_path / "cat" / "dog").labels is None  # no folder, no class


def test_hidden_and_system_folders_are_counted_and_not_read(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    hidden = (
        ".b/2.png",
        ".3.png",
        "a/@eaDir/4.png",
        "a/.thumbs/5.png",
        "__MACOSX/6.png",
        "@eaDir/a/7.png",
        "#recycle/8.png",
    )
    for name in hidden:
        picture(tmp_path / name)
    found = find_images(tmp_path)
    assert items(tmp_path) == ["a/1.png"]
    assert found.n_hidden == len(hidden) and described(found) == ["not looked at: 7 hidden files and folders"]
    inside = tmp_path / ".hidden" / "root"  # what is above the root does not count
    picture(inside / "1.png")
    assert items(inside) == ["1.png"]


def test_every_suffix_of_an_image_and_every_image_without_one(tmp_path: Path) -> None:
    for name, format in (("a.JPG", "JPEG"), ("b.jfif", "JPEG"), ("c.tif", "TIFF"), ("d.TIFF", "TIFF"), ("e", "PNG")):
        picture(tmp_path / name, format)
    picture(tmp_path / "f.jpg_large", "JPEG")
    (tmp_path / "g.heic").write_bytes(b"\0\0\0\x18ftypheic")  # read where Pillow can: decoding will tell
    (tmp_path / "h.avif").write_bytes(b"?")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "movie.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    (tmp_path / "README").write_text("no image")
    (tmp_path / "empty").touch()
    (tmp_path / "raw.NEF").write_bytes(b"II*\0")  # a TIFF whose first picture is a stamp
    (tmp_path / "drawing.svg").write_text("<svg/>")
    found = find_images(tmp_path)
    assert items(tmp_path) == ["a.JPG", "b.jfif", "c.tif", "d.TIFF", "e", "f.jpg_large", "g.heic", "h.avif"]
    assert found.others == Counter({"": 2, ".txt": 1, ".mp4": 1})
    assert [item for item, _ in found.left_out] == ["drawing.svg", "raw.NEF"]
    assert found.left_out[1][1] == ".nef is not read here: convert it to JPEG or PNG"
    assert described(found)[2].startswith("not images: 4 files (2 without suffix, 1 .")
    assert set(SUFFIXES) > {".jfif", ".tif", ".heic", ".avif", ".jpg", ".png"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_links_are_followed_once_and_those_that_cannot_be_are_named(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    picture(root / "cat" / "1.png")
    picture(outside / "2.png")
    (root / "dog").symlink_to(outside)  # a class that lies elsewhere
    (root / "cat" / "3.png").symlink_to(outside / "2.png")
    (root / "cat" / "4.png").symlink_to(tmp_path / "nothing.png")
    (root / "cat" / "5.png").symlink_to(root / "cat" / "5.png")  # to itself
    (root / "cat" / "6.png").symlink_to(root / "cat" / "7.png")  # to each other
    (root / "cat" / "7.png").symlink_to(root / "cat" / "6.png")
    (root / "cat" / "up").symlink_to(root)  # a loop
    (root / "cat" / "above").symlink_to(tmp_path)  # a loop through what is above
    (root / "copy").symlink_to(root / "cat")  # read anyway
    (root / "dog2").symlink_to(outside)  # read already
    (outside / "back").symlink_to(root)  # a loop through another folder
    os.mkfifo(root / "pipe.png")
    found = find_images(root)
    assert items(root) == ["cat/1.png", "cat/3.png", "dog/2.png"]
    assert dict(found.left_out).keys() == {
        *("cat/4.png", "cat/5.png", "cat/6.png", "cat/7.png", "cat/up", "cat/above", "copy", "dog/back", "dog2"),
        "pipe.png",
    }
    reasons = dict(found.left_out)
    assert "does not exist" in reasons["cat/4.png"] and "cannot be followed" in reasons["cat/6.png"]
    assert all("read anyway" in reasons[name] for name in ("cat/up", "cat/above", "copy", "dog2", "dog/back"))
    assert reasons["pipe.png"] == "neither a file nor a folder"
    labels = open_images(root).labels
    assert labels is not None and labels.tolist() == ["cat", "cat", "dog"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "secret" / "2.png")
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_images(tmp_path)
    assert items(tmp_path) == ["a/1.png"]
    assert found.left_out == [("secret", "the folder cannot be read: Permission denied")]


def test_folders_nest_deeper_than_calls(tmp_path: Path) -> None:
    deepest = tmp_path
    for _ in range(1200):
        deepest = deepest / "d"
        deepest.mkdir()
    picture(deepest / "x.png")
    found = find_images(tmp_path)
    assert [class_of(path.relative_to(tmp_path).as_posix()) for path in found.images] == ["d"] and not found.left_out
    (deepest / "x.png").unlink()
    while deepest != tmp_path:  # pytest's own way of clearing up is recursive
        deepest.rmdir()
        deepest = deepest.parent


def test_what_the_system_refuses_to_look_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        picture(tmp_path / name)
    is_dir = Path.is_dir

    def guarded(path: Path) -> bool:
        if path.name == "2.png":
            raise OSError(36, "File name too long")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", guarded)
    assert items(tmp_path) == ["a/1.png", "b/3.png"]
    assert find_images(tmp_path).left_out == [("a/2.png", "cannot be opened: File name too long")]


def test_an_empty_folder_says_what_else_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.svg").touch()
    with pytest.raises(ValueError, match=r"there is no image in .*; left out: b\.svg: .*; not images: 1 files"):
        open_images(tmp_path)


@pytest.mark.parametrize("shape", [(9, 12, 1), (9, 12, 3), (9, 12, 4)])
def test_a_file_of_one_image_is_one_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    images = open_images(tmp_path / "a.npy")
    assert len(images) == 1 and images.images[0].shape == shape  # type: ignore[union-attr]
    assert "is taken for one image" in images.notes[0]
