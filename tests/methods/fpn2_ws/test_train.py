"""Training: params, resuming, and what it refuses."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import BAD_INPUT, DONE, FAILED, Result, execute, parse_params
from tasks.methods.fpn2_ws.decoders import UNET_FILTERS
from tasks.methods.fpn2_ws.network import Architecture
from tasks.methods.fpn2_ws.train import TASK, Encoder, MapTraining, Params, build, stages
from tasks.methods.shared import devices
from tasks.methods.shared.training_task import chosen_precision
from tasks.nuclei.errors import InputError
from tasks.nuclei.roi_file import RoiReader
from tasks.nuclei.targets import TARGETS, blurred_border
from tasks.nuclei.view import View
from tests.disks import resize
from tests.repository import REPOSITORY
from tests.rois import make_roi_file
from tests.tracked import track_in

TINY: dict[str, Any] = {
    "rois": "rois.h5",
    "target": "both",
    "encoder": "mobilenet",
    "decoder_filters": [8],
    "initialisation": "random",
    "warmup_cycles": 0,
    "cycles": 6,
    "learning_rate": 3e-3,
    "batch_size": 4,
}


@pytest.fixture
def store(tmp_path) -> Path:
    make_roi_file(tmp_path / "rois.h5")
    return tmp_path


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a whole training, which the stopped ones are compared with."""
    store = tmp_path_factory.mktemp("never_stopped")
    make_roi_file(store / "rois.h5")
    assert finish(store, TINY)[0] == DONE
    return store


def arguments(store: Path, params: dict) -> list[str]:
    return ["--params", json.dumps(params), "--store", str(store)]


