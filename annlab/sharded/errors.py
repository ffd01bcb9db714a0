"""What can go wrong between shards. Each message names the shard, the numbers, and what to do."""


class ShardedError(RuntimeError):
    """The base of these errors."""


class MissingShardError(ShardedError):
    """No replica of a shard answered in time. `partial=True` returns what the others found."""


class UnacknowledgedError(ShardedError):
    """A write is not known to be safe: it may survive or not. The same write with the same op_id settles it."""


class ReplicasDisagreeError(ShardedError):
    """Two replicas hold different states at the same place of the log: one of them is damaged."""


class UnreachableError(ShardedError):
    """A node does not answer: it is down, being restarted, or cut off."""


class NotWriterError(ShardedError):
    """This replica does not take writes of its shard now: the manifest says which one does."""


class BehindError(ShardedError):
    """This replica has not yet applied what the token of a read asks for."""


class MovedError(ShardedError):
    """This shard takes no writes any more, or is read no more: it is being divided. The manifest says who does."""


class LogCutError(ShardedError):
    """A log does not reach back so far any more: whoever follows it has to begin from a copy."""


class ConflictError(ShardedError):
    """Somebody else changed the manifest first."""
