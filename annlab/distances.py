"""What "l2", "cosine" and "ip" mean here: the smaller, the nearer, always.

=========  ======================================  ==========================================================
metric     distance of a row x and a query q       notes
=========  ======================================  ==========================================================
`l2`       sqrt(sum (x_i - q_i)^2)                 the Euclidean distance, not squared
`cosine`   1 - cos(x, q), in [0, 2]                computed as half the squared difference of x/|x| and q/|q|;
                                                   a zero vector is at distance 1 from everything
`ip`       -sum x_i q_i                            the negated inner product: may be negative, is no metric
=========  ======================================  ==========================================================

The arithmetic itself stands once, in `kernels/distance.py`: float64 sums in a fixed order. Rows are ranked by them, and
what is returned is rounded to the element type of the index.
"""

from dataclasses import dataclass

import numpy as np

from annlab.common import validation
from annlab.kernels import distance as kernels


@dataclass(frozen=True)
class Metric:
    """A way to measure nearness: its public name and the code by which kernels know it."""

    name: str
    code: int


METRICS = {
    "l2": Metric("l2", kernels.L2),
    "cosine": Metric("cosine", kernels.COSINE),
    "ip": Metric("ip", kernels.INNER_PRODUCT),
}


def get_metric(name: str) -> Metric:
    """Look a metric up by its name; an unknown name raises a ValueError that suggests the nearest one."""
    return METRICS[validation.as_choice("metric", name, METRICS)]


def pairwise(queries: np.ndarray, vectors: np.ndarray, metric: str = "l2") -> np.ndarray:
    """All distances of some queries to some vectors, by the one definition.

    Parameters
    ----------
    queries : array of shape (q, dim)
    vectors : array of shape (n, dim)
    metric : {"l2", "cosine", "ip"}

    Returns
    -------
    array of shape (q, n), float64 if either input is float64, else float32.

    Raises
    ------
    ValueError, TypeError
        If an input is not a finite numeric matrix, or the dimensions differ.

    Notes
    -----
    Slow on purpose: it is the reference. To find neighbours use an index.

    Examples
    --------
    >>> pairwise([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]]).tolist()
    [[5.0, 1.0]]
    """
    code = get_metric(metric).code
    vectors = validation.as_vectors(vectors, name="vectors", metric=metric)
    queries = validation.as_vectors(queries, dim=vectors.shape[1], name="queries", metric=metric)
    dtype = np.result_type(vectors, queries)
    vectors, queries = vectors.astype(dtype, copy=False), queries.astype(dtype, copy=False)
    result = np.empty((len(queries), len(vectors)), dtype)
    kernels.all_distances(queries, vectors, code, result)
    return result
