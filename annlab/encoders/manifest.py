"""The manifest of an encoder, `encoder.json`, and how its files are read and written.

A manifest may come from anywhere: the types and ranges of all that it says are checked here, but for the preprocessing
steps, which `preprocess.py` checks. Files are read only up to a size that an honest one keeps.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

FORMAT = "annlab-encoder"
VERSION = 1
MANIFEST_BYTES = 100_000


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read encoder.json and check the types and ranges of everything but the steps; `texts_sha256` may be None."""
    path = folder / "encoder.json"
    if not path.is_file():
        raise FileNotFoundError(f"there is no encoder in {folder}: it has no encoder.json")
    try:
        manifest = json.loads(read_bounded(path, MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe an encoder of annlab")
    if manifest.get("version") != VERSION or isinstance(manifest["version"], bool):
        raise ValueError(f"{path} has format version {manifest.get('version')!r}, but this annlab reads {VERSION}")
    types = {"name": str, "dim": int, "fingerprint": str, "model_sha256": str, "domain": dict, "preprocess": list}
    for key, kind in types.items():
        if not isinstance(manifest.get(key), kind) or isinstance(manifest[key], bool):
            raise ValueError(f"{path}: {key} must be of type {kind.__name__}, not {str(manifest.get(key))[:80]!r}")
    if not isinstance(manifest.setdefault("texts_sha256", None), str | None):
        raise ValueError(f"{path}: texts_sha256 must be of type str, not {str(manifest['texts_sha256'])[:80]!r}")
    domain = manifest["domain"]
    limits = [domain.get(key) for key in ("max_chroma", "min_dark_frame")]
    numbers = [limit for limit in limits if limit is not None]
    if (
        not set(domain) <= {"description", "max_chroma", "min_dark_frame"}
        or not isinstance(domain.get("description"), str)
        or not all(isinstance(limit, int | float) and 0 <= limit <= 255 for limit in numbers)
    ):
        raise ValueError(f"{path}: domain must hold a description and limits from 0 to 255, not {str(domain)[:200]}")
    return manifest


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file of at most so many bytes."""
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"{path} has {size} bytes; at most {limit} are accepted")
    return path.read_bytes()


def replace_file(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def sha256(data: bytes) -> str:
    """The hash of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
