"""The folders of photographs as tags: only where asked for, through moves, beside tags that were given by hand."""

import os
from pathlib import Path

import numpy as np

from annlab.cli import main
from annlab.visual.catalog import Catalog
from annlab.visual.folder_tags import has_folder_tags, moved, tags_of, want_folder_tags
from annlab.visual.service.showing import add_names
from tests.visual.drawings import drawing
from tests.visual.test_indexing import System


def put(folder, *places):
    rng = np.random.default_rng(len(places))
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        drawing(rng, 48).save(folder / place)


def tags(catalog):
    return {os.path.basename(image.path): image.tags for image in catalog.find(kind="image")}


def test_every_folder_below_the_root_is_a_tag_once_the_top_one_first():
    root = Path("/photos")
    assert tags_of(root, root / "x.png") == ()
    assert tags_of(root, root / "animals" / "dogs" / "animals" / "x.png") == ("animals", "dogs")
    assert tags_of(root, root / os.fsdecode(b"caf\xe9") / " " / "x.png") == ("caf?",)
    assert moved(("mine", "a", "b"), ("a", "b"), ("c", "mine")) == ("c", "mine")


def test_folders_are_tags_where_that_was_asked_for_and_follow_a_move(tmp_path):
    with System(tmp_path) as system:
        put(system.folder, "animals/dogs/rex.png", "top.png")
        system.run()
        assert tags(system.catalog) == {"rex.png": (), "top.png": ()}
        want_folder_tags(system.catalog)
        want_folder_tags(system.catalog)
        put(system.folder, "animals/cats/tom.png")
        system.run()
        assert tags(system.catalog) == {"rex.png": (), "top.png": (), "tom.png": ("animals", "cats")}
        (tom,) = system.catalog.find(tag="cats", kind="image")
        system.catalog.change_image(tom.id, tags=(*tom.tags, "my cat"))
        (system.folder / "animals/cats/tom.png").rename(system.folder / "animals/tom.png")
        found, _ = system.run()
        assert found.moved == 1 and tags(system.catalog)["tom.png"] == ("animals", "my cat")


def test_the_command_remembers_it_and_names_are_told_beside_such_tags(tmp_path):
    put(tmp_path / "photos", "animals/dogs/rex.png")
    into = tmp_path / "photos.db"
    command = ["index", str(tmp_path / "photos"), "--into", str(into), "--encoder", "emoji"]
    assert main([*command, "--folder-tags"]) == 0
    put(tmp_path / "photos", "animals/cats/tom.png")
    assert main(command) == 0
    with Catalog.open(str(into)) as catalog:
        assert has_folder_tags(catalog) and tags(catalog)["tom.png"] == ("animals", "cats")
        (image,) = catalog.find(tag="dogs", kind="image")
        told = [{"id": image.id, "own": True, "tags": list(image.tags), "kind": "image"}]
        add_names(told, catalog, tmp_path)
        assert "name" not in told[0]
        add_names(told, catalog, tmp_path, also_tagged=True)
        assert told[0]["name"] == "rex"
