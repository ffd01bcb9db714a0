"""LSHIndex: locality-sensitive hashing with random hyperplanes.

    lsh_codes.py      metrics become angles, angles become sign codes
    lsh_scan.py       candidates by scanning all codes              kernels/hashing.py, hamming.py
    lsh_buckets.py    candidates from hash tables                   kernels/buckets.py
    lsh_structure.py  the two as one structure: building, growing, storing
    lsh_tuning.py     parameters measured on held-out rows
    lsh_theory.py     what random hyperplanes promise
"""

from typing import Any

import numpy as np

from annlab import validation
from annlab.distances import get_metric
from annlab.index import Index
from annlab.lsh_buckets import MAX_KEY_BITS, BucketStatistics, BucketTables
from annlab.lsh_codes import MAX_BITS
from annlab.lsh_structure import MODES, LSHStructure
from annlab.progress import as_progress


def _auto_or(name: str, largest: int) -> Any:
    def check(value: Any) -> Any:
        return "auto" if isinstance(value, str) and value == "auto" else validation.as_integer(name, value, 1, largest)

    return check


class LSHIndex(Index):
    """Approximate nearest neighbours by the signs of random projections."""

    structure_class = LSHStructure
    search_parameters = {"n_probes": _auto_or("n_probes", 2**31 - 1), "rerank": _auto_or("rerank", 2**31 - 1)}  # noqa: RUF012

    @validation.checks_names
    def __init__(self, *, metric: str = "l2", mode: str = "auto", n_tables: int | str = "auto",
                 n_bits: int | str = "auto", n_probes: int | str = "auto", rerank: int | str = "auto",
                 center: bool = True, seed: int = 0, dim: int | None = None,
                 auto_compact: bool = True) -> None:  # fmt: skip
        validation.as_choice("mode", mode, ("auto", *MODES))
        n_tables, n_bits = _auto_or("n_tables", MAX_BITS)(n_tables), _auto_or("n_bits", MAX_BITS)(n_bits)
        if n_bits != "auto" and mode == "buckets" and n_bits > MAX_KEY_BITS:
            raise ValueError(f"n_bits={n_bits}: a table of 2^n_bits buckets can have keys of up to {MAX_KEY_BITS} bits; "
                             'use more tables, or mode="scan"')  # fmt: skip
        if (1 if n_tables == "auto" else n_tables) * (1 if n_bits == "auto" else n_bits) > MAX_BITS:
            raise ValueError(f"n_tables * n_bits = {n_tables * n_bits} bits exceed {MAX_BITS}")
        super().__init__(
            metric=metric, dim=dim, seed=seed, auto_compact=auto_compact, mode=mode, n_tables=n_tables, n_bits=n_bits,
            n_probes=self.search_parameters["n_probes"](n_probes), rerank=self.search_parameters["rerank"](rerank),
            center=bool(center),
        )  # fmt: skip

    def bucket_statistics(self) -> BucketStatistics:
        """How evenly rows fall into buckets; a ValueError for an index that has none (`mode="scan"`)."""
        structure = self._require_state().structure
        if not isinstance(structure, LSHStructure) or not isinstance(structure.finder, BucketTables):
            raise ValueError('this index has no buckets: it scans all codes; use mode="buckets"')
        return structure.finder.statistics()


def pick_parameters(vectors: Any, *, metric: str = "l2", recall: float = 0.9, mode: str = "scan",
                    seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """Parameters of the cheapest LSHIndex that finds `recall` of the ten nearest, measured on held-out rows.

    Parameters
    ----------
    vectors : array of shape (n, dim)
        The data or a sample of them. Candidates per query grow with n, so a sample promises a little too much.
    metric : {"l2", "cosine", "ip"}
    recall : float
        Of the ten nearest, above 0 and below 1.
    mode : {"scan", "buckets"}
    seed : int

    Returns
    -------
    dict
        Keywords for `LSHIndex`: metric, mode, n_tables, n_bits, n_probes (buckets only), rerank, seed.

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
        raise ValueError(f"recall must be above 0 and below 1, not {recall}, and there must be vectors, not {len(array)}")
    tried = []
    for shift in (-1, 0, 1):  # halve and double the bits of a scan; keys two bits shorter and longer
        defaults = LSHStructure.default_bits(mode, len(array))
        n_bits = int(defaults * 2.0**shift) if mode == "scan" else min(max(defaults + 2 * shift, 2), MAX_KEY_BITS)
        params = LSHIndex(metric=metric, mode=mode, n_bits=n_bits)._params
        built, _ = LSHStructure.build(
            array, metric=get_metric(metric), params=params, rng=np.random.default_rng(seed), threads=1,
            progress=as_progress(None), owned=True, target=recall,
        )  # fmt: skip
        tried.append(built.settings)
    best = min(tried, key=lambda settings: settings.touched)
    chosen = {"metric": metric, "mode": mode, "n_tables": best.n_tables, "n_bits": best.n_bits, "rerank": best.rerank}
    return chosen | ({"n_probes": best.n_probes} if mode == "buckets" else {}) | {"seed": seed}
