"""A third-party tool in the pipeline: trained on the fields, then segmenting a plate."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.methods.external import train as train_external
from tasks.nuclei.errors import InputError
from tasks.steps import augment, calibrate, register_model, segment
from tests.plates import make_plate
from tests.third_party_tools import make_tool, write_catalogue
from tests.tracked import track_in

pytestmark = pytest.mark.usefixtures("rois_in_this_process", "power_may_go")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUCLEUS_TOOLS", str(tmp_path / "tools"))
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


def train(store: Path, commands: Mapping[str, list[str] | None] = {}, **params: Any) -> Result:
    """Train the tool of the tests; `commands` are in place of its own."""
    install(store, commands)
    given = train_external.Params(**{"rois": rois(store), "tool": "threshold", **params})
    return execute(train_external.TASK, given, store)


def install(store: Path, commands: Mapping[str, list[str] | None] = {}) -> None:
    folder = store.parent / "tools"
    own = make_tool(folder)
    write_catalogue(folder, {"threshold": {**own, **commands}, "other": own})


def segmentation(network: str) -> segment.Params:
    return segment.Params(method="external", networks=[network], plate="plate")


def test_a_tool_is_trained_on_the_fields_that_are_not_kept_back_and_segments_a_plate(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "nucleus"):
        trained = train(store)
    network = trained.outputs["network"]
    assert trained.counts == {"training_fields": 3}
    assert "threshold: 3 fields, 1 for validation" in caplog.text
    assert 1400 < float((store / network / "model" / "threshold.txt").read_text()) < 2000

    calibrated = execute(calibrate.TASK, calibrate.Params(method="external", networks=[network]), store)
    assert (calibrated.metrics, calibrated.counts) == ({}, {"fovs": 0})
    assert calibrated.values == {"settings": {"min_area_px": 20, "max_area_px": None, "for_cell_lines": {}}}
    segmented = execute(segment.TASK, segmentation(network), store)
    assert segmented.counts == {"fovs": 4, "nuclei": 48, "doubtful_fovs": 0, "own_proposals": 0}
    label_image = tifffile.imread(store / segmented.outputs["segmentation"] / "labels" / "f2.tif")
    assert len(np.unique(label_image[4:24, 4:24])) == 1
    assert label_image.max() == 12


def ignore(store: Path, ignored: Mapping[str, np.ndarray]) -> None:
    (store / "plate" / "ignored").mkdir()
    for fov, pixels in ignored.items():
        tifffile.imwrite(store / "plate" / "ignored" / f"{fov}.tif", pixels.astype(np.uint8))


def test_of_a_field_in_part_a_tool_learns_from_rectangles_in_which_all_is_annotated(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    everything, right = np.ones((96, 128)), np.zeros((96, 128))
    right[:, 112:] = 2
    everything[40:60, 40:60] = 0
    ignore(store, {f"f{number}": right if number else everything for number in range(4)})
    for number in range(4):
        # What is ignored is as bright as a nucleus, and has no label.
        path = store / "plate/images" / f"f{number}.tif"
        image = tifffile.imread(path)
        image[:, 112:] = 60_000
        tifffile.imwrite(path, image)
    with caplog.at_level("WARNING", "nucleus"):
        trained = train(store)
    threshold = float((store / trained.outputs["network"] / "model" / "threshold.txt").read_text())
    assert 1400 < threshold < 2000
    (said,) = [line for line in caplog.messages if "no part of" in line]
    assert said == "no part of 128 px is annotated whole, so the tool doesn't learn from: f0 of plate"


def test_a_tool_that_nothing_is_left_to_learn_from_is_refused(store: Path) -> None:
    hardly = np.ones((96, 128))
    hardly[:30, :30] = 0
    ignore(store, {f"f{number}": hardly for number in range(4)})
    with pytest.raises(InputError, match=r"threshold can't leave pixels out, and no field .* part of 128 x 128 px"):
        train(store)


def test_a_tool_becomes_a_model_for_the_registry(store: Path) -> None:
    network = train(store).outputs["network"]
    made = execute(register_model.TASK, register_model.Params(method="external", networks=[network]), store)
    assert list((store / made.outputs["model"]).rglob("network_0/model/threshold.txt"))


def test_a_registered_model_says_what_it_needs_on_another_machine(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = train(store).outputs["network"]
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("e", "dag run", "name"))
    execute(register_model.TASK, register_model.Params(method="external", networks=[network]), store)
    description = MlflowClient().get_model_version("nucleus-segmenter", "1").description
    needed = "needs the third-party tool threshold, installed where its command in tools.yaml says"
    assert f"A machine that uses it {needed}" in str(description)


def test_a_training_resumes_from_an_earlier_model(store: Path) -> None:
    first = train(store).outputs["network"]
    copying = [sys.executable, "-c", "import shutil, sys; shutil.copytree(*sys.argv[1:], dirs_exist_ok=True)"]
    second = train(store, {"train": [*copying, "{initial}", "{model}"]}, initialisation=first).outputs["network"]
    kept = [(store / network / "model" / "threshold.txt").read_text() for network in (first, second)]
    assert kept[0] == kept[1]


def test_a_pretrained_model_is_taken_from_the_folder_of_weights(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r'"pretrained" needs the folder threshold .* \(which is not set\)'):
        train(store, initialisation="pretrained")
    folder = store.parent / "weights"
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(folder))
    with pytest.raises(InputError, match="needs the folder threshold"):
        train(store, {"train": None})
    (folder / "threshold").mkdir(parents=True)
    (folder / "threshold" / "threshold.txt").write_text("1500")
    made = train(store, {"train": None})
    assert (store / made.outputs["network"] / "model" / "threshold.txt").read_text() == "1500"
    assert made.counts == {"training_fields": 0}
    assert train(store, {"train": None}).reused
    (folder / "threshold" / "threshold.txt").write_text("1600")
    other = train(store, {"train": None})
    assert not other.reused
    assert (store / other.outputs["network"] / "model" / "threshold.txt").read_text() == "1600"


def test_a_training_does_not_resume_from_a_model_of_another_tool(store: Path) -> None:
    network = train(store).outputs["network"]
    with pytest.raises(InputError, match="is a model of threshold; other can't resume from it"):
        train(store, tool="other", initialisation=network)


@pytest.mark.parametrize(
    ("command", "initialisation", "message"),
    [
        (None, "random", "threshold has no command that trains"),
        (["true"], "train_fpn/0123456789abcdef", "is no network of the store; give .* an output of train_ext"),
        (["true"], None, "was trained and wrote nothing into its folder {model}"),
        (["false"], None, "ended with status 1"),
    ],
)
def test_a_training_that_gives_no_model_is_refused(
    store: Path, command: list[str] | None, initialisation: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(store, {"train": command}, initialisation=initialisation)
    assert not list(store.glob("train_external/*/result.json"))


def test_a_failing_tool_leaves_nothing_that_could_be_scored(store: Path) -> None:
    network = train(store, {"segment": ["false"]}).outputs["network"]
    with pytest.raises(InputError, match="threshold ended with status 1"):
        execute(segment.TASK, segmentation(network), store)
    assert not list(store.glob("segment/*/result.json"))


def test_the_command_that_segments_is_part_of_the_segmentations_key_and_not_of_the_trainings(store: Path) -> None:
    trained = train(store)
    params = segmentation(trained.outputs["network"])
    key = segment.TASK.output_key(params, store)
    install(store, {"segment": [*make_tool(store.parent / "tools")["segment"], "--faster"]})
    assert train_external.TASK.output_key(train_external.Params(**trained.params), store) == trained.key
    assert segment.TASK.output_key(params, store) != key
    install(store)
    assert segment.TASK.output_key(params, store) == key


def test_the_result_of_a_training_says_by_which_command(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(store).values == {"trained_by": make_tool(store.parent / "tools")["train"]}
    (store.parent / "weights" / "threshold").mkdir(parents=True)
    monkeypatch.setenv("NUCLEUS_WEIGHTS", str(store.parent / "weights"))
    assert train(store, initialisation="pretrained").values == {"trained_by": None}


def test_another_command_that_trains_is_another_training(store: Path) -> None:
    trained = train(store)
    install(store, {"train": [*make_tool(store.parent / "tools")["train"], "--longer"]})
    assert train_external.TASK.output_key(train_external.Params(**trained.params), store) != trained.key
