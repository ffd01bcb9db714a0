# %% [markdown]
# # 04 Locality-sensitive hashing
#
# **Question.** Two vectors stand at an angle of 30 degrees: rather near neighbours in high dimensions. Sixteen random
# planes through the origin give each of them a key of sixteen bits, one for each plane: on which side am I? How likely do
# the two get the *same* key, and land in one bucket?
#
# *Page:* [annlab/lsh.py](../annlab/lsh.py); the theory is in [annlab/hashing/theory.py](../annlab/hashing/theory.py).
# *Kernels:* [kernels/hashing/signs.py](../annlab/kernels/hashing/signs.py),
# [kernels/hashing/buckets.py](../annlab/kernels/hashing/buckets.py). *In forty lines:* `HyperplaneLSH` in
# [annlab/textbook.py](../annlab/textbook.py).

# %%
guess = 0.5  # your guess: the probability that two vectors at 30 degrees share a key of 16 bits

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, GREEN, ORANGE, RED, show, table, verdict

import annlab
from annlab import course, datasets, textbook

rng = np.random.default_rng(0)


# %% [markdown]
# ## By hand: theory over measured points
#
# A random plane passes between two vectors at an angle $\theta$ with probability $\theta / \pi$. So one bit agrees with
# probability $p = 1 - \theta / \pi$, all `b` bits with $p^b$, and at least one of `t` independent keys with $1 - (1 - p^b)^t$.


# %%
def keys(vectors, planes):  # (n, d), (bits, d) -> (n,) whole numbers
    return (vectors @ planes.T > 0) @ (1 << np.arange(len(planes)))


def share_a_key(degrees, bits, tables=1, draws=4000):
    angle = np.radians(degrees)
    pair = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])  # the plane of the two is all that matters
    same = np.zeros(draws, bool)
    for _ in range(tables):
        sides = rng.normal(size=(draws, bits, 2)) @ pair.T > 0
        same |= (sides[..., 0] == sides[..., 1]).all(axis=1)
    return same.mean()


figure, axes = plt.subplots()
angles = np.arange(5, 91, 5)
settings = ((1, 1, BLUE, "o"), (16, 1, RED, "D"), (16, 20, GREEN, "^"))
for bits, tables, colour, marker in settings:
    axes.plot(angles, annlab.collision_probability(np.radians(angles), bits, tables), color=colour, marker="")
    axes.plot(
        angles,
        [share_a_key(angle, bits, tables) for angle in angles],
        marker,
        color=colour,
        label=f"{bits} bits, {tables} tables",
    )
measured = share_a_key(30, 16, draws=100_000)
axes.set(xlabel="angle of the two vectors, degrees", ylabel="probability of a shared key", ylim=(0, 1.03))
axes.legend()
show(
    figure,
    "Lines: the formula. Points: counted. Many bits make a key that only the nearest share; many tables give each of them more chances: together a step, high for near vectors and low for far ones. The step is what hashing is about.",
)

# %% [markdown]
# ## Bits and tables on real images
#
# More bits: smaller buckets, fewer candidates, more misses. More tables: more candidates, fewer misses, more memory. Here
# are both, counted over 9,800 images with NumPy.

# %%
data = datasets.fashion_mnist_split(n_queries=200, seed=0)
vectors, queries = data.train, data.test
centre = vectors.mean(axis=0)
truth = annlab.ExactIndex(metric="cosine").fit(vectors - centre).search(queries - centre, k=10).ids


planes = np.random.default_rng(1).normal(size=(16, 16, vectors.shape[1])).astype(np.float32)
pairs = [(keys(queries - centre, each), keys(vectors - centre, each)) for each in planes]  # of 16 tables


def candidates(
    bits, tables
):  # (q, n): which rows share a bucket with which query; a key's first bits are a shorter key
    low = (1 << bits) - 1
    return np.logical_or.reduce([(asked & low)[:, None] == stored & low for asked, stored in pairs[:tables]])


bits_tried, tables_tried = (4, 8, 12, 16), (1, 4, 16)
recall, looked_at = (np.zeros((len(tables_tried), len(bits_tried))) for _ in range(2))
for column, bits in enumerate(bits_tried):
    for row, tables in enumerate(tables_tried):
        found = candidates(bits, tables)
        recall[row, column] = np.take_along_axis(found, truth, axis=1).mean()
        looked_at[row, column] = found.mean()
figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.5))
for axes, values, title in zip(
    panels, (recall, looked_at), ("share of the ten nearest found", "share of the rows compared")
):
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    axes.set(
        title=title,
        xlabel="bits",
        ylabel="tables",
        xticks=range(4),
        xticklabels=bits_tried,
        yticks=range(3),
        yticklabels=tables_tried,
    )
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            f"{value:.0%}" if value >= 0.01 else f"{value:.1%}",
            ha="center",
            va="center",
            color="black" if value > 0.5 else "white",
        )
