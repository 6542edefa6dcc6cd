"""The HDF5 file of ROIs."""

import h5py
import numpy as np
import numpy.lib.recfunctions as rfn
import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.roi_file import ROI_TABLE, RoiBlock, RoiReader, RoiSource, RoiWriter
from tasks.nuclei.targets import TARGETS, distance_map
from tasks.nuclei.view import View
from tests.rois import make_roi_file, write_images


def test_the_foreground_is_where_the_labels_are(tmp_path):
    reader = RoiReader(make_roi_file(tmp_path / "rois.h5"))
    _, maps = reader.batch([1], ("foreground",))
    assert np.array_equal(maps[0, :, :, 0], 255 * (reader.label_image(1) > 0))


def test_what_is_ignored_is_kept_for_those_who_leave_it_out(tmp_path):
    path = make_roi_file(tmp_path / "rois.h5", ignored_columns=20)
    reader = RoiReader(path, leaves_out_ignored=True)
    assert reader.has_ignored
    assert (reader.ignored(1) == (np.arange(64) < 20)).all()
    with pytest.raises(InputError, match=r"annotated in part, and this method can't leave out the rest; train it on"):
        RoiReader(path)


def test_a_file_of_fields_that_are_annotated_whole_says_nothing_of_it(tmp_path):
    path = make_roi_file(tmp_path / "rois.h5")
    with h5py.File(path) as file:
        assert "ignored" not in file
    reader = RoiReader(path, leaves_out_ignored=True)
    assert not reader.has_ignored
    assert not reader.ignored(0).any()


def test_training_and_validation_rows_are_told_apart(tmp_path):
    reader = RoiReader(make_roi_file(tmp_path / "rois.h5", training=5, validation=3))
    assert reader.training_rows.tolist() == [0, 1, 2, 3, 4]
    assert reader.validation_rows.tolist() == [5, 6, 7]
    assert reader.roi_px == 64


def test_a_batch_holds_the_asked_rows_in_the_asked_order(tmp_path):
    reader = RoiReader(make_roi_file(tmp_path / "rois.h5"))
    images, maps = reader.batch([7, 2, 2], TARGETS)
    assert images.shape == (3, 64, 64, 1)
    assert maps.shape == (3, 64, 64, 2)
    assert np.array_equal(images[1, ..., 0], reader.image(2))
    assert np.array_equal(maps[0, ..., 1], reader.target(7, "blurred_border"))


def test_targets_are_the_maps_of_the_labels_rounded_to_1_255(tmp_path):
    reader = RoiReader(make_roi_file(tmp_path / "rois.h5"))
    expected = distance_map(reader.label_image(3))
    np.testing.assert_allclose(reader.target(3, "distance_map") / 255, expected, atol=0.5 / 255 + 1e-6)


def test_the_scaling_is_kept_and_is_minmax_in_a_file_from_before_there_was_a_choice(tmp_path):
    path = make_roi_file(tmp_path / "rois.h5", scaling="robust")
    assert RoiReader(path).view.scaling == "robust"
    with h5py.File(path, "a") as file:
        del file.attrs["scaling"]
    assert RoiReader(path).view.scaling == "minmax"


def test_images_with_fractions_of_grey_levels_come_back_within_a_32nd(tmp_path):
    written = np.random.default_rng(0).uniform(0, 255, (2, 64, 64)).astype(np.float32)
    written[0, 0, :2] = 0, 255
    path = write_images(tmp_path / "rois.h5", written, "percentile")
    images, _ = RoiReader(path).batch([0, 1], TARGETS)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[..., 0], written, atol=1 / 32)
    assert images[0, 0, :2, 0].tolist() == [0, 255]


@pytest.mark.parametrize("scaling", ["minmax", "robust"])
def test_whole_grey_levels_are_kept_as_they_always_were(tmp_path, scaling):
    written = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    path = write_images(tmp_path / "rois.h5", written, scaling)
    with h5py.File(path) as file:
        assert (file.attrs["layout"], file["image"].dtype) == (1, np.uint8)
    read = RoiReader(path).image(1)
    assert read.dtype == np.uint8
    assert np.array_equal(read, written[1])


def test_images_of_the_other_kind_than_the_file_s_are_refused(tmp_path):
    with pytest.raises(TypeError, match="Images are uint8; by the scaling of this file they are uint16"):
        write_images(tmp_path / "rois.h5", np.zeros((2, 64, 64), np.uint8), "percentile")


def test_a_file_of_a_later_layout_is_refused(tmp_path):
    path = make_roi_file(tmp_path / "rois.h5")
    with h5py.File(path, "a") as file:
        file.attrs["layout"] = 3
    with pytest.raises(InputError, match="has layout 3, and this program reads 1 and 2; run augment again"):
        RoiReader(path)


def test_a_file_that_is_no_roi_file_is_refused_by_name(tmp_path):
    (tmp_path / "rois.h5").write_bytes(b"not HDF5")
    with pytest.raises(InputError, match=r"rois\.h5 is not a whole ROI file.*run augment again"):
        RoiReader(tmp_path / "rois.h5")


def test_every_source_keeps_its_zoom_and_the_file_the_diameter_that_nuclei_have_in_it(tmp_path):
    path = tmp_path / "rois.h5"
    sources = [RoiSource("plate", "U2OS", fov, (0, 0, 9, 9), zoom) for fov, zoom in (("a", 0.5), ("b", 2.0))]
    rows = np.zeros(2, ROI_TABLE)
    rows["source"], rows["is_validation"] = [0, 1], [False, True]
    whole, labels = (np.zeros((2, 32, 32), dtype) for dtype in (np.uint8, np.uint16))
    with RoiWriter(path, 2, 32, View(scaling="minmax", nucleus_px=28), sources) as writer:
        writer.write(0, RoiBlock(whole, labels, whole, whole, rows))
    reader = RoiReader(path)
    assert reader.view == View(scaling="minmax", nucleus_px=28)
    assert (reader.training_sources(), reader.validation_sources()) == (sources[:1], sources[1:])


def test_the_sources_of_a_file_from_before_they_had_a_zoom_have_that_of_the_file(tmp_path):
    path = make_roi_file(tmp_path / "rois.h5")
    with h5py.File(path, "a") as file:
        fields = [name for name in file["sources"].dtype.names if name != "zoom"]
        earlier = file["sources"][:][fields]
        del file["sources"]
        file["sources"] = rfn.repack_fields(earlier)
        file.attrs["zoom"] = 2.0
    assert [source.zoom for source in RoiReader(path).training_sources()] == [2.0]
    assert RoiReader(path).view.nucleus_px is None
