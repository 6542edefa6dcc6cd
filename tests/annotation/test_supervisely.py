"""What Supervisely gives back, in the forms that its versions write."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.annotation.sheet import Nucleus, Sheet
from tasks.annotation.supervisely import TOOL
from tasks.nuclei.errors import InputError
from tests.annotation.crowded import disc, there_and_back

MASK = disc(7)
SENT = [
    Sheet("B07_1", 40, 50, None, (Nucleus(MASK, 4, 6, sent_id=3), Nucleus(MASK, 20, 30, sent_id=9))),
    Sheet("B07_2", 40, 50, None, (Nucleus(MASK, 8, 8, sent_id=1),)),
]


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], object], name: str = "B07_1") -> dict[str, Sheet]:
    def edit_files(folder: Path) -> None:
        path = folder / "nuclei/ann" / f"{name}.png.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return there_and_back(TOOL, SENT, tmp_path, edit_files)


def png(mask: np.ndarray, mode: str) -> bytes:
    values: dict[str, int | tuple[int, ...]] = {"LA": (0, 255), "RGBA": (0, 0, 0, 255), "1": 1}
    image = Image.new(mode, mask.shape[::-1])
    for y, x in np.argwhere(mask).tolist():
        image.putpixel((x, y), values[mode])
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "1"])
@pytest.mark.parametrize("pack", [zlib.compress, bytes])
def test_masks_are_read_with_transparency_or_without_compressed_once_or_twice(
    mode: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["objects"][0]["bitmap"]["data"] = base64.b64encode(pack(png(MASK, mode))).decode()

    returned = edited(tmp_path, edit)["B07_1"].nuclei[0]
    assert (returned.top, returned.left, returned.sent_id) == (4, 6, 3)
    assert np.array_equal(returned.mask, MASK)


def test_old_exports_without_the_extension_of_the_image_are_read(tmp_path: Path) -> None:
    def rename(folder: Path) -> None:
        (folder / "nuclei/ann/B07_1.png.json").rename(folder / "nuclei/ann/B07_1.json")

    assert set(there_and_back(TOOL, SENT, tmp_path, rename)) == {"B07_1", "B07_2"}


def test_polygons_of_the_labelling_tool_lie_between_pixels(tmp_path: Path) -> None:
    drawn = {"exterior": [[2.5, 1.0], [6.4, 1.0], [6.4, 4.0], [2.5, 4.0]], "interior": []}

    def edit(content: dict[str, Any]) -> None:
        content["objects"].append({"classTitle": "Nucleus", "geometryType": "polygon", "points": drawn, "tags": []})

    added = edited(tmp_path, edit)["B07_1"].nuclei[-1]
    assert (added.top, added.left, added.mask.shape, added.area_px) == (1, 2, (3, 4), 12)
    assert added.sent_id is None


def test_polygons_of_whole_numbers_include_their_points_as_in_the_library(tmp_path: Path) -> None:
    drawn = {"exterior": [[2, 1], [6, 1], [6, 4], [2, 4]], "interior": [[[3, 2], [4, 2], [4, 3], [3, 3]]]}

    def edit(content: dict[str, Any]) -> None:
        content["objects"].append({"classTitle": "unsure", "geometryType": "polygon", "points": drawn, "tags": []})

    added = edited(tmp_path, edit)["B07_1"].nuclei[-1]
    assert (added.kind, added.mask.shape, added.area_px) == ("unsure", (4, 5), 16)


def test_polygons_in_parts_are_one_nucleus(tmp_path: Path) -> None:
    parts = [{"exterior": [[x, 1], [x + 2, 1], [x + 2, 3], [x, 3]], "interior": []} for x in (2, 10)]

    def edit(content: dict[str, Any]) -> None:
        content["objects"].append({"classTitle": "Nucleus", "geometryType": "polygon", "parts": parts, "tags": []})

    added = edited(tmp_path, edit)["B07_1"].nuclei[-1]
    assert (added.top, added.left, added.mask.shape, added.area_px) == (1, 2, (3, 11), 18)


def test_an_image_that_is_in_two_datasets_is_refused(tmp_path: Path) -> None:
    def copy(folder: Path) -> None:
        (folder / "other/ann").mkdir(parents=True)
        (folder / "other/ann/B07_1.json").write_text((folder / "nuclei/ann/B07_1.png.json").read_text())

    with pytest.raises(InputError, match="these images are in two files: B07_1; leave what was corrected alone"):
        there_and_back(TOOL, SENT, tmp_path, copy)


def test_once_one_image_is_tagged_as_corrected_those_without_the_tag_do_not_count(tmp_path: Path) -> None:
    tagged = edited(tmp_path, lambda content: content["tags"].append({"name": "corrected", "value": None}))
    assert set(tagged) == {"B07_1"}


def test_a_nucleus_took_the_time_since_the_same_persons_change_before(tmp_path: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        for each, author, seconds in zip(content["objects"], ("anna", "anna"), (0, 45), strict=True):
            each["createdAt"] = "2026-11-01T08:00:00.000Z"
            each["updatedAt"] = f"2026-11-01T09:00:{seconds:02}.000Z"
            each["labelerLogin"] = author
        for author, time in (("anna", "09:30:00"), ("anna", "09:31:00"), ("bert", "09:31:30")):
            times = {"createdAt": f"2026-11-01T{time}Z", "updatedAt": f"2026-11-01T{time}Z"}
            content["objects"].append({**content["objects"][0], **times, "labelerLogin": author, "tags": []})

    nuclei = edited(tmp_path, edit)["B07_1"].nuclei
    # The first change, one after a break, and the first of another person took an unknown time.
    assert [nucleus.minutes for nucleus in nuclei] == [None, 0.75, None, 1.0, None]
    assert [nucleus.author for nucleus in nuclei] == ["anna"] * 4 + ["bert"]


def test_what_was_imported_and_not_changed_took_no_time(tmp_path: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        for each in content["objects"]:
            each.update(createdAt="2026-11-01T08:00:00.000Z", updatedAt="2026-11-01T08:00:00.120Z")

    assert {nucleus.minutes for nucleus in edited(tmp_path, edit)["B07_1"].nuclei} == {None}


def unknown_class(content: dict[str, Any]) -> None:
    content["objects"][0]["classTitle"] = "mitosis"


def line(content: dict[str, Any]) -> None:
    content["objects"][0]["geometryType"] = "line"


def bomb(content: dict[str, Any]) -> None:
    data = zlib.compress(b"\x89PNG" + bytes(2**25))
    content["objects"][0]["bitmap"]["data"] = base64.b64encode(data).decode()


def cut_mask(content: dict[str, Any]) -> None:
    bitmap = content["objects"][0]["bitmap"]
    bitmap["data"] = base64.b64encode(base64.b64decode(bitmap["data"])[:-9]).decode()


def elsewhere(content: dict[str, Any]) -> None:
    content["objects"][0]["bitmap"]["origin"] = [500, 600]


def without_size(content: dict[str, Any]) -> None:
    del content["size"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            unknown_class,
            "an object of the class 'mitosis'; allowed are Nucleus, unsure, Nucleus-processed, bounding-box",
        ),
        (line, "has a line of the class 'Nucleus'; allowed are masks and polygons"),
        (bomb, "cut short or far too large"),
        (cut_mask, "cut short or far too large"),
        (elsewhere, "a nucleus at row 600 and column 500, outside of the image of 40 x 50 px"),
        (without_size, "isn't what Supervisely writes .KeyError: 'size'."),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_file(
    edit: Callable[[dict[str, Any]], object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"B07_1.png.json: .*{says}"):
        edited(tmp_path, edit)


def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        path = folder / "nuclei/ann/B07_2.png.json"
        path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(InputError, match=r"B07_2\.png\.json: is damaged or cut short"):
        there_and_back(TOOL, SENT, tmp_path, cut)
