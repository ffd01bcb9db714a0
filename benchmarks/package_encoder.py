"""Makes the shipped encoder: ``python -m benchmarks.package_encoder WEIGHTS.npz --data DIR --out FOLDER``.

WEIGHTS.npz comes from ``python -m benchmarks.quality --data DIR --sets fashion-mnist --rows labels --out DIR``. The
domain is learned from the training images; the packaged test images are embedded by the finished ONNX model, and the
measured numbers go into the model card. FOLDER is ``annlab/encoders/models/fashion-mnist`` in this repository.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from annlab.datasets import fashion_mnist, load
from annlab.encoders.encoder import Encoder, learn_domain
from annlab.encoders.encoder_training import encoder_of
from annlab.encoders.preprocess import ColorMode, Resize
from annlab.encoders.trained import Trained
from annlab.evaluation import Evaluation, from_embeddings

DESCRIPTION = "28 x 28 grayscale pictures of clothing on black"
CARD = """# {name}

Embeds {description}. A thin CNN of {parameters:,} weights (`annlab/encoders/cnn.py`),
trained by the code of this repository.

- Embedding: {dim} numbers, length 1; compare by cosine.
- Fingerprint: `{fingerprint}`
- File: model.onnx, {size:,} bytes; convolutions are stored with 16 bits, fully connected layers with 8, and all is
  computed in float32.
- Domain: images with a mean chroma above {chroma} (of 255), or whose outermost frame of pixels is less than {dark:.0%}
  dark, are refused.
- Preprocessing: grayscale, {height} x {width}, 0..1, z-score by the training images' mean {mean:.4f} and deviation
  {std:.4f}.

## Training

- Data: Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv:1708.07747, 2017; MIT licence): its 60,000 training images, of which
  5,000 were held out to choose the epoch. The 10,000 test images, which this package contains, were not used.
- Labels: **used**. Positives are images of one class (supervised contrastive loss). It knows the ten classes of
  Fashion-MNIST; finer differences within a class only as far as they helped to tell classes apart.
- Seed: {seed}. {epochs} epochs, the best (number {best}) by precision@10 on the held-out images: {validation:.4f}.
- Time: {minutes:.1f} CPU-minutes on one thread.
- Commands:

      python -m benchmarks.quality --data DIR --sets fashion-mnist --rows labels --out OUT
      python -m benchmarks.package_encoder OUT/fashion-mnist-labels.npz --data DIR --out annlab/encoders/models/{name}

- Settings: `{settings}`

## Quality

The 10,000 test images, each searched among all the others (exact, cosine), images of its class being relevant; measured
on this file. Intervals: 95 % bootstrap over queries.

| measure | this encoder | pixels (Euclidean) |
|---|---|---|
{rows}

## Licence

MIT, as annlab and as the training data.
"""


def row(measure: str, ours: Evaluation, pixels: Evaluation) -> str:
    low, high = ours.interval(measure)
    return f"| {measure} | {ours.mean(measure):.4f} [{low:.4f}, {high:.4f}] | {pixels.mean(measure):.4f} |"


def card(encoder: Encoder, trained: Trained, folder: Path) -> str:
    images, labels, _ = fashion_mnist()
    embeddings, pixels = encoder.encode(images), images.reshape(len(images), -1).astype(np.float32)
    ours = from_embeddings(embeddings, labels, embeddings, labels, exclude_self=True)
    baseline = from_embeddings(pixels, labels, pixels, labels, metric="l2", exclude_self=True)
    best = max(trained.history, key=lambda epoch: epoch["score"])
    return CARD.format(
        name=encoder.name,
        description=DESCRIPTION,
        parameters=sum(parameter.numel() for parameter in trained.module.parameters()),
        dim=encoder.dim,
        fingerprint=encoder.fingerprint,
        size=(folder / "model.onnx").stat().st_size,
        chroma=encoder.domain.max_chroma,
        dark=encoder.domain.min_dark_frame,
        height=trained.image_shape[0],
        width=trained.image_shape[1],
        mean=trained.mean[0],
        std=trained.std[0],
        seed=trained.config["seed"],
        epochs=len(trained.history),
        best=int(best["epoch"]),
        validation=best["score"],
        minutes=sum(epoch["cpu_seconds"] for epoch in trained.history) / 60,
        settings=json.dumps(trained.config, sort_keys=True),
        rows="\n".join(row(measure, ours, baseline) for measure in ours.scores),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.package_encoder", description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", default=os.environ.get("ANNLAB_DATA"), help="folder of the training set")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    trained = Trained.load(options.weights)
    pixels = load("fashion-mnist-784-euclidean", options.data).train.astype(np.uint8).reshape(-1, 28, 28, 1)
    steps = [ColorMode("grayscale"), Resize(*trained.image_shape)]
    encoder = encoder_of(trained, steps, options.out.name, learn_domain(pixels, DESCRIPTION), compact=True)
    encoder.save(options.out)
    (options.out / "MODEL_CARD.md").write_text(card(encoder, trained, options.out))
    print(encoder)


if __name__ == "__main__":
    main()
