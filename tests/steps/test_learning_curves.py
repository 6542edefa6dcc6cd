"""Learning curves, of scores and models as the tasks leave them in the store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.annotation.request import Request, write_request
from tasks.contract import Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import write_label_image
from tasks.nuclei.tables import read_csv
from tasks.steps.learning_curves import TASK, Params
from tasks.store.provenance import nuclei_trained_on
from tests.stored_results import add_model, add_plate, store_result


def training_plate(store: Path, name: str, nuclei: int, cell_line: str = "U2OS", **info: str) -> str:
    path = add_plate(store, name, cell_line, {})
    known = json.loads((store / path / "plate.json").read_text())
    (store / path / "plate.json").write_text(json.dumps(known | {"role": "train", **info}))
    row = {"fov": "a", "image": "images/a.tif", "labels": "labels/a.tif", "well": "", "site": None, "channel": None}
    (store / path / "report.json").write_text(json.dumps({"fovs": [row | {"z": None, "nuclei": nuclei}]}))
    return path


def scored(store: Path, key: str, plates: list[str], f1: float, begun_from: str = "random", test: str = "test") -> str:
    """Make what a training, `segment` and `score` leave; gives the scores."""
    add_model(store, key, plates, begun_from)
    tested = f"ingest/{test}@0123456789ab"
    if not (store / tested).exists():
        add_plate(store, test, "U2OS", {"a": [0, 1]})
    segmentation = f"segment/{key}"
    params = {"method": "fpn2_ws", "networks": [f"train_fpn2_ws/{key}"], "settings": {}, "plate": tested}
    store_result(store, segmentation, params, {"segmentation": segmentation})
    store_result(store, f"score/{key}", {"segmentations": [segmentation]})
    row = {"group": "cell_line", "name": "U2OS", "iou_threshold": 0.7, "f1": f1}
    table = pd.DataFrame([row | {"f1_low": f1 - 0.02, "f1_high": f1 + 0.02}, row | {"iou_threshold": 0.9, "f1": 0.1}])
    table.to_csv(store / f"score/{key}/f1.csv", index=False)
    return f"score/{key}"


def rounds(store: Path, f1: list[float]) -> Result:
    """Score a model after each round, in which 100 nuclei were annotated."""
    paths = [
        scored(store, f"round{number}", [training_plate(store, f"plate{number}", 100 * number)], value)
        for number, value in enumerate(f1, start=1)
    ]
    return execute(TASK, Params(scores=paths[::-1]), store)


def test_rounds_are_f1_against_the_nuclei_that_were_annotated_and_say_whether_to_go_on(tmp_path: Path) -> None:
    result = rounds(tmp_path, [0.5, 0.65, 0.74])
    table = read_csv(tmp_path / result.outputs["rounds"])
    assert table["nuclei"].to_list() == [100, 200, 300]
    assert table["f1"].to_list() == [0.5, 0.65, 0.74]
    assert result.values["U2OS"]["advice"] == "go on"
    assert result.metrics["expected_gain/U2OS"] > 0.01
    page = (tmp_path / result.outputs["page"]).read_text()
    assert "U2OS: go on." in page
    assert result.values["U2OS"]["why"] in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_after_two_rounds_it_is_too_early_to_say(tmp_path: Path) -> None:
    result = rounds(tmp_path, [0.5, 0.65])
    assert "2 rounds of annotation are too few to say" in result.values["U2OS"]["why"]
    assert result.metrics == {}


def test_nuclei_of_the_models_that_it_began_from_count_once_and_synthetic_ones_never(tmp_path: Path) -> None:
    first = training_plate(tmp_path, "first", 70)
    made = training_plate(tmp_path, "made", 900, annotation="synthetic")
    other = training_plate(tmp_path, "other", 5, cell_line="RPE1")
    add_model(tmp_path, "before", [first, made])
    add_model(tmp_path, "now", [first, training_plate(tmp_path, "second", 30), other], "train_fpn2_ws/before")
    assert nuclei_trained_on(["train_fpn2_ws/now"], tmp_path) == {"U2OS": 100, "RPE1": 5}


def annotated(store: Path, name: str, choice: str, truth: list[int], proposed: list[int]) -> str:
    """Make what is left of a plate of which one patch, the right half of a line, was annotated."""
    path = training_plate(store, name, 2)
    line = store / path / "labels" / "a.tif"
    write_label_image(line, np.array([truth], np.int32))
    rows = f"a,0,0,1,4,ranked,1\na,0,4,1,8,{choice},{name}\n"
    (store / path / "chosen_patches.csv").write_text(f"fov,y0,x0,y1,x1,choice,request\n{rows}")
    sent = store / "send_to_annotation" / name
    (sent / "sent").mkdir(parents=True)
    write_label_image(sent / "sent" / "a.tif", np.array([proposed], np.int32))
    known: dict[str, Any] = {
        "plate": "",
        "tool": "cvat",
        "target": name,
        "role": "train",
        "replicate": "biological",
        "label_set": None,
    }
    known |= {"proposals": "segmentations", "model": "version 3", "proposed_by": "", "nuclei_per_patch": 5}
    write_request(Request(**known, sheets={}), sent)
    return path


def test_f1_of_what_was_proposed_is_that_of_random_patches_alone(tmp_path: Path) -> None:
    scores = scored(tmp_path, "one", [training_plate(tmp_path, "plate", 100)], 0.5)
    truth, proposed = [1, 1, 0, 0, 2, 2, 0, 3], [0, 0, 0, 0, 2, 2, 0, 0]
    plates = [
        annotated(tmp_path, "first", "random", truth, proposed),
        annotated(tmp_path, "other", "ranked", truth, truth),
    ]
    result = execute(TASK, Params(scores=[scores], annotated=plates), tmp_path)
    (row,) = read_csv(tmp_path / result.outputs["at_random"]).to_dict("records")
    assert (row["cell_line"], row["model"], row["patches"], row["nuclei"]) == ("U2OS", "version 3", 1, 2)
    assert row["f1"] == pytest.approx(2 / 3)
    assert result.values["U2OS"]["at_random"].startswith(
        "F1 at 0.7 of version 3 on 1 patch drawn at random (2 nuclei): 0.67 (95 % CI "
    )


def test_f1_against_labels_that_a_model_proposed_itself_is_marked(tmp_path: Path) -> None:
    scores = scored(tmp_path, "one", [training_plate(tmp_path, "plate", 100)], 0.5)
    path = tmp_path / "segment/one/result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counts": {"own_proposals": 7}}))
    result = execute(TASK, Params(scores=[scores]), tmp_path)
    assert read_csv(tmp_path / result.outputs["rounds"])["own_proposals"].to_list() == [7]
    assert "Some of this F1 is too good:" in (tmp_path / result.outputs["page"]).read_text()


def test_it_is_said_that_no_random_patch_has_come_back(tmp_path: Path) -> None:
    result = rounds(tmp_path, [0.5])
    assert result.values["U2OS"]["at_random"] == ""
    assert "None has come back yet." in (tmp_path / result.outputs["page"]).read_text()


def test_difficult_patches_of_test_plates_do_not_count(tmp_path: Path) -> None:
    scores = scored(tmp_path, "one", [training_plate(tmp_path, "plate", 100)], 0.5)
    table = read_csv(tmp_path / scores / "f1.csv")
    table.assign(f1=0.7).to_csv(tmp_path / scores / "f1_at_random.csv", index=False)
    result = execute(TASK, Params(scores=[scores]), tmp_path)
    assert read_csv(tmp_path / result.outputs["rounds"])["f1"].to_list() == [0.7]


def test_scores_on_other_test_plates_are_refused(tmp_path: Path) -> None:
    plate = training_plate(tmp_path, "plate", 100)
    paths = [scored(tmp_path, "one", [plate], 0.5), scored(tmp_path, "two", [plate], 0.6, test="another")]
    with pytest.raises(InputError, match="score/two is on another, and score/one on test; give scores on the same"):
        execute(TASK, Params(scores=paths), tmp_path)
