"""How well do embeddings retrieve? ``python -m benchmarks.quality --data DIR`` prints the quality table.

The protocol: queries and gallery are the 10,000 test images of a set, none of which any training saw; each is
searched among all the others, and an image of the same class is relevant. 5,000 of the training images are held out
of training to choose between models; the test images are read once for each row of the table. Intervals are 95 %
bootstraps over queries: they speak of the choice of queries, not of the chance in training (one seed).

Rows: the pixels themselves, their principal components, and thin CNNs that learned from augmentation alone, from
simulated clicks (corrected for position, and not), and from labels. Recipes stand in `RECIPES`.

Needs `fashion-mnist-784-euclidean.hdf5` (training images; the test images are part of the package) and
`cifar10_jpeg.npz` in DIR. Trained weights go to --out and are used again from there. With --json the rows go to a
result file, each in place of the one that stood there before; the others of the file stay. Minutes are those of
training, of one thread.
"""

import argparse
import io
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from annlab.datasets import fashion_mnist
from annlab.encoders.augment import Augment
from annlab.encoders.clicks import ClickSimulator
from annlab.encoders.pairs import ClickPairs, LabelPairs, PairSource
from annlab.encoders.trained import Trained
from annlab.encoders.training import TrainConfig, train
from annlab.evaluation import Evaluation, from_embeddings
from benchmarks import environment, report

MEASURES = ["precision@10", "map", "ndcg@10"]
ROWS = ["pixels", "pca", "self-supervised", "clicks", "clicks-uncorrected", "labels"]
N_COMPONENTS = 128

# What is not said here is the default: augmentation and loss by the source of positives, batches of 256, 3e-3.
RECIPES = {
    ("fashion-mnist", "self-supervised"): TrainConfig(epochs=6),
    ("fashion-mnist", "clicks"): TrainConfig(epochs=3, n_negatives=1, augment=Augment.strong(1)),
    ("fashion-mnist", "labels"): TrainConfig(epochs=12, loss="supervised_contrastive"),
    ("cifar-10", "self-supervised"): TrainConfig(epochs=16, patience=10**6),
    ("cifar-10", "clicks"): TrainConfig(epochs=6, n_negatives=1, augment=Augment.strong(3)),
    ("cifar-10", "labels"): TrainConfig(
        epochs=8,
        batch_size=128,
        loss="normalised_softmax",
        augment=Augment(min_scale=0.5, max_shift=0.1, colour=0.2),
        early_size=0.75,
    ),
}
# Classes that a user may take for similar: the grades of the simulated users (same class 1, same kind 0.3, else 0).
KINDS = {"fashion-mnist": [0, 1, 0, 0, 0, 2, 0, 2, 3, 2], "cifar-10": [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]}


