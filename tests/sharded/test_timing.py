"""What takes how long, in the time of the simulation: another replica helps a slow one, and patience has an end."""

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.sharded import MissingShardError, ShardedIndex
from annlab.sharded.client import Client
from annlab.sharded.manifest import Entry, Manifest, Manifests
from annlab.sharded.pace import Pace, Paces
from annlab.sharded.store import MemoryStore
from annlab.sharded.world import Pending
from tests.sharded.disk import KIND, PARAMETERS, Disk
from tests.sharded.simulation import SHARD, SimulatedWorld, Simulation


class Slow(Simulation):
    """Nothing is lost; a message takes a fiftieth of what a read takes, and a slow node `factor` times as long to
    read. `takes` says how long a read takes by nature, in units of `scale` seconds."""

    def __init__(self, slow=(), factor=10.0, scale=1.0, takes=None):
        super().__init__(0)
        self.faults, self.slow, self.factor, self.scale = False, set(slow), factor, scale
        self.takes = takes or (lambda arguments: self.random.uniform(0.01, 0.05))
        self.asked, self.appended, self.snapshot_after, self.begun = {}, {}, 1000, []
        self.manifests, names = Manifests(MemoryStore()), ("n0", "n1")
        self.manifests.publish(Manifest(1, KIND, PARAMETERS, "one", (Entry(SHARD, names, "n0", 1),)))
        self.disks = {name: Disk() for name in names}
        for name in names:
            self.start(name)

    def delay(self):
        return 0.001 * self.scale

    def start(self, node):
        super().start(node)
        replica = self.nodes[node]
        read = replica.read

        async def later(method, arguments, at_least):
            self.begun.append((node, arguments))
            time = self.scale * self.takes(arguments)
            await replica.world.sleep(time * (self.factor if node in self.slow else 1.0))
            return await read(method, arguments, at_least)

        replica.read = later

    def client(self, **how):
        return Client(SimulatedWorld(self, "user"), self.manifests, **how)

    def reads(self, n, seconds=1000.0, client=None, ask=lambda i: ("ids", ()), **how):
        """How long n reads take."""
        client, took = client or self.client(**how), []

        async def user():
            for i in range(n):
                began = self.time
                try:
                    await client.read(client.manifest().shards[0], *ask(i), 0, seconds)
                finally:
                    took.append(self.time - began)

        done = self.begin("user", user(), Pending())
        self.run(lambda: done.done)
        done.result()
        return np.array(took)


SCALES = pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])  # answers in milliseconds, and in tenths of a second


@SCALES
def test_in_health_one_read_in_twenty_is_asked_twice_however_long_answers_take(scale):
    world = Slow(scale=scale)
    world.reads(1000)
    assert 1020 <= len(world.begun) <= 1070
    first = [node for node, _ in world.begun].count("n0")
    assert 450 <= first <= 600, "and both are asked"


@SCALES
@pytest.mark.parametrize("slow", ["n0", "n1"])
def test_a_replica_that_is_ten_times_slower_does_not_show_in_the_slowest_reads(slow, scale):
    usual, world = np.quantile(Slow(scale=scale).reads(1000), 0.99), Slow([slow], scale=scale)
    assert np.quantile(world.reads(1000), 0.99) <= 2.0 * usual
    assert len(world.begun) <= 1100, "it is known to be slow, and asked second"
    assert [node for node, _ in world.begun[50:]].count(slow) <= 100


@SCALES
def test_reads_that_hang_now_and_then_are_helped_by_another_replica(scale):
    for share in (0.03, 0.07):
        world = Slow(scale=scale)
        world.takes = lambda _, world=world, share=share: (
            3.0 if world.random.random() < share else world.random.uniform(0.01, 0.05))  # fmt: skip
        took = world.reads(1000)
        assert np.quantile(took, 0.99) <= 0.2 * scale, share
    assert np.quantile(world.reads(1000, hedge_after=100.0), 0.99) >= 3.0 * scale, "only because it is asked"


def test_a_replica_that_never_answers_is_asked_second():
    world = Slow(scale=0.1)
    world.cut = {frozenset(("user", "n0"))}
    took = world.reads(300)
    assert (took > 0.01).sum() <= 8 and took.max() < 0.1


@pytest.mark.parametrize("slow", ["n0", "n1"])
def test_a_replica_that_was_slow_is_asked_in_turn_again(slow):
    world = Slow([slow], takes=lambda _: 0.03)
    client = world.client()
    world.reads(300, client=client)
    assert [node for node, _ in world.begun].count(slow) <= 20
    world.slow.clear()
    world.reads(300, client=client)
    world.begun.clear()
    world.reads(100, client=client)
    assert [node for node, _ in world.begun].count(slow) == 50


def test_what_takes_long_by_its_nature_is_not_asked_twice():
    """Large requests among small ones are known for it; for others, there is only so much to spend."""
    world = Slow(takes=lambda arguments: 1e-4 * len(arguments[0]))
    small, large = np.arange(100), np.arange(4000)
    world.reads(1000, ask=lambda i: ("present", (large if i % 30 == 0 else small,)))
    assert sum(len(arguments[0]) == 4000 for _, arguments in world.begun) <= 40, "of which there were 34"

    world = Slow()
    world.takes = lambda _: 0.5 if world.random.random() < 0.4 else 0.01
    world.reads(1000)
    assert len(world.begun) <= 1230


def test_a_second_replica_is_asked_after_so_many_seconds_as_the_user_says():
    for seconds, calls in ((0.0, 600), (0.06, 300)):
        world = Slow()
        world.reads(300, hedge_after=seconds)
        assert len(world.begun) == calls
    with ShardedIndex(ExactIndex(dim=2), hedge_after=0.06) as index:
        assert index._client.paces.patience(Pace(["0-0"])) == 0.06
    with pytest.raises(ValueError, match="hedge_after"):
        ShardedIndex(ExactIndex(dim=2), hedge_after=-1.0)


@pytest.mark.parametrize("n", [1, 100])
def test_patience_is_that_of_the_quick_and_each_shard_takes_turns_of_its_own(n):
    paces = Paces()

    def of(shard):
        return paces.of((f"{shard}-0", f"{shard}-1"), "ids", ())

    for _ in range(n):
        of("0").answered("0-0", 0.01)
        of("0").answered("0-1", 0.5)
    assert 0.01 < paces.patience(of("0")) < 0.02
    first = [of(shard).order()[0] for _ in range(4) for shard in ("1", "2")]
    assert sorted(first) == sorted(2 * ["1-0", "1-1", "2-0", "2-1"])


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
