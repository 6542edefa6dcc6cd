from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray

from tasks.nuclei import figures
from tasks.nuclei.figures import F1Curve, ScoreMatrix
from tasks.nuclei.figures.error_masks import (
    DIFFERENCE_COLOUR,
    MISSED_COLOURS,
    ErrorMasks,
    error_masks,
    error_overlay,
)
from tasks.nuclei.figures.error_panels import IGNORED_COLOUR, shaded, telling_window
from tasks.nuclei.figures.pictures import label_overlay
from tasks.nuclei.figures.plate_overview import DOUBTFUL_COLOUR, OUTLINE_COLOUR
from tasks.nuclei.learning_curve import Round
from tasks.nuclei.own_proposals import MARK, MEANING


def row(*labels: int) -> NDArray[np.int32]:
    return np.array([labels], np.int32)


def pixels(mask: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(mask).tolist()


def curve(name: str, f1: list[float]) -> F1Curve:
    return F1Curve(name, [0.5, 0.7, 0.9], f1, [value - 0.1 for value in f1], [value + 0.1 for value in f1])


def test_a_missed_nucleus_is_marked_whole_even_where_something_was_predicted() -> None:
    errors = error_masks(row(0, 5, 5, 5, 5, 0), row(0, 0, 0, 0, 8, 0), iou_threshold=0.7)
    assert pixels(errors.missed) == [1, 2, 3, 4]
    assert pixels(errors.differing) == []


def test_of_a_hit_only_the_pixels_that_differ_are_marked() -> None:
    errors = error_masks(row(0, 5, 5, 5, 5, 0), row(0, 0, 9, 9, 9, 0), iou_threshold=0.7)
    assert pixels(errors.missed) == []
    assert pixels(errors.differing) == [1]


def test_a_predicted_nucleus_on_background_is_marked_as_difference() -> None:
    errors = error_masks(row(5, 5, 0, 0, 0), row(3, 3, 0, 7, 7), iou_threshold=0.7)
    assert pixels(errors.differing) == [3, 4]


def test_a_piece_of_another_prediction_inside_a_hit_differs() -> None:
    errors = error_masks(row(5, 5, 5, 5), row(3, 3, 3, 7), iou_threshold=0.7)
    assert pixels(errors.missed) == []
    assert pixels(errors.differing) == [3]


def test_equal_labels_of_other_numbers_have_no_errors() -> None:
    errors = error_masks(row(0, 90000, 90000, 7), row(0, 1, 1, 2), iou_threshold=0.7)
    assert not errors.missed.any()
    assert not errors.differing.any()


def test_what_is_ignored_is_no_error() -> None:
    ignored = row(0, 0, 0, 0, 1, 1, 1, 1, 1) > 0
    missed, cut = row(4, 4, 0, 5, 5, 5, 0, 0, 0), row(0, 0, 0, 0, 0, 0, 0, 7, 7)
    errors = error_masks(missed, cut, iou_threshold=0.7, ignored=ignored)
    assert pixels(errors.missed) == [0, 1]
    assert pixels(errors.differing) == []


def test_the_error_panel_covers_what_is_ignored_and_says_so() -> None:
    grey, ignored = np.full((2, 2, 3), 100, np.uint8), np.array([[True, False], [False, False]])
    assert (shaded(grey, ignored)[~ignored] == 100).all()
    assert (shaded(grey, ignored)[0, 0] == 50 + IGNORED_COLOUR // 2).all()
    labels = np.zeros((64, 64), np.int32)
    panel = figures.error_panel(labels, labels, labels, 0.5, "a field", ignored=labels == 0)
    assert "not annotated, left out" in [text.get_text() for text in panel.legends[0].get_texts()]


def test_the_error_picture_is_grey_with_missed_nuclei_in_colours_and_differences_in_magenta() -> None:
    grey = np.full((1, 4), 200, np.uint8)
    errors = ErrorMasks(
        missed=np.array([[True, False, False, False]]), differing=np.array([[False, True, False, False]])
    )
    picture = error_overlay(grey, row(4, 0, 0, 0), errors)
    assert picture[0, 0].tolist() != [200, 200, 200]
    assert np.argmin(picture[0, 0]) == np.argmin(MISSED_COLOURS[0])
    assert picture[0, 1].tolist() == DIFFERENCE_COLOUR.tolist()
    assert picture[0, 2:].tolist() == [[200, 200, 200]] * 2


def test_the_label_picture_keeps_the_background_grey_and_colours_neighbours_differently() -> None:
    grey = np.full((5, 7), 100, np.uint8)
    labels = np.zeros((5, 7), np.uint32)
    labels[:, 0:3], labels[:, 3:6] = 70_000, 70_001
    picture = label_overlay(grey, labels)
    assert (picture[:, 6] == 100).all()
    assert picture[2, 1].tolist() != picture[2, 4].tolist()


def test_the_window_is_where_most_pixels_are_wrong() -> None:
    wrong = np.zeros((100, 200), bool)
    wrong[60:70, 150:160] = True
    wrong[10, 10] = True
    window = telling_window(wrong, side_px=20)
    assert window is not None
    assert window.of(wrong).shape == (20, 20)
    assert window.of(wrong).sum() == 100


@pytest.mark.parametrize(("y", "x"), [(0, 0), (99, 199)])
def test_the_window_stays_inside_the_fov(y: int, x: int) -> None:
    wrong = np.zeros((100, 200), bool)
    wrong[y, x] = True
    window = telling_window(wrong, side_px=21)
    assert window is not None
    assert window.of(wrong).shape == (21, 21)
    assert window.of(wrong).sum() == 1


def test_a_fov_little_larger_than_the_window_has_none() -> None:
    wrong = np.ones((100, 200), bool)
    assert telling_window(wrong, side_px=51) is None


def test_the_scale_bar_is_20_um_long() -> None:
    labels = np.zeros((60, 90), np.uint16)
    labels[20:30, 20:30] = 1
    figure = figures.error_panel(labels * 900, labels, labels, pixel_size_um=0.5, title="a field")
    assert [axes.get_title() for axes in figure.axes] == ["Image", "Truth", "Prediction", "Errors"]
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["missed", "false positive", "merged", "split", "outlines that differ"]
    bars = [patch for patch in figure.axes[-1].patches if isinstance(patch, Rectangle)]
    assert [bar.get_width() for bar in bars] == [20 / 0.5]
    assert [text.get_text() for text in figure.axes[-1].texts] == ["20 µm"]


def test_of_a_large_fov_the_window_is_drawn_below(tmp_path: Path) -> None:
    labels = np.zeros((300, 300), np.uint16)
    labels[20:26, 20:26] = 1
    figure = figures.error_panel(labels * 900, labels, np.zeros_like(labels), pixel_size_um=0.5, title="a field")
    assert [axes.get_title() for axes in figure.axes[4:6]] == ["Image, the frame enlarged", "Truth, the frame enlarged"]
    assert len(figure.axes) == 8
    side = figure.axes[-1].get_images()[0].get_size()
    assert side == (64, 64)
    figure.savefig(tmp_path / "panel.png")
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")


def test_a_constant_image_is_drawn_black() -> None:
    assert (figures.display_grey(np.full((4, 4), 700, np.uint16)) == 0).all()


def test_there_is_one_line_per_curve_one_for_all_and_one_at_0_7() -> None:
    figure = figures.f1_figure(
        [curve("U2OS", [0.8, 0.7, 0.2]), curve("HCT 116", [0.6, 0.5, 0.1])], curve("all", [0.7, 0.6, 0.15])
    )
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert np.asarray(lines["U2OS"].get_ydata()).tolist() == [0.8, 0.7, 0.2]
    assert {"U2OS", "HCT 116", "all"} < set(lines)
    assert [0.7, 0.7] in [np.asarray(line.get_xdata()).tolist() for line in lines.values()]


def test_one_cell_line_has_no_second_line_for_all() -> None:
    figure = figures.f1_figure([curve("U2OS", [0.8, 0.7, 0.2])], curve("all", [0.8, 0.7, 0.2]))
    assert "all" not in [line.get_label() for line in figure.axes[0].lines]


def test_ten_cell_lines_differ_in_colour_or_style() -> None:
    figure = figures.f1_figure(
        [curve(str(number), [0.5, 0.4, 0.3]) for number in range(10)], curve("all", [0.5, 0.4, 0.3])
    )
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines if line.get_label() != "all"}
    assert len(looks) >= 10


def test_the_bars_are_as_long_as_the_rates() -> None:
    figure = figures.error_rate_figure(
        {"merges": {"U2OS": 0.02, "HCT116": 0.05}, "splits": {"U2OS": 0.0, "HCT116": 0.0}}
    )
    lengths = [[bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)] for axes in figure.axes]
    assert lengths == [[0.02, 0.05], [0, 0]]
    assert [axes.get_title() for axes in figure.axes] == ["merges", "splits"]


