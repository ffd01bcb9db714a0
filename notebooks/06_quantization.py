# %% [markdown]
# # 06 Quantization
#
# **Question.** An image is 784 floats: 3,136 bytes. Replace it by 49 bytes, one sixty-fourth, and search by these only.
# What share of the true ten nearest is among the ten that the codes name?
#
# *Page:* [annlab/quantizers.py](../annlab/quantizers.py); exact search through bytes:
# [annlab/scan/int8.py](../annlab/scan/int8.py). *Kernels:*
# [kernels/inverted/product_codes.py](../annlab/kernels/inverted/product_codes.py),
# [kernels/scan/int8.py](../annlab/kernels/scan/int8.py). *In forty lines:* `ProductQuantizer` in
# [annlab/textbook.py](../annlab/textbook.py).

# %%
guess = 0.95  # your guess: the share of the ten nearest that codes of 49 bytes find

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, GREEN, ORANGE, show, table, verdict

import annlab
from annlab import course, datasets

data = datasets.fashion_mnist_split(n_queries=200, seed=0)
vectors, queries = data.train, data.test
truth = annlab.ExactIndex(metric="l2").fit(vectors).search(queries, k=10)
rng = np.random.default_rng(0)


def share_found(ids):
    return np.mean([np.isin(*pair).mean() for pair in zip(truth.ids, ids)])


# %% [markdown]
# ## By hand: product quantization
#
# Cut each vector into 49 parts of 16 numbers. For each part learn 256 typical pieces (k-means), and write down which one
# is nearest: one byte. With only 256 pieces a part, $256^{49}$ different vectors can be written: more than there are atoms.
#
# A search makes 49 small tables, with the squared distance of the query's part to each piece. The distance to any of the
# 9,800 vectors is then a sum of 49 looked-up numbers: no multiplication at all.


