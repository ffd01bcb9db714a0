"""`annlab shard`: an index in shards is made from a file, looked at, divided and searched."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from annlab import ExactIndex
from annlab.cli import main, sharding
from annlab.durable.errors import InUseError
from annlab.sharded.errors import ConflictError

ROWS = np.random.default_rng(0).standard_normal((400, 6)).astype(np.float32)


def run(capsys, *arguments):
    """The exit status, and what was printed as JSON."""
    status = main(["shard", *map(str, arguments), "--json"])
    printed = capsys.readouterr()
    return status, json.loads(printed.out) if printed.out else printed.err


def test_an_index_is_made_looked_at_divided_and_searched(tmp_path, capsys):
    folder = tmp_path / "index"
    vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(ROWS.ravel()), 6)
    pyarrow.parquet.write_table(pyarrow.table({"v": vectors, "id": np.arange(400) * 2, "owner": np.arange(400) % 3}),
                                tmp_path / "rows.parquet")  # fmt: skip
    np.save(tmp_path / "queries.npy", ROWS[:5])
    make = ("create", folder, tmp_path / "rows.parquet", "--index", "exact", "--vectors", "v", "--ids", "id",
            "--attribute", "owner", "--replicas", 2)  # fmt: skip
    status, made = run(capsys, *make)
    assert (status, made["status"]["vectors"], len(made["status"]["shards"])) == (0, 400, 2)
    assert all(replica["applied"] for shard in made["status"]["shards"] for replica in shard["replicas"])
    one = ExactIndex().fit(ROWS, np.arange(400) * 2).search(ROWS[:5], 7)
    for n_shards in (2, 4):
        if n_shards == 4:
            assert run(capsys, "move", folder, "--shards", 4)[0] == 0
        status, found = run(capsys, "search", folder, tmp_path / "queries.npy", "-k", 7)
        assert status == 0 and found["ids"] == one.ids.tolist()
        status, proved = run(capsys, "verify", folder)
        assert status == 0 and len(proved["hashes"]) == n_shards
    assert main(["shard", "status", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("400 vectors in 4 shards of ExactIndex") and "written by" in text
    status, error = run(capsys, *make)
    assert status == 1 and "is not empty" in error


def test_an_ivf_index_is_made_block_by_block(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", ROWS)
    status, made = run(capsys, "create", tmp_path / "index", tmp_path / "rows.npy", "--shards", 3, "--parameter",
                       "n_lists=8", "--max-memory", "1GB")  # fmt: skip
    assert status == 0 and made["status"]["kind"] == "IVFIndex" and made["status"]["vectors"] == 400
    status, found = run(
        capsys, "search", tmp_path / "index", tmp_path / "rows.npy", "-k", 1, "--parameter", "n_probes=8"
    )
    assert status == 0 and [row[0] for row in found["ids"]] == list(range(400))


@pytest.mark.parametrize(("arguments", "message"), [
    (("status", "{}/absent"), "holds no sharded index"),
    (("create", "{}/new"), "create FOLDER DATA"),
    (("status", "{}/new", "more.npy"), "status FOLDER"),
    (("create", "{}/new", "{}/rows.npy", "--index", "rocket"), "there is no index 'rocket'"),
    (("create", "{}/new", "{}/rows.npy", "--ids", "id"), "has no columns"),
    (("create", "{}/new", "{}/rows.npy", "--index", "exact", "--parameter", "a=1"), "no parameter 'a'"),
    (("create", "{}/new", "{}/rows.npy", "--index", "exact", "--max-memory", "1GB"), "--max-memory is for --index ivf"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(arguments, message, tmp_path, capsys):
    np.save(tmp_path / "rows.npy", ROWS)
    status, error = run(capsys, *(each.format(tmp_path) for each in arguments))
    assert status == 1 and message in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("existed", [False, True])
def test_a_create_that_failed_is_not_in_the_way_of_the_corrected_one(existed, tmp_path, capsys):
    np.save(tmp_path / "rows.npy", np.full((30, 4), np.nan))
    if existed:
        (tmp_path / "index").mkdir()
    command = ("create", tmp_path / "index", tmp_path / "rows.npy", "--index", "exact")
    status, error = run(capsys, *command)
    assert status == 1 and "must be finite" in error and (tmp_path / "index").exists() == existed
    np.save(tmp_path / "rows.npy", ROWS)
    assert run(capsys, *command)[1]["status"]["vectors"] == 400
    np.save(tmp_path / "rows.npy", np.full((30, 4), np.nan))
    assert "is not empty" in run(capsys, *command)[1]
    assert run(capsys, "status", tmp_path / "index")[1]["status"]["vectors"] == 400


@pytest.mark.parametrize("error", [InUseError, ConflictError])
def test_a_create_that_came_second_leaves_what_the_first_made(error, tmp_path, capsys, monkeypatch):
    def quicker(options, empty, **how):
        (tmp_path / "index").mkdir()
        (tmp_path / "index" / "of another").write_text("rows")
        raise error("somebody is there")

    monkeypatch.setattr(sharding, "_opened", quicker)
    np.save(tmp_path / "rows.npy", ROWS)
    assert run(capsys, "create", tmp_path / "index", tmp_path / "rows.npy", "--index", "exact")[0] == 1
    assert (tmp_path / "index" / "of another").read_text() == "rows"
