"""What a walk is made of: the chain of the nearest, the two lists of open nodes, and distances by codes and floats."""

import numpy as np
import pytest

from annlab.distances import get_metric
from annlab.graphs.leading import axes_in_bytes
from annlab.graphs.points import Lifting
from annlab.graphs.rows import rows_of, step_for
from annlab.kernels.graphs import walk_open, walk_rows
from annlab.kernels.graphs.walk_best import insert
from annlab.kernels.graphs.walk_open import NEAR, ROOM, Open
from annlab.kernels.simd.byte_vectors import LARGEST_SIGNED
from annlab.kernels.simd.folding import QUARTER
from annlab.kernels.simd.path import entry
from annlab.kernels.simd.registers import LANES, int_registers, load, pointer, pointers, splat, store

FAR = np.float32(np.inf)


@entry
def insert_all(path, distances, nodes, best, best_nodes):
    for i in range(distances.shape[0]):
        if distances[i] < best[best.shape[0] - 1]:
            insert(pointer(best), pointer(best_nodes), best.shape[0], distances[i], nodes[i])


@pytest.mark.parametrize("size", [16, 48, 112])
def test_the_chain_keeps_the_nearest_in_order(size):
    rng = np.random.default_rng(size)
    for n in (0, 1, size - 1, 400):
        distances = rng.integers(0, 60, n).astype(np.float32)  # many ties
        nodes, best, best_nodes = np.arange(n, dtype=np.int32), np.full(size, FAR), np.full(size, -1, np.int32)
        insert_all(distances, nodes, best, best_nodes)
        order = np.argsort(distances, kind="stable")[:size]
        assert best[: len(order)].tolist() == distances[order].tolist()
        assert best_nodes[: len(order)].tolist() == order.tolist()
        assert (best_nodes[len(order) :] == -1).all()


@entry
def take_all(path, lists: Open, distances, nodes, bounds, taken):
    """Append LANES nodes at a time, take one after each; then take what is left. Returns how many were taken."""
    open, length = pointers(Open(*lists)), 0
    n_near, n_far, pivot, start = 0, 0, FAR, 0
    store(open.near, splat(FAR))
    while True:
        bound = bounds[min(start, bounds.shape[0] - 1)]
        if start < distances.shape[0]:
            n_near, n_far = walk_open.append(open, n_near, n_far, load(pointer(distances) + start),
                                             load(pointer(nodes) + start), bound, pivot)  # fmt: skip
            store(open.near + n_near, splat(FAR))
            start += LANES
            if n_near > NEAR:
                n_near, n_far, pivot = walk_open.divide(open, n_near, n_far, bound)
        node, n_near = walk_open.take_nearest(open, n_near, bound)
        if node < 0 and n_far > 0:
            n_near, n_far, pivot = walk_open.refill(open, n_far, bound)
            node, n_near = walk_open.take_nearest(open, n_near, bound)
        if node >= 0:
            taken[length] = node
            length += 1
        elif start >= distances.shape[0]:
            return length


