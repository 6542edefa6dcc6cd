"""The picture of README.md: which field it shows, and what is beside each other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tasks.recipes.readme_picture import PICTURE, PLATE, SegmentedField, main, most_usual, picture
from tests.fields import round_nuclei

MOST_BYTES = 300_000


def field(name: str, found: int) -> SegmentedField:
    """Four square nuclei, of which some are found."""
    true_labels = np.zeros((40, 60), np.int32)
    for number in range(4):
        true_labels[5:15, 5 + 14 * number : 15 + 14 * number] = number + 1
    return SegmentedField(
        name, (200 * (true_labels > 0)).astype(np.uint8), true_labels, true_labels * (true_labels <= found)
    )


def test_it_is_of_the_field_whose_f1_is_nearest_to_that_of_all_fields() -> None:
    shown, f1 = most_usual([field("all", 4), field("two", 2), field("three", 3)])
    assert shown.name == "three"
    assert f1 == pytest.approx([6 / 7, 6 / 7])


def test_image_truth_and_prediction_are_beside_each_other_in_one_colour_per_nucleus() -> None:
    figure = picture(field("two", 2))
    assert [axes.get_title() for axes in figure.axes] == ["Image", "Truth", "Prediction"]
    _, truth, prediction = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert (truth[10, 10] == prediction[10, 10]).all()
    assert (truth[10, 38] != prediction[10, 38]).any()


def test_the_picture_of_the_repository_is_small() -> None:
    assert PICTURE.stat().st_size < MOST_BYTES


def test_without_the_images_it_says_which_folder_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--data", str(tmp_path)]) == 2
    assert "give the folder that holds" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / PLATE).exists()


@pytest.mark.slow
def test_the_command_segments_the_images_and_says_the_f1_of_the_field_that_it_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, drawn = tmp_path / "data", tmp_path / "drawn.png"
    for part in ("images", "labels"):
        (data / "dsb2018/medium-520/test" / part).mkdir(parents=True)
    (data / "dsb2018/manifest.csv").touch()
    for number in range(2):
        image, label_image = round_nuclei(number, radius_px=14)
        tifffile.imwrite(data / "dsb2018/medium-520/test/images" / f"field-{number}.tif", image)
        tifffile.imwrite(data / "dsb2018/medium-520/test/labels" / f"field-{number}.tif", label_image)
    assert main([str(tmp_path / "out"), "--data", str(data), "--into", str(drawn)]) == 0
    assert re.search(rf"field field-\d of {PLATE}; F1 1\.000 at 0\.7, [01]\.\d+ at 0\.9", capsys.readouterr().out)
    assert drawn.read_bytes().startswith(b"\x89PNG")
