"""Figures in facets, as the paper's."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from tasks.nuclei.figures.facets import (
    CostPoint,
    Dot,
    Interval,
    bar_facets,
    cost_figure,
    curve_facets,
    dot_facets,
    replicate_facets,
    worth_their_price,
)

CURVE = {0.45: 1.0, 0.5: 0.9, 0.7: 0.8, 0.9: 0.4}


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)}


def test_curves_begin_at_0_5_and_have_a_line_at_0_7_in_a_panel_for_each_model() -> None:
    figure = curve_facets({("", "MRCNN"): {"U2OS": CURVE, "HCT116": CURVE}, ("", "FPN2-WS"): {"U2OS": CURVE}}, "Line")
    first, second = figure.axes
    assert [np.asarray(line.get_xdata()).tolist() for line in first.lines] == [
        [0.5, 0.7, 0.9],
        [0.5, 0.7, 0.9],
        [0.7, 0.7],
    ]
    assert first.lines[0].get_color() == second.lines[0].get_color() != first.lines[1].get_color()
    assert {"MRCNN", "FPN2-WS", "Line", "U2OS", "HCT116", "F1 Score", "IoU Threshold"} <= texts(figure)


def test_rows_of_panels_have_strips_at_the_right_and_a_single_line_needs_no_legend() -> None:
    figure = curve_facets({("U2OS", "MRCNN"): {"": CURVE}, ("HCT116", "MRCNN"): {"": CURVE}}, "Line")
    assert {"U2OS", "HCT116", "MRCNN"} <= texts(figure)
    assert figure.legends == []


def test_dots_have_a_panel_for_each_cell_line_and_a_colour_for_each_model() -> None:
    dots = [Dot("All", "MRCNN", 0.5), Dot("All", "FPN2-WS", 0.9), Dot("MCF10A", "MRCNN", 0.4)]
    figure = dot_facets({"U2OS": dots, "HCT116": dots[:1]}, "Training Set", "Model")
    first = figure.axes[0]
    assert [np.asarray(c.get_offsets())[0].tolist() for c in first.collections] == [[0, 0.5], [0, 0.9], [1, 0.4]]
    faces = [np.asarray(c.get_edgecolor())[0].tolist() for c in first.collections]
    assert faces[0] == faces[2] != faces[1]
    assert {"Training Set", "Model", "F1 Score @ IoU 0.7", "U2OS", "HCT116"} <= texts(figure)


def test_what_ran_without_its_pretrained_weights_is_an_open_dot_with_a_word_in_the_legend() -> None:
    figure = dot_facets({"U2OS": [Dot("a", "MRCNN", 0.5, True), Dot("b", "MRCNN", 0.5)]}, "x", "Model")
    marked, other = figure.axes[0].collections
    assert [len(np.asarray(dot.get_facecolor())) for dot in (marked, other)] == [0, 1]
    assert "without pretrained weights" in texts(figure)


def test_replicates_have_their_mean_in_a_box_of_its_interval_and_one_alone_has_no_box() -> None:
    intervals = [Interval("a", "M", 0.5, 0.4, 0.6), Interval("b", "M", 0.5, np.nan, np.nan)]
    figure = replicate_facets({"U2OS": [Dot("a", "M", 0.5), Dot("b", "M", 0.5)]}, {"U2OS": intervals}, "x", "Model")
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_width() == 0.5]
    assert [(box.get_y(), round(box.get_height(), 6)) for box in boxes] == [(0.4, 0.2)]
    assert [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines] == [[0.5, 0.5], [0.5, 0.5]]


def test_bars_have_a_scale_of_their_own_for_each_cell_line() -> None:
    figure = bar_facets({"U2OS": {"a": 2.0, "b": 4.0}, "HCT116": {"a": 80.0, "b": 0.0}}, "% of Merges", "Model")
    assert [axes.get_ylim()[1] for axes in figure.axes] == [4.2, 84.0]


def test_experiments_are_named_that_no_cheaper_one_reaches() -> None:
    points = [CostPoint("a", "M", 1, 0.5), CostPoint("b", "M", 2, 0.4), CostPoint("c", "N", 3, 0.9)]
    assert [point.name for point in worth_their_price(points)] == ["a", "c"]
    shown = texts(cost_figure(points, "CPU hours", "Model"))
    assert {"1", "2", "1  a", "2  c", "CPU hours"} <= shown
    assert not any(text.endswith("  b") for text in shown)


@pytest.mark.parametrize("hours", [(0.1606, 0.1641), (0.9, 1.2), (0.2, 0.9), (0.2, 1.1), (0.03, 40.0), (0.5, 0.5)])
def test_hours_of_any_range_are_plain_numbers_that_stand_apart(hours: tuple[float, float]) -> None:
    figure = cost_figure([CostPoint(f"MCF10A {n}", "M", n, 0.5) for n in hours], "CPU hours", "Model")
    FigureCanvasAgg(figure).draw()
    (axis,) = figure.axes
    labels = [label for label in axis.get_xticklabels(which="both") if label.get_text()]
    shown = [label for label in labels if axis.get_xlim()[0] <= label.get_position()[0] <= axis.get_xlim()[1]]
    assert len(shown) >= 2
    assert [float(label.get_text()) for label in shown] == pytest.approx([label.get_position()[0] for label in shown])
    boxes = [label.get_window_extent() for label in shown]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_costs_without_any_experiment_are_an_empty_figure() -> None:
    assert cost_figure([], "CPU hours", "Model").axes
