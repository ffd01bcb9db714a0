r"""The formulas of ranking quality, one score for each query.

Every function takes ``relevance``, an array of shape (q, k'): row i holds, from the first rank on, how relevant the
results of query i are. A bool or 0/1 array says relevant or not; larger numbers are grades, which only :func:`dcg`
and :func:`ndcg` tell apart (elsewhere a grade above 0 is relevant). Every function returns float64 scores of shape
(q,), so that means, intervals and paired tests can be made of them. Cost: O(q k'), a few passes over the array.

Which to choose:

==================  ====================================================================================================
reciprocal rank     one good answer is enough (is this the same product?)
recall@k            nothing relevant may be missed, k results are looked at or re-ranked
precision@k         a page of k results is looked at as a whole
hit@k               a page of k results with one good answer is enough
R-precision, MAP@R  classes differ in size, and all of a class should come before all others
average precision   the whole ranking matters, relevance is yes or no
nDCG@k              relevance has grades, and the first ranks matter most
==================  ====================================================================================================

Ranks beyond the width of ``relevance`` count as not relevant. A query without a relevant item scores 0.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annlab.evaluation.checks import as_cutoff, as_grades, as_ids

Scores = NDArray[np.float64]
Gain = Literal["exponential", "linear"]
Denominator = Literal["relevant", "reachable"]

_LARGEST_EXPONENT = 1000.0  # 2^1000 is about 1e301: a sum of a hundred million of them still fits in float64


def _hits(relevance: ArrayLike, k: int | None) -> NDArray[np.bool_]:
    """Which of the first k results are relevant."""
    grades = as_grades(relevance, "relevance", 2)
    return (grades if k is None else grades[:, : as_cutoff(k)]) > 0


def _totals(n_relevant: ArrayLike, hits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of relevant items of each query, checked against the number found."""
    totals = as_ids(n_relevant, "n_relevant", 1)
    if len(totals) != len(hits):
        raise ValueError(f"n_relevant has {len(totals)} queries, but relevance has {len(hits)}")
    found = np.count_nonzero(hits, axis=1)
    if (totals < found).any():
        row = int(np.argmax(totals < found))
        raise ValueError(f"query {row} has {found[row]} relevant results, but n_relevant[{row}] is only {totals[row]}")
    return totals


def _divide(numerator: Scores, denominator: NDArray[Any]) -> Scores:
    """numerator / denominator, and 0 where the denominator is 0."""
    quotient = np.zeros(len(numerator))
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def reciprocal_rank(relevance: ArrayLike, k: int | None = None) -> Scores:
    r"""1 / rank of the first relevant result, or 0 if there is none in the first k. Its mean is the MRR.

    .. math:: \mathrm{MRR} = \frac{1}{|Q|} \sum_{i=1}^{|Q|} \frac{1}{\mathrm{rank}_i}

    Parameters
    ----------
    relevance : array of shape (q, k')
    k : int, optional
        Look at the first k results only. Without it, at all that were returned.

    Returns
    -------
    float64 array of shape (q,)

    Examples
    --------
    >>> reciprocal_rank([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]).round(3).tolist()
    [0.333, 1.0, 0.0]
    """
    hits = _hits(relevance, k)
    if hits.shape[1] == 0:
        return np.zeros(len(hits))
    found = np.asarray(hits.any(axis=1), dtype=np.float64)
    first = np.argmax(hits, axis=1)
    return _divide(found, np.asarray(first + 1))


def recall(relevance: ArrayLike, n_relevant: ArrayLike, k: int) -> Scores:
    r"""The share of all relevant items that is among the first k results.

    .. math:: \mathrm{Recall}@k = \frac{\text{relevant items in the top } k}{\text{all relevant items}}

    It cannot reach 1 where k is smaller than the number of relevant items.

    Parameters
    ----------
    relevance : array of shape (q, k')
    n_relevant : int array of shape (q,)
        How many relevant items there are for each query, found or not.
    k : int

    Raises
    ------
    ValueError
        If a query has more relevant results than ``n_relevant`` says there are.

    Examples
    --------
    >>> recall([[1, 0, 1, 0]], n_relevant=[4], k=3).tolist()
    [0.5]
    """
    hits = _hits(relevance, as_cutoff(k))
    return _divide(np.count_nonzero(hits, axis=1).astype(np.float64), _totals(n_relevant, hits))


