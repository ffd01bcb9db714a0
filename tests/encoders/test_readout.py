"""What an encoder that learned without labels ends in: the dictionary by its definition, components, and few images."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from annlab.encoders import readout as module  # noqa: E402
from annlab.encoders.cnn import ThinCNN  # noqa: E402
from annlab.encoders.readout import Dictionary, Readout, n_words_for  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def some_images(n: int, channels: int = 3, side: int = 20, seed: int = 0) -> "torch.Tensor":
    noise = torch.randn(n, channels, side + 2, side + 2, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1)  # neighbours are alike, as in pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dictionary_says_how_far_patches_go_along_its_words(channels):
    images = some_images(30, channels)
    dictionary = Dictionary(channels, n_words=7)
    dictionary.learn(images, np.random.default_rng(0))
    words, offsets = dictionary.filters.numpy().reshape(7, -1).astype(np.float64), dictionary.offsets.numpy()
    found = dictionary(images[:2]).numpy().reshape(2, 2, 7, 2, 2)  # (image, way, word, row, column)
    for image, features in zip(images[:2].numpy().astype(np.float64), found, strict=True):
        along = np.empty((7, 8, 8))  # patches begin at every second pixel
        for row in range(8):
            for column in range(8):
                patch = image[:, 2 * row : 2 * row + 6, 2 * column : 2 * column + 6].ravel()
                patch = (patch - patch.mean()) / np.sqrt(patch.var() + 0.01)
                along[:, row, column] = words @ patch - offsets
        for way, values in enumerate((along, -along)):
            fields = np.maximum(values - 0.5, 0).reshape(7, 2, 4, 2, 4).mean((2, 4))
            np.testing.assert_allclose(features[way], fields, atol=1e-4)


def test_words_are_whitened_directions_that_patches_go_along():
    """The patches of every image are one of two shapes, so of two words each is one of them, in either sense."""
    shapes = np.random.default_rng(1).standard_normal((2, 36))
    images = torch.from_numpy(shapes[np.arange(60) % 2].reshape(60, 1, 6, 6)).float() + 0.01 * some_images(60, 1, 6)
    points = module._patches(images, np.random.default_rng(0))
    found = module._spherical_means(points.astype(np.float32), 2, np.random.default_rng(0))
    units = (shapes - shapes.mean(1, keepdims=True)) / np.linalg.norm(shapes - shapes.mean(1, keepdims=True), axis=1)[
        :, None
    ]
    assert np.sort(np.abs(units @ found.T).max(1)).min() > 0.99


@pytest.mark.parametrize(("power", "left"), [(0.0, 1.0), (-0.25, 0.5), (-0.5, 0.0)])
def test_components_are_independent_and_their_variances_are_scaled(power, left):
    rng = np.random.default_rng(0)
    features = torch.from_numpy((rng.standard_normal((900, 8)) * 2.0 ** -np.arange(8) + 3).astype(np.float32))
    layer = torch.nn.Linear(8, 5)
    with torch.no_grad():
        module._fit_components(layer, features, power, rng)
        found = layer(features).numpy().astype(np.float64)
    true = np.sort(np.linalg.eigvalsh(np.cov(features.numpy(), rowvar=False)))[::-1][:5]
    covariance = np.cov(found, rowvar=False)
    np.testing.assert_allclose(np.diag(covariance), true**left, rtol=0.01)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3 and np.abs(found.mean(0)).max() < 1e-4


@pytest.mark.parametrize("n", [1, 5, 40])
def test_few_images_give_unit_vectors_and_the_same_each_time(n):
    images = some_images(n)
    readouts = [Readout(ThinCNN(3, (8, 12, 16), dim=16, hidden=0), 16, n_words_for(n)).eval() for _ in range(2)]
    readouts[1].load_state_dict(readouts[0].state_dict())
    for readout in readouts:
        readout.learn(images, np.random.default_rng(3))
    with torch.inference_mode():
        first, second = (readout(some_images(6, seed=1)) for readout in readouts)
    assert torch.equal(first, second) and torch.isfinite(first).all()
    if n > 1:
        torch.testing.assert_close(first.norm(dim=1), torch.ones(6))


def test_an_image_and_its_mirror_image_have_the_same_maps_only_where_that_is_wanted():
    network = ThinCNN(1, (8, 12, 16), dim=16, hidden=0)
    images = some_images(8, 1)
    for mirrored in (True, False):
        readout = Readout(network, 16, 9, mirrored).eval()
        with torch.inference_mode():
            maps, turned = (readout._parts(each)[0] for each in (images, images.flip(3)))
        assert torch.allclose(maps, turned, atol=1e-5) == mirrored
