"""What histories have in common in which somebody is at work on the shards while two clients write and read: whoever
does so may die over it, as nodes may, and begins again.
"""

from collections.abc import Coroutine
from typing import Any

from annlab.sharded import reading
from annlab.sharded.client import Client
from annlab.sharded.manifest import Manifests
from annlab.sharded.store import MemoryStore
from annlab.sharded.world import Pending
from tests.sharded.simulation import SimulatedWorld, Simulation, content_of

Coroutines = Coroutine[Any, Any, None]


class WorkedSimulation(Simulation):
    """Beside the nodes there is a worker."""

    worker = "worker"
    share_with_work = 1.0  # of the histories

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        reading.READS["content_of"] = content_of
        self.asked, self.acknowledged, self.reads, self.appended, self.disks = {}, {}, [], {}, {}
        self.seed, self.at_work, self.manifests = seed, False, Manifests(MemoryStore())
        ways = [(1, "all"), (2, "majority"), (3, "majority"), (2, "one"), (3, "all")]
        self.n_replicas, self.ack = self.random.choice(ways)
        self.snapshot_after = self.random.choice([3, 8, 1000])

    def work(self) -> Coroutines:
        """What the worker does; sets `at_work` to False when it is done."""
        raise NotImplementedError

    def user(self, name: str, n_actions: int) -> Coroutines:
        """What a client does."""
        raise NotImplementedError

    def write_last(self, client: Client) -> Coroutines:
        """Writes to all shards, after which all replicas of each have to be equal."""
        raise NotImplementedError

    def start_all(self, entries: Any) -> None:
        """Start the nodes of these shards that do not run yet."""
        for entry in entries:
            for name in entry.replicas:
                if name not in self.shards:
                    self.shards[name] = entry.name
                    self.start(name)

    def play_out(self, n_actions: int) -> None:
        """All that happens, until nothing goes wrong any more and all is at rest."""
        users = [self.begin(name, self.user(name, n_actions), Pending()) for name in ("u0", "u1")]
        if self.random.random() < self.share_with_work:
            self.at_work = True
            self.at(self.random.uniform(0, 2.5), self._begin_to_work)
        self.play(users, self._misfortune)
        self.faults, self.cut = False, set()
        self.run(lambda: not self.at_work)
        end = self.begin("end", self._rest(), Pending())
        self.run(lambda: end.done)
        end.result()

    async def _rest(self) -> None:
        world = SimulatedWorld(self, "end")
        await world.sleep(5.0)  # all nodes are back
        await self.write_last(Client(world, self.manifests))
        await world.sleep(3.0)

    def _begin_to_work(self) -> None:
        self.begin(self.worker, self.work(), Pending())

    def _misfortune(self) -> None:
        if not self.faults:
            return
        way = self.random.random()
        if way < 0.4:
            self.crash(self.random.choice(sorted(self.disks)))
        elif way >= 0.6:
            self.cut_some_off([*sorted(self.disks), "u0", "u1", self.worker])
        elif self.at_work:
            self.lives[self.worker] = self.lives.get(self.worker, 0) + 1
            self.at(self.time + self.random.uniform(0.01, 1.0), self._begin_to_work)
