"""Fields that several people labelled: F1 against each of them, and their agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tifffile

from tasks.contract import execute
from tasks.nuclei.tables import read_csv
from tasks.steps import report, score
from tests.stored_results import add_scored_plate, image

TRUTH = [1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0]
ONE_MISSED = [0 if label == 4 else label for label in TRUTH]


@pytest.fixture
def scores(tmp_path: Path) -> str:
    """A model that is perfect by the labels that count; a second person saw three of the four nuclei of one field."""
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, TRUTH), "b": (TRUTH, TRUTH)})
    plate = next(tmp_path.glob("ingest/p1@*"))
    (plate / "label_sets/ben").mkdir(parents=True)
    tifffile.imwrite(plate / "label_sets/ben/a.tif", image(ONE_MISSED))
    write_report(plate)
    return execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]


def write_report(plate: Path) -> None:
    """Write of what `ingest` reports what says which files a plate has."""
    rows = [
        {"fov": fov, "image": f"images/{fov}.tif", "labels": f"labels/{fov}.tif", "well": "", "site": None}
        | {"channel": None, "z": None}
        for fov in ("a", "b")
    ]
    content = {"fovs": rows, "label_sets": {"ben": {"a": "label_sets/ben/a.tif"}}}
    (plate / "report.json").write_text(json.dumps(content))


def test_each_set_is_scored_on_the_fields_that_it_holds_and_compared_with_the_one_that_counts(
    scores: str, tmp_path: Path
) -> None:
    table = read_csv(tmp_path / scores / "label_sets.csv")
    at_object_level = table[table["iou_threshold"] == 0.7]
    found = {
        (row["kind"], row["labels"]): (row["fovs"], row["nuclei"], round(row["f1"], 4))
        for row in at_object_level.to_dict("records")
    }
    assert found == {
        ("model", "manual"): (1, 4, 1.0),
        ("model", "ben"): (1, 3, round(6 / 7, 4)),
        ("agreement", "manual"): (1, 4, round(6 / 7, 4)),
    }
    assert (table["f1_low"] <= table["f1"]).all()


def test_the_report_shows_both_side_by_side_with_the_human_ceiling(scores: str, tmp_path: Path) -> None:
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), tmp_path)
    html = (tmp_path / result.outputs["report"]).read_text()
    for words in ("Whose labels", "model with manual, which counts", "model with ben", "manual with ben"):
        assert words in html
    assert list((tmp_path / result.outputs["figures"]).glob("**/label_set_p1_ben.png"))


def test_plates_with_one_label_set_have_no_such_table(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, TRUTH)})
    scored = execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]
    assert not (tmp_path / scored / "label_sets.csv").exists()
    shown = execute(report.TASK, report.Params(scores={"fpn2_ws": scored}), tmp_path)
    assert "Whose labels" not in (tmp_path / shown.outputs["report"]).read_text()
