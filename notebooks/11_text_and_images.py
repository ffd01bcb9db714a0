# %% [markdown]
# # 11 CLIP: words and pictures in one space
#
# **Question.** Two encoders, one for words and one for pictures, were trained until "cat" lands beside the picture of a
# cat. What is the mean cosine of a picture and its own name? (1: the same direction; 0: nothing in common.)
#
# *Pages:* [annlab/encoders/clip.py](../annlab/encoders/clip.py), [annlab/encoders/texts.py](../annlab/encoders/texts.py),
# [annlab/encoders/losses.py](../annlab/encoders/losses.py). *Kernel* of the search:
# [kernels/scan/batch.py](../annlab/kernels/scan/batch.py).

# %%
guess = 0.95  # your guess: the mean cosine of a picture and its own name

# %%
import matplotlib.pyplot as plt
import numpy as np
from teaching import BLUE, ORANGE, show, table, verdict

import annlab
from annlab import course, datasets, textbook
from annlab.encoders import load_encoder

emoji = datasets.emoji()
whole = np.array([":" not in name for name in emoji.names])  # skin tones left out: one picture a drawing
images, names = emoji.images[whole], [name for name, kept in zip(emoji.names, whole) if kept]
encoder = load_encoder("emoji")
pictures, words = encoder.encode(images), encoder.texts.encode(names)
print(pictures.shape, words.shape)

# %% [markdown]
# ## The loss, by hand
#
# Take `n` pictures with their names, and all $n^2$ cosines. Each row is a question, "which of these names is this
# picture's?", each column another, "which picture is this name's?". The right answers lie on the diagonal. The loss is
# the mean surprise of both, as in notebook 10.


# %%
def clip_loss(images, texts, scale=1.0):
    cosines = images @ texts.T * scale
    own = np.diag(cosines)
    to_texts = np.log(np.exp(cosines).sum(axis=1)) - own
    to_images = np.log(np.exp(cosines).sum(axis=0)) - own
    return (to_texts.mean() + to_images.mean()) / 2


batch = np.random.default_rng(0).choice(len(names), 256, replace=False)
table(("256 pairs, scale 20", "loss"), [
    ("as trained", clip_loss(pictures[batch], words[batch], 20)),
    ("names exchanged", clip_loss(pictures[batch], words[batch[::-1]], 20)),
    ("before training: all cosines alike (log 256)", float(np.log(256))),
])  # fmt: skip

# %% [markdown]
# ## Type a word
#
# A text is hashed: whole words and triples of letters, so that a misspelt word shares at least some pieces. Is that enough?

# %%
index = annlab.ExactIndex(metric="cosine").fit(pictures)
asked = ["cat", "sad face", "something to drink", "elefant", "music"]
found = index.search(encoder.texts.encode(asked), k=8).ids
figure, panels = plt.subplots(len(asked), 8, figsize=(6.4, 4.2))
for line, text, ids in zip(panels, asked, found):
    for axes, row in zip(line, ids):
        axes.imshow(images[row])
        axes.set_axis_off()
    line[0].set_title(text, fontsize=9)
show(
    figure,
    "No picture has a text attached when it is searched: both sides are 96 numbers. Words that were said of pictures work. A wish in other words ('something to drink') and a misspelt elephant do not: this encoder knows names and keywords of drawings, and nothing of the world.",
)

# %%
ranks = (index.search(words, k=len(names)).ids == np.arange(len(names))[:, None]).argmax(axis=1)
table(
    ("a name finds its own picture", "share of the names"),
    [(f"among the first {k}", float((ranks < k).mean())) for k in (1, 3, 10, 100)],
)

# %% [markdown]
# ## The gap
#
# A picture's nearest *name* is usually its own. And yet:

# %%
own = (pictures * words).sum(axis=1)
measured = float(own.mean())
others = (pictures[batch] @ words[batch].T)[~np.eye(256, dtype=bool)]
both = np.concatenate([pictures, words])
centred = both - both.mean(axis=0)
flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.9))
panels[0].hist(others, bins=50, density=True, color=ORANGE, alpha=0.7, hatch="//", label="any picture and name")
panels[0].hist(own, bins=50, density=True, color=BLUE, alpha=0.7, label="a picture and its own")
panels[0].set(xlabel="cosine", yticks=[])
panels[0].legend(fontsize=8)
panels[1].plot(*flat[: len(names)].T, "o", color=BLUE, markersize=2, label="pictures")
panels[1].plot(*flat[len(names) :].T, "^", color=ORANGE, markersize=2, label="names")
panels[1].set(xticks=[], yticks=[])
panels[1].legend(fontsize=8, markerscale=3)
apart = float(np.linalg.norm(pictures.mean(axis=0) - words.mean(axis=0)))
show(
    figure,
    f"A picture and its name have a mean cosine of {measured:.2f}, any two of {others.mean():.2f}. The loss asks for an order, not for equality: own before others. The middles of pictures and names stand {apart:.2f} apart on a sphere of radius 1.",
)

# %% [markdown]
# A cosine between a word and a picture must therefore not be compared with one between two pictures. A threshold for
# "relevant" is learned for each kind of query.
#
# ## Naming pictures, and a trap
#
# Compare a picture with the names of the groups, and take the nearest: no classifier was trained. But the names of the
# groups were among the words that this encoder learned from, and these are the pictures. What it shows is memory: never
# judge an encoder on what it was trained with.

# %%
groups = [group for group, kept in zip(emoji.groups, whole) if kept]
titles = sorted(set(groups))
nearest = (pictures @ encoder.texts.encode([title.lower() for title in titles]).T).argmax(axis=1)
right = np.array([titles[row] == group for row, group in zip(nearest, groups)])
print(
    f"{right.mean():.0%} of {len(names)} pictures in the right one of {len(titles)} groups; always the largest: {max(map(groups.count, titles)) / len(groups):.0%}"
)

# %% [markdown]
# ## Words are queries from elsewhere
#
# An approximate index measures itself with pictures. Do its promises hold for words?

# %%
made = annlab.IVFIndex(metric="cosine", n_lists=60, seed=0).fit(pictures)
rows = []
for what, queries in (("pictures", pictures[::4]), ("words", words[::4])):
    truth = index.search(queries, k=10).ids
    for probes in (1, 3, 10):
        ids = made.search(queries, k=10, n_probes=probes).ids
        rows.append((what, probes, np.mean([np.isin(*pair).mean() for pair in zip(truth, ids)])))
table(("queries", "of 60 cells probed", "share of the ten nearest found"), rows)
assert (textbook.exact_search(pictures, pictures[7], 3)[1] == index.search(pictures[7], k=3).ids).all()

# %% [markdown]
# ## Where it fails
#
# - **Order of words**: "dog bites man" is "man bites dog" here, and nearly so in large models.
# - **Negation**: "not a cat" finds cats.
# - **What was held out: nothing.** This encoder was trained on these very pictures; how well it would do on others is not
#   measured here.

# %%
verdict(guess, measured, "mean cosine of a picture and its own name")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("11-clip-loss", answer := ...)
