"""A sharded index in a world that a seed decides: messages are lost, late, doubled and out of order, nodes are cut off
and killed, and a kill while a disk is written leaves half a record. The code of replicas and clients is the real one.

`history(seed)` lets two clients write and read while that goes on, then heals everything, and judges:

    every acknowledged write is in the log exactly once, every other one at most once, at the place that the token says
    every read is the state after a beginning of the log that is no shorter than its token
    what a replica has shown never vanishes from it, whatever died meanwhile
    the state at rest is what a dictionary says that the log leads to, and all replicas have one hash

The same seed is the same history, so `history(seed)` is all that is needed to see a failure again.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import numpy as np

from annlab.durable.operations import Operation, request_digest
from annlab.sharded.client import Client
from annlab.sharded.errors import MissingShardError, UnacknowledgedError, UnreachableError
from annlab.sharded.manifest import Entry, Manifest, Manifests
from annlab.sharded.replica import Change, Replica
from annlab.sharded.store import MemoryStore
from annlab.sharded.world import Pending
from tests.sharded.disk import FIRST, KIND, PARAMETERS, Crash, Disk, SimulatedJournal

SHARD = "0"


class Waits:
    """What a coroutine of this world yields: until enough, until all are done, or until a time."""

    def __init__(self, pending: list[Pending], enough: Callable[[], bool], until: float) -> None:
        self.pending, self.enough, self.until = pending, enough, until

    def __await__(self) -> Any:
        yield self


class WatchedReplica(Replica):
    """A replica whose reads are noted: how far it was."""

    async def read(self, method: str, arguments: tuple[Any, ...], at_least: int) -> Any:
        found, simulation = await super().read(method, arguments, at_least), self.world.simulation
        before = simulation.shown.get(self.name, 0)
        if self.applied < before:
            simulation.vanished.append(f"{self.name} showed {before} operations, then {self.applied}")
        simulation.shown[self.name] = self.applied
        return found


class Simulation:
    """Time, and what happens at which of its moments."""

    def __init__(self, seed: int) -> None:
        self.random, self.time, self._number = random.Random(seed), 0.0, itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.faults = True
        self.nodes: dict[str, Replica] = {}
        self.lives: dict[str, int] = {}  # how often a node has died
        self.cut: set[frozenset[str]] = set()
        self.shards: dict[str, str] = {}  # of which shard a node is a replica, if not of the first
        self.shown: dict[str, int] = {}  # how many operations the last read of each node saw
        self.vanished: list[str] = []

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._number), do))

    def run(self, until: Callable[[], bool], most: int = 200_000) -> None:
        for _ in range(most):
            if until() or not self._events:
                return
            self.time, _, do = heapq.heappop(self._events)
            do()
        raise AssertionError("the history does not come to an end")

    def begin(self, node: str, coroutine: Coroutine[Any, Any, Any], pending: Pending) -> Pending:
        """Run a coroutine of a node, as long as this life of the node lasts."""
        life = self.lives.get(node, 0)

        def step() -> None:
            if self.lives.get(node, 0) != life:
                return
            try:
                waits = coroutine.send(None)
            except StopIteration as end:
                pending.succeed(end.value)
            except Crash:
                self.crash(node)
                return
            except Exception as error:
                pending.fail(error)
            else:
                wait(waits)
                return
            for told in list(getattr(pending, "told", ())):
                told()

        def wait(waits: Waits) -> None:
            state = {"over": False}

            def look(time_is_over: bool = False) -> None:
                if not state["over"] and (time_is_over or waits.enough() or all(p.done for p in waits.pending)):
                    state["over"] = True
                    self.at(self.time, step)

            for each in waits.pending:
                each.__dict__.setdefault("told", []).append(look)
            self.at(waits.until, lambda: look(True))
            if waits.pending:
                look()

        step()
        return pending

    def crash(self, node: str) -> None:
        """Kill a node; it begins again after a while."""
        if self.nodes.pop(node, None) is not None:
            self._die(node)

    def _die(self, node: str) -> None:
        self.lives[node] = self.lives.get(node, 0) + 1
        self.disks[node].crash(self.random)
        self.at(self.time + self.random.uniform(0.01, 2.0), lambda: self.start(node))

    def start(self, node: str) -> None:
        journal = SimulatedJournal(self.disks.setdefault(node, Disk()), self)
        world, shard = SimulatedWorld(self, node), self.shards.get(node, SHARD)
        try:
            replica = WatchedReplica(node, shard, world, journal, self.manifests, snapshot_after=self.snapshot_after)
        except Crash:  # while it put down what its shard begins from
            self._die(node)
            return
        self.nodes[node] = replica
        self.begin(node, replica.start(), Pending())

    def cut_some_off(self, every: list[str]) -> None:
        """For some seconds, from one to three of these reach none of the others."""
        alone = set(self.random.sample(every, self.random.randint(1, 3)))
        cut = {frozenset((one, other)) for one in alone for other in every if other not in alone}
        self.cut |= cut
        self.at(self.time + self.random.uniform(0.3, 3.0), lambda: self.cut.difference_update(cut))

    def play(self, users: list[Pending], misfortune: Callable[[], None]) -> None:
        """Let users do what they do, with up to five misfortunes meanwhile."""
        for _ in range(self.random.randint(0, 5)):
            self.at(self.random.uniform(0, 5.0), misfortune)
        self.run_to_the_end_of(users)

    def run_to_the_end_of(self, users: list[Pending]) -> None:
        self.run(lambda: all(user.done for user in users))
        for user in users:
            user.result()
        assert not self.vanished, self.vanished[0]

    def delay(self) -> float:
        slow = self.faults and self.random.random() < 0.1
        return self.random.uniform(0.1, 1.5) if slow else self.random.uniform(0.001, 0.01)

    def arrives(self, one: str, other: str) -> bool:
        if frozenset((one, other)) in self.cut:
            return False
        return not self.faults or self.random.random() > 0.05


class SimulatedWorld:
    """The world of one node or client."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation, self.name = simulation, name

    def now(self) -> float:
        return self.simulation.time

    async def sleep(self, seconds: float) -> None:
        await Waits([], lambda: False, self.now() + seconds)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Pending:
        return self.simulation.begin(self.name, coroutine, Pending())

    def call(self, node: str, method: str, *arguments: Any) -> Pending:
        simulation, answer, life = self.simulation, Pending(), self.simulation.lives.get(self.name, 0)

        def back(done: Pending) -> None:
            if simulation.arrives(node, self.name):
                simulation.at(simulation.time + simulation.delay(), lambda: deliver(done))

        def deliver(done: Pending) -> None:
            if simulation.lives.get(self.name, 0) != life or answer.done:
                return
            answer.done, answer.value, answer.error = True, done.value, done.error
            for told in list(getattr(answer, "told", ())):
                told()

        def there() -> None:
            replica, done = simulation.nodes.get(node), Pending()
            if replica is None:
                done.fail(UnreachableError(f"{node} is down"))
                back(done)
                return
            done.told = [lambda: back(done)]  # type: ignore[attr-defined]
            simulation.begin(node, getattr(replica, method)(*arguments), done)

        doubled = simulation.faults and simulation.random.random() < 0.05
        for _ in range(2 if doubled else 1):
            if simulation.arrives(self.name, node):
                simulation.at(simulation.time + simulation.delay(), there)
        return answer

    async def wait(self, pending: Iterable[Pending], enough: Callable[[], bool], seconds: float) -> bool:
        waited = list(pending)
        if not enough() and not all(each.done for each in waited):
            await Waits(waited, enough, self.now() + max(seconds, 0.0))
        return enough()

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


