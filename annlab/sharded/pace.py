"""How long replicas take to answer, as one client has seen it: whom it asks first, and when it asks another one too.

A replica may be slow for a while: its machine is busy, or reads from a disk. Whoever asks several shards waits for the
slowest of them, so this shows. The way out is the *hedged request* of Dean and Barroso ("The tail at scale",
Communications of the ACM 56, 2013): where the first replica has taken longer than 95 of 100 answers do, the same is
asked of a second one, and the first answer counts. That costs one call more in twenty, whatever a call takes here.

    patience    the 95th percentile of the last answers of the replicas that are not slow, for the same kind of work
                (the same method, of about as many queries), but at most four times their median, so that it helps
                where more than 5 of 100 hang
    budget      where answers differ by nature, that would ask twice too often: so reads earn a fifth of a call each,
                and where nothing of that is left, the second replica is asked only after a second
    slow        is a replica that usually takes twice as long as the quickest of the shard, or longer; it is asked
                second, but for one read in some hundred, which finds out whether it still is

Of a call that was overtaken it is only known how long it took at least: that counts, where it is more than usual.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from annlab.sharded.reading import Query

_FIRST = 0.05  # seconds of patience while nothing is known
_LEAST, _MOST = 0.001, 1.0  # seconds of patience
_QUANTILE, _KNOWN = 0.95, 20  # so many answers are known before those of all replicas count
_BETWEEN = 1.25, 4.0  # times the median: patience, so that chance alone does not use it up, nor what hangs often
_EARNED, _SAVED = 0.2, 10.0  # calls that a read earns, and that are there at most, and at first
_KEPT, _RECENT, _JUDGED = 100, 15, 3  # answers that are kept; that say what is usual; without which nobody is judged
_LEARN = 5  # answers after which it is calculated anew what follows from them
_SLOW = 2.0  # times what the quickest takes
_IN_TURN = 101  # one read of so many asks the replicas in turn, the slow ones too; a prime, so that it meets each

Work = tuple[str, int]


def work_of(method: str, arguments: Sequence[Any]) -> Work:
    """What takes about as long: the method, and the magnitude of what it is asked for."""
    if method == "read":  # of a replica: a function of its index
        method, arguments = arguments[:2]
    first = arguments[0] if len(arguments) else None
    rows = first.vectors if isinstance(first, Query) else first
    return method, len(rows).bit_length() if isinstance(rows, np.ndarray) else 0


class Pace:
    """Of one kind of work of one shard: what its replicas took lately, and what follows."""

    def __init__(self, replicas: Sequence[str]) -> None:
        self._taken: dict[str, deque[float]] = {name: deque(maxlen=_KEPT) for name in replicas}
        self._usual: dict[str, float] = dict.fromkeys(replicas, 0.0)  # the median of the most recent ones
        self._turn, self._n = 0, 0
        self.slow: set[str] = set()
        self.patience = _FIRST

    def order(self) -> list[str]:
        """The replicas as a read is to ask them: in turn, but slow ones last."""
        self._turn += 1
        names = list(self._taken)
        first = self._turn % len(names)
        order = names[first:] + names[:first]
        return sorted(order, key=self.slow.__contains__) if self.slow and self._turn % _IN_TURN else order

    def answered(self, name: str, seconds: float) -> None:
        """A replica has answered."""
        is_slow = name in self.slow
        if is_slow and seconds < _SLOW * min(self._judged().values(), default=0.0):  # it is as it was again, perhaps
            self._taken[name].clear()
        self._taken[name].append(seconds)
        self._n += 1
        if is_slow or self._n < _KNOWN or self._n % _LEARN == 0:
            self._learn()

    def overtaken(self, name: str, seconds: float) -> None:
        """Another replica has answered, while this one was asked that many seconds ago."""
        if seconds > self._usual[name]:
            self._taken[name].append(seconds)
            self._learn()

    def _judged(self) -> dict[str, float]:
        return {name: self._usual[name] for name, taken in self._taken.items() if len(taken) >= _JUDGED}

    def _learn(self) -> None:
        kept = {name: list(taken) for name, taken in self._taken.items()}  # others may add to them meanwhile
        self._usual = {name: _median(taken[-_RECENT:]) for name, taken in kept.items()}
        judged = self._judged()
        quickest = min(judged.values(), default=0.0)
        self.slow = {name for name, seconds in judged.items() if seconds >= _SLOW * quickest > 0}
        seen = sorted(seconds for name, taken in kept.items() if name not in self.slow for seconds in taken)
        if len(seen) < _KNOWN:  # too few to tell who is slow: those of the quickest so far
            named = min((name for name, taken in kept.items() if taken), key=self._usual.__getitem__)
            seen = sorted(kept[named])
        least, most = (each * _median(seen) for each in _BETWEEN)
        self.patience = min(max(min(seen[int(_QUANTILE * len(seen))], most), least, _LEAST), _MOST)


class Paces:
    """What one client has seen of all shards, and what it may spend. `fixed`: the patience that its user asks for."""

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed, self._budget = fixed, _SAVED
        self._of: dict[tuple[tuple[str, ...], Work], Pace] = {}

    def of(self, replicas: tuple[str, ...], method: str, arguments: Sequence[Any]) -> Pace:
        """What is known of the replicas of a shard for such a read, which is about to begin."""
        self._budget = min(self._budget + _EARNED, _SAVED)
        key = replicas, work_of(method, arguments)
        if key not in self._of:
            self._of[key] = Pace(replicas)
        return self._of[key]

    def patience(self, pace: Pace) -> float:
        """Seconds after which another replica is asked too."""
        if self._fixed is not None:
            return self._fixed
        return pace.patience if self._budget >= 1 else _MOST

    def hedged(self) -> None:
        """Another replica is asked too."""
        self._budget = max(self._budget - 1, 0.0)


def _median(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) // 2] if seconds else 0.0
