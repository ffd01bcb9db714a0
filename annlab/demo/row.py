"""Row: what was measured of one way of searching, a line of the table."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Row:
    """One way of searching, measured."""

    name: str
    recall: float
    milliseconds: np.ndarray
    batch_seconds: float
    build_seconds: float
    bytes_per_vector: float
    precision: float
    n_queries: int

    @property
    def queries_per_second(self) -> float:
        return self.n_queries / self.batch_seconds

    def __str__(self) -> str:
        p50, p95, p99 = np.percentile(self.milliseconds, (50, 95, 99))
        return (
            f"{self.name:<36}{self.recall:>9.4f}{p50:>9.3f}{p95:>8.3f}{p99:>8.3f}{self.queries_per_second:>13,.0f}"
            f"{self.build_seconds:>9.3f}{self.bytes_per_vector:>10,.0f}{self.precision:>8.3f}"
        )