# ---- a history


def change_of(kind: str, ids: list[int], value: float, op_id: str) -> Change:
    numbers = np.array(ids, np.int64)
    rows = np.full((len(ids), 1), value, np.float32) if kind == "add" else None
    options = {"on_duplicate": "replace"} if kind == "add" else {"missing": "ignore"}
    digest = request_digest(kind, numbers, rows, {}, options).hex()
    return Change(kind, numbers, rows, {}, options, op_id, digest)


async def _user(simulation: Simulation, name: str, n: int) -> None:
    chance, client = random.Random(f"{name} {simulation.random.random()}"), Client(
        SimulatedWorld(simulation, name), simulation.manifests)  # fmt: skip
    entry = client.manifest().shards[0]
    for i in range(n):
        await client.world.sleep(chance.uniform(0, 0.3))
        if chance.random() < 0.6:
            kind = "add" if chance.random() < 0.7 else "remove"
            change = change_of(kind, chance.sample(range(6), chance.randint(1, 3)), chance.random(), f"{name} {i}")
            simulation.asked[change.op_id] = change
            for _ in range(chance.randint(1, 3)):
                try:
                    await client.write(SHARD, change, "one", 2.0)
                    simulation.acknowledged[change.op_id] = client.token[SHARD]
                    break
                except UnacknowledgedError:
                    continue
        else:
            at_least = client.token.get(SHARD, 0)
            try:
                found = await client.read(entry, "content_of", (), at_least, 2.0)
                simulation.reads.append((at_least, found))
            except MissingShardError:
                continue


def content_of(index: Any) -> dict[int, float]:
    return dict(zip(index.ids.tolist(), index.vectors()[:, 0].tolist())) if len(index) else {}


