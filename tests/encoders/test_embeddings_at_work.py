"""Embeddings beyond search, through scikit-learn: k-NN classification and k-means clustering.

The recipe for any encoder, data set or estimator of scikit-learn; rows have length 1, so Euclidean distance orders them
as cosine does, and k-means on them is nearly spherical k-means.

    embeddings = load_encoder("fashion-mnist").encode(images)
    KNeighborsClassifier(n_neighbors=10).fit(embeddings[:n], labels[:n]).predict(embeddings[n:])
    KMeans(n_clusters=10, n_init=3, random_state=0).fit_predict(embeddings)
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from annlab.datasets import fashion_mnist
from annlab.encoders import load_encoder

for extra in ("onnxruntime", "PIL"):
    pytest.importorskip(extra)
N = 2000


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(embeddings, pixels, labels) of the first 2,000 packaged images, none of which the encoder was trained on."""
    images, labels, _ = fashion_mnist()
    pixels = images[:N].reshape(N, -1).astype(np.float32)
    return load_encoder("fashion-mnist").encode(images[:N]), pixels, labels[:N]


def test_embeddings_classify_better_than_pixels(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    embeddings, pixels, labels = data
    accuracy = {}
    for name, vectors in (("embeddings", embeddings), ("pixels", pixels)):
        classifier = KNeighborsClassifier(n_neighbors=10).fit(vectors[: N // 2], labels[: N // 2])
        accuracy[name] = classifier.score(vectors[N // 2 :], labels[N // 2 :])
    assert accuracy["embeddings"] > 0.88
    assert accuracy["embeddings"] > accuracy["pixels"] + 0.08


def test_embeddings_cluster_better_than_pixels(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    embeddings, pixels, labels = data
    agreement = {}
    for name, vectors in (("embeddings", embeddings), ("pixels", pixels)):
        clusters = KMeans(n_clusters=10, n_init=3, random_state=0).fit_predict(vectors)
        agreement[name] = normalized_mutual_info_score(labels, clusters)
    assert agreement["embeddings"] > 0.7
    assert agreement["embeddings"] > agreement["pixels"] + 0.15
