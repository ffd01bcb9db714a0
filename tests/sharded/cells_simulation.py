"""Histories of an index whose rows are placed by cells: two shards, and a registry of where each id lives, while two
clients write, read and search by the cells that matter, and everything goes wrong that may go wrong in `simulation.py`.
In half of them somebody gives the index other content meanwhile, and may die over it.

`history(seed)` judges in the end:

    an id has one home, once and for all, and no other shard ever holds it
    what is acknowledged is once in the logs of all shards that it concerns, all of one content
    every read is of shards of one content, after a beginning of their logs that is no shorter than its token, and every
    search has found what is nearest in such states
"""

import random

import numpy as np

from annlab import ExactIndex
from annlab.sharded import registry
from annlab.sharded.cells import Cells
from annlab.sharded.client import Client
from annlab.sharded.errors import MissingShardError, MovedError, UnacknowledgedError
from annlab.sharded.journal import SEALED, opened
from annlab.sharded.manifest import Entry, Manifest
from annlab.sharded.origins import get_origin
from annlab.sharded.reading import Query
from annlab.sharded.renewing import Renewal
from annlab.sharded.routing import Routes
from tests.sharded.disk import FIRST, KIND, PARAMETERS
from tests.sharded.simulation import SimulatedWorld, change_of, content_of, equal_replicas, log_of, states_of
from tests.sharded.worked_simulation import WorkedSimulation

IDS = range(6)
CELLS = Cells("l2", np.array([[0.1], [0.4], [0.6], [0.9]]), np.array([0, 0, 1, 1]))
NEW = {0: 0.2, 1: 0.8}
"""The content that is given to the index meanwhile."""


class CellsSimulation(WorkedSimulation):
    """The worker gives the index other content."""

    worker = "renewer"
    share_with_work = 0.5

    def __init__(self, seed):
        super().__init__(seed)
        self.searches, self.passed_over = [], 0

    def work(self):
        return _renewer(self)

    def user(self, name, n_actions):
        return _user(self, name, n_actions)

    async def write_last(self, client):
        for id, value in ((100, 0.2), (101, 0.8)):  # which nobody has claimed: one for each shard
            change = change_of("add", [id], value, f"last {id}")
            await client.write_all(_by_cells(client, change), "all", 60.0)
            self.acknowledged[change.op_id] = change


async def _renewer(simulation):
    world = SimulatedWorld(simulation, "renewer")
    client, renewal = Client(world, simulation.manifests, hedge_after=0.5), None
    contents = [ExactIndex(dim=1).fit(np.array([[value]], np.float32), [id]).to_bytes() for id, value in NEW.items()]
    where = registry.content(np.array(list(NEW)), np.array([0, 1]))
    while True:
        renewal = Renewal(client, 4.0)
        try:
            renewal.begin(contents, where, CELLS.put(simulation.manifests.store))
            simulation.start_all(client.manifest().moving)
            await renewal.finish()
            break
        except (UnacknowledgedError, MovedError):
            await world.sleep(0.05)
    simulation.at_work = False


def _by_cells(client, change):
    async def changes(manifest):
        rows = change.rows
        wanted = (change.ids % 2) if rows is None else CELLS.of(rows)
        homes, own = await registry.homes(client, manifest, change.ids, wanted, 2.0), {}
        for shard, place in manifest.divided(homes).items():
            if len(place):
                own[shard] = change._replace(ids=change.ids[place], rows=None if rows is None else rows[place])
        return own

    return changes


async def _user(simulation, name, n):
    chance = random.Random(f"{name} {simulation.seed}")
    client = Client(SimulatedWorld(simulation, name), simulation.manifests)
    routes = Routes(client)
    for i in range(n):
        await client.world.sleep(chance.uniform(0, 0.4))
        way, token = chance.random(), dict(client.token)
        try:
            if way < 0.6:
                kind = "add" if chance.random() < 0.7 else "remove"
                change = change_of(kind, chance.sample(IDS, chance.randint(1, 3)), chance.random(), f"{name} {i}")
                simulation.asked[change.op_id] = change
                for _ in range(chance.randint(1, 4)):
                    try:
                        await client.write_all(_by_cells(client, change), "one", 2.0)
                        simulation.acknowledged[change.op_id] = change
                        if chance.random() < 0.8:
                            break  # otherwise a retry of what is done already
                    except UnacknowledgedError:
                        continue
            elif way < 0.8:
                found, missing = await client.read_all("content_of", (), 2.0)
                if not missing:
                    simulation.reads.append((token, found))
            else:
                query = Query(np.array([[chance.random()]], np.float32), (None, None, None), 1, {}, {})
                found, missing = await routes.search(query, 1, None, 2.0, None)
                if not missing:
                    simulation.searches.append((token, float(query.vectors[0, 0]), found))
        except MissingShardError:
            continue
    simulation.passed_over += routes.asked.of - routes.asked.shards


