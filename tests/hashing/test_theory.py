import numpy as np
import pytest

from annlab import collision_probability
from annlab.distances import get_metric
from annlab.hashing.codes import Encoder, random_normals
from annlab.hashing.keys import CrossPolytopeKeys
from annlab.hashing.theory import polytope_probability

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
def test_collisions_of_hyperplanes_are_as_often_as_the_formula_says(degrees):
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


def test_the_formula_of_hyperplanes_at_known_angles():
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


@pytest.mark.parametrize("degrees", [20, 45, 90])
@pytest.mark.parametrize("n_directions", [1, 4, 16])
def test_cross_polytopes_of_independent_directions(degrees, n_directions):
    rng, theta = np.random.default_rng(degrees + n_directions), np.radians(degrees)
    hashes = []
    directions = rng.standard_normal((TRIALS, n_directions, 8))
    for vector in _pair(theta, 8):
        values = directions @ vector
        nearest = np.abs(values).argmax(axis=1)
        hashes.append(2 * nearest + (values[np.arange(TRIALS), nearest] < 0))
    expected = polytope_probability(theta, n_directions)
    assert _within((hashes[0] == hashes[1]).mean(), expected)
    if n_directions == 1:
        assert expected == pytest.approx(1 - theta / np.pi, abs=1e-3)


@pytest.mark.parametrize(("degrees", "n_bits"), [(20, 10), (45, 10), (30, 16)])
def test_keys_of_pseudo_random_rotations_are_shared_as_often_as_random_ones(degrees, n_bits):
    """Two hashes a key: the square. Rotations are orthogonal, which changes little in 64 dimensions."""
    rng, theta = np.random.default_rng(3), np.radians(degrees)
    pair = np.stack(_pair(theta, 64)).astype(np.float32)
    both = np.vstack([pair, -pair])  # centred already
    encoder = Encoder.learn(both, get_metric("cosine"), 64, True, rng)
    keys = CrossPolytopeKeys.draw(4096 // n_bits, n_bits, encoder, rng)
    shared = []
    for _ in range(8):
        keys = CrossPolytopeKeys.draw(keys.n_tables, n_bits, encoder, rng)
        found = keys.rows(both, encoder.rows(both))
        shared.append(found[:, 0] == found[:, 1])
    share, expected = np.mean(shared), polytope_probability(theta, 2 ** (n_bits // 2 - 1)) ** 2
    error = np.sqrt(expected * (1 - expected) / np.size(shared))
    assert abs(share - expected) <= 5 * error + 0.02
    assert share > collision_probability(theta, n_bits) + 5 * error


def test_the_formula_of_polytopes_at_known_angles():
    assert polytope_probability(0.0, 8) == 1 and polytope_probability(np.pi, 8) == 0
    falling = [polytope_probability(np.radians(degrees), 32) for degrees in (5, 20, 60, 120)]
    assert falling == sorted(falling, reverse=True)
    assert polytope_probability(np.pi / 2, 16) == pytest.approx(1 / 32, abs=1e-3)  # nothing in common: chance
    with pytest.raises(ValueError, match="theta"):
        polytope_probability(4.0, 2)
    with pytest.raises(ValueError, match="n_directions"):
        polytope_probability(1.0, 0)


def test_normals_of_wide_vectors_are_those_of_a_qr_decomposition():
    width, n_bits = 800, 128
    drawn = np.random.default_rng(2).standard_normal((width, n_bits))
    q, r = np.linalg.qr(drawn)
    normals = random_normals(n_bits, width, np.random.default_rng(2))
    np.testing.assert_allclose(normals, (q * np.sign(np.diag(r))).T, rtol=0, atol=1e-7)
    np.testing.assert_allclose(normals.astype(np.float64) @ normals.T, np.eye(n_bits), atol=1e-6)
