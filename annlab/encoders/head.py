"""A head: one matrix behind an encoder that is there already, learned in seconds from your own pairs.

An encoder that has seen a million photographs knows more of them than a thin CNN can learn from some thousand. What it
does not know is which of their differences matter here. So its embeddings are computed once, and a matrix from them to
`dim` numbers is learned, by the same training points and losses as a network (`pairs.py`, `objective.py`).

Where nothing says what is similar but augmentation, it is the principal components of the embeddings, for a cached
embedding has no other views to learn from: what all of them share is subtracted, and what differs least left out.
Where there are pairs, it begins as these components, each divided by the fourth root of its variance: half-way to
giving all directions equal weight, as whitening does (Jegou and Chum, "Negative evidences and co-occurences in image
retrieval", 2012), which by itself makes small differences too loud. Then a batch takes a step; two views of one
embedding differ by the numbers that are dropped at random (Gao, Yao and Chen, "SimCSE", 2021), and the round that
validates best is kept, the beginning among them.

`attach` puts the matrix into the encoder's ONNX model, so that what serves is one model, without torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from annlab.encoders._torch import nn, torch
from annlab.encoders.encoder import Encoder
from annlab.encoders.objective import batch_loss, class_vectors, learned, plateau_and_floor
from annlab.encoders.pairs import AugmentationPairs, PairSource
from annlab.encoders.schedule import fitting_batch
from annlab.encoders.training_config import TrainConfig
from annlab.encoders.validation import retrieval_metrics

__all__ = ["Head", "attach", "train_head"]

DROPPED = 0.1  # the share of an embedding's numbers that a view lacks
BEGINNING = -0.25  # of the variances of the components
LEARNING_RATE = 0.03  # of a step, as a share of a typical number of the matrix at the beginning


@dataclass
class Head:
    """From embeddings (n, n_in) of length 1 to (n, dim): ``embeddings @ weight.T + bias``, made length 1.

    Attributes
    ----------
    weight : float32 (dim, n_in)
    bias : float32 (dim,)
    history : list of dict, one for each round; empty where nothing but the components was taken

    Examples
    --------
    >>> head = Head(np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32), [])
    >>> head(np.array([[0.6, 0.0, 0.8]], np.float32))
    array([[1., 0.]], dtype=float32)
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    history: list[dict[str, float]]

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, n_in) float32 -> (n, dim) float32, rows of length 1."""
        rows = embeddings @ self.weight.T + self.bias
        unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return unit


def train_head(
    embeddings: NDArray[np.float32],
    source: PairSource | None = None,
    config: TrainConfig | None = None,
    *,
    labels: NDArray[np.int64] | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> Head:
    """Learn a head.

    Parameters
    ----------
    embeddings : float32 array, shape (n, n_in), rows of length 1
        Of the images to learn from, by the encoder that the head is for.
    source : PairSource, optional
        Where positives come from, in rows of `embeddings`; None: nowhere, the head is the principal components.
    config : TrainConfig, optional
        Of it: the budget, loss, temperature, margin, negatives, `dim`, `validation_size`, `seed`, `weight_decay`.
    labels : array of int64, shape (n,), optional
        For validation only. Without them the last round is taken.
    progress : callable, optional
        Called with the row of each round.

    Examples
    --------
    >>> from annlab.encoders.pairs import LabelPairs
    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(60, 20)).astype(np.float32)
    >>> rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    >>> head = train_head(rows, LabelPairs(np.arange(60) % 3), TrainConfig(steps=5, dim=8))
    >>> head(rows).shape
    (60, 8)
    """
    settings, n = config or TrainConfig(), len(embeddings)
    if embeddings.ndim != 2 or n < 2:
        raise ValueError(f"a head is learned from at least 2 embeddings (n, n_in), got shape {embeddings.shape}")
    order = np.random.default_rng(settings.seed).permutation(n)
    validation = np.sort(order[: min(settings.validation_size, n // 10)])
    training = np.ones(n, dtype=bool)
    training[validation] = False
    dim = min(settings.dim, embeddings.shape[1])
    if source is None or isinstance(source, AugmentationPairs):
        return Head(*_components(embeddings[training], dim, power=0.0), [])
    begun, allowed = Head(*_components(embeddings[training], dim, BEGINNING), []), source.restricted(training)
    return _taught(embeddings, allowed, settings, begun, validation, labels, progress)


def _components(
    embeddings: NDArray[np.float32], dim: int, power: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Principal components, times their variances to this power: weight (dim, n_in) and bias (dim,)."""
    rows = embeddings.astype(np.float64)
    centre = rows.mean(0)  # (n_in,)
    variance, directions = np.linalg.eigh((rows - centre).T @ (rows - centre) / len(rows))
    variance, directions = variance[-dim:], directions[:, -dim:]
    scale = np.maximum(variance, 1e-6 * variance[-1] + 1e-30) ** power  # (dim,)
    weight = (directions * scale).T  # (dim, n_in)
    return weight.astype(np.float32), (-weight @ centre).astype(np.float32)


