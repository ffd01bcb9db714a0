"""LSHIndex: locality-sensitive hashing with random hyperplanes and cross-polytopes.

hashing/codes.py      metrics become angles, angles become sign codes
hashing/scan.py       candidates by scanning all codes         kernels/hashing/signs.py, hamming.py
hashing/buckets.py    candidates from hash tables                   kernels/hashing/buckets.py
hashing/keys.py       keys of two families, and what to probe     kernels/hashing/probe_order.py, rotations.py
hashing/structure.py  the two as one structure: building, growing, storing
hashing/tuning.py     parameters measured on held-out rows
hashing/theory.py     what random hyperplanes and cross-polytopes promise
"""

import math
from typing import Any

import numpy as np

from annlab.common import validation
from annlab.common.progress import as_progress
from annlab.core.structure import Building
from annlab.distances import get_metric
from annlab.hashing.buckets import MAX_KEY_BITS, BucketStatistics
from annlab.hashing.codes import MAX_BITS
from annlab.hashing.keys import FAMILIES
from annlab.hashing.settings import MODES, default_bits
from annlab.hashing.structure import LSHStructure
from annlab.hashing.tuning import EVERYTHING, Aim
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
        by what was counted on held-out rows, see the notes.
    family : {"cross_polytope", "hyperplanes"}
        What keys are made of, in mode "buckets". For cross-polytopes, pairs of hashes, n_bits is even.
    n_tables, n_bits : int or "auto"
        "auto": 1 x 256 for scans; for buckets 16 tables with keys of about log2(n / 8) bits. At most 4096 bits
        together, and 24 bits a key in mode "buckets", whose tables hold 2^n_bits buckets each.
    n_probes : int or "auto"
        Buckets to look into, all tables together (mode "buckets"). Also per search.
    rerank : int or "auto"
        Candidates to score, at least k. Also per search. "auto" for this and for `n_probes` measures, when the index is
        built, what finds 0.9 of the ten nearest of 192 held-out rows, with a margin for chance; for k > 10 it takes
        isqrt(k // 10) times as many. At `rerank` >= n a scan is exact.
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

    *Measured* with the defaults of both modes: recall@10 of 400 queries, microseconds a query one at a time and in
    batches; one thread of a busy Zen 3 server (AVX2), CPU time. "exact" is our own exact index with bytes:

    ========================  ============  ====================  ====================
    set                       exact         scan                  buckets
    ========================  ============  ====================  ====================
    SIFT, 500,000 x 128       6,605; 1,241  0.939; 1,298; 365     0.939; 807; 607
    GloVe, 200,000 x 50       977; 211      0.921; 594; 187       0.916; 424; 228
    Fashion, 60,000 x 784     3,946; 682    0.922; 413; 190       0.934; 523; 317
    CNN, 50,000 x 128         721; 138      0.943; 314; 93        0.920; 297; 120
    uniform, 100,000 x 64     678; 130      0.913; 542; 228       0.928; 704; 544
    ========================  ============  ====================  ====================

    On a Zen 4 server (AVX-512) exact search gains more than scans do: SIFT 3,190 and 335 beside scans of 818 and 239,
    with earlier kernels.

    *Families.* Cross-polytopes need fewer probes and candidates than hyperplanes: at recall 0.95, one query at a time,
    SIFT 853 against 1,157 microseconds, CNN 350 and 492; on Fashion the two are even, 578 and 592, and on GloVe
    hyperplanes end below 0.9. *FALCONN*, whose better family differs by set, took 5,080, 1,127 and 2,416 there with as
    many tables, and at recall 0.9, one at a time and as one of 200: SIFT 3,535 and 3,339 (ours 702 and 522), Fashion
    2,416 and 2,411 (494 and 311), CNN 610 and 666 (284 and 136), GloVe 992 and 824 (515 and 279).

    *Beside faiss IndexLSH with refinement*, whose bits and factor were tuned too, at recall 0.9: in batches it took
    1,271 microseconds on SIFT (a scan 340), 520 on GloVe (168), 325 on Fashion (155), 175 on CNN (75), 513 on uniform
    noise (202). One query at a time the two are about even, 1,144 (1,102), 626 (614), 384 (353), 720 (560), and it is
    ahead on CNN, 177 (207), by our fixed cost of a query; `benchmarks/results/lsh.json`.

    *Crossover of the modes.* A scan grows with n, a bucket search more slowly, so which is cheaper depends on n and on
    how far the neighbours are from other rows. One query at a time, buckets overtake between 100,000 and 500,000 rows
    on the sets above, but not on noise; where rows are long and few, as in Fashion, scans stay ahead. On clusters of 20
    intrinsic dimensions in 64 they are ahead from 100,000 rows on (362 against 462 microseconds; 683 against 1,391 at
    400,000, exact 7,725, with earlier kernels). "auto" counts the bytes of a scan, and the candidates and probes of
    buckets for 0.9 of the neighbours, from 250,000 rows on. In batches scans are ahead of buckets on all sets above.

    *Crossover with exact search*, in batches: scans are ahead from below 50,000 rows on (CNN, Fashion), of GloVe from
    about 200,000 on, and of noise never up to 100,000. On clusters in 64 dimensions an exact search of bytes takes 206
    microseconds at 100,000 rows, 1,326 at 400,000, 4,383 at 1,600,000 and 11,105 at 4,000,000, a scan 115 and 403 (both
    at recall 0.9), 923 (0.8) and 2,494 (0.72): with 512 candidates to re-rank, recall falls as clusters fill up
    (`benchmarks/results/lsh-sizes.json`).

    *Where LSH loses.* In batches it is worth little: on GloVe it is about even with our own exact search, and on
    uniform noise, whose neighbours are hardly nearer than other rows, it loses (724 candidates are needed). One query
    at a time on noise scans win by 1.2 and buckets lose. Data of three intrinsic dimensions need 1,024 candidates from
    buckets for recall 0.98 and are twice as slow as scans there: take a tree. On sets of some ten thousand rows the
    fixed cost of a query (checks, ids, exact scoring: about 0.1 ms) hides every gain. An IVFIndex answers all of these
    sets but the noise several times as fast.

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
        rng = np.random.default_rng(seed)
        building = Building(get_metric(metric), index._params, rng, 1, as_progress(None), owned=True)
        built, _ = LSHStructure.build(array, building, aim)
        level, cost = built.tuning.main, built.nanoseconds_at(growth)
        chosen = {"metric": metric, "mode": mode, "family": family, "n_tables": n_tables, "n_bits": n_bits}
        chosen |= {"rerank": min(EVERYTHING, math.ceil(growth * level.rerank)), "seed": seed}
        chosen |= {"n_probes": level.n_probes} if mode == "buckets" else {}
        if best is None or cost < best[0]:
            best = cost, chosen
    return best[1] if best else {}
