"""Drift of plates that `ingest` froze."""

import base64
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import NothingToDo, Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.steps import assemble_plate, ingest
from tasks.steps.drift import TASK, Params, _with_nuclei_found
from tasks.store.registered_model import ModelName
from tests.plates import make_plate, two_squares
from tests.segmentations import add_part
from tests.tracked import track_in

IMAGE, LABEL_IMAGE = two_squares()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def import_plate(store: Path, name: str, image: np.ndarray = IMAGE, labelled: bool = True, **info: Any) -> str:
    """Import a plate of two fields; gives its path in the store."""
    images = {"a": image, "b": np.flip(image)}
    label_images = {"a": LABEL_IMAGE, "b": np.flip(LABEL_IMAGE)} if labelled else {}
    folder = make_plate(store.parent / name, images, label_images, **info)
    return execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"]


def drift(store: Path, plate: str, references: Sequence[str]) -> Result:
    return execute(TASK, Params(plate=plate, references=list(references)), store)


def text_of(store: Path, result: Result) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", (store / result.outputs["page"]).read_text()).split())


def test_a_plate_like_its_references_has_no_warning(store: Path) -> None:
    result = drift(store, import_plate(store, "new"), [import_plate(store, "one"), import_plate(store, "two")])
    assert result.counts == {"outliers": 0}
    measures = ("intensity", "background", "focus", "area", "density", "border_share")
    assert result.metrics == dict.fromkeys(measures, 0)
    assert (store / result.outputs["warnings"]).read_text() == ""
    assert "No measure is an outlier." in text_of(store, result)


