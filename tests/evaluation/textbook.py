"""The measures once more, slowly: plain Python straight from the definitions, one query at a time, no NumPy.

Written for being obviously right, and sharing nothing with the package. ``ranking`` is a list of ids, best first;
``grades`` maps ids to grades (absent: 0); an item is relevant if its grade is above 0.
"""

from math import log2


def relevant_items(grades):
    return {item for item, grade in grades.items() if grade > 0}


def reciprocal_rank(ranking, grades, k=None):
    for rank, item in enumerate(ranking[:k], start=1):
        if item in relevant_items(grades):
            return 1 / rank
    return 0.0


def precision(ranking, grades, k):
    return len([item for item in ranking[:k] if item in relevant_items(grades)]) / k


def recall(ranking, grades, k):
    wanted = relevant_items(grades)
    return len(wanted & set(ranking[:k])) / len(wanted) if wanted else 0.0


def average_precision(ranking, grades, k=None, reachable=False):
    wanted = relevant_items(grades)
    if not wanted:
        return 0.0
    at_hits = [precision(ranking, grades, rank) for rank, item in enumerate(ranking[:k], start=1) if item in wanted]
    return sum(at_hits) / (min(len(wanted), k) if reachable else len(wanted))


def dcg(gains):
    return sum(gain / log2(position + 1) for position, gain in enumerate(gains, start=1))


def ndcg(ranking, grades, k=None, exponential=True):
    def gain(grade):
        return 2**grade - 1 if exponential else grade

    ideal = dcg([gain(grade) for grade in sorted(grades.values(), reverse=True)][:k])
    return dcg([gain(grades.get(item, 0)) for item in ranking[:k]]) / ideal if ideal > 0 else 0.0


BY_NAME = {
    "mrr": reciprocal_rank,
    "mrr@3": lambda r, g: reciprocal_rank(r, g, 3),
    "recall@4": lambda r, g: recall(r, g, 4),
    "precision@4": lambda r, g: precision(r, g, 4),
    "map": average_precision,
    "map@4": lambda r, g: average_precision(r, g, 4),
    "map_reachable@4": lambda r, g: average_precision(r, g, 4, reachable=True),
    "ndcg": ndcg,
    "ndcg@4": lambda r, g: ndcg(r, g, 4),
    "ndcg_linear": lambda r, g: ndcg(r, g, None, exponential=False),
    "ndcg_linear@4": lambda r, g: ndcg(r, g, 4, exponential=False),
}
