"""What a service allows: who gets in, how much, how fast, and for how long things are kept."""

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path

from annlab.common.pool import available


@dataclass(frozen=True)
class Settings:
    """Limits of a service.

    Parameters
    ----------
    uploads : Path
        The folder of pictures that came by upload; made when the first one comes.
    keys : bool
        Whether a key is asked for (keys.py). Without keys everybody who reaches the service may do everything, so it
        answers only to the names of this machine.
    hosts : tuple of str
        Names by which the service may be called, "*" for any. What else stands in the header `Host` is refused: a page
        elsewhere could have its own name point to this machine, and read everything (DNS rebinding).
    most_bytes : int
        Of the body of a request, however it is sent.
    header_seconds, body_seconds : float
        A client that takes longer to send these is cut off.
    per_second, burst : float
        Requests of one person, or of one address where nobody said who it is. A picture counts a tenth.
    most_in_flight : int
        Requests at once; more are told to come again.
    threads : int
        That search and read at once.
    keep_queries : timedelta
        How long a picture that was uploaded to search with is kept.
    most_results : int
        Of one page of a search.
    most_images : int
        Up to so many images the page may build an index of another kind, to compare.
    explore : float
        The share of first pages that show one picture from farther behind (exploring.py).
    """

    uploads: Path
    keys: bool = False
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    most_bytes: int = 20 * 2**20
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    per_second: float = 100.0
    burst: float = 400.0
    most_in_flight: int = 128
    threads: int = field(default_factory=lambda: 2 * available() + 4)
    keep_queries: datetime.timedelta = datetime.timedelta(days=1)
    most_results: int = 200
    most_images: int = 200_000
    explore: float = 0.0

    def __post_init__(self) -> None:
        for name in ("most_bytes", "header_seconds", "body_seconds", "per_second", "burst",
                     "most_in_flight", "threads", "most_results"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        if not 0 <= self.explore <= 1:
            raise ValueError(f"explore is a share between 0 and 1, not {self.explore!r}")
        if self.keep_queries <= datetime.timedelta(0):
            raise ValueError(f"queries must be kept for some time, not {self.keep_queries}")

    @property
    def journal(self) -> Path:
        """The file of result lists that are not in the database yet, beside the uploads."""
        return self.uploads.with_name(self.uploads.name + ".shown")


def uploads_of(catalog: str | os.PathLike[str]) -> Path:
    """Where uploads of a catalog lie if nothing is said: beside a SQLite file, with the suffix ``.uploads``."""
    text = os.fspath(catalog)
    if "://" in text:
        raise ValueError(f"{text} is no file: say where uploads go with --uploads")
    return Path(text).with_suffix(".uploads")
