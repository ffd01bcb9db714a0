"""Codes of leading components: chosen where they are enough, and answers that keep the promises of all the others."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest

import annlab
from annlab import VamanaIndex
from annlab.graphs.directions import leading_directions
from annlab.graphs.leading import leading_axes, left_out, turned
from annlab.graphs.structure import GraphStructure
from tests import oracle

N, DIM = 2000, 385


def falling(rng, n, dim=DIM, rank=24):
    """Rows that a few directions tell apart, and some noise in all the others."""
    axes = np.linalg.qr(np.random.default_rng(5).standard_normal((dim, dim)))[0]
    spread = np.where(np.arange(dim) < rank, 4.0, 0.1)
    return (rng.standard_normal((n, dim)) * spread @ axes + 3).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    return falling(np.random.default_rng(0), N)


@pytest.fixture(scope="module")
def queries():
    return falling(np.random.default_rng(1), 100)


@pytest.fixture(scope="module")
def index(vectors):
    return VamanaIndex(seed=0).fit(vectors)


def codes_of(index):
    return index._state.structure.walkable.rows


def recall(found, queries, vectors, k=10, metric="l2"):
    true = oracle.nearest(queries, np.arange(len(vectors)), vectors, metric, k, None)[0]
    return float((found.distances <= true[:, -1:] + 1e-6).mean())


def test_components_are_as_few_as_tell_neighbours_apart(vectors):
    middle = vectors.mean(axis=0)
    axes = leading_axes(vectors - middle, 1)
    assert axes.shape == (DIM, 64) and axes.dtype == np.float32
    np.testing.assert_allclose(axes.T @ axes, np.eye(64), atol=1e-4)
    more = falling(np.random.default_rng(2), N, 770, 110)
    assert leading_axes(more - more.mean(axis=0), 1).shape == (770, 128)


@pytest.mark.parametrize("rows", [
    np.random.default_rng(0).standard_normal((1500, 400)),  # no direction leads
    falling(np.random.default_rng(0), 1500, 370),  # little would be saved
    np.zeros((1500, 400)),
])  # fmt: skip
def test_there_are_none_where_they_would_not_do(rows):
    assert leading_axes(rows.astype(np.float32), 1) is None


@pytest.mark.parametrize("fall", [0.7, 2.0])
def test_directions_are_those_of_the_most_variance(fall):
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.standard_normal((120, 120)))[0]
    rows = rng.standard_normal((1000, 120)) * np.arange(1, 121) ** (-fall / 2) @ turn * 1e20
    found, spread = leading_directions(rows, 40), rows.T @ rows
    np.testing.assert_allclose(found.T @ found, np.eye(40), atol=1e-14)
    values, vectors = np.linalg.eigh(spread)
    for first in (1, 10, 40):
        along = np.trace(found[:, :first].T @ spread @ found[:, :first])
        assert 0.995 * values[-first:].sum() <= along <= (1 + 1e-12) * values[-first:].sum()
    assert abs(found[:, 0] @ vectors[:, -1]) > 0.98 + 0.0199 * (fall == 2.0)


def test_directions_of_rows_that_have_few():
    rows = np.zeros((100, 30))
    rows[:, 3], rows[:50, 4] = 2.0, 1e-3
    found = leading_directions(rows, 30)
    assert np.isfinite(found).all()
    assert abs(found[3, 0]) == pytest.approx(1.0) and abs(found[4, 1]) == pytest.approx(1.0)
    assert not leading_directions(np.zeros((100, 30)), 5).any()


def test_points_are_turned_alike_by_any_number_of_threads(vectors):
    axes = leading_axes(vectors - 3, 1)
    once = turned(vectors, axes, 1)
    np.testing.assert_allclose(once, vectors.astype(np.float64) @ axes, rtol=1e-4, atol=1e-3)
    assert (once == turned(vectors, axes, 3)).all()
    assert turned(vectors, None, 1) is vectors


def test_half_of_what_components_leave_out_is_added_to_distances(index, vectors):
    rows, structure = codes_of(index), index._state.structure
    points = structure.walkable.lifting.points(structure.vectors)
    components = turned(points, rows.axes, 1)
    rest = (points.astype(np.float64) ** 2).sum(axis=1) - (components.astype(np.float64) ** 2).sum(axis=1)
    assert rest.min() > 1.0
    np.testing.assert_allclose(left_out(points, components), rest / 2, rtol=1e-3)
    rounded = rows.step * (rows.array.astype(np.float64) - 128)
    np.testing.assert_allclose(rows.norms, (rounded**2).sum(axis=1) + rest / 2, rtol=1e-4)
    assert not left_out(points, points).any()


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_a_walk_over_components_reaches_the_target(vectors, queries, metric):
    index = VamanaIndex(metric=metric, seed=0).fit(vectors)
    assert codes_of(index).array.shape == (N, 64)
    together = index.search(queries, 10)
    assert recall(together, queries, vectors, 10, metric) >= 0.95
    for query, distances, ids in zip(queries, *together, strict=True):
        alone = index.search(query, 10, threads=1)
        assert alone.ids.tolist() == ids.tolist() and alone.distances.tolist() == distances.tolist()


def test_a_larger_reach_keeps_more_and_misses_less(index, queries, vectors):
    found = [recall(index.search(queries, 10, reach=reach), queries, vectors) for reach in (1.0, 1.3, 1e300)]
    assert found[0] < found[1] and found[2] == 1.0
    exact = index.search(queries, 10, reach=np.inf)
    assert exact.ids.tolist() == annlab.ExactIndex().fit(vectors).search(queries, 10).ids.tolist()


def test_the_same_index_for_any_number_of_threads_and_from_a_file(index, vectors, queries):
    assert VamanaIndex(seed=0).fit(vectors, threads=3).content_hash() == index.content_hash()
    file = io.BytesIO()
    index.save(file)
    again = VamanaIndex.load(file.getvalue())
    assert again.content_hash() == index.content_hash()
    assert again.search(queries, 10).ids.tolist() == index.search(queries, 10).ids.tolist()


MADE_AGAIN = """
import sys
import numpy as np
from annlab import VamanaIndex
print(VamanaIndex(seed=0).fit(np.load(sys.argv[1]), threads=1).content_hash())
"""


@pytest.mark.parametrize(
    "core", ["Haswell", "Prescott"]
)  # what OpenBLAS takes other kernels for; it asks no other BLAS
def test_the_same_index_whatever_numpy_multiplies_with(index, vectors, tmp_path, core):
    np.save(tmp_path / "vectors.npy", vectors)
    other = {"OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": "2" if core == "Haswell" else "1"}
    done = subprocess.run([sys.executable, "-c", MADE_AGAIN, tmp_path / "vectors.npy"], env={**os.environ, **other},
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout.split() == [index.content_hash()], done.stderr


def test_new_rows_are_turned_like_the_old_ones(vectors, queries):
    index = VamanaIndex(seed=0).fit(vectors)
    axes, more = codes_of(index).axes, falling(np.random.default_rng(3), 500)
    index.add(more)
    index.remove(np.arange(0, 300))
    index.compact()
    living = np.concatenate([vectors[300:], more])
    assert codes_of(index).array.shape[1] == 64 and axes.shape == codes_of(index).axes.shape
    assert recall(index.search(queries, 10), queries, living) >= 0.93


def test_damaged_axes_are_refused(index):
    structure = index._state.structure
    arrays = structure.arrays()
    good = arrays["axes"]
    for wrong in (good[:, :63], good[1:], good.astype(np.float64), np.full_like(good, np.nan), good * 1e6):
        with pytest.raises(ValueError, match="axes"):
            GraphStructure.from_arrays({**arrays, "axes": wrong}, metric=structure.metric, params={})
    with pytest.raises(ValueError, match="codes are"):
        GraphStructure.from_arrays({**arrays, "axes": np.hstack([good, good])}, metric=structure.metric, params={})


def test_a_walk_over_components_is_explained_by_their_distances(index, queries):
    told = index.explain(queries[0], 10)
    nodes = [step for step in told.trace.steps if step.what == "node"]
    compared = {step.number: step.near for step in (*nodes, *told.trace.left_out)}
    rows, structure = codes_of(index), index._state.structure
    point = turned(structure.walkable.lifting.queries(queries[:1]), rows.axes, 1)
    for number in list(compared)[:20]:
        stands = (rows.array[number] - 128.0) * rows.step
        assert compared[number] == pytest.approx(float(np.linalg.norm(stands - point)), rel=1e-5)
