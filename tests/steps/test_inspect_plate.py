"""Tests of tasks.steps.inspect_plate."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from tasks.contract import BAD_INPUT, execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.figures.plate_overview import OUTLINE_COLOUR
from tasks.steps.inspect_plate import MOST_CHECKED, MOST_PREVIEWS, STAND_INS, TASK, Params
from tests.plates import INFO, two_squares
from tests.steps.ingesting import cut_image, ingest, one_field, stored_plates, two_fields

IMAGE, LABEL_IMAGE = two_squares()
GIVEN = {key: INFO[key] for key in ("cell_line", "objective", "binning", "pixel_size_um", "replicate", "annotation")}


def inspect(folder: Path, store: Path, **values: Any) -> dict[str, Any]:
    result = execute(TASK, Params(folder=str(folder), values=values), store)
    found: dict[str, Any] = json.loads((store / result.outputs["inspection"]).read_text())
    assert result.counts["refused"] == len(found["refused"]) + len(found["wrong_values"])
    return found | {"folder": store / result.outputs["previews"], "key": result.key}


def dropped(folder: Path, *names: str, **options: Any) -> Path:
    """Write images, and label images where the name says so, into a folder without plate.json."""
    folder.mkdir()
    for name in names:
        tifffile.imwrite(folder / name, LABEL_IMAGE if "mask" in name else IMAGE, **options)
    return folder


def test_what_is_dropped_is_recognised_and_proposes_values_with_their_sources(tmp_path: Path, store: Path) -> None:
    metadata = {"PhysicalSizeX": 325, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 325, "PhysicalSizeYUnit": "nm"}
    names = (f"p_{well}_{site}.ome.tif" for well in ("B07", "C08") for site in (1, 2))
    found = inspect(dropped(tmp_path / "Zählung 3", *names, ome=True, metadata=metadata), store)
    recognised = found["recognised"]
    assert (recognised["images"], recognised["labels"], recognised["fields"]) == (4, 0, 4)
    assert (recognised["wells"], recognised["first_wells"], recognised["sites"]) == (2, ["B07", "C08"], 2)
    assert (recognised["sizes_px"], recognised["dtypes"]) == ([[20, 30]], ["uint16"])
    assert found["values"] == {"name": "Zahlung_3", "role": "screen", "pixel_size_um": 0.325}
    assert found["proposed"]["pixel_size_um"]["source"] == "OME metadata of p_B07_1.ome.tif"
    assert set(found["wrong_values"]) == {"cell_line", "objective", "binning"}
    assert found["refused"] == []
    assert stored_plates(store) == []


def test_objective_and_binning_come_from_ome_metadata(tmp_path: Path, store: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="Instrument:0">'
        '<Detector ID="Detector:0"/><Objective ID="Objective:0" NominalMagnification="10"/>'
        '<Objective ID="Objective:1" NominalMagnification="40.0"/></Instrument>'
        '<Image ID="Image:0"><ObjectiveSettings ID="Objective:1"/><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        'Type="uint16" SizeX="30" SizeY="20" SizeC="1" SizeZ="1" SizeT="1"><Channel ID="Channel:0">'
        '<DetectorSettings ID="Detector:0" Binning="2x2"/></Channel><TiffData/></Pixels></Image></OME>'
    )
    found = inspect(dropped(tmp_path / "p", "a.ome.tif", description=xml, metadata=None), store)
    proposed = {key: proposal["value"] for key, proposal in found["proposed"].items()}
    assert proposed == {"name": "p", "role": "screen", "objective": "40X", "binning": 2}


def test_what_is_not_refused_is_accepted_by_ingest(tmp_path: Path, store: Path) -> None:
    for plate in (two_fields(tmp_path / "p"), dropped(tmp_path / "q", "a.tif", "a_masks.tif")):
        found = inspect(plate, store, **GIVEN)
        assert (found["wrong_values"], found["refused"], found["doubts"]) == ({}, [], [])
        (plate / "plate.json").write_text(json.dumps(found["values"]))
        assert ingest(plate, store).key.startswith(f"{plate.name}@")


def test_what_ingest_refuses_is_said_in_its_words(tmp_path: Path, store: Path) -> None:
    plate = two_fields(tmp_path / "p")
    cut_image(plate)
    tifffile.imwrite(plate / "labels/a.tif", LABEL_IMAGE[:-1])
    found = inspect(plate, store)
    with pytest.raises(InputError) as refused:
        ingest(plate, store)
    assert str(refused.value) == f"{plate}: {'; '.join(found['refused'])}."
    assert len(found["refused"]) == 2


def test_wrong_values_and_wrong_files_are_said_together_by_key(tmp_path: Path, store: Path) -> None:
    folder = dropped(tmp_path / "p", "a.tif", "a_masks.tif", "b.tif")
    found = inspect(folder, store, name="ü", pixel_size_um="0,3", cell_line="all", unknown=1, z=[])
    wrong = found["wrong_values"]
    assert set(wrong) == {"name", "pixel_size_um", "cell_line", "objective", "binning", "unknown", "z", ""}
    assert wrong[""] == "a train plate also needs replicate and annotation"
    assert "a number has a decimal point: 0.3" in wrong["pixel_size_um"]
    assert found["refused"] == [
        "images/b.tif: has no label image; add one beside it, with _masks or _cp_masks behind its name"
    ]
    assert found["not_checked"] == ["No image was opened, since the files must be put in order first."]


def test_stand_ins_for_values_say_nothing_about_the_files(tmp_path: Path, store: Path) -> None:
    folder = dropped(tmp_path / "p", "a.tif", resolution=(1e4 / 80, 1e4 / 80), resolutionunit="CENTIMETER")
    found = inspect(folder, store, pixel_size_um="?")
    assert found["refused"] == []
    assert "pixel_size_um" in found["wrong_values"]
    assert {*STAND_INS.values()} & {*found["values"].values()} == set()


def test_a_stated_pixel_size_is_held_against_the_one_that_is_given(tmp_path: Path, store: Path) -> None:
    metadata = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    folder = dropped(tmp_path / "p", "a.ome.tif", ome=True, metadata=metadata)
    [refused] = inspect(folder, store, pixel_size_um=0.25)["refused"]
    assert "has pixels of 0.5 µm, and the plate's are 0.25 µm" in refused


def test_of_several_channels_it_is_said_which_there_are_and_asked_for_one(tmp_path: Path, store: Path) -> None:
    folder = dropped(tmp_path / "p", *(f"P_B07_T0001F001L01A01Z01C0{channel}.tif" for channel in (1, 2)))
    found = inspect(folder, store)
    assert found["recognised"]["axes"]["channel"] == [{"value": 1, "images": 1}, {"value": 2, "images": 1}]
    [refused] = found["refused"]
    assert "has 2 channels, 1 (1 image), 2 (1 image); say in plate.json which one shows the nuclei" in refused
    assert len(found["previews"]) == 2
    chosen = inspect(folder, store, channel=2)
    assert (chosen["refused"], chosen["recognised"]["fields"]) == ([], 1)


def test_typed_values_come_before_plate_json_and_that_before_proposals(tmp_path: Path, store: Path) -> None:
    plate = one_field(tmp_path / "p", name="in-json", objective="20X")
    values = inspect(plate, store, objective="40X", cell_line="", channel=None)["values"]
    assert (values["cell_line"], "channel" in values) == (INFO["cell_line"], False)
    assert (values["name"], values["objective"], values["role"]) == ("in-json", "40X", "train")


@pytest.mark.parametrize(("content", "words"), [("{", "isn't JSON"), ("[]", "must be one JSON object")])
def test_a_plate_json_that_cannot_be_read_is_refused_and_the_files_are_looked_at_all_the_same(
    tmp_path: Path, store: Path, content: str, words: str
) -> None:
    plate = one_field(tmp_path / "p")
    (plate / "plate.json").write_text(content)
    found = inspect(plate, store, **GIVEN)
    assert [words in problem for problem in found["refused"]] == [True]
    assert found["recognised"]["fields"] == 1


def test_a_plate_json_behind_a_link_out_of_the_folder_is_not_read(tmp_path: Path, store: Path) -> None:
    plate = one_field(tmp_path / "p", objective="from outside")
    (plate / "plate.json").rename(tmp_path / "outside.json")
    (plate / "plate.json").symlink_to(tmp_path / "outside.json")
    found = inspect(plate, store, **GIVEN)
    assert any("leads out of it" in problem for problem in found["refused"])
    assert "from outside" not in json.dumps(found["values"])


@pytest.mark.parametrize("content", ["empty", "text", "two layouts", "nested"])
def test_a_folder_that_is_no_plate_is_an_answer_and_no_failure(tmp_path: Path, store: Path, content: str) -> None:
    folder = tmp_path / "p"
    (folder / "deeper/images").mkdir(parents=True)
    if content == "empty":
        (folder / "deeper/images").rmdir()
        (folder / "deeper").rmdir()
    elif content == "text":
        (folder / "notes.docx").write_bytes(b"x")
    elif content == "two layouts":
        for name in ("images", "labels", "masks"):
            (folder / name).mkdir()
    assert inspect(folder, store)["refused"]


def test_a_folder_that_is_not_there_is_bad_input(tmp_path: Path, store: Path) -> None:
    params = json.dumps({"folder": str(tmp_path / "nowhere")})
    assert TASK.main(["--params", params, "--store", str(store)]) == BAD_INPUT


def test_a_large_plate_is_opened_in_part_and_the_rest_is_said(tmp_path: Path, store: Path) -> None:
    names = [f"f{number}.tif" for number in range(MOST_CHECKED + 8)]
    found = inspect(dropped(tmp_path / "p", *names), store)
    assert found["not_checked"][0].startswith(f"8 of {MOST_CHECKED + 8} fields were not opened")
    assert len(found["previews"]) == MOST_PREVIEWS


def test_previews_show_fields_with_the_outlines_of_their_labels(tmp_path: Path, store: Path) -> None:
    found = inspect(dropped(tmp_path / "p", "a.tif", "a_masks.tif"), store)
    [preview] = found["previews"]
    picture = imagecodecs.png_decode((found["folder"] / preview["file"]).read_bytes())
    outlined = (picture == OUTLINE_COLOUR).all(axis=2)
    assert picture.shape == (20, 30, 3)
    # The edges of squares of 4 x 4 and 6 x 6 px.
    assert outlined.sum() == 12 + 20
    assert outlined[LABEL_IMAGE == 0].sum() == 0
    assert preview["image"] == "images/a.tif"


def test_a_large_field_is_shown_small(tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", np.tile(IMAGE, (100, 100)))
    found = inspect(folder, store)
    picture = imagecodecs.png_decode((found["folder"] / "1.png").read_bytes())
    assert picture.shape == (533, 800, 3)


def test_a_folder_is_looked_at_again_when_a_file_of_it_changes_and_only_then(tmp_path: Path, store: Path) -> None:
    folder = dropped(tmp_path / "p", "a.tif", "a_masks.tif")
    first = inspect(folder, store)["key"]
    assert inspect(folder, store)["key"] == first
    before = (folder / "a.tif").stat()
    (folder / "a.tif").write_bytes(bytes(before.st_size))
    os.utime(folder / "a.tif", ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = inspect(folder, store)
    assert changed["key"] != first
    assert any("a.tif" in problem for problem in changed["refused"])


def test_a_known_plate_is_named_and_its_other_role_refused(tmp_path: Path, store: Path) -> None:
    plate = one_field(tmp_path / "p")
    assert inspect(plate, store)["known_version"] is None
    key = ingest(plate, store).key
    assert inspect(plate, store)["known_version"] == key
    [refused] = inspect(plate, store, role="test")["refused"]
    assert "a plate named p is known with role train" in refused
