"""What is sent to a tool and comes back as it was is equal to the bit, with the number of every nucleus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.annotation.gathering import gather, iou
from tasks.annotation.patches import divide
from tasks.annotation.sheet import Nucleus, Sheet, sheet_name, sheet_of
from tasks.annotation.tools import TOOLS, tool_named
from tasks.nuclei.errors import InputError
from tasks.nuclei.patch_grid import Patch
from tests.annotation.crowded import SHAPE, disc, label_image_with_ids, one_field, painted, there_and_back

FIELDS = 20
WITH_CLASSES = sorted(set(TOOLS) - {"cellpose"})

every_tool = pytest.mark.parametrize("name", sorted(TOOLS))


@every_tool
def test_twenty_crowded_fields_come_back_equal_to_the_bit_of_16_bits_and_with_ids_over_65535(
    name: str, tmp_path: Path
) -> None:
    kinds = [(65_535, np.uint16), (2_000_000, np.int32)]
    fields: dict[str, NDArray[np.integer]] = {
        f"B07_{seed}": label_image_with_ids(seed, kinds[seed % 2][0]).astype(kinds[seed % 2][1])
        for seed in range(FIELDS)
    }
    assert sum(len(np.unique(field)) for field in fields.values()) > 20 * FIELDS
    sheets = [sheet_of(field, label_image) for field, label_image in fields.items()]
    returned = there_and_back(TOOLS[name], sheets, tmp_path)
    assert set(returned) == set(fields)
    for field, label_image in fields.items():
        assert np.array_equal(painted(returned[field]), label_image)
        assert (returned[field].height, returned[field].width) == SHAPE


@every_tool
def test_nuclei_of_20_px_across_come_back_with_an_iou_of_1(name: str, tmp_path: Path) -> None:
    nuclei = [Nucleus(disc(20), 10 + 25 * k, 7 + 21 * k, sent_id=k + 1) for k in range(4)]
    sheet = Sheet("B07_1", *SHAPE, None, tuple(nuclei))
    returned = there_and_back(TOOLS[name], [sheet], tmp_path)["B07_1"]
    assert [iou(sent, back) for sent, back in zip(nuclei, returned.nuclei, strict=True)] == [1.0] * 4


@every_tool
def test_a_field_without_nuclei_comes_back_without(name: str, tmp_path: Path) -> None:
    returned = there_and_back(TOOLS[name], one_field(np.zeros(SHAPE, np.int32)), tmp_path)
    assert returned["B07_1"].nuclei == ()


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_what_nobody_could_tell_comes_back_as_unsure(name: str, tmp_path: Path) -> None:
    label_image = label_image_with_ids(3, 500)
    ids = np.unique(label_image)[1:].tolist()
    sheet = sheet_of("B07_1", label_image, unsure=ids[::3])
    returned = there_and_back(TOOLS[name], [sheet], tmp_path)["B07_1"]
    assert {nucleus.sent_id: nucleus.kind for nucleus in returned.nuclei} == {
        number: "unsure" if number in ids[::3] else "nucleus" for number in ids
    }


def test_cellpose_has_no_classes_and_refuses_unsure_nuclei(tmp_path: Path) -> None:
    sheet = sheet_of("B07_1", label_image_with_ids(3, 500), unsure=[500])
    with pytest.raises(InputError, match="B07_1 has nuclei that are unsure, and Cellpose has no classes"):
        there_and_back(TOOLS["cellpose"], [sheet], tmp_path)


@every_tool
def test_patches_come_back_and_make_the_field_again(name: str, tmp_path: Path) -> None:
    label_image = label_image_with_ids(4, 3000)
    sheets = divide("B07_1", label_image, nuclei_per_patch=10)
    assert len(sheets) >= 4
    returned = there_and_back(TOOLS[name], sheets, tmp_path)
    assert {sheet.patch for sheet in returned.values()} == {sheet.patch for sheet in sheets}
    gathered = gather(label_image, sheets, list(returned.values()))
    assert np.array_equal(gathered.label_image, label_image)
    assert gathered.looked_at.all()
    assert (gathered.missing, gathered.overlapping_px, gathered.joined, gathered.number_twice) == ((), 0, 0, 0)


@pytest.mark.parametrize("name", sorted(name for name, tool in TOOLS.items() if tool.by_patches))
def test_tools_that_work_by_patches_show_what_is_corrected_elsewhere_as_such(name: str, tmp_path: Path) -> None:
    label_image = label_image_with_ids(4, 3000)
    sheets = divide("B07_1", label_image, nuclei_per_patch=10)
    returned = there_and_back(TOOLS[name], sheets, tmp_path)
    for sheet in sheets:
        assert [(n.sent_id, n.kind) for n in returned[sheet.name].nuclei] == [(n.sent_id, n.kind) for n in sheet.nuclei]
    assert any(nucleus.kind == "context" for sheet in sheets for nucleus in sheet.nuclei)


@pytest.mark.parametrize("name", sorted(set(TOOLS) - {"label_tiff", "ome_zarr"}))
def test_a_nucleus_that_was_drawn_in_the_tool_has_no_number(name: str, tmp_path: Path) -> None:
    drawn = replace(Nucleus(disc(9), 3, 4), sent_id=None)
    returned = there_and_back(TOOLS[name], [Sheet("B07_1", *SHAPE, None, (drawn,))], tmp_path)
    # Cellpose's file gives it a number when it is written; when Cellpose saves, no nucleus has one.
    assert [nucleus.sent_id for nucleus in returned["B07_1"].nuclei] == [1 if name == "cellpose" else None]


@every_tool
def test_a_folder_without_files_of_the_tool_is_refused_with_what_is_in_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.docx").write_bytes(b"")
    with pytest.raises(InputError, match=r"has no "):
        TOOLS[name].read(tmp_path)


def test_the_name_of_a_patch_says_where_it_is() -> None:
    from tasks.annotation.sheet import patch_in

    patch = Patch(0, 1200, 400, 1650)
    assert sheet_name("B07_1", patch) == "B07_1_y0-400_x1200-1650"
    assert patch_in("B07_1_y0-400_x1200-1650") == patch
    assert patch_in("B07_1") is None


def test_a_tool_that_there_isnt_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="There is no annotation tool 'paint'; allowed are supervisely, cvat, "):
        tool_named("paint")
