"""Makes the packaged pictures: ``python -m benchmarks.package_emoji PICTURES NAMES KEYWORDS --out annlab/data``.

PICTURES, NAMES and KEYWORDS are the folders of three packages of npm, unpacked: emoji-datasource-google (drawings of 64
x 64 pixels with their groups), unicode-emoji-json (the names in Unicode's list) and emojilib (keywords):

    npm pack emoji-datasource-google@16.0.0 unicode-emoji-json@0.9.0 emojilib@4.0.3

The pictures are composited on white. A drawing that comes in several skin tones is one drawing in several colours: its
pixels are clustered by what they are in *all* tones together, so one map of colour numbers serves six pictures (or
26), and each of these adds a palette only. That is what makes 3,786 pictures fit into 3 MB. The price is at most 128
colours a drawing (more where there are 26 tones); the script prints what it costs as a signal-to-noise ratio.

The same packages and versions of the libraries give the same files; other versions may cluster a little differently.
"""

import argparse
import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from annlab.datasets.noto import COLUMNS, PICTURES_FILE, SIDE, TABLE_FILE

COLOURS, MANY_TONES, COLOURS_OF_MANY = 128, 6, 224
TONES = {
    "1F3FB": "light skin tone",
    "1F3FC": "medium-light skin tone",
    "1F3FD": "medium skin tone",
    "1F3FE": "medium-dark skin tone",
    "1F3FF": "dark skin tone",
}
FLAG_OF = {"country-flag", "subdivision-flag"}


def characters(code: str) -> str:
    """The emoji of a code such as "1F44B-1F3FB"."""
    return "".join(chr(int(part, 16)) for part in code.split("-"))


def cleaned(words: list[str], name: str) -> list[str]:
    """Keywords in lower case, each once, without signs and without the name."""
    found: dict[str, None] = {}
    for word in words:
        text = unicodedata.normalize("NFKC", word).lower().replace("_", " ").replace("’", "'")
        text = " ".join("".join(c if c.isalnum() or c in " '-:/" else " " for c in text).split()).strip("'-:/ ")
        if len(text) > 1 and any(c.isalpha() for c in text) and text != name.lower():
            found[text] = None
    return list(found)


def rows_of(data: list[dict[str, Any]], names: dict[str, Any], keywords: dict[str, Any], images: Path) -> list[Any]:
    """One list for each drawing: (code, file, name, group, subgroup, keywords) of each of its tones."""
    drawings = []
    for entry in sorted(data, key=lambda entry: entry["sort_order"]):
        emoji = characters(entry["unified"])
        name = TONES.get(entry["unified"]) or names[emoji]["name"]
        if entry["subcategory"] in FLAG_OF:
            name = "flag of " + name.removeprefix("flag ")
        words = cleaned(keywords.get(emoji, []), name)
        kinds = (entry["category"], entry["subcategory"].replace("-", " "))
        pictures = [(entry["unified"], entry["image"], name, *kinds, words)]
        for tones, variant in entry.get("skin_variations", {}).items():
            toned = f"{name}: {', '.join(TONES[tone] for tone in tones.split('-'))}"
            pictures.append((variant["unified"], variant["image"], toned, *kinds, words))
        drawings.append([picture for picture in pictures if (images / picture[1]).is_file()])
    return [drawing for drawing in drawings if drawing]


def on_white(path: Path) -> np.ndarray:
    """The pixels of a picture (64, 64, 3) uint8."""
    from annlab.encoders.images import decode_image

    pixels = decode_image(path)
    if pixels.shape[:2] != (SIDE, SIDE):
        raise ValueError(f"{path} is {pixels.shape[1]} x {pixels.shape[0]}, not {SIDE} x {SIDE}")
    return np.broadcast_to(pixels, (SIDE, SIDE, 3))


def with_few_colours(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One map (64, 64) and a palette (tones, colours, 3) for a drawing (tones, 64, 64, 3)."""
    from sklearn.cluster import KMeans

    tones = len(pixels)
    together = pixels.transpose(1, 2, 0, 3).reshape(SIDE * SIDE, 3 * tones)
    distinct, place, count = np.unique(together, axis=0, return_inverse=True, return_counts=True)
    wanted = COLOURS if tones <= MANY_TONES else COLOURS_OF_MANY
    colours, number = distinct.astype(np.float64), np.arange(len(distinct))
    if len(distinct) > wanted:
        model = KMeans(wanted, n_init=1, max_iter=40, random_state=0)
        number = model.fit(distinct.astype(np.float32), sample_weight=count).labels_
        colours = model.cluster_centers_
    order = np.argsort(colours.reshape(len(colours), tones, 3).sum(axis=(1, 2)), kind="stable")  # dark to light
    rank = np.argsort(order)
    palette = np.rint(colours[order]).clip(0, 255).astype(np.uint8).reshape(-1, tones, 3).transpose(1, 0, 2)
    return rank[number][place.ravel()].astype(np.uint8).reshape(SIDE, SIDE), palette


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """An .npz that is compressed by LZMA, a quarter smaller here than by deflate; with one date, so that it repeats."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_LZMA
            with archive.open(entry, "w", force_zip64=False) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def main() -> None:
    options = argparse.ArgumentParser(description="Makes the packaged pictures of emoji.")
    for name in ("pictures", "names", "keywords"):
        options.add_argument(name, type=Path, help="the folder of an unpacked package")
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    images = chosen.pictures / "img" / "google" / str(SIDE)
    data = json.loads((chosen.pictures / "emoji.json").read_text())
    names = json.loads((chosen.names / "data-by-emoji.json").read_text())
    keywords = json.loads((chosen.keywords / "dist" / "emoji-en-US.json").read_text())
    maps, palettes, lines, errors = [], [], ["\t".join(COLUMNS)], []
    for drawing, pictures in enumerate(rows_of(data, names, keywords, images)):
        pixels = np.stack([on_white(images / file) for _, file, *_ in pictures])
        map_, palette = with_few_colours(pixels)
        maps.append(map_)
        palettes += list(palette)
        errors += list(np.square(palette[:, map_].astype(float) - pixels).mean(axis=(1, 2, 3)))
        for number, (code, _, name, group, subgroup, words) in enumerate(pictures):
            lines.append("\t".join([code, str(drawing), name, group, subgroup, "" if number else "; ".join(words)]))
    sizes = np.array([len(palette) for palette in palettes], dtype=np.int32)
    # Channel by channel, for LZMA finds more to share among reds than among colours.
    flat = np.concatenate(palettes).T.copy()
    write_arrays(chosen.out / PICTURES_FILE, maps=np.stack(maps), colours=flat, sizes=sizes)
    (chosen.out / TABLE_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    quality = 10 * np.log10(255**2 / np.maximum(errors, 1e-2))
    print(f"{len(palettes)} pictures of {len(maps)} drawings: {(chosen.out / PICTURES_FILE).stat().st_size:,} bytes")
    print(f"signal-to-noise: median {np.median(quality):.1f} dB, 1 % below {np.percentile(quality, 1):.1f}")


if __name__ == "__main__":
    main()
