# %% [markdown]
# # 10 Training an encoder
#
# **Question.** A network with *random* weights, never trained, turns pictures of ten kinds of clothes into 32 numbers. Of
# the ten nearest pictures by these numbers, what share is of the query's kind? Chance is 0.1.
#
# *Pages:* [annlab/encoders/losses.py](../annlab/encoders/losses.py), [annlab/encoders/cnn.py](../annlab/encoders/cnn.py),
# [annlab/encoders/training.py](../annlab/encoders/training.py). *Kernel* of the search:
# [kernels/scan/batch.py](../annlab/kernels/scan/batch.py).

# %%
guess = 0.1  # your guess: precision@10 of a network with random weights

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from teaching import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, show, table, verdict
from torch import nn

import annlab
from annlab import course, datasets
from annlab.encoders import losses

torch.set_num_threads(1)
images, labels, names = datasets.fashion_mnist()
pictures = torch.tensor(images[:, None].astype(np.float32) / 255 - 0.3)
train, gallery, asked = slice(0, 4000), slice(4000, 8000), slice(8000, 8500)
kinds = torch.tensor(labels[train].astype(np.int64))

# %% [markdown]
# ## What is wanted, in one formula
#
# Similar pictures near, others far. Give the network a picture `q`, one that is similar, and `n - 1` others, and ask it
# which is which. **InfoNCE** is the surprise at its answer: minus the logarithm of the share that the right one gets, with
# similarities $s$ divided by a temperature $\tau$: $-\log \frac{e^{s_+/\tau}}{\sum_i e^{s_i/\tau}}$.


# %%
def info_nce(similar, others, temperature):
    scores = np.exp(np.array([similar, *others]) / temperature)
    return -np.log(scores[0] / scores.sum())


pair = torch.tensor([[1.0, 0.0]])
same = losses.info_nce(pair, pair, pair.expand(1, 255, 2), 0.1)
table(("256 candidates, temperature 0.1", "InfoNCE"), [
    ("all equally near: nothing learned, or all collapsed", info_nce(0.5, [0.5] * 255, 0.1)),
    ("the same by annlab (log 256)", float(same)),
    ("the right one at 0.9, the others at 0", info_nce(0.9, [0.0] * 255, 0.1)),
    ("the right one at 0.9, one other at 0.95", info_nce(0.9, [0.0] * 254 + [0.95], 0.1)),
])  # fmt: skip

# %% [markdown]
# The last line is the point of a small temperature: one other that is nearer costs more than 254 that are far. A loss of
# $\log n$ is what one knows before training; a loss that stays there says that nothing is learned.
#
# ## A tiny network
#
# Two layers of convolutions and one matrix; the result is divided by its length, so that all embeddings lie on a sphere.


# %%
class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 49, 32),
        )

    def forward(self, x):
        return nn.functional.normalize(self.layers(x), dim=1)


def embed(network):
    with torch.no_grad():
        return network(pictures[gallery]).numpy(), network(pictures[asked]).numpy()


def precision(network):
    stored, queries = embed(network)
    ids = annlab.ExactIndex(metric="cosine").fit(stored).search(queries, k=10).ids
    return (labels[gallery][ids] == labels[asked][:, None]).mean()


def trained(loss, steps=50, seed=0):
    torch.manual_seed(seed)
    network, rng, history = Tiny(), np.random.default_rng(seed), []
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = rng.choice(4000, 192, replace=False)
        value = loss(network, pictures[train][rows], kinds[rows])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(float(value.detach()))
    return network, history


untrained, _ = trained(None, steps=0)
measured = precision(untrained)

# %% [markdown]
# ## Pairs, and losses
#
# Where do similar pictures come from? From **labels** (two of one kind), from **augmentation** (a picture and the same
# moved a little: no labels needed), or from **clicks**. A **Siamese** network with the contrastive loss looks at pairs:
# similar ones pull, others push until a margin. InfoNCE looks at a whole batch at once.


# %%
moves = np.random.default_rng(0)


def moved(x):  # each picture shifted by up to two pixels and mirrored half of the time
    x = torch.roll(x, tuple(moves.integers(-2, 3, 2).tolist()), (2, 3))
    return torch.flip(x, (3,)) if moves.random() < 0.5 else x


