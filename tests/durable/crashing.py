"""A process that kills its children while they write to a durable index, and compares what the next one finds.

    python -m tests.durable.crashing FOLDER KILLS SEED

The child writes at random: adds, replacements, updates, removals, each with a row in a table of the same database;
snapshots and rebuilds, also at the same time in other threads, and in the background whenever they are due. Before each
write it says so through a pipe, and after it has been acknowledged again. The parent kills it at a random moment, also
while it starts. What the next child finds must be exactly what was acknowledged, with or without the one write that was
under way; then that one is repeated under its op_id, and must be there once.
"""

import contextlib
import json
import os
import random
import signal
import struct
import sys
import threading
import time

import numpy as np
from sqlalchemy import text

from annlab import ExactIndex
from annlab.core import compaction
from annlab.durable import DurableIndex
from tests.durable.helpers import DIM, random_write

MOST = 8  # writes that a child may do
compaction.SMALL_TAIL, compaction._FEW_DEAD = 60, 40  # so that rebuilds are due all the time
MOMENT = 0.03  # seconds, at random, within which a child is killed after its last message that counts


class InMemory:
    """A dictionary in the place of an index, for the parent to do what the child did."""

    def __init__(self, model):
        self.next = max(model, default=-1) + 1

    def add(self, rows, ids=None, **_):
        return np.arange(self.next, self.next + len(rows)) if ids is None else np.asarray(ids)

    def update(self, ids, rows, **_):
        pass

    def remove(self, ids, **_):
        pass


def after(model, seed):
    """The dictionary after the write that this seed stands for."""
    model = dict(model)
    random_write(InMemory(model), model, np.random.default_rng(seed))
    return model


def digest(model):
    """What tells two contents apart."""
    ids = sorted(model)
    return str(hash((tuple(ids), b"".join(model[id].tobytes() for id in ids))))


def write(index, model, seed):
    """The write that this seed stands for, in one transaction with the rows of a table."""
    with index.transaction() as writes:
        random_write(writes, model, np.random.default_rng(seed), op_id=f"write {seed}")
        known = {row[0] for row in writes.connection.execute(text("SELECT id FROM photos"))}
        for statement, ids in (("INSERT INTO photos VALUES (:id)", set(model) - known),
                               ("DELETE FROM photos WHERE id = :id", known - set(model))):  # fmt: skip
            if ids:
                writes.connection.execute(text(statement), [{"id": id} for id in ids])


def child(folder, pipe, first_seed, unsure):
    """Open, tell what is there, repeat the write that was under way, and go on until the end comes."""

    def tell(**message):
        content = json.dumps(message).encode()
        os.write(pipe, struct.pack("<I", len(content)) + content)

    index = DurableIndex(ExactIndex(dim=DIM), folder, snapshot_after=15)
    ids = index.ids.tolist()
    model = dict(zip(ids, index.vectors())) if ids else {}
    with index.database.writing() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS photos (id INTEGER PRIMARY KEY)"))
        rows = sorted(row[0] for row in connection.execute(text("SELECT id FROM photos")))
    tell(found=digest(model), rows=rows == ids)
    if unsure is not None:
        seq, before = index.seq, unsure[1]
        write(index, dict(before), unsure[0])
        model = after(before, unsure[0])
        found = digest(dict(zip(index.ids.tolist(), index.vectors())))
        tell(repeated=found == digest(model), done_before=index.seq == seq)
    for number in range(10**6):
        seed = first_seed + number
        chance = random.random()
        if chance < 0.1:
            index.snapshot()
        elif chance < 0.2:
            threading.Thread(target=index.compact).start()
        tell(begin=seed)
        write(index, model, seed)
        tell(done=seed)


def messages_in(content):
    """All whole messages in what a child wrote."""
    messages, at = [], 0
    while at + 4 <= len(content):
        (length,) = struct.unpack_from("<I", content, at)
        if at + 4 + length > len(content):
            break
        messages.append(json.loads(content[at + 4 : at + 4 + length]))
        at += 4 + length
    return messages


def killed(pid, pipe, n_messages):
    """Kill a child a moment after it has written so many messages; all that it wrote, and how it ended."""
    content = b""
    while len(messages_in(content)) < n_messages and (chunk := os.read(pipe, 2**16)):
        content += chunk
    time.sleep(random.random() * MOMENT)
    os.kill(pid, signal.SIGKILL)
    while chunk := os.read(pipe, 2**16):
        content += chunk
    return messages_in(content), os.waitpid(pid, 0)[1]


def main(folder, kills, seed):
    random.seed(seed)
    warm = ExactIndex(dim=DIM)  # so that no child has to load kernels
    warm.add(np.eye(DIM, dtype=np.float32))
    warm.compact()
    model, unsure, writes, repeats = {}, None, 0, 0
    for round in range(kills):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            random.seed(seed * 10007 + round)
            with contextlib.suppress(BrokenPipeError):
                child(folder, writing, (round + 1) * 10**6, unsure)
            os._exit(1)
        os.close(writing)
        n_messages = random.randrange(2 * MOST) if random.random() < 0.85 else 0  # none: killed while it starts
        messages, status = killed(pid, reading, n_messages)
        os.close(reading)
        assert os.WIFSIGNALED(status), f"round {round}: the child ended by itself"
        for message in messages:
            if "found" in message:
                possible = [digest(model)] + ([] if unsure is None else [digest(after(model, unsure[0]))])
                assert message["found"] in possible, f"round {round}: something acknowledged was lost or doubled"
                assert message["rows"], f"round {round}: rows and vectors differ"
            elif "repeated" in message:
                assert message["repeated"], f"round {round}: a repeated write was not done exactly once"
                repeats += message["done_before"]
                model, unsure = after(model, unsure[0]), None
            elif "begin" in message:
                unsure = message["begin"], model
            else:
                model, unsure, writes = after(model, message["done"]), None, writes + 1
    with DurableIndex(None, folder) as index:
        expected = index.state_hash()
    with DurableIndex(None, folder) as index:
        assert index.state_hash() == expected
    print(json.dumps({"kills": kills, "writes": writes, "repeated and known": repeats}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
