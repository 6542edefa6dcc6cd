"""Choosing patches, of segmentations that can be compared by eye."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.nuclei.choosing_patches import choose, patch_scores, strata, why, without_skipped
from tasks.nuclei.patch_grid import Patch

LEFT, RIGHT = Patch(0, 0, 10, 20), Patch(0, 20, 10, 40)


def squares(*boxes: tuple[int, int]) -> np.ndarray:
    """A field of 10 x 40 px with nuclei of 4 rows: where each begins and how wide it is."""
    label_image = np.zeros((10, 40), np.int32)
    for number, (x, width) in enumerate(boxes, start=1):
        label_image[2:6, x : x + width] = number
    return label_image


def patches(*changes: Mapping[str, Any]) -> pd.DataFrame:
    """Candidates with 50 nuclei each, of one well and one stratum unless they say otherwise."""
    usual = {"fov": "f", "well": "B07", "stratum": 0, "nuclei": 50, "nuclei_seen": 50.0, "score": 0.5}
    return pd.DataFrame([usual | dict(change) for change in changes])


def scores_of(chosen: pd.DataFrame) -> list[float]:
    return chosen["score"].to_list()


def test_the_score_is_the_mean_over_nuclei_of_1_minus_the_iou() -> None:
    one, other = squares((2, 4), (10, 4), (25, 4)), squares((2, 4), (10, 8), (25, 4))
    left, right = patch_scores([one, other], [LEFT, RIGHT]).to_dict("records")
    # IoU 1 and 0.5, for both nuclei of both segmentations.
    assert (left["nuclei"], left["score"], right["nuclei"], right["score"]) == (2, 0.25, 1, 0)


def test_nuclei_that_only_one_segmentation_has_disagree_wholly_whichever_it_is() -> None:
    one, none = squares((2, 4)), squares()
    assert patch_scores([one, none], [LEFT])["score"].to_list() == [1]
    table = patch_scores([none, one], [LEFT])
    assert (table["score"][0], table["nuclei"][0], table["nuclei_seen"][0]) == (1, 0, 0.5)


def test_of_three_segmentations_all_pairs_count() -> None:
    one, other = squares((2, 4)), squares((2, 8))
    # Of three pairs, two have an IoU of 0.5.
    assert patch_scores([one, one, other], [LEFT])["score"][0] == pytest.approx(1 / 3)


def test_a_patch_without_nuclei_has_the_score_0() -> None:
    assert patch_scores([squares(), squares()], [LEFT])["score"].to_list() == [0]


def test_those_that_disagree_most_come_first_and_those_that_agree_not_at_all() -> None:
    wells = [{"well": f"B0{number}", "score": score} for number, score in enumerate((0.1, 0.4, 0.0, 0.3))]
    assert scores_of(choose(patches(*wells), 4, random_share=0, random_seed=0)) == [0.4, 0.3, 0.1]


def test_a_bad_well_does_not_take_all_places() -> None:
    bad = [{"well": "B07", "score": 0.9 - n / 100} for n in range(10)]
    others = [{"well": f"C0{n}", "score": 0.4} for n in range(4)]
    chosen = choose(patches(*bad, *others), 7, random_share=0, random_seed=0)
    assert chosen["well"].to_list() == ["B07", "B07", "C00", "C01", "C02", "C03", "B07"]


def test_without_wells_patches_are_spread_over_fields() -> None:
    fields = [{"well": "", "fov": fov, "score": score} for fov, score in (("a", 0.5), ("a", 0.49), ("b", 0.3))]
    assert scores_of(choose(patches(*fields), 2, random_share=0, random_seed=0)) == [0.5, 0.3]


def test_patches_are_spread_over_how_unlike_the_training_plates_their_fields_are() -> None:
    wells = [{"well": f"B0{n}", "stratum": stratum, "score": 0.5 - n / 100} for n, stratum in enumerate((2, 2, 0))]
    assert choose(patches(*wells), 2, random_share=0, random_seed=0)["stratum"].to_list() == [2, 0]


def test_a_speck_that_only_one_segmentation_has_is_no_reason_to_annotate() -> None:
    speck = {"well": "B08", "score": 1.0, "nuclei": 1, "nuclei_seen": 0.5}
    assert scores_of(choose(patches(speck, {"score": 0.3}), 1, random_share=0, random_seed=0)) == [0.3]


def test_a_fifth_is_drawn_at_random_spread_over_the_order_and_the_same_with_the_same_seed() -> None:
    candidates = patches(*[{"well": f"{n}", "score": n / 100} for n in range(100)])
    chosen = choose(candidates, 20, random_share=0.2, random_seed=3)
    assert np.flatnonzero(chosen["is_random"]).tolist() == [4, 9, 14, 19]
    assert chosen.equals(choose(candidates, 20, random_share=0.2, random_seed=3))
    assert chosen.index.is_unique


def test_random_patches_are_drawn_from_all_not_from_those_that_ranking_leaves() -> None:
    candidates = patches(*[{"well": f"{n}", "score": n / 10} for n in range(10)])
    drawn = [choose(candidates, 5, 0.2, seed).query("is_random")["score"].iloc[0] for seed in range(200)]
    assert np.mean(np.array(drawn) >= 0.6) == pytest.approx(0.4, abs=0.1)
    assert 0 in drawn


def test_a_small_plate_gives_as_many_patches_as_it_has() -> None:
    assert len(choose(patches({}, {}), 20, random_share=0.2, random_seed=0)) == 2


def test_fields_are_divided_into_thirds_by_their_largest_distance() -> None:
    distances = pd.DataFrame({"focus": [0.1, -5, 1], "area": [2, 0, np.nan]}, index=["a", "b", "c"])
    assert strata(distances).to_dict() == {"c": 0, "a": 1, "b": 2}
    assert strata(distances * np.nan).to_list() == [0, 0, 0]


def test_a_reason_names_the_iou_what_is_unusual_and_where_there_may_be_nothing() -> None:
    chosen = patches({"score": 0.4}, {"nuclei": 0}).assign(is_random=[False, True])
    none = dict.fromkeys(("intensity", "background", "focus", "area", "density", "border_share"), np.nan)
    disagreeing, at_random = why(chosen, 0.1, pd.DataFrame([none | {"focus": -4.2, "area": 3.5}, none]))
    assert "an IoU of 0.60 on average, in the usual patch of this plate 0.90." in disagreeing
    assert "focus at a distance of -4.2, perhaps images out of focus" in disagreeing
    assert at_random == (
        "Drawn at random, for an unbiased estimate. Nothing is proposed here: perhaps there is nothing to annotate."
    )


@pytest.mark.parametrize(
    ("skipped", "left"), [([RIGHT], [0]), ([Patch(0, 0, 10, 9)], [0, 1]), ([Patch(0, 0, 6, 40)], [])]
)
def test_a_patch_is_skipped_if_most_of_it_was(skipped: list[Patch], left: list[int]) -> None:
    scored = pd.DataFrame([LEFT, RIGHT], columns=list(Patch._fields))
    assert without_skipped(scored, skipped).index.to_list() == left
