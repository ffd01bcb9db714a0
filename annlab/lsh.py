"""LSHIndex: locality-sensitive hashing. Vectors become short codes, and near vectors have similar codes.

Draw a plane through the middle of the data at random and ask of every vector on which side it lies. Two vectors at an
angle theta are separated with probability theta / pi, so near ones seldom (Charikar 2002). One plane says little, 256
say much: the number of planes that separate two vectors estimates their angle. 256 answers are 32 bytes, where a vector
has hundreds, and comparing two codes takes a few instructions. A few candidates with the nearest codes are then scored
with their vectors. There are two ways of finding them:

    scan       compare the query's code with all codes
    buckets    file every vector under a short key, in several tables, each with other planes, and look only where the
               query's neighbours probably are. A key is a few signs, or which of many random directions a vector
               points to most ("cross-polytope"), which near vectors share more often

The arrays, for n vectors:

    normals    (bits, dim) float32             the planes
    center     (dim,) float64                  the middle: angles are taken about it
    blocks     (n / 8, words, 8) uint64        scan: the codes of eight vectors side by side
    records    (n, words + 1) uint64           buckets: a vector's code, and two numbers to estimate its distance with
    offsets    (tables * 2^n_bits + 1,) int64  where the rows of each bucket begin
    rows       (tables * n,) int32             the rows of all buckets

A search, in plain words and in Python without its shortcuts:

    code = (planes @ (query - center)) > 0
    if scanning:
        found = the `rerank` rows whose codes differ from the query's in the fewest bits
    else:
        buckets = the `n_probes` buckets whose keys the query nearly has: the smaller the projection on a plane, the
                  more probably a neighbour lies on its other side
        found = the `rerank` rows of these buckets with the smallest distances, estimated from codes
    distances = [distance(query, vectors[row]) for row in found]
    return the k smallest

How many buckets and candidates are needed depends on the data, so it is measured when the index is built, for every k,
and again when the data have changed (`index.calibration`). Behind a filter a search looks further if what it finds is
farther away than what was measured.

The cost: a scan reads n * bits / 8 bytes a query, buckets a few hundred to a few thousand records, and either one
scores `rerank` vectors. Building takes one product of matrices (n, dim) x (dim, bits); memory is the vectors and 32
bytes a row for scans, 32 + 4 * tables for buckets.

When to use it: for single queries over 100,000 to some millions of long vectors, where building must be fast, cheap to
repeat, and the same on every machine; to teach, since its theory is the clearest of all (`hashing/theory.py`). When
not: in batches an exact scan of bytes is nearly as fast; below some ten thousand rows the fixed cost of a search hides
every gain; in few dimensions a tree is exact and faster; on noise, whose neighbours are hardly nearer than other rows,
nearly all rows become candidates. An `IVFIndex` is faster on most data that have clusters. `docs/measured.md` has the
figures.

To read on, in this order: `hashing/codes.py` (metrics become angles, angles become bits), `hashing/scan.py`,
`hashing/keys.py` and `hashing/buckets.py`, `hashing/finders.py` (both ways behind one protocol), `hashing/tuning.py`
(what is measured), `hashing/plans.py` (what a search makes of that), `hashing/structure.py` (all of it together); the
kernels of the same names, beginning with `kernels/hashing/signs.py` and `hamming.py`; `hashing/theory.py`.
"""

import math
from typing import Any

from annlab.common import validation
from annlab.common.progress import as_progress
from annlab.core.structure import Building
from annlab.distances import get_metric
from annlab.hashing.buckets import MAX_KEY_BITS, BucketStatistics
from annlab.hashing.codes import MAX_BITS
from annlab.hashing.keys import FAMILIES
from annlab.hashing.settings import MODES, default_bits
from annlab.hashing.structure import LSHStructure
from annlab.hashing.tuning import EVERYTHING, Aim, Tuning
from annlab.index import Index


def _auto_or(name: str, largest: int) -> Any:
    def check(value: Any) -> Any:
        return "auto" if isinstance(value, str) and value == "auto" else validation.as_integer(name, value, 1, largest)

    return check


