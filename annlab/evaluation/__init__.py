"""Numbers that say how well a search works: offline, online, and against the exact answer.

Three questions, three groups of files:

- *Does it rank what people find relevant first?*  ``ranking.py`` (the formulas: reciprocal rank, recall, precision,
  average precision, nDCG), ``judgements.py`` (what is relevant), ``sources.py`` (from rankings, from embeddings and
  labels, from judged triples), ``report.py`` (:class:`Evaluation`: the scores of every query, means, intervals) and
  ``comparison.py`` (is B better than A?).
- *Do people click it?*  ``showings.py``: what was shown, from logged interactions; ``clicks.py``: the click-through
  rate; ``positions.py``: what clicks
  say once the position is taken out; ``experiments.py`` and ``interleaving.py``: which of two rankers they prefer.
- *Does an approximate index return what an exact one would?*  ``neighbors.py``; and how hard is that for this data?
  ``difficulty.py`` (approximation factor, contrast, intrinsic dimension, hubs).

Everything is NumPy over float64, one score for each query; a mean is always derived, never stored. "Metric" means a
distance ("l2", "cosine", "ip") as everywhere in annlab; what is computed here is called a *measure* and has a name
such as ``"ndcg@10"`` (:func:`parse_measure`).

Conventions, the same in every function, and those of trec_eval unless noted:

- *Relevant* means a grade above 0, or at least ``relevance_level`` where that is given. Unjudged items are not
  relevant, nor are those with a negative grade, which TREC's files know.
- *A query without a relevant item* scores 0 and counts in the mean: no ranking could do better, so it lowers every
  system equally. :attr:`Evaluation.answerable` tells these queries apart, and the printed table says how many there
  are.
- *Fewer than k results*: the missing ranks count as not relevant, so precision@k always divides by k. In id arrays
  they are padded with -1.
- *Recall and average precision* divide by all relevant items, also those that k results cannot hold
  (``"map_reachable@k"`` divides by min(k, relevant) instead). The ideal of nDCG@k is over all relevant items, cut at k.
- *Ties* of distance are broken by the smaller id, as annlab's indexes do (trec_eval: by the larger document name).
  Where distances are at hand, ``ties="best"`` and ``ties="worst"`` give the two ends between which every tie rule
  must lie.
- *An id twice in one ranking* is an error: it would be counted twice.
"""

from annlab.evaluation.clicks import ClickThrough, Rate, click_through
from annlab.evaluation.comparison import Comparison, compare, permutation_test
from annlab.evaluation.difficulty import (
    Hubness,
    approximation_factor,
    hubness,
    local_intrinsic_dimension,
    relative_contrast,
)
from annlab.evaluation.experiments import assign, compare_arms, detectable_difference, sample_ratio
from annlab.evaluation.interleaving import preference, team_draft
from annlab.evaluation.judgements import Judgements
from annlab.evaluation.measures import Measure, parse_measure
from annlab.evaluation.neighbors import ann_recall, rounding_floor, true_distances
from annlab.evaluation.positions import clicks_over_expected, examination
from annlab.evaluation.ranking import (
    average_precision,
    average_precision_at_r,
    dcg,
    hit,
    ndcg,
    precision,
    r_precision,
    recall,
    reciprocal_rank,
)
from annlab.evaluation.report import Evaluation
from annlab.evaluation.showings import Showings, showings, showings_of
from annlab.evaluation.sources import from_embeddings, from_judgements, from_rankings

__all__ = [
    "ClickThrough",
    "Comparison",
    "Evaluation",
    "Hubness",
    "Judgements",
    "Measure",
    "Rate",
    "Showings",
    "ann_recall",
    "approximation_factor",
    "assign",
    "average_precision",
    "average_precision_at_r",
    "click_through",
    "clicks_over_expected",
    "compare",
    "compare_arms",
    "dcg",
    "detectable_difference",
    "examination",
    "from_embeddings",
    "from_judgements",
    "from_rankings",
    "hit",
    "hubness",
    "local_intrinsic_dimension",
    "ndcg",
    "parse_measure",
    "permutation_test",
    "precision",
    "preference",
    "r_precision",
    "recall",
    "reciprocal_rank",
    "relative_contrast",
    "rounding_floor",
    "sample_ratio",
    "showings",
    "showings_of",
    "team_draft",
    "true_distances",
]
