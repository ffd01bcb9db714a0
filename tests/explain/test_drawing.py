"""Pictures of every kind, in two dimensions and in more, on light and on dark, into one's own axes or a new figure."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import annlab
from annlab.common import style
from annlab.datasets.synthetic import synthetic
from annlab.explain import examples, explain, marks, partitions, work
from annlab.explain.explanation import Cause
from tests.explain.kinds import KINDS, fitted

PLANE = (np.random.default_rng(1).normal(size=(1200, 2)) * [3, 1]).astype(np.float32)
DATA = synthetic(1500, 12, 12, 40, seed=5)


def words(figure):
    axes = [text.get_text() for each in figure.axes for text in (each.title, each.xaxis.label, each.yaxis.label)]
    legends = [text.get_text() for each in figure.axes if each.get_legend() for text in each.get_legend().get_texts()]
    return "\n".join([figure.get_suptitle(), figure.get_supxlabel(), *axes, *legends])


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_drawn_in_the_plane_and_in_more_dimensions(name, tmp_path, full):
    for vectors, query in ((PLANE, PLANE[3] + 0.2), (DATA.train, DATA.test[0])):
        index, params = fitted(name, vectors)
        told = explain(index, query, 10, **params)
        figure = told.plot()
        said = words(figure)
        assert isinstance(figure, Figure) and len(figure.axes) == 2
        assert f"found {10 - len(told.missed)} of 10" in said
        assert ("distance against work" in said) and (("projection of 12" in said) == (len(query) == 12))
        for cause in {one.cause for one in told.missed}:
            assert f"missed: {marks.SHORT[cause]} (" in said
        if full or name in ("ivf-pq4", "vamana-flat"):
            figure.savefig(tmp_path / "a.png")


def test_every_cause_has_a_mark_or_no_place():
    assert set(marks.SHORT) == set(Cause) and set(Cause) - set(marks.MARKS) == {Cause.ABSENT}


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_each_pixel_is_painted_as_the_index_would_sort_it(metric):
    index, params = fitted("ivf-flat", PLANE, metric=metric)
    told = explain(index, PLANE[7], 10, expected=[], **params)
    own = Figure().subplots()
    points = partitions.shown(told, PLANE)
    window = partitions.window_of(points, points[7])
    partitions.draw(own, told, window, style.LIGHT)
    alpha = own.images[0].get_array()[..., 3]
    (left, right), (bottom, top) = window
    height, width = alpha.shape
    x = ((points[:, 0] - left) / (right - left) * width).astype(int).clip(0, width - 1)
    y = ((points[:, 1] - bottom) / (top - bottom) * height).astype(int).clip(0, height - 1)
    inside = (points >= [left, bottom]).all(axis=1) & (points <= [right, top]).all(axis=1)
    visited = np.isin(np.arange(len(PLANE)), np.concatenate([step.ids for step in told.trace.steps]))
    on_border = alpha[y, x] == 1.0
    right_colour = (alpha[y, x] > 0) == visited
    assert inside.mean() > 0.9 and right_colour[inside & ~on_border].mean() > 0.995


def test_axes_of_ones_own_are_drawn_into():
    index, params = fitted("ivf-flat", PLANE)
    told = explain(index, PLANE[3], 10, **params)
    figure = Figure()
    one, other = figure.subplots(1, 2)
    assert told.plot(ax=one) is figure and one.get_title() == "cells, probed in order" and not other.collections
    told.plot(ax=other, what="projection")
    assert "projection of 2 dimensions" in other.get_title() and "off by more than 0%" in other.get_xlabel()


def test_light_and_dark_follow_matplotlib_unless_said():
    told = explain(annlab.ExactIndex().fit(PLANE), PLANE[0], 3)
    assert matplotlib.colors.to_hex(told.plot().get_facecolor()) == style.LIGHT.paper
    assert matplotlib.colors.to_hex(told.plot(dark=True).get_facecolor()) == style.DARK.paper
    with matplotlib.rc_context({"figure.facecolor": "#111111"}):
        assert matplotlib.colors.to_hex(told.plot().get_facecolor()) == style.DARK.paper


def test_what_has_a_meaning_stands_out_from_the_paper_and_is_told_apart():
    def luminance(colour):
        rgb = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colours in (style.LIGHT, style.DARK):
        for name in ("ink", "found", "missed", "query", "seen"):
            light, dark = sorted((luminance(getattr(colours, name)), luminance(colours.paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3.0, name
    assert len(set(marks.MARKS.values()) & {"o", "*"}) == 0  # found and query have shapes of their own


def test_wrong_wishes_are_refused():
    index, params = fitted("ivf-flat", DATA.train)
    told = explain(index, DATA.test[0], 10, **params)
    with pytest.raises(ValueError, match="two dimensions, and there are 12"):
        told.plot(what="partition")
    with pytest.raises(ValueError, match="one of 'auto', 'partition'"):
        told.plot(what="cells")


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch):
    told = explain(annlab.ExactIndex().fit(PLANE), PLANE[0], 3)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for dark in (None, True):
        with pytest.raises(ImportError, match=r"annlab\[plot\]"):
            told.plot(dark=dark)


def test_the_projection_states_its_distortion():
    flat = np.zeros((300, 6), np.float32)
    flat[:, [1, 4]] = np.random.default_rng(2).normal(size=(300, 2))
    told = explain(annlab.ExactIndex().fit(flat), flat[0], 5)
    _, _, wrong, share = work.projected(told, told.index.ids)
    assert wrong < 1e-6 and share > 1 - 1e-6  # a plane in six dimensions is shown as it is
    ball = np.random.default_rng(2).normal(size=(300, 6)).astype(np.float32)
    told = explain(annlab.ExactIndex().fit(ball), ball[0] * 0, 5)
    places, query, wrong, share = work.projected(told, told.index.ids)
    lengths = np.linalg.norm(ball, axis=1)
    errors = np.abs(np.linalg.norm(places - query, axis=1) / lengths - 1)
    assert wrong == pytest.approx(np.median(errors)) and 0.2 < wrong < 0.6 and 0.3 < share < 0.6


def test_the_kth_so_far_falls_and_missed_rows_stand_where_they_would_be_found():
    assert np.array_equal(work._kth_so_far(np.array([5.0, 3.0, 4.0, 1.0]), 2), [np.nan, 5, 4, 3], equal_nan=True)
    index, params = fitted("ivf-flat", DATA.train)
    told = next(told for told in (explain(index, query, 10, **params) for query in DATA.test) if told.missed)
    stats = annlab.SearchStats()
    index.search(told.query, 10, stats=stats, **told.missed[0].needs)
    assert work._work_to_find(told, told.missed[0].needs) == stats.distances[0] > told.stats.distances[0]


def test_the_documentation_shows_every_example_and_says_what_is_printed():
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "explain.md").read_text("utf-8")
    made = examples.examples()
    for example in made:
        assert f"](explain/{example.name}.png)" in text
        assert 10_000 < (docs / "explain" / f"{example.name}.png").stat().st_size < 100_000
    assert {path.stem for path in (docs / "explain").iterdir()} == {example.name for example in made}
    ivf = next(example for example in made if example.name == "ivf-flat")
    for line in str(examples.told(ivf)).splitlines()[:6]:
        assert line in text
    assert len(examples.told(ivf).missed) == 4


def test_pictures_are_written_by_one_command(tmp_path, capsys):
    assert examples.main([str(tmp_path), "--only", "exact", "--dark"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "exact.png")
    assert (tmp_path / "exact.png").read_bytes()[:4] == b"\x89PNG"
