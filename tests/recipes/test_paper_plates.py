"""The paper's images and labels, in the layout of their authors, become plates."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tasks.contract import BAD_INPUT, DONE, execute
from tasks.nuclei.errors import InputError
from tasks.recipes.paper_plates import main, make_plates
from tasks.steps import ingest
from tasks.steps.experiments.tables import PAPER_PLATES, PAPER_TRAINING_PLATES

FIELD = "AUTO0496_J14_T0001F001L01A01Z01C01"
SETS = (
    *("BABE_Original", "BABE_Biological", "HiTIF_Colorectal_Original", "HiTIF_Colorectal_Biological"),
    *("HiTIF_Laurent_Original", "HiTIF_Laurent_Technical", "Manasi_Original", "Manasi_Technical"),
)


def write_field(folder: Path, name: str = FIELD, seed: int = 0, is_image: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    labels = np.zeros((96, 96), np.uint16)
    for number, (y, x) in enumerate(((10, 10), (10, 50), (50, 10), (50, 50)), start=1):
        labels[y : y + 25 + seed, x : x + 25] = number
    image = (labels > 0) * 2000 + rng.integers(100, 300, labels.shape)
    tifffile.imwrite(folder / f"{name}.tif", image.astype(np.uint16) if is_image else labels)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "figshare"
    for seed, name in enumerate(SETS):
        write_field(folder / "GreyScale" / name, seed=seed)
        write_field(folder / "Labels" / name, seed=seed, is_image=False)
        if "Original" not in name:
            write_field(folder / "Labels" / f"{name}_manual", seed=seed, is_image=False)
    return folder


def test_every_set_of_table_s1_becomes_a_plate_with_its_manual_labels_as_a_label_set(
    published: Path, tmp_path: Path
) -> None:
    plates, remarks = make_plates(published, tmp_path / "inbox")
    assert {plate.name for plate in plates} == PAPER_PLATES | PAPER_TRAINING_PLATES
    assert remarks == []
    u2os = tmp_path / "inbox/U2OS_Technical"
    assert json.loads((u2os / "plate.json").read_text()) == {
        **{"name": "U2OS_Technical", "cell_line": "U2OS", "objective": "20X", "binning": 1, "pixel_size_um": 0.325},
        **{"role": "test", "replicate": "technical", "annotation": "semi-automatic"},
    }
    for part in ("images", "labels", "label_sets/manual"):
        assert [path.stem for path in (u2os / part).iterdir()] == [FIELD]
    assert json.loads((tmp_path / "inbox/MCF10A_Original/plate.json").read_text())["role"] == "train"


def test_such_a_plate_is_imported_as_it_is(published: Path, tmp_path: Path) -> None:
    make_plates(published, tmp_path / "inbox")
    params = ingest.Params(folder=str(tmp_path / "inbox/U2OS_Technical"), role="test")
    assert execute(ingest.TASK, params, tmp_path / "store").counts["fovs"] == 1


def test_what_is_missing_and_what_the_paper_does_not_use_is_named(published: Path, tmp_path: Path) -> None:
    write_field(published / "GreyScale/BABE_Technical")
    for part in ("GreyScale", "Labels"):
        (published / part / "Manasi_Original").rename(published / part / "Manasi_unknown")
    plates, remarks = make_plates(published, tmp_path / "inbox")
    assert len(plates) == 7
    assert remarks == ["There is no Eosinophils_Original.", "MCF10A_Technical is not in Table S1 and is left out."]


def test_a_field_without_labels_and_two_files_of_one_field_are_refused(published: Path, tmp_path: Path) -> None:
    write_field(published / "GreyScale/BABE_Biological", "other")
    with pytest.raises(InputError, match="MCF10A_Biological: other has an image or labels but not both"):
        make_plates(published, tmp_path / "inbox")
    write_field(published / "more/Images/BABE_Biological")
    with pytest.raises(InputError, match="are of one field; remove one"):
        make_plates(published, tmp_path / "inbox")


def test_a_folder_that_may_hold_images_or_labels_is_refused(published: Path, tmp_path: Path) -> None:
    write_field(published / "Results/BABE_Biological", "other")
    with pytest.raises(InputError, match="it isn't clear whether this is an image or labels"):
        make_plates(published, tmp_path / "inbox")


def test_the_command_says_what_it_made_or_what_is_wrong(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(published), str(tmp_path / "inbox")]) == DONE
    assert str(tmp_path / "inbox/U2OS_Technical") in capsys.readouterr().out
    assert main([str(tmp_path / "inbox"), str(tmp_path / "other")]) == BAD_INPUT
    assert "holds none of the paper's sets" in capsys.readouterr().err
