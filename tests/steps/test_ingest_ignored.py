"""Tests of tasks.steps.ingest: fields of which not all is annotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_ignored
from tests.plates import make_plate
from tests.steps.ingesting import IMAGE, LABEL_IMAGE, ingest, report_of

RIGHT_HALF = np.zeros(IMAGE.shape, np.uint8)
RIGHT_HALF[:, 15:] = 1
"""With the larger of the two nuclei, of 36 px."""


def plate_with(folder: Path, ignored: NDArray[Any], **info: Any) -> Path:
    fields = {"a": IMAGE, "b": IMAGE}
    return make_plate(folder, fields, dict.fromkeys(fields, LABEL_IMAGE), {"a": ignored}, **info)


def test_counts_areas_and_table_s1_are_of_the_nuclei_that_are_annotated(tmp_path: Path, store: Path) -> None:
    result = ingest(plate_with(tmp_path / "p", RIGHT_HALF), store)
    report = report_of(result, store)
    in_part, whole = report["fovs"]
    assert (in_part["nuclei"], in_part["area_mean_px"], in_part["ignored_share"]) == (1, 16, 0.5)
    assert (whole["nuclei"], whole["area_mean_px"]) == (2, 26)
    assert "ignored" not in whole
    assert (result.counts["nuclei"], report["table_s1"]["Number of Nuclei"]) == (3, 3)
    assert report["table_s1"]["Area Mean - px"] == pytest.approx((16 + 16 + 36) / 3)


def test_the_stored_plate_says_what_is_ignored(tmp_path: Path, store: Path) -> None:
    plate = plate_with(tmp_path / "p", RIGHT_HALF)
    result = ingest(plate, store)
    in_part, whole = open_plate(store / result.outputs["plate"]).fovs
    assert in_part.ignored_path is not None
    np.testing.assert_array_equal(read_ignored(in_part.ignored_path), RIGHT_HALF == 1)
    assert in_part.ignored_path.stat().st_mode & 0o777 == 0o444
    assert whole.ignored_path is None
    assert open_plate(plate).fovs[0].ignored_path == plate / "ignored/a.tif"


def test_other_ignored_pixels_are_another_version_of_the_plate(tmp_path: Path, store: Path) -> None:
    more = np.where(RIGHT_HALF, np.uint8(2), np.uint8(0))
    first, second = (
        ingest(plate_with(tmp_path / f"{number}" / "p", ignored), store).key
        for number, ignored in enumerate((RIGHT_HALF, more))
    )
    assert first != second


def test_a_png_of_16_bits_is_read_too(tmp_path: Path, store: Path) -> None:
    plate = plate_with(tmp_path / "p", RIGHT_HALF)
    (plate / "ignored/a.tif").unlink()
    make_plate(tmp_path / "other", {"a": IMAGE}, {"a": LABEL_IMAGE}, {"a.png": RIGHT_HALF.astype(np.uint16)})
    (tmp_path / "other/ignored/a.png").rename(plate / "ignored/a.png")
    assert ingest(plate, store).counts["nuclei"] == 3


@pytest.mark.parametrize(
    ("ignored", "message"),
    [
        (RIGHT_HALF[:-1], r"ignored/a.tif: is 19 x 30 px and images/a.tif is 20 x 30 px; they must be equal"),
        (RIGHT_HALF.astype(np.float32), r"ignored/a.tif: pixels are float32; allowed are 0 \(annotated\)"),
        (7 * RIGHT_HALF, r"ignored/a.tif: has pixels of 7; allowed are 0 \(annotated\), 1 \(not looked at\) and 2"),
        (-RIGHT_HALF.astype(np.int16), "ignored/a.tif: has pixels of -1; allowed are 0"),
        (np.ones_like(RIGHT_HALF), "ignored/a.tif: nothing of its field is annotated, not one pixel is 0"),
        (np.stack([RIGHT_HALF] * 5), "ignored/a.tif: holds 5 images"),
    ],
)
def test_a_faulty_image_of_what_is_ignored_is_refused_once_and_by_name(
    tmp_path: Path, store: Path, ignored: NDArray[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        ingest(plate_with(tmp_path / "p", ignored), store)
    assert str(refused.value).count("ignored/a.tif: ") == 1


def test_what_is_ignored_of_no_field_or_of_one_without_labels_is_refused(tmp_path: Path, store: Path) -> None:
    stray = make_plate(tmp_path / "stray", {"a": IMAGE}, {"a": LABEL_IMAGE}, {"c": RIGHT_HALF})
    with pytest.raises(InputError, match=r"ignored/c.tif: has no image; add its image to images/ or remove it"):
        ingest(stray, store)
    fields = {"a": IMAGE, "b": IMAGE}
    unlabelled = make_plate(tmp_path / "p", fields, {"a": LABEL_IMAGE}, {"b": RIGHT_HALF})
    with pytest.raises(InputError, match=r"ignored/b.tif: its field has no label image"):
        ingest(unlabelled, store)


@pytest.mark.parametrize("name", ["Ignored", "ignore"])
def test_a_folder_that_seems_meant_for_it_is_not_passed_over(tmp_path: Path, store: Path, name: str) -> None:
    plate = plate_with(tmp_path / "p", RIGHT_HALF)
    (plate / "ignored").rename(plate / name)
    with pytest.raises(InputError, match=f"has a folder {name}/; rename it to ignored/"):
        ingest(plate, store)


def test_a_screening_plate_is_imported_without_the_labels_that_a_faulty_one_belongs_to(
    tmp_path: Path, store: Path
) -> None:
    screen = {"role": "screen", "replicate": None, "annotation": None}
    result = ingest(plate_with(tmp_path / "p", 7 * RIGHT_HALF, **screen), store)
    report = report_of(result, store)
    assert [row["labels"] for row in report["fovs"]] == [None, "labels/b.tif"]
    assert "ignored" not in report["fovs"][0]
    assert any("ignored/a.tif: has pixels of 7" in warning["problem"] for warning in report["warnings"])
    assert not (store / result.outputs["plate"] / "ignored/a.tif").exists()
