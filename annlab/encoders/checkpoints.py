"""Checkpoints: named tensors and a JSON manifest in one .npz file, without pickle.

A .npz is a zip of .npy arrays; the manifest is one of them, a string. Reading never runs code from the file
(``allow_pickle=False``), which a pickled checkpoint would. Writing goes to a temporary file beside the target that then
replaces it, so a kill at any moment leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from annlab.encoders._torch import torch

__all__ = [
    "CheckpointError",
    "load_checkpoint",
    "load_unfinished",
    "optimizer_tensors",
    "restore_optimizer",
    "save_checkpoint",
    "under",
]

FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from: damaged, of another format, or of another run."""


def save_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], manifest: dict[str, Any]
) -> None:
    """Write tensors and a JSON-able manifest to `path`, atomically."""
    target = Path(path)
    arrays = {f"tensor/{name}": tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, **manifest})
    temporary = target.with_name(target.name + f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, manifest=np.array(text), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        If the file is damaged, no checkpoint, or of another format version (names both versions).
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            manifest = json.loads(str(file["manifest"]))
            tensors = {
                name.removeprefix("tensor/"): torch.from_numpy(file[name])
                for name in file.files
                if name.startswith("tensor/")
            }
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint of annlab: {error}") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has checkpoint format {version}, this annlab reads format {FORMAT_VERSION}")
    return tensors, manifest


def load_unfinished(
    path: str | os.PathLike[str], run: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The same of a run that was stopped: a CheckpointError if that was another run than this one."""
    tensors, manifest = load_checkpoint(path)
    _check_same_run(path, manifest.get("run", {}), run)
    return tensors, manifest


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's moments and step counts under the names "optimizer/<parameter number>/<name>"."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer/{i}/{name}": value for i, entries in state.items() for name, value in entries.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _check_same_run(path: str | os.PathLike[str], theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another run: what it says of images and settings is not what this one has.

    Raises
    ------
    CheckpointError
        Names what differs.
    """
    different = [
        f"{name} is {theirs.get(name)}, this run's is {ours[name]}" for name in ours if theirs.get(name) != ours[name]
    ]
    if different:
        raise CheckpointError(
            f"the checkpoint {path} is of another run: its {'; its '.join(different)}. Give another path, "
            f"or delete the file to start over"
        )


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
