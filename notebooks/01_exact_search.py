# %% [markdown]
# # 01 Exact search: the oracle
#
# **Question.** All vectors move by the same amount: a constant 1,000 is added to every number. No distance changes.
# You search with the formula that everybody uses, $|x|^2 - 2\,q \cdot x + |q|^2$, in float32. What share of the true
# ten nearest does it still find?
#
# An approximate index is judged by an exact one. So the first thing to get right is the judge.
#
# *Page:* [annlab/exact.py](../annlab/exact.py). *Kernels:* [kernels/tile.py](../annlab/kernels/tile.py),
# [kernels/distance.py](../annlab/kernels/distance.py). *In forty lines:*
# [textbook.exact_search](../annlab/textbook.py).

# %%
guess = 1.0  # your guess: the share of the ten nearest that is still found, 0 to 1

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, ORANGE, milliseconds, show, table, verdict

import annlab
from annlab import course, datasets, evaluation, textbook

data = datasets.fashion_mnist_split(n_queries=200, seed=0)  # photographs of clothes, 28 x 28 pixels: 784 numbers each
vectors, queries = data.train, data.test
print(vectors.shape, vectors.dtype, queries.shape)

# %% [markdown]
# ## By hand
#
# The definition is one line: subtract, square, add. It needs `n * d` multiplications for a query, and no structure at
# all. The second version needs as many, but a product of matrices does them, and that is the fastest thing a processor
# can do. Both end by choosing the ten smallest without sorting the rest.


# %%
def by_definition(vectors, query, k=10):
    distances = ((vectors - query) ** 2).sum(axis=1)
    return nearest(distances, k)


def by_product(vectors, queries, k=10):
    squares = (vectors**2).sum(axis=1) - 2 * queries @ vectors.T  # |q|^2 is the same for all rows: leave it out
    return np.array([nearest(row, k) for row in squares])


def nearest(values, k):
    few = np.argpartition(values, k)[:k]
    return few[np.lexsort((few, values[few]))]  # by value; among equals the smaller row first


index = annlab.ExactIndex(metric="l2").fit(vectors)
truth = index.search(queries, k=10)
print("definition:", by_definition(vectors, queries[0]))
print("textbook:  ", textbook.exact_search(vectors, queries[0], 10)[1])
print("annlab:    ", truth.ids[0])

# %%
ways = {
    "definition, in a loop": lambda: [by_definition(vectors, query) for query in queries[:20]],
    "product of matrices": lambda: by_product(vectors, queries),
    "annlab, floats": lambda: floats.search(queries, k=10, threads=1),
    "annlab, bytes first": lambda: index.search(queries, k=10, threads=1),
}
floats = annlab.ExactIndex(metric="l2", precision="float32").fit(vectors)
took = {way: milliseconds(work, 3) / (20 if "loop" in way else len(queries)) for way, work in ways.items()}

figure, axes = plt.subplots(figsize=(7.2, 2.2))
axes.barh(list(took), list(took.values()), color=[ORANGE, ORANGE, BLUE, BLUE])
axes.bar_label(axes.containers[0], fmt=" %.3g ms")
axes.set(xscale="log", xlabel="milliseconds a query (log scale)", xlim=(0.1, max(took.values()) * 4))
axes.invert_yaxis()
ratio = took["definition, in a loop"] / took["annlab, bytes first"]
show(figure, f"All four give the same answer after the same {vectors.size / 1e6:.0f} million comparisons of numbers a "
     f"query. What differs is how often memory is read and written: {ratio:.0f} times between first and last here.")  # fmt: skip

# %% [markdown]
# ## The move
#
# Now the question. Distances are differences, so moving everything changes none. But the formula computes the small
# difference of two huge numbers: $|x|^2$ is about 784 million after the move, and float32 has seven digits.

# %%
moves = [0, 1, 10, 100, 300, 1000, 3000]
by_formula, by_index = [], []
for move in moves:
    moved, asked = vectors + np.float32(move), queries + np.float32(move)
    distances, _ = exact = annlab.ExactIndex(metric="l2").fit(moved).search(asked, k=10)
    for found, scores in ((by_product(moved, asked), by_formula), (exact.ids, by_index)):
        own = evaluation.true_distances(asked, moved, found, "l2")
        scores.append(evaluation.ann_recall(found, own, distances).mean())
measured = by_formula[moves.index(1000)]

figure, axes = plt.subplots()
axes.plot(moves, by_index, color=BLUE, label="ExactIndex")
axes.plot(moves, by_formula, color=ORANGE, marker="s", label="the formula in float32")
axes.set(xscale="symlog", xlabel="added to every number", ylabel="share of the ten nearest found", ylim=(0, 1.05))
axes.legend(loc="center left")
show(figure, "The formula loses nearly everything once vectors are far from 0, without a warning. ExactIndex takes "
     "vectors about their mean first, keeps every row within the proven rounding error, and measures those by direct "
     "differences: it stays right.")  # fmt: skip

# %% [markdown]
# This happens to real data: time stamps, map coordinates, embeddings whose mean is large. Seconds since 1970 are about
# 1,700,000,000, and float32 cannot even tell two neighbouring minutes apart.
#
# ## One query, three winners
#
# "Nearest" is not one thing. The Euclidean distance (`l2`), the angle (`cosine`) and the inner product (`ip`) agree
# only if all vectors have the same length. These do not.

# %%
found = {metric: annlab.ExactIndex(metric=metric).fit(vectors).search(queries, k=1).ids[:, 0]
         for metric in ("l2", "cosine", "ip")}  # fmt: skip
differ = [row for row in range(len(queries)) if len({ids[row] for ids in found.values()}) == 3]
figure, grid = plt.subplots(3, 4, figsize=(4.6, 3.6))
for number, (line, row) in enumerate(zip(grid, differ)):
    pictures = [data.test_images[row], *(data.train_images[ids[row]] for ids in found.values())]
    for axes, picture, title in zip(line, pictures, ["query", *found]):
        axes.imshow(picture)
        axes.set_axis_off()
        axes.set_title(title if number == 0 else "", loc="center")
most = np.bincount(found["ip"]).max() / len(queries)
show(figure, f"For {len(differ)} of {len(queries)} queries the three metrics name three different winners. By inner "
     f"product a bright picture wins against everything: one of them is the 'nearest' of {most:.0%} of all queries.")  # fmt: skip

# %%
table(("metric", "different winners over all queries", "of the query's class"),
      [(metric, len(np.unique(ids)), f"{(data.train_labels[ids] == data.test_labels).mean():.0%}")
       for metric, ids in found.items()])  # fmt: skip

# %% [markdown]
# ## Where it fails
#
# - **Size.** Twice the vectors, twice the time. A single query has to read all of them: 100 million vectors of 128
#   floats are 51 GB, which takes seconds from memory, whatever the processor.
# - **Single queries.** In a batch, a tile of vectors is compared with many queries while it is in the cache. One query
#   alone waits for the memory. That is what the approximate indexes of the next notebooks are for.
# - **The wrong question.** Exact search finds the nearest *vectors*. Whether these show the same thing as the query is
#   a matter of the encoder: see the last column above, and notebook 12.

# %%
verdict(guess, measured, "share of the ten nearest that the formula finds, everything moved by 1,000")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("01-bytes", answer := ...)

# %%
course.check("01-top-k", answer := ...)

# %%
course.check("01-cancellation", answer := ...)
