"""Histories in which a shard is divided in two while two clients write and read, and everything goes wrong that may go
wrong in `simulation.py`; whoever divides it may die as well, and begin again.

`history(seed)` judges in the end:

    what is acknowledged is once in the log of the old shard, or in those of its parts, with the result that it had
    no log holds anything after its seal, and parts begin with all that the old one held, in its order
    every read is a state of one manifest, after a beginning of the logs that is no shorter than its token
"""

import random

from annlab.sharded import reading
from annlab.sharded.client import Client
from annlab.sharded.errors import LogCutError, MissingShardError, MovedError, UnacknowledgedError
from annlab.sharded.journal import SEAL, SEALED
from annlab.sharded.manifest import Entry, Manifest, Manifests
from annlab.sharded.moving import Move
from annlab.sharded.origins import get_origin
from annlab.sharded.placement import ByHash
from annlab.sharded.store import MemoryStore
from annlab.sharded.world import Pending
from tests.sharded.simulation import (
    FIRST,
    KIND,
    PARAMETERS,
    SHARD,
    SimulatedWorld,
    Simulation,
    change_of,
    content_of,
    equal_replicas,
    log_of,
    states_of,
)

IDS = range(6)
HOMES = dict(zip(IDS, ByHash(2).of(list(IDS)).tolist()))


class MovingSimulation(Simulation):
    """Beside the nodes there is one who divides the shard."""

    keeps = 60.0

    def __init__(self, seed):
        super().__init__(seed)
        self.asked, self.acknowledged, self.reads, self.appended, self.disks = {}, {}, [], {}, {}
        self.given_up, self.moved, self.seed = 0, False, seed

    def start(self, node):
        super().start(node)
        if node in self.nodes:
            self.nodes[node].keeps_the_log = self.keeps

    def begin_to_move(self):
        self.begin("mover", _mover(self), Pending())

    def kill_the_mover(self):
        if self.faults:
            self.lives["mover"] = self.lives.get("mover", 0) + 1
            self.at(self.time + self.random.uniform(0.01, 1.0), self.begin_to_move)


async def _mover(simulation):
    world = SimulatedWorld(simulation, "mover")
    client = Client(world, simulation.manifests, hedge_after=0.5)
    while True:
        move = Move(client, 2, 4.0)
        try:
            manifest = await move.begin()
            if not manifest.moving:
                break
            for entry in manifest.moving:
                for name in entry.replicas:
                    if name not in simulation.shards:
                        simulation.shards[name] = entry.name
                        simulation.start(name)
            await move.follow()
            await move.finish()
        except LogCutError:
            move.give_up()
            simulation.given_up += 1
        except (MissingShardError, UnacknowledgedError, MovedError):
            await world.sleep(0.05)
    simulation.moved = True


def _by_shard(change):
    def changes(manifest):
        own = {}
        for shard, place in manifest.split(change.ids).items():
            if len(place):
                rows = None if change.rows is None else change.rows[place]
                own[shard] = change._replace(ids=change.ids[place], rows=rows)
        return own

    return changes


async def _user(simulation, name, n):
    chance = random.Random(f"{name} {simulation.seed}")
    client = Client(SimulatedWorld(simulation, name), simulation.manifests)
    for i in range(n):
        await client.world.sleep(chance.uniform(0, 0.4))
        if chance.random() < 0.6:
            kind = "add" if chance.random() < 0.6 else "remove"
            change = change_of(kind, chance.sample(IDS, chance.randint(1, 3)), chance.random(), f"{name} {i}")
            simulation.asked[change.op_id] = change
            for _ in range(chance.randint(1, 4)):
                try:
                    simulation.acknowledged[change.op_id] = await client.write_all(_by_shard(change), "one", 2.0)
                    if chance.random() < 0.8:
                        break  # otherwise a retry of what is done already
                except UnacknowledgedError:
                    continue
        else:
            token = dict(client.token)
            found, missing = await client.read_all("content_of", (), 2.0)
            if not missing:
                simulation.reads.append((token, found))


def history(seed, n_actions=10):
    """Play a seed; an AssertionError says what is wrong."""
    reading.READS["content_of"] = content_of
    simulation = MovingSimulation(seed)
    chance = simulation.random
    n, ack = chance.choice([(1, "all"), (2, "majority"), (3, "majority"), (2, "one"), (3, "all")])
    names = tuple(f"n{i}" for i in range(n))
    simulation.snapshot_after, simulation.keeps = chance.choice([3, 8, 1000]), chance.choice([0.0, 1.0, 60.0])
    simulation.manifests = Manifests(MemoryStore())
    simulation.manifests.publish(Manifest(1, KIND, PARAMETERS, ack, (Entry(SHARD, names, names[0], 1),)))
    for name in names:
        simulation.start(name)
    users = [simulation.begin(f"u{i}", _user(simulation, f"u{i}", n_actions), Pending()) for i in range(2)]
    simulation.at(chance.uniform(0, 2.5), simulation.begin_to_move)
    simulation.play(users, lambda: _misfortune(simulation))
    _rest(simulation)
    _judge(simulation)
    return simulation


