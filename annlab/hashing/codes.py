"""Sign codes: how the three metrics become angles, and angles become bits.

A random hyperplane through the origin separates two vectors with probability angle / pi (Charikar, Similarity
estimation techniques from rounding algorithms, 2002; Goemans and Williamson, 1995). So the number of bits in which two
codes of signs differ estimates the angle. Every metric is therefore turned into an angle first:

- `cosine`: the vectors are normalised; about which point the angle is taken is the caller's choice. Centred at the mean
  of the normalised data, neighbours stay neighbours, but the angles between them fill the whole range: data that lie in
  a narrow cone otherwise get nearly equal codes.
- `l2`: the angle about the mean of the data. It leaves out how far from the mean a vector lies, which the estimate
  below restores, and re-ranking in any case.
- `ip`: rows are centred, which changes q.x by the same amount for all rows, and lifted to one length M, that of the
  longest row, by a coordinate sqrt(M^2 - |y|^2); the query gets a 0 there (Bachrach et al., Speeding up the Xbox
  recommender system, 2014; Neyshabur and Srebro, On symmetric and asymmetric LSHs for inner product search, 2015).
  The order by angle is then the order by inner product. Rows longer than M, added later, are not lifted; if a few rows
  are much longer than all others, all angles are nearly right ones and codes say little.

Hyperplanes
-----------
The normals are orthonormal in blocks of as many as there are dimensions: an orthogonal set spreads over the sphere more
evenly than independent Gaussian normals, and more bits than dimensions become a tight frame (Ji et al., Super-bit
locality-sensitive hashing, 2012; Jegou et al., Anti-sparse coding, 2012). What one bit does is the same, what several
bits do together is not; see `annlab/hashing/theory.py`.

Estimating from one side
------------------------
A query need not become signs. With P the projections, s = sign(P y) of a row, and <P y, s> = sum |P y| known when the
row is coded, <q, y> is estimated by |y|^2 <P q, s> / <P y, s>, exact for q = y (after Gao and Long, RaBitQ, 2024), so
|q - y|^2 / 2 is |q|^2 / 2 + half - slope <P q, s> with two numbers per row. <P q, s> is the sum of |P q| less twice
that over the bits in which the codes differ. Quantized to three bits, the |P q| are weights of bits, and their sum is
three times a count of bits: buckets afford that for the few rows they find, scans count bits once.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from annlab.common import pool
from annlab.distances import Metric
from annlab.kernels.distance import COSINE, INNER_PRODUCT
from annlab.kernels.hashing import signs
from annlab.scan.points import ordinary

MAX_BITS = 4096
_SAMPLE = 16384  # rows from which the mean is taken
_CHUNK = 65536
_WIDE = 4  # times as many dimensions as normals: random ones are well conditioned
_LEAST = np.finfo(np.float64).tiny  # instead of a length of zero
_FARTHEST = 2.0**50  # of a scaled row: squares of float32 stay finite


class QueryCodes(NamedTuple):
    """Codes of queries and their projections, as `encode_queries` in kernels/hashing/signs.py leaves them.

    words (q, (1 + PLANES) * words) uint64: the code, and the planes of the projections' weights; numbers (q, bits + 2)
    float32: the projections, then two numbers of these weights.
    """

    words: np.ndarray
    numbers: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """(q, words) uint64: the codes alone."""
        return self.words[:, : self.words.shape[1] // (1 + signs.PLANES)]


@dataclass(frozen=True)
class Encoder:
    """What turns vectors into codes.

    `normals` (words * 64, width) float32: the hyperplanes, zeros behind the last one; `center` (dim,) and `scale`: what
    is done to vectors before; `reach`: the length that rows are lifted to, negative for no lift.
    """

    metric: Metric
    normals: np.ndarray
    center: np.ndarray
    scale: float
    reach: float

    @classmethod
    def learn(cls, vectors: np.ndarray, metric: Metric, n_bits: int, center: bool, rng: np.random.Generator) -> Self:
        """An encoder for data like these vectors (n, dim), n >= 1; a few rows far away from all others change nothing.

        A single row of 1e6 among normal numbers would move the mean so far that all other rows get one code.
        """
        dim = vectors.shape[1]
        sample = _normalised(vectors[:: max(1, len(vectors) // _SAMPLE)], metric)
        near = sample[ordinary(sample)]
        middle = near.mean(axis=0) if center else np.zeros(dim)
        largest = 1.0 if metric.code == COSINE else float(max(vectors.max(), -vectors.min()))
        reaches = (largest + float(np.abs(middle).max())) * np.sqrt(dim)  # no row is longer, about the middle
        scale = min(_power_below(float(np.abs(near - middle).max())), _FARTHEST * _power_below(reaches))
        lift = metric.code == INNER_PRODUCT
        made = cls(metric, random_normals(n_bits, dim + lift, rng), middle, scale, -1.0)
        return replace(made, reach=made._longest(vectors)) if lift else made

    def _longest(self, vectors: np.ndarray) -> float:
        """The length of the longest row, centred and scaled."""
        longest = 0.0
        for start in range(0, len(vectors), _CHUNK):
            rows = (vectors[start : start + _CHUNK].astype(np.float64) - self.center) * self.scale
            longest = max(longest, float(np.einsum("ij,ij->i", rows, rows).max()))
        return float(np.sqrt(longest))

    @property
    def n_words(self) -> int:
        """Words of 64 bits in a code."""
        return len(self.normals) // 64

    @cached_property
    def frame(self) -> signs.Frame:
        """What kernels do to a row before they hash it."""
        return signs.Frame(self.metric.code, self.center, self.scale, self.reach)

    def rows(self, vectors: np.ndarray) -> signs.Codes:
        """Encode rows (n, dim) of the data."""
        n = len(vectors)
        codes = signs.Codes(np.zeros((n, self.n_words), np.uint64), np.empty(n, np.float32), np.empty(n, np.float32))
        for first, last in pool.portions(0, n, self.normals.size, signs.ROWS_IN_TILE):
            own = signs.Codes(*(array[first:last] for array in codes))
            signs.encode(vectors[first:last], self.frame, self._panels, signs.encode_space(self.width), own)
        return codes

    def queries(self, queries: np.ndarray) -> QueryCodes:
        """Encode queries (q, dim)."""
        scaled, center, scale = self.for_queries(queries)
        q = len(queries)
        made = QueryCodes(np.zeros((q, (1 + signs.PLANES) * self.n_words), np.uint64),
                          np.empty((q, len(self.normals) + 2), np.float32))  # fmt: skip
        signs.encode_queries(scaled, self.metric.code, center, scale, self._panels, np.empty(self.width, np.float32),
                             *made)  # fmt: skip
        return made

    def farness(self, queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """How far rows at distances (q,), or (k, q), are from queries (q, dim) as hashing sees it, in float64.

        A measure of the angle between two vectors that does not depend on where in the data the query lies: the
        distance of the two in lengths of the query about the center, and for `ip` 1 less the cosine.
        """
        if self.metric.code == INNER_PRODUCT:
            wide = queries.astype(np.float64)
            lengths = np.linalg.norm(wide, axis=1) * self.reach / self.scale
            return np.maximum(1.0 + _in_lengths(distances + wide @ self.center, lengths), 0.0)  # lengths may vanish
        away = _normalised(queries, self.metric) - self.center
        lengths = np.sqrt(np.einsum("ij,ij->i", away, away))
        if self.metric.code == COSINE:
            distances = math.sqrt(2.0) * np.sqrt(np.maximum(distances.astype(np.float64), 0.0))  # any radius
        return _in_lengths(distances, lengths)

    def for_queries(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Queries, and the center and scale that kernels have to treat them with."""
        if self.metric.code != INNER_PRODUCT:
            return queries, self.center, self.scale
        # a query's own length changes no order, and it is not centred
        scaled = np.ldexp(queries, -np.frexp(np.abs(queries).max(axis=1, keepdims=True, initial=0))[1])
        return scaled, np.zeros_like(self.center), 1.0

    @property
    def width(self) -> int:
        """Coordinates of a vector when it is hashed: the dimension, and one more for a lift."""
        return self.normals.shape[1]

    @cached_property
    def _panels(self) -> np.ndarray:
        """The normals as kernels read them."""
        grouped = self.normals.reshape(-1, signs.PANEL_ROWS, self.normals.shape[1])
        return np.ascontiguousarray(grouped.transpose(0, 2, 1))

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store."""
        return {"normals": self.normals, "center": self.center, "range": np.array([self.scale, self.reach])}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], metric: Metric, dim: int) -> Self:
        """The encoder of stored arrays; a ValueError if they do not fit."""
        normals, center, limits = arrays["normals"], arrays["center"], arrays["range"]
        width = dim + (metric.code == INNER_PRODUCT)
        if normals.dtype != np.float32 or normals.ndim != 2 or normals.shape[1] != width:
            raise ValueError(f"hyperplanes are {normals.dtype} {normals.shape}, not float32 (bits, {width})")
        if not len(normals) or len(normals) % 64 or len(normals) > MAX_BITS + 63:
            raise ValueError(f"{len(normals)} hyperplanes: not whole words, or more than {MAX_BITS}")
        if center.dtype != np.float64 or center.shape != (dim,) or limits.dtype != np.float64 or limits.shape != (2,):
            raise ValueError(f"center {center.shape} and range {limits.shape} do not fit dimension {dim}")
        if not (np.isfinite(normals).all() and np.isfinite(center).all() and np.isfinite(limits).all()):
            raise ValueError("hyperplanes, center and range must be finite")
        if (limits[1] >= 0) != (width > dim):
            raise ValueError(f"a lift of {limits[1]} for {metric.name}")
        return cls(metric, normals, center, float(limits[0]), float(limits[1]))


def random_normals(n_bits: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(n_bits rounded up to words, width) float32: orthonormal in blocks of `width`, zeros behind the last one."""
    normals = np.zeros((-(-n_bits // 64) * 64, width), np.float32)
    for start in range(0, n_bits, width):
        stop = min(start + width, n_bits)
        drawn = rng.standard_normal((width, stop - start))
        if _WIDE * (stop - start) <= width:  # nearly orthogonal already: Cholesky leads to the same in half the time
            normals[start:stop] = np.linalg.solve(np.linalg.cholesky(drawn.T @ drawn), drawn.T)
            continue
        q, r = np.linalg.qr(drawn)
        normals[start:stop] = (q * np.where(np.diag(r) < 0, -1.0, 1.0)).T  # the signs make it uniform (Haar)
    return normals


def _in_lengths(distances: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Distances in lengths of the queries: infinite where a query lies so near to the center that nothing is near."""
    with np.errstate(over="ignore"):
        return np.asarray(distances / np.maximum(lengths, _LEAST), np.float64)


def _power_below(spread: float) -> float:
    """The power of two that brings numbers up to `spread` to at most 1."""
    return float(2.0 ** min(1000, -np.frexp(spread)[1])) if spread > 0 else 1.0


def _normalised(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """Rows in float64, of length 1 for cosine."""
    rows = vectors.astype(np.float64)
    if metric.code == COSINE:
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        rows /= np.where(norms > 0, norms, 1.0)[:, None]
    return rows
