"""Tests of tasks.steps.ingest: what it stores."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.info import PlateInfo
from tasks.steps.ingest import TASK, Params, plate_digest
from tests import dsb2018
from tests.plates import INFO, make_plate
from tests.steps.ingesting import (
    IMAGE,
    LABEL_IMAGE,
    ingest,
    one_field,
    relabel,
    report_of,
    run_command,
)


def test_the_stored_plate_opens_and_holds_the_same_files(plate: Path, store: Path) -> None:
    result = ingest(plate, store)
    stored = open_plate(store / result.outputs["plate"])
    assert stored.info == open_plate(plate).info
    assert [fov.name for fov in stored.fovs] == ["a", "b"]
    for name in ("images/a.tif", "labels/a.tif", "images/b.tif", "labels/b.tif"):
        assert (stored.folder / name).read_bytes() == (plate / name).read_bytes()


def test_the_key_is_the_plates_name_and_the_start_of_the_digest_in_the_report(plate: Path, store: Path) -> None:
    result = ingest(plate, store)
    digest = report_of(result, store)["digest"]
    assert len(digest) == 64
    assert result.key == f"plate@{digest[:12]}"
    assert result.outputs == {"plate": f"ingest/{result.key}"}


def test_stored_files_are_read_only_and_their_folder_can_be_removed(plate: Path, store: Path) -> None:
    folder = store / ingest(plate, store).outputs["plate"]
    assert (folder / "images/a.tif").stat().st_mode & 0o777 == 0o444
    shutil.rmtree(folder)
    assert not folder.exists()


def test_counts_areas_and_intensities_are_those_of_all_fields_together(plate: Path, store: Path) -> None:
    result = ingest(plate, store)
    assert result.counts == {"fovs": 2, "nuclei": 4, "warnings": 0, "doubts": 0, "left_out": 0}
    assert result.metrics["area_mean_px"] == 26
    assert result.metrics["area_sd_px"] == 10
    assert result.metrics["area_mean_um2"] == 26 * 0.25
    assert result.metrics["area_sd_um2"] == 10 * 0.25
    assert result.metrics["intensity_mean"] == pytest.approx((52 * 1000 + 548 * 100) / 600)
    assert (result.metrics["intensity_p01"], result.metrics["intensity_p99"]) == (100, 1000)


def test_the_report_has_an_entry_per_field_and_the_row_of_table_s1(tmp_path: Path, store: Path) -> None:
    name = "X_D08_T0001F003L01A01Z01C02"
    plate = make_plate(tmp_path / "U2OS_Technical", {name: IMAGE}, {name: LABEL_IMAGE}, role="test", binning=2)
    report = report_of(ingest(plate, store), store)
    (fov,) = report["fovs"]
    assert (fov["fov"], fov["well"], fov["site"], fov["channel"], fov["z"]) == (name, "D08", 3, 2, 1)
    assert (fov["height_px"], fov["width_px"], fov["dtype"]) == (20, 30, "uint16")
    assert (fov["nuclei"], fov["area_mean_px"]) == (2, 26)
    assert report["table_s1"] == {
        "Dataset Name": "U2OS_Technical",
        "Number FOVs": 1,
        "FOV Size - px": "20 x 30",
        "Objective": "20X",
        "Binning": "2 x 2",
        "XY Px Size - micron": 0.5,
        "Number of Nuclei": 2,
        "Area Mean - px": 26,
        "Area SD - px": 10,
        "Dataset Type": "Test",
        "GT Labelling": "Manual",
    }


def test_a_field_without_nuclei_among_others_is_accepted(tmp_path: Path, store: Path) -> None:
    images = {"a": IMAGE, "b": IMAGE}
    plate = make_plate(tmp_path / "p", images, {"a": LABEL_IMAGE, "b": np.zeros_like(LABEL_IMAGE)})
    result = ingest(plate, store)
    assert result.counts["nuclei"] == 2
    assert report_of(result, store)["fovs"][1]["area_mean_px"] is None


@pytest.mark.parametrize("extension", ["tif", "ome.tif", "png"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_plates_of_every_format_and_depth_are_ingested(
    tmp_path: Path, store: Path, extension: str, dtype: type
) -> None:
    name = f"a.{extension}"
    plate = make_plate(tmp_path / "p", {name: (IMAGE // 4).astype(dtype)}, {name: LABEL_IMAGE.astype(dtype)})
    assert ingest(plate, store).counts["nuclei"] == 2


def test_a_screening_plate_needs_no_labels_and_may_hold_images_of_any_role(tmp_path: Path, store: Path) -> None:
    ingest(one_field(tmp_path / "known"), store)
    screen = make_plate(tmp_path / "screen", {"a": IMAGE, "b": IMAGE}, {"a": LABEL_IMAGE}, role="screen")
    (screen / "plate.json").write_text(
        json.dumps(
            {name: value for name, value in INFO.items() if name not in ("replicate", "annotation")}
            | {"role": "screen"}
        )
    )
    result = ingest(screen, store)
    assert result.counts == {"fovs": 2, "nuclei": 2, "warnings": 0, "doubts": 0, "left_out": 0}
    stored = open_plate(store / result.outputs["plate"])
    assert [fov.labels_path is None for fov in stored.fovs] == [False, True]


def test_labels_of_two_pieces_or_under_5_px_are_warned_of_by_file_and_number(
    plate: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label_image = LABEL_IMAGE.copy()
    label_image[2:6, 3:4] = 0  # cuts label 1 in two
    label_image[0, 26:30] = 7
    tifffile.imwrite(plate / "labels/b.tif", label_image)
    with caplog.at_level(logging.INFO):
        result = ingest(plate, store)
    assert result.counts["warnings"] == 2
    assert report_of(result, store)["warnings"] == [
        {"file": "labels/b.tif", "label": 1, "problem": "2 pieces"},
        {"file": "labels/b.tif", "label": 7, "problem": "4 px"},
    ]
    assert "labels/b.tif: label 1 has 2 pieces" in caplog.text
    assert "labels/b.tif: label 7 has 4 px" in caplog.text


def test_a_label_of_exactly_5_px_in_one_piece_gives_no_warning(plate: Path, store: Path) -> None:
    label_image = np.zeros_like(LABEL_IMAGE)
    label_image[0, :5] = 1
    relabel(plate, label_image)
    assert ingest(plate, store).counts["warnings"] == 0


def test_of_many_warnings_twenty_are_logged_and_all_are_in_the_report(
    plate: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label_image = np.zeros_like(LABEL_IMAGE)
    label_image[::4, ::4] = np.arange(1, 41).reshape(5, 8)
    relabel(plate, label_image)
    with caplog.at_level(logging.INFO):
        result = ingest(plate, store)
    assert len(report_of(result, store)["warnings"]) == result.counts["warnings"] == 80
    assert caplog.text.count("has 1 px") == 20
    assert "and 60 more warnings in report.json" in caplog.text


def test_a_plate_copied_to_another_folder_is_the_same_plate(plate: Path, store: Path, tmp_path: Path) -> None:
    first = ingest(plate, store)
    shutil.copytree(plate, tmp_path / "elsewhere")
    info = json.loads((plate / "plate.json").read_text())
    (tmp_path / "elsewhere/plate.json").write_text(json.dumps(dict(reversed(info.items())), indent=4))
    second = ingest(tmp_path / "elsewhere", store)
    assert second.reused
    assert second.key == first.key


@pytest.mark.parametrize("change", ["plate.json", "images", "labels"])
def test_a_changed_file_gives_another_key(plate: Path, store: Path, change: str) -> None:
    before = TASK.output_key(Params(folder=str(plate)), store)
    if change == "plate.json":
        (plate / "plate.json").write_text(json.dumps(INFO | {"name": "plate", "objective": "60X"}))
    else:
        tifffile.imwrite(plate / change / "a.tif", LABEL_IMAGE[::-1])
    assert TASK.output_key(Params(folder=str(plate)), store) != before


def test_the_digest_depends_on_names_and_contents_but_not_on_their_order() -> None:
    info = PlateInfo.model_validate(INFO)
    digest = plate_digest(info, {"images/a.tif": "1", "images/b.tif": "2"})
    assert plate_digest(info, {"images/b.tif": "2", "images/a.tif": "1"}) == digest
    assert plate_digest(info, {"images/a.tif": "2", "images/b.tif": "1"}) != digest


def test_progress_is_logged_for_a_large_plate(tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"f{number:03d}" for number in range(100)]
    plate = make_plate(tmp_path / "p", dict.fromkeys(names, IMAGE), dict.fromkeys(names, LABEL_IMAGE))
    with caplog.at_level(logging.INFO):
        ingest(plate, store)
    assert [line for line in caplog.messages if line.startswith("checked")] == [
        "checked 50 of 100",
        "checked 100 of 100",
    ]


def test_the_command_stores_a_plate_and_reuses_it_the_second_time(plate: Path, store: Path) -> None:
    first = run_command(plate, store, role="train")
    assert first.returncode == 0, first.stderr
    assert "ingest: done in" in first.stdout
    second = run_command(plate, store, role="train")
    assert second.returncode == 0
    assert "ingest: reused plate@" in second.stdout


@pytest.mark.skipif(not dsb2018.is_available(), reason=f"{dsb2018.SOURCE} is not there")
def test_the_real_images_are_ingested_without_a_doubt_and_with_the_counts_of_their_manifest(
    tmp_path: Path, store: Path
) -> None:
    nuclei: Counter[str] = Counter()
    with (dsb2018.SOURCE / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            nuclei[f"{row['group']}-{row['split']}"] += int(row["nuclei"])
    plates = dsb2018.make_plates(tmp_path / "plates")
    ingested = {plate.name: ingest(plate, store) for plate in plates}
    assert {name: result.counts["nuclei"] for name, result in ingested.items()} == nuclei
    doubts = {name: report_of(result, store)["doubts"] for name, result in ingested.items()}
    assert doubts == {name: [] for name in nuclei}