def by_labels(temperature):
    return lambda network, x, y: losses.supervised_contrastive(network(x), y, temperature)


def siamese(network, x, y):
    a, b = network(x[:96]), network(x[96:])
    return losses.contrastive_loss(losses.pair_distance(a, b), y[:96] == y[96:], margin=1.0)


def pull_only(network, x, y):  # similar ones together, and nothing that pushes
    a, b = network(x[:96]), network(x[96:])
    return (losses.pair_distance(a, b) ** 2 * (y[:96] == y[96:])).mean()


ways = {
    "labels, InfoNCE": trained(by_labels(0.1)),
    "labels, Siamese pairs": trained(siamese),
    "no labels, moved pictures": trained(
        lambda network, x, y: losses.nt_xent(network(moved(x)), network(moved(x)), 0.2)
    ),
    "pull only": trained(pull_only),
}
rows = []
for name, network in (("random weights", untrained), *((name, network) for name, (network, _) in ways.items())):
    stored, _ = embed(network)
    rows.append((name, precision(network), float((stored[:500] @ stored[:500].T).mean())))
table(("trained with", "precision@10", "mean similarity of any two pictures"), rows)

# %% [markdown]
# **Collapse** is the last line: with nothing that pushes, the cheapest way to have similar pictures near is to have all
# pictures at one point. The loss goes to 0 and looks splendid, and the search is worse than with random weights. The mean
# similarity gives it away; watch that number.
#
# ## Temperature

# %%
temperatures = (0.02, 0.1, 0.3, 1.0)
scores = [precision(trained(by_labels(temperature))[0]) for temperature in temperatures]
figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.7))
panels[0].plot(temperatures, scores, color=BLUE)
panels[0].axhline(measured, color=GREY, linestyle="--")
panels[0].annotate("random weights", (0.02, measured), (0, 4), textcoords="offset points", fontsize=8)
panels[0].set(xscale="log", xlabel="temperature", ylabel="precision@10", title="after 50 steps")
for (name, (_, history)), colour, style in zip(
    list(ways.items())[:1] + list(ways.items())[3:], (BLUE, RED), ("solid", "dashed")
):
    panels[1].plot(np.array(history) / history[0], color=colour, linestyle=style, marker="", label=name)
panels[1].set(xlabel="step", title="loss, the first = 1")
panels[1].legend()
best = temperatures[int(np.argmax(scores))]
show(
    figure,
    f"Left: best near {best}; too cold looks at single confusing pairs only, too warm treats all alike. Right: the collapsed network has the better-looking loss. A loss is no measure of a search.",
)

# %% [markdown]
# ## The map
#
# The two directions in which the embeddings vary most, before and after.

# %%
figure, panels = plt.subplots(1, 2, figsize=(7.2, 3.4))
for axes, network, title in zip(panels, (untrained, ways["labels, InfoNCE"][0]), ("random weights", "50 steps")):
    points = embed(network)[0][:1200]
    centred = points - points.mean(axis=0)
    flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    for kind, colour, marker in zip((1, 5, 8, 6, 3, 9), (BLUE, ORANGE, GREEN, RED, PURPLE, SKY), "os^DvP"):
        chosen = flat[labels[gallery][:1200] == kind]
        axes.plot(*chosen.T, marker, color=colour, markersize=3, linestyle="", label=names[kind], alpha=0.7)
    axes.set(title=title, xticks=[], yticks=[])
panels[1].legend(fontsize=7, markerscale=1.6)
show(
    figure,
    f"Kinds that were smeared into each other become groups. But the random network had {measured:.0%} right already: convolutions keep what is where, and like pictures stay alike. Always compare with an untrained network, and with pixels.",
)

# %% [markdown]
# ## Where it fails
#
# - **Kinds that nobody labelled.** The network learns the ten kinds, and forgets what tells two shirts apart.
# - **False negatives.** Without labels, two trousers of a batch are pushed apart, because nobody said that they are alike.
# - **The test on training pictures.** Here query and gallery were not trained on; with them every number would be prettier.

# %%
verdict(guess, measured, "precision@10 of a network with random weights")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of the dots. The check says which mistake was made.

# %%
course.check("10-first-loss", answer := ...)