@pytest.mark.parametrize("values", [10**6, 40, 1])
def test_open_nodes_are_taken_in_order_of_their_distance(values):
    rng = np.random.default_rng(values)
    n = 200 * LANES
    distances, nodes = rng.integers(0, values, n).astype(np.float32), np.arange(n, dtype=np.int32)
    bounds = np.full(n, np.float32(0.9 * values + 0.5))
    bounds[n // 2 :] = np.float32(0.6 * values + 0.5)
    near, pile = NEAR + LANES + ROOM, n + ROOM
    garbage = [np.full(size, 10**9).astype(kind) for size in (near, pile) for kind in (np.float32, np.int32)]
    scratch = [np.empty(pile + 2 * ROOM, np.float32) for _ in range(2)]
    taken = np.full(n, -1, np.int64)
    length = take_all(Open(*garbage, *scratch), distances, nodes, bounds, taken)
    waiting, expected = [], []
    for start in range(0, n, LANES):
        bound = bounds[start]
        waiting = [d for d in waiting if d < bound] + [d for d in distances[start : start + LANES] if d < bound]
        if waiting:
            waiting.sort()
            expected.append(waiting.pop(0))
    expected += [d for d in sorted(waiting) if d < bounds[-1]]
    assert len(set(taken[:length].tolist())) == length, "a node twice"
    assert distances[taken[:length]].tolist() == expected


@entry
def byte_distances_of(path, codes, norms, query, step, out):
    asked = np.zeros(256, np.int8)
    dim, stride = query.shape[0], codes.shape[1]
    factor, offset, middle = walk_rows.round_to_bytes(pointer(query), dim, step, pointer(asked), stride)
    block, sums, listed = int_registers(LANES), int_registers(QUARTER), np.arange(LANES).astype(np.int32)
    asking = walk_rows.Asking(pointer(asked), pointer(query), factor, offset, middle)
    found = walk_rows.byte_distances(block, sums, pointer(codes), pointer(listed), pointer(norms), stride, asking)
    store(pointer(out), found)
    return asked[:dim].sum() + listed[0]  # so that neither is freed before


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("dim", [7, 64, 128, 150])
def test_codes_tell_how_far_points_are(metric, dim):
    rng = np.random.default_rng(dim)
    vectors, queries = (rng.standard_normal((LANES, dim)).astype(np.float32) for _ in range(2))
    lifting = Lifting.of(vectors, get_metric(metric))
    points = lifting.points(vectors)
    rows = rows_of(points, None, lifting.terms(vectors), step_for(points))
    for query, point in zip(queries, lifting.queries(queries), strict=True):
        out = np.empty(LANES, np.float32)
        byte_distances_of(rows.array, rows.norms, point, np.float32(rows.step), out)
        true = ((points.astype(np.float64) - point) ** 2).sum(axis=1)
        blur = rows.blur + 0.5 * np.sqrt(len(point)) * np.abs(point).max() / 63
        assert (np.abs(np.sqrt(np.maximum(out, 0)) - np.sqrt(true)) <= blur * 1.001 + 1e-5).all()
        order = np.argsort(_by_definition(metric, vectors, query), kind="stable")
        np.testing.assert_array_equal(np.argsort(true, kind="stable"), order)


def test_blur_is_that_of_usual_rows_and_of_the_farthest_vector_of_a_node():
    points = np.random.default_rng(4).standard_normal((300, 64)).astype(np.float32)
    points[7, 3] = 1000.0  # cut off: a byte holds up to 127 steps
    step, terms = 0.04, np.zeros(300, np.float32)
    usual = step * np.sqrt(64 / 12)
    assert 0.8 * usual < rows_of(points, None, terms, step).blur < 1.3 * usual
    points[200] = points[199]
    points[200, 0] += 3.0
    firsts = np.setdiff1d(np.arange(300), [200])
    assert 3.0 < rows_of(points, firsts, terms[firsts], step).blur < 3.0 + 1.3 * usual


@pytest.mark.parametrize(("dim", "n_axes"), [(1, 64), (67, 64), (130, 192)])
def test_components_have_the_same_bits_for_any_width_of_registers(dim, n_axes):
    rng = np.random.default_rng(dim)
    points, axes = rng.standard_normal((5, dim)).astype(np.float32), rng.standard_normal((dim, n_axes))
    turned, axes = np.empty((5, n_axes), np.float32), axes.astype(np.float32)
    walk_rows.turn_points(points, axes, turned)
    sums = np.zeros((2, 5, n_axes), np.float32)  # a product and a sum in one step, rounded once
    for i in range(dim):
        parity = 0 if i == dim - 1 and dim % 2 else i % 2
        sums[parity] += points[:, i : i + 1].astype(np.float64) * axes[i].astype(np.float64)
    np.testing.assert_allclose(turned, sums[0] + sums[1], rtol=1e-5, atol=1e-5)
    whole = np.rint(8 * points), np.rint(8 * axes)
    walk_rows.turn_points(*whole, turned)
    assert (turned == whole[0] @ whole[1]).all()


@pytest.mark.parametrize(("dim", "n_axes"), [(1, 64), (67, 64), (130, 192)])
def test_queries_are_turned_by_bytes(dim, n_axes):
    rng = np.random.default_rng(dim)
    points, axes = rng.standard_normal((5, dim)).astype(np.float32), rng.standard_normal((dim, n_axes))
    turned, (codes, steps) = np.empty((5, n_axes), np.float32), axes_in_bytes(axes.astype(np.float32))
    assert codes.shape == (n_axes, -(-dim // 64) * 64) and codes.ctypes.data % 64 == 0
    walk_rows.turn_queries(points, walk_rows.Axes(codes, steps, n_axes, dim), turned)
    step = np.abs(points).max(axis=1, keepdims=True) / LARGEST_SIGNED
    levels = np.floor(points / step + np.float32(0.5))
    exact = step * (levels @ (codes[:, :dim].astype(np.float32) - 128).T) * steps
    np.testing.assert_allclose(turned, exact, rtol=1e-5, atol=1e-5)
    off = np.linalg.norm(turned - points @ axes, axis=1)
    assert (
        off < 2.5 / LARGEST_SIGNED * np.linalg.norm(points, axis=1) * np.linalg.norm(axes, axis=0).max() * n_axes**0.5
    ).all()


def _by_definition(metric, vectors, query):
    x, q = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "cosine":
        return 1 - x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    return -x @ q if metric == "ip" else ((x - q) ** 2).sum(axis=1)
