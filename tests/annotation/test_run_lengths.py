import numpy as np
import pytest
from pycocotools import mask as coco_masks

from tasks.annotation.run_lengths import column_runs, mask_of, nucleus_of_column_runs, runs_in_text, runs_of
from tasks.annotation.sheet import cropped
from tasks.nuclei.errors import InputError


def test_runs_begin_with_the_background_though_it_may_have_no_pixel() -> None:
    assert runs_of(np.array([False, True, True, False])) == [1, 2, 1]
    assert runs_of(np.array([True, False])) == [0, 1, 1]


def test_runs_of_columns_are_those_of_pycocotools_whatever_the_mask() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        mask = np.zeros((23, 31), np.uint8)
        rows, columns = rng.integers(0, 23, 2), rng.integers(0, 31, 2)
        mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
        mask &= rng.random(mask.shape) < 0.9
        nucleus = cropped(mask, 0, 0)
        if nucleus is None:
            continue
        packed = coco_masks.encode(np.asfortranarray(mask))
        runs = column_runs(nucleus, (23, 31))
        assert coco_masks.frPyObjects({"size": [23, 31], "counts": runs}, 23, 31) == packed
        assert runs_in_text(packed["counts"].decode()) == runs
        back = nucleus_of_column_runs(runs, (23, 31))
        assert back is not None
        assert (back.top, back.left) == (nucleus.top, nucleus.left)
        assert np.array_equal(back.mask, nucleus.mask)


def test_large_numbers_in_text_are_read_as_pycocotools_writes_them() -> None:
    runs = [5_000_000, 3, 499_997, 40, 1, 7, 2_000_000 - 1]
    packed = coco_masks.frPyObjects({"size": [2500, 3000], "counts": runs}, 2500, 3000)
    assert runs_in_text(packed["counts"].decode()) == runs


def test_runs_that_do_not_cover_the_image_are_refused() -> None:
    with pytest.raises(InputError, match="runs are 5 pixels long, not 6"):
        mask_of([2, 3], 6)
    with pytest.raises(InputError, match="runs are 5 pixels long, and its image has 2 x 3"):
        nucleus_of_column_runs([2, 3], (2, 3))
    with pytest.raises(InputError, match="runs"):
        nucleus_of_column_runs([9, -3], (2, 3))


@pytest.mark.parametrize("text", ["", "a b", "o", "ooooooooooooooooo0"])
def test_text_that_is_cut_short_or_of_other_characters_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="has a mask"):
        runs_in_text(text)
