"""Siamese verification and CLIP: hand-worked curves, and small trainings judged on unseen images and wordings."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from annlab.encoders import clip as clip_module  # noqa: E402
from annlab.encoders import clip_training  # noqa: E402
from annlab.encoders.captions import Phrases, captions_from_tags  # noqa: E402
from annlab.encoders.checkpoints import CheckpointError  # noqa: E402
from annlab.encoders.clip import ClipConfig, TextEncoder  # noqa: E402
from annlab.encoders.clip_training import train_clip, train_on_captions  # noqa: E402
from annlab.encoders.cnn import ThinCNN  # noqa: E402
from annlab.encoders.pairs import LabelPairs  # noqa: E402
from annlab.encoders.siamese import Siamese, balanced_pairs, equal_error_rate, roc_curve, verification_rates  # noqa: E402
from annlab.encoders.texts import tokenize  # noqa: E402
from annlab.encoders.trained import Trained, as_nchw, normalised  # noqa: E402
from annlab.encoders.training import TrainConfig, TrainingError, train  # noqa: E402
from tests.encoders.helpers import linear_encoder  # noqa: E402
from tests.encoders.toy_images import NAMES, toy_images  # noqa: E402

TEMPLATES = ["a photo of a {}", "this is a {}", "one {} on a dark background", "a small picture of the {}"]
UNSEEN_TEMPLATES = ["look, there is a {} in this image", "drawing of one bright {}"]
SMALL = ClipConfig(epochs=8, batch_size=64, widths=(8, 12, 16), dim=32, learning_rate=1e-2, bfloat16=False)


pytestmark = [pytest.mark.usefixtures("one_torch_thread"), pytest.mark.xdist_group("clip")]  # trained once for all


# --- Siamese ---------------------------------------------------------------------------------------------------------


def test_the_twins_share_weights_and_the_score_is_symmetric():
    encoder = ThinCNN(1, (8, 12, 16), dim=16)
    network = Siamese(encoder).eval()
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in encoder.parameters())
    first, second = torch.rand(4, 1, 28, 28), torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(network(first, second), network(second, first))
    torch.testing.assert_close(network(first, first), torch.ones(4))
    with pytest.raises(ValueError, match="one shape"):
        network(first, second[:3])


def test_the_twins_take_images_and_say_what_else_they_need():
    trained = Trained(ThinCNN(1, (8, 12, 16), dim=16).eval(), (0.5,), (0.25,), (28, 28), {})
    images, _ = toy_images(6)
    vectors = trained.embed(images)
    np.testing.assert_allclose(Siamese(trained).score(images[:3], images[3:]), (vectors[:3] * vectors[3:]).sum(1),
                               atol=1e-6)  # fmt: skip
    encoder, _ = linear_encoder()
    pictures = np.random.default_rng(0).integers(1, 256, (4, 9, 9), dtype=np.uint8)
    np.testing.assert_allclose(Siamese(encoder).score(list(pictures), pictures), np.ones(4), atol=1e-6)
    with pytest.raises(ValueError, match="got 3 and 2"):
        Siamese(encoder).score(pictures[:3], pictures[:2])
    with pytest.raises(TypeError, match=r"call score\(first, second\)"):
        Siamese(encoder)(torch.zeros(1), torch.zeros(1))
    with pytest.raises(TypeError, match="a bare network knows nothing"):
        Siamese(trained.module).score(images, images)


def test_roc_by_hand_and_with_ties_against_scikit_learn():
    roc = roc_curve([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    np.testing.assert_array_equal(roc.false_accept_rate, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_array_equal(roc.true_accept_rate, [0, 0.5, 0.5, 1, 1])
    assert roc.area == pytest.approx(0.75)
    assert equal_error_rate(roc) == (0.8, 0.5)
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    same = rng.random(500) < 0.3
    scores = np.round(rng.normal(same, 1), 1)  # many ties
    assert roc_curve(scores, same).area == pytest.approx(roc_auc_score(same, scores))


def test_equal_error_rate_of_two_normal_distributions_is_analytic():
    rng = np.random.default_rng(0)
    same = np.arange(40_000) % 2 == 0
    threshold, rate = equal_error_rate(roc_curve(rng.normal(2.0 * same, 1), same))
    assert rate == pytest.approx(0.1587, abs=0.005)  # the normal tail beyond one standard deviation
    assert threshold == pytest.approx(1.0, abs=0.05)


def test_verification_of_unseen_images_with_a_threshold_from_validation():
    images, labels = toy_images(800)
    config = TrainConfig(
        epochs=8, batch_size=32, widths=(8, 12, 16), dim=16, loss="contrastive", learning_rate=1e-2, bfloat16=False
    )
    trained = train(images[:500], LabelPairs(labels[:500]), config, labels=labels[:500])
    network = Siamese(trained.module)

    def scores(rows, seed):
        first, second, same = balanced_pairs(labels[rows], 400, np.random.default_rng(seed))
        views = normalised(torch.from_numpy(as_nchw(images[rows])).float() / 255, trained.mean, trained.std)
        with torch.inference_mode():
            return network(views[first], views[second]).numpy(), same

    threshold, _ = equal_error_rate(roc_curve(*scores(slice(500, 650), 1)))
    test_scores, same = scores(slice(650, 800), 2)
    accuracy, false_accepts, false_rejects = verification_rates(test_scores, same, threshold)
    assert accuracy > 0.8
    assert accuracy == pytest.approx(1 - (false_accepts + false_rejects) / 2)


def test_balanced_pairs_are_half_same_and_never_an_image_with_itself():
    labels = np.array([0, 0, 1, 1, 1, 2])
    first, second, same = balanced_pairs(labels, 200, np.random.default_rng(0))
    assert same.sum() == 100
    assert ((labels[first] == labels[second]) == same).all() and (first != second).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roc_curve([0.1, 0.2], [True, True]), "2 same and 0 different"),
        (lambda: roc_curve([0.1, float("nan")], [True, False]), "pair 1"),
        (lambda: roc_curve([0.1], [True, False]), r"\(1,\) and \(2,\)"),
        (lambda: roc_curve([0.1, 0.2], [1, 0.5]), "holds 0.5"),
        (lambda: verification_rates([0.1, 0.2], [2, 0], 0.5), "holds 2"),
        (lambda: roc_curve([0.1, 0.2], [1, float("nan")]), "is nan"),
        (lambda: balanced_pairs([0, 0], 4, np.random.default_rng(0)), "got 1 classes"),
        (lambda: train_clip(toy_images(10)[0], ["a"] * 9, TEMPLATES), "10 images need as many tags, got 9"),
        (lambda: train_clip(toy_images(10)[0], ["a"] * 10, ["no place"], SMALL), "every template needs a place"),
        (lambda: train_clip(toy_images(10)[0], ["a"] * 10, TEMPLATES, ClipConfig(batch_size=1)), "at least 2"),
    ],
)
def test_bad_input_is_refused_with_the_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- CLIP ------------------------------------------------------------------------------------------------------------


def test_words_are_hashed_whole_and_in_triples_the_same_everywhere():
    expected = [zlib.crc32(piece) % 4096 for piece in (b"<cat>", b"<ca", b"cat", b"at>")]
    assert tokenize("Cat").tolist() == expected
    assert (tokenize("A  DRESS!") == tokenize("a dress")).all()
    assert len(tokenize("")) == len(tokenize("?!")) == 1
    shared = np.intersect1d(tokenize("sneaker"), tokenize("sneakers"))
    assert len(shared) >= 6 > len(np.intersect1d(tokenize("sneaker"), tokenize("trouser")))


def test_the_text_encoder_ignores_its_neighbours_in_the_batch():
    encoder = TextEncoder(16).eval()
    texts = ["a cat", "", "a very long caption about a dog"]
    together = encoder(texts)
    torch.testing.assert_close(together, torch.cat([encoder([text]) for text in texts]))
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_captions_use_every_template():
    captions = captions_from_tags(["dog"] * 200, TEMPLATES, np.random.default_rng(0))
    assert {text.replace("dog", "{}") for text in captions} == set(TEMPLATES)


@pytest.fixture(scope="module")
def trained_clip():
    images, labels = toy_images(800)
    return train_clip(images, [NAMES[label] for label in labels], TEMPLATES, SMALL)


def test_zero_shot_classification_of_unseen_images_with_unseen_wordings(trained_clip):
    images, labels = toy_images(200, seed=1)
    for templates in (TEMPLATES, UNSEEN_TEMPLATES):
        assert np.mean(trained_clip.classify(images, NAMES, templates) == labels) > 0.8


def test_search_in_both_directions(trained_clip):
    images, labels = toy_images(200, seed=1)
    of_images = trained_clip.embed_images(images)
    of_texts = trained_clip.embed_texts(captions_from_tags(NAMES, UNSEEN_TEMPLATES[:1]))
    np.testing.assert_allclose(np.linalg.norm(of_texts, axis=1), 1, rtol=1e-5)
    found = np.argsort(-of_texts @ of_images.T, axis=1)[:, :10]  # text to image
    assert np.mean(labels[found] == np.arange(4)[:, None]) > 0.8
    assert np.mean((of_images @ of_texts.T).argmax(1) == labels) > 0.8  # image to text


def test_a_clip_survives_its_file_and_says_how_much_it_recalls(trained_clip, tmp_path):
    images, labels = toy_images(120, seed=1)
    texts = [UNSEEN_TEMPLATES[0].format(NAMES[label]) for label in labels]
    trained_clip.save(tmp_path / "clip.npz")
    again = clip_module.Clip.load(tmp_path / "clip.npz")
    np.testing.assert_allclose(again.embed_images(images), trained_clip.embed_images(images), atol=1e-6)
    np.testing.assert_allclose(again.embed_texts(texts), trained_clip.embed_texts(texts), atol=1e-6)
    by_image, by_text = again.recall(images, texts)
    scores = again.embed_images(images) @ again.embed_texts(texts).T
    for share, nearest in ((by_image, scores.argmax(1)), (by_text, scores.argmax(0))):
        assert share == pytest.approx(np.mean(labels[nearest] == labels))
    assert by_image > 0.8 and by_text > 0.5, "of so few texts each is a large share, and one may be missed"
    assert again.recall(images, texts, k=120) == (1.0, 1.0)
    with pytest.raises(ValueError, match="k=0 must be from 1"):
        again.recall(images, texts, k=0)
    Trained(ThinCNN(1), (0.5,), (0.2,), (28, 28), {}).save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="'thin_cnn', not a clip"):
        clip_module.Clip.load(tmp_path / "other.npz")


def test_the_text_side_runs_without_torch_and_says_the_same(trained_clip):
    captions = captions_from_tags(NAMES, UNSEEN_TEMPLATES[:1])
    exported = trained_clip.texts.exported()
    np.testing.assert_allclose(exported.encode(captions), trained_clip.embed_texts(captions), atol=0.02)


def test_of_the_versions_of_a_picture_an_epoch_takes_one():
    images, labels = toy_images(40)
    versions = np.repeat(np.arange(10), 4)
    captions = Phrases([[NAMES[label]] for label in labels])
    run = clip_training._Both(as_nchw(images), captions, versions, replace(SMALL, batch_size=10))
    epochs = [run.batches() for _ in range(30)]
    assert all(len(epoch) == 1 and sorted(versions[epoch[0]]) == list(range(10)) for epoch in epochs)
    assert len(np.unique(np.concatenate([epoch[0] for epoch in epochs]))) > 30
    with pytest.raises(ValueError, match="40 images need as many captions and versions, got 40 and 9"):
        train_on_captions(images, captions, SMALL, versions=versions[:9])


def test_clip_repeats_with_its_seed_and_stops_on_a_loss_that_is_not_finite(monkeypatch):
    images, labels = toy_images(64)
    tags = [NAMES[label] for label in labels]
    config = replace(SMALL, epochs=1, batch_size=16)
    first, second = (train_clip(images, tags, TEMPLATES, config).embed_texts(NAMES) for _ in range(2))
    assert (first == second).all()
    monkeypatch.setattr(clip_training, "clip_loss", lambda images, texts, *rest: texts.sum() * float("inf"))
    with pytest.raises(TrainingError, match="lower learning_rate"):
        train_clip(images, tags, TEMPLATES, config)


class Killed(Exception):
    """The end of a process."""


@pytest.mark.parametrize("rounds", [[1], [2, 1], [3], [1, 1, 1, 1]])
def test_a_clip_that_was_killed_ends_as_one_that_was_not(tmp_path, rounds):
    """Killed after so many epochs of the two stages, each time: both, and then the texts alone."""
    images, labels = toy_images(48)
    captions = Phrases([[NAMES[label], "thing"] for label in labels])
    config = replace(SMALL, epochs=2, text_epochs=2, batch_size=16, distractors=4)
    path, said = tmp_path / "clip.npz", []

    def clip(progress, config=config):
        return train_on_captions(images, captions, config, progress, checkpoint=path)

    for n in rounds:
        left = iter(range(n - 1))

        def progress(row, left=left):
            said.append((row["texts_alone"], row["epoch"]))
            if next(left, None) is None:
                raise Killed

        with pytest.raises(Killed):
            clip(progress)
    again = clip(lambda row: said.append((row["texts_alone"], row["epoch"])))
    assert said == [(0, 1), (0, 2), (1, 1), (1, 2)]
    once = train_on_captions(images, captions, config)
    assert (again.embed_texts(NAMES) == once.embed_texts(NAMES)).all()
    assert (again.embed_images(images) == once.embed_images(images)).all()
    for other in (replace(config, dim=16), replace(config, seed=1)):
        with pytest.raises(CheckpointError, match=r"of another run: its (dim|seed) is"):
            clip(None, other)


def test_a_single_string_is_not_a_list_of_texts(trained_clip):
    with pytest.raises(ValueError, match="not a single string"):
        trained_clip.embed_texts("a square")