class LabelledSet(NamedTuple):
    """Training and test images (uint8) with their labels."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_fashion_mnist(folder: Path) -> LabelledSet:
    import h5py

    with h5py.File(folder / "fashion-mnist-784-euclidean.hdf5") as file:
        images, labels = file["train"][:].astype(np.uint8).reshape(-1, 28, 28), file["train_labels"][:].astype(np.int64)
    test = fashion_mnist()
    return LabelledSet("fashion-mnist", images, labels, test.images, test.labels.astype(np.int64))


def load_cifar_10(folder: Path) -> LabelledSet:
    from PIL import Image

    with np.load(folder / "cifar10_jpeg.npz") as file:
        data, offsets, labels, split = (file[name] for name in ("data", "offsets", "labels", "split"))
    files = (data[start:stop].tobytes() for start, stop in pairwise(offsets))
    images = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
    labels = labels.astype(np.int64)
    return LabelledSet("cifar-10", images[split == 0], labels[split == 0], images[split == 1], labels[split == 1])


LOADERS: dict[str, Callable[[Path], LabelledSet]] = {"fashion-mnist": load_fashion_mnist, "cifar-10": load_cifar_10}


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def principal_components(images: np.ndarray, n_components: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images to their first principal components, learned from at most 10,000 images."""
    sample = flat(images[:: max(1, len(images) // 10_000)]).astype(np.float64)
    centre = sample.mean(0)
    components = np.linalg.eigh(np.cov(sample - centre, rowvar=False))[1][:, -n_components:]
    return lambda some: (flat(some) - centre) @ components


def simulated_clicks(data: LabelledSet, simulator: ClickSimulator, seed: int = 0, n_sessions: int = 2):
    """Impressions of users who search by principal components: lists of 10 from the 40 nearest of some 6,000 images.

    Every training image is the query of `n_sessions` sessions over the same ten images; the order is by distance with
    some noise, as from a ranker that changes a little, so that pairs appear at several positions.
    """
    rng = np.random.default_rng(seed)
    vectors = principal_components(data.images, 64)(data.images).astype(np.float32)
    kinds = np.asarray(KINDS[data.name])
    columns = []
    for rows in np.array_split(rng.permutation(len(vectors)), max(1, len(vectors) // 6000)):
        gallery = vectors[rows]
        distance = (gallery**2).sum(1) - 2 * gallery @ gallery.T  # up to a constant per query
        np.fill_diagonal(distance, np.inf)
        nearest = np.argpartition(distance, 40, axis=1)[:, :40]
        nearest = rng.permuted(nearest, axis=1)[:, :10]
        shown_distance = np.take_along_axis(distance, nearest, axis=1)
        for _ in range(n_sessions):
            noise = rng.normal(0, shown_distance.std(axis=1, keepdims=True), shown_distance.shape)
            shown = rows[np.take_along_axis(nearest, np.argsort(shown_distance + noise, axis=1), axis=1)]
            same = data.labels[shown] == data.labels[rows][:, None]
            similar = kinds[data.labels[shown]] == kinds[data.labels[rows]][:, None]
            relevance = np.where(same, 1.0, np.where(similar, 0.3, 0.0))
            columns.append(simulator.impressions(rows, shown, relevance, rng))
    return tuple(np.concatenate(parts) for parts in zip(*columns))


def source_of(row: str, data: LabelledSet) -> PairSource | None:
    """Where the positives of a row's training come from."""
    if row == "labels":
        return LabelPairs(data.labels)
    if row.startswith("clicks"):
        log = simulated_clicks(data, ClickSimulator(eta=1.0, noise=0.05))
        propensity = np.ones(10) if row == "clicks-uncorrected" else None
        return ClickPairs(*log, n_images=len(data.images), propensity=propensity)
    return None


def embed_row(row: str, data: LabelledSet, out: Path | None) -> tuple[np.ndarray, float]:
    """Embeddings of the test images, and the CPU minutes of training; trains where `out` has no weights of this row."""
    if row == "pixels":
        return flat(data.test_images), 0.0
    if row == "pca":
        return principal_components(data.images, N_COMPONENTS)(data.test_images), 0.0
    trained = trained_row(row, data, out)
    return trained.embed(data.test_images), sum(epoch["cpu_seconds"] for epoch in trained.history) / 60


def trained_row(row: str, data: LabelledSet, out: Path | None) -> Trained:
    weights = out / f"{data.name}-{row}.npz" if out else None
    if weights is not None and weights.exists():
        return Trained.load(weights)
    config = RECIPES[data.name, row.removesuffix("-uncorrected")]
    checkpoint = weights.with_suffix(".checkpoint.npz") if weights else None

    def progress(epoch: dict[str, float]) -> None:
        print("#", data.name, row, {name: round(value, 4) for name, value in epoch.items()}, flush=True)

    trained = train(
        data.images, source_of(row, data), config, labels=data.labels, checkpoint=checkpoint, progress=progress
    )
    if weights is not None:
        trained.save(weights)
        weights.with_suffix(".checkpoint.npz").unlink()
    return trained


def judged(vectors: np.ndarray, data: LabelledSet, row: str) -> Evaluation:
    """Each test image searched among all the others."""
    metric: Literal["l2", "cosine"] = "l2" if row in ("pixels", "pca") else "cosine"
    labels = data.test_labels
    return from_embeddings(vectors, labels, vectors, labels, metric=metric, exclude_self=True, measures=MEASURES)


def record_of(data: LabelledSet, row: str, result: Evaluation, minutes: float) -> dict[str, Any]:
    """A row of the table."""
    record: dict[str, Any] = {"set": data.name, "row": row}
    for measure, name in zip(MEASURES, ("P@10", "mAP", "nDCG@10"), strict=True):
        low, high = result.interval(measure)
        record |= {name: result.mean(measure), f"{name} low": low, f"{name} high": high}
    return {**record, "CPU minutes": round(minutes, 1), "commit": environment.commit()}


def format_row(record: dict[str, Any]) -> str:
    cells = [
        f"{record[name]:.4f} [{record[f'{name} low']:.4f}, {record[f'{name} high']:.4f}]"
        for name in ("P@10", "mAP", "nDCG@10")
    ]
    return f"| {record['set']} | {record['row']} | {' | '.join(cells)} | {record['CPU minutes']:.1f} |"


def store(path: Path, records: list[dict[str, Any]]) -> None:
    """Put rows into a result file, each in place of the one of its set and name."""
    known = json.loads(path.read_text())["records"] if path.exists() else []
    rows = {(record["set"], record["row"]): record for record in [*known, *records]}
    order = [(name, row) for name in LOADERS for row in ROWS]
    report.write_records(path, environment.about(), [rows[key] for key in order if key in rows])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description="The quality table of the encoders"
    )
    folder = os.environ.get("ANNLAB_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else None, help="folder ($ANNLAB_DATA)")
    parser.add_argument("--sets", nargs="+", choices=list(LOADERS), default=list(LOADERS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--out", type=Path, help="folder for trained weights; those that are there are used")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result file (benchmarks/results/quality.json)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.data is None:
        parser.error("give --data DIR or set ANNLAB_DATA")
    import torch

    torch.set_num_threads(options.threads)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    print(f"| set | row | {' | '.join(MEASURES)} | CPU minutes |\n|---|---|{'---|' * len(MEASURES)}---|")
    for name in options.sets:
        data = LOADERS[name](options.data)
        for row in options.rows:
            vectors, minutes = embed_row(row, data, options.out)
            record = record_of(data, row, judged(vectors, data, row), minutes)
            print(format_row(record), flush=True)
            if options.json is not None:
                store(options.json, [record])


if __name__ == "__main__":
    main()
