"""Histories in which everything goes wrong that may, and what they find out when a safeguard is taken away.

More of them: `python -m pytest tests/sharded/test_simulation.py --histories 10000` (some five minutes).
"""

import pytest

from annlab.sharded.replica import Replica
from tests.sharded.disk import Disk, SimulatedJournal
from tests.sharded.simulation import history

FOUND = (AssertionError, KeyError, ValueError, RuntimeError, IndexError, TypeError)


def goes_wrong(history, n_seeds, first=0):
    """Whether one of so many histories ends as a fault does; the first one where that is known to take long."""
    for seed in range(first, n_seeds):
        try:
            history(seed)
        except FOUND:
            return True
    return False


"""What a history without a safeguard may end with: the judge, or the code itself, notices."""


def test_no_history_loses_doubles_or_reads_what_is_older_than_its_token(histories):
    acknowledged = reads = 0
    for seed in range(histories):
        try:
            played = history(seed)
        except Exception as error:
            raise AssertionError(f"history({seed}): {error}") from error
        acknowledged, reads = acknowledged + len(played.acknowledged), reads + len(played.reads)
    assert acknowledged > 5 * histories and reads > 3 * histories, "something was done in them"


def test_a_seed_is_one_history():
    one, other = history(7), history(7)
    assert (one.time, one.acknowledged, one.reads) == (other.time, other.acknowledged, other.reads)
    assert one.appended.keys() == other.appended.keys()


def no_fsync(patch):
    patch.setattr(Disk, "sync", lambda disk: None)


def no_op_id(patch):
    patch.setattr(SimulatedJournal, "answered", lambda journal, op_id: None)


def no_fencing(patch):
    patch.setattr(Replica, "_is_fenced", lambda replica, term: False)


def no_check_of_the_place(patch):
    patch.setattr(Replica, "_follows", lambda replica, place, chain: True)


def no_life(patch):
    """What a writer said to a replica before that died is taken for news."""
    append = Replica.append
    patch.setattr(Replica, "append", lambda replica, *arguments: append(replica, *arguments[:-1], replica.life))


def test_what_was_said_to_an_earlier_life_is_no_news(monkeypatch):
    no_life(monkeypatch)
    assert goes_wrong(history, 3052, first=3051), "one in some thousand histories misses it, this one"
    monkeypatch.undo()
    history(3051)


@pytest.mark.parametrize("safeguard", [no_fsync, no_op_id, no_fencing, no_check_of_the_place])
def test_a_safeguard_that_is_taken_away_is_missed(safeguard, monkeypatch):
    safeguard(monkeypatch)
    assert goes_wrong(history, 1000), f"a thousand histories do not miss it: {safeguard.__name__}"
