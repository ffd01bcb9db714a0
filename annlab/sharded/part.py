"""What the parts of a `Replica` share: a replica is one object, told of on several pages."""

from annlab.index import Index
from annlab.sharded.journal import Journal
from annlab.sharded.manifest import Manifests
from annlab.sharded.world import World


class Part:
    """What a page that tells of a part of `Replica` may rely on."""

    name: str
    shard: str
    world: World
    journal: Journal
    manifests: Manifests
    visible: Index
    applied: int
    _current: bool

    def _ask_writer(self) -> None: ...
