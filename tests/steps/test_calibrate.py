"""Choosing thresholds for networks on the fields that their ROI file keeps for validation."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.contract import Result, execute
from tasks.methods.fpn2_ws.method import METHOD, Settings
from tasks.methods.registry import load_segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image
from tasks.nuclei.roi_file import RoiReader, RoiSource
from tasks.steps import augment, calibrate
from tests.bright_disks import BrightDisks
from tests.networks import make_network
from tests.plates import make_plate

pytestmark = pytest.mark.usefixtures("rois_in_this_process")


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, nucleus_px=32)


def make_store(folder, nucleus_px):
    """Two plates: `many` with three fields of one cell line, `one` with one field of another."""
    rng = np.random.default_rng(0)
    label_image = np.zeros((96, 128), np.uint16)
    for number, (y, x) in enumerate(np.ndindex(3, 4), start=1):
        label_image[32 * y :, 32 * x :][:nucleus_px, :nucleus_px] = number

    def fields(amount):
        images = {f"f{i}": rng.integers(0, 4000, (96, 128)).astype(np.uint16) for i in range(amount)}
        return images, dict.fromkeys(images, label_image)

    make_plate(folder / "many", *fields(3), cell_line="U2OS")
    make_plate(folder / "one", *fields(1), cell_line="MCF10A")
    make_network(folder / "network")
    return folder


def params(store, settings: dict | None = None, **of_augment) -> calibrate.Params:
    """The network as if it had been trained on ROIs of both plates."""
    made = augment.Params(**{"plates": ["many", "one"], "rois": 40, "roi_px": 32, **of_augment})
    trained_on(store, "network", execute(augment.TASK, made, store).outputs["rois"])
    return of_networks("network", settings=settings or {})


def of_networks(*networks: str, **given) -> calibrate.Params:
    return calibrate.Params.model_validate({"method": "fpn2_ws", "networks": networks, **given})


def trained_on(store, network, rois):
    result = Result(
        task="train_fpn2_ws",
        key=network,
        version=1,
        params={"rois": rois},
        outputs={"network": network},
        metrics={},
        counts={},
        libraries={},
        seconds=0,
    )
    (store / network / "result.json").write_text(result.model_dump_json())


def test_what_is_ignored_of_a_field_is_known_in_the_region_that_was_kept(tmp_path):
    images, labels = (
        {"f": np.arange(96 * 128, dtype=np.uint16).reshape(96, 128)},
        {"f": np.eye(96, 128, dtype=np.uint8)},
    )
    ignored = np.tile(np.arange(128) % 3, (96, 1)).astype(np.uint8)
    (fov,) = open_plate(make_plate(tmp_path / "p", images, labels, {"f": ignored})).fovs
    source = RoiSource("p", "U2OS", "f", (0, 40, 96, 128), 1.0)
    trained_on = calibrate.TrainedOn([source], {("p", "f"): fov})
    ((known,),) = calibrate._known_fields(iter([source]), trained_on, BrightDisks(Settings())).values()
    np.testing.assert_array_equal(known.ignored, ignored[:, 40:] > 0)
    np.testing.assert_array_equal(known.true_labels > 0, np.eye(96, 128)[:, 40:] > 0)


def test_a_region_is_seen_as_a_part_of_its_whole_field(tmp_path):
    """The brightest pixels lie beside it, so that it would look brighter if it were scaled by itself."""
    image = np.random.default_rng(0).integers(0, 1000, (96, 128)).astype(np.uint16)
    image[:, :20] *= 4
    (fov,) = open_plate(make_plate(tmp_path / "p", {"f": image}, {"f": np.eye(96, 128, dtype=np.uint8)})).fovs
    region = (0, 64, 96, 128)
    source = RoiSource("p", "U2OS", "f", region, 1.0)
    trained_on = calibrate.TrainedOn([source], {("p", "f"): fov})
    model = load_segmenter(METHOD, [make_network(tmp_path / "network")], Settings())
    ((known,),) = calibrate._known_fields(iter([source]), trained_on, model).values()
    whole, by_itself = model.look_at(image).distance_map[:, 64:], model.look_at(image[:, 64:]).distance_map
    np.testing.assert_array_equal(known.seen.distance_map[known.region], whole)
    assert np.abs(whole - by_itself)[:, 32:].mean() > 0.05


def test_only_what_was_kept_for_validation_is_looked_at(store):
    given = params(store)
    rois = json.loads((store / "network" / "result.json").read_text())["params"]["rois"]
    sources = RoiReader(store / rois).validation_sources()
    assert sorted((source.plate, source.region) for source in sources) == [
        ("many", (0, 0, 96, 128)),
        ("one", (0, 102, 96, 128)),
    ]
    assert execute(calibrate.TASK, given, store).counts == {"fovs": 2}


def test_the_best_thresholds_are_metrics_and_all_trials_a_table(store):
    result = execute(calibrate.TASK, params(store), store)
    table = pd.read_csv(store / result.outputs["calibration"])
    for _, of_line in table.groupby("cell_line"):
        assert of_line["mean_f1"][1:].is_monotonic_decreasing
    assert set(table["cell_line"]) == {"all", "U2OS", "MCF10A"}
    assert {name: result.metrics[f"validation_{name}"] for name in ("f1_at_0.5", "f1_at_0.9")} == {
        name: table[name][0] for name in ("f1_at_0.5", "f1_at_0.9")
    }
    assert table["mean_f1"][0] > 0
    assert result.metrics["marker_threshold"] == table["marker_threshold"][0]


def test_every_value_that_is_found_is_handed_on_with_all_other_settings(store):
    result = execute(calibrate.TASK, params(store, {"min_area_px": 5}), store)
    best = pd.read_csv(store / result.outputs["calibration"]).iloc[0]
    found = {name: best[name] for name in METHOD.search if name not in ("min_area_px", "mask_threshold")}
    assert result.values["settings"] == Settings(min_area_px=5).model_dump() | found
    assert METHOD.settings(**result.values["settings"])


def test_only_what_is_not_given_is_searched(store):
    given = params(store, {"marker_threshold": 0.45, "min_area_px": 5, "min_confidence": 0})
    assert given.search == ["foreground_threshold", "mask_threshold"]
    result = execute(calibrate.TASK, given, store)
    table = pd.read_csv(store / result.outputs["calibration"])
    # These networks don't predict the foreground, so that the mask threshold would change nothing.
    assert not {"marker_threshold", "mask_threshold", "min_area_px", "min_confidence"} & set(table)
    assert sorted(table["foreground_threshold"]) == list(METHOD.search["foreground_threshold"])
    assert result.values["settings"]["marker_threshold"] == 0.45


def test_nothing_is_looked_at_where_all_is_given(store):
    thresholds = {"marker_threshold": 0.5, "foreground_threshold": 0.1, "min_area_px": 5, "min_confidence": 0.2}
    result = execute(calibrate.TASK, params(store, thresholds), store)
    assert result.counts == {"fovs": 0}
    assert result.values == {"settings": Settings(**thresholds).model_dump()}


def test_settings_that_were_given_as_an_object_are_not_searched_either():
    assert of_networks("network", settings=Settings(marker_threshold=0.45)).search == list(METHOD.search)[1:]


def test_what_a_method_does_not_search_is_refused():
    with pytest.raises(ValueError, match=r"min_score can't be searched for fpn2_ws; allowed: marker_threshold, fore"):
        of_networks("network", search=["min_score"])


def test_params_say_the_same_again_when_they_are_read_back():
    given = of_networks("network", settings={"marker_threshold": 0.45})
    assert calibrate.Params.model_validate_json(given.model_dump_json()) == given


DEFAULTS = {"settings": Settings().model_dump()}


def test_networks_that_find_nothing_leave_the_thresholds_as_they_are(tmp_path, caplog):
    """Nuclei of nine pixels can't be found: what is that small is removed."""
    store = make_store(tmp_path, nucleus_px=3)
    result = execute(calibrate.TASK, params(store), store)
    assert (result.values, result.metrics) == (DEFAULTS, {})
    assert "the networks find none of the nuclei there" in caplog.text


