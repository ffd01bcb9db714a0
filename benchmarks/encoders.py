"""``python -m benchmarks encoders``: what every ready-made encoder costs and finds, on the packaged sets.

Of each set `--images` images (500) are taken evenly; each is searched among all the others of these, and an image of
the same class is relevant. Time is CPU time on one thread for decoded images, preprocessing included, the median over
blocks of 64; size is that of the model's file in memory. `fashion-mnist` saw other images of Fashion-MNIST with their
labels; `emoji` saw these very emoji, in words and not in classes, so its row on them is no test and is marked.

With `--page` nothing is measured: docs/encoders.md is written from the results; a test fails while it is stale.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environment

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "encoders.json", ROOT / "docs" / "encoders.md"
BLOCK = 64
SEEN = {("emoji", "emoji")}
"""(encoder, set) where the encoder learned from the images that judge it."""
HEAD = """# Which encoder?

What each ready-made encoder costs and finds on the packaged images. Made from `benchmarks/results/encoders.json` by
`python -m benchmarks encoders --page`; edit neither the figures nor this page.
"""
NOTES = """
- **Colour photographs**: `efficientnet-lite0` knows what is in a photograph, from a million of them;
  `efficientnet-lite0-128` is the same network for small pictures, in a third of the time. Both need
  `pip install "annlab[encoders]"` once; afterwards the model runs without torch.
- **Drawings in colour, and words**: `emoji`. It is the only one that embeds texts into the space of its images.
- **Small gray pictures on black**, as of clothing: `fashion-mnist`. It refuses others, which it knows nothing of.
- **Your own**: `annlab train` learns a head for one of these from your pictures, or a thin CNN, and compares
  ([how](recipes/photos.md#an-encoder-of-your-own)). Training on a GPU is written and was never run.

The sets are small, and no photographs: they show how far an encoder carries beyond what it was made for. Many kinds of
emoji have fewer than ten others among these images, so their P@10 cannot reach 1. What an encoder is worth to you,
`annlab evaluate` says for your own images.
"""


def measure(n_images: int) -> list[dict[str, Any]]:
    """A record for each encoder and set."""
    from annlab.datasets import emoji, fashion_mnist
    from annlab.encoders.encoder import DomainError
    from annlab.encoders.pretrained import NAMES, load_encoder
    from annlab.evaluation import from_embeddings

    clothes, drawings = fashion_mnist(), emoji()
    sets = {"fashion-mnist": (clothes.images, clothes.labels), "emoji": (drawings.images, drawings.labels)}
    records = []
    for set_name, (images, labels) in sets.items():
        chosen = np.linspace(0, len(images) - 1, n_images).astype(int)
        some, classes = images[chosen], np.asarray(labels)[chosen]
        for name in NAMES:
            encoder = load_encoder(name)
            try:
                vectors, seconds = _timed(encoder, some)
            except DomainError:
                print(f"# {name} refuses {set_name}", flush=True)
                continue
            found = from_embeddings(
                vectors, classes, vectors, classes, exclude_self=True, measures=["precision@10", "map"]
            )
            (low, high), (least, most) = found.interval("precision@10"), found.interval("map")
            records.append(
                {"set": set_name, "encoder": name, "images": n_images, "ms an image": 1000 * seconds,
                 "MiB": len(encoder.model) / 2**20, "numbers": encoder.dim, "P@10": found.mean("precision@10"),
                 "low": low, "high": high, "mAP": found.mean("map"), "mAP low": least, "mAP high": most}
            )  # fmt: skip
            print("#", records[-1], flush=True)
    return records


def _timed(encoder: Any, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Embeddings, and the median CPU seconds for an image."""
    encoder.encode(images[:8])
    parts, seconds = [], []
    for start in range(0, len(images), BLOCK):
        block, started = images[start : start + BLOCK], time.process_time()
        parts.append(encoder.encode(block))
        seconds.append((time.process_time() - started) / len(block))
    return np.concatenate(parts), float(np.median(seconds))


def document(content: dict[str, Any]) -> str:
    """The page."""
    machine = content["environment"]
    where = f"{machine['cpu']}, load {machine['load_average']}, commit {machine['commit']}"
    lines = [HEAD, where + ";", "one thread, CPU time. 95 % intervals over the images.", ""]
    heads = ("encoder", "ms an image", "MiB", "numbers", "P@10", "mAP")
    for set_name in dict.fromkeys(record["set"] for record in content["records"]):
        rows = [record for record in content["records"] if record["set"] == set_name]
        lines += [f"**{set_name}**, {rows[0]['images']} images", "", f"| {' | '.join(heads)} |"]
        lines.append("|" + " --- |" * len(heads))
        for row in rows:
            seen = " (learned from these images)" if (row["encoder"], set_name) in SEEN else ""
            found = f"{row['P@10']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            average = f"{row['mAP']:.3f} [{row['mAP low']:.3f}, {row['mAP high']:.3f}]"
            costs = f"{row['ms an image']:.2g} | {row['MiB']:.1f} | {row['numbers']}"
            lines.append(f"| `{row['encoder']}`{seen} | {costs} | {found} | {average} |")
        lines.append("")
    return "\n".join(lines) + NOTES


def main(arguments: list[str]) -> int:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoders", description=__doc__)
    parser.add_argument("--images", type=int, default=500, help="of each set (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the result file")
    parser.add_argument("--page", action="store_true", help="write docs/encoders.md from the results, and nothing else")
    options = parser.parse_args(arguments)
    if not options.page:
        about = environment.about()
        records = [json.dumps({name: round(value, 4) if isinstance(value, float) else value
                               for name, value in record.items()}) for record in measure(options.images)]  # fmt: skip
        text = f'{{"environment": {json.dumps(about, indent=1)},\n"records": [\n' + ",\n".join(records) + "\n]}\n"
        options.out.write_text(text)
        return 0
    PAGE.write_text(document(json.loads(RESULTS.read_text())))
    print(PAGE)
    return 0
