"""Pictures that tests draw: shapes on a ground, every one different; and what happens to pictures on their way."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont


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


# Pictures of nothing that the package does not draw itself, (side, side, 3) uint8: what nonsense is tested with.


def scribble(rng, side=64):
    """Closed lines."""
    image = Image.new("RGB", (side, side), _ground(rng))
    draw, along = ImageDraw.Draw(image), np.linspace(0, 2 * np.pi, 200)
    for _ in range(int(rng.integers(1, 4))):
        ways = [side / 2 + sum(rng.normal() * side / 6 * np.sin(k * along + rng.uniform(0, 6)) for k in range(1, 5))
                for _ in range(2)]  # fmt: skip
        draw.line(np.stack(ways, axis=1).ravel().tolist(), fill=_colour(rng), width=int(rng.integers(1, 4)))
    return np.array(image)


def screen(rng, side=64):
    """A page with a bar, lines of text and buttons."""
    image = Image.new("RGB", (side, side), (250, 250, 250))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(max(5, side // 9))
    draw.rectangle([0, 0, side, side // 8], fill=_colour(rng))
    for y in range(side // 6, side, side // 7):
        if rng.random() < 0.7:
            draw.text((side // 8, y), "".join(rng.choice(list("etaoin shrdlu "), 24)), fill=(60, 60, 60), font=font)
        else:
            draw.rectangle([side // 8, y, side // 8 + int(rng.integers(5, side // 2)), y + side // 10],
                           fill=_colour(rng))  # fmt: skip
    return np.array(image)


def stripes(rng, side=64):
    """A wave in some direction."""
    y, x = np.mgrid[:side, :side]
    angle = rng.uniform(0, np.pi)
    wave = np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / rng.uniform(3, side / 2))
    return _mixed(rng, ((np.sign(wave) if rng.random() < 0.5 else wave) + 1) / 2)


def clouds(rng, side=64):
    """Noise that is smooth from afar."""
    rate = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    rate[0, 0] = 1
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / rate ** rng.uniform(1, 2.2)).real
    return _mixed(rng, (smooth - smooth.min()) / np.ptp(smooth))


def chart(rng, side=64):
    """Bars over an axis."""
    image = Image.new("RGB", (side, side), (255, 255, 255))
    draw, n, ink = ImageDraw.Draw(image), int(rng.integers(3, 9)), _colour(rng)
    draw.line([6, 2, 6, side - 6, side - 2, side - 6], fill=(0, 0, 0))
    for bar in range(n):
        left = 8 + bar * (side - 10) // n
        draw.rectangle([left, side - 7 - int(rng.uniform(0.1, 0.9) * (side - 12)), left + 4, side - 7], fill=ink)
    return np.array(image)


def dots(rng, side=64):
    """Dots here and there."""
    image = Image.new("RGB", (side, side), _ground(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(10, 80))):
        (x, y), size = rng.uniform(0, side, 2), rng.uniform(0.5, side / 12)
        draw.ellipse([x - size, y - size, x + size, y + size], fill=_colour(rng))
    return np.array(image)


def _colour(rng):
    return tuple(rng.integers(0, 256, 3).tolist())


def _ground(rng):
    return ((255, 255, 255), (0, 0, 0), _colour(rng))[int(rng.integers(3))]


def _mixed(rng, share):
    one, other = np.array(_colour(rng)), np.array(_colour(rng))
    return (one + (other - one) * share[..., None]).astype(np.uint8)


def on_black(picture):
    """A picture as the packaged clothes are: grey, 28 x 28, on black."""
    grey = picture.mean(axis=2)
    grey = 255 - grey if np.median(grey[[0, -1]]) > 127 else grey
    small = np.array(Image.fromarray(grey.astype(np.uint8)).resize((24, 24)))
    return np.pad(small, 2)


UNKNOWN = (scribble, screen, stripes, clouds, chart, dots)
"""All of them."""
