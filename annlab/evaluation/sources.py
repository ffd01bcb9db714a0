"""The three ways in: from rankings, from embeddings with labels, and from judged triples.

All end in the same place: blocks of queries whose results are rows of grades
(:class:`~annlab.evaluation.measures.Ranked`), to which the formulas of ``ranking.py`` are applied. Blocks bound the
memory, whatever the number of queries.

Rankings from embeddings are found by sorting *keys* instead of sorting distances and gathering ids and labels
after. A key is one uint64 that holds all that decides and all that is asked::

    bits 63..32   the distance, rounded to float32, as an integer of the same order
    bit  31       the tie rule: 0 for what goes first among equal distances
    bits 30..1    the row in the gallery: ties go to the smaller id
    bit  0        is it relevant?

Sorted keys are the ranking by (distance, id), and their lowest bits are its relevance. It takes half the
time of a stable argsort with a gather of the labels, and ``np.partition`` does for a top k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_doubles, as_ids, as_labels, as_numbers, refuse_duplicates, refuse_negative_ids
from annlab.evaluation.judgements import Judgements, is_relevant
from annlab.evaluation.measures import DEFAULT_MEASURES, Measure, Ranked, parse_measures
from annlab.evaluation.report import Evaluation

Metric = Literal["l2", "cosine", "ip"]
Ties = Literal["id", "best", "worst"]

_BLOCK = 2**21  # entries of a (queries, gallery) block: 16 MB a float64 array, and about six are alive at once
_LARGEST_GALLERY = 2**30  # rows that fit in a key


def from_rankings(
    ranked_ids: ArrayLike,
    relevant: Judgements | Sequence[Any],
    *,
    measures: Iterable[str] = DEFAULT_MEASURES,
    relevance_level: float | None = None,
) -> Evaluation:
    """Judge rankings that a search returned.

    Parameters
    ----------
    ranked_ids : int array of shape (q, k)
        The ids found for each query, best first; -1 pads rows with fewer results and may stand anywhere (a pad
        keeps its rank, and is never relevant).
    relevant : Judgements, or a sequence of q entries
        What is relevant to query i: a set, list or array of ids, or a mapping from id to grade.
    measures : names
        See :func:`parse_measure`. One without a cut-off ("map", "mrr") judges the k results that there are.
    relevance_level : float, optional
        The smallest grade that counts as relevant (trec_eval's ``-l``); without it, every grade above 0 does. nDCG
        uses the grades themselves and does not change.

    Raises
    ------
    ValueError
        If a row holds an id twice, an id is below -1, the numbers of queries differ, or a cut-off is larger than k.

    Examples
    --------
    >>> found = [[10, 30, 20, 50], [70, 10, -1, -1]]
    >>> from_rankings(found, [{10: 3, 20: 1}, {70: 2}], measures=["mrr", "map", "ndcg@3"]).means()
    {'mrr': 1.0, 'map': 0.9166666666666666, 'ndcg@3': 0.9914211139533698}
    """
    wanted = parse_measures(measures)
    ids = as_ids(ranked_ids, "ranked_ids", 2)
    deepest = max((m.k for m in wanted if m.k is not None), default=0)
    if deepest > ids.shape[1]:
        raise ValueError(
            f"a measure at {deepest} needs {deepest} results a query, but ranked_ids has {ids.shape[1]} columns: "
            f"search with k={deepest}, or pad the rows with -1 if there are no more"
        )
    judged = relevant if isinstance(relevant, Judgements) else Judgements.from_lists(relevant)
    if len(judged) != len(ids):
        raise ValueError(f"ranked_ids has {len(ids)} rows, but relevant has {len(judged)} entries")
    refuse_negative_ids(ids, "ranked_ids")
    refuse_duplicates(ids, "ranked_ids")
    rows = max(1, _BLOCK // max(ids.shape[1], int(np.diff(judged.offsets).max(initial=0)), 1))

    def block(start: int, stop: int) -> Ranked:
        part = judged.rows(start, stop)
        grades = part.grades_of(ids[start:stop])
        return Ranked(
            grades, is_relevant(grades, relevance_level), part.n_relevant(relevance_level), part.padded_grades()
        )

    return _evaluate(block, rows, judged.query_ids, wanted)


def from_judgements(
    queries: ArrayLike,
    candidates: ArrayLike,
    similarities: ArrayLike,
    distances: ArrayLike,
    *,
    measures: Iterable[str] = DEFAULT_MEASURES,
    relevance_level: float | None = None,
    ties: Ties = "id",
) -> Evaluation:
    """Judge how a system orders the candidates that people have graded.

    Each judged pair is one entry of four arrays of shape (n,), in any order. The candidates of a query are ranked
    by the system's distance and compared with their grades; items that nobody judged play no part. (To judge
    rankings of a whole gallery by the same triples, give ``Judgements.from_triples(...)`` to
    :func:`from_rankings`.)

    Parameters
    ----------
    queries, candidates : int arrays
    similarities : array
        How similar people find candidate and query: 0 for not at all, then 1, 2, ...; the grade.
    distances : array
        The system's distance between the two: the smaller, the nearer.
    measures, relevance_level
        As in :func:`from_rankings`. Queries with fewer than k candidates are allowed: the missing ranks are not
        relevant.
    ties : {"id", "best", "worst"}
        Which of the candidates at equal distance goes first: the smaller id; the higher grade; the lower grade.

    Examples
    --------
    >>> from_judgements(queries=[1, 1, 1, 2, 2], candidates=[7, 8, 9, 7, 9], similarities=[3, 0, 1, 0, 2],
    ...                 distances=[0.3, 0.1, 0.2, 0.5, 0.4], measures=["mrr", "precision@2"]).means()
    {'mrr': 0.75, 'precision@2': 0.5}
    """
    _check_ties(ties)
    wanted = parse_measures(measures)
    judged = Judgements.from_triples(queries, candidates, similarities)
    away = as_numbers(distances, "distances", 1)
    if len(away) != len(judged.ids):
        raise ValueError(f"distances has {len(away)} entries, but there are {len(judged.ids)} judged pairs")
    query, candidate = as_ids(queries, "queries", 1), as_ids(candidates, "candidates", 1)
    grade = np.asarray(similarities)
    tie = {"id": np.zeros(len(grade)), "best": -grade.astype(np.float64), "worst": grade}[ties]
    order = np.lexsort((candidate, tie, away, query))
    lengths = np.diff(judged.offsets)
    width = max([int(lengths.max(initial=0)), *(m.k for m in wanted if m.k is not None)])
    ranked = np.full((len(judged), width), -1, dtype=np.int64)
    ranked[np.arange(width) < lengths[:, None]] = candidate[order]
    return from_rankings(ranked, judged, measures=[str(m) for m in wanted], relevance_level=relevance_level)


def from_embeddings(
    query_embeddings: ArrayLike,
    query_labels: ArrayLike,
    gallery_embeddings: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    metric: Metric = "cosine",
    exclude_self: bool | ArrayLike = False,
    measures: Iterable[str] = DEFAULT_MEASURES,
    ties: Ties = "id",
) -> Evaluation:
    """Judge embeddings by labels: a gallery item is relevant if its label is the query's. Exact search over all of it.

    The whole gallery is ranked if a measure without a cut-off asks for it, otherwise only as deep as the largest
    cut-off. Distances are computed in float64 and compared as float32: those that differ by less than one part in
    ten million, or by less than float64 can tell from zero, are ties. Cost O(q n d) and a sort of each row; memory
    about 100 MB beside the float64 copies of the embeddings.

    Parameters
    ----------
    query_embeddings : array of shape (q, d)
    query_labels : array of shape (q,)
        Integers or strings.
    gallery_embeddings, gallery_labels : arrays of shape (n, d) and (n,)
    metric : {"cosine", "l2", "ip"}
        As in annlab's indexes: 1 - cos (a zero vector is at distance 1 from everything), Euclidean, negated inner
        product.
    exclude_self : bool or int array of shape (q,)
        True: query i is gallery row i, and is not a result for itself. An array: query i is gallery row
        ``exclude_self[i]``, or in the gallery not at all where that is -1.
    measures : names
        See :func:`parse_measure`.
    ties : {"id", "best", "worst"}
        Which of the items at equal distance goes first: the smaller row; the relevant; the irrelevant. Where "best"
        and "worst" lie apart, the distances do not decide (a collapsed encoder maps everything to one point: best
        1, worst 0).

    Raises
    ------
    ValueError
        If lengths or dimensions differ, values are not finite, or excluded rows are not in the gallery.

    Examples
    --------
    >>> points = [[0.0], [1.0], [5.0], [5.5]]
    >>> labels = ["cat", "dog", "cat", "dog"]
    >>> result = from_embeddings(points, labels, points, labels, metric="l2", exclude_self=True, measures=["map"])
    >>> result["map"].round(2).tolist()
    [0.5, 0.33, 0.33, 0.5]
    """
    if metric not in ("l2", "cosine", "ip"):
        raise ValueError(f'metric must be "l2", "cosine" or "ip", got {metric!r}')
    _check_ties(ties)
    wanted = parse_measures(measures)
    queries, labels = _with_labels(query_embeddings, query_labels, "query")
    gallery, gallery_of = _with_labels(gallery_embeddings, gallery_labels, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries have dimension {queries.shape[1]}, but the gallery has {gallery.shape[1]}")
    n = len(gallery)
    if not 1 <= n < _LARGEST_GALLERY:
        raise ValueError(f"the gallery must have between 1 and {_LARGEST_GALLERY - 1} rows, got {n}")
    itself = _self_rows(exclude_self, len(queries), n)
    if labels.size and labels.dtype.kind != gallery_of.dtype.kind:
        raise TypeError(
            f"query labels are {labels.dtype} (the first is {labels[0]!r}), but gallery labels are {gallery_of.dtype} "
            f"({gallery_of[0]!r}): use one kind for both"
        )
    codes = np.unique(np.concatenate([labels, gallery_of]), return_inverse=True)[1]
    query_code, gallery_code = codes[: len(labels)], codes[len(labels) :]
    per_label = np.bincount(gallery_code, minlength=int(codes.max()) + 1)
    n_relevant = per_label[query_code] - ((itself >= 0) & (gallery_code[itself] == query_code))
    depth = n if any(m.k is None for m in wanted) else min(n, max(m.k or 0 for m in wanted))
    distance = _block_distance(queries, gallery, metric)

    def block(start: int, stop: int) -> Ranked:
        relevant = query_code[start:stop, None] == gallery_code
        rows = np.flatnonzero(itself[start:stop] >= 0)
        relevant[rows, itself[start:stop][rows]] = False
        keys = _sort_keys(distance(start, stop), relevant, ties)
        keys[rows, itself[start:stop][rows]] = np.uint64(2**64 - 2)  # last, not relevant: as if it were not there
        if depth < n:
            keys = np.partition(keys, depth - 1, axis=1)[:, :depth]
        keys.sort(axis=1)
        hits = (keys & np.uint64(1)).astype(np.bool_)
        total = n_relevant[start:stop]
        ideal = np.arange(min(int(total.max(initial=0)), depth)) < total[:, None]
        return Ranked(hits, hits, total, ideal)

    return _evaluate(block, max(1, _BLOCK // n), np.arange(len(queries)), wanted)


def _evaluate(
    block: Callable[[int, int], Ranked], rows: int, query_ids: NDArray[np.int64], measures: list[Measure]
) -> Evaluation:
    """All measures on all queries, ``rows`` queries at a time."""
    if len(query_ids) == 0:
        raise ValueError("there are no queries to evaluate")
    scores: dict[str, list[NDArray[np.float64]]] = {str(m): [] for m in measures}
    totals = []
    for start in range(0, len(query_ids), rows):
        ranked = block(start, min(start + rows, len(query_ids)))
        totals.append(ranked.n_relevant)
        for measure in measures:
            scores[str(measure)].append(measure.scores(ranked))
    return Evaluation(
        {name: np.concatenate(parts) for name, parts in scores.items()}, query_ids, np.concatenate(totals)
    )


def _check_ties(ties: str) -> None:
    if ties not in ("id", "best", "worst"):
        raise ValueError(f'ties must be "id", "best" or "worst", got {ties!r}')


def _with_labels(embeddings: ArrayLike, labels: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """float64 (n, d) and labels (n,), checked."""
    vectors, names = as_doubles(embeddings, f"{name}_embeddings", 2), as_labels(labels, f"{name}_labels")
    if names.shape != (len(vectors),):
        raise ValueError(f"{name}_labels has shape {names.shape}, but there are {len(vectors)} embeddings")
    return vectors, names


def _self_rows(exclude_self: bool | ArrayLike, n_queries: int, n_gallery: int) -> NDArray[np.int64]:
    """For each query the gallery row that is the query itself, or -1."""
    if isinstance(exclude_self, bool | np.bool_):
        if not exclude_self:
            return np.full(n_queries, -1)
        if n_queries != n_gallery:
            raise ValueError(
                f"exclude_self=True says that query i is gallery row i, but there are {n_queries} queries and "
                f"{n_gallery} gallery rows: give the row of each query as an array instead"
            )
        return np.arange(n_queries)
    rows = as_ids(exclude_self, "exclude_self", 1)
    if len(rows) != n_queries:
        raise ValueError(f"exclude_self has {len(rows)} entries, but there are {n_queries} queries")
    if rows.size and (rows.min() < -1 or rows.max() >= n_gallery):
        raise ValueError(
            f"exclude_self must hold gallery rows 0..{n_gallery - 1} or -1, got {rows.min()}..{rows.max()}"
        )
    return rows


def _block_distance(
    queries: NDArray[np.float64], gallery: NDArray[np.float64], metric: Metric
) -> Callable[[int, int], NDArray[np.float64]]:
    """A function from a range of queries to their distances (rows, n), by matrix product.

    For ranking only. Scale does not matter to that, so the largest number is divided out first: nothing over- or
    underflows. l2 comes as |q|^2 - 2 q.g + |g|^2 about the gallery's mean, and what is below the rounding error of
    that sum (the standard bound of a dot product, d * eps) is 0, so that copies of the query tie.
    """
    rounding = queries.shape[1] * np.finfo(np.float64).eps
    if metric == "cosine":
        queries, gallery = _unit(queries), _unit(gallery)
    elif metric == "l2":
        center = gallery.mean(axis=0)
        queries, gallery = queries - center, gallery - center
        largest = max(_largest(queries), _largest(gallery))
        queries, gallery = queries / largest, gallery / largest
    else:
        queries, gallery = queries / _largest(queries), gallery / _largest(gallery)
    query_squares, gallery_squares = np.square(queries).sum(axis=1), np.square(gallery).sum(axis=1)

    def distance(start: int, stop: int) -> NDArray[np.float64]:
        product = queries[start:stop] @ gallery.T
        if metric == "ip":
            return np.negative(product, out=product)
        if metric == "cosine":
            np.subtract(1.0, product, out=product)
            product[product <= 2 * rounding] = 0.0
            return product
        sums = query_squares[start:stop, None] + gallery_squares
        product *= -2.0
        product += sums
        product[product <= rounding * sums] = 0.0
        return np.sqrt(product, out=product)

    return distance


def _largest(vectors: NDArray[np.float64]) -> float:
    """The largest absolute value, or 1 if all are 0."""
    return float(np.abs(vectors).max(initial=0.0)) or 1.0


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; zero rows stay zero. The largest entry is divided out first, so that no square overflows."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled = vectors / np.where(largest > 0, largest, 1.0)
    length = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))
    return np.asarray(scaled / np.where(length > 0, length, 1.0))


def _sort_keys(distances: NDArray[np.float64], relevant: NDArray[np.bool_], ties: Ties) -> NDArray[np.uint64]:
    """Keys (rows, n) in the layout that the file's head describes."""
    with np.errstate(under="ignore"):
        bits = (distances.astype(np.float32) + np.float32(0.0)).view(np.uint32)  # + 0.0: -0.0 becomes 0.0
    # The bits of a positive float grow with it, those of a negative one shrink: flip the latter, and put it below.
    order = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(2**31))
    tail = np.arange(relevant.shape[1], dtype=np.uint32) << np.uint32(1) | relevant
    if ties != "id":
        tail |= (~relevant if ties == "best" else relevant).astype(np.uint32) << np.uint32(31)
    return order.astype(np.uint64) << np.uint64(32) | tail
