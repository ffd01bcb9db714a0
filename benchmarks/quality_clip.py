"""How well do sentences find images? ``python -m benchmarks.quality_clip --data DIR`` trains CLIP on Fashion-MNIST.

Captions are made of class names and templates. Judged on the 10,000 test images with the wordings of training, with
templates that no caption of training used, and with names that none used either (plurals and compounds: what they
share with the trained names are letter triples). Zero-shot accuracy is the share of images nearest to their own
class's sentence; text to image, and image to text, are precision@10 and mean reciprocal rank across the two kinds of
embeddings.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from annlab.encoders.captions import captions_from_tags
from annlab.encoders.clip import Clip, ClipConfig
from annlab.encoders.clip_training import train_clip
from annlab.evaluation import from_embeddings
from benchmarks.quality import load_fashion_mnist

NAMES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
UNSEEN_NAMES = [
    "t-shirts", "trousers", "pullovers", "dresses", "overcoat", "sandals", "shirts", "sneakers", "handbag", "boots",
]  # fmt: skip
TEMPLATES = [
    "a photo of a {}", "this is a {}", "a gray picture of a {}", "one {} on a dark background", "{}", "an old {}",
    "the {} is for sale", "fashion item: {}",
]  # fmt: skip
UNSEEN_TEMPLATES = ["look at my new {}!", "product shot, {}, catalogue 2017", "who wants to buy this {}?"]


def judge(model: Clip, images: np.ndarray, labels: np.ndarray, names: list[str], templates: list[str]) -> list[float]:
    """-> zero-shot accuracy, text-to-image precision@10, image-to-text mean reciprocal rank."""
    accuracy = float(np.mean(model.classify(images, names, templates) == labels))
    texts = [caption for template in templates for caption in captions_from_tags(names, [template])]
    of_texts, classes = model.embed_texts(texts), np.tile(np.arange(len(names)), len(templates))
    of_images = model.embed_images(images)
    to_images = from_embeddings(of_texts, classes, of_images, labels, measures=["precision@10"])
    to_texts = from_embeddings(of_images, labels, of_texts, classes, measures=["mrr"])
    return [accuracy, to_images.mean("precision@10"), to_texts.mean("mrr")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_clip", description="CLIP on Fashion-MNIST")
    folder = os.environ.get("ANNLAB_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else None, help="folder ($ANNLAB_DATA)")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        parser.error("give --data DIR or set ANNLAB_DATA")
    import torch

    torch.set_num_threads(options.threads)
    data = load_fashion_mnist(options.data)
    started = time.process_time()
    tags = [NAMES[label] for label in data.labels]
    model = train_clip(data.images, tags, TEMPLATES, ClipConfig(epochs=options.epochs), progress=print)
    print(f"trained in {(time.process_time() - started) / 60:.1f} CPU-minutes\n")
    print("| wording | zero-shot accuracy | text to image, P@10 | image to text, MRR |\n|---|---|---|---|")
    for wording, names, templates in [
        ("of training", NAMES, TEMPLATES),
        ("unseen templates", NAMES, UNSEEN_TEMPLATES),
        ("unseen templates and names", UNSEEN_NAMES, UNSEEN_TEMPLATES),
    ]:
        cells = judge(model, data.test_images, data.test_labels, names, templates)
        print(f"| {wording} | {' | '.join(f'{cell:.4f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
