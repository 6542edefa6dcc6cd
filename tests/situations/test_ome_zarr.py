"""Plates whose images are OME-Zarr."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.situations.ome_zarr import IMAGES, OmeZarr
from tests.situations.outcomes import Accepted, Change, Outcome, Refused, Row, check, table
from tests.situations.plain import NUCLEI, SCREEN, write_info


def ome_zarr(
    then: Callable[[Path], object] = lambda images: None, in_plate_json: Mapping[str, object] = {}, **options: Any
) -> Change:
    """Make the plate OME-Zarr, then change a file of it."""

    def change(plate: Path) -> None:
        OmeZarr(**options).write(plate)
        write_info(plate, **in_plate_json)
        then(plate / IMAGES)

    return change


def lose(path: str) -> Callable[[Path], object]:
    return lambda images: (images / path).unlink()


def damage(path: str) -> Callable[[Path], object]:
    return lambda images: (images / path).write_bytes(b"\x07" * 40)


def break_json(path: str) -> Callable[[Path], object]:
    return lambda images: (images / path).write_text("{")


def forget_key(path: str, key: str) -> Callable[[Path], object]:
    def change(images: Path) -> None:
        content = json.loads((images / path).read_text())
        content.pop(key)
        (images / path).write_text(json.dumps(content))

    return change


def three_planes(image: NDArray[Any]) -> NDArray[Any]:
    return np.stack([image, image // 2, image // 3])


def lead_out(images: Path) -> None:
    """Let an image be that of another field, outside of its folder."""
    path = images / "B/07/0/.zattrs"
    path.write_text(path.read_text().replace('"path": "0"', '"path": "../1/0"'))


def change_json(path: str, key: str, value: Any) -> Callable[[Path], object]:
    def change(images: Path) -> None:
        content = json.loads((images / path).read_text())
        (images / path).write_text(json.dumps(content | {key: value}))

    return change


def list_images(*paths: str) -> Callable[[Path], object]:
    return change_json("B/07/.zattrs", "well", {"images": [{"path": path} for path in paths]})


def list_well(path: str) -> Callable[[Path], object]:
    return change_json(".zattrs", "plate", {"wells": [{"path": "B/07"}, {"path": path}]})


def copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda images: shutil.copytree(images / source, images / target)


def lose_folder(path: str) -> Callable[[Path], object]:
    return lambda images: shutil.rmtree(images / path)


def lower_row(images: Path) -> None:
    (images / "B").rename(images / "b")
    change_json(".zattrs", "plate", {"wells": [{"path": "b/07"}]})(images)


def stretch(path: str) -> Callable[[Path], object]:
    """Make pixels higher than wide."""

    def change(images: Path) -> None:
        file = images / path / ".zattrs"
        content = json.loads(file.read_text())
        content["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = [0.5, 0.25]
        file.write_text(json.dumps(content))

    return change


def move(name: str) -> Callable[[Path], object]:
    return lambda images: images.rename(images.with_name(name))


def zip_it(images: Path) -> None:
    shutil.rmtree(images)
    images.with_name("plate.zip").write_bytes(b"x")


ONE_LEFT_OUT = Accepted('"left_out".*B/07/1', fovs=1, nuclei=None)

ROWS: list[Row] = [
    ("version 0.4", ome_zarr(), Accepted()),
    ("version 0.5", ome_zarr(is_v3=True), Accepted()),
    ("no version", ome_zarr(says_version=False), Accepted()),
    ("a size in nm", ome_zarr(unit="nanometer", scale=500), Accepted()),
    ("another size in mm", ome_zarr(unit="millimeter", scale=0.00065), Refused(r"0\.65.*0\.5")),
    ("another size", ome_zarr(scale=0.65), Refused(r"0\.65.*0\.5")),
    ("label images of nuclei and cells", ome_zarr(label_names=("cells", "nuclei")), Accepted()),
    ("label images of other names", ome_zarr(label_names=("dapi", "cells")), Refused('dapi, cells.*"labels"')),
    (
        "label images of other names, one chosen",
        ome_zarr(label_names=("dapi", "cells"), in_plate_json={"labels": "dapi"}),
        Accepted(),
    ),
    ("a label image chosen that isn't there", ome_zarr(in_plate_json={"labels": "dapi"}), Refused("dapi.*nuclei")),
    ("a missing chunk of an image", ome_zarr(lose("B/07/0/0/1/1")), Refused("B/07/0: 1 of the 9 chunks")),
    (
        "a missing chunk, version 0.5",
        ome_zarr(lose("B/07/0/0/c/1/1"), is_v3=True),
        Refused("B/07/0: 1 of the 9 chunks"),
    ),
    (
        "a missing chunk of labels, which may be background",
        ome_zarr(lose("B/07/0/labels/nuclei/0/0/0")),
        Accepted("chunk", nuclei=None),
    ),
    ("a damaged chunk", ome_zarr(damage("B/07/0/0/1/1")), Refused("B/07/0.*damaged")),
    ("a plate without its attributes", ome_zarr(lose(".zattrs")), Refused("plate")),
    ("attributes cut short", ome_zarr(break_json("B/07/0/.zattrs")), Refused("B/07/0")),
    ("an array without its description", ome_zarr(lose("B/07/0/0/.zarray")), Refused("B/07/0")),
    ("an image without multiscales", ome_zarr(forget_key("B/07/0/.zattrs", "multiscales")), Refused("multiscales")),
    ("three channels", ome_zarr(axes="cyx", image=three_planes), Refused('3 channels.*"channel"')),
    ("three channels, one chosen", ome_zarr(axes="cyx", image=three_planes, in_plate_json={"channel": 1}), Accepted()),
    ("three planes", ome_zarr(axes="zyx", image=three_planes), Refused('3 planes.*"z"')),
    ("two acquisitions", ome_zarr(acquisitions=(0, 1)), Refused('"acquisition"')),
    (
        "two acquisitions, one chosen",
        ome_zarr(acquisitions=(0, 1), in_plate_json={"acquisition": 0}),
        Accepted("images of other acquisitions", fovs=1, nuclei=NUCLEI),
    ),
    ("images of Fractal's illumination correction", ome_zarr(names=("0_illum_corr", "1_illum_corr")), Accepted()),
    ("three planes, one chosen", ome_zarr(axes="zyx", image=three_planes, in_plate_json={"z": 0}), Accepted()),
    ("a path that leads out of the plate", ome_zarr(lead_out), Refused("outside|path")),
    (
        "an image before and after a correction, one chosen",
        ome_zarr(names=("0", "0_illum_corr"), in_plate_json={"image": "illum_corr"}),
        Accepted("images of other kinds", fovs=1, nuclei=NUCLEI),
    ),
    ("an image before and after a correction", ome_zarr(names=("0", "0_illum_corr")), Refused('illum_corr.*"image"')),
    (
        "an image on the disk that its well doesn't list",
        ome_zarr(list_images("0")),
        Accepted("B/07/1.*on the disk.*list", fovs=1, nuclei=NUCLEI),
    ),
    ("a well on the disk that the plate doesn't list", ome_zarr(copy("B/07", "C/08")), Accepted("C/08.*on the disk")),
    ("an image that is listed twice", ome_zarr(list_images("0", "0")), Refused("B/07: lists 0 twice")),
    ("a row in a small letter", ome_zarr(lower_row), Accepted()),
    ("a screen, the attributes of a field lost", ome_zarr(lose("B/07/1/.zattrs"), SCREEN), ONE_LEFT_OUT),
    ("a screen, the description of an array lost", ome_zarr(lose("B/07/1/0/.zarray"), SCREEN), ONE_LEFT_OUT),
    ("a screen, a field's folder lost", ome_zarr(lose_folder("B/07/1"), SCREEN), ONE_LEFT_OUT),
    ("a training plate, a field's folder lost", ome_zarr(lose_folder("B/07/1")), Refused("B/07/1: is missing")),
    ("a screen, its only well lost", ome_zarr(lose_folder("B/07"), SCREEN), Refused("B/07: is missing")),
    ("a screen, a well lost", ome_zarr(list_well("C/08"), SCREEN), Accepted("well C08.*C/08: is missing", nuclei=None)),
    ("a screen, pixels that aren't square", ome_zarr(stretch("B/07/1"), SCREEN), ONE_LEFT_OUT),
    ("a plate called plate.ome.zarr", ome_zarr(move("plate.ome.zarr")), Refused("rename it to images.ome.zarr")),
    ("a plate called images.zarr", ome_zarr(move("images.zarr")), Refused("rename it to images.ome.zarr")),
    ("a zip of a plate", ome_zarr(zip_it), Refused(r"plate\.zip; unpack it")),
]


@table(ROWS)
def test_an_ome_zarr_plate_is_right_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)
