"""Labels of images, from a file of their own or from what `annlab encode` left beside the embeddings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_labels(path: str) -> "NDArray[Any]":
    """One integer or name per image; a ValueError says what the file holds instead."""
    from annlab.encoders.image_sets import read_array

    labels = read_array(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise ValueError(f"{path} holds {labels.dtype} of shape {labels.shape}, not one integer or name per image")
    return labels


def stored_labels(path: Path) -> "NDArray[Any]":
    """The labels beside embeddings, as annlab encode wrote them; "" for a row that has none."""
    import numpy as np

    beside = path.with_suffix(".json")
    described = json.loads(beside.read_text()) if beside.is_file() else None
    labels = described.get("labels") if isinstance(described, dict) else None
    if not isinstance(labels, list):
        raise ValueError(
            f"no labels are known for {path}: give --labels FILE.npy, or encode a folder with one sub-folder per class"
        )
    numbers = all(isinstance(label, int) and not isinstance(label, bool) for label in labels)
    if not numbers and not all(label is None or isinstance(label, str) for label in labels):
        raise ValueError(f"the labels in {beside} must be all integers, or all names: give --labels FILE.npy")
    return np.array(labels if numbers else ["" if label is None else label for label in labels])


def stored_items(path: Path, n: int) -> list[str]:
    """What the images of embeddings are called, as annlab encode wrote it beside them."""
    beside = path.with_suffix(".json")
    described = json.loads(beside.read_text()) if beside.is_file() else None
    items = described.get("items") if isinstance(described, dict) else None
    if not isinstance(items, list) or len(items) != n or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{beside} does not say which image each of the {n} rows is: embed them with annlab encode")
    return items
