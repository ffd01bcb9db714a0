"""Histories in which a shard is divided in two while two clients write and read, and everything goes wrong that may go
wrong in `simulation.py`; whoever divides it may die as well, and begin again.

`history(seed)` judges in the end:

    what is acknowledged is once in the log of the old shard, or in those of its parts, with the result that it had
    no log holds anything after its seal, and parts begin with all that the old one held, in its order
    every read is a state of one manifest, after a beginning of the logs that is no shorter than its token
"""

import random

from annlab.sharded.client import Client
from annlab.sharded.errors import LogCutError, MissingShardError, MovedError, UnacknowledgedError
from annlab.sharded.journal import SEAL, SEALED
from annlab.sharded.manifest import Entry, Manifest
from annlab.sharded.moving import Move
from annlab.sharded.origins import get_origin
from annlab.sharded.placement import ByHash
from tests.sharded.disk import FIRST, KIND, PARAMETERS
from tests.sharded.simulation import SHARD, SimulatedWorld, change_of, content_of, equal_replicas, log_of, states_of
from tests.sharded.worked_simulation import WorkedSimulation

IDS = range(6)
HOMES = dict(zip(IDS, ByHash(2).of(list(IDS)).tolist()))


class MovingSimulation(WorkedSimulation):
    """The worker divides the shard."""

    worker = "mover"
    keeps = 60.0

    def __init__(self, seed):
        super().__init__(seed)
        self.given_up = 0

    def start(self, node):
        super().start(node)
        if node in self.nodes:
            self.nodes[node].keeps_the_log = self.keeps

    def work(self):
        return _mover(self)

    def user(self, name, n_actions):
        return _user(self, name, n_actions)

    async def write_last(self, client):
        change = change_of("add", list(IDS), 2.0, "last")
        self.asked["last"] = change
        self.acknowledged["last"] = await client.write_all(_by_shard(change), "all", 60.0)


async def _mover(simulation):
    world = SimulatedWorld(simulation, "mover")
    client = Client(world, simulation.manifests, hedge_after=0.5)
    while True:
        move = Move(client, 2, 4.0)
        try:
            manifest = await move.begin()
            if not manifest.moving:
                break
            simulation.start_all(manifest.moving)
            await move.follow()
            await move.finish()
        except LogCutError:
            move.give_up()
            simulation.given_up += 1
        except (MissingShardError, UnacknowledgedError, MovedError):
            await world.sleep(0.05)
    simulation.at_work = False


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
    simulation = MovingSimulation(seed)
    simulation.keeps = simulation.random.choice([0.0, 1.0, 60.0])
    names = tuple(f"n{i}" for i in range(simulation.n_replicas))
    entry = Entry(SHARD, names, names[0], 1)
    simulation.manifests.publish(Manifest(1, KIND, PARAMETERS, simulation.ack, (entry,)))
    simulation.start_all([entry])
    simulation.play_out(n_actions)
    _judge(simulation)
    return simulation


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
