"""Losses: what makes the embeddings of similar images near and those of different images far.

Embeddings are rows of length 1, so the inner product of two is their cosine similarity s and their Euclidean distance
is sqrt(2 - 2 s). There are two families:

distances and a margin
    `contrastive_loss` (pairs) and `triplet_loss` (query, positive, negative) push a distance until a margin is kept and
    then stop. Simple and enough for verification; most random pairs soon keep the margin and teach nothing.
softmax over similarities
    "Which of these n candidates is the query's positive?", a classification with cross-entropy. `info_nce` is the form
    with one positive and n - 1 negatives, `nt_xent` lets the whole batch serve as negatives in both directions,
    `supervised_contrastive` allows many positives, `clip_loss` crosses two kinds of embeddings. Hard negatives weigh
    most by themselves, and the temperature says how much. A batch of b pairs costs O(b^2 d) time and O(b^2) memory.
    `normalised_softmax` has one learned vector for each class as candidates, in place of other images.

Every function returns one number, the mean over its queries, that can be differentiated; a loss of equal similarities
is log(number of candidates), which is what an untrained or a collapsed encoder shows.
"""

from __future__ import annotations

from annlab.encoders._torch import nn, torch

Tensor = torch.Tensor

__all__ = [
    "clip_loss",
    "contrastive_loss",
    "info_nce",
    "normalised_softmax",
    "nt_xent",
    "pair_distance",
    "supervised_contrastive",
    "triplet_loss",
]


