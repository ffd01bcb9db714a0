"""Scalar and product quantizers, and the scan of product codes, against NumPy."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from annlab import ProductQuantizer, ScalarQuantizer
from annlab.distances import get_metric
from annlab.inverted.coded_lists import CodedLists, block_offsets
from annlab.kernels.inverted import product_codes as kernels
from annlab.scan.centroids import Conversion, group_by_label
from tests.inverted.list_scans import scan_one


@hypothesis.given(n=st.integers(1, 50), dim=st.integers(1, 9), seed=st.integers(0, 99))
def test_scalar_codes_are_the_nearest_levels(n: int, dim: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)) * 10.0 ** np.arange(dim)
    quantizer = ScalarQuantizer().fit(vectors)
    levels = quantizer.low + quantizer.step * np.arange(256)[:, None].astype(np.float32)
    expected = np.abs(vectors[:, None, :] - levels[None]).min(axis=1)
    actual = np.abs(vectors - quantizer.decode(quantizer.encode(vectors)))
    assert (actual <= expected + 1e-5 * quantizer.step + 1e-6 * np.abs(vectors)).all()


def test_scalar_clips_what_lies_outside_and_keeps_constants() -> None:
    quantizer = ScalarQuantizer().fit([[0.0, 5.0], [255.0, 5.0]])
    assert quantizer.encode([[-9.0, 5.0], [300.0, 5.0], [17.2, 5.0]]).tolist() == [[0, 0], [255, 0], [17, 0]]
    assert quantizer.decode(np.array([[17, 0]], np.uint8)).tolist() == [[17.0, 5.0]]
    assert quantizer.error([[17.5, 5.5]]) == pytest.approx(0.5)


@hypothesis.given(dim=st.integers(1, 11), sub_dim=st.integers(1, 3), seed=st.integers(0, 99))
def test_product_codes_are_the_nearest_codewords(dim: int, sub_dim: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(60, dim)).astype(np.float32)
    quantizer = ProductQuantizer(sub_dim=sub_dim).fit(vectors)
    groups = -(-dim // sub_dim)
    padded = np.pad(vectors, ((0, 0), (0, groups * sub_dim - dim))).reshape(60, groups, sub_dim)
    squares = ((padded[:, :, :, None] - quantizer.codebooks[None]) ** 2).sum(axis=2)
    codes = quantizer.encode(vectors)
    picked = np.take_along_axis(squares, codes[:, :, None].astype(np.int64), axis=2)[:, :, 0]
    np.testing.assert_allclose(picked, squares.min(axis=2), atol=1e-5)
    assert quantizer.error(vectors) == pytest.approx(squares.min(axis=2).sum(axis=1).mean(), abs=1e-4)


def test_product_codewords_are_good() -> None:
    vectors = np.random.default_rng(0).normal(size=(5000, 8))
    error = ProductQuantizer().fit(vectors).error(vectors) / (vectors**2).sum(axis=1).mean()
    assert error < 0.15  # 16 codewords for a 2-d normal distribution leave 0.11 or so; 16 random ones about 0.2


def test_errors() -> None:
    for make in (ScalarQuantizer, ProductQuantizer):
        with pytest.raises(ValueError, match=r"reach 1e\+20.*scale the data"):
            make().fit(np.full((20, 3), 1e20))
        with pytest.raises(ValueError, match="must be finite: row 0"):
            make().fit(np.full((20, 3), np.nan))
    with pytest.raises(ValueError, match="needs at least 16 vectors to learn from, but there are 3"):
        ProductQuantizer().fit(np.eye(3))
    with pytest.raises(ValueError, match="call fit first"):
        ProductQuantizer().encode(np.eye(3))
    with pytest.raises(ValueError, match="call fit first"):
        ScalarQuantizer().decode(np.zeros((1, 3), np.uint8))
    quantizer = ProductQuantizer().fit(np.random.default_rng(0).normal(size=(40, 6)))
    with pytest.raises(ValueError, match="codes hold 16; the largest is 15"):
        quantizer.decode(np.full((1, 3), 16, np.uint8))
    with pytest.raises(ValueError, match="not uint8"):
        quantizer.decode(np.zeros((1, 4), np.uint8))


@hypothesis.given(
    dim=st.integers(1, 40),
    q=st.integers(1, 9),
    seed=st.integers(0, 99),
    metric=st.sampled_from(["l2", "ip"]),
)
@hypothesis.example(dim=1100, q=3, seed=0, metric="l2")  # so many tables that sums of 7 bits would exceed 16
def test_code_scans_find_what_the_codes_say(dim: int, q: int, seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    n, n_lists, keep = 300, 5, 20
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    centroids = rng.normal(size=(n_lists, dim)).astype(np.float32)
    labels = rng.integers(n_lists, size=n).astype(np.int32)
    offsets, order = group_by_label(labels, n_lists)
    vectors, labels = vectors[order], labels[order]
    conversion = Conversion(get_metric(metric), np.zeros(dim))
    lists = CodedLists.of(vectors, conversion, centroids, offsets, rng, 1)
    y = conversion.queries(rng.normal(size=(q, dim)).astype(np.float32))
    restored = centroids[labels] + lists.quantizer.decode(lists.quantizer.encode(vectors - centroids[labels]))
    true = -y.astype(np.float64) @ restored.T + (0.5 * (restored**2).sum(axis=1) if metric == "l2" else 0.0)
    coarse = -y @ centroids.T + (0.5 * (centroids**2).sum(axis=1) if metric == "l2" else 0.0)
    probes = np.stack([rng.permutation(n_lists)[:3] for _ in range(q)])
    values = np.take_along_axis(coarse, probes, axis=1).astype(np.float32)
    alive = rng.random(n) < 0.8
    words = np.packbits(np.pad(alive, (0, -n % 64)), bitorder="little").view(np.uint64)
    found, lengths = lists.scan(y, offsets, probes, values, keep, words, np.arange(n))
    tables = np.zeros((q, lists.codes.shape[1] * 8, 16), np.uint8)
    steps, starts = np.empty(q, np.float32), np.empty(q, np.float32)
    kernels.fill_tables(y, lists.quantizer.codebooks, np.empty(tables.shape[1:], np.float32), tables, steps, starts)
    for i in range(q):
        allowed = alive & np.isin(labels, probes[i])
        expected = np.sort(true[i][allowed])
        assert lengths[i] == min(keep, len(expected))
        rows = found[i][found[i] >= 0]
        assert len(set(rows.tolist())) == lengths[i] and allowed[rows].all()
        # each table entry is rounded down, once: half a step around their mean
        slack = 0.5 * float(steps[i]) * len(lists.quantizer.codebooks) + 1e-3
        assert (np.sort(true[i][rows]) <= expected[: lengths[i]] + 2 * slack).all()
    for i in range(q):
        one = scan_one(lists, y[i], offsets, probes[i], values[i], keep, words, np.arange(n))
        assert np.array_equal(np.sort(one), np.sort(found[i]))


def test_blocks_of_lists() -> None:
    assert block_offsets(np.array([0, 0, 1, 17, 34])).tolist() == [0, 0, 1, 2, 4]
