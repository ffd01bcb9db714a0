"""How often somebody may ask: a bucket of tokens for each, which fills at a steady rate."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_BUCKETS = 10_000  # whoever was not heard of for longest is forgotten, and begins with a full one


class RateLimit:
    """Tokens per second, up to a burst, for each name; safe from any number of threads."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str, cost: float = 1.0) -> float:
        """Take tokens: 0 if there were enough; else none is taken, and it is the seconds until there will be."""
        now = self._clock()
        with self._lock:
            tokens, before = self._buckets.pop(name, (self._burst, now))
            tokens = min(self._burst, tokens + (now - before) * self._rate)
            short = cost - tokens
            self._buckets[name] = (tokens if short > 0 else tokens - cost), now
            if len(self._buckets) > _BUCKETS:
                self._buckets.popitem(last=False)
        return short / self._rate if short > 0 else 0.0
