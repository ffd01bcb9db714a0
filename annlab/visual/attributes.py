"""What the index knows of an image beside its vector, so that searches can filter by it."""

from collections.abc import Sequence

import numpy as np

from annlab.visual.catalog import Image


def attributes_of(some: Sequence[Image]) -> dict[str, np.ndarray]:
    """What searches filter by: owner (-1 for none), whether it is private, and the time of upload in seconds."""
    return {
        "owner": np.array([-1 if image.owner_id is None else image.owner_id for image in some], np.int64),
        "private": np.array([image.private for image in some], bool),
        "uploaded": np.array([image.uploaded_at.timestamp() for image in some], np.float64),
    }
