# %% [markdown]
# # 12 Visual search, end to end
#
# **Question.** A picture goes through an encoder, the vector through an index that finds 90 % of the nearest, and ten
# pictures come back. Some of them show the wrong kind of thing. What share of these errors is the fault of the *index*?
#
# *Pages:* [annlab/encoders/encoder.py](../annlab/encoders/encoder.py), [annlab/ivf.py](../annlab/ivf.py),
# [annlab/evaluation/positions.py](../annlab/evaluation/positions.py); the whole system:
# [docs/paths/visual-search.md](../docs/paths/visual-search.md). *Kernel:*
# [kernels/inverted/one_query.py](../annlab/kernels/inverted/one_query.py).

# %%
guess = 0.5  # your guess: the share of the wrong results that exact search would not have returned

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, GREEN, GREY, ORANGE, RED, show, table, verdict

import annlab
from annlab import course, datasets, evaluation
from annlab.encoders import load_encoder

# %% [markdown]
# ## Index
#
# An encoder turns each picture into 128 numbers, such that pictures of a kind are near. This one was trained on 60,000
# other pictures; these it has never seen. The vectors are searched by angle.

# %%
data = datasets.fashion_mnist_split(n_queries=400, seed=0)
gallery, asked = data.train_images[:5000], data.test_images
labels, wanted = data.train_labels[:5000], data.test_labels
encoder = load_encoder("fashion-mnist")
vectors, queries = encoder.encode(gallery), encoder.encode(asked)
index = annlab.IVFIndex(metric="cosine", n_lists=200, seed=0).fit(vectors)
exact = annlab.ExactIndex(metric="cosine").fit(vectors)

# %% [markdown]
# ## Search

# %%
truth = exact.search(queries, k=100)
found = index.search(queries, k=10, n_probes=2).ids
right = labels[truth.ids[:, :10]] == wanted[:, None]
chosen = [*np.flatnonzero(right.all(axis=1))[:2], *np.flatnonzero(right.mean(axis=1) < 0.5)[:2]]
figure, panels = plt.subplots(4, 9, figsize=(7.2, 3.4))
for line, row in zip(panels, chosen):
    for axes, picture, good in zip(line, [asked[row], *gallery[truth.ids[row, :8]]], [True, *right[row, :8]]):
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for side in axes.spines.values():
            side.set(
                visible=axes is not line[0],
                color=GREEN if good else RED,
                linewidth=1.5,
                linestyle="-" if good else "--",
            )
show(
    figure,
    "Left the query, then its nearest by the encoder; a broken frame is of another kind. Where it errs (below) the pictures *look* alike: a shirt that could be a coat. No index can mend that.",
)

# %% [markdown]
# ## Whose fault is it?
#
# Search three times: with the pixels, exactly; with the encoder, exactly; with the encoder, by an index. Exact search has
# no loss, so it is the knife that cuts the total in two: what is wrong in the exact answer is the encoder's, and only
# what comes on top is the index's.


# %%
def precision(ids):
    return (labels[ids] == wanted[:, None]).mean()


pixels = gallery.reshape(len(gallery), -1).astype(np.float32), asked.reshape(len(asked), -1).astype(np.float32)
by_pixels = annlab.ExactIndex(metric="l2").fit(pixels[0]).search(pixels[1], k=10).ids
rows = [("pixels, exact", 1.0, precision(by_pixels)), ("encoder, exact", 1.0, precision(truth.ids[:, :10]))]
curve = []
for probes in (1, 2, 3, 4, 6, 10):
    ids = index.search(queries, k=10, n_probes=probes).ids
    recall = np.mean([np.isin(*pair).mean() for pair in zip(truth.ids[:, :10], ids)])
    wrong = (labels[ids] != wanted[:, None]) & (ids >= 0)
    own = np.mean([(~np.isin(row, true))[bad].sum() for row, true, bad in zip(ids, truth.ids[:, :10], wrong)])
    curve.append((recall, precision(ids), own / wrong.sum(axis=1).mean()))
    rows.append((f"encoder, {probes} of 200 cells", recall, precision(ids)))
table(("search", "ANN recall", "of the query's kind (precision@10)"), rows)
recalls, kinds, faults = np.array(curve).T
measured = float(np.interp(0.9, recalls, faults))

