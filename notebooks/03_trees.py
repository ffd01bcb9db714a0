# %% [markdown]
# # 03 KD and ball trees
#
# **Question.** A tree halves the space again and again, so that a query has to look only into the leaves around it.
# With 20,000 random points: up to how many dimensions does a KD-tree compare the query with fewer than half of them?
#
# *Pages:* [annlab/kdtree.py](../annlab/kdtree.py), [annlab/balltree.py](../annlab/balltree.py). *Kernels:*
# [kernels/trees/walk.py](../annlab/kernels/trees/walk.py), [kernels/trees/leaf.py](../annlab/kernels/trees/leaf.py).
# *In forty lines:* `KDTree` and `BallTree` in [annlab/textbook.py](../annlab/textbook.py).

# %%
guess = 100  # your guess: the last number of dimensions at which a KD-tree compares fewer than half of the points

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, GREEN, GREY, ORANGE, RED, milliseconds, show, table, verdict

import annlab
from annlab import course, datasets, textbook

rng = np.random.default_rng(3)

# %% [markdown]
# ## By hand
#
# Sort the rows along the axis on which they extend farthest, cut at the median, and do the same with both halves. A
# search goes down to the query's own leaf first. Then it returns: a half whose border is farther than the best row so
# far cannot hold anything better, and is skipped *with all that is below it*.


# %%
def build(rows, leaf_size=12):
    if len(rows) <= leaf_size:
        return rows
    axis = np.ptp(points[rows], axis=0).argmax()
    rows = rows[points[rows, axis].argsort()]
    half = len(rows) // 2
    return axis, points[rows[half], axis], build(rows[:half], leaf_size), build(rows[half:], leaf_size)


def search(node, query, best, visited):
    if isinstance(node, np.ndarray):
        visited.append(node)
        distances = np.append(best[0], np.linalg.norm(points[node] - query, axis=1))
        order = distances.argsort()[: len(best[0])]
        best[:] = distances[order], np.append(best[1], node)[order]
        return
    axis, value, left, right = node
    near, far = (left, right) if query[axis] < value else (right, left)
    search(near, query, best, visited)
    if abs(query[axis] - value) <= best[0][-1]:  # could the other side hold something better?
        search(far, query, best, visited)


points = rng.random((600, 2)) ** 1.5
query, tree, visited = np.array([0.33, 0.3]), build(np.arange(600)), []
best = [np.full(5, np.inf), np.full(5, -1)]
search(tree, query, best, visited)
assert (best[1] == textbook.exact_search(points, query, 5)[1]).all()
print(f"compared {sum(map(len, visited))} of {len(points)} points, in {len(visited)} leaves")


# %%
def draw(node, low, high, axes):
    if isinstance(node, np.ndarray):
        seen = any(node is leaf for leaf in visited)
        axes.add_patch(
            plt.Rectangle(low, *(high - low), facecolor="#FFE3B3" if seen else "none", edgecolor=GREY, linewidth=0.6)
        )
        return
    axis, value, left, right = node
    cut = np.where(np.arange(2) == axis, value, high), np.where(np.arange(2) == axis, value, low)
    draw(left, low, cut[0], axes)
    draw(right, cut[1], high, axes)


figure, axes = plt.subplots(figsize=(4.6, 4.6))
draw(tree, np.zeros(2), np.ones(2), axes)
axes.plot(*points.T, ".", color=BLUE, markersize=3)
axes.plot(*points[best[1]].T, "o", color=GREEN, label="the five nearest")
axes.plot(*query, "x", color=RED, markersize=9, markeredgewidth=2.5, label="query")
axes.add_patch(plt.Circle(query, best[0][-1], fill=False, color=RED))
axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
axes.grid(False)
axes.legend(loc="upper right", frameon=True)
show(figure, "Only the shaded leaves were visited: those that the circle through the fifth neighbour touches, and what was "
     "met on the way down. Small leaves where points are dense: a tree fits itself to the data.")  # fmt: skip

# %% [markdown]
# The same query in the real index, as it explains itself. Its nodes have sixteen children, so that sixteen bounds are
# computed at once:

# %%
told = annlab.KDTreeIndex(metric="l2").fit(points).explain(query, k=5)
print(told)
show(
    told.plot(),
    "Left: boxes that fit the points, so they leave out empty space. Right: nearly all of the work is over when the first leaves have been read, and the rest is left out by its bound.",
)