show(
    figure,
    f"To the right searches become cheaper and worse, downwards dearer and better. 16 bits in 16 tables find {recall[2, 3]:.0%} by comparing {looked_at[2, 3]:.1%}; 4 bits in one table find {recall[0, 0]:.0%} by comparing {looked_at[0, 0]:.0%}.",
)

# %% [markdown]
# ## The trap: where is the origin?
#
# The planes go through the origin. Pixels are never negative, so all images lie on one side of it, and most planes pass
# beside *all* of them. Subtracting the mean puts the planes through the middle of the data.

# %%
sizes = {
    name: np.sort(np.bincount(keys(vectors - about, planes[0, :12])))[::-1]
    for name, about in (("as they are", 0), ("about their mean", centre))
}
figure, axes = plt.subplots(figsize=(7.2, 2.6))
for (name, counts), colour, style in zip(sizes.items(), (ORANGE, BLUE), ("dashed", "solid")):
    axes.plot(
        np.arange(1, 1 + (counts > 0).sum()), counts[counts > 0], linestyle=style, color=colour, marker="", label=name
    )
axes.set(xscale="log", yscale="log", xlabel="buckets, the fullest first", ylabel="images in the bucket")
axes.legend()
largest = {name: counts[0] / len(vectors) for name, counts in sizes.items()}
show(
    figure,
    f"4,096 buckets. Uncentred, the fullest holds {largest['as they are']:.0%} of all images, centred {largest['about their mean']:.1%}. Queries fall into full buckets most often, so that is what a search pays. LSHIndex centres by itself.",
)

# %% [markdown]
# ## Probing: tables without their memory
#
# A query near a plane has its neighbours on both sides of it. So look also into the bucket across that plane, then across
# the next nearest one. One table that is probed often replaces many tables.

# %%
hashed = textbook.HyperplaneLSH(vectors - centre, n_tables=4, n_bits=10, seed=0)
unit_truth = annlab.ExactIndex(metric="l2").fit(vectors).search(queries[:100], k=10).ids
probes = (1, 2, 4, 8, 16, 32)
found = [
    np.mean(
        [
            np.isin(true, hashed.search(query, 10, probe)[1]).mean()
            for query, true in zip(queries[:100] - centre, unit_truth)
        ]
    )
    for probe in probes
]
figure, axes = plt.subplots(figsize=(7.2, 2.6))
axes.plot(probes, found, color=BLUE)
axes.set(
    xscale="log",
    xticks=probes,
    xticklabels=probes,
    xlabel="buckets probed in each of 4 tables of 10 bits",
    ylabel="share found",
    ylim=(0, 1),
)
show(
    figure,
    f"The same four tables find {found[0]:.0%} with one bucket each and {found[-1]:.0%} with {probes[-1]}. Probing buys recall with time; tables buy it with memory.",
)

# %% [markdown]
# ## The real one
#
# `LSHIndex` measures on held-out rows how many buckets and candidates it takes. Mode "scan" has no buckets at all: it
# compares the query's 256 bits with everybody's, 32 bytes a row in place of 3,136.

# %%
rows = []
for title, how in (
    ("scan of 256-bit codes", {"mode": "scan"}),
    ("buckets of signs", {"mode": "buckets", "family": "hyperplanes"}),
    ("buckets of cross-polytopes", {"mode": "buckets"}),
):
    index, stats = annlab.LSHIndex(metric="cosine", seed=0, **how).fit(vectors), annlab.SearchStats()
    ids = index.search(queries, k=10, stats=stats).ids
    exact = annlab.ExactIndex(metric="cosine").fit(vectors).search(queries, k=10).ids
    rows.append(
        (
            title,
            np.mean([np.isin(*pair).mean() for pair in zip(exact, ids)]),
            int(stats.visited.mean()),
            f"{stats.bytes.mean() / vectors.nbytes:.1%}",
        )
    )
table(("index", "share of the ten nearest found", "buckets visited", "bytes read, of a full scan's"), rows)
hard = np.argmin([np.isin(*pair).mean() for pair in zip(exact, index.search(queries, k=10, n_probes=16).ids)])
told = index.explain(queries[hard], n_probes=16)
print(told)
show(
    told.plot(what="work"),
    "Bucket after bucket: for this query the nearest lie in none of the first sixteen. A key is a few signs, and one of them is on the wrong side.",
)

# %% [markdown]
# ## Where it fails
#
# - **Noise.** Where the nearest are hardly nearer than the others (notebook 02), no step is steep enough: nearly all
#   rows become candidates.
# - **Guarantees cost.** The formula promises something for *every* data set. Data with clusters have more structure than
#   that, and an index that learns it (notebooks 05, 08) needs fewer comparisons.
# - **Few dimensions**: a tree is exact and faster.

# %%
verdict(guess, measured, "probability that two vectors at 30 degrees share a key of 16 bits")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("04-tables", answer := ...)

# %%
course.check("04-keys", answer := ...)
