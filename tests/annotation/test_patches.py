import numpy as np

from tasks.annotation.patches import divide
from tasks.nuclei.patch_grid import Patch
from tests.annotation.crowded import label_image_with_ids


def grid_of_nuclei(rows: int, columns: int, spacing_px: int = 20) -> np.ndarray:
    label_image = np.zeros((rows * spacing_px, columns * spacing_px), np.int32)
    for number in range(rows * columns):
        y, x = (spacing_px * place + 5 for place in divmod(number, columns))
        label_image[y : y + 10, x : x + 10] = number + 1
    return label_image


def test_patches_have_about_fifty_nuclei_and_cover_the_field_once() -> None:
    label_image = grid_of_nuclei(20, 30)
    sheets = divide("B07_1", label_image)
    owned = [sum(nucleus.kind == "nucleus" for nucleus in sheet.nuclei) for sheet in sheets]
    assert len(sheets) == 12
    assert sum(owned) == 600
    assert all(35 <= nuclei <= 70 for nuclei in owned)
    covered = np.zeros(label_image.shape, np.int32)
    for sheet in sheets:
        assert sheet.patch is not None
        covered[sheet.patch.slices] += 1
    assert (covered == 1).all()
    assert [sheet.name for sheet in sheets][:2] == ["B07_1_y0-133_x0-150", "B07_1_y0-133_x150-300"]


def test_a_nucleus_belongs_to_the_first_patch_row_by_row_that_holds_a_pixel_and_is_shown_in_the_others() -> None:
    label_image = np.zeros((100, 100), np.int32)
    label_image[45:55, 45:55] = 7  # in the middle of all four
    label_image[60:80, 48:58] = 9  # in the lower two
    label_image[49:52, 80:90] = 4  # one row in the upper right
    label_image[90, 90] = 5  # a single pixel in the lower right
    sheets = divide("B07_1", label_image, nuclei_per_patch=1)
    assert [sheet.patch for sheet in sheets] == [
        Patch(0, 0, 50, 50),
        Patch(0, 50, 50, 100),
        Patch(50, 0, 100, 50),
        Patch(50, 50, 100, 100),
    ]
    kinds = [{nucleus.sent_id: nucleus.kind for nucleus in sheet.nuclei} for sheet in sheets]
    assert kinds == [
        {7: "nucleus"},
        {7: "context", 4: "nucleus"},
        {7: "context", 9: "nucleus"},
        {7: "context", 4: "context", 9: "context", 5: "nucleus"},
    ]


def test_each_nucleus_of_a_crowded_field_is_corrected_once_and_whole() -> None:
    label_image = label_image_with_ids(6, 70_000)
    owned = [
        n for sheet in divide("B07_1", label_image, nuclei_per_patch=5) for n in sheet.nuclei if n.kind != "context"
    ]
    assert sorted(nucleus.sent_id or 0 for nucleus in owned) == np.unique(label_image)[1:].tolist()
    assert sum(nucleus.area_px for nucleus in owned) == np.count_nonzero(label_image)


def test_a_field_of_few_nuclei_or_none_is_one_sheet_without_a_patch() -> None:
    for label_image in (grid_of_nuclei(5, 6), np.zeros((50, 60), np.uint16)):
        [sheet] = divide("B07_1", label_image)
        assert (sheet.name, sheet.patch) == ("B07_1", None)


def test_unsure_nuclei_stay_unsure_where_they_are_corrected() -> None:
    sheets = divide("B07_1", grid_of_nuclei(20, 30), unsure=[1, 2])
    kinds = [nucleus.kind for sheet in sheets for nucleus in sheet.nuclei if nucleus.sent_id in (1, 2)]
    assert kinds == ["unsure", "unsure"]
