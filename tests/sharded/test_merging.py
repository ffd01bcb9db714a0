"""Merging gives the order of one index, whichever way is taken."""

import numpy as np

from annlab.sharded import merging


def test_many_and_few_parts_are_merged_alike_ties_and_padding_included():
    rng = np.random.default_rng(0)
    for n_parts, width, k in ((1, 3, 5), (3, 4, 5), (40, 5, 5), (40, 2, 100), (7, 0, 2)):
        ids = rng.permutation(10_000)[: 3 * n_parts * width].reshape(n_parts, 3, width)
        distances = rng.integers(0, 4, ids.shape).astype(np.float64)
        none = rng.random(ids.shape) < 0.2
        ids, distances = np.where(none, -1, ids), np.where(none, np.inf, distances)
        found = merging.nearest(list(zip(distances, ids)), 3, k)
        for i in range(3):
            every = sorted((d, n) for d, n in zip(distances[:, i].ravel(), ids[:, i].ravel()) if n >= 0)[:k]
            assert list(zip(found.distances[i], found.ids[i]))[: len(every)] == every
            assert (found.ids[i, len(every) :] == -1).all() and np.isinf(found.distances[i, len(every) :]).all()
