"""A catalog whose vectors are in shards is in step with them, whatever happens. The tests of indexing and of searching
run with it too (test_indexing.py, test_search.py)."""

import json

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.cli import main
from annlab.durable import StorageError
from annlab.durable.log import Log
from annlab.sharded import ShardedIndex, UnacknowledgedError
from annlab.sharded.client import Client
from annlab.visual.catalog import Catalog, CatalogError
from annlab.visual.people import add_user, forget
from annlab.visual.promotion import promote, roll_back
from annlab.visual.spread import folder_of_shards
from tests.encoders.helpers import linear_encoder
from tests.visual.test_indexing import System, fill

IN_SHARDS = {"n_shards": 3, "n_replicas": 2}


def vectors_of(index):
    return dict(zip(index.ids.tolist(), map(tuple, index.vectors().tolist())))


def test_what_the_shards_did_not_acknowledge_waits_in_the_catalog_and_comes_first(tmp_path, monkeypatch):
    def silent(*_, **__):
        raise UnacknowledgedError("shard 0: no answer")

    with System(tmp_path, sharding=IN_SHARDS) as system:
        fill(system.folder, 70)
        with monkeypatch.context() as patch:
            patch.setattr(ShardedIndex, "add", silent)
            with (
                pytest.warns(RuntimeWarning, match="waits for its shards: shard 0"),
                pytest.raises(StorageError, match="waits for its shards: shard 0"),
            ):
                system.run()  # the first block is written, the second refused
        assert system.catalog.counts().indexed == 64 and len(system.index) == 0
        system.run()
        assert system.check().indexed == 70
    with System(tmp_path) as system:
        assert system.check().indexed == 70
        assert system.index.kind == "ExactIndex" and len(system.index.state_hash()) == 64


@pytest.mark.parametrize("n_sent", [0, 1, 3])
def test_a_kill_between_catalog_and_shards_loses_and_doubles_nothing(tmp_path, monkeypatch, n_sent):
    class Killed(BaseException):
        pass

    sent, write = [], Client.write

    async def some(client, *arguments):
        if len(sent) == n_sent:
            raise Killed
        sent.append(1)
        return await write(client, *arguments)

    def dies(*_):
        raise Killed

    with System(tmp_path, sharding=IN_SHARDS) as system:
        fill(system.folder, 20)
        with monkeypatch.context() as patch:
            patch.setattr(Client, "write", some)
            if n_sent == 3:  # all shards have it, and the queue does not know
                patch.setattr(Log, "cut", dies)
            with pytest.raises(Killed):
                system.run()
        assert system.catalog.counts().indexed == 20
    with System(tmp_path) as system:
        system.check()
        one = ExactIndex(metric="cosine", dim=5)
        images = system.catalog.find(status="indexed")
        one.add(system.encoder.encode([image.path for image in images]), [image.id for image in images])
        np.testing.assert_allclose(system.index.vectors(), one.vectors(), atol=1e-6)
        assert [
            replica["applied"] for shard in system.index.sharded.status()["shards"] for replica in shard["replicas"]
        ]


def test_another_encoder_takes_its_place_in_shards_of_its_own_and_goes_again(tmp_path):
    with System(tmp_path, sharding=IN_SHARDS) as system:
        fill(system.folder, 12)
        system.run()
        before = vectors_of(system.index)
    other = linear_encoder(dim=6, seed=3)[0]
    with Catalog.open(tmp_path / "photos.db") as catalog:
        from annlab.visual import pair

        pair.keep_encoder(tmp_path / "photos.index", system.encoder)
        promote(catalog, tmp_path / "photos.index", other, force=True)
        with catalog.index(None, tmp_path / "photos.index") as index:
            assert index.dim == 6 and len(index) == 12 and index.name != "images"
        roll_back(catalog, tmp_path / "photos.index")
        with catalog.index(None, tmp_path / "photos.index") as index:
            assert vectors_of(index) == before
        catalog.remove_index(tmp_path / "photos.index", "images")
        assert not folder_of_shards(tmp_path / "photos.index", "images").exists()


def test_a_person_is_forgotten_in_the_logs_of_all_replicas(tmp_path):
    with System(tmp_path, sharding=IN_SHARDS) as system:
        fill(system.folder, 12)
        system.run()
        user = add_user(system.catalog, username="anna")
        own = system.index.ids[:4].tolist()
        system.catalog.change_images({id: {"owner_id": user} for id in own})
        forget(system.catalog, user, [system.index])
        assert len(system.index) == 8 and not set(own) & set(system.index.ids.tolist())
        for replica in system.index.sharded._engine.world.nodes.values():
            assert replica.journal.snapshot_seq == replica.applied == replica.journal.seq


def test_it_is_one_setting_made_before_the_first_image(tmp_path, monkeypatch, capsys):
    linear_encoder()[0].save(tmp_path / "encoder")
    (tmp_path / "photos").mkdir()
    fill(tmp_path / "photos", 10)
    monkeypatch.chdir(tmp_path)
    assert main(["index", "photos", "--into", "c.db", "--encoder", "encoder", "--shards", "2", "--replicas", "2"]) == 0
    assert main(["index", "photos", "--into", "c.db"]) == 0
    capsys.readouterr()
    assert main(["search", "c.db", "3", "-k", "4", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 4
    assert main(["shard", "verify", "c.index/images.shards", "--json"]) == 0
    proved = json.loads(capsys.readouterr().out)
    assert proved["status"]["vectors"] == 10 and len(proved["hashes"]) == 2
    assert main(["index", "photos", "--into", "c.db", "--shards", "3"]) == 1
    assert "shards are chosen before the first image" in capsys.readouterr().err
    with Catalog.open("c.db") as catalog, catalog.index(None, "c.index") as index:
        with pytest.raises(ValueError, match="already in the index"), index.transaction() as writes:
            writes.add(index.vectors()[:1], index.ids[:1])
        with pytest.raises(KeyError, match="id 99 is not"), index.transaction() as writes:
            writes.update([99], index.vectors()[:1])
        with pytest.raises(ValueError, match="5"), index.transaction() as writes:
            writes.add(np.ones((1, 4), np.float32), [99])
        with index.transaction() as writes:
            writes.set_attributes({"owner": [4]}, index.ids[:1])
        assert index.attributes(index.ids[:1])["owner"].tolist() == [4]
    with Catalog.open("one.db") as catalog, catalog.index(ExactIndex(dim=5), "one.index"):
        with pytest.raises(CatalogError, match="has an index of its own already"):
            catalog.spread(2)
