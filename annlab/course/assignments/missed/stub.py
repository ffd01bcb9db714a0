"""What an approximate search misses, and where it lies in the partition. See handout.md."""

import numpy as np

ASSIGNMENT = "missed"


def leaf_ranges(data: np.ndarray, leaf_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Halve the rows at the median of their widest axis, again and again, until no leaf has more than leaf_size.

    data: (n, d). Returns order (n,), all rows, those of a leaf side by side; and starts (n_leaves + 1,): leaf i holds
    order[starts[i] : starts[i + 1]]. So starts begins with 0 and ends with n.
    """
    raise NotImplementedError


def leaf_boxes(data: np.ndarray, order: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest box around the rows of each leaf: low and high, both (n_leaves, d)."""
    raise NotImplementedError


def visit_order(low: np.ndarray, high: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The leaves by the distance of the query from their boxes (0 inside), and among equals by number: (n_leaves,)."""
    raise NotImplementedError


def search(
    data: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    visits: np.ndarray,
    query: np.ndarray,
    k: int,
    n_leaves: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest, by the Euclidean distance, among the rows of the first n_leaves leaves of visits.

    Returns (distances, rows), the nearest first and, among equals, the smaller row; fewer if there are fewer.
    """
    raise NotImplementedError


def missed(
    true_rows: np.ndarray, found_rows: np.ndarray, order: np.ndarray, starts: np.ndarray, visits: np.ndarray
) -> list[tuple[int, int]]:
    """Which of the true neighbours were missed, and how many leaves would have to be visited to find each.

    visits: leaves in the order in which they are visited. Returns (row, n_leaves) for each row of true_rows that is not
    among found_rows, in the order of true_rows; n_leaves is 1 for a row of the first leaf.
    """
    raise NotImplementedError


def average_precision(found_rows: np.ndarray, relevant: np.ndarray) -> float:
    """The precisions at the ranks of the relevant rows that were found: their sum over the number of relevant rows.

    found_rows: the best first. A relevant row that was not found adds nothing, but counts.
    """
    raise NotImplementedError


def outlines(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The borders of boxes in two dimensions, to be drawn.

    Returns (n_leaves, 5, 2): the four corners in turn, then the first again.
    """
    raise NotImplementedError
