"""Quantizers: vectors in a few bytes, from which they can be approximately restored.

`ScalarQuantizer` rounds every coordinate to 256 levels between the smallest and the largest that it saw: a quarter of
the bytes of float32, an error below half a level.

`ProductQuantizer` cuts the coordinates into groups and replaces each group by the nearest of 16 codewords, which
k-means finds for that group (H. Jegou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", TPAMI
2011): 4 bits for two float32 coordinates, a sixteenth of the bytes. Sixteen codewords, because tables of sixteen bytes
fit into registers (`kernels/inverted/product_codes.py`).

IVFIndex stores such codes; alone they serve to compress what need not be exact.
"""

from typing import Any, Self

import numpy as np

from annlab.common import pool, validation
from annlab.kernels.inverted import codebooks
from annlab.kernels.inverted.codebooks import CODEWORDS

_CHUNK = 65536  # vectors encoded at a time
_LARGEST = 1e15  # coordinate: squares and their sums stay in the range of float32
_TRAINING_POINTS = 4096  # of which every group's codewords are made
_PASSES = 15  # of k-means over these, at most


class ScalarQuantizer:
    """8 bits a coordinate.

    Attributes
    ----------
    low, step : (dim,) float32
        A code c stands for low + step * c.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = np.random.default_rng(0).random((100, 4), dtype=np.float32)
    >>> quantizer = ScalarQuantizer().fit(vectors)
    >>> quantizer.encode(vectors).dtype, quantizer.error(vectors) < 1e-5
    (dtype('uint8'), True)
    """

    def fit(self, vectors: Any) -> Self:
        """Take the range of every coordinate from vectors (n, dim), n >= 1."""
        array = _some_vectors(vectors, type(self).__name__)
        low, high = array.min(axis=0).astype(np.float64), array.max(axis=0).astype(np.float64)
        self.low = low.astype(np.float32)
        self.step = np.where(high > low, (high - low) / 255.0, 1.0).astype(np.float32)
        return self

    def encode(self, vectors: Any) -> np.ndarray:
        """Codes (n, dim) uint8; coordinates outside of the range are clipped to it."""
        array = validation.as_vectors(vectors, dim=len(_fitted(self, "low")))
        codes = np.empty(array.shape, np.uint8)
        for start in range(0, len(array), _CHUNK):
            levels = np.rint((array[start : start + _CHUNK].astype(np.float64) - self.low) / self.step)
            codes[start : start + _CHUNK] = np.clip(levels, 0, 255)
        return codes

    def decode(self, codes: Any) -> np.ndarray:
        """Vectors (n, dim) float32 that the codes stand for."""
        array = _as_codes(codes, len(_fitted(self, "low")), 255)
        return self.low + self.step * array.astype(np.float32)

    def error(self, vectors: Any) -> float:
        """The mean squared distance of vectors and what their codes stand for."""
        return _mean_error(validation.as_vectors(vectors), self)


