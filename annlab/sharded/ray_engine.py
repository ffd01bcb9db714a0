"""Replicas as actors of Ray: detached, so that they outlive whoever made them, and restarted whenever they die.

Ray places actors, restarts them and carries calls. It knows no truth: an actor that begins again opens its own log,
asks the manifest whether it writes, and is brought up by whoever does. Ray never repeats a call: `client.py` does,
and knows which may be.
"""

import asyncio
import contextlib
import hashlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annlab.sharded import reading
from annlab.sharded.engines import new_journal
from annlab.sharded.errors import ShardedError, UnreachableError
from annlab.sharded.manifest import Manifest, Manifests
from annlab.sharded.replica import Replica
from annlab.sharded.store import FolderStore
from annlab.sharded.world import Pending

_NAMESPACE = "annlab"
_READS_AT_ONCE, _STARTS = 64, 3
_CPUS_FOR_A_START = 2  # of the cluster, where others are at work meanwhile
_START_SECONDS, _JOIN_SECONDS = 120.0, 20.0  # to wait for all replicas, and for those of whose shard another is there


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError('engine="ray" needs Ray: pip install "annlab[ray]"') from error


def begin_ray(**how: Any) -> Any:
    """`ray.init`, in the namespace of these actors. Where it starts a cluster of its own, Ray gives that half a minute,
    which a busy machine may exceed: then it is begun again, three times in all."""
    ray = _ray()
    tries = 0
    while True:
        try:
            return ray.init(include_dashboard=False, log_to_driver=False, namespace=_NAMESPACE, **how)
        except Exception as error:  # Ray has no class of its own for it
            ray.shutdown()
            tries += 1
            if tries == _STARTS or how.get("address") is not None or isinstance(error, ValueError | TypeError):
                raise


