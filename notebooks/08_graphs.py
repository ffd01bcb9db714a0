# %% [markdown]
# # 08 Graphs: walk to the neighbours
#
# **Question.** 9,800 images, each linked to some others. A search begins at one image and walks along links, always to
# what looks nearer. With how many images does it compare the query, to find 95 % of the ten nearest?
#
# *Page:* [annlab/vamana.py](../annlab/vamana.py). *Kernels:* [kernels/graphs/walk.py](../annlab/kernels/graphs/walk.py)
# (the walk), [kernels/graphs/prune.py](../annlab/kernels/graphs/prune.py) (which links). *In forty lines:*
# `NeighbourGraph` in [annlab/textbook.py](../annlab/textbook.py).

# %%
guess = 3000  # your guess: images compared with a query, of 9,800

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from teaching import BLUE, GREEN, GREY, ORANGE, RED, show, table, verdict

import annlab
from annlab import course, datasets, textbook

rng = np.random.default_rng(1)


# %% [markdown]
# ## By hand: the walk
#
# Keep the best rows seen so far, at most `beam` of them. Open the nearest that is not open yet: compare its links with
# the query. Stop when all that are kept are open. With a beam of 1 the walk stops in the first dead end.


# %%
def walk(points, links, query, entry, beam):
    seen, opened = {entry: np.linalg.norm(points[entry] - query)}, []
    while True:
        best = sorted(seen, key=seen.get)[:beam]
        closed = [row for row in best if row not in opened]
        if not closed:
            return best, opened, len(seen)
        opened.append(closed[0])
        new = [int(row) for row in links[closed[0]] if row >= 0 and row not in seen]
        seen.update(zip(new, np.linalg.norm(points[new] - query, axis=1)))


points = rng.random((400, 2))
graph = textbook.NeighbourGraph(points, degree=6)
query, entry = np.array([0.85, 0.8]), int(points.sum(axis=1).argmin())
best, opened, compared = walk(points, graph.links, query, entry, beam=5)

figure, axes = plt.subplots(figsize=(4.8, 4.8))
axes.add_collection(
    LineCollection(
        [points[[row, other]] for row in range(400) for other in graph.links[row]], colors=GREY, linewidths=0.35
    )
)
axes.plot(*points.T, ".", color=BLUE, markersize=3)
axes.plot(*points[opened].T, "-", color=ORANGE, marker="o", markersize=4, label="opened, in this order")
axes.plot(*points[best].T, "D", color=GREEN, label="the five nearest")
axes.plot(*query, "x", color=RED, markersize=10, markeredgewidth=2.5, label="query")
axes.grid(False)
axes.legend(loc="upper left", frameon=True, fontsize=8)
show(
    figure,
    f"{len(opened)} of 400 points were opened and {compared} compared. Long links cross the square in a few steps, short ones find the last neighbours. A list of the nearest alone would have no long links.",
)

# %% [markdown]
# ## Can everything be reached?
#
# Link every image to its eight nearest, and nothing else. Follow the links from one image: who is never reached cannot
# be found, by any beam.

# %%
data = datasets.fashion_mnist_split(n_queries=200, seed=0)
vectors, queries = data.train, data.test
truth = annlab.ExactIndex(metric="l2").fit(vectors).search(queries, k=10).ids
nearest = annlab.ExactIndex(metric="l2").fit(vectors).neighbors(k=16).ids


def reached(links, entry):
    seen = np.zeros(len(links), bool)
    front = np.array([entry])
    while len(front):
        seen[front] = True
        front = np.unique(links[front])
        front = front[(front >= 0) & ~seen[front]]
    return seen.mean()


def with_reverse(links, room):  # whoever is seen shall see: the links and those that lead here, as far as there is room
    back = [[] for _ in links]
    for row, others in enumerate(links):
        for other in others:
            back[other].append(row)
    rows = [np.unique(np.append(own, other).astype(int))[:room] for own, other in zip(links, back)]
    return np.array([np.pad(row, (0, room - len(row)), constant_values=-1) for row in rows])


middle = int(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).argmin())
both = with_reverse(nearest[:, :8], 48)
table(("links", "reached from one image"), [
    ("to the 8 nearest", f"{reached(nearest[:, :8], middle):.1%}"),
    ("to the 16 nearest", f"{reached(nearest, middle):.1%}"),
    ("to the 8 nearest, and back", f"{reached(both, middle):.1%}"),
])  # fmt: skip