def test_a_heat_map_shows_the_wells_in_their_places_and_crosses_those_without_data() -> None:
    values = np.array([[np.nan, 0, 3], [2, np.nan, 1]])
    heat_map = figures.HeatMap("Nuclei per field", "nuclei", values, from_zero=True)
    figure = figures.plate_heat_maps([heat_map], ["A", "B"], ["01", "02", "03"], "screen", "model 3")
    axes, bar = figure.axes
    assert axes.get_title() == "Nuclei per field (x: no data)"
    assert bar.get_ylabel() == "nuclei"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "B"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["01", "02", "03"]
    assert np.ma.asarray(axes.images[0].get_array()).filled(-1).tolist() == [[-1, 0, 3], [2, -1, 1]]
    assert axes.images[0].get_clim() == (0, 3)
    assert sorted(np.asarray(axes.collections[0].get_offsets()).tolist()) == [[0, 0], [1, 1]]
    assert "Segmented with model 3" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(("values", "limits"), [([7.0, 7.0], (7, 7)), ([np.nan, np.nan], (0, 0)), ([5.0, 9.0], (5, 9))])
def test_the_colours_of_a_heat_map_begin_at_the_lowest_value(values: list[float], limits: tuple[float, float]) -> None:
    heat_map = figures.HeatMap("Area", "µm²", np.array([values]), from_zero=False)
    figure = figures.plate_heat_maps([heat_map], ["A"], ["01", "02"], "screen", "model 3")
    assert figure.axes[0].images[0].get_clim() == pytest.approx(limits, abs=1e-6)


