"""Recall against speed: what is drawn, and how."""

import pytest

from annlab.common import curves, style


def test_the_axis_counts_nines():
    assert curves.stretch(0.99) - curves.stretch(0.9) == pytest.approx(curves.stretch(0.999) - curves.stretch(0.99))
    assert curves.stretch(1.0) == curves.stretch(curves.FULL_RECALL)


def test_settings_that_are_beaten_are_faint_and_off_the_line():
    pytest.importorskip("matplotlib")
    axes = style.new_figure(4, 3, style.LIGHT).subplots()
    curves.draw(axes, {"a": [(0.8, 100.0), (0.9, 10.0), (0.85, 5.0)], "b": [(0.9, 50.0)]}, "two")
    line, beaten, other, _ = axes.get_lines()
    assert list(line.get_ydata()) == [100.0, 10.0] and line.get_alpha() == 1.0
    assert list(beaten.get_ydata()) == [5.0] and beaten.get_alpha() < 0.5 and beaten.get_linestyle() == "None"
    assert (line.get_color(), line.get_marker()) == (beaten.get_color(), beaten.get_marker())
    assert line.get_color() != other.get_color()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.get_xticklabels()[0].get_text() == "0.8" and axes.get_xticklabels()[-1].get_text() == "1"
