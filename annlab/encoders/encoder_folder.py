"""The folder that a training writes: what may be in it, and how the parts of an encoder get there, all or none.

While it is trained, the folder holds `training.npz`, or the embeddings that a head learns from (`start.npy` and what
belongs to it); a run that was killed goes on from there. Other files in it are nobody's business here; those that are
named as an encoder's are not replaced without being asked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from annlab.encoders.embedding_job import outputs_of
from annlab.encoders.encoder import Encoder
from annlab.encoders.outputs import publish, refuse_existing

# The manifest last: it says that the rest is there. Only an encoder that learned from captions has texts, and only
# where images were held out is there a list of them.
PARTS = ("model.onnx", "texts.npz", "held-out.txt", "MODEL_CARD.md", "encoder.json")
CHECKPOINT, START = "training.npz", "start.npy"  # of a thin CNN; what a head learns from


def refuse_folder(folder: Path, overwrite: bool) -> None:
    """Raise before the work begins if the folder is none, or holds what the encoder's files would replace."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise FileExistsError(f"{folder} is not a folder: name another one for the encoder")
    if not overwrite and os.path.lexists(folder / "encoder.json"):
        raise FileExistsError(
            f"{folder} holds a finished encoder: name another folder, or replace the encoder with --overwrite"
        )
    # Beside a checkpoint the other parts may be this training's own, of a run that was killed while it wrote them.
    unfinished = any(os.path.lexists(folder / name) for name in (CHECKPOINT, START))
    refuse_existing([] if unfinished else [folder / part for part in PARTS], overwrite)


def write_encoder(encoder: Encoder, card: str, held_out: Sequence[str], folder: Path, overwrite: bool) -> None:
    """The encoder's files into its folder, all of them or none; with the names of the images that were held out."""
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".encoder-", dir=folder))
    try:
        encoder.save(staging, card)
        if held_out:
            names = [name.translate({9: " ", 10: " ", 13: " "}) for name in held_out]
            (staging / "held-out.txt").write_text("\n".join(names) + "\n", "utf-8", "surrogateescape")
        elif overwrite:
            (folder / "held-out.txt").unlink(missing_ok=True)
        publish({staging / part: folder / part for part in PARTS if (staging / part).exists()}, overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def held_out_of(folder: Path) -> frozenset[str]:
    """The names of the images that the encoder in a folder did not learn from, as `write_encoder` left them.

    Raises
    ------
    FileNotFoundError
        There is no such list.
    """
    path = folder / "held-out.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no held-out.txt: annlab train writes it where it held images out")
    return frozenset(path.read_text("utf-8", "surrogateescape").splitlines())


def forget(checkpoint: Path) -> None:
    """Remove a checkpoint, and what kills have left of its predecessors."""
    for path in [checkpoint, *checkpoint.parent.glob(f"{checkpoint.name}.*.tmp")]:
        path.unlink(missing_ok=True)


def forget_start(folder: Path, finished_only: bool = False) -> None:
    """Remove the embeddings that a head learned from; those of a job that was killed, too, unless it is to go on."""
    for path in outputs_of(folder / START):
        path.unlink(missing_ok=True)
    if not finished_only:
        shutil.rmtree(folder / f"{START}.partial", ignore_errors=True)


def forget_unfinished(folder: Path) -> None:
    """Remove what only a training that goes on would need."""
    forget(folder / CHECKPOINT)
    forget_start(folder)
