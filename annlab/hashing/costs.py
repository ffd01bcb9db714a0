"""What a single query costs, in nanoseconds, as far as it can be counted.

With this, modes and parameters are chosen, and exact scans are preferred where hashing gains nothing. The numbers are
rounded means of a Zen 3 (AVX2) and a Zen 4 server: what is chosen must not depend on the machine.
"""

_BYTE = 0.04  # of a scan
_PROBE = 150.0  # found, and its bucket looked up
_CANDIDATE = 25.0  # found in a bucket, checked for repetition and estimated
_RERANK = 150.0  # a vector from a random place, scored
_WORTH_IT = 2.0  # an exact scan takes over where hashing costs this many times as much, and
_FIXED = 100_000.0  # as much more


def scanning(n_bytes: float) -> float:
    """Reading so many bytes of codes or vectors in a row."""
    return _BYTE * n_bytes


def probing(n_probes: float, candidates: float) -> float:
    """Looking into so many buckets, in which so many candidates lie."""
    return _PROBE * n_probes + _CANDIDATE * candidates


def scoring(rows: float, row_bytes: int) -> float:
    """Scoring so many rows from anywhere."""
    return rows * (_RERANK + _BYTE * row_bytes)


def worth(n_bytes: float) -> float:
    """What a search may cost before an exact scan of all vectors is the better way; it reads so many bytes."""
    return _WORTH_IT * scanning(n_bytes) + _FIXED
