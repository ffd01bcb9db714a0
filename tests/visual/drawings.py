"""Pictures that tests draw: shapes on a ground, every one different; and what happens to pictures on their way."""

import io

import numpy as np
from PIL import Image, ImageDraw


def drawing(rng, side=160):
    """One picture of random shapes in random colours."""
    image = Image.new("RGB", (side, int(side * rng.uniform(0.7, 1.4))), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 10))):
        x, y = np.sort(rng.integers(0, image.width, 2)), np.sort(rng.integers(0, image.height, 2))
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape([x[0], y[0], x[1], y[1]], fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def encoded(image, quality=80):
    """A picture after JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def variant(image, rng):
    """The same picture as it comes back: resized, slightly cropped, encoded again."""
    if rng.random() < 0.5:
        left, top, right, bottom = rng.uniform(0, 0.05, 4)
        box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
        image = image.crop(tuple(int(edge) for edge in box))
    if rng.random() < 0.7:
        scale = rng.uniform(0.4, 1.6)
        image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.LANCZOS)
    return encoded(image, int(rng.integers(35, 95)))
