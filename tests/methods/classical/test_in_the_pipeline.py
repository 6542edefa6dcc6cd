"""The classical way as a method without networks: chosen settings, a plate, a registered model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.contract import execute
from tasks.methods.classical.method import METHOD, Settings
from tasks.methods.saved_model import load_model, save_model
from tasks.nuclei.errors import InputError
from tasks.steps import augment, calibrate, segment
from tasks.store.registered_model import ReadyModelName
from tests.plates import make_plate

pytestmark = pytest.mark.usefixtures("rois_in_this_process", "power_may_go")

MODEL: dict[str, Any] = {"method": METHOD.name, "networks": []}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A plate of four fields with twelve nuclei each, 20 px across."""
    y, x = np.mgrid[:96, :128]
    is_nucleus = (y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 <= 10**2
    label_image = np.where(is_nucleus, 4 * (y // 32) + x // 32 + 1, 0).astype(np.uint16)
    rng = np.random.default_rng(0)
    images = {f"f{i}": (300 + 2000 * is_nucleus + rng.normal(0, 30, y.shape)).astype(np.uint16) for i in range(4)}
    make_plate(tmp_path / "plate", images, dict.fromkeys(images, label_image), cell_line="U2OS")
    return tmp_path


def test_a_plate_is_segmented_by_the_size_of_its_nuclei_and_says_by_what(store: Path) -> None:
    made_by = ReadyModelName(name=METHOD.name, key="0123456789abcdef")
    result = execute(segment.TASK, segment.Params(**MODEL, plate="plate", made_by=made_by), store)
    assert result.counts == {"fovs": 4, "nuclei": 48, "doubtful_fovs": 0, "own_proposals": 0}
    assert result.metrics["nuclear_diameter_px"] == pytest.approx(20, abs=2)
    assert json.dumps(result.params["made_by"]) == '{"name": "classical", "key": "0123456789abcdef"}'


def test_settings_are_chosen_on_the_fields_that_a_roi_file_keeps_back(store: Path) -> None:
    rois = execute(augment.TASK, augment.Params(plates=["plate"], rois=40, roi_px=32), store).outputs["rois"]
    chosen = execute(calibrate.TASK, calibrate.Params(**MODEL, rois=rois, search=["outline_level"]), store)
    assert chosen.counts == {"fovs": 1}
    assert chosen.values["settings"]["outline_level"] in METHOD.search["outline_level"]


def test_without_a_roi_file_there_is_nothing_to_choose_settings_on(store: Path) -> None:
    with pytest.raises(InputError, match="A method without networks has no ROIs of its own; give rois"):
        execute(calibrate.TASK, calibrate.Params(**MODEL), store)


def test_a_saved_model_without_networks_segments_like_the_method(tmp_path: Path) -> None:
    save_model(METHOD, [], Settings(neck=0.7), tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.settings == Settings(neck=0.7)
    y, x = np.mgrid[:96, :128]
    image = np.where((y - 48) ** 2 + (x - 60) ** 2 <= 20**2, 2000, 300).astype(np.uint16)
    assert loaded.predict(image).max() == 1
