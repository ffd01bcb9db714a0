"""Training: it learns, it resumes to the same bits after a kill, and it stops with advice when it cannot go on."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from annlab.encoders import objective, training  # noqa: E402
from annlab.encoders.augment import Augment  # noqa: E402
from annlab.encoders.checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from annlab.encoders.cnn import ThinCNN  # noqa: E402
from annlab.encoders.pairs import ClickPairs, LabelPairs, MixedPairs, PairSource  # noqa: E402
from annlab.encoders.trained import Trained, as_nchw, normalised  # noqa: E402
from annlab.encoders.training import TrainConfig, TrainingError, train  # noqa: E402
from annlab.encoders.validation import mean_cosine, retrieval_metrics, view_recall  # noqa: E402
from tests.encoders.toy_images import toy_images  # noqa: E402

SMALL = TrainConfig(epochs=3, batch_size=32, widths=(8, 12, 16), dim=16, bfloat16=False)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def bits(trained: Trained):
    return {name: tensor.numpy().tobytes() for name, tensor in trained.module.state_dict().items()}


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 24)])
@pytest.mark.parametrize("grid", [1, 4])
@pytest.mark.parametrize("whitened", [False, True])
def test_the_network_embeds_both_kinds_of_images_as_unit_vectors(channels, size, grid, whitened):
    network = ThinCNN(channels, (8, 12, 16), dim=24, grid=grid, whitened=whitened).eval()
    vectors = network(torch.rand(3, channels, size, size))
    assert vectors.shape == (3, 24)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(network(torch.rand(1, channels, size, size)).norm(dim=1), torch.ones(1))


def test_a_batch_gives_the_same_embeddings_as_its_images_alone():
    network = ThinCNN(1, (8, 12, 16), dim=16, whitened=True).eval()
    images = torch.rand(5, 1, 28, 28)
    torch.testing.assert_close(network(images), torch.cat([network(image[None]) for image in images]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_training_measures_the_first_filters_which_whiten_patches(channels):
    """What they give of training images is of one spread, and does not depend on each other."""
    images, _ = toy_images(200, channels=channels)
    trained = train(images, None, replace(SMALL, epochs=1, whitened=True))
    first = trained.module.network.stem[0]
    both = first(normalised(torch.from_numpy(as_nchw(images)).float() / 255, trained.mean, trained.std)).double()
    n_directions = first.n_out // 2
    along = (both[:, :n_directions] - both[:, n_directions:])[:, :, 1:-1, 1:-1]  # (images, directions, rows, columns)
    assert along.shape[1:] == ((9, 26, 26) if channels == 1 else (12, 26, 26))
    points = along.transpose(0, 1).flatten(1).numpy()  # (directions, places)
    moments = points @ points.T / points.shape[1]
    spreads = np.diag(moments)
    assert np.abs(moments - np.diag(spreads)).max() < 0.15
    assert spreads.min() > 0.7 and spreads.max() < 1.3  # of small variances the least is added, and leaves them smaller


def test_colour_images_are_whitened_and_gray_ones_not_unless_it_is_asked_for():
    for channels, asked, given in [(1, None, False), (3, None, True), (1, True, True), (3, False, False)]:
        images, _ = toy_images(20, channels=channels)
        trained = train(images, None, replace(SMALL, steps=1, whitened=asked))
        assert trained.module.network.whitened == trained.config["whitened"] == given


def test_a_flat_image_and_a_single_one_can_be_whitened():
    network = ThinCNN(1, (8, 12, 16), whitened=True).eval()
    network.whiten(torch.zeros(1, 1, 28, 28), np.random.default_rng(0))
    assert torch.isfinite(network(torch.rand(2, 1, 28, 28))).all()


def test_the_network_says_which_images_it_takes():
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(2, 1, 28, 28\)"):
        ThinCNN(3)(torch.zeros(2, 1, 28, 28))
    with pytest.raises(ValueError, match="channels=4"):
        ThinCNN(4)


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["clicks", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("augmentation", "labels", "mixture"))]
)
def test_each_source_teaches_the_network_to_retrieve(kind):
    images, labels = toy_images(600)
    query, displayed = np.repeat(np.arange(600), 4), np.random.default_rng(0).integers(0, 600, 2400)
    clicked = labels[query] == labels[displayed]
    clicks = ClickPairs(query, displayed, np.tile([1, 2, 3, 4], 600), clicked, 600, propensity=np.ones(4))
    source: PairSource | None = {
        "augmentation": None,
        "labels": LabelPairs(labels),
        "clicks": clicks,
        "mixture": MixedPairs([clicks, LabelPairs(labels)], [1, 1]),
    }[kind]
    config = replace(SMALL, epochs=12, n_negatives=1 if kind == "clicks" else 0, learning_rate=1e-2)
    if kind == "augmentation":
        config = replace(config, augment=Augment(min_scale=0.7, max_shift=0.2, colour=0.5, blur=0.3))
    trained = train(images, source, config, labels=labels)
    fresh, fresh_labels = toy_images(300, seed=1)
    before = Trained(ThinCNN(1, (8, 12, 16), 16).eval(), trained.mean, trained.std, (28, 28), {})
    precision, _ = retrieval_metrics(trained.embed(fresh), fresh_labels)
    untrained, _ = retrieval_metrics(before.embed(fresh), fresh_labels)
    assert precision > max(untrained + 0.1, {"augmentation": 0.6, "labels": 0.8}.get(kind, 0.7))
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


@pytest.mark.parametrize("loss", ["supervised_contrastive", "info_nce", "triplet", "contrastive", "nt_xent"])
def test_every_loss_learns_from_labels(loss):
    images, labels = toy_images(400)
    config = replace(
        SMALL, epochs=8, loss=loss, n_negatives=2 if loss in ("info_nce", "triplet") else 0, learning_rate=1e-2
    )
    trained = train(images, LabelPairs(labels), config, labels=labels)
    fresh, fresh_labels = toy_images(200, seed=1)
    assert retrieval_metrics(trained.embed(fresh), fresh_labels)[0] > 0.7


def test_colour_images_of_another_size_train_too():
    images, _ = toy_images(120, size=32, channels=3)
    trained = train(images, None, replace(SMALL, epochs=1, grid=1))
    assert trained.embed(images[:2]).shape == (2, 16)
    assert len(trained.mean) == 3
    assert "view_recall" in trained.history[0]


def test_a_class_with_one_image_and_a_batch_larger_than_the_data_train():
    images, labels = toy_images(20)
    labels[0] = 9
    trained = train(images, LabelPairs(labels), replace(SMALL, epochs=1, batch_size=500), labels=labels)
    assert np.isfinite(trained.embed(images)).all()


# --- the same result -------------------------------------------------------------------------------------------------


def test_the_seed_decides_everything_and_torchs_global_state_is_left_alone():
    images, labels = toy_images(150)
    state = torch.get_rng_state()
    first = train(images, LabelPairs(labels), SMALL, labels=labels)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert bits(train(images, LabelPairs(labels), SMALL, labels=labels)) == bits(first)
    assert bits(train(images, LabelPairs(labels), replace(SMALL, seed=1), labels=labels)) != bits(first)


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from tests.encoders.toy_images import toy_images
from tests.encoders.test_training import SMALL
from annlab.encoders.training import train
def progress(row):
    if row["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
train(toy_images(150)[0], None, SMALL, checkpoint=sys.argv[1], progress=progress)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills itself by a POSIX signal")
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    here = Path(__file__).parent
    script = KILLED.format(paths=[str(here.parent.parent)])
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run.npz")], capture_output=True, timeout=120)
    assert done.returncode == -9, done.stderr.decode()
    assert len(load_checkpoint(tmp_path / "run.npz")[1]["history"]) == 2
    images, _ = toy_images(150)
    rows = []
    resumed = train(images, None, SMALL, checkpoint=tmp_path / "run.npz", progress=rows.append)
    assert [row["epoch"] for row in rows] == [3.0]
    assert bits(resumed) == bits(train(images, None, SMALL, checkpoint=tmp_path / "whole.npz"))
    ours, theirs = (load_checkpoint(tmp_path / name) for name in ("run.npz", "whole.npz"))
    assert ours[0].keys() == theirs[0].keys()
    for name, tensor in ours[0].items():  # weights of the last and the best epoch, optimizer moments
        assert tensor.numpy().tobytes() == theirs[0][name].numpy().tobytes(), name
    for row in (*ours[1]["history"], *theirs[1]["history"]):
        for clock in ("cpu_seconds", "seconds"):
            del row[clock]
    assert ours[1] == theirs[1]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    images, labels = toy_images(100)
    path = tmp_path / "run.npz"
    train(images, None, replace(SMALL, epochs=1), checkpoint=path)
    with pytest.raises(ValueError, match=r"another run.*seed is 0, this run's is 5"):
        train(images, None, replace(SMALL, epochs=1, seed=5), checkpoint=path)
    with pytest.raises(ValueError, match="another run"):
        train(images, LabelPairs(labels), replace(SMALL, epochs=1), checkpoint=path)
    with pytest.raises(ValueError, match="images"):
        train(255 - images, None, replace(SMALL, epochs=1), checkpoint=path)


def test_a_trained_encoder_survives_its_file(tmp_path):
    images, _ = toy_images(60)
    trained = train(images, None, replace(SMALL, epochs=1))
    trained.save(tmp_path / "encoder.npz")
    again = Trained.load(tmp_path / "encoder.npz")
    assert (again.embed(images) == trained.embed(images)).all()
    assert again.history == trained.history and again.config == trained.config
    assert again.config["augment"]["min_scale"] == Augment.strong(1).min_scale


@pytest.mark.parametrize("flip", [0.5, 0.0])
def test_what_learned_from_mirrored_views_embeds_an_image_with_its_mirror_image(flip, tmp_path):
    """In torch, from its file and in ONNX; where views were not mirrored the two stay apart."""
    pytest.importorskip("onnxscript")
    images, labels = toy_images(60)
    config = replace(SMALL, epochs=2, augment=Augment(min_scale=0.7, flip=flip))
    trained = train(images, LabelPairs(labels), config)
    trained.save(tmp_path / "encoder.npz")
    turned = np.ascontiguousarray(images[:, :, ::-1])
    ways = [trained.embed, Trained.load(tmp_path / "encoder.npz").embed]
    for embed in [*ways, trained.to_encoder("small").encode] if flip else ways:
        np.testing.assert_allclose(embed(images), trained.embed(images), atol=1e-5)
        assert np.allclose(embed(images), embed(turned), atol=1e-5) == (flip > 0)


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path):
    images, _ = toy_images(60)
    train(images, None, replace(SMALL, epochs=1)).save(tmp_path / "encoder.npz")
    data = (tmp_path / "encoder.npz").read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"not a zip", data[:300] + b"x" * 50 + data[350:]):
        (tmp_path / "bad.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or not a checkpoint"):
            Trained.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "old.npz", manifest=np.array(json.dumps({"format_version": 99})))
    with pytest.raises(ValueError, match="format 99, this annlab reads format 1"):
        Trained.load(tmp_path / "old.npz")
    save_checkpoint(tmp_path / "other.npz", {}, {"kind": "training"})
    with pytest.raises(ValueError, match="'training'"):
        Trained.load(tmp_path / "other.npz")


# --- stopping --------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_advice(monkeypatch):
    monkeypatch.setattr(objective, "nt_xent", lambda first, *rest: first.sum() * float("nan"))
    with pytest.raises(TrainingError, match=r"loss is nan at epoch 1, step 1: lower learning_rate \(now 0.003\)"):
        train(toy_images(60)[0], None, SMALL)


def test_a_collapse_stops_with_advice(monkeypatch):
    monkeypatch.setattr(objective, "nt_xent", lambda first, *rest: -10 * (first @ first.T).mean())
    with pytest.raises(TrainingError, match=r"embeddings collapsed.*batch_size"):
        train(toy_images(300)[0], None, replace(SMALL, epochs=20, learning_rate=1e-2, projection=False))


def test_patience_ends_a_run_that_no_longer_improves_and_keeps_the_best_epoch(monkeypatch, tmp_path):
    scores = iter([(0.5, 0.5), (0.9, 0.9), (0.6, 0.6), (0.7, 0.7), (0.1, 0.1)])
    monkeypatch.setattr(training, "retrieval_metrics", lambda vectors, labels: next(scores))
    monkeypatch.setattr(training, "learned", lambda loss, reference: 1.0)  # on the plateau there is more patience
    images, labels = toy_images(150)
    path, weights = tmp_path / "run.npz", {}

    def progress(row):
        tensors, _ = load_checkpoint(path)
        weights[row["score"]] = tensors["model/0.down1.0.weight"].numpy().tobytes()

    trained = train(
        images, None, replace(SMALL, epochs=5, patience=8), labels=labels, checkpoint=path, progress=progress
    )
    assert list(weights) == [0.5, 0.9, 0.6, 0.7]
    assert trained.module.network.down1[0].weight.detach().numpy().tobytes() == weights[0.9] != weights[0.7]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda images, labels: train(images.astype(np.float32)), "uint8"),
        (lambda images, labels: train(images[..., None].repeat(4, 3)), "1 or 3"),
        (lambda images, labels: train(images[:, :5, :5]), "at least 8 x 8"),
        (lambda images, labels: train(images, labels=labels[:5]), "40 integers or names"),
        (lambda images, labels: train(images, LabelPairs(labels[:30])), "30 images, but 40 were given"),
        (lambda images, labels: TrainConfig(epochs=0), "epochs=0"),
        (lambda images, labels: TrainConfig(batch_size=1), "batch_size=1"),
        (lambda images, labels: TrainConfig(loss="hinge"), "'hinge' is none of nt_xent"),
        (lambda images, labels: TrainConfig(loss="triplet"), "n_negatives"),
        (lambda images, labels: TrainConfig(temperature=float("nan")), "temperature=nan"),
        (lambda images, labels: Augment(min_scale=0.0), "min_scale=0.0"),
        (lambda images, labels: Augment(flip=2.0), "flip=2.0"),
        (lambda images, labels: Augment(size=0.1), "size=0.1"),
        (lambda images, labels: TrainConfig(early_size=1.5), "early_size=1.5"),
        (lambda images, labels: TrainConfig(smoothing=1.0), "smoothing=1.0"),
        (lambda images, labels: train(images, None, TrainConfig(loss="normalised_softmax")), "must come from labels"),
    ],
)
def test_bad_input_is_refused_with_the_numbers(call, message):
    images, labels = toy_images(40)
    with pytest.raises(ValueError, match=message):
        call(images, labels)


# --- small parts -----------------------------------------------------------------------------------------------------


def test_validation_metrics_by_hand():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.85, 0.15]], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    precision, average = retrieval_metrics(vectors, np.array([0, 0, 1, 1, 7]))
    assert precision == pytest.approx(0.4 / 5)  # four images have one relevant among ten, the one of class 7 none
    assert average == pytest.approx((1 + 1 / 2 + 1 + 1 + 0) / 5)  # row 1 meets row 4 before row 0
    assert view_recall(vectors, vectors) == 1.0
    assert view_recall(vectors, vectors[::-1]) == pytest.approx(0.2)
    assert mean_cosine(np.ones((4, 1), np.float32)) == pytest.approx(1.0)
    assert mean_cosine(np.eye(4, dtype=np.float32)) == pytest.approx(0.0)


def test_the_z_score_uses_statistics_of_the_training_images_alone():
    images, _ = toy_images(100, channels=3, size=32)
    trained = train(images, None, replace(SMALL, epochs=1, validation_size=10))
    held_out = np.random.default_rng(0).permutation(100)[:10]
    rest = np.delete(images, held_out, axis=0) / 255
    np.testing.assert_allclose(trained.mean, rest.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(trained.std, rest.std((0, 1, 2)), rtol=1e-6)
    batch = normalised(torch.from_numpy(as_nchw(images)).float() / 255, trained.mean, trained.std)
    np.testing.assert_allclose(batch.mean((0, 2, 3)).numpy(), 0, atol=0.05)


def test_few_images_take_a_thousand_steps_and_say_how_much_was_learned():
    """Forty steps of twelve hundred images taught nothing: the budget is in steps."""
    images, labels = toy_images(160)
    rows = []
    config = replace(SMALL, epochs=None, batch_size=None, steps=120, learning_rate=1e-2)
    trained = train(images, LabelPairs(labels), config, labels=labels, progress=rows.append)
    assert [row["steps"] for row in rows] == [100.0, 120.0]
    assert 0 < rows[0]["learned"] < rows[1]["learned"] <= 1
    assert trained.config["steps"] == 120
    assert replace(config, steps=None).schedule(160).steps == 1000


def test_views_are_small_for_two_thirds_of_the_way(monkeypatch):
    images, labels = toy_images(160)
    sides, maps = [], ThinCNN.maps
    monkeypatch.setattr(ThinCNN, "maps", lambda self, views: (sides.append(views.shape[3]), maps(self, views))[1])
    config = replace(SMALL, epochs=None, steps=9, early_size=0.5, validation_size=1)
    train(images, LabelPairs(labels), config)
    assert sides == [14] * 6 + [28] * 3
    assert config.schedule(160).undecided == 2 / 3, "small views must not use up the patience"


def test_a_vector_for_each_class_teaches_and_goes_on_after_a_kill(tmp_path):
    images, labels = toy_images(400)
    known = np.where(np.arange(400) < 300, labels, -1)  # what has no label teaches nothing, and does no harm
    config = replace(SMALL, epochs=None, steps=90, learning_rate=1e-2, loss="normalised_softmax")
    fresh, fresh_labels = toy_images(300, seed=1)
    trained = train(images, LabelPairs(known), config)
    assert retrieval_metrics(trained.embed(fresh), fresh_labels)[0] > 0.9, "0.39 after one step, 0.98 here"
    config = replace(config, epochs=2, steps=None)
    whole = train(images, LabelPairs(known), config)

    def killed(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(images, LabelPairs(known), config, checkpoint=tmp_path / "run.npz", progress=killed)
    assert len(load_checkpoint(tmp_path / "run.npz")[1]["history"]) == 1
    assert bits(train(images, LabelPairs(known), config, checkpoint=tmp_path / "run.npz")) == bits(whole)
    with pytest.raises(ValueError, match="no image has a label"):
        train(images, LabelPairs(np.full(400, -1)), config)


def test_minutes_end_a_run_and_what_is_on_record_counts(tmp_path):
    images, labels = toy_images(160)
    config = replace(SMALL, epochs=None, minutes=1e-4)  # six milliseconds: one step
    rows = []
    train(images, LabelPairs(labels), config, labels=labels, checkpoint=tmp_path / "run.npz", progress=rows.append)
    assert len(rows) == 1 and 1 <= rows[0]["steps"] < 100 and rows[0]["seconds"] >= 0.006
    again = []
    train(images, LabelPairs(labels), config, labels=labels, checkpoint=tmp_path / "run.npz", progress=again.append)
    assert again == [], "its time is over, also after a kill"


def test_images_of_another_size_are_refused_not_embedded():
    trained = Trained(ThinCNN(1, (8, 12, 16), 16).eval(), (0.5,), (0.2,), (28, 28), {})
    with pytest.raises(ValueError, match=r"images are \(20, 28, 1\), but it was trained on \(28, 28, 1\)"):
        trained.embed(np.zeros((2, 20, 28), np.uint8))
    with pytest.raises(ValueError, match=r"images are \(28, 28, 3\)"):
        trained.embed(np.zeros((2, 28, 28, 3), np.uint8))


def test_labels_may_be_names():
    images, labels = toy_images(60)
    names = np.array(["ab", "cd", "ef", "gh"])[labels]
    first = train(images, LabelPairs(names), replace(SMALL, epochs=1), labels=names)
    assert bits(first) == bits(train(images, LabelPairs(labels), replace(SMALL, epochs=1), labels=labels))