class RayWorld:
    """Nodes are actors, found by name; what waits, waits in asyncio."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._handles: dict[str, Any] = {}

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Pending:
        pending = Pending()

        def ended(task: "asyncio.Task[Any]") -> None:
            error = asyncio.CancelledError("it was cancelled") if task.cancelled() else task.exception()
            if error is None:
                pending.succeed(task.result())
            else:
                pending.fail(error)
            for event in getattr(pending, "events", ()):
                event.set()

        pending.events = set()  # type: ignore[attr-defined]
        pending.task = asyncio.ensure_future(coroutine)  # type: ignore[attr-defined]
        pending.task.add_done_callback(ended)  # type: ignore[attr-defined]
        return pending

    def call(self, node: str, method: str, *arguments: Any) -> Pending:
        return self.spawn(self._called(node, method, arguments))

    async def _called(self, node: str, method: str, arguments: tuple[Any, ...]) -> Any:
        ray = _ray()
        try:
            if node not in self._handles:
                self._handles[node] = await asyncio.to_thread(ray.get_actor, self._prefix + node, _NAMESPACE)
            return await self._handles[node].call.remote(method, arguments)
        except ray.exceptions.RayTaskError as error:  # of the replica itself; it may also be a ValueError
            raise error.cause from None
        except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError, ValueError) as error:
            self._handles.pop(node, None)
            raise UnreachableError(f"{node} does not answer ({type(error).__name__})") from None

    async def wait(self, pending: Iterable[Pending], enough: Callable[[], bool], seconds: float) -> bool:
        waited, until, event = list(pending), time.monotonic() + seconds, asyncio.Event()
        for each in waited:
            each.events.add(event)  # type: ignore[attr-defined]
        try:
            while not enough():
                left = until - time.monotonic()
                if left <= 0 or all(each.done for each in waited):
                    return enough()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), left)
                event.clear()
            return True
        finally:
            for each in waited:
                each.events.discard(event)  # type: ignore[attr-defined]

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)


class Node:
    """What Ray makes an actor of: one replica."""

    def __init__(self, path: str, prefix: str, shard: str, name: str, snapshot_after: int) -> None:
        store = FolderStore(path)
        manifests = Manifests(store)
        manifest = manifests.current()
        if manifest is None:
            raise FileNotFoundError(f"{path} holds no manifest")
        journal = new_journal(manifest, name, Path(path) / "replicas")
        self._replica = Replica(name, shard, RayWorld(prefix), journal, manifests, snapshot_after=snapshot_after)
        self._started: asyncio.Task[None] | None = None

    async def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """What others call: a method of the replica."""
        if method == "pid":
            return os.getpid()
        if self._started is None:
            self._started = asyncio.ensure_future(self._replica.start())
        if method == "ready":
            await self._started
            return await asyncio.to_thread(reading.warm, self._replica.visible)
        return await getattr(self._replica, method)(*arguments)


class RayEngine:
    """The engine of `ShardedIndex(engine="ray")`. Joins the cluster that runs, or starts one on this machine."""

    def __init__(self, path: Path, snapshot_after: int) -> None:
        ray = _ray()
        if not ray.is_initialized():
            begin_ray(address=os.environ.get("RAY_ADDRESS"))
        self.path, self.snapshot_after = path, snapshot_after
        self.prefix = f"annlab-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}-"
        self.world = RayWorld(self.prefix)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="annlab-ray", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it on the engine's own loop, whichever thread asks."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(self, manifest: Manifest) -> None:
        """See to it that all run. Those of shards that are being made begin a few at a time: the others are at work
        meanwhile, and a process that begins keeps a CPU busy for seconds."""
        self._start([(entry.name, name) for entry in manifest.serving for name in entry.replicas])
        at_once = max(int(_ray().cluster_resources().get("CPU", 0)) // _CPUS_FOR_A_START, 1)
        moving = [(entry.name, name) for entry in manifest.moving for name in entry.replicas]
        for begin in range(0, len(moving), at_once):
            self._start(moving[begin : begin + at_once])

    def _start(self, replicas: Sequence[tuple[str, str]]) -> None:
        """Start replicas, given with their shards, and wait for them."""
        actor, shards = _ray().remote(Node), dict[str, list[str]]()
        for shard, name in replicas:
            actor.options(name=self.prefix + name, namespace=_NAMESPACE, lifetime="detached", get_if_exists=True,
                          max_restarts=-1, max_task_retries=0, num_cpus=0, max_concurrency=_READS_AT_ONCE,
                          ).remote(str(self.path), self.prefix, shard, name, self.snapshot_after)  # fmt: skip
            shards.setdefault(shard, []).append(name)
        self.run(self._there(shards))

    async def _there(self, shards: Mapping[str, Sequence[str]]) -> None:
        """Wait for a first answer of every actor: they take seconds to begin. Whoever joins later may find some that
        are just being restarted: then one of each shard is enough, after a while."""
        names = [name for replicas in shards.values() for name in replicas]
        began, calls = time.monotonic(), {name: self.world.call(name, "ready") for name in names}
        while not all(call.succeeded for call in calls.values()):
            await self.world.wait(calls.values(), lambda: all(call.succeeded for call in calls.values()), 1.0)
            silent = [name for name, replicas in shards.items() if not any(calls[each].succeeded for each in replicas)]
            waited = time.monotonic() - began
            if waited > _START_SECONDS or (waited > _JOIN_SECONDS and not silent):
                break
            for name in names:
                if calls[name].error is not None:
                    calls[name] = self.world.call(name, "ready")
            await self.world.sleep(0.1)
        absent = [name for name in names if not calls[name].succeeded]
        if absent and silent:
            why = calls[absent[0]].error or "no answer"
            raise ShardedError(f"{len(absent)} of {len(names)} replicas did not start, among them all of shard "
                               f"{silent[0]}: {absent[0]}: {why}")  # fmt: skip

    def pids(self, manifest: Manifest) -> dict[str, int]:
        """The processes of the replicas, for those who look after them."""
        names = [name for entry in manifest.serving for name in entry.replicas]

        async def asked() -> dict[str, int]:
            calls = {name: self.world.call(name, "pid") for name in names}
            await self.world.wait(calls.values(), lambda: all(call.done for call in calls.values()), 10.0)
            return {name: call.value for name, call in calls.items() if call.succeeded}

        found: dict[str, int] = self.run(asked())
        return found

    def stop(self, replicas: Iterable[str]) -> None:
        ray = _ray()
        for name in replicas:
            with contextlib.suppress(ValueError):  # not there
                ray.kill(ray.get_actor(self.prefix + name, namespace=_NAMESPACE))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