def pair_distance(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distance of each row of `first` to the same row of `second`, with a finite gradient at distance 0.

    Parameters
    ----------
    first, second : Tensor, shape (n, dim)

    Returns
    -------
    Tensor, shape (n,)
    """
    _check_pairs("second", first, second)
    squared = (first - second).square().sum(-1)  # (n,)
    return (squared + max(1e-12, torch.finfo(squared.dtype).tiny)).sqrt()  # (n,): 1e-12 is 0 in half precision


def contrastive_loss(distance: Tensor, similar: Tensor, margin: float = 1.0) -> Tensor:
    """Contrastive loss of pairs: similar pairs pull, dissimilar ones push to a margin (Hadsell et al., 2006).

    similar * d^2 / 2 + (1 - similar) * max(0, margin - d)^2 / 2

    The source document of this project prints the same formula with y and 1 - y exchanged while saying that y = 1 means
    similar; taken literally it drives similar images apart. Here `similar` = 1 pulls together.

    Parameters
    ----------
    distance : Tensor, shape (n,)
        Distance of the two embeddings of each pair.
    similar : Tensor, shape (n,)
        1 (or True) for similar pairs, 0 for dissimilar ones; shares in between weigh the two terms.
    margin : float
        The distance beyond which a dissimilar pair is left alone.

    Examples
    --------
    >>> import torch
    >>> round(float(contrastive_loss(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]), margin=2.0)), 4)
    0.625
    """
    _check_positive("margin", margin)
    _check_pairs("similar", distance, similar)
    similar = similar.to(distance.dtype)  # (n,)
    if not bool(((similar >= 0) & (similar <= 1)).all()):
        wrong = float(similar[(similar < 0) | (similar > 1) | similar.isnan()][0])
        raise ValueError(f"similar holds {wrong:g}: 1 is similar, 0 dissimilar, shares lie between")
    pull = distance.square() / 2  # (n,)
    push = (margin - distance).clamp(min=0).square() / 2  # (n,)
    return (similar * pull + (1 - similar) * push).mean()


def triplet_loss(query: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.5) -> Tensor:
    """Triplet loss (Schroff et al., "FaceNet", 2015, on distances): the negative farther than the positive by a margin.

    Parameters
    ----------
    query, positive, negative : Tensor, shape (n, dim)
    margin : float
        By how much the distance to the negative must exceed that to the positive.

    Examples
    --------
    >>> query, near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> triplet_loss(query, near, far).item(), round(triplet_loss(query, far, near).item(), 3)
    (0.0, 1.914)
    """
    _check_positive("margin", margin)
    _check_pairs("positive", query, positive)
    gap = pair_distance(query, positive) - pair_distance(query, negative)  # (n,)
    return (gap + margin).clamp(min=0).mean()


def info_nce(query: Tensor, positive: Tensor, negatives: Tensor, temperature: float = 0.1) -> Tensor:
    """Softmax cross-entropy over similarities with one positive and n - 1 negatives (van den Oord et al., 2018).

    Parameters
    ----------
    query, positive : Tensor, shape (batch, dim), rows of length 1
    negatives : Tensor, shape (batch, n - 1, dim)
        Each query's own negatives.
    temperature : float
        Divides the similarities; small values look at the hardest negatives only.

    Examples
    --------
    All similarities equal, n = 4 candidates: log(4).

    >>> import torch
    >>> same = torch.tensor([[1.0, 0.0]])
    >>> round(float(info_nce(same, same, same.expand(1, 3, 2))), 6)
    1.386294
    """
    _check_positive("temperature", temperature)
    _check_pairs("positive", query, positive)
    if negatives.ndim != 3 or len(negatives) != len(query) or negatives.shape[1] < 1:
        raise ValueError(
            f"negatives must be ({len(query)}, at least 1, {query.shape[-1]}), got {tuple(negatives.shape)}"
        )
    to_positive = (query * positive).sum(-1, keepdim=True)  # (batch, 1)
    to_negatives = torch.einsum("bd,bnd->bn", query, negatives)  # (batch, n - 1)
    logits = torch.cat([to_positive, to_negatives], 1) / temperature  # (batch, n)
    return nn.functional.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


def nt_xent(
    first: Tensor,
    second: Tensor,
    temperature: float = 0.2,
    same: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:
    """NT-Xent (Chen et al., "SimCLR", 2020): row i of `first` and of `second` are each other's positive.

    The other 2 n - 2 rows of the batch are the negatives of both, so a batch of n points gives every query 2 n - 2
    negatives for nothing.

    Parameters
    ----------
    first, second : Tensor, shape (n, dim), rows of length 1
    temperature : float
    same : Tensor of bool, shape (n, n), optional
        Pairs of points known to be similar, which must not count as each other's negatives. The diagonal is ignored.
    negatives : Tensor, shape (n, h, dim), optional
        Hard negatives that only the query `first[i]` is compared with.

    Examples
    --------
    >>> views = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [0.1, 1.0]]), dim=1)
    >>> bool(nt_xent(views, views) < nt_xent(views, views.flip(0)))
    True
    """
    _check_positive("temperature", temperature)
    _check_pairs("second", first, second)
    n = len(first)
    if n < 2:
        raise ValueError(f"nt_xent got a batch of {n}: it needs at least 2 pairs, the others are the negatives")
    views = torch.cat([first, second])  # (2n, dim)
    logits = views @ views.T / temperature  # (2n, 2n)
    positive = torch.arange(2 * n, device=first.device).roll(n)  # (2n,): the row of each row's other view
    hidden = torch.eye(2 * n, dtype=torch.bool, device=first.device)  # (2n, 2n)
    if same is not None:
        hidden = hidden | same.repeat(2, 2)  # (2n, 2n)
        hidden = hidden.scatter(1, positive[:, None], False)  # (2n, 2n): a positive is never hidden
    logits = logits.masked_fill(hidden, float("-inf"))  # (2n, 2n)
    if negatives is not None:
        extra = torch.einsum("bd,bhd->bh", first, negatives) / temperature  # (n, h)
        extra = torch.cat([extra, torch.full_like(extra, float("-inf"))])  # (2n, h)
        logits = torch.cat([logits, extra], 1)  # (2n, 2n + h)
    own = logits.gather(1, positive[:, None]).squeeze(1)  # (2n,)
    return (logits.logsumexp(1) - own).mean()


def supervised_contrastive(embeddings: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss, L_out of Khosla et al. (2020): every other row with the same label is a positive.

    The mean over an anchor's positives of -log softmax, the anchor itself excluded; anchors without a positive are left
    out of the mean. With two views per image and one label per image it is NT-Xent.

    Parameters
    ----------
    embeddings : Tensor, shape (n, dim), rows of length 1
    labels : Tensor of int, shape (n,)
    temperature : float

    Examples
    --------
    >>> vectors = torch.eye(4)[[0, 0, 1, 1]]
    >>> right, wrong = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    >>> bool(supervised_contrastive(vectors, right) < supervised_contrastive(vectors, wrong))
    True
    """
    _check_positive("temperature", temperature)
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(f"{len(embeddings)} embeddings need as many labels, (n,), got shape {tuple(labels.shape)}")
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)  # (n, n)
    positives = (labels[:, None] == labels[None, :]) & ~itself  # (n, n)
    n_positives = positives.sum(1)  # (n,)
    anchors = n_positives > 0  # (n,)
    if not bool(anchors.any()):
        raise ValueError(f"none of the {len(labels)} rows shares its label with another: there is no positive pair")
    logits = embeddings @ embeddings.T / temperature  # (n, n)
    log_sum = logits.masked_fill(itself, float("-inf")).logsumexp(1)  # (n,)
    mean_positive = (logits * positives).sum(1)[anchors] / n_positives[anchors]  # (n_anchors,)
    return (log_sum[anchors] - mean_positive).mean()


