"""Losses against slow oracles written from the formulas, analytic values, finite differences and another library."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from annlab.encoders import losses  # noqa: E402


def unit_rows(n, dim, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1)
    return rows.requires_grad_(requires_grad)


def slow_softmax_loss(similarity_to_positive, similarities_to_negatives, temperature):
    """-log(exp(s+ / t) / sum exp(s / t)), term by term."""
    top = math.exp(similarity_to_positive / temperature)
    return -math.log(top / (top + sum(math.exp(s / temperature) for s in similarities_to_negatives)))


def test_contrastive_pulls_similar_pairs_together_and_pushes_others_to_the_margin():
    distance = torch.tensor([0.2, 0.7, 1.5, 0.4], dtype=torch.float64, requires_grad=True)
    similar = torch.tensor([1, 1, 0, 0])
    loss = losses.contrastive_loss(distance, similar, margin=1.0)
    assert loss.item() == pytest.approx((0.2**2 / 2 + 0.7**2 / 2 + 0 + 0.6**2 / 2) / 4)
    loss.backward()
    assert (distance.grad[:2] > 0).all()  # a smaller distance lowers the loss of similar pairs: the source's y inverted
    assert distance.grad[2] == 0  # beyond the margin
    assert distance.grad[3] < 0


def test_pair_distance_has_a_finite_gradient_at_zero():
    first = torch.ones(2, 3, requires_grad=True)
    losses.pair_distance(first, torch.ones(2, 3)).sum().backward()
    assert torch.isfinite(first.grad).all()


def test_triplet_is_zero_when_the_margin_is_kept_and_the_gap_otherwise():
    query = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    positive = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    negative = torch.tensor([[3.0, 0.0], [1.2, 0.0]])
    loss = losses.triplet_loss(query, positive, negative, margin=0.5)
    assert loss.item() == pytest.approx((0 + 0.3) / 2, abs=1e-6)


def test_info_nce_equals_the_slow_oracle():
    query, positive = unit_rows(5, 8, 1), unit_rows(5, 8, 2)
    negatives = unit_rows(15, 8, 3).reshape(5, 3, 8)
    slow = [
        slow_softmax_loss(float(query[i] @ positive[i]), [float(query[i] @ negatives[i, j]) for j in range(3)], 0.3)
        for i in range(5)
    ]
    assert losses.info_nce(query, positive, negatives, 0.3).item() == pytest.approx(np.mean(slow), rel=1e-12)


@pytest.mark.parametrize("n", [2, 5, 64])
def test_equal_similarities_cost_the_log_of_the_number_of_candidates(n):
    same = torch.zeros(n, 4, dtype=torch.float64)
    same[:, 0] = 1
    assert losses.nt_xent(same, same).item() == pytest.approx(math.log(2 * n - 1))
    assert losses.info_nce(same, same, same[None, : n - 1].expand(n, -1, -1)).item() == pytest.approx(math.log(n))
    assert losses.clip_loss(same, same, 3.0).item() == pytest.approx(math.log(n))
    classes = torch.ones(n, 4, dtype=torch.float64)
    assert losses.normalised_softmax(same, torch.arange(n), classes).item() == pytest.approx(math.log(n))
    labels = torch.arange(n) // 2 * 0
    assert losses.supervised_contrastive(same, labels).item() == pytest.approx(math.log(n - 1))


def slow_nt_xent(first, second, temperature, same=None, negatives=None):
    n = len(first)
    views = [row.tolist() for row in first] + [row.tolist() for row in second]
    total = 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        others = [
            float(np.dot(views[i], views[j]))
            for j in range(2 * n)
            if j not in (i, positive) and not (same is not None and bool(same[i % n, j % n]))
        ]
        if negatives is not None and i < n:
            others += [float(np.dot(views[i], row.tolist())) for row in negatives[i]]
        total += slow_softmax_loss(float(np.dot(views[i], views[positive])), others, temperature)
    return total / (2 * n)


def test_nt_xent_equals_the_slow_oracle_with_and_without_its_options():
    first, second, hard = unit_rows(6, 5, 1), unit_rows(6, 5, 2), unit_rows(12, 5, 3).reshape(6, 2, 5)
    same = torch.eye(6, dtype=torch.bool)
    same[1, 4] = same[4, 1] = same[0, 2] = same[2, 0] = True
    assert losses.nt_xent(first, second, 0.2).item() == pytest.approx(slow_nt_xent(first, second, 0.2))
    for options in ({"same": same}, {"negatives": hard}, {"same": same, "negatives": hard}):
        expected = slow_nt_xent(first, second, 0.5, **options)
        assert losses.nt_xent(first, second, 0.5, **options).item() == pytest.approx(expected), options


def test_supervised_contrastive_equals_the_slow_oracle_and_leaves_lone_anchors_out():
    rows, labels = unit_rows(7, 6), torch.tensor([0, 1, 0, 2, 1, 0, 3])
    losses_of_anchors = []
    for i in range(7):
        positives = [j for j in range(7) if j != i and labels[j] == labels[i]]
        if positives:
            log_sum = math.log(sum(math.exp(float(rows[i] @ rows[j]) / 0.3) for j in range(7) if j != i))
            losses_of_anchors.append(np.mean([log_sum - float(rows[i] @ rows[j]) / 0.3 for j in positives]))
    result = losses.supervised_contrastive(rows, labels, 0.3).item()
    assert result == pytest.approx(np.mean(losses_of_anchors))
    with pytest.raises(ValueError, match="none of the 3 rows"):
        losses.supervised_contrastive(rows[:3], torch.arange(3))


def test_supervised_contrastive_with_one_label_per_image_is_nt_xent():
    first, second = unit_rows(8, 5, 1), unit_rows(8, 5, 2)
    labels = torch.arange(8).repeat(2)
    by_label = losses.supervised_contrastive(torch.cat([first, second]), labels, 0.2)
    assert by_label.item() == pytest.approx(losses.nt_xent(first, second, 0.2).item())


def test_clip_loss_is_the_mean_of_both_directions_and_shares_equal_captions():
    images, texts = unit_rows(4, 6, 1), unit_rows(4, 6, 2)
    logits = (images @ texts.T * 5).numpy()
    rows = -np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    columns = -np.log(np.exp(logits) / np.exp(logits).sum(0, keepdims=True))
    expected = (np.diag(rows).mean() + np.diag(columns).mean()) / 2
    assert losses.clip_loss(images, texts, 5.0).item() == pytest.approx(expected)
    # Caption 1 also describes image 0, but not the other way round.
    same = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    logits = (images @ texts.T * 5).numpy()
    rows = -np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    columns = -np.log(np.exp(logits) / np.exp(logits).sum(0, keepdims=True))
    target = same.numpy() / same.numpy().sum(1, keepdims=True)
    of_columns = same.numpy() / same.numpy().sum(0, keepdims=True)
    expected = ((target * rows).sum(1).mean() + (of_columns * columns).sum(0).mean()) / 2
    assert losses.clip_loss(images, texts, 5.0, same).item() == pytest.approx(expected)


def test_distractors_stand_among_the_texts_of_every_image_and_in_the_other_direction_nowhere():
    images, texts, others = (unit_rows(n, 3, seed) for n, seed in ((4, 0), (4, 1), (6, 2)))
    to_texts = -(images @ torch.cat([texts, others]).T * 5.0).log_softmax(1).diagonal().mean()
    to_images = -(texts @ images.T * 5.0).log_softmax(1).diagonal().mean()
    expected = float(to_texts + to_images) / 2
    assert losses.clip_loss(images, texts, 5.0, distractors=others).item() == pytest.approx(expected)
    assert losses.clip_loss(images, texts, 5.0, distractors=others[:0]) == losses.clip_loss(images, texts, 5.0)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: losses.nt_xent(a, b, 0.5),
        lambda a, b: losses.nt_xent(
            a, b, 0.5, same=torch.eye(4, dtype=torch.bool).roll(1, 0), negatives=b.unsqueeze(1)
        ),
        lambda a, b: losses.supervised_contrastive(torch.cat([a, b]), torch.tensor([0, 1, 1, 2] * 2), 0.5),
        lambda a, b: losses.normalised_softmax(a, torch.tensor([0, 3, -1, 1]), b, 0.5, 0.2),
        lambda a, b: losses.info_nce(a, b, torch.stack([b.roll(1, 0), a.roll(1, 0)], 1), 0.5),
        lambda a, b: losses.clip_loss(a, b, 2.0),
        lambda a, b: losses.triplet_loss(a, b, b.roll(1, 0), 3.0),
        lambda a, b: losses.contrastive_loss(losses.pair_distance(a, b), torch.tensor([1, 0, 1, 0]), 3.0),
    ],
    ids=["nt_xent", "nt_xent_options", "supervised", "classes", "info_nce", "clip", "triplet", "contrastive"],
)
def test_gradients_agree_with_finite_differences(loss):
    assert torch.autograd.gradcheck(loss, (unit_rows(4, 3, 1, True), unit_rows(4, 3, 2, True)))


def test_the_softmax_over_classes_by_hand_leaves_unknown_labels_out_whatever_the_lengths_of_the_classes():
    rows, classes = unit_rows(5, 3), unit_rows(4, 3, 1)
    labels = torch.tensor([2, -1, 0, 3, 3])
    total = 0.0
    for row in (0, 2, 3, 4):
        logits = [float(np.dot(rows[row].tolist(), one)) / 0.3 for one in classes.tolist()]
        log_sum = math.log(sum(map(math.exp, logits)))
        wanted = [0.2 / 4 + (0.8 if one == int(labels[row]) else 0.0) for one in range(4)]
        total += sum(share * (log_sum - logit) for share, logit in zip(wanted, logits, strict=True))
    longer = classes * torch.tensor([1.0, 2.0, 0.5, 9.0])[:, None]
    assert losses.normalised_softmax(rows, labels, longer, 0.3, 0.2).item() == pytest.approx(total / 4)
    with pytest.raises(ValueError, match="none of the 5 rows has a label"):
        losses.normalised_softmax(rows, torch.full((5,), -1), classes)


def test_agreement_with_pytorch_metric_learning():
    theirs = pytest.importorskip("pytorch_metric_learning.losses")
    first, second = unit_rows(16, 8, 1).float(), unit_rows(16, 8, 2).float()
    labels = torch.arange(16)
    nt_xent = theirs.NTXentLoss(temperature=0.2)(torch.cat([first, second]), labels.repeat(2))
    softmax = theirs.NormalizedSoftmaxLoss(num_classes=16, embedding_size=8, temperature=0.2)
    expected = softmax(first, labels).item()
    assert losses.normalised_softmax(first, labels, softmax.W.T, 0.2).item() == pytest.approx(expected, rel=1e-5)
    assert losses.nt_xent(first, second, 0.2).item() == pytest.approx(nt_xent.item(), rel=1e-5)
    classes = torch.arange(16) % 4
    supervised = theirs.SupConLoss(temperature=0.1)(first, classes)
    assert losses.supervised_contrastive(first, classes, 0.1).item() == pytest.approx(supervised.item(), rel=1e-5)


def test_bad_settings_name_the_number():
    rows = unit_rows(3, 4)
    with pytest.raises(ValueError, match="temperature=0"):
        losses.nt_xent(rows, rows, 0)
    with pytest.raises(ValueError, match="margin=-1"):
        losses.triplet_loss(rows, rows, rows, -1)
    with pytest.raises(ValueError, match="batch of 1"):
        losses.nt_xent(rows[:1], rows[:1])


def test_half_precision_at_distance_zero_has_a_gradient():
    first = torch.zeros(3, 4, dtype=torch.float16, requires_grad=True)
    losses.pair_distance(first, torch.zeros(3, 4, dtype=torch.float16)).sum().backward()
    assert torch.isfinite(first.grad).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows: losses.contrastive_loss(rows[:, 0], torch.ones(4, 1)), r"\(4,\), got \(4, 1\)"),
        (lambda rows: losses.contrastive_loss(rows[:, 0], torch.full((4,), 2)), "similar holds 2: 1 is similar"),
        (lambda rows: losses.contrastive_loss(rows[:0, 0], torch.ones(0)), "the batch is empty"),
        (lambda rows: losses.pair_distance(rows, rows[:1]), r"\(4, 3\), got \(1, 3\)"),
        (lambda rows: losses.pair_distance(rows[:0], rows[:0]), "the batch is empty"),
        (lambda rows: losses.triplet_loss(rows, rows[:1], rows), r"positive must have the shape .* got \(1, 3\)"),
        (lambda rows: losses.info_nce(rows[:0], rows[:0], rows[:0, None]), "the batch is empty"),
        (lambda rows: losses.info_nce(rows, rows, rows[:, :0, None]), r"negatives must be .*got"),
        (lambda rows: losses.nt_xent(rows, rows[:1]), r"\(4, 3\), got \(1, 3\)"),
        (lambda rows: losses.supervised_contrastive(rows, torch.zeros(3)), "4 embeddings need as many labels"),
        (lambda rows: losses.normalised_softmax(rows, torch.zeros(3), rows), "4 embeddings need as many labels"),
        (lambda rows: losses.clip_loss(rows, rows[:3], 1.0), r"texts must have .* got \(3, 3\)"),
    ],
)
def test_what_would_be_broadcast_or_gives_nan_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(unit_rows(4, 3))
