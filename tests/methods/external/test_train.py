"""A program of others in the pipeline: trained on the fields, then segmenting a plate."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.contract import Result, execute
from tasks.methods.external import train as train_external
from tasks.nuclei.errors import InputError
from tasks.steps import augment, calibrate, register_model, segment
from tests.plates import make_plate
from tests.programs import make_program


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    label_image = np.zeros((96, 128), np.uint16)
    for number, (y, x) in enumerate(np.ndindex(3, 4), start=1):
        label_image[32 * y + 4 :, 32 * x + 4 :][:20, :20] = number
    images = {
        f"f{i}": (np.where(label_image > 0, 3000, 300) + rng.integers(0, 200, (96, 128))).astype(np.uint16)
        for i in range(4)
    }
    store = tmp_path / "store"
    make_plate(store / "plate", images, dict.fromkeys(images, label_image), cell_line="U2OS")
    return store


def rois(store: Path) -> str:
    made = augment.Params(plates=["plate"], rois=40, roi_px=32)
    return execute(augment.TASK, made, store).outputs["rois"]


def train(store: Path, **changes: Any) -> Result:
    commands = make_program(store.parent)
    params = train_external.Params(**{"rois": rois(store), "program": "threshold", **commands, **changes})
    return execute(train_external.TASK, params, store)


def test_a_program_is_trained_on_the_fields_that_are_not_kept_back_and_segments_a_plate(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "nucleus"):
        trained = train(store)
    network = trained.outputs["network"]
    assert trained.counts == {"training_fields": 3}
    assert "threshold: 3 fields, 1 for validation" in caplog.text
    assert 1400 < float((store / network / "model" / "threshold.txt").read_text()) < 2000

    calibrated = execute(calibrate.TASK, calibrate.Params(networks=[network]), store)
    assert (calibrated.metrics, calibrated.counts) == ({}, {"fovs": 0})
    segmented = execute(segment.TASK, segment.Params(networks=[network], plate="plate"), store)
    assert segmented.counts == {"fovs": 4, "nuclei": 48}
    label_image = tifffile.imread(store / segmented.outputs["segmentation"] / "labels" / "f2.tif")
    assert len(np.unique(label_image[4:24, 4:24])) == 1
    assert label_image.max() == 12


def test_a_program_becomes_a_model_for_the_registry(store: Path) -> None:
    network = train(store).outputs["network"]
    made = execute(register_model.TASK, register_model.Params(networks=[network]), store)
    assert list((store / made.outputs["model"]).rglob("network_0/model/threshold.txt"))


def test_an_earlier_model_can_be_gone_on_from(store: Path) -> None:
    first = train(store).outputs["network"]
    copying = [sys.executable, "-c", "import shutil, sys; shutil.copytree(*sys.argv[1:], dirs_exist_ok=True)"]
    second = train(store, train=[*copying, "{initial}", "{model}"], initialisation=first).outputs["network"]
    kept = [(store / network / "model" / "threshold.txt").read_text() for network in (first, second)]
    assert kept[0] == kept[1]


def test_a_published_model_is_taken_from_the_folder_of_weights(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r'"published" needs the folder threshold .* \(which is not set\)'):
        train(store, initialisation="published")
    folder = store.parent / "weights"
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(folder))
    with pytest.raises(InputError, match="needs the folder threshold"):
        train(store, train=None)
    (folder / "threshold").mkdir(parents=True)
    (folder / "threshold" / "threshold.txt").write_text("1500")
    made = train(store, train=None)
    assert (store / made.outputs["network"] / "model" / "threshold.txt").read_text() == "1500"
    assert made.counts == {"training_fields": 0}
    assert train(store, train=None).reused
    (folder / "threshold" / "threshold.txt").write_text("1600")
    other = train(store, train=None)
    assert not other.reused
    assert (store / other.outputs["network"] / "model" / "threshold.txt").read_text() == "1600"


def test_a_model_of_another_program_is_not_gone_on_from(store: Path) -> None:
    network = train(store).outputs["network"]
    with pytest.raises(InputError, match="is a model of threshold; other can't go on from it"):
        train(store, program="other", initialisation=network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": None, "initialisation": "random"}, "threshold has no command that trains"),
        ({"initialisation": "train_fpn/0123456789abcdef"}, "is no model of the store; give .* an output of train_ext"),
        ({"train": ["true"]}, "was trained and wrote nothing into its folder {model}"),
        ({"train": ["false"]}, "ended with status 1"),
    ],
)
def test_a_training_that_gives_no_model_is_refused(store: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(store, **changes)
    assert not list(store.glob("train_external/*/result.json"))


def test_a_failing_program_leaves_nothing_that_could_be_scored(store: Path) -> None:
    network = train(store, segment=["false"]).outputs["network"]
    with pytest.raises(InputError, match="threshold ended with status 1"):
        execute(segment.TASK, segment.Params(networks=[network], plate="plate"), store)
    assert not list(store.glob("segment/*/result.json"))
