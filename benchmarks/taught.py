"""``python -m benchmarks taught``: do clicks and judgements teach an encoder more than augmentation alone?

    python -m benchmarks taught [--quick] [--out benchmarks/results/taught.json]

The packaged clothing: 6,000 pictures to learn from, 3,000 others to be judged on, none of whose labels any training
saw. Simulated users click in lists of ten of the forty nearest by principal components (the same class is what they
want, a class of the same kind interests some; they look at position p with the chance 1 / p and err once in twenty);
simulated judges grade pairs. Training points are those of `annlab train --from-clicks` and `--from-judgements`: half of
them pictures beside themselves, half pairs, each with a negative. Intervals redraw queries, and not the training.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annlab.datasets import fashion_mnist
from annlab.encoders.augment import Augment
from annlab.encoders.clicks import ClickSimulator, estimate_propensities
from annlab.encoders.pairs import AugmentationPairs, ClickPairs, JudgementPairs, MixedPairs, PairSource
from annlab.encoders.training import TrainConfig, train
from annlab.evaluation import compare, from_embeddings
from benchmarks import environment, report
from benchmarks.quality import LabelledSet, simulated_clicks

KINDS = np.array([0, 1, 0, 0, 0, 2, 0, 2, 3, 2])
MEASURE = "ndcg@10"


def main(arguments: Sequence[str]) -> int:
    """Train, measure, print, and write the records if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks taught", description="what people teach an encoder")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="fewer pictures and epochs")
    options = parser.parse_args(arguments)
    n, epochs = (1000, 1) if options.quick else (6000, 5)
    images, labels, _ = fashion_mnist()
    labels = labels.astype(np.int64)
    known, held = slice(0, n), slice(n, n + 3000)
    log = simulated_clicks(LabelledSet("fashion-mnist", images[known], labels[known], images[held], labels[held]),
                           ClickSimulator(eta=1.0, noise=0.05))  # fmt: skip
    records, plain = [], None
    for name, source in sources(labels[known], log).items():
        began = time.process_time()
        config = TrainConfig(epochs=epochs, patience=10**6, n_negatives=int(source is not None),
                             augment=Augment.strong(1))  # fmt: skip
        vectors = train(images[known], source, config).embed(images[held])
        found = from_embeddings(vectors, labels[held], vectors, labels[held], exclude_self=True,
                                measures=[MEASURE, "map"])  # fmt: skip
        plain = found if plain is None else plain
        against = compare(plain, found, MEASURE, n_permutations=999)
        records.append({"learned from": name, MEASURE: found.mean(MEASURE), "map": found.mean("map"),
                        "more than augmentation": against.difference, "low": against.low, "high": against.high,
                        "CPU minutes": (time.process_time() - began) / 60})  # fmt: skip
        print(records[-1], flush=True)
        if options.out:
            about = environment.about()
            report.write_records(options.out, about, records)
    return 0


def sources(labels: np.ndarray, log: tuple[np.ndarray, ...]) -> dict[str, PairSource | None]:
    """Where the positives come from, by name."""
    n, rng = len(labels), np.random.default_rng(0)
    query, other = rng.integers(0, n, (2, 10 * n))
    query, other = query[query != other], other[query != other]
    grades = np.where(labels[query] == labels[other], 3.0, np.where(KINDS[labels[query]] == KINDS[labels[other]], 1, 0))
    pairs: dict[str, PairSource] = {
        "clicks, by inverse propensities": ClickPairs(*log, n, estimate_propensities(*log)),
        "clicks, as they are": ClickPairs(*log, n, np.ones(10)),
        "judgements, ten a picture": JudgementPairs(query, other, grades, n),
    }
    mixed = {name: MixedPairs([AugmentationPairs(n), source], [1, 1]) for name, source in pairs.items()}
    return {"augmentation alone": None, **mixed}
