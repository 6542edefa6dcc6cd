"""Pictures for a browser, against what networks, annotators and reports see of the same files."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from nucleus_dags.page.pictures import (
    THUMBNAIL_PX,
    Levels,
    Outlines,
    describe_field,
    edges,
    field_picture,
    label_at,
    outlines_picture,
    percentile_levels,
    thumbnail,
)
from tasks.nuclei.intensity import grey_levels, robust_range
from tasks.nuclei.plates.image_files import read_image, read_label_image, write_label_image
from tests.fields import round_nuclei
from tests.plates import two_squares

AMBER, PINK = (255, 190, 0), (255, 60, 255)


def write(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    else:
        tifffile.imwrite(path, pixels, **options)
    return path


def shown(content: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
@pytest.mark.parametrize("kept", [0, 6, 20, 0.5, 0.9])
def test_a_cut_file_is_told_as_a_damaged_one(tmp_path: Path, name: str, kept: float) -> None:
    whole = write(tmp_path / f"whole-{name}", round_nuclei()[0]).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(whole[: int(kept if kept >= 1 else kept * len(whole))])
    for read in (describe_field, lambda path: label_at(path, 0, 0), field_picture):
        with pytest.raises((ValueError, OSError)):
            read(cut)


@pytest.mark.parametrize("seed", range(4))
def test_the_usual_contrast_is_the_one_that_annotators_see(seed: int) -> None:
    image, _ = round_nuclei(seed, shape=(400, 500), nuclei=10 * (seed + 1))
    image[5, 5], image[300, 200] = 65535, 0
    seen, usual = robust_range(image), percentile_levels(image)
    assert usual == pytest.approx(seen, abs=0.05 * (seen.high - seen.low))


def test_grey_levels_are_those_that_annotators_see(tmp_path: Path) -> None:
    image, _ = round_nuclei()
    seen = robust_range(image)
    assert percentile_levels(image) == (seen.low, seen.high)
    grey = shown(field_picture(write(tmp_path / "a.tif", image)))
    expected = grey_levels(image, "robust")
    assert grey.shape == image.shape
    assert np.abs(grey.astype(int) - expected).mean() < 2  # JPEG's loss


def test_levels_that_are_chosen_are_black_and_white(tmp_path: Path) -> None:
    image = np.repeat(np.array([[100, 200, 300, 400]], np.uint16), 16, axis=1).repeat(16, axis=0)
    grey = shown(field_picture(write(tmp_path / "a.tif", image), Levels(200, 300)))
    assert grey[8, 8::16].tolist() == pytest.approx([0, 0, 255, 255], abs=3)


@pytest.mark.parametrize(("black", "white"), [(300, 300), (400, 100)])
def test_levels_the_wrong_way_round_still_give_a_picture(tmp_path: Path, black: int, white: int) -> None:
    image, _ = two_squares()
    assert shown(field_picture(write(tmp_path / "a.tif", image), Levels(black, white))).shape == image.shape


def test_an_image_of_one_intensity_is_black(tmp_path: Path) -> None:
    assert not shown(field_picture(write(tmp_path / "a.tif", np.full((20, 30), 700, np.uint16)))).any()


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tiff", "a.png"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_stored_kind_of_image_is_read_as_tasks_read_it(tmp_path: Path, name: str, dtype: type) -> None:
    image: NDArray[Any] = (two_squares()[0] // 4).astype(dtype)
    path = write(tmp_path / name, image)
    np.testing.assert_array_equal(read_image(path), image)
    about = describe_field(path)
    assert (about.height_px, about.width_px) == image.shape
    assert about.range == (25, 250)


def test_grey_that_was_saved_as_colour_is_shown(tmp_path: Path) -> None:
    image: NDArray[np.uint8] = (two_squares()[0] // 4).astype(np.uint8)
    blue: NDArray[np.uint8] = np.zeros((*image.shape, 3), np.uint8)
    blue[..., 2] = image
    for number, pixels in enumerate((blue, np.repeat(image[..., None], 3, axis=2))):
        for ending in ("tif", "png"):
            path = write(tmp_path / f"{number}.{ending}", pixels)
            np.testing.assert_array_equal(read_image(path), image)
            assert describe_field(path).range == (25, 250)


def test_the_full_size_of_a_file_with_smaller_levels_is_shown(tmp_path: Path) -> None:
    image = round_nuclei()[0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(image, subifds=1)
        tiff.write(image[::2, ::2], subfiletype=1)
    assert shown(field_picture(tmp_path / "a.tif")).shape == image.shape


def test_outlines_are_those_of_the_reports() -> None:
    _, label_image = round_nuclei(nuclei=40)
    label_image[100:120, 0:30] = 90
    label_image[100:120, 30:50] = 91
    np.testing.assert_array_equal(edges(label_image), find_boundaries(label_image, mode="inner"))


def test_wider_outlines_grow_inwards() -> None:
    _, label_image = two_squares()
    assert (edges(label_image, 2) <= (label_image > 0)).all()
    assert [np.count_nonzero(edges(label_image, width)) for width in (1, 2, 3)] == [32, 48, 52]


def test_outlines_are_in_one_colour_and_transparent_between_them(tmp_path: Path) -> None:
    _, label_image = two_squares()
    write_label_image(tmp_path / "a.tif", label_image)
    picture = Image.open(io.BytesIO(outlines_picture(Outlines(tmp_path / "a.tif", AMBER)))).convert("RGBA")
    pixels = np.asarray(picture)
    found = edges(label_image)
    assert (pixels[found] == [*AMBER, 255]).all()
    assert (pixels[~found][:, 3] == 0).all()


def test_labels_that_are_marked_have_their_own_colour(tmp_path: Path) -> None:
    _, label_image = two_squares()
    write_label_image(tmp_path / "a.tif", label_image)
    content = outlines_picture(Outlines(tmp_path / "a.tif", AMBER, [2], PINK))
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert pixels[2, 2].tolist() == list(AMBER)
    assert pixels[10, 20].tolist() == list(PINK)


def test_labels_of_an_indexed_png_are_its_indices(tmp_path: Path) -> None:
    _, label_image = two_squares()
    picture = Image.fromarray(label_image.astype(np.uint8))
    picture.putpalette([0, 0, 0, 200, 10, 10, 200, 10, 10])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.png"), label_image)
    assert [label_at(tmp_path / "a.png", y, x) for y, x in ((3, 3), (12, 22), (0, 0))] == [1, 2, 0]


def test_outside_of_a_label_image_there_is_no_nucleus(tmp_path: Path) -> None:
    write_label_image(tmp_path / "a.tif", np.ones((4, 5), np.uint16))
    assert [label_at(tmp_path / "a.tif", y, x) for y, x in ((3, 4), (4, 0), (0, 5), (-1, 0))] == [1, 0, 0, 0]


def test_a_thumbnail_is_a_small_picture_of_the_middle_of_the_first_field(tmp_path: Path) -> None:
    folder = tmp_path / "plate"
    (folder / "images").mkdir(parents=True)
    image = np.tile(round_nuclei()[0], (5, 6))[:1200, :1400]
    image[520:680, 620:780] = 3000
    write(folder / "images/b.tif", np.zeros((50, 60), np.uint16))
    write(folder / "images/a.tif", image)
    pixels = shown(thumbnail(folder))
    assert pixels.shape == (THUMBNAIL_PX, THUMBNAIL_PX)
    assert pixels[65:95, 65:95].min() == 255
    assert len(thumbnail(folder)) < 30_000


def test_a_plate_without_images_has_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no image"):
        thumbnail(tmp_path)


def test_a_field_of_a_screening_microscope_is_shown_quickly(tmp_path: Path) -> None:
    image, label_image = (np.tile(pixels, (9, 10)) for pixels in round_nuclei())
    field = write(tmp_path / "a.tif", image, compression="zlib")
    write_label_image(tmp_path / "labels.tif", label_image)
    started = time.process_time()
    field_picture(field)
    outlines_picture(Outlines(tmp_path / "labels.tif", AMBER))
    assert time.process_time() - started < 3
