"""Impressions, clicks, grades, and qrels files."""

import datetime

import pytest

from annlab.visual.catalog import CatalogError
from annlab.visual.interactions import Listed, Place, log_click, log_lists, log_results, read_interactions
from annlab.visual.judging import export_qrels, import_qrels, judge, read_judgements
from annlab.visual.people import add_user


@pytest.fixture
def shown(catalog):
    """A query and three images."""
    query = catalog.add_query(keep=datetime.timedelta(days=1))
    return query, catalog.add_images([{}, {}, {}])


def test_what_was_shown_and_clicked_is_logged_once(catalog, shown):
    query, ids = shown
    first = log_results(catalog, query, ids, ranker="a", place=Place(38.8951, -77.0364))
    second = log_results(catalog, query, ids[:1], ranker="b")
    for _ in range(2):
        log_click(catalog, first, ids[1])
    every = read_interactions(catalog)
    assert every.displayed_ids.tolist() == [*ids, ids[0], ids[1]]
    assert every.positions.tolist() == [1, 2, 3, 1, 2]
    assert every.clicked.tolist() == [False] * 4 + [True]
    assert every.result_list_ids.tolist() == [first] * 3 + [second, first]
    assert read_interactions(catalog, ranker="b").displayed_ids.tolist() == [ids[0]]
    with pytest.raises(CatalogError, match="did not show"):
        log_click(catalog, second, ids[1])
    with pytest.raises(KeyError, match="not in the catalog"):
        log_click(catalog, 99, ids[1])
    with pytest.raises(CatalogError, match="each once"):
        log_results(catalog, query, [ids[0], ids[0]], ranker="a")
    with pytest.raises(CatalogError, match="not in the catalog"):
        log_results(catalog, query, [77], ranker="a")
    with pytest.raises(CatalogError, match="between"):
        log_results(catalog, query, ids, ranker="a", place=Place(1000, 0))
    assert len(read_interactions(catalog).clicked) == 5


def test_many_lists_at_once_are_logged_as_each_by_itself(catalog, shown):
    query, ids = shown
    user = add_user(catalog)
    given = [Listed(100, query, ids, "a", user, None, {"order": "time"}), Listed(101, query, ids[::-1], "b", first=21),
             Listed(99, ids[0], (), "c")]  # fmt: skip
    log_lists(catalog, given)
    log_lists(catalog, [])
    together = [column.tolist() for column in read_interactions(catalog)]
    for one in given:
        log_results(catalog, *one[1:3], ranker=one.ranker, user_id=one.user_id, details=one.details, id=one.id + 100,
                    first=one.first)  # fmt: skip
    alone = [column.tolist()[6:] for column in read_interactions(catalog)]
    assert alone[:5] == together[:5] and alone[5] == [number + 100 for number in together[5]]
    assert together[2:4] == [[*ids, *ids[::-1]], [1, 2, 3, 21, 22, 23]] and together[5] == [100] * 3 + [101] * 3
    with pytest.raises(CatalogError):
        log_lists(catalog, [Listed(300, query, ids, "a"), Listed(301, query, (*ids, 987654), "a")])
    assert len(read_interactions(catalog).positions) == 12  # all or none


def test_grades_go_to_the_metrics_and_to_qrels_and_back(catalog, shown, tmp_path):
    query, ids = shown
    for name, grade in (("anna", 3), ("ben", 1), ("cleo", 2)):
        judge(catalog, query, ids[0], grade, name)
    judge(catalog, query, ids[1], 3, "anna")
    judge(catalog, query, ids[1], 0, "anna")  # a change of mind
    judged = read_judgements(catalog)
    assert judged.query_ids.tolist() == [query] and judged.ids.tolist() == ids[:2] and judged.grades.tolist() == [2, 0]
    assert read_judgements(catalog, judge="ben").grades.tolist() == [1]
    assert len(read_judgements(catalog, judge="nobody")) == 0
    assert export_qrels(catalog, tmp_path / "qrels.txt") == 2
    assert (tmp_path / "qrels.txt").read_text() == f"{query} 0 {ids[0]} 2\n{query} 0 {ids[1]} 0\n"
    assert import_qrels(catalog, tmp_path / "qrels.txt", judge="file") == 2
    assert import_qrels(catalog, tmp_path / "qrels.txt", judge="file") == 2
    assert read_judgements(catalog, judge="file").grades.tolist() == [2, 0]
    with pytest.raises(CatalogError, match="grade is none of"):
        judge(catalog, query, ids[0], 4, "anna")


@pytest.mark.parametrize("lines, message", [
    ("1 0 2 3\n1 0 2\n", "line 2: not `query 0 candidate grade`"),
    ("1 0 2 x\n", "line 1: not"),
    ("1 0 2 4\n", "line 1: grade 4; grades are 0 to 3"),
    ("1 0 2 -1\n", "line 1: grade -1"),
    ("1 0 2 3\n\n1 0 2 1\n", "line 3: query 1 and candidate 2 have grade 1, but 3 in line 1"),
    ("1 0 2 3\n1 0 99 1\n", "line 2: image 99 is not in the catalog"),
])  # fmt: skip
def test_a_wrong_line_of_qrels_is_named_and_nothing_is_stored(lines, message, catalog, shown, tmp_path):
    (tmp_path / "qrels").write_text(lines)
    with pytest.raises(CatalogError, match=message):
        import_qrels(catalog, tmp_path / "qrels")
    assert len(read_judgements(catalog)) == 0
