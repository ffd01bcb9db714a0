"""In these tests what nodes in one process tell each other travels as bytes, as it does between processes."""

import pickle  # noqa: TID251 (as Ray does)

import pytest

from annlab.sharded.world import InlineWorld


def copy(what):
    return pickle.loads(pickle.dumps(what))  # noqa: S301


@pytest.fixture(autouse=True, scope="module")
def sent_as_bytes():
    call = InlineWorld.call

    def posted(world, node, method, *arguments):
        pending = call(world, node, method, *copy(arguments))
        pending.value, pending.error = copy((pending.value, pending.error))
        return pending

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InlineWorld, "call", posted)
        yield
