"""Fields that several people labelled: F1 against each of them, and their agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import tifffile

from tasks.contract import execute
from tasks.nuclei import shared_proposals
from tasks.nuclei.own_proposals import MARK, MEANING
from tasks.nuclei.plates.origins import COLUMNS, write_origins
from tasks.nuclei.tables import read_csv, write_csv
from tasks.steps import report, score
from tests.stored_results import add_plate, add_scored_plate, add_segmentation, image

TRUTH = [1, 1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 0]
ONE_MISSED = [0 if label == 4 else label for label in TRUTH]


@pytest.fixture
def scores(tmp_path: Path) -> str:
    """A model that is perfect by the labels that count; a second person saw three of the four nuclei of one field."""
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, TRUTH), "b": (TRUTH, TRUTH)})
    plate = next(tmp_path.glob("ingest/p1@*"))
    add_second_set(plate)
    return execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]


def add_second_set(plate: Path) -> None:
    (plate / "label_sets/ben").mkdir(parents=True)
    tifffile.imwrite(plate / "label_sets/ben/a.tif", image(ONE_MISSED))
    write_report(plate)


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


def test_only_f1_against_the_labels_that_the_model_proposed_itself_is_marked(tmp_path: Path) -> None:
    plate = tmp_path / add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH, "b": TRUTH})
    add_second_set(plate)
    rows = [("a", 1, "accepted", "version 1", "fpn2_ws:"), ("a", 2, "drawn", "", ""), ("b", 1, "drawn", "", "")]
    write_origins(pd.DataFrame(rows, columns=list(COLUMNS)), plate / "label_sets/ben")
    # On the field that isn't in the set of Ben, the model proposed one of the labels that count.
    own = pd.DataFrame([("b", 1, "accepted", "version 1", "fpn2_ws:")], columns=list(COLUMNS))
    write_origins(own, plate)
    segmentation = add_segmentation(tmp_path, plate.relative_to(tmp_path).as_posix(), {"a": TRUTH, "b": TRUTH})
    scores = execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]
    table = read_csv(tmp_path / scores / "label_sets.csv")
    of_model = table[table["kind"] == "model"]
    assert of_model.groupby("labels")["own_proposals"].unique().map(list).to_dict() == {"manual": [0], "ben": [1]}
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), tmp_path)
    html = (tmp_path / result.outputs["report"]).read_text()
    assert f"model with ben {MARK}</td>" in html
    assert "model with manual, which counts</td>" in html
    assert html.count(f"{MARK} {MEANING}.") == 1


@pytest.mark.parametrize(
    ("counting", "other", "shared"),
    [
        pytest.param(("accepted", "fpn2_ws:a"), ("corrected", "fpn2_ws:a"), True, id="both corrected one model"),
        pytest.param(("accepted", "fpn2_ws:a"), ("corrected", "classical:"), False, id="each corrected another model"),
        pytest.param(("accepted", "fpn2_ws:a"), ("drawn", ""), False, id="one drew by hand"),
        pytest.param(("drawn", ""), ("drawn", ""), False, id="both drew by hand"),
    ],
)
def test_agreement_of_people_who_corrected_the_same_proposals_is_marked_as_no_human_ceiling(
    counting: tuple[str, str], other: tuple[str, str], shared: bool, tmp_path: Path
) -> None:
    plate = tmp_path / add_plate(tmp_path, "p1", "U2OS", {"a": TRUTH, "b": TRUTH})
    add_second_set(plate)
    for folder, (origin, proposed_by) in ((plate, counting), (plate / "label_sets/ben", other)):
        rows = [("a", 1, origin, "a model", proposed_by), ("a", 2, "drawn", "", "")]
        write_origins(pd.DataFrame(rows, columns=list(COLUMNS)), folder)
    segmentation = add_segmentation(tmp_path, plate.relative_to(tmp_path).as_posix(), {"a": TRUTH, "b": TRUTH})
    scores = execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]
    table = read_csv(tmp_path / scores / "label_sets.csv")
    assert table.groupby("kind")["shared_proposals"].max().to_dict() == {"agreement": 2 * shared, "model": 0}
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), tmp_path)
    html = (tmp_path / result.outputs["report"]).read_text()
    assert (f"manual with ben {shared_proposals.MARK}</td>" in html) == shared
    assert html.count(f"{shared_proposals.MARK} {shared_proposals.MEANING}.") == shared


def test_scores_of_before_these_were_counted_are_shown_without_a_mark(scores: str, tmp_path: Path) -> None:
    path = tmp_path / scores / "label_sets.csv"
    write_csv(read_csv(path).drop(columns=["own_proposals", "shared_proposals"]), path)
    result = execute(report.TASK, report.Params(scores={"fpn2_ws": scores}), tmp_path)
    html = (tmp_path / result.outputs["report"]).read_text()
    assert MARK not in html
    assert shared_proposals.MARK not in html


def test_plates_with_one_label_set_have_no_such_table(tmp_path: Path) -> None:
    segmentation = add_scored_plate(tmp_path, "p1", "U2OS", {"a": (TRUTH, TRUTH)})
    scored = execute(score.TASK, score.Params(segmentations=[segmentation]), tmp_path).outputs["scores"]
    assert not (tmp_path / scored / "label_sets.csv").exists()
    shown = execute(report.TASK, report.Params(scores={"fpn2_ws": scored}), tmp_path)
    assert "Whose labels" not in (tmp_path / shown.outputs["report"]).read_text()
