"""Forgetting a person: nothing of them is left, in tables or files, and what others did keeps its meaning."""

import datetime

import numpy as np
import pytest

from annlab import ExactIndex
from annlab.visual import schema
from annlab.visual.catalog import CatalogError
from annlab.visual.interactions import Place, log_click, log_results, read_interactions
from annlab.visual.judging import judge, read_judgements
from annlab.visual.people import add_user, find_user, forget, own_data

SECRETS = (
    b"unmistakable-name",
    b"nowhere-town",
    b"x@secret.example",
    b"holiday-in-secret",
    b"secret-tag",
    b"cafe5ec4e7",
)


@pytest.fixture
def index(catalog, tmp_path):
    with catalog.index(ExactIndex(dim=3), tmp_path / "index") as index:
        yield index


def populate(catalog, index):
    """Two people with images that both were shown and clicked; the ids of the people and of the images."""
    person = add_user(catalog, username="unmistakable-name", age=33, gender="F", city="nowhere-town", country="nowhere",
                      email="x@secret.example")  # fmt: skip
    other = add_user(catalog, username="other")
    rows = [{"owner_id": person, "path": "holiday-in-secret.jpg", "tags": ["secret-tag"], "content_hash": "cafe5ec4e7"},
            {"owner_id": other, "path": "b.jpg"}, {"owner_id": other, "path": "c.jpg"}]  # fmt: skip
    ids = catalog.add_images(rows)
    with index.transaction() as writes:
        catalog.mark_indexed(ids[:2], "enc", connection=writes.connection)
        writes.add(np.array([[0.123456789, 0, 0], [0, 1, 0]], np.float32), ids[:2])
    catalog.mark_duplicate(ids[2:], ids[0])
    for user in (person, other):
        query = catalog.add_query(keep=datetime.timedelta(days=1), owner_id=user, path=f"query of {user}")
        shown = log_results(catalog, query, ids[:2], ranker="r", user_id=user, place=Place(12.34567, 45.6789))
        log_click(catalog, shown, ids[0])
        judge(catalog, query, ids[0], 2, "unmistakable-name")
        judge(catalog, query, ids[0], 3, "other")
    return person, other, ids


def test_a_person_is_forgotten_everywhere(catalog, index, tmp_path):
    person, other, ids = populate(catalog, index)
    needle = np.float32(0.123456789).tobytes()

    def on_disk():
        return b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file())

    on_this_disk = catalog.database.is_sqlite  # else the rows are the server's
    assert all(secret in on_disk() for secret in (*SECRETS, needle)) or not on_this_disk
    with pytest.raises(CatalogError, match="give the index"):
        forget(catalog, person)
    others_before = [row for row in zip(*read_interactions(catalog)) if row[0] == other]
    files = forget(catalog, "unmistakable-name", [index])
    assert {image.path for image in files} == {"holiday-in-secret.jpg", f"query of {person}"}
    assert index.ids.tolist() == [ids[1]]
    content = on_disk()
    assert not [secret for secret in (*SECRETS, needle, f"query of {person}".encode()) if secret in content]
    after = list(zip(*read_interactions(catalog)))
    assert after == others_before, "what others were shown and clicked keeps its meaning"
    assert catalog.image(ids[2]).status == "pending", "its original is gone"
    assert catalog.counts().discovered == 2
    assert sorted(read_judgements(catalog).grades.tolist()) == [2, 2], "grades stay, under no name"
    with catalog.database.reading() as connection:
        names = {row.judge for row in connection.execute(schema.judgements.select())}
        assert len(names) == 2 and "unmistakable-name" not in names
    for user in ("unmistakable-name", person, "no one"):
        with pytest.raises(KeyError, match="no user") as caught:
            forget(catalog, user, [index])
        assert "unmistakable" not in str(caught.value)


def test_a_person_gets_their_own_data_whole(catalog, index):
    person, _, _ = populate(catalog, index)
    data = own_data(catalog, person)
    assert data["users"] == [{"id": person, "username": "unmistakable-name", "age": 33, "gender": "F",
                              "city": "nowhere-town", "country": "nowhere", "email": "x@secret.example"}]  # fmt: skip
    assert {row["path"] for row in data["images"]} == {"holiday-in-secret.jpg", f"query of {person}"}
    assert [(row["kind"], row["latitude"], row["longitude"]) for row in data["interactions"]] == [
        ("impression", 12.3, 45.7), ("impression", 12.3, 45.7), ("click", None, None)]  # fmt: skip
    assert len(data["result_lists"]) == 1 and len(data["judgements"]) == 2
    assert find_user(catalog, str(person)) == person


def test_messages_quote_no_personal_value(catalog):
    add_user(catalog, username="unmistakable-name", email="x@secret.example")
    with pytest.raises(CatalogError, match="another user has this name") as caught:
        add_user(catalog, username="unmistakable-name", email="x@secret.example")
    text = f"{caught.value!r} {caught.value.__cause__!r}"
    assert not [secret for secret in SECRETS if secret.decode() in text]
    with pytest.raises(CatalogError, match="age is not") as caught:
        add_user(catalog, username="unmistakable-name", age=1000)
    assert "unmistakable" not in repr(caught.value)