def test_a_brighter_plate_is_warned_of_in_the_log_the_table_and_the_page(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = drift(store, import_plate(store, "bright", IMAGE * 3), [import_plate(store, "one")])
    assert result.counts == {"outliers": 2}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    # 52 px of 1,000 and 548 of 100, on average 178.
    assert warnings[0] == (
        "bright is an outlier: mean intensity 534 grey levels, on the training plates 178 grey levels "
        "(distance +13.3); perhaps a longer exposure, a stronger lamp or stain, or more nuclei."
    )
    assert (store / result.outputs["warnings"]).read_text().splitlines() == [
        warning.removeprefix("bright is an outlier: ") for warning in warnings
    ]
    table = pd.read_csv(store / result.outputs["table"], index_col="measure")
    assert table.index[table["is_outlier"]].to_list() == ["intensity", "background"]
    assert (table["plate_fields"]["area"], table["unit"]["area"], table["plate_median"]["area"]) == (2, "µm²", 6.5)
    assert "Outliers: mean intensity, background." in text_of(store, result)


def segmented(store: Path, plate: str, label_images: dict[str, np.ndarray]) -> str:
    """Make what `segment` and `assemble_plate` leave of an imported plate."""
    part = add_part(store, "part", open_plate(store / plate), label_images, {"plate": plate})
    params = assemble_plate.Params(segmentations=[part], model=ModelName(version=3, key="0123456789abcdef"))
    return execute(assemble_plate.TASK, params, store).outputs["assembled"]


def test_after_a_plate_was_segmented_the_nuclei_found_are_compared(store: Path) -> None:
    plate = import_plate(store, "screened", labelled=False, role="screen")
    found = segmented(store, plate, {"a": LABEL_IMAGE, "b": 0 * LABEL_IMAGE})
    params = Params(plate=plate, references=[import_plate(store, "one")], segmentation=found)
    result = execute(TASK, params, store)
    table = pd.read_csv(store / result.outputs["table"], index_col="measure")
    # Two nuclei of 16 and 36 px in one field, none in the other: area only of the first.
    assert (table["plate_fields"]["density"], table["plate_fields"]["area"]) == (2, 1)
    assert table["plate_median"]["density"] == table["reference_median"]["density"] / 2
    assert table["plate_median"]["area"] == 6.5
    assert "density of nuclei" in (store / result.outputs["warnings"]).read_text()
    assert f"those found in it ( {found} )" in text_of(store, result)


def test_the_nuclei_of_a_field_that_is_called_na_count(store: Path) -> None:
    segmentation = store / "segmentation"
    segmentation.mkdir(parents=True)
    (segmentation / "nuclei.csv").write_text("fov,area_px,touches_edge\nNA,20,False\nNA,40,True\n")
    (row,) = _with_nuclei_found([{"fov": "NA"}], segmentation)
    assert (row["nuclei"], row["area_mean_px"], row["nuclei_at_edge"]) == (2, 30, 1)


def test_the_segmentation_of_another_plate_is_refused(store: Path) -> None:
    plate, reference = import_plate(store, "screened", labelled=False, role="screen"), import_plate(store, "one")
    found = segmented(store, reference, {"a": LABEL_IMAGE, "b": LABEL_IMAGE})
    with pytest.raises(InputError, match=f"is of {reference}; give the segmentation of {plate}"):
        execute(TASK, Params(plate=plate, references=[reference], segmentation=found), store)
    with pytest.raises(InputError, match="is an output of ingest; give one of assemble_plate"):
        execute(TASK, Params(plate=plate, references=[reference], segmentation=reference), store)


def test_the_page_stands_alone_and_names_the_plates(store: Path) -> None:
    reference = import_plate(store, "one")
    page = (store / drift(store, import_plate(store, "new"), [reference]).outputs["page"]).read_text()
    (address,) = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert base64.b64decode(address.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert reference.rpartition("@")[2] in page


def test_a_plate_to_screen_of_another_bit_depth_is_compared_in_focus_only(store: Path) -> None:
    image = (IMAGE / 5).astype(np.uint8)
    plate = import_plate(store, "screened", image, labelled=False, role="screen")
    result = drift(store, plate, [import_plate(store, "one")])
    assert list(result.metrics) == ["focus"]
    text = text_of(store, result)
    assert "mean intensity no training field of the same bit depth" in text
    assert "density of nuclei not measured on this plate" in text


def test_a_plate_that_has_nothing_in_common_gets_a_page_that_says_so(store: Path) -> None:
    image = (IMAGE / 5).astype(np.uint8)
    plate = import_plate(store, "screened", image, labelled=False, role="screen", pixel_size_um=0.2)
    result = drift(store, plate, [import_plate(store, "one")])
    assert (result.metrics, result.counts) == ({}, {"outliers": 0})
    assert "Nothing could be compared." in text_of(store, result)


def test_plates_imported_before_the_report_told_the_dtype_are_compared_by_their_images(store: Path) -> None:
    reference = import_plate(store, "one")
    path = store / reference / "report.json"
    report = json.loads(path.read_text())
    for row in report["fovs"]:
        del row["dtype"]
    path.write_text(json.dumps(report))
    assert drift(store, import_plate(store, "new"), [reference]).metrics["intensity"] == 0


def test_the_first_plate_of_a_cell_line_is_nothing_to_do(store: Path) -> None:
    with pytest.raises(NothingToDo, match="There is no training plate of U2OS to compare new with"):
        drift(store, import_plate(store, "new"), [])


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"cell_line": "HCT116"}, "the reference other is a train plate of HCT116; give other training plates of U2OS"),
        ({"role": "test"}, "the reference other is a test plate of U2OS"),
    ],
)
def test_references_of_another_cell_line_or_role_are_refused(store: Path, info: dict[str, Any], words: str) -> None:
    other = import_plate(store, "other", IMAGE + 1, **info)
    with pytest.raises(InputError, match=words):
        drift(store, import_plate(store, "new"), [other])


def test_a_plate_is_not_compared_with_itself(store: Path) -> None:
    plate = import_plate(store, "new")
    with pytest.raises(InputError, match="the reference new is this plate itself"):
        drift(store, plate, [plate])


def test_something_else_than_an_imported_plate_is_refused(store: Path) -> None:
    plate = import_plate(store, "new")
    (store / "score").mkdir()
    with pytest.raises(InputError, match="score is no imported plate"):
        drift(store, plate, ["score"])


def test_mlflow_shows_distances_page_and_warnings(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    bright, reference = import_plate(store, "bright", IMAGE * 3), import_plate(store, "one")
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run(tracking.PLATES_EXPERIMENT, "dag run", "bright"))
    drift(store, bright, [reference])
    run = MlflowClient().get_run(tracking.Run().id or "")
    assert run.data.metrics["drift/intensity"] == pytest.approx(356 / (0.15 * 178))
    assert run.data.metrics["drift/area"] == 0
    assert (run.data.tags["plate"], run.data.tags["drift"]) == ("bright", "outlier")
    assert run.data.tags["mlflow.note.content"].startswith("- mean intensity 534 grey levels")
    names = {item.path for item in MlflowClient().list_artifacts(run.info.run_id, "drift")}
    assert names == {"drift/drift.html", "drift/drift.csv"}
    # It is no segmentation.
    assert tracking.segmented_plates() == []
