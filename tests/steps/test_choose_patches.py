"""Choosing patches of plates that `ingest` imported, segmented without a network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from tasks.contract import NothingToDo, Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.figures.plate_overview import DOUBTFUL_COLOUR, OUTLINE_COLOUR
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.tables import read_csv
from tasks.steps import ingest
from tasks.steps.choose_patches import TASK, Params
from tests.plates import make_plate, two_squares
from tests.segmentations import add_part

IMAGE, LABEL_IMAGE = two_squares()
SMALLER = LABEL_IMAGE.copy()
SMALLER[10:16, 23:26] = 0
"""Half of the second nucleus is missing."""
FIELDS = ("p_B07_1", "p_B08_1", "p_C07_1")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def import_plate(store: Path, name: str, label_images: Mapping[str, np.ndarray] = {}, **info: Any) -> str:
    """Import a plate of three fields with the same nuclei in other light; gives its path in the store."""
    images = {field: (IMAGE * (1 + number / 10)).astype(np.uint16) for number, field in enumerate(FIELDS)}
    folder = make_plate(store.parent / name, images, label_images, **{"role": "screen", **info})
    return execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"]


def segmentation(store: Path, plate: str, key: str, label_images: Sequence[np.ndarray]) -> str:
    fields = dict(zip(FIELDS, label_images, strict=False))
    return add_part(store, key, open_plate(store / plate), fields, {"plate": plate})


def segmented(store: Path, plate: str) -> list[str]:
    """Segment twice; the second field is segmented in two ways."""
    return [
        segmentation(store, plate, "now", [LABEL_IMAGE] * 3),
        segmentation(store, plate, "before", [LABEL_IMAGE, SMALLER, LABEL_IMAGE]),
    ]


def chosen(store: Path, plate: str, segmentations: list[str], **params: Any) -> Result:
    return execute(TASK, Params(plate=plate, segmentations=segmentations, **params), store)


def test_the_patch_that_disagrees_comes_first_and_the_random_one_is_marked(store: Path) -> None:
    plate = import_plate(store, "screened")
    result = chosen(store, plate, segmented(store, plate), amount=2, nuclei_per_patch=2, random_seed=2)
    table = read_csv(store / result.outputs["patches"], {"fov": str, "well": str})
    assert list(table) == ["rank", "fov", "well", "y0", "x0", "y1", "x1", "nuclei", "score", "is_random", "why"]
    first, second = table.to_dict("records")
    assert (first["rank"], first["fov"], first["well"], first["is_random"]) == (1, "p_B08_1", "B08", False)
    # One nucleus of two has an IoU of 0.5.
    assert (first["y0"], first["x0"], first["y1"], first["x1"], first["nuclei"], first["score"]) == (
        0,
        0,
        20,
        30,
        2,
        0.25,
    )
    assert "an IoU of 0.75 on average, in the usual patch of this plate 1.00" in first["why"]
    assert second["is_random"]
    assert "at random" in second["why"]
    assert result.counts["random_patches"] == 1


def test_a_picture_shows_the_image_then_the_proposals_and_where_another_segmentation_differs(store: Path) -> None:
    plate = import_plate(store, "screened")
    result = chosen(store, plate, segmented(store, plate)[::-1], amount=1, nuclei_per_patch=2, random_share=0)
    picture = imagecodecs.imread(store / result.outputs["pictures"] / "0001.jpg").astype(int)
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    for colour in (OUTLINE_COLOUR, DOUBTFUL_COLOUR):
        assert (np.abs(right - colour).max(axis=2) < 40).any()
        assert not (np.abs(left - colour).max(axis=2) < 40).any()


def test_the_page_shows_each_patch_with_its_score_and_reason_and_names_no_model(store: Path) -> None:
    plate = import_plate(store, "screened")
    page = (store / chosen(store, plate, segmented(store, plate), amount=2).outputs["page"]).read_text()
    assert page.count('src="data:image/jpeg;base64,') == 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "1. p_B08_1" in page
    assert "The segmentations disagree" in page
    assert not {"fpn2_ws", "segment/"} & {word for word in ("fpn2_ws", "segment/") if word in page}


def test_fields_with_labels_and_those_that_a_training_plate_has_are_left_out(store: Path) -> None:
    plate = import_plate(store, "screened", {FIELDS[1]: LABEL_IMAGE})
    trained_on = make_plate(
        store.parent / "trained_on", {"other_name": IMAGE}, {"other_name": LABEL_IMAGE}, role="train"
    )
    reference = execute(ingest.TASK, ingest.Params(folder=str(trained_on)), store).outputs["plate"]
    result = chosen(store, plate, segmented(store, plate), references=[reference], random_share=1)
    assert result.counts["annotated_fovs"] == 2
    assert read_csv(store / result.outputs["patches"])["fov"].unique().tolist() == [FIELDS[2]]


def test_there_is_nothing_to_choose_on_a_plate_that_is_annotated(store: Path) -> None:
    plate = import_plate(store, "annotated", dict.fromkeys(FIELDS, LABEL_IMAGE), role="train")
    with pytest.raises(NothingToDo, match="All segmented fields of annotated are annotated"):
        chosen(store, plate, segmented(store, plate))


def test_of_a_partly_annotated_field_the_other_patches_are_left(store: Path) -> None:
    plate = import_plate(store, "screened")
    trained_on = make_plate(store.parent / "trained_on", {"a": IMAGE}, {"a": LABEL_IMAGE}, role="train")
    ignored = np.zeros(IMAGE.shape, np.uint8)
    ignored[:, 15:] = 1
    (trained_on / "ignored").mkdir()
    tifffile.imwrite(trained_on / "ignored/a.tif", ignored)
    reference = execute(ingest.TASK, ingest.Params(folder=str(trained_on)), store).outputs["plate"]
    params = {"references": [reference], "nuclei_per_patch": 1, "random_share": 1}
    table = read_csv(store / chosen(store, plate, segmented(store, plate), **params).outputs["patches"])
    # Of 20 x 30 px with two nuclei, a patch of one has an edge of 18 px.
    places = {fov: sorted(of_fov["x0"]) for fov, of_fov in table.groupby("fov")}
    assert places == {FIELDS[0]: [15], FIELDS[1]: [0, 15], FIELDS[2]: [0, 15]}


def test_skipped_patches_are_not_offered_and_the_page_says_how_to_skip_one(store: Path) -> None:
    plate = import_plate(store, "screened")
    skipped = [{"fov": "p_B08_1", "y0": 0, "x0": 0, "y1": 20, "x1": 30}]
    result = chosen(store, plate, segmented(store, plate), nuclei_per_patch=2, random_share=1, skipped=skipped)
    assert sorted(read_csv(store / result.outputs["patches"])["fov"]) == ["p_B07_1", "p_C07_1"]
    page = (store / result.outputs["page"]).read_text()
    assert "1 was skipped so far" in page
    assert "<code>p_C07_1_y0-20_x0-30</code>" in page


def test_fields_unlike_the_training_plates_are_said_to_be_so(store: Path) -> None:
    plate = import_plate(store, "screened")
    bright = make_plate(store.parent / "bright", {"a": IMAGE * 9}, {"a": LABEL_IMAGE}, role="train")
    reference = execute(ingest.TASK, ingest.Params(folder=str(bright)), store).outputs["plate"]
    result = chosen(store, plate, segmented(store, plate), references=[reference], amount=1)
    (reason,) = read_csv(store / result.outputs["patches"])["why"]
    assert "The field is unlike the training plates: mean intensity" in reason


def test_segmentations_of_another_plate_or_of_a_part_or_given_twice_are_refused(store: Path) -> None:
    plate, other = import_plate(store, "screened"), import_plate(store, "other", {FIELDS[0]: LABEL_IMAGE})
    now, before = segmented(store, plate)
    part = segmentation(store, plate, "part", [LABEL_IMAGE])
    of_other = segmentation(store, other, "of_other", [LABEL_IMAGE] * 3)
    with pytest.raises(InputError, match=f"segment/of_other is of {other}; give those of {plate}"):
        chosen(store, plate, [now, of_other])
    with pytest.raises(InputError, match="segment/part has no label image of p_B08_1, p_C07_1, which "):
        chosen(store, plate, [now, part])
    with pytest.raises(InputError, match="one is there more than once"):
        chosen(store, plate, [before, before])