class LSHIndex(Index):
    """Approximate nearest neighbours by random projections.

    Mode "scan": the code of a vector is the signs of n_bits projections, and the query's code is compared with all
    codes. Mode "buckets": in each of n_tables tables a vector has a key of n_bits, and a query looks only into the
    buckets that its neighbours are probably in (multi-probe). Keys are signs too, or vertices of cross-polytopes.
    Either way, the `rerank` best candidates by their codes are scored with their vectors.

    Parameters
    ----------
    metric : {"l2", "cosine", "ip"}
        How each becomes an angle is told in `annlab/hashing/codes.py`: `l2` by the angle about the mean, `ip` by
        lifting rows to one length.
    mode : {"auto", "scan", "buckets"}
        "auto" scans below 250,000 rows; from there on it builds both, and keeps the one whose single queries cost less
        by what was counted on held-out rows.
    family : {"cross_polytope", "hyperplanes"}
        What keys are made of, in mode "buckets". For cross-polytopes, pairs of hashes, n_bits is even.
    n_tables, n_bits : int or "auto"
        "auto": 1 x 256 for scans; for buckets 16 tables with keys of about log2(n / 8) bits. At most 4096 bits
        together, and 24 bits a key in mode "buckets", whose tables hold 2^n_bits buckets each.
    n_probes : int or "auto"
        Buckets to look into, all tables together (mode "buckets"). Also per search.
    rerank : int or "auto"
        Candidates to score, at least k. Also per search. "auto" for this and for `n_probes` measures what finds 0.9 of
        the k nearest of held-out rows, with a margin for chance; where that would cost much more than an exact scan,
        the search is one. With `rerank` >= n, and all buckets probed, a search is exact. A `RecallWarning` says if a
        number that was given keeps the other from reaching 0.9.
    center : bool
        Whether angles are taken about the mean of the data, learned when the index is built. For `ip` no order changes.
    seed : int
    dim : int, optional
        To begin with an empty index.
    auto_compact : bool
        Whether writes tidy up by themselves, see `Index`.

    Raises
    ------
    ValueError, TypeError
        If a parameter is unusable.

    Notes
    -----
    Memory: the vectors and n_bits * n_tables / 8 bytes a row (24 for cross-polytopes); buckets add 8 + 4 * n_tables
    bytes a row and 8 * 2^n_bits bytes a table. Codes, keys, probes and so candidates are the same on every machine.

    References
    ----------
    M. S. Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002. Q. Lv et al., Multi-probe LSH,
    VLDB 2007. J. Ji et al., Super-bit locality-sensitive hashing, NIPS 2012. A. Andoni, P. Indyk, T. Laarhoven, I.
    Razenshteyn, L. Schmidt, Practical and optimal LSH for angular distance, NIPS 2015. J. Gao and C. Long, RaBitQ,
    SIGMOD 2024.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).standard_normal((2000, 32)).astype(np.float32)
    >>> index = annlab.LSHIndex(metric="cosine", mode="scan").fit(vectors)
    >>> index.search(vectors[:3], k=5).ids[:, 0].tolist()
    [0, 1, 2]
    """

    structure_class = LSHStructure
    variants = (
        {"mode": "scan"},
        {"mode": "buckets", "family": "hyperplanes"},
        {"mode": "buckets", "family": "cross_polytope"},
    )
    search_parameters = {"n_probes": _auto_or("n_probes", 2**31 - 1), "rerank": _auto_or("rerank", 2**31 - 1)}  # noqa: RUF012

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", mode: str = "auto", family: str = "cross_polytope",
                 n_tables: int | str = "auto", n_bits: int | str = "auto", n_probes: int | str = "auto",
                 rerank: int | str = "auto", center: bool = True, seed: int = 0, dim: int | None = None,
                 auto_compact: bool = True) -> None:  # fmt: skip
        validation.as_choice("mode", mode, ("auto", *MODES))
        validation.as_choice("family", family, tuple(FAMILIES))
        n_tables, n_bits = _auto_or("n_tables", MAX_BITS)(n_tables), _auto_or("n_bits", MAX_BITS)(n_bits)
        tables, bits = (1 if value == "auto" else int(value) for value in (n_tables, n_bits))
        if mode == "buckets" and bits > MAX_KEY_BITS:
            raise ValueError(f"n_bits={bits}: a table of 2^n_bits buckets can have keys of up to {MAX_KEY_BITS} bits; "
                             'use more tables, or mode="scan"')  # fmt: skip
        if mode == "buckets" and family == "cross_polytope" and n_bits != "auto" and bits % 2:
            raise ValueError(f"n_bits={bits}: keys of cross-polytopes are pairs of hashes, so n_bits must be even")
        if tables * bits > MAX_BITS:
            raise ValueError(f"n_tables * n_bits = {tables * bits} bits exceed {MAX_BITS}")
        super().__init__(
            metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, mode=mode, family=family, n_tables=n_tables,
            n_bits=n_bits, n_probes=self.search_parameters["n_probes"](n_probes),
            rerank=self.search_parameters["rerank"](rerank), center=bool(center),
        )  # fmt: skip

    @property
    def calibration(self) -> Tuning:
        """What was measured: `levels` with parameters and recall by k, the `target`, and for how many rows it was.

        `calibration.main` is the level of k = 10. `n_rows` says how old it is: it is measured again when the index has
        half as many rows more, and when a sample of new rows is not found as well (`n_checked`: up to which row).
        """
        structure = self._require_state().structure
        if not isinstance(structure, LSHStructure):
            raise ValueError(f"nothing was measured yet: this index has {len(self)} vectors, all scanned exactly")
        return structure.tuning

    def bucket_statistics(self) -> BucketStatistics:
        """How evenly rows fall into buckets; a ValueError for an index that has none (`mode="scan"`)."""
        structure = self._require_state().structure
        statistics = structure.finder.statistics() if isinstance(structure, LSHStructure) else None
        if statistics is None:
            raise ValueError('this index has no buckets: it scans all codes; use mode="buckets"')
        return statistics


