"""Models beside each other on the same parts of fields."""

import numpy as np

from tasks.nuclei.figures.error_masks import DIFFERENCE_COLOUR, MISSED_COLOURS, error_masks
from tasks.nuclei.figures.model_panels import Predicted, ShownField, model_panels, shown_window

TRUTH = np.zeros((80, 80), np.int32)
TRUTH[10:20, 10:20], TRUTH[40:50, 40:50] = 1, 2


def predicted(label_image: np.ndarray) -> Predicted:
    return Predicted(label_image, error_masks(TRUTH, label_image, 0.7))


def field(name: str, **predictions: np.ndarray) -> ShownField:
    grey = np.full(TRUTH.shape, 100, np.uint8)
    return ShownField(name, grey, TRUTH, {model: predicted(found) for model, found in predictions.items()}, 0.5)


def test_each_field_is_a_row_of_truth_then_each_model_s_nuclei_then_each_model_s_errors() -> None:
    figure = model_panels([field("MCF10A", A=TRUTH, B=TRUTH), field("U2OS", A=TRUTH, B=TRUTH)])
    assert [axes.get_title() for axes in figure.axes[:5]] == ["GT", "A", "B", "A", "B"]
    assert len(figure.axes) == 10
    assert [text.get_text() for text in figure.texts] == ["Inference", "GT XOR Inference"]
    assert [axes.texts[0].get_text() for axes in figure.axes[::5]] == ["MCF10A", "U2OS"]


def test_a_missed_nucleus_is_coloured_whole_and_of_a_found_one_the_pixels_that_differ() -> None:
    found = np.where(TRUTH == 1, 0, TRUTH)
    found[40:50, 50] = 2
    (_, _, errors) = model_panels([field("U2OS", A=found)]).axes
    picture = np.asarray(errors.images[0].get_array())
    assert picture[45, 50].tolist() == DIFFERENCE_COLOUR.tolist()
    assert picture[45, 45].tolist() == [100, 100, 100]
    missed = picture[11:19, 11:19].reshape(-1, 3).astype(float)
    # Any shade of the colour of the label.
    np.testing.assert_allclose(missed / missed.max(), np.ones((64, 1)) * MISSED_COLOURS[1] / 240, atol=0.02)


def test_a_model_that_did_not_segment_a_field_has_an_empty_panel_there() -> None:
    figure = model_panels([field("MCF10A", A=TRUTH, B=TRUTH), field("U2OS", A=TRUTH)])
    assert [len(axes.images) for axes in figure.axes[5:]] == [1, 1, 0, 1, 0]


def test_the_window_is_where_truth_is_densest_and_never_larger_than_the_field() -> None:
    labels = np.zeros((300, 200), np.int32)
    for number in range(9):
        y, x = divmod(number, 3)
        labels[200 + 12 * y : 210 + 12 * y, 100 + 12 * x : 110 + 12 * x] = number + 1
    labels[5:15, 5:15] = 10
    window = shown_window(labels)
    assert len(np.unique(window.of(labels))) == 10
    assert window.of(labels).shape == (102, 102)
    assert shown_window(labels[:50]).of(labels[:50]).shape == (50, 50)
