"""What is told of a search is what it counted, for every kind of index; and the parts of an index hold what is said."""

import numpy as np
import pytest

import annlab
from annlab.datasets.synthetic import synthetic
from annlab.explain import explain
from annlab.explain.examples import points
from annlab.explain.traces import asked_of, graphs, hashes, trees
from tests.explain.kinds import KINDS, fitted

DATA = synthetic(3000, 12, 12, 40, seed=5)
PLANE = (np.random.default_rng(1).normal(size=(2000, 2)) * [3, 1]).astype(np.float32)
VISITED = ("cell", "bucket", "node", "codes")


def check(index, query, params, **chosen):
    told = explain(index, query, 10, expected=[], **chosen, **params)
    trace, stats = told.trace, told.stats
    assert trace.compared == stats.distances[0]
    if not stats.exact_fallback[0]:
        assert sum(step.what in VISITED for step in trace.steps) == stats.visited[0]
    seen = np.concatenate([step.ids for step in trace.steps])
    assert np.isin(told.ids[told.ids >= 0], seen).all()
    return told


def rounds(near: list[float]) -> list[list[float]]:
    """The parts of a search that began again with more probes: each begins with all that the one before had."""
    parts = [near]
    for at in [i for i in range(1, len(near)) if near[i] < near[i - 1]]:
        last = parts.pop()
        cut = at - (len(near) - len(last))
        assert last[cut : 2 * cut] == last[:cut], "what looks like another round is none"
        parts += [last[:cut], last[cut:]]
    return parts


@pytest.mark.parametrize("name", KINDS)
def test_the_steps_compare_and_visit_as_much_as_the_search_counted(name, full):
    for metric in ("l2", "cosine", "ip") if full else ("l2",):
        if metric == "ip" and "tree" in name:
            continue
        for vectors, queries in ((DATA.train, DATA.test), (PLANE, PLANE[:6] + 0.25)):
            index, params = fitted(name, vectors, metric=metric)
            for query in queries if full else queries[:4]:
                told = check(index, query, params)
                near = [step.near for step in told.trace.steps if step.what in ("cell", "bucket")]
                assert np.isnan(near).all() or all(part == sorted(part) for part in rounds(near))


@pytest.mark.parametrize("name", KINDS)
def test_filters_removal_and_added_rows_are_followed_too(name):
    ids = np.arange(len(DATA.train)) * 7 + 1
    index, params = fitted(name, DATA.train, ids)
    index.add(DATA.test * 1.01, np.arange(len(DATA.test)) + 100_000)
    index.remove(ids[::9])
    told = check(index, DATA.test[0], params)
    assert told.trace.steps[-1].what == "added rows" and len(told.trace.steps[-1].ids) == len(DATA.test)
    told = check(index, DATA.test[0], params, excluded=ids[::4])
    shown = np.concatenate([step.ids for step in told.trace.steps])
    assert not np.isin(shown, np.concatenate([ids[::9], ids[::4]])).any()


def test_a_row_is_told_to_be_where_it_lies():
    index, params = fitted("lsh-hyperplanes", DATA.train)
    finder, by_row = index._state.structure.finder, index._state.by_row.array
    for row in (0, 17, 2999):
        keys = hashes.keys_of_row(finder, row)
        for table, key in enumerate(keys.tolist()):
            assert row in hashes.rows_of_bucket(finder, (table << finder.tables.n_bits) + key)
    # a row as a query has the row's own keys
    asked = asked_of(index, DATA.train[by_row[17]], 10, {"allowed": None, "excluded": None, "where": None}, params)
    assert (hashes.query_keys(finder, asked) == hashes.keys_of_row(finder, 17)).all()


@pytest.mark.parametrize("name", ["kdtree-budget", "balltree-budget"])
def test_the_shape_of_a_leaf_holds_its_rows(name):
    index, _ = fitted(name, DATA.train)
    structure = index._state.structure
    asked = asked_of(index, DATA.test[0], 10, {"allowed": None, "excluded": None, "where": None}, {})
    walk, held = trees.Walk(structure, asked), []
    for part in trees.parts_of(structure):
        rows, bound = walk.numbers(part), trees.shape_of(structure, part)
        vectors = structure.vectors[rows].astype(np.float64)
        held.append(rows)
        if name.startswith("kd"):
            assert (vectors >= bound[0] - 1e-5).all() and (vectors <= bound[1] + 1e-5).all()
        else:
            assert (np.linalg.norm(vectors - bound[:-1], axis=1) <= bound[-1] + 1e-5).all()
    assert (np.sort(np.concatenate(held)) == np.arange(len(DATA.train))).all()


def test_a_walk_goes_along_links():
    index, params = fitted("vamana-flat", DATA.train)
    links = index._state.structure.walkable.graph.links
    told = explain(index, DATA.test[1], 10, expected=[], **params)
    walk = [step for step in told.trace.steps if step.what == "node"]
    assert len(walk) > 3
    for step in walk:
        assert step.parent < 0 or step.number in links[step.parent]
    assert min(step.near for step in told.trace.left_out if not step.near <= step.limit) > 0
    missed = next(one for query in DATA.test for one in explain(index, query, 10, **params).missed)
    assert "to which no opened node links" in missed.place


def test_the_text_names_steps_cells_ranks_and_bits():
    index, params = fitted("ivf-flat", DATA.train)
    told = next(told for told in (explain(index, query, 10, **params) for query in DATA.test) if told.missed)
    cell = next(step for step in told.trace.left_out if told.missed[0].id in step.ids)
    rank = len([step for step in told.trace.steps if step.what == "cell"]) + told.trace.left_out.index(cell) + 1
    assert told.missed[0].needs["n_probes"] == rank
    assert f"in cell {cell.number}, the {annlab.explain.trace.ordinal(rank)} nearest" in str(told)
    assert f"in this order: cell {told.trace.steps[0].number}" in str(told)
    index, params = fitted("lsh-hyperplanes", DATA.train)
    told = next(told for told in (explain(index, query, 10, **params) for query in DATA.test) if told.missed)
    assert "its key differs from the query's in" in str(told)


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (112, "112th"), (1023, "1,023rd")]
)
def test_ordinals_are_those_of_english(number, said):
    assert annlab.explain.trace.ordinal(number) == said


def test_what_is_missed_by_a_walk_that_saw_it_was_lost_by_its_code():
    index, params = fitted("vamana-sq8", points(8000))
    structure, lost = index._state.structure, 0
    for query in ((685, 196), (210, 843)):
        told = explain(index, query, 10, **params)
        for one in told.missed:
            row = int(np.flatnonzero(index._state.by_row.array == one.id)[0])
            assert graphs.has_seen(structure, told.trace, row) == (one.cause is annlab.explain.Cause.RERANK)
            lost += one.cause is annlab.explain.Cause.RERANK
    assert lost
