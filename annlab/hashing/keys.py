"""Keys of hash tables: two families of hashes, and which keys a query's neighbours probably have.

`HyperplaneKeys`: the key of a table is n_bits signs of projections, a part of the code that is there anyway.

`CrossPolytopeKeys`: the key is a pair of vertices. Each of the two hashes of a table takes 2^(n_bits / 2 - 1) random
directions and says to which of them, or of their opposites, the vector points most (`kernels/hashing/rotations.py`). As
many bits of such a key are shared more often by near vectors and less often by others; see `annlab/hashing/theory.py`.

Both give keys of rows, which fill the tables, and probes of queries, the buckets to look into
(`kernels/hashing/probe_order.py`).
"""

import heapq
import threading
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol, Self

import numpy as np

from annlab.common import pool
from annlab.hashing.codes import Encoder, QueryCodes
from annlab.kernels.hashing import probe_order, rotations
from annlab.kernels.hashing.signs import Codes

HYPERPLANES, CROSS_POLYTOPE = 0, 1
FAMILIES = {"hyperplanes": HYPERPLANES, "cross_polytope": CROSS_POLYTOPE}
_SPARE = 4  # times as many sets of a table's bits as its share of the probes: some tables get more


class Keys(Protocol):
    """A family of hashes for n_tables tables of 2^n_bits buckets."""

    n_tables: int
    n_bits: int

    def rows(self, vectors: np.ndarray, codes: Codes) -> np.ndarray:
        """Keys (n_tables, n) int32 of rows (n, dim)."""
        ...

    def probes(self, queries: np.ndarray, codes: QueryCodes, n_probes: int) -> np.ndarray:
        """(q, up to n_probes) int64: the buckets to look into, table * 2^n_bits + key."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What to store."""
        ...


class HyperplaneKeys:
    """Keys that are parts of sign codes."""

    def __init__(self, n_tables: int, n_bits: int) -> None:
        self.n_tables, self.n_bits = n_tables, n_bits

    def rows(self, vectors: np.ndarray, codes: Codes) -> np.ndarray:
        keys = np.empty((self.n_tables, len(codes.bits)), np.int32)
        probe_order.hyperplane_keys(codes.bits, self.n_bits, keys)
        return keys

    def probes(self, queries: np.ndarray, codes: QueryCodes, n_probes: int) -> np.ndarray:
        template = cheapest_sets(self.n_bits, _sets_of_a_table(self.n_tables, self.n_bits, n_probes))
        n_all = template.shape[1] * self.n_tables
        probes = np.empty((len(queries), min(n_probes, n_all)), np.int64)
        space = probe_order.hyperplanes_space(template.shape[1], self.n_tables, self.n_bits)
        probe_order.probe_hyperplanes(*codes, self.n_tables, self.n_bits, template, *space, probes)
        return probes

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