def _taught(
    embeddings: NDArray[np.float32],
    source: PairSource,
    settings: TrainConfig,
    head: Head,
    validation: NDArray[np.int64],
    labels: NDArray[np.int64] | None,
    progress: Callable[[dict[str, float]], None] | None,
) -> Head:
    """The head after its rounds: the best of them by validation, that before the first included."""
    rate = LEARNING_RATE * float(np.sqrt(np.square(head.weight).mean()))
    config = replace(settings.resolved(source, 3), learning_rate=max(rate, 1e-9))
    n_training = len(embeddings) - len(validation)
    size, schedule = fitting_batch(n_training, config.batch_size), config.schedule(n_training)
    reference = plateau_and_floor(source, size, config)
    weight = nn.Parameter(torch.from_numpy(head.weight.copy()))
    bias = nn.Parameter(torch.from_numpy(head.bias.copy()))
    parts: list[dict[str, Any]] = [{"params": [weight], "weight_decay": config.weight_decay}, {"params": [bias]}]
    classes = class_vectors(source, replace(config, dim=len(weight)))
    if classes is not None:  # of the size of the weights, as they share a learning rate
        classes = nn.Parameter(classes * rate / LEARNING_RATE)
        parts.append({"params": [classes]})
    optimizer = torch.optim.AdamW(parts)
    generator, rng = torch.Generator().manual_seed(config.seed), np.random.default_rng(config.seed)
    cached, started = torch.from_numpy(embeddings), time.monotonic()
    judged = labels is not None and len(validation) >= 2
    best, best_score = head, _score(head, embeddings, validation, labels) if judged else -1.0
    history: list[dict[str, float]] = []
    while not schedule.is_over(history):
        on_cpu, losses, done = time.process_time(), list[float](), int(history[-1]["steps"]) if history else 0
        points = source.sample(schedule.steps_per_round * size, rng, config.n_negatives)
        for start in range(0, len(points.query), size):
            step, seconds = done + len(losses), time.monotonic() - started
            if losses and not schedule.in_time(step, seconds):
                break
            query, positive, negatives = (column[start : start + size] for column in points)
            views = cached[np.concatenate([query, positive, negatives.ravel()])]  # (size * (2 + n_negatives), n_in)
            kept = torch.rand(views.shape, generator=generator) >= DROPPED  # the same
            vectors = nn.functional.normalize((views * kept) @ weight.T + bias, dim=1)  # (.., dim)
            loss = batch_loss(vectors, query, positive, source.groups, config.n_negatives, config, classes)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule.rate(step, seconds)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        mean, seconds = float(np.mean(losses)), time.monotonic() - started
        row = {"epoch": len(history) + 1.0, "steps": float(done + len(losses)), "loss": mean, "seconds": seconds}
        now = Head(weight.detach().numpy().copy(), bias.detach().numpy().copy(), history)
        score = _score(now, embeddings, validation, labels) if judged else float(len(history))
        share = learned(mean, reference)
        row |= ({} if share is None else {"learned": share}) | ({"precision_at_10": score} if judged else {})
        row |= {"cpu_seconds": time.process_time() - on_cpu, "score": score}
        row["progress"] = schedule.progress(int(row["steps"]), seconds)
        history.append(row)
        if score > best_score:
            best, best_score = now, score
        if progress is not None:
            progress(row)
    return Head(best.weight, best.bias, history)


def _score(
    head: Head, embeddings: NDArray[np.float32], validation: NDArray[np.int64], labels: NDArray[np.int64] | None
) -> float:
    codes = cast("NDArray[np.int64]", labels)[validation]
    return retrieval_metrics(head(embeddings[validation]), codes)[0]


def attach(encoder: Encoder, head: Head, name: str) -> Encoder:
    """An encoder with a head behind its model, as one ONNX model. It has no text side: its space is another one.

    Raises
    ------
    ValueError
        The head is for embeddings of another dimension.
    RuntimeError
        The joined model does not give what encoder and head give one after the other.
    ImportError
        onnx is not installed.

    Examples
    --------
    >>> base = load_encoder("efficientnet-lite0")                           # doctest: +SKIP
    >>> head = train_head(base.encode(images), LabelPairs(labels))          # doctest: +SKIP
    >>> attach(base, head, "mine").encode(["one.jpg"]).shape                # doctest: +SKIP
    (1, 128)
    """
    try:
        from onnx import TensorProto, helper, load_from_string, numpy_helper
    except ImportError as error:
        raise ImportError('joining a head to an encoder needs onnx: pip install "annlab[encoders]"') from error
    if head.weight.shape[1] != encoder.dim:
        raise ValueError(f"the head takes {head.weight.shape[1]} numbers, but {encoder.name!r} gives {encoder.dim}")
    model = load_from_string(encoder.model)
    graph, before = model.graph, model.graph.output[0].name
    taken = {part for node in graph.node for part in node.output} | {weight.name for weight in graph.initializer}
    parts = ("axis", "weight", "bias", "length", "unit", "turned", "rows")
    own = {part: _unused(f"head.{part}", taken) for part in parts}
    for part, array in (("axis", np.array([1], np.int64)), ("weight", head.weight.T), ("bias", head.bias)):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), own[part]))
    graph.node.extend(
        [
            helper.make_node("ReduceL2", [before, own["axis"]], [own["length"]], keepdims=1),
            helper.make_node("Div", [before, own["length"]], [own["unit"]]),
            helper.make_node("MatMul", [own["unit"], own["weight"]], [own["turned"]]),
            helper.make_node("Add", [own["turned"], own["bias"]], [own["rows"]]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(own["rows"], TensorProto.FLOAT, ["n", len(head.bias)]))
    joined = Encoder(model.SerializeToString(deterministic=True), encoder.steps, name, encoder.domain)
    _compare(joined, encoder, head)
    return joined


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _compare(joined: Encoder, encoder: Encoder, head: Head) -> None:
    """Raise where the joined model is off what encoder and head give one after the other."""
    from annlab.encoders.preprocess import output_shape

    channels, height, width = output_shape(encoder.steps)
    noise = np.random.default_rng(0).normal(size=(3, channels, height, width)).astype(np.float32)
    difference = float(np.abs(joined.run(noise) - head(encoder.run(noise))).max())
    if not difference <= 1e-4:
        raise RuntimeError(f"the model of {joined.name!r} is {difference:.1e} off encoder and head, above 1e-4")
