"""Clicks as a proxy for similarity, judged as in the quality table but small: packaged images, a small network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from annlab.datasets import fashion_mnist  # noqa: E402
from annlab.encoders.clicks import ClickSimulator  # noqa: E402
from annlab.encoders.pairs import ClickPairs, LabelPairs  # noqa: E402
from annlab.encoders.training import TrainConfig, train  # noqa: E402
from annlab.evaluation import from_embeddings  # noqa: E402
from benchmarks.quality import LabelledSet, simulated_clicks  # noqa: E402

SMALL = TrainConfig(epochs=6, batch_size=128, widths=(16, 32, 64), dim=32, bfloat16=False)


@pytest.mark.slow
def test_corrected_clicks_lie_between_uncorrected_ones_and_labels():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    everything = fashion_mnist()
    labels = everything.labels.astype(np.int64)
    data = LabelledSet(
        "fashion-mnist", everything.images[:4000], labels[:4000], everything.images[6000:], labels[6000:]
    )
    log = simulated_clicks(data, ClickSimulator(eta=1.0, noise=0.05))
    clicks = TrainConfig(**{**vars(SMALL), "n_negatives": 1})
    runs = {
        "augmentation": (None, SMALL),
        "uncorrected": (ClickPairs(*log, n_images=4000, propensity=np.ones(10)), clicks),
        "clicks": (ClickPairs(*log, n_images=4000), clicks),
        "labels": (LabelPairs(data.labels), SMALL),
    }
    ndcg = {}
    for name, (source, config) in runs.items():
        vectors = train(data.images, source, config, labels=data.labels).embed(data.test_images)
        result = from_embeddings(
            vectors, data.test_labels, vectors, data.test_labels, exclude_self=True, measures=["ndcg@10"]
        )
        ndcg[name] = result.mean("ndcg@10")
    torch.set_num_threads(threads)
    assert ndcg["uncorrected"] < ndcg["clicks"] < ndcg["labels"], ndcg
