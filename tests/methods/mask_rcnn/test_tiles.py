"""Fields cut into tiles, and put together from their label images."""

import time
from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from tasks.methods.mask_rcnn.detections import label_image_of
from tasks.methods.mask_rcnn.tiles import Tile, merge_tiles, tiles_of, without_cut_pieces
from tasks.nuclei.synthesis import KINDS, synthesize_fov


def cut(label_image: NDArray[np.integer], tiles: list[Tile]) -> Iterator[NDArray[np.int32]]:
    """Give each tile's own label image, numbered 1..m, with 0 beyond the field."""
    for tile in tiles:
        inside = label_image[tile.window]
        whole = np.zeros((tile.size_px, tile.size_px), np.int32)
        whole[: inside.shape[0], : inside.shape[1]] = np.unique(inside, return_inverse=True)[1].reshape(inside.shape)
        if inside.min() > 0:
            whole[: inside.shape[0], : inside.shape[1]] += 1
        yield whole


def is_same_partition(one: NDArray[np.integer], other: NDArray[np.integer]) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(pairs.T) == len(np.unique(one)) == len(np.unique(other)) and bool(((one > 0) == (other > 0)).all())


@pytest.mark.parametrize("shape", [(256, 256), (100, 70), (257, 300), (462, 1000), (700, 256)])
def test_tiles_cover_the_field_and_overlap_by_as_much_as_asked_for(shape: tuple[int, int]) -> None:
    tiles = tiles_of(shape, 256, 50)
    seen = np.zeros(shape, int)
    for tile in tiles:
        seen[tile.window] += 1
    assert seen.min() == 1
    for axis in ("y", "x"):
        starts = sorted({getattr(tile, axis) for tile in tiles})
        assert all(after - before <= 206 for before, after in pairwise(starts))
        assert starts[-1] + 256 == max(shape["yx".index(axis)], 256)


def test_no_more_tiles_are_made_than_needed() -> None:
    assert [(tile.y, tile.x) for tile in tiles_of((256, 462), 256, 50)] == [(0, 0), (0, 206)]
    assert len(tiles_of((256, 463), 256, 50)) == 3


def test_an_overlap_as_large_as_a_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap_px=256 must be at least 0 and less than size_px=256"):
        tiles_of((300, 300), 256, 256)


@pytest.mark.parametrize("cell_line", ["MCF10A", "Eosinophils"])
def test_a_label_image_cut_into_tiles_comes_back(cell_line: str) -> None:
    # Pieces of a nucleus that are smaller than what labels must share would come back as nuclei of their own.
    true_labels = synthesize_fov(KINDS[cell_line], (600, 700), np.random.default_rng(0)).label_image
    tiles = tiles_of(true_labels.shape, 256, 50)
    merged = merge_tiles(list(cut(true_labels, tiles)), tiles, true_labels.shape, min_shared_px=1).label_image
    assert is_same_partition(merged, true_labels)


@pytest.mark.parametrize("cell_line", ["MCF10A", "Eosinophils"])
def test_without_cut_pieces_every_nucleus_that_is_no_larger_than_the_overlap_is_still_there(cell_line: str) -> None:
    true_labels = synthesize_fov(KINDS[cell_line], (600, 700), np.random.default_rng(0)).label_image
    tiles = tiles_of(true_labels.shape, 256, 50)
    in_tiles = list(cut(true_labels, tiles))
    kept = without_cut_pieces(in_tiles, tiles)
    assert sum(len(np.unique(part)) for part in kept) < sum(len(np.unique(part)) for part in in_tiles)
    assert is_same_partition(merge_tiles(kept, tiles, true_labels.shape, min_shared_px=1).label_image, true_labels)


def test_a_cut_piece_is_left_to_the_neighbour_that_sees_more_and_a_large_one_stays() -> None:
    tiles = [Tile(0, 0, 20), Tile(0, 10, 20)]
    left, right = np.zeros((2, 20, 20), np.int32)
    left[1:4, 14:20] = 1  # The right tile sees the whole of it.
    left[6:9, 5:20] = 2  # Longer than what both see.
    left[11:14, 11:15] = 3  # Whole in both.
    left[16:19, 0:4] = 4  # At the field's edge.
    right[1:4, 4:14], right[6:9, 0:14], right[11:14, 1:5] = 1, 2, 3
    kept_left, kept_right = without_cut_pieces([left, right], tiles)
    assert np.unique(kept_left).tolist() == [0, 2, 3, 4]
    assert np.unique(kept_right).tolist() == [0, 1, 2]


def perfect_detections(label_image: NDArray[np.integer]) -> NDArray[np.int32]:
    """Give a tile's label image as the network's masks of 28 x 28 px in boxes give it, without a mistake."""
    boxes, masks = [], []
    for number, (rows, columns) in enumerate(ndimage.find_objects(label_image), start=1):
        boxes.append(np.array([rows.start, columns.start, rows.stop, columns.stop], np.float32))
        mask = (label_image[rows, columns] == number).astype(np.float32)
        masks.append(cv2.resize(mask, (28, 28), interpolation=cv2.INTER_LINEAR))
    return label_image_of(boxes, masks, (label_image.shape[0], label_image.shape[1]))


