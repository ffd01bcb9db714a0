"""The files that a command leaves: never over something that it did not make.

A command asks `refuse_existing` before it starts, so that nobody waits an hour for a refusal. It writes its results
into a folder of its own, and `publish` moves them to their places at the end. There the question is asked again, by the
system itself: a hard link is made only where nothing is. A run that was killed between two files finds its own ones
when it is repeated: they have the same bytes.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise a FileExistsError that names what is in the way, and check that all of the paths can be written at all.

    With `overwrite` files may be replaced; folders and devices never are.
    """
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        if path.exists() and not path.is_file():
            raise FileExistsError(f"{path} is a folder or a device: name another file")
    if there and not overwrite:
        names = " and ".join(str(path) for path in there)
        raise FileExistsError(
            f"{names} {'exists' if len(there) == 1 else 'exist'} already: name another file, or replace what is there "
            "with --overwrite"
        )
    for path in paths:
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise NotADirectoryError(f"{path} cannot be written: {folder} is no folder that may be written to")


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[str | os.PathLike[str]], what: str) -> None:
    """Raise a FileExistsError if a file that is to be written is one of those that are read, links followed.

    `--overwrite` does not mean them: who names one has made a slip of the pen.
    """
    read = [Path(path) for path in inputs]
    for output in outputs:
        for path in read:
            if output.absolute() == path.absolute() or (output.exists() and path.exists() and output.samefile(path)):
                raise FileExistsError(f"{output} belongs to {what}: name another file")


def publish(staged: Mapping[Path, Path], overwrite: bool) -> None:
    """Move files to their places, in the given order: {where it was written: where it belongs}. All on one disk.

    The last file is the one that says that there is a result: with `overwrite` the old one goes first, so that a kill
    never leaves it beside new ones.

    Raises
    ------
    FileExistsError
        Something else is there, and is not to be overwritten. What was moved so far stays.
    """
    if overwrite and staged:
        list(staged.values())[-1].unlink(missing_ok=True)
    for source, target in staged.items():
        if overwrite:
            os.replace(source, target)
            continue
        try:
            os.link(source, target)
        except FileExistsError:
            if not is_same(source, target):
                raise FileExistsError(
                    f"{target} has appeared in the meantime, and is not of this run: move it away and repeat the "
                    "command, or replace it with --overwrite"
                ) from None
        except OSError:  # a file system without links
            if os.path.lexists(target):
                raise FileExistsError(f"{target} has appeared in the meantime: move it away, or --overwrite") from None
            os.replace(source, target)
        source.unlink(missing_ok=True)
    for folder in {target.parent for target in staged.values()}:
        _sync_folder(folder)


def is_same(source: Path, target: Path) -> bool:
    """Whether both are files of the same content."""
    return source.is_file() and target.is_file() and filecmp.cmp(source, target, shallow=False)


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    """Write a JSON file as a whole or not at all, replacing what is there."""
    write_text(path, json.dumps(content, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole or not at all, replacing what is there."""
    temporary = path.with_name(f".annlab-{os.getpid()}.tmp")  # short, whatever the length of the final name
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