def test_fields_without_nuclei_leave_the_thresholds_as_they_are(tmp_path, caplog):
    store = make_store(tmp_path, nucleus_px=0)
    result = execute(calibrate.TASK, params(store), store)
    assert (result.values, result.metrics) == (DEFAULTS, {})
    assert "there are no nuclei to find" in caplog.text


def test_fields_that_were_trained_on_are_not_looked_at(store):
    """The paper draws validation ROIs from the fields of training."""
    result = execute(calibrate.TASK, params(store, split="paper", validation_share=0.5), store)
    assert (result.values, result.counts) == (DEFAULTS, {"fovs": 0})


def test_a_limit_of_pixels_cuts_all_cell_lines_alike(store, monkeypatch):
    """Each cell line has two fields for validation, of which the limit lets one in."""
    rng = np.random.default_rng(0)
    for name, cell_line in (("a", "A"), ("b", "B")):
        images = {f"{name}{i}": rng.integers(0, 4000, (64, 64)).astype(np.uint16) for i in range(4)}
        make_plate(store / name, images, dict.fromkeys(images, np.ones((64, 64), np.uint16)), cell_line=cell_line)
    monkeypatch.setattr(calibrate, "MOST_PIXELS", 64 * 64 + 1)
    looked_at = []

    def noted(path):
        looked_at.append(path.parent.parent.name)
        return read_image(path)

    monkeypatch.setattr(calibrate, "read_image", noted)
    execute(calibrate.TASK, params(store, plates=["a", "b"], validation_share=0.5), store)
    assert looked_at == ["a", "b"]


def test_networks_of_different_rois_are_refused(store):
    params(store)
    make_network(store / "other")
    trained_on(store, "other", "augment/other/rois.h5")
    with pytest.raises(InputError, match=r"trained on different ROIs: augment/.*, augment/other/rois\.h5"):
        execute(calibrate.TASK, of_networks("network", "other"), store)


def test_every_field_is_looked_at_with_the_zoom_of_its_plate(store, monkeypatch):
    """Squares of 32 px in one plate, of 64 px in the other."""
    label_image = np.zeros((256, 256), np.uint16)
    for number, (y, x) in enumerate(np.ndindex(4, 4), start=1):
        label_image[64 * y :, 64 * x :][:63, :63] = number
    images = {f"f{i}": np.random.default_rng(i).integers(0, 4000, (256, 256)).astype(np.uint16) for i in range(3)}
    make_plate(store / "large", images, dict.fromkeys(images, label_image), cell_line="HeLa")
    looking = BrightDisks(Settings())
    monkeypatch.setattr(calibrate, "load_segmenter", lambda *_: looking)
    given = params(store, plates=["many", "large"], nucleus_px=36)
    execute(calibrate.TASK, given, store)
    assert looking.looked_at == [(0.5, (128, 128)), (1.0, (96, 128))]
