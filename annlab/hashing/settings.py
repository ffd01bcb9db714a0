"""What an LSHIndex is made of, chosen from its parameters and the number of rows."""

import math
from typing import Any, NamedTuple, Self

import numpy as np

from annlab.hashing.buckets import MAX_KEY_BITS
from annlab.hashing.codes import MAX_BITS
from annlab.hashing.keys import CROSS_POLYTOPE, FAMILIES, HYPERPLANES

SCAN, BUCKETS = 0, 1
MODES = {"scan": SCAN, "buckets": BUCKETS}
SCAN_BITS = 256
RECORD_BITS = 192  # with its two numbers, a record is half a cache line
TABLES = 16
_ROWS_A_BUCKET = 8
_LARGEST_RERANK = 2**31 - 1


class Settings(NamedTuple):
    """The mode, the family of hashes (both by number), and how many tables of how many bits."""

    mode: int
    family: int
    n_tables: int
    n_bits: int

    @classmethod
    def choose(cls, params: dict[str, Any], n: int) -> Self:
        """From the parameters of the index for n rows."""
        mode, family = params["mode"], FAMILIES[params["family"]]
        if mode in ("auto", "scan"):
            mode = "scan"
            n_tables = 1 if params["n_tables"] == "auto" else params["n_tables"]
            n_bits = max(1, SCAN_BITS // n_tables) if params["n_bits"] == "auto" else params["n_bits"]
        else:
            n_tables = TABLES if params["n_tables"] == "auto" else params["n_tables"]
            n_bits = min(key_bits(n), MAX_BITS // n_tables) if params["n_bits"] == "auto" else params["n_bits"]
            if family == CROSS_POLYTOPE:
                n_bits = max(2, n_bits - n_bits % 2)
        return cls(MODES[mode], family, n_tables, n_bits)

    @property
    def code_bits(self) -> int:
        """Bits of a row's code. Hyperplanes' keys are parts of it."""
        return RECORD_BITS if self.mode == BUCKETS and self.family == CROSS_POLYTOPE else self.n_tables * self.n_bits

    @property
    def mode_name(self) -> str:
        """ "scan" or "buckets"."""
        return next(name for name, number in MODES.items() if number == self.mode)

    @classmethod
    def from_array(cls, numbers: np.ndarray) -> Self:
        """From a stored array of seven numbers; a ValueError if they make no sense.

        The last three are the probes, the candidates and the rows touched of k = 10, which files of before levels need.
        """
        if numbers.dtype != np.int64 or numbers.shape != (7,):
            raise ValueError(f"settings are {numbers.dtype} {numbers.shape}, not seven int64")
        *own, n_probes, rerank, touched = (int(number) for number in numbers)
        made = cls(*own)
        if made.mode not in (SCAN, BUCKETS) or made.family not in (HYPERPLANES, CROSS_POLYTOPE):
            raise ValueError(f"mode {made.mode}, family {made.family}")
        if not (1 <= made.n_tables <= MAX_BITS and 1 <= made.n_bits <= MAX_BITS):
            raise ValueError(f"{made.n_tables} tables of {made.n_bits} bits")
        if made.n_tables * made.n_bits > MAX_BITS:
            raise ValueError(f"{made.n_tables} tables of {made.n_bits} bits exceed {MAX_BITS}")
        if not (1 <= rerank <= _LARGEST_RERANK and 0 <= n_probes < 2**31 and touched >= 0):
            raise ValueError(f"settings out of range: {made}, {n_probes} probes, re-ranking {rerank}")
        if made.mode == BUCKETS and (made.n_bits > MAX_KEY_BITS or n_probes < 1):
            raise ValueError(f"settings out of range: {made}, {n_probes} probes")
        if made.mode == BUCKETS and made.family == CROSS_POLYTOPE and made.n_bits % 2:
            raise ValueError(f"{made.n_bits} bits are not two hashes of equally many")
        return made


def default_bits(mode: str, n: int) -> int:
    """`n_bits` for n rows where nothing is said."""
    return SCAN_BITS if mode == "scan" else key_bits(n)


def key_bits(n: int) -> int:
    """Bits of a key such that a bucket holds _ROWS_A_BUCKET of n rows on average."""
    return min(max(round(math.log2(max(n / _ROWS_A_BUCKET, 2))), 4), 20)


def may_have_buckets(params: dict[str, Any]) -> bool:
    """Whether mode "auto" may choose buckets."""
    n_bits = params["n_bits"]
    if params["mode"] != "auto" or n_bits == "auto":
        return bool(params["mode"] == "auto")
    return bool(n_bits <= MAX_KEY_BITS and (params["family"] == "hyperplanes" or n_bits % 2 == 0))
