"""A smooth picture, and files of it in any format."""

from __future__ import annotations

import io

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def photo(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    """A smooth RGB picture, so that lossy formats keep it nearly as it is."""
    y, x = np.mgrid[:height, :width]
    phase = np.random.default_rng(seed).random(3)
    return np.stack([127 + 120 * np.sin(x / 13 + y / 17 + 6 * p) for p in phase], axis=-1).astype(np.uint8)
