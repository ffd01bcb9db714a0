"""Pictures of nothing, drawn by a seed: what a search learns to answer with nothing.

    noise       of several grains, flat colours, ramps from black; half of them grey, half of them on black
    strokes     lines here and there             letters    words in no order
    ramps       from one colour to another       chequered  squares of two colours
    blocks      rectangles over each other       shuffled   the parts of a picture, each where another was
    pages       bars, lines of text, boxes       charts     bars or lines over axes

As they come they differ from a catalog's pictures by their colours and their ground alone, where these have a manner of
their own (clothes in grey on black, say), and who learned that would take any drawing in this manner for a picture. So
`dressed` gives a picture the ground, the light and, where it is grey, the greyness of another.
"""

from __future__ import annotations

import numpy as np

Pixels = np.ndarray
_WORDS = "the of and to in is you that it he was for on are as with his they at be this from have or by one had".split()


def nonsense_pictures(n: int, side: int = 64, seed: int = 0) -> list[Pixels]:
    """n pictures of nothing, (side, side, 3) uint8: noise of several grains, flat colours, ramps; half of them grey,
    half of them on black."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(n):
        grain = (1, 2, 4, 8, side)[number % 5]  # the last is one flat colour
        cells = -(-side // grain)
        values: np.ndarray = rng.integers(0, 256, (cells, cells, 3))
        if number % 2:
            values[:] = values[..., :1]
        if number % 5 == 4 and number % 3 == 0:
            values = np.linspace(0, rng.integers(100, 256), side)[:, None, None] * np.ones((side, side, 3))
            grain = 1
        picture = np.repeat(np.repeat(values, grain, 0), grain, 1)[:side, :side].astype(np.uint8)
        if number // 5 % 2:
            frame = max(1, side // int(rng.integers(7, 28)))
            framed = np.zeros_like(picture)
            framed[frame:-frame, frame:-frame] = picture[frame:-frame, frame:-frame]
            picture = framed
        pictures.append(picture)
    return pictures


def drawn_nonsense(n: int, pictures: list[Pixels], seed: int = 0, dressing: int = 5) -> list[Pixels]:
    """n pictures of nothing of all kinds, as they come; every `dressing`-th dressed like one of some pictures
    (height, width, 1 or 3). Where there are none, none is dressed or shuffled."""
    rng = np.random.default_rng(seed)
    noise = nonsense_pictures(n, seed=seed)
    kinds = (_strokes, _letters, _ramp, _chequered, _blocks, _page, _chart)
    drawn = []
    for number in range(n):
        like = coloured(pictures[int(rng.integers(len(pictures)))]) if pictures else None
        kind = number % (len(kinds) + (1 if like is None else 2))
        if kind == len(kinds):
            picture = noise[number]
        elif kind > len(kinds) and like is not None:
            picture = _shuffled(like, rng)
        else:
            picture = kinds[kind](rng, int(rng.choice([28, 64, 128])))
        drawn.append(dressed(picture, like, rng) if number % dressing == dressing - 1 and like is not None else picture)
    return drawn


def dressed(picture: Pixels, like: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture, both (height, width, 3) uint8, with the ground, the light and the greyness of another one."""
    wide, other = picture.astype(np.float64), like.astype(np.float64)
    if float((other.max(axis=2) - other.min(axis=2)).mean()) < 3:
        wide = np.repeat(wide.mean(axis=2, keepdims=True), 3, axis=2)
    ground = np.median(border_of(other), axis=0)
    if (float(ground.mean()) > 127) != (float(np.median(border_of(wide))) > 127):
        wide = 255 - wide
    frame = int(max(wide.shape[:2]) * rng.uniform(0.05, 0.3))
    height, width = wide.shape[0] + 2 * frame, wide.shape[1] + 2 * frame
    whole = np.broadcast_to(ground, (height, width, 3)).copy()
    light = (other.std() + 1) / (wide.std() + 1) if rng.random() < 0.5 else 1.0
    inner = ground + (wide - np.median(border_of(wide), axis=0)) * light if rng.random() < 0.5 else wide
    whole[frame : height - frame, frame : width - frame] = inner
    result: Pixels = np.clip(whole, 0, 255).astype(np.uint8)
    return result


def coloured(pixels: Pixels) -> Pixels:
    """A picture (height, width, 1 or 3) in three channels."""
    result: Pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return result


