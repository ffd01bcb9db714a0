"""Small images of four kinds of shapes at random places and brightness: enough to learn from in seconds."""

import numpy as np

NAMES = ["square", "cross", "stripes", "disc"]


def toy_images(n, seed=0, size=28, channels=1):
    """-> uint8 (n, size, size[, 3]), labels 0..3 in turn."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, size, size, channels))
    labels = np.arange(n) % 4
    y, x = np.mgrid[:size, :size]
    for i, label in enumerate(labels):
        row, column = rng.uniform(9, size - 9, 2)
        radius = rng.uniform(5, 8)
        dy, dx = np.abs(y - row), np.abs(x - column)
        box = np.maximum(dy, dx) < radius
        shape = [
            box,
            box & (np.minimum(dy, dx) < 2),
            box & (y // 2 % 2 == 0),
            dy**2 + dx**2 < radius**2,
        ][label]
        images[i] = shape[..., None] * rng.uniform(100, 220, channels)
    images += rng.normal(0, 12, images.shape)
    images = images.clip(0, 255).astype(np.uint8)
    return (images[..., 0] if channels == 1 else images), labels
