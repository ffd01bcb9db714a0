"""What can go wrong beneath an index whose writes survive. Each message says what happened and what to do."""


class CorruptLogError(ValueError):
    """The log, the snapshot or what belongs to them is damaged or incomplete; the message says what."""


class InUseError(RuntimeError):
    """Another process, or another object of this one, writes here."""


class StorageError(OSError):
    """The disk or the database cannot do what is asked: full, read-only, gone, busy. Nothing that was acknowledged is
    lost, and what was not acknowledged did not happen."""