def hit(relevance: ArrayLike, k: int) -> Scores:
    r"""1 where at least one of the first k results is relevant, else 0. Its mean is the share of queries that are
    answered on a page of k.

    It is what papers on retrieval by embeddings often call "recall@k"; where classes have hundreds of images, the true
    recall at 10 is tiny even if all ten results are right.

    Examples
    --------
    >>> hit([[0, 0, 1, 0], [0, 0, 0, 1]], k=3).tolist()
    [1.0, 0.0]
    """
    return np.asarray(_hits(relevance, as_cutoff(k)).any(axis=1), dtype=np.float64)


def r_precision(relevance: ArrayLike, n_relevant: ArrayLike) -> Scores:
    r"""Precision at R, the number of relevant items of the query: 1 where the first R results are exactly these.

    Examples
    --------
    >>> r_precision([[1, 0, 1, 1]], n_relevant=[3]).round(4).tolist()
    [0.6667]
    """
    hits = _hits(relevance, None)
    totals = _totals(n_relevant, hits)
    within = np.arange(hits.shape[1]) < totals[:, None]
    return _divide(np.count_nonzero(hits & within, axis=1).astype(np.float64), totals)


def average_precision_at_r(relevance: ArrayLike, n_relevant: ArrayLike) -> Scores:
    r"""Average precision over the first R results, R being the number of relevant items. Its mean is MAP@R.

    .. math:: \mathrm{AP@R} = \frac{1}{R} \sum_{i=1}^{R} \mathrm{rel}_i \cdot \mathrm{Precision}@i

    R-precision that also asks where among the first R the relevant ones are.

    References
    ----------
    Musgrave, Belongie and Lim, "A Metric Learning Reality Check", ECCV 2020.

    Examples
    --------
    Relevant at ranks 1 and 3, the third one at rank 4, beyond R: (1/1 + 2/3) / 3.

    >>> average_precision_at_r([[1, 0, 1, 1]], n_relevant=[3]).round(4).tolist()
    [0.5556]
    """
    hits = _hits(relevance, None)
    totals = _totals(n_relevant, hits)
    hits = hits & (np.arange(hits.shape[1]) < totals[:, None])
    precision_at_rank = np.cumsum(hits, axis=1, dtype=np.float64) / np.arange(1, hits.shape[1] + 1)
    return _divide(np.sum(precision_at_rank, axis=1, where=hits), totals)


def precision(relevance: ArrayLike, k: int) -> Scores:
    r"""The share of the first k results that is relevant. It divides by k also where fewer than k came back.

    .. math:: \mathrm{Precision}@k = \frac{\text{relevant items in the top } k}{k}

    Examples
    --------
    >>> precision([[1, 0, 1, 0], [1, 1, 0, 0]], k=4).tolist()
    [0.5, 0.5]
    >>> precision([[1, 1]], k=10).tolist()  # two results only
    [0.2]
    """
    found: Scores = np.count_nonzero(_hits(relevance, as_cutoff(k)), axis=1).astype(np.float64)
    return found / k


def average_precision(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int | None = None, *, denominator: Denominator = "relevant"
) -> Scores:
    r"""The mean, over all relevant items, of the precision at the rank where each is found (0 for those not found).

    .. math:: \mathrm{AP}@k = \frac{1}{R} \sum_{i=1}^{k} \mathrm{rel}_i \cdot \mathrm{Precision}@i

    Its mean over the queries is the mAP.

    Parameters
    ----------
    relevance : array of shape (q, k')
    n_relevant : int array of shape (q,)
        How many relevant items there are for each query, found or not: R.
    k : int, optional
        Look at the first k results only.
    denominator : {"relevant", "reachable"}
        What to divide by at a cut-off: "relevant" is R (trec_eval's ``map_cut``; small where R is much larger than
        k); "reachable" is min(R, k), so that k relevant results score 1 (the Google Landmarks challenge).
        Libraries that divide by the relevant items *found* reward a system for finding fewer; this is not offered.

    References
    ----------
    Weyand et al., "Google Landmarks Dataset v2", CVPR 2020.

    Examples
    --------
    Relevant at ranks 1 and 3, and a third one was not found: (1/1 + 2/3 + 0) / 3.

    >>> average_precision([[1, 0, 1, 0]], n_relevant=[3]).round(4).tolist()
    [0.5556]
    """
    if denominator not in ("relevant", "reachable"):
        raise ValueError(f'denominator must be "relevant" or "reachable", got {denominator!r}')
    hits = _hits(relevance, k)
    totals = _totals(n_relevant, hits)
    if denominator == "reachable" and k is not None:
        totals = np.minimum(totals, k)
    precision_at_rank = np.cumsum(hits, axis=1, dtype=np.float64)
    precision_at_rank /= np.arange(1, hits.shape[1] + 1)
    return _divide(np.sum(precision_at_rank, axis=1, where=hits), totals)


