"""What the notes of DAG runs say of label images that look wrong."""

from __future__ import annotations

from typing import Any

from nucleus_dags.planning.remarks import remarks_on_segmentations


def segmented(doubts: list[str], count: int, plate: str = "ingest/t@0123456789ab") -> Any:
    return {
        "params": {"plate": plate},
        "counts": {"fovs": 40, "nuclei": 900, "doubtful_fovs": count},
        "outputs": {"segmentation": "segment/k"},
        "values": {"doubts": doubts},
    }


def test_label_images_that_look_wrong_are_counted_by_plate_and_named() -> None:
    assert remarks_on_segmentations([segmented([], 0), segmented(["B07: tool: looks like a mask"], 1)]) == [
        "- **t**: 1 of 40 label images look wrong, and count all the same; look at them:",
        "  - B07: tool: looks like a mask",
    ]


def test_of_many_the_first_are_named_and_where_the_others_are() -> None:
    *_, last = remarks_on_segmentations([segmented([f"{number}: wrong" for number in range(20)], 30)])
    assert last == "  - and 25 more, in doubts.json in segment/k"


def test_a_result_from_before_this_was_looked_for_says_nothing() -> None:
    old: Any = {"params": {"plate": "ingest/t@0"}, "counts": {"fovs": 3, "nuclei": 5}, "values": {}}
    assert remarks_on_segmentations([old]) == []


def test_what_is_in_doubt_of_a_whole_plate_is_said_once_though_every_part_says_it() -> None:
    part: Any = {
        **segmented([], 0),
        "values": {"doubts": [], "remarks": ["its nuclei seem to be 20 px across, but ..."]},
    }
    assert remarks_on_segmentations([part, part]) == ["- **t**: its nuclei seem to be 20 px across, but ..."]
