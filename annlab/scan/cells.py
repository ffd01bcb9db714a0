"""Exact search by cells: rows that lie together are scanned together, and whole cells are left out.

`Cells` holds a copy of the rows as bytes, grouped by the nearest of some centers. A query looks into the cell of the
nearest center first, which gives it a bound, and then into all others that could hold a nearer row. What it returns
are candidates, as those of `Scanner`, with the same k nearest among them; the queries that it could not answer are
named, and asked again in another way. One query alone is answered by `kernels/scan/one_cells.py`, from the same cells.

Why no neighbour is lost
------------------------
Rows and queries are centred and scaled by a power of two, in float64: x and q. A query keeps for every row that it met
a lower and an upper value of D^2 / 2, where D is the distance of the row, and B, the k-th smallest upper value. So k
rows have D^2 / 2 <= B, and every row among the k nearest has a lower value of at most B: these are kept, and all others
may be forgotten.

*Cells.* Let c be the center of a cell, r the largest |x - c| of its rows. A row of it has D >= |q - c| - r, so if
|q - c| > sqrt(2 B) + r, none is among the k nearest. |q - c|^2 comes from a tile in float32, and errs by less than
2 g (|q| + |c|)^2, g = (1.1 dim + 16) u and u = 2^-24 (`scan/scanner.py`), which is taken off; r and the right side are
rounded up.

*Rows.* D^2 / 2 = |q - c|^2 / 2 + R with R = h - (q - c).(x - c) and h = |x - c|^2 / 2. That is the ranking value of a
scan of bytes whose center is c, so `scan/int8.py` gives a lower value t_q v of R and an upper one, t_q v + 2 (|q - c|
|e| + |r| |t y|) with their margins. They are better here, for q - c and x - c are short. To both |q - c|^2 / 2 is
added, which is summed in float32 and rounded down by (dim / LANES + 20) u of itself for the lower value, up for the
upper one. The addition errs by u of |q - c|^2 / 2 and of R, which these and the margins of v leave room for.

*What rounds besides.* Centring and scaling in float64, and the definition of a distance itself, err by less than
2^-36 (|q| + max |x| + s)^2, in dimensions up to 40,000, where s, for cosine only, is the scale, which vectors of length
1 get: that is added to every B, with 2^-20 of itself. A zero row has no direction: for cosine its distance is 1 from
everything, half a square more than where it lies, which is added to its h. The bytes of a query are never so fine that
a start h / (t_q t) leaves the range of integers: its step is at least 2^-28 max (h / t) of the cell.

Integers that span a byte have a center, and cells have centers, of integers: with steps of 1, bytes of x - c lose
nothing.
"""

from functools import cached_property

import numpy as np

from annlab.common import pool
from annlab.common.memory import rows_at_once
from annlab.common.statistics import BYTES, DISTANCES, N_COUNTERS
from annlab.kernels import tile
from annlab.kernels.distance import COSINE, INNER_PRODUCT, L2
from annlab.kernels.scan import batch
from annlab.kernels.scan import cells as kernels
from annlab.kernels.scan import int8 as int8_kernels
from annlab.kernels.simd.memory import aligned
from annlab.scan.centroids import Centroids, group_by_label
from annlab.scan.int8 import MAX_DIM, ByteScanner
from annlab.scan.scanner import Scanner, rows_found, stack

_U = 2.0**-24
_STORED = int8_kernels.STORED_ROWS
_CAPACITY = 4096  # rows that a query's buffer takes at least
_BUFFER_BYTES = 48 * 2**20  # of the buffers of one block of queries
_FEWEST = 4  # queries: below, a tile of a whole group wastes too much
_FEW = 8  # where a filter leaves less than one row in so many, only those rows are scanned
_TRIAL = 8  # one cell in so many shows whether cells are left out
_MOST_SEEN = 0.6  # of the panels of these: above, the plain scan is quicker
FAINT, FAR = 1e-140, 1e140  # lengths whose squares are numbers, with room for their digits
_LONGEST = 1e6  # of a query, in units of which the rows' coordinates are one at most: beyond, all is rounding
_NO_WORDS = np.empty(0, np.uint64)