# %% [markdown]
# Images that nobody has among his nearest (notebook 02: a tenth of all) have no link that leads to them. Links back mend
# most of it; `VamanaIndex` links what is still left from its nearest reachable row.
#
# ## Does it matter where one begins? Does one need a hierarchy?
#
# HNSW puts smaller graphs above the graph, to find a good place to begin. Compare three beginnings on one flat graph: the
# image in the middle, a random one, and the nearest of 100 random ones (which costs 100 comparisons).

# %%
starts = rng.choice(len(vectors), 100, replace=False)
begin = {
    "the middle": lambda query: (middle, 0),
    "at random": lambda query: (int(rng.integers(len(vectors))), 0),
    "nearest of 100": lambda query: (int(starts[np.linalg.norm(vectors[starts] - query, axis=1).argmin()]), 100),
}
rows = []
for name, choose in begin.items():
    work, found, steps = [], [], []
    for query, true in zip(queries[:60], truth):
        entry, paid = choose(query)
        best, opened, compared = walk(vectors, both, query, entry, beam=24)
        work.append(compared + paid)
        steps.append(len(opened))
        found.append(np.isin(true, best[:10]).mean())
    rows.append((name, np.mean(found), np.mean(work), np.mean(steps)))
table(("begin at", "share found", "images compared", "images opened"), rows)

# %% [markdown]
# In high dimensions the way from anywhere to the query is a few steps long, and most of the work is done around the query.
# So one layer does; good beginnings buy a little, and against separate clusters they are insurance.
#
# ## When to stop
#
# A beam is one rule. `VamanaIndex` has another: go on while there is something to open within `reach` times the distance
# of the tenth nearest. Easy queries stop early, hard ones go on: the same recall for less work.

# %%
index = annlab.VamanaIndex(metric="l2", degree=32, seed=0).fit(vectors)
curve = []
for reach in (1.0, 1.03, 1.06, 1.1, 1.15, 1.2, 1.3):
    stats = annlab.SearchStats()
    ids = index.search(queries, k=10, reach=reach, stats=stats).ids
    curve.append((np.mean([np.isin(*pair).mean() for pair in zip(truth, ids)]), stats.distances.mean(), reach))
by_beam = []
for beam in (10, 16, 24, 40):
    walked = [walk(vectors, both, query, middle, beam) for query in queries[:60]]
    by_beam.append(
        (
            np.mean([np.isin(true, best[:10]).mean() for (best, _, _), true in zip(walked, truth)]),
            np.mean([compared for *_, compared in walked]),
        )
    )
share, work, _ = np.array(curve).T
measured = float(np.interp(0.95, share, work))
figure, axes = plt.subplots()
axes.plot(work, share, color=BLUE, label="VamanaIndex, by reach")
axes.plot(
    [w for _, w in by_beam], [s for s, _ in by_beam], color=ORANGE, marker="s", label="our graph of nearest, by beam"
)
axes.set(xlabel="images compared, of 9,800", ylabel="share of the ten nearest found", ylim=(None, 1.01), xlim=(0, None))
axes.legend(loc="lower right")
show(
    figure,
    f"{measured:.0f} comparisons for 95 %: {measured / len(vectors):.1%} of the images. Most of what is compared are neighbours of neighbours; the number grows with log n, so at a million images the share is far smaller still.",
)

# %% [markdown]
# What one search did, step by step; and the walk as the index draws it:

# %%
told = index.explain(queries[0], reach=1.0)
print(told)
show(
    told.plot(),
    "Each point is an image that was compared: its distance from the query falls in a few steps, and then the walk looks around among near ones.",
)

# %% [markdown]
# ## Where it fails
#
# - **Building** compares every vector with thousands; an inverted file is built in a fraction of the time.
# - **Memory**: links are 8 bytes each here, so 32 of them double a small vector.
# - **Batches**: every walk goes its own way and waits for memory; cells share what they read among queries.
# - **Queries from elsewhere** end in a dead end far from everything (notebook 13): they need a larger reach.

# %%
verdict(guess, measured, "images of 9,800 compared for 95 % of the ten nearest")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("08-reachable", answer := ...)
