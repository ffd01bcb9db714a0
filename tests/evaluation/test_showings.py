"""From rows of a log to showings: the same answer from every form in which a log comes."""

import sqlite3

import numpy as np
import pytest

from annlab.evaluation import click_through, showings, showings_of

# User 8 saw image 6 and clicked it twice; user 9 saw it, too, and image 1; user 7's impression was lost.
ROWS = [
    (8, 2, 6, 1, "Impression", 100.0),
    (8, 2, 6, 1, "Click", 103.0),
    (8, 2, 6, 1, "Click", 109.0),
    (9, 2, 6, 1, "Impression", 200.0),
    (9, 2, 1, 2, "Impression", 200.0),
    (7, 3, 6, 1, "Click", 300.0),
]
NAMES = ("user_id", "query_image_id", "displayed_image_id", "position", "interaction_type", "timestamp")


def counted(seen):
    keys = zip(seen.queries.tolist(), seen.displayed.tolist(), seen.clicked.tolist(), strict=True)
    return sorted(keys)


EXPECTED = [(2, 1, False), (2, 6, False), (2, 6, True), (3, 6, True)]


def of_database():
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        connection.execute(f"CREATE TABLE log ({', '.join(NAMES)})")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", ROWS)
        return connection.execute("SELECT * FROM log").fetchall()


def of_frame():
    return pytest.importorskip("pandas").DataFrame(ROWS, columns=NAMES)


@pytest.mark.parametrize(
    "table",
    [
        of_database,
        of_frame,
        lambda: {name: list(column) for name, column in zip(NAMES, zip(*ROWS, strict=True), strict=True)},
        lambda: [dict(zip(NAMES, row, strict=True)) for row in ROWS],
    ],
    ids=["rows of a database", "data frame", "columns", "dictionaries"],
)
def test_every_form_of_a_table_gives_the_same_showings(table):
    seen = showings_of(table())
    assert counted(seen) == EXPECTED
    assert seen.users is not None and sorted(seen.users.tolist()) == [7, 8, 9, 9]


def test_without_users_words_are_events_and_numbers_are_showings():
    columns = [list(column) for column in zip(*ROWS, strict=True)]
    _, query, displayed, position, words, _ = columns
    by_words = showings(query, displayed, words, positions=position)
    assert counted(by_words) == [(2, 1, False), (2, 6, True), (2, 6, True), (3, 6, True)], "2 clicks, 2 impressions"
    bools = [word == "Click" for word in words]
    assert len(showings(query, displayed, bools, positions=position).clicked) == len(ROWS)
    for form in (bools, [int(value) for value in bools], np.array(words), np.array(words, object)):
        rates = click_through([row[0] for row in ROWS], query, displayed, form, timestamps=columns[5])
        assert (rates.overall.clicks, rates.overall.impressions) == (2, 4)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "there are no rows"),
        ([(1, 2)], "rows with named columns"),
        ({"query": [1], "clicked": [True]}, "no column for displayed: it has query, clicked"),
        ({"query": [], "displayed": [], "clicked": []}, "no interactions"),
    ],
)
def test_what_is_no_log_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        showings_of(table)
