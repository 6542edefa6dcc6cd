"""Choosing thresholds for networks on the fields that their ROI file keeps for validation."""

import numpy as np
import pandas as pd
import pytest

from tasks import augment, calibrate
from tasks.contract import execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.roi_file import RoiReader
from tests.networks import make_network
from tests.plates import make_plate


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


def params(store, plates=("many", "one"), **changes) -> calibrate.Params:
    rois = execute(augment.TASK, augment.Params(plates=["many", "one"], rois=40, roi_px=32), store)
    return calibrate.Params(networks=["network"], rois=rois.outputs["rois"], plates=list(plates), **changes)


def test_only_what_was_kept_for_validation_is_looked_at(store):
    given = params(store)
    sources = RoiReader(store / given.rois).validation_sources()
    assert sorted((source.plate, source.region) for source in sources) == [
        ("many", (0, 0, 96, 128)),
        ("one", (0, 102, 96, 128)),
    ]
    assert execute(calibrate.TASK, given, store).counts == {"fields": 2}


def test_the_best_thresholds_are_metrics_and_all_trials_a_table(store):
    result = execute(calibrate.TASK, params(store), store)
    table = pd.read_csv(store / result.outputs["calibration"])
    assert table["mean_f1"].is_monotonic_decreasing
    assert {name: result.metrics[f"validation_{name}"] for name in ("f1_at_0.5", "f1_at_0.9")} == {
        name: table[name][0] for name in ("f1_at_0.5", "f1_at_0.9")
    }
    assert table["mean_f1"][0] > 0
    assert result.metrics["marker_threshold"] == table["marker_threshold"][0]


def test_networks_that_find_nothing_leave_the_thresholds_as_they_are(tmp_path, caplog):
    """Nuclei of nine pixels can't be found: what is that small is removed."""
    store = make_store(tmp_path, nucleus_px=3)
    result = execute(calibrate.TASK, params(store), store)
    assert result.metrics["validation_f1_at_0.5"] == 0
    assert (result.metrics["marker_threshold"], result.metrics["foreground_threshold"]) == (0.6, 0.09)
    assert "find no nucleus" in caplog.text


def test_a_limit_of_pixels_cuts_all_cell_lines_alike(store, monkeypatch):
    monkeypatch.setattr(calibrate, "MOST_PIXELS", 1)
    assert execute(calibrate.TASK, params(store), store).counts == {"fields": 1}


def test_a_plate_that_is_missing_is_named(store):
    with pytest.raises(InputError, match=r"one has no field f0 with labels; give the plates of the ROI file"):
        execute(calibrate.TASK, params(store, plates=["many"]), store)