# %%
def squared(points, centres):
    return (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T


def learn(parts, n_centres, steps=4):  # (n, p, w) -> (p, n_centres, w)
    sample = parts[rng.choice(len(parts), 3000, replace=False)]
    books = sample[:n_centres].transpose(1, 0, 2).copy()
    for part, centres in enumerate(books):
        for _ in range(steps):
            nearest = squared(sample[:, part], centres).argmin(axis=1)
            for each in np.unique(nearest):
                centres[each] = sample[nearest == each, part].mean(axis=0)
    return books


def encode(parts, books):
    return np.stack([squared(parts[:, p], book).argmin(axis=1) for p, book in enumerate(books)], axis=1).astype(
        np.uint8
    )


def by_codes(queries, books, codes):  # (q, n): estimated squared distances
    tables = np.stack(
        [
            squared(part, book)
            for part, book in zip(queries.reshape(len(queries), len(books), -1).transpose(1, 0, 2), books)
        ]
    )
    return sum(table[:, codes[:, part]] for part, table in enumerate(tables))


parts = vectors.reshape(len(vectors), 49, 16)
books = learn(parts, 256)
codes = encode(parts, books)
decoded = np.stack([books[p, codes[:, p]] for p in range(49)], axis=1).reshape(vectors.shape)
estimates = by_codes(queries, books, codes)
order = np.argsort(estimates, axis=1)
measured = share_found(order[:, :10])
print(f"{codes.nbytes:,} bytes in place of {vectors.nbytes:,}; found by codes alone: {measured:.0%}")

# %%
figure, panels = plt.subplots(2, 7, figsize=(7.2, 2.2))
for column, row in enumerate(rng.choice(len(vectors), 7, replace=False)):
    for axes, picture in zip(panels[:, column], (vectors[row], decoded[row])):
        axes.imshow(picture.reshape(28, 28))
        axes.set_axis_off()
show(
    figure,
    "Above, images of 3,136 bytes; below, what their 49 bytes say. The kind is there, the pattern is smeared: enough to say 'probably near', not enough to put ten shirts in order.",
)

# %% [markdown]
# ## Re-rank
#
# So let the codes only *choose* candidates, and compare those few by their vectors. How many does it take?

# %%
depths = (10, 15, 20, 30, 50, 100, 200)
curves = {"49 bytes": [share_found(order[:, :depth]) for depth in depths]}
few = learn(vectors.reshape(-1, 14, 56), 256)
rough = np.argsort(by_codes(queries, few, encode(vectors.reshape(-1, 14, 56), few)), axis=1)
curves["14 bytes"] = [share_found(rough[:, :depth]) for depth in depths]
step = np.ptp(vectors) / 255
bytes_ = np.round(vectors / step) * step  # a byte for each number
fine = np.argsort(squared(queries, bytes_), axis=1)
curves["784 bytes, one a pixel"] = [share_found(fine[:, :depth]) for depth in depths]
figure, axes = plt.subplots()
for (name, shares), colour, marker in zip(curves.items(), (BLUE, ORANGE, GREEN), "os^"):
    axes.plot(depths, shares, color=colour, marker=marker, label=name)
axes.set(
    xscale="log",
    xticks=depths,
    xticklabels=depths,
    xlabel="candidates re-ranked by their vectors",
    ylabel="share of the ten nearest found",
    ylim=(0, 1.03),
)
axes.legend(loc="lower right")
show(
    figure,
    f"From {measured:.0%} to {curves['49 bytes'][4]:.0%} by looking at 50 vectors of 9,800. Codes need not be right, only not very wrong: even 14 bytes, which find {curves['14 bytes'][0]:.0%} alone, find {curves['14 bytes'][4]:.0%} that way.",
)

# %% [markdown]
# ## Exact, through bytes
#
# Rounding has a largest error, and it is known. If every number is off by at most half a step, a distance is off by at
# most $e = \frac{1}{2} \, \mathrm{step} \, \sqrt{d}$ (triangle inequality). So a row whose estimate is more than $2e$ above
# the tenth smallest estimate *cannot* be among the ten nearest. The others are measured: the answer is exact, and proven.

# %%
coarse = {}
for levels in (255, 63, 31, 15):
    step = np.ptp(vectors) / levels
    rounded = np.round(vectors / step) * step
    error = np.linalg.norm(vectors - rounded, axis=1).max()  # known once, when the codes are made; at most e
    estimates = np.sqrt(np.maximum(squared(queries.astype(float), rounded.astype(float)), 0))
    tenth = np.sort(estimates, axis=1)[:, 9:10]
    left = estimates <= tenth + 2 * error
    assert np.take_along_axis(left, truth.ids, axis=1).all()  # nothing was lost, for any of the queries
    coarse[levels + 1] = np.median(left.sum(axis=1))
table(
    ("levels of a number", "bits", "rows that must be measured, of 9,800"),
    [(levels, int(np.log2(levels)), count) for levels, count in coarse.items()],
)

# %% [markdown]
# The images hold bytes (256 levels): there the codes are the data. With 5 bits the proof still spares
# nearly all rows. `ExactIndex` does this with 8 bits, a bound for every 32 rows, and four times as many numbers in each
# instruction; `precision="auto"` does it where it pays.

# %%
stats = annlab.SearchStats()
noisy = (vectors + rng.normal(0, 0.05, vectors.shape)).astype(np.float32)  # no longer whole bytes
exact = annlab.ExactIndex(metric="l2", precision="float32").fit(noisy).search(queries, k=10)
through_bytes = annlab.ExactIndex(metric="l2", precision="int8").fit(noisy).search(queries, k=10)
print(
    "the same ids:",
    bool((exact.ids == through_bytes.ids).all()),
    " the same bits:",
    exact.distances.tobytes() == through_bytes.distances.tobytes(),
)
for name, quantizer in (
    ("a byte a number", annlab.ScalarQuantizer()),
    ("4 bits for two", annlab.ProductQuantizer(sub_dim=2)),
):
    print(
        f"{name}: mean squared error {quantizer.fit(noisy).error(noisy):.3g}, {quantizer.encode(noisy[:1]).nbytes} bytes a vector"
    )

# %% [markdown]
# ## Where it fails
#
# - **Without the vectors.** Re-ranking needs them, in memory or on disk. Codes alone answer "roughly".
# - **One loud coordinate.** A step is shared. If one number is a million times as large as the others, all others round
#   to nothing. Take each coordinate in its own scale, or a rotation first.
# - **Drift.** The pieces were learned from yesterday's data; tomorrow's are cut into pieces that do not fit.

# %%
verdict(guess, measured, "share of the ten nearest that codes of 49 bytes find alone")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("06-bytes", answer := ...)

# %%
course.check("06-certificate", answer := ...)
