"""Segmenting plates, with an untrained network: what is made, what is refused, what is resumed."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from tasks.contract import BAD_INPUT, execute, read_result
from tasks.methods.fpn2_ws.method import Settings
from tasks.methods.fpn2_ws.network import load_map_network
from tasks.methods.fpn2_ws.segmenter import Fpn2Ws
from tasks.nuclei.errors import InputError
from tasks.nuclei.measure import nuclei_table
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image
from tasks.nuclei.plates.pixel_size import pixel_size_of_image
from tasks.nuclei.segmentation import Nuclei
from tasks.steps import ingest, segment
from tasks.store.registered_model import ModelName
from tests.networks import make_network
from tests.plates import make_plate

# An untrained network's maps lie around one half: so its noise makes some nuclei.
LOOSE = {"marker_threshold": 0.5, "foreground_threshold": 0.5, "min_area_px": 5}
NAMES = [f"p_B07_T0001F00{site}L01A01Z01C01" for site in (1, 2, 3)]


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    images = {name: rng.integers(100, 4000, (90, 130)).astype(np.uint16) for name in NAMES}
    make_plate(tmp_path / "plate", images, {name: np.ones((90, 130), np.uint16) for name in NAMES}, role="test")
    make_network(tmp_path / "network")
    return tmp_path


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path):
    """A field may be called 0012, a plate 007; read back as numbers they would change."""
    image = np.random.default_rng(0).integers(100, 4000, (90, 130)).astype(np.uint16)
    make_plate(tmp_path / "007", {"0012": image, "p": image}, {}, role="test")
    make_network(tmp_path / "network")
    result = execute(segment.TASK, params(plate="007"), tmp_path)
    lines = (tmp_path / result.outputs["segmentation"] / "nuclei.csv").read_text().splitlines()[1:]
    assert {tuple(line.split(",")[:4]) for line in lines} == {
        ("007", "", "", "0012"),
        ("007", "", "", "p"),
    }


def test_an_image_that_an_imported_plate_lost_is_named_after_all_others_are_done(store):
    imported = execute(ingest.TASK, ingest.Params(folder=str(store / "plate")), store).outputs["plate"]
    for part in ("images", "labels"):
        (store / imported / part / f"{NAMES[1]}.tif").unlink()
    message = rf"1 of 3 fields failed, the others are done: .*{NAMES[1]}\.tif: does not exist"
    with pytest.raises(InputError, match=message):
        execute(segment.TASK, params(plate=imported), store)


def test_a_part_of_the_plate_is_segmented_as_the_whole_would_be_and_names_the_model(store):
    whole = execute(segment.TASK, params(), store)
    part = execute(segment.TASK, params(fovs=NAMES[:2], made_by=ModelName(version=3, key="0123456789abcdef")), store)
    assert part.counts["fovs"] == 2
    for name in NAMES[:2]:
        written, expected = (store / r.outputs["segmentation"] / "labels" / f"{name}.tif" for r in (part, whole))
        assert np.array_equal(tifffile.imread(written), tifffile.imread(expected))
        with tifffile.TiffFile(written) as tiff:
            assert (tiff.imagej_metadata or {})["Info"] == "nucleus-segmenter version 3, 0123456789abcdef"


def test_label_images_have_the_pixel_size_of_their_plate(store):
    labels = store / execute(segment.TASK, params(fovs=NAMES[:1]), store).outputs["segmentation"] / "labels"
    path = labels / f"{NAMES[0]}.tif"
    assert open_plate(store / "plate").info.pixel_size_um == 0.5
    assert pixel_size_of_image(path.read_bytes(), path).um == 0.5


def test_a_field_that_the_plate_lacks_is_refused(store):
    with pytest.raises(InputError, match="fovs: plate has no field nowhere; it has 3 others"):
        execute(segment.TASK, params(fovs=["nowhere"]), store)


def params(settings: dict | None = None, **changes) -> segment.Params:
    given = {"method": "fpn2_ws", "networks": ["network"], "plate": "plate", "settings": LOOSE | (settings or {})}
    return segment.Params.model_validate(given | changes)


def test_every_field_gets_a_label_image_of_its_name_and_size_and_all_nuclei_stand_in_the_table(store):
    result = execute(segment.TASK, params(), store)
    folder = store / result.outputs["segmentation"]
    table = pd.read_csv(folder / "nuclei.csv")
    assert sorted(path.stem for path in (folder / "labels").iterdir()) == NAMES
    for site, name in enumerate(NAMES, start=1):
        label_image = tifffile.imread(folder / "labels" / f"{name}.tif")
        assert label_image.shape == (90, 130)
        assert label_image.dtype == np.uint16
        rows = table[table["fov"] == name]
        assert label_image.max() == len(rows)
        assert (rows["well"] == "B07").all()
        assert (rows["site"] == site).all()
    assert result.counts == {"fovs": 3, "nuclei": len(table), "doubtful_fovs": 0, "own_proposals": 0}
    assert result.counts["nuclei"] > 0


def test_the_label_images_are_those_of_the_model_for_each_field(store):
    result = execute(segment.TASK, params(), store)
    model = Fpn2Ws([load_map_network(store / "network")], Settings.model_validate(LOOSE))
    image = tifffile.imread(store / "plate" / "images" / f"{NAMES[1]}.tif")
    written = tifffile.imread(store / result.outputs["segmentation"] / "labels" / f"{NAMES[1]}.tif")
    assert np.array_equal(written, model.segment(image))


def test_a_plate_is_segmented_with_the_settings_for_its_cell_line(store):
    cell_line = open_plate(store / "plate").info.cell_line
    of_line, of_another = (
        execute(segment.TASK, params({"for_cell_lines": {name: {"marker_threshold": 0.9999}}}), store)
        for name in (cell_line, "another")
    )
    assert of_line.counts["nuclei"] == 0 < of_another.counts["nuclei"]


def test_an_image_is_read_once_and_measured_as_it_is_in_its_file_even_if_a_method_works_in_place(store, monkeypatch):
    read: list[str] = []
    look_at = Fpn2Ws.look_at

    def noted(path):
        read.append(path.stem)
        return read_image(path)

    def look_at_in_place(model, image):
        seen = look_at(model, image)
        image[:] = 0
        return seen

    monkeypatch.setattr(segment, "read_image", noted)
    monkeypatch.setattr(Fpn2Ws, "look_at", look_at_in_place)
    folder = store / execute(segment.TASK, params(), store).outputs["segmentation"]
    assert sorted(read) == NAMES
    assert (pd.read_csv(folder / "nuclei.csv")["mean_intensity"] > 100).all()


def test_a_plate_in_which_nothing_is_found_gives_empty_label_images_and_a_result_that_reads_back(store):
    result = execute(segment.TASK, params({"marker_threshold": 0.9999}), store)
    assert result.counts == {"fovs": 3, "nuclei": 0, "doubtful_fovs": 0, "own_proposals": 0}
    assert read_result(store / result.outputs["segmentation"]) == result
    assert not tifffile.imread(store / result.outputs["segmentation"] / "labels" / f"{NAMES[0]}.tif").any()


def test_two_networks_of_one_target_each_do_as_well_as_one_of_both(store):
    make_network(store / "border", ("blurred_border",))
    make_network(store / "distance", ("distance_map",))
    result = execute(segment.TASK, params(networks=["border", "distance"]), store)
    assert result.counts["fovs"] == 3


def test_networks_that_do_not_make_both_maps_are_refused(store):
    make_network(store / "distance", ("distance_map",))
    with pytest.raises(InputError, match=r"predict \['distance_map'\]; each of .* is needed once"):
        execute(segment.TASK, params(networks=["distance"]), store)


def test_networks_of_different_zoom_are_refused(store):
    make_network(store / "border", ("blurred_border",), zoom=2.0)
    make_network(store / "distance", ("distance_map",))
    with pytest.raises(InputError, match=r"trained with zoom 2\.0 and 1\.0; they must share one: train them"):
        execute(segment.TASK, params(networks=["border", "distance"]), store)


def test_networks_of_different_intensity_scalings_are_refused(store):
    make_network(store / "border", ("blurred_border",), scaling="minmax")
    make_network(store / "distance", ("distance_map",), scaling="robust")
    with pytest.raises(InputError, match="trained with scaling minmax and robust; they must share one"):
        execute(segment.TASK, params(networks=["border", "distance"]), store)


def test_a_cut_image_is_named_after_all_other_fields_are_done_and_only_it_is_done_again(store, caplog):
    path = store / "plate" / "images" / f"{NAMES[1]}.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    arguments = ["--params", params().model_dump_json(), "--store", str(store)]
    assert segment.TASK.main(arguments) == BAD_INPUT
    assert f"1 of 3 fields failed, the others are done: {path}" in caplog.text
    assert sorted(made.stem for made in store.rglob(".*.partial/checkpoint/labels/*.tif")) == [NAMES[0], NAMES[2]]
    path.write_bytes(whole)
    caplog.set_level("INFO")
    result = execute(segment.TASK, params(), store)
    assert "1 of 3 fields are left of an earlier attempt" in caplog.text
    assert result.counts["fovs"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"marker_threshold": 1.5}}, "settings: marker_threshold: Input should be less than 1, got 1.5"),
        ({"settings": {"min_score": 0.5}}, "settings: min_score: unknown param; allowed are min_area_px, max_area_px"),
        ({"method": "u_net"}, "method: There is no method 'u_net'; there are fpn2_ws, "),
        ({"marker_threshold": 0.5}, "marker_threshold: unknown param; allowed are method, networks, settings"),
    ],
)
def test_settings_are_bounded_and_of_the_method(store, caplog, changes, message):
    arguments = json.dumps({"method": "fpn2_ws", "networks": ["network"], "plate": "plate", **changes})
    assert segment.TASK.main(["--params", arguments, "--store", str(store)]) == BAD_INPUT
    assert message in caplog.text


def test_settings_that_are_not_given_have_the_defaults_of_the_method(store):
    given = {"method": "fpn2_ws", "networks": ["network"], "plate": "plate"}
    assert segment.Params.model_validate(given).settings == Settings()
    assert segment.Params.model_validate(given | {"settings": {}}).settings == Settings()


class Doubtful(Fpn2Ws):
    @staticmethod
    def doubts_about(seen):
        return ("tool: looks like a mask",)


def test_fields_that_look_wrong_to_the_method_are_counted_and_named_also_after_an_interruption(store, monkeypatch):
    monkeypatch.setattr(
        segment,
        "load_segmenter",
        lambda method, folders, settings: Doubtful([load_map_network(store / "network")], settings),
    )
    path = store / "plate" / "images" / f"{NAMES[1]}.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="1 of 3 fields failed"):
        execute(segment.TASK, params(), store)
    path.write_bytes(whole)
    result = execute(segment.TASK, params(), store)
    assert result.counts["doubtful_fovs"] == 3
    assert result.values["doubts"] == [f"{name}: tool: looks like a mask" for name in NAMES]
    written = json.loads((store / result.outputs["segmentation"] / "doubts.json").read_text())
    assert written == {name: ["tool: looks like a mask"] for name in NAMES}


def test_the_table_measures_nuclei_as_counted_by_hand():
    label_image = np.zeros((6, 8), np.int32)
    label_image[0, 0:4], label_image[3:5, 4:6] = 1, 2
    image = np.arange(48, dtype=np.uint16).reshape(6, 8)
    table = nuclei_table(Nuclei(label_image, np.array([0.98765, 1], np.float32)), image)
    assert table.to_dict("list") == {
        "label": [1, 2],
        "area_px": [4, 4],
        "centroid_y_px": [0.0, 3.5],
        "centroid_x_px": [1.5, 4.5],
        "mean_intensity": [1.5, 32.5],
        "touches_edge": [True, False],
        "confidence": [0.988, 1.0],
    }


def test_a_field_without_nuclei_gives_an_empty_table():
    empty = np.zeros((5, 5), np.int32)
    assert len(nuclei_table(Nuclei(empty, np.zeros(0, np.float32)), empty.astype(np.uint8))) == 0
