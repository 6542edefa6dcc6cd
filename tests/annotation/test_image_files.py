"""What ImageJ, napari, OME-Zarr and Cellpose give back, and the images that annotators see."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from PIL import Image

from tasks.annotation import cellpose, imagej_rois, label_tiff, ome_zarr, supervisely
from tasks.annotation.gathering import gather
from tasks.annotation.sheet import Nucleus, Sheet, sheet_of
from tasks.nuclei.errors import InputError
from tasks.nuclei.patch_grid import Patch
from tests.annotation.crowded import SHAPE, disc, image_of, label_image_with_ids, painted, there_and_back

MASK = disc(7)
NUCLEI = (Nucleus(MASK, 4, 6, sent_id=3), Nucleus(MASK, 20, 30, sent_id=9))
SENT = [Sheet("B07_1", 40, 50, None, NUCLEI)]


def with_roi(tmp_path: Path, name: str, roi: roifile.ImagejRoi) -> Sheet:
    def add(folder: Path) -> None:
        roi.name = name
        roifile.roiwrite(folder / "B07_1.zip", [roi], mode="a")

    return there_and_back(imagej_rois.TOOL, SENT, tmp_path, add)["B07_1"]


def square(dtype: type = np.int32) -> roifile.ImagejRoi:
    return roifile.ImagejRoi.frompoints(np.array([[2, 1], [6, 1], [6, 4], [2, 4]], dtype))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("0012-0034", "nucleus"), ("unsure-0012-0034", "unsure"), ("Unsure", "unsure"), ("F01-C2", "nucleus")],
)
def test_a_roi_that_was_drawn_in_imagej_is_new_and_its_name_gives_the_class(
    name: str, kind: str, tmp_path: Path
) -> None:
    added = with_roi(tmp_path, name, square()).nuclei[-1]
    assert (added.kind, added.sent_id, added.top, added.left, added.mask.shape) == (kind, None, 1, 2, (3, 4))


def test_a_copy_of_a_roi_to_which_imagej_adds_a_number_keeps_that_of_the_nucleus(tmp_path: Path) -> None:
    assert with_roi(tmp_path, "nucleus-9-1", square(np.float32)).nuclei[-1].sent_id == 9


def test_an_outline_of_imagej_with_points_alone_is_refused_with_its_name(tmp_path: Path) -> None:
    points = square()
    points.roitype = roifile.ROI_TYPE.POINT
    with pytest.raises(InputError, match=r"B07_1\.zip: the ROI spot is of the type POINT; allowed are areas"):
        with_roi(tmp_path, "spot", points)


def test_rois_that_roifile_reads_cover_the_same_pixels(tmp_path: Path) -> None:
    there_and_back(imagej_rois.TOOL, SENT, tmp_path)
    rois = roifile.roiread(tmp_path / "B07_1.zip")
    assert isinstance(rois, list)
    assert [(roi.name, roi.left, roi.top) for roi in rois] == [("nucleus-3", 6, 4), ("nucleus-9", 30, 20)]
    assert {roi.roitype for roi in rois} == {roifile.ROI_TYPE.TRACED}


def test_single_roi_files_do_not_say_of_which_image_they_are(tmp_path: Path) -> None:
    (tmp_path / "0001-0002.roi").write_bytes(square().tobytes())
    with pytest.raises(InputError, match=r"single \.roi files, which don't say of which image"):
        imagej_rois.TOOL.read(tmp_path)


def test_a_zip_of_rois_that_is_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        path = folder / "B07_1.zip"
        path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(InputError, match=r"B07_1\.zip: is damaged or cut short"):
        there_and_back(imagej_rois.TOOL, SENT, tmp_path, cut)


def test_what_is_moved_to_the_layer_unsure_in_napari_is_unsure(tmp_path: Path) -> None:
    def move(folder: Path) -> None:
        labels, unsure = (tifffile.imread(folder / kind / "B07_1.tif") for kind in ("labels", "unsure"))
        unsure[labels == 9] = 1
        labels[labels == 9] = 0
        tifffile.imwrite(folder / "labels/B07_1.tif", labels.astype(np.int32))
        tifffile.imwrite(folder / "unsure/B07_1.tif", unsure)

    returned = there_and_back(label_tiff.TOOL, SENT, tmp_path, move)["B07_1"]
    assert [(nucleus.kind, nucleus.sent_id) for nucleus in returned.nuclei] == [("nucleus", 3), ("unsure", 1)]
    # A number that another nucleus has is none that was sent; the nucleus is known by its place.
    gathered = gather(painted(SENT[0], (40, 50)), SENT, [returned])
    assert np.array_equal(gathered.label_image, painted(SENT[0], (40, 50)))
    assert np.array_equal(gathered.unsure, gathered.label_image == 9)


def test_a_folder_of_label_images_alone_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "B07_1.tif", np.eye(40, 50, dtype=np.float32) * 5)
    [sheet] = label_tiff.TOOL.read(tmp_path)
    assert (sheet.name, sheet.height, [nucleus.sent_id for nucleus in sheet.nuclei]) == ("B07_1", 40, [5])


@pytest.mark.parametrize(
    ("name", "pixels", "says"),
    [
        ("labels/B07_1.tif", np.full((40, 50), -3, np.int32), "has the negative label -3"),
        ("labels/B07_1.tif", np.full((40, 50), 0.5, np.float32), "labels are float32 and not whole numbers"),
        ("unsure/B07_1.tif", np.zeros((50, 40), np.uint16), "is 50 x 40 px, and .*labels/B07_1.tif is 40 x 50"),
        ("unsure/B07_9.tif", np.eye(40, 50, dtype=np.uint16), "there is no image of this name"),
    ],
)
def test_label_images_that_cannot_be_are_refused_by_name(name: str, pixels: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{name}: {says}"):
        there_and_back(label_tiff.TOOL, SENT, tmp_path, lambda folder: tifffile.imwrite(folder / name, pixels))


def test_a_label_image_of_more_pixels_than_a_field_has_is_refused_by_its_header(tmp_path: Path) -> None:
    tile = zlib.compress(bytes(832**2), 9)
    size: dict[str, Any] = {"shape": (8320, 8320), "dtype": np.uint8, "tile": (832, 832)}
    tifffile.imwrite(tmp_path / "B07_1.tif", iter([tile] * 100), compression="zlib", **size)
    with pytest.raises(InputError, match=r"B07_1\.tif: is 8320 x 8320 px, allowed are 67,108,864 px"):
        label_tiff.TOOL.read(tmp_path)


@pytest.mark.parametrize("name", ["B07_1.tif", "labels/new/B07_1.tif", "edited/B07_1.png"])
def test_labels_that_were_saved_where_none_are_read_are_refused(name: str, tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(40, 50, dtype=np.uint8)).save(folder / name)

    with pytest.raises(InputError, match=f"{name}: labels are read from .*labels, and not from here"):
        there_and_back(label_tiff.TOOL, SENT, tmp_path, save)


def test_labels_that_were_saved_under_another_name_in_ome_zarr_are_refused(tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        group = zarr.open_group(folder / "B07_1.ome.zarr/labels", mode="r+")
        group.attrs["labels"] = ["nuclei", "unsure", "nuclei_corrected"]

    with pytest.raises(InputError, match="has the labels nuclei, unsure, nuclei_corrected, and needs 'nuclei'"):
        there_and_back(ome_zarr.TOOL, SENT, tmp_path, save)


def test_labels_that_are_edited_in_ome_zarr_are_read(tmp_path: Path) -> None:
    def edit(folder: Path) -> None:
        labels = zarr.open_array(folder / "B07_1.ome.zarr/labels/nuclei/s0", mode="r+")
        labels[0:2, 0:2] = 12

    returned = there_and_back(ome_zarr.TOOL, SENT, tmp_path, edit)["B07_1"]
    assert [nucleus.sent_id for nucleus in returned.nuclei] == [3, 9, 12]


def test_the_reader_of_ome_zarr_finds_the_image_and_both_label_images_of_one_size(tmp_path: Path) -> None:
    there_and_back(ome_zarr.TOOL, SENT, tmp_path)
    place = parse_url(tmp_path / "B07_1.ome.zarr")
    assert place is not None
    found = {Path(str(node.zarr)).name: node.data[0] for node in Reader(place)() if node.data}
    shapes = {data.shape for data in found.values()}
    assert len(found) == 3
    assert shapes == {(40, 50)}
    assert sorted(int(data.max().compute()) for data in found.values())[:2] == [0, 9]


def test_viewers_show_ome_zarr_with_the_contrast_of_its_nuclei(tmp_path: Path) -> None:
    image = image_of(painted(SENT[0], (40, 50)))
    ome_zarr.TOOL.write(SENT, {"B07_1": image}, tmp_path)
    omero: Any = zarr.open_group(tmp_path / "B07_1.ome.zarr", mode="r").attrs["omero"]
    [channel] = omero["channels"]
    assert image.min() - 50 < channel["window"]["start"] < 300
    assert 900 < channel["window"]["end"] <= image.max()


def test_cellpose_that_numbers_anew_loses_no_nucleus_and_gathering_knows_them_by_their_place(tmp_path: Path) -> None:
    label_image = label_image_with_ids(5, 70_000)
    sheets = [sheet_of("B07_1", label_image)]

    def save_as_cellpose_does(folder: Path) -> None:
        path = folder / "B07_1_seg.npy"
        content = np.load(path, allow_pickle=True).item()
        kept = {key: content[key] for key in ("outlines", "masks", "colors", "filename", "flows", "ismanual")}
        renumbered = np.where(content["masks"] > 0, content["masks"].max() + 1 - content["masks"], 0)
        kept |= {"masks": renumbered.astype(np.uint16), "diameter": np.float32(31.5), "manual_changes": [["now", "x"]]}
        np.save(path, np.array(kept, dtype=object), allow_pickle=True)

    [returned] = there_and_back(cellpose.TOOL, sheets, tmp_path, save_as_cellpose_does).values()
    assert {nucleus.sent_id for nucleus in returned.nuclei} == {None}
    gathered = gather(label_image, sheets, [returned])
    assert np.array_equal(gathered.label_image, label_image)
    assert gathered.recognised == len(np.unique(label_image)) - 1


def test_what_cellpose_needs_to_open_a_file_is_there(tmp_path: Path) -> None:
    there_and_back(cellpose.TOOL, SENT, tmp_path)
    content = np.load(tmp_path / "B07_1_seg.npy", allow_pickle=True).item()
    assert content["masks"].max() == len(content["colors"]) == len(content["ismanual"]) == 2
    outlines = content["outlines"] > 0
    assert (content["outlines"][outlines] == content["masks"][outlines]).all()
    assert 0 < outlines.sum() < (content["masks"] > 0).sum()


def test_an_8_bit_copy_has_percentile_contrast_says_so_and_leaves_the_image_as_it_was(tmp_path: Path) -> None:
    label_image = label_image_with_ids(5, 70_000)
    image = image_of(label_image)
    image[0, 0] = 65_535
    before = image.copy()
    supervisely.TOOL.write([sheet_of("B07_1", label_image)], {"B07_1": image}, tmp_path)
    assert np.array_equal(image, before)
    with Image.open(tmp_path / "nuclei/img/B07_1.png") as png:
        assert png.text["Description"].startswith("8-bit copy for annotation with percentile contrast")  # type: ignore[attr-defined]
        grey = np.asarray(png)
    assert grey.dtype == np.uint8
    # By minimum and maximum, one hot pixel would leave nuclei at 4.
    assert np.median(grey[label_image > 0]) > 200
    assert np.median(grey[label_image == 0]) < 40


class ReadWhenAskedFor(Mapping[str, Any]):
    """Images of which none is kept, so that the next one may come to lie where it was."""

    def __getitem__(self, name: str) -> Any:
        return np.full((40, 50), int(name), np.uint16) + np.eye(40, 50, dtype=np.uint16)

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def test_each_sheet_shows_its_own_image_though_none_is_kept(tmp_path: Path) -> None:
    sheets = [Sheet(f"{level}", 40, 50, None, ()) for level in range(1000, 9000, 1000)]
    label_tiff.TOOL.write(sheets, ReadWhenAskedFor(), tmp_path)
    for sheet in sheets:
        with tifffile.TiffFile(tmp_path / f"images/{sheet.name}.tif") as tiff:
            assert tiff.asarray().min() == int(sheet.name)
            assert abs((tiff.imagej_metadata or {})["min"] - int(sheet.name)) < 50


def test_other_tools_get_the_intensities_as_they_are(tmp_path: Path) -> None:
    label_image = label_image_with_ids(5, 70_000)
    image = image_of(label_image)
    label_tiff.TOOL.write([sheet_of("B07_1", label_image)], {"B07_1": image}, tmp_path)
    assert np.array_equal(tifffile.imread(tmp_path / "images/B07_1.tif"), image)


def test_of_a_patch_only_its_surroundings_are_shown(tmp_path: Path) -> None:
    large = (SHAPE[0] * 3, SHAPE[1] * 3)
    sheet = Sheet("B07_1", *large, Patch(0, 0, 60, 80), (Nucleus(MASK, 70, 100, sent_id=1),))
    label_tiff.TOOL.write([sheet], {"B07_1": image_of(np.zeros(large, np.int32))}, tmp_path)
    shown = tifffile.imread(tmp_path / "images/B07_1.tif")
    # 100 px beyond the nucleus, which reaches out of the patch.
    assert len(np.unique(shown[:177, :207])) > 10
    assert len(np.unique(shown[177:])) == len(np.unique(shown[:, 207:])) == 1


def test_a_zip_of_imagej_holds_one_file_for_each_nucleus(tmp_path: Path) -> None:
    there_and_back(imagej_rois.TOOL, SENT, tmp_path)
    with zipfile.ZipFile(tmp_path / "B07_1.zip") as rois:
        assert rois.namelist() == ["nucleus-3.roi", "nucleus-9.roi"]
