"""Scalar and product quantizers, and the scan of product codes, against NumPy."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from annlab import ProductQuantizer, ScalarQuantizer
from annlab.inverted.coded_lists import block_offsets, sub_dim_for


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


def test_what_cannot_be_quantized_is_refused() -> None:
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


def test_many_dimensions_have_few_groups() -> None:
    assert [sub_dim_for(dim) for dim in (1, 2, 4096, 4097, 20_000)] == [2, 2, 2, 4, 10]
    assert all(-(-dim // sub_dim_for(dim)) <= 2048 for dim in range(1, 70_000, 37))


def test_blocks_of_lists_begin_where_the_list_before_ends() -> None:
    assert block_offsets(np.array([0, 0, 1, 17, 34])).tolist() == [0, 0, 1, 2, 4]
