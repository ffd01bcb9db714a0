"""What whoever uses a sharded index does: asks the right replicas, in time, and again where that is harmless.

Reads go to any replica that is as far as the token asks. If it takes longer than answers usually do (pace.py), another
one is asked too, and the first answer counts: replicas at one place of the log are equal bit by bit. If none answers in
time, the shard is *missing*.

Writes go to the one replica that the manifest names. Each carries an op_id, so they are repeated until they are
acknowledged or the time is over, and done once. Where the writer does not answer, another one is elected.

Where a shard was divided meanwhile (moving.py), the whole read or write is done again, by the manifest of now.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from annlab.sharded.electing import elect
from annlab.sharded.errors import (
    BehindError,
    MissingShardError,
    MovedError,
    NotWriterError,
    ShardedError,
    UnacknowledgedError,
    UnreachableError,
)
from annlab.sharded.manifest import Entry, Manifest, Manifests
from annlab.sharded.pace import Paces
from annlab.sharded.replica import Change
from annlab.sharded.world import Pending, World

T = TypeVar("T")
ByShard = Callable[[Manifest], Mapping[str, T]]
"""What goes to which shard, by the manifest."""
Changes = ByShard[Change] | Callable[[Manifest], Awaitable[Mapping[str, Change]]]

_PAUSE = 0.02  # seconds between two tries
_TRY_SECONDS = 1.0  # that a writer may take before it is asked again, or replaced


class Client:
    """One user of the index: it remembers the manifest, and how far its own writes have come (`token`). `hedge_after`:
    seconds after which a read asks a second replica too; None: as the times that were seen say."""

    def __init__(self, world: World, manifests: Manifests, *, hedge_after: float | None = None) -> None:
        self.world, self.manifests, self.paces = world, manifests, Paces(hedge_after)
        self.token: dict[str, int] = {}
        self._manifest: Manifest | None = None

    def manifest(self, anew: bool = False) -> Manifest:
        """The manifest, as it was when it was last looked at."""
        if self._manifest is None or anew:
            self._manifest = self.manifests.current()
        if self._manifest is None:
            raise FileNotFoundError("there is no sharded index: no manifest is in the store")
        return self._manifest

    def known_token(self, at_least: Mapping[str, int] | None) -> Mapping[str, int]:
        """The token of a read, its own or that of others, with a manifest that knows the shards in it."""
        token = self.token if at_least is None else at_least
        if not all(self.manifest().knows(shard) for shard in token):
            manifest = self.manifest(anew=True)  # somebody knows a later one
            if at_least is None:
                self.token = token = {shard: seq for shard, seq in token.items() if manifest.knows(shard)}
        return token

    # ---- reading

    async def read(self, entry: Entry, method: str, arguments: tuple[Any, ...], at_least: int, seconds: float) -> Any:
        """What the index of a shard answers, in one of its replicas."""
        return await self.ask(entry, "read", (method, arguments, max(at_least, entry.since)), seconds)

    async def ask(self, entry: Entry, method: str, arguments: tuple[Any, ...], seconds: float) -> Any:
        """What a replica of a shard answers, whichever."""
        until, complaints = self.world.now() + seconds, {name: "no answer" for name in entry.replicas}
        pace = self.paces.of(entry.replicas, method, arguments)
        order = pace.order()
        asked: list[tuple[str, float, Pending]] = []  # and not answered: an answer that comes late is an answer
        last, silence = dict.fromkeys(order, -1e9), _TRY_SECONDS

        def answered() -> bool:
            return any(call.succeeded or _is_users(call) for *_, call in asked)

        def learn(answer: Pending) -> None:
            for name, began, call in asked:
                took = self.world.now() - began
                if call is answer:
                    pace.answered(name, took)
                else:
                    pace.overtaken(name, took)

        async def wait(seconds: float) -> Pending | None:
            """The call that was answered meanwhile; those that failed are asked again."""
            await self.world.wait(
                [call for *_, call in asked], answered, max(min(seconds, until - self.world.now()), 0.0)
            )
            for each, began, call in list(asked):
                if call.succeeded or _is_users(call):
                    learn(call)
                    return call
                if isinstance(call.error, MovedError):
                    raise call.error
                if call.error is not None:
                    complaints[each] = str(call.error)
                    asked.remove((each, began, call))
            return None

        while True:
            for name in order:
                waiting = any(each == name for each, *_ in asked)
                if waiting and self.world.now() < last[name] + silence:
                    continue  # it may be computing: to ask again would only add to that
                if asked:
                    self.paces.hedged()
                last[name] = self.world.now()
                asked.append((name, last[name], self.world.call(name, method, *arguments)))
                call = await wait(silence if name == order[-1] else self.paces.patience(pace))
                if call is not None:
                    return call.result()
            if self.world.now() + _PAUSE >= until:
                raise MissingShardError(
                    f"shard {entry.name} ({', '.join(entry.replicas)}) did not answer within {seconds:g} s "
                    f"({'; '.join(complaints.values())}); partial=True returns what the others find"
                )
            await self.world.sleep(_PAUSE)
            if self.manifest(anew=True).find(entry.name) is None:
                raise MovedError(f"there is no shard {entry.name} any more")
            if {each for each, *_ in asked} == set(order):  # all are silent
                call = await wait(silence)
                if call is not None:
                    return call.result()
                silence *= 2

    async def read_all(self, method: str, arguments: tuple[Any, ...] | ByShard[tuple[Any, ...]], seconds: float,
                       at_least: Mapping[str, int] | None = None) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
        """The answers of all shards (or of those that `arguments` names), and of which there is none, and why."""
        token = self.known_token(at_least)

        async def by(manifest: Manifest, seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
            chosen: Mapping[str, tuple[Any, ...]] = (
                arguments(manifest) if callable(arguments) else {entry.name: arguments for entry in manifest.shards}
            )
            return await self.answers({
                name: self.read(entry, method, chosen[name], token.get(name, 0), seconds)
                for name, entry in ((entry.name, entry) for entry in manifest.shards) if name in chosen
            }, seconds)  # fmt: skip

        return await self.by_manifest(by, seconds, MissingShardError)

    async def answers(self, reads: Mapping[str, Coroutine[Any, Any, Any]],
                      seconds: float) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
        """The answers to reads, at once, one of each shard; and of which there is none, and why."""
        asked = {name: self.world.spawn(read) for name, read in reads.items()}
        await self.world.wait(list(asked.values()), lambda: all(each.done for each in asked.values()), seconds)
        _raise_if_moved(asked.values())
        missing = {}
        for name, each in asked.items():
            if not each.done:
                missing[name] = f"shard {name} did not answer within {seconds:g} s"
            elif isinstance(each.error, MissingShardError):
                missing[name] = str(each.error)
        return {name: each.result() for name, each in asked.items() if name not in missing}, missing

    async def by_manifest(self, do: Callable[[Manifest, float], Awaitable[Any]], seconds: float,
                           late: type[ShardedError]) -> Any:  # fmt: skip
        """Do something by the manifest; where shards are divided meanwhile, again by the next one."""
        until, left = self.world.now() + seconds, seconds
        while True:
            try:
                return await do(self.manifest(), left)
            except MovedError as error:
                self.manifest(anew=True)
                if self.world.now() + _PAUSE >= until:
                    raise late(f"{error}: nothing else was found within {seconds:g} s") from None
                await self.world.sleep(_PAUSE)
                left = max(until - self.world.now(), 0.0)

    # ---- writing

    async def write_all(self, changes: Changes, ack: str, seconds: float) -> int:
        """Do a write to all shards that it concerns; the sum of its results. Repeated under the same op_id it is done
        once, also where shards were divided in between.

        Raises
        ------
        UnacknowledgedError
            Some shards have not acknowledged it; the message names them.
        """

        async def by(manifest: Manifest, seconds: float) -> int:
            own, until = changes(manifest), self.world.now() + seconds
            if isinstance(own, Awaitable):  # somebody has to be asked what goes where
                own = await own
                seconds = max(until - self.world.now(), 0.0)
            calls = {shard: self.world.spawn(self.write(shard, one, ack, seconds)) for shard, one in own.items()}
            await self.world.wait(calls.values(), lambda: all(call.done for call in calls.values()), 1.05 * seconds)
            _raise_if_moved(calls.values())
            failed = {shard: call for shard, call in calls.items() if not call.succeeded}
            for call in failed.values():
                if call.error is not None and not isinstance(call.error, UnacknowledgedError):
                    raise call.error
            if failed:
                why = "; ".join(str(call.error or f"shard {shard}: no answer") for shard, call in failed.items())
                done = f"{len(calls) - len(failed)} of {len(calls)}"
                raise UnacknowledgedError(f"{done} shards acknowledged the write: {why}")
            results = {}  # what was done before a shard was divided is remembered by all its parts, and counts once
            for shard, call in calls.items():
                entry, (seq, result) = manifest.find(shard), call.value
                results[(shard, seq) if entry is None else entry.place_of(seq)] = result
            return sum(results.values())

        result: int = await self.by_manifest(by, seconds, UnacknowledgedError)
        return result

    async def write(self, shard: str, change: Change, ack: str, seconds: float) -> tuple[int, int]:
        """Do a write to a shard; its seq and result."""
        seq, result = await self.at_writer(shard, "write", (change, ack, min(seconds, _TRY_SECONDS)), seconds)
        self.token[shard] = max(seq, self.token.get(shard, 0))
        return int(seq), int(result)

    async def at_writers(self, method: str, arguments: ByShard[tuple[Any, ...]], seconds: float) -> dict[str, Any]:
        """What the writers of the shards that `arguments` names answer."""

        async def by(manifest: Manifest, seconds: float) -> dict[str, Any]:
            return {shard: await self.at_writer(shard, method, own, seconds) for shard, own in
                    arguments(manifest).items()}  # fmt: skip

        found: dict[str, Any] = await self.by_manifest(by, seconds, UnacknowledgedError)
        return found

    async def at_writer(self, shard: str, method: str, arguments: tuple[Any, ...], seconds: float) -> Any:
        """What the writer of a shard answers; it is found, or elected, meanwhile. The call must bear repetition."""
        until, complaint, failures = self.world.now() + seconds, "no answer", 0
        while True:
            entry = self.manifest(anew=failures > 0).find(shard)
            if entry is None:
                raise MovedError(f"there is no shard {shard} any more")
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
            if failures > 1 and not isinstance(call.error, UnacknowledgedError | MovedError):
                await elect(self.world, self.manifests, shard, min(max(until - self.world.now(), 0.05), 1.0))
            await self.world.sleep(_PAUSE)


def _is_users(call: Pending) -> bool:
    """Whether a call failed by what was asked, and not by who was asked."""
    harmless = (UnreachableError, BehindError, MovedError, NotWriterError, UnacknowledgedError)
    return call.error is not None and not isinstance(call.error, harmless) and (
        isinstance(call.error, ValueError | TypeError | KeyError | ShardedError)
    )  # fmt: skip


def _raise_if_moved(calls: Iterable[Pending]) -> None:
    for call in calls:
        if isinstance(call.error, MovedError):
            raise call.error
