# %% [markdown]
# # 02 Why high dimensions hurt
#
# **Question.** An image of Fashion-MNIST has 784 pixels, so it is a point in 784 dimensions. Around a typical image,
# in how many directions can one move and still meet other images? Nearest-neighbour search feels that number, not 784.
#
# *Page:* [annlab/evaluation/difficulty.py](../annlab/evaluation/difficulty.py), and
# [annlab/datasets/synthetic.py](../annlab/datasets/synthetic.py) for data whose dimension is known. *Kernel:*
# [kernels/scan/batch.py](../annlab/kernels/scan/batch.py), the exact search that all of this is measured with.

# %%
guess = 784  # your guess: the dimension that a search in these images feels

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, GREEN, ORANGE, show, table, verdict

import annlab
from annlab import course, datasets, evaluation

rng = np.random.default_rng(0)
fashion = datasets.fashion_mnist_split(n_queries=500, seed=0)

# %% [markdown]
# ## Distances concentrate
#
# Draw points at random in a cube, and look at all distances from one of them. A squared distance is a sum of `d`
# independent numbers. Its mean grows as `d`, its spread only as the root of `d`: so in high dimensions all sums look alike.

# %%
figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.4), sharex=True)
ratios = {}
for axes, d in zip(panels, (2, 20, 500)):
    points, query = rng.random((5000, d)), rng.random(d)
    distances = np.sqrt(((points - query) ** 2).sum(axis=1))
    ratios[d] = distances.max() / distances.min()
    axes.hist(distances / distances.mean(), bins=60, color=BLUE)
    axes.set(title=f"{d} dimensions", yticks=[], xlabel="distance / mean distance")
show(figure, "The nearest of 5,000 points becomes as far as the farthest: farthest over nearest is "
     + ", ".join(f"{ratio:,.3g} in {d}" for d, ratio in ratios.items())
     + " dimensions. With noise in the last digits, 'nearest' then means little.")  # fmt: skip

# %% [markdown]
# ## But columns are not dimensions
#
# Three sets, all of 784 columns: noise; a curved surface of 8 dimensions, rotated into 784; and the images. Two numbers
# say how hard each is. The *relative contrast* is how much farther a typical row is than the nearest. The *local
# intrinsic dimension* asks how fast the number of neighbours grows with the radius: in `m` dimensions as $r^m$, so
# the mean of $\log(r_k / r_i)$ over the `k` nearest is $1/m$.


# %%
def dimension(distances):  # (q, k), ascending -> (q,)
    return 1 / np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1)


def contrast(distances, typical):
    return typical.mean(axis=1) / distances[:, 0]


sets = {
    "noise": datasets.uniform_noise(9000, 784, 500, seed=0),
    "8-dimensional surface": datasets.synthetic(9000, 784, 8, 500, seed=0),
    "Fashion-MNIST": fashion,
}
rows, spread = [], {}
for name, data in sets.items():
    near = annlab.ExactIndex(metric="l2").fit(data.train).search(data.test, k=50).distances
    typical = annlab.pairwise(data.test, data.train[rng.choice(len(data.train), 300, replace=False)], metric="l2")
    spread[name] = evaluation.local_intrinsic_dimension(near)
    assert np.allclose(spread[name], dimension(near.astype(float)))  # the page computes what we wrote above
    assert np.allclose(evaluation.relative_contrast(near, typical), contrast(near.astype(float), typical))
    rows.append((name, data.train.shape[1], float(np.median(spread[name])), float(np.median(contrast(near, typical)))))
table(("set", "columns", "intrinsic dimension (median)", "relative contrast (median)"), rows)
measured = rows[2][2]

# %%
figure, axes = plt.subplots()
for (name, values), colour, style in zip(spread.items(), (ORANGE, GREEN, BLUE), ("solid", "dashed", "solid")):
    axes.hist(
        values, bins=np.geomspace(3, 300, 60), histtype="step", linewidth=2, color=colour, linestyle=style, label=name
    )
axes.set(xscale="log", xlabel="local intrinsic dimension of a query", ylabel="queries", xticks=[5, 10, 20, 50, 100, 200],
         xticklabels=[5, 10, 20, 50, 100, 200])  # fmt: skip
axes.legend()
low, high = np.percentile(spread["Fashion-MNIST"], [5, 95])
show(figure, f"Same 784 columns, three difficulties. And no set has *one* difficulty: among the images it runs from "
     f"{low:.0f} to {high:.0f}. A benchmark that reports one mean hides this; notebook 07 looks at the hard queries.")  # fmt: skip

# %% [markdown]
# The estimate for noise is far below 784: to feel 784 dimensions one would need more rows than there are atoms. Large
# estimates are always too low.
#
# ## Hubs
#
# Let every row look for its ten nearest, and count how often each row is found. On average ten times. In few
# dimensions nearly all rows are found about ten times. In many, a few rows near the middle are found by hundreds, and
# many by nobody.

# %%
popular = {}
for name, points in (("3 dimensions", rng.normal(size=(5000, 3))), ("100 dimensions", rng.normal(size=(5000, 100))),
                     ("Fashion-MNIST", fashion.train[:5000])):  # fmt: skip
    ids = annlab.ExactIndex(metric="l2").fit(points.astype(np.float32)).neighbors(k=10).ids
    popular[name] = evaluation.hubness(ids, n=len(points))
table(("5,000 rows", "most often found", "found by nobody", "skewness"),
      [(name, int(hubs.counts.max()), f"{hubs.never_found:.1%}", hubs.skewness) for name, hubs in popular.items()])  # fmt: skip

# %%
order = popular["Fashion-MNIST"].counts.argsort()
figure, panels = plt.subplots(2, 8, figsize=(7.2, 2.2))
for line, chosen in zip(panels, (order[::-1][:8], order[:8])):
    for axes, row in zip(line, chosen):
        axes.imshow(fashion.train_images[row])
        axes.set_axis_off()
        axes.set_title(f"{popular['Fashion-MNIST'].counts[row]}", fontsize=9, loc="center")
show(figure, "Above, the hubs: plain and typical, near the middle of many. Below, images that are among the ten nearest of "
     "nobody (their counts are above them): busy and unusual. Nobody will ever find these by example, with an exact search or any other.")  # fmt: skip

# %% [markdown]
# ## Where it fails
#
# - The estimate assumes that the neighbours lie evenly around a query. On the border of the data, or between two
#   clusters, it does not hold; take the median over queries, not one value.
# - With few rows the nearest are far, and one measures the shape of the whole set in place of its neighbourhoods.
#   Estimates above about 20 are too low (see noise).
# - A small dimension makes search easy for *some* method, not for every one: trees cut along the columns, and the
#   surface above is rotated. Notebook 03 measures what they make of it.

# %%
verdict(guess, measured, "dimension that a search among the 784-pixel images feels")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("02-lid-by-hand", answer := ...)

# %%
course.check("02-contrast", answer := ...)

# %%
course.check("02-hub", answer := ...)