def normalised_softmax(
    embeddings: Tensor, labels: Tensor, classes: Tensor, temperature: float = 0.1, smoothing: float = 0.0
) -> Tensor:
    """Softmax cross-entropy over cosines to a learned vector of each class (Zhai and Wu, "Classification is a strong
    baseline for deep metric learning", 2019).

    Every image is compared with all classes at once, and needs no partner in the batch: it learns sooner from labels
    than losses of pairs do. The vectors are thrown away afterwards; the embeddings stand around them.

    Parameters
    ----------
    embeddings : Tensor, shape (n, dim), rows of length 1
    labels : Tensor of int, shape (n,)
        Rows of `classes`; -1 where the class is unknown, such rows are left out of the mean.
    classes : Tensor, shape (n_classes, dim)
        Of any length.
    temperature : float
    smoothing : float in [0, 1)
        The share of the wanted probability that is spread over all classes (Szegedy et al., 2016).

    Examples
    --------
    >>> rows = torch.eye(3)
    >>> right, wrong = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    >>> bool(normalised_softmax(rows, right, 5 * rows) < normalised_softmax(rows, wrong, 5 * rows))
    True
    """
    _check_positive("temperature", temperature)
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(f"{len(embeddings)} embeddings need as many labels, (n,), got shape {tuple(labels.shape)}")
    if not bool((labels >= 0).any()):
        raise ValueError(f"none of the {len(labels)} rows has a label that is known, and a mean of nothing is NaN")
    logits = embeddings @ nn.functional.normalize(classes, dim=1).T / temperature  # (n, n_classes)
    return nn.functional.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=smoothing)


def clip_loss(
    images: Tensor,
    texts: Tensor,
    scale: Tensor | float,
    same: Tensor | None = None,
    distractors: Tensor | None = None,
) -> Tensor:
    """CLIP's symmetric loss (Radford et al., 2021): which text belongs to this image, and which image to this text.

    Parameters
    ----------
    images, texts : Tensor, shape (n, dim), rows of length 1; row i of both is a pair
    scale : Tensor or float
        The inverse temperature, learned in CLIP.
    same : Tensor of bool, shape (n, n), optional
        Texts that describe the image as well as its own (equal captions): they share the target's probability, in place
        of being taught as wrong.
    distractors : Tensor, shape (m, dim), optional
        Further texts, which belong to no image.

    Examples
    --------
    >>> pairs = torch.eye(3)
    >>> clip_loss(pairs, pairs, scale=100.0) < 1e-6 < clip_loss(pairs, pairs.flip(0), scale=100.0)
    tensor(True)
    """
    _check_pairs("texts", images, texts)
    logits = images @ texts.T * scale  # (n, n)
    target = torch.eye(len(images), device=images.device, dtype=images.dtype)  # (n, n)
    if same is not None:
        target = torch.maximum(target, same.to(images.dtype))  # (n, n)
    among = logits if distractors is None else torch.cat([logits, images @ distractors.T * scale], 1)  # (n, n + m)
    to_texts = -(target / target.sum(1, keepdim=True) * among.log_softmax(1)[:, : len(texts)]).sum(1)  # (n,)
    to_images = -(target / target.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0)  # (n,)
    return (to_texts.mean() + to_images.mean()) / 2


def _check_pairs(name: str, first: Tensor, second: Tensor) -> None:
    """Raise unless both are of one shape, and hold something: other shapes would be broadcast to all pairs."""
    if first.shape != second.shape:
        raise ValueError(f"{name} must have the shape of its partner, {tuple(first.shape)}, got {tuple(second.shape)}")
    if not len(first):
        raise ValueError(f"the batch is empty: {name} has shape {tuple(second.shape)}, and a mean of nothing is NaN")


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}={value} must be greater than 0")