def dcg(relevance: ArrayLike, k: int | None = None, *, gain: Gain = "exponential") -> Scores:
    r"""Discounted cumulative gain: what the results are worth, those further down counting less.

    .. math:: \mathrm{DCG}@k = \sum_{i=1}^{k} \frac{2^{\mathrm{rel}_i} - 1}{\log_2(i + 1)}

    Parameters
    ----------
    relevance : array of shape (q, k')
        Grades, 0 for not relevant.
    k : int, optional
        Look at the first k results only.
    gain : {"exponential", "linear"}
        "exponential": 2^rel - 1 (Burges et al.). "linear": rel itself (Järvelin and Kekäläinen), which is what
        trec_eval and scikit-learn compute. For 0/1 relevance the two are equal.

    References
    ----------
    Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

    Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", ACM TOIS 20(4), 2002.

    Examples
    --------
    (2^3 - 1) / log2(2) + (2^0 - 1) / log2(3) + (2^1 - 1) / log2(4) = 7 + 0 + 0.5

    >>> dcg([[3, 0, 1]]).tolist(), dcg([[3, 0, 1]], gain="linear").tolist()
    ([7.5], [3.5])
    """
    grades = as_grades(relevance, "relevance", 2)
    if k is not None:
        grades = grades[:, : as_cutoff(k)]
    if gain == "exponential":
        if grades.size and grades.max() > _LARGEST_EXPONENT:
            raise ValueError(f'grade {grades.max()} overflows 2^grade - 1: use gain="linear" or a smaller scale')
        gains = np.exp2(grades, dtype=np.float64) - 1.0 if grades.dtype != np.bool_ else grades.astype(np.float64)
    elif gain == "linear":
        gains = grades.astype(np.float64)
    else:
        raise ValueError(f'gain must be "exponential" or "linear", got {gain!r}')
    gains /= np.log2(np.arange(2, gains.shape[1] + 2))
    # A sum along the row, not a BLAS product: the same gains give the same sum in any row of any block.
    total: Scores = gains.sum(axis=1)
    return total


def ndcg(
    relevance: ArrayLike, relevant_grades: ArrayLike, k: int | None = None, *, gain: Gain = "exponential"
) -> Scores:
    r"""DCG of the results, divided by the DCG of the perfect ranking of all relevant items: 1 for the perfect ranking.

    .. math:: \mathrm{nDCG}@k = \mathrm{DCG}@k / \mathrm{IDCG}@k

    Parameters
    ----------
    relevance : array of shape (q, k')
        Grades of the results.
    relevant_grades : array of shape (q, m)
        The grades of *all* relevant items of each query, found or not, in any order; rows are padded with 0. (The best
        ordering of the results that came back is not the ideal: it would hide what was missed.)
    k : int, optional
        Cut both rankings at k.
    gain : {"exponential", "linear"}
        See :func:`dcg`.

    Raises
    ------
    ValueError
        If results are worth more than the perfect ranking: ``relevant_grades`` does not hold all of them.

    Examples
    --------
    >>> ndcg([[0, 3, 1]], relevant_grades=[[3, 1]], k=3).round(4).tolist()
    [0.6443]
    """
    found = as_grades(relevance, "relevance", 2)
    ideal = as_grades(relevant_grades, "relevant_grades", 2)
    if len(found) != len(ideal):
        raise ValueError(f"relevant_grades has {len(ideal)} queries, but relevance has {len(found)}")
    ideal = np.sort(ideal, axis=1)[:, ::-1]
    if k is not None:
        found, ideal = found[:, : as_cutoff(k)], ideal[:, :k]
    # Rows of one width are summed in one order: then a perfect ranking scores 1 exactly.
    width = max(found.shape[1], ideal.shape[1])
    gained, possible = dcg(_widen(found, width), gain=gain), dcg(_widen(ideal, width), gain=gain)
    if (gained > possible * (1 + 1e-9)).any():
        row = int(np.argmax(gained > possible * (1 + 1e-9)))
        raise ValueError(
            f"query {row}: the results are worth {gained[row]:.6g}, more than the perfect ranking "
            f"({possible[row]:.6g}); relevant_grades must hold the grades of all relevant items"
        )
    return np.minimum(_divide(gained, possible), 1.0)


def _widen(grades: NDArray[Any], width: int) -> NDArray[Any]:
    """Rows padded with 0 to ``width``."""
    missing = width - grades.shape[1]
    return grades if missing == 0 else np.pad(grades, ((0, 0), (0, missing)))
