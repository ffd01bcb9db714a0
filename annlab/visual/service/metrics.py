"""What the service counts and times, for Prometheus."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The numbers of one service, apart from those of others in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[Any, Any] = {}
        self._requests = Counter("annlab_requests", "Requests by method, route and status",
                                 ("method", "route", "status"), registry=self.registry)  # fmt: skip
        self._seconds = Histogram("annlab_request_seconds", "Time of requests by route", ("route",),
                                  buckets=_SECONDS, registry=self.registry)  # fmt: skip
        self._stages = Histogram("annlab_search_stage_seconds", "Time of the stages of searches", ("stage",),
                                 buckets=(0.0001, 0.0005, *_SECONDS), registry=self.registry)  # fmt: skip
        self.impressions = Counter("annlab_result_lists", "Result lists by what became of them: written or lost",
                                   ("outcome",), registry=self.registry)  # fmt: skip

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note one request."""
        self._child(self._requests, method, route, str(status)).inc()
        self._child(self._seconds, route).observe(seconds)

    def stages(self, timings: Mapping[str, float]) -> None:
        """Note the stages of a search, in milliseconds."""
        for stage, milliseconds in timings.items():
            self._child(self._stages, stage).observe(milliseconds / 1000)

    def _child(self, metric: Any, *labels: str) -> Any:
        """One series of a metric, remembered: to look it up by its labels takes longer than to count."""
        key = metric, *labels
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return found

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A number that is read when somebody asks."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return generate_latest(self.registry)


def resident_bytes() -> float:
    """Memory of this process, in bytes; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return float(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        return 0.0