def start(store: Path, params: dict) -> subprocess.Popen:
    command = [sys.executable, "-m", "tasks.methods.fpn2_ws.train", *arguments(store, params)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def finish(store: Path, params: dict) -> tuple[int, str]:
    process = start(store, params)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def weights_of(store: Path) -> list[np.ndarray]:
    (path,) = store.glob("train_fpn2_ws/*/weights.h5")
    arrays: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return arrays


def test_the_paper_s_values_are_the_defaults():
    params = Params(rois="rois.h5", target="distance_map")
    assert (params.encoder, params.cycles, params.warmup_cycles) == ("inceptionresnetv2", 25, 2)
    assert (params.batch_size, params.learning_rate, params.loss) == (16, 1e-3, "mse")
    assert (params.optimiser, params.schedule, params.initialisation) == ("adam", "constant", "imagenet")
    assert (params.decoder, params.decoder_filters, params.averaging) == ("fpn", (256,), 0)


@pytest.mark.parametrize("preset", ["paper", "laptop"])
def test_a_random_encoder_is_never_frozen(preset):
    given = {"rois": "rois.h5", "target": "both", "preset": preset, "initialisation": "random"}
    assert [stage.is_frozen for stage in stages(Params(**given))] == [False]
    with pytest.raises(ValueError, match=r'warmup_cycles=2 freezes pretrained weights .*; with "random" nothing is'):
        Params(**given, warmup_cycles=2)


def test_pretrained_weights_are_frozen_in_the_warm_up():
    paper = stages(Params(rois="rois.h5", target="both"))
    assert [(stage.until, stage.is_frozen) for stage in paper] == [(2 / 25, True), (1, False)]


def test_mlflow_shows_the_gpus_and_the_precision_that_auto_has_chosen(tmp_path, monkeypatch):
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    run_id = tracking.open_run("experiment", "dag run", "name")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    params = Params(rois="rois.h5", target="both")
    (tmp_path / "history.json").write_text("[]")
    result = Result(
        task="train_fpn2_ws",
        key="key",
        version=1,
        params=params.model_dump(mode="json"),
        outputs={"network": "."},
        metrics={},
        counts={},
        libraries={},
        machine={"gpus": "NVIDIA H100, NVIDIA H100", "replicas": "2", "precision": "bfloat16"},
        seconds=1,
    )
    assert TASK.log is not None
    TASK.log(params, result, tmp_path)
    shown = MlflowClient().get_run(run_id).data.params
    assert shown["train_fpn2_ws.both.gpus"] == "NVIDIA H100, NVIDIA H100"
    assert (shown["train_fpn2_ws.both.replicas"], shown["train_fpn2_ws.both.precision"]) == ("2", "bfloat16")


def test_a_retry_keeps_the_precision_that_auto_chose_though_its_gpu_would_have_another(store, monkeypatch):
    monkeypatch.setattr(devices, "fastest_precision", lambda: "bfloat16")
    assert chosen_precision(Params(**TINY), store) == "bfloat16"
    monkeypatch.setattr(devices, "fastest_precision", lambda: "float32")
    assert chosen_precision(Params(**TINY), store) == "bfloat16"
    assert chosen_precision(Params(**TINY, precision="float32"), store) == "float32"


def test_a_preset_fills_in_what_is_not_given():
    params = Params(rois="rois.h5", target="all", preset="laptop", cycles=2)
    assert params.encoder == "mobilenetv2"
    assert params.cycles == 2


@pytest.mark.parametrize(
    ("given", "decoder", "filters"),
    [
        ({"preset": "laptop"}, "unet", UNET_FILTERS),
        ({"preset": "laptop", "decoder": "fpn"}, "fpn", (64,)),
        ({"decoder": "unet"}, "unet", UNET_FILTERS),
        ({"decoder": "unet", "decoder_filters": [64, 48, 32, 24, 16]}, "unet", (64, 48, 32, 24, 16)),
    ],
)
def test_a_decoder_has_its_usual_filters_unless_others_are_given(given, decoder, filters):
    params = Params(rois="rois.h5", target="both", initialisation="random", **given)
    assert (params.decoder, params.decoder_filters) == (decoder, filters)


class Saying:
    """A network that says the same of every image."""

    architecture = Architecture("mobilenetv2", TARGETS, scaling="robust")
    model = None

    def __init__(self, maps: np.ndarray) -> None:
        self._maps = maps

    def __call__(self, images: Any, training: bool) -> Any:
        return self._maps


def test_pixels_along_outlines_count_more_in_the_loss_than_others():
    targets = np.zeros((1, 64, 64, 2), np.uint8)
    targets[..., 1] = 255 * blurred_border(np.pad(np.ones((64, 30), np.int32), ((0, 0), (0, 34))))[np.newaxis]
    on_outline, far_away = np.zeros((2, 1, 64, 64, 2), np.float32)
    on_outline[:, 32, 29], far_away[:, 32, 50] = 1, 1
    losses = {
        (weight, where): float(MapTraining(Saying(maps), "mae", weight).loss((None, targets), training=True))  # type: ignore[arg-type]
        for weight in (0.0, 4.0)
        for where, maps in (("nowhere", 0 * far_away), ("outline", on_outline), ("away", far_away))
    }
    added = {key: loss - losses[key[0], "nowhere"] for key, loss in losses.items()}
    assert added[4.0, "away"] == pytest.approx(added[0.0, "away"], rel=1e-3)
    assert added[4.0, "outline"] > 2.5 * added[0.0, "outline"]


@pytest.mark.parametrize("outline_weight", [0.0, 4.0])
def test_the_loss_is_the_mean_over_annotated_pixels(outline_weight):
    rng = np.random.default_rng(0)
    maps, targets = rng.random((2, 2, 16, 16, 2), np.float32)
    targets = (255 * targets).astype(np.uint8)
    annotated = np.zeros((2, 16, 16), bool)
    annotated[0, :, :8], annotated[1, :4] = True, True
    training = MapTraining(Saying(maps), "mse", outline_weight)  # type: ignore[arg-type]
    loss = float(training.loss((None, targets, annotated), training=True))
    maps[~annotated] = 0.5
    assert loss == pytest.approx(float(training.loss((None, targets, annotated), training=True)), rel=1e-6)
    if not outline_weight:
        assert loss == pytest.approx(np.mean((maps - targets / 255.0)[annotated] ** 2), rel=1e-5)
    everything = np.ones_like(annotated)
    assert training.loss((None, targets, everything), training=True) == training.loss((None, targets), training=True)
    assert training.loss((None, targets, ~everything), training=True) == 0


@pytest.mark.parametrize("preset", ["laptop", "paper"])
def test_one_number_of_filters_as_earlier_trainings_have_it_is_of_the_fpn(preset):
    params = Params(rois="rois.h5", target="both", preset=preset, initialisation="random", decoder_filters=64)
    assert (params.decoder, params.decoder_filters) == ("fpn", (64,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cycles": -1}, "cycles: Input should be greater than or equal to 0, got -1"),
        (
            {"cycles": 0},
            'cycles=0 keeps the initial weights as they are, which is for "base" alone, not for "imagenet"',
        ),
        ({"loss": "dice"}, "loss: Input should be 'mse', 'mae' or 'binary_crossentropy', got 'dice'"),
        ({"epochs": 3}, "epochs: unknown param; allowed are rois, preset"),
        ({"preset": "desktop"}, "preset: Input should be 'laptop' or 'paper', got 'desktop'"),
        ({"encoder": "resnet1"}, "encoder: .*'mobilenetv2'.* got 'resnet1'"),
        ({"decoder": "pspnet"}, "decoder: Input should be 'fpn' or 'unet', got 'pspnet'"),
        ({"decoder": "unet", "decoder_filters": [64]}, 'takes one number, "unet" five.* those of "unet".*, got .64.'),
        ({"decoder_filters": [64, 32]}, 'decoder_filters: the decoder "fpn" takes one number.* those of "fpn"'),
        ({"decoder": "unet", "decoder_filters": [96, 64, 48, 32, 4]}, r"decoder_filters\.4: .* a multiple of 8, got 4"),
        ({"averaging": 1}, "averaging: Input should be less than 1, got 1"),
    ],
)
def test_a_wrong_param_is_named_with_what_is_allowed(change, message):
    with pytest.raises(InputError, match=message):
        parse_params(Params, json.dumps({"rois": "rois.h5", "target": "both", **change}))


def test_no_encoder_is_offered_that_the_package_lacks_and_none_is_left_out():
    import tasks.methods  # noqa: F401  It chooses the framework before the package is imported.

    segmentation_models = importlib.import_module("segmentation_models")
    assert sorted(get_args(Encoder)) == sorted(segmentation_models.get_available_backbone_names())


@pytest.mark.slow
@pytest.mark.skipif(bool(list(Path("/dev").glob("nvidia[0-9]*"))), reason="this machine has a GPU")
def test_the_result_says_what_the_network_was_trained_on(never_stopped):
    (path,) = never_stopped.glob("train_fpn2_ws/*/result.json")
    result = json.loads(path.read_text())
    assert result["machine"] == {"gpus": "none", "replicas": "1", "precision": "float32"}
    assert result["params"]["precision"] == "auto"
    assert json.loads((path.parent / "network.json").read_text())["precision"] == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("stop_signal", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGTERM])
