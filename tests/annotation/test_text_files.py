"""What CVAT, COCO tools and QuPath give back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.annotation import coco, cvat, qupath
from tasks.annotation.sheet import Nucleus, Sheet
from tasks.nuclei.errors import InputError
from tests.annotation.crowded import disc, there_and_back

MASK = disc(7)
RING = [[2, 1], [6, 1], [6, 4], [2, 4], [2, 1]]
SENT = [
    Sheet("B07_1", 40, 50, None, (Nucleus(MASK, 4, 6, sent_id=3), Nucleus(MASK, 20, 30, sent_id=9))),
    Sheet("B07_2", 40, 50, None, (Nucleus(MASK, 8, 8, sent_id=1),)),
]


def cvat_after(tmp_path: Path, edit: Callable[[str], str]) -> dict[str, Sheet]:
    def edit_file(folder: Path) -> None:
        path = folder / "annotations.xml"
        path.write_text(edit(path.read_text()))

    return there_and_back(cvat.TOOL, SENT, tmp_path, edit_file)


def test_cvat_piles_shapes_by_their_z_order(tmp_path: Path) -> None:
    first_on_top = cvat_after(tmp_path, lambda text: text.replace('z_order="0"', 'z_order="4"', 1))
    assert [nucleus.sent_id for nucleus in first_on_top["B07_1"].nuclei] == [9, 3]


def test_a_polygon_of_cvat_goes_along_the_corners_of_pixels(tmp_path: Path) -> None:
    polygon = '<polygon label="unsure" source="manual" points="2.00,1.00;6.00,1.00;6.00,4.00;2.00,4.00"/></image>'
    added = cvat_after(tmp_path, lambda text: text.replace("</image>", polygon, 1))["B07_1"].nuclei[-1]
    assert (added.kind, added.top, added.left, added.mask.shape, added.area_px) == ("unsure", 1, 2, (3, 4), 12)
    assert added.sent_id is None


def test_once_one_image_of_cvat_is_tagged_as_corrected_those_without_the_tag_do_not_count(tmp_path: Path) -> None:
    tag = '<tag label="corrected" source="manual"/></image>'
    assert set(cvat_after(tmp_path, lambda text: text.replace("</image>", tag, 1))) == {"B07_1"}


def test_images_of_cvat_may_lie_in_folders_of_the_task(tmp_path: Path) -> None:
    assert set(cvat_after(tmp_path, lambda text: text.replace('name="B', 'name="plate/B'))) == {"B07_1", "B07_2"}


def test_the_labels_for_a_task_of_cvat_are_those_of_the_annotations(tmp_path: Path) -> None:
    there_and_back(cvat.TOOL, SENT, tmp_path)
    names = {label["name"] for label in json.loads((tmp_path / "labels.json").read_text())}
    assert names == {"nucleus", "unsure", "context", "patch", "corrected"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'label="nucleus"',
            'label="mitosis"',
            "B07_1 has a shape with the label 'mitosis'; allowed are nucleus, unsure",
        ),
        ("mask", "ellipse", "B07_1 has a ellipse with the label 'nucleus'"),
        ('rle="', 'rle="7, ', "has a mask whose runs are 56 pixels long, not 49"),
        ("</annotations>", "", "is damaged or cut short"),
        ("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>", "defines a document type"),
        ("<annotations>", "<annotations><track/>", "isn't 'CVAT for images 1.1'"),
        ('width="50"', 'width="99999999"', "allowed are 67,108,864 px"),
        ('left="6"', 'left="60"', "outside of the image of 40 x 50 px"),
    ],
)
def test_what_cvat_does_not_write_is_refused_with_the_file(old: str, new: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"annotations.xml: .*{re.escape(says)}"):
        cvat_after(tmp_path, lambda text: text.replace(old, new))


def json_after(
    module: Any, tmp_path: Path, edit: Callable[[dict[str, Any]], object], name: str = "annotations.json"
) -> dict[str, Sheet]:
    def edit_file(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))

    return there_and_back(module.TOOL, SENT, tmp_path, edit_file)


def as_list(annotation: dict[str, Any]) -> None:
    from tasks.annotation.run_lengths import runs_in_text

    annotation["segmentation"]["counts"] = runs_in_text(annotation["segmentation"]["counts"])


def as_polygon(annotation: dict[str, Any]) -> None:
    annotation["segmentation"] = [[2, 1, 6, 1, 6, 4, 2, 4], [10, 1, 12, 1, 12, 4, 10, 4]]


def as_crowd(annotation: dict[str, Any]) -> None:
    annotation["iscrowd"] = 1


@pytest.mark.parametrize(("form", "area"), [(as_list, 37), (as_crowd, 37), (as_polygon, 18)])
def test_coco_is_read_in_all_its_forms(form: Callable[[dict[str, Any]], None], area: int, tmp_path: Path) -> None:
    returned = json_after(coco, tmp_path, lambda content: form(content["annotations"][0]))
    assert [nucleus.sent_id for nucleus in returned["B07_1"].nuclei] == [3, 9]
    assert returned["B07_1"].nuclei[0].area_px == area


def test_a_coco_tool_that_drops_attributes_loses_the_numbers_and_nothing_else(tmp_path: Path) -> None:
    returned = json_after(coco, tmp_path, lambda content: [each.pop("attributes") for each in content["annotations"]])
    assert [nucleus.sent_id for nucleus in returned["B07_1"].nuclei] == [None, None]
    assert np.array_equal(returned["B07_1"].nuclei[1].mask, MASK)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda c: c["categories"].clear(), "the image B07_1 has a nucleus of the category '1'; allowed are nucleus"),
        (lambda c: c["images"].pop(), "has nuclei of images that it doesn't list (2)"),
        (lambda c: c["annotations"][0]["segmentation"].update(size=[50, 40]), "for an image of [50, 40] px in one of"),
        (lambda c: c["annotations"][0].update(segmentation=[]), "an annotation without an outline (id 1)"),
        (lambda c: c.pop("annotations"), "isn't what COCO JSON writes (KeyError: 'annotations')"),
    ],
)
def test_what_is_no_coco_is_refused_with_the_file(
    edit: Callable[[dict[str, Any]], object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"annotations.json: .*{re.escape(says)}"):
        json_after(coco, tmp_path, edit)


def qupath_after(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Sheet:
    return json_after(qupath, tmp_path, edit, "B07_1.geojson")["B07_1"]


def feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **properties}}


def test_what_is_drawn_in_qupath_without_a_class_is_a_new_nucleus(tmp_path: Path) -> None:
    drawn = feature({"type": "Polygon", "coordinates": [RING]})
    added = qupath_after(tmp_path, lambda content: content["features"].append(drawn)).nuclei[-1]
    assert (added.kind, added.sent_id, added.top, added.left, added.area_px) == ("nucleus", None, 1, 2, 12)


@pytest.mark.parametrize(
    "classification", [{"name": "Unsure"}, {"names": ["unsure"]}, {"name": None, "names": ["unsure"]}]
)
def test_a_class_of_qupath_is_known_by_its_name_or_names(classification: dict[str, Any], tmp_path: Path) -> None:
    drawn = feature({"type": "Polygon", "coordinates": [RING]}, classification=classification)
    assert qupath_after(tmp_path, lambda content: content["features"].append(drawn)).nuclei[-1].kind == "unsure"


def test_a_nucleus_of_qupath_in_two_pieces_is_one(tmp_path: Path) -> None:
    other = [[x + 10, y] for x, y in RING]
    drawn = feature({"type": "MultiPolygon", "coordinates": [[RING], [other]]}, classification={"name": "unsure"})
    added = qupath_after(tmp_path, lambda content: content["features"].append(drawn)).nuclei[-1]
    assert (added.kind, added.mask.shape, added.area_px) == ("unsure", (3, 14), 24)


def test_one_polygon_is_no_multipolygon_which_qupath_would_not_take(tmp_path: Path) -> None:
    there_and_back(qupath.TOOL, SENT, tmp_path)
    features = json.loads((tmp_path / "B07_1.geojson").read_text())["features"]
    assert {each["geometry"]["type"] for each in features} == {"Polygon"}
    for each in features:
        assert all(ring[0] == ring[-1] for ring in each["geometry"]["coordinates"])
        assert each["properties"]["classification"]["color"] == [240, 228, 66]


def test_without_the_image_beside_it_geojson_does_not_say_how_large_the_field_is(tmp_path: Path) -> None:
    def remove(folder: Path) -> None:
        (folder / "B07_1.tif").unlink()

    returned = there_and_back(qupath.TOOL, SENT, tmp_path, remove)
    assert (returned["B07_1"].height, returned["B07_2"].height) == (None, 40)
    assert [nucleus.sent_id for nucleus in returned["B07_1"].nuclei] == [3, 9]


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        (feature({"type": "Polygon", "coordinates": [RING]}, classification={"name": "Tumor"}), "the class 'tumor'"),
        (
            feature({"type": "Polygon", "coordinates": [RING]}, classification={"names": ["Nucleus", "Positive"]}),
            "the class 'nucleus: positive'",
        ),
        (feature({"type": "Point", "coordinates": [3, 4]}), "has a Point of the class 'nucleus'; allowed are areas"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2]]]}), "has an outline of the form (1, 2)"),
        (feature({"type": "Polygon", "coordinates": "here"}), "isn't what QuPath writes"),
        ({"type": "Feature"}, "isn't what QuPath writes (KeyError: 'properties')"),
    ],
)
def test_what_is_no_nucleus_of_qupath_is_refused_with_the_file(
    drawn: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"B07_1.geojson: .*{re.escape(says)}"):
        qupath_after(tmp_path, lambda content: content["features"].append(drawn))