# %%
figure, axes = plt.subplots(figsize=(7.2, 2.6))
axes.barh(["pixels", "encoder"], [1 - rows[0][2], 1 - rows[1][2]], color=[GREY, BLUE], label="loss of the vectors")
lost = max(0.0, precision(truth.ids[:, :10]) - float(np.interp(0.9, recalls, kinds)))
axes.barh(["encoder"], [lost], left=[1 - rows[1][2]], color=ORANGE, hatch="//", label="added by an index of recall 0.9")
axes.set(xlabel="share of the ten results that are of another kind")
axes.legend(loc="lower right")
show(
    figure,
    f"The encoder halves the error of the pixels; the index of recall 0.9 adds {lost:.3f}. Of the wrong results {measured:.0%} are such that exact search would not have returned, but they took the place of right and of wrong ones alike. Work on the encoder first.",
)

# %% [markdown]
# ## Re-rank
#
# The index brings candidates, and a second, dearer look puts them in order. Here the look is: which kind do the candidate's
# *own* neighbours belong to? How deep should one look?

# %%
own = exact.neighbors(k=10).ids  # the ten nearest of every picture of the gallery
votes = np.stack([(labels[own] == kind).mean(axis=1) for kind in range(10)], axis=1)  # (n, 10)
rows = []
for depth in (10, 20, 50, 100):
    candidates = truth.ids[:, :depth]
    taste = votes[candidates[:, :10]].mean(axis=1)  # what kind the query probably is, by its own ten
    score = np.einsum("qdk,qk->qd", votes[candidates], taste) - truth.distances[:, :depth]
    order = np.argsort(-score, axis=1, kind="stable")[:, :10]
    rows.append((depth, precision(np.take_along_axis(candidates, order, axis=1)), precision(candidates)))
table(("candidates looked at", "precision@10 after re-ranking", "precision of the candidates"), rows)

# %% [markdown]
# It helps where errors are strays among the candidates, and cannot help where the query itself lies on the wrong side.
#
# ## Clicks, and their bias
#
# Let the users judge. They look at place 1 always and at place 10 seldom, so places earn clicks, too. Here 20,000 searches
# are simulated: users click what is of their kind (and sometimes what is not), where they look.

# %%
rng = np.random.default_rng(0)
look = 1 / np.arange(1, 11) ** 0.7
searches = rng.integers(0, len(queries), 20_000)
shown = truth.ids[searches, :10].copy()
for row in np.flatnonzero(rng.random(len(shown)) < 0.2):  # a fifth of the pages is shuffled: exploration
    rng.shuffle(shown[row])
liked = np.where(labels[shown] == wanted[searches][:, None], 0.5, 0.1)
clicked = rng.random(shown.shape) < liked * look
places = np.broadcast_to(np.arange(1, 11), shown.shape)
raw = clicked.mean(axis=0)
shares = evaluation.examination(
    np.repeat(searches, 10), shown.ravel(), places.ravel(), clicked.ravel(), n_resamples=20
).shares
figure, axes = plt.subplots(figsize=(7.2, 2.6))
axes.plot(
    range(1, 11), look, color=GREY, linestyle="--", marker="", label="how often a place is looked at (unknown to us)"
)
axes.plot(range(1, 11), shares, color=BLUE, label="estimated from pages that were shuffled")
axes.plot(range(1, 11), raw / raw[0], color=ORANGE, marker="s", label="raw clicks, place 1 = 1")
axes.set(xlabel="place", ylim=(0, 1.05), xticks=range(1, 11))
axes.legend(fontsize=8)
worst = np.abs(shares / look - 1).max()
show(
    figure,
    f"Clicks fall with the place exactly as looking does: the results are as good on place 10 as on place 1, so all of the fall is bias. The estimate, from the same item seen at several places, is within {worst:.0%} of the truth everywhere. Divide by it before clicks judge, or train, anything; and keep shuffling a little, or nothing can be estimated.",
)

# %% [markdown]
# ## Where it fails
#
# - **The classes are ours.** "Of the query's kind" is not what a person wants who likes *this* pattern.
# - **Recall of the index matters for the last item**: for duplicates, for rights, for "find exactly this one".
# - **The loop.** What is shown is clicked, what is clicked is learned, what is learned is shown.

# %%
verdict(guess, measured, "share of the wrong results that exact search would not have returned, at recall 0.9")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("12-blame", answer := ...)
