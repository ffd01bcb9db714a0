"""What takes how long, in the time of the simulation: another replica helps a slow one, and patience has an end."""

import numpy as np
import pytest

from annlab.sharded import MissingShardError
from annlab.sharded.client import Client
from annlab.sharded.manifest import Entry, Manifest, Manifests
from annlab.sharded.store import MemoryStore
from annlab.sharded.world import Pending
from tests.sharded.disk import KIND, PARAMETERS, Disk
from tests.sharded.simulation import SHARD, SimulatedWorld, Simulation


class Slow(Simulation):
    """Nothing is lost; a message takes a millisecond, to or from a slow node ten times as long or more."""

    def __init__(self, slow=(), factor=10.0):
        super().__init__(0)
        self.faults, self.slow, self.factor = False, set(slow), factor
        self.asked, self.appended, self.snapshot_after = {}, {}, 1000
        self.manifests, names = Manifests(MemoryStore()), ("n0", "n1")
        self.manifests.publish(Manifest(1, KIND, PARAMETERS, "one", (Entry(SHARD, names, "n0", 1),)))
        self.disks = {name: Disk() for name in names}
        for name in names:
            self.start(name)

    def delay(self):
        return 0.001

    def start(self, node):
        super().start(node)
        replica = self.nodes[node]
        read = replica.read

        async def later(*arguments):
            time = self.random.uniform(0.01, 0.05)
            await replica.world.sleep(time * (self.factor if node in self.slow else 1.0))
            return await read(*arguments)

        replica.read = later

    def reads(self, n, seconds=10.0, **how):
        """How long n reads take."""
        client, took = Client(SimulatedWorld(self, "user"), self.manifests, **how), []

        async def user():
            for _ in range(n):  # of which half begin at either replica
                began = self.time
                try:
                    await client.read(client.manifest().shards[0], "ids", (), 0, seconds)
                finally:
                    took.append(self.time - began)

        done = self.begin("user", user(), Pending())
        self.run(lambda: done.done)
        done.result()
        return np.array(took)


@pytest.mark.parametrize("slow", ["n0", "n1"])
def test_a_replica_that_is_ten_times_slower_does_not_show_in_the_slowest_reads(slow):
    usual = np.quantile(Slow().reads(400), 0.99)
    assert np.quantile(Slow([slow]).reads(400), 0.99) <= 2.1 * usual
    assert np.quantile(Slow([slow]).reads(400, hedge_after=10.0), 0.99) > 4 * usual, "only because the other is asked"


@pytest.mark.parametrize("seconds", [0.3, 1.0, 5.0])
def test_a_shard_is_given_up_when_the_time_is_over(seconds):
    for world in (Slow(["n0", "n1"], 10_000.0), Slow()):
        if not world.slow:  # messages vanish
            world.cut = {frozenset(("user", "n0")), frozenset(("user", "n1"))}
        began = world.time
        with pytest.raises(MissingShardError, match=f"shard 0 .*within {seconds:g} s"):
            world.reads(1, seconds)
        assert 0.9 * seconds <= world.time - began <= 1.1 * seconds


def test_who_is_slow_is_not_asked_again_and_again_and_may_answer_late():
    world, begun = Slow(), []
    for replica in world.nodes.values():

        async def later(*arguments, replica=replica, read=replica.read):
            begun.append(world.time)
            await replica.world.sleep(6.0)
            return await read(*arguments)

        replica.read = later
    took = world.reads(1, 60.0)
    assert 6.0 <= took[0] <= 6.5 and len(begun) <= 6, begun