def test_a_training_stopped_in_mid_cycle_resumes_and_ends_with_the_same_weights(never_stopped, store, stop_signal):
    process = start(store, TINY)
    assert process.stdout is not None
    for line in process.stdout:
        if "cycle 1 of 6: loss" in line:
            break
    time.sleep(0.1)
    process.send_signal(stop_signal)
    assert process.wait(60) == -stop_signal
    assert not list(store.glob("train_fpn2_ws/*/result.json"))
    status, output = finish(store, TINY)
    assert status == DONE
    assert "resuming after cycle" in output
    assert "cycle 1 of 6: loss" not in output
    for expected, got in zip(weights_of(never_stopped), weights_of(store), strict=True):
        np.testing.assert_array_equal(expected, got)


@pytest.mark.long
def test_two_trainings_in_bfloat16_with_the_same_seed_end_with_the_same_weights(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        make_roi_file(tmp_path / name / "rois.h5")
        assert finish(tmp_path / name, {**TINY, "precision": "bfloat16"})[0] == DONE
    for expected, got in zip(weights_of(tmp_path / "one"), weights_of(tmp_path / "other"), strict=True):
        np.testing.assert_array_equal(expected, got)


@pytest.mark.long
@pytest.mark.slow
def test_a_full_disk_ends_a_training_with_a_line_on_space_and_it_resumes_when_there_is_some(small_disk):
    """The ROIs and the best weights find place, the checkpoint of the first cycle doesn't."""
    resize(small_disk, megabytes=25)
    make_roi_file(small_disk / "rois.h5")
    status, output = finish(small_disk, {**TINY, "cycles": 2})
    assert status == FAILED
    assert f"no space left in the store {small_disk}" in output.splitlines()[-1]
    resize(small_disk, megabytes=300)
    assert finish(small_disk, {**TINY, "cycles": 2})[0] == DONE


@pytest.mark.slow
def test_training_learns_and_keeps_the_weights_of_the_best_validation_loss(never_stopped):
    (result,) = never_stopped.glob("train_fpn2_ws/*/result.json")
    history = json.loads((result.parent / "history.json").read_text())
    assert history[-1]["loss"] < history[0]["loss"] / 2
    best = min(history, key=lambda cycle: cycle["validation_loss"])
    assert json.loads(result.read_text())["counts"]["best_cycle"] == best["cycle"]
    assert json.loads(result.read_text())["metrics"]["validation_loss"] == best["validation_loss"]
    from tasks.methods.fpn2_ws.network import load_map_network

    network, reader = load_map_network(result.parent), RoiReader(never_stopped / "rois.h5")
    images, targets = reader.batch(reader.validation_rows.tolist(), network.architecture.targets)
    error = np.mean((network.predict(images[..., 0]) - targets / 255) ** 2)
    assert error == pytest.approx(best["validation_loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("power_may_go")
def test_the_encoder_does_not_learn_during_the_warm_up(store):
    from tasks.methods.fpn2_ws.network import load_map_network

    first = build(Params(**TINY), "float32", View(scaling="robust"))
    (store / "train_fpn2_ws" / "first").mkdir(parents=True)
    first.save(store / "train_fpn2_ws" / "first")
    params = {**TINY, "cycles": 1, "warmup_cycles": 1, "initialisation": "train_fpn2_ws/first"}
    trained = load_map_network(store / execute(TASK, Params(**params), store).outputs["network"])
    encoder = {layer.name for layer in first.encoder_layers()}
    for before, after in zip(first.model.layers, trained.model.layers, strict=True):
        same = all(np.array_equal(a, b) for a, b in zip(before.get_weights(), after.get_weights(), strict=True))
        assert same or before.name not in encoder
    assert not np.array_equal(
        first.model.get_layer("head_conv").get_weights()[0], trained.model.get_layer("head_conv").get_weights()[0]
    )


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training_with_advice(store, caplog):
    network = build(Params(**TINY), "float32", View(scaling="robust"))
    network.model.set_weights([np.full_like(weights, np.nan) for weights in network.model.get_weights()])
    (store / "train_fpn2_ws" / "spoiled").mkdir(parents=True)
    network.save(store / "train_fpn2_ws" / "spoiled")
    assert TASK.main(arguments(store, {**TINY, "initialisation": "train_fpn2_ws/spoiled"})) == BAD_INPUT
    assert "The loss became nan in cycle 1; lower learning_rate" in caplog.text


@pytest.mark.slow
def test_a_training_resumes_from_an_earlier_network_and_sees_intensities_as_its_own_rois(never_stopped, tmp_path):
    store = shutil.copytree(never_stopped, tmp_path / "store")
    (earlier,) = (path.parent for path in store.glob("train_fpn2_ws/*/result.json"))
    assert json.loads((earlier / "network.json").read_text())["scaling"] == "percentile"
    make_roi_file(store / "others.h5", scaling="minmax")
    again = {**TINY, "cycles": 1, "learning_rate": 1e-12, "initialisation": f"train_fpn2_ws/{earlier.name}"}
    assert TASK.main(arguments(store, again | {"rois": "others.h5"})) == DONE
    histories = {path.parent.name: json.loads(path.read_text()) for path in store.glob("train_fpn2_ws/*/history.json")}
    first = histories.pop(earlier.name)[0]
    ((later, second),) = histories.items()
    assert second[0]["loss"] < first["loss"]
    assert json.loads((store / "train_fpn2_ws" / later / "network.json").read_text())["scaling"] == "minmax"
