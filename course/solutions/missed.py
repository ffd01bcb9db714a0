"""What an approximate search misses, and where it lies in the partition. See handout.md."""

import numpy as np

ASSIGNMENT = "missed"


def leaf_ranges(data: np.ndarray, leaf_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Halve the rows at the median of their widest axis, again and again, until no leaf has more than leaf_size.

    data: (n, d). Returns order (n,), all rows, those of a leaf side by side; and starts (n_leaves + 1,): leaf i holds
    order[starts[i] : starts[i + 1]]. So starts begins with 0 and ends with n.
    """
    leaves = _leaves(data, np.arange(len(data)), leaf_size)
    return np.concatenate(leaves), np.cumsum([0] + [len(leaf) for leaf in leaves])


def leaf_boxes(data: np.ndarray, order: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest box around the rows of each leaf: low and high, both (n_leaves, d)."""
    leaves = [data[order[starts[i] : starts[i + 1]]] for i in range(len(starts) - 1)]
    return np.array([leaf.min(axis=0) for leaf in leaves]), np.array([leaf.max(axis=0) for leaf in leaves])


def visit_order(low: np.ndarray, high: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The leaves by the distance of the query from their boxes (0 inside), and among equals by number: (n_leaves,)."""
    distances = np.sqrt(((query - np.clip(query, low, high)) ** 2).sum(axis=1))
    return np.argsort(distances, kind="stable")


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
    rows = np.concatenate([order[starts[leaf] : starts[leaf + 1]] for leaf in visits[:n_leaves]])
    distances = np.sqrt(((data[rows] - query) ** 2).sum(axis=1))
    best = np.lexsort((rows, distances))[:k]
    return distances[best], rows[best]


def missed(
    true_rows: np.ndarray, found_rows: np.ndarray, order: np.ndarray, starts: np.ndarray, visits: np.ndarray
) -> list[tuple[int, int]]:
    """Which of the true neighbours were missed, and how many leaves would have to be visited to find each.

    visits: leaves in the order in which they are visited. Returns (row, n_leaves) for each row of true_rows that is not
    among found_rows, in the order of true_rows; n_leaves is 1 for a row of the first leaf.
    """
    answer = []
    for row in true_rows.tolist():
        if row not in found_rows:
            place = int(np.flatnonzero(order == row)[0])
            leaf = int(np.searchsorted(starts, place, side="right")) - 1
            answer.append((row, int(np.flatnonzero(visits == leaf)[0]) + 1))
    return answer


def average_precision(found_rows: np.ndarray, relevant: np.ndarray) -> float:
    """The precisions at the ranks of the relevant rows that were found: their sum over the number of relevant rows.

    found_rows: the best first. A relevant row that was not found adds nothing, but counts.
    """
    hits = np.isin(found_rows, relevant)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / len(relevant))


def outlines(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The borders of boxes in two dimensions, to be drawn.

    Returns (n_leaves, 5, 2): the four corners in turn, then the first again.
    """
    (left, bottom), (right, top) = low.T, high.T
    horizontal, vertical = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
    return np.stack([np.stack(horizontal, axis=1), np.stack(vertical, axis=1)], axis=2)


def _leaves(data, rows, leaf_size):
    if len(rows) <= leaf_size:
        return [rows]
    axis = np.ptp(data[rows], axis=0).argmax()
    rows = rows[np.argsort(data[rows, axis], kind="stable")]
    middle = len(rows) // 2
    return _leaves(data, rows[:middle], leaf_size) + _leaves(data, rows[middle:], leaf_size)
