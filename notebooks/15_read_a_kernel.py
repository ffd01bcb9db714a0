# %% [markdown]
# # 15 Read a kernel
#
# **Question.** Two pieces of Python, both compiled by Numba, both multiply and add the same numbers as often, on one thread.
# One is three plain loops. The other is the tile that `ExactIndex` is made of. How many times as fast is the tile?
#
# *Page:* [annlab/exact.py](../annlab/exact.py). *Kernels:* [kernels/tile.py](../annlab/kernels/tile.py),
# [kernels/scan/batch.py](../annlab/kernels/scan/batch.py), [kernels/distance.py](../annlab/kernels/distance.py).

# %%
guess = 2  # your guess: how many times as fast the tile is as three plain loops

# %%
import importlib.util
import inspect
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numba
import numpy as np
from teaching import BLUE, ORANGE, milliseconds, show, table, verdict

import annlab
from annlab import course, textbook
from annlab.kernels import distance, tile
from annlab.kernels.simd import path

rng = np.random.default_rng(0)
vectors, queries = rng.random((6000, 256), dtype=np.float32), rng.random((240, 256), dtype=np.float32)

# %% [markdown]
# ## Three loops


# %%
def products(queries, vectors, out):
    for i in range(len(queries)):
        for j in range(len(vectors)):
            total = np.float32(0)
            for d in range(queries.shape[1]):
                total += queries[i, d] * vectors[j, d]
            out[i, j] = total


plain = numba.njit(nogil=True)(products)
reordered = numba.njit(nogil=True, fastmath=True)(products)  # the same, and the compiler may add up in any order


# %% [markdown]
# Why is `plain` slow? Each addition waits for the one before it (four cycles), and floating-point sums may not be
# reordered, so the compiler may not use registers of sixteen numbers. Allowed to, it does: but then each number that is
# loaded is used *once*, and loading is the limit.
#
# ## The tile
#
# Keep a block of sums in registers: twelve queries times two registers of rows. Load two registers of rows, and use them for
# all twelve queries. That is 24 multiply-adds for two loads and twelve broadcasts; and 24 sums that wait for nobody.

# %%
print(inspect.getsource(tile.float_tile))
print(f"on this machine: path {path.PATH_NAME}, {tile.PANEL_ROWS} rows x {tile.QUERIES_IN_TILE} queries in registers")

# %%
out = np.empty((len(queries), len(vectors)), np.float32)
index = annlab.ExactIndex(metric="ip", precision="float32").fit(vectors)
took = {
    "three loops": milliseconds(lambda: plain(queries, vectors, out), 3),
    "the same, any order": milliseconds(lambda: reordered(queries, vectors, out), 3),
    "NumPy's product": milliseconds(lambda: queries @ vectors.T, 3),
    "ExactIndex: the tile, and the ten best": milliseconds(lambda: index.search(queries, k=10, threads=1), 3),
}
work = 2 * out.size * vectors.shape[1] / 1e6  # million operations
measured = took["three loops"] / took["ExactIndex: the tile, and the ten best"]
figure, axes = plt.subplots(figsize=(7.2, 2.2))
axes.barh(list(took), [work / each for each in took.values()], color=[ORANGE, ORANGE, ORANGE, BLUE])
axes.bar_label(axes.containers[0], fmt=" %.3g")
axes.set(xlabel="thousand million operations a second (log scale)", xscale="log", xlim=(0.3, 1000))
axes.invert_yaxis()
show(
    figure,
    f"The tile is {measured:.0f} times as fast as three loops, and finds the ten best on the way: the matrix of products, {out.nbytes / 1e6:.0f} MB, is never written. (NumPy's product may use all threads.) The language is the same; the order of loads is not.",
)

# %% [markdown]
# ## Who says that it is right?
#
# A fast kernel may choose candidates; what is *returned* is computed by one definition, in `kernels/distance.py`, whose
# heart is this:

# %%
print(inspect.getsource(distance._summed.py_func))

# %% [markdown]
# Sixteen numbers a round; then what is left: up to eight, and up to eight again. Such ends are where kernels are wrong. Let
# us break a *copy* of the file: forget the last piece.

# %%
source = Path(distance.__file__).read_text()
last = """    if i < dim:
        odd = odd + term(load_first_eight(x + i, dim - i), load_first_eight(q + i, dim - i), x_scale, q_scale)
"""
assert source.count(last) == 1
folder = tempfile.TemporaryDirectory()
copy = Path(folder.name) / "broken_distance.py"
copy.write_text(source.replace(last, ""))
spec = importlib.util.spec_from_file_location("broken_distance", copy)
broken = importlib.util.module_from_spec(spec)
spec.loader.exec_module(broken)


# %% [markdown]
# And a test, as in `tests/kernels/test_distance.py`: compare with the definition in NumPy. For which dimensions?


# %%
def is_right(module, dim):
    left, right = rng.random((20, dim)), rng.random((20, dim))
    found = np.empty(20)
    module.pair_distances(left, right, distance.L2, found)
    wanted = [textbook.distances_to(a[None], b)[0] for a, b in zip(left, right)]
    return np.allclose(found, wanted, rtol=1e-12)


dims = [4, 8, 16, 20, 24, 27, 32, 64, 100, 128, 784]
table(("dimension", *map(str, dims)), [
    (name, *("green" if is_right(module, dim) else "**RED**" for dim in dims)) for name, module in (("the kernel", distance), ("the broken copy", broken))
])  # fmt: skip

# %% [markdown]
# With 128 and 784 dimensions, the usual test data, nothing is seen. Only dimensions that leave more than eight over turn
# the test red. So tests of kernels use dimensions like 27, and lengths that are no multiple of a register; and a test that
# never was red says nothing yet: break the code and see.

# %%
folder.cleanup()

# %% [markdown]
# ## Where it fails
#
# - **No bounds are checked** in a kernel. What is wrong at the door is a crash here; so everything is checked at the door.
# - **One query alone** uses each row once: it is limited by memory, and no tile helps. It reads bytes in place of floats.
# - **Other CPUs** have other registers: the sizes above are chosen for this path, and measured again on each.

# %%
verdict(guess, round(measured, 1), "times as fast as three plain loops, on the machine that ran this")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("15-loads", answer := ...)
