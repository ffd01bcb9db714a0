import numpy as np
import pytest

from annlab import collision_probability
from annlab.lsh_codes import random_normals

TRIALS = 20_000


def _pair(theta, dim):
    """Two unit vectors at an angle, in no special position."""
    rng = np.random.default_rng(7)
    q, _ = np.linalg.qr(rng.standard_normal((dim, 2)))
    return q[:, 0], np.cos(theta) * q[:, 0] + np.sin(theta) * q[:, 1]


def _agreements(normals, theta):
    """(trials, bits): whether the signs of a fixed pair agree, for fresh hyperplanes (trials, bits, dim)."""
    a, b = _pair(theta, normals.shape[2])
    return (normals @ a > 0) == (normals @ b > 0)


def _within(share, expected, trials=TRIALS, errors=5):
    return abs(share - expected) <= errors * np.sqrt(expected * (1 - expected) / trials)


@pytest.mark.parametrize("degrees", [10, 30, 60, 90, 150])
def test_independent_gaussian_hyperplanes(degrees):
    rng, theta = np.random.default_rng(degrees), np.radians(degrees)
    agree = _agreements(rng.standard_normal((TRIALS, 12, 16)), theta)
    assert _within(agree[:, 0].mean(), collision_probability(theta, 1))
    assert _within(agree[:, :4].all(axis=1).mean(), collision_probability(theta, 4))
    any_table = agree.reshape(TRIALS, 3, 4).all(axis=2).any(axis=1).mean()
    assert _within(any_table, collision_probability(theta, 4, 3))


def test_orthogonal_hyperplanes_keep_the_single_bit_and_lower_the_joint_probability():
    theta, rng = np.radians(30), np.random.default_rng(0)
    normals = np.stack([random_normals(16, 16, rng)[:16] for _ in range(8000)])
    np.testing.assert_allclose(normals[0] @ normals[0].T, np.eye(16), atol=1e-6)
    agree = _agreements(normals, theta)
    for bit in (0, 7, 15):
        assert _within(agree[:, bit].mean(), collision_probability(theta, 1), 8000)
    joint = agree.all(axis=1).mean()
    assert _within(joint, 0.037, 8000) and not _within(joint, collision_probability(theta, 16), 8000)
    independent = _agreements(rng.standard_normal((8000, 16, 16)), theta)
    assert agree.sum(axis=1).var() < 0.9 * independent.sum(axis=1).var()


def test_more_bits_than_dimensions_are_a_tight_frame():
    normals = random_normals(96, 32, np.random.default_rng(1))
    assert normals.shape == (128, 32) and not normals[96:].any()
    np.testing.assert_allclose(normals.T @ normals, 3 * np.eye(32), atol=1e-5)


def test_the_formula():
    assert collision_probability(0.0, 16, 4) == 1 and collision_probability(np.pi, 3, 5) == 0
    np.testing.assert_allclose(
        collision_probability([np.pi / 2, np.pi / 4], 2, 3), [1 - 0.75**3, 1 - (1 - 0.5625) ** 3]
    )
    assert collision_probability(np.radians(30), 16) == pytest.approx(0.0541, abs=1e-4)
    for bad in (-0.1, 3.2, np.nan, [0.1, 4.0]):
        with pytest.raises(ValueError, match="theta"):
            collision_probability(bad, 4)
    with pytest.raises(ValueError, match="n_bits"):
        collision_probability(0.1, 0)
