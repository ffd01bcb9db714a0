"""The world around a node: calls to others, time, and work aside. All that is not a function of its messages.

The code of replicas and of clients is written once, as coroutines over a `World`. What waits is the world's business:

    InlineWorld          all nodes in this process: a call is done when it returns, so nothing ever waits
    ray_engine.RayWorld  nodes are actors of Ray, on asyncio
    the simulation       (tests/sharded/) loses, delays, doubles and reorders messages as a seed says

So what the simulation finds out about the code holds for all of them.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol

from annlab.sharded.errors import UnreachableError


class Pending:
    """Something that was begun: done at some time, with a value or an error."""

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def succeed(self, value: Any) -> None:
        """It ended well."""
        self.done, self.value = True, value

    def fail(self, error: BaseException) -> None:
        """It ended badly."""
        self.done, self.error = True, error

    @property
    def succeeded(self) -> bool:
        return self.done and self.error is None

    def result(self) -> Any:
        """The value; the error is raised."""
        if self.error is not None:
            raise self.error
        return self.value


class World(Protocol):
    """See the head of the file."""

    def now(self) -> float:
        """Seconds since some beginning; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Pending:
        """Begin a coroutine beside this one."""

    def call(self, node: str, method: str, *arguments: Any) -> Pending:
        """Call a node; fails with UnreachableError if it is not there, or never ends at all."""

    async def wait(self, pending: Iterable[Pending], enough: Callable[[], bool], seconds: float) -> bool:
        """Wait until it is enough, all are done, or the time is over; whether it is enough."""

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that computes for long, aside if this world has an aside."""


def run_now(coroutine: Coroutine[Any, Any, Any] | Awaitable[Any]) -> Any:
    """The result of a coroutine in which nothing waits."""
    try:
        coroutine.send(None)  # type: ignore[union-attr]
    except StopIteration as end:
        return end.value
    coroutine.close()  # type: ignore[union-attr]
    raise RuntimeError("a coroutine of the inline world waited for something that nobody else does")


class InlineWorld:
    """All nodes in this process. A call runs to its end before it returns."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Pending:
        pending = Pending()
        try:
            pending.succeed(run_now(coroutine))
        except Exception as error:
            pending.fail(error)
        return pending

    def call(self, node: str, method: str, *arguments: Any) -> Pending:
        there = self.nodes.get(node)
        if there is None:
            pending = Pending()
            pending.fail(UnreachableError(f"{node} is not there"))
            return pending
        return self.spawn(getattr(there, method)(*arguments))

    async def wait(self, pending: Iterable[Pending], enough: Callable[[], bool], seconds: float) -> bool:
        return enough()

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)
