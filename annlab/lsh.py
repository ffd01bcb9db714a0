"""LSHIndex: locality-sensitive hashing with random hyperplanes."""

from typing import Any

from annlab import validation
from annlab.index import Index
from annlab.lsh_buckets import MAX_KEY_BITS, BucketStatistics, BucketTables
from annlab.lsh_codes import MAX_BITS
from annlab.lsh_structure import MODES, LSHStructure


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
