"""Drift, of fields whose numbers can be calculated by hand."""

from typing import Any

import pandas as pd
import pytest

from tasks.nuclei.drift import Drift, compare, field_distances, field_table
from tasks.nuclei.plates.info import PlateInfo
from tests.plates import INFO


def fields(*rows: dict[str, Any], **info: Any) -> pd.DataFrame:
    """Give the table of a plate of 1 mm² fields, each with 100 nuclei, 10 at the border, unless `rows` differ."""
    usual = {"intensity_mean": 200, "intensity_p10": 100, "focus": 0.01, "dtype": "uint16"}
    usual |= {"height_px": 2000, "width_px": 2000, "nuclei": 100, "nuclei_at_edge": 10, "area_mean_px": 400}
    return field_table(PlateInfo(**(INFO | info)), [usual | row for row in rows])


def intensities(*means: float, **more: Any) -> pd.DataFrame:
    return fields(*({"intensity_mean": mean} | more for mean in means))


def drift(measure: str, plate: pd.DataFrame, references: pd.DataFrame) -> Drift:
    return next(drift for drift in compare(plate, references) if drift.measure.name == measure)


def test_a_field_is_measured_in_micrometres_and_millimetres() -> None:
    (field,) = fields({"height_px": 1000}, pixel_size_um=0.5).to_dict("records")
    assert {name: field[name] for name in ("intensity", "background", "focus")} == {
        "intensity": 200,
        "background": 100,
        "focus": 0.01,
    }
    assert (field["area"], field["density"], field["border_share"]) == (400 * 0.25, 200, 10)


def test_the_distance_is_the_difference_of_the_medians_by_the_robust_spread_of_the_references() -> None:
    found = drift("intensity", intensities(1000, 420, 430), intensities(100, 200, 300))
    # The median absolute deviation of the references is 100.
    assert found.distance == pytest.approx((430 - 200) / 148.26)
    assert not found.is_outlier


@pytest.mark.parametrize(("median", "is_outlier"), [(289, False), (291, True), (111, False), (109, True)])
def test_of_references_that_are_alike_the_spread_is_15_percent(median: float, is_outlier: bool) -> None:
    assert drift("intensity", intensities(median), intensities(200, 200, 200)).is_outlier == is_outlier


def test_a_single_reference_field_is_enough() -> None:
    assert drift("intensity", intensities(400), intensities(200)).distance == pytest.approx(200 / 30)


def test_a_background_of_0_has_a_spread_of_one_grey_level() -> None:
    found = drift("background", fields({"intensity_p10": 2}), fields({"intensity_p10": 0}))
    assert (found.distance, found.is_outlier) == (2, False)


def test_higher_and_lower_mean_other_things() -> None:
    assert "a longer exposure" in drift("intensity", intensities(900), intensities(200)).perhaps
    assert "a shorter exposure" in drift("intensity", intensities(9), intensities(200)).perhaps


def test_intensities_of_another_bit_depth_are_not_compared() -> None:
    found = drift("intensity", intensities(20, dtype="uint8"), intensities(5000))
    assert not found.is_compared
    assert not found.is_outlier
    assert found.why_not_compared == "no training field of the same bit depth"


def test_of_references_of_both_bit_depths_those_like_the_plate_count() -> None:
    references = pd.concat([intensities(5000, 5000, 5000), intensities(20, dtype="uint8")])
    plate = pd.concat([intensities(20, 20, dtype="uint8"), intensities(5000)])
    found = drift("intensity", plate, references)
    assert (found.distance, len(found.plate), len(found.references)) == (0, 2, 1)


def test_focus_of_another_pixel_size_is_not_compared_but_areas_are() -> None:
    plate, references = fields({"area_mean_px": 100}, pixel_size_um=1), fields({}, pixel_size_um=0.5)
    assert drift("focus", plate, references).why_not_compared == "no training field of the same pixel size"
    assert drift("area", plate, references).distance == 0


def test_without_labels_only_the_images_are_compared() -> None:
    row = {"intensity_mean": 200, "intensity_p10": 100, "focus": 0.01, "dtype": "uint16"}
    row |= {"height_px": 2000, "width_px": 2000, "labels": None}
    found = compare(field_table(PlateInfo(**INFO), [row]), fields({}))
    assert [one.measure.name for one in found if one.is_compared] == ["intensity", "background", "focus"]
    assert {one.why_not_compared for one in found if not one.is_compared} == {"not measured on this plate"}


def test_fields_without_nuclei_count_for_the_density_only() -> None:
    empty = {"nuclei": 0, "nuclei_at_edge": 0, "area_mean_px": None}
    plate = fields(empty, empty, {})
    assert drift("density", plate, fields({})).plate_median == 0
    assert drift("density", plate, fields({})).is_outlier
    assert drift("area", plate, fields({})).distance == 0
    assert len(drift("border_share", plate, fields({})).plate) == 1


def test_a_field_by_itself_has_a_distance_in_each_measure_that_can_be_compared() -> None:
    plate = pd.concat([intensities(200, 800), intensities(500, dtype="uint8")], ignore_index=True)
    found = field_distances(plate, intensities(100, 200, 300))
    assert found["intensity"].to_list() == pytest.approx([0, 600 / 148.26, float("nan")], nan_ok=True)
    assert found["density"].to_list() == [0, 0, 0]


def test_of_a_field_in_part_the_density_is_that_of_the_part_and_nothing_is_said_of_the_border() -> None:
    in_part = fields({"ignored_share": 0.75, "nuclei": 25, "nuclei_at_edge": 0})
    assert in_part["density"].tolist() == fields({})["density"].tolist()
    assert in_part["border_share"].isna().all()