def pick_parameters(vectors: Any, *, metric: str = "l2", recall: float = 0.9, mode: str = "scan",
                    family: str = "cross_polytope", n_rows: int | None = None,
                    seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """Parameters of the cheapest LSHIndex that finds `recall` of the ten nearest, measured on held-out rows.

    Parameters
    ----------
    vectors : array of shape (m, dim)
        The data, or a random sample of them: at least a tenth, since fewer have no neighbours as near as the tenth.
    metric : {"l2", "cosine", "ip"}
    recall : float
        Of the ten nearest, above 0 and below 1.
    mode : {"scan", "buckets"}
    family : {"cross_polytope", "hyperplanes"}
    n_rows : int, optional
        How many rows the index will have, if `vectors` are a sample. What is needed is scaled up, see
        `annlab/hashing/tuning.py`.
    seed : int

    Returns
    -------
    dict
        Keywords for `LSHIndex`: metric, mode, family, n_tables, n_bits, n_probes (buckets only), rerank, seed.

    Raises
    ------
    ValueError, TypeError
        If an argument is unusable.

    Examples
    --------
    >>> import annlab, numpy as np
    >>> vectors = np.random.default_rng(0).random((2000, 32), dtype=np.float32)
    >>> index = annlab.LSHIndex(**pick_parameters(vectors, recall=0.8)).fit(vectors)
    """
    array = validation.as_vectors(vectors)
    validation.as_choice("mode", mode, MODES)
    recall = validation.as_number("recall", recall)
    if not 0 < recall < 1 or not len(array):
        raise ValueError(
            f"recall must be above 0 and below 1, not {recall}, and there must be vectors, not {len(array)}"
        )
    n = len(array) if n_rows is None else validation.as_integer("n_rows", n_rows, len(array))
    growth = n / len(array)
    aim = Aim(recall, (max(1, round(10 / growth)),))
    bits = default_bits(mode, n)
    if mode == "scan":
        tried = [(1, bits // 2), (1, bits), (1, 2 * bits)]
    else:
        even = bits - bits % 2
        tried = [(16, max(even - 2, 2)), (8, even), (16, even), (32, even), (16, min(even + 2, MAX_KEY_BITS))]
    best: tuple[float, dict[str, Any]] | None = None
    for n_tables, n_bits in tried:
        index = LSHIndex(metric=metric, mode=mode, family=family, n_tables=n_tables, n_bits=n_bits)
        building = Building(get_metric(metric), index._params, seed, 1, as_progress(None), owned=True)
        built, _ = LSHStructure.build(array, building, aim)
        level, cost = built.tuning.main, built.nanoseconds_at(growth)
        chosen = {"metric": metric, "mode": mode, "family": family, "n_tables": n_tables, "n_bits": n_bits}
        chosen |= {"rerank": min(EVERYTHING, math.ceil(growth * level.rerank)), "seed": seed}
        chosen |= {"n_probes": level.n_probes} if mode == "buckets" else {}
        if best is None or cost < best[0]:
            best = cost, chosen
    return best[1] if best else {}
