"""Augmentation: what every setting does to images, and that a seed repeats it."""

import pytest

torch = pytest.importorskip("torch")

from annlab.encoders.augment import Augment  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_views_repeat_with_the_seed_and_differ_without():
    images = torch.rand(16, 3, 32, 32)
    recipe = Augment(min_scale=0.3, max_shift=0.1, colour=0.5, gray=0.2, blur=0.5)
    first = recipe(images, torch.Generator().manual_seed(1))
    assert torch.equal(first, recipe(images, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, recipe(images, torch.Generator().manual_seed(2)))
    assert first.min() >= 0 and first.max() <= 1


def test_each_augmentation_does_what_it_says():
    images = torch.rand(64, 3, 16, 16)

    def view(**settings):
        return Augment(**{"flip": 0.0} | settings)(images, torch.Generator().manual_seed(0))

    torch.testing.assert_close(view(), images)
    torch.testing.assert_close(view(flip=1.0), images.flip(3))
    gray = view(gray=1.0)
    torch.testing.assert_close(gray[:, 0], gray[:, 2])
    assert view(blur=1.0).var((2, 3)).mean() < 0.9 * images.var((2, 3)).mean()
    constant = torch.full((64, 1, 16, 16), 0.4)
    bright = Augment(colour=0.5)(constant, torch.Generator().manual_seed(0))
    assert bright.std((1, 2, 3)).max() < 1e-6  # brightness is one factor per image ..
    assert 0.2 <= bright.min() < 0.3 and 0.5 < bright.max() <= 0.6  # .. within 1 +- 0.5
    ramp = torch.linspace(0, 1, 16).expand(64, 1, 16, 16)
    crop = Augment(min_scale=0.25, flip=0.0)(ramp, torch.Generator().manual_seed(0))
    span = crop[:, 0, 0, -1] - crop[:, 0, 0, 0]
    assert 0.35 < span.min() < 0.7 and span.max() > 0.8  # crops keep at least half a side
    assert view(size=0.5).shape == (64, 3, 8, 8)
