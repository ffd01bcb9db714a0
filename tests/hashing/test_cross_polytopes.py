"""Keys of cross-polytopes against their definition by matrices, and the order in which their neighbours are probed."""

import numpy as np
import pytest

from annlab.distances import get_metric
from annlab.hashing.codes import Encoder
from annlab.hashing.keys import CrossPolytopeKeys, cheapest_pairs
from tests.hashing.test_lsh import clustered, points


def rotated(keys, x):
    """All directions of a vector (width,), by matrices."""
    size = keys.signs.shape[2]
    hadamard = np.ones((1, 1))
    while len(hadamard) < size:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    padded = np.zeros(size)
    padded[: len(x)] = x
    result = []
    for rotation in range(keys.signs.shape[1]):
        y = padded
        for signs in keys.signs[:, rotation]:
            y = hadamard @ (signs * y)
        result.append(y)
    return np.concatenate(result)


@pytest.mark.parametrize(("metric", "dim"), [("l2", 24), ("cosine", 33), ("ip", 5), ("l2", 1), ("ip", 200)])
@pytest.mark.parametrize(("n_tables", "n_bits"), [(3, 10), (17, 2), (2, 14)])
def test_keys_of_cross_polytopes_are_the_nearest_vertices(metric, dim, n_tables, n_bits):
    vectors, rng = clustered(60, dim), np.random.default_rng(0)
    encoder = Encoder.learn(vectors, get_metric(metric), 64, True, rng)
    keys = CrossPolytopeKeys.draw(n_tables, n_bits, encoder, rng)
    found = keys.rows(vectors, encoder.rows(vectors))
    y = points(vectors, metric, encoder)
    directions = 2 ** (n_bits // 2 - 1)
    for i in range(0, 60, 7):
        coordinates = rotated(keys, y[i])[: 2 * n_tables * directions].reshape(2 * n_tables, directions)
        at = np.abs(coordinates).argmax(axis=1)
        vertex = 2 * at + (coordinates[np.arange(2 * n_tables), at] < 0)
        sizes = np.sort(np.abs(coordinates), axis=1)
        clear = directions == 1 or (sizes[:, -1] - sizes[:, -2]).min() > 1e-5 * sizes.max()
        assert clear or dim == 1
        if clear:
            np.testing.assert_array_equal(found[:, i], vertex[::2] * 2 * directions + vertex[1::2])


def test_probes_of_cross_polytopes_begin_with_their_own_keys_and_follow_the_gaps():
    vectors, rng = clustered(40, 20), np.random.default_rng(0)
    encoder = Encoder.learn(vectors, get_metric("l2"), 64, True, rng)
    keys = CrossPolytopeKeys.draw(3, 8, encoder, rng)
    own = keys.rows(vectors, encoder.rows(vectors)) + 2**8 * np.arange(3)[:, None]
    probes = keys.probes(vectors, encoder.queries(vectors), 48)
    assert probes.shape == (40, 48)
    for i in range(40):
        assert len(set(probes[i].tolist())) == 48 and set(own[:, i]) <= set(probes[i].tolist())
        values = rotated(keys, (vectors[i] - encoder.center) * encoder.scale)[: 6 * 8].reshape(6, 8)
        signed = np.stack([values, -values], axis=2).reshape(6, 16)  # by vertex
        gaps = (signed.max(axis=1, keepdims=True) - signed) ** 2
        costs = (gaps[::2, :, None] + gaps[1::2, None, :]).ravel()
        assert costs[probes[i]].max() <= np.sort(costs)[52]  # the template leaves hardly any of them out


def test_pairs_come_in_the_order_of_their_expected_cost():
    (first, second), n_ranks = cheapest_pairs(32, 60)
    assert n_ranks == max(first.max(), second.max()) + 1
    assert (first[0], second[0]) == (0, 0) and len(set(zip(first.tolist(), second.tolist(), strict=True))) == 60
    seen = set()
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        assert all((a, j) in seen for a in range(i)) and all((i, b) in seen for b in range(j))
        seen.add((i, j))
    assert len(set(zip(*cheapest_pairs(4, 16)[0].tolist(), strict=True))) == 16