def history(seed: int, n_actions: int = 8) -> Simulation:
    """Play a seed; an AssertionError says what is wrong."""
    from annlab.sharded import reading

    reading.READS["content_of"] = content_of
    simulation = Simulation(seed)
    chance = simulation.random
    n, ack = chance.choice([(2, "majority"), (3, "majority"), (3, "majority"), (3, "all"), (2, "one"), (3, "one")])
    names = tuple(f"n{i}" for i in range(n))
    simulation.asked, simulation.acknowledged, simulation.reads, simulation.appended = {}, {}, [], {}
    simulation.snapshot_after = chance.choice([3, 8, 1000])
    simulation.manifests = Manifests(MemoryStore())
    simulation.manifests.publish(Manifest(1, KIND, PARAMETERS, ack, (Entry(SHARD, names, names[0], 1),)))
    simulation.disks = {name: Disk() for name in names}
    for name in names:
        simulation.start(name)
    users = [simulation.begin(f"u{i}", _user(simulation, f"u{i}", n_actions), Pending()) for i in range(2)]
    for _ in range(chance.randint(0, 6)):
        _misfortune(simulation, names, chance.uniform(0, 4.0))
    simulation.run_to_the_end_of(users)
    _rest(simulation, names)
    _judge(simulation, names)
    return simulation


def _misfortune(simulation: Simulation, names: tuple[str, ...], time: float) -> None:
    chance = simulation.random
    if chance.random() < 0.5:
        victim = chance.choice(names)
        simulation.at(time, lambda: simulation.crash(victim) if simulation.faults else None)
        return
    if chance.random() < 0.5:
        cut = {frozenset(pair) for pair in itertools.combinations([*names, "u0", "u1"], 2) if chance.random() < 0.4}
    else:  # one node and one client see each other and nobody else
        alone = {chance.choice(names), chance.choice(["u0", "u1"])}
        every = {*names, "u0", "u1"}
        cut = {frozenset((one, other)) for one in alone for other in every - alone}

    def part() -> None:
        simulation.cut |= cut

    def heal() -> None:
        simulation.cut -= cut

    simulation.at(time, part)
    simulation.at(time + chance.uniform(0.5, 4.0), heal)


def _rest(simulation: Simulation, names: tuple[str, ...]) -> None:
    """Nothing goes wrong any more: one more write, and all replicas come up to it."""
    simulation.faults, simulation.cut = False, set()
    world = SimulatedWorld(simulation, "end")
    client = Client(world, simulation.manifests)

    async def last() -> None:
        await world.sleep(5.0)  # all nodes are back
        change = change_of("add", [0], 2.0, "last")
        simulation.asked["last"] = change
        await client.write(SHARD, change, "all", 60.0)
        simulation.acknowledged["last"] = client.token[SHARD]
        await world.sleep(3.0)

    end = simulation.begin("end", last(), Pending())
    simulation.run(lambda: end.done)
    if end.error is not None:
        raise AssertionError(f"no write is possible at rest: {end.error}") from end.error


def equal_replicas(simulation: Simulation, names: Iterable[str]) -> list[Replica]:
    """The replicas of a shard at rest."""
    replicas = [simulation.nodes[name] for name in names]
    proofs = {(r.applied, r.journal.chain_at(r.applied), r.visible.content_hash()) for r in replicas}
    assert len(proofs) == 1, f"replicas differ at rest: {[(r.name, r.applied) for r in replicas]}"
    return replicas


def log_of(simulation: Simulation, chain: bytes, first: bytes, after: int = 0) -> list[Operation]:
    """All operations up to a chain, since the shard began with another chain and a seq."""
    log: list[Operation] = []
    while chain != first:
        assert chain in simulation.appended, "the log leads nowhere"
        operation, chain = simulation.appended[chain]
        log.insert(0, operation)
    assert [each.seq for each in log] == list(range(after + 1, after + len(log) + 1)), (
        "places of the log are not in order"
    )
    return log


def states_of(log: Iterable[Operation], state: dict[int, float]) -> list[dict[int, float]]:
    """What a dictionary says that a log leads to, step by step."""
    states = [state]
    for operation in log:
        state = dict(state)
        if operation.kind == "add":
            state.update(zip(operation.ids.tolist(), operation.rows[:, 0].tolist()))
        elif operation.kind == "remove":
            for id in operation.ids.tolist():
                state.pop(id, None)
        states.append(state)
    return states


def _judge(simulation: Simulation, names: tuple[str, ...]) -> None:
    replicas = equal_replicas(simulation, names)
    log = log_of(simulation, replicas[0].journal.chain_at(replicas[0].applied), FIRST)
    states = states_of(log, {})
    done = [operation.op_id for operation in log if operation.op_id is not None]
    for op_id in simulation.asked:
        times = done.count(op_id)
        assert times <= 1, f"write {op_id!r} was done {times} times"
        if op_id in simulation.acknowledged:
            assert times == 1, f"the acknowledged write {op_id!r} is lost"
            place = simulation.acknowledged[op_id]
            assert log[place - 1].op_id == op_id or place >= done.index(op_id), f"the token of {op_id!r} is wrong"
    assert content_of(replicas[0].visible) == states[-1], "the state is not what the log leads to"
    for at_least, found in simulation.reads:
        assert found in states[at_least:], f"a read found what never was after its token {at_least}"
