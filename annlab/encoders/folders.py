"""A folder of images: which files are images, what each one's class is, and what became of all the others.

The class of an image is the *top* folder under the root that it lies in, as torchvision's ImageFolder has it:
`dog/2024/park/x.jpg` is a dog. Images directly in the root have no class.

Nothing vanishes silently. Every file is in one of four places:

    images      what has the name or the first bytes of an image; whether it can be decoded shows later
    left_out    what should have been an image and cannot be opened at all, each with the reason: links that lead
                nowhere or in a circle, folders that may not be read, formats that are not read here
    others      files that are no images, counted by their suffix
    n_hidden    files and folders whose names begin with a dot, and the folders in which systems keep thumbnails and
                rubbish (`@eaDir` and the like), counted and not looked into

Links to files and folders are followed, but not into the tree that is being read anyway: its images would come twice,
and a link to a folder above would never end.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from annlab.encoders.images import format_of

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"),
    *(".jfif", ".jpe", ".jif", ".pjpeg", ".pjp", ".mpo", ".apng", ".dib", ".avifs", ".jp2", ".j2k", ".jpf", ".jpx"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
# Pictures all the same. Some would open, and give a preview the size of a stamp.
UNREAD = (
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"),
    *(".svg", ".psd", ".xcf", ".jxl", ".ico", ".icns", ".tga", ".exr", ".hdr", ".eps", ".pcx", ".wmf", ".emf"),
)
# Made by Synology, macOS, QNAP and Windows.
SYSTEM_FOLDERS = frozenset(
    ("@eaDir", "#recycle", "#snapshot", "__MACOSX", "@Recycle", "$RECYCLE.BIN", "System Volume Information")
)


@dataclass
class Found:
    """What lies in a folder; see the head of this file.

    Attributes
    ----------
    images : list of Path
        Sorted.
    left_out : list of (str, str)
        The path relative to the folder, and the reason.
    others : Counter
        How many files of each suffix are no images.
    n_hidden : int
    """

    images: list[Path] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    n_hidden: int = 0


def find_images(root: Path) -> Found:
    """Walk a folder and its sub-folders."""
    found, entered = Found(), {root.resolve()}
    folders = [root]
    while folders:  # a stack, since folders nest deeper than Python's calls
        below = _scan(folders.pop(), root, entered, found)
        folders += reversed(below)
    found.images.sort()
    found.left_out.sort()
    return found


def class_of(item: str) -> str:
    """The top folder of a path relative to the root; "" for what lies in the root itself."""
    top, slash, _ = item.partition("/")
    return top if slash else ""


def described(found: Found) -> list[str]:
    """In words, for the progress of a command: what is not among the images; empty if nothing is."""
    lines = [f"left out: {item}: {reason}" for item, reason in found.left_out]
    if found.others:
        kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in found.others.most_common())
        lines.append(f"not images: {found.others.total()} files ({kinds})")
    if found.n_hidden:
        lines.append(f"not looked at: {found.n_hidden} hidden files and folders")
    return lines


def _scan(folder: Path, root: Path, entered: set[Path], found: Found) -> list[Path]:
    """Add the files of a folder, and return the folders in it that are to be read, too.

    `entered` holds the real path of the root, and of all folders outside it that links have led to so far.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        found.left_out.append((_item(folder, root), f"the folder cannot be read: {error.strerror}"))
        return []
    below: list[Path] = []
    for name in names:
        path = folder / name
        if name.startswith(".") or name in SYSTEM_FOLDERS:
            found.n_hidden += 1
            continue
        try:
            reason = _add(path, entered, found, below)
        except (OSError, RuntimeError) as error:  # names beyond the system's limit, files deleted since, circles
            reason = f"cannot be opened: {getattr(error, 'strerror', None) or error}"
        if reason is not None:
            found.left_out.append((_item(path, root), reason))
    return below


def _add(path: Path, entered: set[Path], found: Found, below: list[Path]) -> str | None:
    """Put a path where it belongs; the reason if it is to be left out."""
    is_link = path.is_symlink()
    if is_link and not path.exists():
        return _broken_link(path)
    if not path.is_dir():
        return _add_file(path, found)
    if is_link:
        real = path.resolve()
        if any(real.is_relative_to(other) or other.is_relative_to(real) for other in entered):
            return f"a link to {real}, which is read anyway, or holds what is being read"
        entered.add(real)
    below.append(path)
    return None


def _add_file(path: Path, found: Found) -> str | None:
    suffix = path.suffix.lower()
    if not path.is_file():
        return "neither a file nor a folder"
    if suffix in UNREAD:
        return f"{suffix} is not read here: convert it to JPEG or PNG"
    if suffix in SUFFIXES or _begins_like_an_image(path):
        found.images.append(path)
    else:
        found.others[suffix] += 1
    return None


def _begins_like_an_image(path: Path) -> bool:
    with path.open("rb") as file:
        return format_of(file.read(32)) is not None


def _broken_link(path: Path) -> str:
    target = os.readlink(path)
    try:
        path.stat()
    except FileNotFoundError:
        return f"a link to {target}, which does not exist"
    except OSError as error:  # among them links that lead to each other
        return f"a link to {target}, which cannot be followed: {error.strerror}"
    return f"a link to {target}, which has only just appeared"


def _item(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else "."