@pytest.mark.parametrize("width_px", range(42, 55, 2))
def test_a_nucleus_about_as_wide_as_the_overlap_is_found_wherever_it_lies(width_px: int) -> None:
    tiles = tiles_of((256, 462), 256, 50)
    y, x = np.mgrid[:256, :462]
    for shift_px in np.arange(-6, 7, 0.5):
        disk = np.hypot(y - 128, x - 230.5 - shift_px) < width_px / 2
        in_tiles = [perfect_detections(part) for part in cut(disk.astype(np.int32), tiles)]
        found = merge_tiles(without_cut_pieces(in_tiles, tiles), tiles, disk.shape).label_image
        assert len(np.unique(found)) == 2, f"{width_px} px wide, {shift_px} px from the middle of the overlap"
        assert (disk & (found > 0)).sum() > 0.9 * (disk | (found > 0)).sum()


def test_a_nucleus_that_both_tiles_take_for_cut_stays_in_both() -> None:
    """The tiles don't find its outline in the same place, as networks don't."""
    tiles = [Tile(0, 0, 40), Tile(0, 20, 40)]
    left, right = np.zeros((2, 40, 40), np.int32)
    left[10:28, 22:39] = 1
    right[10:28, 1:18] = 1
    kept = without_cut_pieces([left, right], tiles)
    assert [part.max() for part in kept] == [1, 1]
    assert len(np.unique(merge_tiles(kept, tiles, (40, 60)).label_image)) == 2


def test_a_cut_piece_of_a_nucleus_that_no_other_tile_finds_stays() -> None:
    tiles = [Tile(0, 0, 20), Tile(0, 10, 20)]
    left, right = np.zeros((2, 20, 20), np.int32)
    left[1:4, 14:20] = 1
    assert without_cut_pieces([left, right], tiles)[0].max() == 1


def test_a_loose_piece_at_the_edge_unites_nothing() -> None:
    tiles = [Tile(0, 0, 40), Tile(0, 20, 40)]
    left, right = np.zeros((2, 40, 40), np.int32)
    left[5:25, 32:40] = 1
    right[5:14, 10:30], right[15:25, 10:30] = 1, 2
    assert len(np.unique(merge_tiles([left, right], tiles, (40, 60)).label_image)) == 2
    assert len(np.unique(merge_tiles(without_cut_pieces([left, right], tiles), tiles, (40, 60)).label_image)) == 3


def two_tiles(shared_px: int) -> NDArray[np.int32]:
    """Merge a nucleus that the left tile sees to column 7, and the right one from there, `shared_px` rows in common."""
    tiles = [Tile(0, 0, 10), Tile(0, 7, 10)]
    left, right = np.zeros((2, 10, 10), np.int32)
    left[:, 2:8] = 1
    right[:shared_px, 0:5] = 1
    right[shared_px:, 1:5] = 1
    return merge_tiles([left, right], tiles, (10, 17)).label_image


def test_labels_that_share_ten_pixels_are_one_nucleus_and_those_that_share_fewer_are_two() -> None:
    assert len(np.unique(two_tiles(10))) == 2
    assert len(np.unique(two_tiles(9))) == 3


def test_two_nuclei_that_a_third_label_bridges_are_one() -> None:
    tiles = [Tile(0, 0, 10), Tile(0, 5, 10), Tile(0, 10, 10)]
    one, bridge, other = np.zeros((3, 10, 10), np.int32)
    one[:, 5:8] = 1
    bridge[:, :] = 1
    other[:, 1:3] = 1
    merged = merge_tiles([one, bridge, other], tiles, (10, 20))
    assert np.unique(merged.label_image).tolist() == [0, 1]
    assert [numbers.tolist() for numbers in merged.numbers] == [[1], [1], [1]]


def test_labels_of_one_tile_stay_apart_and_the_first_tile_wins_a_pixel() -> None:
    tiles = [Tile(0, 0, 10), Tile(0, 5, 10)]
    first, second = np.zeros((2, 10, 10), np.int32)
    first[0:4, 5:7], first[5:9, 5:7] = 1, 2
    second[0:4, 1:5] = 1
    merged = merge_tiles([first, second], tiles, (10, 15), min_shared_px=5).label_image
    assert merged[0, 6] == merged[0, 5] != merged[0, 7]
    assert merged[6, 5] not in (0, merged[0, 5], merged[0, 7])


def test_a_field_without_nuclei_stays_empty() -> None:
    tiles = tiles_of((20, 20), 10, 2)
    assert merge_tiles([np.zeros((10, 10), np.int32)] * len(tiles), tiles, (20, 20)).label_image.max() == 0


def test_a_large_field_with_a_thousand_nuclei_is_merged_in_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    spots = np.zeros((2158, 2558), bool)
    for y, x in zip(rng.integers(20, 2130, 1400), rng.integers(20, 2530, 1400), strict=True):
        spots[y - 15 : y + 15, x - 15 : x + 15] = True
    true_labels = label(spots, connectivity=1)
    assert true_labels.max() > 800
    tiles = tiles_of(true_labels.shape, 256, 50)
    label_images = list(cut(true_labels, tiles))
    started = time.process_time()
    merge_tiles(label_images, tiles, true_labels.shape)
    assert time.process_time() - started < 2
