"""A private image appears in nothing that another person sees, and its public copy still does."""

import pytest

from annlab.visual.people import add_user
from annlab.visual.search import ById, ByText, Crop, Filters, NotFound, Several, Viewer
from annlab.visual.shown import listed
from tests.visual.searching import Made, directions


@pytest.fixture
def made(tmp_path):
    with Made(tmp_path) as made:
        made.anna, made.ben = (add_user(made.catalog, username=name) for name in ("anna", "ben"))
        yield made


def shown(answer):
    return {id for result in answer.results for id in (result.id, *result.folded)}


def test_others_never_meet_a_private_image(made):
    vectors = directions(12)
    public = made.add(vectors[:10], [{"tags": ("cat",)}] * 10)
    (secret,) = made.add(vectors[10:11], [{"owner_id": made.anna, "private": True, "tags": ("cat", "secret")}])
    for viewer, may in ((Viewer(), False), (Viewer(made.ben), False), (Viewer(made.ben, "writer"), False),
                        (Viewer(made.anna), True), (Viewer(made.ben, "admin"), True)):  # fmt: skip
        for answer in (made.search.search(ById(public[0]), k=50, viewer=viewer),
                       made.search.search(ById(public[0]), k=50, viewer=viewer, exact=True),
                       made.search.search(ById(public[0]), k=50, viewer=viewer, order="time"),
                       made.search.search(ById(public[0]), k=50, viewer=viewer, filters=Filters(tags=("cat",))),
                       made.search.search(ByText("cat"), k=50, viewer=viewer)):  # fmt: skip
            assert (secret in shown(answer)) is may
            assert answer.total == len(answer.results), "nor is it counted"
        assert (secret in shown(made.search.search(ByText("secret"), viewer=viewer))) is may
        assert dict(made.search.tags(viewer)) == ({"cat": 11, "secret": 1} if may else {"cat": 10})
        owners = made.search.search(ById(public[0]), viewer=viewer, filters=Filters(owner=made.anna))
        assert shown(owners) == ({secret} if may else set())
        for query in (ById(secret), Crop(ById(secret), (0, 0, 1, 1)), Several((ById(public[0]),), (ById(secret),))):
            if not may:
                with pytest.raises(NotFound) as private:
                    made.search.search(query, viewer=viewer)
                with pytest.raises(NotFound) as absent:
                    made.search.search(ById(10**9), viewer=viewer)
                assert str(private.value) == str(absent.value).replace(str(10**9), str(secret))
        if may:
            assert made.search.image(secret, viewer).id == secret
        else:
            with pytest.raises(NotFound):
                made.search.image(secret, viewer)


def test_what_becomes_private_or_deleted_is_gone_at_once(made):
    ids = made.add(directions(8), [{"owner_id": made.anna}] * 8)
    ask = lambda viewer=Viewer(): shown(made.search.search(ById(ids[0]), k=50, viewer=viewer))  # noqa: B008, E731
    assert ask() == set(ids[1:])
    made.catalog.change_image(ids[3], private=True)
    assert ask() == set(ids[1:]) - {ids[3]} and ask(Viewer(made.anna)) == set(ids[1:])
    made.catalog.change_image(ids[3], owner_id=made.ben)
    assert ask(Viewer(made.anna)) == ask() and ids[3] in ask(Viewer(made.ben))
    made.catalog.mark_deleted([ids[4]])  # its vector is still in the index
    assert ids[4] not in ask(Viewer(role="admin"))
    with made.catalog.database.writing() as connection:  # by whatever way
        connection.exec_driver_sql(f"UPDATE images SET private = 1 WHERE id = {ids[5]}")
    assert ids[5] not in ask()


def test_the_public_copy_of_a_private_image_is_found(made):
    vectors = directions(9)
    others = made.add(vectors[:8])
    (leader,) = made.add(vectors[8:], [{"owner_id": made.anna, "private": True, "tags": ("hers",)}])
    copy = made.copy_of(leader, owner_id=made.ben, tags=("his",))
    answer = made.search.search(ById(others[0]), k=50)
    (found,) = [result for result in answer.results if result.id == copy]
    assert leader not in shown(answer) and found.folded == ()
    assert (found.image.status, found.image.duplicate_of) == ("indexed", None), "nobody learns that it is a copy"
    assert str(leader) not in repr(found.image.duplicate_of) and answer.total == 8
    mine = made.search.search(ById(others[0]), k=50, viewer=Viewer(made.anna))
    (hers,) = [result for result in mine.results if result.id == leader]
    assert hers.folded == (copy,), "the owner sees both"
    alike = made.search.search(ById(copy), k=50)
    assert shown(alike) == set(others), "and by the copy, all others are found"
    assert alike.total == len(others)
    assert leader in shown(made.search.search(ById(copy), k=50, viewer=Viewer(made.anna)))
    assert shown(made.search.search(ById(others[0]), k=50, filters=Filters(tags=("his",)))) == {copy}
    assert shown(made.search.search(ById(others[0]), k=50, filters=Filters(tags=("hers",)))) == set()
    assert shown(made.search.search(ById(others[0]), k=50, filters=Filters(owner=made.anna))) == set()
    assert shown(made.search.search(ByText("his"))) == {copy} and shown(made.search.search(ByText("hers"))) == set()


def test_copies_of_a_hidden_image_are_copies_of_the_first_that_one_sees(made):
    (leader,) = made.add(directions(1), [{"owner_id": made.anna, "private": True}])
    first, hers, second = (made.copy_of(leader, owner_id=owner, private=owner == made.anna)
                           for owner in (made.ben, made.anna, made.ben))  # fmt: skip
    known = lambda viewer: [(image.status, image.duplicate_of) for image in  # noqa: E731
                            (made.search.image(id, viewer) for id in (first, second))]  # fmt: skip
    seen = lambda viewer: [(image.status, image.duplicate_of) for image in  # noqa: E731
                           (made.search.seen(id, viewer) for id in (first, second))]  # fmt: skip
    for viewer in (Viewer(), Viewer(made.ben)):
        assert known(viewer) == seen(viewer) == [("indexed", None), ("duplicate", first)]
        assert listed(made.search.facts(), viewer, Filters())[0].tolist() == [first]
    assert known(Viewer(made.anna)) == seen(Viewer(made.anna)) == [("duplicate", leader)] * 2
    assert listed(made.search.facts(), Viewer(made.anna), Filters())[0].tolist() == [leader] and hers


def test_a_private_copy_of_a_public_image_is_counted_for_its_owner_alone(made):
    ids = made.add(directions(5))
    copy = made.copy_of(ids[1], owner_id=made.anna, private=True)
    for viewer, folded in ((Viewer(), ()), (Viewer(made.ben), ()), (Viewer(made.anna), (copy,))):
        answer = made.search.search(ById(ids[0]), k=50, viewer=viewer)
        (result,) = [result for result in answer.results if result.id == ids[1]]
        assert result.folded == folded
    with pytest.raises(NotFound):
        made.search.search(ById(copy))


def test_the_scores_of_others_do_not_depend_on_private_images(made):
    public = made.add(directions(60))
    before = made.search.search(ById(public[0]), k=50)
    made.add(directions(40, seed=7), [{"owner_id": made.anna, "private": True}] * 40)
    after = made.search.search(ById(public[0]), k=50)
    assert [(r.id, r.score, r.distance) for r in before.results] == [(r.id, r.score, r.distance) for r in after.results]
    assert (before.total, before.weaker, before.cutoff) == (after.total, after.weaker, after.cutoff)