def test_the_overview_shows_the_middle_of_a_field_with_outlines_inside_the_nuclei() -> None:
    label_image = np.zeros((20, 30), np.uint16)
    label_image[8:12, 13:17] = 1
    picture = figures.overview_picture(np.zeros((20, 30), np.uint16), label_image, side_px=8, doubtful=[])
    outlined = (picture == OUTLINE_COLOUR).all(axis=2)
    expected = np.zeros((8, 8), bool)
    expected[2:6, 2:6], expected[3:5, 3:5] = True, False
    assert np.array_equal(outlined, expected)


def test_a_field_smaller_than_the_window_is_shown_whole() -> None:
    picture = figures.overview_picture(np.zeros((20, 30), np.uint16), np.zeros((20, 30), np.uint16), 25, doubtful=[])
    assert picture.shape == (20, 25, 3)


def test_the_overview_outlines_doubtful_nuclei_in_a_colour_of_their_own_and_says_what_is_doubtful() -> None:
    label_image = np.zeros((20, 20), np.uint16)
    label_image[2:6, 2:6], label_image[10:14, 10:14] = 1, 2
    picture = figures.overview_picture(np.zeros((20, 20), np.uint16), label_image, side_px=20, doubtful=[2])
    for colour, label in ((OUTLINE_COLOUR, 1), (DOUBTFUL_COLOUR, 2)):
        outlined = (picture == colour).all(axis=2)
        assert (outlined.sum(), np.unique(label_image[outlined]).tolist()) == (12, [label])
    tiles = [figures.OverviewTile("B07", picture)]
    with_doubt, without = (figures.overview_figure(tiles, 0.5, "plate", "model", doubt) for doubt in ("below 0.5", ""))
    assert [text.get_text() for text in with_doubt.legends[0].get_texts()] == ["below 0.5"]
    assert without.legends == []