def history(seed, n_actions=10):
    """Play a seed; an AssertionError says what is wrong."""
    simulation, shards = CellsSimulation(seed), ("0", "1", "ids")
    entries = [Entry(s, tuple(f"{s}-{j}" for j in range(simulation.n_replicas)), f"{s}-0", 1) for s in shards]
    key = CELLS.put(simulation.manifests.store)
    simulation.manifests.publish(Manifest(1, KIND, PARAMETERS, simulation.ack, tuple(entries[:2]), placement="cells",
                                          cells=key, registry=tuple(entries[2:])))  # fmt: skip
    simulation.start_all(entries)
    simulation.play_out(n_actions)
    _judge(simulation)
    return simulation


def _generations(simulation):
    """For each content that the index ever had: its shards and registry."""
    store, found = simulation.manifests.store, []
    for key in store.list("manifest-"):
        serving = Manifest.from_bytes(store.get(key), key).serving
        if not found or [e.name for e in found[-1]] != [e.name for e in serving]:
            found.append(serving)
    return found


def _log(simulation, entry):
    """All operations of a shard, what it began from, and with how many operations."""
    first, before, content = FIRST, 0, {}
    if entry.origin:
        origin = get_origin(simulation.manifests.store, entry.origin)
        first, before, content = origin.chain, origin.seq, content_of(opened(origin.content))
    journals = [simulation.nodes[name].journal for name in entry.replicas]
    best = max(journals, key=lambda journal: (journal.term, journal.seq))
    log = log_of(simulation, best.chain_at(best.seq), first, before)
    end = next((i for i, operation in enumerate(log) if operation.kind == SEALED), len(log))
    assert all(operation.kind == "term" for operation in log[end + 1 :]), "a log was written after its seal"
    return log, content, before


def _judge(simulation):
    generations = _generations(simulation)
    assert not simulation.manifests.current().moving
    for entry in generations[-1]:
        equal_replicas(simulation, entry.replicas)
    states, first, done = {}, {}, []
    for serving in generations:
        logs = [_log(simulation, entry) for entry in serving]
        homes = {id: int(home) for id, home in logs[-1][1].items()}
        for claim in (operation for operation in logs[-1][0] if operation.kind == "add"):
            for id, home in zip(claim.ids.tolist(), claim.rows[:, 0].tolist()):
                assert id not in homes, f"id {id} got two homes"
                homes[id] = int(home)
        names = []
        for number, (entry, (log, content, before)) in enumerate(zip(serving[:-1], logs)):
            states[entry.name], first[entry.name] = states_of(log, content), before
            written = [operation for operation in log if operation.kind in ("add", "remove")]
            for operation in written:
                assert all(homes[id] == number for id in operation.ids.tolist()), "a row is not where it lives"
            names.append([operation.op_id for operation in written])
            assert len(names[-1]) == len(set(names[-1])), "a write was done twice"
        done.append((homes, names))
    for number, entry in enumerate(generations[-1][:-1]):
        for name in entry.replicas:
            assert content_of(simulation.nodes[name].visible) == states[entry.name][-1], f"the state of shard {number}"
    for op_id, change in simulation.acknowledged.items():
        assert any(all(id in homes and op_id in names[homes[id]] for id in change.ids.tolist())
                   for homes, names in done), f"the acknowledged write {op_id!r} is lost"  # fmt: skip

    def later(token, name):
        return states[name][max(token.get(name, 0) - first[name], 0) :]

    generation_of = {entry.name: {e.name for e in serving[:-1]} for serving in generations for entry in serving[:-1]}
    for token, found in simulation.reads:
        assert set(found) == generation_of[next(iter(found))], "a read of shards that are not of one content"
        for name, content in found.items():
            assert content in later(token, name), f"a read of {name} is older than {token}"
        assert sum(map(len, found.values())) == len(set().union(*found.values())), "a row was read twice"
    for token, query, found in simulation.searches:
        _judge_search(token, query, found, generation_of, later)


def _judge_search(token, query, found, generation_of, later):
    """What was found is the nearest in states that are not older than the token."""
    answers = [(part.distances[0, 0], name.partition(" ")[0], int(part.ids[0, 0])) for name, part in found.items()
               if part.ids.size and part.ids[0, 0] >= 0]  # fmt: skip
    if not found:
        return  # nothing was there, or all lay in shards that were known to be empty
    best, where, id = min(answers, default=(np.inf, None, None))
    for name in generation_of[next(iter(found)).partition(" ")[0]]:
        fits = [all(abs(value - query) >= best - 1e-6 for value in state.values())
                and (name != where or abs(abs(state.get(id, np.inf) - query) - best) < 1e-6)
                for state in later(token, name)]  # fmt: skip
        assert any(fits), f"a search passed over what is nearer in {name}"
