"""Files are published whole, in order, and never over something that the command did not make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from annlab.encoders.outputs import publish, refuse_existing, write_json


def staged(tmp_path: Path) -> dict[Path, Path]:
    (tmp_path / "work").mkdir()
    for name in ("one", "two"):
        (tmp_path / "work" / name).write_text(f"new {name}")
    return {tmp_path / "work" / name: tmp_path / name for name in ("one", "two")}


@pytest.mark.parametrize("links", [True, False])
def test_publish_never_replaces_what_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    files = staged(tmp_path)
    (tmp_path / "two").write_text("mine")
    with pytest.raises(FileExistsError, match=r"two has appeared in the meantime.*--overwrite"):
        publish(files, overwrite=False)
    assert (tmp_path / "two").read_text() == "mine"
    (tmp_path / "work" / "one").write_text("new one")
    (tmp_path / "two").unlink()
    if not links:
        (tmp_path / "one").unlink()
    publish(files, overwrite=False)  # `one` is there from the first try, with the same content
    assert (tmp_path / "one").read_text() == "new one" and (tmp_path / "two").read_text() == "new two"
    assert list((tmp_path / "work").iterdir()) == []


def test_overwriting_takes_the_last_file_away_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = staged(tmp_path)
    for target in files.values():
        target.write_text("old")
    seen: list[bool] = []
    replace = os.replace

    def observed(source: Path, target: Path) -> None:
        seen.append((tmp_path / "two").exists())
        replace(source, target)

    monkeypatch.setattr(os, "replace", observed)
    publish(files, overwrite=True)
    assert seen == [False, False] and (tmp_path / "two").read_text() == "new two"


def test_refusals_come_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    refuse_existing([tmp_path / "new", tmp_path / "deep" / "new"], overwrite=False)
    refuse_existing([tmp_path / "there", tmp_path / "link"], overwrite=True)
    with pytest.raises(FileExistsError, match=r"there and .*link exist already.*--overwrite"):
        refuse_existing([tmp_path / "there", tmp_path / "link"], overwrite=False)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="folder or a device"):
            refuse_existing([tmp_path / "folder"], overwrite)
        with pytest.raises(NotADirectoryError, match="there is no folder"):
            refuse_existing([tmp_path / "there" / "e.npy"], overwrite)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert (tmp_path / "a.json").read_text() == "old"
    write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "a.json").read_text() == '{"a": 1}' and len(list(tmp_path.iterdir())) == 1
