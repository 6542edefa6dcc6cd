"""Putting the parts of a segmented plate together, with made segmentations."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import tifffile
from mlflow import MlflowClient
from numpy.typing import NDArray
from PIL import Image

from tasks import tracking
from tasks.contract import BAD_INPUT, Result, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import FROZEN_REPORT, Plate, open_plate
from tasks.nuclei.plates.hcs_listing import list_hcs
from tasks.nuclei.plates.image_files import write_label_image
from tasks.nuclei.plates.pixel_size import pixel_size_of_image
from tasks.nuclei.tables import read_nuclei
from tasks.steps.assemble_plate import TASK, Params
from tasks.store.registered_model import ModelName
from tests.plates import make_plate, two_squares
from tests.segmentations import add_part
from tests.stored_results import store_result
from tests.tracked import track_in

MODEL = ModelName(version=3, key="0123456789abcdef")
IMAGE, TWO_NUCLEI = two_squares()
ONE_AT_THE_EDGE = np.zeros_like(TWO_NUCLEI)
ONE_AT_THE_EDGE[:2, :5] = 1
NONE = np.zeros_like(TWO_NUCLEI)


def fov(well: str, site: int) -> str:
    return f"p_{well}_T0001F{site:03d}L01A01Z01C01"


B07_1, B07_2, D08_1, P24_1 = fov("B07", 1), fov("B07", 2), fov("D08", 1), fov("P24", 1)
FOUND = {B07_1: TWO_NUCLEI, B07_2: ONE_AT_THE_EDGE, D08_1: NONE, P24_1: TWO_NUCLEI}


def make(store: Path, found: dict[str, NDArray[Any]] = FOUND) -> tuple[Plate, list[str]]:
    """A plate of which `found` are the label images, segmented in parts of two fields."""
    plate = open_plate(make_plate(store / "screen", dict.fromkeys(found, IMAGE), {}, role="test"))
    names = list(found)
    parts = [{name: found[name] for name in names[start : start + 2]} for start in range(0, len(names), 2)]
    return plate, [add_part(store, f"part{number}", plate, part) for number, part in enumerate(parts)]


def imported_long_ago(folder: Path) -> None:
    """Leave the report of an import at a time when fields with and without wells, and channels, could be mixed."""
    rows = []
    for path in sorted((folder / "images").iterdir()):
        place = {"well": "B07", "site": 1} if "B07" in path.stem else {"well": "", "site": None}
        rows.append(
            {"fov": path.stem, "image": f"images/{path.name}", "labels": None, "channel": None, "z": None} | place
        )
    (folder / "report.json").write_text(json.dumps({"fovs": rows}))


def assemble(store: Path, segmentations: list[str], **params: Any) -> Result:
    return execute(TASK, Params(segmentations=segmentations, model=MODEL, **params), store)


def nuclei_csv(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "nuclei.csv", dtype={"fov": str, "plate": str})


def test_every_nucleus_of_all_parts_is_in_one_table_by_field_and_label(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    result = assemble(tmp_path, segmentations[::-1])
    table = nuclei_csv(tmp_path / result.outputs["assembled"])
    assert list(zip(table["fov"], table["label"], strict=True)) == [
        (B07_1, 1),
        (B07_1, 2),
        (B07_2, 1),
        (P24_1, 1),
        (P24_1, 2),
    ]
    assert table["area_px"].tolist() == [16, 36, 10, 16, 36]
    assert table["area_um2"].tolist() == [4, 9, 2.5, 4, 9]
    assert (table["model"] == "nucleus-segmenter version 3, 0123456789abcdef").all()
    assert result.counts == {"fovs": 4, "wells": 3, "nuclei": 5, "left_out": 0}
    assert result.metrics == {"area_median_um2": 4, "area_median_px": 16}


def test_parquet_has_the_rows_of_the_csv_with_types_and_names_the_model(tmp_path: Path) -> None:
    imported_long_ago(make_plate(tmp_path / "007", {"0012": IMAGE, B07_1: IMAGE}, {}))
    part = add_part(tmp_path, "part", open_plate(tmp_path / "007"), {"0012": TWO_NUCLEI, B07_1: ONE_AT_THE_EDGE})
    folder = tmp_path / assemble(tmp_path, [part]).outputs["assembled"]
    arrow = pyarrow.parquet.read_table(folder / "nuclei.parquet")
    assert arrow.schema.metadata[b"model"] == b"nucleus-segmenter version 3, 0123456789abcdef"
    assert arrow.schema.metadata[b"plate"] == b"007"
    assert arrow["fov"].to_pylist() == ["0012", "0012", B07_1]
    assert arrow["plate"].to_pylist() == ["007"] * 3
    assert arrow["site"].to_pylist() == [None, None, 1]
    assert arrow["well"].to_pylist() == ["", "", "B07"]
    assert arrow["touches_edge"].to_pylist() == [False, False, True]
    assert {name: str(arrow.schema.field(name).type) for name in ("site", "label", "area_px", "area_um2")} == {
        "site": "int64",
        "label": "int64",
        "area_px": "int64",
        "area_um2": "double",
    }
    from_csv = read_nuclei(folder / "nuclei.csv")
    pd.testing.assert_frame_equal(from_csv, pd.read_parquet(folder / "nuclei.parquet"))


def test_wells_are_counted_and_measured_and_a_well_without_nuclei_has_no_area(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    wells = pd.read_csv(tmp_path / assemble(tmp_path, segmentations).outputs["wells"])
    assert wells.columns.tolist() == [
        "well",
        "fovs",
        "left_out",
        "nuclei",
        "area_mean_um2",
        "area_median_um2",
        "area_mean_px",
        "area_median_px",
        "edge_share",
        "doubtful_share",
        "model",
    ]
    assert wells.iloc[:, :9].fillna(-1).to_numpy().tolist() == [
        ["B07", 2, 0, 3, 5.167, 4.0, 20.667, 16.0, 0.3333],
        ["D08", 1, 0, 0, -1, -1, -1, -1, -1],
        ["P24", 1, 0, 2, 6.5, 6.5, 26.0, 26.0, 0.0],
    ]
    assert (wells["model"] == str(MODEL)).all()


def test_doubtful_nuclei_are_counted_by_well_and_in_the_metrics(tmp_path: Path) -> None:
    plate = open_plate(make_plate(tmp_path / "screen", dict.fromkeys(FOUND, IMAGE), {}, role="test"))
    confidences = {B07_1: [0.9, 0.6994], B07_2: [0.7], P24_1: [0.8, 0.75]}
    part = add_part(tmp_path, "part", plate, FOUND, confidences=confidences)
    result = assemble(tmp_path, [part])
    wells = pd.read_csv(tmp_path / result.outputs["wells"])
    assert wells["doubtful_share"].fillna(-1).tolist() == [0.3333, -1, 0]
    assert result.metrics["doubtful_share"] == 0.2
    table = nuclei_csv(tmp_path / result.outputs["assembled"])
    assert table["confidence"].tolist() == [0.9, 0.699, 0.7, 0.8, 0.75]


def test_tables_from_before_there_were_confidences_are_put_together_and_have_none(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    for part in segmentations:
        table = pd.read_csv(tmp_path / part / "nuclei.csv").drop(columns="confidence")
        table.to_csv(tmp_path / part / "nuclei.csv", index=False)
    result = assemble(tmp_path, segmentations)
    folder = tmp_path / result.outputs["assembled"]
    assert nuclei_csv(folder)["confidence"].isna().all()
    assert pyarrow.parquet.read_table(folder / "nuclei.parquet")["confidence"].null_count == 5
    assert "doubtful_share" not in result.metrics


def test_fields_that_were_left_out_are_counted_by_well_and_a_well_without_others_is_not_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plate, segmentations = make(tmp_path)
    files = [{"fov": one.name, "image": f"images/{one.name}.tif", "labels": None} for one in plate.fovs]
    places = [{"well": one.well, "site": one.site, "channel": one.channel, "z": one.z} for one in plate.fovs]
    rows = [{**file, **place} for file, place in zip(files, places, strict=True)]
    left_out = [
        {"fov": fov(well, site), "file": "", "well": well, "site": site, "problem": "is damaged"}
        for well, site in (("B07", 3), ("C01", 1), ("C01", 2))
    ]
    left_out.append({"fov": "images/notes.txt", "file": "", "well": "", "site": None, "problem": "is not an image"})
    (plate.folder / FROZEN_REPORT).write_text(json.dumps({"fovs": rows, "left_out": left_out}))
    result = assemble(tmp_path, segmentations)
    assert result.counts == {"fovs": 4, "wells": 4, "nuclei": 5, "left_out": 4}
    wells = pd.read_csv(tmp_path / result.outputs["wells"])
    assert wells[["well", "fovs", "left_out", "nuclei"]].fillna(-1).to_numpy().tolist() == [
        ["B07", 2, 1, 3],
        ["C01", 0, 2, -1],
        ["D08", 1, 0, 0],
        ["P24", 1, 0, 2],
    ]
    assert f"4 faulty fields were left out when the plate was imported: {fov('B07', 3)}" in caplog.text


def test_label_images_are_the_files_of_the_parts_under_a_second_name(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    folder = tmp_path / assemble(tmp_path, segmentations).outputs["assembled"]
    assert sorted(path.stem for path in (folder / "labels").iterdir()) == sorted(FOUND)
    assert (folder / "labels" / f"{B07_1}.tif").samefile(tmp_path / segmentations[0] / "labels" / f"{B07_1}.tif")


def test_label_images_of_before_they_stated_their_pixel_size_are_written_with_it(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    old = tmp_path / segmentations[0] / "labels" / f"{B07_1}.tif"
    write_label_image(old, TWO_NUCLEI * np.uint16(7))
    labels = tmp_path / assemble(tmp_path, segmentations).outputs["assembled"] / "labels"
    sizes = {path.stem: pixel_size_of_image(path.read_bytes(), path).um for path in labels.iterdir()}
    assert sizes == dict.fromkeys(FOUND, 0.5)
    np.testing.assert_array_equal(tifffile.imread(labels / old.name), TWO_NUCLEI * 7)
    with tifffile.TiffFile(labels / old.name) as tiff:
        assert (tiff.imagej_metadata or {})["Info"] == str(MODEL)


def test_pictures_name_plate_and_model(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    folder = tmp_path / assemble(tmp_path, segmentations).outputs["assembled"]
    for name in ("heat_map.png", "overview.png"):
        with Image.open(folder / name) as picture:
            assert picture.info["Title"] == "screen"
            assert picture.info["Description"] == f"Segmented with {MODEL}"


def test_a_plate_without_wells_in_its_names_has_no_heat_map_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, segmentations = make(tmp_path, {"a": TWO_NUCLEI, "b": NONE})
    result = assemble(tmp_path, segmentations)
    assert "heat_map" not in result.outputs
    assert "no heat map: the names of the fields give no wells" in caplog.text
    wells = pd.read_csv(tmp_path / result.outputs["wells"], keep_default_na=False)
    assert wells[["well", "fovs", "nuclei"]].to_numpy().tolist() == [["", 2, 2]]


def test_wells_that_are_only_numbered_are_in_the_tables_and_the_log_says_how_to_get_a_heat_map(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    names = ["W0025F0001T0001Z000C1", "W0026F0001T0001Z000C1"]
    _, segmentations = make(tmp_path, {names[0]: TWO_NUCLEI, names[1]: NONE})
    result = assemble(tmp_path, segmentations)
    assert "heat_map" not in result.outputs
    assert 'number the wells; say in plate.json how many there are, such as "wells": 384' in caplog.text
    wells = pd.read_csv(tmp_path / result.outputs["wells"])
    assert wells[["well", "fovs", "nuclei"]].to_numpy().tolist() == [["W0025", 1, 2], ["W0026", 1, 0]]
    with pytest.raises(InputError, match="its name gives no well by letter and number; leave ome_zarr off"):
        assemble(tmp_path, segmentations, ome_zarr=True)


def test_odd_names_of_fields_are_in_tables_and_pictures_as_they_are(tmp_path: Path) -> None:
    names = ["dose_$5_and_$10^x", 'a, "b" #3 50%', "<b>x & y", "日本語 細胞 核", " spaces ", "NA", "x" * 200]
    _, segmentations = make(tmp_path, dict.fromkeys(names, TWO_NUCLEI))
    folder = tmp_path / assemble(tmp_path, segmentations).outputs["assembled"]
    assert list(read_nuclei(folder / "nuclei.csv")["fov"].unique()) == sorted(names)
    assert (folder / "overview.png").exists()
    assert {path.stem for path in (folder / "labels").iterdir()} == set(names)


def test_a_plate_without_any_nucleus_is_assembled(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path, {B07_1: NONE, D08_1: NONE})
    result = assemble(tmp_path, segmentations)
    assert result.counts["nuclei"] == 0
    assert result.metrics == {}
    assert pyarrow.parquet.read_table(tmp_path / result.outputs["assembled"] / "nuclei.parquet").num_rows == 0
    assert (tmp_path / result.outputs["heat_map"]).exists()


def test_an_ome_zarr_plate_has_every_field_in_its_well_with_its_labels(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    result = assemble(tmp_path, segmentations, ome_zarr=True)
    fields = list_hcs(tmp_path / result.outputs["ome_zarr"]).fields
    assert [(field.well, field.site) for field in fields] == [("B07", 1), ("B07", 2), ("D08", 1), ("P24", 1)]
    for field, label_image in zip(fields, FOUND.values(), strict=True):
        np.testing.assert_array_equal(field.read_image(1), IMAGE)
        np.testing.assert_array_equal(field.read_labels(), label_image)
        assert field.pixel_size.um == 0.5


def test_an_ome_zarr_plate_shows_all_fields_in_one_range_and_has_the_nuclei_of_each(tmp_path: Path) -> None:
    images = {B07_1: IMAGE, D08_1: IMAGE * np.uint16(3)}
    plate = open_plate(make_plate(tmp_path / "screen", images, {}, role="test"))
    part = add_part(tmp_path, "part", plate, {B07_1: TWO_NUCLEI, D08_1: NONE})
    result = assemble(tmp_path, [part], ome_zarr=True)
    windows, tables = [], []
    for field in list_hcs(tmp_path / result.outputs["ome_zarr"]).fields:
        assert field.channels == ["nuclear stain"]
        (channel,) = json.loads((field.folder / ".zattrs").read_text())["omero"]["channels"]
        windows.append(channel["window"])
        tables.append(pd.read_parquet(field.folder / "tables/nuclei/table.parquet"))
    assert windows[0] == windows[1]
    assert 0 <= windows[0]["start"] <= IMAGE.min()
    assert IMAGE.max() < windows[0]["end"] <= 3 * IMAGE.max()
    whole = pd.read_parquet(tmp_path / result.outputs["assembled"] / "nuclei.parquet")
    assert [len(table) for table in tables] == [2, 0]
    pd.testing.assert_frame_equal(tables[0], whole)


def test_an_ome_zarr_plate_of_dark_fields_can_be_shown_and_has_the_name_of_its_channel(tmp_path: Path) -> None:
    name = "B - 07(fld 1 wv DAPI - DAPI)"
    plate = open_plate(make_plate(tmp_path / "screen", {name: np.zeros_like(IMAGE)}, {}, role="test"))
    result = assemble(tmp_path, [add_part(tmp_path, "part", plate, {name: NONE})], ome_zarr=True)
    (field,) = list_hcs(tmp_path / result.outputs["ome_zarr"]).fields
    (channel,) = json.loads((field.folder / ".zattrs").read_text())["omero"]["channels"]
    assert channel["label"] == "DAPI - DAPI"
    assert channel["window"]["start"] < channel["window"]["end"]


def test_fields_without_a_place_of_their_own_are_refused_for_ome_zarr_before_any_work(tmp_path: Path) -> None:
    second_channel = B07_1.replace("C01", "C02")
    fields = {"a": NONE, B07_1: NONE, second_channel: NONE}
    imported_long_ago(make_plate(tmp_path / "screen", dict.fromkeys(fields, IMAGE), {}))
    part = add_part(tmp_path, "part", open_plate(tmp_path / "screen"), fields)
    with pytest.raises(InputError, match="a: its name gives no well by letter and number; leave ome_zarr off") as error:
        assemble(tmp_path, [part], ome_zarr=True)
    assert f"{second_channel}: is not the only field of well B07, site 1" in str(error.value)


def test_a_field_of_no_part_is_refused_by_its_name(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    with pytest.raises(InputError, match=f"{D08_1} is in none of the segmentations.*{P24_1} is in none"):
        assemble(tmp_path, segmentations[:1])


def test_a_field_of_two_parts_is_refused_by_its_name(tmp_path: Path) -> None:
    plate, segmentations = make(tmp_path)
    again = add_part(tmp_path, "again", plate, {D08_1: NONE})
    with pytest.raises(InputError, match=f"{D08_1} is there more than once, again in segment/again"):
        assemble(tmp_path, [*segmentations, again])


def test_a_part_without_a_list_of_fields_has_all_of_them(tmp_path: Path) -> None:
    plate, _ = make(tmp_path)
    whole = add_part(tmp_path, "whole", plate, FOUND, {"fovs": None})
    assert assemble(tmp_path, [whole]).counts["fovs"] == 4


def test_a_lost_label_image_is_refused_by_its_name(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    (tmp_path / segmentations[0] / "labels" / f"{B07_2}.tif").unlink()
    with pytest.raises(InputError, match=rf"part0/labels/{B07_2}\.tif does not exist; segment its part again"):
        assemble(tmp_path, segmentations)


def test_parts_of_two_plates_or_of_two_settings_are_refused_with_what_differs(tmp_path: Path) -> None:
    plate, segmentations = make(tmp_path)
    other = add_part(tmp_path, "other", plate, {D08_1: NONE}, {"networks": ["newer"], "plate": "other"})
    with pytest.raises(
        InputError, match="segment/other and segment/part0 differ in networks, plate; give parts of one"
    ):
        assemble(tmp_path, [segmentations[0], other])


def test_parts_that_were_magnified_differently_are_refused_unless_they_are_nearly_alike(tmp_path: Path) -> None:
    _, segmentations = make(tmp_path)
    for zooms, refused in (((0.5, 0.545), False), ((0.5, 0.65), True)):
        for path, zoom in zip(segmentations, zooms, strict=True):
            file = tmp_path / path / "result.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"metrics": {"zoom": zoom}}))
        if refused:
            with pytest.raises(
                InputError, match=r"part1 and segment/part0 were magnified differently, 0\.65 and 0\.50"
            ):
                assemble(tmp_path, segmentations, ome_zarr=True)
        else:
            assert assemble(tmp_path, segmentations).counts["fovs"] == 4


def test_what_is_no_segmentation_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store_result(tmp_path, "ingest/screen", {})
    params = Params(segmentations=["ingest/screen"], model=MODEL).model_dump_json()
    assert TASK.main(["--params", params, "--store", str(tmp_path)]) == BAD_INPUT
    assert "ingest/screen is an output of ingest; give one of segment." in caplog.text


def test_a_cut_image_is_refused_with_its_name_when_it_is_read(tmp_path: Path) -> None:
    plate, segmentations = make(tmp_path)
    path = plate.fovs[0].image_path
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=f"{path}: is damaged or cut short"):
        assemble(tmp_path, segmentations)


def test_mlflow_gets_the_table_of_wells_the_pictures_and_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, segmentations = make(tmp_path)
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id := tracking.open_run("screens", "dag run 1", "first"))
    assemble(tmp_path, segmentations)
    client = MlflowClient()
    files = [file.path for file in client.list_artifacts(run_id, "assemble_plate/screen")]
    assert files == [f"assemble_plate/screen/{name}" for name in ("heat_map.png", "overview.png", "wells.csv")]
    tags = client.get_run(run_id).data.tags
    assert (tags["plate"], tags["model"], tags["model_version"]) == ("screen", str(MODEL), "3")
    assert client.get_run(run_id).data.metrics == {
        "assemble_plate/screen/fovs": 4,
        "assemble_plate/screen/wells": 3,
        "assemble_plate/screen/nuclei": 5,
        "assemble_plate/screen/left_out": 0,
        "assemble_plate/screen/area_median_um2": 4,
        "assemble_plate/screen/area_median_px": 16,
    }