class Frame:
    """How vectors become points: centred and scaled, as a scanner does it, but in float64."""

    def __init__(self, scanner: Scanner) -> None:
        self.metric, self.center, self.scale = scanner.metric, scanner.extent.center, scanner.scale
        self.exact = isinstance(scanner, ByteScanner) and scanner.exact_step > 0
        if self.exact:
            self.center, self.scale = np.rint(self.center), 1.0

    def points(self, vectors: np.ndarray) -> np.ndarray:
        """Points (m, dim) float64; no numbers where a vector is too short or long for its square to be a number."""
        rows = vectors.astype(np.float64)
        with np.errstate(all="ignore"):
            if self.metric.code == COSINE:
                norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
                norms[~rows.any(axis=1)] = 1.0
                norms[~((norms > FAINT) & (norms < FAR))] = np.nan
                rows *= (1.0 / norms)[:, None]
            rows -= self.center
            rows *= self.scale
        return rows

    @property
    def unit(self) -> float:
        """What vectors are made of length 1 before they are scaled, in units of points; 0 if they keep their length."""
        return self.scale if self.metric.code == COSINE else 0.0


def possible(scanner: Scanner) -> bool:
    """Whether the argument above holds for these rows; inner products have no triangles."""
    extent, dim = scanner.extent, scanner.vectors.shape[1]
    if scanner.metric.code == INNER_PRODUCT or dim > MAX_DIM or scanner.underflows:
        return False
    return extent.largest_norm < FAR and (scanner.metric.code != COSINE or extent.smallest_norm > FAINT)


