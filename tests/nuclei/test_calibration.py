"""Choosing thresholds on fields whose nuclei are known."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tasks.methods.fpn2_ws.method import METHOD, Settings
from tasks.methods.fpn2_ws.nuclei import Maps, nuclei_from_maps
from tasks.nuclei.calibration import KnownField, NucleiIn, Trial, calibrate_cell_lines
from tasks.nuclei.calibration import calibrate as calibrate_any
from tasks.nuclei.scoring import count, f1_score, score_instances
from tasks.nuclei.segmentation import Nuclei, within_limits
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.nuclei.targets import blurred_border, distance_map

SETTINGS = Settings()
MARKER_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FOREGROUND_THRESHOLDS = (0.05, 0.09, 0.10, 0.14)
SEARCHED = (("marker_threshold", MARKER_THRESHOLDS), ("foreground_threshold", FOREGROUND_THRESHOLDS))


def nuclei_in(seen: Any, settings: Any) -> Nuclei:
    distance_map, blurred_border = seen
    return nuclei_from_maps(Maps(distance_map, blurred_border), settings)


def calibrate(fields: list[KnownField], settings: Settings) -> list[Trial]:
    return calibrate_any(fields, nuclei_in, settings, SEARCHED, threads=2)


def field_that_needs(marker_threshold: float, foreground_threshold: float) -> KnownField:
    """Two nuclei whose halves are parted, and whose outlines lie right, only near these thresholds.

    Each nucleus's top is just above the marker threshold and a bridge between the two just below. Along the
    outline, the outermost pixels are just above the foreground threshold and those beyond just below.
    """
    distance_map = np.zeros((40, 60), np.float32)
    true_labels = np.zeros((40, 60), np.uint16)
    distance_map[6:34, 6:54] = foreground_threshold - 0.005
    distance_map[10:30, 10:50] = foreground_threshold + 0.005
    distance_map[11:29, 11:49] = marker_threshold - 0.05
    distance_map[12:28, 12:28] = distance_map[12:28, 32:48] = marker_threshold + 0.05
    true_labels[10:30, 10:30], true_labels[10:30, 30:50] = 1, 2
    border = np.zeros((40, 60), np.float32)
    border[10:30, 29:31] = 1e-3
    return KnownField((distance_map, border), true_labels)


@pytest.mark.parametrize(("marker_threshold", "foreground_threshold"), [(0.7, 0.05), (0.5, 0.14), (0.4, 0.10)])
def test_the_thresholds_that_give_the_true_nuclei_come_first(marker_threshold, foreground_threshold):
    best = calibrate([field_that_needs(marker_threshold, foreground_threshold)], SETTINGS)[0]
    assert best.values == {"marker_threshold": marker_threshold, "foreground_threshold": foreground_threshold}
    assert best.f1_at(0.7) == 1


def test_nuclei_in_ignored_pixels_do_not_count():
    wanted, other = field_that_needs(0.7, 0.05), field_that_needs(0.4, 0.10)
    seen = tuple(np.hstack(maps) for maps in zip(wanted.seen, other.seen, strict=True))
    true_labels = np.hstack([wanted.true_labels, np.zeros_like(other.true_labels)])
    ignored = np.hstack([np.zeros((40, 60), bool), np.ones((40, 60), bool)])
    best = calibrate([KnownField(seen, true_labels, ignored=ignored)], SETTINGS)[0]
    assert best.values == {"marker_threshold": 0.7, "foreground_threshold": 0.05}
    assert best.f1_at(0.7) == 1


def test_every_trial_says_what_the_segmentation_reaches_with_its_thresholds():
    field = field_that_needs(0.7, 0.05)
    trials = calibrate([field], SETTINGS)
    others = [trial.mean_f1 for trial in trials[1:]]
    assert others == sorted(others, reverse=True)
    for trial in trials:
        found = nuclei_in(field.seen, SETTINGS.model_copy(update=trial.values)).label_image
        counts = count(score_instances(field.true_labels, found))
        assert np.array_equal(trial.f1, f1_score(counts.tp, counts.fp, counts.fn))


def test_every_threshold_is_tried_and_no_combination_twice():
    trials = calibrate([field_that_needs(0.6, 0.1)], SETTINGS)
    assert {trial.values["foreground_threshold"] for trial in trials} == set(FOREGROUND_THRESHOLDS)
    assert {trial.values["marker_threshold"] for trial in trials} == set(MARKER_THRESHOLDS)
    assert len({tuple(trial.values.values()) for trial in trials}) == len(trials)


def reaching(f1_by: Callable[..., float]) -> NucleiIn:
    """Find so many of 100 true nuclei, and nothing else, that a function of the settings gives the F1."""

    def nuclei_in(seen: Any, settings: Any) -> Nuclei:
        f1 = f1_by(settings)
        found = round(100 * f1 / (2 - f1))
        return Nuclei(np.where(seen <= found, seen, 0), np.full(found, np.nan, np.float32))

    return nuclei_in


HUNDRED = np.kron(np.arange(1, 101, dtype=np.int32).reshape(10, 10), np.ones((3, 3), np.int32))


def test_a_threshold_on_a_plateau_is_preferred_to_a_slightly_better_one_at_the_edge_of_a_cliff():
    f1 = {0.3: 0.8, 0.4: 0.85, 0.5: 0.88, 0.6: 0.9, 0.7: 0.15, 0.8: 0.1}
    found_in = reaching(lambda settings: f1[settings.marker_threshold])
    best, *others = calibrate_any([KnownField(HUNDRED, HUNDRED)], found_in, SETTINGS, SEARCHED[:1], threads=1)
    assert best.values == {"marker_threshold": 0.5}
    assert max(others, key=lambda trial: trial.mean_f1).values == {"marker_threshold": 0.6}


def test_thresholds_that_depend_on_each_other_are_found_together():
    """With the foreground threshold at the start, another marker threshold is best than with the best one."""

    def f1_by(settings: Any) -> float:
        beside = settings.foreground_threshold - 0.14
        return float(max(0.9 - 5 * (settings.marker_threshold - 0.5 - 2 * beside) ** 2 - 60 * beside**2, 0))

    best = calibrate_any([KnownField(HUNDRED, HUNDRED)], reaching(f1_by), SETTINGS, SEARCHED, threads=1)[0]
    assert best.values == {"marker_threshold": 0.5, "foreground_threshold": 0.14}


def test_only_the_region_counts_of_a_field_that_is_segmented_whole():
    known = KnownField(HUNDRED, HUNDRED[:, 15:], region=(slice(None), slice(15, None)))
    found_in = reaching(lambda settings: 0.5 if settings.marker_threshold > 0.55 else 1.0)
    best, *_ = calibrate_any([known], found_in, SETTINGS, SEARCHED[:1], threads=1)
    assert (best.values["marker_threshold"], best.f1_at(0.9)) == (0.4, 1)


def test_of_equal_thresholds_those_nearest_to_the_given_ones_come_first():
    perfect = np.zeros((40, 60), np.float32)
    perfect[10:30, 10:30] = 1
    field = KnownField((perfect, np.zeros_like(perfect)), perfect.astype(np.uint16))
    best = calibrate([field], SETTINGS)[0]
    assert best.values == {"marker_threshold": 0.6, "foreground_threshold": 0.09}


def test_the_lobes_of_eosinophils_stay_together_since_low_marker_thresholds_are_searched():
    """The deeper the notches of a nucleus are, the lower is its distance map between the lobes."""
    fields = []
    for seed in range(2):
        labels = synthesize_fov(KINDS["Eosinophils"], (200, 200), np.random.default_rng(seed)).label_image
        fields.append(KnownField((distance_map(labels), blurred_border(labels)), labels))

    def f1_of_best(values: Sequence[float]) -> tuple[float, float]:
        best, *_ = calibrate_any(fields, nuclei_in, SETTINGS, [("marker_threshold", values)], threads=1)
        return best.values["marker_threshold"], best.f1_at(0.7)

    marker_threshold, f1 = f1_of_best(METHOD.search["marker_threshold"])
    assert marker_threshold == min(METHOD.search["marker_threshold"]) == 0.15
    assert f1 == 1
    assert f1_of_best([SETTINGS.marker_threshold])[1] < 0.4


LIMITED = (("marker_threshold", (0.5, 0.6)), ("min_area_px", (20, 60)), ("min_confidence", (0.0, 0.3, 0.6, 0.9)))


def field_with_false_nuclei() -> KnownField:
    """Three true nuclei, of which one is small, a speck that looks perfect, and a blunt piece as large as a nucleus."""
    true_labels = np.zeros((60, 120), np.uint16)
    true_labels[10:30, 10:30], true_labels[10:30, 40:60], true_labels[10:20, 70:80] = 1, 2, 3
    found = true_labels.copy()
    found[40:45, 10:15], found[35:55, 40:60] = 4, 5
    perfect = distance_map(found)
    perfect[found == 5] = np.minimum(0.65, 3 * perfect[found == 5])
    return KnownField((perfect, blurred_border(found)), true_labels)


def test_the_least_area_and_the_least_confidence_are_chosen_together_and_remove_false_nuclei():
    best = calibrate_any([field_with_false_nuclei()], nuclei_in, SETTINGS, LIMITED, threads=1)[0]
    assert (best.values["min_area_px"], best.f1_at(0.7)) == (60, 1)
    assert best.values["min_confidence"] in (0.6, 0.9)


def test_what_limits_leave_is_counted_as_if_it_was_segmented_with_them():
    field = field_with_false_nuclei()
    trials = calibrate_any([field], nuclei_in, SETTINGS, LIMITED, threads=1)
    assert len({trial.f1_at(0.7) for trial in trials}) > 2
    for trial in trials:
        found = nuclei_in(field.seen, SETTINGS.model_copy(update=trial.values)).label_image
        counts = count(score_instances(field.true_labels, found))
        assert np.array_equal(trial.f1, f1_score(counts.tp, counts.fp, counts.fn))


def test_limits_are_tried_without_segmenting_again():
    asked = []

    def noted(seen: Any, settings: Any) -> Nuclei:
        asked.append(settings)
        return nuclei_in(seen, settings)

    trials = calibrate_any([field_with_false_nuclei()], noted, SETTINGS, LIMITED, threads=1)
    assert (len(trials), len(asked)) == (2 + 2 * 4, 2)


def test_a_method_without_confidences_keeps_its_nuclei_whatever_the_least_one_is():
    def unsure(seen: Any, settings: Any) -> Nuclei:
        found = nuclei_in(seen, settings)
        return Nuclei(found.label_image, np.full_like(found.confidences, np.nan))

    trials = calibrate_any([field_with_false_nuclei()], unsure, SETTINGS, LIMITED[2:], threads=1)
    assert len({trial.mean_f1 for trial in trials}) == 1
    assert trials[0].values == {"min_confidence": 0}


def test_fields_count_together_by_their_nuclei():
    many, one = field_that_needs(0.7, 0.05), field_that_needs(0.4, 0.14)
    best = calibrate([many, many, many, one], SETTINGS)[0]
    assert best.values == {"marker_threshold": 0.7, "foreground_threshold": 0.05}


def test_limits_of_areas_are_tried_in_pixels_as_the_networks_see_a_field():
    """A nucleus of 100 px and, of 36 px, something else."""
    labels = np.zeros((30, 30), np.int32)
    labels[2:12, 2:12], labels[20:26, 20:26] = 1, 2
    true_labels = np.where(labels == 1, 1, 0)

    def best_minimum(zoom: float) -> float:
        field = KnownField(labels, true_labels, zoom)
        best, *_ = calibrate_any([field], found_in, SETTINGS, [("min_area_px", (20, 50, 150, 500))], threads=1)
        return best.values["min_area_px"]

    def found_in(seen: Any, settings: Any) -> Nuclei:
        return within_limits(seen, None, settings)

    assert best_minimum(zoom=1) == 50
    assert best_minimum(zoom=2) == 150


def test_a_cell_line_gets_settings_of_its_own_where_it_has_enough_nuclei_and_they_are_clearly_better():
    usual = SETTINGS.model_copy(update={"marker_threshold": 0.6})

    def chosen(f1_with_other: float, nuclei: int) -> float:
        true_labels = np.where(nuclei >= HUNDRED, HUNDRED, 0)
        found_in = reaching(lambda settings: 0.8 if settings.marker_threshold == 0.6 else f1_with_other)
        fields = {"small": [KnownField(true_labels, true_labels)]}
        return calibrate_cell_lines(fields, found_in, usual, SEARCHED[:1], threads=1)["small"][0].values[
            "marker_threshold"
        ]

    assert chosen(0.9, nuclei=100) != 0.6
    assert chosen(0.804, nuclei=100) == 0.6
    assert chosen(0.9, nuclei=40) == 0.6


def test_settings_for_a_cell_line_are_settings_of_the_method():
    settings = Settings(min_area_px=30, for_cell_lines={"U2OS": {"marker_threshold": 0.3}})
    assert settings.of_cell_line("U2OS") == Settings(min_area_px=30, marker_threshold=0.3)
    assert settings.of_cell_line("HeLa") == Settings(min_area_px=30)
    for wrong in ({"marker": 0.3}, {"marker_threshold": 1.5}):
        with pytest.raises(ValueError, match="marker"):
            Settings(for_cell_lines={"U2OS": wrong})