def score_matrix(f1: list[list[float]], forgotten: list[list[float]]) -> ScoreMatrix:
    return ScoreMatrix("F1 at IoU 0.7", np.array(f1), np.array(forgotten), np.zeros(np.shape(f1), np.bool_))


def test_a_matrix_shows_every_number_the_drop_below_it_and_crosses_what_is_unknown() -> None:
    matrix = score_matrix([[0.9, np.nan], [0.75, 0.8]], [[np.nan, np.nan], [0.15, np.nan]])
    figure = figures.matrix_figure([matrix], ["version 1", "version 2, champion"], ["p", "q"], ["HCT116", "U2OS"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["version 1", "version 2, champion"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["p", "q"]
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.75\n-0.15", "0.80", "HCT116", "U2OS"]
    assert np.asarray(axes.collections[0].get_offsets()).tolist() == [[1, 0]]
    assert axes.images[0].get_clim() == pytest.approx((0.7, 0.9))


def test_a_matrix_marks_f1_against_labels_that_the_model_proposed_itself() -> None:
    matrix = score_matrix([[0.9, 0.8]], [[0.0, 0.0]])._replace(is_flattered=np.array([[False, True]]))
    figure = figures.matrix_figure([matrix], ["version 1"], ["p", "q"], ["U2OS", "U2OS"])
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ["0.90", f"0.80{MARK}"]
    assert figure.get_supxlabel().endswith(f"; {MARK} {MEANING}")


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 12), (40, 30)])
def test_a_matrix_of_any_size_is_drawn(rows: int, columns: int, tmp_path: Path) -> None:
    matrix = score_matrix([[1.0] * columns] * rows, [[0.0] * columns] * rows)
    names = [f"plate {column}" for column in range(columns)]
    figure = figures.matrix_figure([matrix] * 2, ["version"] * rows, names, ["a rather long name"] * columns)
    figure.savefig(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")
    assert figure.axes[0].images[0].get_clim() == pytest.approx((0.9, 1))


def test_without_any_score_a_matrix_is_all_crosses() -> None:
    figure = figures.matrix_figure([score_matrix([[np.nan]], [[np.nan]])], ["version 1"], ["p"], ["U2OS"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["U2OS"]
    assert len(np.asarray(figure.axes[0].collections[0].get_offsets())) == 1


def test_plates_of_a_cell_line_have_its_name_once_below_them_and_a_line_between_them_and_others() -> None:
    matrix = score_matrix([[0.5, 0.6, 0.7]], [[np.nan] * 3])
    axes = figures.matrix_figure([matrix], ["version 1"], ["p", "q", "r"], ["A", "A", "B"]).axes[0]
    assert [(text.get_text(), text.get_position()) for text in axes.texts[3:]] == [("A", (0, -4)), ("B", (0, -4))]
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[1.5, 1.5]]


def test_a_strip_plot_has_one_line_per_plate_and_one_point_per_field() -> None:
    strips = [
        figures.Strip("focus", "", {"new": [1.0, 3.0], "old": [2.0]}, (1.5, 2.5)),
        figures.Strip("area", "µm²", {"old": [7.0]}, (5.0, 9.0)),
        figures.Strip("density", "per mm²", {"new": [4.0], "old": [4.0]}, (3.0, 5.0)),
    ]
    figure = figures.strip_figure(strips, ["new", "old"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["focus", "area, µm²", "density, per mm²", ""]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["new", "old"]
    points = [points for points in figure.axes[0].collections if isinstance(points, PathCollection)]
    assert [np.asarray(offsets.get_offsets())[:, 0].tolist() for offsets in points] == [[1, 3], [2]]


@pytest.mark.parametrize("name", ["dose_$5_and_$10^x", "$", "$\\frac{$", "<b>x & y", "50 % #3", "日本語", "x" * 200])
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_names_are_drawn_as_they_are_and_two_dollars_enclose_no_formula(tmp_path: Path, name: str) -> None:
    tile = figures.OverviewTile(name, np.zeros((32, 32, 3), np.uint8))
    overview = figures.overview_figure([tile], 0.5, "plate", "model")
    nothing = np.zeros((64, 64), int)
    panel = figures.error_panel(nothing, nothing, nothing, 0.5, name)
    for number, figure in enumerate((overview, panel)):
        figure.savefig(tmp_path / f"{number}.png", metadata={"Title": name})
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
    assert panel.get_suptitle() == name


def test_of_a_long_name_an_overview_shows_both_ends() -> None:
    tile = figures.OverviewTile("plate " + "x" * 100 + " site 12", np.zeros((32, 32, 3), np.uint8))
    title = figures.overview_figure([tile], 0.5, "p", "m").axes[0].get_title()
    assert title.startswith("plate xxx")
    assert title.endswith("xxx site 12")
    assert len(title) == 49


def test_the_agreement_of_two_annotators_is_a_dotted_line_among_the_curves() -> None:
    figure = figures.f1_figure([curve("U2OS", [0.9, 0.8, 0.3])], ceiling=curve("two annotators", [0.95, 0.9, 0.6]))
    lines = {line.get_label(): line.get_linestyle() for line in figure.axes[0].get_lines()}
    assert lines["two annotators"] == ":"
    assert figure.legends[0].get_texts()[-1].get_text() == "two annotators"


def test_a_learning_curve_is_dashed_beyond_the_last_round_and_is_not_drawn_of_two_rounds() -> None:
    rounds = [Round(nuclei, f1, f1 - 0.03, f1 + 0.03) for nuclei, f1 in ((0, 0.5), (100, 0.7), (200, 0.78))]
    enough, too_few = figures.learning_curve_figure({"U2OS": rounds, "RPE1": rounds[:2]}).axes
    lines = [(line.get_linestyle(), np.asarray(line.get_xdata())) for line in enough.get_lines()]
    ends = {style: nuclei.max() for style, nuclei in lines if len(nuclei) > len(rounds)}
    assert ends == {"-": pytest.approx(200, abs=6), "--": 300}
    assert all(len(np.asarray(line.get_xdata())) < len(rounds) for line in too_few.get_lines())
    assert (enough.get_title(loc="left"), too_few.get_title(loc="left")) == ("U2OS", "RPE1")


@pytest.mark.parametrize("f1", [0.0, 1.0])
def test_a_curve_at_the_end_of_its_range_does_not_lie_on_the_axis(f1: float) -> None:
    low, high = figures.f1_figure([F1Curve("U2OS", [0.5, 0.7], [f1] * 2, [f1] * 2, [f1] * 2)]).axes[0].get_ylim()
    assert low < f1 < high
    rounds = [Round(nuclei, f1, f1, f1) for nuclei in (0, 100)]
    low, high = figures.learning_curve_figure({"U2OS": rounds}).axes[0].get_ylim()
    assert low < f1 < high


def test_every_row_of_examples_has_its_headings_in_the_pictures_and_a_scale_bar() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    example = figures.NucleusExample("a field", np.zeros((40, 40), np.uint8), mask, mask * 1, mask * 0, 0.5)
    figure = figures.examples_figure([example, example], "2 nuclei")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["image", "champion", "challenger", "20 µm"] * 2


def test_every_row_of_an_overview_has_a_scale_bar_at_its_end() -> None:
    tiles = [figures.OverviewTile(str(number), np.zeros((32, 32, 3), np.uint8)) for number in range(6)]
    figure = figures.overview_figure(tiles, 0.5, "plate", "model")
    assert [bool(axes.texts) for axes in figure.axes[:6]] == [False, False, False, True, False, True]
