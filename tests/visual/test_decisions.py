"""What somebody decided of two images holds from then on, whatever their pictures say."""

import json
import shutil

import numpy as np
import pytest

from annlab import cli
from annlab.visual import pair
from annlab.visual.catalog import CatalogError
from annlab.visual.decisions import decide
from annlab.visual.indexing import Indexer
from tests.visual.drawings import drawing, encoded
from tests.visual.test_indexing import System


@pytest.fixture
def system(tmp_path):
    """Images 1, 2, 3 are files of one picture, 4 and 5 are others."""
    with System(tmp_path) as system:
        picture = drawing(np.random.default_rng(0), 60)
        picture.save(system.folder / "1.png")
        shutil.copy(system.folder / "1.png", system.folder / "2.png")
        encoded(picture, 85).save(system.folder / "3.png")
        for number in (4, 5):
            drawing(np.random.default_rng(number), 60).save(system.folder / f"{number}.png")
        system.run()
        yield system


def groups(system):
    """Whether catalog and index agree; the leader of each image that has one."""
    system.check()
    return {image.id: image.duplicate_of for image in system.catalog.find(status="duplicate")}


def again(system):
    Indexer(system.catalog, system.index, system.encoder).run()
    return groups(system)


def test_what_is_no_duplicate_stays_apart_for_ever(system):
    assert groups(system) == {2: 1, 3: 1}
    assert decide(system.catalog, 2, 1, duplicates=False, judge="ann") == [2]
    assert again(system) == {3: 1}
    system.catalog.mark_pending([1, 2, 3])
    system.index.remove([1, 2])
    assert again(system) == {3: 1}, "also when all are looked at anew, in one block"
    (system.folder / "2.png").touch()
    assert decide(system.catalog, 2, 1, duplicates=False, judge="ann") == [], "nothing to do"


def test_two_members_of_one_group_can_be_apart(system):
    assert decide(system.catalog, 2, 3, duplicates=False, judge="ann") == [3]
    assert again(system) == {2: 1}
    system.catalog.mark_pending([1, 2, 3])
    system.index.remove([1, 3])
    assert again(system) == {2: 1}


def test_what_somebody_calls_duplicates_is_one_group(system):
    assert decide(system.catalog, 4, 5, duplicates=True, judge="ann") == [5]
    assert again(system) == {2: 1, 3: 1, 5: 4}
    assert decide(system.catalog, 3, 4, duplicates=True, judge="ann") == [4], "a leader joins another group"
    after = again(system)
    assert after[4] == 1 and after[3] == 1
    assert decide(system.catalog, 4, 3, duplicates=False, judge="ann") == [4], "somebody thinks better of it"
    assert 4 not in again(system)


def test_a_decision_opens_nothing_that_is_private(system):
    system.catalog.change_image(4, private=True)
    decide(system.catalog, 4, 5, duplicates=True, judge="ann")
    assert again(system) == {2: 1, 3: 1}


def test_a_long_lived_indexer_learns_of_decisions(system):
    indexer = Indexer(system.catalog, system.index, system.encoder)
    indexer.run()
    decide(system.catalog, 1, 3, duplicates=False, judge="ann")
    indexer.run()
    assert groups(system) == {2: 1}


@pytest.mark.parametrize("one, other, message", [(1, 1, "both are 1"), (1, 99, "image 99 is not in the catalog")])
def test_a_decision_is_about_two_images_that_are_there(system, one, other, message):
    with pytest.raises(CatalogError, match=message):
        decide(system.catalog, one, other, duplicates=True, judge="ann")


def test_from_the_command_line(system, capsys):
    catalog, folder = str(system.place / "photos.db"), system.place / "photos.index"
    pair.keep_encoder(folder, system.encoder)
    assert cli.main(["catalog", "not-duplicates", catalog, "1", "3"]) == 0  # this process holds the index
    assert json.loads(capsys.readouterr().out)["images"][1]["status"] == "pending"
    system.index.close()
    assert cli.main(["catalog", "not-duplicates", catalog, "1", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][1] == {"id": 2, "status": "indexed", "duplicate_of": None}
    for operands in (["1"], ["1", "two"], ["1", "2", "3"]):
        assert cli.main(["catalog", "duplicates", catalog, *operands]) == 1
        assert "the ids of two images" in capsys.readouterr().err