def border_of(picture: Pixels) -> np.ndarray:
    """The pixels (n, channels) of the outermost frame."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _ground(rng: np.random.Generator) -> tuple[int, ...]:
    return ((255, 255, 255), (0, 0, 0), _colour(rng))[int(rng.integers(3))]


def _strokes(rng: np.random.Generator, side: int) -> Pixels:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (side, side), _ground(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 15))):
        places = rng.uniform(0, side, (int(rng.integers(2, 6)), 2)).ravel().tolist()
        draw.line(places, fill=_colour(rng), width=int(rng.integers(1, max(2, side // 10))))
    return np.array(image)


def _letters(rng: np.random.Generator, side: int) -> Pixels:
    from PIL import Image, ImageDraw, ImageFont

    ground, ink = _ground(rng), _colour(rng)
    if rng.random() < 0.5:  # as most text is
        ground, ink = ((250, 250, 250), (30, 30, 30)) if rng.random() < 0.7 else ((30, 30, 30), (220, 220, 220))
    image = Image.new("RGB", (side, side), ground)
    draw, size = ImageDraw.Draw(image), int(rng.integers(side // 12, side // 3))
    font = ImageFont.load_default(size)
    for y in range(int(rng.integers(0, side // 4)), side, int(1.3 * size)):
        draw.text((int(rng.integers(0, side // 6)), y), " ".join(rng.choice(_WORDS, 6)), fill=ink, font=font)
    return np.array(image)


def _ramp(rng: np.random.Generator, side: int) -> Pixels:
    y, x = np.mgrid[:side, :side] / side
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        along = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) * rng.uniform(0.7, 1.4) + 0.5
    else:
        along = np.hypot(x - rng.random(), y - rng.random()) * rng.uniform(0.7, 2)
    return _between(rng, np.clip(along, 0, 1))


def _chequered(rng: np.random.Generator, side: int) -> Pixels:
    squares = np.indices((side, side)) * int(rng.integers(2, 12)) // side
    return _between(rng, squares.sum(axis=0) % 2)


def _between(rng: np.random.Generator, share: np.ndarray) -> Pixels:
    """Two colours, mixed by a share (height, width) of the second."""
    one, other = np.array(_colour(rng)), np.array(_colour(rng))
    mixed: Pixels = (one + (other - one) * share[..., None]).astype(np.uint8)
    return mixed


def _blocks(rng: np.random.Generator, side: int) -> Pixels:
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = _colour(rng)
    for _ in range(int(rng.integers(3, 12))):
        (left, right), (top, bottom) = np.sort(rng.integers(0, side + 1, (2, 2)), axis=1).tolist()
        picture[top:bottom, left:right] = _colour(rng)
    return picture


def _page(rng: np.random.Generator, side: int) -> Pixels:
    """As a screen shows one: light or dark, bars at its edges, lines of text or what is left of them when they are
    small, boxes in one colour or in many."""
    from PIL import Image, ImageDraw, ImageFont

    dark = rng.random() < 0.3
    grey = int(rng.integers(15, 50) if dark else rng.integers(235, 256))
    image = Image.new("RGB", (side, int(side * rng.choice([0.6, 0.75, 1.0, 1.0, 1.8]))), (grey, grey, grey))
    draw, height, accent = ImageDraw.Draw(image), image.height, _colour(rng)
    left, top = 0, 0
    if rng.random() < 0.7:
        top = int(rng.integers(side // 16, side // 6))
        draw.rectangle([0, 0, side, top], fill=accent)
    if rng.random() < 0.3:
        left = int(rng.integers(side // 8, side // 3))
        draw.rectangle([0, top, left, height], fill=(grey * 9 // 10,) * 3)
    margin, line = int(rng.integers(1, max(2, side // 8))), int(rng.integers(max(3, side // 20), side // 5))
    font, share = ImageFont.load_default(max(4, line * 3 // 4)), rng.uniform(0.2, 1)
    y = top + margin
    while y < height:
        width = int(side * rng.uniform(0.1, 1))
        ink = (int(rng.integers(150, 240) if dark else rng.integers(0, 130)),) * 3
        if rng.random() < share:
            draw.text((left + margin, y), " ".join(rng.choice(_WORDS, 8)), fill=ink, font=font)
        elif rng.random() < 0.5:
            draw.rectangle([left + margin, y, left + margin + width, y + line * 2 // 3],
                           fill=accent if rng.random() < 0.5 else _colour(rng))  # fmt: skip
        else:
            for x in range(left + margin, side, 2 * line):
                draw.rectangle([x, y, x + line * 3 // 2, y + line], fill=_colour(rng))
        y += line
    return np.array(image)


def _chart(rng: np.random.Generator, side: int) -> Pixels:
    from PIL import Image, ImageDraw

    ground = 255 if rng.random() < 0.8 else 25
    image = Image.new("RGB", (side, side), (ground, ground, ground))
    draw, edge, n = ImageDraw.Draw(image), max(2, side // int(rng.integers(6, 20))), int(rng.integers(3, 14))
    right, bottom, axis = side - edge, side - edge, (255 - ground,) * 3
    across = np.linspace(edge + 1, right, n + 1)
    several, alike = int(rng.integers(1, 4)), rng.random() < 0.6
    colours = [_colour(rng)] * n if alike else [_colour(rng) for _ in range(n)]
    if rng.random() < 0.4:
        for y in np.linspace(edge, bottom, 5).tolist():
            draw.line([edge, y, right, y], fill=(200, 200, 200))
    if rng.random() < 0.5:
        for bar in range(n):
            left, top = across[bar], bottom - rng.uniform(0.05, 1) * (bottom - edge)
            wide = rng.uniform(0.4, 0.9) * (right - edge) / n
            draw.rectangle([left, top, left + wide, bottom], fill=colours[bar])
    else:
        for _ in range(several):
            values = bottom - np.clip(np.cumsum(rng.normal(size=n + 1)) / 4 + 0.5, 0, 1) * (bottom - edge)
            draw.line(np.stack([across, values], axis=1).ravel().tolist(), fill=_colour(rng), width=max(1, side // 40))
    draw.line([edge, edge, edge, bottom, right, bottom], fill=axis, width=max(1, side // 64))
    return np.array(image)


def _shuffled(picture: Pixels, rng: np.random.Generator) -> Pixels:
    n = int(rng.choice([3, 4, 5, 7]))
    high, wide = max(1, picture.shape[0] // n), max(1, picture.shape[1] // n)
    rows, columns = picture.shape[0] // high, picture.shape[1] // wide
    parts = picture[: rows * high, : columns * wide].reshape(rows, high, columns, wide, 3).swapaxes(1, 2)
    mixed = parts.reshape(rows * columns, high, wide, 3)[rng.permutation(rows * columns)]
    result: Pixels = mixed.reshape(rows, columns, high, wide, 3).swapaxes(1, 2).reshape(rows * high, columns * wide, 3)
    return result
