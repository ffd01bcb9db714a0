"""Validation during training: a few numbers per epoch that say whether the embeddings retrieve.

Every image is searched among all the others (itself excluded). At most 1,000 of them serve as queries, evenly spaced,
so that validating 5,000 images costs about a second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annlab.evaluation import from_embeddings

__all__ = ["mean_cosine", "retrieval_metrics", "view_recall"]

MAX_QUERIES = 1000


def retrieval_metrics(
    vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], max_queries: int = MAX_QUERIES
) -> tuple[float, float]:
    """Precision@10 and mean average precision over the full ranking, an image with the same label being relevant."""
    queries = np.arange(len(vectors))[:: max(1, -(-len(vectors) // max_queries))]
    result = from_embeddings(
        vectors[queries], labels[queries], vectors, labels, exclude_self=queries, measures=["precision@10", "map"]
    )
    return result.mean("precision@10"), result.mean("map")


def view_recall(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Share of images whose first view is nearest to its own second view: validation without labels."""
    queries = np.arange(len(first))[:: max(1, -(-len(first) // MAX_QUERIES))]
    return float(np.mean((first[queries] @ second.T).argmax(1) == queries))


def mean_cosine(vectors: npt.NDArray[np.float32]) -> float:
    """Mean cosine similarity of two different rows of length 1: 1 is a collapsed encoder."""
    n = len(vectors)
    total = np.square(vectors.sum(0, dtype=np.float64)).sum()  # the sum of all n * n similarities
    return float((total - n) / (n * (n - 1)))
