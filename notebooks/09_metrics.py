# %% [markdown]
# # 09 Metrics by hand
#
# **Question.** A shop replaces exact search by an index that finds only 90 % of the ten nearest. Users look for articles of
# the query's kind. By how much does the share of such articles among the ten results fall?
#
# *Pages:* [annlab/evaluation/ranking.py](../annlab/evaluation/ranking.py) (the formulas),
# [annlab/evaluation/clicks.py](../annlab/evaluation/clicks.py). *Kernel* under the search:
# [kernels/inverted/flat.py](../annlab/kernels/inverted/flat.py).

# %%
guess = 0.10  # your guess: by how much precision@10 falls, if 10 % of the ten nearest are not found

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, ORANGE, show, table, verdict

import annlab
from annlab import course, datasets, evaluation

# %% [markdown]
# ## Five results
#
# Somebody judged them: grade 3 is perfect, 0 is wrong. There are four relevant items in all, so one was not found.
#
# | place | 1 | 2 | 3 | 4 | 5 |
# |---|---|---|---|---|---|
# | grade | 0 | 2 | 0 | 3 | 1 |
#
# - **Reciprocal rank**: the first relevant one is at place 2, so 1/2. Its mean over queries is the MRR. What comes behind
#   the first does not count.
# - **Precision@5**: 3 of 5. **Recall@5**: 3 of 4.
# - **Average precision**: the precision at each relevant place, (1/2 + 2/4 + 3/5), divided by *all* relevant items, 4. Its
#   mean is the mAP.
# - **nDCG**: a result is worth $2^{grade} - 1$, divided by $\log_2(place + 1)$; the sum over the best possible sum.


# %%
grades, ideal = np.array([0, 2, 0, 3, 1]), np.array([3, 2, 1, 1])  # the missing item has grade 1
places = np.arange(1, 6)
hit = grades > 0


def dcg(grades):
    return ((2.0**grades - 1) / np.log2(np.arange(len(grades)) + 2)).sum()


by_hand = {
    "reciprocal rank": 1 / places[hit][0],
    "precision@5": hit.mean(),
    "recall@5": hit.sum() / len(ideal),
    "average precision": (hit.cumsum() / places)[hit].sum() / len(ideal),
    "nDCG@5": dcg(grades) / dcg(ideal),
}
in_code = [
    evaluation.reciprocal_rank(grades[None]),
    evaluation.precision(grades[None], 5),
    evaluation.recall(grades[None], [4], 5),
    evaluation.average_precision(grades[None], [4]),
    evaluation.ndcg(grades[None], ideal[None], 5),
]
table(
    ("measure", "by hand", "annlab.evaluation"),
    [(name, value, float(other[0])) for (name, value), other in zip(by_hand.items(), in_code)],
)

# %% [markdown]
# ## Two rankings, five judges
#
# A finds one perfect item at once and nothing else; B finds four mediocre ones from place 2 on. Which is better?

# %%
a, b = np.array([[3, 0, 0, 0, 0]]), np.array([[0, 1, 1, 1, 1]])
best = np.array([[3, 1, 1, 1, 1]])
rows = [
    ("reciprocal rank", *(float(evaluation.reciprocal_rank(x)[0]) for x in (a, b))),
    ("precision@5", *(float(evaluation.precision(x, 5)[0]) for x in (a, b))),
    ("average precision", *(float(evaluation.average_precision(x, [5])[0]) for x in (a, b))),
    ("nDCG@5", *(float(evaluation.ndcg(x, best, 5)[0]) for x in (a, b))),
]
table(
    ("measure", "A: one, at once", "B: four, later", "prefers"),
    [(*row, "A" if row[1] > row[2] else "B") for row in rows],
)

# %% [markdown]
# No measure is right. Choose the one whose user is yours: who wants *an* answer (MRR), who looks at a page (precision,
# nDCG), who wants everything (recall, mAP). Choose before you see the results.
#
# ## The recall of an index is not the quality of a search
#
# *ANN recall* compares an index with exact search: did it find the nearest *vectors*? *Quality* asks a person. Here
# an article is relevant if it is of the query's kind. Turn down the probes of an inverted file, and look at both.

# %%
data = datasets.fashion_mnist_split(n_queries=1000, seed=0)
truth = annlab.ExactIndex(metric="l2").fit(data.train).search(data.test, k=10).ids
index = annlab.IVFIndex(metric="l2", n_lists=300, seed=0).fit(data.train)


def precision(ids):
    return (data.train_labels[ids] == data.test_labels[:, None]).mean()


points = []
for probes in (1, 2, 3, 4, 6, 10, 20):
    ids = index.search(data.test, k=10, n_probes=probes).ids
    points.append(
        (np.mean([np.isin(*pair).mean() for pair in zip(truth, ids)]), precision(np.where(ids < 0, truth[:, :1], ids)))
    )
recall, quality = np.array(points).T
measured = float(precision(truth) - np.interp(0.9, recall, quality))
figure, axes = plt.subplots(figsize=(7.2, 2.8))
axes.plot(recall, quality, color=BLUE, label="inverted file, 1 to 20 probes")
axes.axhline(precision(truth), color=ORANGE, linestyle="--", label="exact search")
axes.set(
    xlabel="share of the ten nearest that is found (ANN recall)",
    ylabel="of the query's kind\n(precision@10)",
    ylim=(0.5, 0.85),
)
axes.legend(loc="lower right")
show(
    figure,
    f"At a recall of 0.9 precision differs from that of exact search by {abs(measured):.3f}. What is not found is replaced by what is a little farther, and that is nearly as often right. Exact search itself errs in {1 - precision(truth):.0%}: there is the work to do.",
)

# %% [markdown]
# ## Clicks
#
# The click-through rate needs no judges, and is biased: people look at the top. Two items, equally good; the ranker puts
# the first on place 1 and the second on place 3, nearly always.

# %%
rng = np.random.default_rng(0)
examined, liked, shown = np.array([1.0, 0.6, 0.35]), 0.3, 20_000
swapped = rng.random(shown) < 0.1  # a tenth of the time they change places
place = np.where(swapped, [[3], [1]], [[1], [3]])  # (two items, showings)
clicked = rng.random(place.shape) < liked * examined[place - 1]
items = np.repeat([0, 1], shown)
table(
    ("item", "showings", "clicks", "rate"),
    [(f"item {item}", shown, int(clicks.sum()), clicks.mean()) for item, clicks in enumerate(clicked)],
)
shares = evaluation.examination(np.zeros(2 * shown, int), items, place.ravel(), clicked.ravel(), n_resamples=20).shares
fair = evaluation.clicks_over_expected(items, place.ravel(), clicked.ravel(), np.where(np.isnan(shares), 0.6, shares))
print("places are examined:", shares.round(2), "(true: 1, ..., 0.35)   clicks over expected:", fair.ratios.round(2))

# %% [markdown]
# The raw rates differ by a factor of more than two, though both items are liked alike. The tenth in which they changed
# places tells how much place 3 is looked at; with it both come out at 1. Notebook 12 goes on from here.
#
# ## Where it fails
#
# - **Unjudged is not wrong.** A new ranker finds items that nobody has judged, and is punished for it.
# - **Queries without a relevant item** score 0 for every ranker. Say how many there are; do not drop them in silence.
# - **Ties.** A collapsed encoder puts everything at one distance: then the order is the order of the file, and a measure
#   says what you like. `evaluation.from_embeddings(ties="worst")` shows it.

# %%
verdict(guess, measured, "loss of precision@10 at an ANN recall of 0.9")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("09-average-precision", answer := ...)

# %%
course.check("09-ndcg", answer := ...)
