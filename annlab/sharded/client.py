"""What whoever uses a sharded index does: asks the right replicas, in time, and again where that is harmless.

Reads go to any replica that is as far as the token asks. If it does not answer within `hedge_after`, another one is
asked too, and the first answer counts: replicas at one place of the log are equal bit by bit. If none answers in time,
the shard is *missing*.

Writes go to the one replica that the manifest names. Each carries an op_id, so they are repeated until they are
acknowledged or the time is over, and done once. Where the writer does not answer, another one is elected.
"""

from collections.abc import Mapping
from typing import Any

from annlab.sharded.electing import elect
from annlab.sharded.errors import (
    BehindError,
    MissingShardError,
    NotWriterError,
    ShardedError,
    UnacknowledgedError,
    UnreachableError,
)
from annlab.sharded.manifest import Entry, Manifest, Manifests
from annlab.sharded.replica import Change
from annlab.sharded.world import Pending, World

_PAUSE = 0.02  # seconds between two tries
_TRY_SECONDS = 1.0  # that a writer may take before it is asked again, or replaced


class Client:
    """One user of the index: it remembers the manifest, and how far its own writes have come (`token`)."""

    def __init__(self, world: World, manifests: Manifests, *, hedge_after: float = 0.05) -> None:
        self.world, self.manifests, self.hedge_after = world, manifests, hedge_after
        self.token: dict[str, int] = {}
        self._turn = 0  # of the replica that is asked first
        self._manifest: Manifest | None = None

    def manifest(self, anew: bool = False) -> Manifest:
        """The manifest, as it was when it was last looked at."""
        if self._manifest is None or anew:
            self._manifest = self.manifests.current()
        if self._manifest is None:
            raise FileNotFoundError("there is no sharded index: no manifest is in the store")
        return self._manifest

    # ---- reading

    async def read(self, entry: Entry, method: str, arguments: tuple[Any, ...], at_least: int, seconds: float) -> Any:
        """The answer of a replica of a shard."""
        until, complaints = self.world.now() + seconds, {name: "no answer" for name in entry.replicas}
        self._turn += 1
        first = self._turn % len(entry.replicas)
        order = [*entry.replicas[first:], *entry.replicas[:first]]
        asked: list[tuple[str, Pending]] = []  # and not answered: an answer that comes late is an answer
        last, silence = dict.fromkeys(order, -1e9), _TRY_SECONDS

        def answered() -> bool:
            return any(call.succeeded or _is_users(call) for _, call in asked)

        async def wait(seconds: float) -> Pending | None:
            """The call that was answered meanwhile; those that failed are asked again."""
            await self.world.wait(
                [call for _, call in asked], answered, max(min(seconds, until - self.world.now()), 0.0)
            )
            for each, call in list(asked):
                if call.succeeded or _is_users(call):
                    return call
                if call.error is not None:
                    complaints[each] = str(call.error)
                    asked.remove((each, call))
            return None

        while True:
            for name in order:
                waiting = any(each == name for each, _ in asked)
                if waiting and self.world.now() < last[name] + silence:
                    continue  # it may be computing: to ask again would only add to that
                last[name] = self.world.now()
                asked.append((name, self.world.call(name, "read", method, arguments, at_least)))
                call = await wait(silence if name == order[-1] else self.hedge_after)
                if call is not None:
                    return call.result()
            if self.world.now() + _PAUSE >= until:
                raise MissingShardError(
                    f"shard {entry.name} ({', '.join(entry.replicas)}) did not answer within {seconds:g} s "
                    f"({'; '.join(complaints.values())}); partial=True returns what the others find"
                )
            await self.world.sleep(_PAUSE)
            if {each for each, _ in asked} == set(order):  # all are silent
                call = await wait(silence)
                if call is not None:
                    return call.result()
                silence *= 2

    async def read_all(self, method: str, arguments: tuple[Any, ...] | Mapping[str, tuple[Any, ...]], seconds: float,
                       at_least: Mapping[str, int] | None = None) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
        """The answers of all shards (or of those that `arguments` names), and of which there is none, and why."""
        token = self.token if at_least is None else at_least
        asked = {}
        for entry in self.manifest().shards:
            own = arguments.get(entry.name) if isinstance(arguments, Mapping) else arguments
            if own is not None:
                read = self.read(entry, method, own, token.get(entry.name, 0), seconds)
                asked[entry.name] = self.world.spawn(read)
        await self.world.wait(list(asked.values()), lambda: all(each.done for each in asked.values()), seconds)
        missing = {}
        for name, each in asked.items():
            if not each.done:
                missing[name] = f"shard {name} did not answer within {seconds:g} s"
            elif isinstance(each.error, MissingShardError):
                missing[name] = str(each.error)
        return {name: each.result() for name, each in asked.items() if name not in missing}, missing

    # ---- writing

    async def write(self, shard: str, change: Change, ack: str, seconds: float) -> int:
        """Do a write to a shard; its result."""
        seq, result = await self.at_writer(shard, "write", (change, ack, min(seconds, _TRY_SECONDS)), seconds)
        self.token[shard] = max(seq, self.token.get(shard, 0))
        return int(result)

    async def at_writer(self, shard: str, method: str, arguments: tuple[Any, ...], seconds: float) -> Any:
        """What the writer of a shard answers; it is found, or elected, meanwhile. The call must bear repetition."""
        until, complaint, failures = self.world.now() + seconds, "no answer", 0
        while True:
            entry = self.manifest(anew=failures > 0).find(shard)
            if entry is None:
                raise MissingShardError(f"there is no shard {shard} any more")
            call = self.world.call(entry.writer, method, *arguments)
            patience = min(2 * _TRY_SECONDS * (1 + failures), max(until - self.world.now(), 0.0))
            await self.world.wait([call], lambda call=call: call.done, patience)  # type: ignore[misc]
            if call.succeeded or _is_users(call):
                return call.result()
            failures += 1
            complaint = f"{entry.writer} does not answer" if call.error is None else str(call.error)
            if self.world.now() >= until:
                what = "" if method != "write" else ": it may survive or not; repeat it with the same op_id"
                raise UnacknowledgedError(f"shard {shard}: not acknowledged within {seconds:g} s ({complaint}){what}")
            if isinstance(call.error, NotWriterError) and failures > 1:
                lead = self.world.call(entry.writer, "lead")  # it may not know yet
                left = min(until - self.world.now(), _TRY_SECONDS)
                await self.world.wait([lead], lambda lead=lead: lead.done, left)  # type: ignore[misc]
                if lead.succeeded and lead.value:
                    continue
            if failures > 1 and not isinstance(call.error, UnacknowledgedError):
                await elect(self.world, self.manifests, shard, min(max(until - self.world.now(), 0.05), 1.0))
            await self.world.sleep(_PAUSE)


def _is_users(call: Pending) -> bool:
    """Whether a call failed by what was asked, and not by who was asked."""
    harmless = (UnreachableError, BehindError, NotWriterError, UnacknowledgedError)
    return call.error is not None and not isinstance(call.error, harmless) and (
        isinstance(call.error, ValueError | TypeError | KeyError | ShardedError)
    )  # fmt: skip
