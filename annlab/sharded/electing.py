"""Another writer for a shard, when the one of the manifest does not answer. Anybody may try; one succeeds.

1. Ask all replicas to listen to nobody before the next term, and where their logs end.
2. With n replicas, of which w make a write acknowledged, n - w + 1 answers surely hold everything acknowledged among
   them: in the log that ends with the largest (term, place).
3. Name that replica in the next version of the manifest, if nobody else has written one since.
"""

from annlab.sharded.errors import ConflictError
from annlab.sharded.manifest import Manifests, needed_for
from annlab.sharded.world import World


async def elect(world: World, manifests: Manifests, shard: str, seconds: float = 1.0) -> bool:
    """Try to give a shard a writer that answers; whether that was done."""
    manifest = manifests.current()
    entry = None if manifest is None else manifest.find(shard)
    if manifest is None or entry is None:
        return False
    n, term = len(entry.replicas), entry.term + 1
    asked = {name: world.call(name, "promise", term) for name in entry.replicas}
    needed = n - needed_for(manifest.ack, n) + 1

    def kept() -> dict[str, tuple[int, int]]:
        return {name: call.value[:2] for name, call in asked.items() if call.succeeded and call.value[2]}

    await world.wait(list(asked.values()), lambda: len(kept()) == n, seconds)
    ends = kept()
    if len(ends) < needed:
        return False
    best = max(sorted(ends), key=lambda name: (ends[name], name == entry.writer))
    try:
        manifests.publish(manifest.with_writer(shard, best, term))
    except ConflictError:
        return False
    lead = world.call(best, "lead")
    await world.wait([lead], lambda: lead.done, seconds)
    return True