def _misfortune(simulation):
    chance = simulation.random
    if not simulation.faults:
        return
    way = chance.random()
    if way < 0.4:
        simulation.crash(chance.choice(sorted(simulation.disks)))
    elif way < 0.6:
        simulation.kill_the_mover()
    else:
        simulation.cut_some_off([*sorted(simulation.disks), "u0", "u1", "mover"])


def _rest(simulation):
    simulation.faults, simulation.cut = False, set()
    simulation.run(lambda: simulation.moved)
    world = SimulatedWorld(simulation, "end")
    client = Client(world, simulation.manifests)

    async def last():
        await world.sleep(5.0)
        change = change_of("add", list(IDS), 2.0, "last")
        simulation.asked["last"] = change
        simulation.acknowledged["last"] = await client.write_all(_by_shard(change), "all", 60.0)
        await world.sleep(3.0)

    end = simulation.begin("end", last(), Pending())
    simulation.run(lambda: end.done)
    end.result()


def _judge(simulation):
    manifest = simulation.manifests.current()
    assert len(manifest.shards) == 2 and not manifest.moving
    sealed = [r.journal for r in simulation.nodes.values() if r.shard == SHARD and r.journal.answered(SEAL)]
    old = max(sealed, key=lambda journal: (journal.term, journal.seq))
    log = log_of(simulation, old.chain_at(old.seq), FIRST)
    end = next(i for i, operation in enumerate(log) if operation.kind == SEALED)
    assert all(operation.kind == "term" for operation in log[end + 1 :]), "a log was written after its seal"
    states, logs = states_of(log, {}), {}
    in_old = {operation.op_id: operation for operation in log if operation.kind in ("add", "remove")}
    assert len(in_old) == sum(operation.kind in ("add", "remove") for operation in log), "done twice before the move"
    for number, entry in enumerate(manifest.shards):
        own = {id for id in IDS if HOMES[id] == number}
        origin = get_origin(simulation.manifests.store, entry.origin)
        replicas = equal_replicas(simulation, entry.replicas)
        after = log_of(simulation, replicas[0].journal.chain_at(replicas[0].applied), origin.chain, origin.seq)
        written = [each for each in after if each.kind in ("add", "remove")]
        expected = [each.op_id for each in log[origin.seq :] if each.op_id in in_old and own & set(each.ids.tolist())]
        assert [each.op_id for each in written][: len(expected)] == expected, "not all was passed on, in its order"
        assert len({each.op_id for each in written} | in_old.keys()) == len(in_old) + len(written) - len(expected), (
            "a part did again what was done")  # fmt: skip
        before = [{id: value for id, value in state.items() if id in own} for state in states[: origin.seq + 1]]
        logs[entry.name] = own, after, before[:-1] + states_of(after, before[-1])
        assert content_of(replicas[0].visible) == logs[entry.name][2][-1], "the state is not what the log leads to"
    for op_id, result in simulation.acknowledged.items():
        assert result == _result_of(op_id, simulation.asked[op_id], log, states, logs), f"the result of {op_id!r}"
    for token, found in simulation.reads:
        if set(found) == {SHARD}:
            assert found[SHARD] in states[token.get(SHARD, 0) :], f"a read is older than {token}"
            continue
        assert set(found) == set(logs), "a read of shards that are not of one manifest"
        for name, content in found.items():
            own, after, all_states = logs[name]
            passed_on = {each.op_id for each in log[: token.get(SHARD, 0)] if each.op_id is not None}
            least = max([token.get(name, 0), *(each.seq for each in after if each.op_id in passed_on)])
            assert content in all_states[least:], f"a read of {name} is older than {token}"


def _result_of(op_id, change, log, states, logs):
    """How many vectors a write removed; an AssertionError if it is not in the logs."""
    place = next((i for i, each in enumerate(log) if each.op_id == op_id), None)
    if place is not None:
        return len(states[place]) - len(states[place + 1]) if change.kind == "remove" else 0
    result = 0
    for own, after, all_states in logs.values():
        if own & set(change.ids.tolist()):
            place = next((each.seq for each in after if each.op_id == op_id), None)
            assert place is not None, f"the acknowledged write {op_id!r} is lost"
            result += len(all_states[place - 1]) - len(all_states[place])
    return result if change.kind == "remove" else 0
