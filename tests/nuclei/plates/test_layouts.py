"""Tests of tasks.nuclei.plates.layouts, by plates that arrive in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.arrival import open_arrival
from tasks.nuclei.plates.files import Plate
from tasks.nuclei.plates.image_files import decode_image, decode_numbered
from tasks.nuclei.plates.layouts import LAYOUTS
from tests.plates import INFO, two_squares

IMAGE, LABEL_IMAGE = two_squares()
SCREEN = {"role": "screen", "replicate": None, "annotation": None}
CV7000 = "Plate_B07_T0001F002L01A01Z01C01"


def put(folder: Path, *files: str, **info: Any) -> Path:
    """Write plate.json and these files: images, label images where the name says so, and for other names a byte."""
    folder.mkdir()
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": folder.name} | info))
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        is_label = "mask" in name.lower() or name.startswith("labels/")
        write(path, LABEL_IMAGE if is_label else IMAGE)
    return folder


def write(path: Path, array: NDArray[Any]) -> None:
    if path.suffix.lower() == ".png":
        path.write_bytes(imagecodecs.png_encode(array))
    elif path.suffix.lower() in (".tif", ".tiff"):
        tifffile.imwrite(path, array)
    else:
        path.write_bytes(b"x")


def pairs(plate: Plate) -> dict[str, str | None]:
    """Give the label image of each image, by the names under which they are presented."""
    shown: dict[str, str | None] = {}
    for fov in plate.fovs:
        np.testing.assert_array_equal(decode_image(plate.read(fov.image_path), fov.image_path), IMAGE)
        if fov.labels_path is not None:
            numbered = decode_numbered(plate.read(fov.labels_path), fov.labels_path)
            np.testing.assert_array_equal(numbered.label_image, LABEL_IMAGE)
        labels_name = fov.labels_path.relative_to(plate.folder).as_posix() if fov.labels_path else None
        shown[fov.image_path.relative_to(plate.folder).as_posix()] = labels_name
    return shown


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        (("images/a.tif", "labels/a.png"), {"images/a.tif": "labels/a.png"}),
        (("images/a.tif", "masks/a.tif"), {"images/a.tif": "labels/a.tif"}),
        (("images/a.ome.tif", "masks/a.tif"), {"images/a.ome.tif": "labels/a.tif"}),
        (("images/a.tif", "masks/a_cp_masks.png"), {"images/a.tif": "labels/a.png"}),
        (("images/a.tif", "images/a_cp_masks.png"), {"images/a.tif": "labels/a.png"}),
        (("images/a.tif", "images/a_masks.tif"), {"images/a.tif": "labels/a.tif"}),
        (("a.tif", "a_masks.tif"), {"images/a.tif": "labels/a.tif"}),
        (("a.png", "a_cp_masks.tif"), {"images/a.png": "labels/a.tif"}),
        (("A.TIF", "A_CP_MASKS.PNG"), {"images/A.TIF": "labels/A.PNG"}),
        (("a.ome.tif", "a.ome_cp_masks.png"), {"images/a.ome.tif": "labels/a.png"}),
        (("a_cp.tif", "a_cp_cp_masks.tif"), {"images/a_cp.tif": "labels/a_cp.tif"}),
        ((f"{CV7000}.tif", f"{CV7000}_cp_masks.png"), {f"images/{CV7000}.tif": f"labels/{CV7000}.png"}),
    ],
)
def test_a_plate_is_presented_as_images_and_labels_in_whatever_layout_it_arrives(
    tmp_path: Path, files: tuple[str, ...], shown: dict[str, str]
) -> None:
    plate = open_arrival(put(tmp_path / "p", *files))
    assert pairs(plate) == shown
    assert plate.not_used == {}


def test_the_names_of_the_cv7000_give_wells_in_every_layout(tmp_path: Path) -> None:
    for number, (images, mask) in enumerate(
        (("images/", "masks/{}"), ("images/", "images/{}_masks"), ("", "{}_masks"))
    ):
        folder = put(tmp_path / str(number), f"{images}{CV7000}.tif", f"{mask.format(CV7000)}.tif")
        (fov,) = open_arrival(folder).fovs
        assert (fov.well, fov.site, fov.channel) == ("B07", 2, 1)


def test_of_several_channels_the_masks_of_others_are_left_out_and_counted(tmp_path: Path) -> None:
    other = CV7000.replace("C01", "C02")
    folder = put(
        tmp_path / "p", *(f"{name}{end}" for name in (CV7000, other) for end in (".tif", "_masks.tif")), channel=1
    )
    plate = open_arrival(folder)
    assert pairs(plate) == {f"images/{CV7000}.tif": f"labels/{CV7000}.tif"}
    assert plate.not_used == {"images of other channels": 1, "label images of images left out": 1}


@pytest.mark.parametrize("where", ["", "images/"])
def test_what_cellpose_writes_besides_is_left_alone_and_counted(tmp_path: Path, where: str) -> None:
    besides = (
        *("a_seg.npy", "a_cp_outlines.txt", "a_flows.tif", "a_flows_0.tif", "a_outlines.png", "a_cp_output.png"),
        *("a_outlines_cp_masks.png", "a_dP.tif", "a_cellprob.tif", "a_cp_flows.tif"),
    )
    folder = put(tmp_path / "p", *(f"{where}{name}" for name in ("a.tif", "a_cp_masks.png", *besides)))
    plate = open_arrival(folder)
    assert pairs(plate) == {"images/a.tif": "labels/a.png"}
    assert plate.not_used == {"files that Cellpose writes beside images": len(besides)}


def test_an_image_that_is_only_called_like_a_picture_of_cellpose_is_an_image(tmp_path: Path) -> None:
    plate = open_arrival(put(tmp_path / "p", "lava_flows.tif", "lava_flows_masks.tif"))
    assert pairs(plate) == {"images/lava_flows.tif": "labels/lava_flows.tif"}


def test_a_screening_plate_needs_no_masks_and_keeps_those_that_there_are(tmp_path: Path) -> None:
    plate = open_arrival(put(tmp_path / "p", "a.tif", "b.tif", "b_masks.tif", **SCREEN))
    assert pairs(plate) == {"images/a.tif": None, "images/b.tif": "labels/b.tif"}
    assert pairs(open_arrival(put(tmp_path / "q", "a.tif", "b.tif", **SCREEN))) == {
        "images/a.tif": None,
        "images/b.tif": None,
    }


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (("images/a.tif", "labels/a.tif", "masks/a.tif"), ("images/ and labels/;", "images/ and masks/")),
        (("images/a.tif", "labels/a.tif", "images/a_masks.tif"), ("images/ and labels/;", "Cellpose's masks beside")),
        (("images/a.tif", "masks/a.tif", "images/a_masks.tif"), ("images/ and masks/", "Cellpose's masks beside")),
        (("images/a.tif", "labels/a.tif", "a.tif", "a_masks.tif"), ("images/ and labels/;", "folder itself")),
        (("images.ome.zarr/.zattrs", "images/a.tif", "labels/a.tif"), ("OME-Zarr;", "images/ and labels/")),
    ],
)
def test_a_folder_that_fits_two_layouts_is_refused_with_both(
    tmp_path: Path, files: tuple[str, ...], named: tuple[str, str]
) -> None:
    with pytest.raises(InputError, match=r"can be read in 2 ways: .*Keep the files of one of them") as refused:
        open_arrival(put(tmp_path / "p", *files))
    assert all(words in str(refused.value) for words in named)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.tif", "a_masks.tif", "b.tif"), "images/b.tif: has no label image; add one beside it, with _masks or _cp_"),
        (("images/a.tif", "images/b.tif", "masks/a.tif"), "images/b.tif: has no label image; add one of .* to masks/"),
        (("a.tif", "a_masks.tif", "b_masks.tif"), r"\): b_masks.tif: has no image"),
        (("images/a.tif", "masks/a.tif", "masks/b.tif"), r"masks/b.tif: has no image"),
        (("a.tif", "a_masks.tif", "A_masks.tif"), "A_masks.tif: has no image, and seems to belong to the image a"),
        (
            ("a.tif", "a_masks.tif", "a_cp_masks.png"),
            "a_masks.tif: is a second label image of a, beside a_cp_masks.png",
        ),
        (("a.tif", "a_masks.tif", "a_masks.png"), "a_masks.tif: has the same name as a_masks.png"),
        (("images/a.tif", "masks/a.tif", "masks/a_masks.tif"), "masks/a_masks.tif: is a second label image of a"),
        (("a.tif", "a_masks.tif", "more/b.tif"), "more: is a folder; put its images beside it"),
        (("a.tif", "a_masks.tif", "b.czi"), "b.czi: is not an image; .* export it as TIFF"),
        (("a.tif", "a_masks.tif", "b.tif.part"), "b.tif.part: is a copy that isn't finished"),
        (("raw/a.tif", "masks/a.tif"), "has a folder raw/; rename it to images/"),
        (("a.tif", "masks/a.tif"), "has no folder images/; put the plate's images there"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_that_it_has(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        open_arrival(put(tmp_path / "p", *files))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("second", ["a_cp_masks.png", "a_masks.png"])
def test_which_of_two_masks_is_meant_is_not_guessed_for_a_screening_plate(tmp_path: Path, second: str) -> None:
    plate = open_arrival(put(tmp_path / "p", "a.tif", "a_masks.tif", second, "b.tif", "b_masks.tif", **SCREEN))
    assert pairs(plate) == {"images/a.tif": None, "images/b.tif": "labels/b.tif"}
    assert len(plate.faults) == 1


@pytest.mark.parametrize("name", ["a.tif", "a_masks.tif"])
def test_a_link_out_of_the_plate_s_own_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = put(tmp_path / "p", "a.tif", "a_masks.tif")
    (folder / name).rename(tmp_path / "outside.tif")
    (folder / name).symlink_to(tmp_path / "outside.tif")
    with pytest.raises(InputError, match=f"{name}: is a link that leads out of the plate"):
        open_arrival(folder)


def test_what_belongs_to_a_plate_besides_its_images_may_lie_beside_them(tmp_path: Path) -> None:
    folder = put(tmp_path / "p", "a.tif", "a_masks.tif", ".DS_Store", "DONE", "label_sets/eva/a.tif", "metadata.xml")
    write(folder / "label_sets/eva/a.tif", LABEL_IMAGE)
    plate = open_arrival(folder)
    assert pairs(plate) == {"images/a.tif": "labels/a.tif"}
    assert list(plate.label_sets) == ["eva"]


def test_a_message_on_pixels_says_what_images_and_labels_stand_for(tmp_path: Path) -> None:
    titles = [layout.title for layout in LAYOUTS]
    assert len(set(titles)) == len(LAYOUTS)
    plate = open_arrival(put(tmp_path / "p", "images/a.tif", "masks/a.tif"))
    assert plate.shown == f"{tmp_path / 'p'} (labels/ stands for masks/)"
    assert open_arrival(put(tmp_path / "q", "images/a.tif", "labels/a.tif")).shown == str(tmp_path / "q")