class ProductQuantizer:
    """4 bits for every `sub_dim` coordinates.

    Parameters
    ----------
    sub_dim : int
        Coordinates per group; the last group may have fewer.
    seed : int
    n_threads : int, optional
        All CPUs that this process may use if not given.

    Attributes
    ----------
    codebooks : (n_groups, sub_dim, 16) float32
        Codeword c of group m is codebooks[m, :, c]; zeros behind the last coordinate.

    Raises
    ------
    ValueError
        By `fit`, if there are fewer than 16 vectors.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))  # of squared length 8 on average
    >>> quantizer = ProductQuantizer().fit(vectors)
    >>> quantizer.encode(vectors[:2]).shape, quantizer.error(vectors) < 1.5
    ((2, 4), True)
    """

    def __init__(self, *, sub_dim: int = 2, seed: int = 0, n_threads: int | None = None) -> None:
        self.sub_dim = validation.as_integer("sub_dim", sub_dim, 1)
        self.seed, self._n_threads = validation.as_integer("seed", seed, 0), n_threads

    def fit(self, vectors: Any) -> Self:
        """Find the codewords of every group for vectors (n, dim), n >= 16."""
        array = _some_vectors(vectors, type(self).__name__, CODEWORDS)
        rng = np.random.default_rng(self.seed)
        rows = rng.permutation(len(array))[:_TRAINING_POINTS]
        sample, self.dim = array[rows], array.shape[1]
        points = self._padded(sample)
        n_groups = points.shape[1] // self.sub_dim
        draws, books = rng.random((n_groups, CODEWORDS)), np.empty((n_groups, self.sub_dim, CODEWORDS), np.float32)

        def work(start: int, stop: int) -> None:
            scratch = np.empty(len(points)), np.empty(CODEWORDS * self.sub_dim), np.empty(CODEWORDS, np.int64)
            for first, last in pool.portions(start, stop, _PASSES * points.size / n_groups * CODEWORDS):
                codebooks.learn(points, draws, first, last, _PASSES, *scratch, books)

        workers = pool.resolve(self._n_threads)
        pool.run(work, pool.split(0, n_groups, workers), workers)
        return self._set(books, self.dim)

    @classmethod
    def from_codebooks(cls, codebooks: np.ndarray, dim: int) -> Self:
        """A quantizer with codewords made before; raises a ValueError if they do not fit the dimension."""
        if codebooks.ndim != 3 or codebooks.dtype != np.float32 or codebooks.shape[2] != CODEWORDS:
            raise ValueError(f"codebooks are {codebooks.dtype} {codebooks.shape}, not float32 (groups, sub_dim, 16)")
        if codebooks.shape[1] < 1 or codebooks.shape[0] != -(-dim // codebooks.shape[1]):
            raise ValueError(f"{codebooks.shape[0]} groups of {codebooks.shape[1]} do not make {dim} dimensions")
        return cls(sub_dim=codebooks.shape[1])._set(codebooks, dim)

    def _set(self, codebooks: np.ndarray, dim: int) -> Self:
        self.codebooks, self.dim = codebooks, dim
        return self

    def _padded(self, array: np.ndarray) -> np.ndarray:
        """Vectors (n, n_groups * sub_dim) float32, zeros behind the last coordinate."""
        n, dim = array.shape
        padded = np.zeros((n, -(-dim // self.sub_dim) * self.sub_dim), np.float32)
        padded[:, :dim] = array
        return padded

    def encode(self, vectors: Any) -> np.ndarray:
        """Codes (n, n_groups) uint8 below 16, one in a byte."""
        _fitted(self, "codebooks")
        array = validation.as_vectors(vectors, dim=self.dim)
        books = np.require(self.codebooks, requirements=["C", "W"])  # a file's may be mapped
        codes, workers = np.empty((len(array), len(books)), np.uint8), pool.resolve(self._n_threads)

        def work(start: int, stop: int) -> None:
            for first, last in pool.portions(start, stop, books.size):
                codebooks.encode(self._padded(array[first:last]), books, 0, last - first, codes[first:last])

        pool.run(work, pool.split(0, len(array), workers), workers)
        return codes

    def decode(self, codes: Any) -> np.ndarray:
        """Vectors (n, dim) float32 that the codes stand for."""
        array = _as_codes(codes, len(_fitted(self, "codebooks")), CODEWORDS - 1)
        words = self.codebooks[np.arange(len(self.codebooks)), :, array]  # (n, n_groups, sub_dim)
        return np.ascontiguousarray(words.reshape(len(array), -1)[:, : self.dim])

    def error(self, vectors: Any) -> float:
        """The mean squared distance of vectors and what their codes stand for."""
        return _mean_error(validation.as_vectors(vectors), self)


def _mean_error(array: np.ndarray, quantizer: ScalarQuantizer | ProductQuantizer) -> float:
    difference = array.astype(np.float64) - quantizer.decode(quantizer.encode(array))
    return float((difference * difference).sum(axis=1).mean())


def _some_vectors(vectors: Any, name: str, least: int = 1) -> np.ndarray:
    array = validation.as_vectors(vectors)
    if len(array) < least:
        raise ValueError(f"{name} needs at least {least} vectors to learn from, but there are {len(array)}")
    largest = max(float(array.max()), -float(array.min()))
    if largest > _LARGEST:
        raise ValueError(f"vectors reach {largest:.3g}; {name} computes in float32, up to {_LARGEST:g}: scale the data")
    return array


def _fitted(quantizer: Any, name: str) -> np.ndarray:
    if not hasattr(quantizer, name):
        raise ValueError(f"this {type(quantizer).__name__} has learned nothing yet: call fit first")
    value: np.ndarray = getattr(quantizer, name)
    return value


def _as_codes(codes: Any, width: int, largest: int) -> np.ndarray:
    array = np.asarray(codes)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"codes are {array.dtype} {array.shape}, not uint8 (n, {width})")
    if array.size and int(array.max()) > largest:
        raise ValueError(f"codes hold {int(array.max())}; the largest is {largest}")
    return array