# %% [markdown]
# ## Until it does not
#
# In `d` dimensions a leaf has $2^d$ corners' worth of neighbouring leaves, and the circle is a ball that touches more
# and more of them. The real indexes count what they compare (`SearchStats`), and stay exact; so the count is the price.


# %%
def compared(index_class, data):
    stats = annlab.SearchStats()
    index_class(metric="l2").fit(data.train).search(data.test, k=10, stats=stats)
    return stats.distances.mean() / len(data.train)


dimensions = (2, 4, 6, 8, 10, 12, 16, 24, 32)
kinds = {"KD-tree": annlab.KDTreeIndex, "ball tree": annlab.BallTreeIndex}
uniform = {name: [compared(kind, datasets.uniform_noise(20_000, d, 100, seed=1)) for d in dimensions]
           for name, kind in kinds.items()}  # fmt: skip
flat = {name: [compared(kind, datasets.synthetic(20_000, d, min(d, 4), 100, seed=1)) for d in dimensions]
        for name, kind in kinds.items()}  # fmt: skip
measured = max(d for d in range(2, 33) if np.interp(d, dimensions, uniform["KD-tree"]) < 0.5)

figure, panels = plt.subplots(1, 2, sharey=True)
for axes, results, title in zip(
    panels, (uniform, flat), ("uniform in all dimensions", "a surface of 4 dimensions, rotated")
):
    for (name, shares), colour, marker in zip(results.items(), (BLUE, ORANGE), "os"):
        axes.plot(dimensions, shares, color=colour, marker=marker, label=name)
    axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    axes.set(title=title, xlabel="columns", yscale="log", ylim=(5e-4, 1.5))
panels[0].set_ylabel("share of the points compared")
panels[0].legend(loc="lower right")
show(figure, f"Uniform points: half of them are compared at {measured} dimensions, nearly all at 24, by the box and by the ball. The same "
     f"columns on a surface of 4 dimensions: a few per cent, whatever the columns. What counts is the intrinsic dimension.")  # fmt: skip

# %% [markdown]
# ## Nodes may ask other questions
#
# A node need not split by a coordinate. It may ask "is it a bag?", as trees in a shop's search do: all that is left of
# the node is, all that is right is not. `criteria=` builds that: rows are divided by an attribute before they are
# divided by coordinates, so that a search with a filter visits one part of the tree only.

# %%
data = datasets.synthetic(20_000, 8, 5, 200, seed=2)
kind = np.random.default_rng(0).integers(0, 8, len(data.train))
rows = []
for title, criteria in (("without a criterion", None), ("criterion on the nodes", ["kind"])):
    index = annlab.KDTreeIndex(metric="l2", criteria=criteria).fit(data.train, attributes={"kind": kind})
    for what, allowed in (("one kind of eight", index.filter(where=annlab.col("kind") == 3)), ("all kinds", None)):
        stats = annlab.SearchStats()
        took = milliseconds(lambda: index.search(data.test, k=10, allowed=allowed, stats=stats, threads=1))  # noqa: B023
        rows.append((title, what, stats.visited.mean(), stats.distances.mean(), 1000 * took / len(data.test)))
table(("tree", "searched for", "nodes visited", "rows compared", "microseconds a query"), rows)

# %% [markdown]
# Without the criterion a filtered search goes through leaves of which one row in eight may be returned: it skips the
# others, so it *compares* few, but visits more. With it every row that it meets may be returned. And every other search
# becomes dearer: without the filter all eight trees are visited. A criterion is worth it for attributes that are
# asked for often and have few values.
#
# ## Where it fails
#
# - **Dimensions**, as measured. From about 12 of uniform data on, a plain scan is faster: it reads memory in order,
#   and a tree jumps.
# - **Queries from elsewhere.** The circle of a query far from all points is large, and touches everything.
# - **More rows do not help** in high dimensions as they do in low ones: a leaf shrinks by the `d`-th root only.

# %%
verdict(guess, measured, "last dimension at which fewer than half of 20,000 uniform points are compared")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("03-kdtree-visited", answer := ...)

# %%
course.check("03-box-distance", answer := ...)
