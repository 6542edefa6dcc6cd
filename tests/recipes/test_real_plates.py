"""Real images as plates, from small folders that are laid out as theirs."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tasks.contract import execute
from tasks.nuclei.errors import InputError
from tasks.recipes import real_plates
from tasks.recipes.real_plates import DSB2018, MNFINDER, main, make_plate, plates_of
from tasks.steps import ingest
from tests.plates import two_squares

FOLDERS: dict[str, dict[str, tuple[str, ...]]] = {
    DSB2018: {"small": ("train", "test")},
    MNFINDER: {"ours": ("train", "val"), "only": ("train",), "other": ("train", "val")},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Both data sets, with one image in each folder, which nobody may write."""
    folder = tmp_path / "data"
    image, label_image = two_squares()
    for number, (data_set, group, split) in enumerate(
        (data_set, group, split) for data_set, groups in FOLDERS.items() for group, of in groups.items() for split in of
    ):
        for part, content in (("images", image + np.uint16(number)), ("labels", label_image)):
            (folder / data_set / group / split / part).mkdir(parents=True)
            path = folder / data_set / group / split / part / f"{group}-{split}.tif"
            tifffile.imwrite(path, content)
            path.chmod(0o444)
            path.parent.chmod(0o555)
    for data_set in FOLDERS:
        (folder / data_set / "manifest.csv").touch()
    (folder / MNFINDER / "LICENSE.txt").write_text("Permission is hereby granted\n")
    return folder


def roles(data_set: str, data: Path, *held_out: str) -> dict[str, str]:
    return {plate.name: plate.role for plate in plates_of(data_set, data, held_out)}


def test_every_group_is_a_plate_to_train_and_one_to_test_as_far_as_it_has_both(data: Path) -> None:
    assert roles(DSB2018, data) == {"small-train": "train", "small-test": "test"}
    assert roles(MNFINDER, data) == {
        "only-train": "train",
        "other-train": "train",
        "other-test": "test",
        "ours-train": "train",
        "ours-test": "test",
    }


def test_a_group_that_is_held_out_is_one_plate_to_test_with_all_its_images(data: Path, tmp_path: Path) -> None:
    assert roles(MNFINDER, data, "other", "only") == {
        "only-held-out": "test",
        "other-held-out": "test",
        "ours-train": "train",
        "ours-test": "test",
    }
    (plate,) = [plate for plate in plates_of(MNFINDER, data, ["other"]) if plate.cell_line == "other"]
    folder = make_plate(plate, tmp_path / "inbox")
    assert {path.name for path in (folder / "images").iterdir()} == {"other-train.tif", "other-val.tif"}


def test_a_plate_is_one_that_ingest_takes_and_is_made_anew_where_it_is_there(data: Path, tmp_path: Path) -> None:
    plate = plates_of(DSB2018, data)[0]
    first = make_plate(plate, tmp_path / "inbox")
    (first / "images" / "left.tif").touch()
    assert make_plate(plate, tmp_path / "inbox") == first
    assert not (first / "images" / "left.tif").exists()
    result = execute(ingest.TASK, ingest.Params(folder=str(first)), tmp_path / "store")
    assert result.counts["fovs"] == 1
    assert json.loads((first / "plate.json").read_text())["cell_line"] == "small"


def test_a_folder_without_the_images_is_refused_with_what_it_should_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"hold the images of dsb2018: it has no manifest\.csv; give the folder"):
        plates_of(DSB2018, tmp_path)
    assert main([MNFINDER, str(tmp_path / "out"), "--data", str(tmp_path)]) == 2
    assert "mnfinder" in capsys.readouterr().err


def test_the_command_prints_the_plates_that_it_made(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([DSB2018, str(tmp_path / "out"), "--data", str(data)]) == 0
    made = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert made == ["small-train", "small-test"]
    assert real_plates.licence_of(MNFINDER, data) == "Permission is hereby granted"
