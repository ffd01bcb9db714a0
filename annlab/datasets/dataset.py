"""What a data set for nearest-neighbour search consists of.

A gallery to search in (``train``), held-out queries (``test``), and the metric that says what "near" means. Some sets
bring more: the true neighbours of every query, class labels (two things of one class are relevant to each other), and
the images that the vectors were made of. The names ``train``, ``test``, ``neighbors`` and ``distances`` are those of
ann-benchmarks (Aumueller, Bernhardsson, Faithfull, "ANN-Benchmarks", Information Systems 87, 2020).
"""

from dataclasses import dataclass

import numpy as np

METRICS = ("l2", "cosine", "ip")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A gallery, queries, and what is known of them.

    Attributes
    ----------
    name : str
    train : ndarray of shape (n, dim)
        The gallery, in the dtype in which it is stored.
    test : ndarray of shape (q, dim)
        The queries; none of them is meant to be a row of ``train``.
    metric : {"l2", "cosine", "ip"}
    neighbors : ndarray of int64, shape (q, k), or None
        Rows of ``train``, the nearest first: the exact answer to every query.
    distances : ndarray of shape (q, k), or None
        Their distances as the source states them: Euclidean for "l2", 1 - cos for "cosine".
    train_labels, test_labels : ndarray of integers, shape (n,) and (q,), or None
    train_images, test_images : ndarray of uint8, shape (n, height, width[, 3]) and (q, ...), or None
    class_names : tuple of str
        What the labels mean; empty where that is not known.

    Raises
    ------
    ValueError
        If the parts do not fit together; the message names the shapes.

    Examples
    --------
    >>> import numpy as np
    >>> Dataset("toy", train=np.zeros((5, 3)), test=np.ones((2, 3)), metric="l2")
    Dataset('toy': 5 x 3 float64, 2 queries, l2)
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    metric: str
    neighbors: np.ndarray | None = None
    distances: np.ndarray | None = None
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    train_images: np.ndarray | None = None
    test_images: np.ndarray | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if self.metric not in METRICS:
            raise ValueError(f"{self.name}: metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        for part in ("train", "test"):
            vectors = getattr(self, part)
            if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
                raise ValueError(
                    f"{self.name}: {part} must be 2-d and of real numbers, "
                    f"not of shape {vectors.shape} and dtype {vectors.dtype}"
                )
            for kind in ("labels", "images"):
                beside = getattr(self, f"{part}_{kind}")
                if beside is not None and len(beside) != len(vectors):
                    raise ValueError(f"{self.name}: {len(beside)} {part}_{kind} for {len(vectors)} rows of {part}")
        if self.train.shape[1] != self.test.shape[1]:
            raise ValueError(f"{self.name}: train has {self.train.shape[1]} columns, test has {self.test.shape[1]}")
        self._check_neighbors()

    def _check_neighbors(self) -> None:
        """Every true neighbour is a row of the gallery, and there is one list a query."""
        if self.neighbors is None:
            if self.distances is not None:
                raise ValueError(f"{self.name}: distances are given without neighbors")
            return
        if self.neighbors.ndim != 2 or len(self.neighbors) != len(self.test) or self.neighbors.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name}: neighbors must be integers of shape ({len(self.test)}, k), "
                f"not {self.neighbors.dtype} of shape {self.neighbors.shape}"
            )
        if self.neighbors.size and not 0 <= self.neighbors.min() <= self.neighbors.max() < len(self.train):
            raise ValueError(
                f"{self.name}: neighbors must be rows 0..{len(self.train) - 1} of train, "
                f"but range from {self.neighbors.min()} to {self.neighbors.max()}"
            )
        if self.distances is not None and self.distances.shape != self.neighbors.shape:
            raise ValueError(
                f"{self.name}: distances have shape {self.distances.shape}, neighbors {self.neighbors.shape}"
            )

    @property
    def dim(self) -> int:
        """Number of columns of every vector."""
        return int(self.train.shape[1])

    def __repr__(self) -> str:
        """Say what is in the set, not its arrays."""
        parts = [f"{len(self.train)} x {self.dim} {self.train.dtype}", f"{len(self.test)} queries", self.metric]
        if self.neighbors is not None:
            parts.append(f"{self.neighbors.shape[1]} true neighbours each")
        if self.train_labels is not None:
            parts.append("labels")
        if self.train_images is not None:
            parts.append("images")
        return f"Dataset({self.name!r}: {', '.join(parts)})"