class Cells:
    """Rows of a scanner as bytes, by cells."""

    def __init__(self, scanner: Scanner, frame: Frame, centers: np.ndarray, n_threads: int = 1, *,
                 expected: float = 1.0, most_seen: float = _MOST_SEEN) -> None:  # fmt: skip
        """`centers` (cells, dim) float32, of points; a batch that would look into more than `most_seen` of the panels
        is left to the scanner. A query may be expected to look into such a share of them."""
        self.scanner, self.frame, self.n, dim = scanner, frame, len(scanner.vectors), scanner.vectors.shape[1]
        self.expected, self.most_seen = expected, most_seen
        centers = np.rint(centers) if frame.exact else centers
        self.centers = Centroids(np.ascontiguousarray(centers, np.float32))
        labels, at_once, finite = np.empty(self.n, np.int32), rows_at_once(dim), np.empty(self.n, bool)
        for start in range(0, self.n, at_once):
            points = frame.points(scanner.vectors[start : start + at_once]).astype(np.float32)
            labels[start : start + at_once] = self.centers.nearest(points, n_threads)[0]
            finite[start : start + at_once] = np.isfinite(points).all(axis=1)
        members = np.flatnonzero(finite)  # others, of a damaged file that was mapped unseen, are near to nothing
        offsets, order = group_by_label(labels[members], len(centers))
        order = members[order]
        sizes = np.diff(offsets)
        firsts = np.zeros(len(centers) + 1, np.int64)
        np.cumsum(-(-sizes // _STORED), out=firsts[1:])
        panels, quads, stride = int(firsts[-1]), -(-dim // 4), -(-dim // 16) * 16
        self.largest = 0.0
        wide = np.zeros((len(centers), stride))
        wide[:, :dim] = self.centers.array
        self.rows = kernels.Cells(
            aligned((panels, quads, _STORED, 4), np.uint8), np.full((panels, _STORED), np.inf, np.float32),
            np.zeros((panels, int8_kernels.N_LIMITS), np.float32), quads, np.full(panels * _STORED, -1, np.int32),
            firsts, wide, np.zeros(len(centers), np.float32), np.zeros(len(centers), np.float32), stride,
        )  # fmt: skip
        self.rows.codes[...] = 0
        for cell in np.flatnonzero(sizes).tolist():
            pool.check()
            self._fill(cell, order[offsets[cell] : offsets[cell + 1]])

    def _fill(self, cell: int, members: np.ndarray) -> None:
        """Quantize the rows of a cell, sorted by their distance from its center: a panel's are alike."""
        rows, center = self.rows, self.rows.centers[cell, : self.scanner.vectors.shape[1]].copy()
        points = self.frame.points(self.scanner.vectors[members])
        self.largest = max(self.largest, float(np.einsum("ij,ij->i", points, points).max()) ** 0.5)
        moved = points - center
        lengths = np.sqrt(np.einsum("ij,ij->i", moved, moved))
        order = np.lexsort((members, lengths))
        members, points = members[order], np.ascontiguousarray(points[order])
        first, last = rows.firsts[cell], rows.firsts[cell + 1]
        codes, half_norms, limits = rows.codes[first:last], rows.half_norms[first:last], rows.limits[first:last]
        n, dim = points.shape
        coded = int8_kernels.Codes(codes, half_norms, limits, rows.quads, n, dim, L2, center, 1.0,
                                   float(self.frame.exact), 0.0, 0.0, 0.0)  # fmt: skip
        int8_kernels.quantize_rows(points, 0, n, coded, np.zeros(dim), *int8_kernels.quantizing_space(dim))
        if self.scanner.metric.code == COSINE:
            zero = ~self.scanner.vectors[members].any(axis=1)
            half_norms.ravel()[:n][zero] += 0.5 * self.scanner.scale**2 * (1 - int8_kernels.MARGIN)
        rows.numbers[first * _STORED : first * _STORED + n] = members
        rows.radii[cell] = np.nextafter(np.float32(lengths.max() * (1 + 2.0**-20)), np.float32(np.inf))
        starts = np.where(np.isfinite(half_norms), half_norms, 0).max(axis=1) / limits[:, int8_kernels.STEP]
        rows.steps[cell] = starts.max() * 2.0**-28 + 1e-30

    @cached_property
    def _packed(self) -> tuple[np.ndarray, np.ndarray]:
        """The centers as a tile takes its queries, and their squared lengths."""
        array, group = self.centers.array, tile.QUERIES_IN_TILE
        padded = np.zeros((-(-len(array) // group) * group, array.shape[1]), np.float32)
        padded[: len(array)] = -array
        groups = np.ascontiguousarray(padded.reshape(-1, group, array.shape[1]).transpose(0, 2, 1))
        return groups, (2 * self.centers.half_norms[: len(array)]).astype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        rows = self.rows
        return int(sum(array.nbytes for array in rows if isinstance(array, np.ndarray)))

    def serves(self, q: int, k: int, alive: np.ndarray | None) -> bool:
        """Whether cells are of use for q queries that ask for k of the rows whose bits are set."""
        allowed = self.n if alive is None else int(np.bitwise_count(alive).sum(axis=-1).min(initial=self.n))
        return q >= _FEWEST and self.n > 8 * k and allowed >= max(self.n // _FEW, 8 * k)

    def serves_one(self, k: int, alive: np.ndarray | None) -> bool:
        """The same for one query at a time."""
        return self.serves(_FEWEST, k, alive)

    @property
    def longest(self) -> float:
        """How long a query may be as a point."""
        return _LONGEST * max(1.0, self.largest)

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None, keys: np.ndarray, n_threads: int,
               counters: np.ndarray) -> np.ndarray:  # fmt: skip
        """Candidates (q, m), -1 padded; arguments as in `Scanner.search`, which answers where cells are of no use."""
        if not self.serves(len(queries), k, alive):
            return self.scanner.search(queries, k, alive, keys, n_threads, counters)
        capacity = max(8 * k, _CAPACITY) + tile.PANEL_ROWS
        block, parts = max(16, _BUFFER_BYTES // (12 * capacity)), []
        for start in range(0, len(queries), block):
            some = slice(start, start + block)
            masks = alive if alive is None or alive.ndim == 1 else np.ascontiguousarray(alive[some])
            found, answered = self._block(queries[some], k, masks, capacity, counters[some])
            if not answered.all():
                which = np.flatnonzero(~answered)
                own = masks if masks is None or masks.ndim == 1 else masks[which]
                spent = np.zeros((len(which), counters.shape[1]), np.int64)
                again = self.scanner.search(queries[some][which], k, own, keys, n_threads, spent)
                counters[start + which] += spent
                both = np.full((len(found), again.shape[1]), -1, np.int64)
                both[which] = again
                found = np.hstack([found, both])
            parts.append(found)
        return stack(parts)

    def _block(self, queries: np.ndarray, k: int, masks: np.ndarray | None, capacity: int, counters: np.ndarray
               ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Candidates of a block of queries, and which of these were answered."""
        q, rows, n_cells = len(queries), self.rows, len(self.rows.radii)
        asked, usable = self._asked(queries, masks)
        kept, room = kernels.new_kept(q, k, capacity), kernels.new_room(q, rows.quads, rows.stride)
        kept.bounds[:q], kept.lengths[~usable] = np.finfo(np.float32).max, batch.OVERFLOWED
        each = q * rows.codes.size / n_cells / 4  # multiply-adds for a cell, if all look into it
        for first, last in pool.portions(0, n_cells, each / n_cells):
            kernels.scan_cells(rows, first, last, True, asked, kept, room)
        trial, before = -(-n_cells // _TRIAL), int(kept.seen.sum())
        for first, last in pool.portions(0, trial, each):
            kernels.scan_cells(rows, first, last, False, asked, kept, room)
        if kept.seen.sum() - before > self.most_seen * q * rows.firsts[trial]:  # hardly a cell is left out
            usable[:] = False
        else:
            for first, last in pool.portions(trial, n_cells, each):
                kernels.scan_cells(rows, first, last, False, asked, kept, room)
            kernels.finish_cells(rows, asked, kept)
        seen = _STORED * kept.seen
        counters[:, DISTANCES] += np.minimum(seen, self.n) + n_cells
        counters[:, BYTES] += seen * (4 * rows.quads + 4)
        usable &= kept.lengths != batch.OVERFLOWED
        return rows_found(kept.places, np.where(usable, kept.lengths, 0), None), usable

    def _asked(self, queries: np.ndarray, masks: np.ndarray | None) -> tuple[kernels.Queries, np.ndarray]:
        """What kernels read of a batch, and which queries they may be asked for."""
        (q, dim), rows = queries.shape, self.rows
        points = np.zeros((q, rows.stride))
        with np.errstate(all="ignore"):
            points[:, :dim] = self.frame.points(queries)
            norms = np.sqrt(np.einsum("ij,ij->i", points, points))
            usable = norms < self.longest
        points[~usable], norms[~usable] = 0.0, 0.0
        panels = Centroids(points[:, :dim].astype(np.float32))
        distances = np.empty((len(rows.radii), len(panels.half_norms)), np.float32)
        slack = np.float32(2 * (1.1 * dim + 16) * _U)
        kernels.center_distances(*self._packed, len(rows.radii), panels.panels,
                                 np.where(np.isfinite(panels.half_norms), panels.half_norms, 0), slack,
                                 distances)  # fmt: skip
        nearest = distances[:, :q].argmin(axis=0)
        exact = float(self.frame.exact and np.array_equal(points, np.rint(points)))
        ties = 2.0**-36 * (norms + self.largest + self.frame.unit) ** 2 + int8_kernels.FLOOR
        words = 0 if masks is None or masks.ndim == 1 else masks.shape[1]
        alive = _NO_WORDS if masks is None else masks.ravel()
        return kernels.Queries(points, q, distances, distances.shape[1], nearest, exact, ties, alive, words,
                               masks is not None), usable  # fmt: skip


def share_seen(frame: Frame, scanner: Scanner, centers: np.ndarray, sample: np.ndarray, n_queries: int = 48) -> float:
    """About which share of the rows queries would meet in cells about these centers.

    sample (m,): rows. The first of them are asked for their neighbours, and all tell how far and large cells are.
    """
    asked, k = sample[:n_queries], 10
    points, vectors = frame.points(scanner.vectors[sample]), np.ascontiguousarray(scanner.vectors[asked])
    labels, surrogates = Centroids(centers).nearest(points.astype(np.float32))
    lengths = 2 * surrogates + np.einsum("ij,ij->i", points, points)
    radii, sizes = np.zeros(len(centers)), np.bincount(labels, minlength=len(centers))
    np.maximum.at(radii, labels, np.sqrt(np.maximum(lengths, 0)))
    keys, counters = np.arange(len(scanner.vectors)), np.zeros((len(asked), N_COUNTERS), np.int64)
    found = scanner.search(vectors, k + 1, None, keys, 1, counters)
    shares = []
    for i, candidates in enumerate(found):
        near = frame.points(scanner.vectors[candidates[candidates >= 0]]) - points[i]
        bound = np.sqrt(np.partition(np.einsum("ij,ij->i", near, near), k)[k])  # the row itself is one of them
        away = np.sqrt(np.einsum("ij,ij->i", centers - points[i], centers - points[i]))
        shares.append(sizes[away <= bound + radii].sum() / len(sample))
    return float(np.mean(shares))