class CrossPolytopeKeys:
    """Keys that are pairs of vertices of randomly rotated cross-polytopes.

    `signs` (ROUNDS, rotations, size) int8: the rotations, size being the dimension rounded up to a power of two.
    """

    def __init__(self, n_tables: int, n_bits: int, signs: np.ndarray, encoder: Encoder) -> None:
        self.n_tables, self.n_bits, self.signs, self.encoder = n_tables, n_bits, signs, encoder
        panels, directions = rotations.signs_of_groups(signs), 2 ** (n_bits // 2 - 1)
        self.hashes = rotations.Hashes(panels, 2 * n_tables, directions, encoder.width)
        self._scratch = threading.local()

    @staticmethod
    def shape(n_tables: int, n_bits: int, width: int) -> tuple[int, int, int]:
        """The shape of `signs` for vectors of this width."""
        size = 1 << max(width - 1, 0).bit_length()
        return rotations.ROUNDS, -(-2 * n_tables * 2 ** (n_bits // 2 - 1) // size), size

    @classmethod
    def draw(cls, n_tables: int, n_bits: int, encoder: Encoder, rng: np.random.Generator) -> Self:
        """Random ones for vectors that the encoder knows."""
        signs = rng.integers(0, 2, cls.shape(n_tables, n_bits, encoder.width), np.int8) * 2 - 1
        return cls(n_tables, n_bits, signs.astype(np.int8), encoder)

    @classmethod
    def from_arrays(cls, n_tables: int, n_bits: int, arrays: dict[str, np.ndarray], encoder: Encoder) -> Self:
        """Those of stored arrays; a ValueError if they do not fit."""
        signs, shape = arrays["signs"], cls.shape(n_tables, n_bits, encoder.width)
        if signs.dtype != np.int8 or signs.shape != shape or ((signs != 1) & (signs != -1)).any():
            raise ValueError(f"signs {signs.dtype} {signs.shape} are not -1 and 1 of shape {shape}")
        return cls(n_tables, n_bits, signs, encoder)

    def rows(self, vectors: np.ndarray, codes: Codes) -> np.ndarray:
        keys = np.empty((self.n_tables, len(vectors)), np.int32)
        for first, last in pool.portions(0, len(vectors), 16 * self.signs.size):
            own = np.empty((self.n_tables, last - first), np.int32)
            room = rotations.new_room(self.hashes)
            rotations.polytope_keys(vectors[first:last], self.encoder.frame, self.hashes, room, own)
            keys[:, first:last] = own
        return keys

    def probes(self, queries: np.ndarray, codes: QueryCodes, n_probes: int) -> np.ndarray:
        n_pairs = _sets_of_a_table(self.n_tables, self.n_bits, n_probes)
        template, n_ranks = cheapest_pairs(2 * self.hashes.directions, n_pairs)
        n_all = template.shape[1] * self.n_tables
        probes = np.empty((len(queries), min(n_probes, n_all)), np.int64)
        scaled, center, scale = self.encoder.for_queries(queries)
        frame = self.encoder.frame
        if center is not frame.center:
            frame = frame._replace(center=center, scale=scale)
        room, ranking = self._space(template, n_ranks)
        probe_order.probe_polytopes(scaled, frame, self.hashes, room, ranking, probes)
        return probes

    def _space(self, template: np.ndarray, n_ranks: int) -> tuple[rotations.Room, probe_order.Ranking]:
        """Scratch of this thread for probes by a template: made anew for every query it would take as long as one."""
        space: tuple[rotations.Room, probe_order.Ranking] | None = getattr(self._scratch, "space", None)
        if space is None or space[1].template is not template:
            ranking = probe_order.new_ranking(template, n_ranks, self.hashes.n_hashes)
            self._scratch.space = space = rotations.new_room(self.hashes), ranking
        return space

    def arrays(self) -> dict[str, np.ndarray]:
        return {"signs": self.signs}


def _sets_of_a_table(n_tables: int, n_bits: int, n_probes: int) -> int:
    """How many keys of a table can be among the n_probes cheapest of all tables, for most queries."""
    share = -(-n_probes // n_tables)
    wanted = min(_SPARE * share + 8 if n_tables > 1 else n_probes, n_probes)
    return min(1 << (wanted - 1).bit_length(), 2**n_bits)


@lru_cache(maxsize=64)
def cheapest_sets(n_bits: int, n_sets: int) -> np.ndarray:
    """Sets of ranks in the order of their expected cost: (2, n_sets) int32, set i is set parent[i] and rank[i].

    The bit of rank j has the j-th smallest squared projection of n_bits; the expectation is that of normal numbers.
    Set 0 is the empty one. Sets are grown by their largest rank, so every set comes after its parent.
    """
    normal = NormalDist()
    expected = [normal.inv_cdf(0.5 + 0.5 * (j + 1) / (n_bits + 1)) ** 2 for j in range(n_bits)]
    parent, rank = template = np.zeros((2, n_sets), np.int32)
    heap = [(expected[0], 0, 0)]  # cost, parent, largest rank
    for i in range(1, n_sets):
        cost, parent[i], rank[i] = heapq.heappop(heap)
        last = int(rank[i])
        if last + 1 < n_bits:
            heapq.heappush(heap, (cost - expected[last] + expected[last + 1], int(parent[i]), last + 1))
            heapq.heappush(heap, (cost + expected[last + 1], i, last + 1))
    return template


@lru_cache(maxsize=64)
def cheapest_pairs(n_vertices: int, n_pairs: int) -> tuple[np.ndarray, int]:
    """Pairs of ranks of vertices in the order of their expected cost, that of normal numbers and their negatives.

    (2, n_pairs) int32, and how many ranks they need.
    """
    normal, ranks = NormalDist(), min(n_vertices, n_pairs)
    expected = np.array([normal.inv_cdf(1 - (rank + 0.5) / n_vertices) for rank in range(ranks)])
    gaps = (expected[0] - expected) ** 2
    order = np.argsort(gaps[:, None] + gaps, axis=None, kind="stable")[:n_pairs]
    template = np.stack(np.unravel_index(order, (ranks, ranks))).astype(np.int32)
    return template, int(template.max()) + 1
